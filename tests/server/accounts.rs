//! Accounts: what flows between them, and when it ends.

use std::time::Duration;

use midge::broker::deliver::Deliveries;
use rustix::process::Signal;

use super::client::{Client, eventually, now};
use super::midge::{Embedded, Process};

const SHARED: &str = r#"accounts {
  A: {
    users: [ { user: a, password: p } ]
    imports: [ { stream: { account: B, subject: "events.>" }, prefix: in }, { service: { account: B, subject: ask } } ]
  }
  B: {
    users: [ { user: b, password: p } ]
    exports: [ { stream: "events.>" }, { service: ask, response_threshold: "200ms" } ]
  }
}"#;

fn log_in(address: std::net::SocketAddr, user: &str) -> Client {
    let connect = format!(
        r#"CONNECT {{"verbose":false,"headers":true,"no_responders":true,"user":"{user}","pass":"p"}}"#
    );
    Client::introduced(address, &connect)
}

/// The reply subject of a request that came.
fn reply_of(responder: &mut Client) -> String {
    let request = responder.message();
    request.word(3).to_owned()
}

#[test]
fn a_maximum_counts_own_and_imported_messages_together() {
    let server = Process::start(SHARED);
    let (mut a, mut b) = (log_in(server.address, "a"), log_in(server.address, "b"));
    a.send("SUB in.> 1\r\nUNSUB 1 3\r\n");
    a.ping();
    a.send("PUB in.own 1\r\n1\r\n");
    a.expect("MSG in.own 1 1\r\n1\r\n");
    for number in 2..=5 {
        b.publish(&format!("events.{number}"), b"x");
    }
    b.ping();
    a.send("PUB in.own 1\r\n6\r\nPING\r\n");
    a.expect("MSG in.events.2 1 1\r\nx\r\nMSG in.events.3 1 1\r\nx\r\nPONG\r\n");
    // The name is free again, and nothing comes twice.
    a.send("SUB in.> 1\r\n");
    a.ping();
    b.publish("events.7", b"x");
    b.ping();
    a.send("PING\r\n");
    a.expect("MSG in.events.7 1 1\r\nx\r\nPONG\r\n");
}

#[test]
fn nothing_is_left_of_connections_and_requests() {
    let server = Embedded::start(SHARED);
    let exporter = server.broker().account("B");
    let interest = || exporter.interest().len();
    let before = interest();
    let mut b = log_in(server.address, "b");
    b.send("SUB ask 1\r\n");
    b.ping();
    for round in 0..3 {
        let mut a = log_in(server.address, "a");
        a.send(
            "SUB in.> 1\r\nSUB inbox 2\r\nSUB in.events.x q 3\r\nUNSUB 3\r\nPUB ask inbox 0\r\n\r\n",
        );
        a.ping();
        // One for requests, one for answers, one for what is imported.
        assert_eq!(interest(), before + 3);
        let reply = reply_of(&mut b);
        if round > 0 {
            b.send(format!("PUB {reply} 2\r\nok\r\n"));
            b.ping();
            a.expect("MSG inbox 2 2\r\nok\r\n");
        }
        assert_eq!(exporter.pending_requests(), 1);
        drop(a);
        eventually("the end of what was imported", || interest() == before + 2);
    }
    // The one that nobody answered is late by now or will be soon.
    eventually("the end of the last request", || {
        Deliveries::new(1).expire_requests(&exporter, now());
        exporter.pending_requests() == 0
    });
}

#[test]
fn an_answer_that_comes_late_reaches_nobody() {
    let server = Process::start(SHARED);
    let (mut a, mut b) = (log_in(server.address, "a"), log_in(server.address, "b"));
    b.send("SUB ask 1\r\n");
    b.ping();
    a.send("SUB inbox 1\r\nPUB ask inbox 0\r\n\r\n");
    a.ping();
    let (reply, asked) = (reply_of(&mut b), now());
    eventually("the service's time to be over", || {
        asked.elapsed() > Duration::from_millis(250)
    });
    b.send(format!("PUB {reply} 4\r\nlate\r\n"));
    b.ping();
    a.send("PING\r\n");
    a.expect("PONG\r\n");
}

#[test]
fn a_request_of_a_lost_requester_keeps_nobody_busy() {
    let server = Process::start(SHARED);
    let mut b = log_in(server.address, "b");
    b.send("SUB ask 1\r\n");
    b.ping();
    let mut a = log_in(server.address, "a");
    a.send("PUB ask inbox 0\r\n\r\n");
    a.ping();
    let reply = reply_of(&mut b);
    drop(a);
    b.send(format!("PUB {reply} 2\r\nok\r\n"));
    b.ping();
}

#[test]
fn a_reload_changes_what_is_shared() {
    let server = Process::start(SHARED);
    let (mut a, mut b) = (log_in(server.address, "a"), log_in(server.address, "b"));
    a.send("SUB > 1\r\n");
    b.send("SUB ask 1\r\n");
    a.ping();
    b.ping();
    let reload = |configuration: &str| {
        let lines = |log: Vec<String>| {
            log.iter()
                .filter(|line| line.contains("Reloaded server"))
                .count()
        };
        let before = lines(server.log());
        server.configure(configuration);
        server.signal(Signal::HUP);
        eventually("the reload", || lines(server.log()) > before);
    };
    let mut publish = |a: &mut Client, expected: &str| {
        b.publish("events.x", b"x");
        b.ping();
        a.send("PING\r\n");
        a.expect(format!("{expected}PONG\r\n"));
    };
    publish(&mut a, "MSG in.events.x 1 1\r\nx\r\n");
    // Without its imports the account hears nothing, though it subscribed before.
    let users = r#"accounts {
      A: { users: [ { user: a, password: p } ] }
      B: { users: [ { user: b, password: p } ], exports: [ { stream: "events.>" } ] }
    }"#;
    reload(users);
    publish(&mut a, "");
    a.send("SUB inbox 2\r\nPUB ask inbox 0\r\n\r\nPING\r\n");
    let own = "MSG ask 1 inbox 0\r\n\r\n";
    a.expect(format!("{own}PONG\r\n"));
    // With them again it hears, and once.
    reload(&SHARED.replace("prefix: in", "prefix: other"));
    publish(&mut a, "MSG other.events.x 1 1\r\nx\r\n");
    reload(SHARED);
    publish(&mut a, "MSG in.events.x 1 1\r\nx\r\n");
}

#[test]
fn accounts_are_closed_unless_they_share() {
    let server = Process::start(SHARED);
    let (mut a, mut b) = (log_in(server.address, "a"), log_in(server.address, "b"));
    a.send("SUB > 1\r\nSUB $SYS.> 2\r\nSUB _R_.> 3\r\n");
    a.ping();
    for subject in [
        "other",
        "ask",
        "in.events.x",
        "$SYS.x",
        "_R_.a.b",
        "B.events.x",
        "events",
    ] {
        b.publish(subject, b"x");
    }
    b.ping();
    a.send("PING\r\n");
    a.expect("PONG\r\n");
}
