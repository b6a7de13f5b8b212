//! Links to the other servers of a cluster: the block `cluster`.

use std::time::Duration;

use super::authorization::{self, Authorization, read_link_authorization};
use super::permissions::{self, Permissions, permissions};
use super::read::{
    address, boolean, choice, duration, feature_port, integer, list, optional_text, positive, set,
    table, text, text_list,
};
use super::row::{About, Kind, Row, abouts, read_table};
use super::tls::{self, Listener, Tls, tls};
use super::{Options, WriteTimeout};
use crate::config::diagnostic::{Diagnostic, Place, Problems};
use crate::config::secret::Secret;
use crate::config::units::{format_duration, parse_nanoseconds};
use crate::config::value::{Entry, Node, Value};

/// Port of routes whose URL names none.
pub const DEFAULT_ROUTE_PORT: u16 = 6222;
/// Connections to each other server, unless the block says otherwise.
pub const DEFAULT_POOL_SIZE: u32 = 3;
/// Routes are pinged at least this often.
pub const MAXIMUM_ROUTE_PING_INTERVAL: Duration = Duration::from_secs(30);

/// Links to the other servers of a cluster.
#[derive(Clone, Debug, PartialEq)]
pub struct Cluster {
    /// Name of the cluster, without blanks; none is chosen by the servers.
    pub name: Option<String>,
    /// Address or host name to listen on.
    pub host: String,
    /// Port to listen on; none does not take part in a cluster, 0 lets the system choose.
    pub port: Option<u16>,
    /// `host:port` that other servers are told instead of the address listened on.
    pub advertise: Option<String>,
    /// Do not tell clients about the other servers.
    pub no_advertise: bool,
    /// Servers to connect to.
    pub routes: Vec<RouteUrl>,
    /// What other servers must give: user, password and time.
    pub authorization: Authorization,
    /// Subjects to import and export.
    pub permissions: Option<Permissions>,
    /// TLS for these links.
    pub tls: Option<Tls>,
    /// Connections to each other server; none is a single one without a pool.
    pub pool_size: Option<u32>,
    /// Spread each account's messages over all connections to a server that does so too.
    pub lanes: bool,
    /// Accounts with a connection of their own.
    pub accounts: Vec<String>,
    /// Compression of these links.
    pub compression: Compression,
    /// Attempts to connect to a server that another one told about.
    pub connect_retries: u32,
    /// Wait longer after each failed attempt.
    pub connect_backoff: bool,
    /// Time between pings; none is that of clients, at most [`MAXIMUM_ROUTE_PING_INTERVAL`].
    pub ping_interval: Option<Duration>,
    /// Pings without an answer; none is that of clients.
    pub ping_max: Option<u32>,
    /// Time a write may take; none is that of clients.
    pub write_deadline: Option<Duration>,
    /// What follows when it takes longer.
    pub write_timeout: WriteTimeout,
    /// Where the block was written.
    pub place: Place,
}

/// How links are compressed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Compression {
    /// Say that this server knows no compression.
    NotSupported,
    /// Never.
    Off,
    /// When the other side wants to.
    #[default]
    Accept,
    /// By the round-trip time: up to the first threshold not at all, up to the second fast, up to
    /// the third better, then best. A threshold of zero leaves its step out.
    Auto(Vec<Duration>),
    /// Fast.
    Fast,
    /// Smaller.
    Better,
    /// Smallest.
    Best,
}

/// Round-trip times at which `auto` compresses more.
pub const DEFAULT_THRESHOLDS: [Duration; 3] = [
    Duration::from_millis(10),
    Duration::from_millis(50),
    Duration::from_millis(100),
];

/// `scheme://user:password@host:port` of a server to connect to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RouteUrl {
    /// Such as `nats` or `nats-route`.
    pub scheme: String,
    /// User name, if given.
    pub user: Option<String>,
    /// Password, if given.
    pub password: Option<Secret>,
    /// Host name or address; IPv6 without brackets.
    pub host: String,
    /// Port, if given.
    pub port: Option<u16>,
    /// Where it was written.
    pub place: Place,
}

/// The options of the block.
pub(crate) static CLUSTER: &[Row<Cluster>] = &[
    option("name", Kind::Text, "")
        .document("Name of the cluster, without blanks; by default the servers choose one.")
        .flags(&["cluster_name"], "<name>")
        .example("cluster-1")
        .store(store_name),
    option("host", Kind::Text, "0.0.0.0")
        .document("Address or host name to listen on for other servers.")
        .aliases(&["net"])
        .store(|d, e, p| set(&mut d.host, text(e, p))),
    option("port", Kind::Integer, "0")
        .document(
            "Port to listen on for other servers; 0 is no cluster, -1 lets the system choose.",
        )
        .store(|d, e, p| set(&mut d.port, feature_port(e, p))),
    option("listen", Kind::Address, "")
        .document("Host and port in one, in place of host and port.")
        .example("0.0.0.0:6222")
        .store(|d, e, p| {
            if let Some(address) = address(e, p) {
                d.port = (address.port != 0).then(|| address.listen_port(0));
                d.host = address.host;
            }
        }),
    option("advertise", Kind::Text, "")
        .document("Address that other servers are told in place of the one listened on.")
        .aliases(&["cluster_advertise"])
        .flags(&["cluster_advertise"], "<host:port>")
        .example("nats.example.com:6222")
        .live()
        .store(|d, e, p| set(&mut d.advertise, optional_text(e, p))),
    option("no_advertise", Kind::Boolean, "false")
        .document("Do not tell clients about the other servers.")
        .flags(&["no_advertise"], "")
        .live()
        .store(|d, e, p| set(&mut d.no_advertise, boolean(e, p))),
    option("routes", Kind::Texts, "[]")
        .document("URLs of servers to connect to.")
        .flags(&["routes"], "<url,url>")
        .live()
        .store(|d, e, p| set(&mut d.routes, routes(e, p))),
    option("authorization", Kind::Block, "")
        .document("User and password that other servers must give.")
        .example("{ user: route, password: change-me }")
        .children(authorization::about_link)
        .live()
        .store(store_authorization),
    option("permissions", Kind::Block, "")
        .document("Subjects to import from and export to other servers.")
        .example("{ import: \">\", export: \">\" }")
        .children(permissions::about)
        .live()
        .store(store_permissions),
    option("tls", Kind::Block, "")
        .document("TLS for these links; certificates are verified on both sides.")
        .example("{ cert_file: cert.pem, key_file: key.pem, ca_file: ca.pem }")
        .children(tls::about)
        .live()
        .store(|d, e, p| d.tls = tls(e, Listener::Cluster, p)),
    option("pool_size", Kind::Integer, "3")
        .document(
            "Connections to each other server; -1 is a single one, as before nats-server 2.10.",
        )
        .live()
        .store(
            |d, e, p| match integer(e, i64::from(i32::MIN), i64::from(i32::MAX), p) {
                Some(0) => d.pool_size = Some(DEFAULT_POOL_SIZE),
                Some(size) => d.pool_size = u32::try_from(size).ok(),
                None => {}
            },
        ),
    option("lanes", Kind::Boolean, "false")
        .document("Spread each account's messages over all connections to another Midge server that does so too.")
        .live()
        .store(|d, e, p| set(&mut d.lanes, boolean(e, p))),
    option("accounts", Kind::Texts, "[]")
        .document("Accounts with a connection of their own to each other server.")
        .live()
        .store(|d, e, p| set(&mut d.accounts, super::read::texts(e, p))),
    option("compression", Kind::Mixed, "accept")
        .document(
            "Compression: off, accept, s2_fast, s2_better, s2_best, or s2_auto by round-trip time.",
        )
        .live()
        .store(|d, e, p| set(&mut d.compression, compression(e, p))),
    option("connect_retries", Kind::Integer, "0")
        .document("Attempts to connect to a server that another one told about.")
        .flags(&["connect_retries"], "<number>")
        .live()
        .store(|d, e, p| {
            set(
                &mut d.connect_retries,
                positive(e, i64::from(u32::MAX), 0, p),
            )
        }),
    option("connect_backoff", Kind::Boolean, "false")
        .document("Wait longer after each failed attempt, up to 30s.")
        .live()
        .store(|d, e, p| set(&mut d.connect_backoff, boolean(e, p))),
    option("ping_interval", Kind::Duration, "")
        .document("Time between pings, at most 30s; the default is that of clients.")
        .example("\"30s\"")
        .live()
        .store(store_ping_interval),
    option("ping_max", Kind::Integer, "")
        .document("Pings without an answer; the default is that of clients.")
        .example("2")
        .live()
        .store(|d, e, p| {
            let number = integer(e, 0, i64::from(u32::MAX), p);
            d.ping_max = number
                .and_then(|n| u32::try_from(n).ok())
                .filter(|number| *number > 0);
        }),
    option("write_deadline", Kind::Duration, "")
        .document("Time a write may take; the default is that of clients.")
        .example("\"10s\"")
        .live()
        .store(|d, e, p| {
            d.write_deadline = duration(e, Duration::ZERO, p).filter(|read| !read.is_zero());
        }),
    option(
        "write_timeout",
        Kind::Choice(&["default", "close", "retry"]),
        "default",
    )
    .document("What follows when a write takes longer; by default it is tried again.")
    .without_effect("a link that takes nothing for that long is closed and made again")
    .live()
    .store(|d, e, p| {
        let words = [
            ("default", WriteTimeout::Default),
            ("close", WriteTimeout::Close),
            ("retry", WriteTimeout::Retry),
        ];
        set(&mut d.write_timeout, choice(e, &words, p));
    }),
];

const fn option(key: &'static str, kind: Kind, default: &'static str) -> Row<Cluster> {
    Row::new(key, kind, default)
}

/// Reads the block of the top level.
pub(crate) fn store_cluster(options: &mut Options, entry: &Entry, problems: &mut Problems) {
    if matches!(
        (&entry.node.value, entry.place()),
        (Value::Boolean(false), Place::Flag(_))
    ) {
        options.cluster = None;
        return;
    }
    let Some(table) = table(entry, problems) else {
        return;
    };
    let mut cluster = empty(entry.place().clone());
    read_table(CLUSTER, &mut cluster, table, problems);
    if cluster.host.is_empty() {
        cluster.host = "0.0.0.0".to_owned();
    }
    if cluster.pool_size.is_none() && !cluster.accounts.is_empty() {
        let message = "pool_size cannot be negative if pinned accounts are specified";
        problems.error(Diagnostic::new(entry.place(), message));
    }
    let mut seen = std::collections::HashSet::new();
    for account in cluster
        .accounts
        .iter()
        .filter(|account| !seen.insert(account.as_str()))
    {
        let message = format!("found duplicate account name {account:?} in pinned accounts");
        problems.error(Diagnostic::new(entry.place(), message));
    }
    options.cluster = Some(cluster);
}

fn empty(place: Place) -> Cluster {
    Cluster {
        name: None,
        host: String::new(),
        port: None,
        advertise: None,
        no_advertise: false,
        routes: Vec::new(),
        authorization: Authorization::default(),
        permissions: None,
        tls: None,
        pool_size: Some(DEFAULT_POOL_SIZE),
        lanes: false,
        accounts: Vec::new(),
        compression: Compression::Accept,
        connect_retries: 0,
        connect_backoff: false,
        ping_interval: None,
        ping_max: None,
        write_deadline: None,
        write_timeout: WriteTimeout::Default,
        place,
    }
}

fn store_name(cluster: &mut Cluster, entry: &Entry, problems: &mut Problems) {
    let Some(name) = optional_text(entry, problems) else {
        return;
    };
    if name.as_ref().is_some_and(|name| name.contains(' ')) {
        let diagnostic = Diagnostic::new(entry.place(), "cluster name cannot contain spaces");
        return problems.error(diagnostic.fix("use a dash or an underscore"));
    }
    cluster.name = name;
}

fn store_authorization(cluster: &mut Cluster, entry: &Entry, problems: &mut Problems) {
    let Some(block) = read_link_authorization(entry, "Cluster", problems) else {
        return;
    };
    if let Some(permissions) = &block.default_permissions {
        let message = "setting \"permissions\" within cluster authorization block is deprecated";
        let fix = "move them to the cluster block";
        problems.deprecated(Diagnostic::new(entry.place(), message).fix(fix));
        cluster
            .permissions
            .get_or_insert_with(|| permissions.clone());
    }
    cluster.authorization = block;
}

fn store_permissions(cluster: &mut Cluster, entry: &Entry, problems: &mut Problems) {
    let Some(read) = permissions(entry, problems) else {
        return;
    };
    if read.allow_responses.is_some() {
        let message = "cluster permissions do not support dynamic responses";
        return problems.error(Diagnostic::new(entry.place(), message));
    }
    let exports = read.subscribe.iter();
    let subjects = exports.flat_map(|export| export.allow.iter().flatten().chain(&export.deny));
    for subject in subjects.filter(|subject| subject.contains(char::is_whitespace)) {
        let message = format!("cluster export: subject {subject:?} is not a valid subject");
        problems.error(Diagnostic::new(entry.place(), message));
    }
    cluster.permissions = Some(read);
}

fn store_ping_interval(cluster: &mut Cluster, entry: &Entry, problems: &mut Problems) {
    let Some(read) = duration(entry, Duration::ZERO, problems) else {
        return;
    };
    if read > MAXIMUM_ROUTE_PING_INTERVAL {
        let most = format_duration(MAXIMUM_ROUTE_PING_INTERVAL);
        let message =
            format!("Cluster 'ping_interval' will reset to {most} which is the max for routes");
        problems.deprecated(Diagnostic::new(entry.place(), message));
    }
    cluster.ping_interval =
        Some(read.min(MAXIMUM_ROUTE_PING_INTERVAL)).filter(|read| !read.is_zero());
}

fn routes(entry: &Entry, problems: &mut Problems) -> Option<Vec<RouteUrl>> {
    let mut routes: Vec<RouteUrl> = Vec::new();
    let mut seen = std::collections::HashSet::new();
    for node in list(entry, problems)? {
        let Value::Text(text) = &node.value else {
            let message = format!("{:?} must hold URLs, not {}", entry.key, node.value.kind());
            problems.error(Diagnostic::new(&node.place, message));
            continue;
        };
        if !seen.insert(text.trim()) {
            problems.deprecated(Diagnostic::new(
                &node.place,
                "Duplicate route entry detected",
            ));
            continue;
        }
        match route_url(text.trim(), node) {
            Some(url) => routes.push(url),
            // The text may hold a password.
            None => problems.error(
                Diagnostic::new(&node.place, "error parsing route url")
                    .fix("write nats://host:port or nats://user:password@host:port"),
            ),
        }
    }
    Some(routes)
}

fn route_url(text: &str, node: &Node) -> Option<RouteUrl> {
    let (scheme, rest) = text.split_once("://")?;
    let authority = rest.split(['/', '?', '#']).next()?;
    let (login, address) = match authority.rsplit_once('@') {
        Some((login, address)) => (Some(login), address),
        None => (None, authority),
    };
    let (user, password) = match login.map(|login| login.split_once(':').unwrap_or((login, ""))) {
        Some((user, password)) => (Some(decode(user)?), Some(Secret::new(decode(password)?))),
        None => (None, None),
    };
    let (host, port) = split_port(address)?;
    if scheme.is_empty() || host.is_empty() || host.contains(char::is_whitespace) {
        return None;
    }
    let password = password.filter(|password| !password.is_empty());
    let (scheme, place) = (scheme.to_owned(), node.place.clone());
    Some(RouteUrl {
        scheme,
        user,
        password,
        host: host.to_owned(),
        port,
        place,
    })
}

/// A host, and a port if there is one.
fn split_port(address: &str) -> Option<(&str, Option<u16>)> {
    let (host, port) = match address.strip_prefix('[') {
        Some(rest) => rest.split_once(']')?,
        None => address.split_at(address.find(':').unwrap_or(address.len())),
    };
    match port.strip_prefix(':') {
        Some(port) => Some((host, Some(port.parse().ok()?))),
        None => port.is_empty().then_some((host, None)),
    }
}

/// Replaces `%HH`.
fn decode(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte == b'%' {
            let mut digit = || char::from(rest.next()?).to_digit(16);
            let (high, low) = (digit()?, digit()?);
            bytes.push(u8::try_from(high * 16 + low).ok()?);
        } else {
            bytes.push(byte);
        }
    }
    String::from_utf8(bytes).ok()
}

/// A mode while its block is read.
#[derive(Debug, Default)]
pub(crate) struct CompressionDraft {
    mode: Option<String>,
    thresholds: Vec<i64>,
}

/// The options of a block `compression`.
pub(crate) static COMPRESSION: &[Row<CompressionDraft>] = &[
    of_compression("mode", Kind::Text, "accept")
        .document("The mode, as without a block.")
        .store(|d, e, p| d.mode = text(e, p)),
    of_compression(
        "rtt_thresholds",
        Kind::Texts,
        "[ \"10ms\", \"50ms\", \"100ms\" ]",
    )
    .document("Round-trip times at which s2_auto compresses more; 0 leaves a step out.")
    .aliases(&["thresholds", "rtts", "rtt"])
    .store(store_thresholds),
];

const fn of_compression(
    key: &'static str,
    kind: Kind,
    default: &'static str,
) -> Row<CompressionDraft> {
    Row::new(key, kind, default)
}

fn store_thresholds(draft: &mut CompressionDraft, entry: &Entry, problems: &mut Problems) {
    for text in text_list(entry, problems).unwrap_or_default() {
        match parse_nanoseconds(&text) {
            Ok(nanoseconds) => draft.thresholds.push(nanoseconds.max(0)),
            Err(message) => problems.error(Diagnostic::new(entry.place(), message)),
        }
    }
}

fn compression(entry: &Entry, problems: &mut Problems) -> Option<Compression> {
    let mut draft = CompressionDraft::default();
    if let Value::Table(table) = &entry.node.value {
        read_table(COMPRESSION, &mut draft, table, problems);
    } else if let Value::Boolean(on) = entry.node.value {
        draft.mode = Some(if on { "s2_fast" } else { "off" }.to_owned());
    } else {
        draft.mode = text(entry, problems);
    }
    let mode = draft.mode.clone()?;
    match mode.to_lowercase().as_str() {
        "" | "accept" => Some(Compression::Accept),
        "not supported" | "not_supported" => Some(Compression::NotSupported),
        "disabled" | "off" | "false" => Some(Compression::Off),
        "on" | "enabled" | "true" | "fast" | "s2_fast" => Some(Compression::Fast),
        "better" | "s2_better" => Some(Compression::Better),
        "best" | "s2_best" => Some(Compression::Best),
        "auto" | "s2_auto" => thresholds(draft.thresholds, entry, problems).map(Compression::Auto),
        _ => {
            let message = format!("unsupported compression mode {mode:?}");
            problems.error(Diagnostic::new(entry.place(), message));
            None
        }
    }
}

/// Thresholds must ascend, save zeros, and there are at most four steps.
fn thresholds(written: Vec<i64>, entry: &Entry, problems: &mut Problems) -> Option<Vec<Duration>> {
    if written.is_empty() {
        return Some(DEFAULT_THRESHOLDS.to_vec());
    }
    let steps = written
        .iter()
        .rposition(|step| *step != 0)
        .map_or(0, |last| last + 1);
    let set: Vec<i64> = written.iter().copied().filter(|step| *step != 0).collect();
    let mistake = match steps {
        0 => Some("compression mode \"s2_auto\" requires at least one RTT threshold"),
        5.. => Some("compression mode \"s2_auto\" should have no more than 4 RTT thresholds"),
        _ if !set.is_sorted() => Some("RTT thresholds should be in ascending order"),
        _ => None,
    };
    if let Some(mistake) = mistake {
        problems.error(Diagnostic::new(entry.place(), mistake));
        return None;
    }
    let nanoseconds = written
        .into_iter()
        .take(steps)
        .map(|step| u64::try_from(step).unwrap_or(0));
    Some(nanoseconds.map(Duration::from_nanos).collect())
}

/// What there is to say about the options of the block.
pub(crate) fn about() -> Vec<&'static About> {
    abouts(CLUSTER)
}
