//! Reports of traced messages, compared with nats-server's key by key.

use crate::servers::{Client, Server, midge, reference};
use crate::shape::{Shape, Tolerance, differences};

const CONFIGURATION: &str = r#"
server_name: traced
max_payload: 4096
accounts {
  A {
    users: [
      {user: a, password: a}
      {user: limited, password: l, permissions: {publish: {deny: ["secret", "tr.secret"]}, subscribe: {deny: "deny.x"}}}
    ]
    msg_trace: {dest: tr}
    mappings: {one: x.a}
    exports: [
      {service: svc.open, allow_trace: true}
      {service: svc.closed}
      {stream: "news.>"}
    ]
  }
  B {
    users: [{user: b, password: b}]
    imports: [
      {service: {account: A, subject: svc.open}, to: open}
      {service: {account: A, subject: svc.closed}, to: closed}
      {stream: {account: A, subject: "news.f.>"}, prefix: followed, allow_trace: true}
      {stream: {account: A, subject: "news.l.>"}, prefix: lost}
    ]
  }
}
"#;

const TOLERANCE: Tolerance = Tolerance {
    missing: &[],
    values: &["id", "seq", "time", "ts", "cid"],
};

/// Who publishes, the case's name, the headers of the message, and the line after `HPUB` less its sizes.
type Case = (&'static str, &'static str, &'static str, &'static str);

const PARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7";
const SAMPLED: &str = "TraceParent: {parent}-01";
const UNSAMPLED: &str = "traceparent: {parent}-00";

const CASES: &[Case] = &[
    ("a", "delivered", "Nats-Trace-Dest: tr", "x.a"),
    (
        "a",
        "only",
        "Nats-Trace-Dest: tr\r\nNats-Trace-Only: true",
        "x.a",
    ),
    (
        "a",
        "only, by a number",
        "Nats-Trace-Only: 1\r\nNats-Trace-Dest: tr",
        "x.a",
    ),
    (
        "a",
        "not only",
        "Nats-Trace-Only: yes\r\nNats-Trace-Dest: tr",
        "x.a",
    ),
    ("a", "with a reply", "Nats-Trace-Dest: tr", "x.a back"),
    (
        "a",
        "values twice",
        "A: b\r\nA:  c \r\nE:\r\nNats-Trace-Dest: tr",
        "x.a",
    ),
    (
        "a",
        "hop of its own",
        "Nats-Trace-Hop: 7\r\nNats-Trace-Dest: tr",
        "x.a",
    ),
    ("a", "mapped", "Nats-Trace-Dest: tr", "one"),
    ("a", "nobody", "Nats-Trace-Dest: tr", "nobody"),
    ("a", "no echo", "Nats-Trace-Dest: tr", "own"),
    (
        "a",
        "denied to a subscriber",
        "Nats-Trace-Dest: tr",
        "deny.x",
    ),
    (
        "a",
        "only, and ended",
        "Nats-Trace-Only: on\r\nNats-Trace-Dest: tr",
        "short",
    ),
    ("a", "ends", "Nats-Trace-Dest: tr", "short"),
    ("a", "ended", "Nats-Trace-Dest: tr", "short"),
    (
        "limited",
        "must not publish",
        "Nats-Trace-Dest: tr",
        "secret",
    ),
    (
        "limited",
        "must not report",
        "Nats-Trace-Dest: tr.secret",
        "x.a",
    ),
    (
        "limited",
        "reserved reply",
        "Nats-Trace-Dest: tr",
        "x.a _R_.x",
    ),
    ("a", "reserved report", "Nats-Trace-Dest: $NRG.x", "x.a"),
    ("a", "wildcard report", "Nats-Trace-Dest: tr.*", "x.a"),
    (
        "a",
        "wildcard report only",
        "Nats-Trace-Only: 1\r\nNats-Trace-Dest: tr.*",
        "x.a",
    ),
    ("a", "disabled", "Nats-Trace-Dest: trace disabled", "x.a"),
    (
        "a",
        "origin account",
        "Nats-Trace-Origin-Account: B\r\nNats-Trace-Dest: tr",
        "x.a",
    ),
    ("a", "parent", SAMPLED, "x.a"),
    ("a", "parent, not sampled", UNSAMPLED, "x.a"),
    (
        "a",
        "parent and only",
        "Nats-Trace-Only: true\r\nTraceParent: {parent}-01",
        "x.a",
    ),
    ("b", "parent without account", SAMPLED, "y"),
    ("a", "stream", "Nats-Trace-Dest: tr", "news.f.x"),
    ("a", "closed stream", "Nats-Trace-Dest: tr", "news.l.x"),
    (
        "a",
        "stream only",
        "Nats-Trace-Only: true\r\nNats-Trace-Dest: tr",
        "news.f.x",
    ),
    (
        "a",
        "closed stream only",
        "Nats-Trace-Only: true\r\nNats-Trace-Dest: tr",
        "news.l.x",
    ),
    ("b", "service", "Nats-Trace-Dest: tr", "open back"),
    (
        "b",
        "service only",
        "Nats-Trace-Only: true\r\nNats-Trace-Dest: tr",
        "open back",
    ),
    ("b", "service without reply", "Nats-Trace-Dest: tr", "open"),
    ("b", "closed service", "Nats-Trace-Dest: tr", "closed back"),
    (
        "b",
        "closed service only",
        "Nats-Trace-Only: true\r\nNats-Trace-Dest: tr",
        "closed back",
    ),
    (
        "a",
        "encoded",
        "Accept-Encoding: deflate\r\nNats-Trace-Dest: tr",
        "x.a",
    ),
    ("a", "last", "Nats-Trace-Dest: tr", "last"),
    ("b", "last", "Nats-Trace-Dest: tr", "last"),
];

/// Who gets messages, and what each subscribes to. All are in the account that its name begins with.
const SUBSCRIBERS: &[(&str, &str, &str)] = &[
    (
        "a",
        "worker",
        "SUB x.* 1\r\nSUB svc.> 2\r\nSUB last 9\r\nSUB short 3\r\nUNSUB 3 1\r\n",
    ),
    ("a", "member", "SUB x.a crew 1\r\nSUB last 9\r\n"),
    ("limited", "kept out", "SUB deny.* 1\r\nSUB last 9\r\n"),
    (
        "b",
        "importer",
        "SUB followed.news.f.* 1\r\nSUB lost.news.l.x 2\r\nSUB last 9\r\n",
    ),
];

/// What one server makes of all cases.
struct Traced {
    /// Reports in both accounts.
    reports: Vec<String>,
    /// Header blocks of the reports.
    headers: Vec<String>,
    /// What each subscriber got: subject, reply and header block.
    received: Vec<Vec<String>>,
}

fn password(user: &str) -> &str {
    if user == "limited" { "l" } else { user }
}

fn connect(server: &Server, user: &str, name: &str) -> Client {
    let password = password(user);
    server.connect(&format!(
        r#""user":"{user}","pass":"{password}","name":"{name}","echo":false,"headers":true"#
    ))
}

/// A header block without what differs by nature: a made-up reply subject and a round-trip time.
fn masked(header: &str) -> String {
    let masked = |line: &str| match line.split_once(": ") {
        Some((name, value)) if value.starts_with("_R_.") || name == "Nats-Request-Info" => {
            format!("{name}: …")
        }
        _ => line.to_owned(),
    };
    header.lines().map(masked).collect::<Vec<_>>().join("\n")
}

/// Messages up to one on `last` of the account's own publisher.
fn received(client: &mut Client) -> Vec<String> {
    let mut all = Vec::new();
    loop {
        let (subject, _) = client.message();
        if subject == "last" {
            return all;
        }
        all.push(format!("{subject} {:?}", masked(client.last_header())));
    }
}

impl Traced {
    fn by(program: &std::path::Path) -> Self {
        let server = Server::start(program, CONFIGURATION);
        let connected = |users: &[&str]| -> Vec<Client> {
            let watcher = |user: &&str| {
                let mut client = connect(&server, user, "watcher");
                client.send("SUB tr 1\r\nSUB tr.> 2\r\n");
                client.flush();
                client
            };
            users.iter().map(watcher).collect()
        };
        let mut watchers = connected(&["a", "b"]);
        let mut subscribers: Vec<Client> = SUBSCRIBERS
            .iter()
            .map(|(user, name, wishes)| {
                let mut client = connect(&server, user, name);
                client.send(wishes);
                client.flush();
                client
            })
            .collect();
        let users = ["a", "b", "limited"];
        let mut publishers = users.map(|user| connect(&server, user, user));
        publishers[0].send("SUB own 1\r\n");
        for (user, name, headers, line) in CASES {
            let place = users.iter().position(|known| known == user).unwrap();
            let headers = headers.replace("{parent}", PARENT);
            let header = format!("NATS/1.0\r\nCase: {name}\r\n{headers}\r\n\r\n");
            let (length, total) = (header.len(), header.len() + 2);
            let publisher = &mut publishers[place];
            publisher.send(&format!("HPUB {line} {length} {total}\r\n{header}hi\r\n"));
            publisher.flush();
        }
        let header = "NATS/1.0\r\nCase: too large\r\nNats-Trace-Dest: tr\r\n\r\n";
        let mut excessive = connect(&server, "a", "excessive");
        let length = header.len();
        excessive.send(&format!("HPUB x.a {length} 5000\r\n{header}hi"));
        while !excessive.line().is_empty() {}
        let last = "NATS/1.0\r\nCase: last of all\r\nNats-Trace-Dest: tr\r\n\r\n";
        publishers[0].send(&format!(
            "HPUB last {} {}\r\n{last}\r\n",
            last.len(),
            last.len()
        ));
        let mut traced = Self {
            reports: Vec::new(),
            headers: Vec::new(),
            received: subscribers.iter_mut().map(received).collect(),
        };
        for (watcher, end) in watchers.iter_mut().zip(["last of all", "last"]) {
            traced.collect(watcher, end);
        }
        traced
    }

    fn collect(&mut self, watcher: &mut Client, end: &str) {
        loop {
            let (subject, payload) = watcher.message();
            assert_eq!(subject, "tr");
            let text = String::from_utf8(payload).unwrap();
            let is_last = text.contains(&format!(r#""Case":["{end}"]"#));
            self.reports.push(text);
            self.headers.push(watcher.last_header().to_owned());
            if is_last {
                return;
            }
        }
    }

    fn case(&self, index: usize) -> String {
        let report: serde_json::Value = serde_json::from_str(&self.reports[index]).unwrap();
        let case = &report["request"]["header"]["Case"][0];
        case.as_str().unwrap_or_default().to_owned()
    }

    fn cases(&self) -> Vec<String> {
        (0..self.reports.len())
            .map(|index| self.case(index))
            .collect()
    }
}

/// A report with the ways out in an order of their own: nats-server visits subscriptions in any.
fn in_order(report: &str) -> serde_json::Value {
    let mut report: serde_json::Value = serde_json::from_str(report).unwrap();
    if let Some(events) = report["events"].as_array_mut() {
        let is_way_out = |event: &serde_json::Value| event["type"] == "eg";
        for run in events.chunk_by_mut(|one, other| is_way_out(one) && is_way_out(other)) {
            run.sort_by_key(|event| [&event["name"], &event["sub"]].map(ToString::to_string));
        }
    }
    report
}

#[test]
fn reports_are_those_of_nats_server() {
    let Some(reference) = reference() else { return };
    let (expected, tested) = (Traced::by(&reference), Traced::by(&midge()));
    assert_eq!(tested.cases(), expected.cases());
    assert_eq!(tested.headers, expected.headers);
    let mut report = String::new();
    for (tested, expected) in tested.reports.iter().zip(&expected.reports) {
        let shape = |text: &str| serde_json::from_value::<Shape>(in_order(text)).unwrap();
        for difference in differences(&shape(expected), &shape(tested), &TOLERANCE) {
            report.push_str(&format!("{difference}\n{expected}\n{tested}\n"));
        }
    }
    assert!(report.is_empty(), "{report}");
    assert_eq!(tested.received, expected.received);
}

/// Without a nats-server at hand: the reports hold what happened.
#[test]
fn a_report_tells_the_way_of_a_message() {
    let traced = Traced::by(&midge());
    let of = |name: &str| -> serde_json::Value {
        let index = traced.cases().iter().position(|case| case == name);
        serde_json::from_str(&traced.reports[index.unwrap()]).unwrap()
    };
    let kinds = |name: &str| -> Vec<String> {
        let report = of(name);
        let events = report["events"].as_array().unwrap().iter();
        events
            .map(|event| event["type"].as_str().unwrap().to_owned())
            .collect()
    };
    assert_eq!(kinds("delivered"), ["in", "eg", "eg"]);
    assert_eq!(kinds("only"), ["in", "eg", "eg"]);
    assert_eq!(kinds("mapped"), ["in", "sm", "eg", "eg"]);
    assert_eq!(kinds("nobody"), ["in"]);
    assert_eq!(kinds("service"), ["in", "si", "eg"]);
    assert_eq!(kinds("closed service"), ["in", "si"]);
    let refused = of("must not publish");
    assert_eq!(
        refused["events"][0]["error"],
        "Permissions Violation for Publish to \"secret\""
    );
    assert!(!traced.cases().iter().any(|case| case == "must not report"));
    let worker = &traced.received[0];
    assert!(worker.iter().any(|got| got.contains("Case: delivered")));
    assert!(!worker.iter().any(|got| got.contains("Case: only")));
    assert!(
        !worker
            .iter()
            .any(|got| got.contains("Case: must not report"))
    );
}
