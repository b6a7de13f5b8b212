//! A great many subscriptions: what each costs, and how fast messages find theirs.

use std::fmt::Write as _;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use crate::Outcome;
use crate::flow::Flow;
use crate::frames::{Frames, message, payload, publish, shuffled};
use crate::measure::{Measure, Sample};
use crate::process::Server;
use crate::publish::{Publisher, Sink, Spread};
use crate::receive::{Expectation, Receiver};
use crate::scenarios::Trial;
use crate::wire::Connection;

/// Connections that share the subscriptions.
const CONNECTIONS: usize = 10;
/// Different subjects that are published over.
const PUBLISHED: usize = 100_000;
/// How long memory may take to settle.
const SETTLING: Duration = Duration::from_secs(2);

/// Subscribes to `count` subjects over [`CONNECTIONS`] connections at once, then publishes over them
/// in a shuffled order.
pub(crate) fn run(trial: &Trial<'_>, count: usize) -> Outcome<Vec<Sample>> {
    let server = Server::start(trial.binary)?;
    let mut connections = Vec::new();
    for _ in 0..CONNECTIONS {
        connections.push(Connection::open(server.port())?);
    }
    let lines = (0..CONNECTIONS).map(|number| subscribe_lines(number, count));
    let lines = lines.collect::<Result<Vec<_>, _>>()?;
    let before = server.settled_memory(SETTLING.min(trial.sizes.duration))?;
    let processor = server.processor_clock()?;
    let began = Instant::now();
    subscribe_all(&mut connections, &lines)?;
    let seconds = began.elapsed().as_secs_f64();
    drop(lines);
    let processor = server.processor_since(processor)?;
    let after = server.settled_memory(SETTLING.min(trial.sizes.duration))?;
    let mut samples = vec![
        Measure::InsertTime.of(seconds),
        Measure::InsertProcessor.of(processor / count as f64),
        Measure::MemoryEach.of((after.resident - before.resident) / count as f64),
    ];
    samples.extend(publish_over(trial, &server, connections, count)?);
    Ok(samples)
}

/// Three tokens, always of the same length, for numbers below one million.
fn subject(number: usize) -> String {
    format!("sub.{:03}.{:03}", number / 1000, number % 1000)
}

/// A sid of the same length for every number. Each connection counts its own, as clients do.
fn sid(number: usize) -> String {
    (1_000_000 + number / CONNECTIONS).to_string()
}

fn subscribe_lines(connection: usize, count: usize) -> Result<String, std::fmt::Error> {
    let mut lines = String::with_capacity(count / CONNECTIONS * 32);
    for number in (connection..count).step_by(CONNECTIONS) {
        write!(lines, "SUB {} {}\r\n", subject(number), sid(number))?;
    }
    Ok(lines)
}

fn subscribe_all(connections: &mut [Connection], lines: &[String]) -> Outcome<()> {
    thread::scope(|scope| {
        let threads: Vec<_> = connections
            .iter_mut()
            .zip(lines)
            .map(|(connection, lines)| scope.spawn(|| connection.round_trip(lines.as_bytes())))
            .collect();
        for thread in threads {
            thread
                .join()
                .map_err(|_| "a subscribing thread panicked")??;
        }
        Ok(())
    })
}

fn publish_over(
    trial: &Trial<'_>,
    server: &Server,
    connections: Vec<Connection>,
    count: usize,
) -> Outcome<Vec<Sample>> {
    let payload = payload(16);
    let frame = message(&subject(0), &sid(0), &payload);
    let expectation = Expectation::beginning(&frame, "MSG sub.".len());
    let mut flow = Flow::new();
    let mut receivers = Vec::new();
    for connection in connections {
        receivers.push(Receiver::start(
            connection.into_stream(),
            &expectation,
            flow.epoch(),
        )?);
    }
    let tallies = receivers.iter().map(Receiver::tally).collect();
    let sink = flow.add_sink(
        receivers,
        Sink::new(tallies, Spread::One, expectation.length),
    );
    let order = shuffled(count).into_iter().take(PUBLISHED);
    let frames = Frames::sequence(order.map(|number| publish(&subject(number), &payload)));
    let publisher = Publisher::new(
        Connection::open(server.port())?,
        Arc::new(frames),
        Some(sink),
    );
    flow.add_publisher(publisher);
    flow.run(server, trial.sizes.warm_up)?;
    let mut samples = flow.run(server, trial.sizes.duration)?.samples();
    samples.push(Measure::PeakMemory.of(server.memory()?.peak));
    Ok(samples)
}
