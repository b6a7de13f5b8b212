//! One test for each class of the NATS server's security advisories that there is something to test of
//! here, named after the advisory. What concerns certificates, monitoring and other servers is tested
//! where those are.

use std::process::{Command, Stdio};

use super::client::{Client, QUIET};
use super::midge::{Process, program};

/// What is said about a configuration that must be refused.
fn refusal(configuration: &str) -> String {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("midge.conf");
    std::fs::write(&file, configuration).unwrap();
    let output = Command::new(program())
        .args(["-t", "-c"])
        .arg(&file)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success(), "{configuration} is taken");
    said
}

fn log_in(server: &Process, user: &str) -> Client {
    let connect = format!(
        r#"CONNECT {{"verbose":false,"headers":true,"no_responders":true,"user":"{user}","pass":"p"}}"#
    );
    Client::introduced(server.address, &connect)
}

/// What a new connection gets for `bytes` that end it.
fn last_words(server: &Process, bytes: &str) -> String {
    let mut client = server.connect();
    client.send(bytes);
    String::from_utf8_lossy(&client.read_to_whatever_end()).into_owned()
}

const VIOLATION: &str = "-ERR 'Authorization Violation'\r\n";

#[test]
fn cve_2019_13126_sizes_do_not_overflow() {
    let server = Process::start("");
    let mut client = Client::quiet(server.address);
    for size in [
        "18446744073709551615",
        "9223372036854775807",
        "-1",
        "4294967296",
    ] {
        let mut other = Client::quiet(server.address);
        other.send(format!("PUB a {size}\r\nx\r\n"));
        other.read_to_whatever_end();
        client.ping();
    }
}

#[test]
fn cve_2020_28466_and_2022_42709_imports_do_not_go_in_circles() {
    for (kind, subject) in [
        ("service", "s"),
        ("stream", "s"),
        ("service", "s.>"),
        ("stream", "s.>"),
    ] {
        let account = |from: &str| {
            format!(
                "{{ exports: [ {{ {kind}: \"{subject}\" }} ], imports: [ {{ {kind}: {{ account: {from}, subject: \"{subject}\" }} }} ] }}"
            )
        };
        let [a, b, c] = ["B", "C", "A"].map(account);
        let said = refusal(&format!("accounts {{ A: {a}, B: {b}, C: {c} }}"));
        assert!(said.contains("forms a cycle"), "{said}");
    }
}

/// What `-t` takes nevertheless must not turn round for ever: here a mapping closes the circle.
#[test]
fn cve_2020_28466_a_circle_through_mappings_ends() {
    let server = Process::start(
        r#"accounts {
      A: { users: [ { user: a, password: p } ], exports: [ { service: x } ], imports: [ { service: { account: B, subject: y } } ], mappings { x: y } }
      B: { users: [ { user: b, password: p } ], exports: [ { service: y } ], imports: [ { service: { account: A, subject: x } } ], mappings { y: x } }
    }"#,
    );
    let mut a = log_in(&server, "a");
    a.send("SUB inbox 1\r\nPUB x inbox 0\r\n\r\nPING\r\n");
    a.expect("HMSG inbox 1 33 33\r\nNATS/1.0 503\r\nNats-Subject: y\r\n\r\n\r\nPONG\r\n");
}

#[test]
fn cve_2021_3127_only_what_is_offered_can_be_imported() {
    for (exports, subject) in [
        ("", "secret"),
        ("{ stream: open }", "secret"),
        ("{ stream: \"open.*\" }", "open.>"),
        ("{ service: secret }", "secret"),
        ("{ stream: secret, accounts: [C] }", "secret"),
        ("{ stream: \"for.*\", account_token_position: 2 }", "for.C"),
        ("{ stream: \"for.*\", account_token_position: 2 }", "for.*"),
        (
            "{ stream: \"open.>\" }, { stream: \"open.x\", accounts: [C] }",
            "open.x",
        ),
    ] {
        let said = refusal(&format!(
            "accounts {{ A: {{ imports: [ {{ stream: {{ account: B, subject: \"{subject}\" }} }} ] }}, B: {{ exports: [ {exports} ] }}, C: {{}} }}"
        ));
        assert!(
            said.contains("not authorized"),
            "{exports} {subject}: {said}"
        );
    }
}

#[test]
fn cve_2022_24450_nobody_chooses_an_account() {
    let server = Process::start(
        "accounts { A: { users: [ { user: a, password: p } ] }, SYS: {} }\nsystem_account: SYS",
    );
    for account in ["SYS", "$SYS", "$G", "A", "new"] {
        for more in ["", r#","new_account":true"#] {
            let connect = format!(
                r#"CONNECT {{"user":"a","pass":"p","account":"{account}"{more}}}{}"#,
                "\r\nPING\r\n"
            );
            assert_eq!(last_words(&server, &connect), VIOLATION, "{connect}");
        }
    }
    let connect = "CONNECT {\"user\":\"a\",\"pass\":\"p\",\"new_account\":true}\r\nPING\r\n";
    assert_eq!(last_words(&server, connect), VIOLATION);
}

const DENIED: &str = r#"accounts {
  A: {
    users: [
      { user: pub, password: p }
      { user: wild, password: p, permissions: { subscribe: { deny: ["secret.*"] } } }
      { user: queue, password: p, permissions: { subscribe: { deny: ["secret.x", "secret.x other"] } } }
    ]
    imports: [ { stream: { account: B, subject: "far.>" }, to: "secret.>" } ]
  }
  B: { users: [ { user: far, password: p } ], exports: [ { stream: "far.>" } ] }
}"#;

/// Subscribes in every way that could go round a deny and expects to hear of `open` only.
fn hears_no_secret(user: &str, subscription: &str) {
    let server = Process::start(DENIED);
    let mut client = log_in(&server, user);
    client.send(format!("SUB {subscription} 1\r\n"));
    client.ping();
    let (mut own, mut far) = (log_in(&server, "pub"), log_in(&server, "far"));
    own.publish("secret.x", b"own");
    own.ping();
    far.publish("far.x", b"far");
    far.ping();
    own.publish("open.x", b"open");
    own.ping();
    client.send("PING\r\n");
    client.expect("MSG open.x 1 4\r\nopen\r\nPONG\r\n");
}

#[test]
fn cve_2022_29946_a_queue_subscription_on_a_wildcard_is_denied_the_same() {
    for subscription in ["> q", "*.* q", "*.x q"] {
        hears_no_secret("wild", subscription);
    }
}

#[test]
fn ghsa_wh7g_a_subscription_that_overlaps_a_deny_is_filtered() {
    for subscription in [">", "*.x", "*.>"] {
        hears_no_secret("wild", subscription);
    }
}

#[test]
fn ghsa_jx8g_a_deny_for_a_queue_group_adds_to_the_plain_one() {
    for subscription in [">", "> q", "> other", "*.x other"] {
        hears_no_secret("queue", subscription);
    }
}

#[test]
fn cve_2023_47090_a_system_account_alone_opens_nothing_that_is_closed() {
    let system = "accounts { $SYS: { users: [ { user: s, password: p } ] } }";
    for closed in [
        "authorization { timeout: 2 }",
        "authorization { users: [ { user: a, password: p } ] }",
    ] {
        let server = Process::start(&format!("{system}\n{closed}"));
        for bytes in ["PING\r\n", "SUB > 1\r\nPING\r\n", "CONNECT {}\r\nPING\r\n"] {
            assert_eq!(last_words(&server, bytes), VIOLATION, "{closed}: {bytes:?}");
        }
    }
    let said = refusal(&format!("{system}\nno_auth_user: s"));
    assert!(said.contains("system account"), "{said}");
}

#[test]
fn cve_2026_33246_and_33223_nobody_else_says_who_asks() {
    let server = Process::start(
        r#"accounts {
      A: { users: [ { user: a, password: p } ], imports: [ { service: { account: B, subject: ask } } ] }
      B: { users: [ { user: b, password: p } ], exports: [ { service: ask } ] }
    }"#,
    );
    let (mut a, mut b) = (log_in(&server, "a"), log_in(&server, "b"));
    b.send("SUB ask 1\r\n");
    b.ping();
    for forged in [
        "Nats-Request-Info: {\"acc\":\"SYS\"}\r\n",
        "nats-request-info: {\"acc\":\"SYS\"}\r\nNATS-REQUEST-INFO:x\r\n",
        "Nats-Request-Info: 1\r\nNats-Request-Info: 2\r\nNats-Request-Info: 3\r\n",
        "A: b\r\nNats-Request-Info: {\"acc\":\"SYS\"}\r\nNats-Request-Info:\r\n",
    ] {
        let block = format!("NATS/1.0\r\n{forged}\r\n");
        a.send(format!("HPUB ask {0} {0}\r\n{block}\r\n", block.len()));
        a.ping();
        let request = b.message();
        let text = String::from_utf8(request.body).unwrap();
        let told: Vec<&str> = text
            .lines()
            .filter(|line| line.to_lowercase().starts_with("nats-request-info"))
            .collect();
        assert_eq!(told.len(), 1, "{text}");
        assert!(
            told[0].starts_with("Nats-Request-Info: {\"acc\":\"A\""),
            "{text}"
        );
    }
}

/// Whoever may not publish to where reports of a trace would go gets none, and the message is refused.
#[test]
fn cve_2026_33249_and_ghsa_p3j5_a_header_publishes_nothing() {
    let server = Process::start(
        "authorization { users: [ { user: all, password: p }, { user: few, password: p, permissions: { publish: open } } ] }",
    );
    let (mut all, mut few) = (log_in(&server, "all"), log_in(&server, "few"));
    all.send("SUB > 1\r\n");
    all.ping();
    let long = format!("Nats-Trace-Dest: closed\r\nFill: {}", "x".repeat(70_000));
    for header in [
        "Nats-Trace-Dest: closed",
        "Nats-Trace-Dest: closed\r\nNats-Trace-Only: true",
        &long,
    ] {
        let block = format!("NATS/1.0\r\n{header}\r\n\r\n");
        few.send(format!(
            "HPUB open {0} {0}\r\n{block}\r\nPING\r\n",
            block.len()
        ));
        few.expect("-ERR 'Permissions Violation for Publish to \"closed\"'\r\nPONG\r\n");
        all.send("PING\r\n");
        all.expect("PONG\r\n");
    }
}

#[test]
fn ghsa_38x3_and_hmmp_what_comes_before_connect_is_judged_like_a_login() {
    let server = Process::start(
        r#"authorization { users: [
      { user: guest, password: p, allowed_connection_types: ["WEBSOCKET"] }
      { user: all, password: p }
    ] }
    no_auth_user: guest"#,
    );
    for bytes in [
        "PING\r\n",
        "PUB a 1\r\nx\r\n",
        "SUB a 1\r\n",
        "CONNECT {}\r\n",
    ] {
        assert_eq!(last_words(&server, bytes), VIOLATION, "{bytes:?}");
    }
    let server = Process::start(
        r#"accounts {
      OPEN: { users: [ { user: guest, password: p, permissions: { publish: open, subscribe: open } } ] }
      CLOSED: { users: [ { user: c, password: p } ] }
    }
    no_auth_user: guest"#,
    );
    let mut closed = log_in(&server, "c");
    closed.send("SUB > 1\r\n");
    closed.ping();
    let mut guest = server.connect();
    guest.send("SUB > 1\r\n");
    guest.expect("-ERR 'Permissions Violation for Subscription to \">\"'\r\n");
    guest.send("PUB open 1\r\nx\r\nPING\r\n");
    guest.expect("+OK\r\nPONG\r\n");
    closed.send("PING\r\n");
    closed.expect("PONG\r\n");
}

#[test]
fn ghsa_g33f_keys_of_any_length_are_refused_in_peace() {
    let key = "UDXU4RCSJNZOIQHZNWXHXORDPRTGNJAHAHFRGZNEEJCPQTT2M7NLCNF4";
    let server = Process::start(&format!("authorization {{ users: [ {{ nkey: {key} }} ] }}"));
    for length in 0..=key.len() {
        let connect = format!(
            "CONNECT {{\"nkey\":\"{}\",\"sig\":\"{}\"}}\r\n",
            &key[..length],
            "A".repeat(length * 2)
        );
        assert_eq!(last_words(&server, &connect), VIOLATION, "{connect}");
    }
}

#[test]
fn cve_2026_33218_and_ghsa_3g5q_info_of_any_shape_ends_nobody_else() {
    let closed = Process::start("authorization { user: a, password: p }");
    let open = Process::start("");
    let mut witness = Client::introduced(open.address, QUIET);
    for document in [
        "",
        "{",
        "null",
        "[]",
        "{\"server_id\":5}",
        "{\"xkey\":\"X\"}",
        "{\"nonce\":null}",
    ] {
        let line = format!("INFO {document}\r\n").repeat(3);
        assert_eq!(last_words(&closed, &line), VIOLATION);
        let mut client = Client::introduced(open.address, QUIET);
        client.send(line);
        client.finish_sending();
        client.read_to_whatever_end();
        witness.ping();
    }
}

/// Fixed in nats-server without a number (91045691a): a permission of blanks made it fail.
#[test]
fn permissions_of_blanks_are_refused() {
    for entry in [" ", "\\t", "a  ", " q", "a q r", ""] {
        let said = refusal(&format!(
            "authorization {{ users: [ {{ user: a, password: p, permissions: {{ subscribe: \"{entry}\" }} }} ] }}"
        ));
        assert!(said.contains("is not a valid"), "{entry:?}: {said}");
    }
}
