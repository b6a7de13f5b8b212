//! What other servers told that they want, found by its words.

use std::borrow::Borrow;
use std::hash::BuildHasher;
use std::sync::Arc;

use foldhash::fast::RandomState;
use hashbrown::HashTable;

use super::account::Account;
use super::subscription::Subscription;

/// One wish: an account's filter or queue group, on behalf of a leaf cluster or not.
#[derive(Debug, Clone)]
pub struct Wish {
    /// Whose clients want it.
    pub account: Arc<Account>,
    /// The leaf cluster.
    pub origin: Option<Box<[u8]>>,
    /// What was subscribed on behalf of the other server.
    pub subscription: Arc<Subscription>,
}

/// What tells wishes apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct WishKey<'a> {
    /// Name of the account.
    pub account: &'a str,
    /// The filter.
    pub filter: &'a [u8],
    /// The queue group, if it is one.
    pub queue: Option<&'a [u8]>,
    /// The leaf cluster, if it is on behalf of one.
    pub origin: Option<&'a [u8]>,
}

impl Wish {
    /// What tells it apart from others.
    #[must_use]
    pub fn key(&self) -> WishKey<'_> {
        WishKey {
            account: self.account.name(),
            filter: self.subscription.filter(),
            queue: self.subscription.queue(),
            origin: self.origin.as_deref(),
        }
    }
}

/// Wishes, or what is kept for each.
#[derive(Debug)]
pub struct Wishes<E = Wish> {
    table: HashTable<E>,
    hasher: RandomState,
}

impl<E> Default for Wishes<E> {
    fn default() -> Self {
        Self {
            table: HashTable::new(),
            hasher: RandomState::default(),
        }
    }
}

impl<E: Borrow<Wish>> Wishes<E> {
    /// The entry of a wish.
    pub fn find_mut(&mut self, key: WishKey<'_>) -> Option<&mut E> {
        let hash = self.hasher.hash_one(key);
        self.table
            .find_mut(hash, |entry| entry.borrow().key() == key)
    }

    /// Adds an entry; there must be none for its wish.
    pub fn insert(&mut self, entry: E) {
        let hash = self.hasher.hash_one(entry.borrow().key());
        let hasher = &self.hasher;
        self.table
            .insert_unique(hash, entry, |entry| hasher.hash_one(entry.borrow().key()));
    }

    /// Takes the entry of a wish out.
    pub fn remove(&mut self, key: WishKey<'_>) -> Option<E> {
        let hash = self.hasher.hash_one(key);
        let found = self
            .table
            .find_entry(hash, |entry| entry.borrow().key() == key);
        let (entry, _) = found.ok()?.remove();
        let (length, capacity) = (self.table.len(), self.table.capacity());
        if capacity > 64 && length < capacity / 8 {
            let hasher = &self.hasher;
            self.table
                .shrink_to(length * 2, |entry| hasher.hash_one(entry.borrow().key()));
        }
        Some(entry)
    }

    /// Takes up to `count` entries out, in no order.
    pub fn take(&mut self, count: usize) -> impl Iterator<Item = E> {
        self.table.extract_if(|_| true).take(count)
    }

    /// Takes the entries out whose wish `is_meant`.
    pub fn take_those(&mut self, is_meant: impl Fn(&Wish) -> bool) -> Vec<E> {
        let meant = |entry: &mut E| is_meant((*entry).borrow());
        self.table.extract_if(meant).collect()
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.table.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.table.is_empty()
    }
}
