//! Pings, and peers that have gone without a word.

use std::time::Duration;

use super::client::{Client, QUIET, now};
use super::midge::Process;

#[test]
fn a_silent_peer_is_asked_and_then_closed() {
    let server = Process::start("ping_interval: 200ms\nping_max: 3");
    for introduce in [true, false] {
        let mut client = server.connect();
        client.show_pings();
        let start = now();
        if introduce {
            client.send(format!("{QUIET}\r\n"));
        }
        client.expect("PING\r\nPING\r\nPING\r\n-ERR 'Stale Connection'\r\n");
        client.expect_end();
        assert!(
            start.elapsed() >= Duration::from_millis(4 * 200),
            "{:?}",
            start.elapsed()
        );
    }
}

#[test]
fn answers_keep_a_connection_alive() {
    let server = Process::start("ping_interval: 100ms\nping_max: 1");
    let mut client = server.connect();
    client.show_pings();
    for _ in 0..10 {
        client.expect("PING\r\n");
        client.send("PONG\r\n");
    }
    client.expect("PING\r\n-ERR 'Stale Connection'\r\n");
    client.expect_end();
}

/// Whoever talks need not even answer the one ping that measures its round trip.
#[test]
fn a_busy_peer_is_asked_once() {
    let server = Process::start("ping_interval: 1s\nping_max: 1");
    let mut clients = [server.connect(), server.connect()];
    for client in &mut clients {
        client.show_pings();
        client.send(format!("{QUIET}\r\n"));
    }
    for client in &mut clients {
        client.expect("PING\r\n");
    }
    clients[0].send("PONG\r\n");
    let start = now();
    while start.elapsed() < Duration::from_millis(2500) {
        clients.iter_mut().for_each(Client::ping);
    }
}

#[test]
fn the_first_ping_comes_two_seconds_after_connect() {
    let server = Process::start("");
    let mut clients: Vec<Client> = (0..20).map(|_| server.connect()).collect();
    let start = now();
    for client in &mut clients {
        client.show_pings();
        client.send(format!("{QUIET}\r\n"));
    }
    for client in &mut clients {
        client.expect("PING\r\n");
        assert!(
            start.elapsed() >= Duration::from_secs(2),
            "{:?}",
            start.elapsed()
        );
    }
    assert!(
        start.elapsed() < Duration::from_secs(10),
        "{:?}",
        start.elapsed()
    );
}
