//! What waits for all connections together stays within its budget.

use std::fs;
use std::io::{self, BufRead as _, BufReader, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::process::Signal;

use super::client::{Client, PATIENCE, eventually};
use super::midge::{Embedded, Process, program};

const KIB: usize = 1024;
const MIB: usize = 1024 * KIB;

/// A subscriber that reads nothing, and whose socket takes little before it is full.
fn dead(address: SocketAddr, subscription: &str) -> Client {
    let client = Client::subscriber(address, subscription);
    rustix::net::sockopt::set_socket_recv_buffer_size(client.stream(), 64 * KIB).unwrap();
    client
}

#[test]
fn the_slowest_are_cut_first_and_the_others_lose_nothing() {
    let server = Embedded::start("memory_budget: 16MB\nmax_pending: 1GB\nwrite_deadline: 60s");
    let budget = &server.broker().budget;
    let mut publisher = Client::quiet(server.address);
    let payload = vec![b'x'; 100 * KIB];
    let mut small = dead(server.address, "some 1");
    for _ in 0..60 {
        publisher.publish("some", &payload);
    }
    publisher.ping();
    let of_small = budget.used();
    assert!((1..8 * MIB).contains(&of_small), "{of_small}");

    let mut large = dead(server.address, "flood 1");
    let mut reader = Client::subscriber(server.address, "flood 1");
    let reading = std::thread::spawn(move || {
        let mut count = 0;
        while reader.message().body != b"last" {
            count += 1;
        }
        count
    });
    let mut published = 0;
    eventually("the end of the largest", || {
        publisher.publish("flood", &payload);
        publisher.ping();
        published += 1;
        assert!(budget.used() <= 20 * MIB, "{}", budget.used());
        budget.shed.get() > 0
    });
    publisher.publish("flood", b"last");
    publisher.ping();
    assert_eq!(reading.join().unwrap(), published);
    large.read_to_whatever_end();
    assert_eq!(
        (
            budget.shed.get(),
            server.broker().stats.slow_consumers.get()
        ),
        (1, 1)
    );
    let closed = server.broker().closed.list();
    let reasons: Vec<_> = closed.iter().map(|closed| closed.reason.text()).collect();
    assert!(
        reasons.contains(&"Slow Consumer (Memory Budget)"),
        "{reasons:?}"
    );
    // Whoever waits within the budget has time.
    for _ in 0..60 {
        assert_eq!(small.message().body.len(), payload.len());
    }
    eventually("nothing that waits", || budget.used() == 0);
}

/// What they are still sent is for their comfort alone.
#[test]
fn those_that_were_cut_already_and_told_so_go_before_all_others() {
    let server = Embedded::start(
        "memory_budget: 16MB\nmax_pending: 6MB\nwrite_deadline: 60s\nno_auth_user: u
        accounts { A { users: [{user: u, password: p}], slow_consumer_error: true } }",
    );
    let (budget, stats) = (&server.broker().budget, &server.broker().stats);
    let mut publisher = Client::quiet(server.address);
    let payload = vec![b'x'; 100 * KIB];
    let mut told = Vec::new();
    for subject in ["one", "two"] {
        told.push(dead(server.address, &format!("{subject} 1")));
        eventually("the end of a slow consumer", || {
            publisher.publish(subject, &payload);
            publisher.ping();
            stats.slow_consumers.get() == told.len() as u64
        });
    }
    let held = budget.used();
    assert!(held > 11 * MIB && server.broker().connection_count() == 3);
    let mut slow = dead(server.address, "three 1");
    eventually("memory that was short", || {
        publisher.publish("three", &payload);
        publisher.ping();
        budget.used() < held
    });
    assert_eq!((budget.shed.get(), stats.slow_consumers.get()), (0, 2));
    assert_eq!(slow.message().body.len(), payload.len());
}

#[test]
fn the_budget_can_be_seen_and_changed() {
    let server = Process::start("memory_budget: 64MB\nhttp: \"127.0.0.1:-1\"");
    let line = "Memory budget for what waits to be sent: 67108864 bytes";
    eventually("the budget in the log", || {
        server.log().iter().any(|logged| logged.ends_with(line))
    });
    let metrics = || super::health::page(super::health::monitoring(&server), "/metrics");
    let has = |line: &str| metrics().lines().any(|shown| shown == line);
    assert!(has("midge_memory_budget_bytes 67108864"), "{}", metrics());
    assert!(has("midge_memory_budget_used_bytes 0"), "{}", metrics());
    assert!(has("midge_shed_connections_total 0"), "{}", metrics());
    server.configure("memory_budget: 1MB\nhttp: \"127.0.0.1:-1\"");
    server.signal(Signal::HUP);
    eventually("the new budget", || {
        has("midge_memory_budget_bytes 1048576")
    });
    server.configure("memory_budget: 0\nhttp: \"127.0.0.1:-1\"");
    server.signal(Signal::HUP);
    eventually("no budget", || {
        !metrics().contains("midge_memory_budget_bytes ")
    });
}

/// A control group with a limit of memory, made within that of the test.
struct Group(PathBuf);

impl Group {
    /// `None` where the test may not make one.
    fn new(name: &str, limit: usize) -> Option<Self> {
        let own = fs::read_to_string("/proc/self/cgroup").ok()?;
        let (base, file) = own.lines().find_map(|line| {
            let mut fields = line.splitn(3, ':').skip(1);
            let (controllers, path) = (fields.next()?, fields.next()?.trim_start_matches('/'));
            let first = Path::new("/sys/fs/cgroup/memory").join(path);
            let second = Path::new("/sys/fs/cgroup").join(path);
            if controllers.split(',').any(|one| one == "memory") {
                Some((first, "memory.limit_in_bytes"))
            } else if second.join("cgroup.controllers").exists() {
                Some((second, "memory.max"))
            } else {
                None
            }
        })?;
        let group = Self(base.join(format!("midge-{name}-{}", std::process::id())));
        fs::create_dir(&group.0).ok()?;
        fs::write(group.0.join(file), limit.to_string()).ok()?;
        // Without swap, where that can be said: what does not fit is to be noticed.
        let _ = fs::write(group.0.join("memory.swap.max"), "0");
        let _ = fs::write(group.0.join("memory.swappiness"), "0");
        Some(group)
    }

    /// A command that runs the server in the group.
    fn command(&self) -> Command {
        let mut command = Command::new("sh");
        let enter = "echo $$ > \"$0\" && exec \"$@\"";
        command
            .args(["-c", enter])
            .arg(self.0.join("cgroup.procs"))
            .arg(program());
        command
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        // The process may take a moment to leave it.
        for _ in 0..1000 {
            if fs::remove_dir(&self.0).is_ok() || !self.0.exists() {
                return;
            }
            std::thread::yield_now();
        }
    }
}

/// Subscribers that read nothing come in waves, and each wave is sent more than the group may use. An error when
/// the server is not there any more.
fn flood(address: SocketAddr, payload: &[u8]) -> io::Result<()> {
    const WAVES: usize = 5;
    const DEAD: usize = 20;
    const BATCHES: usize = 25;
    const MESSAGES: usize = 8;
    let head = format!("PUB flood {}\r\n", payload.len());
    let batch = [head.as_bytes(), payload, b"\r\n"]
        .concat()
        .repeat(MESSAGES);
    let (mut publisher, mut answers) = connect(address)?;
    let mut dead_ones = Vec::new();
    for _ in 0..WAVES {
        for number in 0..DEAD {
            // Names of their own, so that they share no bytes.
            let (mut client, mut lines) = connect(address)?;
            write!(client, "SUB flood {number}\r\n")?;
            confirm(&mut client, &mut lines)?;
            dead_ones.push(client);
        }
        for _ in 0..BATCHES {
            publisher.write_all(&batch)?;
            confirm(&mut publisher, &mut answers)?;
        }
    }
    Ok(())
}

fn connect(address: SocketAddr) -> io::Result<(TcpStream, BufReader<TcpStream>)> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let mut lines = BufReader::with_capacity(512, stream.try_clone()?);
    lines.read_line(&mut String::new())?;
    stream.write_all(b"CONNECT {\"verbose\":false}\r\n")?;
    Ok((stream, lines))
}

/// Everything sent before has been served.
fn confirm(stream: &mut TcpStream, lines: &mut BufReader<TcpStream>) -> io::Result<()> {
    stream.write_all(b"PING\r\n")?;
    let mut line = "PING\r\n".to_owned();
    // On a slow machine the server asks as well.
    while line == "PING\r\n" {
        line.clear();
        lines.read_line(&mut line)?;
    }
    if line == "PONG\r\n" {
        Ok(())
    } else {
        Err(io::ErrorKind::UnexpectedEof.into())
    }
}

#[test]
fn a_flood_for_dead_subscribers_does_not_cost_the_server_its_life() {
    const LIMIT: usize = 192 * MIB;
    let Some(group) = Group::new("flood", LIMIT) else {
        return super::health::skip("control groups with a limit of memory cannot be made here");
    };
    let payload = vec![b'x'; 32 * KIB];
    let configuration = "http: \"127.0.0.1:-1\"\nwrite_deadline: 120s";
    let mut server = Process::start_through(group.command(), configuration);
    let line = format!("what waits to be sent: {} bytes", LIMIT / 4);
    eventually("the budget in the log", || {
        server.log().iter().any(|logged| logged.ends_with(&line))
    });
    let mut reader = Client::subscriber(server.address, "alive 1");
    let outcome = flood(server.address, &payload);
    assert!(
        outcome.is_ok() && server.is_running(),
        "{outcome:?} {:?}",
        server.log()
    );
    let metrics = super::health::page(super::health::monitoring(&server), "/metrics");
    let shed = metrics
        .lines()
        .find_map(|line| line.strip_prefix("midge_shed_connections_total "));
    assert!(shed.unwrap().parse::<usize>().unwrap() > 0, "{metrics}");
    let mut publisher = Client::quiet(server.address);
    publisher.publish("alive", b"yes");
    assert_eq!(reader.message().body, b"yes");
    drop(server);

    // The same without a budget: the flood is one that kills.
    let without = format!("{configuration}\nmemory_budget: 0");
    let mut server = Process::start_through(group.command(), &without);
    let outcome = flood(server.address, &payload);
    assert!(outcome.is_err(), "the flood is too small to show anything");
    assert_eq!(server.exit().signal(), Some(Signal::KILL.as_raw()));
}
