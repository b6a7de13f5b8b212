//! Services and events in the system account, compared with nats-server's.

use crate::servers::{Client, Server, eventually, midge, reference};
use crate::shape::{Shape, Tolerance, differences};

const CONFIGURATION: &str = r#"
server_name: services
server_tags: ["zone:b"]
accounts {
  A { users: [
    {user: a, password: a}
    {user: limited, password: l, permissions: {publish: ["$SYS.REQ.>", "x"], subscribe: {allow: ["_INBOX.>", "y q"], deny: "z"}, allow_responses: {max: 2, expires: "1s"}}}
  ] }
  SYS { users: [{user: sys, password: sys}] }
}
system_account: SYS
"#;

const TOLERANCE: Tolerance = Tolerance {
    missing: &["/data/git_commit"],
    values: &[
        "id",
        "server_id",
        "seq",
        "time",
        "timestamp",
        "start",
        "stop",
        "now",
        "rtt",
        "mem",
        "cpu",
        "subscriptions",
        "num_subscriptions",
        "go",
        "port",
        "http_port",
        "uptime",
        "idle",
        "cid",
        "last_activity",
        "config_load_time",
        "config_digest",
        "update_time",
        "num_cache",
        "num_inserts",
        "num_removes",
        "num_matches",
        "cache_hit_rate",
        "max_fanout",
        "avg_fanout",
        "msgs",
        "bytes",
        "in_msgs",
        "out_msgs",
        "in_bytes",
        "out_bytes",
        "total",
        "sid",
        "subject",
        "in_client_msgs",
        "in_client_bytes",
        "out_client_msgs",
        "out_client_bytes",
        "total_connections",
        "gomaxprocs",
        "pending_bytes",
    ],
};

const SYSTEM: &str = r#""user":"sys","pass":"sys","headers":true,"no_responders":true"#;
const USER: &str = r#""user":"a","pass":"a","name":"asker","lang":"rust","version":"1","headers":true,"no_responders":true"#;
const LIMITED: &str = r#""user":"limited","pass":"l""#;

/// Both servers with a client of the system account and one of another.
struct Asked {
    server: Server,
    system: Client,
    user: Client,
    id: String,
}

impl Asked {
    fn start(program: &std::path::Path) -> Self {
        let server = Server::start(program, CONFIGURATION);
        let system = server.connect(SYSTEM);
        let user = server.connect(USER);
        let mut asked = Self {
            server,
            system,
            user,
            id: String::new(),
        };
        let identity = asked.system.request("$SYS.REQ.SERVER.PING.IDZ", "");
        asked.id = identity["id"].as_str().unwrap().to_owned();
        asked
    }

    fn ask(&mut self, subject: &str, payload: &str) -> Shape {
        let subject = subject.replace("{id}", &self.id);
        let text = self.system.request_text(&subject, payload);
        serde_json::from_str(&text).unwrap()
    }
}

fn compared(name: &str, reference: &Shape, tested: &Shape, report: &mut String) {
    for difference in differences(reference, tested, &TOLERANCE) {
        report.push_str(&format!("{name}: {difference}\n"));
    }
}

const REQUESTS: &[(&str, &str)] = &[
    ("$SYS.REQ.SERVER.PING", ""),
    ("$SYS.REQ.SERVER.PING", "{}"),
    ("$SYS.REQ.SERVER.PING", r#"{"server_name":"serv"}"#),
    ("$SYS.REQ.SERVER.PING.STATSZ", ""),
    ("$SYS.REQ.SERVER.{id}.STATSZ", ""),
    ("$SYS.REQ.SERVER.PING.IDZ", ""),
    ("$SYS.REQ.SERVER.{id}.IDZ", ""),
    ("$SYS.REQ.SERVER.PING.VARZ", ""),
    (
        "$SYS.REQ.SERVER.{id}.VARZ",
        r#"{"tags":["zone:b"],"exact_match":true,"server_name":"services"}"#,
    ),
    ("$SYS.REQ.SERVER.PING.CONNZ", ""),
    (
        "$SYS.REQ.SERVER.{id}.CONNZ",
        r#"{"auth":true,"subscriptions":true,"limit":1,"sort":"subs"}"#,
    ),
    (
        "$SYS.REQ.SERVER.{id}.CONNZ",
        r#"{"state":2,"subscriptions_detail":true}"#,
    ),
    (
        "$SYS.REQ.SERVER.{id}.CONNZ",
        r#"{"acc":"A","filter_subject":"_INBOX.*"}"#,
    ),
    ("$SYS.REQ.SERVER.{id}.CONNZ", r#"{"filter_subject":"a"}"#),
    ("$SYS.REQ.SERVER.{id}.CONNZ", r#"{"sort":"color"}"#),
    ("$SYS.REQ.SERVER.{id}.CONNZ", r#"{"cid":999999}"#),
    ("$SYS.REQ.SERVER.PING.SUBSZ", ""),
    ("$SYS.REQ.SERVER.PING.ROUTEZ", ""),
    ("$SYS.REQ.SERVER.PING.GATEWAYZ", ""),
    ("$SYS.REQ.SERVER.PING.LEAFZ", ""),
    ("$SYS.REQ.SERVER.PING.ACCOUNTZ", ""),
    ("$SYS.REQ.SERVER.PING.ACCOUNTZ", r#"{"account":"A"}"#),
    ("$SYS.REQ.SERVER.PING.ACCOUNTZ", r#"{"account":"nope"}"#),
    ("$SYS.REQ.SERVER.PING.JSZ", ""),
    ("$SYS.REQ.SERVER.PING.HEALTHZ", ""),
    (
        "$SYS.REQ.SERVER.PING.HEALTHZ",
        r#"{"stream":"s","details":true}"#,
    ),
    ("$SYS.REQ.SERVER.PING.RAFTZ", ""),
    ("$SYS.REQ.ACCOUNT.A.CONNZ", ""),
    ("$SYS.REQ.ACCOUNT.A.INFO", ""),
    ("$SYS.REQ.ACCOUNT.NOPE.INFO", ""),
    ("$SYS.REQ.ACCOUNT.A.STATZ", ""),
    ("$SYS.REQ.ACCOUNT.A.CONNS", ""),
    ("$SYS.REQ.ACCOUNT.A.JSZ", ""),
    ("$SYS.REQ.ACCOUNT.A.LEAFZ", ""),
    ("$SYS.REQ.ACCOUNT.PING.STATZ", ""),
    ("$SYS.REQ.ACCOUNT.PING.CONNZ", ""),
    (
        "$SYS.REQ.ACCOUNT.NSUBS",
        r#"{"acc":"A","subj":"nobody.listens"}"#,
    ),
    ("$SYS.REQ.SERVER.{id}.KICK", r#"{"cid":999999}"#),
    ("$SYS.REQ.SERVER.{id}.LDM", r#"{"cid":999999}"#),
    ("$SYS.REQ.SERVER.{id}.RELOAD", ""),
    ("$SYS.REQ.USER.INFO", ""),
];

fn sorted(shape: &mut Shape) {
    if let Shape::Object(entries) = shape {
        entries.iter_mut().for_each(|(_, value)| sorted(value));
    } else if let Shape::List(items) = shape {
        items.iter_mut().for_each(sorted);
        items.sort_by_key(|item| format!("{item:?}"));
    }
}

#[test]
fn requests_are_answered_as_by_nats_server() {
    let Some(program) = reference() else { return };
    let (mut one, mut other) = (Asked::start(&program), Asked::start(&midge()));
    let mut report = String::new();
    for (subject, payload) in REQUESTS {
        let mut shapes = [one.ask(subject, payload), other.ask(subject, payload)];
        if ["ACCOUNTZ", "STATZ", "INFO"]
            .iter()
            .any(|end| subject.ends_with(end))
        {
            shapes.iter_mut().for_each(sorted);
        }
        let name = format!("{subject} {payload}");
        compared(&name, &shapes[0], &shapes[1], &mut report);
    }
    assert!(report.is_empty(), "nats-server, then Midge:\n{report}");
}

/// What clients outside the system account may ask.
#[test]
fn clients_ask_about_themselves_and_their_account_only() {
    let Some(program) = reference() else { return };
    let (mut one, mut other) = (Asked::start(&program), Asked::start(&midge()));
    let mut report = String::new();
    let mut limited = [&one, &other].map(|asked| asked.server.connect(LIMITED));
    let infos = limited
        .each_mut()
        .map(|client| client.request_text("$SYS.REQ.USER.INFO", ""))
        .map(|text| {
            let mut shape = serde_json::from_str(&text).unwrap();
            sorted(&mut shape);
            shape
        });
    compared("permissions", &infos[0], &infos[1], &mut report);
    for (subject, payload) in [
        ("$SYS.REQ.USER.INFO", ""),
        ("$SYS.REQ.ACCOUNT.PING.CONNZ", ""),
        ("$SYS.REQ.ACCOUNT.PING.CONNZ", r#"{"user":"a","auth":true}"#),
        ("$SYS.REQ.SERVER.PING.CONNZ", ""),
        ("$SYS.REQ.ACCOUNT.PING.STATZ", ""),
    ] {
        let ask = |asked: &mut Asked| -> Shape {
            let text = asked.user.request_text(subject, payload);
            serde_json::from_str(&text).unwrap()
        };
        let name = format!("{subject} {payload}");
        compared(&name, &ask(&mut one), &ask(&mut other), &mut report);
    }
    assert!(report.is_empty(), "nats-server, then Midge:\n{report}");
    for asked in [&mut one, &mut other] {
        for subject in [
            "$SYS.REQ.SERVER.PING",
            "$SYS.REQ.SERVER.PING.VARZ",
            "$SYS.REQ.ACCOUNT.A.INFO",
        ] {
            asked.user.send(&format!(
                "SUB _INBOX.x 5\r\nPUB {subject} _INBOX.x 0\r\n\r\n"
            ));
            assert_eq!(asked.user.message().0, "_INBOX.x", "{subject}");
            let status = format!("Nats-Subject: {subject}");
            assert!(asked.user.last_header().contains(&status), "{subject}");
            asked.user.send("UNSUB 5\r\n");
        }
    }
}

/// The events that a connection causes from its beginning to its end.
fn events_of(asked: &Asked) -> Vec<(String, Shape)> {
    let mut watcher = asked.server.connect(SYSTEM);
    watcher.send("SUB $SYS.ACCOUNT.A.> 1\r\nSUB $SYS.SERVER.*.CLIENT.> 2\r\nSUB $SYS.SERVER.ACCOUNT.A.CONNS 3\r\n");
    watcher.flush();
    drop(
        asked
            .server
            .connect(r#""user":"a","pass":"a","name":"short","lang":"c","version":"3""#),
    );
    let mut wrong = Client::greet(asked.server.clients);
    let mut events = Vec::new();
    let mut disconnected = false;
    loop {
        let (subject, payload) = watcher.message();
        let subject = subject.replace(&asked.id, "ID");
        let shape = serde_json::from_slice(&payload).unwrap();
        let refused = subject.ends_with("AUTH.ERR");
        if subject.ends_with("DISCONNECT") && !disconnected {
            disconnected = true;
            wrong.send("CONNECT {\"user\":\"a\",\"pass\":\"wrong\",\"name\":\"w\"}\r\n");
        }
        events.push((subject, shape));
        if refused {
            break;
        }
    }
    // Reports of numbers may come before or after what changed them.
    events.sort_by(|one, other| one.0.cmp(&other.0));
    events
}

#[test]
fn events_are_those_of_nats_server() {
    let Some(program) = reference() else { return };
    let (one, other) = (Asked::start(&program), Asked::start(&midge()));
    let (expected, found) = (events_of(&one), events_of(&other));
    let subjects = |events: &[(String, Shape)]| -> Vec<String> {
        events.iter().map(|(subject, _)| subject.clone()).collect()
    };
    assert_eq!(subjects(&expected), subjects(&found));
    let mut report = String::new();
    for ((subject, expected), (_, found)) in expected.iter().zip(&found) {
        compared(subject, expected, found, &mut report);
    }
    assert!(report.is_empty(), "nats-server, then Midge:\n{report}");
}

/// One client's questions neither cost the reports about others nor the answers to the operator.
#[test]
fn a_flood_of_questions_loses_no_event() {
    const CLIENTS: usize = 60;
    let mut asked = Asked::start(&midge());
    let mut watcher = asked.server.connect(SYSTEM);
    watcher.send("SUB $SYS.ACCOUNT.A.CONNECT 1\r\n");
    watcher.flush();
    let flood = "PUB $SYS.REQ.ACCOUNT.PING.CONNZ nobody 0\r\n\r\n".repeat(200);
    let mut clients = Vec::new();
    for number in 0..CLIENTS {
        asked.user.send(&flood.repeat(5));
        let name = format!(r#""user":"a","pass":"a","name":"{number}""#);
        clients.push(asked.server.connect(&name));
    }
    let mut names = std::collections::BTreeSet::new();
    for _ in 0..CLIENTS {
        let (_, payload) = watcher.message();
        let event: serde_json::Value = serde_json::from_slice(&payload).unwrap();
        names.insert(event["client"]["name"].as_str().unwrap().to_owned());
    }
    assert_eq!(names.len(), CLIENTS);
    let answer = asked.system.request("$SYS.REQ.SERVER.PING.IDZ", "");
    assert_eq!(answer["id"].as_str(), Some(&*asked.id));
}

#[test]
fn statistics_come_by_themselves_and_the_end_is_announced() {
    for program in std::iter::once(midge()).chain(reference()) {
        let asked = Asked::start(&program);
        let mut watcher = asked.server.connect(SYSTEM);
        watcher.send("SUB $SYS.SERVER.*.STATSZ 1\r\nSUB $SYS.SERVER.*.SHUTDOWN 2\r\n");
        watcher.flush();
        let (subject, payload) = watcher.message();
        assert_eq!(subject, format!("$SYS.SERVER.{}.STATSZ", asked.id));
        let statistics: serde_json::Value = serde_json::from_slice(&payload).unwrap();
        assert!(statistics["statsz"]["connections"].as_u64().unwrap() >= 2);
        asked.server.signal(rustix::process::Signal::TERM);
        let announced = std::iter::from_fn(|| Some(watcher.message()))
            .find(|(subject, _)| subject.ends_with("SHUTDOWN"));
        let (_, payload) = announced.unwrap();
        let server: serde_json::Value = serde_json::from_slice(&payload).unwrap();
        assert_eq!(
            server["id"].as_str(),
            Some(&*asked.id),
            "{}",
            program.display()
        );
    }
}

#[test]
fn an_operator_closes_a_connection_and_reads_the_configuration_again() {
    for program in std::iter::once(midge()).chain(reference()) {
        let mut asked = Asked::start(&program);
        let page = asked
            .system
            .request("$SYS.REQ.SERVER.PING.CONNZ", r#"{"acc":"A"}"#);
        let cid = page["data"]["connections"][0]["cid"].as_u64().unwrap();
        let kick = format!("$SYS.REQ.SERVER.{}.KICK", asked.id);
        let answer = asked.system.request(&kick, &format!("{{\"cid\":{cid}}}"));
        assert!(answer.get("error").is_none(), "{answer}");
        while !asked.user.line().is_empty() {}
        let reload = format!("$SYS.REQ.SERVER.{}.RELOAD", asked.id);
        let file = asked.server.configuration_file();
        std::fs::write(&file, CONFIGURATION.replace("zone:b", "zone:c")).unwrap();
        let answer = asked.system.request(&reload, "");
        assert!(answer.get("error").is_none(), "{answer}");
        let tags = || {
            let page = crate::http::get(asked.server.monitoring, "/varz").json();
            page["tags"][0].as_str().unwrap().to_owned()
        };
        eventually("the new tag", || tags() == "zone:c");
        std::fs::write(&file, "port: nonsense").unwrap();
        let answer = asked.system.request(&reload, "");
        assert_eq!(answer["error"]["code"], 500, "{answer}");
        let line = "Reloaded server configuration";
        eventually(line, || asked.server.log().contains(line));
    }
}
