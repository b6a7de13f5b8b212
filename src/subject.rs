//! Subjects and filters: the words that route a message.
//!
//! A *subject* is a list of tokens separated by `.`; a *filter* may also hold the wildcards `*` (one
//! token) and, as the last token, `>` (one or more tokens). Rules: the NATS protocol page
//! ("Subject-Based Messaging") and, where it is silent, the oracle.

pub mod transform;

/// Separates the tokens of a subject.
pub const TOKEN_SEPARATOR: u8 = b'.';

/// The tokens of `subject`, empty ones included.
pub fn tokens(subject: &[u8]) -> impl Iterator<Item = &[u8]> {
    subject.split(|&byte| byte == TOKEN_SEPARATOR)
}

/// Whether `token` is the wildcard `*`.
#[must_use]
pub fn is_star(token: &[u8]) -> bool {
    token == b"*"
}

/// Whether `token` is the wildcard `>`.
#[must_use]
pub fn is_tail(token: &[u8]) -> bool {
    token == b">"
}

/// Whether somebody may subscribe to `filter`: no empty token, no blank, `>` only as the last token.
///
/// A `*` or `>` that is only part of a token ("foo*") is an ordinary character.
#[must_use]
pub fn is_valid_filter(filter: &[u8]) -> bool {
    let mut tail_seen = false;
    for token in tokens(filter) {
        if tail_seen || token.is_empty() || token.iter().any(|&byte| is_blank(byte)) {
            return false;
        }
        tail_seen = is_tail(token);
    }
    true
}

/// Whether `subject` is a subject proper: a valid filter without any wildcard token.
#[must_use]
pub fn is_valid_subject(subject: &[u8]) -> bool {
    is_valid_filter(subject) && !has_wildcard(subject)
}

/// Whether any token of `filter` is a wildcard.
#[must_use]
pub fn has_wildcard(filter: &[u8]) -> bool {
    if memchr::memchr2(b'*', b'>', filter).is_none() {
        return false;
    }
    tokens(filter).any(|token| is_star(token) || is_tail(token))
}

/// Whether a message published on `subject` is wanted by `filter`.
///
/// Both sides are taken token by token; wildcards in `subject` are ordinary tokens here. A subject
/// with an empty token is wanted by nobody.
#[must_use]
pub fn matches(filter: &[u8], subject: &[u8]) -> bool {
    if tokens(subject).any(<[u8]>::is_empty) {
        return false;
    }
    let mut subject_tokens = tokens(subject);
    let mut filter_tokens = tokens(filter).peekable();
    while let Some(wanted) = filter_tokens.next() {
        let Some(token) = subject_tokens.next() else {
            return false;
        };
        if is_tail(wanted) && filter_tokens.peek().is_none() {
            return true;
        }
        if !is_star(wanted) && wanted != token {
            return false;
        }
    }
    subject_tokens.next().is_none()
}

/// Whether every subject that `inner` wants is wanted by `outer`, too.
#[must_use]
pub fn covers(outer: &[u8], inner: &[u8]) -> bool {
    let (mut outer, mut inner) = (tokens(outer), tokens(inner));
    loop {
        match (outer.next(), inner.next()) {
            (Some(wanted), Some(_)) if is_tail(wanted) => return true,
            (None, None) => return true,
            (None, Some(_)) | (Some(_), None) => return false,
            (Some(_), Some(token)) if is_tail(token) => return false,
            (Some(wanted), Some(token)) if is_star(wanted) || wanted == token => {}
            (Some(_), Some(_)) => return false,
        }
    }
}

/// The filter that wants exactly what both filters want; none if there is no such subject.
#[must_use]
pub fn intersection(left: &[u8], right: &[u8]) -> Option<Vec<u8>> {
    let mut both: Vec<&[u8]> = Vec::new();
    let (mut lefts, mut rights) = (tokens(left), tokens(right));
    loop {
        match (lefts.next(), rights.next()) {
            (None, None) => break,
            (None, Some(_)) | (Some(_), None) => return None,
            (Some(one), Some(other)) if is_tail(one) => {
                both.push(other);
                both.extend(rights);
                break;
            }
            (Some(one), Some(other)) if is_tail(other) => {
                both.push(one);
                both.extend(lefts);
                break;
            }
            (Some(one), Some(other)) if one == other || is_star(other) => both.push(one),
            (Some(one), Some(other)) if is_star(one) => both.push(other),
            (Some(_), Some(_)) => return None,
        }
    }
    Some(both.join(&TOKEN_SEPARATOR))
}

/// Blank characters end an argument on the wire, so no token may hold one.
fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\r' | b'\n' | b'\x0c')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filters() {
        for good in [
            "a", "a.b", "*", ">", "a.*.b", "a.>", "foo*", "a.b>c", "$SYS.>",
        ] {
            assert!(is_valid_filter(good.as_bytes()), "{good}");
        }
        for bad in ["", ".", "a.", ".a", "a..b", ">.a", "a.>.b", "a b"] {
            assert!(!is_valid_filter(bad.as_bytes()), "{bad}");
        }
        assert!(is_valid_subject(b"a.foo*"));
        assert!(!is_valid_subject(b"a.*"));
    }

    #[test]
    fn matching() {
        let cases = [
            ("a.b", "a.b", true),
            ("a.*", "a.b", true),
            ("a.*", "a.b.c", false),
            ("a.>", "a.b.c", true),
            ("a.>", "a", false),
            ("*", "a", true),
            (">", "a.b", true),
            ("a.*", "a.*", true),
            ("a.b", "a.*", false),
            (">", "a..b", false),
            ("*.b", "a.c", false),
            ("a.b.c", "a.b", false),
        ];
        for (filter, subject, expected) in cases {
            assert_eq!(
                matches(filter.as_bytes(), subject.as_bytes()),
                expected,
                "{filter} {subject}"
            );
        }
    }

    #[test]
    fn filters_compared() {
        for (inner, outer, expected) in [
            ("a.b", "a.b", true),
            ("a.b", "a.*", true),
            ("a.b", ">", true),
            ("a.*", "a.b", false),
            ("a.>", "a.*", false),
            ("a.*", "a.>", true),
            ("a.>", "a.>", true),
            ("a", "a.>", false),
            ("a.b.c", "a.*", false),
        ] {
            let covered = covers(outer.as_bytes(), inner.as_bytes());
            assert_eq!(covered, expected, "{inner} {outer}");
        }
        for (left, right, expected) in [
            ("a.*", "*.b", Some("a.b")),
            ("a.>", "a.b.c", Some("a.b.c")),
            ("a.>", "*.*.c", Some("a.*.c")),
            ("*.>", "a.>", Some("a.>")),
            ("a", "a.>", None),
            ("a.b", "a.c", None),
            ("a.*", "a.*.*", None),
        ] {
            let both = intersection(left.as_bytes(), right.as_bytes());
            assert_eq!(
                both.as_deref(),
                expected.map(str::as_bytes),
                "{left} {right}"
            );
        }
    }
}
