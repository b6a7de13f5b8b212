//! Certificates made for the occasion, a server of one gate and one listener, and a client.

use std::io::{self, Read, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use midge::tls::{
    CertificateFiles, Established, GateLimits, HandshakeError, HandshakeGate, TlsListener,
    TlsOptions,
};
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use rustls::crypto::ring;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, SupportedProtocolVersion};
use tokio::net::TcpListener;
use tokio::sync::mpsc;

pub(crate) use crate::wait::{PATIENCE, now};

const PING: &[u8] = b"PING\r\n";

/// An authority with its own key.
pub(crate) struct Authority {
    pub(crate) certificate: rcgen::Certificate,
    issuer: Issuer<'static, KeyPair>,
}

/// A signed certificate and its key.
pub(crate) struct Identity {
    pub(crate) certificate: rcgen::Certificate,
    pub(crate) key: KeyPair,
}

impl Authority {
    pub(crate) fn new(name: &str) -> Self {
        let mut parameters = CertificateParams::new(Vec::new()).unwrap();
        parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        parameters.distinguished_name.push(DnType::CommonName, name);
        let key = KeyPair::generate().unwrap();
        let certificate = parameters.self_signed(&key).unwrap();
        Self {
            certificate,
            issuer: Issuer::new(parameters, key),
        }
    }

    pub(crate) fn sign(&self, names: &[&str]) -> Identity {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        self.sign_for(&CertificateParams::new(names).unwrap())
    }

    pub(crate) fn sign_for(&self, parameters: &CertificateParams) -> Identity {
        let key = KeyPair::generate().unwrap();
        let certificate = parameters.signed_by(&key, &self.issuer).unwrap();
        Identity { certificate, key }
    }
}

impl Identity {
    /// Writes both files and returns where they are.
    pub(crate) fn save(&self, directory: &Path, name: &str) -> CertificateFiles {
        let cert_file = directory.join(format!("{name}.pem"));
        let key_file = directory.join(format!("{name}-key.pem"));
        std::fs::write(&cert_file, self.certificate.pem()).unwrap();
        std::fs::write(&key_file, self.key.serialize_pem()).unwrap();
        CertificateFiles {
            cert_file,
            key_file,
        }
    }
}

/// A directory with the files of a server for `localhost`, and the authority behind them.
pub(crate) struct Site {
    pub(crate) directory: tempfile::TempDir,
    pub(crate) authority: Authority,
}

impl Site {
    pub(crate) fn new() -> Self {
        Self {
            directory: tempfile::tempdir().unwrap(),
            authority: Authority::new("Authority"),
        }
    }

    pub(crate) fn path(&self) -> &Path {
        self.directory.path()
    }

    pub(crate) fn options(&self) -> TlsOptions {
        let files = self
            .authority
            .sign(&["localhost"])
            .save(self.path(), "server");
        TlsOptions {
            certificates: vec![files],
            ..TlsOptions::default()
        }
    }

    pub(crate) fn authority_file(&self) -> PathBuf {
        let file = self.path().join("authority.pem");
        std::fs::write(&file, self.authority.certificate.pem()).unwrap();
        file
    }

    pub(crate) fn verifying(&self) -> TlsOptions {
        TlsOptions {
            verify: true,
            ca_file: Some(self.authority_file()),
            ..self.options()
        }
    }

    pub(crate) fn client(&self) -> ClientSetup {
        ClientSetup {
            authority: self.authority.certificate.der().clone(),
            identity: None,
            versions: rustls::ALL_VERSIONS.to_vec(),
            suite: None,
        }
    }
}

pub(crate) struct ClientSetup {
    authority: CertificateDer<'static>,
    identity: Option<(CertificateDer<'static>, PrivateKeyDer<'static>)>,
    versions: Vec<&'static SupportedProtocolVersion>,
    suite: Option<rustls::CipherSuite>,
}

impl ClientSetup {
    pub(crate) fn identity(mut self, identity: &Identity) -> Self {
        let key = PrivateKeyDer::Pkcs8(identity.key.serialize_der().into());
        self.identity = Some((identity.certificate.der().clone(), key));
        self
    }

    pub(crate) fn version(mut self, version: &'static SupportedProtocolVersion) -> Self {
        self.versions = vec![version];
        self
    }

    pub(crate) fn suite(mut self, suite: rustls::CipherSuite) -> Self {
        self.suite = Some(suite);
        self
    }

    pub(crate) fn config(self) -> Arc<ClientConfig> {
        let mut roots = RootCertStore::empty();
        roots.add(self.authority).unwrap();
        let mut provider = ring::default_provider();
        if let Some(wanted) = self.suite {
            provider
                .cipher_suites
                .retain(|suite| suite.suite() == wanted);
        }
        let builder = ClientConfig::builder_with_provider(Arc::new(provider))
            .with_protocol_versions(&self.versions)
            .unwrap()
            .with_root_certificates(roots);
        let mut config = match self.identity {
            None => builder.with_no_client_auth(),
            Some((certificate, key)) => builder
                .with_client_auth_cert(vec![certificate], key)
                .unwrap(),
        };
        // For tests that go on with records of their own.
        config.enable_secret_extraction = true;
        Arc::new(config)
    }
}

/// A blocking client.
pub(crate) struct Client {
    pub(crate) session: ClientConnection,
    pub(crate) socket: TcpStream,
}

impl Client {
    pub(crate) fn new(address: SocketAddr, config: Arc<ClientConfig>) -> Self {
        Self::named(address, config, "localhost")
    }

    pub(crate) fn named(address: SocketAddr, config: Arc<ClientConfig>, name: &str) -> Self {
        Self::over(TcpStream::connect(address).unwrap(), config, name)
    }

    /// A client on a socket through which plain bytes may have gone already.
    pub(crate) fn over(socket: TcpStream, config: Arc<ClientConfig>, name: &str) -> Self {
        let name = ServerName::try_from(name.to_owned()).unwrap();
        let session = ClientConnection::new(config, name).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        socket.set_write_timeout(Some(PATIENCE)).unwrap();
        Self { session, socket }
    }

    /// Does the handshake, as far as this side sees it.
    pub(crate) fn handshake(&mut self) -> io::Result<()> {
        while self.session.is_handshaking() {
            self.session.complete_io(&mut self.socket)?;
        }
        Ok(())
    }

    pub(crate) fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        let mut stream = rustls::Stream::new(&mut self.session, &mut self.socket);
        stream.write_all(bytes)?;
        stream.flush()
    }

    /// The next bytes must be these, at least as many as in `PING`; the server's pings are passed over.
    pub(crate) fn expect(&mut self, expected: &str) {
        let mut got = self.read(PING.len()).unwrap();
        while got == PING {
            got = self.read(PING.len()).unwrap();
        }
        got.extend(self.read(expected.len() - PING.len()).unwrap());
        assert_eq!(String::from_utf8_lossy(&got), expected);
    }

    /// The next line that is no ping, without its line end.
    pub(crate) fn line(&mut self) -> String {
        let mut line = Vec::new();
        while !line.ends_with(b"\r\n") {
            line.extend(self.read(1).unwrap());
            if line == PING {
                line.clear();
            }
        }
        String::from_utf8(line).unwrap().trim_end().to_owned()
    }

    /// Everything but pings up to the end, however it comes.
    pub(crate) fn rest(&mut self) -> String {
        let mut rest = Vec::new();
        let mut stream = rustls::Stream::new(&mut self.session, &mut self.socket);
        let _reset_is_an_end = stream.read_to_end(&mut rest);
        String::from_utf8(rest).unwrap().replace("PING\r\n", "")
    }

    pub(crate) fn read(&mut self, count: usize) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; count];
        rustls::Stream::new(&mut self.session, &mut self.socket).read_exact(&mut bytes)?;
        Ok(bytes)
    }
}

/// A listener whose connections go through a gate; what comes out is handed to the test.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    pub(crate) outcomes: mpsc::Receiver<Result<Established, HandshakeError>>,
}

pub(crate) const LIMITS: GateLimits = GateLimits {
    threads: NonZeroUsize::MIN,
    unfinished: 100,
    queued: 1000,
};

/// Serves until the runtime ends. `patience` is the handshake's timeout.
pub(crate) async fn serve(
    listener: Arc<TlsListener>,
    patience: Duration,
    limits: GateLimits,
) -> Server {
    let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = socket.local_addr().unwrap();
    let gate = Arc::new(HandshakeGate::start(limits).unwrap());
    let (sender, outcomes) = mpsc::channel(10_000);
    tokio::spawn(async move {
        while let Ok((stream, _)) = socket.accept().await {
            let (gate, config, sender) = (Arc::clone(&gate), listener.current(), sender.clone());
            tokio::spawn(async move {
                let outcome = gate.handshake(stream, config, patience).await;
                let _test_may_be_over = sender.send(outcome).await;
            });
        }
    });
    Server { address, outcomes }
}

pub(crate) async fn serve_options(options: TlsOptions) -> Server {
    serve(
        Arc::new(TlsListener::new(options).unwrap()),
        PATIENCE,
        LIMITS,
    )
    .await
}

impl Server {
    pub(crate) async fn next(&mut self) -> Result<Established, HandshakeError> {
        tokio::time::timeout(PATIENCE, self.outcomes.recv())
            .await
            .unwrap()
            .unwrap()
    }
}

/// Runs blocking work beside the server.
pub(crate) async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    tokio::task::spawn_blocking(work).await.unwrap()
}
