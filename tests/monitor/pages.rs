//! What monitoring of Midge has besides: metrics, probes, credentials, and limits against abuse.

use std::collections::HashMap;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use rustix::process::Signal;

use crate::http::{ask, get, get_with};
use crate::servers::{Client, Server, eventually, midge};

const PATHS: [&str; 18] = [
    "/",
    "/varz",
    "/connz?auth=1&subs=detail&state=any",
    "/subsz?subs=1",
    "/routez?subs=1",
    "/accountz",
    "/accountz?acc=A",
    "/accstatz?unused=1",
    "/gatewayz",
    "/leafz",
    "/jsz",
    "/healthz?details=1",
    "/metrics",
    "/livez",
    "/readyz",
    "/startupz",
    "/ipqueuesz",
    "/debug/vars",
];

/// Values by name and labels.
fn metrics(server: &Server) -> HashMap<String, f64> {
    let answer = get(server.monitoring, "/metrics");
    let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    assert_eq!(answer.header("content-type"), Some(kind));
    let mut values = HashMap::new();
    let mut family = String::new();
    let mut lines = answer.body.lines().peekable();
    while let Some(line) = lines.next() {
        if line == "# EOF" {
            assert_eq!(lines.next(), None, "nothing follows the end");
            return values;
        }
        if let Some(comment) = line.strip_prefix("# ") {
            let mut words = comment.split(' ');
            let what = words.next().unwrap();
            assert!(["TYPE", "HELP", "UNIT"].contains(&what), "{line}");
            let name = words.next().unwrap();
            if what == "TYPE" {
                family = name.to_owned();
            }
            assert_eq!(name, family, "{line}");
            continue;
        }
        let (name, value) = line.rsplit_once(' ').unwrap();
        assert!(name.starts_with(&family), "{line} is none of {family}");
        let value = value.parse().unwrap_or_else(|_| panic!("{line}"));
        assert_eq!(values.insert(name.to_owned(), value), None, "{line} twice");
    }
    panic!("no end: {}", answer.body);
}

#[test]
fn metrics_count_what_happens() {
    let server = Server::start(&midge(), "accounts: {A: {users: [{user: a, password: a}]}}");
    let mut subscriber = server.connect(r#""user":"a","pass":"a","lang":"test""#);
    subscriber.send("SUB a 1\r\n");
    subscriber.flush();
    let mut publisher = server.connect(r#""user":"a","pass":"a""#);
    publisher.send("PUB a 5\r\nhello\r\nPUB b 2\r\nhi\r\n");
    publisher.flush();
    let values = metrics(&server);
    for (name, value) in [
        ("midge_connections", 2.0),
        ("midge_accepted_connections_total", 2.0),
        ("midge_messages_total{direction=\"received\"}", 2.0),
        ("midge_messages_total{direction=\"sent\"}", 1.0),
        ("midge_message_bytes_total{direction=\"received\"}", 7.0),
        ("midge_message_bytes_total{direction=\"sent\"}", 5.0),
        ("midge_slow_consumers_total", 0.0),
        ("midge_account_connections{account=\"A\"}", 2.0),
        ("midge_account_subscriptions{account=\"A\"}", 1.0),
        ("midge_account_received_messages_total{account=\"A\"}", 2.0),
        ("midge_account_sent_bytes_total{account=\"A\"}", 5.0),
        ("midge_connection_round_trip_seconds_gcount", 2.0),
        (
            "midge_connection_round_trip_seconds_bucket{le=\"+Inf\"}",
            2.0,
        ),
        ("midge_routes", 0.0),
    ] {
        assert_eq!(values.get(name), Some(&value), "{name}: {values:?}");
    }
    assert!(values["process_resident_memory_bytes"] > 1e6);
}

#[test]
fn probes_tell_whether_clients_are_taken() {
    let server = Server::start(&midge(), "");
    let status = |path: &str| get(server.monitoring, path).status;
    for (path, expected) in [
        ("/livez", 200),
        ("/readyz", 200),
        ("/healthz", 200),
        ("/startupz", 200),
        ("/startupz?routes=0", 200),
        ("/startupz?routes=1", 503),
        ("/startupz?routes=-1", 400),
    ] {
        assert_eq!(status(path), expected, "{path}");
    }
    // A lame duck stays for its clients' sake.
    let _client = server.connect(r#""lang":"test""#);
    server.signal(Signal::USR2);
    eventually("not ready", || status("/readyz") == 503);
    assert_eq!(status("/livez"), 200);
    assert_eq!(status("/healthz"), 500);
}

#[test]
fn credentials_protect_all_but_probes() {
    let server = Server::start(
        &midge(),
        "http_user: eve\nhttp_password: s3cret\nhttp_token: t0ken\n",
    );
    let authorized = [
        "Authorization: Basic ZXZlOnMzY3JldA==\r\n",
        "Authorization: Bearer t0ken\r\n",
    ];
    for path in PATHS {
        let is_probe = ["/livez", "/readyz", "/startupz"].contains(&path);
        let without = get(server.monitoring, path);
        assert_eq!(without.status == 401, !is_probe, "{path}");
        assert_eq!(without.header("www-authenticate").is_some(), !is_probe);
        let wrong = "Authorization: Basic ZXZlOnMzY3JldA\r\n";
        let wrong = get_with(server.monitoring, path, wrong);
        assert_eq!(wrong.status == 401, !is_probe, "{path}");
        assert!(is_probe || (wrong.body.is_empty() && without.body.is_empty()));
        for header in authorized {
            let status = get_with(server.monitoring, path, header).status;
            assert_ne!(status, 401, "{path} {header}");
        }
    }
}

/// Passwords, tokens and keys of the configuration and of clients are on no page.
#[test]
fn no_page_shows_a_secret() {
    let configuration = r#"
        accounts: {
          A: {users: [{user: a, password: plant-1}]}
        }
        http_token: plant-2
        cluster: {authorization: {user: r, password: plant-3}}
    "#;
    let without_cluster: Vec<&str> = configuration
        .lines()
        .filter(|line| !line.contains("cluster"))
        .collect();
    let server = Server::start(&midge(), &without_cluster.join("\n"));
    let client =
        server.connect(r#""user":"a","pass":"plant-1","auth_token":"plant-4","jwt":"plant-5""#);
    let mut refused = Client::greet(server.clients);
    refused.send("CONNECT {\"user\":\"a\",\"pass\":\"plant-6\",\"auth_token\":\"plant-7\"}\r\n");
    while !refused.line().is_empty() {}
    for path in PATHS {
        let page = get_with(server.monitoring, path, "Authorization: Bearer plant-2\r\n");
        assert!(!page.body.contains("plant-"), "{path}: {}", page.body);
    }
    assert!(!server.log().contains("plant-"), "{}", server.log());
    drop(client);
}

#[test]
fn a_base_path_stands_before_all_pages() {
    let server = Server::start(&midge(), "http_base_path: /nats/\n");
    for (path, status) in [
        ("/nats/varz", 200),
        ("/nats/", 200),
        ("/nats", 301),
        ("/varz", 404),
        ("/", 404),
        ("/natsvarz", 404),
        ("/nats/nats/varz", 404),
    ] {
        assert_eq!(get(server.monitoring, path).status, status, "{path}");
    }
    let page = get(server.monitoring, "/nats/").body;
    for link in page.split("href=\"./").skip(1) {
        let link = link.split('"').next().unwrap();
        let expected = if link == "raftz" { 404 } else { 200 };
        let status = get(server.monitoring, &format!("/nats/{link}")).status;
        assert_eq!(status, expected, "{link}");
    }
}

#[test]
fn browsers_get_the_dashboard_and_nobody_elses_pages_may_read_it() {
    let server = Server::start(&midge(), "");
    let html = "Accept: text/html,application/xhtml+xml\r\n";
    let page = get_with(server.monitoring, "/", html);
    assert_eq!(page.status, 200);
    assert_eq!(
        page.header("content-type"),
        Some("text/html; charset=utf-8")
    );
    assert!(page.body.contains("<!DOCTYPE html>") && page.body.contains("id=\"rates\""));
    // It asks for nothing from elsewhere.
    for outside in ["http://", "https://", "src=", "@import", "url("] {
        // Where the library of the charts comes from.
        let found = page.body.replace("https://github.com/leeoniya/uPlot", "");
        assert!(!found.contains(outside), "{outside}");
    }
    let policy = page.header("content-security-policy").unwrap();
    assert!(policy.contains("default-src 'none'"));
    for path in PATHS {
        let answer = get_with(server.monitoring, path, "Origin: http://evil.example\r\n");
        assert_eq!(answer.header("access-control-allow-origin"), None, "{path}");
    }
}

#[test]
fn nonsense_is_refused_and_the_server_goes_on() {
    let server = Server::start(&midge(), "");
    let long = format!("GET /{} HTTP/1.1\r\nHost: a\r\n\r\n", "x".repeat(100_000));
    for request in [
        "NONSENSE\r\n\r\n",
        "GET / HTTP/9.9\r\n\r\n",
        "CONNECT {}\r\nPING\r\n\r\n",
        "GET /varz HTTP/1.1\r\nHost: a\r\nContent-Length: x\r\n\r\n",
        &long,
    ] {
        let mut stream = TcpStream::connect(server.monitoring).unwrap();
        // It may hang up before it has read everything.
        let _ = stream.write_all(request.as_bytes());
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        let answer = String::from_utf8_lossy(&answer).into_owned();
        let status = answer.split(' ').nth(1).unwrap_or("4");
        assert!(status.starts_with('4'), "{request:.40}: {answer:.200}");
    }
    let head = ask(
        server.monitoring,
        "HEAD /varz HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
    );
    assert_eq!((head.status, head.body.as_str()), (200, ""));
    // Numbers that do not fit, as paging once panicked on (GHSA-q59r).
    for query in [
        "offset=9223372036854775807&limit=9223372036854775807",
        "offset=-9223372036854775808&limit=-1",
        "cid=18446744073709551615",
    ] {
        for page in ["connz", "subsz"] {
            let path = format!("/{page}?subs=1&{query}");
            assert_eq!(get(server.monitoring, &path).status, 200, "{path}");
        }
    }
    assert_eq!(get(server.monitoring, "/healthz").status, 200);
}

/// Connections that say nothing are given up; until then others still get answers.
#[test]
fn silent_connections_do_not_keep_others_out() {
    let server = Server::start(&midge(), "");
    let silent: Vec<TcpStream> = (0..120)
        .map(|_| TcpStream::connect(server.monitoring).unwrap())
        .collect();
    assert_eq!(get(server.monitoring, "/livez").status, 200);
    let more: Vec<TcpStream> = (0..120)
        .map(|_| TcpStream::connect(server.monitoring).unwrap())
        .collect();
    // Answered once the first ones have had their time.
    assert_eq!(get(server.monitoring, "/livez").status, 200);
    drop((silent, more));
}

#[test]
fn a_slow_consumer_is_counted_and_reported() {
    let server = Server::start(
        &midge(),
        "max_pending: 65536\nmax_payload: 16384\naccounts: {A: {users: [{user: a, password: a}]}, SYS: {users: [{user: s, password: s}]}}\n\
         system_account: SYS\n",
    );
    let mut watcher = server.connect(r#""user":"s","pass":"s""#);
    watcher.send("SUB $SYS.ACCOUNT.*.CLIENT.SLOW_CONSUMER 1\r\n");
    watcher.flush();
    let mut slow = server.connect(r#""user":"a","pass":"a","name":"sleeper""#);
    slow.send("SUB a 1\r\n");
    slow.flush();
    let mut publisher = server.connect(r#""user":"a","pass":"a""#);
    let message = format!("PUB a 8192\r\n{}\r\n", "x".repeat(8192));
    let closed = || {
        let page = get(server.monitoring, "/connz?state=closed&auth=1").json();
        let found = page["connections"].as_array().unwrap().iter();
        found
            .map(|one| one["reason"].to_string())
            .collect::<String>()
    };
    eventually("the slow consumer to be cut off", || {
        for _ in 0..200 {
            publisher.send(&message);
        }
        publisher.flush();
        closed().contains("Slow Consumer (Pending Bytes)")
    });
    let (subject, payload) = watcher.message();
    assert_eq!(subject, "$SYS.ACCOUNT.A.CLIENT.SLOW_CONSUMER");
    let advisory: serde_json::Value = serde_json::from_slice(&payload).unwrap();
    assert_eq!(advisory["client"]["name"], "sleeper");
    assert_eq!(advisory["reason"], "Slow Consumer (Pending Bytes)");
    assert_eq!(advisory["max_pending"], 65536);
    let page = get(server.monitoring, "/varz").json();
    assert_eq!(page["slow_consumers"], 1);
    assert_eq!(page["slow_consumer_stats"]["clients"], 1);
    let page = get(server.monitoring, "/accstatz").json();
    let accounts = page["account_statz"].as_array().unwrap();
    let of_a = accounts
        .iter()
        .find(|account| account["acc"] == "A")
        .unwrap();
    assert_eq!(of_a["slow_consumers"], 1);
}

#[test]
fn closed_connections_are_remembered_up_to_the_limit() {
    let server = Server::start(&midge(), "max_closed_clients: 2\n");
    for name in ["one", "two", "three"] {
        drop(server.connect(&format!("\"name\":\"{name}\"")));
        let remembered = || {
            let page = get(server.monitoring, "/connz?state=closed").json();
            let found = page["connections"].as_array().unwrap().iter();
            found
                .map(|one| one["name"].as_str().unwrap().to_owned())
                .collect::<Vec<_>>()
        };
        eventually("it to be remembered", || {
            remembered().last().is_some_and(|last| last == name)
        });
        assert!(remembered().len() <= 2, "{:?}", remembered());
    }
}
