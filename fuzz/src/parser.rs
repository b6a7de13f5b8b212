//! The client parser, fed whole and in parts.

use midge::proto::op::{Op, Publish};
use midge::proto::parse::{ParseError, ParseLimits, Parsed, parse};

/// Operations as text, and why there are no more.
type Transcript = (Vec<String>, Option<&'static str>);

pub(crate) fn check(bytes: &[u8]) {
    let (instructions, bytes) = super::split_first(bytes);
    let limits = ParseLimits {
        max_control_line: 40,
        max_payload: 50,
        headers: instructions & 1 == 0,
    };
    let whole = feed(bytes, bytes.len().max(1), &limits);
    let chunk = usize::from(instructions >> 3) + 1;
    assert_eq!(whole, feed(bytes, chunk, &limits));
}

/// How a line was written may be forgotten with blanks that have no meaning.
fn without_shape(op: Op<'_>) -> Op<'_> {
    if let Op::Publish(publish) = op {
        return Op::Publish(Publish {
            sized_body: None,
            ..publish
        });
    }
    op
}

/// Feeds the bytes as a connection does: an incomplete tail goes in front of what comes next.
fn feed(bytes: &[u8], chunk: usize, limits: &ParseLimits) -> Transcript {
    let (mut operations, mut tail) = (Vec::new(), Vec::new());
    for part in bytes.chunks(chunk) {
        tail.extend_from_slice(part);
        let mut consumed = 0;
        while consumed < tail.len() {
            let rest = &tail[consumed..];
            match parse(rest, limits) {
                Ok(Parsed::Complete {
                    op,
                    consumed: length,
                }) => {
                    assert!(length > 0 && length <= rest.len());
                    operations.push(format!("{:?}", without_shape(op)));
                    consumed += length;
                }
                Ok(Parsed::Incomplete { needed, kept }) => {
                    assert!(kept <= rest.len() && (needed == 0 || needed > rest.len()));
                    tail.truncate(consumed + kept);
                    break;
                }
                Err(error) => return (operations, Some(name(error))),
            }
        }
        tail.drain(..consumed);
        // No operation is longer than its line and its payload, and blanks are not kept.
        assert!(tail.len() <= 120, "{} bytes are kept", tail.len());
    }
    (operations, None)
}

fn name(error: ParseError) -> &'static str {
    match error {
        ParseError::UnknownOperation(_) => "unknown operation",
        ParseError::MaximumControlLine(_) => "maximum control line",
        ParseError::MaximumPayload(_) => "maximum payload",
        ParseError::HeadersNotSupported => "headers",
        ParseError::BadArguments(_) => "arguments",
    }
}
