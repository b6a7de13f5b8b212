//! Messages with header blocks, and the answer to requests that nobody listens to.

use super::client::{Client, MODERN, QUIET};
use super::midge::Process;

const BLOCK: &str = "NATS/1.0\r\nkey: value\r\n\r\n";

#[test]
fn a_header_block_arrives_byte_for_byte() {
    let server = Process::start("");
    let mut subscriber = Client::introduced(server.address, MODERN);
    subscriber.send("SUB a 1\r\n");
    subscriber.ping();
    let mut publisher = Client::introduced(server.address, MODERN);
    // The server does not look into the block: anything of the right length goes through.
    for (block, payload) in [
        (BLOCK, "hello"),
        (BLOCK, ""),
        ("\r\n\r\n", "x"),
        ("junk", ""),
    ] {
        let (header, size) = (block.len(), block.len() + payload.len());
        publisher.send(format!(
            "HPUB a r.1 {header} 0{size}\r\n{block}{payload}\r\n"
        ));
        subscriber.expect(format!(
            "HMSG a 1 r.1 {header} 0{size}\r\n{block}{payload}\r\n"
        ));
    }
    publisher.send("HPUB a 0 2\r\nhi\r\n");
    subscriber.expect("MSG a 1 2\r\nhi\r\n");
    publisher.ping();
}

#[test]
fn receivers_without_headers_get_the_payload_alone() {
    let server = Process::start("");
    let mut modern = Client::introduced(server.address, MODERN);
    modern.send("SUB a 1\r\n");
    modern.ping();
    let mut plain = Client::subscriber(server.address, "a 1");
    let mut publisher = Client::introduced(server.address, MODERN);
    // The second is big enough to be shared between receivers instead of copied.
    for payload in ["hello".to_owned(), "p".repeat(100_000), String::new()] {
        let (header, size) = (BLOCK.len(), BLOCK.len() + payload.len());
        publisher.send(format!("HPUB a {header} {size}\r\n{BLOCK}{payload}\r\n"));
        modern.expect(format!("HMSG a 1 {header} {size}\r\n{BLOCK}{payload}\r\n"));
        plain.expect(format!("MSG a 1 {}\r\n{payload}\r\n", payload.len()));
    }
    plain.ping();
}

#[test]
fn header_sizes_that_cannot_be_end_the_connection() {
    let server = Process::start("");
    for wrong in [
        "HPUB a 13 12",
        "HPUB a -1 12",
        "HPUB a x 12",
        "HPUB a 12",
        "HPUB a 1 2 3 4",
        "HPUB a 1 0000000001",
    ] {
        let mut client = Client::introduced(server.address, MODERN);
        client.send(format!("{wrong}\r\n"));
        client.expect_end();
    }
}

#[test]
fn a_server_without_headers_says_so_and_takes_none() {
    let server = Process::start("no_header_support: true");
    let mut client = server.connect();
    assert!(client.greeting.contains("\"headers\":false"));
    client.send("CONNECT {\"headers\":true,\"verbose\":true}\r\nHPUB a 1 1\r\n");
    client.expect("+OK\r\n");
    client.expect_end();
}

#[test]
fn a_request_that_nobody_hears_is_answered_at_once() {
    let server = Process::start("");
    let mut bystander = Client::introduced(server.address, MODERN);
    bystander.send("SUB _INBOX.> 1\r\n");
    bystander.ping();
    let mut requester = Client::introduced(server.address, MODERN);
    requester.send("SUB _INBOX.7.* 3\r\nPUB service _INBOX.7.1 5\r\nhello\r\n");
    requester
        .expect("HMSG _INBOX.7.1 3 39 39\r\nNATS/1.0 503\r\nNats-Subject: service\r\n\r\n\r\n");
    // No reply subject, no answer; nor if anybody listens, be it in a queue group or for everything.
    requester.send("PUB service 5\r\nhello\r\n");
    requester.ping();
    let mut listener = Client::subscriber(server.address, "service workers 1");
    requester.send("PUB service _INBOX.7.2 2\r\nhi\r\n");
    listener.expect("MSG service 1 _INBOX.7.2 2\r\nhi\r\n");
    requester.ping();
    bystander.ping();
}

#[test]
fn no_responders_needs_headers_on_both_sides() {
    let server = Process::start("");
    let mut client = server.connect();
    client.send("CONNECT {\"no_responders\":true}\r\n");
    client.expect("-ERR 'no responders requires headers support'\r\n");
    client.expect_end();

    let without = Process::start("no_header_support: true");
    let mut client = without.connect();
    client.send(format!("{MODERN}\r\n"));
    client.expect("-ERR 'no responders requires headers support'\r\n");
    client.expect_end();
}

#[test]
fn clients_that_did_not_ask_for_it_get_no_503() {
    let server = Process::start("");
    let mut client = Client::introduced(server.address, QUIET);
    client.send("SUB r 1\r\nPUB nobody r 1\r\nx\r\n");
    client.ping();
}

#[test]
fn a_503_does_not_count_against_the_maximum_of_a_subscription() {
    let server = Process::start("");
    let mut client = Client::introduced(server.address, MODERN);
    client.send("SUB r 1\r\nUNSUB 1 1\r\nPUB nobody r 1\r\nx\r\nPUB nobody r 1\r\nx\r\n");
    let answer = "HMSG r 1 38 38\r\nNATS/1.0 503\r\nNats-Subject: nobody\r\n\r\n\r\n";
    client.expect(answer);
    client.expect(answer);
    client.send("PUB r 1\r\nx\r\nPUB r 1\r\ny\r\n");
    client.expect("MSG r 1 1\r\nx\r\n");
    client.ping();
}
