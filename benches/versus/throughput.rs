//! Messages from publishers to receivers, in the shapes that servers meet.

use std::io::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::Outcome;
use crate::cluster;
use crate::flow::Flow;
use crate::frames::{
    Frames, message, message_with_headers, payload, publish, publish_with_headers, shuffled,
};
use crate::measure::{Measure, Sample};
use crate::process::Server;
use crate::publish::{Publisher, Sink, Spread};
use crate::receive::{Expectation, Receiver};
use crate::scenarios::{Link, Trial};
use crate::wire::Connection;

const SUBJECT: &str = "bench.subject";

/// One publisher, or several pairs, with the same receivers each.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shape {
    /// Independent groups of one publisher and its receivers, each on a subject of its own.
    pub(crate) groups: usize,
    /// Receivers of each group; none means that nobody is interested.
    pub(crate) receivers: usize,
    /// Whether the receivers form a queue group.
    pub(crate) queue: bool,
    /// Payload bytes.
    pub(crate) payload: usize,
    /// Whether messages carry a header block.
    pub(crate) headers: bool,
}

/// Runs a shape: warm-up, then the measured time.
pub(crate) fn run(trial: &Trial<'_>, shape: Shape) -> Outcome<Vec<Sample>> {
    run_at(&Server::start(trial.binary)?, trial, shape)
}

/// Runs a shape between two linked servers.
pub(crate) fn run_between(trial: &Trial<'_>, shape: Shape, link: Link) -> Outcome<Vec<Sample>> {
    run_at(&cluster::start(trial.binary, link)?, trial, shape)
}

fn run_at(server: &Server, trial: &Trial<'_>, shape: Shape) -> Outcome<Vec<Sample>> {
    let mut flow = Flow::new();
    for group in 0..shape.groups {
        add_group(&mut flow, server, shape, &format!("{SUBJECT}{group}"))?;
    }
    if server.receiving_port() != server.port() {
        cluster::await_interest(server)?;
    }
    flow.run(server, trial.sizes.warm_up)?;
    measured(&mut flow, server, trial.sizes.duration)
}

fn measured(flow: &mut Flow, server: &Server, duration: Duration) -> Outcome<Vec<Sample>> {
    let mut samples = flow.run(server, duration)?.samples();
    samples.push(Measure::PeakMemory.of(server.memory()?.peak));
    Ok(samples)
}

fn add_group(flow: &mut Flow, server: &Server, shape: Shape, subject: &str) -> Outcome<()> {
    let payload = payload(shape.payload);
    let (published, received) = if shape.headers {
        (
            publish_with_headers(subject, &payload),
            message_with_headers(subject, "1", &payload),
        )
    } else {
        (publish(subject, &payload), message(subject, "1", &payload))
    };
    let subscription = if shape.queue {
        format!("SUB {subject} workers 1\r\n")
    } else {
        format!("SUB {subject} 1\r\n")
    };
    let expectation = Expectation::exactly(&received);
    let mut receivers = Vec::new();
    for _ in 0..shape.receivers {
        receivers.push(subscribe(server, flow, &subscription, &expectation)?);
    }
    let sink = (shape.receivers > 0).then(|| {
        let spread = if shape.queue {
            Spread::One
        } else {
            Spread::Every
        };
        let tallies = receivers.iter().map(Receiver::tally).collect();
        flow.add_sink(receivers, Sink::new(tallies, spread, expectation.length))
    });
    let frames = Arc::new(Frames::repeated(&published));
    flow.add_publisher(Publisher::new(
        Connection::open(server.port())?,
        frames,
        sink,
    ));
    Ok(())
}

fn subscribe(
    server: &Server,
    flow: &Flow,
    subscription: &str,
    expectation: &Expectation,
) -> Outcome<Receiver> {
    let mut connection = Connection::open(server.receiving_port())?;
    connection.round_trip(subscription.as_bytes())?;
    Receiver::start(connection.into_stream(), expectation, flow.epoch())
}

/// Many publishers, each over all of the subjects in an order of its own, to one wildcard subscriber.
pub(crate) fn run_many_subjects(trial: &Trial<'_>) -> Outcome<Vec<Sample>> {
    let server = Server::start(trial.binary)?;
    let mut flow = Flow::new();
    let payload = payload(16);
    let subject = |number: usize| format!("load.{:03}.{:03}", number / 1000, number % 1000);
    let expectation =
        Expectation::beginning(&message(&subject(0), "1", &payload), "MSG load.".len());
    let receiver = subscribe(&server, &flow, "SUB load.> 1\r\n", &expectation)?;
    let sink = Sink::new(vec![receiver.tally()], Spread::One, expectation.length);
    let sink = flow.add_sink(vec![receiver], sink);
    let subjects = trial.sizes.many_subjects;
    let order = shuffled(subjects).into_iter();
    let frames = Arc::new(Frames::sequence(
        order.map(|number| publish(&subject(number), &payload)),
    ));
    for number in 0..100 {
        let connection = Connection::open(server.port())?;
        let publisher = Publisher::new(connection, Arc::clone(&frames), Some(Arc::clone(&sink)));
        flow.add_publisher(publisher.starting_at(number * subjects / 100));
    }
    flow.run(&server, trial.sizes.warm_up)?;
    measured(&mut flow, &server, trial.sizes.duration)
}

/// Four publishers over 1,000 subjects each, first in peace, then while another connection
/// subscribes and unsubscribes.
pub(crate) fn run_churn(trial: &Trial<'_>) -> Outcome<Vec<Sample>> {
    let server = Server::start(trial.binary)?;
    let mut flow = Flow::new();
    let payload = payload(16);
    for group in 0..4 {
        let subject = |number: usize| format!("churn.{group}.{number:03}");
        let frame = message(&subject(0), "1", &payload);
        let expectation = Expectation::beginning(&frame, "MSG churn.".len());
        let subscription = format!("SUB churn.{group}.* 1\r\n");
        let receiver = subscribe(&server, &flow, &subscription, &expectation)?;
        let sink = Sink::new(vec![receiver.tally()], Spread::One, expectation.length);
        let sink = flow.add_sink(vec![receiver], sink);
        let order = shuffled(1000).into_iter();
        let frames = Frames::sequence(order.map(|number| publish(&subject(number), &payload)));
        let connection = Connection::open(server.port())?;
        flow.add_publisher(Publisher::new(connection, Arc::new(frames), Some(sink)));
    }
    flow.run(&server, trial.sizes.warm_up)?;
    let quiet = flow.run(&server, trial.sizes.duration)?;
    let (disturbed, churn_rate) = run_disturbed(&mut flow, &server, trial.sizes.duration)?;
    let mut samples = disturbed.samples();
    samples.extend([
        Measure::UndisturbedRate.of(quiet.rate()),
        Measure::RateKept.of(disturbed.rate() / quiet.rate()),
        Measure::ChurnRate.of(churn_rate),
        Measure::PeakMemory.of(server.memory()?.peak),
    ]);
    Ok(samples)
}

fn run_disturbed(
    flow: &mut Flow,
    server: &Server,
    duration: Duration,
) -> Outcome<(crate::flow::Transfer, f64)> {
    let stop = AtomicBool::new(false);
    let mut connection = Connection::open(server.port())?;
    thread::scope(|scope| {
        let churning = scope.spawn(|| churn(&mut connection, &stop));
        let transfer = flow.run(server, duration);
        stop.store(true, Ordering::Relaxed);
        let rate = churning
            .join()
            .map_err(|_| "the churning thread panicked")??;
        Ok((transfer?, rate))
    })
}

/// Pairs of SUB and UNSUB per second.
const CHURN_RATE: u32 = 10_000;
/// Pairs written at once.
const CHURN_BATCH: u32 = 10;
/// A subscription lives until this many newer ones exist.
const CHURN_LIVE: usize = 100;

/// Subscribes and unsubscribes at [`CHURN_RATE`] until told to stop. The filters take turns: a subject
/// elsewhere, a neighbour of the published subjects, a wildcard over all publishers' branches; none
/// of them ever matches. Returns the rate that the server went along with.
fn churn(connection: &mut Connection, stop: &AtomicBool) -> Outcome<f64> {
    let began = Instant::now();
    let mut pairs: usize = 0;
    let mut batches: u32 = 0;
    let mut lines = Vec::with_capacity(4096);
    while !stop.load(Ordering::Relaxed) {
        lines.clear();
        for _ in 0..CHURN_BATCH {
            match pairs % 3 {
                0 => write!(lines, "SUB elsewhere.{pairs} {pairs}\r\n")?,
                1 => write!(lines, "SUB churn.{}.n{pairs} {pairs}\r\n", pairs % 4)?,
                _ => write!(lines, "SUB churn.*.w{pairs} {pairs}\r\n")?,
            }
            if let Some(old) = pairs.checked_sub(CHURN_LIVE) {
                write!(lines, "UNSUB {old}\r\n")?;
            }
            pairs += 1;
        }
        connection.stream().write_all(&lines)?;
        batches += 1;
        let due = began + Duration::from_secs(1) * (batches * CHURN_BATCH) / CHURN_RATE;
        thread::sleep(due.saturating_duration_since(Instant::now()));
    }
    connection.round_trip(b"")?;
    Ok(pairs as f64 / began.elapsed().as_secs_f64())
}

/// Bytes that a healthy receiver may be behind while a slow one is watched: little, so that the
/// server's memory is the slow one's backlog.
const HEALTHY_WINDOW: u64 = 512 * 1024;

/// One publisher of 1 KiB to four receivers; then a fifth subscribes and never reads.
pub(crate) fn run_slow_subscriber(trial: &Trial<'_>) -> Outcome<Vec<Sample>> {
    let server = Server::start(trial.binary)?;
    let mut flow = Flow::new();
    let payload = payload(1024);
    let expectation = Expectation::exactly(&message(SUBJECT, "1", &payload));
    let subscription = format!("SUB {SUBJECT} 1\r\n");
    let mut receivers = Vec::new();
    for _ in 0..4 {
        receivers.push(subscribe(&server, &flow, &subscription, &expectation)?);
    }
    let tallies = receivers.iter().map(Receiver::tally).collect();
    let sink = Sink::new(tallies, Spread::Every, expectation.length).with_window(HEALTHY_WINDOW);
    let sink = flow.add_sink(receivers, sink);
    let frames = Arc::new(Frames::repeated(&publish(SUBJECT, &payload)));
    flow.add_publisher(Publisher::new(
        Connection::open(server.port())?,
        frames,
        Some(sink),
    ));
    flow.run(&server, trial.sizes.warm_up)?;
    let before = flow.run(&server, trial.sizes.duration)?;
    let mut silent = Connection::open(server.port())?;
    silent.round_trip(subscription.as_bytes())?;
    let during = flow.run(&server, trial.sizes.slow_duration)?;
    drop(silent);
    let mut samples = during.samples();
    samples.extend([
        Measure::UndisturbedRate.of(before.rate()),
        Measure::RateKept.of(during.rate() / before.rate()),
        Measure::PeakMemory.of(server.memory()?.peak),
    ]);
    Ok(samples)
}
