//! The interest of one account: every subscription, found by subject.

use std::hash::BuildHasher;

use foldhash::fast::RandomState;
use hashbrown::HashTable;
use hashbrown::hash_table::Entry;

use super::groups::{Subscriber, SubscriberSet};
use super::trie::Trie;
use crate::subject::{TOKEN_SEPARATOR, has_wildcard};

/// Subscriptions by filter. Filters without wildcards are found by one hash lookup of the whole
/// subject, the others by a walk through a [`Trie`].
#[derive(Debug)]
pub struct Interest<S> {
    literals: HashTable<Literal<S>>,
    wildcards: Trie<S>,
    hasher: RandomState,
    count: usize,
    inserted: u64,
}

/// The subscriptions of one filter without wildcards. Nearly always it is just one, which then needs
/// no list: with a million subscriptions that is most of their memory.
#[derive(Debug)]
enum Literal<S> {
    One(S),
    Several(Box<SubscriberSet<S>>),
}

/// One filter that wants a subject.
#[derive(Debug, Clone, Copy)]
pub enum Found<'a, S> {
    /// The filter's only subscription.
    One(&'a S),
    /// All subscriptions of the filter.
    Set(&'a SubscriberSet<S>),
}

impl<S: Subscriber> Literal<S> {
    fn filter(&self) -> &[u8] {
        match self {
            Self::One(subscriber) => subscriber.filter(),
            Self::Several(set) => set.first().map_or(&[], Subscriber::filter),
        }
    }

    fn insert(&mut self, subscriber: S) {
        match self {
            Self::One(first) => {
                let mut set = SubscriberSet::default();
                set.insert(first.clone());
                set.insert(subscriber);
                *self = Self::Several(Box::new(set));
            }
            Self::Several(set) => set.insert(subscriber),
        }
    }

    /// Whether it was there, and whether nothing is left.
    fn remove(&mut self, subscriber: &S) -> (bool, bool) {
        match self {
            Self::One(only) => {
                let same = only.is(subscriber);
                (same, same)
            }
            Self::Several(set) => (set.remove(subscriber), set.is_empty()),
        }
    }
}

impl<S: Subscriber> Interest<S> {
    /// Nobody wants anything yet. Whole subjects and tokens are hashed with `hasher`.
    #[must_use]
    pub fn new(hasher: RandomState) -> Self {
        let wildcards = Trie::new(hasher.clone());
        Self {
            literals: HashTable::new(),
            wildcards,
            hasher,
            count: 0,
            inserted: 0,
        }
    }

    /// Adds a subscription, whose filter must be valid.
    pub fn insert(&mut self, subscriber: S) {
        self.count += 1;
        self.inserted += 1;
        if has_wildcard(subscriber.filter()) {
            self.wildcards.insert(subscriber);
            return;
        }
        let entry = self.literals.entry(
            self.hasher.hash_one(subscriber.filter()),
            |literal| literal.filter() == subscriber.filter(),
            |literal| self.hasher.hash_one(literal.filter()),
        );
        match entry {
            Entry::Occupied(mut entry) => entry.get_mut().insert(subscriber),
            Entry::Vacant(entry) => {
                entry.insert(Literal::One(subscriber));
            }
        }
    }

    /// Takes a subscription out; whether it was there.
    pub fn remove(&mut self, subscriber: &S) -> bool {
        let removed = if has_wildcard(subscriber.filter()) {
            self.wildcards.remove(subscriber)
        } else {
            self.remove_literal(subscriber)
        };
        self.count -= usize::from(removed);
        removed
    }

    fn remove_literal(&mut self, subscriber: &S) -> bool {
        let filter = subscriber.filter();
        let hash = self.hasher.hash_one(filter);
        let Ok(mut entry) = self
            .literals
            .find_entry(hash, |literal| literal.filter() == filter)
        else {
            return false;
        };
        let (removed, empty) = entry.get_mut().remove(subscriber);
        if empty {
            entry.remove();
            self.shrink();
        }
        removed
    }

    /// Gives memory back after many subscriptions have gone.
    fn shrink(&mut self) {
        let (length, capacity) = (self.literals.len(), self.literals.capacity());
        if capacity > 64 && length < capacity / 8 {
            let hasher = &self.hasher;
            self.literals
                .shrink_to(length * 2, |literal| hasher.hash_one(literal.filter()));
        }
    }

    /// How many subscriptions there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.count
    }

    /// How many have ever been added.
    #[must_use]
    pub fn inserted(&self) -> u64 {
        self.inserted
    }

    /// Calls `found` for every subscription, in no order.
    pub fn for_each<'a>(&'a self, mut found: impl FnMut(&'a S)) {
        for literal in &self.literals {
            match literal {
                Literal::One(subscriber) => found(subscriber),
                Literal::Several(set) => set.for_each(&mut found),
            }
        }
        self.wildcards
            .for_each_set(&mut |set| set.for_each(&mut found));
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Calls `found` for each filter that wants `subject`, whose hash is `hash`, in the order of
    /// [`Trie::for_each_match`].
    pub fn visit<'a>(&'a self, subject: &[u8], hash: u64, mut found: impl FnMut(Found<'a, S>)) {
        if has_empty_token(subject) {
            return;
        }
        let literal = self
            .literals
            .find(hash, |literal| literal.filter() == subject);
        // The last match of the trie waits: the subject itself may have to come before it.
        let mut last: Option<&SubscriberSet<S>> = None;
        if !self.wildcards.is_empty() {
            self.wildcards.for_each_match(subject, &mut |set| {
                if let Some(set) = last.replace(set) {
                    found(Found::Set(set));
                }
            });
        }
        let (before, after) = if last.is_some_and(|set| differs_in_last_token(set, subject)) {
            (None, last)
        } else {
            (last, None)
        };
        before.into_iter().for_each(|set| found(Found::Set(set)));
        match literal {
            Some(Literal::One(subscriber)) => found(Found::One(subscriber)),
            Some(Literal::Several(set)) => found(Found::Set(set)),
            None => {}
        }
        after.into_iter().for_each(|set| found(Found::Set(set)));
    }

    /// Everybody who wants `subject`, gathered into one set.
    #[must_use]
    pub fn matches(&self, subject: &[u8], hash: u64) -> SubscriberSet<S> {
        let mut all = SubscriberSet::default();
        self.visit(subject, hash, |found| match found {
            Found::One(subscriber) => all.insert(subscriber.clone()),
            Found::Set(set) => all.extend(set),
        });
        all
    }
}

/// Whether the filter of `set` is `subject` with `*` in place of its last token.
fn differs_in_last_token<S: Subscriber>(set: &SubscriberSet<S>, subject: &[u8]) -> bool {
    let parent = memchr::memrchr(TOKEN_SEPARATOR, subject).map_or(0, |at| at + 1);
    let filter = set.first().map_or(&[][..], Subscriber::filter);
    filter.strip_suffix(b"*") == subject.get(..parent)
}

/// Whether two separators stand side by side, or one at an end; the empty subject too.
fn has_empty_token(subject: &[u8]) -> bool {
    let mut previous = TOKEN_SEPARATOR;
    for &byte in subject {
        if byte == TOKEN_SEPARATOR && previous == TOKEN_SEPARATOR {
            return true;
        }
        previous = byte;
    }
    previous == TOKEN_SEPARATOR
}
