//! The words of the client protocol.

use super::client::{Client, MODERN, QUIET, info};
use super::midge::Process;

/// Server and client for tests that need nothing special.
fn pair() -> (Process, Client) {
    let server = Process::start("");
    let client = server.connect();
    (server, client)
}

#[test]
fn info_comes_first_and_names_what_clients_read() {
    let server = Process::start("");
    let first = server.connect();
    let second = server.connect();
    let line = &first.greeting;
    assert!(
        line.ends_with("} "),
        "nats-server leaves a blank before the line end"
    );
    let fields = info(line);
    let id = fields["server_id"].as_str().unwrap();
    assert!(id.len() == 56 && id.starts_with('N'), "{id}");
    assert_eq!(fields["server_name"], fields["server_id"]);
    assert_eq!(fields["version"], "2.15.1");
    assert_eq!(fields["proto"], 1);
    assert_eq!(fields["host"], "127.0.0.1");
    assert_eq!(fields["port"], server.address.port());
    assert_eq!(fields["headers"], true);
    assert_eq!(fields["max_payload"], 1024 * 1024);
    assert_eq!(fields["client_id"], 5);
    assert_eq!(info(&second.greeting)["client_id"], 6);
    assert_eq!(fields["client_ip"], "127.0.0.1");
    assert_eq!(fields["api_lvl"], 5);
    let key = fields["xkey"].as_str().unwrap();
    assert!(key.len() == 56 && key.starts_with('X'), "{key}");
    for absent in [
        "auth_required",
        "tls_required",
        "ldm",
        "nonce",
        "connect_urls",
        "connect_info",
    ] {
        assert_eq!(fields.get(absent), None);
    }
    let order = [
        "server_id",
        "server_name",
        "version",
        "proto",
        "go",
        "host",
        "port",
        "headers",
    ];
    let places = order.map(|name| line.find(&format!("\"{name}\":")).unwrap());
    assert!(places.is_sorted(), "{line}");
}

#[test]
fn a_second_info_follows_the_first_pong_of_a_client_that_understands_it() {
    let (server, mut client) = pair();
    client.send("PING\r\nCONNECT {\"verbose\":false,\"protocol\":1}\r\nPING\r\nPING\r\n");
    client.expect("PONG\r\nPONG\r\n");
    let fields = info(&client.line());
    assert_eq!(fields["connect_info"], true);
    assert_eq!(fields["remote_account"], "$G");
    assert_eq!(fields["client_id"], info(&client.greeting)["client_id"]);
    client.expect("PONG\r\n");
    client.ping();

    let mut old = server.connect();
    old.send(format!("{QUIET}\r\nPING\r\nPING\r\n"));
    old.expect("PONG\r\nPONG\r\n");
    old.ping();
}

#[test]
fn clients_are_verbose_and_pedantic_until_they_say_otherwise() {
    let (_server, mut client) = pair();
    client.send("PING\r\nSUB a 1\r\nUNSUB 9\r\nPUB a 1\r\nx\r\n");
    client.expect("PONG\r\n+OK\r\n+OK\r\n+OK\r\nMSG a 1 1\r\nx\r\n");
    client.send("PUB a.* 1\r\nx\r\n");
    client.expect("-ERR 'Invalid Publish Subject'\r\n+OK\r\n");
    client.send("CONNECT {\"pedantic\":false}\r\nPUB a.* 1\r\nx\r\n");
    client.expect("+OK\r\n+OK\r\n");
    client.send(format!("{QUIET}\r\nSUB a 1\r\nPUB a 1\r\nx\r\n"));
    client.expect("MSG a 1 1\r\nx\r\n");
    client.ping();
}

#[test]
fn what_connect_does_not_name_stays_as_it_was() {
    let (_server, mut client) = pair();
    client.send("CONNECT {\"verbose\":false,\"echo\":false}\r\nSUB a 1\r\nPUB a 1\r\nx\r\n");
    client.ping();
    client.send("CONNECT {}\r\nSUB a 1\r\nPUB a 1\r\nx\r\n");
    client.ping();
    client.send("CONNECT {\"ECHO\":true}\r\nSUB a 1\r\nPUB a 1\r\nx\r\n");
    client.expect("MSG a 1 1\r\nx\r\n");
    client.ping();
}

#[test]
fn verbs_are_taken_in_any_case_with_tabs_blanks_and_bare_line_feeds() {
    let (_server, mut client) = pair();
    client.send("cOnNeCt\t {\"verbose\":false} \t\r\nsub  a\t \tb 7 \n");
    client.send(
        "pub\ta  r\t 1 \nx\r\nPiNg whatever\nPub b\t2\r\nxy\r\nunsub \t7\nPUB a 1\r\nx\r\nping\r\n",
    );
    client.expect("MSG a 7 r 1\r\nx\r\nPONG\r\nPONG\r\n");
}

#[test]
fn operations_before_a_mistake_are_served() {
    let (_server, mut client) = pair();
    client.send(format!(
        "{QUIET}\r\nSUB a 1\r\nPUB a 1\r\nx\r\nPING\r\nNONSENSE\r\nPING\r\n"
    ));
    client.expect("MSG a 1 1\r\nx\r\nPONG\r\n-ERR 'Unknown Protocol Operation'\r\n");
    client.expect_end();
}

#[test]
fn unknown_operations_end_the_connection_at_their_first_wrong_byte() {
    let server = Process::start("");
    for wrong in [
        "X",
        "PX",
        "PUBX",
        "\r\n",
        " PING\r\n",
        "\0",
        "GET / HTTP/1.1\r\n\r\n",
        "MSG a 1 1\r\n",
        "SUB\r\n",
        "UNSUB\n",
        "-ERR\r\n",
        "\u{feff}PING\r\n",
    ] {
        let mut client = server.connect();
        client.send(wrong);
        client.expect("-ERR 'Unknown Protocol Operation'\r\n");
        client.expect_end();
    }
}

#[test]
fn payloads_end_exactly_where_they_were_said_to() {
    let server = Process::start("");
    for wrong in [
        "PUB a 1\r\nxx\r\n",
        "PUB a 2\r\nx\r\n\r\n",
        "PUB a 1\r\nx\n",
        "PUB a 0\r\n\n",
    ] {
        let mut client = server.connect();
        client.send(wrong);
        client.expect("-ERR 'Unknown Protocol Operation'\r\n");
        client.expect_end();
    }
}

#[test]
fn lines_that_cannot_be_read_end_the_connection_in_silence() {
    let server = Process::start("");
    for wrong in [
        "PUB a\r\n",
        "PUB a b c 1\r\n",
        "PUB a -1\r\n",
        "PUB a 1x\r\n",
        "PUB a 9999999999\r\n",
        "SUB a\r\n",
        "SUB a b c d\r\n",
        "UNSUB 1 2 3\r\n",
        "CONNECT {\r\n",
        "CONNECT []\r\n",
        "CONNECT {} x\r\n",
        "CONNECT {\"verbose\":1}\r\n",
        "CONNECT {\"protocol\":1.5}\r\n",
        "HPUB a 1 1\r\nx\r\n",
        "-ERR x\r\n",
        "INFO []\r\n",
    ] {
        let mut client = server.connect();
        client.send(wrong);
        client.expect_end();
    }
}

#[test]
fn versions_of_the_protocol_that_do_not_exist_are_refused() {
    let server = Process::start("");
    for version in [2, -1, 1_000_000_000_000_i64] {
        let mut client = server.connect();
        client.send(format!("CONNECT {{\"protocol\":{version}}}\r\n"));
        client.expect("-ERR 'invalid client protocol'\r\n");
        client.expect_end();
    }
}

#[test]
fn asking_for_an_account_is_refused() {
    let server = Process::start("");
    for field in [
        "\"account\":\"$SYS\"",
        "\"account\":\"x\"",
        "\"new_account\":true",
    ] {
        let mut client = server.connect();
        client.send(format!("CONNECT {{{field}}}\r\nSUB > 1\r\n"));
        client.expect("-ERR 'Authorization Violation'\r\n");
        client.expect_end();
    }
}

#[test]
fn one_byte_at_a_time_is_understood_as_well() {
    let script = format!(
        "{MODERN}\r\nSUB a.* q 1\r\nSUB r 2\r\nPUB a.b 3\r\nxyz\r\nHPUB a.c r 12 14\r\nNATS/1.0\r\n\r\nhi\r\n\
         UNSUB 1\r\nPUB a.b r 0\r\n\r\nPING junk\r\nPUB  a \r\n"
    );
    let server = Process::start("");
    let answer = |chunk: usize| {
        let mut client = server.connect();
        for part in script.as_bytes().chunks(chunk) {
            client.send(part);
        }
        client.rest().unwrap()
    };
    let whole = answer(usize::MAX);
    let text = String::from_utf8_lossy(&whole);
    let ids = |text: &str| text.replace(|letter: char| letter.is_ascii_digit(), "#");
    assert!(
        text.contains("MSG a.b 1 3\r\nxyz\r\nHMSG a.c 1 r 12 14\r\n"),
        "{text}"
    );
    assert!(text.contains("Nats-Subject: a.b\r\n"), "{text}");
    for chunk in [1, 2, 7, 64] {
        let other = answer(chunk);
        assert_eq!(
            ids(&String::from_utf8_lossy(&other)),
            ids(&text),
            "in parts of {chunk}"
        );
    }
}

#[test]
fn a_payload_may_have_exactly_max_payload_bytes() {
    let (server, mut publisher) = pair();
    let mut subscriber = Client::subscriber(server.address, "a 1");
    publisher.send(QUIET);
    publisher.send("\r\n");
    let payload: Vec<u8> = (0..1024 * 1024).map(|index| (index % 251) as u8).collect();
    for part in 0..3 {
        // Once more, so that what follows a big payload is seen to be read rightly.
        publisher.publish("a", &payload[..payload.len() - part]);
    }
    for part in 0..3 {
        let message = subscriber.message();
        assert_eq!(message.line, format!("MSG a 1 {}", payload.len() - part));
        assert!(message.body == payload[..payload.len() - part]);
    }
    publisher.ping();
    publisher.send(format!("PUB a {}\r\n", payload.len() + 1));
    publisher.expect("-ERR 'Maximum Payload Violation'\r\n");
    publisher.expect_end();
    subscriber.ping();
}

#[test]
fn headers_count_against_max_payload() {
    let server = Process::start("max_payload: 20");
    let mut client = Client::introduced(server.address, MODERN);
    client.send("SUB a 1\r\nHPUB a 12 20\r\nNATS/1.0\r\n\r\n12345678\r\n");
    client.expect("HMSG a 1 12 20\r\nNATS/1.0\r\n\r\n12345678\r\n");
    client.send("HPUB a 12 21\r\n");
    client.expect("-ERR 'Maximum Payload Violation'\r\n");
    client.expect_end();
}

#[test]
fn an_error_arrives_while_the_client_is_still_sending() {
    let server = Process::start("");
    for _ in 0..20 {
        let mut client = Client::quiet(server.address);
        let payload = vec![b'x'; 3 * 1024 * 1024];
        client.send(format!("PUB a {}\r\n", payload.len()));
        // The server may stop reading at some time, but not before the client could read why.
        let _may_be_refused = client.try_send(&payload);
        client.expect("-ERR 'Maximum Payload Violation'\r\n");
        client.expect_end();
    }
}

#[test]
fn a_control_line_may_have_exactly_max_control_line_bytes() {
    let server = Process::start("");
    let mut client = Client::quiet(server.address);
    let subject = "a".repeat(4094);
    client.send(format!("SUB {subject} 1\r\nSUB {subject} 1 \r"));
    client.expect("-ERR 'maximum control line exceeded'\r\n");
    client.expect_end();

    // The end of the line in a read of its own does not count either.
    let mut client = Client::quiet(server.address);
    client.send(format!("SUB {subject} 1\r"));
    client.stream().set_nodelay(true).unwrap();
    client.send("\nPING\r\n");
    client.expect("PONG\r\n");
    // A line that never ends is refused as soon as it is too long.
    client.send(format!("PUB {}", "b".repeat(4097)));
    client.expect("-ERR 'maximum control line exceeded'\r\n");
    client.expect_end();
}

#[test]
fn a_raised_control_line_limit_holds_beyond_any_buffer() {
    let server = Process::start("max_control_line: 1MB");
    let mut client = Client::quiet(server.address);
    let name = "n".repeat(300 * 1024);
    client.send(format!(
        "CONNECT {{\"verbose\":true,\"name\":\"{name}\"}}\r\n"
    ));
    client.expect("+OK\r\n");
    let subject = "s".repeat(1024 * 1024 - 2);
    client.send(format!("SUB {subject} 1\r\nPUB {subject} 1\r\nx\r\n"));
    client.expect(format!("+OK\r\n+OK\r\nMSG {subject} 1 1\r\nx\r\n"));
    client.send(format!("SUB {subject}x 1\r\n"));
    client.expect("-ERR 'maximum control line exceeded'\r\n");
    client.expect_end();
}

#[test]
fn meaningless_bytes_may_go_on_for_ever() {
    let (_server, mut client) = pair();
    client.send(format!("{QUIET}\r\nPING"));
    for _ in 0..100 {
        client.send("x".repeat(10_000));
    }
    client.send("\r\nSUB");
    for _ in 0..100 {
        client.send(" \t".repeat(5000));
    }
    client.send("a 1\r\nPUB a 1\r\nx\r\n");
    client.expect("PONG\r\nMSG a 1 1\r\nx\r\n");
    client.ping();
}

#[test]
fn subjects_that_nobody_can_subscribe_to_are_refused() {
    let (_server, mut client) = pair();
    client.send(format!("{QUIET}\r\n"));
    for wrong in ["a..b", ".a", "a.", ".", ">.a", "a.>.b"] {
        client.send(format!("SUB {wrong} 1\r\n"));
        client.expect("-ERR 'Invalid Subject'\r\n");
    }
    client.ping();
}

#[test]
fn replies_that_only_servers_may_use_are_refused() {
    let (_server, mut client) = pair();
    client.send(format!("{QUIET}\r\nSUB a 1\r\n"));
    for reply in ["_R_.x", "_GR_.x", "$GR.xy", "$JS.ACK.x"] {
        client.send(format!("PUB a {reply} 1\r\nx\r\n"));
        let text = format!("Permissions Violation for Publish with Reply of \"{reply}\"");
        client.expect(format!("-ERR '{text}'\r\n"));
    }
    client.ping();
}

#[test]
fn limits_of_subscriptions_are_told_and_leave_the_connection() {
    let server = Process::start("max_subscriptions: 2\nmax_sub_tokens: 3");
    let mut client = Client::quiet(server.address);
    client.send("SUB a.b.c.d 1\r\n");
    let text = "Permissions Violation for Subscription to \"a.b.c.d\", too many tokens";
    client.expect(format!("-ERR '{text}'\r\n"));
    client.send("SUB a.b.c 1\r\nSUB b 2\r\nSUB c 3\r\nUNSUB 1\r\nSUB c 3\r\nSUB d 4\r\n");
    client.expect(
        "-ERR 'maximum subscriptions exceeded'\r\n-ERR 'maximum subscriptions exceeded'\r\n",
    );
    client.send("PUB c 1\r\nx\r\nPUB a.b.c 1\r\nx\r\nPUB a.b.c.d.e 1\r\nx\r\n");
    client.expect("MSG c 3 1\r\nx\r\n");
    client.ping();
}

/// Subscriptions that end by themselves make room for exactly as many others.
#[test]
fn ended_subscriptions_make_room_for_as_many_others() {
    let server = Process::start("max_subscriptions: 3");
    let mut client = Client::quiet(server.address);
    for _ in 0..100 {
        client.send("SUB a 1\r\nUNSUB 1 1\r\nPUB a 1\r\nx\r\n");
        client.expect("MSG a 1 1\r\nx\r\n");
        client.ping();
    }
    client.send("SUB a 2\r\nSUB a 3\r\nSUB a 4\r\n");
    client.ping();
    client.send("SUB a 5\r\n");
    client.expect("-ERR 'maximum subscriptions exceeded'\r\n");
    client.send("UNSUB 1\r\nSUB a 6\r\n");
    client.expect("-ERR 'maximum subscriptions exceeded'\r\n");
    client.ping();
}
