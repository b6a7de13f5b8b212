//! Clients that come and go, and workers that answer them.

use std::collections::VecDeque;
use std::fmt::{self, Write as _};
use std::io::{self, ErrorKind, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crate::Outcome;

/// Longest wait for a connection and for an answer.
const PATIENCE: Duration = Duration::from_secs(2);

/// Subscriptions and messages of one visit.
const SUBSCRIPTIONS: u64 = 24;
const MESSAGES: u64 = 24;

/// Visitors of a node that stay until as many others have come.
const STAYING: usize = 30;

const CONNECT: &str =
    "CONNECT {\"verbose\":false,\"protocol\":1,\"headers\":true,\"no_responders\":true}\r\n";

/// What has happened so far.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    visits: AtomicU64,
    broken: AtomicU64,
    answered: AtomicU64,
    unanswered: AtomicU64,
}

impl Tally {
    /// Whether clients were served at all.
    ///
    /// # Errors
    /// When most of the visits or requests have failed.
    pub(crate) fn is_plausible(&self) -> Outcome<()> {
        let [visits, broken, answered, unanswered] = self.numbers();
        if answered == 0 || broken > visits / 2 || unanswered > answered {
            return Err(format!("clients were not served: {self}").into());
        }
        Ok(())
    }

    fn numbers(&self) -> [u64; 4] {
        [&self.visits, &self.broken, &self.answered, &self.unanswered]
            .map(|number| number.load(Ordering::Relaxed))
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [visits, broken, answered, unanswered] = self.numbers();
        write!(
            formatter,
            "{visits} visits, {broken} cut short; {answered} requests answered, {unanswered} not"
        )
    }
}

/// The running load.
#[derive(Debug)]
pub(crate) struct Load {
    pub(crate) tally: Arc<Tally>,
    stopping: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl Load {
    /// Starts a worker and a flow of visitors at each node.
    pub(crate) fn start(nodes: &[SocketAddr], visits_per_second: u32) -> Self {
        let mut load = Self {
            tally: Arc::default(),
            stopping: Arc::default(),
            threads: Vec::new(),
        };
        let share = u32::try_from(nodes.len()).unwrap_or(1).max(1);
        let pause = Duration::from_secs(1) * share / visits_per_second;
        for (number, &node) in (0_u64..).zip(nodes) {
            let (stopping, tally) = (Arc::clone(&load.stopping), Arc::clone(&load.tally));
            load.threads.push(thread::spawn(move || {
                visit(node, number, pause, &stopping, &tally)
            }));
            let stopping = Arc::clone(&load.stopping);
            load.threads
                .push(thread::spawn(move || work(node, &stopping)));
        }
        load
    }

    /// Lets all clients go.
    pub(crate) fn stop(self) -> Arc<Tally> {
        self.stopping.store(true, Ordering::SeqCst);
        for thread in self.threads {
            // A thread that has panicked has said so itself.
            drop(thread.join());
        }
        self.tally
    }
}

/// Sends visitors to a node, one after another.
fn visit(node: SocketAddr, number: u64, pause: Duration, stopping: &AtomicBool, tally: &Tally) {
    let mut staying = VecDeque::new();
    let mut count = number;
    while !stopping.load(Ordering::SeqCst) {
        thread::sleep(pause);
        // Numbers differ between the nodes, and each comes once.
        count += 3;
        tally.visits.fetch_add(1, Ordering::Relaxed);
        match Visitor::come(node, count, tally) {
            Ok(visitor) => staying.push_back(visitor),
            Err(_) => {
                tally.broken.fetch_add(1, Ordering::Relaxed);
                staying.clear();
            }
        }
        if staying.len() > STAYING
            && let Some(visitor) = staying.pop_front()
        {
            // The node may have ended meanwhile; then it has gone as well.
            drop(visitor.go());
        }
    }
}

/// One client.
#[derive(Debug)]
struct Visitor {
    stream: TcpStream,
    number: u64,
    received: Vec<u8>,
}

impl Visitor {
    /// Connects, subscribes, publishes and requests.
    fn come(node: SocketAddr, number: u64, tally: &Tally) -> io::Result<Self> {
        let stream = TcpStream::connect_timeout(&node, PATIENCE)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_nodelay(true)?;
        let mut visitor = Self {
            stream,
            number,
            received: Vec::new(),
        };
        visitor.send(&wishes(number))?;
        visitor.wait_for("PONG\r\n")?;
        visitor.send(&news(number))?;
        visitor.wait_for("PONG\r\n")?;
        let request = format!("SUB inbox.{number} 0\r\nPUB service inbox.{number} 2\r\n??\r\n");
        visitor.send(&request)?;
        let answered = visitor.wait_for("!!\r\n").is_ok();
        let outcome = if answered {
            &tally.answered
        } else {
            &tally.unanswered
        };
        outcome.fetch_add(1, Ordering::Relaxed);
        Ok(visitor)
    }

    /// Every second one takes back what it wanted; the others only close.
    fn go(mut self) -> io::Result<()> {
        if self.number.is_multiple_of(2) {
            let mut text = String::new();
            for sid in 0..=SUBSCRIPTIONS {
                // Writing to a text cannot fail.
                let _ = write!(text, "UNSUB {sid}\r\n");
            }
            self.send(&(text + "PING\r\n"))?;
            self.wait_for("PONG\r\n")?;
        }
        Ok(())
    }

    fn send(&mut self, text: &str) -> io::Result<()> {
        self.stream.write_all(text.as_bytes())
    }

    /// Reads until something comes, and forgets all before it.
    fn wait_for(&mut self, text: &str) -> io::Result<()> {
        let began = Instant::now();
        let mut bytes = [0; 16 * 1024];
        loop {
            let mut windows = self.received.windows(text.len());
            if let Some(at) = windows.position(|window| window == text.as_bytes()) {
                self.received.drain(..at + text.len());
                return Ok(());
            }
            if began.elapsed() > PATIENCE {
                return Err(ErrorKind::TimedOut.into());
            }
            let count = self.stream.read(&mut bytes)?;
            if count == 0 {
                return Err(ErrorKind::UnexpectedEof.into());
            }
            self.received
                .extend_from_slice(bytes.get(..count).unwrap_or_default());
        }
    }
}

/// What a visitor subscribes to: filters of its own, shared ones, wildcards and queue groups.
fn wishes(number: u64) -> String {
    let mut text = CONNECT.to_owned();
    for sid in 1..=SUBSCRIPTIONS {
        let filter = match sid % 4 {
            0 => format!("own.{number}.{sid}"),
            1 => format!("shared.{}", (number + sid) % 500),
            2 => format!("wild.{}.*", (number * sid) % 500),
            _ => format!("group.{} q{}", (number + sid) % 100, sid % 8),
        };
        // Writing to a text cannot fail.
        let _ = write!(text, "SUB {filter} {sid}\r\n");
    }
    text + "PING\r\n"
}

/// What a visitor publishes.
fn news(number: u64) -> String {
    let mut text = String::new();
    for message in 0..MESSAGES {
        let subject = match message % 3 {
            0 => format!("shared.{}", (number + message) % 500),
            1 => format!("wild.{}.{message}", number % 500),
            _ => format!("group.{}", (number + message) % 100),
        };
        // Writing to a text cannot fail.
        let _ = write!(text, "PUB {subject} 5\r\nhello\r\n");
    }
    text + "PING\r\n"
}

/// Answers requests at a node for as long as it can, and comes back when the node has ended.
fn work(node: SocketAddr, stopping: &AtomicBool) {
    while !stopping.load(Ordering::SeqCst) {
        // Whatever ends the connection, the next one follows.
        drop(serve(node, stopping));
        thread::sleep(Duration::from_millis(50));
    }
}

fn serve(node: SocketAddr, stopping: &AtomicBool) -> io::Result<()> {
    let mut stream = TcpStream::connect_timeout(&node, PATIENCE)?;
    stream.set_read_timeout(Some(Duration::from_millis(200)))?;
    stream.set_nodelay(true)?;
    stream.write_all(CONNECT.as_bytes())?;
    stream.write_all(b"SUB service workers 1\r\n")?;
    let mut received = Vec::new();
    let mut bytes = [0; 16 * 1024];
    while !stopping.load(Ordering::SeqCst) {
        match stream.read(&mut bytes) {
            Ok(0) => return Ok(()),
            Ok(count) => received.extend_from_slice(bytes.get(..count).unwrap_or_default()),
            Err(error) if error.kind() == ErrorKind::WouldBlock => continue,
            Err(error) => return Err(error),
        }
        let end = received.iter().rposition(|byte| *byte == b'\n');
        let whole: Vec<u8> = received.drain(..end.map_or(0, |at| at + 1)).collect();
        let answers = answers_to(&String::from_utf8_lossy(&whole));
        stream.write_all(answers.as_bytes())?;
    }
    Ok(())
}

/// The answers to whole lines from the server.
fn answers_to(lines: &str) -> String {
    let mut answers = String::new();
    for line in lines.lines() {
        if line == "PING" {
            answers.push_str("PONG\r\n");
        } else if line.starts_with("MSG ")
            && let Some(reply) = line.split(' ').nth(3)
        {
            // Writing to a text cannot fail.
            let _ = write!(answers, "PUB {reply} 2\r\n!!\r\n");
        }
    }
    answers
}
