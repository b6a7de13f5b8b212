//! A TLS session between buffers, without a socket: what comes in, what it means, what goes out.

use std::fmt;
use std::sync::Arc;

use rustls::server::{ServerConnectionData, UnbufferedServerConnection};
use rustls::unbuffered::{
    ConnectionState, EncodeError, EncryptError, UnbufferedStatus, WriteTraffic,
};
use rustls::{Error, ServerConfig};

/// Plain bytes in one TLS record at most (RFC 8446, section 5.1).
pub(super) const RECORD_LIMIT: usize = 16 * 1024;

/// What a record adds to its plain bytes at most: header, type, nonce and authentication tag.
const RECORD_OVERHEAD: usize = 64;

/// The server's side of a session.
pub(super) struct Session {
    connection: UnbufferedServerConnection,
    peer_closed: bool,
    /// The peer broke the protocol: the library must not be asked again.
    failed: bool,
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session")
            .field("peer_closed", &self.peer_closed)
            .finish_non_exhaustive()
    }
}

impl Session {
    pub(super) fn new(config: Arc<ServerConfig>) -> Result<Self, Error> {
        let connection = UnbufferedServerConnection::new(config)?;
        Ok(Self {
            connection,
            peer_closed: false,
            failed: false,
        })
    }

    pub(super) fn connection(&self) -> &UnbufferedServerConnection {
        &self.connection
    }

    /// Whether the peer has said that it sends nothing more.
    pub(super) fn peer_closed(&self) -> bool {
        self.peer_closed
    }

    /// Takes received bytes in. Hands plain bytes to `plain`, appends what must be sent to `out`, and returns how
    /// many of the received bytes are done with; the others are to be presented again, with more behind them, and to
    /// [`seal`](Self::seal) and [`close`](Self::close) meanwhile: the library keeps places in them.
    ///
    /// # Errors
    /// If the peer breaks the protocol; `out` then holds the alert that tells it, and the session is over.
    pub(super) fn receive(
        &mut self,
        received: &mut [u8],
        plain: &mut dyn FnMut(&[u8]),
        out: &mut Vec<u8>,
    ) -> Result<usize, Error> {
        self.refuse_failed()?;
        let mut done = 0;
        loop {
            let rest = received.get_mut(done..).unwrap_or_default();
            let (discard, outcome) = self.step(rest, plain, out);
            done += discard;
            match outcome {
                Ok(true) => {}
                Ok(false) => return Ok(done),
                Err(error) => {
                    // The alert comes out next, before the library looks at the bytes again, which it must not
                    // a second time.
                    let rest = received.get_mut(done..).unwrap_or_default();
                    let (_, _told) = self.step(rest, plain, out);
                    self.failed = true;
                    return Err(error);
                }
            }
        }
    }

    /// Appends sealed bytes to `out`. `partial` are the received bytes that are not done with.
    ///
    /// # Errors
    /// If the session has no keys yet or no more.
    pub(super) fn seal(
        &mut self,
        partial: &mut [u8],
        plain: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<(), Error> {
        let mut traffic = self.traffic(partial, out)?;
        let records = plain.len() / RECORD_LIMIT + 1;
        let start = out.len();
        out.resize(start + plain.len() + records * RECORD_OVERHEAD, 0);
        let room = out.get_mut(start..).unwrap_or_default();
        match traffic.encrypt(plain, room) {
            Ok(written) => out.truncate(start + written),
            Err(error) => {
                out.truncate(start);
                return Err(Error::General(error.to_string()));
            }
        }
        Ok(())
    }

    /// Appends the notice that nothing more will be sent. Without effect before the handshake is done. `partial` as
    /// for [`seal`](Self::seal).
    pub(super) fn close(&mut self, partial: &mut [u8], out: &mut Vec<u8>) {
        if let Ok(mut traffic) = self.traffic(partial, out) {
            let start = out.len();
            out.resize(start + 2 * RECORD_OVERHEAD, 0);
            let written: Result<usize, EncryptError> =
                traffic.queue_close_notify(out.get_mut(start..).unwrap_or_default());
            out.truncate(start + written.unwrap_or_default());
        }
    }

    /// What seals, once everything that the library wants to send besides is in `out`.
    fn traffic(
        &mut self,
        partial: &mut [u8],
        out: &mut Vec<u8>,
    ) -> Result<WriteTraffic<'_, ServerConnectionData>, Error> {
        self.refuse_failed()?;
        // All whole records were taken in when they came: nothing plain comes out, and nothing is done with.
        while let (0, Ok(true)) = self.step(partial, &mut |_| {}, out) {}
        let state = self.connection.process_tls_records(partial).state?;
        if let ConnectionState::WriteTraffic(traffic) = state {
            Ok(traffic)
        } else {
            Err(Error::HandshakeNotComplete)
        }
    }

    fn refuse_failed(&self) -> Result<(), Error> {
        if self.failed {
            return Err(Error::General("the TLS session has failed".into()));
        }
        Ok(())
    }

    /// One step of the library's state machine: how many received bytes are done with, and whether there is more
    /// to do without more of them.
    fn step(
        &mut self,
        received: &mut [u8],
        plain: &mut dyn FnMut(&[u8]),
        out: &mut Vec<u8>,
    ) -> (usize, Result<bool, Error>) {
        let UnbufferedStatus {
            mut discard, state, ..
        } = self.connection.process_tls_records(received);
        let state = match state {
            Ok(state) => state,
            Err(error) => return (discard, Err(error)),
        };
        let more = match state {
            ConnectionState::ReadTraffic(mut traffic) => {
                while let Some(record) = traffic.next_record() {
                    match record {
                        Ok(record) => {
                            discard += record.discard;
                            plain(record.payload);
                        }
                        Err(error) => return (discard, Err(error)),
                    }
                }
                Ok(true)
            }
            ConnectionState::EncodeTlsData(mut data) => {
                encode(|room| data.encode(room), out).map(|()| true)
            }
            ConnectionState::TransmitTlsData(data) => {
                data.done();
                Ok(true)
            }
            ConnectionState::PeerClosed => {
                self.peer_closed = true;
                Ok(true)
            }
            ConnectionState::Closed => {
                self.peer_closed = true;
                Ok(false)
            }
            ConnectionState::BlockedHandshake | ConnectionState::WriteTraffic(_) => Ok(false),
            // Early data is not offered, and there are no other states.
            ConnectionState::ReadEarlyData(_) | _ => {
                Err(Error::General("unexpected state of the TLS session".into()))
            }
        };
        (discard, more)
    }
}

/// Appends what the library encodes, which says how much room it needs.
fn encode(
    mut encode: impl FnMut(&mut [u8]) -> Result<usize, EncodeError>,
    out: &mut Vec<u8>,
) -> Result<(), Error> {
    let Err(EncodeError::InsufficientSize(size)) = encode(&mut []) else {
        return Ok(());
    };
    let start = out.len();
    out.resize(start + size.required_size, 0);
    let written = encode(out.get_mut(start..).unwrap_or_default())
        .map_err(|error| Error::General(error.to_string()))?;
    out.truncate(start + written);
    Ok(())
}
