//! The trie and the interest table against a list.

use std::hash::BuildHasher as _;

use foldhash::fast::RandomState;
use proptest::prelude::*;
use proptest::sample::Index;

use super::effort::cases;
use super::model::{self, Subscription, Wanted};
use super::subjects::{filter, subject, wanted_subject};
use midge::routing::groups::Subscriber as _;
use midge::routing::interest::{Found, Interest};
use midge::routing::trie::Trie;

/// A change or a question.
#[derive(Debug, Clone)]
pub(crate) enum Step {
    Insert(String, Option<&'static str>),
    Remove(Index),
    /// A subscription that is not there.
    RemoveAbsent(String, Option<&'static str>),
    Ask(String),
}

pub(crate) fn queue() -> impl Strategy<Value = Option<&'static str>> {
    prop_oneof![3 => Just(None), 2 => Just(Some("q")), 1 => Just(Some("r"))]
}

fn step() -> impl Strategy<Value = Step> {
    let deep_filter = || wanted_subject().prop_map(|(_, filter)| filter);
    let any_filter = || prop_oneof![2 => filter(), 1 => subject(), 1 => deep_filter()];
    let deep_subject = wanted_subject().prop_map(|(subject, _)| subject);
    prop_oneof![
        4 => (any_filter(), queue()).prop_map(|(filter, queue)| Step::Insert(filter, queue)),
        3 => any::<Index>().prop_map(Step::Remove),
        1 => (any_filter(), queue()).prop_map(|(filter, queue)| Step::RemoveAbsent(filter, queue)),
        3 => prop_oneof![2 => subject(), 1 => deep_subject].prop_map(Step::Ask),
    ]
}

/// The structures side by side with the list.
struct Bench {
    list: model::Interest,
    interest: Interest<Subscription>,
    trie: Trie<Subscription>,
    hasher: RandomState,
    next: usize,
}

impl Bench {
    fn new() -> Self {
        let hasher = RandomState::default();
        Self {
            list: model::Interest::default(),
            interest: Interest::new(hasher.clone()),
            trie: Trie::new(hasher.clone()),
            hasher,
            next: 0,
        }
    }

    fn subscription(&mut self, filter: &str, queue: Option<&str>) -> Subscription {
        self.next += 1;
        Subscription::new(self.next, filter.as_bytes(), queue.map(str::as_bytes))
    }

    fn take(&mut self, step: &Step) {
        match step {
            Step::Insert(filter, queue) => {
                let subscription = self.subscription(filter, *queue);
                self.list.subscriptions.push(subscription.clone());
                self.interest.insert(subscription.clone());
                self.trie.insert(subscription);
            }
            Step::Remove(index) if !self.list.subscriptions.is_empty() => {
                let at = index.index(self.list.subscriptions.len());
                let subscription = self.list.subscriptions.swap_remove(at);
                assert!(self.interest.remove(&subscription));
                assert!(self.trie.remove(&subscription));
            }
            Step::Remove(_) => {}
            Step::RemoveAbsent(filter, queue) => {
                let subscription = self.subscription(filter, *queue);
                assert!(!self.interest.remove(&subscription));
                assert!(!self.trie.remove(&subscription));
            }
            Step::Ask(subject) => {
                self.compare_all();
                self.ask(subject.as_bytes());
            }
        }
        assert_eq!(self.interest.len(), self.list.subscriptions.len());
        assert_eq!(self.interest.is_empty(), self.list.subscriptions.is_empty());
        assert_eq!(self.trie.is_empty(), self.list.subscriptions.is_empty());
    }

    /// Both hold what the list holds, each subscription once.
    fn compare_all(&self) {
        let mut listed = Wanted::default();
        let all = self.list.subscriptions.iter();
        all.for_each(|subscription| listed.add(subscription));
        let mut found = Wanted::default();
        self.interest
            .for_each(|subscription| found.add(subscription));
        assert_eq!(found, listed);
        let mut found = Wanted::default();
        self.trie
            .for_each_set(&mut |set| set.for_each(|subscription| found.add(subscription)));
        assert_eq!(found, listed);
    }

    fn ask(&self, subject: &[u8]) {
        let wanted = self.list.wanted(subject);
        let hash = self.hasher.hash_one(subject);
        let set = self.interest.matches(subject, hash);
        assert_eq!(Wanted::from_set(&set), wanted);
        assert_eq!(set.is_empty(), wanted == Wanted::default());

        let mut visited = Wanted::default();
        self.interest.visit(subject, hash, |found| {
            add_found(&mut visited, subject, found)
        });
        assert_eq!(visited, wanted);

        let mut visited = Wanted::default();
        self.trie.for_each_match(subject, &mut |set| {
            add_found(&mut visited, subject, Found::Set(set));
        });
        assert_eq!(visited, wanted);
    }

    /// Takes out what is left, in an order of its own; nothing may stay behind.
    fn empty(mut self) {
        while !self.list.subscriptions.is_empty() {
            let at = self.list.subscriptions.len() / 2;
            let subscription = self.list.subscriptions.remove(at);
            assert!(self.interest.remove(&subscription) && self.trie.remove(&subscription));
            assert!(!self.interest.remove(&subscription) && !self.trie.remove(&subscription));
        }
        assert!(self.interest.is_empty() && self.trie.is_empty());
    }
}

/// Adds one filter's subscriptions, which must really all want the subject.
fn add_found(wanted: &mut Wanted, subject: &[u8], found: Found<'_, Subscription>) {
    let mut add = |subscription: &Subscription| {
        assert!(midge::subject::matches(subscription.filter(), subject));
        wanted.add(subscription);
    };
    match found {
        Found::One(one) => add(one),
        Found::Set(set) => {
            assert!(!set.is_empty(), "an empty branch was left standing");
            set.plain().iter().for_each(&mut add);
            let members = set.groups().iter().flat_map(|group| &group.members);
            members.for_each(&mut add);
        }
    }
}

proptest! {
    #![proptest_config(cases(300))]

    #[test]
    fn interest_and_trie_find_what_a_list_finds(steps in prop::collection::vec(step(), 1..120)) {
        let mut bench = Bench::new();
        for step in &steps {
            bench.take(step);
        }
        bench.empty();
    }
}

proptest! {
    #![proptest_config(cases(40))]

    /// Enough filters for the tables to grow, and then to shrink again.
    #[test]
    fn tables_that_grow_and_shrink_lose_nothing(
        keep in 1_usize..40,
        count in 100_usize..600,
        depth in 1_usize..4,
    ) {
        let mut bench = Bench::new();
        let tail = ".x".repeat(depth);
        for number in 0..count {
            let wildcard = if number % 3 == 0 { ".*" } else { "" };
            let queue = (number % 5 == 0).then_some("q");
            bench.take(&Step::Insert(format!("{number}{tail}{wildcard}"), queue));
        }
        while bench.list.subscriptions.len() > keep {
            let at = (bench.list.subscriptions.len() * 7) / 11;
            let subscription = bench.list.subscriptions.swap_remove(at);
            prop_assert!(bench.interest.remove(&subscription) && bench.trie.remove(&subscription));
        }
        for number in 0..count {
            bench.ask(format!("{number}{tail}").as_bytes());
            bench.ask(format!("{number}{tail}.y").as_bytes());
        }
        bench.empty();
    }
}
