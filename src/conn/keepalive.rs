//! When to ask a silent peer whether it is still there, and when to give it up.

use std::time::Duration;

use tokio::time::Instant;

/// The first ping after the peer has introduced itself comes early, to measure the round-trip time.
const FIRST_PING: Duration = Duration::from_secs(2);

/// The first ping is put off by up to this part of its interval, so that the clients of a restarted
/// server are not all asked at once.
const FIRST_PING_SPREAD: u32 = 5;

/// After this long the round-trip time is measured again even if the peer is not silent.
const MEASURE_AGAIN: Duration = Duration::from_secs(3600);

/// What a peer's silence asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Due {
    /// Nothing yet.
    Nothing,
    /// Send a ping.
    Ping,
    /// Too many pings without an answer: the connection is stale.
    Stale,
}

/// Keeps the times of one connection.
#[derive(Debug)]
pub struct Keepalive {
    interval: Duration,
    max_unanswered: u32,
    unanswered: u32,
    next: Instant,
    last_heard: Instant,
    asked: Instant,
    round_trip: Option<Duration>,
    random: u64,
}

impl Keepalive {
    /// Asks `interval` from `now` on; the peer is stale once `max_unanswered` pings have no answer.
    #[must_use]
    pub fn new(now: Instant, interval: Duration, max_unanswered: u32, random: u64) -> Self {
        Self {
            interval,
            max_unanswered,
            unanswered: 0,
            next: now + interval,
            last_heard: now,
            asked: now,
            round_trip: None,
            random,
        }
    }

    /// When [`Self::due`] wants to be asked next.
    #[must_use]
    pub fn next(&self) -> Instant {
        self.next
    }

    /// The last round-trip time measured.
    #[must_use]
    pub fn round_trip(&self) -> Option<Duration> {
        self.round_trip
    }

    /// The peer has introduced itself, in answer to what was sent when the connection began.
    pub fn introduced(&mut self, now: Instant) {
        let first = self.interval.min(FIRST_PING);
        let spread = first / FIRST_PING_SPREAD;
        // Parts of 1024: fine enough to spread clients, and it cannot overflow.
        let part = u32::try_from(self.random % 1024).unwrap_or(0);
        self.next = now + first + spread * part / 1024;
    }

    /// Something came from the peer.
    pub fn heard(&mut self, now: Instant) {
        self.last_heard = now;
    }

    /// The peer has answered a ping.
    pub fn ponged(&mut self, now: Instant) {
        self.unanswered = 0;
        self.round_trip = Some(now.saturating_duration_since(self.asked));
    }

    /// What is to be done at `now`, which is [`Self::next`] or later. Sets the next time.
    pub fn due(&mut self, now: Instant) -> Due {
        if now < self.next {
            return Due::Nothing;
        }
        self.next = now + self.interval;
        let silent = now.saturating_duration_since(self.last_heard) >= self.interval;
        let measure = self.round_trip.is_none() || now.duration_since(self.asked) > MEASURE_AGAIN;
        if !silent && !measure {
            return Due::Nothing;
        }
        if self.unanswered + 1 > self.max_unanswered {
            return Due::Stale;
        }
        self.unanswered += 1;
        self.asked = now;
        Due::Ping
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_silent_peer_is_asked_and_given_up() {
        let start = Instant::now();
        let minute = Duration::from_secs(60);
        let mut keepalive = Keepalive::new(start, minute, 2, 1023);
        keepalive.introduced(start);
        let first = keepalive.next();
        assert!(first >= start + FIRST_PING && first <= start + FIRST_PING * 6 / 5);
        assert_eq!(keepalive.due(start), Due::Nothing);
        assert_eq!(keepalive.due(first), Due::Ping);
        keepalive.ponged(first + Duration::from_millis(3));
        assert_eq!(keepalive.round_trip(), Some(Duration::from_millis(3)));
        keepalive.heard(first + minute / 2);
        assert_eq!(keepalive.due(first + minute), Due::Nothing, "not silent");
        assert_eq!(keepalive.due(first + minute * 2), Due::Ping);
        assert_eq!(keepalive.due(first + minute * 3), Due::Ping);
        assert_eq!(keepalive.due(first + minute * 4), Due::Stale);
    }
}
