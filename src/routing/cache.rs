//! What one publisher's recent subjects matched.
//!
//! A table with one place per hash value: a newer subject takes the place of an older one, so it never
//! grows over its limit and nothing has to be swept. A subject is admitted only when it asks for its
//! place twice in a row; a publisher with far more subjects than places then pays one comparison per
//! message instead of an allocation.

use super::generations::{Concern, Generations};
use super::groups::SubscriberSet;

/// Places of a cache at its first use.
const FIRST_PLACES: usize = 16;
/// Most places that a cache can have.
const MAX_PLACES: usize = 4096;
/// Places that a cache keeps for each subject that ever came twice, so that few of them collide.
const PLACES_PER_ENTRY: usize = 8;
const _: () = assert!(FIRST_PLACES.is_power_of_two() && MAX_PLACES.is_power_of_two());

/// A bounded map from subject to the subscriptions that want it.
#[derive(Debug)]
pub struct MatchCache<S> {
    /// Invariant: empty, or a power of two of them.
    places: Vec<Place<S>>,
    /// Subjects that displaced another one since the table got its size.
    evictions: usize,
    /// Whether it has had the greatest size and then the one that fits: the publisher has subjects that
    /// it does not come back to, which will go on displacing each other at any size.
    settled: bool,
}

#[derive(Debug)]
struct Place<S> {
    /// Hash of the subject that asked for this place last.
    asked: u64,
    entry: Option<Box<Entry<S>>>,
}

#[derive(Debug)]
struct Entry<S> {
    subject: Box<[u8]>,
    concern: Concern,
    stamp: u32,
    matches: SubscriberSet<S>,
}

impl<S> Default for MatchCache<S> {
    fn default() -> Self {
        Self {
            places: Vec::new(),
            evictions: 0,
            settled: false,
        }
    }
}

impl<S> MatchCache<S> {
    /// Whether it knows what `subject`, whose hash is `hash`, matches: nothing that concerns the subject
    /// has changed since it was asked.
    #[must_use]
    pub fn knows(&self, subject: &[u8], hash: u64, generations: &Generations) -> bool {
        let place = self.places.get(self.index(hash));
        place
            .and_then(|place| place.entry.as_deref())
            .is_some_and(|entry| {
                *entry.subject == *subject && entry.stamp == generations.stamp(entry.concern)
            })
    }

    /// What the subject of that hash, for which [`Self::knows`] just said yes, matches.
    #[must_use]
    pub fn get(&self, hash: u64) -> Option<&SubscriberSet<S>> {
        let entry = self.places.get(self.index(hash))?.entry.as_deref()?;
        Some(&entry.matches)
    }

    /// Whether a subject that was not found is worth an entry. Remembers that it asked.
    pub fn admits(&mut self, hash: u64) -> bool {
        if self.places.is_empty() {
            self.resize(FIRST_PLACES);
        }
        let index = self.index(hash);
        let Some(place) = self.places.get_mut(index) else {
            return false;
        };
        if place.asked == hash {
            return true;
        }
        self.evictions += usize::from(place.asked != 0);
        place.asked = hash;
        if self.evictions > self.places.len() && !self.settled {
            self.reconsider_size();
            self.note_asked(hash);
        }
        false
    }

    fn note_asked(&mut self, hash: u64) {
        let index = self.index(hash);
        if let Some(place) = self.places.get_mut(index) {
            place.asked = hash;
        }
    }

    /// More places, as long as there could be more subjects that come again; then as many as those need.
    fn reconsider_size(&mut self) {
        if self.places.len() < MAX_PLACES {
            return self.resize(self.places.len() * 4);
        }
        self.settled = true;
        let entries = self
            .places
            .iter()
            .filter(|place| place.entry.is_some())
            .count();
        let wanted = (entries * PLACES_PER_ENTRY).next_power_of_two();
        if wanted < MAX_PLACES {
            self.resize(wanted.max(FIRST_PLACES));
        }
    }

    /// Keeps what an admitted subject matched while its stamp was `stamp`.
    pub fn insert(
        &mut self,
        subject: &[u8],
        hash: u64,
        (concern, stamp): (Concern, u32),
        matches: SubscriberSet<S>,
    ) {
        let index = self.index(hash);
        if let Some(place) = self.places.get_mut(index) {
            let entry = Entry {
                subject: subject.into(),
                concern,
                stamp,
                matches,
            };
            place.entry = Some(Box::new(entry));
        }
    }

    /// Forgets everything and gives the memory back.
    pub fn clear(&mut self) {
        *self = Self::default();
    }

    fn index(&self, hash: u64) -> usize {
        // A cast that cuts off is fine: only the low bits of the hash are wanted.
        #[expect(
            clippy::cast_possible_truncation,
            reason = "the high bits are not wanted"
        )]
        let low = hash as usize;
        low & self.places.len().wrapping_sub(1)
    }

    fn resize(&mut self, places: usize) {
        self.evictions = 0;
        self.places.clear();
        self.places.shrink_to(places);
        self.places.resize_with(places.min(MAX_PLACES), || Place {
            asked: 0,
            entry: None,
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use foldhash::fast::RandomState;
    use std::hash::BuildHasher;

    struct Table {
        cache: MatchCache<()>,
        generations: Generations,
        hasher: RandomState,
    }

    impl Table {
        fn new() -> Self {
            let hasher = RandomState::default();
            Self {
                cache: MatchCache::default(),
                generations: Generations::new(hasher.clone()),
                hasher,
            }
        }

        /// Publishes on `subject`; whether it was found.
        fn publish(&mut self, subject: &str) -> bool {
            let subject = subject.as_bytes();
            let hash = self.hasher.hash_one(subject);
            if self.cache.knows(subject, hash, &self.generations) {
                return true;
            }
            if self.cache.admits(hash) {
                let concern = self.generations.concern(subject);
                let stamp = self.generations.stamp(concern);
                let matches = SubscriberSet::default();
                self.cache.insert(subject, hash, (concern, stamp), matches);
            }
            false
        }

        fn places(&self) -> usize {
            self.cache.places.len()
        }
    }

    #[test]
    fn it_grows_until_a_cycle_of_subjects_fits() {
        let mut table = Table::new();
        let mut cycle = || {
            (0..500)
                .filter(|number| table.publish(&format!("a.{number}")))
                .count()
        };
        for _ in 0..30 {
            cycle();
        }
        assert!(cycle() > 350);
        assert!((1024..=MAX_PLACES).contains(&table.places()));
    }

    #[test]
    fn it_shrinks_when_no_subject_comes_twice() {
        let mut table = Table::new();
        for number in 0..30_000 {
            assert!(!table.publish(&format!("inbox.{number}")));
            assert!(table.places() <= MAX_PLACES);
        }
        assert_eq!(table.places(), FIRST_PLACES);
        table.publish("orders");
        table.publish("orders");
        assert!(table.publish("orders"), "what comes again is still kept");
        table.cache.clear();
        assert_eq!(table.places(), 0);
    }
}
