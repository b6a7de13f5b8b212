//! Listeners that come, go and move while a server runs; whoever came in before stays.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixStream;
use std::path::Path;

use super::client::{Client, eventually, info};
use super::midge::Process;

/// Nobody listens there any more.
fn is_closed(address: SocketAddr) -> bool {
    TcpStream::connect(address).is_err()
}

/// The status of a page of monitoring.
fn status(address: SocketAddr, path: &str) -> Option<String> {
    let mut stream = TcpStream::connect(address).ok()?;
    let request = format!("GET {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    answer.split(' ').nth(1).map(str::to_owned)
}

fn greeting(path: &Path) -> Option<serde_json::Value> {
    let mut stream = UnixStream::connect(path).ok()?;
    stream.write_all(b"CONNECT {}\r\nPING\r\n").ok()?;
    let mut text = Vec::new();
    let mut byte = [0];
    while stream.read(&mut byte).ok()? == 1 && byte[0] != b'\n' {
        text.push(byte[0]);
    }
    Some(info(&String::from_utf8(text).ok()?))
}

/// Knocks again and again until everything has been reloaded.
fn knock_during(reload: impl FnOnce() + Send, knock: impl Fn()) {
    std::thread::scope(|scope| {
        let reloading = scope.spawn(reload);
        knock();
        while !reloading.is_finished() {
            knock();
        }
        reloading.join().unwrap();
    });
}

#[test]
fn the_client_listener_moves_and_clients_stay() {
    let server = Process::start_where_it_says("listen: \"127.0.0.1:-1\"");
    let mut old = Client::subscriber(server.address, "x 1");
    let lines = server.reloaded("listen: \"127.0.0.2:-1\"\nmax_payload: 100");
    let moved = server.serves("nats").unwrap();
    assert_eq!(moved.ip().to_string(), "127.0.0.2");
    let line = format!("Listening for client connections on {moved}");
    assert!(
        lines.iter().any(|logged| logged.contains(&line)),
        "{lines:#?}"
    );
    eventually("the end of the old listener", || is_closed(server.address));
    let mut new = Client::quiet(moved);
    let told = info(&new.greeting);
    assert_eq!(
        (&told["host"], &told["port"]),
        (&"127.0.0.2".into(), &moved.port().into())
    );
    new.publish("x", b"hi");
    old.expect("MSG x 1 2\r\nhi\r\n");
    // A port that the system chooses is no other one each time.
    server.reloaded("listen: \"127.0.0.2:-1\"");
    assert_eq!(server.serves("nats"), Some(moved));
    new.ping();
    Client::quiet(moved).ping();
}

#[test]
fn a_listener_takes_over_its_own_port_without_a_gap() {
    let server = Process::start_where_it_says("listen: \"127.0.0.1:-1\"");
    let address = server.address;
    let mut stays = Client::quiet(address);
    let reload = || {
        for host in ["0.0.0.0", "127.0.0.1", "localhost", "0.0.0.0"] {
            server.reloaded(&format!("listen: \"{host}:{}\"", address.port()));
        }
    };
    knock_during(reload, || Client::quiet(address).ping());
    stays.ping();
    let everywhere: SocketAddr = format!("127.0.0.2:{}", address.port()).parse().unwrap();
    Client::quiet(everywhere).ping();
    // And nobody else may listen there now.
    assert!(std::net::TcpListener::bind(everywhere).is_err());
}

#[test]
fn a_move_can_be_undone_at_once() {
    let server = Process::start_where_it_says("listen: \"127.0.0.1:-1\"");
    let port = server.address.port();
    let path = server.directory().join("clients.sock");
    let at = |host: &str, port: u16| format!("listen: \"{host}:{port}\"");
    let both = format!("{}\nunix_socket: {path:?}", at("127.0.0.1", port));
    for _ in 0..3 {
        // Nobody else can take the port meanwhile.
        server.reloaded(&at("0.0.0.0", port));
        assert!(greeting(&path).is_none());
        server.reloaded(&both);
        Client::quiet(server.address).ping();
        assert!(greeting(&path).is_some());
        server.reloaded(&at("0.0.0.0", port));
        server.reloaded(&at("127.0.0.1", port));
        Client::quiet(server.address).ping();
        assert!(!path.exists());
    }
}

#[test]
fn a_listener_that_cannot_be_had_changes_nothing() {
    let blocked = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = blocked.local_addr().unwrap();
    let server = Process::start_where_it_says("listen: \"127.0.0.1:-1\"");
    let mut client = Client::quiet(server.address);
    for more in [
        format!("listen: \"{taken}\""),
        format!("listen: \"127.0.0.1:-1\"\nhttp: \"{taken}\""),
        "listen: \"127.0.0.1:-1\"\nunix_socket: /absent/midge.sock".to_owned(),
        format!("listen: \"127.0.0.2:-1\"\nhttp: \"{taken}\""),
    ] {
        let lines = server.reload(&format!("{more}\nmax_payload: 7"));
        let last = lines.last().unwrap();
        assert!(
            last.contains("Failed to reload server configuration"),
            "{lines:#?}"
        );
        assert_eq!(info(&server.connect().greeting)["max_payload"], 1_048_576);
        assert_eq!(server.serves("nats"), Some(server.address));
        client.ping();
    }
    drop(blocked);
    server.reloaded(&format!("listen: \"{taken}\""));
    Client::quiet(taken).ping();
}

#[test]
fn a_unix_socket_comes_changes_and_goes() {
    let server = Process::start_where_it_says("listen: \"127.0.0.1:-1\"");
    let path = server.directory().join("clients.sock");
    let with =
        |more: &str| format!("listen: \"127.0.0.1:-1\"\nunix_socket {{ path: {path:?}{more} }}");
    assert!(greeting(&path).is_none());
    server.reloaded(&with(""));
    assert!(greeting(&path).is_some());
    let mut stays = UnixStream::connect(&path).unwrap();
    let mode = || std::fs::metadata(&path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(), 0o600);
    // The same path with other permissions.
    server.reloaded(&with(", mode: \"0660\""));
    assert_eq!(mode(), 0o660);
    assert!(greeting(&path).is_some());
    server.reloaded("listen: \"127.0.0.1:-1\"");
    eventually("the end of the socket's file", || !path.exists());
    stays.write_all(b"CONNECT {}\r\nPING\r\n").unwrap();
    let mut answer = [0; 4096];
    let mut text = String::new();
    while !text.contains("PONG") {
        let count = stays.read(&mut answer).unwrap();
        assert!(count > 0, "{text}");
        text.push_str(&String::from_utf8_lossy(&answer[..count]));
    }
    // TCP goes, and the socket alone stays.
    server.reloaded(&format!("listen: \"unix:{}\"", path.display()));
    eventually("the end of the listener", || is_closed(server.address));
    assert!(greeting(&path).is_some());
}

#[test]
fn a_unix_socket_takes_over_its_own_path_without_a_gap() {
    let server = Process::start_where_it_says("listen: \"127.0.0.1:-1\"");
    let path = server.directory().join("clients.sock");
    let with = |mode: &str| {
        format!("listen: \"127.0.0.1:-1\"\nunix_socket {{ path: {path:?}, mode: \"{mode}\" }}")
    };
    server.reloaded(&with("0600"));
    let reload = || {
        for mode in ["0660", "0600", "0660", "0600", "0660"] {
            server.reloaded(&with(mode));
        }
    };
    knock_during(reload, || assert!(greeting(&path).is_some()));
}

#[test]
fn monitoring_comes_moves_and_goes() {
    let server = Process::start_where_it_says("listen: \"127.0.0.1:-1\"");
    assert_eq!(server.serves("monitoring"), None);
    let lines = server.reloaded("listen: \"127.0.0.1:-1\"\nhttp: \"127.0.0.1:-1\"");
    let first = server.serves("monitoring").unwrap();
    let line = format!("Starting http monitor on {first}");
    assert!(
        lines.iter().any(|logged| logged.contains(&line)),
        "{lines:#?}"
    );
    assert_eq!(status(first, "/varz").as_deref(), Some("200"));
    server.reloaded("listen: \"127.0.0.1:-1\"\nhttp: \"127.0.0.2:-1\"\nhttp_base_path: /nats\nhttp_token: secret");
    let second = server.serves("monitoring").unwrap();
    eventually("the end of the old listener", || is_closed(first));
    assert_eq!(second.ip().to_string(), "127.0.0.2");
    assert_eq!(status(second, "/varz").as_deref(), Some("404"));
    assert_eq!(status(second, "/nats/varz").as_deref(), Some("401"));
    server.reloaded("listen: \"127.0.0.1:-1\"");
    eventually("the end of monitoring", || is_closed(second));
    assert_eq!(server.serves("monitoring"), None);
}
