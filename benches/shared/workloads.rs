//! Publishing in the shapes that matter, without sockets.

use super::in_process::{Party, Server};

/// A broker with its subscribers, and a batch of messages that a publisher sends again and again.
pub(crate) struct Workload {
    server: Server,
    publisher: Party,
    subscribers: Vec<Party>,
    /// Bytes that they had before the first counted batch.
    greeting: u64,
    batch: Vec<u8>,
    /// Messages in a batch.
    pub(crate) messages: u64,
    /// Bytes that one batch brings to all subscribers together.
    pub(crate) delivered: u64,
}

type Build = fn() -> Workload;

/// Name and construction of every workload.
pub(crate) const WORKLOADS: [(&str, Build); 10] = [
    ("publish-16-no-interest", || one_subject(0, 16, false)),
    ("one-to-one-16", || one_subject(1, 16, false)),
    ("one-to-one-1k", || one_subject(1, 1024, false)),
    ("headers-128", headers),
    ("fan-out-16", || one_subject(16, 16, false)),
    ("queue-8", || one_subject(8, 16, true)),
    ("cached-subjects", || many_subjects(500)),
    ("uncached-subjects", || many_subjects(100_000)),
    ("request-reply", requests),
    ("subscribe-unsubscribe", subscriptions),
];

/// Bytes of a batch: about what one read brings.
const BATCH_BYTES: usize = 64 * 1024;

/// Batches after which every cache has what it will ever have.
const WARM_UP_BATCHES: usize = 20;

impl Workload {
    /// Publishes one batch.
    ///
    /// # Panics
    /// When the broker refuses it.
    pub(crate) fn run_batch(&mut self) {
        assert!(
            self.server.turn(&mut self.publisher, &self.batch),
            "the batch was not accepted"
        );
    }

    /// Bytes that all subscribers have got by [`Self::run_batch`] so far.
    pub(crate) fn received(&self) -> u64 {
        let all: u64 = self.subscribers.iter().map(Party::received).sum();
        all - self.greeting
    }

    fn new(lines: &[&[u8]], batch: Vec<u8>, messages: u64) -> Self {
        let mut server = Server::new();
        let subscribers = lines.iter().map(|lines| server.connect(lines)).collect();
        let publisher = server.connect(b"");
        let mut workload = Self {
            server,
            publisher,
            subscribers,
            batch,
            messages,
            delivered: 0,
            greeting: 0,
        };
        // The first ones fill caches; the last one shows what each brings.
        for _ in 0..WARM_UP_BATCHES {
            workload.run_batch();
        }
        let before = workload.received();
        workload.run_batch();
        workload.delivered = workload.received() - before;
        workload.greeting = workload.received();
        workload
    }
}

fn one_subject(subscribers: usize, payload: usize, queue: bool) -> Workload {
    let line: &[u8] = if queue {
        b"SUB bench.subject workers 1\r\n"
    } else {
        b"SUB bench.subject 1\r\n"
    };
    let frame = format!("PUB bench.subject {payload}\r\n{}\r\n", "x".repeat(payload));
    let count = BATCH_BYTES / frame.len();
    Workload::new(
        &vec![line; subscribers],
        frame.repeat(count).into_bytes(),
        count as u64,
    )
}

fn headers() -> Workload {
    let block = "NATS/1.0\r\nTrace-Id: 4bf92f3577b34da6\r\n\r\n";
    let (header, total) = (block.len(), block.len() + 128);
    let frame = format!(
        "HPUB bench.subject {header} {total}\r\n{block}{}\r\n",
        "x".repeat(128)
    );
    let count = BATCH_BYTES / frame.len();
    let line: &[u8] = b"SUB bench.subject 1\r\n";
    Workload::new(&[line], frame.repeat(count).into_bytes(), count as u64)
}

/// One wildcard subscriber; subjects in an order without neighbours.
fn many_subjects(subjects: u64) -> Workload {
    let count = subjects.min(5000);
    let frame = |number: u64| {
        // A stride that shares no divisor with the count visits every subject.
        let subject = number * 7919 % subjects;
        format!(
            "PUB load.{:03}.{:03} 16\r\n0123456789abcdef\r\n",
            subject / 1000,
            subject % 1000
        )
    };
    let batch: String = (0..count).map(frame).collect();
    let line: &[u8] = b"SUB load.> 1\r\n";
    Workload::new(&[line], batch.into_bytes(), count)
}

/// Requests with a fresh reply subject each, and their replies; a message is one request or one reply.
fn requests() -> Workload {
    let pair = |number: u64| {
        let inbox = format!("_INBOX.Rk3vXq9LwT5nYb2HsJ8dPm.{number:08}");
        format!("PUB bench.service {inbox} 5\r\nhello\r\nPUB {inbox} 5\r\nworld\r\n")
    };
    let batch: String = (0..400).map(pair).collect();
    let service: &[u8] = b"SUB bench.service 1\r\n";
    let inbox: &[u8] = b"SUB _INBOX.Rk3vXq9LwT5nYb2HsJ8dPm.* 1\r\n";
    Workload::new(&[service, inbox], batch.into_bytes(), 800)
}

/// Subscriptions that come and go beside a few that stay; a message is one SUB with its UNSUB.
fn subscriptions() -> Workload {
    let subscribe = |number: u64| format!("SUB bench.{}.{number} {number}\r\n", number % 10);
    let lines = (1..=1000).map(subscribe);
    let batch: String = lines
        .chain((1..=1000).map(|number| format!("UNSUB {number}\r\n")))
        .collect();
    let staying: &[u8] = b"SUB bench.1.staying 1\r\nSUB bench.*.wild 2\r\nSUB other.> 3\r\n";
    Workload::new(&[staying], batch.into_bytes(), 1000)
}
