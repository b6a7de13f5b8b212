//! A server process: started on a free loopback port, watched through `/proc`, killed when dropped.

use std::fs;
use std::io::Read as _;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use tempfile::NamedTempFile;

use crate::Outcome;

/// How long a server may take to greet a client.
const START_LIMIT: Duration = Duration::from_secs(10);
/// A free port is found by binding and letting go; another process may take it in between.
const START_ATTEMPTS: usize = 5;
/// `/proc/PID/stat` counts in these steps (USER_HZ is 100 on every Linux).
const TICK: Duration = Duration::from_millis(10);

/// A running server.
pub(crate) struct Server {
    child: Child,
    port: u16,
    log: NamedTempFile,
    /// Keeps the configuration file for as long as the process may read it.
    _configuration: Option<NamedTempFile>,
    /// The server that this one is linked with; both count as one.
    other: Option<Box<Self>>,
}

/// Memory of a process, in bytes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Memory {
    /// Resident set size.
    pub(crate) resident: f64,
    /// Proportional set size.
    pub(crate) proportional: f64,
    /// The largest resident set size so far.
    pub(crate) peak: f64,
}

/// Processor time of a process, read at one moment.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ProcessorClock {
    /// Sum over the live threads; exact to the nanosecond for threads that sleep.
    threads: Duration,
    /// The whole process with its finished threads, in steps of [`TICK`].
    process: Duration,
}

impl Server {
    /// Starts `binary` with default settings and waits until it greets a client.
    ///
    /// # Errors
    /// When it cannot be started or does not send INFO within [`START_LIMIT`]; with the end of its log.
    pub(crate) fn start(binary: &Path) -> Outcome<Self> {
        Ok(Self::start_timed(binary)?.0)
    }

    /// The same with a configuration file of this text.
    pub(crate) fn start_with(binary: &Path, configuration: &str) -> Outcome<Self> {
        Ok(Self::start_configured(binary, Some(configuration))?.0)
    }

    /// Both servers as one: clients publish at this one and receive at `other`.
    pub(crate) fn joined_by(mut self, other: Self) -> Self {
        self.other = Some(Box::new(other));
        self
    }

    /// As [`Server::start`], with the time from before the process exists to the first byte of INFO.
    pub(crate) fn start_timed(binary: &Path) -> Outcome<(Self, Duration)> {
        Self::start_configured(binary, None)
    }

    fn start_configured(binary: &Path, configuration: Option<&str>) -> Outcome<(Self, Duration)> {
        let mut attempts = 0;
        loop {
            attempts += 1;
            let mut server = Self::launch(binary, configuration)?;
            match server.1.await_greeting(server.0) {
                Ok(elapsed) => return Ok((server.1, elapsed)),
                Err(failure) if attempts == START_ATTEMPTS => return Err(failure),
                Err(_) => {}
            }
        }
    }

    fn launch(binary: &Path, configuration: Option<&str>) -> Outcome<(Instant, Self)> {
        let port = free_port()?;
        let log = NamedTempFile::new()?;
        let mut command = Command::new(binary);
        command.args(["-a", "127.0.0.1", "-p", &port.to_string()]);
        let file = configuration.map(|text| {
            let file = NamedTempFile::new()?;
            fs::write(file.path(), text)?;
            command.arg("-c").arg(file.path());
            Outcome::Ok(file)
        });
        let file = file.transpose()?;
        command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log.reopen()?);
        let began = Instant::now();
        let child = command
            .spawn()
            .map_err(|error| format!("{}: {error}", binary.display()))?;
        let server = Self {
            child,
            port,
            log,
            _configuration: file,
            other: None,
        };
        Ok((began, server))
    }

    /// Connects in a tight loop, since the first moment the port answers is what is measured.
    fn await_greeting(&mut self, began: Instant) -> Outcome<Duration> {
        loop {
            if let Ok(mut stream) = TcpStream::connect(address(self.port)) {
                stream.set_read_timeout(Some(START_LIMIT))?;
                let mut byte = [0_u8; 1];
                if stream.read(&mut byte)? == 1 && byte == *b"I" {
                    return Ok(began.elapsed());
                }
                return Err(self.failure("did not greet with INFO"));
            }
            if let Some(status) = self.child.try_wait()? {
                return Err(self.failure(&format!("ended at once with {status}")));
            }
            if began.elapsed() > START_LIMIT {
                return Err(self.failure("does not listen"));
            }
        }
    }

    /// The port it listens on.
    pub(crate) const fn port(&self) -> u16 {
        self.port
    }

    /// The port at which messages are received: that of the other server, if there is one.
    pub(crate) fn receiving_port(&self) -> u16 {
        self.other.as_ref().map_or(self.port, |other| other.port)
    }

    /// Its processor time so far.
    pub(crate) fn processor_clock(&self) -> Outcome<ProcessorClock> {
        let root = format!("/proc/{}", self.child.id());
        let mut threads = Duration::ZERO;
        for task in fs::read_dir(format!("{root}/task"))? {
            // A thread may end between listing and reading; `process` still holds its time.
            if let Ok(text) = fs::read_to_string(task?.path().join("schedstat")) {
                let nanoseconds = text.split_whitespace().next().unwrap_or("0").parse()?;
                threads += Duration::from_nanos(nanoseconds);
            }
        }
        let ticks: f64 = processor_ticks(&self.child.id().to_string(), 2)?
            .into_iter()
            .sum();
        let process = TICK.mul_f64(ticks);
        let mut clock = ProcessorClock { threads, process };
        if let Some(other) = &self.other {
            let other = other.processor_clock()?;
            clock.threads += other.threads;
            clock.process += other.process;
        }
        Ok(clock)
    }

    /// Processor seconds used since `earlier`.
    pub(crate) fn processor_since(&self, earlier: ProcessorClock) -> Outcome<f64> {
        let now = self.processor_clock()?;
        let threads = now.threads.saturating_sub(earlier.threads);
        let process = now.process.saturating_sub(earlier.process);
        // Coarse but complete: wins only when a thread ended in between and took its time along.
        let lost_a_thread = process > threads + 3 * TICK;
        Ok(if lost_a_thread { process } else { threads }.as_secs_f64())
    }

    /// Its memory now.
    pub(crate) fn memory(&self) -> Outcome<Memory> {
        let root = format!("/proc/{}", self.child.id());
        let status = fs::read_to_string(format!("{root}/status"))?;
        let rollup = fs::read_to_string(format!("{root}/smaps_rollup"))?;
        let mut memory = Memory {
            resident: kibibytes(&status, "VmRSS:")?,
            proportional: kibibytes(&rollup, "Pss:")?,
            peak: kibibytes(&status, "VmHWM:")?,
        };
        if let Some(other) = &self.other {
            let other = other.memory()?;
            memory.resident += other.resident;
            memory.proportional += other.proportional;
            memory.peak += other.peak;
        }
        Ok(memory)
    }

    /// Its memory once it stays within 1 % for a while, so that a collector or an allocator at work
    /// is not caught in the middle.
    pub(crate) fn settled_memory(&self, patience: Duration) -> Outcome<Memory> {
        let began = Instant::now();
        let mut previous = self.memory()?;
        loop {
            thread::sleep(patience / 8);
            let now = self.memory()?;
            let steady = (now.resident - previous.resident).abs() <= previous.resident / 100.0;
            if began.elapsed() >= patience || (steady && began.elapsed() >= patience / 2) {
                return Ok(now);
            }
            previous = now;
        }
    }

    /// An error text that holds the end of the server's log.
    pub(crate) fn failure(&self, what: &str) -> Box<dyn std::error::Error + Send + Sync> {
        let log = fs::read_to_string(self.log.path()).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        let tail = lines.iter().skip(lines.len().saturating_sub(5)).copied();
        format!("server {what}\n{}", tail.collect::<Vec<_>>().join("\n")).into()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Both fail only when the process is gone already.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// The loopback address of a port.
pub(crate) fn address(port: u16) -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, port))
}

pub(crate) fn free_port() -> Outcome<u16> {
    Ok(TcpListener::bind(address(0))?.local_addr()?.port())
}

/// The first `count` of utime, stime, and the same of finished children, in ticks.
pub(crate) fn processor_ticks(process: &str, count: usize) -> Outcome<Vec<f64>> {
    let stat = fs::read_to_string(format!("/proc/{process}/stat"))?;
    // The command name in the second field may hold blanks and parentheses.
    let after_name = stat
        .rsplit_once(") ")
        .ok_or("no command name in /proc/PID/stat")?
        .1;
    let fields = after_name.split(' ').skip(11).take(count);
    Ok(fields.map(str::parse).collect::<Result<_, _>>()?)
}

fn kibibytes(text: &str, field: &str) -> Outcome<f64> {
    let line = text.lines().find_map(|line| line.strip_prefix(field));
    let value = line
        .and_then(|rest| rest.split_whitespace().next())
        .ok_or("field not found")?;
    Ok(value.parse::<f64>()? * 1024.0)
}
