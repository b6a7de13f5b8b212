//! A server as one of a cluster: listens for others, dials them, and does what the [`mesh`] decides.

mod complaints;
mod dial;
pub mod mesh;
mod names;
mod reload;
mod secure;
mod settings;
mod status;

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::{Duration, Instant, SystemTime};

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::auth::{Authenticator, Permissions};
use crate::broker::close::CloseReason;
use crate::broker::peer::{Facts, Peer};
use crate::broker::routes::Share;
use crate::broker::security::TlsFacts;
use crate::config::Secret;
use crate::conn::checks::PasswordChecks;
use crate::conn::compression::Level;
use crate::conn::transport::{ReadHalf, SharedWire, SocketWire, WriteHalf, split_tcp};
use crate::conn::{Connection, Surroundings, Timeouts};
use crate::link::context::ClientContext;
use crate::link::route::compression::CompressionMode;
use crate::link::route::{Route, RouteHost, RouteSettings};
use crate::proto::encode;
use crate::proto::route_info::{
    ROUTE_PROTOCOL, ROUTE_SCHEME, RouteConnect, RouteInfo, SubjectLists,
};
use complaints::Complaints;
use mesh::{Action, Endpoint, GoalId, LinkId, Mesh, MeshConfig, Target};
pub use names::client_urls;
pub use reload::Relink;
pub use secure::ClusterTls;

/// First and longest pause after the system would not accept a connection (too many open files).
const FIRST_PAUSE: Duration = Duration::from_millis(10);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// How a server takes part in a cluster.
#[derive(Debug, Clone)]
pub struct ClusterOptions {
    /// Name of the cluster; none to make one up.
    pub name: Option<String>,
    /// Address or host name to listen on.
    pub host: String,
    /// Port to listen on; 0 for any free one.
    pub port: u16,
    /// Host and port that other servers are told instead.
    pub advertise: Option<(String, u16)>,
    /// Do not tell clients about other servers, nor others about this one's clients' address.
    pub no_advertise: bool,
    /// Servers to dial.
    pub routes: Vec<ConfiguredRoute>,
    /// What this server presents to others that ask for credentials, where a route's URL names none.
    pub login: Option<Login>,
    /// Who may come in.
    pub authenticator: Arc<Authenticator>,
    /// What may be imported and exported; everything without any.
    pub permissions: Option<Arc<Permissions>>,
    /// What is imported, as others are told.
    pub import: Option<SubjectLists>,
    /// What is exported, as others are told.
    pub export: Option<SubjectLists>,
    /// Connections to each other server; `None` for one without a pool.
    pub pool_size: Option<u32>,
    /// Spread the messages of each account over all connections of the pool, where the other server does so too.
    pub lanes: bool,
    /// Accounts with a connection of their own.
    pub accounts: Vec<String>,
    /// TLS of links, if they have it.
    pub tls: Option<Arc<ClusterTls>>,
    /// How links are compressed.
    pub compression: CompressionMode,
    /// Further attempts to dial a server that others told about.
    pub connect_retries: u32,
    /// Wait longer after each failed attempt.
    pub connect_backoff: bool,
    /// Time limits of links.
    pub timeouts: Timeouts,
}

/// A server to dial.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfiguredRoute {
    /// Where it listens.
    pub endpoint: Endpoint,
    /// What to present to it.
    pub login: Option<Login>,
}

/// A user name and its password.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Login {
    /// User name.
    pub user: String,
    /// Password.
    pub password: Secret,
}

/// A server's part in a cluster.
#[derive(Debug, Clone)]
pub struct Cluster {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    options: RwLock<Arc<ClusterOptions>>,
    clients: Arc<ClientContext>,
    settings: RwLock<Arc<RouteSettings>>,
    password_checks: Arc<PasswordChecks>,
    address: SocketAddr,
    /// Where clients connect to this server.
    own_urls: RwLock<Arc<[String]>>,
    state: Mutex<State>,
    started: Instant,
    /// Somebody has to look at the mesh's next time again.
    changed: Notify,
    complaints: Complaints,
    stopping: CancellationToken,
    tasks: TaskTracker,
    connections: TaskTracker,
}

#[derive(Debug)]
struct State {
    mesh: Mesh,
    links: HashMap<LinkId, Handle>,
}

/// What is known of a link's connection.
#[derive(Debug)]
struct Handle {
    peer: Arc<Peer>,
    dialed: bool,
    login: Option<Login>,
    share: Option<Share>,
    /// How it is compressed, or is to be, in the words of INFO.
    compression: &'static str,
    /// How much, if it is.
    level: Option<Level>,
    /// What the other server exports, as it told last.
    export: Option<SubjectLists>,
}

/// A connection that was just made.
struct Made {
    halves: (ReadHalf, WriteHalf),
    tls: Option<TlsFacts>,
    address: SocketAddr,
    /// What it was dialed for: the goal and the account.
    dialed: Option<(GoalId, Option<String>)>,
    login: Option<Login>,
}

impl Cluster {
    /// Listens for other servers and begins to dial those configured.
    ///
    /// # Errors
    /// When the address cannot be listened on.
    pub async fn start(
        options: ClusterOptions,
        clients: Arc<ClientContext>,
        client_urls: Vec<String>,
    ) -> io::Result<Self> {
        let listener = TcpListener::bind((options.host.as_str(), options.port)).await?;
        let address = listener.local_addr()?;
        let config = mesh_config(&options, &clients, &client_urls, address);
        clients.change_topology(|topology| {
            topology.cluster.clone_from(&config.cluster);
            topology.cluster_dynamic = config.cluster_dynamic;
        });
        clients.broker.pin_accounts(config.accounts.clone());
        tracing::info!("Cluster name is {}", config.cluster);
        if config.cluster_dynamic {
            tracing::warn!("Cluster name was dynamically generated, consider setting one");
        }
        let settings = route_settings(&options, &clients);
        let inner = Arc::new(Inner {
            settings: RwLock::new(Arc::new(settings)),
            password_checks: Arc::default(),
            address,
            own_urls: RwLock::new(client_urls.into()),
            state: Mutex::new(State {
                mesh: Mesh::new(config, Duration::ZERO),
                links: HashMap::new(),
            }),
            started: now(),
            changed: Notify::new(),
            complaints: Complaints::default(),
            stopping: CancellationToken::new(),
            tasks: TaskTracker::new(),
            connections: TaskTracker::new(),
            options: RwLock::new(Arc::new(options)),
            clients,
        });
        inner.tasks.spawn(accept(Arc::clone(&inner), listener));
        inner.tasks.spawn(keep_time(Arc::clone(&inner)));
        inner.tasks.spawn(secure::keep_fresh(Arc::clone(&inner)));
        Ok(Self { inner })
    }

    /// The address that other servers connect to, with the real port.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.inner.address
    }

    /// Tells the other servers that this one is about to end.
    pub fn become_lame_duck(&self) {
        let state = self.inner.lock();
        for (link, mut info) in state.mesh.farewells() {
            info.ldm = true;
            if let Some(handle) = state.links.get(&link) {
                send(&handle.peer, &encode::info(&info.to_json()));
            }
        }
    }

    /// Ends all links.
    pub async fn shutdown(&self) {
        let inner = &self.inner;
        inner.stopping.cancel();
        {
            let mut state = inner.lock();
            state.mesh.stop();
            for handle in state.links.values() {
                handle.peer.close(CloseReason::ServerShutdown);
            }
        }
        inner.tasks.close();
        inner.connections.close();
        inner.tasks.wait().await;
        inner.connections.wait().await;
    }
}

impl Inner {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn options(&self) -> Arc<ClusterOptions> {
        Arc::clone(&self.options.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn settings(&self) -> Arc<RouteSettings> {
        Arc::clone(&self.settings.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Tells the mesh something and does what it then asks for. All under one lock: what one input asks
    /// for must be done before what the next one does.
    fn input<T>(self: &Arc<Self>, tell: impl FnOnce(&mut State, Duration) -> T) -> T {
        let mut state = self.lock();
        let told = tell(&mut state, now().saturating_duration_since(self.started));
        for action in state.mesh.take_actions() {
            self.act(&mut state, action);
        }
        drop(state);
        self.changed.notify_one();
        told
    }

    fn act(self: &Arc<Self>, state: &mut State, action: Action) {
        match action {
            Action::Dial(goal, target, account) => {
                let dialing = dial::dial(Arc::clone(self), goal, target, account);
                self.tasks.spawn(dialing);
            }
            Action::SendConnect(link, connect) => self.send_connect(state, link, *connect),
            Action::SendInfo(link, mut info) => {
                if let Some(handle) = state.links.get(&link)
                    && *info.server_id == *self.clients.info().server_id
                {
                    handle.compression.clone_into(&mut info.compression);
                }
                with_peer(state, link, |peer| {
                    send(peer, &encode::info(&info.to_json()))
                });
            }
            Action::Ping(link) => with_peer(state, link, |peer| send(peer, encode::PING)),
            Action::Attach(link, share) => self.attach(state, link, share),
            Action::Permissions(link, info) => self.permissions_changed(state, link, &info),
            Action::Close(link, reason, text) => self.close(state, link, reason, text),
            Action::ConnectUrls(urls) => self.tell_clients(urls),
            Action::ClusterNamed(name, dynamic) => {
                tracing::info!("Cluster name is {name}");
                self.clients.change_topology(|topology| {
                    topology.cluster = name;
                    topology.cluster_dynamic = dynamic;
                });
            }
        }
    }

    fn send_connect(&self, state: &State, link: LinkId, mut connect: RouteConnect) {
        let Some(handle) = state.links.get(&link) else {
            return;
        };
        if let Some(login) = &handle.login {
            connect.user.clone_from(&login.user);
            login.password.expose().clone_into(&mut connect.pass);
        }
        let text = format!("CONNECT {}\r\n", connect.to_json());
        send(&handle.peer, text.as_bytes());
    }

    fn attach(&self, state: &mut State, link: LinkId, share: Share) {
        let info = state.mesh.remote_of(link).cloned();
        let Some(handle) = state.links.get_mut(&link) else {
            return;
        };
        if let Some(info) = info {
            handle.export = info.export;
            let label = handle.peer.label();
            tracing::debug!(
                cid = link,
                "{label} - Registering remote route {:?}",
                info.server_id
            );
        }
        let permissions = self.settings().permissions.clone();
        handle.share = Some(share.clone());
        let peer = Arc::clone(&handle.peer);
        self.clients.broker.attach_route(peer, share, permissions);
    }

    /// The other server exports something else: what it refused before it may take now.
    fn permissions_changed(&self, state: &mut State, link: LinkId, info: &RouteInfo) {
        let Some(handle) = state.links.get_mut(&link) else {
            return;
        };
        if handle.export == info.export {
            return;
        }
        handle.export.clone_from(&info.export);
        if let Some(share) = handle.share.clone() {
            let broker = &self.clients.broker;
            broker.detach_route(&handle.peer);
            let permissions = self.settings().permissions.clone();
            broker.attach_route(Arc::clone(&handle.peer), share, permissions);
        }
    }

    fn close(&self, state: &State, link: LinkId, reason: CloseReason, text: Option<String>) {
        let Some(handle) = state.links.get(&link) else {
            return;
        };
        if let Some(text) = text {
            send(&handle.peer, format!("-ERR '{text}'\r\n").as_bytes());
            self.complaints.log(&handle.peer, text, now());
        } else if reason != CloseReason::DuplicateRoute {
            self.complaints
                .log(&handle.peer, reason.text().to_owned(), now());
        }
        handle.peer.close(reason);
    }

    fn tell_clients(&self, urls: Vec<String>) {
        if self.options().no_advertise {
            return;
        }
        let own = Arc::clone(&self.own_urls.read().unwrap_or_else(PoisonError::into_inner));
        self.clients.change_topology(|topology| {
            topology.connect_urls = own.to_vec();
            topology.connect_urls.extend(urls);
        });
        self.clients.tell_clients(|_| ());
    }

    fn new_peer(
        &self,
        address: SocketAddr,
        half: WriteHalf,
        tls: Option<TlsFacts>,
    ) -> (Arc<Peer>, Arc<SocketWire>) {
        let id = self.clients.broker.next_id();
        let ip = address.ip().to_canonical();
        let endpoint = SocketAddr::new(ip, address.port());
        let facts = Facts {
            id,
            ip: ip.to_string(),
            port: address.port(),
            began: (SystemTime::now(), now()),
            unix_user: None,
            in_process: false,
            nonce: String::new(),
            label: format!("{endpoint} - rid:{id}"),
        };
        let wire = Arc::new(SocketWire::detached());
        wire.attach(half);
        let sender = Box::new(SharedWire(Arc::clone(&wire)));
        let max_pending = self.clients.settings().limits.max_pending;
        let peer = Peer::new_route(facts, sender, max_pending);
        peer.join_budget(Arc::clone(&self.clients.broker.budget));
        let label = peer.label();
        tracing::info!(cid = id, "{label} - Route connection created");
        if let Some(facts) = tls {
            let (version, suite) = (facts.version, facts.cipher_suite);
            tracing::debug!(
                cid = id,
                "{label} - TLS version {version}, cipher suite {suite}"
            );
            peer.set_tls(facts);
        }
        (Arc::new(peer), wire)
    }

    /// Makes a link of a connection.
    fn open(self: &Arc<Self>, made: Made) {
        let Made {
            halves: (read_half, write_half),
            tls,
            address,
            dialed,
            login,
        } = made;
        let broker = &self.clients.broker;
        let (peer, wire) = self.new_peer(address, write_half, tls);
        let (id, ip) = (peer.id(), address.ip().to_canonical());
        let handle = Handle {
            peer: Arc::clone(&peer),
            dialed: dialed.is_some(),
            login,
            share: None,
            compression: self.options().compression.word(),
            level: None,
            export: None,
        };
        let goal = dialed.as_ref().map(|(goal, _)| *goal);
        let link = Route::new(
            Arc::clone(broker),
            Arc::new(Cluster {
                inner: Arc::clone(self),
            }),
            self.settings(),
            Arc::clone(&peer),
            dialed.map(|(_, account)| account),
            now(),
        );
        self.input(|state, _| {
            state.links.insert(id, handle);
            match goal {
                Some(goal) => state.mesh.dialed(goal, id, &ip.to_string()),
                None => state.mesh.accepted(id, &ip.to_string()),
            }
        });
        // Shutdown closes all links it finds; this one may have come too late to be found.
        if self.stopping.is_cancelled() {
            peer.close(CloseReason::ServerShutdown);
        }
        let surroundings = Surroundings {
            timeouts: self.options().timeouts,
            password_checks: Arc::clone(&self.password_checks),
            random: names::random(),
        };
        let connection = Connection::new(read_half, wire, peer, link, surroundings);
        self.connections.spawn(connection.run());
    }
}

impl RouteHost for Cluster {
    fn connected(&self, link: u64, connect: &RouteConnect) {
        self.inner
            .input(|state, _| state.mesh.connect_received(link, connect));
    }

    fn informed(&self, link: u64, info: RouteInfo) {
        self.inner
            .input(|state, now| state.mesh.info_received(link, info, now));
    }

    fn ponged(&self, link: u64) {
        self.inner.input(|state, now| state.mesh.ponged(link, now));
    }

    fn closed(&self, link: u64) {
        self.inner.input(|state, now| {
            state.links.remove(&link);
            state.mesh.closed(link, now);
        });
    }

    fn compression_chosen(&self, link: u64, word: &'static str) -> String {
        let mut state = self.inner.lock();
        let mut info = state.mesh.first_info(link);
        word.clone_into(&mut info.compression);
        if let Some(handle) = state.links.get_mut(&link) {
            handle.compression = word;
        }
        info.to_json()
    }

    fn level_changed(&self, link: u64, level: Level) {
        if let Some(handle) = self.inner.lock().links.get_mut(&link) {
            handle.level = Some(level);
        }
    }

    fn complain(&self, link: u64, text: String) {
        let peer = self
            .inner
            .lock()
            .links
            .get(&link)
            .map(|handle| Arc::clone(&handle.peer));
        if let Some(peer) = peer {
            self.inner.complaints.log(&peer, text, now());
        }
    }
}

fn with_peer(state: &State, link: LinkId, work: impl FnOnce(&Peer)) {
    if let Some(handle) = state.links.get(&link) {
        work(&handle.peer);
    }
}

fn send(peer: &Peer, text: &[u8]) {
    if peer.send(text) {
        peer.flush();
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "this layer reads the clock for those below"
)]
fn now() -> Instant {
    Instant::now()
}

/// Accepts other servers until the cluster is to end.
async fn accept(inner: Arc<Inner>, listener: TcpListener) {
    let mut pause = FIRST_PAUSE;
    loop {
        let accepted = tokio::select! {
            biased;
            () = inner.stopping.cancelled() => return,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, address)) => {
                pause = FIRST_PAUSE;
                inner
                    .tasks
                    .spawn(welcome(Arc::clone(&inner), stream, address));
            }
            Err(error) => {
                tracing::error!("Temporary Route Accept Error ({error}), sleeping {pause:?}");
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(LONGEST_PAUSE);
            }
        }
    }
}

/// Makes a link of a connection from another server.
async fn welcome(inner: Arc<Inner>, stream: TcpStream, address: SocketAddr) {
    // Small messages must not wait for an acknowledgement of earlier ones. Should the option fail the
    // socket is broken already, which the first read tells.
    let _ = stream.set_nodelay(true);
    let (halves, tls) = match &inner.options().tls {
        None => (split_tcp(stream), None),
        Some(tls) => {
            let secured = tokio::select! {
                biased;
                () = inner.stopping.cancelled() => return,
                secured = tls.accept(stream) => secured,
            };
            match secured {
                Ok((read, write, facts)) => ((read, write), Some(facts)),
                Err(failure) => return inner.complaints.log_text(failure.to_string(), now()),
            }
        }
    };
    inner.open(Made {
        halves,
        tls,
        address,
        dialed: None,
        login: None,
    });
}

/// Wakes the mesh when it wants to be woken.
async fn keep_time(inner: Arc<Inner>) {
    loop {
        let next = inner.started + inner.lock().mesh.next_tick();
        tokio::select! {
            biased;
            () = inner.stopping.cancelled() => return,
            () = inner.changed.notified() => {}
            () = tokio::time::sleep_until(next.into()) => {
                // Not through `input`, which would wake this task for its own doing.
                let mut state = inner.lock();
                state.mesh.tick(now().saturating_duration_since(inner.started));
                for action in state.mesh.take_actions() {
                    inner.act(&mut state, action);
                }
            }
        }
    }
}

fn route_settings(options: &ClusterOptions, clients: &ClientContext) -> RouteSettings {
    let limits = &clients.settings().limits;
    RouteSettings {
        authenticator: Arc::clone(&options.authenticator),
        permissions: options.permissions.clone(),
        max_payload: limits.max_payload,
        headers: limits.headers,
        trace: limits.trace,
        compression: options.compression.clone(),
    }
}

fn mesh_config(
    options: &ClusterOptions,
    clients: &ClientContext,
    client_urls: &[String],
    address: SocketAddr,
) -> MeshConfig {
    let own = clients.info();
    let (host, port) = options
        .advertise
        .clone()
        .unwrap_or_else(|| (options.host.clone(), address.port()));
    let ip = match &options.advertise {
        Some(_) if host.contains(':') => format!("{ROUTE_SCHEME}[{host}]:{port}/"),
        Some(_) => format!("{ROUTE_SCHEME}{host}:{port}/"),
        None => String::new(),
    };
    let info = RouteInfo {
        server_id: own.server_id.to_string(),
        server_name: own.server_name.to_string(),
        version: own.version.to_string(),
        proto: ROUTE_PROTOCOL,
        go: own.go.to_string(),
        host,
        port,
        headers: own.headers,
        auth_required: options.authenticator.is_required(),
        tls_required: options.tls.is_some(),
        tls_verify: options.tls.is_some(),
        max_payload: own.max_payload,
        ip,
        connect_urls: match options.no_advertise {
            true => Vec::new(),
            false => client_urls.to_vec(),
        },
        import: options.import.clone(),
        export: options.export.clone(),
        lnoc: true,
        lnocu: true,
        lanes: options.lanes,
        ..RouteInfo::default()
    };
    // The system account always has a link of its own, as nats-server's has.
    let mut accounts = options.accounts.clone();
    let system = clients.broker.system_account().name();
    if options.pool_size.is_some() && !accounts.iter().any(|account| account == system) {
        accounts.push(system.to_owned());
    }
    MeshConfig {
        server_id: own.server_id.to_string(),
        cluster_dynamic: options.name.is_none(),
        cluster: options.name.clone().unwrap_or_else(names::made_up),
        pool_size: options.pool_size,
        accounts,
        routes: options.routes.iter().map(target).collect(),
        connect_retries: options.connect_retries,
        connect_backoff: options.connect_backoff,
        info,
        seed: names::random(),
    }
}

fn target(route: &ConfiguredRoute) -> Target {
    Target {
        endpoint: route.endpoint.clone(),
        explicit: true,
        auth_required: false,
    }
}
