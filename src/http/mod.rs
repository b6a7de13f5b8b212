//! Monitoring over HTTP.

mod access;
mod pages;
pub mod probe;
mod query;
mod root;
mod secure;

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{Service, service_fn};
use hyper::{Request, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::monitor::Monitor;
use pages::Answer;
pub use secure::Secured;

/// What is in force for the next handshake; nothing when TLS was taken away.
pub type SecuredSource = Box<dyn Fn() -> Option<Secured> + Send + Sync>;

/// Requests are served on at most this many connections at a time; others wait to be accepted.
const MAX_CONNECTIONS: usize = 128;

/// Time for a request's head to arrive, also for the next one on a connection that is kept open.
const HEAD_TIMEOUT: Duration = Duration::from_secs(5);

/// How long a connection is kept open for further requests, and then for its last answer. Whoever does not take the
/// answer keeps no other out.
const LONGEST_CONNECTION: Duration = Duration::from_secs(30);
const LAST_ANSWER: Duration = Duration::from_secs(5);

/// Longest head of a request, in bytes.
const MAX_HEAD: usize = 16 * 1024;

/// Pause after the system would not accept a connection (too many open files).
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// A bound listener for monitoring.
#[derive(Debug)]
pub struct HttpListener {
    socket: Arc<TcpListener>,
    address: SocketAddr,
}

impl HttpListener {
    /// Monitoring on a bound socket.
    ///
    /// # Errors
    /// The system does not tell the socket's address.
    pub fn new(socket: TcpListener) -> io::Result<Self> {
        let address = socket.local_addr()?;
        let socket = Arc::new(socket);
        Ok(Self { socket, address })
    }

    /// The socket.
    #[must_use]
    pub fn socket(&self) -> &Arc<TcpListener> {
        &self.socket
    }

    /// Where it listens, with the real port.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Answers requests until `stopping` is cancelled: over TLS if `secured` is given.
    pub async fn serve(
        self,
        monitor: Arc<Monitor>,
        secured: Option<SecuredSource>,
        stopping: CancellationToken,
    ) {
        let permits = Arc::new(Semaphore::new(MAX_CONNECTIONS));
        loop {
            let Ok(permit) = Arc::clone(&permits).acquire_owned().await else {
                return;
            };
            let accepted = tokio::select! {
                () = stopping.cancelled() => return,
                accepted = self.socket.accept() => accepted,
            };
            let Ok((stream, _)) = accepted else {
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            };
            let (monitor, stopping) = (Arc::clone(&monitor), stopping.clone());
            let secured = secured.as_ref().map(|source| source());
            tokio::spawn(async move {
                tokio::select! {
                    () = stopping.cancelled() => {}
                    () = serve_stream(stream, secured, monitor) => {}
                }
                drop(permit);
            });
        }
    }
}

/// Serves a connection, which begins with a handshake where there is TLS.
async fn serve_stream(stream: TcpStream, secured: Option<Option<Secured>>, monitor: Arc<Monitor>) {
    let Some(secured) = secured else {
        return serve_connection(stream, monitor).await;
    };
    let Some(secured) = secured else { return };
    let Secured {
        config,
        gate,
        patience,
    } = secured;
    match gate.handshake(stream, config, patience).await {
        Ok(established) => serve_connection(secure::Stream::from(established), monitor).await,
        Err(error) => tracing::debug!("monitoring: {error}"),
    }
}

async fn serve_connection<S>(stream: S, monitor: Arc<Monitor>)
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let service = service_fn(move |request: Request<Incoming>| {
        let answer = respond(&monitor, &request);
        async move { Ok::<_, Infallible>(answer) }
    });
    serve_requests(stream, service, LONGEST_CONNECTION, LAST_ANSWER).await;
}

/// Serves requests for so long, and finishes the last one within `last_answer`.
async fn serve_requests<S, V>(stream: S, service: V, longest: Duration, last_answer: Duration)
where
    S: AsyncRead + AsyncWrite + Unpin,
    V: Service<Request<Incoming>, Response = Answer, Error = Infallible>,
{
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_buf_size(MAX_HEAD)
        .serve_connection(TokioIo::new(stream), service);
    tokio::pin!(connection);
    let served = match timeout(longest, connection.as_mut()).await {
        Ok(served) => Ok(served),
        Err(_) => {
            connection.as_mut().graceful_shutdown();
            timeout(last_answer, connection).await
        }
    };
    match served {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::debug!("monitoring: {error}"),
        Err(_) => tracing::debug!("monitoring: an answer was not taken in time"),
    }
}

fn respond<B>(monitor: &Monitor, request: &Request<B>) -> Answer {
    let options = monitor.options();
    let base = options.monitoring.base_path.as_deref().unwrap_or_default();
    let base = base.trim_matches('/');
    let path = request.uri().path();
    let path = if base.is_empty() {
        path
    } else if let Some(rest) = path
        .strip_prefix('/')
        .and_then(|path| path.strip_prefix(base))
        .filter(|rest| rest.is_empty() || rest.starts_with('/'))
    {
        rest
    } else {
        return pages::not_found();
    };
    if path.is_empty() && !base.is_empty() {
        // Links of the page are relative to a folder.
        return pages::moved(&format!("/{base}/"));
    }
    if !pages::PROBES.contains(&path) && !access::is_allowed(&options.monitoring, request.headers())
    {
        return access::challenge(StatusCode::UNAUTHORIZED);
    }
    let query = request.uri().query().unwrap_or_default();
    pages::answer(monitor, path, query, request.headers())
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, duplex};

    use super::*;

    const SHORT: Duration = Duration::from_millis(50);
    const PATIENCE: Duration = Duration::from_secs(3);

    #[tokio::test]
    async fn whoever_does_not_take_the_answer_is_cut_off() {
        for reads in [false, true] {
            let service = service_fn(|_: Request<Incoming>| async {
                Ok::<_, Infallible>(pages::refusal(StatusCode::OK, vec![b'x'; 100_000]))
            });
            let (mut client, server) = duplex(1024);
            let served = tokio::spawn(serve_requests(server, service, SHORT, SHORT));
            let request = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n";
            client.write_all(request).await.unwrap();
            let mut taken = vec![0; 100];
            while reads && client.read_exact(&mut taken).await.is_ok() {}
            let end = timeout(PATIENCE, served).await;
            assert!(end.is_ok(), "reads: {reads}");
        }
    }
}
