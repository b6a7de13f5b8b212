//! The option table: the top level of a configuration, row by row.

use super::authorization::store_authorization;
use super::mappings::mappings;
use super::read::{
    address, boolean, choice, duration, feature_port, integer, names, optional_limit,
    optional_path, optional_secret, optional_text, port, positive, set, strict_duration, text,
    texts,
};
use super::row::{About, Kind, Reload, Row, Section, Support, abouts};
use super::top_subjects;
use super::unix_socket::{UnixSocket, path_in_url};
use super::{DEFAULT_PORT, LogFormat, MINIMUM_LAME_DUCK_DURATION, Options, WriteTimeout};
use crate::config::diagnostic::{Diagnostic, Problems};
use crate::config::units::format_duration;
use crate::config::value::{Entry, Value};

/// The largest number of the options that nats-server keeps in 32 bits.
const I32: i64 = i32::MAX as i64;
/// The largest number of the options that are kept in 32 bits here.
const U32: i64 = u32::MAX as i64;
const NO_JETSTREAM: &str =
    "storing messages (JetStream) is not built yet; start without it, or use nats-server";
const NO_OPERATORS: &str = "accounts signed by an operator (JWT) are not built yet";
const NO_PROFILES: &str = "profiles are taken with perf, not over HTTP";
const NO_PROXIES: &str = "trusted proxies are not built yet";
const NO_STAPLING: &str = "what authorities say about certificates is not looked up (OCSP)";
const ONLY_NATS: &str = "clients speak the NATS protocol over TCP only in this version";
const NO_OTHER_SERVERS: &str = "servers connect to each other as one cluster only in this version";
const REPORTS: &str = "the same failure is logged once a minute, with how often it came";

/// Every option of the top level.
pub(crate) static OPTIONS: &[Row<Options>] = &[
    // Server
    option("host", Kind::Text, "0.0.0.0")
        .document("Address or host name to listen on for clients.")
        .aliases(&["net"])
        .flags(&["a", "net", "addr"], "<host>")
        .section(Section::Server)
        .live()
        .store(|o, e, p| set(&mut o.host, text(e, p).map(host_or_any))),
    option("port", Kind::Integer, "4222")
        .document("Port to listen on for clients; -1 lets the system choose.")
        .flags(&["p", "port"], "<port>")
        .section(Section::Server)
        .live()
        .store(|o, e, p| {
            set(&mut o.port, port(e, DEFAULT_PORT, p));
            o.listens_on_tcp = true;
        }),
    option("listen", Kind::Address, "")
        .document("Host and port in one, in place of both; or unix:/path, in place of any port.")
        .example("0.0.0.0:4222")
        .section(Section::Server)
        .live()
        .store(store_listen),
    option("unix_socket", Kind::Mixed, "")
        .document("Unix socket to listen on besides: its path, or a block.")
        .children(super::unix_socket::about)
        .section(Section::Server)
        .live()
        .store(|o, e, p| {
            if let Some(socket) = super::unix_socket::unix_socket(e, p) {
                o.unix_socket = Some(socket);
            }
        }),
    option("server_name", Kind::Text, "")
        .document("Name of the server, without blanks; the default is its generated id.")
        .flags(&["n", "name", "server_name"], "<name>")
        .example("server-1")
        .section(Section::Server)
        .store(store_server_name),
    option("client_advertise", Kind::Text, "")
        .document("Address that other servers tell clients in place of the one listened on.")
        .flags(&["client_advertise"], "<host:port>")
        .example("nats.example.com:4222")
        .section(Section::Server)
        .live()
        .store(|o, e, p| set(&mut o.client_advertise, optional_text(e, p))),
    option("server_tags", Kind::Texts, "[]")
        .document("Words that describe the server in monitoring.")
        .section(Section::Server)
        .live()
        .store(|o, e, p| set(&mut o.server_tags, texts(e, p).map(tags))),
    option("server_metadata", Kind::Names, "{}")
        .document("Names and texts that describe the server in monitoring.")
        .section(Section::Server)
        .live()
        .store(|o, e, p| set(&mut o.server_metadata, names(e, p, text))),
    option("feature_flags", Kind::Names, "{}")
        .document("Features to opt in to (true) or out of (false).")
        .section(Section::Server)
        .live()
        .store(|o, e, p| set(&mut o.feature_flags, names(e, p, boolean))),
    option("pid_file", Kind::Path, "")
        .document("File to write the process id to.")
        .aliases(&["pidfile"])
        .flags(&["P", "pid"], "<file>")
        .example("/run/midge/midge.pid")
        .section(Section::Server)
        .live()
        .store(|o, e, p| set(&mut o.pid_file, optional_path(e, p))),
    option("ports_file_dir", Kind::Path, "")
        .document("Folder to write <executable>_<pid>.ports to, which lists the ports listened on.")
        .flags(&["ports_file_dir"], "<folder>")
        .example("/run/midge")
        .section(Section::Server)
        .live()
        .store(|o, e, p| set(&mut o.ports_file_dir, optional_path(e, p))),
    // Logging
    option("debug", Kind::Boolean, "false")
        .document("Log what helps to find mistakes.")
        .flags(&["D", "debug"], "")
        .section(Section::Logging)
        .live()
        .store(|o, e, p| set(&mut o.log.debug, boolean(e, p))),
    option("trace", Kind::Boolean, "false")
        .document("Log the protocol of every client.")
        .flags(&["V", "trace"], "")
        .section(Section::Logging)
        .live()
        .store(|o, e, p| set(&mut o.log.trace, boolean(e, p))),
    option("trace_verbose", Kind::Boolean, "false")
        .document("Trace the system account as well; implies trace.")
        .section(Section::Logging)
        .live()
        .store(|o, e, p| {
            if let Some(on) = boolean(e, p) {
                o.log.trace_verbose = on;
                o.log.trace = on;
            }
        }),
    option("trace_headers", Kind::Boolean, "false")
        .document("Trace the headers of messages without their payload; implies trace.")
        .section(Section::Logging)
        .live()
        .store(|o, e, p| {
            if let Some(on) = boolean(e, p) {
                o.log.trace_headers = on;
                o.log.trace = on;
            }
        }),
    option("max_traced_msg_len", Kind::Size, "0")
        .document("Bytes of a message that a trace line shows; 0 shows all.")
        .flags(&["max_traced_msg_len"], "<bytes>")
        .section(Section::Logging)
        .live()
        .store(|o, e, p| {
            set(
                &mut o.log.max_traced_message_bytes,
                optional_limit(e, I32, p),
            );
        }),
    option("logtime", Kind::Boolean, "true")
        .document("Start each log line with date and time.")
        .flags(&["T", "logtime"], "")
        .section(Section::Logging)
        .live()
        .store(|o, e, p| set(&mut o.log.logtime, boolean(e, p))),
    option("logtime_utc", Kind::Boolean, "false")
        .document("Write date and time in UTC in place of the local time zone.")
        .flags(&["logtime_utc"], "")
        .section(Section::Logging)
        .live()
        .store(|o, e, p| set(&mut o.log.logtime_utc, boolean(e, p))),
    option("log_format", Kind::Choice(&["text", "json"]), "text")
        .document("Form of log lines: as nats-server writes them, or one JSON object each.")
        .flags(&["log_format"], "<form>")
        .section(Section::Logging)
        .live()
        .store(|o, e, p| {
            set(
                &mut o.log.format,
                choice(
                    e,
                    &[("text", LogFormat::Text), ("json", LogFormat::Json)],
                    p,
                ),
            );
        }),
    option("log_file", Kind::Path, "")
        .document("File to log to in place of standard error.")
        .aliases(&["logfile"])
        .flags(&["l", "log"], "<file>")
        .example("/var/log/midge.log")
        .section(Section::Logging)
        .live()
        .store(|o, e, p| set(&mut o.log.file, optional_path(e, p))),
    option("log_size_limit", Kind::Size, "0")
        .document("Bytes after which the log file is renamed and a new one started; 0 never does.")
        .aliases(&["logfile_size_limit"])
        .flags(&["log_size_limit"], "<bytes>")
        .section(Section::Logging)
        .live()
        .store(|o, e, p| set(&mut o.log.size_limit, unlimited_unless_positive(e, p))),
    option("log_max_num", Kind::Integer, "0")
        .document("Renamed log files to keep; 0 keeps all.")
        .aliases(&["logfile_max_num"])
        .section(Section::Logging)
        .live()
        .store(|o, e, p| set(&mut o.log.max_files, unlimited_unless_positive(e, p))),
    option("syslog", Kind::Boolean, "false")
        .document("Log to the system's syslog.")
        .flags(&["s", "syslog"], "")
        .section(Section::Logging)
        .live()
        .store(|o, e, p| set(&mut o.log.syslog, boolean(e, p))),
    option("remote_syslog", Kind::Text, "")
        .document("Log to the syslog server at this URL.")
        .flags(&["r", "remote_syslog"], "<url>")
        .example("udp://localhost:514")
        .section(Section::Logging)
        .live()
        .store(|o, e, p| set(&mut o.log.remote_syslog, optional_text(e, p))),
    // Limits
    option("max_connections", Kind::Integer, "65536")
        .document("Connections at a time; 0 refuses every client.")
        .aliases(&["max_conn"])
        .section(Section::Limits)
        .live()
        .store(|o, e, p| {
            // Negative numbers refuse every client in nats-server as well.
            let limit = integer(e, i64::MIN, i64::MAX, p);
            set(
                &mut o.max_connections,
                limit.map(|limit| u64::try_from(limit).unwrap_or(0)),
            );
        }),
    option("max_connections_per_ip", Kind::Integer, "0")
        .document(
            "Connections at a time from one address, or from one IPv6 network of 64 bits; 0 is \
             without a limit.",
        )
        .section(Section::Limits)
        .live()
        .store(|o, e, p| set(&mut o.max_connections_per_ip, optional_limit(e, I32, p))),
    option("max_subscriptions", Kind::Integer, "0")
        .document("Subscriptions of one connection; 0 is without a limit.")
        .aliases(&["max_subs"])
        .section(Section::Limits)
        .live()
        .store(|o, e, p| set(&mut o.max_subscriptions, optional_limit(e, I32, p))),
    option("max_subscription_tokens", Kind::Integer, "")
        .document(
            "Tokens of a subscription's subject, from 1 to 255; the default is without a \
             limit.",
        )
        .aliases(&["max_sub_tokens"])
        .example("16")
        .section(Section::Limits)
        .live()
        .store(|o, e, p| {
            if let Some(limit) = integer(e, 1, i64::from(u8::MAX), p) {
                o.max_subscription_tokens = u8::try_from(limit).ok();
            }
        }),
    option("max_control_line", Kind::Size, "4096")
        .document("Bytes of a protocol line without its payload.")
        .section(Section::Limits)
        .live()
        .store(|o, e, p| set(&mut o.max_control_line, positive(e, I32, 4_096, p))),
    option("max_payload", Kind::Size, "1048576")
        .document(
            "Bytes of a message with its headers, at most max_pending; -1 is without a \
             limit, and above 8MB is discouraged.",
        )
        .section(Section::Limits)
        .live()
        .store(|o, e, p| match integer(e, -1, I32, p) {
            Some(-1) => o.max_payload = None,
            Some(0) => o.max_payload = Some(1_048_576),
            Some(limit) => o.max_payload = u32::try_from(limit).ok(),
            None => {}
        }),
    option("max_pending", Kind::Size, "67108864")
        .document("Bytes that may wait for one connection before it is closed as a slow consumer.")
        .section(Section::Limits)
        .live()
        .store(|o, e, p| set(&mut o.max_pending, positive(e, i64::MAX, 67_108_864, p))),
    option("memory_budget", Kind::Size, "")
        .document(
            "Bytes that may wait for all connections together; 0 is without a limit, the default \
             a quarter of the container's.",
        )
        .example("256MB")
        .section(Section::Limits)
        .live()
        .store(|o, e, p| {
            let bytes = integer(e, 0, i64::MAX, p);
            set(
                &mut o.memory_budget,
                bytes.map(|bytes| u64::try_from(bytes).ok()),
            );
        }),
    option("max_closed_clients", Kind::Integer, "10000")
        .document("Closed connections remembered for monitoring.")
        .section(Section::Limits)
        .live()
        .store(|o, e, p| set(&mut o.max_closed_clients, positive(e, U32, 10_000, p))),
    option("ping_interval", Kind::Duration, "\"2m\"")
        .document("Time between pings to an idle client.")
        .section(Section::Limits)
        .live()
        .store(|o, e, p| {
            set(
                &mut o.ping_interval,
                duration(e, Options::default().ping_interval, p),
            );
        }),
    option("ping_max", Kind::Integer, "2")
        .document("Pings without an answer after which a connection is closed as stale.")
        .section(Section::Limits)
        .live()
        .store(|o, e, p| set(&mut o.ping_max, positive(e, U32, 2, p))),
    option("write_deadline", Kind::Duration, "\"10s\"")
        .document("Time a write to a connection may take.")
        .section(Section::Limits)
        .live()
        .store(|o, e, p| {
            set(
                &mut o.write_deadline,
                duration(e, Options::default().write_deadline, p),
            );
        }),
    option(
        "write_timeout",
        Kind::Choice(&["default", "close", "retry"]),
        "default",
    )
    .document(
        "What follows when a write takes longer: close, or retry; by default clients are closed.",
    )
    .section(Section::Limits)
    .live()
    .store(|o, e, p| {
        let words = [
            ("default", WriteTimeout::Default),
            ("close", WriteTimeout::Close),
            ("retry", WriteTimeout::Retry),
        ];
        set(&mut o.write_timeout, choice(e, &words, p));
    }),
    option("no_fast_producer_stall", Kind::Boolean, "false")
        .document("Never hold up publishers for a subscriber that falls behind.")
        .section(Section::Limits)
        .live()
        .store(|o, e, p| set(&mut o.no_fast_producer_stall, boolean(e, p))),
    option("no_header_support", Kind::Boolean, "false")
        .document("Refuse messages with headers.")
        .section(Section::Limits)
        .live()
        .store(|o, e, p| set(&mut o.no_header_support, boolean(e, p))),
    option("lame_duck_duration", Kind::Duration, "\"2m\"")
        .document("Time over which clients are closed in lame duck mode, at least 30s.")
        .section(Section::Limits)
        .live()
        .store(store_lame_duck_duration),
    option("lame_duck_grace_period", Kind::Duration, "\"10s\"")
        .document(
            "Time in lame duck mode before the first client is closed, less than \
             lame_duck_duration.",
        )
        .section(Section::Limits)
        .live()
        .store(|o, e, p| {
            let default = Options::default().lame_duck_grace_period;
            let read = strict_duration(e, p);
            set(
                &mut o.lame_duck_grace_period,
                read.map(|read| if read.is_zero() { default } else { read }),
            );
        }),
    option("lame_duck_on_term", Kind::Boolean, "false")
        .document("Enter lame duck mode on SIGTERM in place of a prompt shutdown.")
        .section(Section::Limits)
        .live()
        .store(|o, e, p| set(&mut o.lame_duck_on_term, boolean(e, p))),
    // Authorization
    option("authorization", Kind::Block, "")
        .document("Who may connect: one user, a token, or a list of users.")
        .children(super::authorization::about)
        .section(Section::Authorization)
        .live()
        .store(store_authorization),
    option("no_auth_user", Kind::Text, "")
        .document("User that clients without credentials become.")
        .example("guest")
        .section(Section::Authorization)
        .live()
        .store(|o, e, p| set(&mut o.no_auth_user, optional_text(e, p))),
    option("accounts", Kind::Mixed, "")
        .document("Accounts, each a subject space with its own users, exports and imports.")
        .example(r#"{ APP: { users: [ { user: app, password: change-me } ] } }"#)
        .children(super::accounts::about)
        .section(Section::Authorization)
        .live()
        .store(super::accounts::store_accounts),
    option("system_account", Kind::Text, "\"$SYS\"")
        .document("Account for the server's own subjects.")
        .aliases(&["system"])
        .section(Section::Authorization)
        .store(|o, e, p| set(&mut o.system_account, optional_text(e, p))),
    option("no_system_account", Kind::Boolean, "false")
        .document("Have no system account.")
        .aliases(&["no_system", "no_sys_acc"])
        .section(Section::Authorization)
        .store(|o, e, p| set(&mut o.no_system_account, boolean(e, p))),
    option("mappings", Kind::Names, "{}")
        .document("Subjects that are mapped to others in the account $G.")
        .aliases(&["maps"])
        .children(super::mappings::about)
        .section(Section::Authorization)
        .live()
        .store(|o, e, p| set(&mut o.mappings, mappings(e, p))),
    // TLS
    option("tls", Kind::Block, "")
        .document("TLS for clients.")
        .children(super::tls::about)
        .section(Section::Tls)
        .live()
        .store(|o, e, p| {
            o.tls = super::tls::tls(e, super::tls::Listener::Clients, p);
        }),
    option("allow_non_tls", Kind::Boolean, "false")
        .document("Take clients without TLS as well, when TLS is configured.")
        .section(Section::Tls)
        .live()
        .store(|o, e, p| set(&mut o.allow_non_tls, boolean(e, p))),
    // Monitoring
    option("http", Kind::Address, "")
        .document("Address to serve monitoring on over HTTP.")
        .example("127.0.0.1:8222")
        .section(Section::Monitoring)
        .live()
        .store(|o, e, p| {
            if let Some(address) = address(e, p) {
                o.monitoring.http_port = monitoring_port(address.port);
                o.monitoring.host = Some(address.host).filter(|host| !host.is_empty());
            }
        }),
    option("http_port", Kind::Integer, "0")
        .document(
            "Port to serve monitoring on over HTTP; 0 serves none, -1 lets the system choose.",
        )
        .aliases(&["monitor_port"])
        .flags(&["m", "http_port"], "<port>")
        .section(Section::Monitoring)
        .live()
        .store(|o, e, p| set(&mut o.monitoring.http_port, feature_port(e, p))),
    option("https", Kind::Address, "")
        .document("Address to serve monitoring on over HTTPS, with the certificates of tls.")
        .example("127.0.0.1:8223")
        .section(Section::Monitoring)
        .live()
        .store(|o, e, p| {
            if let Some(address) = address(e, p) {
                o.monitoring.https_port = monitoring_port(address.port);
                o.monitoring.host = Some(address.host).filter(|host| !host.is_empty());
            }
        }),
    option("https_port", Kind::Integer, "0")
        .document(
            "Port to serve monitoring on over HTTPS; 0 serves none, -1 lets the system \
             choose.",
        )
        .flags(&["ms", "https_port"], "<port>")
        .section(Section::Monitoring)
        .live()
        .store(|o, e, p| set(&mut o.monitoring.https_port, feature_port(e, p))),
    option("http_base_path", Kind::Text, "")
        .document("Path before those of all monitoring pages.")
        .example("/nats")
        .section(Section::Monitoring)
        .live()
        .store(|o, e, p| set(&mut o.monitoring.base_path, optional_text(e, p))),
    option("top_subjects", Kind::Integer, "0")
        .document(top_subjects::DOCUMENT)
        .section(Section::Monitoring)
        .live()
        .store(|o, e, p| set(&mut o.top_subjects, top_subjects::top_subjects(e, p))),
    option("http_user", Kind::Text, "")
        .document("User who may see monitoring; without http_user and http_token everybody may.")
        .example("operator")
        .section(Section::Monitoring)
        .live()
        .store(|o, e, p| set(&mut o.monitoring.user, optional_text(e, p))),
    option("http_password", Kind::Secret, "")
        .document("Password of http_user.")
        .example("change-me")
        .section(Section::Monitoring)
        .live()
        .store(|o, e, p| set(&mut o.monitoring.password, optional_secret(e, p))),
    option("http_token", Kind::Secret, "")
        .document("Token that may be presented in place of http_user and http_password.")
        .example("change-me")
        .section(Section::Monitoring)
        .live()
        .store(|o, e, p| set(&mut o.monitoring.token, optional_secret(e, p))),
    // Cluster
    option("cluster", Kind::Block, "")
        .document("Links to the other servers of a cluster.")
        .children(super::cluster::about)
        .section(Section::Cluster)
        .store(super::cluster::store_cluster),
    option("connect_error_reports", Kind::Integer, "3600")
        .document("Report each n-th failed first attempt to connect to another server.")
        .section(Section::Cluster)
        .without_effect(REPORTS)
        .live()
        .store(|o, e, p| set(&mut o.connect_error_reports, positive(e, U32, 3_600, p))),
    option("reconnect_error_reports", Kind::Integer, "1")
        .document("Report each n-th failed attempt to connect again to another server.")
        .section(Section::Cluster)
        .without_effect(REPORTS)
        .live()
        .store(|o, e, p| set(&mut o.reconnect_error_reports, positive(e, U32, 1, p))),
    // JetStream
    option("jetstream", Kind::Mixed, "false")
        .document("Store messages: true, or a block with limits.")
        .flags(&["js", "jetstream"], "")
        .section(Section::JetStream)
        .missing(NO_JETSTREAM),
    option("store_dir", Kind::Path, "")
        .document("Folder for stored messages.")
        .aliases(&["storedir"])
        .flags(&["sd", "store_dir"], "<folder>")
        .example("/var/lib/midge")
        .section(Section::JetStream)
        .without_effect("tools pass it on every start; this version stores no messages")
        .live()
        .store(|o, e, p| set(&mut o.store_dir, optional_path(e, p))),
    absent(
        "default_js_domain",
        "Domain of stored messages for each account.",
    )
    .example("{ APP: hub }")
    .section(Section::JetStream)
    .missing(NO_JETSTREAM),
    // Other
    option("disable_sublist_cache", Kind::Boolean, "false")
        .document("Do without nats-server's cache of matching subscriptions.")
        .aliases(&["no_sublist_cache"])
        .without_effect("Midge has no such cache; matching is fast without it")
        .live()
        .store(|o, e, p| set(&mut o.disable_sublist_cache, boolean(e, p))),
    absent("gateway", "Links between clusters.")
        .example("{ name: A, port: 7222 }")
        .missing(NO_OTHER_SERVERS),
    absent("leafnodes", "Links to and from leaf nodes.")
        .example("{ port: 7422 }")
        .aliases(&["leaf"])
        .missing(NO_OTHER_SERVERS),
    absent("websocket", "Clients over WebSocket.")
        .example("{ port: 443 }")
        .aliases(&["ws"])
        .missing(ONLY_NATS),
    absent("mqtt", "MQTT clients.")
        .example("{ port: 1883 }")
        .missing(ONLY_NATS),
    absent(
        "operator",
        "Operators that sign accounts, as tokens or files of tokens.",
    )
    .example("/etc/midge/operator.jwt")
    .aliases(&[
        "operators",
        "root",
        "roots",
        "root_operator",
        "root_operators",
    ])
    .missing(NO_OPERATORS),
    absent("resolver", "Where signed accounts are looked up.")
        .example("MEMORY")
        .aliases(&["account_resolver", "accounts_resolver"])
        .missing(NO_OPERATORS),
    absent("resolver_tls", "TLS for looking up signed accounts.")
        .example("{ ca_file: ca.pem }")
        .missing(NO_OPERATORS),
    absent(
        "resolver_preload",
        "Signed accounts that are known from the start.",
    )
    .example("{}")
    .missing(NO_OPERATORS),
    absent(
        "resolver_pinned_accounts",
        "The only signed accounts to take.",
    )
    .example("[]")
    .missing(NO_OPERATORS),
    absent("trusted_keys", "Public nkeys of operators to trust.")
        .example("[]")
        .aliases(&["trusted"])
        .missing(NO_OPERATORS),
    absent("default_sentinel", "Token for clients that bring none.")
        .example("\"\"")
        .missing(NO_OPERATORS),
    absent("ocsp", "Show clients that the certificate is not revoked.")
        .example("false")
        .missing(NO_STAPLING),
    absent(
        "ocsp_cache",
        "Keep what authorities said about certificates.",
    )
    .example("false")
    .missing(NO_STAPLING),
    absent(
        "proxy_protocol",
        "Take the client address from a PROXY protocol header.",
    )
    .example("false")
    .missing(NO_PROXIES),
    absent("proxies", "Public nkeys of trusted proxies.")
        .example("{ trusted: [] }")
        .missing(NO_PROXIES),
    absent("prof_port", "Port to serve profiles on.")
        .example("0")
        .flags(&["profile"], "<port>")
        .missing(NO_PROFILES),
    absent("prof_block_rate", "How often waiting is sampled.")
        .example("0")
        .missing(NO_PROFILES),
];

const fn option(key: &'static str, kind: Kind, default: &'static str) -> Row<Options> {
    Row::new(key, kind, default)
}

/// An option of nats-server that this version knows only by name.
const fn absent(key: &'static str, document: &'static str) -> Row<Options> {
    option(key, Kind::Mixed, "").document(document)
}

/// An empty host listens on every address, like none.
fn host_or_any(host: String) -> String {
    if host.is_empty() {
        Options::default().host
    } else {
        host
    }
}

/// Tags are kept once each, in lower case and without blanks around them.
fn tags(written: Vec<String>) -> Vec<String> {
    let mut tags: Vec<String> = Vec::new();
    for tag in written.iter().map(|tag| tag.trim().to_lowercase()) {
        if !tag.is_empty() && !tags.contains(&tag) {
            tags.push(tag);
        }
    }
    tags
}

fn unlimited_unless_positive(entry: &Entry, problems: &mut Problems) -> Option<Option<u64>> {
    let number = integer(entry, i64::MIN, i64::MAX, problems)?;
    Some(u64::try_from(number).ok().filter(|limit| *limit > 0))
}

fn monitoring_port(written: i64) -> Option<u16> {
    match written {
        0 => None,
        -1 => Some(0),
        port => u16::try_from(port).ok(),
    }
}

fn store_listen(options: &mut Options, entry: &Entry, problems: &mut Problems) {
    if let Value::Text(text) = &entry.node.value
        && let Some(path) = path_in_url(text)
    {
        options.unix_socket = Some(UnixSocket::at(path));
        options.listens_on_tcp = false;
    } else if let Some(address) = address(entry, problems) {
        options.port = address.listen_port(DEFAULT_PORT);
        options.host = host_or_any(address.host);
        options.listens_on_tcp = true;
    }
}

fn store_server_name(options: &mut Options, entry: &Entry, problems: &mut Problems) {
    let Some(name) = optional_text(entry, problems) else {
        return;
    };
    if name.as_ref().is_some_and(|name| name.contains(' ')) {
        let diagnostic = Diagnostic::new(entry.place(), "server name cannot contain spaces");
        return problems.error(diagnostic.fix("use a dash or an underscore"));
    }
    options.server_name = name;
}

fn store_lame_duck_duration(options: &mut Options, entry: &Entry, problems: &mut Problems) {
    let Some(read) = strict_duration(entry, problems) else {
        return;
    };
    if read < MINIMUM_LAME_DUCK_DURATION {
        let written = format_duration(read);
        let message = format!("invalid lame_duck_duration of {written}, minimum is 30 seconds");
        return problems.error(Diagnostic::new(entry.place(), message));
    }
    options.lame_duck_duration = read;
}

/// An option with its place in the tree of blocks.
#[derive(Clone, Debug)]
pub struct Listed {
    /// Keys from the top level to the option.
    pub path: Vec<&'static str>,
    /// What there is to say about it.
    pub about: &'static About,
    /// The reason why it is refused, its own or that of a block around it.
    pub missing: Option<&'static str>,
    /// Whether it stands in the elements of a list, or under a name that the user chooses, so that
    /// no environment variable can mean it.
    pub in_list: bool,
    /// Whether a reload changes it, or the block around it.
    live: bool,
}

impl Listed {
    /// Keys joined by points, as `-C` takes them.
    pub fn dotted(&self) -> String {
        self.path.join(".")
    }

    /// The environment variable for the option, unless it stands in a list.
    pub fn environment_variable(&self) -> Option<String> {
        (!self.in_list).then(|| format!("MIDGE_{}", self.path.join("_").to_uppercase()))
    }

    /// Its flags without dashes. Blocks that stand in other blocks as well have flags only for
    /// where they belong: `--user` is no user of the cluster.
    pub fn flags(&self) -> &'static [&'static str] {
        if self.path.len() <= 2 {
            self.about.flags
        } else {
            &[]
        }
    }

    /// Whether a change takes effect on reload.
    pub fn live(&self) -> bool {
        self.live
    }

    /// Why the option changes nothing, if so.
    pub fn without_effect(&self) -> Option<&'static str> {
        match self.about.support {
            Support::WithoutEffect(reason) => Some(reason),
            Support::Supported | Support::Missing(_) => None,
        }
    }
}

/// Every option, blocks before their contents, in the order of the table.
pub fn list() -> Vec<Listed> {
    let mut listed = Vec::new();
    for about in abouts(OPTIONS) {
        append(&mut listed, &[], about, None, (false, false));
    }
    listed
}

fn append(
    listed: &mut Vec<Listed>,
    path: &[&'static str],
    about: &'static About,
    missing: Option<&'static str>,
    (in_list, block_is_live): (bool, bool),
) {
    let path = [path, &[about.key]].concat();
    let own = match about.support {
        Support::Missing(reason) => Some(reason),
        Support::Supported | Support::WithoutEffect(_) => None,
    };
    let missing = missing.or(own);
    let children = (about.children)();
    // Elements of lists have no names, and the names of accounts and mappings are the user's.
    let unnamed = matches!(about.kind, Kind::Blocks | Kind::Names) || about.key == "accounts";
    let children_in_list = in_list || unnamed;
    let live = block_is_live || about.reload == Reload::Live;
    listed.push(Listed {
        path: path.clone(),
        about,
        missing,
        in_list,
        live,
    });
    for child in children {
        append(listed, &path, child, missing, (children_in_list, live));
    }
}
