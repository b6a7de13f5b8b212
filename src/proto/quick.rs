//! `PUB` and `HPUB` in the shape that clients write them: upper case, single spaces, CR LF.
//!
//! The general parser finds the line end, splits the line and reads the numbers: three passes over a
//! short line, which cost more than everything else that a small message needs. Here it is one pass.
//! Whatever is unusual, incomplete or wrong is left to the general parser, so this one has no errors.

use super::op::{Publish, Size};
use super::parse::ParseLimits;

/// The publication at the front of `input` and its length, if it is whole and of the usual shape.
#[inline]
#[must_use]
pub fn publish<'a>(input: &'a [u8], limits: &ParseLimits) -> Option<(Publish<'a>, usize)> {
    let (with_header, start) = match input {
        [b'P', b'U', b'B', b' ', ..] => (false, 4),
        [b'H', b'P', b'U', b'B', b' ', ..] if limits.headers => (true, 5),
        _ => return None,
    };
    let subject = word(input, start)?;
    let mut next = start + subject.len() + 1;
    let mut reply = None;
    let (header, size) = loop {
        if let Some(sizes) = sizes(input, next, with_header) {
            break sizes;
        }
        if reply.is_some() {
            return None;
        }
        let words = word(input, next)?;
        next += words.len() + 1;
        reply = Some(words);
    };
    let line_length = next + header.map_or(0, |header| header.text.len() + 1) + size.text.len();
    let too_much = line_length - start > limits.max_control_line
        || size.bytes > limits.max_payload
        || header.is_some_and(|header| header.bytes > size.bytes);
    let (body_start, end) = (line_length + 2, line_length + 2 + size.bytes + 2);
    let body = input.get(body_start..end)?;
    if too_much || !body.ends_with(b"\r\n") {
        return None;
    }
    // An empty header block is none to receivers, so that line is written anew.
    let as_it_stands = header.is_none_or(|header| header.bytes > 0);
    let sized_body = input.get(next..end).filter(|_| as_it_stands);
    Some((
        Publish {
            subject,
            reply,
            header,
            size,
            body,
            sized_body,
        },
        end,
    ))
}

type Sizes<'a> = (Option<Size<'a>>, Size<'a>);

/// The numbers that end the line.
#[inline]
fn sizes(input: &[u8], at: usize, with_header: bool) -> Option<Sizes<'_>> {
    let first = number(input, at)?;
    let after = at + first.text.len();
    if !with_header {
        return line_ends(input, after).then_some((None, first));
    }
    if input.get(after) != Some(&b' ') {
        return None;
    }
    let second = number(input, after + 1)?;
    line_ends(input, after + 1 + second.text.len()).then_some((Some(first), second))
}

#[inline]
fn line_ends(input: &[u8], at: usize) -> bool {
    matches!(input.get(at..), Some([b'\r', b'\n', ..]))
}

/// One to nine digits.
#[inline]
fn number(input: &[u8], at: usize) -> Option<Size<'_>> {
    let (mut bytes, mut end) = (0, at);
    while let Some(digit @ b'0'..=b'9') = input.get(end) {
        bytes = bytes * 10 + usize::from(digit - b'0');
        end += 1;
        if end - at > 9 {
            return None;
        }
    }
    let text = input.get(at..end)?;
    (!text.is_empty()).then_some(Size { bytes, text })
}

/// A word that begins at `from` and is followed by one space.
#[inline]
fn word(input: &[u8], from: usize) -> Option<&[u8]> {
    let rest = input.get(from..)?;
    let end = first_blank(rest)?;
    if end == 0 || rest.get(end) != Some(&b' ') {
        return None;
    }
    rest.get(..end)
}

const LOW_BITS: u64 = 0x7f7f_7f7f_7f7f_7f7f;

/// Where the first byte up to 0x20 is: eight bytes at a time, since a call of a vectorised search costs
/// more than it saves on words this short.
#[inline]
fn first_blank(bytes: &[u8]) -> Option<usize> {
    let (chunks, rest) = bytes.as_chunks::<8>();
    for (index, chunk) in chunks.iter().enumerate() {
        let word = u64::from_le_bytes(*chunk);
        // Adding 0x5f carries into the high bit of each byte above 0x20 and never beyond it.
        let above = (word & LOW_BITS) + 0x5f5f_5f5f_5f5f_5f5f;
        let blanks = !(above | word) & !LOW_BITS;
        if blanks != 0 {
            return Some(index * 8 + (blanks.trailing_zeros() / 8) as usize);
        }
    }
    let found = rest.iter().position(|byte| *byte <= b' ')?;
    Some(chunks.len() * 8 + found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::op::Op;
    use crate::proto::parse::{Parsed, parse_any};
    use proptest::prelude::*;

    const LIMITS: ParseLimits = ParseLimits {
        max_control_line: 40,
        max_payload: 64,
        headers: true,
    };

    /// Lines that are right or nearly so, with every sort of blank and some odd bytes.
    fn input() -> impl Strategy<Value = Vec<u8>> {
        let verb = prop_oneof![Just("PUB"), Just("HPUB"), Just("pub"), Just("PUBX")];
        let blank = prop_oneof![8 => Just(" "), 1 => Just("  "), 1 => Just("\t"), 1 => Just("")];
        let word =
            prop_oneof![4 => "[a-c.*>]{1,20}", 1 => "[0-9]{1,3}", 1 => "[\\x01!\\x7fé]{0,9}"];
        let number = prop_oneof![6 => "[0-9]{1,2}", 1 => "0{0,9}[0-9]", 1 => "[+-]?[0-9x]{0,11}"];
        let end =
            prop_oneof![8 => Just("\r\n"), 1 => Just("\n"), 1 => Just("\r"), 1 => Just(" \r\n")];
        let words = (
            blank.clone(),
            word.clone(),
            blank.clone(),
            proptest::option::of(word),
        );
        let numbers = (
            blank.clone(),
            proptest::option::of(number.clone()),
            blank,
            number,
            end,
        );
        (verb, words, numbers, 0..80_usize, "(\r\n)?").prop_map(
            |(verb, words, numbers, size, tail)| {
                let (first, subject, second, reply) = words;
                let (third, header, fourth, length, end) = numbers;
                let size = length
                    .parse()
                    .ok()
                    .filter(|length| *length < 80)
                    .unwrap_or(size);
                let (reply, header) = (reply.unwrap_or_default(), header.unwrap_or_default());
                let line = format!(
                    "{verb}{first}{subject}{second}{reply}{third}{header}{fourth}{length}{end}"
                );
                [line.as_bytes(), &vec![b'x'; size], tail.as_bytes()].concat()
            },
        )
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(20_000))]
        #[test]
        fn agrees_with_the_general_parser(input in input()) {
            if let Some((publish, consumed)) = publish(&input, &LIMITS) {
                if let Some(piece) = publish.sized_body {
                    let header = publish.header.map(|header| [header.text, b" "].concat());
                    let parts = [&header.unwrap_or_default(), publish.size.text, b"\r\n", publish.body];
                    prop_assert_eq!(piece, parts.concat());
                }
                let op = Op::Publish(Publish { sized_body: None, ..publish });
                prop_assert_eq!(parse_any(&input, &LIMITS), Ok(Parsed::Complete { op, consumed }));
            }
        }
    }

    #[test]
    fn usual_lines_are_recognised() {
        for line in [
            "PUB a 0\r\n\r\n",
            "PUB a.b.c.d.e.f.g 3\r\nxyz\r\n",
            "PUB a 12 3\r\nxyz\r\n",
            "PUB orders _INBOX.abc.1 3\r\nxyz\r\nPING\r\n",
            "HPUB a 12 14\r\nNATS/1.0\r\n\r\nhi\r\n",
            "HPUB a 7 12 14\r\nNATS/1.0\r\n\r\nhi\r\n",
        ] {
            assert!(publish(line.as_bytes(), &LIMITS).is_some(), "{line}");
        }
    }
}
