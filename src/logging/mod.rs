//! Log output: the subscriber that the binary installs.
//!
//! The server emits [`tracing`] events and never prints. This module turns them into the lines that nats-server
//! writes (`[PID] 2026/11/22 17:18:23.159490 [INF] message`), or into JSON objects, and brings them to stderr, to
//! a file with rotation, or to a syslog server. One thread owns the destination; a bounded queue stands before it,
//! so that a pipe nobody reads can cost lines but never the server's progress.
//!
//! # What an event may carry
//! * its level: `INFO` is `[INF]`, `WARN` `[WRN]`, `ERROR` `[ERR]`, `DEBUG` `[DBG]`, `TRACE` `[TRC]`;
//! * `fatal = true` on an `ERROR`: `[FTL]`;
//! * `system_account = true` on a `TRACE`: shown only with `trace_verbose`;
//! * any other field: part of JSON lines, absent from text lines.
//!
//! A library user who wants these lines calls [`install`], or composes [`layer()`] with layers of their own; the
//! server itself never installs a subscriber.

mod clock;
mod file;
mod layer;
mod queue;
mod render;
mod sink;
mod syslog;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use std::{error, fmt, io};

use tracing_subscriber::layer::SubscriberExt as _;

pub use layer::LogLayer;

use layer::Levels;
use queue::Producer;
use render::{Renderer, Severity};

/// What to log, in which form and where to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogOptions {
    /// Where the lines go.
    pub destination: Destination,
    /// Text lines or JSON lines.
    pub format: LogFormat,
    /// Whether a line starts with the time (`logtime`). Syslog lines always do.
    pub timestamps: bool,
    /// Whether the time is UTC instead of the local time (`logtime_utc`).
    pub utc: bool,
    /// Whether `DEBUG` events are shown.
    pub debug: bool,
    /// Whether `TRACE` events are shown, except those of the system account.
    pub trace: bool,
    /// Whether all `TRACE` events are shown; implies `trace`.
    pub trace_verbose: bool,
}

impl Default for LogOptions {
    /// Text lines with local time on stderr, without debug and trace: what nats-server does when told nothing.
    fn default() -> Self {
        Self {
            destination: Destination::Stderr,
            format: LogFormat::Text,
            timestamps: true,
            utc: false,
            debug: false,
            trace: false,
            trace_verbose: false,
        }
    }
}

/// Where log lines go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Destination {
    /// Standard error; labels are coloured if it is a terminal.
    Stderr,
    /// A file that is appended to, created with mode 0640 if absent.
    File {
        /// Path of the log file.
        path: PathBuf,
        /// Size in bytes above which the file is renamed to a backup and begun anew; 0 means never.
        size_limit: u64,
        /// How many files to keep, the current one included; older backups are deleted. 0 means all.
        max_files: usize,
    },
    /// The syslog daemon of this machine, facility `daemon`.
    Syslog {
        /// Socket of the daemon; `None` tries the usual places (`/dev/log` first).
        socket: Option<PathBuf>,
    },
    /// A syslog server: `udp://host:port`, `tcp://host:port` or `unix:///path`.
    RemoteSyslog {
        /// The server's URL.
        url: String,
    },
}

/// The form of a line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LogFormat {
    /// The lines of nats-server: process id, time, label, message.
    #[default]
    Text,
    /// One JSON object per line: `time`, `level`, `pid`, `message`, then the fields of the event.
    Json,
}

/// Why logging could not start or change. The texts are nats-server's where it has one.
#[derive(Debug)]
pub enum LogError {
    /// The log file could not be opened.
    File(PathBuf, io::Error),
    /// The syslog server could not be reached; holds the operation that failed.
    Syslog(String),
    /// The URL of the syslog server does not name a known network.
    SyslogUrl(String),
    /// The writer thread could not start.
    Thread(io::Error),
    /// The process already has a global subscriber.
    AlreadyInstalled,
}

impl fmt::Display for LogError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path, error) => {
                let cause = crate::process::os_error_text(error);
                write!(f, "error opening file: open {}: {cause}", path.display())
            }
            Self::Syslog(cause) => write!(f, "error connecting to syslog: {cause:?}"),
            Self::SyslogUrl(scheme) => write!(f, "error invalid network type: {scheme:?}"),
            Self::Thread(error) => write!(f, "error starting the log writer: {error}"),
            Self::AlreadyInstalled => f.write_str("a log subscriber is already installed"),
        }
    }
}

impl error::Error for LogError {}

/// Starts logging for the whole process.
///
/// # Errors
/// If the destination cannot be opened, or if a global subscriber is already there.
pub fn install(options: &LogOptions) -> Result<LogHandle, LogError> {
    let (layer, handle) = layer(options)?;
    let subscriber = tracing_subscriber::registry().with(layer);
    tracing::subscriber::set_global_default(subscriber).map_err(|_| LogError::AlreadyInstalled)?;
    Ok(handle)
}

/// Opens the destination and returns the layer that writes to it, for use within a subscriber of the caller's,
/// and the handle that controls it.
///
/// # Errors
/// If the destination cannot be opened or the writer thread not started.
pub fn layer(options: &LogOptions) -> Result<(LogLayer, LogHandle), LogError> {
    let renderer = Renderer::new(options);
    let sink = sink::open(options, &renderer)?;
    let levels = Arc::new(Levels::new(options));
    let producer = Producer::start(sink, renderer).map_err(LogError::Thread)?;
    let handle = LogHandle {
        producer: producer.clone(),
        levels: Arc::clone(&levels),
    };
    handle.rotate_oversized(options);
    Ok((LogLayer::new(producer, levels), handle))
}

/// Log output that could be switched to; its destination is open.
pub struct PreparedLog {
    options: LogOptions,
    sink: Box<dyn sink::Sink>,
    renderer: Renderer,
}

impl fmt::Debug for PreparedLog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PreparedLog")
            .field("options", &self.options)
            .finish_non_exhaustive()
    }
}

impl PreparedLog {
    /// Opens the destination.
    ///
    /// # Errors
    /// If it cannot be opened.
    pub fn open(options: &LogOptions) -> Result<Self, LogError> {
        let renderer = Renderer::new(options);
        Ok(Self {
            sink: sink::open(options, &renderer)?,
            options: options.clone(),
            renderer,
        })
    }
}

/// Controls running log output; clones control the same output.
#[derive(Clone, Debug)]
pub struct LogHandle {
    producer: Producer,
    levels: Arc<Levels>,
}

impl LogHandle {
    /// Turns debug and trace output on or off; `trace_verbose` implies `trace`.
    pub fn set_levels(&self, debug: bool, trace: bool, trace_verbose: bool) {
        self.levels.set(debug, trace, trace_verbose);
        tracing::callsite::rebuild_interest_cache();
    }

    /// Changes destination, form and levels. Lines logged before go to the old destination.
    ///
    /// # Errors
    /// If the new destination cannot be opened; everything then stays as it was.
    pub fn apply(&self, options: &LogOptions) -> Result<(), LogError> {
        self.switch(PreparedLog::open(options)?);
        Ok(())
    }

    /// The same with a destination that is open already.
    pub fn switch(&self, prepared: PreparedLog) {
        let PreparedLog {
            options,
            sink,
            renderer,
        } = prepared;
        self.producer.replace(sink, renderer);
        self.rotate_oversized(&options);
        self.set_levels(options.debug, options.trace, options.trace_verbose);
    }

    /// Opens the log file anew, as after `SIGUSR1`, so that a tool may rename it. Writes the outcome to the log.
    ///
    /// `options` are those in force. Where the file cannot be opened the old one stays in use.
    pub fn reopen(&self, options: &LogOptions) {
        let Destination::File { .. } = options.destination else {
            let note = "File log re-open ignored, not a file logger";
            return self.producer.line(Severity::Info, note);
        };
        let renderer = Renderer::new(options);
        match sink::open(options, &renderer) {
            Ok(sink) => {
                self.producer.replace(sink, renderer);
                self.rotate_oversized(options);
                self.producer.line(Severity::Info, "File log re-opened");
            }
            Err(error) => {
                let note = format!("File log re-open failed, the old file stays in use: {error}");
                self.producer.line(Severity::Error, &note);
            }
        }
    }

    /// Waits until every line logged so far has been handed to the destination, at most for `patience`; false if
    /// the destination did not take them in time. Call it before the process exits.
    #[must_use]
    pub fn flush(&self, patience: Duration) -> bool {
        self.producer.flush(patience)
    }

    /// Number of lines lost so far because the destination did not take them.
    #[must_use]
    pub fn lost_lines(&self) -> u64 {
        self.producer.lost_lines()
    }

    /// Writes the line that makes a file rotate which is over its limit from the start.
    fn rotate_oversized(&self, options: &LogOptions) {
        if let Destination::File {
            path, size_limit, ..
        } = &options.destination
            && *size_limit > 0
            && std::fs::metadata(path).is_ok_and(|file| file.len() > *size_limit)
        {
            self.producer.line(Severity::Info, "Rotating logfile...");
        }
    }
}
