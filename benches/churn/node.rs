//! One node: a process, its ports, and what it tells of itself.

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tempfile::TempDir;

use crate::{Outcome, PATIENCE};

/// A running node; ended when dropped.
#[derive(Debug)]
pub(crate) struct Node {
    program: PathBuf,
    name: &'static str,
    child: Child,
    directory: TempDir,
    ports: Ports,
}

#[derive(Debug, Clone, Copy)]
struct Ports {
    clients: u16,
    routes: u16,
    monitoring: u16,
}

impl Node {
    /// Starts a node that dials `seeds`.
    ///
    /// # Errors
    /// When it does not start.
    pub(crate) fn start(program: &Path, name: &'static str, seeds: &[u16]) -> Outcome<Self> {
        let directory = tempfile::tempdir()?;
        let ports = Ports {
            clients: free_port()?,
            routes: free_port()?,
            monitoring: free_port()?,
        };
        let seeds: Vec<String> = seeds
            .iter()
            .map(|port| format!("\"nats://127.0.0.1:{port}\""))
            .collect();
        // What is kept of connections that have ended fills within a minute and grows no more.
        let text = format!(
            "host: 127.0.0.1, port: {}, server_name: {name}, http: \"127.0.0.1:{}\"\n\
             max_closed_clients: 1000\n\
             cluster {{ name: churn, host: 127.0.0.1, port: {}, routes: [ {} ] }}\n",
            ports.clients,
            ports.monitoring,
            ports.routes,
            seeds.join(", "),
        );
        fs::write(directory.path().join("conf"), text)?;
        let child = spawn(program, directory.path())?;
        let mut node = Self {
            program: program.to_owned(),
            name,
            child,
            directory,
            ports,
        };
        node.wait_until_ready()?;
        Ok(node)
    }

    /// Ends the process, with or without a chance to say goodbye, and starts it again.
    ///
    /// # Errors
    /// When it does not end or does not start.
    pub(crate) fn restart(&mut self, kill: bool) -> Outcome<()> {
        let id = i32::try_from(self.child.id())?;
        let pid = Pid::from_raw(id).ok_or("no process")?;
        let signal = if kill { Signal::KILL } else { Signal::TERM };
        kill_process(pid, signal)?;
        self.child.wait()?;
        self.child = spawn(&self.program, self.directory.path())?;
        self.wait_until_ready()
    }

    /// A client that connects may hold a port for a moment; then the process ends and is started again.
    fn wait_until_ready(&mut self) -> Outcome<()> {
        let began = Instant::now();
        while self.page("/healthz").is_err() {
            if self.child.try_wait()?.is_some() {
                self.child = spawn(&self.program, self.directory.path())?;
            }
            if began.elapsed() > PATIENCE {
                let log = fs::read_to_string(self.directory.path().join("log"))?;
                return Err(format!("{} does not start:\n{log}", self.name).into());
            }
            thread::sleep(Duration::from_millis(50));
        }
        Ok(())
    }

    pub(crate) const fn name(&self) -> &'static str {
        self.name
    }

    pub(crate) fn address(&self) -> SocketAddr {
        address(self.ports.clients)
    }

    pub(crate) const fn route_port(&self) -> u16 {
        self.ports.routes
    }

    /// Resident memory in bytes.
    pub(crate) fn resident_memory(&self) -> Outcome<u64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let size = line.and_then(|rest| rest.split_whitespace().next());
        Ok(size.ok_or("no resident memory")?.parse::<u64>()? * 1024)
    }

    /// Subscriptions that the node knows of, those of other nodes included.
    pub(crate) fn interest(&self) -> Outcome<u64> {
        number(&self.page("/subsz")?, "num_subscriptions")
    }

    /// Connected clients.
    pub(crate) fn clients(&self) -> Outcome<u64> {
        number(&self.page("/varz")?, "connections")
    }

    /// Nodes that it tells its clients of, itself included.
    pub(crate) fn members(&self) -> Outcome<usize> {
        let mut line = String::new();
        let stream = TcpStream::connect(self.address())?;
        stream.set_read_timeout(Some(PATIENCE))?;
        BufReader::new(stream).read_line(&mut line)?;
        let info: Value = serde_json::from_str(line.trim_start_matches("INFO "))?;
        let urls = info.get("connect_urls").and_then(Value::as_array);
        Ok(urls.map_or(1, Vec::len))
    }

    /// A page of its monitoring.
    fn page(&self, path: &str) -> Outcome<Value> {
        let mut stream = TcpStream::connect(address(self.ports.monitoring))?;
        stream.set_read_timeout(Some(PATIENCE))?;
        write!(
            stream,
            "GET {path} HTTP/1.1\r\nHost: node\r\nConnection: close\r\n\r\n"
        )?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        let (_, body) = answer.split_once("\r\n\r\n").ok_or("no answer")?;
        Ok(serde_json::from_str(body)?)
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        // Both fail only when the process is gone already.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

fn spawn(program: &Path, directory: &Path) -> Outcome<Child> {
    let log = fs::File::create(directory.join("log"))?;
    let child = Command::new(program)
        .arg("-c")
        .arg(directory.join("conf"))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(log)
        .spawn();
    child.map_err(|error| format!("{}: {error}", program.display()).into())
}

fn address(port: u16) -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, port))
}

fn free_port() -> Outcome<u16> {
    Ok(TcpListener::bind(address(0))?.local_addr()?.port())
}

fn number(page: &Value, key: &str) -> Outcome<u64> {
    let value = page.get(key).and_then(Value::as_u64);
    value.ok_or_else(|| format!("no {key}").into())
}
