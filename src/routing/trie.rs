//! Filters with wildcards, as a trie of tokens.
//!
//! A node is reached by the tokens of a filter and holds the subscriptions of exactly that filter. A
//! lookup walks the tokens of a subject once, at each node along the literal child, the `*` child and
//! the `>` leaf, so its cost grows with the number of matching branches and not with the number of
//! filters.
//!
//! Nothing here calls itself: a filter has as many tokens as fit into a control line, and that can be
//! more than a thread's stack has room for.

use std::hash::BuildHasher;

use foldhash::fast::RandomState;
use hashbrown::HashTable;
use hashbrown::hash_table::Entry;

use super::groups::{Subscriber, SubscriberSet};
use crate::subject::{TOKEN_SEPARATOR, is_star, tokens};

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

/// Gives up what is below without going down to it by recursion.
impl<S> Drop for Node<S> {
    fn drop(&mut self) {
        let mut below = Vec::new();
        self.take_children(&mut below);
        while let Some(mut node) = below.pop() {
            node.take_children(&mut below);
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

/// The tokens by which a filter's node is reached, and whether the filter ends with `>` behind them.
fn split_tail(filter: &[u8]) -> (Option<&[u8]>, bool) {
    match filter.strip_suffix(b">") {
        Some([]) => (None, true),
        Some([path @ .., TOKEN_SEPARATOR]) => (Some(path), true),
        Some(_) | None => (Some(filter), false),
    }
}

fn path_tokens(path: Option<&[u8]>) -> impl Iterator<Item = &[u8]> {
    path.into_iter().flat_map(tokens)
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
        let (path, has_tail) = split_tail(subscriber.filter());
        let mut node = &mut self.root;
        for token in path_tokens(path) {
            node = node.child_or_insert(token, &self.hasher);
        }
        node.set_mut(has_tail).insert(subscriber);
    }

    /// Takes a subscription out and drops the branches that it leaves empty; whether it was there.
    pub fn remove(&mut self, subscriber: &S) -> bool {
        let (path, has_tail) = split_tail(subscriber.filter());
        let mut node = &mut self.root;
        for token in path_tokens(path) {
            let Some(child) = node.child_mut(token, &self.hasher) else {
                return false;
            };
            node = child;
        }
        let removed = node.set_mut(has_tail).remove(subscriber);
        if removed && node.is_empty() {
            self.prune(path);
        }
        removed
    }

    /// Cuts off the branch that leads to the empty node at the end of `path` and to nothing else.
    fn prune(&mut self, path: Option<&[u8]>) {
        let mut keep = 0;
        let mut node = &self.root;
        for (depth, token) in path_tokens(path).enumerate() {
            if !node.is_link() {
                keep = depth;
            }
            let Some(child) = node.child(token, &self.hasher) else {
                return;
            };
            node = child;
        }
        let mut node = &mut self.root;
        let mut tokens = path_tokens(path);
        for token in tokens.by_ref().take(keep) {
            let Some(child) = node.child_mut(token, &self.hasher) else {
                return;
            };
            node = child;
        }
        if let Some(token) = tokens.next() {
            node.remove_child(token, &self.hasher);
        }
    }

    /// Calls `found` for each filter that wants `subject`, which must have no empty token.
    ///
    /// The order is nats-server's (oracle), which shows where one connection has several
    /// subscriptions: at each token `>` first, then everything behind `*`, then everything behind the
    /// token itself; where the token is the last one, it comes before `*`.
    pub fn for_each_match<'a>(
        &'a self,
        subject: &[u8],
        found: &mut impl FnMut(&'a SubscriberSet<S>),
    ) {
        let mut branches = Branches::default();
        let mut next = Some((&self.root, Some(subject)));
        while let Some((node, rest)) = next {
            next = match rest {
                None => {
                    if !node.here.is_empty() {
                        found(&node.here);
                    }
                    branches.pop()
                }
                Some(rest) => {
                    if !node.tail.is_empty() {
                        found(&node.tail);
                    }
                    node.descend(rest, &self.hasher, &mut branches)
                }
            };
        }
    }

    /// Calls `found` for all subscriptions of each filter, in no order.
    pub fn for_each_set<'a>(&'a self, found: &mut impl FnMut(&'a SubscriberSet<S>)) {
        let mut nodes = vec![&self.root];
        while let Some(node) = nodes.pop() {
            for set in [&node.here, &node.tail] {
                if !set.is_empty() {
                    found(set);
                }
            }
            nodes.extend(node.star.as_deref());
            nodes.extend(node.literals.iter().map(|child| &*child.node));
        }
    }

    /// Whether it holds nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.root.is_empty()
    }
}

/// A node and what is left of the subject there; `None` once all its tokens are used up.
type Visit<'a, 's, S> = (&'a Node<S>, Option<&'s [u8]>);

/// Branches that a lookup has still to follow, the next one last.
#[derive(Debug)]
struct Branches<'a, 's, S> {
    /// The usual few, so that a lookup allocates nothing.
    few: [Option<Visit<'a, 's, S>>; FEW_BRANCHES],
    count: usize,
    many: Vec<Visit<'a, 's, S>>,
}

/// Branches kept without an allocation.
const FEW_BRANCHES: usize = 4;

impl<S> Default for Branches<'_, '_, S> {
    fn default() -> Self {
        Self {
            few: [None; FEW_BRANCHES],
            count: 0,
            many: Vec::new(),
        }
    }
}

impl<'a, 's, S> Branches<'a, 's, S> {
    fn push(&mut self, visit: Visit<'a, 's, S>) {
        match self.few.get_mut(self.count) {
            Some(place) => {
                *place = Some(visit);
                self.count += 1;
            }
            None => self.many.push(visit),
        }
    }

    fn pop(&mut self) -> Option<Visit<'a, 's, S>> {
        if let Some(visit) = self.many.pop() {
            return Some(visit);
        }
        self.count = self.count.checked_sub(1)?;
        self.few.get_mut(self.count)?.take()
    }
}

impl<S> Node<S> {
    #[expect(
        clippy::vec_box,
        reason = "the boxes exist already: only pointers move"
    )]
    fn take_children(&mut self, below: &mut Vec<Box<Self>>) {
        below.extend(self.star.take());
        if !self.literals.is_empty() {
            below.extend(self.literals.drain().map(|child| child.node));
        }
    }
}

impl<S: Subscriber> Node<S> {
    fn is_empty(&self) -> bool {
        self.here.is_empty()
            && self.tail.is_empty()
            && self.star.is_none()
            && self.literals.is_empty()
    }

    /// Whether it leads to one child and holds nothing else.
    fn is_link(&self) -> bool {
        let children = usize::from(self.star.is_some()) + self.literals.len();
        self.here.is_empty() && self.tail.is_empty() && children == 1
    }

    fn set_mut(&mut self, tail: bool) -> &mut SubscriberSet<S> {
        if tail { &mut self.tail } else { &mut self.here }
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

    /// The child behind a token of a filter.
    fn child(&self, token: &[u8], hasher: &RandomState) -> Option<&Self> {
        if is_star(token) {
            self.star.as_deref()
        } else {
            self.literal(token, hasher)
        }
    }

    fn child_mut(&mut self, token: &[u8], hasher: &RandomState) -> Option<&mut Self> {
        if is_star(token) {
            return self.star.as_deref_mut();
        }
        let hash = hasher.hash_one(token);
        let child = self.literals.find_mut(hash, |child| &*child.token == token);
        child.map(|child| &mut *child.node)
    }

    fn remove_child(&mut self, token: &[u8], hasher: &RandomState) {
        if is_star(token) {
            self.star = None;
            return;
        }
        let hash = hasher.hash_one(token);
        if let Ok(entry) = self
            .literals
            .find_entry(hash, |child| &*child.token == token)
        {
            entry.remove();
            if self.literals.is_empty() {
                self.literals = HashTable::new();
            }
        }
    }

    /// The child behind a token of a subject, in which `*` is a token like any other.
    fn literal(&self, token: &[u8], hasher: &RandomState) -> Option<&Self> {
        if self.literals.is_empty() {
            return None;
        }
        let found = self
            .literals
            .find(hasher.hash_one(token), |child| &*child.token == token);
        found.map(|child| &*child.node)
    }

    /// Where a lookup goes on from here with `rest` of its subject; a second branch is remembered.
    fn descend<'a, 's>(
        &'a self,
        rest: &'s [u8],
        hasher: &RandomState,
        branches: &mut Branches<'a, 's, S>,
    ) -> Option<Visit<'a, 's, S>> {
        if self.star.is_none() && self.literals.is_empty() {
            return branches.pop();
        }
        let (token, after) = split_token(rest);
        match (self.star.as_deref(), self.literal(token, hasher)) {
            (Some(star), Some(literal)) => {
                let (first, second) = if after.is_some() {
                    (star, literal)
                } else {
                    (literal, star)
                };
                branches.push((second, after));
                Some((first, after))
            }
            (Some(only), None) | (None, Some(only)) => Some((only, after)),
            (None, None) => branches.pop(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Clone)]
    struct Filter(&'static str);

    impl Subscriber for Filter {
        fn filter(&self) -> &[u8] {
            self.0.as_bytes()
        }
        fn queue(&self) -> Option<&[u8]> {
            None
        }
        fn is(&self, other: &Self) -> bool {
            self.0 == other.0
        }
    }

    /// The filters that want `subject`, in the order in which they are found.
    fn found(filters: &[&'static str], subject: &str) -> Vec<&'static str> {
        let mut trie = Trie::new(RandomState::default());
        for filter in filters {
            trie.insert(Filter(filter));
        }
        let mut found = Vec::new();
        trie.for_each_match(subject.as_bytes(), &mut |set| {
            found.extend(set.plain().iter().map(|filter| filter.0));
        });
        for filter in filters {
            assert!(trie.remove(&Filter(filter)) && !trie.remove(&Filter(filter)));
        }
        assert!(trie.is_empty());
        found
    }

    #[test]
    fn matches_are_found_in_the_order_of_nats_server() {
        let filters = [
            "a.b.c", "a.b.*", "a.*.c", "a.*.*", "*.b.c", "*.*.*", "a.b.>", "a.>", "*.>", ">",
        ];
        let expected = [
            ">", "*.>", "*.*.*", "*.b.c", "a.>", "a.*.c", "a.*.*", "a.b.>", "a.b.c", "a.b.*",
        ];
        assert_eq!(found(&filters, "a.b.c"), expected);
        assert_eq!(found(&["*", "a", ">"], "a"), [">", "a", "*"]);
        assert_eq!(
            found(&["a.*", "*.*", "a>.b", "a.b>"], "a>.b"),
            ["*.*", "a>.b"]
        );
    }

    #[test]
    fn more_branches_than_usual_are_all_followed() {
        let filters = [
            "*.*.*.*.*.*",
            "a.*.*.*.*.*",
            "*.a.*.*.*.*",
            "*.*.a.*.*.*",
            "*.*.*.a.*.*",
            "*.*.*.*.a.*",
            "*.*.*.*.*.a",
            "a.a.a.a.a.a",
            "a.a.a.*.*.*",
            "*.*.*.a.a.a",
        ];
        assert_eq!(found(&filters, "a.a.a.a.a.a").len(), filters.len());
        assert_eq!(found(&filters, "a.a.b.a.a.b").len(), 5);
    }
}
