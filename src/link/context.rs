//! What all clients of a server share.

use std::sync::{Arc, PoisonError, RwLock};

use crate::auth::Authenticator;
use crate::broker::peer::Peer;
use crate::broker::peer::treatment::SlowTable;
use crate::broker::rate::RateTable;
use crate::broker::registry::{Broker, Population};
use crate::conn::Timeouts;
use crate::proto::display::PayloadTrace;
use crate::proto::encode;
use crate::proto::info::Info;

/// What a client may do at most. Sizes are in bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Longest argument line.
    pub max_control_line: usize,
    /// Largest header block and payload together; `None` for no limit.
    pub max_payload: Option<usize>,
    /// Most bytes that may wait for a client before it is cut off.
    pub max_pending: usize,
    /// Most bytes that may wait for all clients together; `None` for any number.
    pub memory_budget: Option<usize>,
    /// Most connections.
    pub max_connections: usize,
    /// Most connections from one address, or from one IPv6 network of 64 bits.
    pub max_connections_per_ip: Option<usize>,
    /// Most subscriptions of one connection.
    pub max_subscriptions: Option<usize>,
    /// Most tokens in a filter.
    pub max_subscription_tokens: Option<usize>,
    /// Whether headers are supported.
    pub headers: bool,
    /// Leave messages out for slow peers instead of pausing their publisher.
    pub no_fast_producer_stall: bool,
    /// How much of a message trace lines show.
    pub trace: PayloadTrace,
}

impl Limits {
    /// What a new connection is one too many of, as a line for the log.
    #[must_use]
    pub fn exceeded_by(&self, population: Population) -> Option<&'static str> {
        if population.all > self.max_connections {
            Some("maximum connections exceeded")
        } else if self
            .max_connections_per_ip
            .is_some_and(|most| population.from_address > most)
        {
            Some("maximum connections of one address exceeded")
        } else {
            None
        }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_control_line: 4096,
            max_payload: Some(1024 * 1024),
            max_pending: 64 * 1024 * 1024,
            memory_budget: None,
            max_connections: 64 * 1024,
            max_connections_per_ip: None,
            max_subscriptions: None,
            max_subscription_tokens: None,
            headers: true,
            no_fast_producer_stall: false,
            trace: PayloadTrace::default(),
        }
    }
}

/// What clients are told and asked about TLS.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct TlsTerms {
    /// Whether a connection must be secured.
    pub required: bool,
    /// Whether it may be secured and need not.
    pub available: bool,
    /// Whether the client must present a certificate.
    pub verify: bool,
    /// Whether that certificate decides which user it is.
    pub map_certificate: bool,
}

/// What can change while the server runs. Connections take a change over when they are told of it, see
/// [`ClientContext::replace_settings`].
#[derive(Debug, Clone)]
pub struct ClientSettings {
    /// What clients may do at most.
    pub limits: Limits,
    /// Who may come in.
    pub authenticator: Arc<Authenticator>,
    /// TLS of the listener.
    pub tls: TlsTerms,
    /// How much users and accounts may publish.
    pub rates: Arc<RateTable>,
    /// What becomes of messages for connections that are slow.
    pub slow: Arc<SlowTable>,
    /// Time limits of connections.
    pub timeouts: Timeouts,
}

/// What all clients of a server share.
#[derive(Debug)]
pub struct ClientContext {
    /// Accounts, connections and counters.
    pub broker: Arc<Broker>,
    settings: RwLock<Arc<ClientSettings>>,
    info: RwLock<Arc<Info>>,
    topology: RwLock<Topology>,
}

/// What clients are told about the cluster.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Topology {
    /// Name of the cluster; empty without one.
    pub cluster: String,
    /// Whether that name was made up.
    pub cluster_dynamic: bool,
    /// Where clients can connect, `host:port`, this server first; empty where they are not told.
    pub connect_urls: Vec<String>,
}

impl ClientContext {
    /// A context with these settings, whose clients are told `info`.
    #[must_use]
    pub fn new(broker: Arc<Broker>, settings: ClientSettings, info: Info) -> Self {
        broker.budget.set_limit(settings.limits.memory_budget);
        let settings = RwLock::new(Arc::new(settings));
        Self {
            broker,
            settings,
            info: RwLock::new(Arc::new(info)),
            topology: RwLock::default(),
        }
    }

    /// Changes what clients are told about the cluster. Those that are connected are told by
    /// [`Self::tell_clients`].
    pub fn change_topology(&self, change: impl FnOnce(&mut Topology)) {
        change(
            &mut self
                .topology
                .write()
                .unwrap_or_else(PoisonError::into_inner),
        );
    }

    /// What clients are told about the cluster now.
    #[must_use]
    pub fn topology(&self) -> Topology {
        let topology = self.topology.read();
        topology.unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Sends an INFO to all clients that understand one they did not ask for.
    pub fn tell_clients(&self, complete: impl Fn(&mut Info)) {
        // All are chosen before the first is told: whoever learns of it and spreads the word must not make
        // others part of the choice.
        let mut peers = self.broker.peers();
        peers.retain(|peer| peer.wants_info());
        for peer in peers {
            let mut info = self.info_for(&peer);
            complete(&mut info);
            if peer.send(&encode::info(&info.to_json())) {
                peer.flush();
            }
        }
    }

    /// The settings in force for new connections.
    #[must_use]
    pub fn settings(&self) -> Arc<ClientSettings> {
        Arc::clone(&self.settings.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Puts other settings in force; those before. Each connection judges its client by them, as soon as its task
    /// comes to it, and then holds the old ones no longer.
    pub fn replace_settings(&self, settings: ClientSettings) -> Arc<ClientSettings> {
        self.broker.budget.set_limit(settings.limits.memory_budget);
        let before = {
            let current = self.settings.write();
            let mut current = current.unwrap_or_else(PoisonError::into_inner);
            std::mem::replace(&mut *current, Arc::new(settings))
        };
        // Whoever registers later finds the new settings by itself.
        for peer in self.broker.peers() {
            peer.wake();
        }
        before
    }

    /// What clients are told, less what concerns one of them alone.
    #[must_use]
    pub fn info(&self) -> Arc<Info> {
        Arc::clone(&self.info.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Changes what clients are told from now on.
    pub fn change_info(&self, change: impl FnOnce(&mut Info)) {
        let mut info = self.info.write().unwrap_or_else(PoisonError::into_inner);
        change(Arc::make_mut(&mut info));
    }

    /// The INFO document that greets a client.
    #[must_use]
    pub fn greeting(&self, client: &Peer) -> Info {
        let mut info = self.info_for(client);
        info.nonce.clone_from(&client.facts().nonce);
        let authenticator = &self.settings().authenticator;
        info.auth_required = authenticator.info_auth_required()
            && !authenticator.knows_unix_user(client.facts().unix_user);
        info
    }

    /// An INFO document for one client, as it is sent after the first: it holds no challenge, and says
    /// that credentials are required even where clients without any are let in (oracle).
    #[must_use]
    pub fn info_for(&self, client: &Peer) -> Info {
        let mut info = Info::clone(&self.info());
        let facts = client.facts();
        info.client_id = facts.id;
        let topology = self.topology.read().unwrap_or_else(PoisonError::into_inner);
        info.cluster.clone_from(&topology.cluster);
        info.cluster_dynamic = topology.cluster_dynamic;
        info.connect_urls.clone_from(&topology.connect_urls);
        drop(topology);
        info.client_ip.clone_from(&facts.ip);
        let settings = self.settings();
        info.auth_required = settings.authenticator.is_required();
        if !facts.is_local() {
            info.tls_required = settings.tls.required;
            info.tls_verify = settings.tls.verify;
            info.tls_available = settings.tls.available;
        }
        info
    }
}
