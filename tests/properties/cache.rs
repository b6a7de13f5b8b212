//! The match cache never answers with what was true before a change.

use std::hash::BuildHasher as _;

use foldhash::fast::RandomState;
use proptest::prelude::*;
use proptest::sample::Index;

use super::effort::cases;
use super::model::{self, Subscription, Wanted};
use super::routing::queue;
use super::subjects::{filter, subject, wanted_subject};
use midge::routing::cache::MatchCache;
use midge::routing::generations::Generations;
use midge::routing::groups::Subscriber as _;
use midge::routing::interest::Interest;

#[derive(Debug, Clone)]
enum Step {
    Subscribe(String, Option<&'static str>),
    Unsubscribe(Index),
    /// A question of one of several publishers, asked so often in a row.
    Ask(usize, String, usize),
    Forget(usize),
}

/// Publishers, each with a cache of its own.
const PUBLISHERS: usize = 3;

fn step() -> impl Strategy<Value = Step> {
    let any_filter = prop_oneof![
        2 => filter(),
        1 => subject(),
        2 => wanted_subject().prop_map(|(_, filter)| filter),
    ];
    let any_subject =
        prop_oneof![2 => subject(), 1 => wanted_subject().prop_map(|(subject, _)| subject)];
    prop_oneof![
        3 => (any_filter, queue()).prop_map(|(filter, queue)| Step::Subscribe(filter, queue)),
        3 => any::<Index>().prop_map(Step::Unsubscribe),
        8 => (0..PUBLISHERS, any_subject, 1_usize..4)
            .prop_map(|(publisher, subject, times)| Step::Ask(publisher, subject, times)),
        1 => (0..PUBLISHERS).prop_map(Step::Forget),
    ]
}

struct Bench {
    list: model::Interest,
    interest: Interest<Subscription>,
    generations: Generations,
    caches: [MatchCache<Subscription>; PUBLISHERS],
    hasher: RandomState,
    next: usize,
    hits: usize,
}

impl Bench {
    fn new() -> Self {
        let hasher = RandomState::default();
        Self {
            list: model::Interest::default(),
            interest: Interest::new(hasher.clone()),
            generations: Generations::new(hasher.clone()),
            caches: Default::default(),
            hasher,
            next: 0,
            hits: 0,
        }
    }

    fn take(&mut self, step: &Step) {
        match step {
            Step::Subscribe(filter, queue) => {
                self.next += 1;
                let queue = queue.map(str::as_bytes);
                let subscription = Subscription::new(self.next, filter.as_bytes(), queue);
                self.generations.advance(filter.as_bytes());
                self.interest.insert(subscription.clone());
                self.list.subscriptions.push(subscription);
            }
            Step::Unsubscribe(index) if !self.list.subscriptions.is_empty() => {
                let at = index.index(self.list.subscriptions.len());
                let subscription = self.list.subscriptions.swap_remove(at);
                self.generations.advance(subscription.filter());
                assert!(self.interest.remove(&subscription));
            }
            Step::Unsubscribe(_) => {}
            Step::Ask(publisher, subject, times) => {
                for _ in 0..*times {
                    self.ask(*publisher, subject.as_bytes());
                }
            }
            Step::Forget(publisher) => self.caches[*publisher].clear(),
        }
    }

    /// Asks as a publication does: the cache first, then the table.
    fn ask(&mut self, publisher: usize, subject: &[u8]) {
        let cache = &mut self.caches[publisher];
        let hash = self.hasher.hash_one(subject);
        let found = if cache.knows(subject, hash, &self.generations) {
            self.hits += 1;
            Wanted::from_set(cache.get(hash).unwrap())
        } else {
            let matches = self.interest.matches(subject, hash);
            if cache.admits(hash) {
                let concern = self.generations.concern(subject);
                let stamp = self.generations.stamp(concern);
                cache.insert(subject, hash, (concern, stamp), matches);
                Wanted::from_set(cache.get(hash).unwrap())
            } else {
                Wanted::from_set(&matches)
            }
        };
        assert_eq!(found, self.list.wanted(subject));
    }
}

proptest! {
    #![proptest_config(cases(400))]

    #[test]
    fn no_answer_is_stale(steps in prop::collection::vec(step(), 1..200)) {
        let mut bench = Bench::new();
        for step in &steps {
            bench.take(step);
        }
        // Asked three times in a row without any change, the third answer comes from the cache.
        let before = bench.hits;
        for _ in 0..3 {
            bench.ask(0, b"a.b");
        }
        prop_assert!(bench.hits > before);
    }

    #[test]
    fn a_change_that_could_matter_changes_the_stamp(
        changes in prop::collection::vec(wanted_subject(), 1..20),
    ) {
        let generations = Generations::new(RandomState::default());
        for (subject, filter) in &changes {
            prop_assert!(midge::subject::matches(filter.as_bytes(), subject.as_bytes()));
            let concern = generations.concern(subject.as_bytes());
            let before = generations.stamp(concern);
            prop_assert_eq!(before, generations.stamp(concern));
            generations.advance(filter.as_bytes());
            prop_assert_ne!(before, generations.stamp(concern), "{} {}", filter, subject);
        }
    }
}

proptest! {
    #![proptest_config(cases(60))]

    /// More subjects than places: the cache forgets, and never answers for another subject.
    #[test]
    fn a_cache_that_is_too_small_only_forgets(
        asked in prop::collection::vec(0_u16..6000, 1..60),
        rounds in 1_usize..4,
    ) {
        let mut bench = Bench::new();
        for number in (0..6000).step_by(31) {
            bench.take(&Step::Subscribe(format!("n.{number}"), None));
        }
        for _ in 0..rounds {
            for number in &asked {
                bench.ask(0, format!("n.{number}").as_bytes());
                bench.ask(0, format!("n.{number}").as_bytes());
            }
        }
    }
}

#[test]
fn a_cache_grows_to_its_limit_and_keeps_answering() {
    let mut bench = Bench::new();
    for number in (0..6000).step_by(11) {
        bench.take(&Step::Subscribe(format!("n.{number}"), None));
    }
    for round in 0..8 {
        bench.hits = 0;
        for number in 0..1000 {
            bench.take(&Step::Ask(0, format!("n.{number}"), 2));
        }
        // One thousand subjects fit into a full-grown cache, collisions aside.
        assert!(round < 7 || bench.hits > 1400, "{} hits", bench.hits);
    }
}
