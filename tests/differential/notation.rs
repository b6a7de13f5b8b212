//! How scripts write bytes: printable text with a few escapes.
//!
//! | written | means |
//! |---|---|
//! | `\r` `\n` `\t` `\\` | the usual control bytes and the backslash |
//! | `\s` | a blank, where an editor would cut or hide it |
//! | `\x7f` | the byte with this hexadecimal value |
//! | `\(3*ab)` | `ababab`; the text inside may hold the escapes above |
//! | `\|` | a cut: what follows is written to the socket separately |

/// Bytes in the order of sending; each element is one write to the socket.
pub(crate) type Pieces = Vec<Vec<u8>>;

/// A run of at least this many equal bytes is shown as a repetition.
const SHOWN_RUN: usize = 24;

/// Reads `text` in the notation above.
///
/// # Errors
/// Names the escape that is unknown or incomplete.
pub(crate) fn read(text: &str) -> Result<Pieces, String> {
    let mut pieces = vec![Vec::new()];
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('\\') {
        push(&mut pieces, before.as_bytes());
        rest = read_escape(after, &mut pieces)?;
    }
    push(&mut pieces, rest.as_bytes());
    Ok(pieces)
}

/// Reads the escape whose backslash was just consumed; returns what follows it.
fn read_escape<'a>(text: &'a str, pieces: &mut Pieces) -> Result<&'a str, String> {
    let mut characters = text.chars();
    let byte = match characters.next() {
        Some('r') => b'\r',
        Some('n') => b'\n',
        Some('t') => b'\t',
        Some('s') => b' ',
        Some('\\') => b'\\',
        Some('x') => {
            let digits = text.get(1..3).ok_or("two digits must follow \\x")?;
            let byte = u8::from_str_radix(digits, 16).map_err(|error| error.to_string())?;
            push(pieces, &[byte]);
            return Ok(&text[3..]);
        }
        Some('|') => {
            pieces.push(Vec::new());
            return Ok(characters.as_str());
        }
        Some('(') => return read_repetition(characters.as_str(), pieces),
        other => return Err(format!("unknown escape \\{}", other.unwrap_or(' '))),
    };
    push(pieces, &[byte]);
    Ok(characters.as_str())
}

/// Reads `N*TEXT)`; returns what follows it.
fn read_repetition<'a>(text: &'a str, pieces: &mut Pieces) -> Result<&'a str, String> {
    let (inside, rest) = text.split_once(')').ok_or("\\( without )")?;
    let (count, what) = inside.split_once('*').ok_or("\\( without *")?;
    let count: usize = count.parse().map_err(|_| format!("bad count {count}"))?;
    let what = read(what)?.concat();
    push(pieces, &what.repeat(count));
    Ok(rest)
}

fn push(pieces: &mut Pieces, bytes: &[u8]) {
    if let Some(last) = pieces.last_mut() {
        last.extend_from_slice(bytes);
    }
}

/// Writes `pieces` so that [`read`] gives them back.
pub(crate) fn show_pieces(pieces: &[Vec<u8>]) -> String {
    let shown: Vec<String> = pieces.iter().map(|piece| show(piece)).collect();
    shown.join("\\|")
}

/// Writes `bytes` so that [`read`] gives them back as one piece.
pub(crate) fn show(bytes: &[u8]) -> String {
    let mut text = String::new();
    let mut rest = bytes;
    while let Some(&first) = rest.first() {
        let run = rest.iter().take_while(|&&byte| byte == first).count();
        if run >= SHOWN_RUN {
            text.push_str(&format!("\\({run}*{})", show_byte(first, true)));
            rest = &rest[run..];
        } else {
            let at_end = rest.len() == 1 || text.is_empty();
            text.push_str(&show_byte(first, at_end));
            rest = &rest[1..];
        }
    }
    text
}

/// One byte in notation; a blank is spelled out where it would not be seen.
fn show_byte(byte: u8, hidden_blank: bool) -> String {
    match byte {
        b'\r' => "\\r".into(),
        b'\n' => "\\n".into(),
        b'\t' => "\\t".into(),
        b'\\' => "\\\\".into(),
        b' ' if hidden_blank => "\\s".into(),
        b')' => "\\x29".into(),
        b' '..=b'~' => char::from(byte).to_string(),
        _ => format!("\\x{byte:02x}"),
    }
}

#[test]
fn notation_round_trips() {
    for text in [
        "PUB a 1\\r\\nx",
        "\\x00\\xff\\\\",
        "\\(4096*a)b",
        "a\\|b\\|\\|c",
        "\\sa b\\s",
        "",
    ] {
        let pieces = read(text).unwrap();
        assert_eq!(read(&show_pieces(&pieces)).unwrap(), pieces, "{text}");
    }
    let every: Vec<u8> = (0..=255).collect();
    assert_eq!(read(&show(&every)).unwrap().concat(), every);
    assert_eq!(read("\\(3*a\\r)x").unwrap(), [b"a\ra\ra\rx".to_vec()]);
}

#[test]
fn notation_refuses_nonsense() {
    for text in ["\\q", "\\", "\\x1", "\\xzz", "\\(3*a", "\\(a)", "\\(z*a)"] {
        assert!(read(text).is_err(), "{text}");
    }
}
