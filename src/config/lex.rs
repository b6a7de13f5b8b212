//! The letters and scalars of the nats.conf language.
//!
//! The language forgives much: a value needs no quotes, `key: value`, `key = value` and `key value`
//! mean the same, a number that goes on with letters is a string. What nats-server accepts is
//! accepted here with the same value. On purpose this reader is stricter in three places and
//! kinder in two: it refuses a string that is never closed, a size suffix that means nothing
//! (`1kbb`) and sizes beyond 64 bits, all of which nats-server drops or wraps silently; and it takes
//! a bare number right before `]` and a block string at the very end of a file.

use std::sync::Arc;

use super::diagnostic::{Diagnostic, Place};
use super::value::Value;

/// A syntax mistake.
#[derive(Debug)]
pub(super) struct Fault {
    pub(super) line: u32,
    pub(super) column: u32,
    pub(super) message: String,
    /// Nothing behind this mistake can be trusted, as after an unclosed string.
    pub(super) fatal: bool,
}

impl Fault {
    /// The mistake as it is shown for the file `file`.
    pub(super) fn into_diagnostic(self, file: &Arc<str>) -> Diagnostic {
        let place = Place::File {
            file: Arc::clone(file),
            line: self.line,
            column: self.column,
        };
        Diagnostic::new(&place, format!("Parse error: {}", self.message))
    }
}

/// A scalar, or the name behind a `$`.
#[derive(Debug)]
pub(super) enum Scalar {
    Value(Value),
    Variable(String),
}

/// A position in a text, which knows its line.
#[derive(Debug)]
pub(super) struct Cursor<'a> {
    text: &'a str,
    position: usize,
    line: u32,
    line_start: usize,
}

/// A spot to return to or to report.
#[derive(Clone, Copy, Debug)]
pub(super) struct Mark {
    pub(super) position: usize,
    pub(super) line: u32,
    line_start: usize,
}

impl Mark {
    /// Column in bytes, from 1.
    pub(super) fn column(self) -> u32 {
        u32::try_from(self.position - self.line_start)
            .unwrap_or(u32::MAX)
            .saturating_add(1)
    }
}

impl<'a> Cursor<'a> {
    /// Starts at the beginning of `text`, behind a byte order mark.
    pub(super) fn new(text: &'a str) -> Self {
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        Self {
            text,
            position: 0,
            line: 1,
            line_start: 0,
        }
    }

    pub(super) fn mark(&self) -> Mark {
        Mark {
            position: self.position,
            line: self.line,
            line_start: self.line_start,
        }
    }

    pub(super) fn rest(&self) -> &'a str {
        self.text.get(self.position..).unwrap_or_default()
    }

    /// What was read since `mark`.
    pub(super) fn since(&self, mark: Mark) -> &'a str {
        self.text
            .get(mark.position..self.position)
            .unwrap_or_default()
    }

    pub(super) fn peek(&self) -> Option<char> {
        self.rest().chars().next()
    }

    /// Takes one character.
    pub(super) fn next(&mut self) -> Option<char> {
        let taken = self.peek()?;
        self.position += taken.len_utf8();
        if taken == '\n' {
            self.line = self.line.saturating_add(1);
            self.line_start = self.position;
        }
        Some(taken)
    }

    /// Takes characters while `accepts` holds, and returns them.
    pub(super) fn take_while(&mut self, accepts: impl Fn(char) -> bool) -> &'a str {
        let start = self.position;
        while self.peek().is_some_and(&accepts) {
            self.next();
        }
        self.text.get(start..self.position).unwrap_or_default()
    }

    /// Takes `expected` if it comes next.
    pub(super) fn take(&mut self, expected: char) -> bool {
        let found = self.peek() == Some(expected);
        if found {
            self.next();
        }
        found
    }

    /// Skips a comment if one starts here; the line end stays.
    pub(super) fn skip_comment(&mut self) -> bool {
        let rest = self.rest();
        let found = rest.starts_with('#') || rest.starts_with("//");
        if found {
            self.skip_line();
        }
        found
    }

    /// Moves to the end of the line, and says what it passed.
    pub(super) fn skip_line(&mut self) -> &'a str {
        self.take_while(|c| !is_line_end(c))
    }

    /// A mistake at the current position.
    pub(super) fn fault(&self, message: impl Into<String>) -> Fault {
        self.fault_at(self.mark(), message)
    }

    /// A mistake at `mark`.
    pub(super) fn fault_at(&self, mark: Mark, message: impl Into<String>) -> Fault {
        Fault {
            line: mark.line,
            column: mark.column(),
            message: message.into(),
            fatal: false,
        }
    }

    /// What comes next, for error texts.
    pub(super) fn describe_next(&self) -> String {
        match self.peek() {
            None => "the end of the file".to_owned(),
            Some(c) if is_line_end(c) => "the end of the line".to_owned(),
            Some(c) => format!("{c:?}"),
        }
    }

    /// The text between quotes, the opening one being next. Escapes are read only if `escapes`.
    pub(super) fn quoted(&mut self, escapes: bool) -> Result<String, Fault> {
        let start = self.mark();
        let quote = self.next();
        let mut text = Vec::new();
        loop {
            match self.next() {
                None => {
                    let message = "this string is never closed; add the quote that ends it";
                    return Err(Fault {
                        fatal: true,
                        ..self.fault_at(start, message)
                    });
                }
                Some('\\') if escapes => self.escape(&mut text)?,
                found if found == quote => return self.utf8(start, text),
                Some(c) => push(&mut text, c),
            }
        }
    }

    /// Reads what follows a backslash.
    fn escape(&mut self, text: &mut Vec<u8>) -> Result<(), Fault> {
        let mark = self.mark();
        match self.next() {
            Some('x') => text.push(self.hexadecimal_byte(mark)?),
            Some('t') => text.push(b'\t'),
            Some('n') => text.push(b'\n'),
            Some('r') => text.push(b'\r'),
            Some('"') => text.push(b'"'),
            Some('\\') => text.push(b'\\'),
            found => {
                let found = found.map_or_else(String::new, |c| c.to_string());
                let known = r#"the escapes are \t \n \r \" \\ and \xHH"#;
                return Err(self.fault_at(
                    mark,
                    format!(
                        "\\{found} is not an escape; {known}, and '…' takes backslashes as they are"
                    ),
                ));
            }
        }
        Ok(())
    }

    fn hexadecimal_byte(&mut self, mark: Mark) -> Result<u8, Fault> {
        let digit = |found: Option<char>| found.and_then(|c| c.to_digit(16));
        let (high, low) = (digit(self.peek()), digit(self.rest().chars().nth(1)));
        let (Some(high), Some(low)) = (high, low) else {
            return Err(self.fault_at(mark, "\\x needs two hexadecimal digits, as in \\x0A"));
        };
        self.next();
        self.next();
        Ok(u8::try_from(high * 16 + low).unwrap_or_default())
    }

    fn utf8(&self, start: Mark, text: Vec<u8>) -> Result<String, Fault> {
        String::from_utf8(text).map_err(|_| {
            self.fault_at(
                start,
                "this string is not valid UTF-8; check its \\x escapes",
            )
        })
    }

    /// A string without quotes: it ends at white space, a line end or one of `, ; ] }`. It may turn
    /// out to be a boolean or a variable. `text` is what was read of it already.
    pub(super) fn bare(&mut self, start: Mark) -> Result<Scalar, Fault> {
        let mut text: Vec<u8> = self.since(start).into();
        let mut escaped = false;
        loop {
            match self.peek() {
                Some('\\') => {
                    self.next();
                    self.escape(&mut text)?;
                    escaped = true;
                }
                // A quote ends a bare string as well, and is dropped.
                Some('\'') => {
                    self.next();
                    escaped = true;
                    break;
                }
                Some(c) if !ends_bare_string(c) => {
                    push(&mut text, c);
                    self.next();
                }
                _ => break,
            }
        }
        let text = self.utf8(start, text)?;
        if escaped {
            return Ok(Scalar::Value(Value::Text(text)));
        }
        if let Some(name) = text.strip_prefix('$') {
            return Ok(Scalar::Variable(name.to_owned()));
        }
        Ok(Scalar::Value(match text.to_ascii_lowercase().as_str() {
            "true" | "yes" | "on" => Value::Boolean(true),
            "false" | "no" | "off" => Value::Boolean(false),
            _ => Value::Text(text),
        }))
    }

    /// A text in parentheses: everything up to a `)` that stands alone on its line.
    pub(super) fn block_string(&mut self) -> Result<String, Fault> {
        let start = self.mark();
        self.next();
        let body = self.rest();
        let mut from = 0;
        while let Some(found) = body.get(from..).and_then(|rest| rest.find("\n)")) {
            let end = from + found + 1;
            let behind = body.get(end + 1..).unwrap_or_default();
            if behind.is_empty() || behind.starts_with('\n') {
                let text = body.get(..end).unwrap_or_default();
                while self.position < start.position + 1 + end {
                    self.next();
                }
                self.next();
                return Ok(text.to_owned());
            }
            from = end;
        }
        let message = "this ( is never closed; put a ) alone on a line behind the text";
        Err(Fault {
            fatal: true,
            ..self.fault_at(start, message)
        })
    }

    /// Whatever starts with a digit or a minus: a number with or without a size suffix, a date, an
    /// IP address, or a string such as `10s`.
    pub(super) fn number(&mut self) -> Result<Scalar, Fault> {
        let start = self.mark();
        let negative = self.take('-');
        let digits = self.take_while(|c| c.is_ascii_digit());
        if digits.is_empty() {
            let found = self.describe_next();
            let message =
                format!("a digit must follow '-', not {found}; quote the value if it is a string");
            return Err(self.fault_at(start, message));
        }
        match self.peek() {
            Some('-') if !negative => self.date(start, digits.len()),
            Some('.') => self.fraction(start),
            Some(c) if is_size_suffix(c) => self.size(start),
            Some(c) if !negative && !ends_number(c) => self.bare(start),
            _ => self.integer(start, 1, 0),
        }
    }

    /// The whole number from `start` up to `suffix` bytes before here, times `factor`.
    fn integer(&self, start: Mark, factor: i64, suffix: usize) -> Result<Scalar, Fault> {
        let written = self.since(start);
        let digits = written.get(..written.len() - suffix).unwrap_or_default();
        digits
            .parse::<i64>()
            .ok()
            .and_then(|number| number.checked_mul(factor))
            .map(|number| Scalar::Value(Value::Integer(number)))
            .ok_or_else(|| self.fault_at(start, "this number is beyond a 64-bit integer"))
    }

    fn size(&mut self, start: Mark) -> Result<Scalar, Fault> {
        let letter = self.next().unwrap_or_default().to_ascii_lowercase();
        let unit = self
            .take_while(|c| matches!(c, 'b' | 'B' | 'i' | 'I'))
            .to_ascii_lowercase();
        if self.peek().is_some_and(|c| !ends_number(c)) {
            return self.bare(start);
        }
        let base: i64 = match unit.as_str() {
            "" => 1_000,
            "b" | "i" | "ib" => 1_024,
            _ => {
                let message = format!(
                    "{letter}{unit} is not a size suffix; write {letter}, {letter}b or {letter}ib"
                );
                return Err(self.fault_at(start, message));
            }
        };
        let power = "kmgtpe".find(letter).unwrap_or_default() + 1;
        let factor = base.pow(u32::try_from(power).unwrap_or(1));
        self.integer(start, factor, unit.len() + 1)
    }

    fn fraction(&mut self, start: Mark) -> Result<Scalar, Fault> {
        self.next();
        if self.take_while(|c| c.is_ascii_digit()).is_empty() {
            let found = self.describe_next();
            let message = format!(
                "a digit must follow the point, not {found}; quote the value if it is a string"
            );
            return Err(self.fault(message));
        }
        if self.peek() != Some('.') {
            // Digits, a point and digits are always a number.
            let number = self.since(start).parse().unwrap_or_default();
            return Ok(Scalar::Value(Value::Float(number)));
        }
        self.take_while(|c| c.is_ascii_digit() || matches!(c, '.' | ':' | '-'));
        let address = self.since(start);
        Ok(Scalar::Value(Value::Text(address.to_owned())))
    }

    fn date(&mut self, start: Mark, digits: usize) -> Result<Scalar, Fault> {
        const SHAPE: &str = "-00-00T00:00:00Z";
        let advice = "a date looks like 2026-05-04T18:53:41Z; quote the value if it is a string";
        if digits != 4 {
            return Err(self.fault_at(start, advice));
        }
        for shape in SHAPE.chars() {
            let fits = |c: char| {
                if shape == '0' {
                    c.is_ascii_digit()
                } else {
                    c == shape
                }
            };
            if !self.peek().is_some_and(fits) {
                return Err(self.fault_at(start, advice));
            }
            self.next();
        }
        let written = self.since(start);
        // The calendar library takes a 60th second for a leap second; nats-server does not.
        let leap = written.ends_with(":60Z");
        if leap || written.parse::<jiff::Timestamp>().is_err() {
            return Err(self.fault_at(start, "there is no such date"));
        }
        Ok(Scalar::Value(Value::Moment(written.to_owned())))
    }
}

fn push(text: &mut Vec<u8>, c: char) {
    text.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
}

pub(super) fn is_blank(c: char) -> bool {
    matches!(c, ' ' | '\t')
}

pub(super) fn is_line_end(c: char) -> bool {
    matches!(c, '\n' | '\r')
}

/// White space of any kind, which separates keys.
pub(super) fn is_space(c: char) -> bool {
    c.is_whitespace()
}

fn is_size_suffix(c: char) -> bool {
    matches!(c.to_ascii_lowercase(), 'k' | 'm' | 'g' | 't' | 'p' | 'e')
}

fn ends_number(c: char) -> bool {
    is_blank(c) || is_line_end(c) || matches!(c, '}' | ']' | ',' | ';')
}

fn ends_bare_string(c: char) -> bool {
    is_blank(c) || is_line_end(c) || matches!(c, '}' | ']' | ',' | ';' | '\0')
}
