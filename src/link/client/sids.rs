//! A connection's own subscriptions, by the names it gave them.

use std::hash::BuildHasher;
use std::sync::Arc;

use foldhash::fast::RandomState;
use hashbrown::HashTable;

use crate::broker::closed::SubscriptionPortrait;
use crate::broker::subscription::Subscription;

/// Subscriptions by sid.
#[derive(Debug, Default)]
pub(super) struct Sids {
    table: HashTable<Arc<Subscription>>,
    hasher: RandomState,
}

impl Sids {
    pub(super) fn get(&self, sid: &[u8]) -> Option<&Arc<Subscription>> {
        self.table
            .find(self.hasher.hash_one(sid), |found| found.sid() == sid)
    }

    /// Adds a subscription whose sid is not taken.
    pub(super) fn insert(&mut self, subscription: Arc<Subscription>) {
        let hash = self.hasher.hash_one(subscription.sid());
        let hasher = &self.hasher;
        self.table
            .insert_unique(hash, subscription, |found| hasher.hash_one(found.sid()));
    }

    pub(super) fn remove(&mut self, sid: &[u8]) -> Option<Arc<Subscription>> {
        let hash = self.hasher.hash_one(sid);
        let entry = self
            .table
            .find_entry(hash, |found| found.sid() == sid)
            .ok()?;
        let (subscription, _) = entry.remove();
        self.shrink();
        Some(subscription)
    }

    /// The first `count` of them that have not ended and whose words take `bytes` together at most, as monitoring
    /// shows them.
    pub(super) fn portraits(&self, count: usize, bytes: usize) -> Box<[SubscriptionPortrait]> {
        let mut left = bytes;
        let mut fits = |found: &&Arc<Subscription>| {
            let words = [
                found.filter(),
                found.queue().unwrap_or_default(),
                found.sid(),
            ];
            let rest = left.checked_sub(words.iter().map(|word| word.len()).sum());
            left = rest.unwrap_or(left);
            rest.is_some()
        };
        let open = self.table.iter().filter(|found| !found.is_closed());
        open.filter(|found| fits(found))
            .take(count)
            .map(|found| (&**found).into())
            .collect()
    }

    /// Those that have not ended, in the order of their names.
    pub(super) fn open(&self) -> Vec<Arc<Subscription>> {
        let open = self.table.iter().filter(|found| !found.is_closed());
        let mut open: Vec<Arc<Subscription>> = open.map(Arc::clone).collect();
        open.sort_unstable_by(|one, other| one.sid().cmp(other.sid()));
        open
    }

    pub(super) fn len(&self) -> usize {
        self.table.len()
    }

    /// Drops those that have ended by themselves; how many there were.
    pub(super) fn drop_closed(&mut self) -> usize {
        let before = self.table.len();
        self.table.retain(|subscription| !subscription.is_closed());
        let dropped = before - self.table.len();
        self.shrink();
        dropped
    }

    /// Takes up to `count` of them out.
    pub(super) fn take(&mut self, count: usize) -> Vec<Arc<Subscription>> {
        let mut taken = Vec::with_capacity(count.min(self.table.len()));
        taken.extend(self.table.extract_if(|_| true).take(count));
        taken
    }

    fn shrink(&mut self) {
        let (length, capacity) = (self.table.len(), self.table.capacity());
        if capacity > 64 && length < capacity / 8 {
            let hasher = &self.hasher;
            self.table
                .shrink_to(length * 2, |found| hasher.hash_one(found.sid()));
        }
    }
}
