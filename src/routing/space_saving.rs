//! The subjects that occur most, counted in a fixed number of places (Metwally, Agrawal, El Abbadi: "Efficient
//! Computation of Frequent and Top-k Elements in Data Streams", 2005).
//!
//! A subject that has no place takes that of the one counted least, and its count as a possible error. So
//! counts are never too small, none is too big by more than its error, and with N counted in M places
//! every subject that occurred more than N / M times has one.

use std::hash::BuildHasher;

use foldhash::fast::RandomState;
use hashbrown::HashTable;

/// Longest subject that is told apart, in bytes; of longer ones the beginning counts.
pub const MAX_SUBJECT_BYTES: usize = 256;

/// A subject and how often it occurred.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Counted {
    /// The subject, or its first [`MAX_SUBJECT_BYTES`].
    pub subject: Box<[u8]>,
    /// How often it occurred at most.
    pub count: u64,
    /// By how much `count` may be too big.
    pub error: u64,
    /// The sum of what came with it since it has had its place.
    pub bytes: u64,
}

#[derive(Debug)]
struct Place {
    counted: Counted,
    /// Where it stands in the heap.
    at: usize,
}

/// Counts of the subjects that occur most.
#[derive(Debug)]
pub struct SpaceSaving {
    capacity: usize,
    places: Vec<Place>,
    /// Numbers of places, of which each is counted no more than the two below it.
    heap: Vec<usize>,
    index: HashTable<usize>,
    hasher: RandomState,
}

impl SpaceSaving {
    /// Counts in `capacity` places, at least one; memory is taken as subjects come.
    #[must_use]
    pub fn new(capacity: usize) -> Self {
        Self {
            capacity: capacity.max(1),
            places: Vec::new(),
            heap: Vec::new(),
            index: HashTable::new(),
            hasher: RandomState::default(),
        }
    }

    /// Counts a subject `weight` times, with `bytes` in all.
    pub fn add(&mut self, subject: &[u8], weight: u64, bytes: u64) {
        let subject = subject.get(..MAX_SUBJECT_BYTES).unwrap_or(subject);
        let hash = self.hasher.hash_one(subject);
        let places = &self.places;
        let is_same = |&place: &usize| {
            let known = places.get(place).map(|place| &*place.counted.subject);
            known == Some(subject)
        };
        let place = match self.index.find(hash, is_same) {
            Some(&place) => place,
            None if self.places.len() < self.capacity => self.open(subject, hash),
            None => match self.take_least(subject, hash) {
                Some(place) => place,
                None => return,
            },
        };
        if let Some(place) = self.places.get_mut(place) {
            place.counted.count += weight;
            place.counted.bytes += bytes;
            let at = place.at;
            self.sink(at);
        }
    }

    /// Gives a subject a new place.
    fn open(&mut self, subject: &[u8], hash: u64) -> usize {
        let place = self.places.len();
        self.places.push(Place {
            counted: Counted {
                subject: subject.into(),
                count: 0,
                error: 0,
                bytes: 0,
            },
            at: self.heap.len(),
        });
        self.heap.push(place);
        self.enter(place, hash);
        // Nobody has less than nothing.
        self.rise(self.heap.len() - 1);
        place
    }

    fn enter(&mut self, place: usize, hash: u64) {
        let (hasher, places) = (&self.hasher, &self.places);
        let rehash = |&place: &usize| {
            let known = places.get(place);
            known.map_or(0, |place| hasher.hash_one(&*place.counted.subject))
        };
        self.index.insert_unique(hash, place, rehash);
    }

    /// Gives a subject the place of the one that is counted least.
    fn take_least(&mut self, subject: &[u8], hash: u64) -> Option<usize> {
        let place = *self.heap.first()?;
        let least = &mut self.places.get_mut(place)?.counted;
        let before = self.hasher.hash_one(&*least.subject);
        if let Ok(entry) = self.index.find_entry(before, |&known| known == place) {
            entry.remove();
        }
        least.subject = subject.into();
        least.error = least.count;
        least.bytes = 0;
        self.enter(place, hash);
        Some(place)
    }

    fn count_at(&self, at: usize) -> Option<u64> {
        let place = self.heap.get(at)?;
        self.places.get(*place).map(|place| place.counted.count)
    }

    /// Moves what stands at `at` up while it is counted less than what stands above it.
    fn rise(&mut self, mut at: usize) {
        while at > 0 {
            let above = (at - 1) / 2;
            if self.count_at(above) <= self.count_at(at) {
                return;
            }
            self.exchange(at, above);
            at = above;
        }
    }

    /// Moves what stands at `at` down while it is counted more than what stands below it.
    fn sink(&mut self, mut at: usize) {
        while let Some(count) = self.count_at(at) {
            let below = [2 * at + 1, 2 * at + 2].into_iter();
            let below = below.filter_map(|below| Some((self.count_at(below)?, below)));
            match below.min() {
                Some((least, below)) if least < count => {
                    self.exchange(at, below);
                    at = below;
                }
                _ => return,
            }
        }
    }

    fn exchange(&mut self, one: usize, other: usize) {
        self.heap.swap(one, other);
        for at in [one, other] {
            if let Some(place) = self.heap.get(at)
                && let Some(place) = self.places.get_mut(*place)
            {
                place.at = at;
            }
        }
    }

    /// All that have a place, in no order.
    pub fn counted(&self) -> impl Iterator<Item = &Counted> {
        self.places.iter().map(|place| &place.counted)
    }

    /// How often a subject without a place may have occurred.
    #[must_use]
    pub fn least(&self) -> u64 {
        match self.places.len() < self.capacity {
            true => 0,
            false => self.count_at(0).unwrap_or(0),
        }
    }
}
