//! Waiting for processes and conditions, always with a deadline.

use std::fs::{self, File};
use std::process::{Child, Command, ExitStatus, Stdio};
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

/// Runs a command to its end; returns its status and all that it printed.
///
/// # Panics
/// When it still runs at the deadline; it is killed then.
pub(crate) fn capture(command: &mut Command, deadline: Duration) -> (ExitStatus, String) {
    let file = tempfile::NamedTempFile::new().expect("a file for the output");
    let output = || {
        File::options()
            .append(true)
            .open(file.path())
            .expect("the file opens")
    };
    let mut child = command
        .stdin(Stdio::null())
        .stdout(output())
        .stderr(output())
        .spawn()
        .unwrap_or_else(|error| panic!("{command:?} does not start: {error}"));
    let status = wait_for_exit(&mut child, deadline);
    drop(child.kill());
    drop(child.wait());
    let text = fs::read(file.path()).unwrap_or_default();
    let text = String::from_utf8_lossy(&text).into_owned();
    let status = status.unwrap_or_else(|| panic!("{command:?} does not end:\n{text}"));
    (status, text)
}
