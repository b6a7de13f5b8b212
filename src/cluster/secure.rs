//! TLS of links: both sides show a certificate, and both are verified.

use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpStream;

use super::Inner;
use crate::auth::CertificateNames;
use crate::broker::security::TlsFacts;
use crate::config::options::cluster::Cluster;
use crate::config::options::tls::Tls;
use crate::conn::transport::{ReadHalf, WriteHalf};
use crate::tls::{
    GateLimits, HandshakeError, HandshakeGate, PinnedCertificates, Refresh, TlsDialer, TlsListener,
    TlsOptions, names_known_host,
};

/// Time between looks at the certificate files.
const REFRESH_INTERVAL: Duration = Duration::from_secs(2);

/// TLS of a cluster's links.
#[derive(Debug)]
pub struct ClusterTls {
    listener: TlsListener,
    dialer: TlsDialer,
    pinned: PinnedCertificates,
    timeout: Duration,
    /// Hosts one of which the certificate of whoever connects must name; `None` takes any.
    known_hosts: Option<Vec<String>>,
    /// Name of a server that is known by its address only: that of the first route with a name.
    name: Option<String>,
    gate: HandshakeGate,
}

/// The halves of a secured connection, and what was agreed upon.
pub(super) type Secured = (ReadHalf, WriteHalf, TlsFacts);

/// Why there is no secured connection.
#[derive(Debug)]
pub(super) enum Failure {
    Handshake(HandshakeError),
    NotPinned,
    NotKnown,
}

impl fmt::Display for Failure {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Handshake(error) => write!(formatter, "TLS route handshake error: {error}"),
            Self::NotPinned => {
                formatter.write_str("TLS route handshake error: certificate not pinned")
            }
            Self::NotKnown => {
                formatter.write_str("TLS route handshake error: certificate names no known server")
            }
        }
    }
}

impl From<Failure> for io::Error {
    fn from(failure: Failure) -> Self {
        Self::other(failure.to_string())
    }
}

impl ClusterTls {
    /// What the configuration asks for; `options` is the block in the form that listeners take.
    ///
    /// # Errors
    /// If a file or a name cannot be used.
    pub(super) fn new(
        cluster: &Cluster,
        block: &Tls,
        mut options: TlsOptions,
    ) -> Result<Self, String> {
        let text = |error: crate::tls::TlsError| error.to_string();
        options.verify = true;
        let hosts = || cluster.routes.iter().map(|route| route.host.clone());
        Ok(Self {
            listener: TlsListener::new(options.clone()).map_err(text)?,
            dialer: TlsDialer::new(options, block.insecure).map_err(text)?,
            pinned: PinnedCertificates::new(&block.pinned_certs).map_err(text)?,
            timeout: block.timeout_or_default(),
            known_hosts: block
                .verify_cert_and_check_known_urls
                .then(|| hosts().collect()),
            name: hosts().find(|host| host.parse::<std::net::IpAddr>().is_err()),
            gate: HandshakeGate::start(GateLimits::default()).map_err(|error| error.to_string())?,
        })
    }

    /// The handshake with a server that has connected.
    pub(super) async fn accept(&self, stream: TcpStream) -> Result<Secured, Failure> {
        let established = self
            .gate
            .handshake(stream, self.listener.current(), self.timeout)
            .await
            .map_err(Failure::Handshake)?;
        let facts = established.facts();
        self.check_pinned(&facts)?;
        if let Some(hosts) = &self.known_hosts {
            let hosts: Vec<&str> = hosts.iter().map(String::as_str).collect();
            let certificate = facts.peer_certificate.as_deref().unwrap_or_default();
            let names = CertificateNames::read(certificate);
            if !names.is_some_and(|names| names_known_host(names.dns_names(), &hosts)) {
                return Err(Failure::NotKnown);
            }
        }
        let (read, write) = established.split();
        Ok((
            ReadHalf::Layered(Box::new(read)),
            WriteHalf::Layered(Box::new(write)),
            facts,
        ))
    }

    /// The handshake with a server that was dialed under this name or address.
    pub(super) async fn dial(&self, stream: TcpStream, host: &str) -> Result<Secured, Failure> {
        let by_address = host.parse::<std::net::IpAddr>().is_ok();
        let name = self.name.as_deref().filter(|_| by_address).unwrap_or(host);
        let dialed = self
            .dialer
            .handshake(stream, name, self.timeout)
            .await
            .map_err(Failure::Handshake)?;
        self.check_pinned(&dialed.facts)?;
        let (read, write) = dialed.halves;
        Ok((read, write, dialed.facts))
    }

    fn check_pinned(&self, facts: &TlsFacts) -> Result<(), Failure> {
        if self.pinned.admit(facts.peer_certificate.as_deref()) {
            return Ok(());
        }
        Err(Failure::NotPinned)
    }

    /// Uses changed files for the next handshakes; what cannot be used is left alone.
    fn refresh(&self) {
        let failed = match self.listener.refresh() {
            Refresh::Unchanged => return,
            Refresh::Renewed => self.dialer.reload().err(),
            Refresh::Failed(error) => Some(error),
        };
        match failed {
            None => tracing::info!("The files of the cluster's tls have changed and are in use"),
            Some(error) => tracing::error!(
                "The files of the cluster's tls have changed and cannot be used, the old ones stay in use: {error}"
            ),
        }
    }
}

/// Looks after the files until the cluster ends.
pub(super) async fn keep_fresh(inner: Arc<Inner>) {
    loop {
        tokio::select! {
            () = inner.stopping.cancelled() => return,
            () = tokio::time::sleep(REFRESH_INTERVAL) => {}
        }
        let Some(tls) = inner.options().tls.clone() else {
            continue;
        };
        // Files may be on a disk that takes its time.
        if tokio::task::spawn_blocking(move || tls.refresh())
            .await
            .is_err()
        {
            return;
        }
    }
}
