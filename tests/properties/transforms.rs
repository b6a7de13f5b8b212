//! Subject transforms against a model that does the same to texts, slowly and obviously.

use proptest::prelude::*;

use super::effort::cases;
use midge::subject::matches;
use midge::subject::transform::{Functions, Transform, destination_filter};

/// A token of a destination.
#[derive(Clone, Debug)]
enum Token {
    Literal(&'static str),
    /// `$n`, or `{{wildcard(n)}}`.
    Wildcard(usize, bool),
    Cut(&'static str, usize, i32),
    Split(usize, &'static str),
    Partition(u32, Vec<usize>),
}

const CUTS: [&str; 6] = [
    "SplitFromLeft",
    "splitfromright",
    "sliceFromLeft",
    "SliceFromRight",
    "left",
    "Right",
];

impl Token {
    fn text(&self) -> String {
        match self {
            Self::Literal(text) => (*text).to_owned(),
            Self::Wildcard(number, true) => format!("${number}"),
            Self::Wildcard(number, false) => format!("{{{{ wildcard( {number} ) }}}}"),
            Self::Cut(name, number, size) => format!("{{{{{name}({number}, {size})}}}}"),
            Self::Split(number, at) => format!("{{{{split({number},{at})}}}}"),
            Self::Partition(count, numbers) => {
                let numbers: String = numbers.iter().map(|number| format!(",{number}")).collect();
                format!("{{{{partition({count}{numbers})}}}}")
            }
        }
    }

    fn apply(&self, wildcards: &[String], subject: &str) -> String {
        let of = |number: &usize| wildcards[number - 1].clone();
        match self {
            Self::Literal(text) => (*text).to_owned(),
            Self::Wildcard(number, _) => of(number),
            Self::Cut(name, number, size) => cut(&name.to_lowercase(), &of(number), *size),
            Self::Split(number, at) => {
                let token = of(number);
                let pieces = token.split(at).filter(|piece| !piece.is_empty());
                pieces.collect::<Vec<_>>().join(".")
            }
            Self::Partition(count, numbers) => {
                let key: String = match &**numbers {
                    [] => subject.to_owned(),
                    numbers => numbers.iter().map(of).collect(),
                };
                let mut hash: u64 = 2_166_136_261;
                for byte in key.bytes() {
                    hash = ((hash ^ u64::from(byte)) * 16_777_619) % (1 << 32);
                }
                (hash % u64::from(*count)).to_string()
            }
        }
    }
}

/// Pieces of a token, which is left as it is where a cut would leave nothing on one side.
fn cut(name: &str, token: &str, size: i32) -> String {
    let letters: Vec<char> = token.chars().collect();
    let size = match usize::try_from(size) {
        Ok(size) if size > 0 && size < letters.len() => size,
        _ => return token.to_owned(),
    };
    let text = |letters: &[char]| letters.iter().collect::<String>();
    let behind = letters.len() - size;
    match name {
        "splitfromleft" => format!("{}.{}", text(&letters[..size]), text(&letters[size..])),
        "splitfromright" => format!("{}.{}", text(&letters[..behind]), text(&letters[behind..])),
        "left" => text(&letters[..size]),
        "right" => text(&letters[behind..]),
        _ => {
            let from_right = name == "slicefromright";
            let ordered = |letters: &[char]| -> Vec<char> {
                let mut letters = letters.to_vec();
                if from_right {
                    letters.reverse();
                }
                letters
            };
            let letters = ordered(&letters);
            let mut pieces: Vec<String> = letters.chunks(size).map(|p| text(&ordered(p))).collect();
            if from_right {
                pieces.reverse();
            }
            pieces.join(".")
        }
    }
}

fn token(wildcards: usize) -> impl Strategy<Value = Token> {
    let number = 1..=wildcards.max(1);
    let of_wildcard = prop_oneof![
        (number.clone(), any::<bool>()).prop_map(|(number, short)| Token::Wildcard(number, short)),
        (prop::sample::select(&CUTS[..]), number.clone(), -1..6)
            .prop_map(|(name, number, size)| Token::Cut(name, number, size)),
        (number.clone(), prop::sample::select(&["-", "a", "--"][..]))
            .prop_map(|(number, at)| Token::Split(number, at)),
        (1u32..9, prop::collection::vec(number, 0..3))
            .prop_map(|(count, numbers)| Token::Partition(count, numbers)),
    ];
    let literal = prop::sample::select(&["x", "yy", "$SYS", "{{}}"][..]).prop_map(Token::Literal);
    let weight = if wildcards == 0 { 0 } else { 3 };
    prop_oneof![1 => literal, weight => of_wildcard]
}

/// A subject's tokens, which of them the source leaves open, and whether it ends with `>`, with the
/// tokens of a destination.
fn example() -> impl Strategy<Value = (Vec<String>, Vec<bool>, bool, Vec<Token>)> {
    let subject = prop::collection::vec(("[a-c-]{1,6}", any::<bool>()), 1..5);
    (subject, any::<bool>()).prop_flat_map(|(subject, tail)| {
        let (tokens, open): (Vec<String>, Vec<bool>) = subject.into_iter().unzip();
        let fixed = tokens.len() - usize::from(tail);
        let wildcards = open[..fixed].iter().filter(|open| **open).count();
        let destination = prop::collection::vec(token(wildcards), 1..5);
        (Just(tokens), Just(open), Just(tail), destination)
    })
}

proptest! {
    #![proptest_config(cases(2000))]

    #[test]
    fn transforms_do_what_the_model_does((tokens, open, tail, destination) in example()) {
        let fixed = tokens.len() - usize::from(tail);
        let mut source: Vec<&str> = Vec::new();
        let mut wildcards = Vec::new();
        for (token, open) in tokens.iter().zip(&open).take(fixed) {
            source.push(if *open { "*" } else { token });
            wildcards.extend(open.then(|| token.clone()));
        }
        source.extend(tail.then_some(">"));
        let (source, subject) = (source.join("."), tokens.join("."));
        let mut written: Vec<String> = destination.iter().map(Token::text).collect();
        let mut expected: Vec<String> =
            destination.iter().map(|token| token.apply(&wildcards, &subject)).collect();
        if tail {
            written.push(">".to_owned());
            expected.extend_from_slice(&tokens[fixed..]);
        }
        let transform = Transform::new(&source, &written.join("."), Functions::All).unwrap();
        let mut made = Vec::new();
        transform.apply(subject.as_bytes(), 0, &mut made);
        prop_assert_eq!(String::from_utf8(made).unwrap(), expected.join("."), "{} -> {}", source, written.join("."));
    }

    #[test]
    fn the_way_back_leads_back(
        tokens in prop::collection::vec(("[ab]{1,2}|\\$[12]|\\{\\{x\\}\\}", any::<bool>()), 1..6),
        tail in any::<bool>(),
        order in any::<u64>(),
        rest in prop::collection::vec("[ab]", 1..3),
    ) {
        let mut source: Vec<&str> = Vec::new();
        source.extend(tokens.iter().map(|(token, open)| if *open { "*" } else { token.as_str() }));
        let mut numbers: Vec<usize> = (1..=source.iter().filter(|token| **token == "*").count()).collect();
        // Any order of the wildcards will do.
        numbers.sort_by_key(|number| (order >> (number % 8 * 8)) & 0xff);
        let mut destination: Vec<String> = vec!["out".to_owned()];
        destination.extend(numbers.iter().map(|number| format!("${number}")));
        let mut subject: Vec<&str> = tokens.iter().map(|(token, _)| token.as_str()).collect();
        if tail {
            source.push(">");
            destination.push(">".to_owned());
            subject.extend(rest.iter().map(String::as_str));
        }
        let (source, destination, subject) = (source.join("."), destination.join("."), subject.join("."));
        let there = Transform::new(&source, &destination, Functions::Reversible).unwrap();
        let filter = destination_filter(&destination);
        let back = there.reverse(&source);
        let (mut out, mut home) = (Vec::new(), Vec::new());
        there.apply(subject.as_bytes(), 0, &mut out);
        prop_assert!(matches(filter.as_bytes(), &out));
        back.apply(&out, 0, &mut home);
        prop_assert_eq!(String::from_utf8(home).unwrap(), subject);
    }

    #[test]
    fn no_text_makes_a_transform_panic(source in ".{0,12}", destination in "[ -~]{0,24}", subject in "[a-c.*>-]{0,12}") {
        if let Ok(transform) = Transform::new(&source, &destination, Functions::All) {
            transform.apply(subject.as_bytes(), u32::MAX, &mut Vec::new());
        }
    }
}
