//! What hostile or careless peers cannot do.

use std::time::Duration;

use super::client::{Client, MODERN, QUIET, eventually, now};
use super::midge::{Embedded, Process};

const LOGIN: &str = "authorization { user: alice, password: s3cret, timeout: 1 }";
const GOOD: &str = r#"CONNECT {"verbose":false,"user":"alice","pass":"s3cret"}"#;

/// As many tokens as a line has room for; nothing in the server may go down by recursion.
#[test]
fn filters_of_any_depth_are_served() {
    let server = Process::start("max_control_line: 512KB");
    for tokens in [2000, 200_000] {
        let mut client = Client::quiet(server.address);
        let subject = vec!["a"; tokens + 1].join(".");
        for token in ["*", "a"] {
            let filter = vec![token; tokens].join(".");
            client.send(format!("SUB {filter}.> 1\r\nPUB {subject} 1\r\nx\r\n"));
            client.expect(format!("MSG {subject} 1 1\r\nx\r\n"));
            client.send("UNSUB 1\r\n");
            client.ping();
        }
        let filter = vec!["*"; tokens].join(".");
        client.send(format!("SUB {filter} 1\r\n"));
        client.ping();
    }
    // What those left behind is given up, too.
    Client::quiet(server.address).ping();
}

/// A sequence of numbers that looks random and is the same each time.
struct Numbers(u64);

impl Numbers {
    fn next(&mut self, below: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % below as u64).unwrap()
    }
}

/// Pieces of protocol put together by somebody who does not know it.
fn garbage(numbers: &mut Numbers) -> Vec<u8> {
    const PIECES: [&[u8]; 28] = [
        b"PUB",
        b"HPUB",
        b"SUB",
        b"UNSUB",
        b"CONNECT",
        b"PING",
        b"PONG",
        b"INFO",
        b"+OK",
        b"-ERR",
        b" ",
        b"\t",
        b"\r\n",
        b"\n",
        b"\r",
        b"a.b",
        b">",
        b"*",
        b"1",
        b"0",
        b"-1",
        b"99999999999",
        b"{\"verbose\":false}",
        b"{\"a\":[[[[",
        b"NATS/1.0\r\n\r\n",
        b"\0",
        b"\xff\xfe",
        b"_INBOX.x",
    ];
    let mut bytes = Vec::new();
    for _ in 0..1 + numbers.next(40) {
        if numbers.next(12) == 0 {
            let count = numbers.next(50);
            bytes.extend((0..count).map(|_| u8::try_from(numbers.next(256)).unwrap()));
        } else {
            bytes.extend_from_slice(PIECES[numbers.next(PIECES.len())]);
        }
    }
    bytes
}

#[test]
fn garbage_harms_nobody_else() {
    for configuration in ["", LOGIN] {
        let mut server = Process::start(configuration);
        let mut witness = Client::introduced(server.address, GOOD);
        witness.send("SUB witness 1\r\n");
        let mut numbers = Numbers(0x1234_5678_9abc_def1);
        for _ in 0..600 {
            let mut client = server.connect();
            let mut bytes =
                b"CONNECT {\"verbose\":false,\"headers\":true}\r\n".repeat(numbers.next(2));
            bytes.extend(garbage(&mut numbers));
            // The server may have closed on the way, and that is all it may do.
            let _may_fail = client.try_send(&bytes);
            drop(client);
        }
        witness.publish("witness", b"still here");
        while witness.message().body != b"still here" {}
        assert!(server.is_running());
        let panicked = server.log().iter().any(|line| line.contains("panic"));
        assert!(!panicked, "{:?}", server.log());
    }
}

/// The same garbage has the same effect however it is cut.
#[test]
fn cuts_do_not_change_the_meaning_of_garbage() {
    let server = Process::start("");
    let mut numbers = Numbers(0xfeed_beef_0bad_cafe);
    for _ in 0..150 {
        let bytes = [format!("{MODERN}\r\n").as_bytes(), &garbage(&mut numbers)].concat();
        let answer = |chunk: usize| {
            let mut client = server.connect();
            for part in bytes.chunks(chunk) {
                let _may_fail = client.try_send(part);
            }
            let _may_fail = client.stream().shutdown(std::net::Shutdown::Write);
            let got = client.read_to_whatever_end();
            let text = String::from_utf8_lossy(&got).into_owned();
            text.split("INFO {").next().unwrap().to_owned()
        };
        let whole = answer(bytes.len());
        let chunk = 1 + numbers.next(5);
        // A reset may swallow the answer when the server refuses what is still being sent.
        let cut = answer(chunk);
        assert!(
            cut == whole || cut.is_empty() || whole.is_empty(),
            "{:?}",
            bytes.escape_ascii().to_string()
        );
    }
}

#[test]
fn nothing_is_served_before_a_login() {
    let server = Process::start(LOGIN);
    let mut witness = Client::introduced(server.address, GOOD);
    witness.send("SUB a 1\r\n");
    witness.ping();
    assert!(witness.greeting.contains("\"auth_required\":true"));
    for attempt in [
        "PING\r\n",
        "SUB > 1\r\n",
        "PUB a 1\r\nx\r\n",
        "\r\n",
        "X",
        "PONG\r\n",
        "INFO {}\r\n",
        "+OK\r\n",
        "HPUB a 1 1\r\n",
        "UNSUB 1\r\n",
        "CONNECT {}\r\n",
        "CONNECT {\"user\":\"alice\"}\r\n",
        "CONNECT {\"user\":\"alice\",\"pass\":\"wrong\"}\r\nPUB a 1\r\nx\r\n",
        "CONNECT {\"user\":\"bob\",\"pass\":\"s3cret\"}\r\nPUB a 1\r\nx\r\n",
        "CONNECT {\"auth_token\":\"s3cret\"}\r\n",
        "connect {\"user\":\"alice\",\"pass\":\"\"}\r\n",
        "CONNECT {\"user\":\"alice\",\"pass\":\"s3cret\",\"account\":\"$SYS\"}\r\nPUB a 1\r\nx\r\n",
    ] {
        let mut client = server.connect();
        client.send(attempt);
        client.expect("-ERR 'Authorization Violation'\r\n");
        client.expect_end();
    }
    // Later CONNECTs are looked at just as closely.
    let mut client = Client::introduced(server.address, GOOD);
    client.send("SUB a 1\r\nCONNECT {\"pass\":\"wrong\"}\r\nPUB a 1\r\nx\r\n");
    client.expect("-ERR 'Authorization Violation'\r\n");
    client.expect_end();
    witness.ping();
}

#[test]
fn a_login_must_come_in_time() {
    let server = Process::start(LOGIN);
    let mut good = Client::introduced(server.address, GOOD);
    let start = now();
    let mut silent = server.connect();
    let mut partial = server.connect();
    partial.send("CONNECT {\"user\":");
    let mut dribbling = server.connect();
    let mut sent = 0;
    // Bytes that trickle in do not put off the end.
    while start.elapsed() < Duration::from_millis(1500) {
        good.ping();
        if start.elapsed() < Duration::from_millis(20) * sent {
            continue;
        }
        let part = if sent == 0 { "CONNECT {" } else { " " };
        if dribbling.try_send(part).is_err() {
            break;
        }
        sent += 1;
    }
    assert!(sent > 3);
    for client in [&mut silent, &mut partial] {
        client.expect("-ERR 'Authentication Timeout'\r\n");
        client.expect_end();
    }
    let told = dribbling.read_to_whatever_end();
    assert!(told.is_empty() || told == b"-ERR 'Authentication Timeout'\r\n");
    good.ping();
}

#[test]
fn strangers_cost_little_memory() {
    let server = Process::start(LOGIN);
    Client::introduced(server.address, GOOD).ping();
    let before = server.resident_bytes();
    let mut strangers: Vec<Client> = Vec::new();
    for number in 0..400 {
        let mut client = server.connect();
        client.send(format!(
            "CONNECT {{\"name\":\"{}",
            "n".repeat(4000 - number)
        ));
        strangers.push(client);
    }
    Client::introduced(server.address, GOOD).ping();
    let each = server.resident_bytes().saturating_sub(before) / strangers.len();
    assert!(each < 24 * 1024, "{each} bytes for a stranger");
    // More than a control line and some blanks is not kept for anybody.
    let (name, blanks) = ("n".repeat(5000), " ".repeat(4000));
    for much in [
        format!("CONNECT {{\"name\":\"{name}"),
        format!("CONNECT{blanks}{{{}", &name[..2000]),
    ] {
        let mut greedy = server.connect();
        greedy.send(much);
        greedy.expect("-ERR 'maximum control line exceeded'\r\n");
        greedy.expect_end();
    }
}

#[test]
fn announced_payloads_cost_nothing_until_they_come() {
    let server = Process::start("");
    let mut good = Client::quiet(server.address);
    good.ping();
    let before = server.resident_bytes();
    let mut clients: Vec<Client> = Vec::new();
    for _ in 0..500 {
        let mut client = Client::quiet(server.address);
        client.send("PUB a 1048576\r\nx");
        clients.push(client);
    }
    good.ping();
    let grown = server.resident_bytes().saturating_sub(before);
    assert!(
        grown < 64 * 1024 * 1024,
        "{grown} bytes for payloads of which nothing came"
    );
}

#[test]
fn what_a_big_payload_took_is_given_back() {
    let server = Process::start("");
    let mut clients: Vec<Client> = (0..200).map(|_| Client::quiet(server.address)).collect();
    let payload = vec![b'x'; 1024 * 1024];
    let round = |clients: &mut Vec<Client>| {
        for client in clients {
            client.publish("nobody", &payload);
            client.ping();
        }
        server.resident_bytes()
    };
    round(&mut clients);
    let first = round(&mut clients);
    for _ in 0..3 {
        let later = round(&mut clients);
        assert!(
            later < first + 32 * 1024 * 1024,
            "{first} bytes grew to {later}"
        );
    }
}

/// One connection's words never turn into another's protocol.
#[test]
fn line_ends_cannot_be_smuggled_to_subscribers() {
    let server = Process::start("");
    let mut subscriber = Client::subscriber(server.address, "> 1");
    for attempt in [
        &b"PUB a\rMSG 0\r\n\r\n"[..],
        b"PUB a b\r\rINFO 0\r\n\r\n",
        b"PUB a\nPUB 0\r\n",
        b"SUB a\rb 1\r\n",
        b"HPUB a 5 5\r\n\r\n\r\nx\r\n",
        b"PUB a 12\r\nx\r\nMSG a 1 0\r\n",
    ] {
        let mut client = server.connect();
        client.send("CONNECT {\"verbose\":false,\"pedantic\":false,\"headers\":true}\r\n");
        client.send(attempt);
        client.finish_sending();
        client.read_to_whatever_end();
    }
    subscriber.send("PING\r\n");
    loop {
        let line = subscriber.line();
        if line == "PONG" {
            break;
        }
        // Whatever was delivered is a message of exactly its announced size.
        let size: usize = line.rsplit(' ').next().unwrap().parse().unwrap();
        let rest = subscriber.take(size + 2);
        assert!(rest.ends_with(b"\r\n"), "{line}");
        assert!(!line.contains('\n'));
    }
}

#[test]
fn secrets_do_not_reach_the_log() {
    let server = Process::start(&format!("{LOGIN}\ndebug: true\ntrace: true"));
    Client::introduced(server.address, GOOD).ping();
    for connect in [
        r#"CONNECT {"user":"alice","pass":"s3cret-1"}"#,
        r#"CONNECT {"user":"alice","PASS":"s3cret-2"}"#,
        r#"CONNECT {"user":"alice","p\u0061ss":"s3cret-3","auth_token":"s3cret-4","jwt":"s3cret-5","sig":"s3cret-6"}"#,
        r#"CONNECT {"pass":["s3cret-7"]}"#,
        r#"CONNECT {"pass":"s3cret-8"#,
        r#"CONNECT "pass":"s3cret-9""#,
    ] {
        let mut client = server.connect();
        client.send(format!("{connect}\r\n"));
        client.read_to_whatever_end();
    }
    let mut last = Client::introduced(server.address, GOOD);
    last.publish("the.end", b"");
    eventually("the log of the last client", || {
        server.log().iter().any(|line| line.contains("the.end"))
    });
    let leak = server
        .log()
        .into_iter()
        .find(|line| line.contains("s3cret"));
    assert_eq!(leak, None);
    assert!(server.log().iter().any(|line| line.contains("[REDACTED]")));
}

/// Each of these once was a way to make some NATS server fail.
#[test]
fn sizes_at_the_edge_of_numbers_are_refused() {
    let server = Process::start("");
    for line in [
        "PUB a 999999999",
        "PUB a 2147483647",
        "PUB a 2147483648",
        "PUB a 4294967295",
        "PUB a 4294967296",
        "PUB a 9223372036854775807",
        "PUB a 18446744073709551615",
        "PUB a 18446744073709551616",
        "PUB a -0",
        "PUB a 0x10",
        "PUB a 1e3",
        "PUB a +1",
        "HPUB a 999999999 999999999",
        "HPUB a 4294967295 1",
        "HPUB a 18446744073709551615 1",
        "HPUB a 2 1",
        "HPUB a -1 -1",
        "HPUB a r -1 1",
    ] {
        let mut client = Client::introduced(server.address, MODERN);
        client.send(format!("{line}\r\n"));
        let rest = client.rest().unwrap();
        assert!(
            rest.is_empty() || rest == b"-ERR 'Maximum Payload Violation'\r\n",
            "{line}"
        );
    }
    let mut client = Client::introduced(server.address, QUIET);
    client.send("SUB a 1\r\nUNSUB 1 18446744073709551616\r\nPUB a 1\r\nx\r\n");
    client.ping();
}

/// Every secret that somebody can put somewhere; whatever the log shows, it shows none of them, nor do
/// error texts.
#[test]
fn secrets_planted_everywhere_stay_where_they_are() {
    const CONFIGURATION: &str = r#"
debug: true
trace: true
SECRET_VARIABLE: "hush-variable"
accounts {
  A: {
    users: [
      { user: a, password: "hush-a" }
      { user: b, password: $SECRET_VARIABLE }
      { user: hashed, password: "$2a$04$hushhushhushhushhushhuCVxAWgMQC5YQCFRGVdw2mnSE4zVUGQ6" }
    ]
    mappings { x: y }
    imports: [ { service: { account: B, subject: ask } } ]
  }
  B: { users: [ { user: c, password: "hush-c" } ], exports: [ { service: ask } ] }
}
"#;
    let mut command = std::process::Command::new(super::midge::program());
    command
        .args(["-C", "max_payload=1000"])
        .env("MIDGE_UNUSED_SECRET", "hush-environment");
    let server = Process::start_through(command, CONFIGURATION);
    let mut said = Vec::new();
    for connect in [
        r#"{"user":"a","pass":"hush-a"}"#,
        r#"{"user":"b","pass":"hush-variable","auth_token":"hush-token","jwt":"hush-jwt","sig":"hush-sig","nkey":""}"#,
        r#"{"user":"a","pass":"hush-wrong"}"#,
        r#"{"user":"nobody","pass":"hush-wrong"}"#,
        r#"{"user":"hashed","pass":"hush-wrong"}"#,
        r#"{"auth_token":"hush-token"}"#,
        r#"{"user":"a","pass":"hush-a","account":"B"}"#,
        r#"{"user":"a","pass":"hush-a","protocol":9}"#,
        r#"{"user":"a","pass":"hush-a","pass":5}"#,
    ] {
        let mut client = server.connect();
        client.send(format!(
            "CONNECT {connect}\r\nSUB ask 1\r\nPUB x 0\r\n\r\nPUB ask r 0\r\n\r\nX\r\n"
        ));
        said.extend(client.read_to_whatever_end());
    }
    let mut last = Client::introduced(
        server.address,
        r#"CONNECT {"verbose":false,"user":"c","pass":"hush-c"}"#,
    );
    last.publish("the.end", b"");
    eventually("the log of the last client", || {
        server.log().iter().any(|line| line.contains("the.end"))
    });
    let leak = server.log().into_iter().find(|line| line.contains("hush"));
    assert_eq!(leak, None);
    assert!(!String::from_utf8_lossy(&said).contains("hush"));
}

/// A configuration that is wrong in every place that holds a secret.
#[test]
fn mistakes_in_a_configuration_show_no_secret() {
    let directory = tempfile::tempdir().unwrap();
    for wrong in [
        "authorization { user: a, password: \"hush-1\", token: \"hush-2\" }",
        "authorization { token: \"hush-1\", users: [ { user: a, password: \"hush-2\" } ] }",
        "authorization { users: [ { user: a, password: \"hush-1\" }, { user: a, password: \"hush-2\" } ] }",
        "authorization { users: [ { pass: \"hush-1\" } ] }",
        "authorization { users: [ { user: a, password: [ \"hush-1\" ] } ] }",
        "authorization { users: [ { user: a, passwort: \"hush-1\" } ] }",
        "authorization { user: a, password: \"hush-1\" ",
        "accounts { A { users: [ { user: a, password: \"hush-1\", nkey: \"UHUSH\" } ] } }",
        "accounts { A { users: [ { user: a, password: \"hush-1\", permissions: 5 } ] } }\nno_auth_user: b",
        "cluster { port: 1, authorization { user: r, password: [ \"hush-1\" ] } }",
        "cluster { port: 1, routes: [ \"nats://user:hush-1@bad host:1\" ] }",
    ] {
        let file = directory.path().join("midge.conf");
        std::fs::write(&file, wrong).unwrap();
        let mut command = std::process::Command::new(super::midge::program());
        let output = command.args(["-t", "-c"]).arg(&file).output().unwrap();
        let said = [output.stdout, output.stderr].concat();
        let said = String::from_utf8_lossy(&said).into_owned();
        assert!(!output.status.success(), "{wrong} is taken");
        assert!(!said.contains("hush"), "{wrong}: {said}");
    }
}

/// Questions to the server wait in a queue of some thousand places.
#[test]
fn questions_to_the_server_have_a_limit() {
    let server = Process::start("max_payload: 1MB");
    let subject = "$SYS.REQ.ACCOUNT.PING.CONNZ";
    for (blanks, answered) in [(0, true), (4094, true), (4095, false), (1_000_000, false)] {
        let mut client = Client::introduced(server.address, MODERN);
        client.send("SUB answers 1\r\n");
        let body = format!("{}{{}}", " ".repeat(blanks));
        client.send(format!(
            "PUB {subject} answers {}\r\n{body}\r\n",
            body.len()
        ));
        let line = client.line();
        let refused = line.starts_with("HMSG answers 1 ");
        assert_eq!(refused, !answered, "{blanks}: {line}");
    }
}

/// Some thousand connections that ended are remembered with what they wanted.
#[test]
fn what_a_connection_wanted_is_remembered_within_a_limit() {
    let server = Embedded::start("");
    let mut client = server.connect();
    client.send(format!("{QUIET}\r\n"));
    for number in 0..64 {
        client.send(format!("SUB {number}.{} {number}\r\n", "x".repeat(4000)));
    }
    client.send("SUB short s\r\n");
    client.ping();
    drop(client);
    eventually("the end of the connection", || {
        !server.broker().closed.list().is_empty()
    });
    let closed = server.broker().closed.list();
    let remembered = &closed[0].subscriptions;
    let bytes: usize = remembered.iter().map(|one| one.filter.len()).sum();
    assert!(bytes <= 4096 && !remembered.is_empty(), "{bytes} bytes");
}

/// Who may be nobody in particular depends on which account rules the server, and that one stays.
#[test]
fn another_system_account_needs_a_restart() {
    let accounts =
        "accounts { A { users: [{user: a, password: a}] }, B { users: [{user: b, password: b}] } }";
    let server = Process::start(&format!("{accounts}\nsystem_account: A"));
    let reloaded = format!("{accounts}\nsystem_account: B\nno_auth_user: a");
    server.configure(&reloaded);
    server.signal(rustix::process::Signal::HUP);
    let refused = "config reload not supported for SystemAccount";
    eventually("the refusal", || {
        server.log().iter().any(|line| line.contains(refused))
    });
    let mut nobody = server.connect();
    nobody.send("PING\r\n");
    let answer = String::from_utf8(nobody.rest().unwrap()).unwrap();
    assert!(
        answer.ends_with("-ERR 'Authorization Violation'\r\n"),
        "{answer}"
    );
}
