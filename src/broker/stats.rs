//! Counters of a server as a whole.

use std::sync::atomic::{AtomicU64, Ordering};

/// A number that many connections add to and monitoring reads.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Adds `count`.
    pub fn add(&self, count: u64) {
        self.0.fetch_add(count, Ordering::Relaxed);
    }

    /// Adds one unless there are `most` already; whether it did.
    pub fn add_up_to(&self, most: Option<usize>) -> bool {
        let most = most.map_or(u64::MAX, |most| most as u64);
        let more = |count: u64| (count < most).then_some(count + 1);
        self.0
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, more)
            .is_ok()
    }

    /// Takes `count` off, of what was added before.
    pub fn subtract(&self, count: u64) {
        self.0.fetch_sub(count, Ordering::Relaxed);
    }

    /// The sum so far.
    #[must_use]
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Messages and their bytes (header block and payload).
#[derive(Debug, Default)]
pub struct Traffic {
    /// Number of messages.
    pub messages: Counter,
    /// Sum of their sizes in bytes.
    pub bytes: Counter,
}

impl Traffic {
    /// Adds one turn's worth.
    pub fn add(&self, messages: u64, bytes: u64) {
        if messages > 0 {
            self.messages.add(messages);
            self.bytes.add(bytes);
        }
    }
}

/// Counters of a server since it started. Live connections count apart until they end (see
/// [`super::peer::Peer::traffic_out`]); their sums are added here then.
#[derive(Debug, Default)]
pub struct ServerStats {
    /// Connections accepted.
    pub total_connections: Counter,
    /// Messages from clients.
    pub received: Traffic,
    /// Messages to clients that have closed.
    pub sent_to_closed: Traffic,
    /// Messages from other servers.
    pub received_from_servers: Traffic,
    /// Messages over links to other servers that have ended.
    pub sent_to_closed_servers: Traffic,
    /// Connections cut because they did not drain what was sent to them.
    pub slow_consumers: Counter,
    /// Connections cut because they did not answer pings.
    pub stale_connections: Counter,
    /// Times that a publisher was paused for a slow peer.
    pub stalled_publishers: Counter,
}
