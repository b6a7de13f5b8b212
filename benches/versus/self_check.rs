//! The load generator checks itself before it judges others: would it notice what it must notice?

use std::io::Write as _;
use std::net::{TcpListener, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use crate::Outcome;
use crate::frames::{message, payload, shuffled};
use crate::process::address;
use crate::publish::{Sink, Spread};
use crate::receive::{Expectation, FrameCounter, Receiver};
use crate::wire::PATIENCE;

/// # Errors
/// The name of the check that failed.
pub(crate) fn run() -> Outcome<()> {
    for (name, holds) in [
        (
            "messages are counted however the stream is cut",
            counts_cut_streams(),
        ),
        ("a changed message is noticed", refuses(b"x", 30)?),
        ("a shifted payload is noticed", refuses(b"b", 28)?),
        (
            "an error of the server is noticed",
            refuses(b"-ERR 'Slow Consumer'\r\n", frame().len())?,
        ),
        ("a lost message is noticed", !arrives(3, 4)?),
        ("a doubled message is noticed", !arrives(5, 4)?),
        ("complete delivery is accepted", arrives(4, 4)?),
        (
            "a shuffled order holds every number once",
            is_permutation(&shuffled(1000)),
        ),
    ] {
        if !holds {
            return Err(format!("self-check failed: {name}").into());
        }
    }
    Ok(())
}

fn frame() -> Vec<u8> {
    message("self.check", "1", &payload(16))
}

/// Two hundred messages with control lines between some of them, in pieces of every small length.
fn counts_cut_streams() -> bool {
    let frame = frame();
    let mut stream = Vec::new();
    for number in 0..200 {
        match number % 50 {
            7 => stream.extend_from_slice(b"PING\r\n"),
            31 => stream.extend_from_slice(b"INFO {\"connect_info\":true}\r\n"),
            _ => {}
        }
        stream.extend_from_slice(&frame);
    }
    let expectations = [
        Expectation::exactly(&frame),
        Expectation::beginning(&frame, 9),
    ];
    expectations.iter().all(|expectation| {
        (1..frame.len() * 2).chain([4000, 5000]).all(|piece| {
            let mut counter = FrameCounter::new(expectation);
            let counted = stream.chunks(piece).map(|bytes| counter.take(bytes));
            counted.sum::<Result<u64, String>>() == Ok(200 * frame.len() as u64)
        })
    })
}

/// Whether two messages are refused when `change` overwrites them at `place`.
fn refuses(change: &[u8], place: usize) -> Outcome<bool> {
    let frame = frame();
    let mut stream = frame.repeat(2);
    stream
        .get_mut(place..place + change.len())
        .ok_or("no such place")?
        .copy_from_slice(change);
    Ok(FrameCounter::new(&Expectation::exactly(&frame))
        .take(&stream)
        .is_err())
}

/// Whether a sink is content when `sent` messages come and `expected` were published.
fn arrives(sent: usize, expected: u64) -> Outcome<bool> {
    let listener = TcpListener::bind(address(0))?;
    let mut sending = TcpStream::connect(listener.local_addr()?)?;
    let frame = frame();
    let (receiving, _) = listener.accept()?;
    let receiver = Receiver::start(receiving, &Expectation::exactly(&frame), Instant::now())?;
    let sink = Sink::new(vec![receiver.tally()], Spread::One, frame.len())
        .with_patience(Duration::from_millis(50));
    sink.add_sent(expected);
    let stream = frame.repeat(sent);
    sending.write_all(&stream)?;
    let began = Instant::now();
    while receiver.tally().bytes() < stream.len() as u64 && began.elapsed() < PATIENCE {
        thread::sleep(Duration::from_micros(100));
    }
    // Closing would be noticed for itself.
    let content = sink.await_all().is_ok();
    drop(sending);
    Ok(content)
}

fn is_permutation(numbers: &[usize]) -> bool {
    let mut sorted = numbers.to_vec();
    sorted.sort_unstable();
    sorted.iter().copied().eq(0..numbers.len()) && sorted != numbers
}
