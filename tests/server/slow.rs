//! Peers that do not read what they are sent cost themselves alone.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};

use super::client::{Client, eventually};
use super::midge::{Embedded, Process};

const MIB: usize = 1024 * 1024;

/// A subscriber whose socket takes little before it is full.
fn narrow(address: SocketAddr, subscription: &str) -> Client {
    let client = Client::subscriber(address, subscription);
    rustix::net::sockopt::set_socket_recv_buffer_size(client.stream(), 64 * 1024).unwrap();
    client
}

/// Numbered payloads, all of one size.
fn payload(number: usize, size: usize) -> Vec<u8> {
    let mut payload = format!("{number} ").into_bytes();
    payload.resize(size, b'.');
    payload
}

#[test]
fn a_subscriber_that_does_not_read_is_cut_off_and_nobody_else_notices() {
    let server = Embedded::start("max_pending: 1MB\nwrite_deadline: 60s");
    let mut stuck = narrow(server.address, "a 1");
    let mut fast = Client::subscriber(server.address, "a 1");
    let mut publisher = Client::quiet(server.address);
    let reader = std::thread::spawn(move || {
        for number in 0.. {
            let message = fast.message();
            if message.body == b"last" {
                return number;
            }
            assert!(message.body == payload(number, 10_000));
        }
        unreachable!()
    });
    let mut published = 0;
    eventually("the end of the stuck subscriber", || {
        publisher.publish("a", &payload(published, 10_000));
        publisher.ping();
        published += 1;
        server.broker().connection_count() == 2
    });
    // It took what its limit and the sockets' buffers hold, and no more.
    assert!(
        (MIB..32 * MIB).contains(&(published * 10_000)),
        "{published} messages"
    );
    publisher.publish("a", b"last");
    publisher.ping();
    assert_eq!(reader.join().unwrap(), published);
    assert_eq!(server.broker().stats.slow_consumers.get(), 1);
    // What it got is the beginning of what was published, and it is not told why there is no more.
    let got = stuck.read_to_whatever_end();
    let all: Vec<u8> = (0..published)
        .flat_map(|number| [b"MSG a 1 10000\r\n", &payload(number, 10_000)[..], b"\r\n"].concat())
        .collect();
    assert!(all.starts_with(&got), "something else came");
}

#[test]
fn a_subscriber_that_takes_nothing_is_cut_off_by_the_write_deadline() {
    let server = Process::start("write_deadline: 300ms");
    let mut stuck = narrow(server.address, "a 1");
    let mut fast = Client::subscriber(server.address, "a 1");
    let mut publisher = Client::quiet(server.address);
    // Enough to fill the sockets' buffers, and far less than may be pending.
    let reader = std::thread::spawn(move || {
        for number in 0..160 {
            assert!(fast.message().body == payload(number, 100_000));
        }
        fast.ping();
    });
    for number in 0..160 {
        publisher.publish("a", &payload(number, 100_000));
    }
    publisher.ping();
    reader.join().unwrap();
    eventually("the line about the slow consumer", || {
        let cut = |line: &String| line.contains("Slow Consumer") && line.contains("WriteDeadline");
        server.log().iter().any(cut)
    });
    stuck.read_to_whatever_end();
    publisher.ping();
}

/// Reading slowly is no reason to be cut off as long as it is reading.
#[test]
fn progress_starts_the_write_deadline_anew() {
    let server = Process::start("write_deadline: 1s\nmax_pending: 64MB");
    let mut slow = narrow(server.address, "a 1");
    let mut publisher = Client::quiet(server.address);
    for number in 0..200 {
        publisher.publish("a", &payload(number, 100_000));
    }
    publisher.ping();
    let start = super::client::now();
    for number in 0..200 {
        assert!(slow.message().body == payload(number, 100_000));
        // Each message after the one before and a round trip of somebody else.
        while start.elapsed().as_millis() < number as u128 * 15 {
            publisher.ping();
        }
    }
    slow.ping();
}

#[test]
fn a_publisher_goes_on_when_the_peer_it_waits_for_dies() {
    let server = Process::start("max_pending: 2MB\nwrite_deadline: 60s");
    let address = server.address;
    for _ in 0..5 {
        let stuck = narrow(address, "a 1");
        let enough = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let publisher = scope.spawn(|| {
                let mut publisher = Client::quiet(address);
                let payload = payload(0, 1000);
                for number in 0..20_000 {
                    publisher.publish("a", &payload);
                    if number == 5000 {
                        enough.store(true, Ordering::Release);
                    }
                }
                publisher.ping();
            });
            eventually("a busy publisher", || enough.load(Ordering::Acquire));
            drop(stuck);
            publisher.join().unwrap();
        });
    }
}

#[test]
fn messages_are_left_out_for_slow_peers_where_that_is_wanted() {
    let server =
        Process::start("no_fast_producer_stall: true\nmax_pending: 2MB\nwrite_deadline: 60s");
    let mut slow = narrow(server.address, "a 1");
    let mut fast = Client::subscriber(server.address, "a 1");
    let mut publisher = Client::quiet(server.address);
    const COUNT: usize = 3000;
    let reader = std::thread::spawn(move || {
        let mut got = 0;
        while fast.message().body != b"last" {
            got += 1;
        }
        got
    });
    for number in 0..COUNT {
        publisher.publish("a", &payload(number, 10_000));
        publisher.ping();
    }
    // It begins to read: it is still there, with a part of the messages, whole and in order.
    let mut next = 0;
    let mut got = 0;
    slow.send("PING\r\n");
    loop {
        let line = slow.line();
        if line == "PONG" {
            break;
        }
        assert_eq!(line, "MSG a 1 10000");
        let body = slow.line();
        let number: usize = body.split(' ').next().unwrap().parse().unwrap();
        assert!(number >= next && body.len() == 10_000);
        next = number + 1;
        got += 1;
    }
    assert!(got > 150 && got < COUNT, "{got} messages");
    publisher.publish("a", b"last");
    slow.expect("MSG a 1 4\r\nlast\r\n");
    // A peer that reads may still lose messages when it falls behind for a moment, but hardly many.
    assert!(reader.join().unwrap() > COUNT / 2);
}

/// Where it is asked for, a subscriber that is cut gets what waited for it and then the reason.
#[test]
fn who_is_told_gets_its_backlog_and_the_reason_before_the_end() {
    let config = |rest: &str| {
        format!(
            "max_pending: 1MB\nno_auth_user: u
            accounts {{ A {{ users: [{{user: u, password: p}}], slow_consumer_error: true{rest} }} }}"
        )
    };
    let server = Embedded::start(&config(""));
    let mut slow = narrow(server.address, "a 1");
    let mut publisher = Client::quiet(server.address);
    let mut published = 0;
    eventually("the end of the slow subscriber", || {
        publisher.publish("a", &payload(published, 10_000));
        publisher.ping();
        published += 1;
        server.broker().stats.slow_consumers.get() == 1
    });
    let mut got = 0;
    loop {
        let line = slow.line();
        if line == "-ERR 'Slow Consumer'" {
            break;
        }
        assert_eq!(line, "MSG a 1 10000");
        assert!(slow.line().as_bytes() == payload(got, 10_000));
        got += 1;
    }
    assert!(got <= published, "{got}");
    slow.expect_end();
    eventually("the end of the connection", || {
        server.broker().connection_count() == 1
    });

    let server = Embedded::start(&config(", slow_consumer: drop_new"));
    let mut slow = narrow(server.address, "a 1");
    let mut publisher = Client::quiet(server.address);
    eventually("messages that are left out", || {
        publisher.publish("a", &payload(0, 10_000));
        publisher.ping();
        server.broker().stats.slow_consumers.get() == 1
    });
    slow.send("PING\r\n");
    let lines = std::iter::from_fn(|| Some(slow.line()).filter(|line| line != "PONG"));
    let told = lines.filter(|line| line == "-ERR 'Slow Consumer'").count();
    assert_eq!(told, 1);
}

/// A client that asks without ever reading the answers is cut off like any other.
#[test]
fn answers_that_nobody_reads_are_limited_too() {
    let server = Embedded::start("max_pending: 1MB\nwrite_deadline: 60s");
    let mut client = narrow(server.address, "a 1");
    let pings = "PING\r\n".repeat(10_000);
    eventually("the end of the connection", || {
        // Reading nothing, it is at last refused everything.
        let _may_fail = client.try_send(&pings);
        server.broker().connection_count() == 0
    });
    assert_eq!(server.broker().stats.slow_consumers.get(), 1);
    client.read_to_whatever_end();
}
