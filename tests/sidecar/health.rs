//! `midge healthcheck`, which images without a shell are probed with.

use std::io::Write as _;
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::process::{Command, Output};

use rcgen::generate_simple_self_signed;
use rustix::process::Signal;

use super::client::{Client, eventually};
use super::midge::{Process, program};
pub(crate) use crate::page::page;

const MONITORING: &str = "http: \"127.0.0.1:-1\"";

/// Where the server has said that it serves monitoring.
pub(crate) fn monitoring(server: &Process) -> SocketAddr {
    let mut address = None;
    eventually("the monitoring port in the log", || {
        let log = server.log();
        let line = log.iter().find_map(|line| line.split_once(" monitor on "));
        address = line.map(|(_, address)| address.parse().unwrap());
        address.is_some()
    });
    address.unwrap()
}

/// Says that a test did not run, in the form that `tests/run` counts. In CI nothing may be skipped.
#[expect(clippy::print_stdout, reason = "whoever runs the tests reads it")]
pub(crate) fn skip(reason: &str) {
    let thread = std::thread::current();
    let test = thread.name().unwrap_or("test");
    println!("skipped: {test}: {reason}");
    assert_ne!(std::env::var("CI").as_deref(), Ok("true"), "{reason}");
}

fn check(arguments: &[&str]) -> Output {
    let mut command = Command::new(program());
    command.env_remove("MIDGE_CONFIG").args(arguments);
    command.output().unwrap()
}

fn refusal(arguments: &[&str]) -> String {
    let output = check(arguments);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert!(output.stdout.is_empty(), "{output:?}");
    String::from_utf8(output.stderr).unwrap()
}

#[test]
fn a_server_is_healthy_until_it_leaves() {
    let configuration = format!("{MONITORING}\nlame_duck_on_term: true\nlame_duck_duration: 30s");
    let mut server = Process::start(&configuration);
    let address = monitoring(&server);
    for path in ["", "/", "/healthz", "/livez", "/readyz", "/startupz"] {
        let output = check(&["healthcheck", &format!("http://{address}{path}")]);
        assert_eq!(output.status.code(), Some(0), "{path}: {output:?}");
        assert!(!output.stdout.is_empty(), "{path}: {output:?}");
    }
    let port = address.port().to_string();
    // The configured port, by flags before and behind the word, and by a path of one's own.
    for arguments in [
        &["healthcheck", "-m", &port, "-a", "127.0.0.1"][..],
        &["-m", &port, "healthcheck"],
        &["-m", &port, "healthcheck", "/livez"],
    ] {
        let output = check(arguments);
        assert_eq!(output.status.code(), Some(0), "{arguments:?}: {output:?}");
    }
    let said = refusal(&["healthcheck", &format!("http://{address}/nothing")]);
    assert!(said.contains("404"), "{said}");

    // SIGTERM makes it a lame duck: it goes on with its clients and wants no others.
    let mut client = Client::quiet(server.address);
    server.signal(Signal::TERM);
    eventually("a lame duck", || {
        let output = check(&["-m", &port, "healthcheck"]);
        output.status.code() == Some(1)
    });
    let said = refusal(&["healthcheck", &format!("http://{address}/healthz")]);
    assert!(said.contains("500") && said.contains("midge"), "{said}");
    let alive = check(&["healthcheck", &format!("http://{address}/livez")]);
    assert_eq!(alive.status.code(), Some(0), "{alive:?}");
    client.send("SUB a 1\r\n");
    client.publish("a", b"still here");
    assert_eq!(client.message().body, b"still here");
    server.signal(Signal::INT);
    assert_eq!(server.exit().code(), Some(0));
    let said = refusal(&["healthcheck", &format!("http://{address}/livez")]);
    assert!(said.contains(&address.to_string()), "{said}");
}

#[test]
fn https_is_asked_without_knowing_the_certificate() {
    let directory = tempfile::tempdir().unwrap();
    let made = generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let file = |name: &str, text: String| {
        let path = directory.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let certificate = file("cert.pem", made.cert.pem());
    let key = file("key.pem", made.signing_key.serialize_pem());
    let server = Process::start(&format!(
        "https: \"127.0.0.1:-1\"\ntls {{ cert_file: {certificate:?}, key_file: {key:?} }}\n\
         http_user: eve\nhttp_password: secret"
    ));
    let address = monitoring(&server);
    let output = check(&["healthcheck", &format!("https://{address}/readyz")]);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    // Not a probe: it would need credentials.
    let said = refusal(&["healthcheck", &format!("https://{address}/varz")]);
    assert!(said.contains("401"), "{said}");
    refusal(&["healthcheck", &format!("http://{address}/readyz")]);
}

#[test]
fn mistakes_and_strange_answers_are_told() {
    let said = refusal(&["healthcheck"]);
    assert!(said.contains("http_port"), "{said}");
    let said = refusal(&["healthcheck", "-m", "-1"]);
    assert!(said.contains("chooses"), "{said}");
    let said = refusal(&["healthcheck", "nonsense"]);
    assert!(said.contains("no URL"), "{said}");
    let said = refusal(&["healthcheck", "http://127.0.0.1:1/", "more"]);
    assert!(said.contains("more"), "{said}");
    let said = refusal(&["-c", "/nonexistent.conf", "healthcheck"]);
    assert!(said.contains("/nonexistent.conf"), "{said}");

    // Somebody who does not speak HTTP, and somebody who closes at once.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/readyz", listener.local_addr().unwrap());
    let stranger = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let _ = stream.write_all(b"INFO {}\r\n");
        drop(stream);
        drop(listener.accept().unwrap());
    });
    refusal(&["healthcheck", &url]);
    refusal(&["healthcheck", &url]);
    stranger.join().unwrap();
}

/// The environment names the file, as in a container.
#[test]
fn the_configuration_may_be_named_by_the_environment() {
    let server = Process::start(MONITORING);
    let address = monitoring(&server);
    let directory = tempfile::tempdir().unwrap();
    let file: &Path = &directory.path().join("nats.conf");
    std::fs::write(file, format!("http: \"{address}\"")).unwrap();
    let mut command = Command::new(program());
    let output = command
        .env("MIDGE_CONFIG", file)
        .arg("healthcheck")
        .output();
    assert_eq!(output.unwrap().status.code(), Some(0));
}

/// The startup probe of a cluster: a server counts once it has found another one.
#[test]
fn a_server_of_a_cluster_has_started_when_it_has_found_another() {
    let free = TcpListener::bind("127.0.0.1:0").unwrap();
    let routes = free.local_addr().unwrap();
    drop(free);
    let one = Process::start(&format!(
        "{MONITORING}\ncluster {{ name: c, listen: \"{routes}\" }}"
    ));
    let url = format!("http://{}/startupz?routes=1", monitoring(&one));
    assert!(refusal(&["healthcheck", &url]).contains("503"));
    let _other = Process::start(&format!(
        "cluster {{ name: c, listen: \"127.0.0.1:-1\", routes: [ \"nats://{routes}\" ] }}"
    ));
    eventually("the other server", || {
        check(&["healthcheck", &url]).status.success()
    });
}
