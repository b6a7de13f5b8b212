//! How a server ends.

use std::net::TcpStream;
use std::time::Duration;

use rustix::process::Signal;

use super::client::{Client, MODERN, QUIET, eventually, info};
use super::midge::{Embedded, Process};

#[test]
fn signals_end_the_server_and_its_connections_in_order() {
    for signal in [Signal::INT, Signal::TERM] {
        let mut server = Process::start("");
        let mut clients: Vec<Client> = (0..20).map(|_| Client::quiet(server.address)).collect();
        let mut silent = server.connect();
        server.signal(signal);
        for client in &mut clients {
            client.expect_end();
        }
        silent.expect_end();
        assert_eq!(server.exit().code(), Some(0));
        assert!(TcpStream::connect(server.address).is_err());
        eventually("the last line of the log", || {
            server
                .log()
                .last()
                .is_some_and(|line| line.contains("Server Exiting.."))
        });
    }
}

#[test]
fn what_is_pending_is_sent_before_the_end() {
    let mut server = Process::start("");
    let mut subscribers: Vec<Client> = (0..4)
        .map(|_| Client::subscriber(server.address, "a 1"))
        .collect();
    let mut publisher = Client::quiet(server.address);
    let payload = vec![b'x'; 500_000];
    for _ in 0..20 {
        publisher.publish("a", &payload);
    }
    publisher.ping();
    // Ten megabytes each are more than the sockets' buffers hold.
    server.signal(Signal::TERM);
    std::thread::scope(|scope| {
        for subscriber in &mut subscribers {
            let payload = &payload;
            scope.spawn(move || {
                for _ in 0..20 {
                    assert!(subscriber.message().body == *payload);
                }
                subscriber.expect_end();
            });
        }
    });
    assert_eq!(server.exit().code(), Some(0));
}

/// A peer that does not read can delay the end for a moment only.
#[test]
fn a_stuck_peer_does_not_keep_the_server() {
    let mut server = Process::start("");
    let stuck = Client::subscriber(server.address, "a 1");
    let mut publisher = Client::quiet(server.address);
    for _ in 0..40 {
        publisher.publish("a", &vec![b'x'; 500_000]);
    }
    publisher.ping();
    let start = super::client::now();
    server.signal(Signal::TERM);
    assert_eq!(server.exit().code(), Some(0));
    assert!(
        start.elapsed() < Duration::from_secs(5),
        "{:?}",
        start.elapsed()
    );
    drop(stuck);
}

#[test]
fn a_lame_duck_takes_nobody_new_and_tells_those_it_has() {
    let mut server = Process::start("");
    let mut modern = Client::introduced(server.address, MODERN);
    let mut old = Client::quiet(server.address);
    // Has not had its first pong, so would not expect an INFO.
    let mut fresh = server.connect();
    fresh.send(format!("{MODERN}\r\nSUB fresh 1\r\n"));
    old.send("PUB fresh 1\r\nx\r\n");
    eventually("the first subscription", || {
        old.send("PUB fresh 1\r\nx\r\n");
        old.ping();
        fresh.stream().set_nonblocking(true).unwrap();
        let waiting = fresh.stream().peek(&mut [0]).is_ok();
        fresh.stream().set_nonblocking(false).unwrap();
        waiting
    });
    server.signal(Signal::USR2);
    let fields = info(&modern.line());
    assert_eq!(fields["ldm"], true);
    assert_eq!(fields.get("connect_info"), None);
    eventually("closed doors", || {
        TcpStream::connect(server.address).is_err()
    });
    // Those inside go on as before.
    old.send("SUB a 1\r\n");
    old.ping();
    modern.publish("a", b"x");
    old.expect("MSG a 1 1\r\nx\r\n");
    modern.ping();
    // A client that introduces itself only now is not frightened.
    while fresh.line() == "MSG fresh 1 1" {
        fresh.expect("x\r\n");
        fresh.send("PING\r\n");
    }
    let fields = info(&fresh.line());
    assert_eq!(
        (&fields["connect_info"], fields.get("ldm")),
        (&true.into(), None)
    );
    // Asking again changes nothing, and the server can still be told to end at once.
    server.signal(Signal::USR2);
    old.ping();
    assert!(server.is_running());
    server.signal(Signal::INT);
    old.expect_end();
    assert_eq!(server.exit().code(), Some(0));
}

#[test]
fn a_lame_duck_closes_its_clients_bit_by_bit_and_ends() {
    let server = Embedded::start_with("", |options| {
        options.lame_duck_grace_period = Duration::from_millis(200);
        options.lame_duck_duration = Duration::from_millis(600);
    });
    let mut clients: Vec<Client> = (0..10)
        .map(|_| Client::introduced(server.address, MODERN))
        .collect();
    let start = super::client::now();
    let duck = server.server.clone();
    let running = server.spawn(async move { duck.lame_duck().await });
    let mut ends: Vec<Duration> = std::thread::scope(|scope| {
        let waiting: Vec<_> = clients
            .iter_mut()
            .map(|client| {
                scope.spawn(move || {
                    assert_eq!(info(&client.line())["ldm"], true);
                    client.expect_end();
                    start.elapsed()
                })
            })
            .collect();
        waiting
            .into_iter()
            .map(|waiting| waiting.join().unwrap())
            .collect()
    });
    ends.sort_unstable();
    assert!(
        ends[0] >= Duration::from_millis(200),
        "the grace period was cut short: {ends:?}"
    );
    assert!(
        ends[9] - ends[0] >= Duration::from_millis(150),
        "all at once: {ends:?}"
    );
    server.block_on(async {
        let patience = super::client::PATIENCE;
        tokio::time::timeout(patience, server.server.stopped())
            .await
            .unwrap();
        tokio::time::timeout(patience, running)
            .await
            .unwrap()
            .unwrap();
    });
}

#[test]
fn a_lame_duck_without_clients_ends_at_once() {
    let mut server = Process::start("");
    server.signal(Signal::USR2);
    assert_eq!(server.exit().code(), Some(0));
}

#[test]
fn a_restarted_server_takes_clients_again() {
    let mut server = Process::start("");
    let address = server.address;
    let mut client = Client::quiet(address);
    server.signal(Signal::INT);
    client.expect_end();
    server.exit();
    let server = Embedded::start_with("", |options| options.port = address.port());
    assert_eq!(server.address, address);
    let mut client = server.connect();
    client.send(format!("{QUIET}\r\n"));
    client.ping();
}
