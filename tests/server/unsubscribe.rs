//! Subscriptions that end by themselves, to the message.

use std::net::SocketAddr;

use super::client::Client;
use super::midge::Process;

#[test]
fn a_maximum_counts_from_the_beginning() {
    let server = Process::start("");
    let mut client = Client::quiet(server.address);
    let publish = |client: &mut Client, count: usize, expected: usize| {
        for _ in 0..count {
            client.publish("a", b"x");
        }
        for _ in 0..expected {
            client.expect("MSG a 1 1\r\nx\r\n");
        }
        client.ping();
    };
    client.send("SUB a 1\r\n");
    publish(&mut client, 3, 3);
    client.send("UNSUB 1 5\r\n");
    publish(&mut client, 4, 2);
    // A maximum that has been reached already ends it at once; so does one that cannot be read.
    for max in ["2", "3", "0", "-1", "x", "99999999999999999999"] {
        client.send("SUB a 1\r\n");
        publish(&mut client, 3, 3);
        client.send(format!("UNSUB 1 {max}\r\n"));
        publish(&mut client, 2, 0);
    }
    // A later word replaces an earlier one.
    client.send("SUB a 1\r\nUNSUB 1 1\r\nUNSUB 1 4\r\n");
    publish(&mut client, 9, 4);
    client.send("SUB a 1\r\nUNSUB 1 4\r\nUNSUB 1\r\n");
    publish(&mut client, 9, 0);
    client.send("UNSUB 1\r\nUNSUB nobody 7\r\n");
    client.ping();
}

/// Publishes `count` messages of this publisher.
fn publish(address: SocketAddr, subject: &'static str, count: usize) {
    let mut publisher = Client::quiet(address);
    for _ in 0..count {
        publisher.publish(subject, b"x");
    }
    publisher.ping();
}

#[test]
fn a_maximum_is_exact_under_concurrent_publishers() {
    const PUBLISHERS: usize = 8;
    const EACH: usize = 500;
    let server = Process::start("");
    let address = server.address;
    for max in [
        1,
        2,
        777,
        PUBLISHERS * EACH - 1,
        PUBLISHERS * EACH,
        PUBLISHERS * EACH + 1,
    ] {
        let mut limited = Client::quiet(address);
        limited.send(format!("SUB a 1\r\nUNSUB 1 {max}\r\nSUB a 2\r\n"));
        limited.ping();
        std::thread::scope(|scope| {
            for _ in 0..PUBLISHERS {
                scope.spawn(|| publish(address, "a", EACH));
            }
        });
        limited.send("PING\r\n");
        let mut counts = [0; 3];
        loop {
            let line = limited.line();
            if line == "PONG" {
                break;
            }
            let sid: usize = line.split(' ').nth(2).unwrap().parse().unwrap();
            counts[sid] += 1;
            limited.expect("x\r\n");
        }
        assert_eq!(counts, [0, max.min(PUBLISHERS * EACH), PUBLISHERS * EACH]);
    }
}

/// A message that comes too late for one member is not lost but goes to another.
#[test]
fn maxima_of_a_group_lose_nothing_under_concurrent_publishers() {
    const PUBLISHERS: usize = 4;
    const EACH: usize = 500;
    let server = Process::start("");
    let address = server.address;
    let mut rest = Client::subscriber(address, "a q 1");
    let mut limited: Vec<Client> = (0..20)
        .map(|number| {
            let mut client = Client::quiet(address);
            client.send(format!("SUB a q 1\r\nUNSUB 1 {}\r\n", number + 1));
            client.ping();
            client
        })
        .collect();
    std::thread::scope(|scope| {
        for _ in 0..PUBLISHERS {
            scope.spawn(|| publish(address, "a", EACH));
        }
    });
    let count = |client: &mut Client| {
        client.send("PING\r\n");
        let mut count = 0;
        while client.line() != "PONG" {
            client.expect("x\r\n");
            count += 1;
        }
        count
    };
    let mut sum = 0;
    for (number, client) in limited.iter_mut().enumerate() {
        let got = count(client);
        assert_eq!(got, number + 1, "a member did not get its maximum");
        sum += got;
    }
    assert_eq!(count(&mut rest), PUBLISHERS * EACH - sum);
}

#[test]
fn nothing_comes_after_unsub_is_confirmed() {
    let server = Process::start("");
    let address = server.address;
    let stop = std::sync::atomic::AtomicBool::new(false);
    let mut client = Client::quiet(address);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut publisher = Client::quiet(address);
            while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                for _ in 0..50 {
                    publisher.publish("a", b"x");
                }
                publisher.ping();
            }
        });
        for _ in 0..200 {
            client.send("SUB a 1\r\nPING\r\n");
            while client.line() != "PONG" {}
            client.send("UNSUB 1\r\nPING\r\n");
            while client.line() != "PONG" {}
            client.ping();
        }
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
    });
}
