//! How much may come in each second.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// What may have been saved up: so much time's share may come at once.
const BURST: Duration = Duration::from_secs(1);

/// Most messages and bytes in a second; `None` for any number.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Rate {
    /// Messages.
    pub messages: Option<u64>,
    /// Bytes of payload and headers.
    pub bytes: Option<u64>,
}

/// A token bucket for all connections that share a rate. It is told what has come and says how long to pause before
/// more is read: what one turn brings is taken in any case, so that nothing is lost.
#[derive(Debug)]
pub struct RateLimit {
    rate: Rate,
    /// When what has come so far would have come at exactly the rate: of messages, and of bytes.
    due: Mutex<Option<(Instant, Instant)>>,
}

impl RateLimit {
    /// A bucket that is full.
    #[must_use]
    pub fn new(rate: Rate) -> Self {
        Self {
            rate,
            due: Mutex::new(None),
        }
    }

    /// Counts what came until `now`; how long nothing more is to be read.
    pub fn take(&self, messages: u64, bytes: u64, now: Instant) -> Duration {
        let mut due = self.due.lock().unwrap_or_else(PoisonError::into_inner);
        let (of_messages, of_bytes) = due.unwrap_or((now, now));
        let of_messages = of_messages.max(now) + share(messages, self.rate.messages);
        let of_bytes = of_bytes.max(now) + share(bytes, self.rate.bytes);
        *due = Some((of_messages, of_bytes));
        let latest = of_messages.max(of_bytes);
        latest.saturating_duration_since(now).saturating_sub(BURST)
    }
}

/// How long so much takes at this rate.
fn share(amount: u64, per_second: Option<u64>) -> Duration {
    let Some(per_second) = per_second else {
        return Duration::ZERO;
    };
    let nanoseconds = u128::from(amount) * 1_000_000_000 / u128::from(per_second.max(1));
    Duration::from_nanos(u64::try_from(nanoseconds).unwrap_or(u64::MAX).min(LONGEST))
}

/// The longest share in nanoseconds, an hour: times stay far from where they would overflow.
const LONGEST: u64 = 3_600_000_000_000;

/// The rates that a client is held to: its user's and its account's.
#[derive(Debug, Clone, Default)]
pub struct Rates(Box<[Arc<RateLimit>]>);

impl Rates {
    /// All of these hold.
    pub fn new(limits: impl IntoIterator<Item = Arc<RateLimit>>) -> Self {
        Self(limits.into_iter().collect())
    }

    /// Counts what came until `now`; how long nothing more is to be read, if at all.
    pub fn take(&self, messages: u64, bytes: u64, now: Instant) -> Option<Duration> {
        let pauses = self.0.iter().map(|limit| limit.take(messages, bytes, now));
        pauses.max().filter(|pause| !pause.is_zero())
    }
}

/// The rates of users and accounts, by their names.
#[derive(Debug, Default)]
pub struct RateTable {
    /// Of users and nkeys.
    pub users: HashMap<String, Arc<RateLimit>>,
    /// Of accounts.
    pub accounts: HashMap<String, Arc<RateLimit>>,
}

impl RateTable {
    /// What a client of this user and account is held to.
    #[must_use]
    pub fn of(&self, user: Option<&str>, account: &str) -> Rates {
        let user = user.and_then(|user| self.users.get(user));
        Rates::new(user.into_iter().chain(self.accounts.get(account)).cloned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[expect(
        clippy::disallowed_methods,
        reason = "any instant will do as the test's beginning"
    )]
    fn beginning() -> Instant {
        Instant::now()
    }

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn a_second_is_free_and_then_the_rate_holds() {
        let now = beginning();
        let rate = Rate {
            messages: Some(100),
            bytes: None,
        };
        let limit = RateLimit::new(rate);
        assert_eq!(limit.take(100, u64::MAX, now), Duration::ZERO);
        assert_eq!(limit.take(50, 0, now), SECOND / 2);
        assert_eq!(limit.take(0, 0, now + SECOND / 2), Duration::ZERO);
        assert_eq!(limit.take(100, 0, now + SECOND / 2), SECOND);
        // Nobody saves up more than a second's share.
        let later = now + 100 * SECOND;
        assert_eq!(limit.take(200, 0, later), SECOND);
    }

    #[test]
    fn bytes_are_counted_apart_and_the_longest_pause_counts() {
        let now = beginning();
        let bytes = Rate {
            messages: None,
            bytes: Some(1000),
        };
        let messages = Rate {
            messages: Some(1),
            bytes: Some(1_000_000),
        };
        let rates = Rates::new([bytes, messages].map(|rate| Arc::new(RateLimit::new(rate))));
        assert_eq!(rates.take(1, 1000, now), None);
        assert_eq!(rates.take(0, 2000, now), Some(2 * SECOND));
        assert_eq!(rates.take(4, 0, now), Some(4 * SECOND));
        assert_eq!(Rates::default().take(u64::MAX, u64::MAX, now), None);
    }

    #[test]
    fn absurd_rates_do_not_overflow() {
        let now = beginning();
        let rate = Rate {
            messages: Some(0),
            bytes: Some(1),
        };
        let limit = RateLimit::new(rate);
        for _ in 0..100 {
            assert!(limit.take(u64::MAX, u64::MAX, now) > SECOND);
        }
    }
}
