//! The parser: the same operations however the bytes arrive, and never a panic.

use proptest::prelude::*;
use proptest::sample::Index;

use super::effort::cases;
use midge::proto::op::Op;
use midge::proto::parse::{ParseError, ParseLimits, Parsed, parse};

const LIMITS: ParseLimits = ParseLimits {
    max_control_line: 48,
    max_payload: 64,
    headers: true,
};

/// What a stream of bytes turned out to hold: the operations, and why it ended.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
struct Transcript {
    operations: Vec<String>,
    end: Option<String>,
}

/// Bytes that read well when a test fails.
#[derive(Clone)]
struct Stream(Vec<u8>);

impl std::fmt::Debug for Stream {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "\"{}\"", self.0.escape_ascii())
    }
}

/// Feeds a parser with what arrives, keeping an incomplete tail as a connection does.
#[derive(Debug, Default)]
struct Reassembler {
    tail: Vec<u8>,
    /// Length that the last incomplete operation was said to have; 0 if unknown.
    announced: usize,
    transcript: Transcript,
}

impl Reassembler {
    fn feed(&mut self, chunk: &[u8], limits: &ParseLimits) {
        if self.transcript.end.is_some() {
            return;
        }
        self.tail.extend_from_slice(chunk);
        let mut consumed = 0;
        loop {
            let rest = &self.tail[consumed..];
            if rest.is_empty() {
                break;
            }
            match parse(rest, limits) {
                Ok(Parsed::Complete {
                    op,
                    consumed: length,
                }) => {
                    assert!(length > 0 && length <= rest.len());
                    if consumed == 0 && self.announced > 0 {
                        assert_eq!(length, self.announced, "the announced length was wrong");
                    }
                    self.announced = 0;
                    self.transcript.operations.push(format!("{op:?}"));
                    consumed += length;
                }
                Ok(Parsed::Incomplete { needed, kept }) => {
                    assert!(kept <= rest.len());
                    assert!(needed == 0 || (needed > rest.len() && kept == rest.len()));
                    self.announced = needed;
                    self.tail.truncate(consumed + kept);
                    break;
                }
                Err(error) => {
                    self.transcript.end = Some(reason(error));
                    return;
                }
            }
        }
        self.tail.drain(..consumed);
    }
}

/// Without the numbers: how long a too long line was depends on when it was seen to be too long, and
/// where a wrong byte stands on how many blanks before it were forgotten.
fn reason(error: ParseError) -> String {
    match error {
        ParseError::MaximumControlLine(_) => "maximum control line".to_owned(),
        ParseError::UnknownOperation(_) => "unknown operation".to_owned(),
        ParseError::MaximumPayload(_)
        | ParseError::HeadersNotSupported
        | ParseError::BadArguments(_) => format!("{error:?}"),
    }
}

fn whole(input: &[u8], limits: &ParseLimits) -> Transcript {
    let mut reassembler = Reassembler::default();
    reassembler.feed(input, limits);
    reassembler.transcript
}

fn cut(input: &[u8], limits: &ParseLimits, cuts: &[Index]) -> Transcript {
    let mut places: Vec<usize> = cuts.iter().map(|cut| cut.index(input.len() + 1)).collect();
    places.sort_unstable();
    places.push(input.len());
    let mut reassembler = Reassembler::default();
    let mut start = 0;
    for place in places {
        reassembler.feed(&input[start..place], limits);
        start = place;
    }
    reassembler.transcript
}

fn blanks() -> impl Strategy<Value = String> {
    prop_oneof![4 => Just(" ".to_owned()), 1 => "[ \t]{1,4}"]
}

/// A verb in any case.
fn verb(name: &'static str) -> impl Strategy<Value = String> {
    prop::collection::vec(any::<bool>(), name.len()).prop_map(move |lower| {
        let letters = name.chars().zip(lower);
        letters
            .map(|(letter, lower)| {
                if lower {
                    letter.to_ascii_lowercase()
                } else {
                    letter
                }
            })
            .collect()
    })
}

fn line_end() -> impl Strategy<Value = &'static str> {
    prop_oneof![5 => Just("\r\n"), 1 => Just("\n"), 1 => Just(" \r\n")]
}

fn word() -> impl Strategy<Value = String> {
    "[a-z.*>_$]{1,12}"
}

/// A size, mostly that of the payload, sometimes with leading zeros.
fn size_text(size: usize) -> impl Strategy<Value = String> {
    prop_oneof![
        6 => Just(size.to_string()),
        1 => Just(format!("0{size}")),
        1 => Just("70".to_owned()),
        1 => "[0-9x+-]{1,11}",
    ]
}

fn publish() -> impl Strategy<Value = Vec<u8>> {
    let payload = prop::collection::vec(any::<u8>(), 0..40);
    (payload, any::<bool>(), 0_usize..10).prop_flat_map(|(payload, with_header, header)| {
        let header = header.min(payload.len());
        let name = if with_header { "HPUB" } else { "PUB" };
        let reply = prop::option::of(word());
        let sizes = (size_text(header), size_text(payload.len()));
        (verb(name), blanks(), word(), reply, sizes, line_end()).prop_map(
            move |(verb, blank, subject, reply, (header, size), end)| {
                let mut words = vec![verb, subject];
                words.extend(reply);
                words.extend(with_header.then_some(header));
                words.push(size);
                let mut bytes = words.join(&*blank).into_bytes();
                bytes.extend_from_slice(end.as_bytes());
                bytes.extend_from_slice(&payload);
                bytes.extend_from_slice(b"\r\n");
                bytes
            },
        )
    })
}

fn control() -> impl Strategy<Value = Vec<u8>> {
    let name = prop_oneof![
        verb("SUB"),
        verb("UNSUB"),
        verb("PING"),
        verb("PONG"),
        verb("CONNECT"),
        verb("INFO"),
        verb("+OK"),
        verb("-ERR"),
    ];
    let words = prop_oneof![
        6 => prop::collection::vec(word(), 0..4),
        1 => prop::collection::vec("[a-z]{12,20}", 2..4),
        1 => Just(vec!["{\"verbose\":false}".to_owned()]),
    ];
    (name, blanks(), words, line_end()).prop_map(|(name, blank, words, end)| {
        let mut line = name;
        for word in words {
            line.push_str(&blank);
            line.push_str(&word);
        }
        line.push_str(end);
        line.into_bytes()
    })
}

/// Operations, most of them right, with now and then a byte changed, added or lost.
fn stream() -> impl Strategy<Value = Stream> {
    let operation = prop_oneof![publish(), control()];
    let operations = prop::collection::vec(operation, 1..8);
    let damage = prop::option::weighted(0.3, (any::<Index>(), any::<u8>(), 0..3));
    (operations, damage).prop_map(|(operations, damage)| {
        let mut bytes = operations.concat();
        if let Some((index, byte, kind)) = damage {
            let at = index.index(bytes.len());
            match kind {
                0 => bytes[at] = byte,
                1 => bytes.insert(at, byte),
                _ => drop(bytes.remove(at)),
            }
        }
        Stream(bytes)
    })
}

fn limits() -> impl Strategy<Value = ParseLimits> {
    (1_usize..64, 0_usize..64, any::<bool>()).prop_map(|(line, payload, headers)| ParseLimits {
        max_control_line: line,
        max_payload: payload,
        headers,
    })
}

proptest! {
    #![proptest_config(cases(800))]

    #[test]
    fn cuts_change_nothing(
        input in stream(),
        limits in prop_oneof![Just(LIMITS), limits()],
        cuts in prop::collection::vec(any::<Index>(), 0..20),
    ) {
        let expected = whole(&input.0, &limits);
        prop_assert_eq!(&cut(&input.0, &limits, &cuts), &expected);
        let mut by_one = Reassembler::default();
        for byte in &input.0 {
            by_one.feed(std::slice::from_ref(byte), &limits);
        }
        prop_assert_eq!(by_one.transcript, expected);
    }

    #[test]
    fn arbitrary_bytes_never_panic(
        input in prop::collection::vec(any::<u8>(), 0..200),
        limits in limits(),
    ) {
        let expected = whole(&input, &limits);
        prop_assert_eq!(cut(&input, &limits, &[]), expected);
    }

    /// Bytes near to operations get further into the parser than arbitrary ones.
    #[test]
    fn nearly_operations_never_panic(
        input in "(PUB|HPUB|SUB|UNSUB|PING|[ -~]|[ \t\r\n]|[0-9]{1,12}){0,30}",
        limits in limits(),
        cuts in prop::collection::vec(any::<Index>(), 0..8),
    ) {
        let expected = whole(input.as_bytes(), &limits);
        prop_assert_eq!(cut(input.as_bytes(), &limits, &cuts), expected);
    }

    /// No operation is complete before its last byte, and none needs a byte more.
    #[test]
    fn an_operation_ends_with_its_last_byte(input in prop_oneof![publish(), control()]) {
        if let Ok(Parsed::Complete { op, consumed }) = parse(&input, &LIMITS) {
            for place in 0..consumed {
                let parsed = parse(&input[..place], &LIMITS);
                prop_assert!(matches!(parsed, Ok(Parsed::Incomplete { .. })), "{:?}", parsed);
            }
            let exact = parse(&input[..consumed], &LIMITS);
            prop_assert_eq!(exact, Ok(Parsed::Complete { op, consumed }));
        }
    }
}

proptest! {
    #![proptest_config(cases(200))]

    #[test]
    fn one_cut_anywhere_changes_nothing(input in stream()) {
        let expected = whole(&input.0, &LIMITS);
        for place in 0..=input.0.len() {
            let mut reassembler = Reassembler::default();
            reassembler.feed(&input.0[..place], &LIMITS);
            reassembler.feed(&input.0[place..], &LIMITS);
            prop_assert_eq!(&reassembler.transcript, &expected, "cut at {}", place);
        }
    }
}

/// The longest allowed line, cut between its CR and its LF.
#[test]
fn the_line_end_does_not_count_against_the_limit() {
    for (verb, arguments) in [("PUB", 46), ("SUB", 46), ("UNSUB", 46), ("CONNECT", 48)] {
        let words = if verb == "CONNECT" {
            String::new()
        } else {
            " 1".to_owned()
        };
        let line = format!("{verb} {}{words}\r\n", "a".repeat(arguments));
        let input = if verb == "PUB" {
            format!("{line}x\r\n")
        } else {
            line
        };
        let expected = whole(input.as_bytes(), &LIMITS);
        assert_eq!(
            (expected.operations.len(), &expected.end),
            (1, &None),
            "{input}"
        );
        for place in 0..input.len() {
            let mut reassembler = Reassembler::default();
            reassembler.feed(&input.as_bytes()[..place], &LIMITS);
            reassembler.feed(&input.as_bytes()[place..], &LIMITS);
            assert_eq!(reassembler.transcript, expected, "{verb} cut at {place}");
        }
    }
}

/// What has no meaning is not kept, however much of it comes.
#[test]
fn meaningless_bytes_do_not_pile_up() {
    for (start, filler, end) in [
        ("PING", "x", "\r\n"),
        ("pong", " ", "\n"),
        ("+OK", "PUB", "\r\n"),
        ("PUB", " ", "a 1\r\nx\r\n"),
        ("sub", "\t", "a 1\r\n"),
        ("CONNECT", " ", "{}\r\n"),
    ] {
        let mut reassembler = Reassembler::default();
        reassembler.feed(start.as_bytes(), &LIMITS);
        for _ in 0..10_000 {
            reassembler.feed(filler.as_bytes(), &LIMITS);
            assert!(reassembler.tail.len() <= 8, "{start}");
        }
        reassembler.feed(end.as_bytes(), &LIMITS);
        assert_eq!(reassembler.transcript.end, None, "{start}");
        assert_eq!(reassembler.transcript.operations.len(), 1, "{start}");
    }
}

#[test]
fn an_operation_borrows_from_its_input() {
    let input = b"PUB a.b r 3\r\nxyz\r\n".to_vec();
    let Ok(Parsed::Complete {
        op: Op::Publish(publish),
        ..
    }) = parse(&input, &LIMITS)
    else {
        panic!("no publication");
    };
    let range = input.as_ptr_range();
    for part in [
        publish.subject,
        publish.reply.unwrap(),
        publish.size.text,
        publish.body,
    ] {
        assert!(range.contains(&part.as_ptr()), "a copy was made");
    }
}
