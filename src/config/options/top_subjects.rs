//! How many of the subjects that are published to most are told: `top_subjects`.

use super::read::integer;
use crate::config::diagnostic::Problems;
use crate::config::value::Entry;

/// Most subjects that can be told of an account.
const MOST: i64 = 1000;

pub(super) const DOCUMENT: &str = "How many of the subjects that clients publish to most are told in /subsz?top=; 0 is not to find out.";

pub(super) fn top_subjects(entry: &Entry, problems: &mut Problems) -> Option<u16> {
    let number = integer(entry, 0, MOST, problems)?;
    u16::try_from(number).ok()
}
