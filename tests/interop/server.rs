//! The server under test: started on a random loopback port, stopped when dropped.

use std::ffi::OsString;
use std::fs::{self, File};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use crate::process::{poll_until, wait_for_exit};

/// Time within which a server must start or stop on a busy machine.
const LIFE_DEADLINE: Duration = Duration::from_secs(20);

/// How a server is taken down before it is started again on its port.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Stop {
    /// SIGTERM, after which the server closes its clients and exits by itself.
    Gracefully,
    /// SIGKILL, which leaves the server no time to say anything.
    Abruptly,
}

/// One server process with its log and its directory for the ports file.
#[derive(Debug)]
pub(crate) struct Server {
    arguments: Vec<String>,
    directory: TempDir,
    child: Child,
    port: u16,
}

impl Server {
    /// Starts a server with these flags and, unless it is empty, this configuration.
    pub(crate) fn start(flags: &[&str], configuration: &str) -> Self {
        let directory = tempfile::tempdir().expect("a directory for the server");
        let mut arguments: Vec<String> = flags.iter().map(ToString::to_string).collect();
        if !configuration.is_empty() {
            let file = directory.path().join("server.conf");
            fs::write(&file, configuration).expect("the configuration file is written");
            arguments.extend(["-c".to_owned(), file.display().to_string()]);
        }
        let child = spawn(&arguments, directory.path(), "-1");
        let mut server = Self {
            arguments,
            directory,
            child,
            port: 0,
        };
        server.port = server.wait_for_port();
        server
    }

    /// The address that clients connect to.
    pub(crate) fn url(&self) -> String {
        format!("nats://127.0.0.1:{}", self.port)
    }

    /// A plain connection to the server, for checks that speak the protocol themselves.
    pub(crate) fn connect(&self) -> TcpStream {
        TcpStream::connect(("127.0.0.1", self.port)).expect("the server accepts connections")
    }

    /// Takes the server down and starts it again on the port it had.
    ///
    /// # Errors
    /// A sentence when the server does not stop or does not start.
    pub(crate) fn restart(&mut self, how: Stop) -> Result<(), String> {
        match how {
            Stop::Gracefully => {
                self.signal(Signal::TERM);
                self.wait_for_exit()?;
            }
            Stop::Abruptly => {
                self.child.kill().expect("the server is killed");
                self.child.wait().expect("the server is gone");
            }
        }
        let port = self.port.to_string();
        // Something else on the machine can hold the port for a moment: a socket that connects
        // gets a random one from the same range. The server then exits and is started once more.
        let started = poll_until(LIFE_DEADLINE, || {
            remove_ports_files(self.directory.path());
            self.child = spawn(&self.arguments, self.directory.path(), &port);
            self.listens_again()
        });
        if started {
            Ok(())
        } else {
            Err(format!("the server did not start on port {port} again"))
        }
    }

    /// Sends the server a signal.
    pub(crate) fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw);
        kill_process(pid.expect("a process id"), signal).expect("the server takes the signal");
    }

    /// Waits until the server has exited by itself.
    ///
    /// # Errors
    /// A sentence when it still runs at the deadline.
    pub(crate) fn wait_for_exit(&mut self) -> Result<ExitStatus, String> {
        let status = wait_for_exit(&mut self.child, LIFE_DEADLINE);
        status.ok_or_else(|| format!("the server still runs after {LIFE_DEADLINE:?}"))
    }

    /// Whether the process has not exited.
    pub(crate) fn runs(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// All that the server has logged, restarts included.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(log_path(self.directory.path())).unwrap_or_default()
    }

    /// Waits for the ports file, which the server writes once it listens.
    fn wait_for_port(&mut self) -> u16 {
        let mut port = None;
        poll_until(LIFE_DEADLINE, || {
            port = read_port(self.directory.path());
            port.is_some() || !self.runs()
        });
        port.unwrap_or_else(|| panic!("the server did not start:\n{}", self.log()))
    }

    /// Whether the new process listens; false once it has exited instead.
    fn listens_again(&mut self) -> bool {
        poll_until(LIFE_DEADLINE, || {
            read_port(self.directory.path()).is_some() || !self.runs()
        });
        self.runs()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // The process may have exited already; either way nothing is left behind.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// The program to test: Midge of this build, unless `MIDGE_BINARY` names another one.
pub(crate) fn binary() -> OsString {
    std::env::var_os("MIDGE_BINARY").unwrap_or_else(|| env!("CARGO_BIN_EXE_midge").into())
}

/// Starts the server process, its log appended to one file.
fn spawn(arguments: &[String], directory: &Path, port: &str) -> Child {
    let log = File::options()
        .create(true)
        .append(true)
        .open(log_path(directory));
    Command::new(binary())
        .args(["-a", "127.0.0.1", "-p", port, "--ports_file_dir"])
        .arg(directory)
        .args(arguments)
        // `MIDGE_…` variables are options of the server; those of the test run are not meant for it.
        .env_clear()
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(log.expect("the log file opens"))
        .spawn()
        .expect("the server starts")
}

fn log_path(directory: &Path) -> PathBuf {
    directory.join("server.log")
}

/// The ports files in a directory; their names hold the program's name and its process id.
fn ports_files(directory: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    let paths = entries.map(|entry| entry.path());
    paths
        .filter(|path| {
            path.extension()
                .is_some_and(|extension| extension == "ports")
        })
        .collect()
}

fn remove_ports_files(directory: &Path) {
    for path in ports_files(directory) {
        fs::remove_file(path).expect("the old ports file is removed");
    }
}

/// The client port out of the ports file, once that is there and complete.
fn read_port(directory: &Path) -> Option<u16> {
    let path = ports_files(directory).into_iter().next()?;
    let ports: serde_json::Value = serde_json::from_slice(&fs::read(path).ok()?).ok()?;
    let url = ports.get("nats")?.get(0)?.as_str()?;
    url.rsplit(':').next()?.parse().ok()
}
