//! What another server wants.

use std::hash::BuildHasher;
use std::sync::Arc;

use foldhash::fast::RandomState;
use hashbrown::HashTable;

use super::Route;
use crate::broker::account::Account;
use crate::broker::subscription::Subscription;
use crate::conn::turn::Turn;
use crate::proto::route::RemoteInterest;
use crate::subject;

/// The wishes of one link.
#[derive(Debug, Default)]
pub(super) struct RemoteWishes {
    table: HashTable<Wish>,
    hasher: RandomState,
}

/// One wish: an account's filter or queue group, on behalf of a leaf cluster or not.
#[derive(Debug)]
struct Wish {
    account: Arc<Account>,
    origin: Option<Box<[u8]>>,
    subscription: Arc<Subscription>,
}

/// What tells wishes apart.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct Key<'a> {
    account: &'a str,
    filter: &'a [u8],
    queue: Option<&'a [u8]>,
    origin: Option<&'a [u8]>,
}

impl Wish {
    fn key(&self) -> Key<'_> {
        Key {
            account: self.account.name(),
            filter: self.subscription.filter(),
            queue: self.subscription.queue(),
            origin: self.origin.as_deref(),
        }
    }
}

impl RemoteWishes {
    fn find(&self, key: Key<'_>) -> Option<&Wish> {
        let hash = self.hasher.hash_one(key);
        self.table.find(hash, |wish| wish.key() == key)
    }

    fn insert(&mut self, wish: Wish) {
        let hash = self.hasher.hash_one(wish.key());
        let hasher = &self.hasher;
        self.table
            .insert_unique(hash, wish, |wish| hasher.hash_one(wish.key()));
    }

    fn remove(&mut self, key: Key<'_>) -> Option<Wish> {
        let hash = self.hasher.hash_one(key);
        let entry = self.table.find_entry(hash, |wish| wish.key() == key).ok()?;
        let (wish, _) = entry.remove();
        let (length, capacity) = (self.table.len(), self.table.capacity());
        if capacity > 64 && length < capacity / 8 {
            let hasher = &self.hasher;
            self.table
                .shrink_to(length * 2, |wish| hasher.hash_one(wish.key()));
        }
        Some(wish)
    }

    /// Gives up to `count` wishes up; whether there may be more.
    pub(super) fn release(&mut self, count: usize) -> bool {
        let mut released = 0;
        for wish in self.table.extract_if(|_| true).take(count) {
            wish.account.unsubscribe(&wish.subscription);
            released += 1;
        }
        released == count
    }
}

impl Route {
    fn account_of(&self, interest: &RemoteInterest<'_>) -> Option<Arc<Account>> {
        match interest.account {
            None => self.own_account.clone(),
            Some(name) => self.broker.existing_account(&String::from_utf8_lossy(name)),
        }
    }

    pub(super) fn add_interest(&mut self, turn: &Turn<'_>, interest: &RemoteInterest<'_>) {
        let Some(account) = self.account_of(interest) else {
            let account = String::from_utf8_lossy(interest.account.unwrap_or_default());
            return self.complain(format!("Unknown account {account:?} for remote subject"));
        };
        let RemoteInterest {
            filter,
            queue,
            weight,
            origin,
            ..
        } = *interest;
        if !subject::is_valid_filter(filter) {
            self.send_error("Invalid Subscription");
            let filter = String::from_utf8_lossy(filter);
            return self.complain(format!("Could not insert subscription {filter:?}"));
        }
        let exports =
            |permissions: &crate::auth::Permissions| permissions.may_subscribe(filter, None);
        if !self.settings.permissions.as_deref().is_none_or(exports) {
            let filter = String::from_utf8_lossy(filter);
            return self.log_debug(&format!(
                "Can not export {filter:?}, ignoring remote subscription request"
            ));
        }
        let key = Key {
            account: account.name(),
            filter,
            queue,
            origin,
        };
        // A queue group without members is told with RS-; whoever says so here means one.
        let weight = weight.max(1);
        if let Some(known) = self.wishes.find(key) {
            return known.subscription.set_weight(weight);
        }
        let peer = Arc::clone(turn.peer);
        let Some(made) = Subscription::new_remote(filter, queue, peer, weight) else {
            return;
        };
        let subscription = Arc::new(made);
        account.subscribe(Arc::clone(&subscription));
        self.wishes.insert(Wish {
            account,
            origin: origin.map(Into::into),
            subscription,
        });
    }

    pub(super) fn drop_interest(&mut self, interest: &RemoteInterest<'_>) {
        let Some(account) = self.account_of(interest) else {
            return;
        };
        let key = Key {
            account: account.name(),
            filter: interest.filter,
            queue: interest.queue,
            origin: interest.origin,
        };
        if let Some(gone) = self.wishes.remove(key) {
            account.unsubscribe(&gone.subscription);
        }
    }
}
