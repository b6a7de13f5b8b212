//! What is wrong with a configuration, and where.

use std::fmt;
use std::sync::Arc;

/// Where a value was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// In a configuration file. A mistake in a `key: value` pair is shown at its key, as
    /// nats-server does; an element of a list has a place of its own.
    File {
        /// The path as it was given, or the include path joined to the including file's folder.
        file: Arc<str>,
        /// Line, from 1.
        line: u32,
        /// Column in bytes, from 1.
        column: u32,
    },
    /// In the environment variable of this name.
    Environment(String),
    /// In a `-C key=value` argument with this key.
    Assignment(String),
    /// In the command-line flag of this spelling, such as `--port`.
    Flag(String),
}

impl fmt::Display for Place {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File { file, line, column } => write!(formatter, "{file}:{line}:{column}"),
            Self::Environment(name) => write!(formatter, "environment variable {name}"),
            Self::Assignment(key) => write!(formatter, "-C {key}"),
            Self::Flag(flag) => formatter.write_str(flag),
        }
    }
}

/// One mistake: the place, what is wrong, and how to put it right.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnostic {
    /// Where, unless the mistake is about the configuration as a whole.
    pub place: Option<Place>,
    /// What is wrong. Never holds the text of a secret.
    pub message: String,
    /// What to do about it, where that is more than the reverse of the message.
    pub fix: Option<String>,
}

impl Diagnostic {
    /// A mistake at `place`.
    pub fn new(place: &Place, message: impl Into<String>) -> Self {
        Self {
            place: Some(place.clone()),
            message: message.into(),
            fix: None,
        }
    }

    /// A mistake of the configuration as a whole.
    pub fn general(message: impl Into<String>) -> Self {
        Self {
            place: None,
            message: message.into(),
            fix: None,
        }
    }

    /// Adds what to do about it.
    #[must_use]
    pub fn fix(mut self, fix: impl Into<String>) -> Self {
        self.fix = Some(fix.into());
        self
    }
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(place) = &self.place {
            write!(formatter, "{place}: ")?;
        }
        formatter.write_str(&self.message)?;
        match &self.fix {
            Some(fix) => write!(formatter, "; {fix}"),
            None => Ok(()),
        }
    }
}

/// How much a [`Warning`] matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gravity {
    /// nats-server takes it but asks for a change: the server starts, `-t` fails.
    Deprecated,
    /// Worth knowing; neither the start nor `-t` fails.
    Advice,
}

/// Something the server can start with but should mention.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Warning {
    /// How much it matters.
    pub gravity: Gravity,
    /// What, and where.
    pub diagnostic: Diagnostic,
}

impl fmt::Display for Warning {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.diagnostic.fmt(formatter)
    }
}

/// Collects every mistake and warning, so that all of them are told at once.
#[derive(Debug, Default)]
pub struct Problems {
    /// What keeps the server from starting, in order of appearance.
    pub errors: Vec<Diagnostic>,
    /// What does not.
    pub warnings: Vec<Warning>,
    /// Treats options that this version does not support as if it did. The typed structures of
    /// features to come are tested with it.
    pub(crate) everything_supported: bool,
}

impl Problems {
    /// Records a mistake.
    pub fn error(&mut self, diagnostic: Diagnostic) {
        self.errors.push(diagnostic);
    }

    /// Records a use that nats-server asks to change.
    pub fn deprecated(&mut self, diagnostic: Diagnostic) {
        self.warnings.push(Warning {
            gravity: Gravity::Deprecated,
            diagnostic,
        });
    }

    /// Records something worth knowing.
    pub fn advice(&mut self, diagnostic: Diagnostic) {
        self.warnings.push(Warning {
            gravity: Gravity::Advice,
            diagnostic,
        });
    }
}

/// The candidate that `word` is most likely a misspelling of, if one is near enough: at most one
/// change in three letters, and at most three in all.
pub fn nearest<'a>(word: &str, candidates: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let word = word.to_lowercase();
    let limit = (word.chars().count() / 3).clamp(1, 3);
    candidates
        .map(|candidate| (distance(&word, candidate, limit), candidate))
        .filter(|(distance, _)| *distance <= limit)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// Number of letters to insert, remove, change or swap with their neighbour (optimal string
/// alignment), or more than `limit` when the lengths alone say so.
fn distance(left: &str, right: &str, limit: usize) -> usize {
    let left: Vec<char> = left.chars().collect();
    let right: Vec<char> = right.chars().collect();
    if left.len().abs_diff(right.len()) > limit {
        return limit + 1;
    }
    let mut before: Vec<usize> = Vec::new();
    let mut above: Vec<usize> = (0..=right.len()).collect();
    for (row, a) in left.iter().enumerate() {
        let mut current = vec![row + 1];
        for (column, b) in right.iter().enumerate() {
            let at = |line: &[usize], index: usize| line.get(index).copied().unwrap_or(usize::MAX);
            let substitute = at(&above, column) + usize::from(a != b);
            let mut best = substitute
                .min(at(&above, column + 1) + 1)
                .min(at(&current, column) + 1);
            let swapped = row > 0
                && column > 0
                && left.get(row - 1) == Some(b)
                && right.get(column - 1) == Some(a);
            if swapped {
                best = best.min(at(&before, column - 1) + 1);
            }
            current.push(best);
        }
        before = std::mem::replace(&mut above, current);
    }
    above.last().copied().unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::{Diagnostic, Place, distance, nearest};

    #[test]
    fn shows_place_message_and_fix() {
        let place = Place::File {
            file: "a.conf".into(),
            line: 3,
            column: 7,
        };
        let diagnostic = Diagnostic::new(&place, "unknown field \"prot\"").fix("remove it");
        assert_eq!(
            diagnostic.to_string(),
            "a.conf:3:7: unknown field \"prot\"; remove it"
        );
        assert_eq!(
            Diagnostic::general("nothing there").to_string(),
            "nothing there"
        );
    }

    #[test]
    fn counts_edits() {
        for (left, right, expected) in [
            ("", "", 0),
            ("port", "port", 0),
            ("prot", "port", 1),
            ("hots", "host", 1),
            ("a", "abc", 2),
        ] {
            assert_eq!(distance(left, right, 3), expected, "{left} {right}");
        }
    }

    #[test]
    fn guesses_only_near_words() {
        let keys = ["port", "host", "max_payload", "tls"];
        assert_eq!(nearest("Prot", keys.into_iter()), Some("port"));
        assert_eq!(
            nearest("max_pay_load", keys.into_iter()),
            Some("max_payload")
        );
        assert_eq!(nearest("jetstream", keys.into_iter()), None);
    }
}
