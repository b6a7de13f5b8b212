//! Server processes: the reference and the one under test, started in the same way.

use std::fs::{self, File};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rustix::process::{Pid, kill_process};

use crate::clock::Deadline;
use crate::script::Signal;

/// A server that does not listen after this long has failed to start.
const START: Duration = Duration::from_secs(10);

/// The two programs that are compared.
#[derive(Clone, Debug)]
pub(crate) struct Programs {
    pub(crate) reference: PathBuf,
    pub(crate) tested: PathBuf,
}

impl Programs {
    /// Whether the reference is compared with itself, to prove that the comparison is stable.
    pub(crate) fn are_the_same(&self) -> bool {
        fs::canonicalize(&self.reference).ok() == fs::canonicalize(&self.tested).ok()
    }
}

/// A running server; dropping it ends the process and removes its files.
#[derive(Debug)]
pub(crate) struct Server {
    child: Child,
    address: SocketAddr,
    directory: tempfile::TempDir,
}

impl Server {
    /// Starts `program` with `configuration` on a free port of the loopback.
    ///
    /// # Errors
    /// What the server wrote, when it does not listen in time.
    pub(crate) fn start(program: &Path, configuration: &str) -> Result<Self, String> {
        let directory = tempfile::tempdir().map_err(|error| error.to_string())?;
        let file = directory.path().join("server.conf");
        fs::write(&file, configuration).map_err(|error| error.to_string())?;
        let log = File::create(directory.path().join("log")).map_err(|error| error.to_string())?;
        let mut child = Command::new(program)
            .args(["-a", "127.0.0.1", "-p", "-1", "--ports_file_dir"])
            .arg(directory.path())
            .arg("-c")
            .arg(&file)
            .stdin(Stdio::null())
            .stdout(log.try_clone().map_err(|error| error.to_string())?)
            .stderr(log)
            .spawn()
            .map_err(|error| format!("cannot start {}: {error}", program.display()))?;
        match wait_for_address(&mut child, directory.path()) {
            Some(address) => Ok(Self {
                child,
                address,
                directory,
            }),
            None => {
                end(&mut child);
                let log = fs::read_to_string(directory.path().join("log")).unwrap_or_default();
                Err(format!("{} did not start:\n{log}", program.display()))
            }
        }
    }

    /// Where clients connect.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Sends `signal` to the process.
    pub(crate) fn signal(&self, signal: Signal) {
        let signal = match signal {
            Signal::Hangup => rustix::process::Signal::HUP,
            Signal::Terminate => rustix::process::Signal::TERM,
            Signal::User2 => rustix::process::Signal::USR2,
        };
        if let Some(pid) = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw) {
            kill_process(pid, signal).ok();
        }
    }

    /// The exit status and the last words of a server that has ended.
    pub(crate) fn obituary(&mut self) -> Option<String> {
        let status = self.child.try_wait().ok().flatten()?;
        let log = fs::read_to_string(self.directory.path().join("log")).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        let last = lines[lines.len().saturating_sub(10)..].join("\n");
        Some(format!("{status}\n{last}"))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        end(&mut self.child);
    }
}

fn end(child: &mut Child) {
    child.kill().ok();
    child.wait().ok();
}

/// Waits until the ports file names the client port.
fn wait_for_address(child: &mut Child, directory: &Path) -> Option<SocketAddr> {
    let deadline = Deadline::after(START);
    while !deadline.is_over() {
        if let Some(address) = read_ports_file(directory) {
            return Some(address);
        }
        if child.try_wait().ok().flatten().is_some() {
            return None;
        }
        std::thread::sleep(Duration::from_millis(2));
    }
    None
}

/// Reads the first client address from the file `*.ports`, once it is complete.
fn read_ports_file(directory: &Path) -> Option<SocketAddr> {
    let file = fs::read_dir(directory)
        .ok()?
        .flatten()
        .map(|entry| entry.path());
    let file = file
        .into_iter()
        .find(|path| path.extension().is_some_and(|end| end == "ports"))?;
    let ports: serde_json::Value = serde_json::from_slice(&fs::read(file).ok()?).ok()?;
    ports
        .get("nats")?
        .get(0)?
        .as_str()?
        .split_once("://")?
        .1
        .parse()
        .ok()
}
