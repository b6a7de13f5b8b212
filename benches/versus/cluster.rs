//! Two servers that are linked: what is published at one is received at the other. Their processor time and
//! memory count together.

use std::fmt::Write as _;
use std::io::{Read as _, Write as _};
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use crate::Outcome;
use crate::measure::{Measure, Sample};
use crate::process::{Server, free_port};
use crate::scenarios::{Link, Trial};
use crate::wire::{Connection, PATIENCE};

/// Subjects of which all must have arrived before the exchange counts as done.
const PROBES: usize = 500;
/// Connections that share the interests.
const CONNECTIONS: usize = 10;
/// Time between looks.
const STEP: Duration = Duration::from_millis(5);

/// Starts two linked servers. Clients publish at the first and subscribe at the second.
pub(crate) fn start(binary: &Path, link: Link) -> Outcome<Server> {
    let (first_port, second_port) = (free_port()?, free_port()?);
    let first = Server::start_with(binary, &configuration("first", first_port, None, link))?;
    let text = configuration("second", second_port, Some(first_port), link);
    let second = Server::start_with(binary, &text)?;
    let pair = first.joined_by(second);
    await_interest(&pair)?;
    Ok(pair)
}

fn configuration(name: &str, port: u16, other: Option<u16>, link: Link) -> String {
    let routes = other
        .map(|other| format!("nats://127.0.0.1:{other}"))
        .unwrap_or_default();
    let compression = match link {
        Link::Plain => "off",
        Link::Compressed => "s2_fast",
    };
    // Nobody is to be told of other servers: what clients get is counted to the byte.
    format!(
        "server_name: {name}\ncluster {{ name: bench, listen: \"127.0.0.1:{port}\", no_advertise: true, \
         compression: {compression}, routes: [ {routes:?} ] }}\n"
    )
    .replace("[ \"\" ]", "[]")
}

/// Waits until what clients of the second server have subscribed to is known at the first. Interest of one
/// account keeps its order on its way.
///
/// # Errors
/// When it is not in time.
pub(crate) fn await_interest(pair: &Server) -> Outcome<()> {
    let mut listening = Connection::open(pair.receiving_port())?;
    let subject = format!("bench.sync.{}", free_port()?);
    listening.round_trip(format!("SUB {subject} 1\r\n").as_bytes())?;
    let stream = listening.stream();
    stream.set_read_timeout(Some(STEP))?;
    let mut publishing = Connection::open(pair.port())?;
    let deadline = Instant::now() + PATIENCE;
    let mut buffer = [0; 256];
    loop {
        publishing.round_trip(format!("PUB {subject} 0\r\n\r\n").as_bytes())?;
        match stream.read(&mut buffer) {
            Ok(1..) if buffer.starts_with(b"MSG") => return Ok(()),
            _ if Instant::now() > deadline => return Err(pair.failure("do not find each other")),
            _ => {}
        }
    }
}

/// Lets clients of one server want `count` subjects, starts another one, and waits until that knows them.
pub(crate) fn exchange(trial: &Trial<'_>, count: usize) -> Outcome<Vec<Sample>> {
    let (first_port, second_port) = (free_port()?, free_port()?);
    let text = configuration("first", first_port, None, Link::Plain);
    let first = Server::start_with(trial.binary, &text)?;
    let mut connections = Vec::new();
    for number in 0..CONNECTIONS {
        let mut connection = Connection::open(first.port())?;
        let mut lines = String::new();
        for subject in (number..count).step_by(CONNECTIONS) {
            writeln!(lines, "SUB exchange.{subject} {subject}\r")?;
        }
        connection.round_trip(lines.as_bytes())?;
        connections.push(connection);
    }
    let began = Instant::now();
    let text = configuration("second", second_port, Some(first_port), Link::Plain);
    let second = Server::start_with(trial.binary, &text)?;
    let mut publishing = Connection::open(second.port())?;
    await_all(&mut publishing, &mut connections, count)?;
    let seconds = began.elapsed().as_secs_f64();
    let memory = first.memory()?.peak + second.memory()?.peak;
    Ok(vec![
        Measure::ExchangeTime.of(seconds),
        Measure::PeakMemory.of(memory),
    ])
}

/// Publishes to [`PROBES`] of the subjects until each has been delivered.
fn await_all(
    publishing: &mut Connection,
    connections: &mut [Connection],
    count: usize,
) -> Outcome<()> {
    let probes = PROBES.min(count);
    let mut missing: Vec<usize> = (0..probes).map(|probe| probe * (count / probes)).collect();
    let deadline = Instant::now() + PATIENCE;
    let mut received = String::new();
    while !missing.is_empty() {
        if Instant::now() > deadline {
            return Err(format!("{} subjects are not known in time", missing.len()).into());
        }
        let mut lines = String::new();
        for subject in &missing {
            write!(lines, "PUB exchange.{subject} 0\r\n\r\n")?;
        }
        publishing.round_trip(lines.as_bytes())?;
        thread::sleep(STEP);
        for connection in &mut *connections {
            // The PONG comes behind every message that was delivered before.
            connection.stream().write_all(b"PING\r\n")?;
            let mut buffer = [0; 64 * 1024];
            let mut text = String::new();
            while !text.contains("PONG\r\n") {
                let length = connection.stream().read(&mut buffer)?;
                if length == 0 {
                    return Err("the server closed the connection".into());
                }
                text.push_str(&String::from_utf8_lossy(
                    buffer.get(..length).unwrap_or_default(),
                ));
            }
            received.push_str(&text);
        }
        missing.retain(|subject| !received.contains(&format!("MSG exchange.{subject} ")));
    }
    Ok(())
}
