//! Durations as nats-server writes them, and the numbers of its command line.

use std::time::Duration;

/// Nanoseconds of each unit, longest spelling first where one starts like another.
const UNITS: [(&str, u64); 8] = [
    ("ns", 1),
    ("us", 1_000),
    ("\u{b5}s", 1_000),
    ("\u{3bc}s", 1_000),
    ("ms", 1_000_000),
    ("s", 1_000_000_000),
    ("m", 60_000_000_000),
    ("h", 3_600_000_000_000),
];

/// Reads a duration such as `10s`, `1.5h` or `2m30s` in nanoseconds; it may be negative. The grammar
/// and the range (a signed 64-bit count of nanoseconds, about 292 years) are those of the Go
/// language, because the values in existing files were written for it.
///
/// # Errors
/// What is wrong with the text, as a phrase.
pub fn parse_nanoseconds(text: &str) -> Result<i64, String> {
    let invalid = || format!("invalid duration {text:?}");
    let (negative, mut rest) = match text.as_bytes().first() {
        Some(b'-') => (true, text.get(1..).unwrap_or_default()),
        Some(b'+') => (false, text.get(1..).unwrap_or_default()),
        _ => (false, text),
    };
    if rest == "0" {
        return Ok(0);
    }
    if rest.is_empty() {
        return Err(invalid());
    }
    let mut total: u64 = 0;
    while !rest.is_empty() {
        let (nanoseconds, after) = parse_term(rest, text)?;
        total = total.checked_add(nanoseconds).ok_or_else(invalid)?;
        rest = after;
    }
    let limit = if negative {
        i64::MIN.unsigned_abs()
    } else {
        i64::MAX.unsigned_abs()
    };
    if total > limit {
        return Err(invalid());
    }
    let magnitude = i64::try_from(total).unwrap_or(i64::MIN);
    Ok(if negative {
        magnitude.wrapping_neg()
    } else {
        magnitude
    })
}

/// One number with its unit, and what follows it.
fn parse_term<'a>(rest: &'a str, whole: &str) -> Result<(u64, &'a str), String> {
    let digits = |text: &str| text.bytes().take_while(u8::is_ascii_digit).count();
    let (integral, mut after) = rest.split_at(digits(rest));
    let mut fraction = "";
    if let Some(behind_point) = after.strip_prefix('.') {
        (fraction, after) = behind_point.split_at(digits(behind_point));
    }
    if integral.is_empty() && fraction.is_empty() {
        return Err(format!("invalid duration {whole:?}"));
    }
    let unit_length = after
        .find(|c: char| c == '.' || c.is_ascii_digit())
        .unwrap_or(after.len());
    let (unit, next) = after.split_at(unit_length);
    if unit.is_empty() {
        return Err(format!(
            "missing unit in duration {whole:?}, such as {whole}s for seconds"
        ));
    }
    let Some((_, size)) = UNITS.iter().find(|(name, _)| *name == unit) else {
        return Err(format!("unknown unit {unit:?} in duration {whole:?}"));
    };
    let too_long = || format!("invalid duration {whole:?}");
    let integral: u64 = if integral.is_empty() {
        0
    } else {
        integral.parse().map_err(|_| too_long())?
    };
    let nanoseconds = integral.checked_mul(*size).ok_or_else(too_long)?;
    let nanoseconds = nanoseconds
        .checked_add(fraction_of(fraction, *size))
        .ok_or_else(too_long)?;
    Ok((nanoseconds, next))
}

/// `0.<digits>` of `size`, rounded down.
fn fraction_of(digits: &str, size: u64) -> u64 {
    let mut remainder = u128::from(size);
    let mut total: u128 = 0;
    let mut scale: u128 = 1;
    // 18 digits are beyond a nanosecond in an hour; more cannot change the result.
    for digit in digits.bytes().take(18) {
        scale *= 10;
        total = total * 10 + u128::from(digit - b'0');
    }
    remainder = remainder * total / scale;
    u64::try_from(remainder).unwrap_or(u64::MAX)
}

/// Reads a duration that must not be negative.
///
/// # Errors
/// What is wrong with the text, as a phrase.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    let nanoseconds = parse_nanoseconds(text)?;
    match u64::try_from(nanoseconds) {
        Ok(nanoseconds) => Ok(Duration::from_nanos(nanoseconds)),
        Err(_) => Err(format!("the duration {text:?} is negative")),
    }
}

/// Writes a duration as nats-server prints it: `2m0s`, `10s`, `1.5s`, `50ms`, `0s`.
pub fn format_duration(duration: Duration) -> String {
    let nanoseconds = duration.as_nanos();
    if nanoseconds == 0 {
        return "0s".to_owned();
    }
    if nanoseconds < 1_000_000_000 {
        let (size, unit) = match nanoseconds {
            0..1_000 => (1, "ns"),
            1_000..1_000_000 => (1_000, "\u{b5}s"),
            _ => (1_000_000, "ms"),
        };
        return decimal(nanoseconds, size) + unit;
    }
    let seconds = duration.as_secs();
    let (hours, minutes) = (seconds / 3_600, seconds / 60 % 60);
    let below_minute = decimal(nanoseconds % 60_000_000_000, 1_000_000_000);
    match (hours, minutes) {
        (0, 0) => format!("{below_minute}s"),
        (0, _) => format!("{minutes}m{below_minute}s"),
        _ => format!("{hours}h{minutes}m{below_minute}s"),
    }
}

/// `value / size` with as many decimals as it needs.
fn decimal(value: u128, size: u128) -> String {
    let (whole, rest) = (value / size, value % size);
    if rest == 0 {
        return whole.to_string();
    }
    let width = size.ilog10() as usize;
    let digits = format!("{rest:0width$}");
    format!("{whole}.{}", digits.trim_end_matches('0'))
}

/// Why a number on the command line was refused, in nats-server's words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NumberMistake {
    /// Not a number.
    Syntax,
    /// Outside a signed 64-bit integer.
    Range,
}

impl std::fmt::Display for NumberMistake {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(match self {
            Self::Syntax => "parse error",
            Self::Range => "value out of range",
        })
    }
}

/// Reads an integer as nats-server's flags do: decimal, or hexadecimal, octal and binary with their
/// prefixes `0x`, `0o` or `0`, and `0b`; `_` may separate digits after a prefix.
///
/// # Errors
/// [`NumberMistake`].
pub fn parse_flag_integer(text: &str) -> Result<i64, NumberMistake> {
    let (negative, digits) = match text.as_bytes().first() {
        Some(b'-') => (true, text.get(1..).unwrap_or_default()),
        Some(b'+') => (false, text.get(1..).unwrap_or_default()),
        _ => (false, text),
    };
    let lower = digits.to_ascii_lowercase();
    let prefixed = [("0x", 16), ("0o", 8), ("0b", 2)]
        .into_iter()
        .find_map(|(prefix, radix)| Some((lower.strip_prefix(prefix)?.to_owned(), radix)));
    let (body, radix) = match prefixed {
        Some(found) => found,
        None if lower.len() > 1 && lower.starts_with('0') => {
            (lower.get(1..).unwrap_or_default().to_owned(), 8)
        }
        None => (lower, 10),
    };
    let body = remove_separators(&body, radix != 10)?;
    if body.is_empty() || !body.chars().all(|c| c.is_digit(radix)) {
        return Err(NumberMistake::Syntax);
    }
    let magnitude = i128::from_str_radix(&body, radix).map_err(|_| NumberMistake::Range)?;
    let value = if negative { -magnitude } else { magnitude };
    i64::try_from(value).map_err(|_| NumberMistake::Range)
}

/// Removes `_` between digits; after a prefix it may also come first.
fn remove_separators(digits: &str, prefixed: bool) -> Result<String, NumberMistake> {
    if !digits.contains('_') {
        return Ok(digits.to_owned());
    }
    let misplaced = !prefixed || digits.ends_with('_') || digits.contains("__");
    if misplaced {
        Err(NumberMistake::Syntax)
    } else {
        Ok(digits.replace('_', ""))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_durations() {
        for (text, expected) in [
            ("0", 0),
            ("10s", 10_000_000_000),
            ("1.5s", 1_500_000_000),
            (".5m", 30_000_000_000),
            ("2m30s", 150_000_000_000),
            ("1h0m0.000000001s", 3_600_000_000_001),
            ("-5ms", -5_000_000),
            ("+7ns", 7),
            ("3\u{b5}s", 3_000),
            ("3\u{3bc}s", 3_000),
            ("3us", 3_000),
            ("9223372036854775807ns", i64::MAX),
            ("-9223372036854775808ns", i64::MIN),
        ] {
            assert_eq!(parse_nanoseconds(text), Ok(expected), "{text}");
        }
        for text in [
            "",
            "-",
            "s",
            "10",
            "10x",
            "1..5s",
            "9223372036854775808ns",
            "1 s",
            "3000000h",
        ] {
            assert!(parse_nanoseconds(text).is_err(), "{text}");
        }
        assert!(parse_duration("-1s").is_err());
    }

    #[test]
    fn writes_durations() {
        for (nanoseconds, expected) in [
            (0, "0s"),
            (1, "1ns"),
            (1_500, "1.5\u{b5}s"),
            (50_000_000, "50ms"),
            (10_000_000_000, "10s"),
            (120_000_000_000, "2m0s"),
            (3_690_500_000_000, "1h1m30.5s"),
        ] {
            assert_eq!(format_duration(Duration::from_nanos(nanoseconds)), expected);
        }
    }

    #[test]
    fn reads_flag_integers() {
        for (text, expected) in [
            ("0", 0),
            ("4222", 4222),
            ("-1", -1),
            ("+3", 3),
            ("0x10", 16),
            ("010", 8),
            ("0b11", 3),
            ("0x_1f", 31),
            ("-9223372036854775808", i64::MIN),
        ] {
            assert_eq!(parse_flag_integer(text), Ok(expected), "{text}");
        }
        for text in ["", "-", "abc", "1.5", "09", "1_000", "0x", " 1", "1k"] {
            assert_eq!(
                parse_flag_integer(text),
                Err(NumberMistake::Syntax),
                "{text}"
            );
        }
        for text in ["9223372036854775808", "0xffffffffffffffffff"] {
            assert_eq!(
                parse_flag_integer(text),
                Err(NumberMistake::Range),
                "{text}"
            );
        }
    }
}
