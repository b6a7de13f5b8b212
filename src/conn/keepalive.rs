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
    begun: Instant,
    last_heard: Instant,
    asked: Option<Instant>,
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
            begun: now,
            last_heard: now,
            asked: None,
            round_trip: None,
            random,
        }
    }

    /// Asks `interval` from `now` on at the latest, and gives up after another number of pings.
    pub fn change(&mut self, now: Instant, interval: Duration, max_unanswered: u32) {
        if interval != self.interval {
            self.interval = interval;
            self.next = self.next.min(now + interval);
        }
        self.max_unanswered = max_unanswered;
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

    /// The peer has introduced itself, in answer to what was sent when the connection began. That is a
    /// first measure of the round-trip time, which the first ping makes a better one.
    pub fn introduced(&mut self, now: Instant) {
        let answered_after = now.saturating_duration_since(self.begun);
        self.round_trip.get_or_insert(answered_after);
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

    /// The peer cannot be heard now, which is not its fault.
    pub fn put_off(&mut self, now: Instant) {
        self.unanswered = 0;
        self.next = self.next.max(now + self.interval);
    }

    /// The peer has answered a ping.
    pub fn ponged(&mut self, now: Instant) {
        self.unanswered = 0;
        let asked = self.asked.unwrap_or(self.begun);
        self.round_trip = Some(now.saturating_duration_since(asked));
    }

    /// What is to be done at `now`, which is [`Self::next`] or later. Sets the next time.
    pub fn due(&mut self, now: Instant) -> Due {
        if now < self.next {
            return Due::Nothing;
        }
        self.next = now + self.interval;
        let silent = now.saturating_duration_since(self.last_heard) >= self.interval;
        let outdated = |asked: Instant| now.saturating_duration_since(asked) > MEASURE_AGAIN;
        let measure = self.round_trip.is_none() || self.asked.is_none_or(outdated);
        if !silent && !measure {
            return Due::Nothing;
        }
        if self.unanswered + 1 > self.max_unanswered {
            return Due::Stale;
        }
        self.unanswered += 1;
        self.asked = Some(now);
        Due::Ping
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);

    #[tokio::test]
    async fn a_silent_peer_is_asked_and_given_up() {
        let start = Instant::now();
        let mut keepalive = Keepalive::new(start, MINUTE, 2, 1023);
        keepalive.introduced(start);
        let first = keepalive.next();
        assert!(first >= start + FIRST_PING && first <= start + FIRST_PING * 6 / 5);
        assert_eq!(keepalive.due(start), Due::Nothing);
        assert_eq!(keepalive.due(first), Due::Ping);
        keepalive.ponged(first + Duration::from_millis(3));
        assert_eq!(keepalive.round_trip(), Some(Duration::from_millis(3)));
        keepalive.heard(first + MINUTE / 2);
        assert_eq!(keepalive.due(first + MINUTE), Due::Nothing, "not silent");
        assert_eq!(keepalive.due(first + MINUTE * 2), Due::Ping);
        assert_eq!(keepalive.due(first + MINUTE * 3), Due::Ping);
        assert_eq!(keepalive.due(first + MINUTE * 4), Due::Stale);
    }

    #[tokio::test]
    async fn a_busy_peer_is_asked_once_and_then_left_alone() {
        let start = Instant::now();
        let mut keepalive = Keepalive::new(start, MINUTE, 2, 0);
        keepalive.introduced(start + Duration::from_millis(7));
        assert_eq!(keepalive.round_trip(), Some(Duration::from_millis(7)));
        let first = keepalive.next();
        keepalive.heard(first);
        assert_eq!(keepalive.due(first), Due::Ping, "to measure the round trip");
        for minute in 1..=60 {
            keepalive.heard(first + MINUTE * minute);
            let due = keepalive.due(first + MINUTE * minute);
            assert_eq!(
                due,
                Due::Nothing,
                "minute {minute}: it need not even have answered"
            );
        }
        keepalive.heard(first + MINUTE * 61);
        assert_eq!(
            keepalive.due(first + MINUTE * 61),
            Due::Ping,
            "to measure again"
        );
    }

    #[tokio::test]
    async fn another_interval_counts_from_when_it_is_changed() {
        let start = Instant::now();
        let mut keepalive = Keepalive::new(start, MINUTE, 1, 0);
        let first = start + MINUTE;
        keepalive.change(start, MINUTE * 5, 1);
        assert_eq!(keepalive.next(), first, "never later than it was to be");
        assert_eq!(keepalive.due(first), Due::Ping);
        assert_eq!(keepalive.next(), first + MINUTE * 5);
        keepalive.change(first, MINUTE / 2, 2);
        assert_eq!(keepalive.next(), first + MINUTE / 2);
        assert_eq!(keepalive.due(first + MINUTE / 2), Due::Ping);
        keepalive.change(first + MINUTE / 2, MINUTE / 2, 2);
        assert_eq!(keepalive.due(first + MINUTE), Due::Stale);
    }

    #[tokio::test]
    async fn a_peer_that_does_not_introduce_itself_must_answer() {
        let start = Instant::now();
        let mut keepalive = Keepalive::new(start, MINUTE, 2, 0);
        for (minute, due) in [(1, Due::Ping), (2, Due::Ping), (3, Due::Stale)] {
            keepalive.heard(start + MINUTE * minute);
            assert_eq!(keepalive.due(start + MINUTE * minute), due);
        }
    }
}
