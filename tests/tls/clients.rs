//! The client listener of the whole server, as clients see it.

use std::io::Read as _;
use std::net::TcpStream;
use std::sync::Arc;
use std::time::Duration;

use rustix::process::Signal;
use rustls::ClientConfig;
use rustls::version::{TLS12, TLS13};
use serde_json::Value;

use super::client::{Client as Plain, QUIET, eventually, info, now};
use super::midge::Process;
use super::support::{Client, PATIENCE, Site};

const HELLO: &[u8] = b"CONNECT {\"verbose\":false,\"protocol\":1}\r\nPING\r\n";

/// A `tls` block of this site with more options in it, and what stands behind it.
pub(super) fn block(site: &Site, options: &str, rest: &str) -> String {
    let files = site.options().certificates.remove(0);
    format!(
        "tls {{ cert_file: {:?}, key_file: {:?}, ca_file: {:?}\n timeout: 1\n{options} }}\n{rest}",
        files.cert_file,
        files.key_file,
        site.authority_file()
    )
}

/// Reads INFO, then does the handshake.
pub(super) fn upgrade(server: &Process, config: Arc<ClientConfig>) -> (Value, Client) {
    let plain = server.connect();
    let socket = plain.stream().try_clone().unwrap();
    let mut client = Client::over(socket, config, "localhost");
    client.handshake().unwrap();
    (info(&plain.greeting), client)
}

fn tls_fields(info: &Value) -> [&Value; 3] {
    ["tls_required", "tls_available", "tls_verify"].map(|key| &info[key])
}

fn logged(server: &Process, text: &str) {
    eventually(text, || server.log().iter().any(|line| line.contains(text)));
}

#[test]
fn info_comes_first_and_says_that_tls_is_required() {
    let site = Site::new();
    let server = Process::start(&block(&site, "", "debug: true"));
    for version in [&TLS12, &TLS13] {
        let (info, mut client) = upgrade(&server, site.client().version(version).config());
        assert_eq!(
            tls_fields(&info),
            [&Value::Bool(true), &Value::Null, &Value::Null]
        );
        client.write(HELLO).unwrap();
        client.expect("PONG\r\n");
        let later = super::client::info(&client.line());
        assert_eq!(later["tls_required"], true);
        client.write(b"SUB a 1\r\nPUB a 2\r\nhi\r\n").unwrap();
        client.expect("MSG a 1 2\r\nhi\r\n");
    }
    logged(&server, "TLS required for client connections");
    logged(
        &server,
        "TLS version 1.2, cipher suite TLS_ECDHE_ECDSA_WITH_",
    );
    logged(&server, "TLS version 1.3, cipher suite TLS_AES_");
}

#[test]
fn plain_and_silent_clients_are_closed_without_a_word() {
    let site = Site::new();
    let server = Process::start(&block(&site, "", "debug: true"));
    let mut plain = server.connect();
    plain.send("CONNECT {}\r\nPING\r\n");
    assert_eq!(plain.read_to_whatever_end(), b"");
    logged(
        &server,
        "tls: first record does not look like a TLS handshake",
    );
    let begun = now();
    let mut silent = server.connect();
    silent.expect_end();
    let waited = begun.elapsed();
    assert!(
        waited >= Duration::from_millis(900) && waited < Duration::from_secs(15),
        "{waited:?}"
    );
    logged(&server, "TLS handshake timeout");
    logged(&server, "Client connection closed: TLS Handshake Failure");
    drop(server.connect());
    logged(&server, "TLS handshake error: EOF");
    let errors = server.log().iter().any(|line| line.contains("[ERR]"));
    assert!(!errors, "probes are no errors: {:?}", server.log());
}

#[test]
fn with_allow_non_tls_the_first_byte_decides() {
    let site = Site::new();
    let server = Process::start(&block(&site, "", "allow_non_tls: true"));
    let (info, mut secured) = upgrade(&server, site.client().config());
    assert_eq!(
        tls_fields(&info),
        [&Value::Null, &Value::Bool(true), &Value::Null]
    );
    secured
        .write(format!("{QUIET}\r\nSUB both 1\r\nPING\r\n").as_bytes())
        .unwrap();
    secured.expect("PONG\r\n");
    let mut plain = Plain::quiet(server.address);
    plain.send("SUB both 1\r\nPING\r\nPUB both 1\r\nx\r\n");
    plain.expect("PONG\r\nMSG both 1 1\r\nx\r\n");
    secured.expect("MSG both 1 1\r\nx\r\n");
    // A client that says nothing is a plain one, once the handshake's time is over.
    let mut silent = server.connect();
    eventually("the patience with it to be over", || {
        silent
            .stream()
            .set_read_timeout(Some(Duration::from_millis(1500)))
            .unwrap();
        let mut byte = [0];
        let read = silent.stream().peek(&mut byte);
        read.is_err_and(|error| error.kind() == std::io::ErrorKind::WouldBlock)
    });
    silent.stream().set_read_timeout(Some(PATIENCE)).unwrap();
    silent.send(format!("{QUIET}\r\n"));
    silent.ping();
}

#[test]
fn a_handshake_may_come_before_info() {
    let site = Site::new();
    for (first, waits) in [("true", false), ("auto", true), ("300ms", true)] {
        let server = Process::start(&block(&site, &format!("handshake_first: {first}"), ""));
        let mut client = Client::new(server.address, site.client().config());
        client.handshake().unwrap();
        assert_eq!(info(&client.line())["tls_required"], true);
        client.write(HELLO).unwrap();
        client.expect("PONG\r\n");
        if waits {
            let (info, mut client) = upgrade(&server, site.client().config());
            assert_eq!(info["tls_required"], true);
            client.write(HELLO).unwrap();
            client.expect("PONG\r\n");
        } else {
            let mut silent = TcpStream::connect(server.address).unwrap();
            silent.set_read_timeout(Some(PATIENCE)).unwrap();
            let mut got = Vec::new();
            silent.read_to_end(&mut got).unwrap();
            assert_eq!(got, b"", "no INFO before the handshake");
            logged(
                &server,
                "Clients that are not using \"TLS Handshake First\" option will fail",
            );
        }
    }
}

#[test]
fn with_everything_on_each_client_finds_its_way() {
    let site = Site::new();
    let configuration = block(&site, "handshake_first: auto", "allow_non_tls: true");
    let server = Process::start(&configuration);
    let mut first = Client::new(server.address, site.client().config());
    first.handshake().unwrap();
    let greeting = info(&first.line());
    assert_eq!(
        tls_fields(&greeting)[..2],
        [&Value::Bool(true), &Value::Bool(true)]
    );
    let (greeting, mut second) = upgrade(&server, site.client().config());
    assert_eq!(
        tls_fields(&greeting)[..2],
        [&Value::Null, &Value::Bool(true)]
    );
    for client in [&mut first, &mut second] {
        client.write(HELLO).unwrap();
        client.expect("PONG\r\n");
    }
    Plain::quiet(server.address).ping();
}

#[test]
fn too_many_connections_are_told_so_in_the_clear() {
    let site = Site::new();
    let error = "-ERR 'maximum connections exceeded'\r\n";
    let server = Process::start(&block(&site, "", "max_connections: 1"));
    let (_, _one) = upgrade(&server, site.client().config());
    let mut other = server.connect();
    other.expect(error);
    other.expect_end();
    let server = Process::start(&block(&site, "handshake_first: true", "max_connections: 0"));
    let mut other = Plain::open(TcpStream::connect(server.address).unwrap());
    other.expect(error);
    other.expect_end();
    logged(&server, "maximum connections exceeded");
}

#[test]
fn connections_above_the_rate_are_told_to_come_again() {
    let site = Site::new();
    let server = Process::start(&block(&site, "connection_rate_limit: 2", ""));
    // More than fit into two windows, however the test's beginning falls.
    let mut refused = 0;
    for _ in 0..20 {
        let mut client = server.connect();
        let config = site.client().config();
        let socket = client.stream().try_clone().unwrap();
        if Client::over(socket, config, "localhost")
            .handshake()
            .is_err()
        {
            refused += 1;
            let told = client.read_to_whatever_end();
            let expected = b"-ERR 'Connection throttling is active. Please try again later.'\r\n";
            assert!(
                told.is_empty() || told == expected,
                "{:?}",
                told.escape_ascii()
            );
        }
    }
    assert!(refused > 0);
    logged(&server, "due to TLS rate limiting");
}

#[test]
fn the_authentication_timeout_begins_after_the_handshake() {
    let site = Site::new();
    let login = "authorization { user: a, password: b }";
    let server = Process::start(&block(&site, "", login));
    let (info, mut client) = upgrade(&server, site.client().config());
    assert_eq!(info["auth_required"], true);
    let begun = now();
    assert_eq!(client.rest(), "-ERR 'Authentication Timeout'\r\n");
    let waited = begun.elapsed();
    assert!(
        waited >= Duration::from_millis(1900),
        "the handshake's time and a second: {waited:?}"
    );
}

#[test]
fn much_goes_both_ways_and_a_slow_reader_is_cut() {
    let site = Site::new();
    let server = Process::start(&block(&site, "", "max_pending: 1MB, debug: true"));
    let (_, mut client) = upgrade(&server, site.client().config());
    let (_, mut slow) = upgrade(&server, site.client().config());
    slow.write(format!("{QUIET}\r\nSUB much 1\r\nPING\r\n").as_bytes())
        .unwrap();
    slow.expect("PONG\r\n");
    client
        .write(format!("{QUIET}\r\nSUB a 1\r\n").as_bytes())
        .unwrap();
    let payload = "0123456789abcdef".repeat(30_000);
    let message = format!(
        "PUB a {0}\r\n{payload}\r\nPUB much {0}\r\n{payload}\r\n",
        payload.len()
    );
    for _ in 0..20 {
        client.write(message.as_bytes()).unwrap();
        client.expect(&format!("MSG a 1 {}\r\n{payload}\r\n", payload.len()));
    }
    eventually("more for the slow one", || {
        client.write(message.as_bytes()).unwrap();
        client.expect(&format!("MSG a 1 {}\r\n{payload}\r\n", payload.len()));
        server
            .log()
            .iter()
            .any(|line| line.contains("Slow Consumer"))
    });
}

#[test]
fn the_end_of_the_server_waits_for_no_handshake() {
    let site = Site::new();
    let configuration = block(&site, "", "debug: true").replace("timeout: 1", "timeout: 60");
    for signal in [Signal::INT, Signal::TERM] {
        let mut server = Process::start(&configuration);
        let mut silent = server.connect();
        let begun = now();
        server.signal(signal);
        silent.expect_end();
        server.exit();
        assert!(
            begun.elapsed() < Duration::from_secs(15),
            "{:?}",
            begun.elapsed()
        );
        logged(&server, "Client connection closed: Server Shutdown");
    }
}

#[test]
fn flags_are_enough() {
    let site = Site::new();
    let files = site.options().certificates.remove(0);
    let mut command = std::process::Command::new(super::midge::program());
    command.args(["--tls", "--tlsverify"]);
    command.arg("--tlscert").arg(files.cert_file);
    command.arg("--tlskey").arg(files.key_file);
    command.arg("--tlscacert").arg(site.authority_file());
    let server = Process::start_through(command, "");
    let identity = site.authority.sign(&["client.example"]);
    let (info, mut client) = upgrade(&server, site.client().identity(&identity).config());
    assert_eq!(
        tls_fields(&info),
        [&Value::Bool(true), &Value::Null, &Value::Bool(true)]
    );
    client.write(HELLO).unwrap();
    client.expect("PONG\r\n");
}
