//! The first byte of a connection, looked at and left in place.

use std::time::Duration;

use tokio::net::TcpStream;
use tokio::time::timeout;

/// The first byte of every TLS handshake: the record type `handshake` (RFC 8446, section 5.1).
pub const TLS_HANDSHAKE_BYTE: u8 = 0x16;

/// Waits for the first byte that the peer sends; `None` if it sends nothing for so long or closes.
///
/// With `handshake_first: auto` a peer that sends something begins a handshake, and one that does not waits for
/// INFO. With `allow_non_tls`, [`TLS_HANDSHAKE_BYTE`] tells the one from the other.
pub async fn first_byte(stream: &TcpStream, patience: Duration) -> Option<u8> {
    let mut byte = [0];
    match timeout(patience, stream.peek(&mut byte)).await {
        Ok(Ok(1..)) => Some(byte[0]),
        Ok(Ok(0) | Err(_)) | Err(_) => None,
    }
}
