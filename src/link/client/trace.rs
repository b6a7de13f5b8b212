//! Protocol lines for the log, in nats-server's form: `<<- [SUB foo 1]`.

use super::redact;
use crate::proto::op::Op;

/// The line for an operation that came in. `input` begins with it.
pub(super) fn incoming(op: &Op<'_>, input: &[u8]) -> Option<String> {
    let verb = match op {
        Op::Connect(document) => {
            return Some(format!("<<- [CONNECT {}]", redact::connect(document)));
        }
        Op::Ping => return Some("<<- [PING]".to_owned()),
        Op::Pong => return Some("<<- [PONG]".to_owned()),
        Op::Publish(publish) if publish.header.is_some() => "HPUB",
        Op::Publish(_) => "PUB",
        Op::Subscribe(_) => "SUB",
        Op::Unsubscribe(_) => "UNSUB",
        Op::Info(_) | Op::Okay | Op::Error(_) => return None,
    };
    Some(format!(
        "<<- [{verb} {}]",
        String::from_utf8_lossy(arguments(input, verb.len()))
    ))
}

/// The argument line as it was written.
fn arguments(input: &[u8], verb: usize) -> &[u8] {
    let rest = input.get(verb..).unwrap_or_default().trim_ascii_start();
    let end = memchr::memchr(b'\n', rest).unwrap_or(rest.len());
    let line = rest.get(..end).unwrap_or_default();
    line.strip_suffix(b"\r").unwrap_or(line)
}
