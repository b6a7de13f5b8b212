//! TLS for listeners: configurations made of files and names, handshakes off the message path, and streams that
//! keep no buffer while they are idle.
//!
//! A listener owns a [`TlsListener`], which reads certificate files again when they change. Sockets go through the
//! [`HandshakeGate`], which does the expensive part on threads of its own, and come back as an [`Established`]
//! connection, to be split into halves that read and write as a plain socket's would.

mod dialer;
mod files;
mod gate;
mod known_hosts;
mod listener;
mod pinned;
mod rate_limit;
mod resolver;
mod session;
mod sniff;
mod stream;
mod suites;

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

pub use dialer::{Dialed, TlsDialer, unverified_client};
pub use gate::{Established, GateLimits, HandshakeError, HandshakeGate};
pub use known_hosts::names_known_host;
pub use listener::{Refresh, TlsListener};
pub use pinned::{PinnedCertificates, pin_of};
pub use rate_limit::RateLimit;
pub use sniff::{TLS_HANDSHAKE_BYTE, first_byte};
pub use stream::{TlsReadHalf, TlsWriteHalf};

/// How long a handshake may take if the configuration does not say.
pub const DEFAULT_HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(2);

/// How long `handshake_first: auto` waits for the client to begin the handshake before it sends INFO.
pub const DEFAULT_FALLBACK_DELAY: Duration = Duration::from_millis(50);

/// The `tls` block of a listener, as far as it shapes handshakes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TlsOptions {
    /// `cert_file` and `key_file`, or the pairs of `certs`. With several, the first one that fits the client's
    /// server name and signature algorithms is used, and the first one of all if none fits.
    pub certificates: Vec<CertificateFiles>,
    /// `ca_file`: the authorities that sign clients' certificates.
    pub ca_file: Option<PathBuf>,
    /// Whether clients must present a certificate (`verify`, `verify_and_map`,
    /// `verify_cert_and_check_known_urls`).
    pub verify: bool,
    /// `cipher_suites`, by Go's names. They limit TLS 1.2; TLS 1.3 has its three suites always, as with
    /// nats-server. Empty allows all.
    pub cipher_suites: Vec<String>,
    /// `allow_insecure_cipher_suites`.
    pub allow_insecure_cipher_suites: bool,
    /// `curve_preferences`, by Go's names, in order. Empty takes the default.
    pub curve_preferences: Vec<String>,
    /// `min_version`.
    pub min_version: TlsVersion,
}

/// A pair of PEM files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificateFiles {
    /// The certificate, followed by those that lead to its authority.
    pub cert_file: PathBuf,
    /// Its private key.
    pub key_file: PathBuf,
}

/// The versions of TLS that are spoken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TlsVersion {
    /// TLS 1.2 (RFC 5246).
    #[default]
    Tls12,
    /// TLS 1.3 (RFC 8446).
    Tls13,
}

/// Why a listener's TLS cannot be set up. The texts are nats-server's where it has one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TlsError {
    /// There is no certificate to show.
    NoCertificate,
    /// A certificate or key cannot be used: which of how many, and why.
    Certificate {
        /// Place in [`TlsOptions::certificates`], counted from 1.
        place: usize,
        /// How many there are.
        count: usize,
        /// The cause.
        cause: String,
    },
    /// The file of authorities cannot be used.
    Authorities(String),
    /// Clients are to be verified, but by nobody.
    NoAuthorities,
    /// A cipher suite that does not exist.
    UnknownCipherSuite(String),
    /// Cipher suites that are known to be weak, without the option that allows them.
    InsecureCipherSuites(Vec<String>),
    /// A curve that does not exist.
    UnknownCurve(String),
    /// None of the curves can be offered.
    NoCurve,
    /// A pinned certificate that is no digest.
    PinnedCertificate(String),
    /// The TLS library refuses the combination.
    Library(String),
}

impl fmt::Display for TlsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoCertificate => f.write_str("missing 'cert_file' in TLS configuration"),
            Self::Certificate { place: 1, count: 1, cause } => {
                write!(f, "error parsing X509 certificate/key pair: {cause}")
            }
            Self::Certificate { place, count, cause } => {
                write!(f, "error parsing X509 certificate/key pair {place}/{count}: {cause}")
            }
            Self::Authorities(cause) => write!(f, "failed to parse root ca certificate: {cause}"),
            Self::NoAuthorities => f.write_str(
                "'verify' needs a 'ca_file': every certificate of a public authority would be let in",
            ),
            Self::UnknownCipherSuite(name) => write!(f, "unrecognized cipher {name}"),
            Self::InsecureCipherSuites(names) => write!(
                f,
                "insecure cipher suites configured without 'allow_insecure_cipher_suites' option set: {}",
                names.join(", ")
            ),
            Self::UnknownCurve(name) => write!(f, "unrecognized curve preference {name}"),
            Self::NoCurve => f.write_str("none of the curve preferences is supported by this version"),
            Self::PinnedCertificate(text) => write!(
                f,
                "'pinned_certs' key {text} does not look like hex-encoded sha256 of DER encoded SubjectPublicKeyInfo"
            ),
            Self::Library(cause) => f.write_str(cause),
        }
    }
}

impl std::error::Error for TlsError {}
