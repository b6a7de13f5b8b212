//! Every option of the table: whether a reload puts it in force, and how that shows.

use std::collections::BTreeSet;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use midge::config::options::table::list;

use super::client::{Client, eventually, info};
use super::midge::Process;

/// How it shows that an option is in force.
enum Shows {
    /// A key of `/varz` has this value.
    Varz(&'static str, &'static str),
    /// A key of INFO has this value.
    Info(&'static str, &'static str),
    /// A file of this name, in the server's folder, is there.
    File(&'static str),
    /// The log says so; what it does is tested where it is named.
    Log,
    /// The reload is refused with this reason.
    Refused(&'static str),
    /// Nothing is said, since nothing depends on it: it stands for others, or its own tests cover it.
    Elsewhere,
}

use Shows::{Elsewhere, File, Info, Log, Refused, Varz};

/// An option, what is written, what the log says, and how it shows besides.
type Case = (&'static str, &'static str, &'static str, Shows);

#[rustfmt::skip]
const CASES: &[Case] = &[
    ("host", "", "", Elsewhere), // reload_listeners
    ("port", "", "", Elsewhere),
    ("listen", "", "", Elsewhere),
    ("unix_socket", "unix_socket: DIR/a.sock", "unix_socket = DIR/a.sock", File("a.sock")),
    ("server_name", "server_name: x", "", Refused("ServerName: old=, new=x")),
    ("client_advertise", "client_advertise: \"a:5\"", "Reload: client_advertise = a:5", Info("host", "\"a\"")),
    ("server_tags", "server_tags: [b, c]", "tags", Varz("tags", "[\"b\",\"c\"]")),
    ("server_metadata", "server_metadata { k: v }", "metadata", Varz("metadata", "{\"k\":\"v\"}")),
    ("feature_flags", "feature_flags { js_ack_fc_v2: true }", "feature_flags = js_ack_fc_v2=true", Log),
    ("pid_file", "pid_file: DIR/a.pid", "pid_file = DIR/a.pid", File("a.pid")),
    ("ports_file_dir", "", "", Elsewhere), // a flag of these tests
    ("debug", "debug: true", "debug = true", Log),
    ("trace", "trace: true", "trace = true", Log),
    ("trace_verbose", "trace_verbose: true", "trace_verbose = true", Log),
    ("trace_headers", "trace_headers: true", "trace_headers = true", Log),
    ("max_traced_msg_len", "max_traced_msg_len: 7", "max_traced_msg_len = 7", Log),
    ("logtime", "logtime: false", "logtime = false", Log),
    ("logtime_utc", "logtime_utc: true", "logtime_utc = true", Log),
    ("log_format", "log_format: json", "log_format = json", Log),
    ("log_file", "", "", Elsewhere), // the_log_moves
    ("log_size_limit", "log_size_limit: 100000", "log_size_limit = 100000", Log),
    ("log_max_num", "log_max_num: 3", "log_max_num = 3", Log),
    ("syslog", "", "", Elsewhere), // no syslog to be found in every place
    ("remote_syslog", "", "", Elsewhere), // as log_file
    ("max_connections", "max_connections: 70", "max_connections = 70", Varz("max_connections", "70")),
    ("max_connections_per_ip", "max_connections_per_ip: 50", "max_connections_per_ip = 50", Log), // limits
    ("max_subscriptions", "max_subscriptions: 9", "max_subscriptions = 9", Varz("max_subscriptions", "9")),
    ("max_subscription_tokens", "max_subscription_tokens: 4", "max_subscription_tokens = 4", Log),
    ("max_control_line", "max_control_line: 2000", "max_control_line = 2000", Varz("max_control_line", "2000")),
    ("max_payload", "max_payload: 3000", "max_payload = 3000", Info("max_payload", "3000")),
    ("max_pending", "max_pending: 9000000", "max_pending = 9000000", Varz("max_pending", "9000000")),
    ("memory_budget", "memory_budget: 99MB", "memory_budget = 103809024", Log),
    ("lame_duck_on_term", "lame_duck_on_term: true", "lame_duck_on_term = true", Log),
    ("max_closed_clients", "max_closed_clients: 5", "max_closed_clients = 5", Log),
    ("ping_interval", "ping_interval: 70s", "ping_interval = 1m10s", Varz("ping_interval", "70000000000")),
    ("ping_max", "ping_max: 6", "ping_max = 6", Varz("ping_max", "6")),
    ("write_deadline", "write_deadline: 4s", "write_deadline = 4s", Varz("write_deadline", "4000000000")),
    ("write_timeout", "write_timeout: close", "write_timeout = close", Log),
    ("no_fast_producer_stall", "no_fast_producer_stall: true", "fast producers will not be stalled", Log),
    ("no_header_support", "no_header_support: true", "no_header_support = true", Info("headers", "false")),
    ("lame_duck_duration", "lame_duck_duration: 50s", "lame_duck_duration = 50s", Log),
    ("lame_duck_grace_period", "lame_duck_grace_period: 5s", "lame_duck_grace_period = 5s", Log),
    ("authorization", "authorization { token: t }", "authorization token", Info("auth_required", "true")),
    ("no_auth_user", "no_auth_user: a\nauthorization { users: [{user: a, password: a}] }", "no_auth_user = a", Log),
    ("accounts", "accounts { A { users: [{user: a, password: a}] } }", "accounts", Info("auth_required", "true")),
    ("system_account", "accounts { S {} }\nsystem_account: S", "", Refused("SystemAccount: old=$SYS, new=S")),
    ("no_system_account", "no_system_account: true", "", Refused("NoSystemAccount: old=false, new=true")),
    ("top_subjects", "top_subjects: 5", "top_subjects = 5", Log),
    ("mappings", "mappings { a: b }", "mappings = added a", Log),
    ("tls", "", "", Elsewhere), // tests/tls/reload
    ("allow_non_tls", "allow_non_tls: true", "allow_non_tls = true", Log),
    ("http", "", "", Elsewhere), // reload_listeners
    ("http_port", "", "", Elsewhere),
    ("https", "", "", Elsewhere),
    ("https_port", "", "", Elsewhere),
    ("http_base_path", "http_base_path: /x", "http_base_path = /x", Log),
    ("http_user", "http_user: u\nhttp_password: p", "http_user = u", Log),
    ("http_password", "http_user: u\nhttp_password: p", "http_password", Log),
    ("http_token", "http_token: t", "http_token", Log),
    ("cluster", "cluster { port: -1 }", "", Refused("cluster host: old=, new=0.0.0.0")), // tests/cluster/features
    ("connect_error_reports", "connect_error_reports: 3", "connect_error_reports = 3", Log),
    ("reconnect_error_reports", "reconnect_error_reports: 3", "reconnect_error_reports = 3", Log),
    ("store_dir", "store_dir: DIR", "store_dir = DIR", Log),
    ("disable_sublist_cache", "disable_sublist_cache: true", "disable_sublist_cache = true", Log),
];

fn varz(server: &Process) -> serde_json::Value {
    page(server, "varz")
}

/// A page of monitoring.
pub(crate) fn page(server: &Process, name: &str) -> serde_json::Value {
    let mut stream = TcpStream::connect(server.serves("monitoring").unwrap()).unwrap();
    stream
        .write_all(
            format!("GET /{name} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").as_bytes(),
        )
        .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    serde_json::from_str(answer.split("\r\n\r\n").nth(1).unwrap()).unwrap()
}

#[test]
fn every_option_is_put_in_force_or_refused() {
    let base = "http: \"127.0.0.1:-1\"\n";
    let server = Process::start(base);
    let folder = server.directory().display().to_string();
    for (option, written, logged, shows) in CASES {
        if matches!(shows, Elsewhere) {
            continue;
        }
        let written = written.replace("DIR", &folder);
        let lines = server.reload(&format!("{base}{written}"));
        let all = lines.join("\n");
        if let Refused(reason) = shows {
            let refusal = format!("config reload not supported for {reason}");
            assert!(all.contains(&refusal), "{option}: {all}");
            continue;
        }
        let logged = logged.replace("DIR", &folder);
        let notice = match logged.strip_prefix("Reload: ") {
            Some(_) => logged,
            None => format!("Reloaded: {logged}"),
        };
        assert!(all.contains(&notice), "{option}: {all}");
        match shows {
            Varz(key, value) => assert_eq!(varz(&server)[key].to_string(), *value, "{option}"),
            Info(key, value) => {
                let told = info(&Client::connect(server.address).greeting);
                assert_eq!(told[key].to_string(), *value, "{option}");
            }
            File(name) => assert!(server.directory().join(name).exists(), "{option}"),
            Log | Refused(_) | Elsewhere => {}
        }
        server.reloaded(base);
    }
}

#[test]
fn the_log_moves() {
    let server = Process::start("debug: true");
    let file = server.directory().join("midge.log");
    server.configure(&format!("debug: true\nlog_file: {file:?}"));
    server.signal(rustix::process::Signal::HUP);
    let done = "Reloaded server configuration";
    let text = || std::fs::read_to_string(&file).unwrap_or_default();
    eventually("the new log", || text().contains(done));
    let notice = format!("Reloaded: log_file = {}", file.display());
    assert!(server.log().iter().any(|line| line.contains(&notice)));
    server.reloaded("debug: true");
    let back = text().matches("Trapped").count();
    assert_eq!(back, 1, "the next reload begins in the old log");
}

#[test]
fn no_option_is_forgotten() {
    let options = list()
        .into_iter()
        .filter(|option| option.path.len() == 1 && option.missing.is_none());
    let known: BTreeSet<&str> = options.map(|option| option.about.key).collect();
    let tested: BTreeSet<&str> = CASES.iter().map(|(option, ..)| *option).collect();
    assert_eq!(tested, known);
    for (option, _, _, shows) in CASES {
        let found = list()
            .into_iter()
            .find(|found| found.path == [*option])
            .unwrap();
        let live = !matches!(shows, Refused(_));
        // Joining a cluster needs a restart; what changes within one does not.
        assert!(found.live() == live || *option == "cluster", "{option}");
    }
}
