//! Publishers and the sinks they fill: how much may be under way, and when all of it has arrived.

use std::io::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::Outcome;
use crate::frames::Frames;
use crate::receive::Tally;
use crate::wire::{Connection, PATIENCE};

/// Most bytes that one receiver may be behind; well under a server's default pending limit, so that
/// no scenario but the slow subscriber's meets the slow-consumer policy.
const WINDOW: u64 = 16 * 1024 * 1024;
/// Most bytes that all receivers of a sink may be behind together.
const TOTAL_WINDOW: u64 = 256 * 1024 * 1024;

/// Who gets a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Spread {
    /// Every receiver.
    Every,
    /// One of them.
    One,
}

/// Receivers that the same publishers fill.
pub(crate) struct Sink {
    tallies: Vec<Arc<Tally>>,
    spread: Spread,
    message_length: u64,
    window: u64,
    patience: Duration,
    publishers: AtomicU32,
    sent: AtomicU64,
}

impl Sink {
    /// A sink of receivers whose messages are `message_length` bytes each.
    pub(crate) fn new(tallies: Vec<Arc<Tally>>, spread: Spread, message_length: usize) -> Self {
        let window = WINDOW.min(TOTAL_WINDOW / tallies.len().max(1) as u64);
        let sent = AtomicU64::new(0);
        Self {
            tallies,
            spread,
            message_length: message_length as u64,
            window,
            patience: PATIENCE,
            publishers: AtomicU32::new(0),
            sent,
        }
    }

    /// Limits how many bytes a receiver may be behind.
    pub(crate) const fn with_window(mut self, window: u64) -> Self {
        self.window = window;
        self
    }

    /// Calls a message lost when nothing has come for this long.
    pub(crate) const fn with_patience(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }

    /// Deliveries that one published message causes.
    pub(crate) const fn deliveries_per_message(&self) -> u64 {
        match self.spread {
            Spread::Every => self.tallies.len() as u64,
            Spread::One => 1,
        }
    }

    /// Counts messages that are about to be published.
    pub(crate) fn add_sent(&self, messages: u64) {
        self.sent.fetch_add(messages, Ordering::AcqRel);
    }

    /// Bytes that have not arrived yet, for the receiver that lacks most.
    fn missing(&self) -> u64 {
        let received = self.tallies.iter().map(|tally| tally.bytes());
        let expected = self.sent.load(Ordering::Acquire) * self.message_length;
        let arrived = match self.spread {
            Spread::Every => received.min().unwrap_or(expected),
            Spread::One => received.sum(),
        };
        expected.saturating_sub(arrived)
    }

    /// Time between two looks at the receivers: longer when many publishers look, since their looking
    /// must not keep the receivers from their work.
    fn pause(&self) -> Duration {
        let publishers = self.publishers.load(Ordering::Relaxed).clamp(1, 50);
        Duration::from_micros(100) * publishers
    }

    fn received(&self) -> u64 {
        self.tallies.iter().map(|tally| tally.bytes()).sum()
    }

    /// Waits until no more than `allowed` bytes are missing at any receiver.
    fn await_missing(&self, allowed: u64) -> Outcome<()> {
        if self.missing() <= allowed {
            return Ok(());
        }
        let (mut progress, mut since) = (self.received(), Instant::now());
        while self.missing() > allowed {
            for tally in &self.tallies {
                tally.check()?;
            }
            thread::sleep(self.pause());
            let received = self.received();
            if received != progress {
                (progress, since) = (received, Instant::now());
            } else if since.elapsed() > self.patience {
                let lost = self.missing() / self.message_length;
                return Err(format!("{lost} messages are lost: nothing more comes").into());
            }
        }
        Ok(())
    }

    /// Waits until everything has arrived, and no more than that.
    ///
    /// # Errors
    /// Lost, doubled or changed messages.
    pub(crate) fn await_all(&self) -> Outcome<()> {
        self.await_missing(0)?;
        let expected = self.sent.load(Ordering::Acquire) * self.message_length;
        let total = match self.spread {
            Spread::Every => expected * self.tallies.len() as u64,
            Spread::One => expected,
        };
        if self.received() != total {
            return Err(format!("{} bytes received, {total} expected", self.received()).into());
        }
        self.tallies.iter().try_for_each(|tally| tally.check())
    }

    /// When the latest message came, in nanoseconds since the receivers' epoch.
    pub(crate) fn last(&self) -> u64 {
        self.tallies
            .iter()
            .map(|tally| tally.last())
            .max()
            .unwrap_or_default()
    }
}

/// One publishing connection.
pub(crate) struct Publisher {
    connection: Connection,
    frames: Arc<Frames>,
    position: usize,
    sink: Option<Arc<Sink>>,
}

impl Publisher {
    /// A publisher of `frames` into `sink`, or of messages that nobody wants.
    pub(crate) fn new(
        connection: Connection,
        frames: Arc<Frames>,
        sink: Option<Arc<Sink>>,
    ) -> Self {
        if let Some(sink) = &sink {
            sink.publishers.fetch_add(1, Ordering::Relaxed);
        }
        Self {
            connection,
            frames,
            position: 0,
            sink,
        }
    }

    /// Begins with frame number `position` instead of the first.
    pub(crate) fn starting_at(mut self, position: usize) -> Self {
        self.position = position % self.frames.count();
        self
    }

    /// Publishes until `deadline` and waits until the server has taken everything.
    /// Returns how many messages it published.
    pub(crate) fn publish_until(&mut self, deadline: Instant) -> Outcome<u64> {
        let mut published = 0;
        while Instant::now() < deadline {
            let chunk = self.frames.chunk(self.position);
            if let Some(sink) = &self.sink {
                sink.add_sent(chunk.count);
            }
            self.connection.stream().write_all(chunk.bytes)?;
            published += chunk.count;
            self.position += usize::try_from(chunk.count)?;
            if self.position >= self.frames.count() {
                self.position = 0;
            }
            if let Some(sink) = &self.sink {
                sink.await_missing(sink.window)?;
            }
        }
        self.connection.round_trip(b"")?;
        Ok(published)
    }
}
