//! A little language for changes of interest and questions about it: each line is one step.
//!
//! `+filter`, `+filter queue` adds a subscription, `-n` takes out the n-th of those there are, and
//! anything else is a subject that is asked for.

use std::hash::BuildHasher as _;

use foldhash::fast::RandomState;
use midge::routing::cache::MatchCache;
use midge::routing::generations::Generations;
use midge::routing::groups::Subscriber as _;
use midge::routing::interest::Interest;
use midge::subject;

use super::model::{self, Subscription, Wanted};

/// More steps find nothing new, and the model is slow.
const MAX_STEPS: usize = 300;

pub(crate) fn run(bytes: &[u8]) {
    let hasher = RandomState::default();
    let mut bench = Bench {
        list: model::Interest::default(),
        interest: Interest::new(hasher.clone()),
        generations: Generations::new(hasher.clone()),
        cache: MatchCache::default(),
        hasher,
    };
    for (number, line) in bytes
        .split(|&byte| byte == b'\n')
        .take(MAX_STEPS)
        .enumerate()
    {
        match line.split_first() {
            Some((b'+', words)) => bench.add(number, words),
            Some((b'-', digits)) => bench.remove(digits),
            Some(_) | None => bench.ask(line),
        }
    }
}

struct Bench {
    list: model::Interest,
    interest: Interest<Subscription>,
    generations: Generations,
    cache: MatchCache<Subscription>,
    hasher: RandomState,
}

impl Bench {
    fn add(&mut self, number: usize, words: &[u8]) {
        let mut words = words.split(|&byte| byte == b' ');
        let (filter, queue) = (words.next().unwrap_or_default(), words.next());
        if !subject::is_valid_filter(filter) {
            return;
        }
        let subscription = Subscription::new(number, filter, queue);
        self.generations.advance(filter);
        self.interest.insert(subscription.clone());
        self.list.subscriptions.push(subscription);
    }

    fn remove(&mut self, digits: &[u8]) {
        let count = self.list.subscriptions.len();
        if count == 0 {
            return;
        }
        let number: usize = digits.iter().map(|&byte| usize::from(byte)).sum();
        let subscription = self.list.subscriptions.swap_remove(number % count);
        self.generations.advance(subscription.filter());
        assert!(self.interest.remove(&subscription));
        assert!(!self.interest.remove(&subscription));
    }

    fn ask(&mut self, subject: &[u8]) {
        let wanted = self.list.wanted(subject);
        let hash = self.hasher.hash_one(subject);
        let matches = self.interest.matches(subject, hash);
        assert_eq!(Wanted::from_set(&matches), wanted);
        for _ in 0..3 {
            if self.cache.knows(subject, hash, &self.generations) {
                assert_eq!(Wanted::from_set(self.cache.get(hash).unwrap()), wanted);
            } else if self.cache.admits(hash) {
                let concern = self.generations.concern(subject);
                let stamp = self.generations.stamp(concern);
                self.cache
                    .insert(subject, hash, (concern, stamp), matches.clone());
            }
        }
        assert_eq!(self.interest.len(), self.list.subscriptions.len());
    }
}
