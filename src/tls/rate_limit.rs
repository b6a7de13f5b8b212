//! `connection_rate_limit`: how many TLS connections a second a listener takes.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

const WINDOW: Duration = Duration::from_secs(1);

/// Counts connections in windows of a second, as nats-server does. Those above the limit are to be told
/// `Connection throttling is active. Please try again later.` and closed before any cryptography.
#[derive(Debug)]
pub struct RateLimit {
    per_window: u64,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    window_end: Option<Instant>,
    admitted: u64,
    refused: u64,
}

impl RateLimit {
    /// A limit of so many connections per second.
    #[must_use]
    pub fn new(per_second: u64) -> Self {
        Self {
            per_window: per_second,
            state: Mutex::default(),
        }
    }

    /// Whether one more connection is taken now.
    #[must_use]
    pub fn admit(&self, now: Instant) -> bool {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.window_end.is_none_or(|end| now > end) {
            state.window_end = now.checked_add(WINDOW);
            state.admitted = 0;
        }
        let admit = state.admitted < self.per_window;
        if admit {
            state.admitted += 1;
        } else {
            state.refused += 1;
        }
        admit
    }

    /// How many connections were refused since the last call, for the line
    /// `Rejected N connections due to TLS rate limiting`.
    #[must_use]
    pub fn take_refused(&self) -> u64 {
        std::mem::take(
            &mut self
                .state
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .refused,
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[expect(
        clippy::disallowed_methods,
        reason = "any instant will do as the test's beginning"
    )]
    fn a_window_admits_its_share() {
        let (limit, now) = (RateLimit::new(3), Instant::now());
        let admitted = |at| (0..10).filter(|_| limit.admit(at)).count();
        assert_eq!(admitted(now), 3);
        assert_eq!(admitted(now + WINDOW), 0);
        assert_eq!(admitted(now + 2 * WINDOW), 3);
        assert_eq!(limit.take_refused(), 7 + 10 + 7);
        assert_eq!(limit.take_refused(), 0);
    }
}
