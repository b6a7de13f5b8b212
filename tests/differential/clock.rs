//! Deadlines.

use std::time::{Duration, Instant};

/// A moment after which nobody waits any longer.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Deadline(Instant);

impl Deadline {
    /// The moment that is `wait` away.
    pub(crate) fn after(wait: Duration) -> Self {
        Self(now() + wait)
    }

    /// Whether the moment has passed.
    pub(crate) fn is_over(self) -> bool {
        self.left().is_zero()
    }

    /// How long it still is.
    pub(crate) fn left(self) -> Duration {
        self.0.saturating_duration_since(now())
    }
}

#[expect(clippy::disallowed_methods, reason = "tests wait in real time")]
fn now() -> Instant {
    Instant::now()
}
