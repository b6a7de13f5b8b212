//! How a connection is secured.

/// What both sides of a TLS connection agreed upon, for decisions about it, logs and monitoring.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TlsFacts {
    /// `1.2` or `1.3`.
    pub version: &'static str,
    /// Go's name of the cipher suite.
    pub cipher_suite: &'static str,
    /// The peer's own certificate in DER, if it presented one; its chain has been verified.
    pub peer_certificate: Option<Box<[u8]>>,
    /// Whether the handshake came before INFO.
    pub handshake_first: bool,
}
