//! Connections: how many, how they begin, and how they end.

use std::io::Write as _;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::Command;

use super::client::{Client, QUIET, eventually, info};
use super::midge::{Embedded, Process, program};

#[test]
fn a_half_closed_connection_gets_its_answers_and_then_the_end() {
    let server = Process::start("");
    let mut subscriber = Client::subscriber(server.address, "a 1");
    for _ in 0..50 {
        let mut client = server.connect();
        client.send(format!("{QUIET}\r\nSUB a 7\r\nPUB a 3\r\nxyz\r\nPING\r\n"));
        client.finish_sending();
        client.expect("MSG a 7 3\r\nxyz\r\nPONG\r\n");
        client.expect_end();
        subscriber.expect("MSG a 1 3\r\nxyz\r\n");
    }
    // So does one that asked for more than its socket could take at once.
    let mut client = Client::quiet(server.address);
    let payload = "y".repeat(1_000_000);
    let mut script = "SUB b 1\r\n".to_owned();
    for _ in 0..20 {
        script += &format!("PUB b {}\r\n{payload}\r\n", payload.len());
    }
    let stream = client.stream().try_clone().unwrap();
    let writer = std::thread::spawn(move || {
        (&stream).write_all(script.as_bytes()).unwrap();
        stream.shutdown(std::net::Shutdown::Write).unwrap();
    });
    for _ in 0..20 {
        assert!(client.message().body == payload.as_bytes());
    }
    client.expect_end();
    writer.join().unwrap();
}

#[test]
fn connections_above_the_limit_are_told_and_closed() {
    let server = Process::start("max_connections: 3");
    let mut allowed: Vec<Client> = (0..3).map(|_| Client::quiet(server.address)).collect();
    for round in 0..3 {
        let mut refused = server.connect();
        assert!(info(&refused.greeting)["client_id"].as_u64() > Some(7));
        refused.expect("-ERR 'maximum connections exceeded'\r\n");
        refused.expect_end();
        // Those that are there go on, and one that leaves makes room for one.
        allowed.iter_mut().for_each(Client::ping);
        drop(allowed.remove(0));
        let mut next = None;
        eventually("room for another connection", || {
            let mut client = server.connect();
            client.send(format!("{QUIET}\r\nPING\r\n"));
            let admitted = client.line() == "PONG";
            next = Some(client);
            admitted
        });
        allowed.push(next.unwrap());
        assert_eq!(allowed.len(), 3, "round {round}");
    }
}

#[test]
fn probes_that_connect_and_leave_are_harmless_and_quiet() {
    let server = Process::start("");
    for round in 0..100 {
        let stream = TcpStream::connect(server.address).unwrap();
        if round % 2 == 0 {
            // Leaves with unread bytes, which resets the connection.
            let mut byte = [0];
            std::io::Read::read_exact(&mut &stream, &mut byte).unwrap();
        }
    }
    Client::quiet(server.address).ping();
    let noise =
        |line: &String| line.contains("[ERR]") || line.contains("[WRN]") || line.contains("cid:");
    assert_eq!(server.log().iter().find(|line| noise(line)), None);
}

#[test]
fn thousands_of_connections_are_cheap_and_all_alive() {
    const CONNECTIONS: usize = 4000;
    raise_file_limit();
    let server = Process::start("");
    let mut publisher = Client::quiet(server.address);
    publisher.publish("warm", b"x");
    publisher.ping();
    let before = server.resident_bytes();
    let mut clients: Vec<Client> = (0..CONNECTIONS)
        .map(|number| {
            let mut client = server.connect();
            client.send(format!(
                "{QUIET}\r\nSUB one.{number} 1\r\nSUB all 2\r\nPING\r\n"
            ));
            client
        })
        .collect();
    for client in &mut clients {
        client.expect("PONG\r\n");
    }
    let each = (server.resident_bytes() - before) / CONNECTIONS;
    assert!(
        each < 16 * 1024,
        "{each} bytes for a connection with two subscriptions"
    );
    for number in 0..CONNECTIONS {
        publisher.publish(&format!("one.{number}"), b"x");
    }
    publisher.publish("all", b"y");
    for (number, client) in clients.iter_mut().enumerate() {
        client.expect(format!("MSG one.{number} 1 1\r\nx\r\nMSG all 2 1\r\ny\r\n"));
    }
    publisher.ping();
}

/// Lets this process hold as many sockets as the system allows it.
fn raise_file_limit() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    setrlimit(
        Resource::Nofile,
        Rlimit {
            current: limit.maximum,
            ..limit
        },
    )
    .unwrap();
}

/// Shells and service managers start processes with a low limit of open files that each may raise.
#[test]
fn the_server_raises_its_limit_of_open_files() {
    raise_file_limit();
    let mut shell = Command::new("sh");
    shell
        .args(["-c", "ulimit -Sn 100; exec \"$0\" \"$@\""])
        .arg(program());
    let server = Process::start_through(shell, "");
    let mut clients: Vec<Client> = (0..300).map(|_| Client::quiet(server.address)).collect();
    clients.iter_mut().for_each(Client::ping);
}

#[test]
fn ids_rise_with_each_connection() {
    let server = Process::start("");
    let ids: Vec<u64> = (0..20)
        .map(|_| {
            info(&server.connect().greeting)["client_id"]
                .as_u64()
                .unwrap()
        })
        .collect();
    assert!(ids.iter().copied().eq(5..25), "{ids:?}");
}

#[test]
fn both_families_of_addresses_are_served() {
    let server = Embedded::start_with("", |options| options.host = "::1".to_owned());
    let mut client = Client::quiet(server.address);
    assert!(server.address.is_ipv6());
    assert_eq!(info(&client.greeting)["client_ip"], "::1");
    assert_eq!(info(&client.greeting)["host"], "::1");
    client.ping();

    // An address of everything takes both; the older family's addresses look as they always did.
    let server = Embedded::start_with("", |options| options.host = "::".to_owned());
    let port = server.address.port();
    for (address, ip) in [("127.0.0.1", "127.0.0.1"), ("::1", "::1")] {
        let mut client = Client::quiet(SocketAddr::new(address.parse().unwrap(), port));
        assert_eq!(info(&client.greeting)["client_ip"], ip);
        client.ping();
    }
}

#[test]
fn small_messages_are_sent_without_delay() {
    let server = Process::start("");
    let mut subscriber = Client::subscriber(server.address, "a 1");
    let mut publisher = Client::quiet(server.address);
    let start = super::client::now();
    for _ in 0..100 {
        // With Nagle's algorithm and delayed acknowledgements, each of these could take 40 ms.
        publisher.publish("a", b"x");
        subscriber.expect("MSG a 1 1\r\n");
        subscriber.expect("x\r\n");
        publisher.ping();
    }
    let took = start.elapsed();
    assert!(took.as_millis() < 2500, "{took:?}");
}

#[test]
fn a_port_in_use_is_named() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let output = Command::new(program())
        .args(["-a", "127.0.0.1", "-p", &port])
        .output()
        .unwrap();
    assert!(!output.status.success());
    let log = String::from_utf8(output.stderr).unwrap();
    let line = log
        .lines()
        .find(|line| line.contains("[FTL]"))
        .unwrap_or_else(|| panic!("{log}"));
    assert!(
        line.contains("Error listening on port:") && line.contains(&port),
        "{line}"
    );
}

#[test]
fn the_port_is_free_again_after_a_kill() {
    let mut server = Process::start("");
    let _clients: Vec<Client> = (0..5).map(|_| Client::quiet(server.address)).collect();
    server.signal(rustix::process::Signal::KILL);
    server.exit();
    let again = TcpListener::bind(server.address);
    assert!(again.is_ok(), "{again:?}");
}
