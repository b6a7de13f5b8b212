//! The header block of `HPUB` and `HMSG` (ADR-4).

/// The first line of every header block, without its CR LF.
pub const VERSION_LINE: &[u8] = b"NATS/1.0";

/// Status of a reply that says that nobody listens (ADR-4).
pub const STATUS_NO_RESPONDERS: &[u8] = b"503";

/// Who a request from another account comes from, as a JSON document; only servers write it.
pub const REQUEST_INFO: &[u8] = b"Nats-Request-Info";

/// The end of each line.
const LINE_END: &[u8] = b"\r\n";

/// Appends a header block that has `name` once, with `value`, besides what else `block` has. `block`
/// is empty for a message without headers.
pub fn replace(block: &[u8], name: &[u8], value: &[u8], to: &mut Vec<u8>) {
    let rest = block.strip_suffix(LINE_END).unwrap_or(block);
    let start = to.len();
    for (place, line) in lines(rest).enumerate() {
        if place == 0 || !is_named(line, name) {
            to.extend_from_slice(line);
        }
    }
    if to.len() == start {
        to.extend_from_slice(VERSION_LINE);
    }
    if !to.ends_with(LINE_END) {
        to.extend_from_slice(LINE_END);
    }
    for part in [name, b": ", value, LINE_END, LINE_END] {
        to.extend_from_slice(part);
    }
}

/// The value of the first line of `name` in a header block, without the blanks around it.
#[must_use]
pub fn value<'a>(block: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    let line = lines(block).skip(1).find(|line| is_named(line, name))?;
    Some(line.get(name.len() + 1..)?.trim_ascii())
}

/// The headers of a block whose names start with `start`, in which words begin with capitals: names so
/// written, and values.
pub fn starting_with(block: &[u8], start: &str) -> impl Iterator<Item = (String, String)> {
    lines(block).skip(1).filter_map(move |line| {
        let text = String::from_utf8_lossy(line);
        let (name, value) = text.split_once(':')?;
        let name = name
            .split('-')
            .map(capitalized)
            .collect::<Vec<_>>()
            .join("-");
        name.starts_with(start)
            .then(|| (name, value.trim().to_owned()))
    })
}

fn capitalized(word: &str) -> String {
    let (first, rest) = word.split_at_checked(1).unwrap_or((word, ""));
    first.to_ascii_uppercase() + &rest.to_ascii_lowercase()
}

/// The lines of a block with their ends.
fn lines(block: &[u8]) -> impl Iterator<Item = &[u8]> {
    block.split_inclusive(|&byte| byte == b'\n')
}

/// Whether a line is a header of that name. Receivers may not care for the case, so it must not help
/// anybody to pass a header for one that a server wrote.
fn is_named(line: &[u8], name: &[u8]) -> bool {
    line.get(..name.len())
        .is_some_and(|start| start.eq_ignore_ascii_case(name))
        && line.get(name.len()) == Some(&b':')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn replaced(block: &str) -> String {
        let mut text = Vec::new();
        replace(block.as_bytes(), b"Name", b"{}", &mut text);
        String::from_utf8(text).unwrap()
    }

    #[test]
    fn a_header_is_there_once() {
        for (block, expected) in [
            ("", "NATS/1.0\r\nName: {}\r\n\r\n"),
            ("NATS/1.0\r\n\r\n", "NATS/1.0\r\nName: {}\r\n\r\n"),
            (
                "NATS/1.0\r\nname: x\r\nOther: Name: y\r\nName:z\r\nNAME: \r\nName2: a\r\n\r\n",
                "NATS/1.0\r\nOther: Name: y\r\nName2: a\r\nName: {}\r\n\r\n",
            ),
            ("NATS/1.0 503\r\n\r\n", "NATS/1.0 503\r\nName: {}\r\n\r\n"),
        ] {
            assert_eq!(replaced(block), expected, "{block:?}");
        }
        assert_eq!(
            value(b"NATS/1.0\r\nA: b\r\nname:  {} \r\n\r\n", b"Name"),
            Some(&b"{}"[..])
        );
        assert_eq!(value(b"NATS/1.0\r\nName2: b\r\n\r\n", b"Name"), None);
    }
}
