//! Waiting for what is to come true.

use std::time::{Duration, Instant};

/// How long a test waits for something that should happen at once; generous, because machines that run
/// tests are busy.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// Between two looks.
const PAUSE: Duration = Duration::from_millis(5);

/// The time.
pub(crate) fn now() -> Instant {
    #[expect(clippy::disallowed_methods, reason = "tests wait for real events")]
    Instant::now()
}

/// Waits until something is true; what is not after [`PATIENCE`] fails the test.
pub(crate) fn eventually(what: &str, mut is_true: impl FnMut() -> bool) {
    let deadline = now() + PATIENCE;
    while !is_true() {
        assert!(now() < deadline, "waited in vain for {what}");
        std::thread::sleep(PAUSE);
    }
}
