//! The accounts and connections of one server.

use std::collections::HashSet;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

use dashmap::DashMap;

use super::account::{
    Account, AccountLimits, AccountRules, GLOBAL_ACCOUNT, Imports, SYSTEM_ACCOUNT,
};
use super::addresses::Addresses;
use super::budget::MemoryBudget;
use super::close::CloseReason;
use super::closed::ClosedConnections;
use super::events::{Event, Observer};
use super::mappings::{MappingRules, Mappings};
use super::message_trace::TraceRules;
use super::peer::Peer;
use super::routes::{Routes, Share};
use super::sharing::{OwnServer, Sharers, SharingRules};
use super::stats::ServerStats;

/// Everything that the connections of a server share.
#[derive(Debug)]
pub struct Broker {
    accounts: DashMap<String, Arc<Account>>,
    peers: DashMap<u64, Arc<Peer>>,
    global: Arc<Account>,
    system: Arc<Account>,
    next_id: AtomicU64,
    client_count: AtomicUsize,
    /// Whether other servers are told what clients want.
    announced: bool,
    /// Links to other servers of the cluster.
    pub routes: Routes,
    observer: OnceLock<Box<dyn Observer>>,
    /// Connections that ended last.
    pub closed: ClosedConnections,
    addresses: Addresses,
    /// Counters since the start.
    pub stats: ServerStats,
    /// What may wait for all connections together.
    pub budget: Arc<MemoryBudget>,
}

/// What is to hold in an account.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AccountSettings {
    /// The account's name.
    pub name: String,
    /// What it may use at most.
    pub limits: AccountLimits,
    /// Its mapped subjects.
    pub mappings: Vec<MappingRules>,
    /// Where messages that belong to a trace of other systems are reported, if they are.
    pub trace: Option<TraceRules>,
    /// How many of the subjects that clients publish to most are to be told; 0 not to find out.
    pub top_subjects: usize,
    /// What it offers to other accounts and takes from them.
    pub sharing: SharingRules,
}

/// Settings of accounts that make sense and can be [put in force](Broker::put_in_force).
#[derive(Debug)]
pub struct PreparedAccounts {
    names: HashSet<String>,
    rules: Vec<(Arc<Account>, AccountRules, usize)>,
    imports: Vec<(Arc<Account>, Imports)>,
}

/// How many connections there are, a new one included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Population {
    /// In all.
    pub all: usize,
    /// From its address, or its network where that is IPv6; 0 for one without an address.
    pub from_address: usize,
}

/// The number of the first connection; nats-server's internal ones take those before it (oracle).
pub(super) const FIRST_CONNECTION: u64 = 5;

impl Default for Broker {
    fn default() -> Self {
        Self::new(SYSTEM_ACCOUNT)
    }
}

impl Broker {
    /// A broker without connections whose system account has this name.
    #[must_use]
    pub fn new(system_account: &str) -> Self {
        Self::with_accounts(
            Account::new(GLOBAL_ACCOUNT),
            Account::new(system_account),
            false,
        )
    }

    /// The same for a server of a cluster.
    #[must_use]
    pub fn new_announced(system_account: &str) -> Self {
        Self::with_accounts(
            Account::new_announced(GLOBAL_ACCOUNT),
            Account::new_announced(system_account),
            true,
        )
    }

    fn with_accounts(global: Account, system: Account, announced: bool) -> Self {
        let (global, system) = (Arc::new(global), Arc::new(system));
        let accounts = DashMap::new();
        for account in [&global, &system] {
            accounts.insert(account.name().to_owned(), Arc::clone(account));
        }
        Self {
            accounts,
            peers: DashMap::new(),
            global,
            system,
            next_id: AtomicU64::new(FIRST_CONNECTION),
            client_count: AtomicUsize::new(0),
            announced,
            routes: Routes::default(),
            observer: OnceLock::new(),
            closed: ClosedConnections::default(),
            addresses: Addresses::default(),
            stats: ServerStats::default(),
            budget: Arc::default(),
        }
    }

    /// The account of everybody who was not given another one.
    #[must_use]
    pub fn global_account(&self) -> &Arc<Account> {
        &self.global
    }

    /// The account of the server's own events and services.
    #[must_use]
    pub fn system_account(&self) -> &Arc<Account> {
        &self.system
    }

    /// The account of that name, made if there is none.
    #[must_use]
    pub fn account(&self, name: &str) -> Arc<Account> {
        if let Some(account) = self.accounts.get(name) {
            return Arc::clone(&account);
        }
        // Links come and go under this lock, so that each hears of the account once.
        let routes = self.routes.lock();
        let entry = self.accounts.entry(name.to_owned());
        Arc::clone(&entry.or_insert_with(|| {
            if !self.announced {
                return Arc::new(Account::new(name));
            }
            let account = Account::new_announced(name);
            routes.join(&account);
            Arc::new(account)
        }))
    }

    /// The account of that name, if there is one.
    #[must_use]
    pub fn existing_account(&self, name: &str) -> Option<Arc<Account>> {
        self.accounts.get(name).map(|account| Arc::clone(&account))
    }

    /// Gives these accounts links of their own, where other servers do so too.
    pub fn pin_accounts(&self, accounts: Vec<String>) {
        self.routes.lock().pin(accounts);
    }

    /// A link to another server is part of the cluster: interest goes over it from now on.
    pub fn attach_route(
        &self,
        peer: Arc<Peer>,
        share: Share,
        permissions: Option<Arc<crate::auth::Permissions>>,
    ) {
        let mut routes = self.routes.lock();
        routes.attach(peer, share, permissions, self.all_accounts().into_iter());
    }

    /// A link to another server is no longer part of the cluster.
    pub fn detach_route(&self, peer: &Arc<Peer>) {
        let mut routes = self.routes.lock();
        routes.detach(peer, self.all_accounts().into_iter());
    }

    /// All accounts, in no order.
    #[must_use]
    pub fn all_accounts(&self) -> Vec<Arc<Account>> {
        let accounts = self.accounts.iter();
        accounts.map(|account| Arc::clone(&account)).collect()
    }

    /// Puts settings of accounts in force.
    ///
    /// # Errors
    /// The first setting that makes no sense; nothing has changed then.
    pub fn configure(
        &self,
        settings: &[AccountSettings],
        server: &Arc<OwnServer>,
    ) -> Result<(), String> {
        self.put_in_force(self.prepare(settings, server)?);
        Ok(())
    }

    /// Makes settings of accounts ready without putting them in force.
    ///
    /// # Errors
    /// The first setting that makes no sense.
    pub fn prepare(
        &self,
        settings: &[AccountSettings],
        server: &Arc<OwnServer>,
    ) -> Result<PreparedAccounts, String> {
        let mut rules = Vec::new();
        let mut sharers = Sharers::new(server);
        for settings in settings {
            let name = &settings.name;
            let mappings = Mappings::new(&settings.mappings, &server.cluster)
                .map_err(|error| format!("account {name:?}: {error}"))?;
            let (limits, trace) = (settings.limits, settings.trace.clone());
            let account = self.account(name);
            sharers.add(name, Arc::clone(&account), &settings.sharing);
            let own = AccountRules {
                limits,
                mappings,
                trace,
            };
            rules.push((account, own, settings.top_subjects));
        }
        Ok(PreparedAccounts {
            names: settings.iter().map(|one| one.name.clone()).collect(),
            rules,
            imports: sharers.imports()?,
        })
    }

    /// Puts settings of accounts in force.
    pub fn put_in_force(&self, prepared: PreparedAccounts) {
        for account in self.accounts() {
            // One that is configured no more keeps nothing that it had.
            if !prepared.names.contains(account.name()) {
                account.replace_rules(AccountRules::default());
                account.replace_imports(Imports::default());
                account.count_subjects(0);
            }
        }
        for (account, rules, top_subjects) in prepared.rules {
            account.replace_rules(rules);
            account.count_subjects(top_subjects);
        }
        for (account, imports) in prepared.imports {
            account.replace_imports(imports);
        }
    }

    /// The account of that name, if there is one.
    #[must_use]
    pub fn known_account(&self, name: &str) -> Option<Arc<Account>> {
        self.accounts.get(name).map(|account| Arc::clone(&account))
    }

    /// All accounts, in no order.
    #[must_use]
    pub fn accounts(&self) -> Vec<Arc<Account>> {
        let accounts = self.accounts.iter();
        accounts.map(|account| Arc::clone(&account)).collect()
    }

    /// Lets somebody hear of events; only the first one ever does.
    pub fn observe(&self, observer: Box<dyn Observer>) {
        // The first stays: an observer belongs to the server, which sets it as it starts.
        let _ = self.observer.set(observer);
    }

    /// Whether anybody hears of events.
    #[must_use]
    pub fn is_observed(&self) -> bool {
        self.observer.get().is_some()
    }

    /// Tells the observer, if there is one.
    pub fn notice(&self, event: impl FnOnce() -> Event) {
        if let Some(observer) = self.observer.get() {
            observer.notice(event());
        }
    }

    /// More waits for a peer than may: counts it and tells those who care. It is cut off, or loses messages
    /// until it has caught up.
    pub fn report_overflow(&self, slow: &Arc<Peer>) {
        self.stats.slow_consumers.add(1);
        if let Some(introduction) = slow.introduction().filter(|_| !slow.is_route())
            && let Some(account) = self.known_account(&introduction.account)
        {
            account.slow_consumers.add(1);
        }
        let closing = slow.condition().closing;
        let reason = match closing {
            Some(CloseReason::MemoryBudgetExceeded) => CloseReason::MemoryBudgetExceeded,
            Some(_) | None => CloseReason::SlowConsumerPendingBytes,
        };
        self.notice(|| Event::SlowConsumer(Arc::clone(slow), reason));
        let (id, label) = (slow.id(), slow.label());
        if reason == CloseReason::MemoryBudgetExceeded {
            self.budget.shed.add(1);
            let limit = self.budget.limit().unwrap_or_default();
            tracing::warn!(
                cid = id,
                "{label} - Slow Consumer Detected: memory budget of {limit} for all connections exceeded"
            );
            return;
        }
        let most = slow.max_pending();
        let consequence = match closing {
            Some(_) => "",
            None => ", messages are dropped",
        };
        tracing::info!(
            cid = id,
            "{label} - Slow Consumer Detected: MaxPending of {most} Exceeded{consequence}"
        );
    }

    /// A number for a new connection.
    pub fn next_id(&self) -> u64 {
        self.next_id.fetch_add(1, Ordering::Relaxed)
    }

    /// Enters a connection.
    pub fn register(&self, peer: Arc<Peer>) -> Population {
        self.stats.total_connections.add(1);
        peer.join_budget(Arc::clone(&self.budget));
        let address = peer.facts().ip.parse();
        self.peers.insert(peer.id(), peer);
        Population {
            all: self.client_count.fetch_add(1, Ordering::Relaxed) + 1,
            from_address: address.map_or(0, |address| self.addresses.enter(address)),
        }
    }

    /// Strikes a connection out.
    pub fn deregister(&self, peer: &Peer) {
        if self.peers.remove(&peer.id()).is_some() {
            self.client_count.fetch_sub(1, Ordering::Relaxed);
            if let Ok(address) = peer.facts().ip.parse() {
                self.addresses.leave(address);
            }
            let (messages, bytes) = peer.traffic_out();
            self.stats.sent_to_closed.add(messages, bytes);
        }
    }

    /// How many connections there are.
    #[must_use]
    pub fn connection_count(&self) -> usize {
        self.client_count.load(Ordering::Relaxed)
    }

    /// The connection of that number.
    #[must_use]
    pub fn peer(&self, id: u64) -> Option<Arc<Peer>> {
        self.peers.get(&id).map(|peer| Arc::clone(&peer))
    }

    /// Calls `visit` for each connection, in no order. No connection can come or go meanwhile.
    pub fn for_each_peer(&self, mut visit: impl FnMut(&Peer)) {
        for peer in &self.peers {
            visit(&peer);
        }
    }

    /// The numbers of all connections, in no order.
    #[must_use]
    pub fn peer_ids(&self) -> Vec<u64> {
        self.peers.iter().map(|peer| *peer.key()).collect()
    }

    /// All connections, in no order.
    #[must_use]
    pub fn peers(&self) -> Vec<Arc<Peer>> {
        self.peers.iter().map(|peer| Arc::clone(&peer)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::super::imports::ResponseType;
    use super::super::peer::tests::peer;
    use super::super::sharing::{ExportRules, ImportRules, Sharing};
    use super::super::subscription::Subscription;
    use super::*;
    use crate::proto::op::Subscribe;

    #[test]
    fn accounts_are_made_once() {
        let broker = Broker::default();
        assert!(Arc::ptr_eq(&broker.account("$G"), broker.global_account()));
        assert!(Arc::ptr_eq(
            &broker.account("$SYS"),
            broker.system_account()
        ));
        let made = broker.account("A");
        assert_eq!(made.name(), "A");
        assert!(Arc::ptr_eq(&broker.account("A"), &made));
        assert!(!Arc::ptr_eq(&broker.account("B"), &made));
        let other = Broker::new("SYSTEM");
        assert!(Arc::ptr_eq(
            &other.account("SYSTEM"),
            other.system_account()
        ));
    }

    #[test]
    fn an_account_that_is_configured_no_more_takes_nothing_from_others() {
        let broker = Broker::default();
        let server = Arc::new(OwnServer {
            name: String::new(),
            cluster: String::new(),
            peer: peer(0),
        });
        let export = ExportRules {
            sharing: Sharing::Stream,
            subject: ">".to_owned(),
            accounts: None,
            account_token_position: None,
            response: ResponseType::Single,
            threshold: std::time::Duration::ZERO,
            latency: None,
            allow_trace: false,
        };
        let import = ImportRules {
            sharing: Sharing::Stream,
            account: "A".to_owned(),
            subject: ">".to_owned(),
            local: ">".to_owned(),
            share: false,
            allow_trace: false,
        };
        let settings = |name: &str, exports, imports| AccountSettings {
            name: name.to_owned(),
            sharing: SharingRules { exports, imports },
            ..AccountSettings::default()
        };
        let exporter = settings("A", vec![export], Vec::new());
        let importer = settings("B", Vec::new(), vec![import]);
        broker.configure(&[exporter, importer], &server).unwrap();
        let words = Subscribe {
            filter: b"secret",
            queue: None,
            sid: b"1",
        };
        let wish = Arc::new(Subscription::new(&words, peer(5), None).unwrap());
        broker.account("B").subscribe(Arc::clone(&wish));
        let interest = || broker.account("A").interest().len();
        assert_eq!(interest(), 1);
        let alone = settings("A", Vec::new(), Vec::new());
        broker.configure(&[alone], &server).unwrap();
        assert_eq!(interest(), 0);
        assert!(broker.account("B").unsubscribe(&wish));
    }

    #[test]
    fn connections_are_counted_in_and_out() {
        let broker = Broker::default();
        let ids = [broker.next_id(), broker.next_id()];
        assert_eq!(ids, [5, 6]);
        let [first, second] = ids.map(peer);
        assert_eq!(broker.register(Arc::clone(&first)).all, 1);
        assert_eq!(broker.register(Arc::clone(&second)).all, 2);
        assert!(Arc::ptr_eq(&broker.peer(6).unwrap(), &second));
        broker.deregister(&first);
        broker.deregister(&first);
        assert_eq!((broker.connection_count(), broker.peers().len()), (1, 1));
        assert!(broker.peer(5).is_none());
        assert_eq!(broker.stats.total_connections.get(), 2);
    }
}
