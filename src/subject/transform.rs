//! Subject transforms: from the subject of a message to another one made of its tokens (ADR-30).
//!
//! A destination is a subject whose tokens may be functions of the tokens that matched the `*` of the
//! source, counted from 1: `$1` and `{{wildcard(1)}}` are such a token itself, the others cut it, draw
//! a number from it, or at random. A `>` at the end of both passes on what it matched.

use std::fmt;

use super::{TOKEN_SEPARATOR, is_star, is_tail, tokens};

/// Turns subjects that match a source into others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transform {
    parts: Vec<Part>,
    /// How many tokens of a subject come before those that the `>` of the source matched, where the
    /// destination ends with one, too.
    tail: Option<usize>,
}

/// One token of a destination. Tokens of the subject are counted from 0.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Literal(Box<[u8]>),
    Wildcard(usize),
    /// One of so many numbers, by a hash of these tokens; of the whole subject if there are none.
    Partition(u32, Box<[usize]>),
    Random(i32),
    /// Cut in two, this many bytes from the left or right.
    SplitFromLeft(usize, usize),
    SplitFromRight(usize, usize),
    /// Cut into pieces of this many bytes.
    SliceFromLeft(usize, usize),
    SliceFromRight(usize, usize),
    /// Cut wherever this text stands.
    Split(usize, Box<[u8]>),
    Left(usize, usize),
    Right(usize, usize),
}

/// What a destination may be made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Functions {
    /// All functions, as for mappings.
    All,
    /// Tokens of the source only, each at least once, so that there is a way back, as for imports.
    Reversible,
}

/// Why there is no transform from a source to a destination; in nats-server's words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TransformError {
    /// One of them is no subject, or only one ends with `>`, or the destination has a `*`.
    InvalidSubject,
    /// A token of the destination is no token, or the destination goes on behind `>`.
    InvalidTransform(String),
    /// The destination leaves a wildcard of the source out, and there must be a way back.
    NotUsingAllWildcards(String),
    /// There is no such function.
    UnknownFunction(String),
    /// The source has no such wildcard.
    IndexOutOfRange(String),
    /// An argument is missing.
    NotEnoughArguments(String),
    /// There is one argument too many.
    TooManyArguments(String),
    /// An argument is no number, or no text to split at.
    InvalidArgument(String),
    /// A function other than `wildcard` where there must be a way back.
    NotSupportedForImport(String),
}

impl fmt::Display for TransformError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (what, place) = match self {
            Self::InvalidSubject => return formatter.write_str("invalid subject"),
            Self::InvalidTransform(place) => ("invalid transform", place),
            Self::NotUsingAllWildcards(place) => ("not using all of the token wildcard(s)", place),
            Self::UnknownFunction(place) => ("unknown function", place),
            Self::IndexOutOfRange(place) => ("wildcard index out of range", place),
            Self::NotEnoughArguments(place) => {
                ("not enough arguments passed to the function", place)
            }
            Self::TooManyArguments(place) => ("too many arguments passed to the function", place),
            Self::InvalidArgument(place) => {
                ("function argument is invalid or in the wrong format", place)
            }
            Self::NotSupportedForImport(place) => (
                "the only mapping function allowed for import transforms is {{Wildcard()}}",
                place,
            ),
        };
        write!(formatter, "invalid mapping destination: {what}")?;
        if place.is_empty() {
            return Ok(());
        }
        write!(formatter, " in {place}")
    }
}

impl std::error::Error for TransformError {}

impl Transform {
    /// A transform of subjects that match `source`.
    ///
    /// # Errors
    /// [`TransformError`].
    pub fn new(
        source: &str,
        destination: &str,
        functions: Functions,
    ) -> Result<Self, TransformError> {
        check_tokens(destination)?;
        let (from, to) = (Shape::of(source), Shape::of(destination));
        let (Some(from), Some(to)) = (from, to) else {
            return Err(TransformError::InvalidSubject);
        };
        if !to.stars.is_empty() || from.tail != to.tail {
            return Err(TransformError::InvalidSubject);
        }
        let mut parts = Vec::new();
        for token in destination
            .split('.')
            .take(to.tokens - usize::from(to.tail))
        {
            let part = part(token, &from)?;
            let reversible = matches!(part, Part::Literal(_) | Part::Wildcard(_));
            if functions == Functions::Reversible && !reversible {
                return Err(TransformError::NotSupportedForImport(token.to_owned()));
            }
            parts.push(part);
        }
        let left_out = |star: &usize| !parts.contains(&Part::Wildcard(*star));
        if functions == Functions::Reversible && from.stars.iter().any(left_out) {
            return Err(TransformError::NotUsingAllWildcards(destination.to_owned()));
        }
        Ok(Self {
            parts,
            tail: to.tail.then_some(from.tokens - 1),
        })
    }

    /// The way back to what a reversible transform of `source` was made from: of subjects that match its
    /// [`destination_filter`]. Every token of `source` but its wildcards is a literal one, whatever it looks like.
    #[must_use]
    pub fn reverse(&self, source: &str) -> Self {
        let part = |(place, token): (usize, &str)| {
            let made = Part::Wildcard(place);
            match self.parts.iter().position(|part| *part == made) {
                Some(at) if is_star(token.as_bytes()) => Part::Wildcard(at),
                Some(_) | None => Part::Literal(token.as_bytes().into()),
            }
        };
        let fixed = self.tail.unwrap_or(usize::MAX);
        Self {
            parts: source
                .split('.')
                .take(fixed)
                .enumerate()
                .map(part)
                .collect(),
            tail: self.tail.map(|_| self.parts.len()),
        }
    }

    /// Appends what `subject`, which must match the source, becomes. `random` is a new random number.
    pub fn apply(&self, subject: &[u8], random: u32, to: &mut Vec<u8>) {
        for (place, part) in self.parts.iter().enumerate() {
            if place > 0 {
                to.push(TOKEN_SEPARATOR);
            }
            part.apply(subject, random, to);
        }
        let Some(skipped) = self.tail else { return };
        for (place, token) in tokens(subject).skip(skipped).enumerate() {
            if place > 0 || !self.parts.is_empty() {
                to.push(TOKEN_SEPARATOR);
            }
            to.extend_from_slice(token);
        }
    }
}

/// The subjects that a destination can make, as a filter: each wildcard of the source in it becomes `*`.
#[must_use]
pub fn destination_filter(destination: &str) -> String {
    let filter = |token| match wildcard_number(token) {
        Some(_) => "*",
        None => token,
    };
    destination
        .split('.')
        .map(filter)
        .collect::<Vec<_>>()
        .join(".")
}

/// Whether a token of an import's subject would stand for a wildcard if it were one of a destination. nats-server
/// refuses services with such a subject.
#[must_use]
pub fn is_placeholder(token: &str) -> bool {
    matches!(token.as_bytes(), [b'$', b'1'..=b'9', ..]) || wildcard_number(token).is_some()
}

/// Which wildcard of the source a token of a destination is, if it is one and nothing else.
fn wildcard_number(token: &str) -> Option<i64> {
    let function = function(token).ok()??;
    let number = function.wildcards.first().copied()?;
    (function.name == "wildcard").then_some(number)
}

/// Refuses destinations with empty tokens, with tokens behind `>`, and with blanks outside of functions.
fn check_tokens(destination: &str) -> Result<(), TransformError> {
    let mut ended = false;
    for token in destination.split('.') {
        if token.is_empty() || ended {
            return Err(TransformError::InvalidTransform(token.to_owned()));
        }
        let call = token.starts_with("{{") && token.ends_with("}}");
        if !call && token.contains(['\t', '\n', '\x0c', '\r', ' ']) {
            return Err(TransformError::InvalidTransform(String::new()));
        }
        ended = token == ">";
    }
    Ok(())
}

/// What matters about a source or destination.
struct Shape {
    tokens: usize,
    /// Which tokens are `*`.
    stars: Vec<usize>,
    /// Whether the last one is `>`.
    tail: bool,
}

impl Shape {
    fn of(subject: &str) -> Option<Self> {
        let (mut count, mut stars, mut tail) = (0, Vec::new(), false);
        for token in tokens(subject.as_bytes()) {
            if token.is_empty() || tail {
                return None;
            }
            if is_star(token) {
                stars.push(count);
            }
            tail = is_tail(token);
            count += 1;
        }
        Some(Self {
            tokens: count,
            stars,
            tail,
        })
    }

    fn has_wildcards(&self) -> bool {
        self.tail || !self.stars.is_empty()
    }

    /// The token that the wildcard of this number stands at. As in nats-server, numbers below 1 stand
    /// for the first token.
    fn star(&self, number: i64) -> Option<usize> {
        match usize::try_from(number) {
            Ok(0) | Err(_) => Some(0),
            Ok(number) => self.stars.get(number - 1).copied(),
        }
    }
}

/// A token of a destination.
fn part(token: &str, source: &Shape) -> Result<Part, TransformError> {
    let out_of_range =
        |number: i64| TransformError::IndexOutOfRange(format!("{token}: [{number}]"));
    let Some(function) = function(token)? else {
        return Ok(Part::Literal(token.as_bytes().into()));
    };
    // Without wildcards there is nothing that a function could be of.
    if !source.has_wildcards() && !function.wildcards.is_empty() && function.name != "partition" {
        return Err(TransformError::IndexOutOfRange(token.to_owned()));
    }
    let mut indexes = Vec::new();
    if source.has_wildcards() {
        for &number in &function.wildcards {
            indexes.push(source.star(number).ok_or_else(|| out_of_range(number))?);
        }
    }
    let first = indexes.first().copied().unwrap_or_default();
    Ok(match function.name {
        // Whatever the sign of the number, the hash is divided by its bits.
        "partition" => Part::Partition(function.number.cast_unsigned(), indexes.into()),
        "random" => Part::Random(function.number),
        "split" => Part::Split(first, function.text.into()),
        cut => {
            // A number that is not positive cuts nowhere.
            let number = usize::try_from(function.number).unwrap_or(0);
            match cut {
                "splitfromleft" => Part::SplitFromLeft(first, number),
                "splitfromright" => Part::SplitFromRight(first, number),
                "slicefromleft" => Part::SliceFromLeft(first, number),
                "slicefromright" => Part::SliceFromRight(first, number),
                "left" => Part::Left(first, number),
                "right" => Part::Right(first, number),
                _ => Part::Wildcard(first),
            }
        }
    })
}

/// A function with its arguments.
struct Function<'a> {
    name: &'static str,
    wildcards: Vec<i64>,
    number: i32,
    text: &'a [u8],
}

/// How functions may be written; each word of a name may begin with a small letter.
const NAMES: [&str; 10] = [
    "Wildcard",
    "Partition",
    "SplitFromLeft",
    "SplitFromRight",
    "SliceFromLeft",
    "SliceFromRight",
    "Right",
    "Left",
    "Split",
    "Random",
];

/// What those are called here.
const KEYS: [&str; 10] = [
    "wildcard",
    "partition",
    "splitfromleft",
    "splitfromright",
    "slicefromleft",
    "slicefromright",
    "right",
    "left",
    "split",
    "random",
];

/// The function that `token` is, if it looks like one.
fn function(token: &str) -> Result<Option<Function<'_>>, TransformError> {
    if let Some(digits) = token.strip_prefix('$') {
        // Other things begin with `$` as well.
        return Ok(digits.parse().ok().map(|number| Function {
            name: "wildcard",
            wildcards: vec![number],
            number: 0,
            text: &[],
        }));
    }
    let inside = token
        .strip_prefix("{{")
        .and_then(|rest| rest.strip_suffix("}}"));
    let Some(inside) = inside.filter(|inside| !inside.is_empty()) else {
        return Ok(None);
    };
    let called = inside.trim().strip_suffix(')').and_then(|call| {
        let (written, arguments) = call.split_once('(')?;
        let written = written.trim_end();
        let place = NAMES.iter().position(|name| is_named(written, name))?;
        Some((*KEYS.get(place)?, arguments))
    });
    let Some((name, arguments)) = called else {
        return Err(TransformError::UnknownFunction(token.to_owned()));
    };
    Arguments { token, arguments }.read(name).map(Some)
}

/// Whether `written` is `name`, each of whose capitals may be small.
fn is_named(written: &str, name: &str) -> bool {
    written.len() == name.len()
        && written.chars().zip(name.chars()).all(|(one, other)| {
            one == other || (other.is_ascii_uppercase() && one == other.to_ascii_lowercase())
        })
}

/// The arguments of a function, and the token it stands in.
struct Arguments<'a> {
    token: &'a str,
    arguments: &'a str,
}

impl<'a> Arguments<'a> {
    fn read(&self, name: &'static str) -> Result<Function<'a>, TransformError> {
        // A comma takes the blanks behind it along.
        let mut list = self.arguments.split(',').enumerate().map(|(place, text)| {
            if place == 0 { text } else { text.trim_start() }
        });
        let first = list.next().unwrap_or_default();
        let rest: Vec<&str> = list.collect();
        let mut function = Function {
            name,
            wildcards: Vec::new(),
            number: 0,
            text: &[],
        };
        match name {
            "partition" => {
                function.number = self.number(first)?;
                for text in rest {
                    function.wildcards.push(self.number(text)?);
                }
            }
            "random" => {
                let [] = *rest else {
                    return Err(TransformError::NotEnoughArguments(self.token.to_owned()));
                };
                function.number = self.number(first)?;
            }
            "wildcard" => {
                if self.arguments.is_empty() {
                    return Err(TransformError::NotEnoughArguments(self.token.to_owned()));
                }
                if !rest.is_empty() {
                    return Err(TransformError::TooManyArguments(self.token.to_owned()));
                }
                function.wildcards.push(self.number(first)?);
            }
            _ => {
                let second = match *rest {
                    [] => return Err(TransformError::NotEnoughArguments(self.token.to_owned())),
                    [second] => second,
                    _ => return Err(TransformError::TooManyArguments(self.token.to_owned())),
                };
                function.wildcards.push(self.number(first)?);
                if name != "split" {
                    function.number = self.number(second)?;
                } else if second.contains(' ') {
                    return Err(TransformError::InvalidArgument(self.token.to_owned()));
                }
                function.text = second.as_bytes();
            }
        }
        Ok(function)
    }

    fn number<N: std::str::FromStr>(&self, text: &str) -> Result<N, TransformError> {
        text.trim_matches(' ')
            .parse()
            .map_err(|_| TransformError::InvalidArgument(self.token.to_owned()))
    }
}

impl Part {
    fn apply(&self, subject: &[u8], random: u32, to: &mut Vec<u8>) {
        let token = |place: usize| tokens(subject).nth(place).unwrap_or_default();
        match self {
            Self::Literal(text) => to.extend_from_slice(text),
            Self::Wildcard(place) => to.extend_from_slice(token(*place)),
            Self::Partition(count, places) => {
                let hash = match &**places {
                    [] => fnv(FNV_BASIS, subject),
                    places => places
                        .iter()
                        .fold(FNV_BASIS, |hash, place| fnv(hash, token(*place))),
                };
                push_number(to, hash.checked_rem(*count).unwrap_or(0));
            }
            Self::Random(limit) => {
                // The sign of the limit does not matter.
                let limit = limit.unsigned_abs();
                push_number(to, (random >> 1).checked_rem(limit).unwrap_or(0));
            }
            Self::SplitFromLeft(place, at) => cut_in_two(token(*place), *at, to),
            Self::SplitFromRight(place, at) => {
                let token = token(*place);
                cut_in_two(token, token.len().saturating_sub(*at), to);
            }
            Self::SliceFromLeft(place, size) => slice(token(*place), *size, 0, to),
            Self::SliceFromRight(place, size) => {
                let token = token(*place);
                slice(
                    token,
                    *size,
                    token.len().checked_rem(*size).unwrap_or(0),
                    to,
                );
            }
            Self::Split(place, at) => split(token(*place), at, to),
            Self::Left(place, size) => {
                let token = token(*place);
                to.extend_from_slice(
                    token
                        .get(..*size)
                        .filter(|cut| !cut.is_empty())
                        .unwrap_or(token),
                );
            }
            Self::Right(place, size) => {
                let token = token(*place);
                let from = token.len().saturating_sub(*size);
                to.extend_from_slice(
                    token
                        .get(from..)
                        .filter(|cut| !cut.is_empty())
                        .unwrap_or(token),
                );
            }
        }
    }
}

/// The 32-bit FNV-1a hash, by which all servers of a system must agree.
const FNV_BASIS: u32 = 0x811c_9dc5;
const FNV_PRIME: u32 = 0x0100_0193;

fn fnv(hash: u32, bytes: &[u8]) -> u32 {
    bytes.iter().fold(hash, |hash, &byte| {
        (hash ^ u32::from(byte)).wrapping_mul(FNV_PRIME)
    })
}

fn push_number(to: &mut Vec<u8>, number: u32) {
    to.extend_from_slice(itoa::Buffer::new().format(number).as_bytes());
}

/// Two tokens, the first of `at` bytes; the whole one where one of them would be empty.
fn cut_in_two(token: &[u8], at: usize, to: &mut Vec<u8>) {
    match token.split_at_checked(at) {
        Some((left, right)) if !left.is_empty() && !right.is_empty() => {
            to.extend_from_slice(left);
            to.push(TOKEN_SEPARATOR);
            to.extend_from_slice(right);
        }
        _ => to.extend_from_slice(token),
    }
}

/// Tokens of `size` bytes each, but for the first one if there are `odd` bytes, or else the last one.
fn slice(token: &[u8], size: usize, odd: usize, to: &mut Vec<u8>) {
    let (first, rest) = token.split_at_checked(odd).unwrap_or_default();
    if size == 0 || size >= token.len() {
        return to.extend_from_slice(token);
    }
    to.extend_from_slice(first);
    for (place, piece) in rest.chunks(size).enumerate() {
        if place > 0 || !first.is_empty() {
            to.push(TOKEN_SEPARATOR);
        }
        to.extend_from_slice(piece);
    }
}

/// The pieces between the places where `at` stands, without the empty ones. An empty `at` stands
/// between all characters.
fn split(token: &[u8], at: &[u8], to: &mut Vec<u8>) {
    let from = to.len();
    let mut rest = token;
    while !rest.is_empty() {
        let (piece, after) = if at.is_empty() {
            let width = rest.iter().skip(1).take_while(|byte| **byte & 0xc0 == 0x80);
            let width = width.count() + 1;
            (rest.get(..width), rest.get(width..))
        } else {
            match memchr::memmem::find(rest, at) {
                Some(end) => (rest.get(..end), rest.get(end + at.len()..)),
                None => (Some(rest), None),
            }
        };
        let piece = piece.unwrap_or_default();
        if !piece.is_empty() {
            if to.len() > from {
                to.push(TOKEN_SEPARATOR);
            }
            to.extend_from_slice(piece);
        }
        rest = after.unwrap_or_default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn transform(source: &str, destination: &str, subject: &str) -> String {
        let transform = Transform::new(source, destination, Functions::All).unwrap();
        let mut text = Vec::new();
        transform.apply(subject.as_bytes(), 0x8000_0007, &mut text);
        String::from_utf8(text).unwrap()
    }

    #[test]
    fn functions() {
        for (source, destination, subject, expected) in [
            ("foo", "bar", "foo", "bar"),
            ("foo.*.*", "bar.$2.{{wildcard(1)}}", "foo.a.b", "bar.b.a"),
            ("foo.*", "bar", "foo.a", "bar"),
            ("foo.>", "bar.>", "foo.a.b", "bar.a.b"),
            (">", "x.>", "a.b", "x.a.b"),
            ("x.>", ">", "x.a.b", "a.b"),
            ("*.>", "{{left(1,2)}}.>", "abc.d.e", "ab.d.e"),
            ("*", "{{ SplitFromLeft( 1 , 2 ) }}", "abcde", "ab.cde"),
            ("*", "{{splitFromRight(1,2)}}", "abcde", "abc.de"),
            ("*", "{{splitFromRight(1,5)}}", "abcde", "abcde"),
            ("*", "{{splitfromleft(1,0)}}", "abcde", "abcde"),
            ("*", "{{slicefromleft(1,2)}}", "abcde", "ab.cd.e"),
            ("*", "{{slicefromright(1,2)}}", "abcde", "a.bc.de"),
            ("*", "{{slicefromright(1,2)}}", "abcd", "ab.cd"),
            ("*", "{{slicefromleft(1,0)}}", "abcde", "abcde"),
            ("*", "{{slicefromright(1,-1)}}", "abcde", "abcde"),
            ("*", "x.{{split(1,-)}}.y", "-a--b-c-", "x.a.b.c.y"),
            ("*", "{{split(1,)}}", "aäb", "a.ä.b"),
            ("*", "{{right(1,2)}}", "abcde", "de"),
            ("*", "{{left(1,9)}}", "abcde", "abcde"),
            ("*", "{{right(1,0)}}", "abcde", "abcde"),
            ("*", "x.{{random(5)}}", "a", "x.2"),
            ("*", "x.{{random(0)}}", "a", "x.0"),
            ("*", "{{wildcard(0)}}", "a", "a"),
            ("*.*", "$x.{{}}.$2", "a.b", "$x.{{}}.b"),
            ("*", "x.{{split(1,-)}}.y", "--a--b-", "x.a.b.y"),
            // A subject with an empty token reaches nobody.
            ("*", "x.{{split(1,-)}}.y", "--", "x..y"),
            ("*.*", "p.{{partition(10,1,2)}}", "foo.bar", "p.0"),
            ("*.*", "p.{{partition(10)}}", "foo.bar", "p.6"),
            ("*.*", "p.{{partition(0,1)}}", "foo.bar", "p.0"),
        ] {
            let made = transform(source, destination, subject);
            assert_eq!(made, expected, "{source} {destination} {subject}");
        }
    }

    #[test]
    fn filters_of_destinations_and_ways_back() {
        for (source, destination, filter, subject, back) in [
            ("a.*.*", "x.$2.{{wildcard(1)}}", "x.*.*", "x.B.C", "a.C.B"),
            ("a.*.*.*", "$2.$3.$1", "*.*.*", "A.B.C", "a.C.A.B"),
            ("a.*.b.>", "p.$1.$1.>", "p.*.*.>", "p.A.B.C.D", "a.A.b.C.D"),
            ("a.>", "p.a.>", "p.a.>", "p.a.B", "a.B"),
            ("*.>", "$1.>", "*.>", "A.B", "A.B"),
            (">", "p.>", "p.>", "p.A.B", "A.B"),
            ("a.$1.*.{{x}}", "p.$1", "p.*", "p.A", "a.$1.A.{{x}}"),
        ] {
            assert_eq!(destination_filter(destination), filter);
            let there = Transform::new(source, destination, Functions::Reversible).unwrap();
            let mut made = Vec::new();
            there
                .reverse(source)
                .apply(subject.as_bytes(), 0, &mut made);
            assert_eq!(made, back.as_bytes(), "{source} {destination}");
        }
    }

    #[test]
    fn ways_back_need_all_wildcards() {
        for (destination, expected) in [
            ("x.$2.$1", None),
            ("x.{{wildcard(1)}}.$2.$2", None),
            (
                "x.$1.$1",
                Some("not using all of the token wildcard(s) in x.$1.$1"),
            ),
            (
                "x.$1",
                Some("not using all of the token wildcard(s) in x.$1"),
            ),
            (
                "x.$1.{{left(2,1)}}",
                Some(
                    "the only mapping function allowed for import transforms is {{Wildcard()}} in {{left(2,1)}}",
                ),
            ),
        ] {
            let made = Transform::new("a.*.*", destination, Functions::Reversible);
            let expected = expected.map(|text| format!("invalid mapping destination: {text}"));
            assert_eq!(made.err().map(|error| error.to_string()), expected);
        }
    }
}
