//! An account: a subject space of its own. The account `$G` always exists.

use std::hash::BuildHasher;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};

use foldhash::fast::RandomState;

use super::announce::Announcements;
use super::stats::{Counter, Traffic};
use super::subscription::Subscription;
use crate::routing::generations::Generations;
use crate::routing::interest::Interest;

/// Name of the account of everybody who was not given another one.
pub const GLOBAL_ACCOUNT: &str = "$G";
/// Name of the system account unless another is configured.
pub const SYSTEM_ACCOUNT: &str = "$SYS";

/// A subject space and what is counted about it.
#[derive(Debug)]
pub struct Account {
    name: String,
    hasher: RandomState,
    generations: Generations,
    interest: RwLock<Interest<Arc<Subscription>>>,
    /// What other servers are told, in a cluster.
    announcements: Option<Announcements>,
    /// Connections bound to it.
    pub connections: Counter,
    /// Messages published into it.
    pub received: Traffic,
    /// Messages delivered from it to connections.
    pub sent: Traffic,
    /// Connections cut because they did not drain what was sent to them.
    pub slow_consumers: Counter,
}

impl Account {
    /// An account without any interest.
    #[must_use]
    pub fn new(name: impl Into<String>) -> Self {
        let hasher = RandomState::default();
        Self {
            name: name.into(),
            announcements: None,
            generations: Generations::new(hasher.clone()),
            interest: RwLock::new(Interest::new(hasher.clone())),
            hasher,
            connections: Counter::default(),
            received: Traffic::default(),
            sent: Traffic::default(),
            slow_consumers: Counter::default(),
        }
    }

    /// The same for a server that tells others what the account's clients want.
    #[must_use]
    pub fn new_announced(name: impl Into<String>) -> Self {
        let mut account = Self::new(name);
        account.announcements = Some(Announcements::new(&account.name));
        account
    }

    /// What other servers are told, in a cluster.
    #[must_use]
    pub fn announcements(&self) -> Option<&Announcements> {
        self.announcements.as_ref()
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The hash by which a subject is looked up.
    #[must_use]
    pub fn hash(&self, subject: &[u8]) -> u64 {
        self.hasher.hash_one(subject)
    }

    /// What tells caches of a change that concerns them.
    #[must_use]
    pub fn generations(&self) -> &Generations {
        &self.generations
    }

    /// Who wants what, locked for reading. Nothing but peers' locks may be taken while it is held.
    pub fn interest(&self) -> RwLockReadGuard<'_, Interest<Arc<Subscription>>> {
        self.interest.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a subscription, whose filter must be valid.
    pub fn subscribe(&self, subscription: Arc<Subscription>) {
        if let Some(announcements) = self.announcements_of(&subscription) {
            announcements.added(subscription.filter(), subscription.queue());
        }
        let mut interest = self
            .interest
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        self.generations.advance(subscription.filter());
        interest.insert(subscription);
    }

    /// Takes a subscription out; whether it was there.
    pub fn unsubscribe(&self, subscription: &Arc<Subscription>) -> bool {
        let mut interest = self
            .interest
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        self.generations.advance(subscription.filter());
        let removed = interest.remove(subscription);
        drop(interest);
        if removed && let Some(announcements) = self.announcements_of(subscription) {
            announcements.removed(subscription.filter(), subscription.queue());
        }
        removed
    }

    /// Who must hear of a subscription; nobody of another server's, which tells everybody itself.
    fn announcements_of(&self, subscription: &Subscription) -> Option<&Announcements> {
        self.announcements
            .as_ref()
            .filter(|_| !subscription.is_remote())
    }
}
