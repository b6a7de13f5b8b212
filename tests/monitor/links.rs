//! Two linked servers in every mixture: what each tells of its links is what nats-server tells, key by key.

use std::path::{Path, PathBuf};

use crate::cli::{run, tool};
use crate::http::get;
use crate::servers::{Client, Server, eventually, midge, reference};
use crate::shape::{Shape, Tolerance, differences};

/// Accounts of both servers.
const ACCOUNTS: &str = "
accounts {
  A { users: [{user: a, password: a}] }
  B { users: [{user: b, password: b}] }
  SYS { users: [{user: sys, password: sys}] }
}
system_account: SYS
";

/// Blocks `cluster` of the first and the second server.
const SETUPS: &[[&str; 2]] = &[
    ["", ""],
    [
        "accounts: [A]\n compression: s2_fast\n permissions {
           import: {allow: [\"foo.>\", \"_INBOX.>\"]}, export: {deny: [\"secret.>\"]} }",
        "accounts: [A]",
    ],
    ["pool_size: 1", "pool_size: 5"],
    ["pool_size: -1", "pool_size: -1"],
];

/// What may differ: numbers and times of connections, and the servers' own interest and messages.
const TOLERANCE: Tolerance = Tolerance {
    missing: &["/git_commit"],
    values: &[
        "server_id",
        "remote_id",
        "rid",
        "cid",
        "port",
        "now",
        "start",
        "last_activity",
        "rtt",
        "uptime",
        "idle",
        "pending_size",
        "in_msgs",
        "out_msgs",
        "in_bytes",
        "out_bytes",
        "cluster_port",
        "urls[]",
        "connect_urls[]",
    ],
};

/// Two linked servers and their clients.
struct Pair {
    servers: [Server; 2],
    _clients: Vec<Client>,
}

impl Pair {
    fn start(programs: [&Path; 2], blocks: [&str; 2]) -> Self {
        let start = |at: usize, routes: &str| {
            let text = format!(
                "server_name: n{at}\n{ACCOUNTS}\ncluster {{\n name: c\n listen: \"127.0.0.1:-1\"\n {routes}\n {}\n}}\n",
                blocks[at]
            );
            Server::start(programs[at], &text)
        };
        let first = start(0, "");
        let second = start(
            1,
            &format!("routes: [\"nats://{}\"]", first.routes.unwrap()),
        );
        let servers = [first, second];
        let mut clients = Vec::new();
        for (server, user) in servers
            .iter()
            .flat_map(|server| [(server, "a"), (server, "b")])
        {
            let mut client = server.connect(&format!(r#""user":"{user}","pass":"{user}""#));
            client.send("SUB foo.bar 1\r\nSUB foo.q qq 2\r\nSUB secret.x 3\r\nSUB other 4\r\n");
            client.flush();
            clients.push(client);
        }
        Self {
            servers,
            _clients: clients,
        }
    }
}

/// The links in an order that both servers can have, without what depends on the servers' own interest.
fn comparable(server: &Server, path: &str) -> Shape {
    let mut page: Shape = serde_json::from_str(&get(server.monitoring, path).body).unwrap();
    if let Shape::Object(entries) = &mut page {
        for (_, value) in entries.iter_mut().filter(|(key, _)| key == "routes") {
            if let Shape::List(routes) = value {
                routes.iter_mut().for_each(without_own_interest);
                routes.sort_by_key(|route| {
                    let fields = ["account", "subscriptions"].map(|key| field(route, key));
                    (format!("{fields:?}"), names(route))
                });
            }
        }
        // Too much of this page is about the server alone.
        if path == "/varz" {
            entries.retain(|(key, _)| {
                ["connect_urls", "cluster", "routes", "remotes"].contains(&&**key)
            });
        }
    }
    page
}

/// The names of a link's wishes.
fn names(route: &Shape) -> String {
    let Some(Shape::List(wishes)) = field(route, "subscriptions_list_detail") else {
        return String::new();
    };
    let names: Vec<_> = wishes.iter().map(|wish| field(wish, "sid")).collect();
    format!("{names:?}")
}

fn field<'a>(shape: &'a Shape, key: &str) -> Option<&'a Shape> {
    let Shape::Object(entries) = shape else {
        return None;
    };
    let found = entries.iter().find(|(known, _)| known == key);
    found.map(|(_, value)| value)
}

fn without_own_interest(route: &mut Shape) {
    let own = |key: &str| ["subscriptions_list", "subscriptions_list_detail"].contains(&key);
    // Without a pool, the servers' own interest goes over the same link as everything else.
    let system = matches!(field(route, "account"), Some(Shape::Text(name)) if name == "SYS");
    let Shape::Object(entries) = route else {
        return;
    };
    for (key, value) in entries.iter_mut().filter(|(key, _)| own(key)) {
        let Shape::List(wishes) = value else { continue };
        wishes.retain(|wish| !format!("{wish:?}").contains("$SYS"));
        wishes.sort_by_key(|wish| format!("{wish:?}"));
        if wishes.is_empty() {
            key.clear();
        }
    }
    entries.retain(|(key, _)| !(key.is_empty() || system && key == "subscriptions"));
}

/// What differed at the last look; shown when the test fails.
struct Found(Vec<String>);

impl Drop for Found {
    fn drop(&mut self) {
        if std::thread::panicking() {
            println!("{:#?}", self.0);
        }
    }
}

/// Compares until nothing differs or it is too late.
fn check(reference: &Server, tested: &Server, path: &str, what: &str) {
    let mut found = Found(Vec::new());
    eventually(&format!("{what}, {path}"), || {
        let shapes = [reference, tested].map(|server| comparable(server, path));
        found.0 = differences(&shapes[0], &shapes[1], &TOLERANCE);
        found.0.is_empty()
    });
}

/// The wishes that crossed: those of clients and, where they have a link of their own, without those of the
/// other server itself.
fn wishes(server: &Server) -> u64 {
    let own = routes(server).into_iter();
    let own = own.filter(|route| route["account"] != "SYS");
    own.map(|route| route["subscriptions"].as_u64().unwrap())
        .sum()
}

fn routes(server: &Server) -> Vec<serde_json::Value> {
    let page = get(server.monitoring, "/routez?subs=1").json();
    page["routes"].as_array().unwrap().clone()
}

/// Whether a server knows that the other one answers requests for its links.
fn knows_service(server: &Server) -> bool {
    let lists = |route: &serde_json::Value| {
        route["subscriptions_list"].as_array().is_some_and(|list| {
            list.iter()
                .any(|filter| filter == "$SYS.REQ.SERVER.PING.ROUTEZ")
        })
    };
    routes(server).iter().any(lists)
}

#[test]
fn links_are_shown_as_nats_server_shows_them() {
    let Some(reference) = reference() else { return };
    let own: PathBuf = midge();
    for blocks in SETUPS {
        let expected = Pair::start([&reference, &reference], *blocks);
        let pooled = !blocks[0].contains("-1");
        for server in &expected.servers {
            eventually("all interest has crossed", || wishes(server) >= 4);
        }
        for programs in [[&own, &reference], [&reference, &own], [&own, &own]] {
            let tested = Pair::start(programs.map(|program| &**program), *blocks);
            for at in 0..2 {
                let what = format!("{blocks:?} n{at} of {programs:?}");
                let servers = (&expected.servers[at], &tested.servers[at]);
                let pages = ["/routez?subs=1", "/routez?subs=detail", "/routez", "/varz"];
                // On a link without a pool, nats-server's own interest counts as well.
                for path in pages.iter().filter(|path| pooled || **path == "/varz") {
                    check(servers.0, servers.1, path, &what);
                }
            }
            check_counts(&tested, &format!("{blocks:?} of {programs:?}"));
            // Permissions keep requests and answers out.
            if !blocks[0].contains("permissions") {
                check_requests(&tested);
            }
        }
    }
}

/// What a server counts includes what the other one wants.
fn check_counts(pair: &Pair, what: &str) {
    for server in &pair.servers {
        let count =
            |path: &str, key: &str| get(server.monitoring, path).json()[key].as_u64().unwrap();
        let all = count("/subsz", "num_subscriptions");
        let listed = count("/subsz?subs=1", "total");
        assert!(
            all >= listed + wishes(server),
            "{what}: {all} with {listed}"
        );
    }
}

/// Any server is asked for all servers' links.
fn check_requests(pair: &Pair) {
    for server in &pair.servers {
        eventually("the other server's services are known", || {
            knows_service(server)
        });
        let mut client = server.connect(r#""user":"sys","pass":"sys""#);
        client.send("SUB answers 1\r\n");
        client.flush();
        client.send("PUB $SYS.REQ.SERVER.PING.ROUTEZ answers 0\r\n\r\n");
        let mut names: Vec<String> = (0..2)
            .map(|_| {
                let (_, body) = client.message();
                let answer: serde_json::Value = serde_json::from_slice(&body).unwrap();
                let routes = answer["data"]["routes"].as_array().unwrap();
                assert_eq!(
                    Some(routes.len() as u64),
                    answer["data"]["num_routes"].as_u64()
                );
                assert!(!routes.is_empty(), "{answer}");
                answer["server"]["name"].as_str().unwrap().to_owned()
            })
            .collect();
        names.sort();
        assert_eq!(names, ["n0", "n1"]);
    }
}

#[test]
fn the_tool_reports_links_of_both() {
    let (Some(reference), Some(tool)) = (reference(), tool()) else {
        return;
    };
    let own = midge();
    let Pair { servers, .. } = Pair::start([&own, &reference], ["", ""]);
    for server in &servers {
        eventually("all links are there", || {
            get(server.monitoring, "/routez").json()["num_routes"] == 4
        });
    }
    let home = tempfile::tempdir().unwrap();
    for server in &servers {
        let ask = |arguments: &str| run(&tool, home.path(), server.clients, "sys", arguments);
        let (done, text) = ask("server report routes");
        assert!(done, "{text}");
        for name in ["n0", "n1"] {
            assert!(text.matches(name).count() >= 2, "{text}");
        }
        assert!(
            text.contains("│ 8 ") && text.matches("│ c ").count() == 2,
            "{text}"
        );
        let (done, text) = ask("server request routes 2");
        assert!(done && text.contains("\"remote_name\""), "{text}");
    }
}
