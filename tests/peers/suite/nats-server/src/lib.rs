//! Starts servers for the tests that come with async-nats.
//!
//! Those tests name a helper crate that is not published; this one gives what they call, with the
//! same names. The server is whatever program `nats-server` comes first on the path.

use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

/// Time within which a server must listen.
const START_DEADLINE: Duration = Duration::from_secs(20);

/// The line of the log that tells where a server listens; the address follows.
const LISTENING: &str = "Listening for client connections on ";

/// A server process, killed when dropped.
#[derive(Debug)]
pub struct Server {
    child: Child,
    directory: TempDir,
}

impl Server {
    /// The URL for clients, with the scheme that the server asks for.
    pub fn client_url(&self) -> String {
        let info = self.info();
        let tls = info["tls_required"].as_bool().unwrap_or_default();
        let scheme = if tls { "tls" } else { "nats" };
        format!("{scheme}://127.0.0.1:{}", info["port"])
    }

    /// The port for clients.
    pub fn client_port(&self) -> u16 {
        let port = self.info()["port"].as_u64();
        port.and_then(|port| port.try_into().ok())
            .expect("a port in the server's INFO")
    }

    /// The URL with a user and a password in it.
    pub fn client_url_with(&self, user: &str, pass: &str) -> String {
        self.client_url()
            .replace("://", &format!("://{user}:{pass}@"))
    }

    /// The URL with a token in it.
    pub fn client_url_with_token(&self, token: &str) -> String {
        self.client_url().replace("://", &format!("://{token}@"))
    }

    /// The process id, as the server wrote it to its pid file.
    pub fn client_pid(&self) -> usize {
        let text = fs::read_to_string(self.pid_file()).expect("the server's pid file");
        text.parse()
            .expect("a number and nothing else in the pid file")
    }

    /// What the server says first to whoever connects.
    fn info(&self) -> Value {
        let stream = TcpStream::connect(self.client_address()).expect("the server accepts");
        let mut line = String::new();
        BufReader::new(stream)
            .read_line(&mut line)
            .expect("the server speaks first");
        let text = line.strip_prefix("INFO ").expect("INFO comes first");
        serde_json::from_str(text).expect("INFO holds JSON")
    }

    /// The address in the log, which is there once the server listens.
    fn client_address(&self) -> String {
        let end = Instant::now() + START_DEADLINE;
        loop {
            let log = fs::read_to_string(self.directory.path().join("log")).unwrap_or_default();
            let after = log
                .split_once(LISTENING)
                .and_then(|(_, rest)| rest.split_once('\n'));
            if let Some((address, _)) = after {
                return address.trim().replace("0.0.0.0", "127.0.0.1");
            }
            assert!(Instant::now() < end, "the server does not listen:\n{log}");
            sleep(Duration::from_millis(10));
        }
    }

    fn pid_file(&self) -> PathBuf {
        self.directory.path().join("pid")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// Tells a server to enter lame duck mode, as an operator would.
pub fn set_lame_duck_mode(server: &Server) {
    let signal = format!("ldm={}", server.client_pid());
    let status = Command::new("nats-server")
        .args(["--signal", &signal])
        .status();
    assert!(
        status.expect("nats-server starts").success(),
        "--signal {signal} failed"
    );
}

/// Starts a server without a configuration on a random port.
pub fn run_basic_server() -> Server {
    run_server("")
}

/// Starts a server with this configuration file on a random port.
pub fn run_server(configuration: &str) -> Server {
    run_server_with_port(configuration, None)
}

/// Starts a server with this configuration file, unless its name is empty, on this port.
pub fn run_server_with_port(configuration: &str, port: Option<&str>) -> Server {
    start(configuration, port)
}

/// Three servers that know each other.
#[derive(Debug)]
pub struct Cluster {
    /// The servers.
    pub servers: Vec<Server>,
}

impl Cluster {
    /// The URL of the first server for clients.
    pub fn client_url(&self) -> String {
        self.servers[0].client_url()
    }
}

/// Starts a cluster of three servers with this configuration file.
///
/// With JetStream a server does not listen for clients before it has found others, so all routes
/// are known from the start.
pub fn run_cluster(configuration: &str) -> Cluster {
    let listeners = [(); 3].map(|()| TcpListener::bind("127.0.0.1:0").expect("a free port"));
    let urls = listeners.map(|listener| {
        let address = listener.local_addr().expect("the address of the free port");
        format!("nats://{address}")
    });
    let routes = urls.join(",");
    let servers: Vec<Server> = urls
        .iter()
        .zip(["one", "two", "three"])
        .map(|(url, name)| {
            let flags = [
                "--cluster_name",
                "suite",
                "--cluster",
                url,
                "--routes",
                &routes,
                "-n",
                name,
            ];
            spawn(configuration, None, &flags)
        })
        .collect();
    for server in &servers {
        server.client_address();
    }
    Cluster { servers }
}

/// Starts a server and waits until it listens.
fn start(configuration: &str, port: Option<&str>) -> Server {
    let server = spawn(configuration, port, &[]);
    server.client_address();
    server
}

fn spawn(configuration: &str, port: Option<&str>, flags: &[&str]) -> Server {
    let directory = tempfile::tempdir().expect("a directory for the server");
    let log = directory.path().join("log");
    File::create(&log).expect("the log file");
    let mut command = Command::new("nats-server");
    command
        .arg("--store_dir")
        .arg(directory.path().join("store"))
        .args(["-p", port.unwrap_or("-1"), "-l"])
        .arg(&log)
        .arg("-P")
        .arg(directory.path().join("pid"))
        .args(flags)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    if !configuration.is_empty() {
        command.args(["-c", configuration]);
    }
    let child = command.spawn().expect("nats-server starts");
    Server { child, directory }
}
