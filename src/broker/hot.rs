//! Which subjects of an account are published to most: an estimate that costs little.
//!
//! Of the messages that clients publish one in [`SAMPLED`] on average is counted, for that many. Each
//! worker thread counts apart, and the counts are put together when somebody asks. They are of the last
//! one to two minutes.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::routing::space_saving::{Counted, SpaceSaving};

/// One message of so many is counted.
pub const SAMPLED: u64 = 16;

/// How long a window is counted before the next one begins.
pub const WINDOW: Duration = Duration::from_secs(60);

/// How many threads can count without waiting for each other.
const SHARDS: usize = 8;

/// Places for each subject that is to be told, and at least so many in all: those counted least are hardly more
/// than noise, and the more places there are the less of it the others have.
const PLACES_PER_SUBJECT: usize = 4;
const LEAST_PLACES: usize = 256;

/// Most subjects that can be told.
pub const MAX_SUBJECTS: usize = 1000;

/// What one thread has counted.
#[derive(Debug)]
struct Shard {
    began: Option<Instant>,
    now: SpaceSaving,
    /// The window before, if anything was counted in it.
    before: Option<(Instant, SpaceSaving)>,
}

impl Shard {
    fn new(places: usize) -> Self {
        Self {
            began: None,
            now: SpaceSaving::new(places),
            before: None,
        }
    }

    /// Begins the next window when it is time.
    fn turn_over(&mut self, now: Instant, places: usize) {
        let began = *self.began.get_or_insert(now);
        let passed = now.saturating_duration_since(began);
        if passed < WINDOW {
            return;
        }
        let last = std::mem::replace(&mut self.now, SpaceSaving::new(places));
        self.before = (passed < 2 * WINDOW).then_some((began, last));
        self.began = Some(now);
    }
}

/// The subjects of an account that are published to most.
#[derive(Debug)]
pub struct HotSubjects {
    subjects: usize,
    shards: [Mutex<Shard>; SHARDS],
}

/// The subjects that were published to most, and during which time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hottest {
    /// How long was counted.
    pub window: Duration,
    /// The most frequent first.
    pub subjects: Vec<Counted>,
}

impl HotSubjects {
    /// Tells up to so many subjects, at most [`MAX_SUBJECTS`].
    #[must_use]
    pub fn new(subjects: usize) -> Self {
        let subjects = subjects.clamp(1, MAX_SUBJECTS);
        Self {
            subjects,
            shards: std::array::from_fn(|_| Mutex::new(Shard::new(places(subjects)))),
        }
    }

    /// How many subjects it can tell.
    #[must_use]
    pub fn subjects(&self) -> usize {
        self.subjects
    }

    /// Counts a message that was drawn, as the `worker` that has published it.
    pub fn count(&self, worker: u64, subject: &[u8], size: usize, now: Instant) {
        let number = usize::try_from(worker % SHARDS as u64).unwrap_or(0);
        if let Some(shard) = self.shards.get(number) {
            let mut shard = lock(shard);
            shard.turn_over(now, places(self.subjects));
            shard.now.add(subject, SAMPLED, size as u64 * SAMPLED);
        }
    }

    /// The `most` subjects that were published to most.
    #[must_use]
    pub fn hottest(&self, most: usize, now: Instant) -> Hottest {
        let mut all: HashMap<Box<[u8]>, Counted> = HashMap::new();
        let mut window = Duration::ZERO;
        for shard in &self.shards {
            let mut shard = lock(shard);
            if shard.began.is_some() {
                shard.turn_over(now, places(self.subjects));
            }
            let before = shard.before.as_ref();
            let Some(began) = before.map(|(began, _)| *began).or(shard.began) else {
                continue;
            };
            window = window.max(now.saturating_duration_since(began));
            let before = before.into_iter().flat_map(|(_, before)| before.counted());
            for counted in before.chain(shard.now.counted()) {
                match all.get_mut(&counted.subject) {
                    None => {
                        all.insert(counted.subject.clone(), counted.clone());
                    }
                    Some(known) => {
                        known.count += counted.count;
                        known.error += counted.error;
                        known.bytes += counted.bytes;
                    }
                }
            }
        }
        let mut subjects: Vec<Counted> = all.into_values().collect();
        let rank = |counted: &Counted| (u64::MAX - counted.count, counted.subject.clone());
        subjects.sort_by_cached_key(rank);
        subjects.truncate(most.min(self.subjects));
        Hottest { window, subjects }
    }
}

/// How many places are counted in, to tell so many subjects.
fn places(subjects: usize) -> usize {
    LEAST_PLACES.max(subjects * PLACES_PER_SUBJECT)
}

fn lock(shard: &Mutex<Shard>) -> MutexGuard<'_, Shard> {
    shard.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[expect(
        clippy::disallowed_methods,
        reason = "any instant will do as the test's beginning"
    )]
    fn beginning() -> Instant {
        Instant::now()
    }

    fn told(hot: &HotSubjects, now: Instant) -> (u64, Vec<(String, u64, u64)>) {
        let hottest = hot.hottest(10, now);
        let text = |subject: &[u8]| String::from_utf8_lossy(subject).into_owned();
        let subjects = hottest.subjects.iter();
        let subjects = subjects
            .map(|counted| (text(&counted.subject), counted.count, counted.bytes))
            .collect();
        (hottest.window.as_secs(), subjects)
    }

    #[test]
    fn threads_are_put_together_and_windows_pass() {
        let now = beginning();
        let hot = HotSubjects::new(2);
        assert_eq!(told(&hot, now), (0, Vec::new()));
        for (worker, subject) in [(0, "a"), (1, "b"), (9, "a"), (2, "c"), (2, "c"), (3, "a")] {
            hot.count(worker, subject.as_bytes(), 5, now);
        }
        let counts = |subjects: &[(&str, u64)]| -> Vec<(String, u64, u64)> {
            let weighed = |(subject, drawn): &(&str, u64)| {
                ((*subject).to_owned(), drawn * SAMPLED, drawn * SAMPLED * 5)
            };
            subjects.iter().map(weighed).collect()
        };
        let second = Duration::from_secs(1);
        assert_eq!(
            told(&hot, now + 10 * second),
            (10, counts(&[("a", 3), ("c", 2)]))
        );
        hot.count(2, b"c", 5, now + 61 * second);
        hot.count(2, b"c", 5, now + 61 * second);
        assert_eq!(
            told(&hot, now + 62 * second),
            (62, counts(&[("c", 4), ("a", 3)]))
        );
        assert_eq!(told(&hot, now + 500 * second).1, Vec::new());
    }
}
