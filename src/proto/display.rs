//! Messages as a person reads them in a log.

/// How much of a message a trace line shows.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PayloadTrace {
    /// Most bytes; `None` for all.
    pub max_bytes: Option<usize>,
    /// The header block only.
    pub headers_only: bool,
}

/// The trace line for a message; none where there is nothing to show. `body` is its header block of
/// `header` bytes, its payload and the closing CR LF.
#[must_use]
pub fn payload(body: &[u8], header: usize, trace: PayloadTrace) -> Option<String> {
    let shown = if trace.headers_only {
        let header = body.get(..header)?;
        header.strip_suffix(b"\r\n\r\n").unwrap_or(header)
    } else {
        body.strip_suffix(b"\r\n").unwrap_or(body)
    };
    if shown.is_empty() {
        return None;
    }
    let part = trace.max_bytes.and_then(|most| shown.get(..most));
    Some(match part {
        Some(part) if part.len() < shown.len() => {
            format!("MSG_PAYLOAD: [\"{}...\"]", escaped(part))
        }
        Some(_) | None => format!("MSG_PAYLOAD: [\"{}\"]", escaped(shown)),
    })
}

/// Bytes as text without control characters, as Go's `%q` writes them.
#[must_use]
pub fn escaped(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        for character in chunk.valid().chars() {
            match character {
                '"' => text.push_str("\\\""),
                '\\' => text.push_str("\\\\"),
                '\x07' => text.push_str("\\a"),
                '\x08' => text.push_str("\\b"),
                '\x0c' => text.push_str("\\f"),
                '\n' => text.push_str("\\n"),
                '\r' => text.push_str("\\r"),
                '\t' => text.push_str("\\t"),
                '\x0b' => text.push_str("\\v"),
                other if other.is_ascii_control() => {
                    text.push_str(&format!("\\x{:02x}", u32::from(other)));
                }
                other if is_visible(other) => text.push(other),
                other if u32::from(other) > 0xffff => {
                    text.push_str(&format!("\\U{:08x}", u32::from(other)));
                }
                other => text.push_str(&format!("\\u{:04x}", u32::from(other))),
            }
        }
        for byte in chunk.invalid() {
            text.push_str(&format!("\\x{byte:02x}"));
        }
    }
    text
}

/// Whether Go would print `character` as it is. After a letter, a combining mark is visible too.
fn is_visible(character: char) -> bool {
    character.is_ascii() || format!("a{character}").escape_debug().nth(1) == Some(character)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_visible_characters_stay() {
        let text = "\u{e4}\u{301}\u{1f600} \u{a0}\u{ad}\u{200b}\u{e0001}\u{85}\x7f";
        let expected = "\u{e4}\u{301}\u{1f600} \\u00a0\\u00ad\\u200b\\U000e0001\\u0085\\x7f";
        assert_eq!(escaped(text.as_bytes()), expected);
    }

    #[test]
    fn payloads_are_escaped_and_cut() {
        let body = b"NATS/1.0\r\n\r\na\"\xff\r\n";
        let mut trace = PayloadTrace::default();
        let whole = payload(body, 12, trace).unwrap();
        assert_eq!(whole, r#"MSG_PAYLOAD: ["NATS/1.0\r\n\r\na\"\xff"]"#);
        trace.max_bytes = Some(4);
        assert_eq!(
            payload(body, 12, trace).unwrap(),
            r#"MSG_PAYLOAD: ["NATS..."]"#
        );
        trace.max_bytes = Some(15);
        assert_eq!(payload(body, 12, trace).unwrap(), whole);
        trace.headers_only = true;
        assert_eq!(
            payload(body, 12, trace).unwrap(),
            r#"MSG_PAYLOAD: ["NATS/1.0"]"#
        );
        assert_eq!(payload(b"\r\n", 0, trace), None);
    }
}
