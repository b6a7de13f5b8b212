//! What connections may cost whose bcrypt passwords are checked: time of others, and memory.

use std::io::{ErrorKind, Read as _};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream};
use std::time::Duration;

use rustix::net::{AddressFamily, SocketType, bind, connect, socket};

use super::client::{Client, eventually, now};
use super::midge::Process;

/// A bcrypt hash of "abc" that is quick to check.
const ABC: &str = "$2a$06$If6bvum7DFjUnE9p2uDeDu0YHzrHM6tf.iqN8.yx.jNN1ILEf7h0i";

/// The hash of some password that takes tens of milliseconds, as usual, or several seconds.
const USUAL: &str = "$2a$10$N9qo8uLOickgx2ZMRZoMyeIjZAgcfl7p92ldGxad68LJZdL17lhWy";
const SLOW: &str = "$2a$17$N9qo8uLOickgx2ZMRZoMyeIjZAgcfl7p92ldGxad68LJZdL17lhWy";

const VIOLATION: &str = "-ERR 'Authorization Violation'\r\n";
const TIMEOUT: &str = "-ERR 'Authentication Timeout'\r\n";

/// An address of this machine that is not the one that others in these tests connect from.
const ELSEWHERE: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 2));

fn users(timeout: &str, hash: &str) -> String {
    format!(
        "authorization {{ timeout: {timeout}, users: [
           {{ user: good, password: \"{ABC}\" }}, {{ user: target, password: \"{hash}\" }} ] }}"
    )
}

fn connect_from(source: IpAddr, server: SocketAddr) -> Client {
    let made = socket(AddressFamily::INET, SocketType::STREAM, None).unwrap();
    bind(&made, &SocketAddr::new(source, 0)).unwrap();
    connect(&made, &server).unwrap();
    let mut client = Client::open(TcpStream::from(made));
    assert!(client.line().starts_with("INFO "));
    client
}

/// Sends as much as the server reads of a login with a wrong password and of what follows it.
fn attack(server: &Process, behind: usize) -> Client {
    let client = server.connect();
    client.stream().set_nonblocking(true).unwrap();
    let mut text = String::from("CONNECT {\"user\":\"target\",\"pass\":\"wrong\"}\r\n");
    text.push_str(&"PUB a 5\r\nhello\r\n".repeat(behind / 16));
    let _what_fits_into_its_socket = std::io::Write::write(&mut client.stream(), text.as_bytes());
    client
}

/// What has come for a client so far, added to what came before.
fn told(client: &Client, so_far: &mut Vec<u8>) -> String {
    let mut buffer = [0; 256];
    match client.stream().read(&mut buffer) {
        Ok(count) => so_far.extend_from_slice(&buffer[..count]),
        Err(error) if error.kind() == ErrorKind::WouldBlock => {}
        Err(error) => assert_eq!(error.kind(), ErrorKind::ConnectionReset),
    }
    String::from_utf8_lossy(so_far).into_owned()
}

/// The attackers and what they were told.
struct Crowd(Vec<(Client, Vec<u8>)>);

impl Crowd {
    fn gather(server: &Process, count: usize, behind: usize) -> Self {
        let gathered = (0..count).map(|_| (attack(server, behind), Vec::new()));
        Self(gathered.collect())
    }

    fn told(&mut self, text: &str) -> usize {
        let answers = self.0.iter_mut().map(|(client, got)| told(client, got));
        answers.filter(|answer| answer == text).count()
    }
}

#[test]
fn a_login_that_waits_for_its_check_ends_at_its_deadline() {
    let server = Process::start(&users("0.5", SLOW));
    let mut crowd = Crowd::gather(&server, 5, 0);
    let begun = now();
    // Two are being checked, which is finished; nobody knows which ones came first.
    eventually("the others to be told", || crowd.told(TIMEOUT) == 3);
    assert!(begun.elapsed() < Duration::from_secs(10));
    assert_eq!(crowd.told(VIOLATION), 0);
    let mut closed = 0;
    for (client, got) in &mut crowd.0 {
        if got == TIMEOUT.as_bytes() {
            client.stream().set_nonblocking(false).unwrap();
            client.expect_end();
            closed += 1;
        }
    }
    assert_eq!(closed, 3);
}

#[test]
fn a_crowd_from_one_address_delays_only_itself_and_is_kept_small() {
    // Many more than may wait, of whom some are checked while others still come.
    const CROWD: usize = 400;
    const MOST_WAITING: usize = 256;
    const TURNED_AWAY: usize = 20;
    const BEHIND: usize = 64 * 1024;
    const MOST: usize = CROWD * 20 * 1024;
    let server = Process::start(&users("60", USUAL));
    let mut quiet = connect_from(ELSEWHERE, server.address);
    let before = server.resident_bytes();
    let mut crowd = Crowd::gather(&server, CROWD, BEHIND);
    eventually("those who are too many to be told", || {
        crowd.told(TIMEOUT) >= TURNED_AWAY
    });
    let grown = server.resident_bytes().saturating_sub(before);
    assert!(grown < MOST, "{grown} bytes for {CROWD} connections");
    quiet.send("CONNECT {\"user\":\"good\",\"pass\":\"abc\",\"verbose\":false}\r\nPING\r\n");
    quiet.expect("PONG\r\n");
    let checked = crowd.told(VIOLATION);
    assert!(checked < MOST_WAITING / 2, "{checked} came first");
    let said = |line: &&String| line.contains("Too many logins wait");
    assert_eq!(server.log().iter().filter(said).count(), 1);
}

#[test]
fn what_was_sent_behind_a_login_is_served_after_it() {
    let server = Process::start(&users("60", USUAL));
    let mut client = server.connect();
    let connect = r#"CONNECT {"user":"good","pass":"abc","verbose":false}"#;
    let messages = "PUB a 5\r\nhello\r\n".repeat(10_000);
    client.send(format!("{connect}\r\nSUB a 1\r\n{messages}PING\r\n"));
    for _ in 0..10_000 {
        client.expect("MSG a 1 5\r\nhello\r\n");
    }
    client.expect("PONG\r\n");
}
