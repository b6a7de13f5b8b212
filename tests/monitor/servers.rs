//! Servers to ask, and plain clients that give them something to tell.

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};

pub(crate) use crate::wait::{PATIENCE, eventually};

/// The server under test.
pub(crate) fn midge() -> PathBuf {
    std::env::var_os("MIDGE_BINARY")
        .map_or_else(|| env!("CARGO_BIN_EXE_midge").into(), PathBuf::from)
}

/// The nats-server to compare with.
pub(crate) fn reference() -> Option<PathBuf> {
    let prepared =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/peers/.cache/python/bin/nats-server");
    let program = std::env::var_os("MIDGE_NATS_SERVER").map_or(prepared, PathBuf::from);
    if program.is_file() {
        return Some(program);
    }
    skip("there is no nats-server to compare with");
    None
}

/// Says that a test did not run, in the form that `tests/run` counts. In CI nothing may be skipped.
pub(crate) fn skip(reason: &str) {
    let thread = std::thread::current();
    let test = thread.name().unwrap_or("test");
    println!("skipped: {test}: {reason}");
    assert_ne!(std::env::var("CI").as_deref(), Ok("true"), "{reason}");
}

/// A running server; dropping it ends the process.
#[derive(Debug)]
pub(crate) struct Server {
    child: Child,
    pub(crate) clients: SocketAddr,
    pub(crate) monitoring: SocketAddr,
    /// Where other servers of its cluster connect; none without a cluster.
    pub(crate) routes: Option<SocketAddr>,
    directory: tempfile::TempDir,
}

impl Server {
    /// Starts `program` with a configuration, to which listeners on the loopback are added.
    pub(crate) fn start(program: &Path, configuration: &str) -> Self {
        Self::start_with(program, configuration, &["-m", "-1"])
    }

    /// The same with other flags for monitoring.
    pub(crate) fn start_with(program: &Path, configuration: &str, flags: &[&str]) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("server.conf");
        fs::write(&file, configuration).unwrap();
        let log = fs::File::create(directory.path().join("log")).unwrap();
        let mut child = Command::new(program)
            .args(flags)
            .args(["-a", "127.0.0.1", "-p", "-1", "--ports_file_dir"])
            .arg(directory.path())
            .arg("-c")
            .arg(&file)
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        let mut found = None;
        eventually("the ports file", || {
            let log = || fs::read_to_string(directory.path().join("log"));
            assert_eq!(child.try_wait().unwrap(), None, "it ended: {:?}", log());
            found = addresses(directory.path());
            found.is_some()
        });
        let (clients, monitoring, routes) = found.unwrap();
        Self {
            child,
            clients,
            monitoring,
            routes,
            directory,
        }
    }

    pub(crate) fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(self.child.id().cast_signed()).unwrap();
        kill_process(pid, signal).unwrap();
    }

    pub(crate) fn configuration_file(&self) -> PathBuf {
        self.directory.path().join("server.conf")
    }

    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.directory.path().join("log")).unwrap()
    }

    pub(crate) fn connect(&self, options: &str) -> Client {
        Client::connect(self.clients, options)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn addresses(directory: &Path) -> Option<(SocketAddr, SocketAddr, Option<SocketAddr>)> {
    let mut entries = fs::read_dir(directory).ok()?.flatten();
    let path = entries
        .find(|entry| {
            entry
                .path()
                .extension()
                .is_some_and(|ending| ending == "ports")
        })?
        .path();
    let ports: serde_json::Value = serde_json::from_slice(&fs::read(path).ok()?).ok()?;
    let address = |name: &str| {
        let url = ports.get(name)?.get(0)?.as_str()?;
        url.split_once("//")?.1.parse().ok()
    };
    Some((address("nats")?, address("monitoring")?, address("cluster")))
}

/// A client that speaks the protocol itself.
#[derive(Debug)]
pub(crate) struct Client {
    stream: TcpStream,
    lines: BufReader<TcpStream>,
    header: String,
}

impl Client {
    /// Connects with these fields of CONNECT and waits for the first PONG.
    pub(crate) fn connect(address: SocketAddr, options: &str) -> Self {
        let mut client = Self::greet(address);
        client.send(&format!("CONNECT {{\"verbose\":false,{options}}}\r\n"));
        client.flush();
        client
    }

    /// Connects and reads INFO.
    pub(crate) fn greet(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let lines = BufReader::new(stream.try_clone().unwrap());
        let mut client = Self {
            stream,
            lines,
            header: String::new(),
        };
        let info = client.line();
        assert!(info.starts_with("INFO {"), "{info}");
        client
    }

    pub(crate) fn send(&mut self, text: &str) {
        self.stream.write_all(text.as_bytes()).unwrap();
    }

    /// The next line without its end; empty at the end of the stream.
    pub(crate) fn line(&mut self) -> String {
        let mut line = String::new();
        self.lines.read_line(&mut line).unwrap();
        line.trim_end().to_owned()
    }

    /// Waits until the server has served everything sent so far.
    pub(crate) fn flush(&mut self) {
        self.send("PING\r\n");
        loop {
            let line = self.line();
            assert!(!line.is_empty() || !line.starts_with("-ERR"), "{line:?}");
            if line == "PONG" {
                return;
            }
        }
    }

    /// The next message: its subject and its payload.
    pub(crate) fn message(&mut self) -> (String, Vec<u8>) {
        loop {
            let line = self.line();
            assert!(!line.starts_with("-ERR") && !line.is_empty(), "{line:?}");
            if let Some(message) = self.rest_of(&line) {
                return message;
            }
        }
    }

    /// The messages that come before the server answers a PING.
    pub(crate) fn messages(&mut self) -> Vec<(String, Vec<u8>)> {
        self.send("PING\r\n");
        let mut messages = Vec::new();
        loop {
            let line = self.line();
            assert!(!line.is_empty(), "the server has closed");
            if line == "PONG" {
                return messages;
            }
            messages.extend(self.rest_of(&line));
        }
    }

    /// The message that a line begins, if it does; answers a PING.
    fn rest_of(&mut self, line: &str) -> Option<(String, Vec<u8>)> {
        let words: Vec<&str> = line.split(' ').collect();
        let header = match words.first() {
            Some(&"MSG") => 0,
            Some(&"HMSG") => words[words.len() - 2].parse().unwrap(),
            Some(&"PING") => {
                self.send("PONG\r\n");
                return None;
            }
            _ => return None,
        };
        let size: usize = words[words.len() - 1].parse().unwrap();
        let mut payload = vec![0; size + 2];
        self.lines.read_exact(&mut payload).unwrap();
        self.header = String::from_utf8_lossy(&payload[..header]).into_owned();
        Some((words[1].to_owned(), payload[header..size].to_vec()))
    }

    /// The header block of the last message.
    pub(crate) fn last_header(&self) -> &str {
        &self.header
    }

    /// Asks `subject` and returns what is answered first.
    pub(crate) fn request(&mut self, subject: &str, payload: &str) -> serde_json::Value {
        let text = self.request_text(subject, payload);
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{subject}: {error}: {text:?}"))
    }

    /// The same as the text that came.
    pub(crate) fn request_text(&mut self, subject: &str, payload: &str) -> String {
        self.send(&format!(
            "SUB _INBOX.one 901\r\nUNSUB 901 1\r\nPUB {subject} _INBOX.one {}\r\n{payload}\r\n",
            payload.len()
        ));
        let (answered, payload) = self.message();
        assert_eq!(answered, "_INBOX.one");
        String::from_utf8(payload).unwrap()
    }
}
