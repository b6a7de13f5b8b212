//! Filters with wildcards, as a trie of tokens.
//!
//! A node is reached by the tokens of a filter and holds the subscriptions of exactly that filter. A
//! lookup walks the tokens of a subject once, at each node along the literal child, the `*` child and
//! the `>` leaf, so its cost grows with the number of matching branches and not with the number of
//! filters.

use std::hash::BuildHasher;

use foldhash::fast::RandomState;
use hashbrown::HashTable;
use hashbrown::hash_table::Entry;

use super::groups::{Subscriber, SubscriberSet};
use crate::subject::{TOKEN_SEPARATOR, is_star, is_tail};

/// A set of subscriptions indexed by their filters.
#[derive(Debug)]
pub struct Trie<S> {
    root: Node<S>,
    hasher: RandomState,
}

#[derive(Debug)]
struct Node<S> {
    /// Subscriptions whose filter ends here.
    here: SubscriberSet<S>,
    /// Subscriptions whose filter has `>` as its next and last token.
    tail: SubscriberSet<S>,
    star: Option<Box<Self>>,
    literals: HashTable<Child<S>>,
}

#[derive(Debug)]
struct Child<S> {
    token: Box<[u8]>,
    node: Box<Node<S>>,
}

impl<S> Default for Node<S> {
    fn default() -> Self {
        Self {
            here: SubscriberSet::default(),
            tail: SubscriberSet::default(),
            star: None,
            literals: HashTable::new(),
        }
    }
}

/// The first token of `rest` and what follows it, if anything does.
fn split_token(rest: &[u8]) -> (&[u8], Option<&[u8]>) {
    match memchr::memchr(TOKEN_SEPARATOR, rest) {
        Some(at) => (rest.get(..at).unwrap_or_default(), rest.get(at + 1..)),
        None => (rest, None),
    }
}

impl<S: Subscriber> Trie<S> {
    /// An empty trie that hashes tokens with `hasher`.
    #[must_use]
    pub fn new(hasher: RandomState) -> Self {
        Self {
            root: Node::default(),
            hasher,
        }
    }

    /// Adds a subscription under its filter, which must be valid.
    pub fn insert(&mut self, subscriber: S) {
        let filter: Box<[u8]> = subscriber.filter().into();
        let mut node = &mut self.root;
        let mut rest = Some(&filter[..]);
        while let Some(remaining) = rest {
            let (token, after) = split_token(remaining);
            if is_tail(token) && after.is_none() {
                node.tail.insert(subscriber);
                return;
            }
            node = node.child_or_insert(token, &self.hasher);
            rest = after;
        }
        node.here.insert(subscriber);
    }

    /// Takes a subscription out and drops the branches that it leaves empty; whether it was there.
    pub fn remove(&mut self, subscriber: &S) -> bool {
        self.root
            .remove(Some(subscriber.filter()), subscriber, &self.hasher)
    }

    /// Calls `found` for each filter that wants `subject`, which must have no empty token.
    pub fn for_each_match<'a>(
        &'a self,
        subject: &[u8],
        found: &mut impl FnMut(&'a SubscriberSet<S>),
    ) {
        self.root.visit(Some(subject), &self.hasher, found);
    }

    /// Whether it holds nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.root.is_empty()
    }
}

impl<S: Subscriber> Node<S> {
    fn is_empty(&self) -> bool {
        self.here.is_empty()
            && self.tail.is_empty()
            && self.star.is_none()
            && self.literals.is_empty()
    }

    fn child_or_insert(&mut self, token: &[u8], hasher: &RandomState) -> &mut Self {
        if is_star(token) {
            return self.star.get_or_insert_default();
        }
        let entry = self.literals.entry(
            hasher.hash_one(token),
            |child| &*child.token == token,
            |child| hasher.hash_one(&*child.token),
        );
        let child = match entry {
            Entry::Occupied(entry) => entry.into_mut(),
            Entry::Vacant(entry) => entry
                .insert(Child {
                    token: token.into(),
                    node: Box::default(),
                })
                .into_mut(),
        };
        &mut child.node
    }

    fn child(&self, token: &[u8], hasher: &RandomState) -> Option<&Self> {
        if self.literals.is_empty() {
            return None;
        }
        let found = self
            .literals
            .find(hasher.hash_one(token), |child| &*child.token == token);
        found.map(|child| &*child.node)
    }

    fn remove(&mut self, rest: Option<&[u8]>, subscriber: &S, hasher: &RandomState) -> bool {
        let Some(remaining) = rest else {
            return self.here.remove(subscriber);
        };
        let (token, after) = split_token(remaining);
        if is_tail(token) && after.is_none() {
            return self.tail.remove(subscriber);
        }
        if is_star(token) {
            let Some(star) = &mut self.star else {
                return false;
            };
            let removed = star.remove(after, subscriber, hasher);
            if star.is_empty() {
                self.star = None;
            }
            return removed;
        }
        let entry = self
            .literals
            .find_entry(hasher.hash_one(token), |child| &*child.token == token);
        let Ok(mut entry) = entry else { return false };
        let removed = entry.get_mut().node.remove(after, subscriber, hasher);
        if entry.get().node.is_empty() {
            entry.remove();
            if self.literals.is_empty() {
                self.literals = HashTable::new();
            }
        }
        removed
    }

    /// `rest` is what is left of the subject; `None` once all its tokens are used up.
    fn visit<'a>(
        &'a self,
        rest: Option<&[u8]>,
        hasher: &RandomState,
        found: &mut impl FnMut(&'a SubscriberSet<S>),
    ) {
        let Some(remaining) = rest else {
            if !self.here.is_empty() {
                found(&self.here);
            }
            return;
        };
        if !self.tail.is_empty() {
            found(&self.tail);
        }
        if self.star.is_none() && self.literals.is_empty() {
            return;
        }
        let (token, after) = split_token(remaining);
        if let Some(star) = &self.star {
            star.visit(after, hasher, found);
        }
        if let Some(child) = self.child(token, hasher) {
            child.visit(after, hasher, found);
        }
    }
}
