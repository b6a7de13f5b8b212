//! An account: a subject space of its own. The account `$G` always exists.

use std::collections::HashMap;
use std::hash::BuildHasher;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard};
use std::time::Instant;

use foldhash::fast::RandomState;

use super::announce::Announcements;
use super::hot::HotSubjects;
use super::imports::StreamImport;
use super::mappings::Mappings;
use super::message_trace::TraceRules;
use super::peer::Peer;
use super::responses::{Pending, Responses};
use super::stats::{Counter, Traffic};
use super::subscription::{Handling, Subscription};
use crate::proto::op::Subscribe;
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
    /// Where messages that belong to a trace of other systems are reported, if they are.
    pub trace: Option<TraceRules>,
}

/// What an account takes from others.
#[derive(Debug, Default)]
pub(super) struct Imports {
    pub(super) streams: Vec<Arc<StreamImport>>,
    /// The subscriptions that take requests for services.
    pub(super) services: Vec<Arc<Subscription>>,
}

/// For subscriptions of an account, by their addresses, those in other accounts that bring them what
/// the account imports. An entry keeps its subscription alive, hence its address is not used again.
type Shadows = HashMap<usize, Vec<(Arc<Account>, Arc<Subscription>)>, RandomState>;

/// A subject space and what is counted about it.
#[derive(Debug)]
pub struct Account {
    name: String,
    hasher: RandomState,
    generations: Generations,
    interest: RwLock<Interest<Arc<Subscription>>>,
    /// What other servers are told, in a cluster.
    announcements: Option<Announcements>,
    rules: RwLock<Arc<AccountRules>>,
    /// Whether the rules map subjects; looked at for each message.
    maps: AtomicBool,
    hot: RwLock<Option<Arc<HotSubjects>>>,
    /// Whether there are `hot` subjects; looked at for each turn.
    counts_subjects: AtomicBool,
    /// Whether the rules report messages that belong to a trace of other systems.
    traces_parents: AtomicBool,
    imports: RwLock<Imports>,
    /// Whether it imports or imported streams.
    imports_streams: AtomicBool,
    shadows: Mutex<Shadows>,
    responses: Mutex<Responses>,
    /// Connections bound to it.
    pub connections: Counter,
    /// Messages published into it.
    pub received: Traffic,
    /// Messages delivered from it to connections.
    pub sent: Traffic,
    /// Connections cut because they did not drain what was sent to them.
    pub slow_consumers: Counter,
    /// Messages dropped for such connections in place of that.
    pub dropped: Arc<Traffic>,
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
            rules: RwLock::default(),
            maps: AtomicBool::new(false),
            traces_parents: AtomicBool::new(false),
            hot: RwLock::default(),
            counts_subjects: AtomicBool::new(false),
            imports: RwLock::default(),
            imports_streams: AtomicBool::new(false),
            shadows: Mutex::default(),
            responses: Mutex::default(),
            hasher,
            connections: Counter::default(),
            received: Traffic::default(),
            sent: Traffic::default(),
            slow_consumers: Counter::default(),
            dropped: Arc::default(),
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

    /// What holds in it now.
    #[must_use]
    pub fn rules(&self) -> Arc<AccountRules> {
        Arc::clone(&self.rules.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Puts other rules in force: limits for connections that log in from now on, mappings for messages
    /// that are published from now on.
    pub fn replace_rules(&self, rules: AccountRules) {
        let maps = !rules.mappings.is_empty();
        let traces_parents = rules.trace.is_some();
        *self.rules.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(rules);
        self.maps.store(maps, Ordering::Relaxed);
        self.traces_parents.store(traces_parents, Ordering::Relaxed);
    }

    /// Whether messages that clients publish may go to another subject.
    #[must_use]
    pub fn maps(&self) -> bool {
        self.maps.load(Ordering::Relaxed)
    }

    /// Finds out to which subjects clients publish most, to tell up to so many; 0 to do so no more.
    pub(super) fn count_subjects(&self, most: usize) {
        let mut hot = self.hot.write().unwrap_or_else(PoisonError::into_inner);
        if hot.as_ref().map_or(0, |hot| hot.subjects()) != most {
            *hot = (most > 0).then(|| Arc::new(HotSubjects::new(most)));
        }
        self.counts_subjects.store(most > 0, Ordering::Relaxed);
    }

    /// Whether it is found out to which subjects clients publish most.
    #[must_use]
    pub fn counts_subjects(&self) -> bool {
        self.counts_subjects.load(Ordering::Relaxed)
    }

    /// The subjects that clients publish to most, where that is found out.
    #[must_use]
    pub fn hot_subjects(&self) -> Option<Arc<HotSubjects>> {
        let hot = self.hot.read().unwrap_or_else(PoisonError::into_inner);
        hot.clone()
    }

    /// Whether messages that belong to a trace of other systems are reported.
    #[must_use]
    pub fn traces_parents(&self) -> bool {
        self.traces_parents.load(Ordering::Relaxed)
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
    pub fn subscribe(self: &Arc<Self>, subscription: Arc<Subscription>) {
        self.insert(Arc::clone(&subscription));
        if self.imports_streams.load(Ordering::Relaxed) && subscription.wants_imports() {
            self.cast_shadows(&subscription);
        }
    }

    fn insert(&self, subscription: Arc<Subscription>) {
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
        if self.imports_streams.load(Ordering::Relaxed) {
            let shadows = self.shadows().remove(&address(subscription));
            for (exporter, shadow) in shadows.into_iter().flatten() {
                exporter.remove(&shadow);
            }
        }
        self.remove(subscription)
    }

    fn remove(&self, subscription: &Arc<Subscription>) -> bool {
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

    /// Who must hear of a subscription. Nobody of another server's, which tells everybody itself, nor of an
    /// imported service: a request is passed on where it is made.
    fn announcements_of(&self, subscription: &Subscription) -> Option<&Announcements> {
        self.announcements
            .as_ref()
            .filter(|_| subscription.is_of_interest_elsewhere())
    }

    fn shadows(&self) -> MutexGuard<'_, Shadows> {
        self.shadows.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Subscribes in the accounts that `subscription` gets imported messages from.
    fn cast_shadows(self: &Arc<Self>, subscription: &Arc<Subscription>) {
        let importer = Arc::downgrade(self);
        {
            // Held until all are there, so that whoever ends the subscription finds them all.
            let mut shadows = self.shadows();
            let imports = self.imports.read().unwrap_or_else(PoisonError::into_inner);
            let cast = |import: &Arc<StreamImport>| import.shadow(subscription, &importer);
            let cast: Vec<_> = imports.streams.iter().filter_map(cast).collect();
            if cast.is_empty() {
                return;
            }
            if shadows.contains_key(&address(subscription)) {
                return;
            }
            for (exporter, shadow) in &cast {
                exporter.insert(Arc::clone(shadow));
            }
            shadows.insert(address(subscription), cast);
        }
        if subscription.is_closed() {
            // It ended by itself before its shadows were there.
            self.unsubscribe(subscription);
        }
    }

    /// Puts other imports in force, for the subscriptions that there are as well.
    pub(super) fn replace_imports(self: &Arc<Self>, imports: Imports) {
        let streams = !imports.streams.is_empty();
        for subscription in &imports.services {
            self.insert(Arc::clone(subscription));
        }
        let before = {
            let mut now = self.imports.write().unwrap_or_else(PoisonError::into_inner);
            std::mem::replace(&mut *now, imports)
        };
        for subscription in &before.services {
            self.remove(subscription);
        }
        let shadows = std::mem::take(&mut *self.shadows());
        for (exporter, shadow) in shadows.into_values().flatten() {
            exporter.remove(&shadow);
        }
        if streams {
            // From now on new subscriptions look for imports themselves; some may be found twice.
            self.imports_streams.store(true, Ordering::Relaxed);
            for subscription in self.interested() {
                self.cast_shadows(&subscription);
            }
        }
    }

    /// The subscriptions that may want something of streams.
    fn interested(&self) -> Vec<Arc<Subscription>> {
        let mut found = Vec::new();
        self.interest().for_each(|subscription| {
            if subscription.wants_imports() {
                found.push(Arc::clone(subscription));
            }
        });
        found
    }

    fn responses(&self) -> MutexGuard<'_, Responses> {
        self.responses
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Awaits answers to a request from another account: the reply subject for it. The subscription to
    /// such subjects is made in the name of `server`. None if too many requests are not answered yet.
    pub(super) fn await_answers(
        self: &Arc<Self>,
        pending: Pending,
        server: &Arc<Peer>,
    ) -> Option<Box<[u8]>> {
        let mut responses = self.responses();
        let (filter, new) = responses.filter().ok()?;
        if new {
            let words = Subscribe {
                filter: &filter,
                queue: None,
                sid: b"",
            };
            let subscription = Subscription::with(&words, Arc::clone(server), Handling::Responses)?;
            self.insert(Arc::new(subscription));
        }
        responses.enter(pending)
    }

    /// The request that an answer on `subject` belongs to, see [`Responses::answer`].
    pub(super) fn answered(&self, subject: &[u8], last: bool, now: Instant) -> Option<Pending> {
        self.responses().answer(subject, last, now)
    }

    /// Awaits no more answers on `subject`; the request they were for.
    pub(super) fn forget_request(&self, subject: &[u8]) -> Option<Pending> {
        self.responses().remove(subject)
    }

    /// Forgets requests from other accounts whose answers did not come in time; those that are measured.
    pub(super) fn expire_requests(&self, now: Instant) -> Vec<Pending> {
        self.responses().expire(now)
    }

    /// Some letters and digits that nobody can guess.
    pub(super) fn random_word(&self, letters: usize) -> String {
        let word = self.responses().random_word(letters);
        String::from_utf8_lossy(&word).into_owned()
    }

    /// Requests from other accounts that were not answered yet.
    #[must_use]
    pub fn pending_requests(&self) -> usize {
        self.responses().len()
    }
}

fn address(subscription: &Arc<Subscription>) -> usize {
    Arc::as_ptr(subscription).addr()
}
