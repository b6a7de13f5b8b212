//! The wire of a connection within the process: bytes that others leave, until they are taken.

use std::fmt;
use std::io::{self, IoSlice};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use crate::broker::peer::Wire;

/// Bytes that the pipe takes before they are read; more wait where those for a socket would.
const CAPACITY: usize = 1024 * 1024;

/// Bytes on their way to a connection within the process.
#[derive(Default)]
pub(super) struct Pipe {
    bytes: Mutex<Vec<u8>>,
    changed: Notify,
}

impl fmt::Debug for Pipe {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Pipe").finish_non_exhaustive()
    }
}

impl Pipe {
    fn lock(&self) -> MutexGuard<'_, Vec<u8>> {
        self.bytes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts what has come behind what is in `into` already.
    pub(super) fn take(&self, into: &mut Vec<u8>) {
        let mut bytes = self.lock();
        if into.is_empty() {
            std::mem::swap(into, &mut bytes);
        } else {
            into.append(&mut bytes);
        }
    }

    /// Resolves when something may have come, or the connection has to be looked after.
    pub(super) async fn changed(&self) {
        self.changed.notified().await;
    }
}

/// The handle that goes into a peer.
#[derive(Debug)]
pub(super) struct PipeWire(pub(super) Arc<Pipe>);

impl Wire for PipeWire {
    fn try_write(&self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        let mut bytes = self.0.lock();
        if bytes.len() >= CAPACITY {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let before = bytes.len();
        slices
            .iter()
            .for_each(|slice| bytes.extend_from_slice(slice));
        let written = bytes.len() - before;
        drop(bytes);
        self.0.changed.notify_one();
        Ok(written)
    }

    fn wake(&self) {
        self.0.changed.notify_one();
    }
}
