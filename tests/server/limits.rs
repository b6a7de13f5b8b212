//! What one address, user or account may take from the others.

use std::io::ErrorKind;
use std::time::Duration;

use rustix::process::Signal;

use super::client::{Client, QUIET, eventually, info, now};
use super::midge::Process;

const TOO_MANY: &str = "-ERR 'maximum connections exceeded'";

fn refused(server: &Process) -> bool {
    let mut client = server.connect();
    // It may have been closed already, which the answer tells.
    let _ = client.try_send("PING\r\n");
    let answer = client.line();
    assert!(answer == "PONG" || answer == TOO_MANY, "{answer}");
    answer == TOO_MANY
}

#[test]
fn an_address_has_so_many_connections_and_no_more() {
    let server = Process::start("max_connections_per_ip: 2");
    let mut first = Client::quiet(server.address);
    let second = Client::quiet(server.address);
    assert!(refused(&server));
    drop(second);
    eventually("a place that was given back", || !refused(&server));
    first.ping();
    let line = "maximum connections of one address exceeded";
    eventually(line, || {
        server.log().iter().any(|logged| logged.contains(line))
    });
    server.configure("max_connections_per_ip: 50");
    server.signal(Signal::HUP);
    eventually("the reload", || {
        server
            .log()
            .iter()
            .any(|line| line.contains("Reloaded server configuration"))
    });
    let clients: Vec<Client> = (0..30).map(|_| Client::quiet(server.address)).collect();
    assert_eq!(clients.len(), 30);
}

/// Nothing has come for the client yet.
fn waits(client: &Client) -> bool {
    client.stream().set_nonblocking(true).unwrap();
    let peeked = client.stream().peek(&mut [0]);
    client.stream().set_nonblocking(false).unwrap();
    peeked.is_err_and(|error| error.kind() == ErrorKind::WouldBlock)
}

fn login(server: &Process, user: &str) -> Client {
    let connect = QUIET.replace('{', &format!("{{\"user\":{user:?},\"pass\":\"p\","));
    Client::introduced(server.address, &connect)
}

/// Sends so many messages and a ping behind them.
fn publish(client: &mut Client, count: usize, payload: &str) {
    let message = format!("PUB a {}\r\n{payload}\r\n", payload.len());
    client.send(message.repeat(count) + "PING\r\n");
}

/// In two writes, of which the second is read once the first one's pause is over.
fn publish_and_wait(client: &mut Client, count: usize, payload: &str) -> Duration {
    let begun = now();
    publish(client, count, payload);
    client.expect("PONG\r\n");
    client.ping();
    begun.elapsed()
}

#[test]
fn a_users_messages_are_read_at_its_rate() {
    let server = Process::start(
        "authorization { users = [
           { user: limited, password: p, rate_limit: { messages: 100 } }
           { user: free, password: p }
         ] }",
    );
    let mut subscriber = login(&server, "free");
    subscriber.send("SUB a 1\r\n");
    subscriber.ping();
    let (mut limited, mut second) = (login(&server, "limited"), login(&server, "limited"));
    let mut free = login(&server, "free");
    let begun = now();
    publish(&mut limited, 300, "x");
    // What has come is delivered, and then nothing is read for about two seconds.
    for _ in 0..300 {
        subscriber.expect("MSG a 1 1\r\nx\r\n");
    }
    limited.expect("PONG\r\n");
    limited.send("PING\r\n");
    publish_and_wait(&mut free, 1000, "y");
    assert!(waits(&limited), "others are not concerned");
    limited.expect("PONG\r\n");
    let elapsed = begun.elapsed();
    assert!(elapsed > Duration::from_millis(1900), "{elapsed:?}");
    // Its connections share one rate.
    let elapsed = publish_and_wait(&mut second, 100, "x");
    assert!(elapsed > Duration::from_millis(500), "{elapsed:?}");
    assert!(elapsed < Duration::from_secs(10), "{elapsed:?}");
}

#[test]
fn an_accounts_bytes_are_read_at_its_rate_and_it_stays_connected() {
    let server = Process::start(
        "ping_interval: 200ms, ping_max: 1
         accounts { A: { users: [ { user: a, password: p } ], rate_limit: { bytes: 100KB } }
                    B: { users: [ { user: b, password: p } ] } }",
    );
    let mut limited = login(&server, "a");
    let elapsed = publish_and_wait(&mut limited, 3, &"x".repeat(100_000));
    assert!(elapsed > Duration::from_millis(1500), "{elapsed:?}");
    let mut other = login(&server, "b");
    let elapsed = publish_and_wait(&mut other, 3, &"x".repeat(100_000));
    assert!(elapsed < Duration::from_millis(1500), "{elapsed:?}");
    limited.ping();
}

/// Of each of a thousand connections that say nothing a socket, a task and a few words are kept.
#[test]
fn a_thousand_silent_connections_hold_under_eight_megabytes() {
    const SILENT: usize = 1000;
    const MOST: usize = 8 * 1024 * 1024;
    let server = Process::start("authorization { user: a, password: p, timeout: 60 }");
    let mut good = login(&server, "a");
    good.ping();
    let before = server.resident_bytes();
    let silent: Vec<Client> = (0..SILENT).map(|_| server.connect()).collect();
    good.ping();
    let grown = server.resident_bytes().saturating_sub(before);
    assert!(
        grown < MOST,
        "{grown} bytes for {SILENT} silent connections"
    );
    assert_eq!(info(&silent[SILENT - 1].greeting)["auth_required"], true);
}
