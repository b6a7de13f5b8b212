//! Who gets what.

use std::collections::BTreeMap;

use super::client::{Client, MODERN, QUIET};
use super::midge::{Embedded, Process};

#[test]
fn a_message_reaches_every_subscriber() {
    let server = Process::start("");
    let mut subscribers: Vec<Client> = (0..200)
        .map(|number| Client::subscriber(server.address, &format!("news {number}")))
        .collect();
    let mut publisher = Client::quiet(server.address);
    for round in 0..20 {
        let payload = format!("round {round}");
        publisher.publish("news", payload.as_bytes());
        for (number, subscriber) in subscribers.iter_mut().enumerate() {
            subscriber.expect(format!(
                "MSG news {number} {}\r\n{payload}\r\n",
                payload.len()
            ));
        }
    }
    for subscriber in &mut subscribers {
        subscriber.ping();
    }
}

#[test]
fn every_subscription_of_a_connection_gets_its_own_copy() {
    let server = Process::start("");
    let filters = ["a.b", "a.b", "a.*", "*.b", "*.*", "a.>", ">"];
    let mut client = Client::quiet(server.address);
    for (sid, filter) in filters.iter().enumerate() {
        client.send(format!("SUB {filter} {sid}\r\n"));
    }
    for _ in 0..5 {
        client.publish("a.b", b"x");
        let mut sids: Vec<_> = filters
            .iter()
            .map(|_| client.message().word(2).to_owned())
            .collect();
        sids.sort_unstable();
        assert_eq!(sids, ["0", "1", "2", "3", "4", "5", "6"]);
        client.ping();
    }
}

#[test]
fn wildcards_want_what_they_say() {
    let server = Process::start("");
    let filters = [
        "a", "a.*", "a.>", "*", "*.*", ">", "a.*.c", "a.b.c", "*.b.>", "a*", "$SYS.>",
    ];
    let mut subscriber = Client::quiet(server.address);
    for filter in filters {
        subscriber.send(format!("SUB {filter} {filter}\r\n"));
    }
    subscriber.ping();
    let mut publisher = Client::quiet(server.address);
    let wanted: BTreeMap<&str, &[&str]> = BTreeMap::from([
        ("a", &["a", "*", ">"][..]),
        ("a.b", &["a.*", "a.>", "*.*", ">"]),
        ("a.b.c", &["a.>", ">", "a.*.c", "a.b.c", "*.b.>"]),
        ("x.b.c.d", &[">", "*.b.>"]),
        ("a*", &["*", ">", "a*"]),
        ("$SYS.x", &["*.*", ">", "$SYS.>"]),
        // Wildcards mean nothing in a subject that is published to.
        ("a.*", &["a.*", "a.>", "*.*", ">"]),
        (">", &["*", ">"]),
        // Nobody can want these.
        ("a..b", &[]),
        (".a", &[]),
        ("a.", &[]),
    ]);
    for (subject, filters) in wanted {
        for _ in 0..3 {
            publisher.publish(subject, b"x");
            publisher.ping();
            let mut got: Vec<_> = filters
                .iter()
                .map(|_| subscriber.message().word(2).to_owned())
                .collect();
            got.sort_unstable();
            let mut expected = filters.to_vec();
            expected.sort_unstable();
            assert_eq!(got, expected, "{subject}");
            subscriber.ping();
        }
    }
}

#[test]
fn own_messages_come_back_only_if_wanted() {
    let server = Process::start("");
    let mut silent = Client::introduced(
        server.address,
        r#"CONNECT {"verbose":false,"echo":false,"headers":true,"no_responders":true}"#,
    );
    silent.send("SUB a 1\r\nSUB r 2\r\nPUB a 1\r\nx\r\n");
    silent.ping();
    // Its own subscription does not count as a listener either.
    silent.send("PUB a r 1\r\nx\r\n");
    silent.expect("HMSG r 2 33 33\r\nNATS/1.0 503\r\nNats-Subject: a\r\n\r\n\r\n");
    let mut other = Client::subscriber(server.address, "a 9");
    silent.send("PUB a r 1\r\nx\r\n");
    silent.ping();
    other.expect("MSG a 9 r 1\r\nx\r\n");
    other.publish("a", b"y");
    other.expect("MSG a 9 1\r\ny\r\n");
    silent.expect("MSG a 1 1\r\ny\r\n");
}

/// Whatever a publisher has learnt of a subject, a change that has been confirmed counts.
#[test]
fn changes_of_interest_are_seen_at_once() {
    let server = Process::start("");
    let mut publisher = Client::introduced(server.address, MODERN);
    publisher.send("SUB r 9\r\n");
    let mut subscriber = Client::quiet(server.address);
    let unheard = "HMSG r 9 37 37\r\nNATS/1.0 503\r\nNats-Subject: a.b.c\r\n\r\n\r\n";
    for filter in [
        "a.b.c", "a.b.*", "a.*.c", "*.b.c", "a.b.>", "a.>", ">", "*.*.*", "a.b.c q", "a.> q",
    ] {
        for _ in 0..10 {
            for _ in 0..4 {
                publisher.send("PUB a.b.c r 1\r\nx\r\n");
                publisher.expect(unheard);
            }
            subscriber.send(format!("SUB {filter} 1\r\n"));
            subscriber.ping();
            for _ in 0..4 {
                publisher.send("PUB a.b.c r 1\r\ny\r\n");
                subscriber.expect("MSG a.b.c 1 r 1\r\ny\r\n");
            }
            subscriber.send("UNSUB 1\r\n");
            subscriber.ping();
        }
    }
}

#[test]
fn a_second_subscription_of_a_name_changes_nothing() {
    let server = Process::start("");
    let mut client = Client::quiet(server.address);
    client.send("SUB a 1\r\nSUB b 1\r\nPUB b 1\r\nx\r\nPUB a 1\r\ny\r\n");
    client.expect("MSG a 1 1\r\ny\r\n");
    client.send("UNSUB 1\r\nSUB b 1\r\nPUB a 1\r\nx\r\nPUB b 1\r\nz\r\n");
    client.expect("MSG b 1 1\r\nz\r\n");
    client.ping();
}

#[test]
fn a_second_connect_takes_subscriptions_away() {
    let server = Process::start("");
    let mut client = Client::quiet(server.address);
    client.send(format!("SUB a 1\r\nSUB > 2\r\n{QUIET}\r\nPUB a 1\r\nx\r\n"));
    client.ping();
    client.send("SUB a 1\r\nPUB a 1\r\ny\r\n");
    client.expect("MSG a 1 1\r\ny\r\n");
    client.ping();
}

#[test]
fn many_subscriptions_come_and_go_without_a_trace() {
    let server = Embedded::start("");
    let mut client = Client::quiet(server.address);
    for round in 0..3 {
        let filters = (0..20_000).map(|number| match number % 4 {
            0 => format!("{round}.{number}.*"),
            1 => format!("{round}.*.{number}"),
            2 => format!("{round}.{number}.>"),
            _ => format!("{round}.{number}"),
        });
        let lines: String = filters
            .enumerate()
            .map(|(sid, filter)| format!("SUB {filter} {sid}\r\n"))
            .collect();
        client.send(&lines);
        client.ping();
        assert_eq!(server.broker().global_account().interest().len(), 20_000);
        client.publish(&format!("{round}.7"), b"x");
        client.expect(format!("MSG {round}.7 7 1\r\nx\r\n"));
        if round < 2 {
            let lines: String = (0..20_000).map(|sid| format!("UNSUB {sid}\r\n")).collect();
            client.send(&lines);
            client.ping();
            assert!(server.broker().global_account().interest().is_empty());
        }
    }
    drop(client);
    server.wait_for_connections(0);
    assert!(server.broker().global_account().interest().is_empty());
}

/// Sids are bytes that mean nothing to the server.
#[test]
fn names_of_subscriptions_are_given_back_as_they_were() {
    let server = Process::start("");
    let mut client = Client::quiet(server.address);
    let long = "9".repeat(200);
    for sid in ["abc", "-1", "0", "+OK", "a'b", &long] {
        client.send(format!("SUB a {sid}\r\nPUB a 1\r\nx\r\n"));
        client.expect(format!("MSG a {sid} 1\r\nx\r\n"));
        client.send(format!("UNSUB {sid}\r\nPUB a 1\r\nx\r\n"));
        client.ping();
    }
    client.send(b"SUB a \xff\x00\xfe\r\nPUB a \xc3( 0\r\n\r\n");
    client.expect(b"MSG a \xff\x00\xfe \xc3( 0\r\n\r\n");
    client.ping();
}

#[test]
fn requests_are_answered() {
    let server = Process::start("");
    let mut responder = Client::subscriber(server.address, "double workers 1");
    let requester = std::thread::spawn({
        let address = server.address;
        move || {
            let mut requester = Client::introduced(address, MODERN);
            requester.send("SUB _INBOX.x.* 1\r\n");
            for number in 0..500 {
                let text = number.to_string();
                requester.send(format!(
                    "PUB double _INBOX.x.{number} {}\r\n{text}\r\n",
                    text.len()
                ));
                let answer = requester.message();
                assert_eq!(answer.word(1), format!("_INBOX.x.{number}"));
                assert_eq!(answer.body, (2 * number).to_string().as_bytes());
            }
        }
    });
    for _ in 0..500 {
        let request = responder.message();
        let number: u32 = std::str::from_utf8(&request.body).unwrap().parse().unwrap();
        responder.publish(request.word(3), (2 * number).to_string().as_bytes());
    }
    requester.join().unwrap();
}

/// One connection with many matching subscriptions sees in which order they are found; clients could
/// have come to rely on it.
#[test]
fn the_deliveries_of_one_message_have_the_order_of_nats_server() {
    let server = Process::start("");
    for (subject, order) in [
        ("a", &[">", "a", "*"][..]),
        ("a.b", &[">", "*.>", "*.b", "*.*", "a.>", "a.b", "a.*"]),
        (
            "a.b.c",
            &[
                ">", "*.>", "*.*.>", "*.*.c", "*.*.*", "*.b.>", "*.b.c", "*.b.*", "a.>", "a.*.>",
                "a.*.c", "a.*.*", "a.b.>", "a.b.c", "a.b.*",
            ],
        ),
    ] {
        let mut client = Client::introduced(server.address, MODERN);
        for filter in order {
            client.send(format!("SUB {filter} {filter}\r\n"));
        }
        for _ in 0..4 {
            client.publish(subject, b"x");
            let got: Vec<_> = order
                .iter()
                .map(|_| client.message().word(2).to_owned())
                .collect();
            assert_eq!(got, order);
        }
        // The answer to a request that nobody hears goes to the first that is left of them.
        let (tails, left): (Vec<&str>, Vec<&str>) =
            order.iter().partition(|filter| filter.ends_with('>'));
        for filter in tails {
            client.send(format!("UNSUB {filter}\r\n"));
        }
        client.send(format!("PUB n.o.b.o.d.y {subject} 0\r\n\r\n"));
        assert_eq!(client.message().word(2), left[0]);
        client.ping();
    }
}
