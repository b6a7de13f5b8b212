//! The plainest reader of what a server writes: messages only, and nothing but whole ones.

/// A delivered message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Message {
    pub(crate) subject: Vec<u8>,
    pub(crate) sid: Vec<u8>,
    pub(crate) reply: Option<Vec<u8>>,
    /// The header block; `None` for `MSG`.
    pub(crate) header: Option<Vec<u8>>,
    pub(crate) payload: Vec<u8>,
}

/// Reads all messages of `bytes`. Panics where they are not what a client understands.
pub(crate) fn read_frames(bytes: &[u8]) -> Vec<Message> {
    let mut messages = Vec::new();
    let mut rest = bytes;
    while !rest.is_empty() {
        let (message, after) = read_frame(rest);
        messages.push(message);
        rest = after;
    }
    messages
}

/// Reads the message at the front, and returns what follows it.
pub(crate) fn read_frame(bytes: &[u8]) -> (Message, &[u8]) {
    let end = memchr::memmem::find(bytes, b"\r\n").expect("a control line");
    let words: Vec<&[u8]> = bytes[..end].split(|&byte| byte == b' ').collect();
    let with_header = match words[0] {
        b"MSG" => false,
        b"HMSG" => true,
        other => panic!("{:?} is no message", String::from_utf8_lossy(other)),
    };
    let numbers = if with_header { 2 } else { 1 };
    let reply = match words.len() - numbers {
        3 => None,
        4 => Some(words[3].to_vec()),
        _ => panic!("{} words in a control line", words.len()),
    };
    let size = number(words[words.len() - 1]);
    let header = if with_header {
        number(words[words.len() - 2])
    } else {
        0
    };
    let body = &bytes[end + 2..end + 2 + size];
    let rest = &bytes[end + 2 + size..];
    let message = Message {
        subject: words[1].to_vec(),
        sid: words[2].to_vec(),
        reply,
        header: with_header.then(|| body[..header].to_vec()),
        payload: body[header..].to_vec(),
    };
    (
        message,
        rest.strip_prefix(b"\r\n")
            .expect("a line end after the payload"),
    )
}

fn number(digits: &[u8]) -> usize {
    std::str::from_utf8(digits).unwrap().parse().unwrap()
}
