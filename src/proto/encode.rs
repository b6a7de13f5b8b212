//! What a server writes: control lines, built by appending slices.

use super::error::ProtocolError;
use super::headers;
use super::op::Publish;

/// End of every line.
pub const LINE_END: &[u8] = b"\r\n";
/// Answer to `PING`.
pub const PONG: &[u8] = b"PONG\r\n";
/// The server's own question.
pub const PING: &[u8] = b"PING\r\n";
/// Confirmation for verbose clients.
pub const OKAY: &[u8] = b"+OK\r\n";

/// `-ERR 'text'`.
#[must_use]
pub fn error(error: &ProtocolError) -> Vec<u8> {
    format!("-ERR '{}'\r\n", error.text()).into_bytes()
}

/// `INFO {json}`. The blank before the line end is nats-server's.
#[must_use]
pub fn info(json: &str) -> Vec<u8> {
    [b"INFO ", json.as_bytes(), b" \r\n"].concat()
}

/// The answer to a request that nobody listens to: a header block with status 503 and the subject.
#[must_use]
pub fn no_responders(reply: &[u8], sid: &[u8], subject: &[u8]) -> Vec<u8> {
    let block = [
        headers::VERSION_LINE,
        b" ",
        headers::STATUS_NO_RESPONDERS,
        b"\r\nNats-Subject: ",
        subject,
        b"\r\n\r\n",
    ]
    .concat();
    let length = block.len().to_string();
    let length = length.as_bytes();
    [
        b"HMSG ", reply, b" ", sid, b" ", length, b" ", length, b"\r\n", &block, b"\r\n",
    ]
    .concat()
}

/// Whether receivers get `message` with its header block: an empty one is none (oracle).
#[must_use]
pub fn has_headers(message: &Publish<'_>) -> bool {
    message.header.is_some_and(|header| header.bytes > 0)
}

/// Appends how the delivery of `message` for `sid` begins, up to the blank behind the sid.
pub fn message_prefix(into: &mut Vec<u8>, message: &Publish<'_>, sid: &[u8]) {
    into.extend_from_slice(if has_headers(message) {
        b"HMSG "
    } else {
        b"MSG "
    });
    into.extend_from_slice(message.subject);
    into.push(b' ');
    into.extend_from_slice(sid);
    into.push(b' ');
}

/// Appends how the delivery of `message` goes on behind that, to its end.
pub fn message_rest(into: &mut Vec<u8>, message: &Publish<'_>) {
    if let Some(reply) = message.reply {
        into.extend_from_slice(reply);
        into.push(b' ');
    }
    if let Some(sized_body) = message.sized_body {
        into.extend_from_slice(sized_body);
        return;
    }
    if let Some(header) = message.header.filter(|header| header.bytes > 0) {
        into.extend_from_slice(header.text);
        into.push(b' ');
    }
    into.extend_from_slice(message.size.text);
    into.extend_from_slice(LINE_END);
    into.extend_from_slice(message.body);
}

/// Length in bytes that the delivery of `message` for `sid` has at most.
#[must_use]
pub fn message_length(message: &Publish<'_>, sid: &[u8]) -> usize {
    let words = "HMSG ".len() + message.subject.len() + 1 + sid.len() + 1;
    let reply = message.reply.map_or(0, |reply| reply.len() + 1);
    let rest = message.sized_body.map_or_else(
        || {
            let header = message.header.map_or(0, |header| header.text.len() + 1);
            header + message.size.text.len() + LINE_END.len() + message.body.len()
        },
        <[u8]>::len,
    );
    words + reply + rest
}

/// The parts of a delivered message that are the same for every receiver of one publication.
///
/// A delivery is `MSG subject sid [reply] size`, so only the sid differs: `head` goes before it and
/// `tail` after it.
#[derive(Debug, Default)]
pub struct MessageFrame {
    head: Vec<u8>,
    tail: Vec<u8>,
}

impl MessageFrame {
    /// Prepares the frame for `publish`, whose headers go along.
    pub fn prepare(&mut self, publish: &Publish<'_>) {
        match publish.header {
            // An empty header block is none (oracle).
            Some(header) if header.bytes > 0 => {
                self.start(publish, true);
                self.tail.extend_from_slice(header.text);
                self.tail.push(b' ');
            }
            Some(_) | None => self.start(publish, false),
        }
        self.tail.extend_from_slice(publish.size.text);
        self.tail.extend_from_slice(LINE_END);
    }

    /// Prepares the frame for receivers that do not speak headers: the block is left out.
    pub fn prepare_without_headers(&mut self, publish: &Publish<'_>) {
        self.start(publish, false);
        let header = publish.header.map_or(0, |header| header.bytes);
        let mut digits = itoa::Buffer::new();
        let size = digits.format(publish.size.bytes.saturating_sub(header));
        self.tail.extend_from_slice(size.as_bytes());
        self.tail.extend_from_slice(LINE_END);
    }

    fn start(&mut self, publish: &Publish<'_>, headers: bool) {
        self.head.clear();
        self.tail.clear();
        self.head
            .extend_from_slice(if headers { b"HMSG " } else { b"MSG " });
        self.head.extend_from_slice(publish.subject);
        self.head.push(b' ');
        self.tail.push(b' ');
        if let Some(reply) = publish.reply {
            self.tail.extend_from_slice(reply);
            self.tail.push(b' ');
        }
    }

    /// What goes before the sid.
    #[must_use]
    pub fn head(&self) -> &[u8] {
        &self.head
    }

    /// What goes after the sid, line end included.
    #[must_use]
    pub fn tail(&self) -> &[u8] {
        &self.tail
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::op::Size;

    #[test]
    fn frames() {
        let publish = Publish {
            subject: b"a",
            reply: Some(b"r"),
            header: Some(Size {
                bytes: 12,
                text: b"012",
            }),
            size: Size {
                bytes: 14,
                text: b"14",
            },
            body: b"NATS/1.0\r\n\r\nhi\r\n",
            sized_body: None,
        };
        let mut frame = MessageFrame::default();
        frame.prepare(&publish);
        assert_eq!(
            (frame.head(), frame.tail()),
            (&b"HMSG a "[..], &b" r 012 14\r\n"[..])
        );
        frame.prepare_without_headers(&publish);
        assert_eq!(
            (frame.head(), frame.tail()),
            (&b"MSG a "[..], &b" r 2\r\n"[..])
        );
    }

    #[test]
    fn no_responders_counts_its_own_bytes() {
        let bytes = no_responders(b"_INBOX.1", b"7", b"foo");
        let text = b"HMSG _INBOX.1 7 35 35\r\nNATS/1.0 503\r\nNats-Subject: foo\r\n\r\n\r\n";
        assert_eq!(bytes, text);
    }
}
