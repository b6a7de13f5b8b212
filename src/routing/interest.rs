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
///
/// The mark is part of the filter's hash. It stands where there would be padding, and lets the table
/// grow without a look at every filter, each of which would have to come from far memory.
#[derive(Debug)]
enum Literal<S> {
    One(u32, S),
    Several(u32, Box<SubscriberSet<S>>),
}

/// The part of a filter's hash that is kept with its subscriptions.
#[expect(clippy::cast_possible_truncation, reason = "half of the bits do")]
fn mark(hash: u64) -> u32 {
    hash as u32
}

/// A hash for the table, which looks at the highest and the lowest bits, made from a mark.
fn table_hash(mark: u32) -> u64 {
    u64::from(mark).wrapping_mul(0x9E37_79B9_7F4A_7C15)
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
    fn mark(&self) -> u32 {
        match self {
            Self::One(mark, _) | Self::Several(mark, _) => *mark,
        }
    }

    /// Whether it is for `filter`, which has this mark.
    fn is_for(&self, mark: u32, filter: &[u8]) -> bool {
        match self {
            Self::One(own, subscriber) => *own == mark && subscriber.filter() == filter,
            Self::Several(own, set) => {
                *own == mark && set.first().is_some_and(|first| first.filter() == filter)
            }
        }
    }

    fn insert(&mut self, subscriber: S) {
        match self {
            Self::One(mark, first) => {
                let mut set = SubscriberSet::default();
                set.insert(first.clone());
                set.insert(subscriber);
                *self = Self::Several(*mark, Box::new(set));
            }
            Self::Several(_, set) => set.insert(subscriber),
        }
    }

    /// Whether it was there, and whether nothing is left.
    fn remove(&mut self, subscriber: &S) -> (bool, bool) {
        match self {
            Self::One(_, only) => {
                let same = only.is(subscriber);
                (same, same)
            }
            Self::Several(_, set) => (set.remove(subscriber), set.is_empty()),
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
        let mark = mark(self.hasher.hash_one(subscriber.filter()));
        let entry = self.literals.entry(
            table_hash(mark),
            |literal| literal.is_for(mark, subscriber.filter()),
            |literal| table_hash(literal.mark()),
        );
        match entry {
            Entry::Occupied(mut entry) => entry.get_mut().insert(subscriber),
            Entry::Vacant(entry) => {
                entry.insert(Literal::One(mark, subscriber));
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
        let mark = mark(self.hasher.hash_one(filter));
        let Ok(mut entry) = self
            .literals
            .find_entry(table_hash(mark), |literal| literal.is_for(mark, filter))
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
            self.literals
                .shrink_to(length * 2, |literal| table_hash(literal.mark()));
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
                Literal::One(_, subscriber) => found(subscriber),
                Literal::Several(_, set) => set.for_each(&mut found),
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
        let mark = mark(hash);
        let literal = self
            .literals
            .find(table_hash(mark), |literal| literal.is_for(mark, subject));
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
            Some(Literal::One(_, subscriber)) => found(Found::One(subscriber)),
            Some(Literal::Several(_, set)) => found(Found::Set(set)),
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
