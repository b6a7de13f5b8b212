//! A client that sends bytes and looks at bytes.

use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpStream};

pub(crate) use crate::wait::{PATIENCE, eventually, now};

/// CONNECT of a client that wants no confirmations.
pub(crate) const QUIET: &str = r#"CONNECT {"verbose":false,"pedantic":false}"#;
/// The same for one that speaks headers and wants to know when nobody listens.
pub(crate) const MODERN: &str = r#"CONNECT {"verbose":false,"pedantic":false,"headers":true,"no_responders":true,"protocol":1}"#;

/// A delivered message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Message {
    /// The control line without its line end.
    pub(crate) line: String,
    /// Header block and payload.
    pub(crate) body: Vec<u8>,
}

impl Message {
    /// The word of the control line at this place; 2 is the sid.
    pub(crate) fn word(&self, at: usize) -> &str {
        self.line.split(' ').nth(at).unwrap()
    }
}

/// One connection.
///
/// It answers the server's pings by itself unless told otherwise, so that slow machines do not change
/// what a test sees.
#[derive(Debug)]
pub(crate) struct Client {
    reader: BufReader<TcpStream>,
    /// Whole lines and messages that have been received, and how much of them was looked at.
    received: Vec<u8>,
    seen: usize,
    answers_pings: bool,
    /// The server's first line, without its line end.
    pub(crate) greeting: String,
}

impl Client {
    /// Connects and reads INFO.
    pub(crate) fn connect(address: SocketAddr) -> Self {
        let mut client = Self::open(TcpStream::connect(address).unwrap());
        client.greeting = client.line();
        assert!(client.greeting.starts_with("INFO {"), "{}", client.greeting);
        client
    }

    /// A client on a stream of which nothing has been read.
    pub(crate) fn open(stream: TcpStream) -> Self {
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        Self {
            reader: BufReader::with_capacity(64 * 1024, stream),
            received: Vec::new(),
            seen: 0,
            answers_pings: true,
            greeting: String::new(),
        }
    }

    /// Lets the test see the server's pings.
    pub(crate) fn show_pings(&mut self) {
        self.answers_pings = false;
    }

    /// Connects, introduces itself and waits until the server has read it.
    pub(crate) fn introduced(address: SocketAddr, connect: &str) -> Self {
        let mut client = Self::connect(address);
        client.send(connect);
        client.send("\r\nPING\r\n");
        client.expect("PONG\r\n");
        if connect.contains(r#""protocol":1"#) {
            assert!(client.line().starts_with("INFO {"));
        }
        client
    }

    /// Connects as most clients do, without confirmations.
    pub(crate) fn quiet(address: SocketAddr) -> Self {
        Self::introduced(address, QUIET)
    }

    /// A quiet client with one subscription that the server knows of.
    pub(crate) fn subscriber(address: SocketAddr, subscription: &str) -> Self {
        let mut client = Self::quiet(address);
        client.send(format!("SUB {subscription}\r\n"));
        client.ping();
        client
    }

    pub(crate) fn stream(&self) -> &TcpStream {
        self.reader.get_ref()
    }

    pub(crate) fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.reader.get_mut().write_all(bytes.as_ref()).unwrap();
    }

    /// Sends what the server may refuse to read; whether it took everything.
    pub(crate) fn try_send(&mut self, bytes: impl AsRef<[u8]>) -> io::Result<()> {
        self.reader.get_mut().write_all(bytes.as_ref())
    }

    /// Sends a message with `PUB`.
    pub(crate) fn publish(&mut self, subject: &str, payload: &[u8]) {
        let line = format!("PUB {subject} {}\r\n", payload.len());
        self.send([line.as_bytes(), payload, b"\r\n"].concat());
    }

    /// Says that it will send no more.
    pub(crate) fn finish_sending(&self) {
        self.stream().shutdown(Shutdown::Write).unwrap();
    }

    /// The next bytes must be these.
    pub(crate) fn expect(&mut self, expected: impl AsRef<[u8]>) {
        let expected = expected.as_ref();
        let mut matched = 0;
        while matched < expected.len() {
            assert!(
                self.fill().unwrap(),
                "closed before {:?}",
                quote(&expected[matched..])
            );
            let available = self.unseen();
            let count = available.len().min(expected.len() - matched);
            let wanted = &expected[matched..matched + count];
            let got = &available[..count];
            assert!(
                got == wanted,
                "got {:?}\ninstead of {:?}",
                quote(available),
                quote(wanted)
            );
            self.seen += count;
            matched += count;
        }
    }

    /// Everything sent before has been served, and nothing was sent that is not an answer to `PING`.
    pub(crate) fn ping(&mut self) {
        self.send("PING\r\n");
        self.expect("PONG\r\n");
    }

    /// The next line without its line end.
    pub(crate) fn line(&mut self) -> String {
        assert!(self.fill().unwrap(), "closed instead of sending a line");
        let available = self.unseen();
        let end = memchr::memmem::find(available, b"\r\n").expect("a line end");
        let line = String::from_utf8(available[..end].to_vec()).unwrap();
        self.seen += end + 2;
        line
    }

    /// The next message.
    pub(crate) fn message(&mut self) -> Message {
        let line = self.line();
        let size = payload_size(line.as_bytes()).unwrap_or_else(|| panic!("{line} is no message"));
        let body = self.unseen()[..size].to_vec();
        self.seen += size + 2;
        Message { line, body }
    }

    /// So many of the next bytes.
    pub(crate) fn take(&mut self, count: usize) -> Vec<u8> {
        let mut taken = Vec::new();
        while taken.len() < count {
            assert!(self.fill().unwrap(), "closed after {:?}", quote(&taken));
            let part = self.unseen().len().min(count - taken.len());
            taken.extend_from_slice(&self.unseen()[..part]);
            self.seen += part;
        }
        taken
    }

    /// The server closes in order, without having sent anything more.
    pub(crate) fn expect_end(&mut self) {
        let rest = self.rest().expect("an orderly end");
        assert!(
            rest.is_empty(),
            "instead of the end came {:?}",
            quote(&rest)
        );
    }

    /// Everything up to the orderly end of the connection.
    pub(crate) fn rest(&mut self) -> io::Result<Vec<u8>> {
        let mut rest = Vec::new();
        while self.fill()? {
            rest.extend_from_slice(self.unseen());
            self.seen = self.received.len();
        }
        Ok(rest)
    }

    /// Reads until the connection has ended in whatever way; what came.
    pub(crate) fn read_to_whatever_end(&mut self) -> Vec<u8> {
        let mut got = Vec::new();
        loop {
            match self.fill() {
                Ok(true) => got.extend_from_slice(self.unseen()),
                Ok(false) => return got,
                Err(error) if error.kind() == io::ErrorKind::ConnectionReset => return got,
                Err(error) => panic!("{error}"),
            }
            self.seen = self.received.len();
        }
    }

    fn unseen(&self) -> &[u8] {
        &self.received[self.seen..]
    }

    /// Makes sure that something is there to be looked at; false at the end of the connection.
    fn fill(&mut self) -> io::Result<bool> {
        if self.seen < self.received.len() {
            return Ok(true);
        }
        loop {
            self.received.clear();
            self.seen = 0;
            if self.reader.read_until(b'\n', &mut self.received)? == 0 {
                return Ok(false);
            }
            if !self.answers_pings || self.received != b"PING\r\n" {
                break;
            }
            // The server may have closed meanwhile, which the next read tells.
            let _ = self.reader.get_mut().write_all(b"PONG\r\n");
        }
        if let Some(size) = payload_size(&self.received) {
            let body = (&mut self.reader).take(size as u64 + 2);
            io::copy(&mut { body }, &mut self.received)?;
        }
        Ok(true)
    }
}

/// How many bytes of header block and payload follow a control line; `None` if it is of no message.
fn payload_size(line: &[u8]) -> Option<usize> {
    if !line.starts_with(b"MSG ") && !line.starts_with(b"HMSG ") {
        return None;
    }
    let last = line.trim_ascii_end().rsplit(|&byte| byte == b' ').next()?;
    std::str::from_utf8(last).ok()?.parse().ok()
}

/// Bytes as readable text, shortened.
pub(crate) fn quote(bytes: &[u8]) -> String {
    let shown = &bytes[..bytes.len().min(300)];
    let more = if shown.len() < bytes.len() { "…" } else { "" };
    format!("{}{more}", shown.escape_ascii())
}

/// The fields of an INFO line.
pub(crate) fn info(line: &str) -> serde_json::Value {
    serde_json::from_str(line.strip_prefix("INFO ").expect("INFO").trim_end()).unwrap()
}
