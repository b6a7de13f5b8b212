//! Messages as a connection within the process gets them.

/// A message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// The subject it was published on.
    pub subject: String,
    /// Where an answer shall go.
    pub reply: Option<String>,
    /// The number of the subscription that wanted it.
    pub subscription: u64,
    /// The header block, from `NATS/1.0` to the empty line; empty without headers.
    pub headers: Vec<u8>,
    /// The payload.
    pub payload: Vec<u8>,
}

/// The first message in `bytes`, and how many bytes it takes with what stands before it; nothing when
/// it is not whole yet. The bytes are a server's own: lines that are no message are skipped.
pub(super) fn first(bytes: &[u8]) -> Option<(Message, usize)> {
    let mut start = 0;
    loop {
        let rest = bytes.get(start..)?;
        let line = rest.get(..memchr::memchr(b'\n', rest)?)?;
        let after = start + line.len() + 1;
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        if let Some(head) = Head::parse(line) {
            let body = bytes.get(after..after.checked_add(head.total)?)?;
            let end = after + head.total + 2;
            bytes.get(..end)?;
            let (headers, payload) = body.split_at_checked(head.headers)?;
            let message = Message {
                subject: text(head.subject),
                reply: head.reply.map(text),
                subscription: head.subscription,
                headers: headers.to_vec(),
                payload: payload.to_vec(),
            };
            return Some((message, end));
        }
        start = after;
    }
}

/// A message's first line.
struct Head<'a> {
    subject: &'a [u8],
    reply: Option<&'a [u8]>,
    subscription: u64,
    headers: usize,
    total: usize,
}

impl<'a> Head<'a> {
    /// `MSG subject sid [reply] total` or `HMSG subject sid [reply] headers total`.
    fn parse(line: &'a [u8]) -> Option<Self> {
        let words: Vec<&[u8]> = line.split(|&byte| byte == b' ').collect();
        let (subject, sid, reply, headers, total) = match *words.as_slice() {
            [b"MSG", subject, sid, total] => (subject, sid, None, None, total),
            [b"MSG", subject, sid, reply, total] => (subject, sid, Some(reply), None, total),
            [b"HMSG", subject, sid, headers, total] => (subject, sid, None, Some(headers), total),
            [b"HMSG", subject, sid, reply, headers, total] => {
                (subject, sid, Some(reply), Some(headers), total)
            }
            _ => return None,
        };
        let number = |digits: &[u8]| std::str::from_utf8(digits).ok()?.parse::<u64>().ok();
        Some(Self {
            subject,
            reply,
            subscription: number(sid)?,
            headers: usize::try_from(headers.map_or(Some(0), number)?).ok()?,
            total: usize::try_from(number(total)?).ok()?,
        })
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_read_from_what_servers_write() {
        let bytes = b"INFO {}\r\nMSG a 7 2\r\nhi\r\nPING\r\nHMSG b.c 12 reply 12 15\r\nNATS/1.0\r\n\r\nabc\r\n";
        let (one, end) = first(bytes).unwrap();
        let expected = Message {
            subject: "a".to_owned(),
            reply: None,
            subscription: 7,
            headers: Vec::new(),
            payload: b"hi".to_vec(),
        };
        assert_eq!(one, expected);
        let rest = &bytes[end..];
        let (two, end) = first(rest).unwrap();
        assert_eq!(
            (two.subject.as_str(), two.reply.as_deref()),
            ("b.c", Some("reply"))
        );
        assert_eq!(
            (&*two.headers, &*two.payload),
            (&b"NATS/1.0\r\n\r\n"[..], &b"abc"[..])
        );
        assert_eq!((two.subscription, end), (12, rest.len()));
        for part in 0..rest.len() {
            assert_eq!(first(&rest[..part]), None, "{part}");
        }
        assert_eq!(first(b""), None);
    }
}
