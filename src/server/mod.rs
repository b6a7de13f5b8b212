//! A whole server: its listeners, its connections, its beginning and its end.
pub mod account_settings;
mod accounts;
mod builder;
mod doors;
mod embedded;
mod identity;
mod lame_duck;
mod listener;
mod local;
mod newcomer;
mod reload;
mod secure;
pub mod settings;
mod shedding;
mod unix;

use std::fmt;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, RwLock};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::auth::Authenticator;
use crate::broker::close::CloseReason;
use crate::broker::peer::Facts;
use crate::broker::peer::treatment::SlowTable;
use crate::broker::rate::RateTable;
use crate::broker::registry::{AccountSettings, Broker};
use crate::broker::sharing::OwnServer;
use crate::cluster::{Cluster, ClusterOptions, client_urls};
use crate::config::Options;
use crate::config::options::unix_socket::UnixSocket;
use crate::conn::checks::PasswordChecks;
use crate::conn::{Surroundings, Timeouts};
use crate::http::{HttpListener, SecuredSource};
use crate::link::context::{ClientContext, ClientSettings, Limits};
use crate::link::internal::InternalConnection;
use crate::monitor::Monitor;
use crate::proto::info::Info;
use crate::system::{self, Announcement, ReloadRequest, SystemHandle};
use crate::tls::HandshakeGate;
pub use builder::ServerBuilder;
use doors::{Bound, Doors, Place};
use identity::Identity;
pub use local::{LocalClient, LocalSubscription, RequestError};
pub use reload::PreparedReload;
pub use secure::{ClientTls, ClientTlsOptions};

/// The nats-server version whose behaviour this server has; clients gate features on it.
pub const COMPATIBLE_VERSION: &str = "2.15.1";

/// The API level of that version.
const API_LEVEL: u32 = 5;

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
    /// Whether to listen on TCP at all.
    pub listens_on_tcp: bool,
    /// Unix socket to listen on.
    pub unix_socket: Option<UnixSocket>,
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
    /// What holds in accounts; an account without settings has neither limits nor mappings.
    pub accounts: Vec<AccountSettings>,
    /// Name of the cluster that the server belongs to; empty without one.
    pub cluster_name: String,
    /// Who may come in.
    pub authenticator: Arc<Authenticator>,
    /// How the server takes part in a cluster, if it does.
    pub cluster: Option<ClusterOptions>,
    /// All options as they were written, which monitoring shows; it listens as they say.
    pub configuration: Arc<Options>,
    /// TLS of the listener, if it has it.
    pub tls: Option<Arc<ClientTls>>,
    /// How much users and accounts may publish.
    pub rates: Arc<RateTable>,
    /// What becomes of messages for connections that are slow.
    pub slow: Arc<SlowTable>,
    /// Sockets that are bound already, to be used in place of those that would be.
    pub given: GivenListeners,
}

/// Sockets that somebody else has bound and listens on.
#[derive(Debug, Default)]
pub struct GivenListeners {
    /// For clients, in place of `host` and `port`.
    pub clients: Option<TcpListener>,
    /// For monitoring.
    pub monitoring: Option<TcpListener>,
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
    /// The address for monitoring cannot be listened on.
    Monitor {
        /// Host and port.
        address: String,
        /// Why not.
        source: io::Error,
    },
    /// The Unix socket cannot be listened on.
    ListenUnix {
        /// Where it should be.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// What is configured makes no sense: each mistake.
    Options(Vec<String>),
    /// No key could be made.
    Identity(String),
    /// The settings of accounts cannot be put in force together.
    Accounts(String),
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
            Self::ListenUnix { path, source } => {
                let (path, cause) = (path.display(), crate::process::os_error_text(source));
                let cause = format!("listen unix {path}: bind: {cause}");
                write!(
                    formatter,
                    "Error listening on unix socket: {path}, {cause:?}"
                )
            }
            Self::Options(mistakes) => formatter.write_str(&mistakes.join("\n")),
            Self::Accounts(reason) => formatter.write_str(reason),
            Self::Monitor { address, source } => {
                let cause = crate::process::os_error_text(source);
                write!(
                    formatter,
                    "can't listen to the monitor port: listen tcp {address}: bind: {cause}"
                )
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
    /// Where the server's tasks run.
    runtime: Handle,
    context: Arc<ClientContext>,
    cluster: Option<Cluster>,
    monitor: Arc<Monitor>,
    doors: Doors,
    /// The services in the system account, unless there is none.
    system: Option<SystemHandle>,
    reload_requests: Mutex<Option<mpsc::Receiver<ReloadRequest>>>,
    /// Cancelled when the services are to end.
    closing_services: CancellationToken,
    identity: Identity,
    own: Arc<OwnServer>,
    tls: RwLock<Option<Arc<ClientTls>>>,
    /// Where handshakes are done, once there is TLS.
    gate: OnceLock<Arc<HandshakeGate>>,
    password_checks: Arc<PasswordChecks>,
    /// How long a lame duck takes in all, and before it closes the first client.
    lame_duck_times: Mutex<(Duration, Duration)>,
    /// One permit: for the reload that is made ready and put in force.
    reloads: Arc<Semaphore>,
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
    pub async fn start(mut options: ServerOptions) -> Result<Self, StartError> {
        let identity = Identity::generate().map_err(StartError::Identity)?;
        let given = std::mem::take(&mut options.given);
        let doors = Doors::default();
        let places = places(&options);
        let bound = doors.prepare(&places, given).await?;
        let address = bound.iter().find_map(Bound::client_address);
        let address = address.unwrap_or_else(|| (Ipv4Addr::UNSPECIFIED, 0).into());
        let info = first_info(&options, &identity, address);
        let own = Arc::new(accounts::own_server(&options, &info));
        let broker = new_broker(&options, &own)?;
        let context = Arc::new(ClientContext::new(broker, first_settings(&options), info));
        let urls = client_urls(options.advertise.as_ref(), &options.host, address.port());
        let cluster = start_cluster(options.cluster, &context, urls).await?;
        let monitor = monitor_of(&context, options.configuration, cluster.as_ref());
        let closing_services = CancellationToken::new();
        let (system, reload_requests) = start_services(&monitor, &closing_services);
        let server = Self {
            inner: Arc::new(Inner {
                runtime: Handle::current(),
                monitor,
                system,
                reload_requests: Mutex::new(Some(reload_requests)),
                closing_services,
                doors,
                context,
                cluster,
                identity,
                own,
                tls: RwLock::default(),
                gate: OnceLock::new(),
                password_checks: Arc::default(),
                lame_duck_times: Mutex::new((
                    options.lame_duck_duration,
                    options.lame_duck_grace_period,
                )),
                reloads: Arc::new(Semaphore::new(1)),
                closing_listeners: CancellationToken::new(),
                stopping: CancellationToken::new(),
                stopped: CancellationToken::new(),
                listeners: TaskTracker::new(),
                connections: TaskTracker::new(),
                is_lame_duck: AtomicBool::new(false),
            }),
        };
        let inner = &server.inner;
        if options.tls.is_some() {
            inner.start_gate().map_err(StartError::Handshakes)?;
        }
        inner.put_tls(options.tls);
        let _nothing_closes = inner.doors.switch(inner, &places, bound);
        inner
            .connections
            .spawn(accounts::forget_late_requests(Arc::clone(inner)));
        inner
            .connections
            .spawn(shedding::keep_within_budget(Arc::clone(inner)));
        Ok(server)
    }

    /// The address that clients connect to, with the real port; port 0 if it listens on a Unix socket only.
    #[must_use]
    pub fn client_address(&self) -> SocketAddr {
        self.inner.doors.client_address()
    }

    /// The server's part in its cluster, if it has one.
    #[must_use]
    pub fn cluster(&self) -> Option<&Cluster> {
        self.inner.cluster.as_ref()
    }

    /// The address that monitoring is served on over HTTP, if it is.
    #[must_use]
    pub fn monitoring_address(&self) -> Option<SocketAddr> {
        self.inner.doors.monitoring_address()
    }

    /// Requests of operators to read the configuration again, each of which wants to know the outcome.
    /// Only the first caller gets them.
    #[must_use]
    pub fn reload_requests(&self) -> Option<mpsc::Receiver<ReloadRequest>> {
        let requests = self.inner.reload_requests.lock();
        requests.unwrap_or_else(PoisonError::into_inner).take()
    }

    /// A connection within the process, with every right in the account of that name. It is counted nowhere.
    #[must_use]
    pub fn connect_within(&self, account: &str) -> InternalConnection {
        let context = &self.inner.context;
        let account = context.broker.account(account);
        let id = context.broker.next_id();
        let facts = Facts {
            id,
            ip: String::new(),
            port: 0,
            began: newcomer::clocks(),
            nonce: String::new(),
            unix_user: None,
            in_process: true,
            label: format!("internal - cid:{id}"),
        };
        InternalConnection::new(Arc::clone(context), account, facts)
    }

    /// What monitoring knows of the server.
    #[must_use]
    pub fn monitor(&self) -> &Arc<Monitor> {
        &self.inner.monitor
    }

    /// The server's public key.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.inner.identity.id
    }

    /// The server's name.
    #[must_use]
    pub fn name(&self) -> String {
        self.inner.context.info().server_name.to_string()
    }

    /// What all its clients share.
    #[must_use]
    pub fn clients(&self) -> &Arc<ClientContext> {
        &self.inner.context
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
        inner.announce(Announcement::Shutdown).await;
        inner.closing_services.cancel();
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
    /// Tells those who listen to the system account that the server leaves.
    async fn announce(&self, announcement: Announcement) {
        if let Some(system) = &self.system {
            system.announce(announcement).await;
        }
    }

    async fn stop_listening(&self) {
        self.monitor.close_doors();
        self.closing_listeners.cancel();
        self.listeners.close();
        self.listeners.wait().await;
    }

    /// Serves monitoring until its listener is to close.
    fn serve_monitoring(
        self: &Arc<Self>,
        listener: HttpListener,
        secured: bool,
        closing: CancellationToken,
    ) -> JoinHandle<()> {
        let monitor = Arc::clone(&self.monitor);
        let secured = secured.then(|| self.monitoring_security());
        self.connections
            .spawn(listener.serve(monitor, secured, closing))
    }

    /// What handshakes of monitoring are made with, whenever one begins.
    fn monitoring_security(self: &Arc<Self>) -> SecuredSource {
        let server = Arc::downgrade(self);
        Box::new(move || {
            let (tls, gate) = server.upgrade()?.secured()?;
            tls.for_monitoring(gate)
        })
    }

    /// TLS and where its handshakes are done, if new clients get it.
    fn secured(&self) -> Option<(Arc<ClientTls>, Arc<HandshakeGate>)> {
        let tls = self.tls.read().unwrap_or_else(PoisonError::into_inner);
        Some((tls.clone()?, self.gate.get()?.clone()))
    }

    fn surroundings(&self) -> Surroundings {
        Surroundings {
            timeouts: self.context.settings().timeouts,
            password_checks: Arc::clone(&self.password_checks),
            random: random(),
        }
    }

    /// How long a lame duck takes in all, and before it closes the first client.
    fn lame_duck_times(&self) -> (Duration, Duration) {
        let times = self.lame_duck_times.lock();
        *times.unwrap_or_else(PoisonError::into_inner)
    }

    fn put_lame_duck(&self, duration: Duration, grace_period: Duration) {
        let mut times = (self.lame_duck_times.lock()).unwrap_or_else(PoisonError::into_inner);
        *times = (duration, grace_period);
    }

    /// Notes that the server is a lame duck; false when it was one.
    fn become_lame_duck(&self) -> bool {
        !self.is_lame_duck.swap(true, Ordering::AcqRel)
    }
}

async fn start_cluster(
    options: Option<ClusterOptions>,
    context: &Arc<ClientContext>,
    client_urls: Vec<String>,
) -> Result<Option<Cluster>, StartError> {
    let Some(options) = options else {
        return Ok(None);
    };
    let address = format!("{}:{}", options.host, options.port);
    Cluster::start(options, Arc::clone(context), client_urls)
        .await
        .map(Some)
        .map_err(|source| StartError::Listen { address, source })
}

fn monitor_of(
    context: &Arc<ClientContext>,
    configuration: Arc<Options>,
    cluster: Option<&Cluster>,
) -> Arc<Monitor> {
    let monitor = Monitor::new(Arc::clone(context), configuration);
    if let Some(cluster) = cluster.cloned() {
        monitor.show_routes(move || cluster.report());
    }
    Arc::new(monitor)
}

/// Starts the services in the system account, unless there is none. Requests to reload come from them.
fn start_services(
    monitor: &Arc<Monitor>,
    closing: &CancellationToken,
) -> (Option<SystemHandle>, mpsc::Receiver<ReloadRequest>) {
    let (reloads, reload_requests) = mpsc::channel(1);
    let has_services = !monitor.options().no_system_account;
    let start = || system::start(Arc::clone(monitor), reloads, closing.clone());
    (has_services.then(start), reload_requests)
}

/// Where to listen.
fn places(options: &ServerOptions) -> Vec<Place> {
    let clients = options.listens_on_tcp.then(|| Place::Clients {
        host: options.host.clone(),
        port: options.port,
    });
    let unix = options.unix_socket.clone().map(Place::Unix);
    let monitoring = Place::of_monitoring(&options.configuration);
    clients.into_iter().chain(unix).chain(monitoring).collect()
}

fn new_broker(options: &ServerOptions, own: &Arc<OwnServer>) -> Result<Arc<Broker>, StartError> {
    let broker = match &options.cluster {
        Some(_) => Broker::new_announced(&options.system_account),
        None => Broker::new(&options.system_account),
    };
    broker
        .configure(&options.accounts, own)
        .map_err(StartError::Accounts)?;
    Ok(Arc::new(broker))
}

/// What holds for clients until a reload.
fn first_settings(options: &ServerOptions) -> ClientSettings {
    let tls = options.tls.as_deref();
    ClientSettings {
        limits: options.limits.clone(),
        authenticator: Arc::clone(&options.authenticator),
        tls: tls.map(ClientTls::terms).unwrap_or_default(),
        rates: Arc::clone(&options.rates),
        slow: Arc::clone(&options.slow),
        timeouts: options.timeouts,
    }
}

/// What clients are told, less what concerns one of them alone.
fn first_info(options: &ServerOptions, identity: &Identity, address: SocketAddr) -> Info {
    let (host, port) = match &options.advertise {
        Some((host, port)) => (host.clone(), *port),
        None => (options.host.clone(), address.port()),
    };
    Info {
        server_id: identity.id.as_str().into(),
        server_name: options
            .name
            .as_ref()
            .unwrap_or(&identity.id)
            .as_str()
            .into(),
        version: COMPATIBLE_VERSION.into(),
        proto: 1,
        go: concat!("midge ", env!("CARGO_PKG_VERSION")).into(),
        host: host.into(),
        port,
        headers: options.limits.headers,
        max_payload: max_payload_told(&options.limits),
        api_lvl: API_LEVEL,
        xkey: identity.xkey.as_str().into(),
        ..Info::default()
    }
}

/// The limit of payloads as INFO tells it: -1 is none.
fn max_payload_told(limits: &Limits) -> i64 {
    let told = |most| i64::try_from(most).unwrap_or(i64::MAX);
    limits.max_payload.map_or(-1, told)
}

/// A number that nobody can predict, for spreading work in time.
fn random() -> u64 {
    std::hash::BuildHasher::hash_one(&foldhash::fast::RandomState::default(), 0)
}
