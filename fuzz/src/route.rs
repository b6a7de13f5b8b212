//! The parser of what other servers of a cluster send, fed whole and in parts.

use midge::proto::op::Publish;
use midge::proto::route::{RouteLimits, RouteOp, RouteParsed, RoutedMessage, parse_route};
use midge::proto::route_info::{RouteConnect, RouteInfo};

const MAX_LINE: usize = 60;
const MAX_PAYLOAD: usize = 50;

pub(crate) fn check(bytes: &[u8]) {
    let (instructions, bytes) = super::split_first(bytes);
    let limits = RouteLimits {
        max_line: MAX_LINE,
        max_payload: MAX_PAYLOAD,
        names_account: instructions & 1 == 0,
        names_origin: instructions & 2 == 0,
    };
    let whole = feed(bytes, bytes.len().max(1), &limits);
    let chunk = usize::from(instructions >> 3) + 1;
    assert_eq!(whole, feed(bytes, chunk, &limits));
}

/// Feeds the bytes as a connection does; the operations as text, and whether they end with an error.
fn feed(bytes: &[u8], chunk: usize, limits: &RouteLimits) -> (Vec<String>, bool) {
    let (mut operations, mut tail) = (Vec::new(), Vec::new());
    for part in bytes.chunks(chunk) {
        tail.extend_from_slice(part);
        let mut consumed = 0;
        while consumed < tail.len() {
            let rest = &tail[consumed..];
            match parse_route(rest, limits) {
                Ok(RouteParsed::Complete(op, length)) => {
                    assert!(length > 0 && length <= rest.len());
                    check_operation(&op, &rest[..length], limits);
                    operations.push(format!("{op:?}"));
                    consumed += length;
                }
                Ok(RouteParsed::Incomplete(needed)) => {
                    assert!(needed == 0 || needed > rest.len());
                    break;
                }
                Err(_) => return (operations, true),
            }
        }
        tail.drain(..consumed);
        assert!(
            tail.len() <= MAX_LINE + MAX_PAYLOAD + 3,
            "{} bytes",
            tail.len()
        );
    }
    (operations, false)
}

fn check_operation(op: &RouteOp<'_>, bytes: &[u8], limits: &RouteLimits) {
    match op {
        RouteOp::Message(message) => check_message(message, bytes, limits),
        RouteOp::Info(document) => drop(serde_json::from_slice::<RouteInfo>(document)),
        RouteOp::Connect(document) => drop(serde_json::from_slice::<RouteConnect>(document)),
        RouteOp::Interest(_)
        | RouteOp::NoInterest(_)
        | RouteOp::Account
        | RouteOp::Ping
        | RouteOp::Pong
        | RouteOp::Okay
        | RouteOp::Error(_) => {}
    }
}

/// Another blank between the words changes nothing but the way the line is read.
fn check_message(message: &RoutedMessage<'_>, bytes: &[u8], limits: &RouteLimits) {
    let publish = &message.publish;
    let header = publish.header.map_or(0, |header| header.bytes);
    assert!(header <= publish.size.bytes && publish.size.bytes <= MAX_PAYLOAD);
    assert_eq!(publish.body.len(), publish.size.bytes + 2);
    if let Some(whole) = publish.sized_body {
        assert!(whole.ends_with(publish.body) && bytes.ends_with(whole));
        let sizes = &whole[..whole.len() - publish.body.len()];
        let words: Vec<&[u8]> = sizes.trim_ascii_end().split(|byte| *byte == b' ').collect();
        assert_eq!(words.last(), Some(&publish.size.text));
        assert_eq!(words.len(), 1 + usize::from(publish.header.is_some()));
    }
    let line = bytes.len() - publish.body.len();
    let Some(blank) = bytes[..line].iter().rposition(|byte| *byte == b' ') else {
        return;
    };
    let spread = [&bytes[..blank], b" ", &bytes[blank..]].concat();
    let limits = RouteLimits {
        max_line: 2 * MAX_LINE,
        ..*limits
    };
    let Ok(RouteParsed::Complete(RouteOp::Message(other), _)) = parse_route(&spread, &limits)
    else {
        panic!("another blank changes the line");
    };
    let plain = |message: &RoutedMessage<'_>| {
        let queues: Vec<Vec<u8>> = message.queues().map(<[u8]>::to_vec).collect();
        let publish = Publish {
            sized_body: None,
            ..message.publish
        };
        format!(
            "{:?} {:?} {publish:?} {queues:?}",
            message.origin, message.account
        )
    };
    assert_eq!(plain(message), plain(&other));
}
