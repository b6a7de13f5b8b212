//! An account: a subject space of its own. The account `$G` always exists.

use std::hash::BuildHasher;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};

use foldhash::fast::RandomState;

use super::mappings::Mappings;
use super::stats::{Counter, Traffic};
use super::subscription::Subscription;
use crate::routing::generations::Generations;
use crate::routing::interest::Interest;

/// Name of the account of everybody who was not given another one.
pub const GLOBAL_ACCOUNT: &str = "$G";
/// Name of the system account unless another is configured.
pub const SYSTEM_ACCOUNT: &str = "$SYS";

/// What an account may use at most; `None` is without a limit.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct AccountLimits {
    /// Connections of clients at a time.
    pub max_connections: Option<usize>,
    /// Subscriptions of each connection.
    pub max_subscriptions: Option<usize>,
    /// Largest header block and payload together, in bytes.
    pub max_payload: Option<usize>,
}

/// What holds in an account; replaced as a whole when the configuration changes.
#[derive(Debug, Default)]
pub struct AccountRules {
    /// What it may use at most.
    pub limits: AccountLimits,
    /// Its mapped subjects.
    pub mappings: Mappings,
}

/// A subject space and what is counted about it.
#[derive(Debug)]
pub struct Account {
    name: String,
    hasher: RandomState,
    generations: Generations,
    interest: RwLock<Interest<Arc<Subscription>>>,
    rules: RwLock<Arc<AccountRules>>,
    /// Whether the rules map subjects; looked at for each message.
    maps: AtomicBool,
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
            generations: Generations::new(hasher.clone()),
            interest: RwLock::new(Interest::new(hasher.clone())),
            rules: RwLock::default(),
            maps: AtomicBool::new(false),
            hasher,
            connections: Counter::default(),
            received: Traffic::default(),
            sent: Traffic::default(),
            slow_consumers: Counter::default(),
        }
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What holds in it now.
    #[must_use]
    pub fn rules(&self) -> Arc<AccountRules> {
        Arc::clone(&self.rules.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Puts other rules in force: limits for connections that log in from now on, mappings for messages
    /// that are published from now on.
    pub fn replace_rules(&self, rules: AccountRules) {
        let maps = !rules.mappings.is_empty();
        *self.rules.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(rules);
        self.maps.store(maps, Ordering::Relaxed);
    }

    /// Whether messages that clients publish may go to another subject.
    #[must_use]
    pub fn maps(&self) -> bool {
        self.maps.load(Ordering::Relaxed)
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
        interest.remove(subscription)
    }
}
