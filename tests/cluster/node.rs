//! One server process of a cluster, of either kind, and its files.

use std::collections::BTreeSet;
use std::collections::hash_map::RandomState;
use std::fs::{self, File};
use std::hash::BuildHasher as _;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;

use rustix::process::{Pid, Signal, kill_process};

use crate::client::{Client, eventually};

/// The two kinds of server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Midge,
    NatsServer,
}

/// The program of a kind; `None` for nats-server where there is none to test with.
pub(crate) fn program(kind: Kind) -> Option<PathBuf> {
    match kind {
        Kind::Midge => Some(PathBuf::from(env!("CARGO_BIN_EXE_midge"))),
        Kind::NatsServer => {
            let kept = Path::new(env!("CARGO_MANIFEST_DIR"))
                .join("tests/peers/.cache/python/bin/nats-server");
            let named = std::env::var_os("MIDGE_NATS_SERVER").map_or(kept, PathBuf::from);
            named.exists().then_some(named)
        }
    }
}

/// How a node is configured besides its ports.
#[derive(Debug, Clone, Default)]
pub(crate) struct Setup {
    /// Text of the top level.
    pub(crate) top: String,
    /// Text within the block `cluster`.
    pub(crate) cluster: String,
    /// The same for nodes of this kind alone.
    pub(crate) midge_cluster: String,
    /// `user:password@` for the routes' URLs.
    pub(crate) login: String,
}

/// A node; dropping it ends the process and removes its files.
#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) kind: Kind,
    pub(crate) name: String,
    child: Option<Child>,
    directory: tempfile::TempDir,
    client_port: u16,
    pub(crate) route_port: u16,
    monitoring_port: u16,
    started: usize,
}

/// The ports that servers of tests listen on: outside the range that the kernel takes the ports of
/// outgoing connections from, so that none of those takes one before its server does.
const PORTS: std::ops::Range<u16> = 10_000..32_000;

/// A port that is free and that no other test of this process is given.
pub(crate) fn free_port() -> u16 {
    static GIVEN: Mutex<BTreeSet<u16>> = Mutex::new(BTreeSet::new());
    let mut given = GIVEN.lock().expect("no test panics while it asks");
    loop {
        let random = RandomState::new().hash_one("port");
        let port = PORTS.start + u16::try_from(random % PORTS.len() as u64).expect("it is below");
        if !given.contains(&port) && TcpListener::bind(("127.0.0.1", port)).is_ok() {
            given.insert(port);
            return port;
        }
    }
}

impl Node {
    /// Starts a node that dials those on `seeds`.
    pub(crate) fn start(kind: Kind, name: &str, seeds: &[u16], setup: &Setup) -> Self {
        let mut node = Self {
            kind,
            name: name.to_owned(),
            child: None,
            directory: tempfile::tempdir().expect("a directory"),
            client_port: free_port(),
            route_port: free_port(),
            monitoring_port: free_port(),
            started: 0,
        };
        node.configure(seeds, setup);
        node.run();
        node
    }

    /// Writes the configuration.
    pub(crate) fn configure(&self, seeds: &[u16], setup: &Setup) {
        let route = |port: &u16| format!("\"nats://{}127.0.0.1:{port}\"", setup.login);
        let routes: Vec<String> = seeds.iter().map(route).collect();
        let own = match self.kind {
            Kind::Midge => &*setup.midge_cluster,
            Kind::NatsServer => "",
        };
        let text = format!(
            "host: 127.0.0.1\nport: {}\nhttp: \"127.0.0.1:{}\"\nserver_name: {}\n{}\ncluster {{\n  name: c\n  host: 127.0.0.1\n  port: {}\n  routes: [ {} ]\n{}\n{own}\n}}\n",
            self.client_port,
            self.monitoring_port,
            self.name,
            setup.top,
            self.route_port,
            routes.join(", "),
            setup.cluster,
        );
        fs::write(self.directory.path().join("conf"), text).expect("the configuration is written");
    }

    /// Starts the process, again if it has ended.
    pub(crate) fn run(&mut self) {
        self.started += 1;
        let log = File::create(self.log_path()).expect("a log");
        let program = program(self.kind).expect("a program");
        let child = Command::new(program)
            .arg("-D")
            .arg("-c")
            .arg(self.directory.path().join("conf"))
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("the log"))
            .stderr(log)
            .spawn()
            .expect("the server starts");
        self.child = Some(child);
        eventually(&format!("{} listens", self.name), || {
            self.log().contains("Server is ready")
        });
    }

    fn log_path(&self) -> PathBuf {
        self.directory.path().join(format!("log{}", self.started))
    }

    /// What the process has logged since it was started last.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.log_path()).unwrap_or_default()
    }

    pub(crate) fn address(&self) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], self.client_port))
    }

    /// A page of its monitoring.
    pub(crate) fn page(&self, path: &str) -> serde_json::Value {
        let mut stream =
            TcpStream::connect(("127.0.0.1", self.monitoring_port)).expect("it listens");
        let request = format!("GET {path} HTTP/1.0\r\n\r\n");
        stream.write_all(request.as_bytes()).expect("it is sent");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("an answer");
        let (_, body) = answer.split_once("\r\n\r\n").expect("a body");
        serde_json::from_str(body).expect("JSON")
    }

    /// How many subscriptions it knows of, those of other nodes included.
    pub(crate) fn subscriptions(&self) -> u64 {
        let page = self.page("/subsz");
        page["num_subscriptions"].as_u64().expect("a number")
    }

    pub(crate) fn client(&self) -> Client {
        Client::connect(self.address(), "")
    }

    pub(crate) fn client_as(&self, user: &str) -> Client {
        Client::connect(
            self.address(),
            &format!(",\"user\":\"{user}\",\"pass\":\"{user}\""),
        )
    }

    pub(crate) fn signal(&self, signal: Signal) {
        let child = self.child.as_ref().expect("a process");
        let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
        kill_process(pid.expect("its number"), signal).expect("the signal is sent");
    }

    /// Kills the process as if the machine had lost power.
    pub(crate) fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().ok();
            child.wait().ok();
        }
    }

    /// Ends the process as an operator would, and waits until it has.
    pub(crate) fn stop(&mut self) {
        self.signal(Signal::TERM);
        if let Some(mut child) = self.child.take() {
            child.wait().expect("it ends");
        }
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.kill();
        if std::thread::panicking() {
            let log = self.log();
            let lines: Vec<&str> = log.lines().filter(|line| !line.contains("[TRC]")).collect();
            let last = lines[lines.len().saturating_sub(40)..].join("\n");
            eprintln!(
                "---- {} ({:?}), its last words:\n{last}",
                self.name, self.kind
            );
        }
    }
}
