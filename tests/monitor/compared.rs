//! Every page of both servers under the same load, key by key.

use crate::http::{Answer, get};
use crate::servers::{Client, Server, eventually, midge, reference};
use crate::shape::{Shape, Tolerance, differences};

const CONFIGURATION: &str = r#"
server_name: compared
server_tags: ["zone:b", "a"]
server_metadata: {owner: tests}
max_subscriptions: 1000
accounts {
  A { users: [{user: a, password: a}, {user: a2, password: a2}] }
  B { users: [{user: b, password: b}] }
  SYS { users: [{user: sys, password: sys}] }
}
system_account: SYS
"#;

/// What may differ on every page.
const TOLERANCE: Tolerance = Tolerance {
    missing: &[
        // Build data.
        "/git_commit",
        // nats-server reports its own imports of system services as the account's.
        "/account_detail/imports",
        "/account_detail/exports",
    ],
    values: &[
        "server_id",
        "go",
        "port",
        "http_port",
        "now",
        "start",
        "uptime",
        "mem",
        "cpu",
        "cid",
        "last_activity",
        "stop",
        "rtt",
        "idle",
        "config_load_time",
        "config_digest",
        "update_time",
        "pending_bytes",
        "num_subscriptions",
        // Those include nats-server's own.
        "/subscriptions",
        "/account_detail/subscriptions",
        "num_cache",
        "num_inserts",
        "num_removes",
        "num_matches",
        "cache_hit_rate",
        "max_fanout",
        "avg_fanout",
        "msgs",
        "gomaxprocs",
    ],
};

/// A server with the load that the pages show.
struct Loaded {
    server: Server,
    _clients: Vec<Client>,
    /// Number of the first connection.
    first: u64,
}

impl Loaded {
    fn start(program: &std::path::Path) -> Self {
        let server = Server::start(program, CONFIGURATION);
        let mut clients = Vec::new();
        let mut one = server.connect(
            r#""user":"a","pass":"a","name":"first","lang":"rust","version":"1.2.3","headers":true"#,
        );
        one.send("SUB orders.new 1\r\nSUB orders.* workers 2\r\nSUB orders.old 3\r\nUNSUB 3 5\r\n");
        one.flush();
        let mut two = server.connect(r#""user":"a2","pass":"a2","name":"second""#);
        two.send("PUB orders.new 5\r\nhello\r\nPUB orders.old 2\r\nhi\r\nPUB nobody 1\r\nx\r\n");
        two.flush();
        // Later than what it was sent, so that the times of the two differ.
        one.send("SUB orders.late 4\r\n");
        one.flush();
        let mut three = server.connect(r#""user":"b","pass":"b","lang":"go","version":"1""#);
        three.send("SUB > 1\r\n");
        three.flush();
        clients.extend([one, two, three]);
        let mut gone = server.connect(r#""user":"b","pass":"b","name":"gone""#);
        gone.send("SUB last.words 7\r\n");
        gone.flush();
        drop(gone);
        let mut wrong = Client::greet(server.clients);
        wrong.send("CONNECT {\"user\":\"a\",\"pass\":\"wrong\"}\r\n");
        while !wrong.line().is_empty() {}
        let loaded = |path: &str| get(server.monitoring, path).json();
        eventually("two closed connections", || {
            let page = loaded("/connz?state=closed");
            page["connections"].as_array().unwrap().len() == 2
        });
        let first = loaded("/connz")["connections"][0]["cid"].as_u64().unwrap();
        Self {
            server,
            _clients: clients,
            first,
        }
    }

    fn get(&self, path: &str) -> Answer {
        let path = path.replace("{cid}", &self.first.to_string());
        get(self.server.monitoring, &path)
    }
}

/// Pages whose lists have no order of their own, or one that ties decide: their items are sorted.
fn sorted(shape: &mut Shape) {
    match shape {
        Shape::Object(entries) => entries.iter_mut().for_each(|(_, value)| sorted(value)),
        Shape::List(items) => {
            items.iter_mut().for_each(sorted);
            items.sort_by_key(sort_key);
        }
        Shape::Text(_) | Shape::Number(_) | Shape::Truth(_) | Shape::Null => {}
    }
}

fn sort_key(shape: &Shape) -> String {
    let Shape::Object(entries) = shape else {
        return format!("{shape:?}");
    };
    let keys = [
        "name",
        "authorized_user",
        "acc",
        "subject",
        "account_name",
        "subscriptions",
    ];
    let values = keys.map(|key| {
        let found = entries.iter().find(|(known, _)| known == key);
        found.map(|(_, value)| format!("{value:?}"))
    });
    format!("{values:?}")
}

fn compare(reference: &Loaded, tested: &Loaded, path: &str) -> Vec<String> {
    let (one, other) = (reference.get(path), tested.get(path));
    if one.status != other.status {
        return vec![format!(
            "status {} but {}: {}",
            one.status, other.status, other.body
        )];
    }
    let content = |answer: &Answer| answer.header("content-type").map(str::to_owned);
    if content(&one) != content(&other) {
        return vec![format!("{:?} but {:?}", content(&one), content(&other))];
    }
    if !one.body.starts_with('{') {
        let same = one.body == other.body;
        return (!same)
            .then(|| format!("{:?} but {:?}", one.body, other.body))
            .into_iter()
            .collect();
    }
    let mut shapes = [&one, &other].map(|answer| serde_json::from_str(&answer.body).unwrap());
    shapes.iter_mut().for_each(sorted);
    differences(&shapes[0], &shapes[1], &TOLERANCE)
}

/// Pages that show the same on both servers.
const PATHS: &[&str] = &[
    "/varz",
    "/connz",
    "/connz?auth=1",
    "/connz?auth=true&subs=1",
    "/connz?subs=detail",
    "/connz?subs=DETAIL&auth=1&state=any",
    "/connz?state=closed&subs=1",
    "/connz?state=closed&subs=detail&auth=1",
    "/connz?state=ALL",
    "/connz?state=open",
    "/connz?state=weird",
    "/connz?cid={cid}",
    "/connz?cid={cid}&subs=1&auth=1",
    "/connz?cid=99999",
    "/connz?cid=x",
    "/connz?cid=-1",
    "/connz?offset=1&limit=1",
    "/connz?offset=99",
    "/connz?offset=-3",
    "/connz?limit=-3",
    "/connz?offset=9223372036854775807&limit=9223372036854775807",
    "/connz?offset=9223372036854775808",
    "/connz?limit=1x",
    "/connz?offset=",
    "/connz?auth=maybe",
    "/connz?subs=maybe",
    "/connz?acc=A",
    "/connz?acc=A&user=a2&auth=1",
    "/connz?acc=B&state=closed",
    "/connz?acc=nope",
    "/connz?user=b",
    "/connz?user=nope",
    "/connz?mqtt_client=x",
    "/connz?sort=subs",
    "/connz?sort=pending",
    "/connz?sort=msgs_to",
    "/connz?sort=msgs_from",
    "/connz?sort=bytes_to",
    "/connz?sort=bytes_from",
    "/connz?sort=last",
    "/connz?sort=idle",
    "/connz?sort=uptime",
    "/connz?sort=rtt",
    "/connz?sort=start",
    "/connz?sort=stop",
    "/connz?sort=stop&state=closed",
    "/connz?sort=reason",
    "/connz?sort=reason&state=closed",
    "/connz?sort=color",
    "/routez",
    "/routez?subs=1",
    "/routez?subs=x",
    "/gatewayz",
    "/gatewayz?accs=x",
    "/leafz",
    "/leafz?subs=x",
    "/subsz",
    "/subscriptionsz",
    "/subsz?subs=x",
    "/subsz?offset=x",
    "/subsz?limit=x",
    "/subsz?test=a.*",
    "/accountz",
    "/accountz?acc=A",
    "/accountz?acc=SYS",
    "/accountz?acc=nope",
    "/accstatz",
    "/accstatz?unused=1",
    "/accstatz?unused=x",
    "/jsz",
    "/jsz?streams=x",
    "/jsz?limit=x",
    "/jsz?leader-only=1",
    "/jsz?acc=A&streams=1&consumers=1",
    "/healthz",
    "/healthz?details=1",
    "/healthz?details=x",
    "/healthz?js-enabled-only=true",
    "/healthz?js-server-only=1",
    "/healthz?stream=s",
    "/healthz?stream=s&details=true",
    "/healthz?account=A&consumer=c",
    "/ipqueuesz",
    "/ipqueuesz?all=x",
    "/raftz",
    "/nothing",
    "/varz/",
    "/varz?callback=f",
];

#[test]
fn pages_are_those_of_nats_server() {
    let Some(program) = reference() else { return };
    let (reference, tested) = (Loaded::start(&program), Loaded::start(&midge()));
    let mut report = String::new();
    for path in PATHS {
        for difference in compare(&reference, &tested, path) {
            report.push_str(&format!("{path}: {difference}\n"));
        }
    }
    assert!(report.is_empty(), "nats-server, then Midge:\n{report}");
}

/// Where the order is decided by more than ties, it is the same.
#[test]
fn sorted_pages_have_the_order_of_nats_server() {
    let Some(program) = reference() else { return };
    let (reference, tested) = (Loaded::start(&program), Loaded::start(&midge()));
    let users = |loaded: &Loaded, path: &str| -> Vec<String> {
        let page = loaded.get(path).json();
        let connections = page["connections"].as_array().unwrap().iter();
        connections
            .map(|one| one["authorized_user"].as_str().unwrap().to_owned())
            .collect()
    };
    for sort in ["cid", "start", "last", "idle", "uptime"] {
        let path = format!("/connz?auth=1&sort={sort}");
        assert_eq!(users(&reference, &path), users(&tested, &path), "{path}");
    }
    for (sort, first) in [
        ("subs", "a"),
        ("msgs_to", "a"),
        ("bytes_to", "a"),
        ("msgs_from", "a2"),
        ("bytes_from", "a2"),
    ] {
        let path = format!("/connz?auth=1&sort={sort}");
        for loaded in [&reference, &tested] {
            assert_eq!(users(loaded, &path)[0], first, "{path}");
        }
    }
    for path in [
        "/connz?auth=1&state=closed&sort=stop",
        "/connz?auth=1&state=closed&sort=reason",
    ] {
        assert_eq!(users(&reference, path), users(&tested, path), "{path}");
    }
}
