//! How a match cache learns that a change of interest concerns it, and only then.
//!
//! One counter for the whole table would make every SUB anywhere invalidate every cached subject of
//! everybody. Instead there is an array of counters. A filter's change adds to one of them, chosen by
//! the literal tokens it begins with; a subject looks at the few counters that any filter wanting it
//! could have chosen. The sum of those is the subject's *stamp*: equal stamps mean that nothing that
//! could concern the subject has changed.

use std::hash::BuildHasher;
use std::sync::atomic::{AtomicU32, Ordering};

use foldhash::fast::RandomState;

use crate::subject::{TOKEN_SEPARATOR, has_wildcard, is_star, is_tail, tokens};

/// Number of counters of one table. More of them means fewer subjects that share one by accident.
const COUNTERS: usize = 1024;

/// Filters with a wildcard are told apart by at most this many leading literal tokens.
const PREFIX_TOKENS: usize = 2;

/// The counters of one interest table.
#[derive(Debug)]
pub struct Generations {
    counters: Box<[AtomicU32]>,
    hasher: RandomState,
}

/// Which counters concern one subject.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Concern {
    slots: [usize; PREFIX_TOKENS + 1],
}

impl Generations {
    /// Counters that are chosen with `hasher`.
    #[must_use]
    pub fn new(hasher: RandomState) -> Self {
        let counters = (0..=COUNTERS).map(|_| AtomicU32::new(0)).collect();
        Self { counters, hasher }
    }

    /// Notes that who wants `filter` has changed. Call it while the table is locked for writing.
    pub fn advance(&self, filter: &[u8]) {
        let slot = if has_wildcard(filter) {
            let literal = tokens(filter).take_while(|token| !is_star(token) && !is_tail(token));
            let count = literal.take(PREFIX_TOKENS).count();
            if count == 0 {
                COUNTERS
            } else {
                self.slot(prefix(filter, count))
            }
        } else {
            self.slot(filter)
        };
        if let Some(counter) = self.counters.get(slot) {
            counter.fetch_add(1, Ordering::Release);
        }
    }

    /// The counters that any filter wanting `subject` would advance.
    #[must_use]
    pub fn concern(&self, subject: &[u8]) -> Concern {
        let [first, second] = [1, 2].map(|count| self.slot(prefix(subject, count)));
        Concern {
            slots: [first, second, self.slot(subject)],
        }
    }

    /// The sum of the counters that concern a subject, and of the one for filters that begin with a
    /// wildcard. It wraps after four thousand million changes, of which a cache would have to miss
    /// exactly all.
    #[must_use]
    pub fn stamp(&self, concern: Concern) -> u32 {
        let own = concern.slots.iter().map(|&slot| self.load(slot));
        own.fold(self.load(COUNTERS), u32::wrapping_add)
    }

    fn load(&self, slot: usize) -> u32 {
        self.counters
            .get(slot)
            .map_or(0, |counter| counter.load(Ordering::Acquire))
    }

    fn slot(&self, bytes: &[u8]) -> usize {
        usize::try_from(self.hasher.hash_one(bytes) % COUNTERS as u64).unwrap_or(0)
    }
}

/// The first `count` tokens of `subject`, or all of it when it has fewer.
fn prefix(subject: &[u8], count: usize) -> &[u8] {
    let ends = memchr::memchr_iter(TOKEN_SEPARATOR, subject);
    match ends.take(count).nth(count - 1) {
        Some(end) => subject.get(..end).unwrap_or(subject),
        None => subject,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whether a change of `filter` is seen by `subject`.
    fn concerns(filter: &str, subject: &str) -> bool {
        let generations = Generations::new(RandomState::default());
        let concern = generations.concern(subject.as_bytes());
        let before = generations.stamp(concern);
        generations.advance(filter.as_bytes());
        generations.stamp(concern) != before
    }

    #[test]
    fn what_could_match_is_seen() {
        let filters = [
            "a.b.c", "a.b.*", "a.b.>", "a.*.c", "a.>", "*.b.c", ">", "*.*.*", "a.b.c.>", "a.b.*.d",
        ];
        for filter in &filters[..8] {
            assert!(concerns(filter, "a.b.c"), "{filter}");
        }
        assert!(concerns("a", "a") && concerns("*", "a") && concerns("a.b", "a.b"));
    }

    #[test]
    fn most_other_changes_are_not() {
        let missed = (0..1000).filter(|number| concerns(&format!("churn.{number}"), "orders.new"));
        assert!(missed.count() < 50);
    }
}
