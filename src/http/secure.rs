//! Monitoring over HTTPS: the handshake, and a connection as HTTP wants it.

use std::fmt;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use rustls::ServerConfig;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::conn::transport::Sender as _;
use crate::tls::{Established, HandshakeGate, TlsReadHalf, TlsWriteHalf};

/// What a handshake needs.
#[derive(Clone)]
pub struct Secured {
    /// The configuration in force, which asks for no certificates.
    pub config: Arc<ServerConfig>,
    /// Where handshakes are done.
    pub gate: Arc<HandshakeGate>,
    /// Time that a handshake may take.
    pub patience: Duration,
}

impl fmt::Debug for Secured {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Secured").finish_non_exhaustive()
    }
}

/// Both halves of a connection in one.
#[derive(Debug)]
pub(super) struct Stream {
    read: TlsReadHalf,
    write: TlsWriteHalf,
}

impl From<Established> for Stream {
    fn from(established: Established) -> Self {
        let (read, write) = established.split();
        Self { read, write }
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.read).poll_read(context, buffer)
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        loop {
            match self.write.try_write(&[IoSlice::new(bytes)]) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    ready!(self.write.poll_writable(context))?;
                }
                outcome => return Poll::Ready(outcome),
            }
        }
    }

    /// What was written is with the system already.
    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.write.poll_shutdown(context)
    }
}
