//! Connections that do not read, under each policy for slow consumers.

use serde_json::Value;

use crate::http::get;
use crate::servers::{Client, Server, eventually, midge};

const CONFIGURATION: &str = r#"
max_pending: 1MB
write_deadline: "60s"
accounts {
  NEW { slow_consumer: drop_new, users: [{user: new, password: new}] }
  OLD { slow_consumer: block, users: [{user: old, password: old, slow_consumer: drop_old}] }
  BLOCK { slow_consumer: block, users: [{user: block, password: block}] }
  CUT { users: [{user: cut, password: cut}] }
  SYS { users: [{user: sys, password: sys}] }
}
system_account: SYS
"#;

/// Messages of a kilobyte: more than any socket buffers take.
const MESSAGES: usize = 30_000;
const BODY: usize = 1024;

fn connect(server: &Server, user: &str, name: &str) -> Client {
    server.connect(&format!(
        r#""user":"{user}","pass":"{user}","name":"{name}""#
    ))
}

fn publish(client: &mut Client, numbers: std::ops::Range<usize>) {
    for number in numbers {
        client.send(&format!("PUB much {BODY}\r\n{number:0BODY$}\r\n"));
    }
}

/// The connection of that name on `/connz`.
fn shown(server: &Server, state: &str, name: &str) -> Option<Value> {
    let page = get(server.monitoring, &format!("/connz?state={state}")).json();
    let connections = page["connections"].as_array().unwrap().iter();
    connections.clone().find(|one| one["name"] == name).cloned()
}

/// The numbers of the messages that come until the one on `end`.
fn read_all(client: &mut Client) -> Vec<usize> {
    let mut numbers = Vec::new();
    loop {
        let (subject, body) = client.message();
        if subject == "end" {
            return numbers;
        }
        numbers.push(String::from_utf8(body).unwrap().parse().unwrap());
    }
}

/// A subscriber that reads nothing while everything is published: its connection then, and what it
/// reads in the end.
fn drop_messages(server: &Server, user: &str) -> (Value, Vec<usize>) {
    let mut slow = connect(server, user, user);
    slow.send("SUB much 1\r\nSUB end 2\r\n");
    slow.flush();
    let mut publisher = connect(server, user, "publisher");
    publish(&mut publisher, 0..MESSAGES);
    publisher.flush();
    let connection = shown(server, "open", user).unwrap();
    let reading = std::thread::spawn(move || (read_all(&mut slow), slow));
    // What is published while it reads what waited may be dropped as well, until it has caught up.
    eventually("the slow one has caught up", || {
        shown(server, "open", user).is_some_and(|one| one["pending_bytes"] == 0)
    });
    publisher.send("PUB end 0\r\n\r\n");
    publisher.flush();
    let (numbers, _slow) = reading.join().unwrap();
    assert!(
        numbers.is_sorted_by(|one, next| one < next),
        "in order, once each"
    );
    let dropped = usize::try_from(connection["dropped_msgs"].as_u64().unwrap()).unwrap();
    assert_eq!(numbers.len(), MESSAGES - dropped);
    assert_eq!(connection["dropped_bytes"], dropped * BODY);
    (connection, numbers)
}

#[test]
fn new_or_old_messages_are_dropped_and_counted() {
    let server = Server::start(&midge(), CONFIGURATION);
    let mut watcher = server.connect(r#""user":"sys","pass":"sys""#);
    watcher.send("SUB $SYS.ACCOUNT.*.CLIENT.SLOW_CONSUMER 1\r\n");
    watcher.flush();
    let (_, numbers) = drop_messages(&server, "new");
    assert!(numbers.iter().copied().eq(0..numbers.len()), "the first");
    let (subject, event) = watcher.message();
    assert_eq!(subject, "$SYS.ACCOUNT.NEW.CLIENT.SLOW_CONSUMER");
    let event: Value = serde_json::from_slice(&event).unwrap();
    assert_eq!(event["client"]["name"], "new");
    assert_eq!(
        event["dropped_msgs"].as_u64().map(|count| count > 0),
        Some(true)
    );
    let (_, numbers) = drop_messages(&server, "old");
    assert_eq!(numbers.last(), Some(&(MESSAGES - 1)), "the last");
    let accounts = get(server.monitoring, "/accstatz?unused=1").json();
    let accounts = accounts["account_statz"].as_array().unwrap();
    for account in ["NEW", "OLD"] {
        let stats = accounts.iter().find(|one| one["acc"] == account).unwrap();
        assert!(stats["dropped_msgs"].as_u64().unwrap() > 0, "{stats}");
        assert_eq!(stats["slow_consumers"], 1, "{stats}");
    }
    let metrics = get(server.monitoring, "/metrics").body;
    assert!(metrics.contains("midge_account_dropped_messages_total{account=\"NEW\"} "));
    assert!(
        server
            .log()
            .contains("MaxPending of 1048576 Exceeded, messages are dropped")
    );
}

#[test]
fn publishers_wait_for_a_slow_consumer_and_nobody_else_does() {
    let server = Server::start(&midge(), CONFIGURATION);
    let mut slow = connect(&server, "block", "slow");
    slow.send("SUB much 1\r\nSUB end 2\r\n");
    slow.flush();
    let mut publisher = connect(&server, "block", "publisher");
    let publishing = std::thread::spawn(move || {
        publish(&mut publisher, 0..MESSAGES);
        publisher.send("PUB end 0\r\n\r\n");
        publisher.flush();
    });
    eventually("the publisher waits", || {
        let waits = shown(&server, "open", "slow").unwrap();
        let stalls = waits["stalls"].as_u64().unwrap_or_default();
        stalls > 0 && waits["pending_bytes"].as_u64().unwrap() > 512 * 1024
    });
    let before = shown(&server, "open", "publisher").unwrap()["in_msgs"].clone();
    let mut other = connect(&server, "block", "other");
    other.send("SUB else 1\r\nPUB else 2\r\nhi\r\n");
    assert_eq!(other.message().0, "else");
    let waiting = shown(&server, "open", "publisher").unwrap();
    assert_eq!(waiting["in_msgs"], before, "it is not read any more");
    assert!(!publishing.is_finished());
    assert!(
        read_all(&mut slow).into_iter().eq(0..MESSAGES),
        "nothing is lost"
    );
    publishing.join().unwrap();
}

#[test]
fn publishers_do_not_wait_for_the_dead() {
    let configuration = CONFIGURATION.replace("\"60s\"", "\"1s\"");
    let server = Server::start(&midge(), &configuration);
    let mut dead = connect(&server, "block", "dead");
    dead.send("SUB much 1\r\n");
    dead.flush();
    let mut publisher = connect(&server, "block", "publisher");
    publish(&mut publisher, 0..MESSAGES);
    publisher.flush();
    eventually("the dead one is cut off", || {
        shown(&server, "closed", "dead").is_some()
    });
    let closed = shown(&server, "closed", "dead").unwrap();
    assert_eq!(closed["reason"], "Slow Consumer (Write Deadline)");
    drop(dead);
}

/// Without a policy everything is as in nats-server, and monitoring has no fields of its own.
#[test]
fn the_connection_is_cut_unless_told_otherwise() {
    let server = Server::start(&midge(), CONFIGURATION);
    let mut slow = connect(&server, "cut", "slow");
    slow.send("SUB much 1\r\n");
    slow.flush();
    let mut publisher = connect(&server, "cut", "publisher");
    publish(&mut publisher, 0..MESSAGES);
    publisher.flush();
    eventually("the slow one is cut off", || {
        shown(&server, "closed", "slow").is_some()
    });
    let closed = shown(&server, "closed", "slow").unwrap();
    assert_eq!(closed["reason"], "Slow Consumer (Pending Bytes)");
    assert!(closed.get("dropped_msgs").is_none(), "{closed}");
    drop(slow);
}
