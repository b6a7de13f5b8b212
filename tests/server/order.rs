//! Every subscriber sees each publisher's messages in the order they were published, whole.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use super::client::Client;
use super::midge::Process;

const MIB: usize = 1024 * 1024;

/// Sizes from 1 byte to 1 MiB, all magnitudes alike, and those around which the server changes its ways.
fn size(number: usize) -> usize {
    const EDGES: [usize; 12] = [
        1,
        2,
        1023,
        1024,
        16_383,
        16_384,
        16_385,
        65_535,
        65_536,
        65_537,
        MIB - 1,
        MIB,
    ];
    let scattered = number.wrapping_mul(0x9E37_79B1) >> 7;
    match number % 3 {
        0 => EDGES[scattered % EDGES.len()].min(MIB >> (scattered % 7)),
        _ => 1 + scattered % (1 << (scattered % 17)),
    }
}

/// What a publisher sends as its message of that number.
fn payload(publisher: usize, number: usize) -> Vec<u8> {
    let mut payload = format!("{publisher} {number} ").into_bytes();
    let length = payload.len() + size(publisher * 7919 + number);
    let pattern = u8::try_from((publisher + number) % 251).unwrap();
    let filler =
        (payload.len()..length.min(MIB)).map(|at| pattern.wrapping_add(at.to_le_bytes()[0]));
    payload.extend(filler);
    payload
}

fn publish(address: SocketAddr, publisher: usize, count: usize) {
    let mut client = Client::quiet(address);
    for number in 0..count {
        client.publish(
            &format!("flow.{}", publisher % 3),
            &payload(publisher, number),
        );
    }
    client.ping();
}

/// Reads until `count` messages of each publisher have come.
fn check(subscriber: &mut Client, publishers: usize, count: usize) {
    let mut next: BTreeMap<usize, usize> = BTreeMap::new();
    for _ in 0..publishers * count {
        let message = subscriber.message();
        let mut words = message.body.splitn(3, |&byte| byte == b' ');
        let mut word = || {
            std::str::from_utf8(words.next().unwrap())
                .unwrap()
                .parse::<usize>()
                .unwrap()
        };
        let (publisher, number) = (word(), word());
        let expected = next.entry(publisher).or_default();
        assert_eq!(number, *expected, "publisher {publisher}");
        assert!(
            message.body == payload(publisher, number),
            "message {number} is not whole"
        );
        *expected += 1;
    }
    subscriber.ping();
}

fn run(publishers: usize, subscribers: usize, count: usize) {
    let server = Process::start("");
    let address = server.address;
    std::thread::scope(|scope| {
        for number in 0..subscribers {
            let subscription = if number % 2 == 0 { "flow.* 1" } else { "> 1" };
            let mut subscriber = Client::subscriber(address, subscription);
            scope.spawn(move || check(&mut subscriber, publishers, count));
        }
        for publisher in 0..publishers {
            scope.spawn(move || publish(address, publisher, count));
        }
    });
}

#[test]
fn big_and_small_messages_stay_in_order() {
    run(4, 3, 150);
}

#[test]
fn many_connections_stay_in_order() {
    run(24, 12, 40);
}

/// What one connection sends on different subjects arrives in that order, too: answers and messages.
#[test]
fn answers_and_messages_keep_their_order() {
    let server = Process::start("");
    let mut client = Client::quiet(server.address);
    client.send("SUB a 1\r\nSUB b 2\r\n");
    let mut script = String::new();
    let mut expected = String::new();
    for number in 0..3000 {
        let (subject, sid) = if number % 3 == 0 { ("a", 1) } else { ("b", 2) };
        let text = number.to_string();
        script += &format!("PUB {subject} {}\r\n{text}\r\n", text.len());
        expected += &format!("MSG {subject} {sid} {}\r\n{text}\r\n", text.len());
        if number % 7 == 0 {
            script += "PING\r\n";
            expected += "PONG\r\n";
        }
        if number % 11 == 0 {
            script += "SUB x..y 3\r\n";
            expected += "-ERR 'Invalid Subject'\r\n";
        }
    }
    client.send(&script);
    client.expect(&expected);
}
