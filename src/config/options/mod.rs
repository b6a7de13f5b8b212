//! Every option of the server with its type, and the table that declares each of them once.
//!
//! [`Options`] is what the rest of the program sees: plain data in the units of its types, with
//! nats-server's defaults. The rows in [`table`] say how each field is written.

pub mod accounts;
pub mod authorization;
pub mod cluster;
pub(crate) mod links;
pub mod mappings;
pub mod permissions;
pub mod rate_limit;
pub(crate) mod read;
pub mod row;
pub mod slow_consumer;
pub mod table;
pub mod tls;
mod top_subjects;
pub mod unix_socket;
pub mod users;
pub(crate) mod validate;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use accounts::Account;
use authorization::Authorization;
use cluster::Cluster;
use mappings::Mapping;
use tls::Tls;
use unix_socket::UnixSocket;

/// The port clients connect to by default.
pub const DEFAULT_PORT: u16 = 4222;
/// A payload limit above this many bytes is taken with a warning.
pub const DISCOURAGED_PAYLOAD_BYTES: u32 = 8 * 1024 * 1024;
/// The shortest lame duck duration that nats-server takes.
pub const MINIMUM_LAME_DUCK_DURATION: Duration = Duration::from_secs(30);
/// An authentication timeout above this is taken with a warning.
pub const HIGH_AUTHENTICATION_TIMEOUT: Duration = Duration::from_secs(60);

/// The configuration of a server: file, environment and command line put together.
#[derive(Clone, Debug)]
pub struct Options {
    /// The configuration file, as it was given.
    pub config_file: Option<PathBuf>,
    /// `sha256:…` of the configuration file, the same as nats-server computes.
    pub config_digest: Option<String>,
    /// What the options were made from, to make them again when the file has changed.
    pub layers: super::Layers,

    /// The server's name, without blanks; none means its generated id.
    pub server_name: Option<String>,
    /// Address or host name to listen on for clients.
    pub host: String,
    /// Port to listen on for clients; 0 lets the system choose one (written `-1`).
    pub port: u16,
    /// Whether there is a TCP listener for clients.
    pub listens_on_tcp: bool,
    /// Unix socket to listen on for clients.
    pub unix_socket: Option<UnixSocket>,
    /// `host:port` that other servers tell clients instead of the address listened on.
    pub client_advertise: Option<String>,
    /// Words that describe the server in monitoring.
    pub server_tags: Vec<String>,
    /// Names and values that describe the server in monitoring.
    pub server_metadata: BTreeMap<String, String>,
    /// Features to opt in to (true) or out of (false).
    pub feature_flags: BTreeMap<String, bool>,
    /// Where to write the process id.
    pub pid_file: Option<PathBuf>,
    /// Folder in which to write `<executable>_<pid>.ports`.
    pub ports_file_dir: Option<PathBuf>,
    /// Folder for stored messages; taken because tools always pass it, and not used.
    pub store_dir: Option<PathBuf>,

    /// What is logged, and where.
    pub log: LogOptions,

    /// Connections at a time; 0 refuses every client, as nats-server does.
    pub max_connections: u64,
    /// Connections at a time from one address; none is without a limit.
    pub max_connections_per_ip: Option<u32>,
    /// How many of the subjects that are published to most are told, for each account that does not say
    /// so itself; 0 not to find out.
    pub top_subjects: u16,
    /// Subscriptions of one connection; none is without a limit.
    pub max_subscriptions: Option<u32>,
    /// Tokens of a subscription's subject; none is without a limit.
    pub max_subscription_tokens: Option<u8>,
    /// Bytes of a protocol line without its payload.
    pub max_control_line: u32,
    /// Bytes of a message, headers included; none is without a limit (told to clients as -1).
    pub max_payload: Option<u32>,
    /// Bytes that may wait to be written to one connection before it counts as a slow consumer.
    pub max_pending: u64,
    /// Bytes that may wait for all connections together; 0 is without a limit, none a quarter of the container's limit.
    pub memory_budget: Option<u64>,
    /// Closed connections remembered for monitoring.
    pub max_closed_clients: u32,
    /// Time between pings to an idle client.
    pub ping_interval: Duration,
    /// Pings without an answer after which a connection is stale.
    pub ping_max: u32,
    /// Time a write to a connection may take.
    pub write_deadline: Duration,
    /// What follows when it takes longer.
    pub write_timeout: WriteTimeout,
    /// Time over which clients are closed in lame duck mode.
    pub lame_duck_duration: Duration,
    /// Time before the first client is closed in lame duck mode.
    pub lame_duck_grace_period: Duration,
    /// Enter lame duck mode on SIGTERM.
    pub lame_duck_on_term: bool,
    /// Report each n-th failed first attempt to connect to another server.
    pub connect_error_reports: u32,
    /// Report each n-th failed attempt to connect again to another server.
    pub reconnect_error_reports: u32,
    /// Never hold up publishers for a subscriber that falls behind.
    pub no_fast_producer_stall: bool,
    /// Refuse messages with headers.
    pub no_header_support: bool,
    /// Taken for nats-server's sake, without effect.
    pub disable_sublist_cache: bool,

    /// Who may connect.
    pub authorization: Authorization,
    /// Accounts besides `$G`.
    pub accounts: Vec<Account>,
    /// Mappings of subjects in the account `$G`.
    pub mappings: Vec<Mapping>,
    /// The user whom clients without credentials become.
    pub no_auth_user: Option<String>,
    /// The account for the server's own subjects.
    pub system_account: Option<String>,
    /// Have no system account.
    pub no_system_account: bool,
    /// TLS for clients.
    pub tls: Option<Tls>,
    /// Take clients without TLS as well, when TLS is configured.
    pub allow_non_tls: bool,
    /// Monitoring over HTTP.
    pub monitoring: Monitoring,
    /// Links to other servers of the cluster.
    pub cluster: Option<Cluster>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            config_file: None,
            config_digest: None,
            layers: super::Layers::default(),
            server_name: None,
            host: "0.0.0.0".to_owned(),
            port: DEFAULT_PORT,
            listens_on_tcp: true,
            unix_socket: None,
            client_advertise: None,
            server_tags: Vec::new(),
            server_metadata: BTreeMap::new(),
            feature_flags: BTreeMap::new(),
            pid_file: None,
            ports_file_dir: None,
            store_dir: None,
            log: LogOptions::default(),
            max_connections: 65_536,
            max_connections_per_ip: None,
            top_subjects: 0,
            max_subscriptions: None,
            max_subscription_tokens: None,
            max_control_line: 4_096,
            max_payload: Some(1_048_576),
            max_pending: 67_108_864,
            memory_budget: None,
            max_closed_clients: 10_000,
            ping_interval: Duration::from_secs(120),
            ping_max: 2,
            write_deadline: Duration::from_secs(10),
            write_timeout: WriteTimeout::Default,
            lame_duck_duration: Duration::from_secs(120),
            lame_duck_grace_period: Duration::from_secs(10),
            lame_duck_on_term: false,
            connect_error_reports: 3_600,
            reconnect_error_reports: 1,
            no_fast_producer_stall: false,
            no_header_support: false,
            disable_sublist_cache: false,
            authorization: Authorization::default(),
            accounts: Vec::new(),
            mappings: Vec::new(),
            no_auth_user: None,
            system_account: Some("$SYS".to_owned()),
            no_system_account: false,
            tls: None,
            allow_non_tls: false,
            monitoring: Monitoring::default(),
            cluster: None,
        }
    }
}

/// What is logged, how and where. `file` comes before `remote_syslog`, and that before `syslog`;
/// with none of them the log goes to standard error.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogOptions {
    /// Log what helps to find mistakes.
    pub debug: bool,
    /// Log the protocol of every client.
    pub trace: bool,
    /// Trace the system account as well. Implies `trace`.
    pub trace_verbose: bool,
    /// Trace only the headers of messages, not their payload. Implies `trace`.
    pub trace_headers: bool,
    /// Start each line with date and time.
    pub logtime: bool,
    /// Date and time in UTC instead of the local time zone.
    pub logtime_utc: bool,
    /// Form of the lines.
    pub format: LogFormat,
    /// File to log to.
    pub file: Option<PathBuf>,
    /// Bytes after which the file is renamed and a new one started; none never does.
    pub size_limit: Option<u64>,
    /// Renamed files to keep; none keeps all.
    pub max_files: Option<u64>,
    /// Log to the system's syslog.
    pub syslog: bool,
    /// Log to the syslog server at this URL.
    pub remote_syslog: Option<String>,
    /// Bytes of a message that a trace line shows; none shows all.
    pub max_traced_message_bytes: Option<u64>,
}

impl Default for LogOptions {
    fn default() -> Self {
        Self {
            debug: false,
            trace: false,
            trace_verbose: false,
            trace_headers: false,
            logtime: true,
            logtime_utc: false,
            format: LogFormat::Text,
            file: None,
            size_limit: None,
            max_files: None,
            syslog: false,
            remote_syslog: None,
            max_traced_message_bytes: None,
        }
    }
}

/// Form of log lines.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LogFormat {
    /// Lines as nats-server writes them.
    #[default]
    Text,
    /// One JSON object in each line.
    Json,
}

/// What follows when a write takes longer than the write deadline.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum WriteTimeout {
    /// What suits the kind of peer: close a client, retry a server.
    #[default]
    Default,
    /// Close the connection.
    Close,
    /// Go on as long as some bytes get through.
    Retry,
}

/// Monitoring over HTTP.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Monitoring {
    /// Address to listen on; none is that of the client listener.
    pub host: Option<String>,
    /// Port for HTTP; none serves no HTTP, 0 lets the system choose.
    pub http_port: Option<u16>,
    /// Port for HTTPS; none serves no HTTPS, 0 lets the system choose.
    pub https_port: Option<u16>,
    /// Path before all others, such as `/nats`.
    pub base_path: Option<String>,
    /// User who may see it; none lets everybody, unless there is a token.
    pub user: Option<String>,
    /// That user's password.
    pub password: Option<super::Secret>,
    /// Token that may be presented instead.
    pub token: Option<super::Secret>,
}
