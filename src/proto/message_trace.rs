//! Headers that ask for a report of a message's way through the servers (ADR-41).

use std::collections::BTreeMap;

use memchr::memchr;
use memchr::memmem;

use super::headers::VERSION_LINE;

/// Where the reports go.
pub const DESTINATION: &str = "Nats-Trace-Dest";
/// Only report: clients do not get the message.
pub const ONLY: &str = "Nats-Trace-Only";
/// Which of the copies that went to other servers this is: `2.1` is the first copy that the server made
/// which got the second. Only servers write it.
pub const HOP: &str = "Nats-Trace-Hop";
/// Servers once told each other the account of the reports; nowadays nothing is traced with this header.
pub const ORIGIN_ACCOUNT: &str = "Nats-Trace-Origin-Account";
/// The destination of a message that shall not be traced any further; it is no subject.
pub const DISABLED: &str = "trace disabled";
/// How whoever gets the reports reads them.
pub const ACCEPT_ENCODING: &str = "Accept-Encoding";
/// How a report was encoded.
pub const CONTENT_ENCODING: &str = "Content-Encoding";

/// Longest header block of a message that is traced, in bytes: reports hold all headers, and many may wait.
pub const MAX_HEADER_BYTES: usize = 64 * 1024;

/// The letter of [`DESTINATION`] that is rarest in other headers.
const DESTINATION_LETTER: u8 = b'D';

/// The header of W3C Trace Context, in any case.
const PARENT: &[u8] = b"traceparent";

const LINE_END: &[u8] = b"\r\n";

/// The headers of a message that asks for a report: names and values.
pub type Headers = BTreeMap<String, Vec<String>>;

/// A wish for a report.
#[derive(Debug, PartialEq, Eq)]
pub struct Wish {
    /// All headers that have a value.
    pub headers: Headers,
    /// Whether the message is part of a trace of other systems, and names no destination.
    pub by_parent: bool,
}

impl Wish {
    /// The first value of a header; empty without one. The case counts.
    #[must_use]
    pub fn value(&self, name: &str) -> &str {
        let values = self.headers.get(name);
        values.and_then(|values| values.first()).map_or("", |v| v)
    }

    /// Whether clients shall not get the message.
    #[must_use]
    pub fn is_only_traced(&self) -> bool {
        let value = self.value(ONLY);
        !self.by_parent
            && ["1", "true", "on"]
                .iter()
                .any(|yes| value.eq_ignore_ascii_case(yes))
    }
}

/// Whether a header block may hold a wish for a report; quick, since all messages with headers are
/// asked. `by_parent` says whether that of another system counts.
#[must_use]
#[inline]
pub fn may_ask(block: &[u8], by_parent: bool) -> bool {
    // Few blocks hold the letter; only theirs are looked at line by line.
    (by_parent || memchr(DESTINATION_LETTER, block).is_some()) && has_line(block, by_parent)
}

#[cold]
fn has_line(block: &[u8], by_parent: bool) -> bool {
    let mut rest = block;
    while let Some(end) = memchr(b'\n', rest) {
        rest = rest.get(end + 1..).unwrap_or_default();
        match rest.first() {
            Some(b'N') if rest.starts_with(DESTINATION.as_bytes()) => return true,
            Some(b't' | b'T') if by_parent && starts_with_parent(rest) => return true,
            _ => {}
        }
    }
    false
}

fn starts_with_parent(line: &[u8]) -> bool {
    line.get(..PARENT.len())
        .is_some_and(|name| name.eq_ignore_ascii_case(PARENT))
}

/// The wish for a report in a header block, if there is one. Names and values are split as nats-server
/// does it, which takes no line end within a name for one.
#[must_use]
pub fn wish(block: &[u8]) -> Option<Wish> {
    let mut rest = block.strip_prefix(VERSION_LINE)?.strip_prefix(LINE_END)?;
    let mut headers = Headers::new();
    let (mut has_destination, mut has_parent) = (false, false);
    while let Some((name, value, after)) = next_header(rest) {
        rest = after;
        if name.is_empty() || value.is_empty() {
            continue;
        }
        if name == DESTINATION.as_bytes() {
            if !has_destination && value == DISABLED.as_bytes() {
                return None;
            }
            has_destination = true;
        } else if name.eq_ignore_ascii_case(PARENT) {
            has_parent |= is_sampled(value);
        }
        let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
        headers.entry(text(name)).or_default().push(text(value));
    }
    (has_destination || has_parent).then_some(Wish {
        headers,
        by_parent: !has_destination,
    })
}

/// Name and value of the first header, and what follows it.
fn next_header(block: &[u8]) -> Option<(&[u8], &[u8], &[u8])> {
    let colon = memchr(b':', block)?;
    let (name, value) = block.split_at_checked(colon)?;
    let value = value.get(1..)?;
    let blanks = value.iter().take_while(is_blank).count();
    let value = value.get(blanks..)?;
    let end = memmem::find(value, LINE_END)?;
    let (value, after) = value.split_at_checked(end)?;
    let blanks = value.iter().rev().take_while(is_blank).count();
    let value = value.get(..value.len() - blanks)?;
    Some((name, value, after.get(LINE_END.len()..)?))
}

fn is_blank(byte: &&u8) -> bool {
    matches!(byte, b' ' | b'\t')
}

/// Whether the flags of a `traceparent` say that the message is part of a trace that is kept.
fn is_sampled(value: &[u8]) -> bool {
    let value = String::from_utf8_lossy(value);
    let words: Vec<&str> = value.split('-').collect();
    match *words {
        [_, _, _, flags] if flags.len() == 2 => {
            i8::from_str_radix(flags, 16).is_ok_and(|flags| flags & 1 == 1)
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SAMPLED: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    fn block(lines: &str) -> Vec<u8> {
        format!("NATS/1.0\r\n{lines}\r\n\r\n").into_bytes()
    }

    /// The destination and whether another system asks; none for no wish.
    fn asked(lines: &str) -> Option<(String, bool)> {
        let block = block(lines);
        let wish = wish(&block)?;
        assert!(may_ask(&block, true), "{lines}");
        assert!(wish.by_parent || may_ask(&block, false), "{lines}");
        Some((wish.value(DESTINATION).to_owned(), wish.by_parent))
    }

    #[test]
    fn wishes_are_found() {
        let dest = |dest: &str| Some((dest.to_owned(), false));
        for (lines, expected) in [
            ("Nats-Trace-Dest: a.b".to_owned(), dest("a.b")),
            (
                "X: y\r\nNats-Trace-Dest:\t a \r\nNats-Trace-Dest: b".to_owned(),
                dest("a"),
            ),
            ("nats-trace-dest: a".to_owned(), None),
            ("Nats-Trace-Dest:".to_owned(), None),
            ("X-Nats-Trace-Dest: a".to_owned(), None),
            ("X: Nats-Trace-Dest: a".to_owned(), None),
            ("Nats-Trace-Only: true".to_owned(), None),
            ("Nats-Trace-Dest: trace disabled".to_owned(), None),
            (
                format!("Nats-Trace-Dest: trace disabled\r\ntraceparent: {SAMPLED}"),
                None,
            ),
            (
                format!("TraceParent: {SAMPLED}"),
                Some((String::new(), true)),
            ),
            (
                format!("traceparent: {SAMPLED}\r\nNats-Trace-Dest: a"),
                dest("a"),
            ),
            ("traceparent: 00-1-2-00".to_owned(), None),
            ("traceparent: 00-1-2-81".to_owned(), None),
            ("traceparent: 01-2-01".to_owned(), None),
        ] {
            assert_eq!(asked(&lines), expected, "{lines}");
        }
        assert!(wish(b"NATS/1.0 503\r\nNats-Trace-Dest: a\r\n\r\n").is_none());
        assert!(wish(b"NATS/1.0\r\nNats-Trace-Dest: a").is_none());
        assert!(!may_ask(&block("A: b\r\nNats-Msg-Id: x"), true));
        assert!(!may_ask(&block(&format!("traceparent: {SAMPLED}")), false));
    }

    #[test]
    fn only_traced_says_so_in_three_ways() {
        for (lines, expected) in [
            ("Nats-Trace-Only: True", true),
            ("Nats-Trace-Only: 1", true),
            ("Nats-Trace-Only: on", true),
            ("Nats-Trace-Only: yes", false),
            ("X: y", false),
        ] {
            let block = block(&format!("{lines}\r\nNats-Trace-Dest: a"));
            assert_eq!(wish(&block).unwrap().is_only_traced(), expected, "{lines}");
        }
        let block = block(&format!("Nats-Trace-Only: 1\r\ntraceparent: {SAMPLED}"));
        assert!(!wish(&block).unwrap().is_only_traced());
    }
}
