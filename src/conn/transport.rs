//! How a connection's bytes move: the two halves of its socket.

use std::fmt;
use std::io::{self, IoSlice};
use std::os::fd::AsFd;
use std::pin::Pin;
use std::sync::{Mutex, PoisonError};
use std::task::{Context, Poll};

use rustix::io::Errno;
use rustix::net::SendFlags;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UnixStream, tcp, unix};
use tokio::sync::Notify;

use super::compression::{CompressedReceiver, CompressedSender, Level};
use crate::broker::peer::Wire;

/// The receiving half.
#[derive(Debug)]
pub enum ReadHalf {
    /// Plain TCP.
    Tcp(tcp::OwnedReadHalf),
    /// A Unix socket.
    Unix(unix::OwnedReadHalf),
    /// Something between the socket and the connection, such as TLS.
    Layered(Box<dyn Receiver>),
}

/// The sending half.
#[derive(Debug)]
pub enum WriteHalf {
    /// Plain TCP.
    Tcp(tcp::OwnedWriteHalf),
    /// A Unix socket.
    Unix(unix::OwnedWriteHalf),
    /// Something between the connection and the socket, such as TLS.
    Layered(Box<dyn Sender>),
}

/// A receiving half of another layer.
pub trait Receiver: AsyncRead + fmt::Debug + Send + Unpin {}

impl Receiver for tokio::io::Empty {}

/// A sending half of another layer.
pub trait Sender: fmt::Debug + Send {
    /// Sends as much as fits without waiting; how many of the bytes need not be offered again.
    ///
    /// # Errors
    /// `WouldBlock` when nothing fits: the same bytes are then offered again, possibly with more behind them.
    /// Anything else means that the connection is broken.
    fn try_write(&self, slices: &[IoSlice<'_>]) -> io::Result<usize>;

    /// Ready when bytes can be sent again, or the connection is broken.
    fn poll_writable(&self, context: &mut Context<'_>) -> Poll<io::Result<()>>;

    /// Tells the peer that nothing more will be sent.
    fn poll_shutdown(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>>;

    /// Changes how much is compressed, where anything is.
    fn set_level(&self, _level: Level) {}
}

impl ReadHalf {
    /// A half from which nothing comes.
    #[must_use]
    pub fn closed() -> Self {
        Self::Layered(Box::new(tokio::io::empty()))
    }

    /// The same half, of which everything that comes is compressed. `received` was read already.
    #[must_use]
    pub fn decompressed(self, received: &[u8]) -> Self {
        Self::Layered(Box::new(CompressedReceiver::new(self, received)))
    }
}

/// Takes a TCP stream apart.
#[must_use]
pub fn split_tcp(stream: TcpStream) -> (ReadHalf, WriteHalf) {
    let (read, write) = stream.into_split();
    (ReadHalf::Tcp(read), WriteHalf::Tcp(write))
}

/// Takes a stream of a Unix socket apart.
#[must_use]
pub fn split_unix(stream: UnixStream) -> (ReadHalf, WriteHalf) {
    let (read, write) = stream.into_split();
    (ReadHalf::Unix(read), WriteHalf::Unix(write))
}

impl AsyncRead for ReadHalf {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(half) => Pin::new(half).poll_read(context, buffer),
            Self::Unix(half) => Pin::new(half).poll_read(context, buffer),
            Self::Layered(half) => Pin::new(half).poll_read(context, buffer),
        }
    }
}

impl WriteHalf {
    pub(super) fn try_write(&self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        match (self, slices) {
            // The kernel has less to do for one slice that is not in a list.
            (Self::Tcp(half), [only]) => {
                send_now(half.as_ref(), only).unwrap_or_else(|| half.try_write(only))
            }
            (Self::Unix(half), [only]) => {
                send_now(half.as_ref(), only).unwrap_or_else(|| half.try_write(only))
            }
            (Self::Tcp(half), _) => half.try_write_vectored(slices),
            (Self::Unix(half), _) => half.try_write_vectored(slices),
            (Self::Layered(half), _) => half.try_write(slices),
        }
    }

    pub(super) fn poll_writable(&self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Tcp(half) => half.as_ref().poll_write_ready(context),
            Self::Unix(half) => half.as_ref().poll_write_ready(context),
            Self::Layered(half) => half.poll_writable(context),
        }
    }

    pub(super) fn poll_shutdown(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Tcp(half) => Pin::new(half).poll_shutdown(context),
            Self::Unix(half) => Pin::new(half).poll_shutdown(context),
            Self::Layered(half) => half.poll_shutdown(context),
        }
    }
}

/// A broken socket is an error and no signal: there the runtime has seen to that for all its sockets.
#[cfg(target_vendor = "apple")]
const SEND_FLAGS: SendFlags = SendFlags::empty();
#[cfg(not(target_vendor = "apple"))]
const SEND_FLAGS: SendFlags = SendFlags::NOSIGNAL;

/// Sends without asking the runtime whether the socket takes bytes, which of a new one it does not know yet: it would have
/// the greeting wait until it has heard of it. Nothing when the socket takes none: the runtime is to learn of that.
fn send_now(socket: impl AsFd, bytes: &[u8]) -> Option<io::Result<usize>> {
    match rustix::net::send(socket, bytes, SEND_FLAGS) {
        Ok(count) => Some(Ok(count)),
        Err(Errno::AGAIN) => None,
        Err(error) => Some(Err(error.into())),
    }
}

/// What a [`crate::broker::peer::Peer`] sends through, shared with the connection's own task.
///
/// The half is taken out when the connection ends: handles of the peer may live on in match caches,
/// and must not keep the socket open.
#[derive(Debug)]
pub struct SocketWire {
    half: Mutex<Option<WriteHalf>>,
    control: Notify,
}

impl SocketWire {
    /// A wire that is [attached](Self::attach) to a half later; until then it is to be sent nothing.
    #[must_use]
    pub fn detached() -> Self {
        Self {
            half: Mutex::new(None),
            control: Notify::new(),
        }
    }

    /// From now on the wire sends through `half`.
    pub fn attach(&self, half: WriteHalf) {
        *self.half.lock().unwrap_or_else(PoisonError::into_inner) = Some(half);
    }

    /// From now on what is sent is compressed. Everything before must have been sent.
    pub fn compress(&self, level: Level) {
        let mut half = self.half.lock().unwrap_or_else(PoisonError::into_inner);
        *half = half
            .take()
            .map(|inner| WriteHalf::Layered(Box::new(CompressedSender::new(inner, level))));
    }

    /// Compresses more or less from now on.
    pub fn set_level(&self, level: Level) {
        self.with_half(|half| {
            if let WriteHalf::Layered(half) = half {
                half.set_level(level);
            }
        });
    }

    fn with_half<T>(&self, use_half: impl FnOnce(&mut WriteHalf) -> T) -> Option<T> {
        self.half
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .as_mut()
            .map(use_half)
    }

    /// Resolves when somebody called [`Wire::wake`].
    pub async fn control(&self) {
        self.control.notified().await;
    }

    /// Ready when the socket takes bytes again, or is broken, or gone: a write tells which.
    pub fn poll_writable(&self, context: &mut Context<'_>) -> Poll<()> {
        match self.with_half(|half| half.poll_writable(context)) {
            Some(poll) => poll.map(|_| ()),
            None => Poll::Ready(()),
        }
    }

    /// Tells the peer that nothing more will be sent.
    pub fn poll_shutdown(&self, context: &mut Context<'_>) -> Poll<()> {
        match self.with_half(|half| half.poll_shutdown(context)) {
            Some(poll) => poll.map(|_| ()),
            None => Poll::Ready(()),
        }
    }

    /// Gives the socket up.
    pub fn take(&self) -> Option<WriteHalf> {
        self.half
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take()
    }
}

/// The handle that goes into a peer.
#[derive(Debug, Clone)]
pub struct SharedWire(pub std::sync::Arc<SocketWire>);

impl Wire for SharedWire {
    fn try_write(&self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        let sent = self.0.with_half(|half| half.try_write(slices));
        sent.unwrap_or_else(|| Err(io::ErrorKind::NotConnected.into()))
    }

    fn wake(&self) {
        self.0.control.notify_one();
    }
}
