//! What stands behind the `?` of a request, and nats-server's texts for what makes no sense there.

use crate::monitor::connections;

/// The parameters of a request. Where one is given twice the first counts.
#[derive(Debug, Default)]
pub(super) struct Query(Vec<(String, String)>);

/// The text that answers a request with status 400.
pub(super) type BadRequest = String;

/// What subscriptions to list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Listed {
    pub(super) filters: bool,
    pub(super) details: bool,
}

impl Query {
    pub(super) fn parse(text: &str) -> Self {
        let pairs = text.split('&').filter(|pair| !pair.is_empty());
        let parameter = |pair: &str| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            Some((decoded(name)?, decoded(value)?))
        };
        Self(pairs.filter_map(parameter).collect())
    }

    /// The value of a parameter; empty without it.
    pub(super) fn text(&self, name: &str) -> &str {
        let found = self.0.iter().find(|(known, _)| known == name);
        found.map_or("", |(_, value)| value)
    }

    pub(super) fn owned(&self, name: &str) -> String {
        self.text(name).to_owned()
    }

    pub(super) fn boolean(&self, name: &str) -> Result<bool, BadRequest> {
        match self.text(name) {
            "" | "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok(false),
            "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok(true),
            other => Err(format!(
                "Error decoding boolean for '{name}': strconv.ParseBool: parsing {other:?}: \
                 invalid syntax"
            )),
        }
    }

    pub(super) fn integer(&self, name: &str) -> Result<i64, BadRequest> {
        let text = self.text(name);
        if text.is_empty() {
            return Ok(0);
        }
        text.parse().map_err(|error| {
            let mistake = number_mistake(&error);
            format!("Error decoding int for '{name}': strconv.Atoi: parsing {text:?}: {mistake}")
        })
    }

    pub(super) fn unsigned(&self, name: &str) -> Result<u64, BadRequest> {
        let text = self.text(name);
        if text.is_empty() {
            return Ok(0);
        }
        let parsed = if text.starts_with('+') {
            // Signs are no part of a number without one.
            "+".parse()
        } else {
            text.parse()
        };
        parsed.map_err(|error: std::num::ParseIntError| {
            let mistake = number_mistake(&error);
            format!(
                "Error decoding uint64 for '{name}': strconv.ParseUint: parsing {text:?}: {mistake}"
            )
        })
    }

    /// The parameter `subs`.
    pub(super) fn listed(&self) -> Result<Listed, BadRequest> {
        let details = self.text("subs").eq_ignore_ascii_case("detail");
        let filters = !details && self.boolean("subs")?;
        Ok(Listed { filters, details })
    }

    /// The parameter `state`.
    pub(super) fn state(&self) -> Result<u8, BadRequest> {
        let text = self.text("state");
        match &*text.to_lowercase() {
            "" | "open" => Ok(connections::OPEN),
            "closed" => Ok(connections::CLOSED),
            "any" | "all" => Ok(connections::ALL),
            _ => Err(format!("Error decoding state for {text}")),
        }
    }
}

fn number_mistake(error: &std::num::ParseIntError) -> &'static str {
    use std::num::IntErrorKind::{NegOverflow, PosOverflow};
    if matches!(error.kind(), NegOverflow | PosOverflow) {
        "value out of range"
    } else {
        "invalid syntax"
    }
}

/// Text with its `%41` and `+` resolved; nothing if that makes no sense.
fn decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'+' => b' ',
            b'%' => {
                let digits = [rest.next()?, rest.next()?];
                let digits = std::str::from_utf8(&digits).ok()?;
                u8::from_str_radix(digits, 16).ok()?
            }
            other => other,
        });
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_of_equal_parameters_counts_and_escapes_are_resolved() {
        let query = Query::parse("a=1&a=2&&b=%41+b%2e&broken=%4&empty");
        let values = ["a", "b", "broken", "empty", "none"].map(|name| query.text(name));
        assert_eq!(values, ["1", "A b.", "", "", ""]);
    }

    #[test]
    fn numbers_and_switches_are_refused_in_the_words_of_the_original() {
        let query =
            Query::parse("b=x&i=1x&big=9223372036854775808&u=-1&s=gone&good=-5&on=T&p=%2B1");
        assert_eq!(query.boolean("on"), Ok(true));
        assert_eq!(query.integer("good"), Ok(-5));
        assert_eq!(query.integer("p"), Ok(1));
        assert_eq!(query.unsigned("none"), Ok(0));
        let mistakes = [
            query.boolean("b").unwrap_err(),
            query.integer("i").unwrap_err(),
            query.integer("big").unwrap_err(),
            query.unsigned("u").unwrap_err(),
            query.unsigned("p").unwrap_err(),
            Query::parse("state=gone").state().unwrap_err(),
        ];
        let expected = [
            "Error decoding boolean for 'b': strconv.ParseBool: parsing \"x\": invalid syntax",
            "Error decoding int for 'i': strconv.Atoi: parsing \"1x\": invalid syntax",
            "Error decoding int for 'big': strconv.Atoi: parsing \"9223372036854775808\": \
             value out of range",
            "Error decoding uint64 for 'u': strconv.ParseUint: parsing \"-1\": invalid syntax",
            "Error decoding uint64 for 'p': strconv.ParseUint: parsing \"+1\": invalid syntax",
            "Error decoding state for gone",
        ];
        assert_eq!(mistakes, expected);
    }
}
