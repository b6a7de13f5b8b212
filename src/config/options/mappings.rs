//! Mapped subjects: the block `mappings`, at the top level and in accounts.

use std::collections::{BTreeMap, HashSet};

use super::read::{optional_text, percentage, set, table, tables};
use super::row::{About, Kind, Row, abouts, read_table};
use crate::config::diagnostic::{Diagnostic, Place, Problems};
use crate::config::subjects;
use crate::config::value::{Entry, Node, Table, Value};
use crate::subject::transform::{Functions, Transform};

/// A subject whose messages are published to another instead.
#[derive(Clone, Debug, PartialEq)]
pub struct Mapping {
    /// The subject, which may have wildcards.
    pub source: String,
    /// Where its messages go, each by its weight. If the weights are less than 100 together, the
    /// rest stays, unless the source is among the destinations.
    pub destinations: Vec<MappingDestination>,
    /// Where it was written.
    pub place: Place,
}

/// Where messages of a mapped subject go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MappingDestination {
    /// The subject, with `$1` or `{{wildcard(1)}}` for the source's wildcards.
    pub subject: String,
    /// How many of a hundred messages.
    pub weight: u8,
    /// Only in the cluster of this name.
    pub cluster: Option<String>,
}

/// A destination while its block is read.
#[derive(Debug, Default)]
pub(crate) struct DestinationDraft {
    subject: Option<String>,
    weight: Option<u8>,
    cluster: Option<String>,
}

/// The options of a destination of a mapping.
pub(crate) static DESTINATION: &[Row<DestinationDraft>] = &[
    of_destination("destination", Kind::Text, "")
        .document("The subject messages go to.")
        .aliases(&["dest"])
        .example("processed.$1")
        .store(|d, e, p| set(&mut d.subject, optional_text(e, p))),
    of_destination("weight", Kind::Mixed, "")
        .document("How many of a hundred messages: a number or a percentage.")
        .example("\"50%\"")
        .store(|d, e, p| {
            d.weight = percentage(&e.node);
            if d.weight.is_none() {
                let message = "invalid weight for mapping destination";
                p.error(Diagnostic::new(e.place(), message).fix("write 0 to 100, or \"10%\""));
            }
        }),
    of_destination("cluster", Kind::Text, "")
        .document("Only in the cluster of this name.")
        .example("cluster-1")
        .store(|d, e, p| set(&mut d.cluster, optional_text(e, p))),
];

const fn of_destination(
    key: &'static str,
    kind: Kind,
    default: &'static str,
) -> Row<DestinationDraft> {
    Row::new(key, kind, default)
}

/// A block of mapped subjects, each with a subject, a destination or a list of destinations.
pub(crate) fn mappings(entry: &Entry, problems: &mut Problems) -> Option<Vec<Mapping>> {
    let mut found = Vec::new();
    for entry in &table(entry, problems)?.entries {
        if !subjects::is_valid(&entry.key) {
            let message = format!("subject {:?} is not a valid subject", entry.key);
            problems.error(Diagnostic::new(entry.place(), message));
            continue;
        }
        let Some(destinations) = destinations(entry, problems) else {
            continue;
        };
        check_destinations(entry, &destinations, problems);
        found.push(Mapping {
            source: entry.key.clone(),
            destinations,
            place: entry.place().clone(),
        });
    }
    Some(found)
}

fn destinations(entry: &Entry, problems: &mut Problems) -> Option<Vec<MappingDestination>> {
    if let Value::Text(subject) = &entry.node.value {
        let subject = subject.clone();
        return Some(vec![MappingDestination {
            subject,
            weight: 100,
            cluster: None,
        }]);
    }
    if let Value::Table(table) = &entry.node.value {
        return destination(&entry.node, table, problems).map(|destination| vec![destination]);
    }
    let blocks = tables(entry, problems)?;
    Some(
        blocks
            .into_iter()
            .filter_map(|(node, table)| destination(node, table, problems))
            .collect(),
    )
}

fn destination(node: &Node, table: &Table, problems: &mut Problems) -> Option<MappingDestination> {
    let before = problems.errors.len();
    let mut draft = DestinationDraft::default();
    read_table(DESTINATION, &mut draft, table, problems);
    let missing = match (&draft.subject, draft.weight) {
        (Some(subject), Some(weight)) => {
            let (subject, cluster) = (subject.clone(), draft.cluster);
            return Some(MappingDestination {
                subject,
                weight,
                cluster,
            });
        }
        (None, _) => "a destination",
        (_, None) => "a weight",
    };
    if problems.errors.len() == before {
        let message = format!("a mapping destination requires {missing}");
        problems.error(Diagnostic::new(&node.place, message));
    }
    None
}

fn check_destinations(entry: &Entry, found: &[MappingDestination], problems: &mut Problems) {
    let mut weights: BTreeMap<Option<&str>, u32> = BTreeMap::new();
    let mut seen = HashSet::new();
    let mut refuse = |message: String| {
        let message = format!("mapping for {:?}: {message}", entry.key);
        problems.error(Diagnostic::new(entry.place(), message));
    };
    for destination in found {
        if !seen.insert(destination.subject.as_str()) {
            refuse(format!("duplicate entry for {:?}", destination.subject));
        }
        if let Err(error) = Transform::new(&entry.key, &destination.subject, Functions::All) {
            refuse(error.to_string());
        }
        *weights.entry(destination.cluster.as_deref()).or_default() +=
            u32::from(destination.weight);
    }
    if weights.values().any(|total| *total > 100) {
        refuse("total weight needs to be <= 100".to_owned());
    }
}

/// What there is to say about the options of a destination.
pub(crate) fn about() -> Vec<&'static About> {
    abouts(DESTINATION)
}
