//! Handshakes on threads of their own, so many at a time and the others in a queue.
//!
//! A handshake costs between a tenth of a millisecond and several, against about a microsecond for a message. Done
//! where messages are routed, a thousand clients that reconnect would stop everybody else. Here they wait for each
//! other and for nobody else.

use std::fmt;
use std::io;
use std::num::NonZeroUsize;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use rustls::{InvalidMessage, ProtocolVersion, ServerConfig};
use tokio::io::Interest;
use tokio::net::TcpStream;
use tokio::sync::{Semaphore, SemaphorePermit, mpsc, oneshot};
use tokio::task::{JoinSet, LocalSet};
use tokio::time::timeout;

use super::session::Session;
use super::stream::{self, TlsReadHalf, TlsWriteHalf};
use super::suites::suite_name;
use crate::broker::security::TlsFacts;

/// Bytes of a handshake that are kept while it is incomplete: the longest handshake message and its records.
const HANDSHAKE_LIMIT: usize = 80 * 1024;

/// The same of one that is not among [`LARGE_HANDSHAKES`]: any first message, and common chains of certificates.
const USUAL_HANDSHAKE: usize = 20 * 1024;

/// Handshakes of more than [`USUAL_HANDSHAKE`] bytes that one thread keeps at a time, as only long chains of
/// certificates make them; and whoever wants to cost memory.
const LARGE_HANDSHAKES: usize = 128;

/// Bytes that a client may send behind its handshake before anybody reads them.
const SURPLUS_LIMIT: usize = 64 * 1024;

/// Bytes read from a socket at a time during a handshake.
const READ_SIZE: usize = 4 * 1024;

/// Handshakes that one thread works on at a time. Few, so that those begun are finished before others begin.
const TURNS: usize = 64;

/// How long a client may take for its answer before its turn passes to another; its handshake goes on. Short, so
/// that clients that begin and then stall do not keep others out.
const TURN_PATIENCE: Duration = Duration::from_millis(25);

/// How long a client that has begun waits for its turn at most.
const QUEUE_PATIENCE: Duration = Duration::from_secs(30);

/// How far a handshake thread stands back behind those that serve messages, where processors are scarce.
const NICENESS: i32 = 5;

/// Stack of a handshake thread in bytes.
const STACK_BYTES: usize = 512 * 1024;

/// How much the gate takes on.
#[derive(Clone, Copy, Debug)]
pub struct GateLimits {
    /// Threads that do handshakes.
    pub threads: NonZeroUsize,
    /// Unfinished handshakes on one thread, from the client's first byte on. Each holds some 20 KB.
    pub unfinished: usize,
    /// Connections that wait for a thread to look at them.
    pub queued: usize,
}

impl Default for GateLimits {
    /// One thread: enough for some thousand handshakes a second, and at most one processor for them.
    fn default() -> Self {
        Self {
            threads: NonZeroUsize::MIN,
            unfinished: 4096,
            queued: 16 * 1024,
        }
    }
}

/// Why a handshake came to nothing.
#[derive(Debug)]
pub enum HandshakeError {
    /// It took longer than it may.
    Timeout,
    /// The peer closed the connection before anything was done for it.
    Abandoned,
    /// The peer closed the connection in the middle.
    Closed,
    /// The socket failed.
    Socket(io::Error),
    /// The peer broke the protocol, has no certificate that is trusted, or shares no version or cipher. It was told
    /// so in an alert.
    Refused(rustls::Error),
    /// The peer sent more than a handshake may take.
    TooLong,
    /// Too many connections wait already.
    Busy,
}

impl fmt::Display for HandshakeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Timeout => f.write_str("TLS handshake timeout"),
            Self::Abandoned | Self::Closed => f.write_str("TLS handshake error: EOF"),
            Self::Socket(error) => write!(f, "TLS handshake error: {error}"),
            Self::Refused(rustls::Error::InvalidMessage(InvalidMessage::InvalidContentType)) => f
                .write_str(
                    "TLS handshake error: tls: first record does not look like a TLS handshake",
                ),
            Self::Refused(rustls::Error::NoCertificatesPresented) => {
                f.write_str("TLS handshake error: tls: client didn't provide a certificate")
            }
            Self::Refused(error) => write!(f, "TLS handshake error: {error}"),
            Self::TooLong => f.write_str("TLS handshake error: handshake too long"),
            Self::Busy => f.write_str("TLS handshake error: too many connections are waiting"),
        }
    }
}

impl std::error::Error for HandshakeError {}

impl HandshakeError {
    /// Whether the peer was a probe, a scanner or a plain client rather than one that tried and failed.
    #[must_use]
    pub fn is_probe(&self) -> bool {
        let no_tls = rustls::Error::InvalidMessage(InvalidMessage::InvalidContentType);
        match self {
            Self::Timeout | Self::Abandoned => true,
            Self::Refused(error) => *error == no_tls,
            Self::Closed | Self::Socket(_) | Self::TooLong | Self::Busy => false,
        }
    }
}

impl From<io::Error> for HandshakeError {
    fn from(error: io::Error) -> Self {
        if matches!(
            error.kind(),
            io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe
        ) {
            Self::Closed
        } else {
            Self::Socket(error)
        }
    }
}

/// A connection whose handshake is done.
#[derive(Debug)]
pub struct Established {
    socket: TcpStream,
    session: Session,
    partial: Vec<u8>,
    surplus: Vec<u8>,
}

impl Established {
    /// What was agreed upon.
    #[must_use]
    pub fn facts(&self) -> TlsFacts {
        let connection = self.session.connection();
        let version = match connection.protocol_version() {
            Some(ProtocolVersion::TLSv1_2) => "1.2",
            Some(ProtocolVersion::TLSv1_3) => "1.3",
            _ => "unknown",
        };
        let suite = connection.negotiated_cipher_suite();
        let certificates = connection.peer_certificates().unwrap_or_default();
        TlsFacts {
            version,
            cipher_suite: suite.map_or("unknown", |suite| suite_name(suite.suite())),
            peer_certificate: certificates
                .first()
                .map(|certificate| certificate.as_ref().into()),
            handshake_first: false,
        }
    }

    /// The halves to read and write with.
    #[must_use]
    pub fn split(self) -> (TlsReadHalf, TlsWriteHalf) {
        stream::split(self.socket, self.session, self.partial, self.surplus)
    }
}

/// What a handshake thread is asked.
struct Request {
    socket: std::net::TcpStream,
    config: Arc<ServerConfig>,
    timeout: Duration,
    answer: oneshot::Sender<Result<Finished, HandshakeError>>,
}

/// An [`Established`] connection on its way between threads.
struct Finished {
    socket: std::net::TcpStream,
    session: Session,
    partial: Vec<u8>,
    surplus: Vec<u8>,
}

/// The way to the handshake threads. They end when it is dropped and the last handshake is over.
#[derive(Debug)]
pub struct HandshakeGate {
    threads: Vec<mpsc::Sender<Request>>,
    next: AtomicUsize,
}

impl HandshakeGate {
    /// Starts the threads.
    ///
    /// # Errors
    /// If the system has no thread to give.
    pub fn start(limits: GateLimits) -> io::Result<Self> {
        let start = |number: usize| {
            let (sender, requests) = mpsc::channel(limits.queued.max(1));
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()?;
            thread::Builder::new()
                .name(format!("midge-tls-{number}"))
                .stack_size(STACK_BYTES)
                .spawn(move || {
                    // Of this thread alone. Where it is not allowed, all are equal.
                    let _ = rustix::process::nice(NICENESS);
                    let serve = serve(requests, limits.unfinished.max(1));
                    LocalSet::new().block_on(&runtime, serve);
                })?;
            Ok(sender)
        };
        let threads = (0..limits.threads.get())
            .map(start)
            .collect::<io::Result<_>>()?;
        Ok(Self {
            threads,
            next: AtomicUsize::new(0),
        })
    }

    /// Does a handshake as the server. `patience` is for the client: it counts while the client has not begun, and
    /// again from its turn on, but not while it waits for that.
    ///
    /// # Errors
    /// If there is no secure connection in the end; the socket is closed then.
    pub async fn handshake(
        &self,
        socket: TcpStream,
        config: Arc<ServerConfig>,
        patience: Duration,
    ) -> Result<Established, HandshakeError> {
        let place = self.next.fetch_add(1, Ordering::Relaxed) % self.threads.len().max(1);
        let thread = self.threads.get(place).ok_or(HandshakeError::Busy)?;
        let (answer, finished) = oneshot::channel();
        let request = Request {
            socket: socket.into_std()?,
            config,
            timeout: patience,
            answer,
        };
        thread.try_send(request).map_err(|_| HandshakeError::Busy)?;
        let finished = finished.await.map_err(|_| HandshakeError::Closed)??;
        let Finished {
            socket,
            session,
            partial,
            surplus,
        } = finished;
        Ok(Established {
            socket: TcpStream::from_std(socket)?,
            session,
            partial,
            surplus,
        })
    }
}

/// What the handshakes of a thread share.
struct Room {
    unfinished: Semaphore,
    turns: Semaphore,
    large: Semaphore,
}

async fn serve(mut requests: mpsc::Receiver<Request>, unfinished: usize) {
    let room = Rc::new(Room {
        unfinished: Semaphore::new(unfinished),
        turns: Semaphore::new(TURNS),
        large: Semaphore::new(LARGE_HANDSHAKES),
    });
    let mut running = JoinSet::new();
    while let Some(request) = requests.recv().await {
        let room = Rc::clone(&room);
        running.spawn_local(async move {
            let Request {
                socket,
                config,
                timeout,
                mut answer,
            } = request;
            let outcome = tokio::select! {
                biased;
                outcome = admit(socket, config, timeout, &room) => outcome,
                // Whoever asked has gone: the server shuts down.
                () = answer.closed() => return,
            };
            let _receiver_may_be_gone = answer.send(outcome);
        });
        while running.try_join_next().is_some() {}
    }
    while running.join_next().await.is_some() {}
}

/// Waits for the client to begin, which costs little, then for its turn.
async fn admit(
    socket: std::net::TcpStream,
    config: Arc<ServerConfig>,
    patience: Duration,
    room: &Room,
) -> Result<Finished, HandshakeError> {
    let socket = TcpStream::from_std(socket)?;
    within(patience, socket.readable()).await??;
    let acquired = within(QUEUE_PATIENCE, async {
        (room.unfinished.acquire().await, room.turns.acquire().await)
    });
    let (Ok(_unfinished), Ok(turn)) = acquired.await? else {
        return Err(HandshakeError::Busy);
    };
    if socket.ready(Interest::READABLE).await?.is_read_closed() {
        // It gave up while it waited. No signature for it.
        return Err(HandshakeError::Abandoned);
    }
    let session = Session::new(config).map_err(HandshakeError::Refused)?;
    let mut handshake = Handshake {
        socket,
        session,
        received: Vec::new(),
        surplus: Vec::new(),
        out: Vec::new(),
        written: 0,
    };
    within(patience, handshake.run(turn, &room.large)).await??;
    let Handshake {
        socket,
        session,
        received,
        surplus,
        ..
    } = handshake;
    Ok(Finished {
        socket: socket.into_std()?,
        session,
        partial: received,
        surplus,
    })
}

async fn within<T>(patience: Duration, work: impl Future<Output = T>) -> Result<T, HandshakeError> {
    timeout(patience, work)
        .await
        .map_err(|_| HandshakeError::Timeout)
}

struct Handshake {
    socket: TcpStream,
    session: Session,
    /// Received bytes that the session has not taken.
    received: Vec<u8>,
    surplus: Vec<u8>,
    out: Vec<u8>,
    written: usize,
}

impl Handshake {
    async fn run(
        &mut self,
        turn: SemaphorePermit<'_>,
        large: &Semaphore,
    ) -> Result<(), HandshakeError> {
        let mut turn = Some(turn);
        let mut allowed = None;
        loop {
            let taken = self.take_in();
            if !matches!(&taken, Err(error) if error.is_probe()) {
                self.send().await?;
            }
            taken?;
            // Whoever waits for this processor need not wait for another handshake as well: a thread that goes on
            // computing may keep it until a tick of the system's clock (4 ms apart on many), however low its priority.
            thread::yield_now();
            if !self.session.connection().is_handshaking() {
                return Ok(());
            }
            if self.session.peer_closed() {
                return Err(HandshakeError::Closed);
            }
            if self.received.len() > HANDSHAKE_LIMIT || self.surplus.len() > SURPLUS_LIMIT {
                return Err(HandshakeError::TooLong);
            }
            if self.received.len() > USUAL_HANDSHAKE && allowed.is_none() {
                allowed = Some(large.try_acquire().map_err(|_| HandshakeError::TooLong)?);
            }
            if turn.is_some() {
                match timeout(TURN_PATIENCE, self.read()).await {
                    Ok(read) => read?,
                    Err(_) => {
                        turn = None;
                        self.read().await?;
                    }
                }
            } else {
                self.read().await?;
            }
            // The others on this thread get the processor between two flights.
            tokio::task::yield_now().await;
        }
    }

    fn take_in(&mut self) -> Result<(), HandshakeError> {
        let Self {
            session,
            received,
            surplus,
            out,
            ..
        } = self;
        let mut keep = |plain: &[u8]| surplus.extend_from_slice(plain);
        let done = session
            .receive(received, &mut keep, out)
            .map_err(HandshakeError::Refused)?;
        received.drain(..done.min(received.len()));
        Ok(())
    }

    /// Receives some bytes. Dropping the future loses none.
    async fn read(&mut self) -> Result<(), HandshakeError> {
        loop {
            self.socket.readable().await?;
            self.received.reserve(READ_SIZE);
            match self.socket.try_read_buf(&mut self.received) {
                Ok(0) => return Err(HandshakeError::Closed),
                Ok(_) => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    async fn send(&mut self) -> Result<(), HandshakeError> {
        while let Some(rest) = self.out.get(self.written..).filter(|rest| !rest.is_empty()) {
            match self.socket.try_write(rest) {
                Ok(written) => self.written += written,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.socket.writable().await?;
                }
                Err(error) => return Err(error.into()),
            }
        }
        self.out.clear();
        self.written = 0;
        Ok(())
    }
}
