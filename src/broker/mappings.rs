//! Mapped subjects of an account: messages for one subject that are published to another instead.

use std::collections::HashMap;

use foldhash::fast::RandomState;

use crate::subject;
use crate::subject::transform::{Functions, Transform, TransformError};

/// The weight of a destination that gets everything.
pub const WHOLE_WEIGHT: u8 = 100;

/// A subject and where its messages go, as configured.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MappingRules {
    /// The subject, which may have wildcards.
    pub source: String,
    /// Where its messages go. What their weights leave of 100 stays, unless the source is among them:
    /// then it is lost.
    pub destinations: Vec<DestinationRules>,
}

/// One destination of a mapping, as configured.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DestinationRules {
    /// The subject, whose tokens may be functions of the source's wildcards.
    pub subject: String,
    /// How many of a hundred messages it gets.
    pub weight: u8,
    /// Only in the cluster of this name.
    pub cluster: Option<String>,
}

/// All mappings of an account, ready to choose.
#[derive(Debug, Default)]
pub struct Mappings {
    /// Sources without wildcards; they come before the others.
    literals: HashMap<Box<[u8]>, Vec<Destination>, RandomState>,
    /// Sources with wildcards in the order of the configuration; the first that matches counts.
    wildcards: Vec<(Box<[u8]>, Vec<Destination>)>,
}

#[derive(Debug)]
struct Destination {
    /// It is chosen by numbers below this one and not below that of the destination before it.
    bound: u8,
    transform: Transform,
}

/// What becomes of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mapped {
    /// Its subject stays.
    Same,
    /// It goes to the subject that was written.
    Other,
    /// It goes nowhere: the weights leave a rest, and it was this one's turn.
    Lost,
}

impl Mappings {
    /// The mappings that hold in the cluster of that name; it is empty without a cluster.
    ///
    /// # Errors
    /// A destination that cannot be made of its source.
    pub fn new(rules: &[MappingRules], cluster: &str) -> Result<Self, TransformError> {
        let mut mappings = Self::default();
        for rule in rules {
            let destinations = destinations(rule, cluster)?;
            let source = rule.source.as_bytes();
            if subject::has_wildcard(source) {
                mappings.wildcards.push((source.into(), destinations));
            } else {
                mappings.literals.insert(source.into(), destinations);
            }
        }
        Ok(mappings)
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.literals.is_empty() && self.wildcards.is_empty()
    }

    /// Where a message for `subject` goes: writes it to `to`, which must be empty. `random` is a new
    /// random number.
    pub fn apply(&self, subject: &[u8], random: u64, to: &mut Vec<u8>) -> Mapped {
        let matches = |(source, _): &&(Box<[u8]>, _)| subject::matches(source, subject);
        let destinations = self.literals.get(subject).or_else(|| {
            let found = self.wildcards.iter().find(matches);
            found.map(|(_, destinations)| destinations)
        });
        let Some(destinations) = destinations else {
            return Mapped::Same;
        };
        // The choice must not decide what a transform draws.
        let (high, low) = (random >> 32, random & u64::from(u32::MAX));
        let drawn = high % u64::from(WHOLE_WEIGHT);
        let chosen = destinations
            .iter()
            .find(|destination| drawn < u64::from(destination.bound));
        let Some(chosen) = chosen else {
            return Mapped::Lost;
        };
        let low = u32::try_from(low).unwrap_or(u32::MAX);
        chosen.transform.apply(subject, low, to);
        Mapped::Other
    }
}

/// The destinations of one mapping that hold in `cluster`.
fn destinations(rule: &MappingRules, cluster: &str) -> Result<Vec<Destination>, TransformError> {
    let here = |one: &&DestinationRules| one.cluster.as_deref() == Some(cluster);
    let scoped = rule.destinations.iter().any(|one| here(&one));
    let wanted = scoped.then_some(cluster);
    let chosen = rule
        .destinations
        .iter()
        .filter(|one| one.cluster.as_deref() == wanted);
    let mut bound = 0;
    let mut destinations = Vec::new();
    for destination in chosen {
        bound = WHOLE_WEIGHT.min(destination.weight.saturating_add(bound));
        let transform = Transform::new(&rule.source, &destination.subject, Functions::All)?;
        destinations.push(Destination { bound, transform });
    }
    let named = rule
        .destinations
        .iter()
        .any(|one| one.subject == rule.source);
    if bound < WHOLE_WEIGHT && !named {
        destinations.push(Destination {
            bound: WHOLE_WEIGHT,
            transform: Transform::new(&rule.source, &placeholders(&rule.source), Functions::All)?,
        });
    }
    Ok(destinations)
}

/// `filter` as a destination: each `*` becomes the wildcard that it is.
#[must_use]
pub fn placeholders(filter: &str) -> String {
    let mut stars = 0;
    let token = |token: &str| {
        if token != "*" {
            return token.to_owned();
        }
        stars += 1;
        format!("${stars}")
    };
    filter.split('.').map(token).collect::<Vec<_>>().join(".")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(source: &str, destinations: &[(&str, u8, &str)]) -> MappingRules {
        let destination = |(subject, weight, cluster): &(&str, u8, &str)| DestinationRules {
            subject: (*subject).to_owned(),
            weight: *weight,
            cluster: (!cluster.is_empty()).then(|| (*cluster).to_owned()),
        };
        MappingRules {
            source: source.to_owned(),
            destinations: destinations.iter().map(destination).collect(),
        }
    }

    fn apply(mappings: &Mappings, subject: &str, random: u64) -> (Mapped, String) {
        let mut to = Vec::new();
        let mapped = mappings.apply(subject.as_bytes(), random, &mut to);
        (mapped, String::from_utf8(to).unwrap())
    }

    /// How many of a hundred messages each subject gets.
    fn shares(mappings: &Mappings, subject: &str) -> HashMap<String, u32> {
        let mut shares = HashMap::new();
        for random in (0..100).map(|number| number << 32) {
            *shares
                .entry(apply(mappings, subject, random).1)
                .or_default() += 1;
        }
        shares
    }

    #[test]
    fn the_first_source_that_matches_counts_and_literals_come_first() {
        let rules = [
            rule("a.*", &[("x.$1", 100, "")]),
            rule("*.b", &[("y.$1", 100, "")]),
            rule("a.b", &[("z", 100, "")]),
        ];
        let mappings = Mappings::new(&rules, "").unwrap();
        for (subject, expected) in [("a.c", "x.c"), ("a.b", "z"), ("c.b", "y.c")] {
            assert_eq!(
                apply(&mappings, subject, 7),
                (Mapped::Other, expected.to_owned())
            );
        }
        for subject in ["b", "a.b.c", "a.", ""] {
            assert_eq!(apply(&mappings, subject, 7), (Mapped::Same, String::new()));
        }
    }

    #[test]
    fn weights_leave_a_rest_that_stays_or_is_lost() {
        let stays = rule("a.*", &[("b.$1", 30, ""), ("c.$1", 50, "")]);
        let mappings = Mappings::new(&[stays], "").unwrap();
        let expected = [("b.x", 30), ("c.x", 50), ("a.x", 20)];
        let expected: HashMap<String, u32> =
            expected.map(|(to, share)| (to.to_owned(), share)).into();
        assert_eq!(shares(&mappings, "a.x"), expected);
        let lost = rule("a", &[("a", 60, ""), ("b", 10, "")]);
        let mappings = Mappings::new(&[lost], "").unwrap();
        let expected = [("a", 60), ("b", 10), ("", 30)];
        let expected: HashMap<String, u32> =
            expected.map(|(to, share)| (to.to_owned(), share)).into();
        assert_eq!(shares(&mappings, "a"), expected);
        assert_eq!(apply(&mappings, "a", 99 << 32).0, Mapped::Lost);
    }

    #[test]
    fn destinations_of_the_own_cluster_take_the_place_of_the_others() {
        let rule = rule(
            "a",
            &[("b", 100, ""), ("c", 40, "east"), ("d", 100, "west")],
        );
        for (cluster, expected) in [
            ("", vec![("b", 100)]),
            ("north", vec![("b", 100)]),
            ("east", vec![("c", 40), ("a", 60)]),
        ] {
            let mappings = Mappings::new(std::slice::from_ref(&rule), cluster).unwrap();
            let expected: HashMap<String, u32> = expected
                .into_iter()
                .map(|(to, share)| (to.to_owned(), share))
                .collect();
            assert_eq!(shares(&mappings, "a"), expected, "{cluster}");
        }
    }
}
