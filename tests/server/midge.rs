//! Servers to test: the binary in a process of its own, and the library within the test's process
//! where a test looks at the server's inside.

use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};

use midge::broker::registry::Broker;
use midge::config::{self, Layers};
use midge::server::{Server, ServerOptions};
use rustix::process::{Pid, Signal, kill_process};

use super::client::{Client, eventually};

/// The program to test: Midge of this build, unless `MIDGE_BINARY` names another one.
pub(crate) fn program() -> std::ffi::OsString {
    std::env::var_os("MIDGE_BINARY").unwrap_or_else(|| env!("CARGO_BIN_EXE_midge").into())
}

/// The binary, running.
#[derive(Debug)]
pub(crate) struct Process {
    child: Child,
    pub(crate) address: SocketAddr,
    log: Arc<Mutex<Vec<String>>>,
    directory: tempfile::TempDir,
}

impl Process {
    /// Starts the binary with a configuration on a free port of the loopback interface and waits until
    /// it listens.
    pub(crate) fn start(configuration: &str) -> Self {
        Self::start_through(Command::new(program()), configuration)
    }

    /// The same by a command that hands its arguments on to the binary.
    pub(crate) fn start_through(mut command: Command, configuration: &str) -> Self {
        command.args(["-a", "127.0.0.1", "-p", "-1"]);
        Self::run(command, configuration)
    }

    /// Starts the binary with a configuration that says where it listens.
    pub(crate) fn start_where_it_says(configuration: &str) -> Self {
        Self::run(Command::new(program()), configuration)
    }

    fn run(mut command: Command, configuration: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        if !configuration.is_empty() {
            let file = directory.path().join("midge.conf");
            std::fs::write(&file, configuration).unwrap();
            command.arg("-c").arg(file);
        }
        let mut child = command
            .arg("--ports_file_dir")
            .arg(directory.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let log = Arc::default();
        collect_lines(child.stderr.take().unwrap(), Arc::clone(&log));
        let mut address = None;
        eventually("the ports file", || {
            assert_eq!(child.try_wait().unwrap(), None, "it ended: {log:?}");
            address = ports_file(directory.path()).and_then(|path| read_address(&path, "nats"));
            address.is_some()
        });
        Self {
            child,
            address: address.unwrap(),
            log,
            directory,
        }
    }

    /// Starts the binary with a configuration that it must refuse; what it says.
    pub(crate) fn refused(configuration: &str) -> String {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("midge.conf");
        std::fs::write(&file, configuration).unwrap();
        let mut command = Command::new(program());
        command
            .arg("-c")
            .arg(file)
            .args(["-a", "127.0.0.1", "-p", "-1"]);
        let output = command.output().unwrap();
        assert_eq!(output.status.code(), Some(1));
        String::from_utf8(output.stderr).unwrap()
    }

    /// Replaces the configuration file, which the server was started with, for a reload.
    pub(crate) fn configure(&self, configuration: &str) {
        std::fs::write(self.directory.path().join("midge.conf"), configuration).unwrap();
    }

    /// Lets it reload another configuration and waits until it has decided; what it logged meanwhile, without
    /// process and time.
    pub(crate) fn reload(&self, configuration: &str) -> Vec<String> {
        let before = self.log().len();
        self.configure(configuration);
        self.signal(Signal::HUP);
        let mut lines = Vec::new();
        eventually("the outcome of a reload", || {
            lines = self.log().split_off(before);
            let ends = ["Reloaded server configuration", "Failed to reload"];
            lines
                .iter()
                .any(|line| ends.iter().any(|end| line.contains(end)))
        });
        let text = |line: &String| match line.find(" [") {
            Some(at) => line.get(at + 1..).unwrap_or_default().to_owned(),
            None => line.clone(),
        };
        lines.iter().map(text).collect()
    }

    /// Reloads a configuration that must be taken.
    pub(crate) fn reloaded(&self, configuration: &str) -> Vec<String> {
        let lines = self.reload(configuration);
        let last = lines.last().map(String::as_str).unwrap_or_default();
        assert!(last.contains("Reloaded server configuration"), "{lines:#?}");
        lines
    }

    /// Where it serves something now, by the ports file: `nats` or `monitoring`.
    pub(crate) fn serves(&self, service: &str) -> Option<SocketAddr> {
        read_address(&ports_file(self.directory.path())?, service)
    }

    /// The folder of its configuration file.
    pub(crate) fn directory(&self) -> &Path {
        self.directory.path()
    }

    pub(crate) fn connect(&self) -> Client {
        Client::connect(self.address)
    }

    pub(crate) fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(self.child.id().cast_signed()).unwrap();
        kill_process(pid, signal).unwrap();
    }

    /// Waits until it has ended by itself.
    pub(crate) fn exit(&mut self) -> ExitStatus {
        let mut status = None;
        eventually("the end of the server", || {
            status = self.child.try_wait().unwrap();
            status.is_some()
        });
        status.unwrap()
    }

    pub(crate) fn is_running(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// What it has logged so far.
    pub(crate) fn log(&self) -> Vec<String> {
        self.log.lock().unwrap().clone()
    }

    /// Its memory in bytes that is really there.
    pub(crate) fn resident_bytes(&self) -> usize {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status
            .lines()
            .find(|line| line.starts_with("VmRSS:"))
            .unwrap();
        line.split_whitespace()
            .nth(1)
            .unwrap()
            .parse::<usize>()
            .unwrap()
            * 1024
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ended_already = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A server must never wait for its log to be read.
fn collect_lines(stream: impl std::io::Read + Send + 'static, log: Arc<Mutex<Vec<String>>>) {
    std::thread::spawn(move || {
        for line in BufReader::new(stream).lines().map_while(Result::ok) {
            log.lock().unwrap().push(line);
        }
    });
}

fn ports_file(directory: &Path) -> Option<PathBuf> {
    let mut entries = std::fs::read_dir(directory)
        .unwrap()
        .map(|entry| entry.unwrap().path());
    entries.find(|path| {
        path.extension()
            .is_some_and(|extension| extension == "ports")
    })
}

/// The first address of a service; `None` while the file is being written.
fn read_address(path: &Path, service: &str) -> Option<SocketAddr> {
    let text = std::fs::read_to_string(path).unwrap();
    let ports: serde_json::Value = serde_json::from_str(&text).ok()?;
    let url = ports[service][0].as_str()?;
    url.split_once("://")?.1.parse().ok()
}

/// A server within the test's process.
#[derive(Debug)]
pub(crate) struct Embedded {
    pub(crate) server: Server,
    runtime: Option<tokio::runtime::Runtime>,
    pub(crate) address: SocketAddr,
}

impl Embedded {
    /// Starts a server with a configuration on a free port of the loopback interface.
    pub(crate) fn start(configuration: &str) -> Self {
        Self::start_with(configuration, |_| {})
    }

    /// The same after `change` has had its way with the options.
    pub(crate) fn start_with(configuration: &str, change: impl FnOnce(&mut ServerOptions)) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("midge.conf");
        std::fs::write(&file, configuration).unwrap();
        let layers = Layers {
            config_file: Some(file),
            ..Layers::default()
        };
        let options = config::load(&layers, &|_| None).unwrap().options;
        let mut options = ServerOptions::from_config(&options).unwrap();
        (options.host, options.port) = ("127.0.0.1".to_owned(), 0);
        change(&mut options);
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .unwrap();
        let server = runtime.block_on(Server::start(options)).unwrap();
        let address = server.client_address();
        Self {
            server,
            runtime: Some(runtime),
            address,
        }
    }

    pub(crate) fn connect(&self) -> Client {
        Client::connect(self.address)
    }

    pub(crate) fn broker(&self) -> &Broker {
        &self.server.clients().broker
    }

    /// Waits until the server holds exactly so many connections.
    pub(crate) fn wait_for_connections(&self, count: usize) {
        eventually("the number of connections", || {
            self.broker().connection_count() == count
        });
    }

    /// Runs something on the server's own threads.
    pub(crate) fn spawn<F>(&self, future: F) -> tokio::task::JoinHandle<F::Output>
    where
        F: Future<Output: Send> + Send + 'static,
    {
        self.runtime.as_ref().unwrap().spawn(future)
    }

    pub(crate) fn block_on<F: Future>(&self, future: F) -> F::Output {
        self.runtime.as_ref().unwrap().block_on(future)
    }
}

impl Drop for Embedded {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}
