//! Values of each type, read from what was written.
//!
//! Each function records a mistake and returns none if the value is of another type or out of range.

#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "a value of any type but the expected ones is refused"
)]

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use crate::config::diagnostic::{Diagnostic, Problems};
use crate::config::secret::Secret;
use crate::config::units::{parse_duration, parse_nanoseconds};
use crate::config::value::{Entry, Node, Table, Value};

/// Stores a value that could be read.
pub(crate) fn set<T>(slot: &mut T, value: Option<T>) {
    if let Some(value) = value {
        *slot = value;
    }
}

fn wrong_type<T>(entry: &Entry, expected: &str, problems: &mut Problems) -> Option<T> {
    let found = entry.node.value.kind();
    let message = format!("{:?} must be {expected}, not {found}", entry.key);
    problems.error(Diagnostic::new(entry.place(), message));
    None
}

/// A boolean.
pub(crate) fn boolean(entry: &Entry, problems: &mut Problems) -> Option<bool> {
    match &entry.node.value {
        Value::Boolean(value) => Some(*value),
        Value::Text(text) if text.parse::<bool>().is_ok() => {
            let message = format!("{:?} must be a boolean, not a string", entry.key);
            problems.error(Diagnostic::new(entry.place(), message).fix("remove the quotes"));
            None
        }
        _ => wrong_type(entry, "true or false", problems),
    }
}

/// A string.
pub(crate) fn text(entry: &Entry, problems: &mut Problems) -> Option<String> {
    match &entry.node.value {
        Value::Text(text) => Some(text.clone()),
        Value::Integer(_) | Value::Float(_) | Value::Boolean(_) | Value::Moment(_) => {
            let found = entry.node.value.kind();
            let message = format!("{:?} must be a string, not {found}", entry.key);
            problems.error(Diagnostic::new(entry.place(), message).fix("put it in quotes"));
            None
        }
        Value::List(_) | Value::Table(_) => wrong_type(entry, "a string", problems),
    }
}

/// A string, or none if it is empty.
pub(crate) fn optional_text(entry: &Entry, problems: &mut Problems) -> Option<Option<String>> {
    text(entry, problems).map(|text| Some(text).filter(|text| !text.is_empty()))
}

/// A path, or none if it is empty.
pub(crate) fn optional_path(entry: &Entry, problems: &mut Problems) -> Option<Option<PathBuf>> {
    optional_text(entry, problems).map(|text| text.map(PathBuf::from))
}

/// A secret, or none if it is empty.
pub(crate) fn optional_secret(entry: &Entry, problems: &mut Problems) -> Option<Option<Secret>> {
    optional_text(entry, problems).map(|text| text.map(Secret::new))
}

/// A whole number from `least` to `most`.
pub(crate) fn integer(
    entry: &Entry,
    least: i64,
    most: i64,
    problems: &mut Problems,
) -> Option<i64> {
    let Value::Integer(number) = entry.node.value else {
        return wrong_type(entry, "an integer", problems);
    };
    if number > most {
        let message = format!("{} value is too big", entry.key);
        problems.error(Diagnostic::new(entry.place(), message).fix(format!("the most is {most}")));
        return None;
    }
    if number < least {
        let message = format!("{} value cannot be {number}", entry.key);
        problems
            .error(Diagnostic::new(entry.place(), message).fix(format!("the least is {least}")));
        return None;
    }
    Some(number)
}

/// A whole number from 0 to `most`; 0 stands for `default`, as in nats-server.
pub(crate) fn positive<T: TryFrom<i64>>(
    entry: &Entry,
    most: i64,
    default: T,
    problems: &mut Problems,
) -> Option<T> {
    match integer(entry, 0, most, problems)? {
        0 => Some(default),
        number => T::try_from(number).ok(),
    }
}

/// A limit of which `-1` and 0 mean that there is none.
pub(crate) fn optional_limit<T: TryFrom<i64>>(
    entry: &Entry,
    most: i64,
    problems: &mut Problems,
) -> Option<Option<T>> {
    match integer(entry, -1, most, problems)? {
        -1 | 0 => Some(None),
        number => T::try_from(number).ok().map(Some),
    }
}

/// A port to listen on: `-1` is any free one, which the system knows as 0, and 0 is `default`.
pub(crate) fn port(entry: &Entry, default: u16, problems: &mut Problems) -> Option<u16> {
    let number = integer(entry, -1, i64::from(u16::MAX), problems)?;
    Some(listen_port(number, default))
}

/// See [`port`].
fn listen_port(number: i64, default: u16) -> u16 {
    match number {
        -1 => 0,
        0 => default,
        _ => u16::try_from(number).unwrap_or(default),
    }
}

/// A port that turns a feature on: 0 is off, `-1` is any free one.
pub(crate) fn feature_port(entry: &Entry, problems: &mut Problems) -> Option<Option<u16>> {
    match integer(entry, -1, i64::from(u16::MAX), problems)? {
        0 => Some(None),
        -1 => Some(Some(0)),
        number => u16::try_from(number).ok().map(Some),
    }
}

/// A host, which may be left out, and a port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Address {
    /// Empty if it was left out.
    pub(crate) host: String,
    /// The port as it was written.
    pub(crate) port: i64,
}

impl Address {
    /// The port to listen on; see [`port`].
    pub(crate) fn listen_port(&self, default: u16) -> u16 {
        listen_port(self.port, default)
    }
}

/// A port, or `host:port`; an IPv6 address stands in brackets.
pub(crate) fn address(entry: &Entry, problems: &mut Problems) -> Option<Address> {
    let found = match &entry.node.value {
        Value::Integer(number) => Ok(Address {
            host: String::new(),
            port: *number,
        }),
        Value::Text(text) => parse_address(text),
        _ => return wrong_type(entry, "a port or host:port", problems),
    };
    let checked = found.and_then(|address| {
        let valid = (-1..=i64::from(u16::MAX)).contains(&address.port);
        let message = || format!("could not parse port {:?}", address.port.to_string());
        if valid {
            Ok(address.clone())
        } else {
            Err(message())
        }
    });
    match checked {
        Ok(address) => Some(address),
        Err(message) => {
            let fix = "write host:port, with an IPv6 address in brackets, or only a port";
            problems.error(Diagnostic::new(entry.place(), message).fix(fix));
            None
        }
    }
}

/// Splits `host:port`.
pub(crate) fn parse_address(text: &str) -> Result<Address, String> {
    let broken = || format!("could not parse address string {text:?}");
    let (host, port) = text.rsplit_once(':').ok_or_else(broken)?;
    let host = match host.strip_prefix('[') {
        Some(inner) => inner.strip_suffix(']').ok_or_else(broken)?,
        None => host,
    };
    let bracketed = text.starts_with('[');
    if host.contains(['[', ']']) || (host.contains(':') && !bracketed) {
        return Err(broken());
    }
    let port = port
        .parse()
        .map_err(|_| format!("could not parse port {port:?}"))?;
    Ok(Address {
        host: host.to_owned(),
        port,
    })
}

/// A time such as `10s`. A bare number counts seconds, which nats-server asks to change; zero is
/// `default`.
pub(crate) fn duration(
    entry: &Entry,
    default: Duration,
    problems: &mut Problems,
) -> Option<Duration> {
    let read = match &entry.node.value {
        Value::Text(text) => parse_duration(text),
        Value::Integer(seconds) => {
            let message = format!(
                "invalid use of field {:?}: {} should be converted to a duration",
                entry.key, entry.key
            );
            let fix = format!("write \"{seconds}s\"; minutes need quotes, as in \"1m\"");
            problems.deprecated(Diagnostic::new(entry.place(), message).fix(fix));
            match u64::try_from(*seconds) {
                Ok(seconds) => Ok(Duration::from_secs(seconds)),
                Err(_) => Err(format!("{seconds} seconds is negative")),
            }
        }
        _ => return wrong_type(entry, "a time such as 10s", problems),
    };
    let zero_is_default = |read: Duration| if read.is_zero() { default } else { read };
    told_duration(entry, read, problems).map(zero_is_default)
}

/// A time such as `10s`, and nothing else.
pub(crate) fn strict_duration(entry: &Entry, problems: &mut Problems) -> Option<Duration> {
    match &entry.node.value {
        Value::Text(text) => told_duration(entry, parse_duration(text), problems),
        Value::Integer(number) => {
            let message = format!(
                "{:?} must be a time such as \"10s\", not an integer",
                entry.key
            );
            let fix = format!("write \"{number}s\" for seconds; minutes need quotes, as in \"1m\"");
            problems.error(Diagnostic::new(entry.place(), message).fix(fix));
            None
        }
        _ => wrong_type(entry, "a time such as 10s", problems),
    }
}

/// A time such as `10s` that may be negative, in nanoseconds.
pub(crate) fn signed_duration(entry: &Entry, problems: &mut Problems) -> Option<i64> {
    let Value::Text(text) = &entry.node.value else {
        return wrong_type(entry, "a time such as 10s", problems);
    };
    told_duration(entry, parse_nanoseconds(text), problems)
}

/// Seconds with or without a fraction, or a time such as `2s`. Zero means the default: none.
pub(crate) fn seconds(entry: &Entry, problems: &mut Problems) -> Option<Option<Duration>> {
    let read = match &entry.node.value {
        Value::Text(text) => parse_duration(text),
        Value::Integer(number) => u64::try_from(*number)
            .map(Duration::from_secs)
            .map_err(|_| format!("{number} seconds is negative")),
        Value::Float(number) => Duration::try_from_secs_f64(*number)
            .map_err(|_| format!("{number} seconds is negative or too long")),
        _ => return wrong_type(entry, "seconds or a time such as 2s", problems),
    };
    told_duration(entry, read, problems).map(|read| Some(read).filter(|read| !read.is_zero()))
}

/// A length of time as options have it.
trait Length: Sized {
    /// Refuses what no clock can add: more than the signed 64-bit count of nanoseconds that texts may say.
    fn checked(self) -> Result<Self, String>;
}

impl Length for Duration {
    fn checked(self) -> Result<Self, String> {
        match i64::try_from(self.as_nanos()) {
            Ok(_) => Ok(self),
            Err(_) => Err(format!("{} seconds is too long", self.as_secs())),
        }
    }
}

impl Length for i64 {
    fn checked(self) -> Result<Self, String> {
        Ok(self)
    }
}

fn told_duration<T: Length>(
    entry: &Entry,
    read: Result<T, String>,
    problems: &mut Problems,
) -> Option<T> {
    match read.and_then(|value| value.checked()) {
        Ok(value) => Some(value),
        Err(message) => {
            let message = format!("error parsing {}: {message}", entry.key);
            problems.error(Diagnostic::new(entry.place(), message));
            None
        }
    }
}

/// One of several words.
pub(crate) fn choice<T: Copy>(
    entry: &Entry,
    words: &[(&str, T)],
    problems: &mut Problems,
) -> Option<T> {
    let written = text(entry, problems)?;
    let found = words.iter().find(|(word, _)| *word == written);
    if found.is_none() {
        let words: Vec<_> = words.iter().map(|(word, _)| format!("'{word}'")).collect();
        let message = format!("{} must be {}", entry.key, words.join(", "));
        let message = match message.rsplit_once(", ") {
            Some((first, last)) => format!("{first} or {last}"),
            None => message,
        };
        problems.error(Diagnostic::new(entry.place(), message));
    }
    found.map(|(_, value)| *value)
}

/// A string or a list of strings.
pub(crate) fn texts(entry: &Entry, problems: &mut Problems) -> Option<Vec<String>> {
    match &entry.node.value {
        Value::Text(text) => Some(vec![text.clone()]),
        Value::List(elements) => Some(text_elements(entry, elements, problems)),
        _ => wrong_type(entry, "a string or a list of strings", problems),
    }
}

/// A list of strings.
pub(crate) fn text_list(entry: &Entry, problems: &mut Problems) -> Option<Vec<String>> {
    let elements = list(entry, problems)?;
    Some(text_elements(entry, elements, problems))
}

fn text_elements(entry: &Entry, elements: &[Node], problems: &mut Problems) -> Vec<String> {
    let mut found = Vec::with_capacity(elements.len());
    for element in elements {
        match &element.value {
            Value::Text(text) => found.push(text.clone()),
            other => {
                let message = format!("{:?} must hold strings, not {}", entry.key, other.kind());
                problems.error(Diagnostic::new(&element.place, message).fix("put it in quotes"));
            }
        }
    }
    found
}

/// A list.
pub(crate) fn list<'a>(entry: &'a Entry, problems: &mut Problems) -> Option<&'a [Node]> {
    match &entry.node.value {
        Value::List(elements) => Some(elements),
        _ => wrong_type(entry, "a list", problems),
    }
}

/// A block.
pub(crate) fn table<'a>(entry: &'a Entry, problems: &mut Problems) -> Option<&'a Table> {
    match &entry.node.value {
        Value::Table(table) => Some(table),
        _ => wrong_type(entry, "a block", problems),
    }
}

/// The blocks of a list.
pub(crate) fn tables<'a>(
    entry: &'a Entry,
    problems: &mut Problems,
) -> Option<Vec<(&'a Node, &'a Table)>> {
    let mut found = Vec::new();
    for element in list(entry, problems)? {
        match &element.value {
            Value::Table(table) => found.push((element, table)),
            other => {
                let message = format!("{:?} must hold blocks, not {}", entry.key, other.kind());
                problems.error(Diagnostic::new(&element.place, message));
            }
        }
    }
    Some(found)
}

/// A block of names, each with a value that `read` takes.
pub(crate) fn names<T>(
    entry: &Entry,
    problems: &mut Problems,
    read: impl Fn(&Entry, &mut Problems) -> Option<T>,
) -> Option<BTreeMap<String, T>> {
    let table = table(entry, problems)?;
    let mut found = BTreeMap::new();
    for entry in &table.entries {
        if let Some(value) = read(entry, problems) {
            found.insert(entry.key.clone(), value);
        }
    }
    Some(found)
}

/// A number from 0 to 100, as an integer or as a string with or without `%`.
pub(crate) fn percentage(node: &Node) -> Option<u8> {
    let number = if let Value::Integer(number) = node.value {
        number
    } else if let Value::Text(text) = &node.value {
        text.strip_suffix('%').unwrap_or(text).parse().ok()?
    } else {
        return None;
    };
    u8::try_from(number).ok().filter(|percent| *percent <= 100)
}
