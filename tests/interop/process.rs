//! Waiting for processes and conditions, always with a deadline.

use std::process::{Child, ExitStatus};
use std::time::{Duration, Instant};

/// Pause between two looks at a condition that nothing announces.
const LOOK_INTERVAL: Duration = Duration::from_millis(5);

/// Looks at a condition until it holds; false once the deadline has passed without it.
pub(crate) fn poll_until(deadline: Duration, mut condition: impl FnMut() -> bool) -> bool {
    let end = Instant::now() + deadline;
    loop {
        if condition() {
            return true;
        }
        if Instant::now() >= end {
            return false;
        }
        std::thread::sleep(LOOK_INTERVAL);
    }
}

/// Waits for a process to exit; none when it still runs at the deadline.
pub(crate) fn wait_for_exit(child: &mut Child, deadline: Duration) -> Option<ExitStatus> {
    let mut status = None;
    poll_until(deadline, || {
        status = child.try_wait().expect("the process can be waited for");
        status.is_some()
    });
    status
}
