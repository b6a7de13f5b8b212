//! The parser of what clients send: slices in, an operation that borrows them out.
//!
//! It keeps no state: whoever reads the socket keeps an incomplete tail and offers it again with what
//! came after it. The payload is jumped over, never scanned. Leniency (any case, tabs, runs of blanks,
//! a bare LF after a control line, anything after `PING`) and strictness are nats-server's (oracle).

use super::args::{Arguments, parse_size};
use super::op::{Op, Publish, Size, Subscribe, Unsubscribe};
use super::quick;

/// Ends every control line; a CR before it is dropped.
const LINE_FEED: u8 = b'\n';

/// What the parser must know of the connection.
#[derive(Debug, Clone, Copy)]
pub struct ParseLimits {
    /// Longest argument line in bytes (`max_control_line`).
    pub max_control_line: usize,
    /// Largest header block and payload together in bytes (`max_payload`).
    pub max_payload: usize,
    /// Whether the client and the server both speak headers, so that `HPUB` is allowed.
    pub headers: bool,
}

/// What the front of the input holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Parsed<'a> {
    /// A whole operation.
    Complete {
        /// The operation.
        op: Op<'a>,
        /// How many bytes of the input it took.
        consumed: usize,
    },
    /// The beginning of one.
    Incomplete {
        /// Length of the whole operation in bytes where it is known already, otherwise 0.
        needed: usize,
        /// How many bytes of the input have a meaning. Those behind them (blanks before arguments,
        /// junk after `PING`) may be forgotten, or a peer could send them for ever and let them pile up.
        kept: usize,
    },
}

/// Why the input cannot go on; the connection ends with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ParseError {
    /// No operation starts like this, or a payload did not end where it had to. The number is the
    /// offset of the first wrong byte.
    UnknownOperation(usize),
    /// The argument line has more bytes than allowed.
    MaximumControlLine(usize),
    /// The message would have this many bytes.
    MaximumPayload(usize),
    /// `HPUB` on a connection without headers.
    HeadersNotSupported,
    /// Wrong number of arguments, or a number that cannot be read; nothing is sent for it (oracle).
    BadArguments(&'static str),
}

/// Verbs and how their line goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verb {
    Connect,
    Info,
    Publish,
    HeaderPublish,
    Subscribe,
    Unsubscribe,
    Ping,
    Pong,
    Okay,
    Error,
}

/// Every verb in lower case.
const VERBS: [(&[u8], Verb); 10] = [
    (b"pub", Verb::Publish),
    (b"hpub", Verb::HeaderPublish),
    (b"sub", Verb::Subscribe),
    (b"unsub", Verb::Unsubscribe),
    (b"ping", Verb::Ping),
    (b"pong", Verb::Pong),
    (b"connect", Verb::Connect),
    (b"info", Verb::Info),
    (b"+ok", Verb::Okay),
    (b"-err", Verb::Error),
];

/// Parses the operation at the front of `input`.
///
/// # Errors
/// [`ParseError`], after which the rest of the input has no meaning.
#[inline]
pub fn parse<'a>(input: &'a [u8], limits: &ParseLimits) -> Result<Parsed<'a>, ParseError> {
    if let Some((publish, consumed)) = quick::publish(input, limits) {
        return Ok(Parsed::Complete {
            op: Op::Publish(publish),
            consumed,
        });
    }
    parse_any(input, limits)
}

/// Parses the operation at the front of `input` whatever its shape, without trying the usual one first.
///
/// # Errors
/// [`ParseError`], after which the rest of the input has no meaning.
pub fn parse_any<'a>(input: &'a [u8], limits: &ParseLimits) -> Result<Parsed<'a>, ParseError> {
    // The two verbs of the hot path are told apart by one comparison of four bytes.
    let (verb, after_verb) = match input {
        [b'P' | b'p', b'U' | b'u', b'B' | b'b', b' ', ..] => (Verb::Publish, 3),
        [b'H' | b'h', b'P' | b'p', b'U' | b'u', b'B' | b'b', b' ', ..] => (Verb::HeaderPublish, 4),
        _ => match recognise(input)? {
            Some(found) => found,
            None => return Ok(unfinished(input.len())),
        },
    };
    match verb {
        Verb::Ping => Ok(skip_line(input, after_verb, Op::Ping)),
        Verb::Pong => Ok(skip_line(input, after_verb, Op::Pong)),
        Verb::Okay => Ok(skip_line(input, after_verb, Op::Okay)),
        Verb::Publish
        | Verb::HeaderPublish
        | Verb::Connect
        | Verb::Info
        | Verb::Subscribe
        | Verb::Unsubscribe
        | Verb::Error => parse_with_arguments(verb, input, after_verb, limits),
    }
}

/// Finds the verb at the front of `input`; `None` while it could still become one.
fn recognise(input: &[u8]) -> Result<Option<(Verb, usize)>, ParseError> {
    let mut longest = 0;
    for (name, verb) in VERBS {
        let same = name
            .iter()
            .zip(input)
            .take_while(|(name, byte)| **name == byte.to_ascii_lowercase())
            .count();
        if same == name.len() {
            return check_separator(verb, input, same);
        }
        if same == input.len() {
            return Ok(None);
        }
        longest = longest.max(same);
    }
    Err(ParseError::UnknownOperation(longest))
}

/// Verbs with arguments other than CONNECT and INFO must be followed by a blank.
fn check_separator(
    verb: Verb,
    input: &[u8],
    at: usize,
) -> Result<Option<(Verb, usize)>, ParseError> {
    let free = match verb {
        Verb::Connect | Verb::Info | Verb::Ping | Verb::Pong | Verb::Okay => true,
        Verb::Publish | Verb::HeaderPublish | Verb::Subscribe | Verb::Unsubscribe | Verb::Error => {
            false
        }
    };
    match input.get(at) {
        Some(b' ' | b'\t') => Ok(Some((verb, at))),
        Some(_) if !free => Err(ParseError::UnknownOperation(at)),
        None if !free => Ok(None),
        Some(_) | None => Ok(Some((verb, at))),
    }
}

/// An operation whose line is ignored up to its LF.
fn skip_line<'a>(input: &'a [u8], from: usize, op: Op<'a>) -> Parsed<'a> {
    let rest = input.get(from..).unwrap_or_default();
    match memchr::memchr(LINE_FEED, rest) {
        Some(at) => Parsed::Complete {
            op,
            consumed: from + at + 1,
        },
        None => unfinished(from),
    }
}

/// The beginning of an operation of unknown length, of which the first `kept` bytes have a meaning.
fn unfinished<'a>(kept: usize) -> Parsed<'a> {
    Parsed::Incomplete { needed: 0, kept }
}

/// An operation with an argument line, and for the publishing ones a payload after it.
fn parse_with_arguments<'a>(
    verb: Verb,
    input: &'a [u8],
    after_verb: usize,
    limits: &ParseLimits,
) -> Result<Parsed<'a>, ParseError> {
    let rest = input.get(after_verb..).unwrap_or_default();
    let Some(blanks) = rest.iter().position(|&byte| byte != b' ' && byte != b'\t') else {
        return Ok(unfinished(input.len().min(after_verb + 1)));
    };
    let line_start = after_verb + blanks;
    let rest = input.get(line_start..).unwrap_or_default();
    // The first byte belongs to the arguments whatever it is, even a line feed (oracle).
    let Some(length) = rest
        .get(1..)
        .and_then(|rest| memchr::memchr(LINE_FEED, rest))
        .map(|at| at + 1)
    else {
        // A CR at the end may be the first half of a line end.
        check_control_line(without_carriage_return(rest).len(), limits)?;
        return Ok(unfinished(input.len()));
    };
    let line = without_carriage_return(rest.get(..length).unwrap_or_default());
    check_control_line(line.len(), limits)?;
    let line_end = line_start + length + 1;
    let op = match verb {
        Verb::Publish | Verb::HeaderPublish => {
            return parse_publish(verb == Verb::HeaderPublish, input, line, line_end, limits);
        }
        Verb::Subscribe => parse_subscribe(line)?,
        Verb::Unsubscribe => parse_unsubscribe(line)?,
        Verb::Connect => Op::Connect(line),
        Verb::Info => Op::Info(line),
        Verb::Error => Op::Error(line),
        Verb::Ping => Op::Ping,
        Verb::Pong => Op::Pong,
        Verb::Okay => Op::Okay,
    };
    Ok(Parsed::Complete {
        op,
        consumed: line_end,
    })
}

fn without_carriage_return(line: &[u8]) -> &[u8] {
    line.strip_suffix(b"\r").unwrap_or(line)
}

fn check_control_line(length: usize, limits: &ParseLimits) -> Result<(), ParseError> {
    if length > limits.max_control_line {
        return Err(ParseError::MaximumControlLine(length));
    }
    Ok(())
}

/// `PUB subject [reply] size` or `HPUB subject [reply] header-size size`, and the payload.
fn parse_publish<'a>(
    with_header: bool,
    input: &'a [u8],
    line: &'a [u8],
    line_end: usize,
    limits: &ParseLimits,
) -> Result<Parsed<'a>, ParseError> {
    let (subject, reply, header, size) = if with_header {
        header_publish_line(line, limits)?
    } else {
        publish_line(line)?
    };
    if size.bytes > limits.max_payload {
        return Err(ParseError::MaximumPayload(size.bytes));
    }
    let needed = line_end + size.bytes + 2;
    let Some(body) = input.get(line_end..needed) else {
        return incomplete_payload(input, line_end + size.bytes, needed);
    };
    if !body.ends_with(b"\r\n") {
        return Err(ParseError::UnknownOperation(line_end + size.bytes));
    }
    Ok(Parsed::Complete {
        op: Op::Publish(Publish {
            subject,
            reply,
            header,
            size,
            body,
            sized_body: None,
        }),
        consumed: needed,
    })
}

/// A payload must be followed by CR LF; a wrong CR is refused before the LF arrives.
fn incomplete_payload(
    input: &[u8],
    payload_end: usize,
    needed: usize,
) -> Result<Parsed<'_>, ParseError> {
    match input.get(payload_end) {
        Some(b'\r') | None => Ok(Parsed::Incomplete {
            needed,
            kept: input.len(),
        }),
        Some(_) => Err(ParseError::UnknownOperation(payload_end)),
    }
}

type PublishLine<'a> = (&'a [u8], Option<&'a [u8]>, Option<Size<'a>>, Size<'a>);

fn publish_line(line: &[u8]) -> Result<PublishLine<'_>, ParseError> {
    let arguments = Arguments::<3>::split(line).ok_or(ParseError::BadArguments("PUB"))?;
    match *arguments.as_slice() {
        [subject, size] => Ok((subject, None, None, parse_length(size, "PUB")?)),
        [subject, reply, size] => Ok((subject, Some(reply), None, parse_length(size, "PUB")?)),
        _ => Err(ParseError::BadArguments("PUB")),
    }
}

fn header_publish_line<'a>(
    line: &'a [u8],
    limits: &ParseLimits,
) -> Result<PublishLine<'a>, ParseError> {
    if !limits.headers {
        return Err(ParseError::HeadersNotSupported);
    }
    let arguments = Arguments::<4>::split(line).ok_or(ParseError::BadArguments("HPUB"))?;
    let (subject, reply, header, size) = match *arguments.as_slice() {
        [subject, header, size] => (subject, None, header, size),
        [subject, reply, header, size] => (subject, Some(reply), header, size),
        _ => return Err(ParseError::BadArguments("HPUB")),
    };
    let (header, size) = (parse_length(header, "HPUB")?, parse_length(size, "HPUB")?);
    if header.bytes > size.bytes {
        return Err(ParseError::BadArguments("HPUB"));
    }
    Ok((subject, reply, Some(header), size))
}

fn parse_length<'a>(text: &'a [u8], verb: &'static str) -> Result<Size<'a>, ParseError> {
    match parse_size(text) {
        Some(bytes) => Ok(Size { bytes, text }),
        None => Err(ParseError::BadArguments(verb)),
    }
}

fn parse_subscribe(line: &[u8]) -> Result<Op<'_>, ParseError> {
    let arguments =
        Arguments::<3>::split_at_any_space(line).ok_or(ParseError::BadArguments("SUB"))?;
    match *arguments.as_slice() {
        [filter, sid] => Ok(Op::Subscribe(Subscribe {
            filter,
            queue: None,
            sid,
        })),
        [filter, queue, sid] => Ok(Op::Subscribe(Subscribe {
            filter,
            queue: Some(queue),
            sid,
        })),
        _ => Err(ParseError::BadArguments("SUB")),
    }
}

fn parse_unsubscribe(line: &[u8]) -> Result<Op<'_>, ParseError> {
    let arguments =
        Arguments::<2>::split_at_any_space(line).ok_or(ParseError::BadArguments("UNSUB"))?;
    let (sid, max) = match *arguments.as_slice() {
        [sid] => (sid, None),
        [sid, max] => (sid, parse_size(max).and_then(|max| u64::try_from(max).ok())),
        _ => return Err(ParseError::BadArguments("UNSUB")),
    };
    Ok(Op::Unsubscribe(Unsubscribe { sid, max }))
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: ParseLimits = ParseLimits {
        max_control_line: 64,
        max_payload: 100,
        headers: true,
    };

    fn op(input: &[u8]) -> (Op<'_>, usize) {
        match parse(input, &LIMITS) {
            Ok(Parsed::Complete { op, consumed }) => (op, consumed),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn publish_borrows_its_parts() {
        let input = b"pUb  a.b\tr 03\r\nxyz\r\nPING";
        let (op, consumed) = op(input);
        assert_eq!(consumed, input.len() - 4);
        let Op::Publish(publish) = op else { panic!() };
        assert_eq!(publish.subject, b"a.b");
        assert_eq!(publish.reply, Some(&b"r"[..]));
        assert_eq!(
            publish.size,
            Size {
                bytes: 3,
                text: b"03"
            }
        );
        assert_eq!(publish.body, b"xyz\r\n");
    }

    #[test]
    fn header_publish() {
        let (op, _) = op(b"HPUB a 12 14\r\nNATS/1.0\r\n\r\nhi\r\n");
        let Op::Publish(publish) = op else { panic!() };
        assert_eq!(publish.header.unwrap().bytes, 12);
        assert_eq!(publish.size.bytes, 14);
    }

    #[test]
    fn lenient_lines() {
        assert_eq!(op(b"PINGX junk\n"), (Op::Ping, 11));
        assert_eq!(op(b"connect{}\r\n"), (Op::Connect(b"{}"), 11));
        let (subscribe, _) = op(b"SUB \t a \t q  1 \n");
        let expected = Subscribe {
            filter: b"a",
            queue: Some(b"q"),
            sid: b"1",
        };
        assert_eq!(subscribe, Op::Subscribe(expected));
        assert_eq!(
            op(b"UNSUB 1 x\r\n").0,
            Op::Unsubscribe(Unsubscribe {
                sid: b"1",
                max: None
            })
        );
    }

    #[test]
    fn refusals_name_the_first_wrong_byte() {
        for (input, at) in [
            ("X", 0),
            ("PX", 1),
            ("PUB\r", 3),
            ("PUBa", 3),
            (" PING", 0),
            ("\r\n", 0),
        ] {
            let error = parse(input.as_bytes(), &LIMITS).unwrap_err();
            assert_eq!(error, ParseError::UnknownOperation(at), "{input}");
        }
        for input in ["PUB a 1\r\nxy", "PUB a 1\r\nx\ry", "PUB a 0\r\n\n"] {
            assert!(
                matches!(
                    parse(input.as_bytes(), &LIMITS),
                    Err(ParseError::UnknownOperation(_))
                ),
                "{input}"
            );
        }
    }

    #[test]
    fn limits() {
        let long = format!("PUB {} 1\r\nx\r\n", "a".repeat(63));
        assert_eq!(
            parse(long.as_bytes(), &LIMITS),
            Err(ParseError::MaximumControlLine(65))
        );
        assert!(parse(&long.as_bytes()[..68], &LIMITS).is_ok());
        assert_eq!(
            parse(b"PUB a 101\r\n", &LIMITS),
            Err(ParseError::MaximumPayload(101))
        );
        let plain = ParseLimits {
            headers: false,
            ..LIMITS
        };
        assert_eq!(
            parse(b"HPUB a 1 1\r\n", &plain),
            Err(ParseError::HeadersNotSupported)
        );
    }

    #[test]
    fn every_cut_is_incomplete_and_never_an_error() {
        let whole = b"HPUB a b 12 14\r\nNATS/1.0\r\n\r\nhi\r\n";
        for cut in 0..whole.len() {
            assert!(
                matches!(parse(&whole[..cut], &LIMITS), Ok(Parsed::Incomplete { .. })),
                "cut at {cut}"
            );
        }
    }
}
