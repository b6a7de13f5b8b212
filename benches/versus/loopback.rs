//! The limit: the same bytes from one thread to another through a bare loopback connection.

use std::io::Write as _;
use std::net::{TcpListener, TcpStream};
use std::time::{Duration, Instant};

use crate::Outcome;
use crate::frames::{Frames, message, payload};
use crate::measure::{Measure, Sample};
use crate::process::address;
use crate::publish::{Sink, Spread};
use crate::receive::{Expectation, Receiver};
use crate::scenarios::Sizes;

/// Sends messages of a payload size over a socket pair and counts them on the other side.
pub(crate) fn run(sizes: &Sizes, payload_size: usize) -> Outcome<Vec<Sample>> {
    let listener = TcpListener::bind(address(0))?;
    let mut sending = TcpStream::connect(listener.local_addr()?)?;
    sending.set_nodelay(true)?;
    let (receiving, _) = listener.accept()?;
    let frame = message("bench.subject0", "1", &payload(payload_size));
    let frames = Frames::repeated(&frame);
    let epoch = Instant::now();
    let receiver = Receiver::start(receiving, &Expectation::exactly(&frame), epoch)?;
    let sink = Sink::new(vec![receiver.tally()], Spread::One, frame.len());
    send(&mut sending, &frames, &sink, sizes.warm_up)?;
    let began = epoch.elapsed();
    let count = send(&mut sending, &frames, &sink, sizes.duration)?;
    let ended = Duration::from_nanos(sink.last());
    Ok(vec![
        Measure::Throughput.of(count / ended.saturating_sub(began).as_secs_f64()),
    ])
}

/// Returns how many messages it sent, once all of them have arrived.
fn send(stream: &mut TcpStream, frames: &Frames, sink: &Sink, duration: Duration) -> Outcome<f64> {
    let (began, mut count) = (Instant::now(), 0);
    while began.elapsed() < duration {
        let chunk = frames.chunk(0);
        sink.add_sent(chunk.count);
        stream.write_all(chunk.bytes)?;
        count += chunk.count;
    }
    sink.await_all()?;
    Ok(count as f64)
}
