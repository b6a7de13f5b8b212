//! Where lines go: standard error, a file, a syslog server.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::AsFd as _;
use std::thread;
use std::time::Duration;

use super::render::Renderer;
use super::{Destination, LogError, LogOptions, file, syslog};

/// Pause before the next attempt to write to a full pipe that somebody made non-blocking. Only the writer thread
/// waits, and only as long as the pipe is full.
const FULL_PIPE_PAUSE: Duration = Duration::from_millis(10);

/// A destination, owned by the writer thread, which may block in it.
pub(super) trait Sink: Send {
    /// Writes whole lines; `ends` are the offsets in `text` behind each of them, in order. Returns how many
    /// lines were lost.
    fn write(&mut self, text: &[u8], ends: &[usize]) -> u64;
}

/// Opens the destination that the options name.
pub(super) fn open(options: &LogOptions, renderer: &Renderer) -> Result<Box<dyn Sink>, LogError> {
    Ok(match &options.destination {
        Destination::Stderr => Box::new(StandardError::open().map_err(LogError::Thread)?),
        Destination::File {
            path,
            size_limit,
            max_files,
        } => {
            let file = file::LogFile::open(path, *size_limit, *max_files, renderer.clone());
            Box::new(file.map_err(|error| LogError::File(path.clone(), error))?)
        }
        Destination::Syslog { socket } => Box::new(syslog::Syslog::local(socket.as_deref())?),
        Destination::RemoteSyslog { url } => Box::new(syslog::Syslog::remote(url)?),
    })
}

/// Standard error by a descriptor of its own: a blocked write must not hold the lock of [`std::io::stderr`], on
/// which a panic message of another thread would then wait.
struct StandardError(File);

impl StandardError {
    fn open() -> io::Result<Self> {
        io::stderr()
            .as_fd()
            .try_clone_to_owned()
            .map(|descriptor| Self(File::from(descriptor)))
    }
}

impl Sink for StandardError {
    fn write(&mut self, text: &[u8], ends: &[usize]) -> u64 {
        let mut rest = text;
        while !rest.is_empty() {
            match self.0.write(rest) {
                Ok(written) => rest = rest.get(written..).unwrap_or_default(),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    thread::sleep(FULL_PIPE_PAUSE);
                }
                Err(_) => break,
            }
        }
        let written = text.len() - rest.len();
        ends.iter().filter(|&&end| end > written).count() as u64
    }
}
