//! The halves of an established connection: they behave as those of a plain socket.
//!
//! Nothing is buffered for an idle connection except the rest of a record that has not arrived whole. Received
//! bytes pass through one buffer per thread. Sent bytes are sealed and written at once; what the socket does not
//! take is kept sealed, and the same plain bytes must be offered again until they are reported as written.

use std::cell::RefCell;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};

use rustix::net::{Shutdown, shutdown};
use tokio::io::{AsyncRead, ReadBuf};
use tokio::net::TcpStream;

use super::session::Session;
use crate::conn::transport::{Receiver, Sender};

/// The buffer through which a thread's connections receive, in bytes: four records.
const RECEIVE_BUFFER: usize = 64 * 1024;

/// Plain bytes that are sealed before the socket is asked to take them: enough for one write, and little to keep
/// if it takes none.
const SEAL_AT_ONCE: usize = 64 * 1024;

thread_local! {
    static RECEIVED: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
    static GATHERED: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
    static SEALED: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

#[derive(Debug)]
struct Shared {
    socket: TcpStream,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    session: Session,
    /// The rest of a record that has not arrived whole.
    partial: Vec<u8>,
    /// Plain bytes for which the reader had no room, from this place on.
    surplus: Vec<u8>,
    surplus_read: usize,
    /// Nothing more will be received.
    ended: bool,
    /// Sealed bytes that the socket has not taken, from this place on.
    sealed: Vec<u8>,
    sealed_sent: usize,
    /// Plain bytes that are in `sealed` and were not reported as written.
    unreported: usize,
    closing: bool,
}

/// The receiving half.
#[derive(Debug)]
pub struct TlsReadHalf(Arc<Shared>);

/// The sending half.
#[derive(Debug)]
pub struct TlsWriteHalf(Arc<Shared>);

/// Makes halves of a socket and its session; `partial` and `surplus` were received during the handshake.
pub(super) fn split(
    socket: TcpStream,
    session: Session,
    partial: Vec<u8>,
    surplus: Vec<u8>,
) -> (TlsReadHalf, TlsWriteHalf) {
    let state = State {
        ended: session.peer_closed(),
        session,
        partial,
        surplus,
        surplus_read: 0,
        sealed: Vec::new(),
        sealed_sent: 0,
        unreported: 0,
        closing: false,
    };
    let shared = Arc::new(Shared {
        socket,
        state: Mutex::new(state),
    });
    (TlsReadHalf(Arc::clone(&shared)), TlsWriteHalf(shared))
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl AsyncRead for TlsReadHalf {
    /// Reads plain bytes; nothing read is the end, announced by the peer or not.
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let Shared { socket, .. } = &*self.0;
        let before = buffer.filled().len();
        loop {
            {
                let mut state = self.0.lock();
                state.take_surplus(buffer);
                if buffer.filled().len() > before || state.ended || buffer.remaining() == 0 {
                    return Poll::Ready(Ok(()));
                }
            }
            ready!(socket.poll_read_ready(context))?;
            match self.0.lock().receive(socket, buffer) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                outcome => outcome?,
            }
        }
    }
}

impl Receiver for TlsReadHalf {}

impl Sender for TlsWriteHalf {
    fn try_write(&self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        let Shared { socket, .. } = &*self.0;
        let mut state = self.0.lock();
        state.flush(socket)?;
        let mut written = std::mem::take(&mut state.unreported);
        loop {
            match SEALED.with_borrow_mut(|sealed| state.send_next(socket, slices, written, sealed))
            {
                Ok(0) => return Ok(written),
                Ok(sent) => written += sent,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock && written > 0 => {
                    return Ok(written);
                }
                Err(error) => return Err(error),
            }
        }
    }

    fn poll_writable(&self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.0.socket.poll_write_ready(context)
    }

    /// Sends the notice that TLS has for it, then closes this direction of the socket.
    fn poll_shutdown(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Shared { socket, .. } = &*self.0;
        loop {
            let flushed = {
                let mut state = self.0.lock();
                state.announce_end();
                state.flush(socket)
            };
            match flushed {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    ready!(socket.poll_write_ready(context))?;
                }
                Err(error) => return Poll::Ready(Err(error)),
                Ok(()) => {
                    return Poll::Ready(shutdown(socket, Shutdown::Write).map_err(Into::into));
                }
            }
        }
    }
}

impl State {
    fn take_surplus(&mut self, buffer: &mut ReadBuf<'_>) {
        let rest = self.surplus.get(self.surplus_read..).unwrap_or_default();
        let (taken, left) = rest.split_at(rest.len().min(buffer.remaining()));
        buffer.put_slice(taken);
        if left.is_empty() {
            (self.surplus, self.surplus_read) = (Vec::new(), 0);
        } else {
            self.surplus_read += taken.len();
        }
    }

    /// One read of the socket, and what it brings.
    fn receive(&mut self, socket: &TcpStream, buffer: &mut ReadBuf<'_>) -> io::Result<()> {
        RECEIVED.with_borrow_mut(|received| {
            received.resize(RECEIVE_BUFFER, 0);
            let start = self.partial.len();
            let (head, room) = received.split_at_mut_checked(start).ok_or_else(oversized)?;
            head.copy_from_slice(&self.partial);
            // What the reader has no room for would be kept.
            let most = room.len().min(buffer.remaining());
            let room = room.get_mut(..most).unwrap_or_default();
            let read = socket.try_read(room)?;
            if read == 0 {
                self.ended = true;
                return Ok(());
            }
            let received = received.get_mut(..start + read).unwrap_or_default();
            self.open(received, buffer)
        })
    }

    fn open(&mut self, received: &mut [u8], buffer: &mut ReadBuf<'_>) -> io::Result<()> {
        let Self {
            session,
            surplus,
            sealed,
            ..
        } = self;
        let mut deliver = |plain: &[u8]| {
            let direct = if surplus.is_empty() {
                plain.len().min(buffer.remaining())
            } else {
                0
            };
            let (now, later) = plain.split_at(direct);
            buffer.put_slice(now);
            surplus.extend_from_slice(later);
        };
        let outcome = session.receive(received, &mut deliver, sealed);
        self.ended = outcome.is_err() || self.session.peer_closed();
        let done = outcome.map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
        let rest = received.get(done..).unwrap_or_default();
        // Of an idle connection nothing is kept, not even an empty buffer.
        self.partial = rest.to_vec();
        Ok(())
    }

    /// Seals and sends the next plain bytes behind the first `skipped`; returns how many. Keeps what the socket
    /// does not take.
    fn send_next(
        &mut self,
        socket: &TcpStream,
        slices: &[IoSlice<'_>],
        skipped: usize,
        sealed: &mut Vec<u8>,
    ) -> io::Result<usize> {
        sealed.clear();
        let count = self.seal_next(slices, skipped, sealed)?;
        let mut sent = 0;
        let outcome = send(socket, sealed, &mut sent);
        if would_block(&outcome) {
            self.sealed = sealed.get(sent..).unwrap_or_default().to_vec();
            self.unreported = count;
        }
        outcome.map(|()| count)
    }

    /// Seals the next plain bytes behind the first `skipped`; returns how many.
    fn seal_next(
        &mut self,
        slices: &[IoSlice<'_>],
        skipped: usize,
        sealed: &mut Vec<u8>,
    ) -> io::Result<usize> {
        let mut skip = skipped;
        let mut rest = slices.iter().filter_map(|slice| {
            let dropped = skip.min(slice.len());
            skip -= dropped;
            slice.get(dropped..).filter(|slice| !slice.is_empty())
        });
        let Some(first) = rest.next() else {
            return Ok(0);
        };
        let mut seal = |plain: &[u8]| {
            let plain = plain.get(..SEAL_AT_ONCE).unwrap_or(plain);
            let outcome = self.session.seal(&mut self.partial, plain, sealed);
            outcome.map(|()| plain.len()).map_err(io::Error::other)
        };
        let Some(second) = rest.next().filter(|_| first.len() < SEAL_AT_ONCE) else {
            return seal(first);
        };
        GATHERED.with_borrow_mut(|gathered| {
            gathered.clear();
            for slice in [first, second].into_iter().chain(rest) {
                let room = SEAL_AT_ONCE - gathered.len();
                gathered.extend_from_slice(slice.get(..room).unwrap_or(slice));
                if gathered.len() == SEAL_AT_ONCE {
                    break;
                }
            }
            seal(gathered)
        })
    }

    /// Sends the sealed bytes that were kept, or says `WouldBlock`.
    fn flush(&mut self, socket: &TcpStream) -> io::Result<()> {
        let outcome = send(socket, &self.sealed, &mut self.sealed_sent);
        if !would_block(&outcome) {
            (self.sealed, self.sealed_sent) = (Vec::new(), 0);
        }
        outcome
    }

    fn announce_end(&mut self) {
        if !self.closing {
            self.closing = true;
            self.session.close(&mut self.partial, &mut self.sealed);
        }
    }
}

/// Sends bytes from the place `sent` on, and moves it.
fn send(socket: &TcpStream, bytes: &[u8], sent: &mut usize) -> io::Result<()> {
    while let Some(rest) = bytes.get(*sent..).filter(|rest| !rest.is_empty()) {
        match socket.try_write(rest) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(count) => *sent += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

fn would_block(outcome: &io::Result<()>) -> bool {
    outcome
        .as_ref()
        .is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock)
}

fn oversized() -> io::Error {
    io::Error::new(
        io::ErrorKind::InvalidData,
        "a TLS record of more than its greatest length",
    )
}
