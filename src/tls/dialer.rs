//! TLS of connections that this server makes to others.
//!
//! There are few of them and they live long, so they use the library's own buffers, in the way that asks for
//! the least code.

use std::io::{self, IoSlice, Read, Write};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::sign::SingleCertAndKey;
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, ClientConnection, DigitallySignedStruct, SignatureScheme};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, tcp};
use tokio::time::timeout;

use super::suites::{self, suite_name};
use super::{HandshakeError, TlsError, TlsOptions, TlsVersion, files};
use crate::broker::security::TlsFacts;
use crate::conn::transport::{ReadHalf, Receiver, Sender, WriteHalf};

/// Most plain bytes that are sealed before they are sent.
const SEAL_BYTES: usize = 256 * 1024;

/// How this server behaves as the client of a TLS connection.
#[derive(Debug)]
pub struct TlsDialer {
    options: TlsOptions,
    insecure: bool,
    config: Mutex<Arc<ClientConfig>>,
}

/// A secured connection.
#[derive(Debug)]
pub struct Dialed {
    /// The halves to read and write with.
    pub halves: (ReadHalf, WriteHalf),
    /// What was agreed upon.
    pub facts: TlsFacts,
}

impl TlsDialer {
    /// Reads the files. The other server's certificate is verified unless `insecure`.
    ///
    /// # Errors
    /// If a file cannot be used or a name is not known.
    pub fn new(options: TlsOptions, insecure: bool) -> Result<Self, TlsError> {
        Ok(Self {
            config: Mutex::new(build(&options, insecure)?),
            options,
            insecure,
        })
    }

    /// Reads the files again.
    ///
    /// # Errors
    /// If they cannot be used; what was in use still is.
    pub fn reload(&self) -> Result<(), TlsError> {
        let config = build(&self.options, self.insecure)?;
        *self.config.lock().unwrap_or_else(PoisonError::into_inner) = config;
        Ok(())
    }

    /// Does a handshake as the client, with the server called `name`: a host name or an address.
    ///
    /// # Errors
    /// If there is no secure connection in the end.
    pub async fn handshake(
        &self,
        socket: TcpStream,
        name: &str,
        patience: Duration,
    ) -> Result<Dialed, HandshakeError> {
        let config = Arc::clone(&self.config.lock().unwrap_or_else(PoisonError::into_inner));
        let name = ServerName::try_from(name.to_owned())
            .map_err(|error| HandshakeError::Refused(rustls::Error::General(error.to_string())))?;
        let mut connection =
            ClientConnection::new(config, name).map_err(HandshakeError::Refused)?;
        let done = timeout(patience, complete(&socket, &mut connection)).await;
        done.map_err(|_| HandshakeError::Timeout)??;
        let facts = facts(&connection);
        let (read, write) = socket.into_split();
        let connection = Arc::new(Mutex::new(connection));
        let halves = (
            ReadHalf::Layered(Box::new(DialedReader {
                socket: read,
                connection: Arc::clone(&connection),
            })),
            WriteHalf::Layered(Box::new(DialedWriter {
                socket: write,
                connection,
                sealed: Mutex::new(0),
            })),
        );
        Ok(Dialed { halves, facts })
    }
}

fn build(options: &TlsOptions, insecure: bool) -> Result<Arc<ClientConfig>, TlsError> {
    let (provider, _) = suites::provider(options)?;
    let certificates = files::certificates(options, &provider)?;
    let provider = Arc::new(provider);
    let library = |error: rustls::Error| TlsError::Library(error.to_string());
    let versions: &[_] = match options.min_version {
        TlsVersion::Tls12 => &[&TLS13, &TLS12],
        TlsVersion::Tls13 => &[&TLS13],
    };
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(versions)
        .map_err(library)?
        .dangerous();
    let builder = match (&options.ca_file, insecure) {
        (_, true) => builder.with_custom_certificate_verifier(Arc::new(Anybody(provider))),
        (None, false) => return Err(TlsError::NoAuthorities),
        (Some(file), false) => {
            let authorities = Arc::new(files::authorities(file)?);
            let verifier = WebPkiServerVerifier::builder_with_provider(authorities, provider)
                .build()
                .map_err(|error| TlsError::Authorities(error.to_string()))?;
            builder.with_custom_certificate_verifier(verifier)
        }
    };
    let Some(own) = certificates.into_iter().next() else {
        return Err(TlsError::NoCertificate);
    };
    Ok(Arc::new(builder.with_client_cert_resolver(Arc::new(
        SingleCertAndKey::from(own),
    ))))
}

/// A client that shows no certificate and takes any, for questions without secrets.
///
/// # Errors
/// If the library refuses its own defaults.
pub fn unverified_client() -> Result<ClientConfig, TlsError> {
    let (provider, _) = suites::provider(&TlsOptions::default())?;
    let provider = Arc::new(provider);
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(&[&TLS13, &TLS12])
        .map_err(|error| TlsError::Library(error.to_string()))?;
    let verifier = Arc::new(Anybody(provider));
    let builder = builder
        .dangerous()
        .with_custom_certificate_verifier(verifier);
    Ok(builder.with_no_client_auth())
}

/// Takes any certificate, as `insecure` asks; the other side must still own its key.
#[derive(Debug)]
struct Anybody(Arc<CryptoProvider>);

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, certificate, signed, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, certificate, signed, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

/// Exchanges what the handshake needs.
async fn complete(
    socket: &TcpStream,
    connection: &mut ClientConnection,
) -> Result<(), HandshakeError> {
    while connection.is_handshaking() || connection.wants_write() {
        if connection.wants_write() {
            socket.writable().await?;
            let sent = connection.write_tls(&mut TrySocket(|bytes: &[u8]| socket.try_write(bytes)));
            wait_on(sent)?;
            continue;
        }
        socket.readable().await?;
        let received =
            connection.read_tls(&mut TrySource(|bytes: &mut [u8]| socket.try_read(bytes)));
        if wait_on(received)? == Some(0) {
            return Err(HandshakeError::Closed);
        }
        if let Err(error) = connection.process_new_packets() {
            // The alert that tells the other side why.
            let _ = connection.write_tls(&mut TrySocket(|bytes: &[u8]| socket.try_write(bytes)));
            return Err(HandshakeError::Refused(error));
        }
    }
    Ok(())
}

/// `None` where the socket was not ready after all.
fn wait_on(outcome: io::Result<usize>) -> Result<Option<usize>, HandshakeError> {
    match outcome {
        Ok(count) => Ok(Some(count)),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
        Err(error) => Err(error.into()),
    }
}

fn facts(connection: &ClientConnection) -> TlsFacts {
    let version = match connection.protocol_version() {
        Some(rustls::ProtocolVersion::TLSv1_2) => "1.2",
        Some(rustls::ProtocolVersion::TLSv1_3) => "1.3",
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
        handshake_first: true,
    }
}

/// A socket as the library wants to write to it.
struct TrySocket<F>(F);

impl<F: FnMut(&[u8]) -> io::Result<usize>> Write for TrySocket<F> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        (self.0)(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A socket as the library wants to read from it.
struct TrySource<F>(F);

impl<F: FnMut(&mut [u8]) -> io::Result<usize>> Read for TrySource<F> {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        (self.0)(bytes)
    }
}

#[derive(Debug)]
struct DialedReader {
    socket: tcp::OwnedReadHalf,
    connection: Arc<Mutex<ClientConnection>>,
}

#[derive(Debug)]
struct DialedWriter {
    socket: tcp::OwnedWriteHalf,
    connection: Arc<Mutex<ClientConnection>>,
    /// Plain bytes that have been sealed and not all been sent. They are offered again until they have.
    sealed: Mutex<usize>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl AsyncRead for DialedReader {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        loop {
            let mut connection = lock(&this.connection);
            match connection.reader().read(buffer.initialize_unfilled()) {
                Ok(count) => {
                    buffer.advance(count);
                    return Poll::Ready(Ok(()));
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                // The other side has closed without saying so: what came before was whole.
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                    return Poll::Ready(Ok(()));
                }
                Err(error) => return Poll::Ready(Err(error)),
            }
            let mut source = TrySource(|bytes: &mut [u8]| this.socket.try_read(bytes));
            match connection.read_tls(&mut source) {
                Ok(_) => {
                    let processed = connection.process_new_packets();
                    processed.map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    drop(connection);
                    ready!(this.socket.as_ref().poll_read_ready(context))?;
                }
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
    }
}

impl Receiver for DialedReader {}

impl DialedWriter {
    fn send_sealed(&self, connection: &mut ClientConnection) -> io::Result<()> {
        while connection.wants_write() {
            let mut target = TrySocket(|bytes: &[u8]| self.socket.try_write(bytes));
            if connection.write_tls(&mut target)? == 0 {
                return Err(io::ErrorKind::WriteZero.into());
            }
        }
        Ok(())
    }
}

impl Sender for DialedWriter {
    fn try_write(&self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        let mut connection = lock(&self.connection);
        let mut sealed = lock(&self.sealed);
        if *sealed == 0 {
            connection.set_buffer_limit(None);
            for slice in slices {
                let room = SEAL_BYTES - *sealed;
                let part = slice.get(..room.min(slice.len())).unwrap_or_default();
                connection.writer().write_all(part)?;
                *sealed += part.len();
            }
        }
        self.send_sealed(&mut connection)?;
        Ok(std::mem::take(&mut *sealed))
    }

    fn poll_writable(&self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.socket.as_ref().poll_write_ready(context)
    }

    fn poll_shutdown(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut connection = lock(&self.connection);
        connection.send_close_notify();
        match self.send_sealed(&mut connection) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                ready!(self.socket.as_ref().poll_write_ready(context))?;
                return Poll::Pending;
            }
            Ok(()) | Err(_) => {}
        }
        drop(connection);
        Pin::new(&mut self.socket).poll_shutdown(context)
    }
}
