//! A whole server: its listeners, its connections, its beginning and its end.
mod identity;
mod lame_duck;
mod listener;
mod newcomer;
mod secure;
pub mod settings;

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock, PoisonError, RwLock};
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::auth::Authenticator;
use crate::broker::close::CloseReason;
use crate::broker::rate::RateTable;
use crate::broker::registry::Broker;
use crate::cluster::{Cluster, ClusterOptions, client_urls};
use crate::conn::{Surroundings, Timeouts};
use crate::link::context::{ClientContext, ClientSettings, Limits};
use crate::proto::info::Info;
use crate::tls::{GateLimits, HandshakeGate};
use identity::Identity;
use listener::Listener;
pub use secure::{ClientTls, ClientTlsOptions};

/// The nats-server version whose behaviour this server has; clients gate features on it.
pub const COMPATIBLE_VERSION: &str = "2.15.1";

/// The API level of that version.
const API_LEVEL: u32 = 5;

/// Passwords that are checked at the same time.
const PASSWORD_CHECKS: usize = 2;

/// How long a shutdown waits for connections to send what is pending.
const SHUTDOWN_PATIENCE: Duration = Duration::from_secs(3);

/// What a server needs to know to start.
#[derive(Debug)]
pub struct ServerOptions {
    /// Name in INFO; none for the generated identity.
    pub name: Option<String>,
    /// Address or host name to listen on.
    pub host: String,
    /// Port to listen on; 0 for any free one.
    pub port: u16,
    /// Host and port that clients are told instead.
    pub advertise: Option<(String, u16)>,
    /// What clients may do at most.
    pub limits: Limits,
    /// Time limits of connections.
    pub timeouts: Timeouts,
    /// Time over which a lame duck closes its clients, the grace period included.
    pub lame_duck_duration: Duration,
    /// Time before a lame duck closes the first client.
    pub lame_duck_grace_period: Duration,
    /// Name of the system account.
    pub system_account: String,
    /// Who may come in.
    pub authenticator: Arc<Authenticator>,
    /// Names of the configured accounts.
    pub accounts: Vec<String>,
    /// How the server takes part in a cluster, if it does.
    pub cluster: Option<ClusterOptions>,
    /// TLS of the listener, if it has it.
    pub tls: Option<Arc<ClientTls>>,
    /// How much users and accounts may publish.
    pub rates: Arc<RateTable>,
}

/// A server could not start.
#[derive(Debug)]
pub enum StartError {
    /// The address cannot be listened on.
    Listen {
        /// Host and port.
        address: String,
        /// Why not.
        source: io::Error,
    },
    /// No key could be made.
    Identity(String),
    /// The system has no thread for handshakes to give.
    Handshakes(io::Error),
}

impl fmt::Display for StartError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Listen { address, source } => {
                let cause = crate::process::os_error_text(source);
                let cause = format!("listen tcp {address}: bind: {cause}");
                write!(formatter, "Error listening on port: {address}, {cause:?}")
            }
            Self::Identity(reason) => {
                write!(formatter, "Error creating the server's key: {reason}")
            }
            Self::Handshakes(error) => {
                write!(
                    formatter,
                    "Error starting the thread for TLS handshakes: {error}"
                )
            }
        }
    }
}

impl std::error::Error for StartError {}

/// A running server. Handles can be cloned; the server runs until [`Server::shutdown`].
#[derive(Debug, Clone)]
pub struct Server {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    context: Arc<ClientContext>,
    cluster: Option<Cluster>,
    identity: Identity,
    timeouts: RwLock<Timeouts>,
    tls: RwLock<Option<Arc<ClientTls>>>,
    /// Where handshakes are done, once there is TLS.
    gate: OnceLock<Arc<HandshakeGate>>,
    password_checks: Arc<Semaphore>,
    lame_duck_duration: Duration,
    lame_duck_grace_period: Duration,
    address: SocketAddr,
    /// Cancelled when no new connection is to be accepted.
    closing_listeners: CancellationToken,
    /// Cancelled when the server is to end.
    stopping: CancellationToken,
    /// Cancelled when it has ended.
    stopped: CancellationToken,
    listeners: TaskTracker,
    connections: TaskTracker,
    is_lame_duck: AtomicBool,
}

impl Server {
    /// Binds the listener and begins to accept clients.
    ///
    /// # Errors
    /// [`StartError`]; nothing is left behind then.
    pub async fn start(options: ServerOptions) -> Result<Self, StartError> {
        let identity = Identity::generate().map_err(StartError::Identity)?;
        let listener = Listener::bind(&options.host, options.port)
            .await
            .map_err(|source| StartError::Listen {
                address: format!("{}:{}", options.host, options.port),
                source,
            })?;
        let address = listener.address();
        let info = first_info(&options, &identity, address);
        let broker = Arc::new(match &options.cluster {
            Some(_) => Broker::new_announced(&options.system_account),
            None => Broker::new(&options.system_account),
        });
        // Other servers may want something in them before the first client does.
        for account in &options.accounts {
            drop(broker.account(account));
        }
        let ServerOptions {
            limits,
            authenticator,
            tls,
            rates,
            ..
        } = options;
        let context = ClientContext::new(
            broker,
            ClientSettings {
                limits,
                authenticator,
                tls: tls.as_deref().map(ClientTls::terms).unwrap_or_default(),
                rates,
            },
            info,
        );
        let context = Arc::new(context);
        let cluster = match options.cluster {
            Some(cluster) => {
                let advertise = options.advertise.as_ref();
                let urls = client_urls(advertise, &options.host, address.port());
                Some(start_cluster(cluster, &context, urls).await?)
            }
            None => None,
        };
        let server = Self {
            inner: Arc::new(Inner {
                context,
                cluster,
                identity,
                timeouts: RwLock::new(options.timeouts),
                tls: RwLock::default(),
                gate: OnceLock::new(),
                password_checks: Arc::new(Semaphore::new(PASSWORD_CHECKS)),
                lame_duck_duration: options.lame_duck_duration,
                lame_duck_grace_period: options.lame_duck_grace_period,
                address,
                closing_listeners: CancellationToken::new(),
                stopping: CancellationToken::new(),
                stopped: CancellationToken::new(),
                listeners: TaskTracker::new(),
                connections: TaskTracker::new(),
                is_lame_duck: AtomicBool::new(false),
            }),
        };
        server.replace_tls(tls).map_err(StartError::Handshakes)?;
        server
            .inner
            .listeners
            .spawn(listener.accept(Arc::clone(&server.inner)));
        Ok(server)
    }

    /// The address that clients connect to, with the real port.
    #[must_use]
    pub fn client_address(&self) -> SocketAddr {
        self.inner.address
    }

    /// The server's part in its cluster, if it has one.
    #[must_use]
    pub fn cluster(&self) -> Option<&Cluster> {
        self.inner.cluster.as_ref()
    }

    /// The server's public key.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.inner.identity.id
    }

    /// The server's name.
    #[must_use]
    pub fn name(&self) -> String {
        self.inner.context.info().server_name.clone()
    }

    /// What all its clients share.
    #[must_use]
    pub fn clients(&self) -> &Arc<ClientContext> {
        &self.inner.context
    }

    /// Puts other limits, rules for coming in and time limits in force for new connections.
    pub fn replace_settings(&self, settings: ClientSettings, timeouts: Timeouts) {
        self.inner.context.replace_settings(settings);
        *self
            .inner
            .timeouts
            .write()
            .unwrap_or_else(PoisonError::into_inner) = timeouts;
    }

    /// Puts another TLS in force for new connections, or none. Clients whose key is not pinned any more are closed.
    ///
    /// # Errors
    /// If the system has no thread for handshakes to give; nothing changes then.
    pub fn replace_tls(&self, tls: Option<Arc<ClientTls>>) -> io::Result<()> {
        let inner = &self.inner;
        if let Some(tls) = &tls {
            if inner.gate.get().is_none() {
                let gate = HandshakeGate::start(GateLimits::default())?;
                let _ = inner.gate.set(Arc::new(gate));
            }
            inner.listeners.spawn(secure::keep_fresh(
                Arc::downgrade(tls),
                inner.closing_listeners.clone(),
            ));
            for peer in inner.context.broker.peers() {
                let certificate = peer.tls().map(|facts| facts.peer_certificate.as_deref());
                if certificate.is_some_and(|certificate| !tls.admits(certificate)) {
                    peer.close(CloseReason::TlsHandshakeError);
                }
            }
        }
        *inner.tls.write().unwrap_or_else(PoisonError::into_inner) = tls;
        Ok(())
    }

    /// Stops accepting clients, tells those it has to move, closes them one after the other and ends.
    /// Returns at once when it is a lame duck already or ending.
    pub async fn lame_duck(&self) {
        lame_duck::run(self).await;
    }

    /// Ends: closes all connections after sending what is pending for them.
    pub async fn shutdown(&self) {
        let inner = &self.inner;
        if inner.stopping.is_cancelled() {
            inner.stopped.cancelled().await;
            return;
        }
        tracing::info!("Initiating Shutdown...");
        inner.stopping.cancel();
        inner.stop_listening().await;
        for peer in inner.context.broker.peers() {
            peer.close(CloseReason::ServerShutdown);
        }
        if let Some(cluster) = &inner.cluster {
            // A link that does not end in time is dropped with the process or the runtime.
            let _ = tokio::time::timeout(SHUTDOWN_PATIENCE, cluster.shutdown()).await;
        }
        inner.connections.close();
        // A connection that does not end in time is dropped with the process or the runtime.
        let _ = tokio::time::timeout(SHUTDOWN_PATIENCE, inner.connections.wait()).await;
        tracing::info!("Server Exiting..");
        inner.stopped.cancel();
    }

    /// Whether it has begun to leave.
    #[must_use]
    pub fn is_lame_duck(&self) -> bool {
        self.inner.is_lame_duck.load(Ordering::Acquire)
    }

    /// Resolves when the server has ended.
    pub async fn stopped(&self) {
        self.inner.stopped.cancelled().await;
    }
}

impl Inner {
    async fn stop_listening(&self) {
        self.closing_listeners.cancel();
        self.listeners.close();
        self.listeners.wait().await;
    }

    /// TLS and where its handshakes are done, if new clients get it.
    fn secured(&self) -> Option<(Arc<ClientTls>, Arc<HandshakeGate>)> {
        let tls = self.tls.read().unwrap_or_else(PoisonError::into_inner);
        Some((tls.clone()?, self.gate.get()?.clone()))
    }

    fn surroundings(&self) -> Surroundings {
        Surroundings {
            timeouts: *self.timeouts.read().unwrap_or_else(PoisonError::into_inner),
            password_checks: Arc::clone(&self.password_checks),
            random: random(),
        }
    }

    /// Notes that the server is a lame duck; false when it was one.
    fn become_lame_duck(&self) -> bool {
        !self.is_lame_duck.swap(true, Ordering::AcqRel)
    }
}

async fn start_cluster(
    options: ClusterOptions,
    context: &Arc<ClientContext>,
    client_urls: Vec<String>,
) -> Result<Cluster, StartError> {
    let address = format!("{}:{}", options.host, options.port);
    Cluster::start(options, Arc::clone(context), client_urls)
        .await
        .map_err(|source| StartError::Listen { address, source })
}

/// What clients are told, less what concerns one of them alone.
fn first_info(options: &ServerOptions, identity: &Identity, address: SocketAddr) -> Info {
    let (host, port) = match &options.advertise {
        Some((host, port)) => (host.clone(), *port),
        None => (options.host.clone(), address.port()),
    };
    Info {
        server_id: identity.id.clone(),
        server_name: options.name.clone().unwrap_or_else(|| identity.id.clone()),
        version: COMPATIBLE_VERSION.to_owned(),
        proto: 1,
        go: concat!("midge ", env!("CARGO_PKG_VERSION")).to_owned(),
        host,
        port,
        headers: options.limits.headers,
        max_payload: options
            .limits
            .max_payload
            .map_or(-1, |most| i64::try_from(most).unwrap_or(i64::MAX)),
        api_lvl: API_LEVEL,
        xkey: identity.xkey.clone(),
        ..Info::default()
    }
}

/// A number that nobody can predict, for spreading work in time.
fn random() -> u64 {
    std::hash::BuildHasher::hash_one(&foldhash::fast::RandomState::default(), 0)
}
