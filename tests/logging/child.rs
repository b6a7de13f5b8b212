//! Tests that need a process of their own run this very program again, as one of its tests and in a given role.

use std::ffi::OsStr;
use std::fmt::Display;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, ExitStatus, Stdio};

pub(crate) use crate::wait::{PATIENCE, eventually};

const ROLE: &str = "MIDGE_LOGGING_TEST_ROLE";

/// Whether this process was started by [`spawn`] for the role.
pub(crate) fn has_role(role: &str) -> bool {
    std::env::var_os(ROLE).is_some_and(|value| value == role)
}

/// Tells the parent something, on standard output.
pub(crate) fn tell(text: impl Display) {
    writeln!(std::io::stdout(), "{text}").unwrap();
}

/// A child that dies with the test.
pub(crate) struct Running {
    child: Child,
    output: BufReader<ChildStdout>,
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ended_already = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Starts `program` (this one, or a link to it) with the test of that name and the role; both outputs are pipes.
pub(crate) fn spawn(program: &Path, test: &str, role: &str, stderr: Stdio) -> Running {
    spawn_with(program, test, role, stderr, &[])
}

pub(crate) fn spawn_with(
    program: &Path,
    test: &str,
    role: &str,
    stderr: Stdio,
    environment: &[(&str, &OsStr)],
) -> Running {
    let mut child = Command::new(program)
        .args(["--exact", test, "--nocapture", "--test-threads=1"])
        .env(ROLE, role)
        .envs(environment.iter().copied())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(stderr)
        .spawn()
        .unwrap();
    let output = BufReader::new(child.stdout.take().unwrap());
    Running { child, output }
}

impl Running {
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Reads lines of standard output up to one that starts with `mark`, and returns the rest of that line.
    /// The test program's own lines are among them.
    pub(crate) fn wait_for(&mut self, mark: &str) -> String {
        loop {
            let mut line = String::new();
            assert_ne!(
                self.output.read_line(&mut line).unwrap(),
                0,
                "the child ended before {mark}"
            );
            if let Some((_, rest)) = line.split_once(mark) {
                return rest.trim_end().to_owned();
            }
        }
    }

    pub(crate) fn stderr(&mut self) -> String {
        let mut text = String::new();
        self.child
            .stderr
            .take()
            .unwrap()
            .read_to_string(&mut text)
            .unwrap();
        text
    }

    pub(crate) fn close_stderr(&mut self) {
        drop(self.child.stderr.take());
    }

    pub(crate) fn exit(&mut self) -> ExitStatus {
        let mut status = None;
        eventually("the child's exit", || {
            status = self.child.try_wait().unwrap();
            status.is_some()
        });
        status.unwrap()
    }
}
