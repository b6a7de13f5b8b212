//! One client connection in its plainest form: a blocking socket that knows the greeting.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use crate::Outcome;
use crate::process::address;

/// A server that is silent for this long has lost something.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// CONNECT and a PING.
pub(crate) const CONNECT: &[u8] =
    b"CONNECT {\"verbose\":false,\"pedantic\":false,\"tls_required\":false,\
    \"name\":\"\",\"lang\":\"raw\",\"version\":\"1.0.0\",\"protocol\":1,\"echo\":true,\
    \"headers\":true,\"no_responders\":true}\r\nPING\r\n";
const PONG: &[u8] = b"PONG\r\n";

/// A connection past CONNECT. Nothing of the server's is left unread when a method returns.
pub(crate) struct Connection {
    stream: TcpStream,
}

impl Connection {
    /// Connects, greets and makes sure that the server has no further word to say.
    pub(crate) fn open(port: u16) -> Outcome<Self> {
        let mut connection = Self::greet(port)?;
        // A server may follow its first PONG with another INFO; the second PONG comes after that.
        connection.round_trip(b"")?;
        Ok(connection)
    }

    /// Connects and greets as a client library does: INFO, CONNECT and PING, PONG.
    pub(crate) fn greet(port: u16) -> Outcome<Self> {
        let stream = TcpStream::connect(address(port))?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        let mut connection = Self { stream };
        connection.read_until(|bytes| bytes.ends_with(b"\r\n"))?;
        connection.stream.write_all(CONNECT)?;
        connection.read_until(answers_ping)?;
        Ok(connection)
    }

    /// Sends `bytes` and a PING, and returns when the PONG says that the server has taken them.
    pub(crate) fn round_trip(&mut self, bytes: &[u8]) -> Outcome<()> {
        self.stream.write_all(bytes)?;
        self.stream.write_all(b"PING\r\n")?;
        self.read_until(answers_ping)
    }

    /// The socket.
    pub(crate) const fn stream(&mut self) -> &mut TcpStream {
        &mut self.stream
    }

    /// Gives the socket away.
    pub(crate) fn into_stream(self) -> TcpStream {
        self.stream
    }

    fn read_until(&mut self, complete: impl Fn(&[u8]) -> bool) -> Outcome<()> {
        let mut buffer = [0_u8; 4096];
        let mut length = 0;
        loop {
            let room = buffer.get_mut(length..).unwrap_or_default();
            let count = self.stream.read(room)?;
            length += count;
            let received = buffer.get(..length).unwrap_or_default();
            if received.windows(4).any(|window| window == b"-ERR") {
                return Err(String::from_utf8_lossy(received).into());
            }
            if complete(received) {
                return Ok(());
            }
            if count == 0 {
                return Err("the server closed the connection or says too much".into());
            }
        }
    }
}

/// Whether these whole lines hold the PONG; a PING or an INFO may follow it.
pub(crate) fn answers_ping(lines: &[u8]) -> bool {
    lines.ends_with(b"\r\n") && lines.windows(PONG.len()).any(|window| window == PONG)
}
