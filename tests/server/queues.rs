//! Queue groups: each message goes to one member, spread evenly over those who can take it.

use std::collections::BTreeMap;

use super::client::{Client, MODERN, eventually};
use super::midge::{Embedded, Process};

/// The sum of squared deviations from an even spread, each by what is expected.
fn chi_square(counts: &[u32]) -> f64 {
    let expected = f64::from(counts.iter().sum::<u32>()) / counts.len() as f64;
    counts
        .iter()
        .map(|&count| (f64::from(count) - expected).powi(2) / expected)
        .sum()
}

/// Above this an even spread over eight members would be seen once in thousands of millions of runs.
const UNEVEN: f64 = 70.0;

/// Publishes so many numbered messages, the last one followed by `done` for each subscriber.
fn publish_all(publisher: &mut Client, subject: &str, count: usize) {
    for number in 0..count {
        publisher.publish(subject, number.to_string().as_bytes());
    }
    publisher.publish("done", b"");
    publisher.ping();
}

/// Messages up to that for the subject `done`.
fn messages_until_done(client: &mut Client) -> Vec<String> {
    let mut bodies = Vec::new();
    loop {
        let message = client.message();
        if message.word(1) == "done" {
            return bodies;
        }
        bodies.push(String::from_utf8(message.body).unwrap());
    }
}

#[test]
fn a_group_shares_evenly_and_loses_nothing() {
    let server = Process::start("");
    let mut members: Vec<Client> = (0..8)
        .map(|_| Client::subscriber(server.address, "jobs workers 1\r\nSUB done 2"))
        .collect();
    let mut witness = Client::subscriber(server.address, "jobs 1\r\nSUB done 2");
    let mut publisher = Client::quiet(server.address);
    publish_all(&mut publisher, "jobs", 8000);
    let shares: Vec<Vec<String>> = members.iter_mut().map(messages_until_done).collect();
    let counts: Vec<u32> = shares
        .iter()
        .map(|share| u32::try_from(share.len()).unwrap())
        .collect();
    assert!(chi_square(&counts) < UNEVEN, "{counts:?}");
    let mut all: Vec<u32> = shares
        .concat()
        .iter()
        .map(|text| text.parse().unwrap())
        .collect();
    all.sort_unstable();
    assert!(
        all.iter().copied().eq(0..8000),
        "each message goes to exactly one member"
    );
    assert_eq!(messages_until_done(&mut witness).len(), 8000);
}

#[test]
fn many_publishers_and_many_subjects_share_evenly() {
    let server = Process::start("");
    let mut members: Vec<Client> = (0..8)
        .map(|_| Client::subscriber(server.address, "jobs.* workers 1"))
        .collect();
    // Each publisher sends one message only: what they draw must not be the same for all of them.
    for number in 0..400 {
        let mut publisher = Client::quiet(server.address);
        publisher.publish(&format!("jobs.{number}"), b"x");
        publisher.publish(&format!("jobs.x{number}"), b"x");
        publisher.ping();
    }
    let mut publisher = Client::quiet(server.address);
    for _ in 0..8 {
        // Told one by one who is to stop, so that nobody waits for more.
        publisher.publish("jobs.stop", b"");
    }
    publisher.ping();
    let mut counts = vec![0_u32; members.len()];
    for (member, count) in members.iter_mut().zip(&mut counts) {
        member.send("PING\r\n");
        loop {
            let line = member.line();
            if line == "PONG" {
                break;
            }
            assert!(line.starts_with("MSG jobs."), "{line}");
            let size: usize = line.rsplit(' ').next().unwrap().parse().unwrap();
            member.expect(if size == 0 { "\r\n" } else { "x\r\n" });
            *count += 1;
        }
    }
    assert_eq!(counts.iter().sum::<u32>(), 808);
    assert!(chi_square(&counts) < UNEVEN, "{counts:?}");
}

#[test]
fn each_group_gets_each_message_once_whatever_its_filters() {
    let server = Process::start("");
    let mut subscriber = Client::quiet(server.address);
    for (sid, subscription) in ["a.b one", "a.* one", "> one", "a.b two", "*.b two", "a.b"]
        .iter()
        .enumerate()
    {
        subscriber.send(format!("SUB {subscription} {sid}\r\n"));
    }
    subscriber.ping();
    let mut publisher = Client::quiet(server.address);
    let mut got = BTreeMap::<String, u32>::new();
    for _ in 0..600 {
        publisher.publish("a.b", b"x");
        let mut groups: Vec<_> = (0..3)
            .map(|_| {
                let sid = subscriber.message().word(2).to_owned();
                *got.entry(sid.clone()).or_default() += 1;
                match &*sid {
                    "0" | "1" | "2" => "one",
                    "3" | "4" => "two",
                    _ => "plain",
                }
            })
            .collect();
        groups.sort_unstable();
        assert_eq!(groups, ["one", "plain", "two"]);
    }
    subscriber.ping();
    // All members of a group have the same chance, whichever filter they came by.
    for sid in ["0", "1", "2"] {
        assert!((120..280).contains(&got[sid]), "{got:?}");
    }
    for sid in ["3", "4"] {
        assert!((200..400).contains(&got[sid]), "{got:?}");
    }
}

#[test]
fn a_dead_members_share_moves_at_once() {
    let server = Embedded::start("");
    let mut members: Vec<Client> = (0..4)
        .map(|_| Client::subscriber(server.address, "jobs workers 1"))
        .collect();
    let mut publisher = Client::quiet(server.address);
    for alive in [3, 2, 1] {
        publisher.publish("jobs", b"warm");
        publisher.publish("jobs", b"warm");
        drop(members.pop());
        server.wait_for_connections(alive + 1);
        for member in &mut members {
            member.send("PING\r\n");
            while member.line() != "PONG" {}
        }
        for number in 0..200 {
            publisher.publish("jobs", format!("{number:03}").as_bytes());
        }
        publisher.ping();
        let mut got = Vec::new();
        for member in &mut members {
            member.send("PING\r\n");
            loop {
                let line = member.line();
                if line == "PONG" {
                    break;
                }
                got.extend((!line.starts_with("MSG")).then_some(line));
            }
        }
        got.sort_unstable();
        let expected: Vec<_> = (0..200).map(|number| format!("{number:03}")).collect();
        assert_eq!(got, expected, "with {alive} members left");
    }
}

/// Members come and go under load; nothing that was published is lost or doubled. A member leaves by
/// UNSUB, so that everything sent to it before arrives.
#[test]
fn nothing_is_lost_while_members_come_and_go() {
    const MESSAGES: usize = 20_000;
    let server = Process::start("");
    let address = server.address;
    let mut steady = Client::subscriber(address, "jobs workers 1\r\nSUB done 2");
    let publisher = std::thread::spawn(move || {
        let mut publisher = Client::quiet(address);
        for number in 0..MESSAGES {
            publisher.publish("jobs", number.to_string().as_bytes());
        }
        publisher.publish("done", b"");
        publisher.ping();
    });
    let restless = std::thread::spawn(move || {
        let mut client = Client::subscriber(address, "done 2");
        let mut got = Vec::new();
        loop {
            client.send("SUB jobs workers 1\r\nPING\r\nUNSUB 1\r\nPING\r\n");
            let mut pongs = 0;
            while pongs < 2 {
                let line = client.line();
                if line == "PONG" {
                    pongs += 1;
                } else if line.starts_with("MSG done") {
                    return got;
                } else if !line.starts_with("MSG") {
                    got.push(line);
                }
            }
        }
    });
    publisher.join().unwrap();
    let mut got = messages_until_done(&mut steady);
    got.extend(restless.join().unwrap());
    let mut got: Vec<usize> = got.iter().map(|text| text.parse().unwrap()).collect();
    got.sort_unstable();
    // What reached the restless one behind `done` cannot be there: it was published before.
    assert!(
        got.iter().copied().eq(0..MESSAGES),
        "{} messages",
        got.len()
    );
}

#[test]
fn a_member_that_wants_no_echo_is_passed_over_for_its_own_messages() {
    let server = Process::start("");
    let mut silent = Client::introduced(
        server.address,
        r#"CONNECT {"verbose":false,"echo":false,"headers":true,"no_responders":true}"#,
    );
    silent.send("SUB a q 1\r\nSUB r 2\r\n");
    silent.send("PUB a r 1\r\nx\r\n");
    silent.expect("HMSG r 2 33 33\r\nNATS/1.0 503\r\nNats-Subject: a\r\n\r\n\r\n");
    let mut other = Client::subscriber(server.address, "a q 7");
    for _ in 0..100 {
        silent.publish("a", b"x");
        other.expect("MSG a 7 1\r\nx\r\n");
    }
    silent.ping();
}

#[test]
fn a_member_that_has_had_its_maximum_hands_over() {
    let server = Process::start("");
    let mut limited = Client::quiet(server.address);
    limited.send("SUB a q 1\r\nUNSUB 1 30\r\n");
    limited.ping();
    let mut other = Client::subscriber(server.address, "a q 1\r\nSUB done 2");
    let mut publisher = Client::introduced(server.address, MODERN);
    publish_all(&mut publisher, "a", 1000);
    let rest = messages_until_done(&mut other).len();
    assert_eq!(rest, 970);
    for _ in 0..30 {
        limited.message();
    }
    limited.ping();
}

#[test]
fn a_member_that_is_cut_off_hands_over() {
    let server = Embedded::start("write_deadline: 200ms");
    let stuck = Client::subscriber(server.address, "jobs workers 1");
    let mut other = Client::subscriber(server.address, "jobs workers 1");
    let reader = std::thread::spawn(move || while other.message().body.len() > 4 {});
    let mut publisher = Client::quiet(server.address);
    let payload = vec![b'x'; 100_000];
    // The member that does not read takes its share until its socket is full, and is then cut off.
    eventually("the stuck member's end", || {
        publisher.publish("jobs", &payload);
        publisher.ping();
        server.broker().connection_count() == 2
    });
    publisher.publish("jobs", b"last");
    reader.join().unwrap();
    drop(stuck);
}
