//! TLS of the client listener: from an accepted socket to a client whose bytes are sealed.

use std::fmt;
use std::io;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use tokio_util::sync::CancellationToken;

use super::newcomer::Newcomer;
use crate::broker::close::CloseReason;
use crate::config::options::tls::HandshakeFirst;
use crate::conn::transport::{ReadHalf, WriteHalf, split_tcp};
use crate::http::Secured;
use crate::link::context::TlsTerms;
use crate::proto::encode;
use crate::proto::error::ProtocolError;
use crate::tls::{
    Established, HandshakeError, HandshakeGate, PinnedCertificates, RateLimit, Refresh,
    TLS_HANDSHAKE_BYTE, TlsError, TlsListener, TlsOptions, first_byte, pin_of,
};

/// Time between looks at the certificate files, and between lines about refused connections.
const REFRESH_INTERVAL: Duration = Duration::from_secs(2);

/// What the client listener's TLS is made from.
#[derive(Debug, Clone)]
pub struct ClientTlsOptions {
    /// Files, names of suites and versions.
    pub tls: TlsOptions,
    /// Whether clients may do without TLS.
    pub allow_plain: bool,
    /// Whether the client's certificate decides which user it is.
    pub map_certificate: bool,
    /// Time that a client may take for the handshake.
    pub timeout: Duration,
    /// Whether a handshake comes before INFO.
    pub handshake_first: HandshakeFirst,
    /// The only keys of clients that are let in; with none of them, all are.
    pub pinned: PinnedCertificates,
    /// Connections a second that may ask for TLS; `None` for no limit.
    pub connection_rate_limit: Option<u64>,
    /// Whether monitoring is served with the same certificates.
    pub serves_monitoring: bool,
}

fn monitoring(options: &ClientTlsOptions) -> Result<TlsListener, TlsError> {
    TlsListener::new(TlsOptions {
        verify: false,
        ..options.tls.clone()
    })
}

/// The client listener's TLS. A reload makes a new one; connections keep what they have agreed upon.
#[derive(Debug)]
pub struct ClientTls {
    options: ClientTlsOptions,
    listener: TlsListener,
    /// The same without a client's certificate, for monitoring.
    monitoring: Option<TlsListener>,
    rate_limit: Option<RateLimit>,
}

impl ClientTls {
    /// Reads the files.
    ///
    /// # Errors
    /// If one of them cannot be used.
    pub fn new(options: ClientTlsOptions) -> Result<Self, TlsError> {
        Ok(Self {
            listener: TlsListener::new(options.tls.clone())?,
            monitoring: options
                .serves_monitoring
                .then(|| monitoring(&options))
                .transpose()?,
            rate_limit: options.connection_rate_limit.map(RateLimit::new),
            options,
        })
    }

    /// What clients are told and asked.
    #[must_use]
    pub fn terms(&self) -> TlsTerms {
        TlsTerms {
            required: !self.options.allow_plain,
            available: self.options.allow_plain,
            verify: self.options.tls.verify,
            map_certificate: self.options.map_certificate,
        }
    }

    /// Whether every client begins with a handshake, or may.
    pub(super) fn handshake_first(&self) -> bool {
        self.options.handshake_first != HandshakeFirst::Never
    }

    /// What monitoring's next handshake needs, done by `gate`.
    pub(super) fn for_monitoring(&self, gate: Arc<HandshakeGate>) -> Option<Secured> {
        Some(Secured {
            config: self.monitoring.as_ref()?.current(),
            gate,
            patience: self.options.timeout,
        })
    }

    /// Whether a client with this certificate, or without one, may stay.
    pub(super) fn admits(&self, certificate: Option<&[u8]>) -> bool {
        self.options.pinned.admit(certificate)
    }

    /// What in the options has no effect, and what keeps clients out.
    pub fn warnings(&self) -> Vec<String> {
        let mut warnings = self.listener.warnings().to_vec();
        if self.options.handshake_first == HandshakeFirst::Always {
            let text =
                "Clients that are not using \"TLS Handshake First\" option will fail to connect";
            warnings.push(text.to_owned());
        }
        warnings
    }

    /// Uses changed files for the next handshakes, and says so; what cannot be used is left alone.
    fn refresh(&self) {
        if let Some(Refresh::Failed(error)) = self.monitoring.as_ref().map(TlsListener::refresh) {
            tracing::error!("Monitoring keeps its old certificates: {error}");
        }
        match self.listener.refresh() {
            Refresh::Unchanged => {}
            Refresh::Renewed => tracing::info!("The files of tls have changed and are in use"),
            Refresh::Failed(error) => tracing::error!(
                "The files of tls have changed and cannot be used, the old ones stay in use: {error}"
            ),
        }
        let refused = self.rate_limit.as_ref().map_or(0, RateLimit::take_refused);
        if refused > 0 {
            tracing::warn!("Rejected {refused} connections due to TLS rate limiting");
        }
    }
}

/// Looks after the files for as long as they are somebody's.
pub(super) async fn keep_fresh(tls: Weak<ClientTls>, stopping: CancellationToken) {
    loop {
        tokio::select! {
            () = stopping.cancelled() => return,
            () = tokio::time::sleep(REFRESH_INTERVAL) => {}
        }
        let Some(tls) = tls.upgrade() else { return };
        // Files may be on a disk that takes its time.
        if tokio::task::spawn_blocking(move || tls.refresh())
            .await
            .is_err()
        {
            return;
        }
    }
}

/// Why a connection came to nothing before it was a client's.
enum Failure {
    Handshake(HandshakeError),
    NotPinned,
}

impl fmt::Display for Failure {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Handshake(error) => error.fmt(formatter),
            Self::NotPinned => formatter.write_str("TLS handshake error: certificate not pinned"),
        }
    }
}

impl From<HandshakeError> for Failure {
    fn from(error: HandshakeError) -> Self {
        Self::Handshake(error)
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::Handshake(error.into())
    }
}

/// What became of a socket.
enum Outcome {
    /// It is a client's.
    Ready((ReadHalf, WriteHalf)),
    /// It asked for TLS when too many others did.
    Throttled(TcpStream),
}

/// Greets a newcomer, does its handshake if there is to be one, and lets it run.
pub(super) async fn serve(
    newcomer: Newcomer,
    tls: Arc<ClientTls>,
    gate: Arc<HandshakeGate>,
    stream: TcpStream,
) {
    let outcome = tokio::select! {
        biased;
        () = newcomer.closing() => return newcomer.abandon(CloseReason::ServerShutdown),
        outcome = establish(&newcomer, &tls, &gate, stream) => outcome,
    };
    match outcome {
        Ok(Outcome::Ready(halves)) => newcomer.run(halves),
        Ok(Outcome::Throttled(stream)) => {
            let (error, reason) = (
                ProtocolError::ConnectionThrottled,
                CloseReason::MaximumConnectionsExceeded,
            );
            newcomer.refuse(split_tcp(stream), &error, reason);
        }
        Err(failure) => {
            let probe = matches!(&failure, Failure::Handshake(error) if error.is_probe());
            let (id, label) = (newcomer.peer().id(), newcomer.peer().label());
            if probe {
                tracing::debug!(cid = id, "{label} - {failure}");
            } else {
                tracing::error!(cid = id, "{label} - {failure}");
            }
            newcomer.abandon(CloseReason::TlsHandshakeError);
        }
    }
}

async fn establish(
    newcomer: &Newcomer,
    tls: &ClientTls,
    gate: &HandshakeGate,
    mut stream: TcpStream,
) -> Result<Outcome, Failure> {
    let options = &tls.options;
    let first = match options.handshake_first {
        HandshakeFirst::Never => false,
        HandshakeFirst::Always => true,
        HandshakeFirst::Fallback(delay) => first_byte(&stream, delay).await.is_some(),
    };
    if !first {
        stream
            .write_all(&encode::info(&newcomer.greeting().to_json()))
            .await?;
        if options.allow_plain
            && first_byte(&stream, options.timeout).await != Some(TLS_HANDSHAKE_BYTE)
        {
            return Ok(Outcome::Ready(split_tcp(stream)));
        }
    }
    if tls
        .rate_limit
        .as_ref()
        .is_some_and(|limit| !limit.admit(now()))
    {
        return Ok(Outcome::Throttled(stream));
    }
    let peer = newcomer.peer();
    tracing::debug!(
        cid = peer.id(),
        "{} - Starting TLS client connection handshake",
        peer.label()
    );
    let established = gate
        .handshake(stream, tls.listener.current(), options.timeout)
        .await?;
    note(newcomer, tls, &established, first)?;
    if first {
        let mut info = newcomer.greeting();
        info.tls_required = true;
        peer.send(&encode::info(&info.to_json()));
    }
    let (read, write) = established.split();
    let (read, write) = (Box::new(read), Box::new(write));
    Ok(Outcome::Ready((
        ReadHalf::Layered(read),
        WriteHalf::Layered(write),
    )))
}

/// Keeps what was agreed upon, unless the client's key is none of those that are let in.
fn note(
    newcomer: &Newcomer,
    tls: &ClientTls,
    established: &Established,
    handshake_first: bool,
) -> Result<(), Failure> {
    let mut facts = established.facts();
    facts.handshake_first = handshake_first;
    let peer = newcomer.peer();
    let (id, label) = (peer.id(), peer.label());
    let certificate = facts.peer_certificate.as_deref();
    if !tls.admits(certificate) {
        let pin = certificate.and_then(pin_of).unwrap_or_default();
        tracing::debug!(
            cid = id,
            "{label} - Failed pinned cert test for key id: {pin}"
        );
        return Err(Failure::NotPinned);
    }
    tracing::debug!(cid = id, "{label} - TLS handshake complete");
    let (version, suite) = (facts.version, facts.cipher_suite);
    tracing::debug!(
        cid = id,
        "{label} - TLS version {version}, cipher suite {suite}"
    );
    peer.set_tls(facts);
    Ok(())
}

#[expect(clippy::disallowed_methods, reason = "the edges read the clock")]
fn now() -> Instant {
    Instant::now()
}
