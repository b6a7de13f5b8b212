//! Subject transforms.

use midge::subject;
use midge::subject::transform::{Functions, Transform, destination_filter};

/// The lines of the input are a source, a destination and a subject.
pub(crate) fn check(bytes: &[u8]) {
    let (instructions, bytes) = super::split_first(bytes);
    let text = String::from_utf8_lossy(bytes);
    let mut lines = text.splitn(3, '\n');
    let mut line = || lines.next().unwrap_or_default();
    let (source, destination, text) = (line(), line(), line().as_bytes());
    let random = u32::from(instructions).wrapping_mul(0x0101_0101);
    let subject = subject::is_valid_subject(text)
        && subject::is_valid_filter(source.as_bytes())
        && subject::matches(source.as_bytes(), text);
    if let Ok(transform) = Transform::new(source, destination, Functions::All)
        && subject
    {
        let made = apply(&transform, text, random);
        // Cutting `a*` may leave a token `*`, which is a literal one in the subject of a message.
        // Splitting what is nothing but separators leaves nothing: that subject reaches nobody.
        let splits = destination.contains("plit(");
        let whole = |token: &[u8]| {
            (splits || !token.is_empty()) && !token.iter().any(u8::is_ascii_whitespace)
        };
        let shown = made.escape_ascii().to_string();
        assert!(
            subject::tokens(&made).all(whole),
            "{source:?} {destination:?} {shown}"
        );
    }
    let Ok(transform) = Transform::new(source, destination, Functions::Reversible) else {
        return;
    };
    assert!(Transform::new(source, destination, Functions::All).is_ok());
    let filter = destination_filter(destination);
    let back = transform.reverse(source);
    if subject {
        let made = apply(&transform, text, random);
        assert!(subject::matches(filter.as_bytes(), &made));
        let origin = apply(&back, &made, random);
        assert_eq!(origin, text);
    }
}

fn apply(transform: &Transform, subject: &[u8], random: u32) -> Vec<u8> {
    let mut made = Vec::new();
    transform.apply(subject, random, &mut made);
    made
}
