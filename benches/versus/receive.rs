//! Receivers: one blocking thread each, which counts messages by bytes and checks what they hold.

use std::io::Read as _;
use std::net::{Shutdown, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Instant;

use crate::Outcome;

const READ_SIZE: usize = 64 * 1024;
/// Whole frames are compared in runs of about this many bytes.
const PATTERN_SIZE: usize = 4096;
/// Beyond this a frame's contents are not compared: a client would not touch them either.
const COMPARE_LIMIT: usize = 2048;

/// What the messages of one receiver look like: all of one length, with a known beginning.
#[derive(Clone)]
pub(crate) struct Expectation {
    /// Bytes of one message with its control line.
    pub(crate) length: usize,
    head: Vec<u8>,
}

impl Expectation {
    /// Every message is exactly `frame`.
    pub(crate) fn exactly(frame: &[u8]) -> Self {
        let head = frame.get(..COMPARE_LIMIT).unwrap_or(frame).to_vec();
        Self {
            length: frame.len(),
            head,
        }
    }

    /// Every message is as long as `frame` and begins with the same `prefix` bytes.
    pub(crate) fn beginning(frame: &[u8], prefix: usize) -> Self {
        Self {
            length: frame.len(),
            head: frame.get(..prefix).unwrap_or(frame).to_vec(),
        }
    }
}

/// What one receiver has seen. Aligned so that two receivers never share a cache line.
#[repr(align(128))]
pub(crate) struct Tally {
    bytes: AtomicU64,
    last: AtomicU64,
    failure: Mutex<Option<String>>,
}

impl Tally {
    /// Bytes of messages received.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Acquire)
    }

    /// When the latest of them came, in nanoseconds since the receiver's epoch.
    pub(crate) fn last(&self) -> u64 {
        self.last.load(Ordering::Acquire)
    }

    /// What went wrong, if anything did.
    pub(crate) fn check(&self) -> Outcome<()> {
        let failure = self.failure.lock().unwrap_or_else(PoisonError::into_inner);
        failure
            .as_ref()
            .map_or(Ok(()), |text| Err(text.clone().into()))
    }
}

/// A receiving thread and its socket.
pub(crate) struct Receiver {
    stream: TcpStream,
    tally: Arc<Tally>,
    thread: Option<JoinHandle<()>>,
}

impl Receiver {
    /// Starts to read from a socket that has subscribed already. Times count from `epoch`.
    pub(crate) fn start(
        stream: TcpStream,
        expectation: &Expectation,
        epoch: Instant,
    ) -> Outcome<Self> {
        stream.set_read_timeout(None)?;
        let tally = Arc::new(Tally {
            bytes: AtomicU64::new(0),
            last: AtomicU64::new(0),
            failure: Mutex::new(None),
        });
        let (reading, counted) = (stream.try_clone()?, Arc::clone(&tally));
        let counter = FrameCounter::new(expectation);
        let thread = thread::Builder::new()
            .stack_size(128 * 1024)
            .spawn(move || receive(reading, counter, &counted, epoch))?;
        Ok(Self {
            stream,
            tally,
            thread: Some(thread),
        })
    }

    /// What it has seen.
    pub(crate) fn tally(&self) -> Arc<Tally> {
        Arc::clone(&self.tally)
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        // Ends the blocking read; an error means that the peer has closed already.
        drop(self.stream.shutdown(Shutdown::Both));
        if let Some(thread) = self.thread.take() {
            drop(thread.join());
        }
    }
}

fn receive(mut stream: TcpStream, mut counter: FrameCounter, tally: &Tally, epoch: Instant) {
    let mut buffer = vec![0_u8; READ_SIZE];
    let failure = loop {
        let count = match stream.read(&mut buffer) {
            Ok(0) => break "the server closed a receiver's connection".to_owned(),
            Ok(count) => count,
            Err(error) => break error.to_string(),
        };
        match counter.take(buffer.get(..count).unwrap_or_default()) {
            Ok(bytes) => {
                let now = u64::try_from(epoch.elapsed().as_nanos()).unwrap_or(u64::MAX);
                tally.last.store(now, Ordering::Release);
                tally.bytes.fetch_add(bytes, Ordering::Release);
            }
            Err(text) => break text,
        }
    };
    *tally.failure.lock().unwrap_or_else(PoisonError::into_inner) = Some(failure);
}

/// Splits a stream into messages of a known length and the few control lines between them.
pub(crate) struct FrameCounter {
    length: usize,
    head: Vec<u8>,
    /// Several whole frames; empty when only the beginning of a frame is known.
    pattern: Vec<u8>,
    /// Bytes of the current frame seen so far.
    at: usize,
    /// A control line that is not complete yet.
    control: Vec<u8>,
}

impl FrameCounter {
    pub(crate) fn new(expectation: &Expectation) -> Self {
        let whole = expectation.head.len() == expectation.length;
        let repeats = if whole {
            (PATTERN_SIZE / expectation.length).max(1)
        } else {
            0
        };
        Self {
            length: expectation.length,
            head: expectation.head.clone(),
            pattern: expectation.head.repeat(repeats),
            at: 0,
            control: Vec::with_capacity(1024),
        }
    }

    /// Takes what a read gave and returns how many bytes of it belong to messages.
    ///
    /// # Errors
    /// A message that differs from the expectation, and everything that is neither message nor
    /// PING nor INFO.
    pub(crate) fn take(&mut self, mut bytes: &[u8]) -> Result<u64, String> {
        let mut counted = 0;
        while let Some(&first) = bytes.first() {
            if !self.control.is_empty() || (self.at == 0 && self.head.first() != Some(&first)) {
                bytes = self.take_control(bytes)?;
                continue;
            }
            let whole = self.pattern.len();
            if self.at == 0
                && whole > 0
                && bytes.len() >= whole
                && let Some(rest) = bytes.strip_prefix(self.pattern.as_slice())
            {
                (counted, bytes) = (counted + whole as u64, rest);
                continue;
            }
            let (part, rest) = bytes.split_at(bytes.len().min(self.length - self.at));
            let known = self.head.get(self.at..).unwrap_or_default();
            let compared = known.len().min(part.len());
            if part.get(..compared) != known.get(..compared) {
                let text = String::from_utf8_lossy(part.get(..100).unwrap_or(part));
                return Err(format!(
                    "a message differs from what was published: {text:?}"
                ));
            }
            self.at = (self.at + part.len()) % self.length;
            counted += part.len() as u64;
            bytes = rest;
        }
        Ok(counted)
    }

    fn take_control<'a>(&mut self, bytes: &'a [u8]) -> Result<&'a [u8], String> {
        let end = bytes
            .iter()
            .position(|byte| *byte == b'\n')
            .map_or(bytes.len(), |index| index + 1);
        let (line, rest) = bytes.split_at(end);
        self.control.extend_from_slice(line);
        if self.control.ends_with(b"\n") {
            if !self.control.starts_with(b"PING") && !self.control.starts_with(b"INFO ") {
                return Err(format!(
                    "server says {:?}",
                    String::from_utf8_lossy(&self.control)
                ));
            }
            self.control.clear();
        }
        Ok(rest)
    }
}
