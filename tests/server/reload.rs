//! What a reload does to clients that are connected: what nats-server does, byte by byte (oracle).

use std::net::SocketAddr;

use super::client::{Client, info};
use super::midge::Process;
use super::reload_options::page;

const USERS: &str = "authorization { users: [ {user: a, password: pa}, {user: b, password: pb} ] }";
const REFUSED: &str = "-ERR 'Authorization Violation'\r\n";

fn login(address: SocketAddr, fields: &str) -> Client {
    let connect = format!("CONNECT {{{fields},\"verbose\":false}}");
    Client::introduced(address, &connect)
}

fn user(address: SocketAddr, name: &str) -> Client {
    login(
        address,
        &format!("\"user\":\"{name}\",\"pass\":\"p{name}\""),
    )
}

/// What it was told before the orderly end of its connection.
fn farewell(client: &mut Client) -> String {
    String::from_utf8(client.rest().unwrap()).unwrap()
}

fn contains(lines: &[String], text: &str) -> bool {
    lines.iter().any(|line| line.contains(text))
}

#[test]
fn users_that_are_gone_are_closed_and_wrong_passwords_are_told() {
    let server = Process::start(USERS);
    let (mut a, mut b) = (user(server.address, "a"), user(server.address, "b"));
    server.reloaded("authorization { users: [ {user: b, password: pb} ] }");
    assert_eq!(farewell(&mut a), "");
    b.ping();
    let lines = server.reloaded("authorization { users: [ {user: b, password: other} ] }");
    assert_eq!(farewell(&mut b), REFUSED);
    assert!(
        contains(&lines, "[INF] Reloaded: authorization users"),
        "{lines:#?}"
    );
    assert!(!contains(&server.log(), "other"), "no secrets");
}

#[test]
fn bcrypt_passwords_and_connection_types_are_judged_again() {
    // Of "abc".
    let hash = "$2a$06$If6bvum7DFjUnE9p2uDeDu0YHzrHM6tf.iqN8.yx.jNN1ILEf7h0i";
    let with = |hash: &str, types: &str| {
        format!(
            "authorization {{ users: [ {{user: a, password: \"{hash}\"{types}}}, {{user: b, password: pb}} ] }}"
        )
    };
    let server = Process::start(&with(hash, ""));
    let mut a = login(server.address, "\"user\":\"a\",\"pass\":\"abc\"");
    server.reloaded(&with(hash, ", permissions: { publish: x }"));
    a.send("PUB y 0\r\n\r\nPING\r\n");
    a.expect("-ERR 'Permissions Violation for Publish to \"y\"'\r\nPONG\r\n");
    server.reloaded(&with(hash, ", allowed_connection_types: [ WEBSOCKET ]"));
    assert_eq!(farewell(&mut a), REFUSED);
}

#[test]
fn who_belongs_to_another_account_now_is_closed() {
    let server = Process::start("accounts { A { users: [{user: a, password: pa}] }, B {} }");
    let mut a = user(server.address, "a");
    server.reloaded("accounts { A {}, B { users: [{user: a, password: pa}] } }");
    assert_eq!(farewell(&mut a), "");
}

#[test]
fn a_login_that_is_asked_for_now_counts_what_connect_said() {
    let server = Process::start("max_payload: 1MB");
    let mut nobody = Client::quiet(server.address);
    let mut a = user(server.address, "a");
    let mut wrong = login(server.address, "\"user\":\"a\",\"pass\":\"wrong\"");
    // One that has not said anything yet was given no time to.
    let mut silent = server.connect();
    a.send("SUB x 1\r\n");
    a.ping();
    server.reloaded(USERS);
    assert_eq!(farewell(&mut nobody), REFUSED);
    assert_eq!(farewell(&mut wrong), REFUSED);
    assert_eq!(farewell(&mut silent), REFUSED);
    a.send("PUB x 2\r\nok\r\n");
    a.expect("MSG x 1 2\r\nok\r\n");
    // And when nothing is asked for any more, users are gone.
    server.reloaded("max_payload: 1MB");
    assert_eq!(farewell(&mut a), "");
    Client::quiet(server.address).ping();
}

#[test]
fn tokens_and_the_single_user_are_judged_again() {
    let server = Process::start("authorization { token: t }");
    let mut holder = login(server.address, "\"auth_token\":\"t\"");
    server.reloaded("authorization { token: t, timeout: 5 }");
    holder.ping();
    server.reloaded("max_payload: 1MB");
    holder.ping();
    server.reloaded("authorization { token: t }");
    holder.ping();
    server.reloaded("authorization { token: u }");
    assert_eq!(farewell(&mut holder), REFUSED);
    server.reloaded("authorization { user: a, password: pa }");
    let mut single = user(server.address, "a");
    server.reloaded(USERS);
    single.ping();
    server.reloaded("authorization { user: a, password: other }");
    assert_eq!(farewell(&mut single), REFUSED);
}

#[test]
fn subscriptions_that_are_not_allowed_any_more_end() {
    let server = Process::start(USERS);
    let mut a = user(server.address, "a");
    a.send("SUB x 1\r\nSUB y 2\r\nSUB z q 3\r\nSUB > 4\r\nUNSUB 1 9\r\n");
    a.ping();
    let narrow = "authorization { users: [
        {user: a, password: pa, permissions: { publish: x, subscribe: x }}, {user: b, password: pb} ] }";
    let lines = server.reloaded(narrow);
    a.expect(
        "-ERR 'Permissions Violation for Subscription to \"y\" (sid \"2\")'\r\n\
         -ERR 'Permissions Violation for Subscription to \"z\" using queue \"q\" (sid \"3\")'\r\n\
         -ERR 'Permissions Violation for Subscription to \">\" (sid \"4\")'\r\n",
    );
    for removed in [
        r#""y" (sid "2")"#,
        r#""z" using queue "q" (sid "3")"#,
        r#"">" (sid "4")"#,
    ] {
        let line = format!("Removed sub {removed} for User \"a\" - not authorized");
        super::client::eventually(&line, || contains(&server.log(), &line));
    }
    assert!(
        contains(&lines, "Reloaded: authorization users"),
        "{lines:#?}"
    );
    a.send("PUB x 1\r\nx\r\nPUB y 1\r\ny\r\nSUB q 9\r\nPING\r\n");
    a.expect(
        "MSG x 1 1\r\nx\r\n-ERR 'Permissions Violation for Publish to \"y\"'\r\n\
         -ERR 'Permissions Violation for Subscription to \"q\"'\r\nPONG\r\n",
    );
    // Wider again: what ended does not come back, what may be asked for again may.
    server.reloaded(USERS);
    a.send("SUB y 2\r\nPUB y 1\r\ny\r\nPUB x 1\r\nx\r\nPING\r\n");
    a.expect("MSG y 2 1\r\ny\r\nMSG x 1 1\r\nx\r\nPONG\r\n");
}

#[test]
fn denied_parts_of_a_subscription_are_withheld_from_then_on() {
    let with = |deny: &str| {
        format!(
            "authorization {{ users: [ {{user: a, password: pa, permissions: {{ subscribe: {{ deny: [{deny}] }} }} }}, {{user: b, password: pb}} ] }}"
        )
    };
    let server = Process::start(&with("none"));
    let (mut a, mut b) = (user(server.address, "a"), user(server.address, "b"));
    a.send("SUB x.* 1\r\nUNSUB 1 5\r\n");
    a.ping();
    b.send("PUB x.a 1\r\n1\r\nPUB x.b 1\r\n2\r\n");
    a.expect("MSG x.a 1 1\r\n1\r\nMSG x.b 1 1\r\n2\r\n");
    server.reloaded(&with("x.b"));
    b.send("PUB x.b 1\r\n-\r\nPUB x.a 1\r\n3\r\n");
    a.expect("MSG x.a 1 1\r\n3\r\n");
    server.reloaded(&with("x.a"));
    b.send("PUB x.a 1\r\n-\r\nPUB x.b 1\r\n4\r\n");
    a.expect("MSG x.b 1 1\r\n4\r\n");
    server.reloaded(&with("none"));
    // The fifth is the last, as was asked for before all this.
    b.send("PUB x.a 1\r\n5\r\nPUB x.a 1\r\n6\r\n");
    b.ping();
    a.send("PING\r\n");
    a.expect("MSG x.a 1 1\r\n5\r\nPONG\r\n");
}

#[test]
fn answers_that_are_owed_may_still_be_given_after_a_reload_of_something_else() {
    let with = |more: &str| {
        format!(
            "authorization {{ users: [ {{user: a, password: pa, permissions: {{ subscribe: ask, allow_responses: true }} }}, {{user: b, password: pb}} ] }}\n{more}"
        )
    };
    let server = Process::start(&with(""));
    let (mut a, mut b) = (user(server.address, "a"), user(server.address, "b"));
    a.send("SUB ask 1\r\n");
    a.ping();
    b.send("SUB answer 1\r\nPUB ask answer 0\r\n\r\n");
    a.expect("MSG ask 1 answer 0\r\n\r\n");
    server.reloaded(&with("max_payload: 100"));
    a.send("PUB answer 2\r\nok\r\n");
    a.ping();
    b.expect("MSG answer 1 2\r\nok\r\n");
}

#[test]
fn the_newest_connections_go_when_fewer_are_allowed() {
    let server = Process::start("max_connections: 3");
    let mut clients = [(); 3].map(|()| Client::quiet(server.address));
    let lines = server.reloaded("max_connections: 1");
    let [first, others @ ..] = &mut clients;
    for other in others {
        assert_eq!(farewell(other), "-ERR 'maximum connections exceeded'\r\n");
    }
    first.ping();
    assert!(contains(
        &lines,
        "Closed 2 connections to fall within max_connections"
    ));
    assert!(
        contains(&lines, "[INF] Reloaded: max_connections = 1"),
        "{lines:#?}"
    );
}

#[test]
fn limits_of_accounts_hold_for_everybody_at_once() {
    let with = |limits: &str| {
        format!("accounts {{ A {{ users: [{{user: a, password: pa}}], limits {{ {limits} }} }} }}")
    };
    let server = Process::start(&with("max_conn: 4"));
    let mut clients = [(); 3].map(|()| user(server.address, "a"));
    clients[1].send("SUB x 1\r\nSUB y 2\r\n");
    clients[1].ping();
    server.reloaded(&with("max_conn: 2"));
    let told = "-ERR 'maximum account active connections exceeded'\r\n";
    assert_eq!(farewell(&mut clients[2]), told);
    server.reloaded(&with("max_conn: 2, max_subs: 1, max_payload: 2"));
    assert_eq!(
        farewell(&mut clients[1]),
        "-ERR 'maximum subscriptions exceeded'\r\n"
    );
    clients[0].send("SUB x 1\r\nPUB x 2\r\nok\r\nPUB x 3\r\nbad\r\n");
    let end = farewell(&mut clients[0]);
    assert_eq!(
        end,
        "MSG x 1 2\r\nok\r\n-ERR 'Maximum Payload Violation'\r\n"
    );
}

#[test]
fn sizes_and_times_hold_for_who_is_connected() {
    let server = Process::start("ping_interval: 1h");
    let [mut sender, mut talker, mut waiter] = [(); 3].map(|()| Client::quiet(server.address));
    waiter.show_pings();
    let lines =
        server.reloaded("max_payload: 2, max_control_line: 20, ping_interval: 200ms, ping_max: 5");
    for line in [
        "max_payload = 2",
        "max_control_line = 20",
        "ping_interval = 200ms",
        "ping_max = 5",
    ] {
        assert!(
            contains(&lines, &format!("[INF] Reloaded: {line}")),
            "{lines:#?}"
        );
    }
    sender.send("PUB x 3\r\nabc\r\n");
    assert_eq!(
        farewell(&mut sender),
        "-ERR 'Maximum Payload Violation'\r\n"
    );
    talker.send(format!("SUB {} 1\r\n", "x".repeat(40)));
    assert_eq!(
        farewell(&mut talker),
        "-ERR 'maximum control line exceeded'\r\n"
    );
    waiter.expect("PING\r\n");
    let greeting = info(&server.connect().greeting);
    assert_eq!(greeting["max_payload"], 2);
}

#[test]
fn what_becomes_of_slow_consumers_changes_for_who_is_connected() {
    let with = |policy: &str| {
        format!("http: \"127.0.0.1:-1\"\nmax_pending: 1MB\nmax_payload: 512KB
            authorization {{ users: [{{user: a, password: pa{policy}}}, {{user: b, password: pb}}] }}")
    };
    let server = Process::start(&with(""));
    let (mut stuck, mut publisher) = (user(server.address, "a"), user(server.address, "b"));
    stuck.send("SUB x 1\r\n");
    stuck.ping();
    server.reloaded(&with(", slow_consumer: drop_new"));
    let payload = vec![b'.'; 200_000];
    super::client::eventually("messages that are left out", || {
        publisher.publish("x", &payload);
        publisher.ping();
        let connections = page(&server, "connz")["connections"].clone();
        let one = connections
            .as_array()
            .unwrap()
            .iter()
            .find(|one| one["cid"] == 5);
        one.expect("it is not cut off")["dropped_msgs"]
            .as_u64()
            .is_some_and(|count| count > 0)
    });
}

#[test]
fn a_mistake_changes_nothing_and_is_told() {
    let system = "accounts { SYS { users: [{user: a, password: pa}] }, B { users: [{user: b, password: pb}] } }
        system_account: SYS\n";
    let server = Process::start(system);
    let mut b = user(server.address, "b");
    let mistakes = [
        (
            "max_payload: 5\nmax_paylaod: 6\n",
            "unknown field \"max_paylaod\"",
        ),
        (
            "max_payload: 5\ntls { cert_file: \"absent.pem\", key_file: \"absent.pem\" }",
            "absent.pem",
        ),
        (
            "max_payload: 5\nlog_file: \"/absent/midge.log\"",
            "error opening file: open /absent/midge.log",
        ),
        (
            "max_payload: 5\npid_file: \"/absent/midge.pid\"",
            "Could not write pidfile",
        ),
        (
            "max_payload: 5\nserver_name: other",
            "config reload not supported for ServerName: old=, new=other",
        ),
        (
            "max_payload: 5\nmappings { \"a\": \"b.{{wildcard(3)}}\" }",
            "invalid mapping destination",
        ),
    ];
    for (text, reason) in mistakes {
        let lines = server.reload(&format!("{system}{text}"));
        let failed = "[ERR] Failed to reload server configuration: ";
        let told = lines.iter().find(|line| line.contains(failed)).unwrap();
        assert!(told.contains(reason), "{told}");
        assert!(!contains(&lines, "Reloaded: "), "{lines:#?}");
        assert_eq!(
            info(&server.connect().greeting)["max_payload"],
            1_048_576,
            "{text}"
        );
        b.send("PUB x 6\r\nlonger\r\n");
        b.ping();
    }
    // The same words for whoever asks over the system account.
    server.configure(&format!("{system}max_paylaod: 6"));
    let id = info(&server.connect().greeting)["server_id"]
        .as_str()
        .unwrap()
        .to_owned();
    let mut operator = user(server.address, "a");
    operator.send(format!(
        "SUB inbox 1\r\nPUB $SYS.REQ.SERVER.{id}.RELOAD inbox 0\r\n\r\n"
    ));
    let answer = operator.message();
    let document: serde_json::Value = serde_json::from_slice(&answer.body).unwrap();
    let told = document["error"]["description"].as_str().unwrap();
    let place = format!("{}:3:1: ", server.directory().join("midge.conf").display());
    assert!(
        told.contains(&place) && told.contains("max_paylaod"),
        "{told}"
    );
}
