//! Requests and replies: one requester, one responder, a new reply subject for every request, as
//! client libraries do it.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use crate::Outcome;
use crate::cluster;
use crate::measure::{Measure, Sample};
use crate::process::Server;
use crate::scenarios::{Link, Trial};
use crate::wire::Connection;

const SERVICE: &str = "bench.service";
const INBOX: &str = "_INBOX.Rk3vXq9LwT5nYb2HsJ8dPm";
const DIGITS: usize = 8;
const PAYLOAD: &[u8; 16] = b"0123456789abcdef";
/// Round trips that are recorded at most; the run ends when they are used up.
const RECORD_LIMIT: usize = 2_000_000;

/// Keeps `in_flight` requests under way and records each round trip.
pub(crate) fn run(trial: &Trial<'_>, in_flight: usize) -> Outcome<Vec<Sample>> {
    run_at(&Server::start(trial.binary)?, trial, in_flight)
}

/// The same with the responder at another server.
pub(crate) fn run_between(trial: &Trial<'_>, in_flight: usize) -> Outcome<Vec<Sample>> {
    run_at(
        &cluster::start(trial.binary, Link::Plain)?,
        trial,
        in_flight,
    )
}

fn run_at(server: &Server, trial: &Trial<'_>, in_flight: usize) -> Outcome<Vec<Sample>> {
    with_pair(server, in_flight, |requester| {
        measure(server, requester, trial)
    })
}

/// Connects a requester with `in_flight` requests under way and a responder on a thread of its own, does `work`
/// with them and ends them.
pub(crate) fn with_pair<T>(
    server: &Server,
    in_flight: usize,
    work: impl FnOnce(&mut Requester) -> Outcome<T>,
) -> Outcome<T> {
    let mut responder = Connection::open(server.receiving_port())?;
    responder.round_trip(format!("SUB {SERVICE} 1\r\n").as_bytes())?;
    let responder = responder.into_stream();
    responder.set_read_timeout(None)?;
    let closing = responder.try_clone()?;
    let mut requester = Connection::open(server.port())?;
    requester.round_trip(format!("SUB {INBOX}.* 1\r\n").as_bytes())?;
    if server.receiving_port() != server.port() {
        cluster::await_interest(server)?;
        // Replies find their way back as soon as requests find theirs: the requester's interest is told
        // before the first of them.
    }
    let mut requester = Requester::new(requester.into_stream(), in_flight);
    thread::scope(|scope| {
        let answering = scope.spawn(move || answer(responder));
        let result = work(&mut requester);
        // Ends the responder's blocking read; it fails only when the server closed before.
        drop(closing.shutdown(Shutdown::Both));
        let answered = answering.join().map_err(|_| "the responder panicked")?;
        let done = result.map_err(|failure| server.failure(&failure.to_string()))?;
        answered?;
        Ok(done)
    })
}

fn measure(server: &Server, requester: &mut Requester, trial: &Trial<'_>) -> Outcome<Vec<Sample>> {
    requester.run(trial.sizes.warm_up)?;
    let processor = server.processor_clock()?;
    let began = Instant::now();
    let mut times = requester.run(trial.sizes.duration)?;
    let seconds = began.elapsed().as_secs_f64();
    let processor = server.processor_since(processor)?;
    times.sort_unstable();
    let count = times.len() as f64;
    Ok(vec![
        Measure::Throughput.of(count / seconds),
        Measure::ProcessorPerMessage.of(processor / count),
        Measure::LatencyMedian.of(percentile(&times, 500)),
        Measure::Latency99.of(percentile(&times, 990)),
        Measure::Latency999.of(percentile(&times, 999)),
        Measure::PeakMemory.of(server.memory()?.peak),
    ])
}

/// The time in seconds that so many of a thousand sorted `times` in nanoseconds stay under.
pub(crate) fn percentile(times: &[u32], per_thousand: usize) -> f64 {
    let index = (times.len() * per_thousand / 1000).min(times.len().saturating_sub(1));
    times
        .get(index)
        .map_or(0.0, |nanoseconds| f64::from(*nanoseconds) / 1e9)
}

/// A connection that requests and checks that every reply is the one it waits for.
pub(crate) struct Requester {
    stream: TcpStream,
    reader: FrameReader,
    /// When each request under way was sent, by number modulo their count.
    sent: Vec<Instant>,
    /// Number of the next request.
    next: usize,
    /// One request; its number is written in place.
    request: Vec<u8>,
    number_at: usize,
    outgoing: Vec<u8>,
}

impl Requester {
    fn new(stream: TcpStream, in_flight: usize) -> Self {
        let start = format!("PUB {SERVICE} {INBOX}.");
        let mut request = start.clone().into_bytes();
        request.extend_from_slice(format!("{:0DIGITS$} {}\r\n", 0, PAYLOAD.len()).as_bytes());
        request.extend_from_slice(PAYLOAD);
        request.extend_from_slice(b"\r\n");
        let reply = format!("MSG {INBOX}.{:0DIGITS$} 1 {}\r\n", 0, PAYLOAD.len());
        Self {
            stream,
            reader: FrameReader::new(reply.len() + PAYLOAD.len() + 2),
            sent: vec![Instant::now(); in_flight],
            next: 0,
            number_at: start.len(),
            outgoing: Vec::with_capacity(request.len() * in_flight),
            request,
        }
    }

    /// Sends `count` requests in one write.
    fn request(&mut self, count: usize, now: Instant) -> Outcome<()> {
        self.outgoing.clear();
        for _ in 0..count {
            if let Some(place) = self
                .request
                .get_mut(self.number_at..self.number_at + DIGITS)
            {
                write_number(place, self.next);
            }
            let slot = self.next % self.sent.len();
            if let Some(sent) = self.sent.get_mut(slot) {
                *sent = now;
            }
            self.next += 1;
            self.outgoing.extend_from_slice(&self.request);
        }
        Ok(self.stream.write_all(&self.outgoing)?)
    }

    /// Requests for `duration`, waits for the last reply, and returns all round-trip times in
    /// nanoseconds.
    pub(crate) fn run(&mut self, duration: Duration) -> Outcome<Vec<u32>> {
        let start = Instant::now();
        self.run_while(|now| now.duration_since(start) < duration)
    }

    /// The same for as long as `wanted` says, which is asked after every reply.
    pub(crate) fn run_while(&mut self, wanted: impl Fn(Instant) -> bool) -> Outcome<Vec<u32>> {
        let mut times = Vec::with_capacity(RECORD_LIMIT);
        let mut awaited = self.next;
        self.request(self.sent.len(), Instant::now())?;
        while awaited < self.next {
            self.reader.fill(&mut self.stream)?;
            let now = Instant::now();
            let mut replies = 0;
            while let Some(reply) = self.reader.next_frame()? {
                if number_in(reply, "MSG ".len() + INBOX.len() + 1) != Some(awaited) {
                    return Err(format!("reply {awaited} is lost or out of order").into());
                }
                let sent = self
                    .sent
                    .get(awaited % self.sent.len())
                    .copied()
                    .unwrap_or(now);
                times.push(u32::try_from(now.duration_since(sent).as_nanos()).unwrap_or(u32::MAX));
                awaited += 1;
                replies += 1;
            }
            let room = times.len() + 2 * self.sent.len() < RECORD_LIMIT;
            if replies > 0 && room && wanted(now) {
                self.request(replies, now)?;
            }
        }
        Ok(times)
    }
}

/// Replies to every request until the connection closes.
fn answer(mut stream: TcpStream) -> Outcome<()> {
    let start = format!("MSG {SERVICE} 1 ");
    let request = format!("{start}{INBOX}.{:0DIGITS$} {}\r\n", 0, PAYLOAD.len());
    let mut reader = FrameReader::new(request.len() + PAYLOAD.len() + 2);
    let mut outgoing = Vec::with_capacity(64 * 1024);
    loop {
        // An error is the shutdown at the end of the scenario, or shows as a lost reply.
        if reader.fill(&mut stream).is_err() {
            return Ok(());
        }
        outgoing.clear();
        while let Some(frame) = reader.next_frame()? {
            let reply_to = frame.get(start.len()..).unwrap_or_default();
            outgoing.extend_from_slice(b"PUB ");
            outgoing.extend_from_slice(reply_to);
        }
        if !outgoing.is_empty() && stream.write_all(&outgoing).is_err() {
            return Ok(());
        }
    }
}

/// Collects reads and gives out messages of one known length; PING and INFO between them are dropped.
struct FrameReader {
    buffer: Vec<u8>,
    begin: usize,
    end: usize,
    length: usize,
}

impl FrameReader {
    fn new(length: usize) -> Self {
        Self {
            buffer: vec![0; 64 * 1024],
            begin: 0,
            end: 0,
            length,
        }
    }

    /// Reads once; what was incomplete moves to the front.
    fn fill(&mut self, stream: &mut TcpStream) -> Outcome<()> {
        self.buffer.copy_within(self.begin..self.end, 0);
        self.end -= self.begin;
        self.begin = 0;
        let count = stream.read(self.buffer.get_mut(self.end..).unwrap_or_default())?;
        if count == 0 {
            return Err("the server closed the connection".into());
        }
        self.end += count;
        Ok(())
    }

    fn next_frame(&mut self) -> Outcome<Option<&[u8]>> {
        loop {
            let pending = self.buffer.get(self.begin..self.end).unwrap_or_default();
            match pending.first() {
                None => return Ok(None),
                Some(b'M') if pending.len() < self.length => return Ok(None),
                Some(b'M') => break,
                Some(b'P' | b'I') => {
                    let Some(end) = pending.iter().position(|byte| *byte == b'\n') else {
                        return Ok(None);
                    };
                    self.begin += end + 1;
                }
                Some(_) => return Err(String::from_utf8_lossy(pending).into()),
            }
        }
        self.begin += self.length;
        Ok(self.buffer.get(self.begin - self.length..self.begin))
    }
}

fn write_number(place: &mut [u8], mut number: usize) {
    for digit in place.iter_mut().rev() {
        *digit = b'0' + u8::try_from(number % 10).unwrap_or(0);
        number /= 10;
    }
}

fn number_in(frame: &[u8], at: usize) -> Option<usize> {
    let digits = frame.get(at..at + DIGITS)?;
    std::str::from_utf8(digits).ok()?.parse().ok()
}
