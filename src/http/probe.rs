//! Asks a server for its health, for images that have neither a shell nor a tool that speaks HTTP.
//!
//! One request over one blocking socket: a probe that runs every few seconds should cost no threads.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream, ToSocketAddrs as _};
use std::sync::Arc;
use std::time::{Duration, Instant};

use hyper::Uri;
use rustls::pki_types::ServerName;
use rustls::{ClientConnection, StreamOwned};

use crate::config::Options;
use crate::monitor::monitoring_host;
use crate::tls::unverified_client;

/// Time for the whole of a probe.
const PATIENCE: Duration = Duration::from_secs(5);

/// Most bytes of an answer that are read.
const MAX_ANSWER: u64 = 64 * 1024;

/// Asked where no path is given: it needs no credentials.
const DEFAULT_PATH: &str = "/readyz";

/// Asked where a URL has no path: every nats-server knows it.
const DEFAULT_PATH_OF_URL: &str = "/healthz";

/// The URL of `path` on the monitoring port that the options ask for, as seen from this machine.
///
/// # Errors
/// If there is no such port, or the system is to choose it.
pub fn own_url(options: &Options, path: &str) -> Result<String, String> {
    let monitoring = &options.monitoring;
    let (scheme, port) = match (monitoring.http_port, monitoring.https_port) {
        (Some(port), _) => ("http", port),
        (None, Some(port)) => ("https", port),
        (None, None) => return Err("no monitoring port is configured (http_port)".to_owned()),
    };
    if port == 0 {
        return Err("the system chooses the monitoring port; name a URL".to_owned());
    }
    let host = match monitoring_host(options).as_str() {
        "0.0.0.0" => "127.0.0.1".to_owned(),
        "::" => "[::1]".to_owned(),
        host if host.contains(':') => format!("[{host}]"),
        host => host.to_owned(),
    };
    let base = monitoring.base_path.as_deref().unwrap_or_default();
    let base = base.trim_matches('/');
    let slash = if base.is_empty() { "" } else { "/" };
    let path = if path.is_empty() { DEFAULT_PATH } else { path };
    Ok(format!("{scheme}://{host}:{port}{slash}{base}{path}"))
}

/// Asks `url` (`http` or `https`), and returns what a healthy server answers: any status from 200 to 299. The
/// certificate is not verified, as kubelet does not: nothing secret is sent, and the answer is a yes or no.
///
/// # Errors
/// Why the server is not healthy, in one line: its status and its words, or why there is no answer.
pub fn probe(url: &str) -> Result<String, String> {
    let target = Target::parse(url)?;
    let answer = target.ask().map_err(|error| format!("{url}: {error}"))?;
    let (status, text) = understand(&answer).ok_or_else(|| format!("{url}: no HTTP answer"))?;
    if (200..300).contains(&status) {
        Ok(text)
    } else {
        Err(format!("{url}: {status} {text}"))
    }
}

/// What a URL asks for.
#[derive(Debug, PartialEq, Eq)]
struct Target {
    secured: bool,
    host: String,
    port: u16,
    path: String,
}

impl Target {
    fn parse(url: &str) -> Result<Self, String> {
        let invalid = || format!("{url:?} is no URL such as http://127.0.0.1:8222/healthz");
        let uri: Uri = url.parse().map_err(|_| invalid())?;
        let secured = match uri.scheme_str() {
            Some("http") => false,
            Some("https") => true,
            Some(_) | None => return Err(invalid()),
        };
        let host = uri.host().filter(|host| !host.is_empty());
        let path = match uri.path_and_query().map_or("/", |path| path.as_str()) {
            "/" => DEFAULT_PATH_OF_URL,
            path => path,
        };
        Ok(Self {
            secured,
            host: host
                .ok_or_else(invalid)?
                .trim_matches(['[', ']'])
                .to_owned(),
            port: uri.port_u16().unwrap_or(if secured { 443 } else { 80 }),
            path: path.to_owned(),
        })
    }

    fn ask(&self) -> io::Result<Vec<u8>> {
        #[expect(clippy::disallowed_methods, reason = "the edges read the clock")]
        let until = Instant::now() + PATIENCE;
        let socket = PatientSocket {
            socket: self.connect()?,
            until,
        };
        if !self.secured {
            return self.exchange(socket);
        }
        let config = unverified_client().map_err(io::Error::other)?;
        let name = ServerName::try_from(self.host.clone()).map_err(io::Error::other)?;
        let session = ClientConnection::new(Arc::new(config), name).map_err(io::Error::other)?;
        self.exchange(StreamOwned::new(session, socket))
    }

    fn connect(&self) -> io::Result<TcpStream> {
        let addresses: Vec<SocketAddr> =
            (self.host.as_str(), self.port).to_socket_addrs()?.collect();
        let mut failure = io::Error::from(io::ErrorKind::AddrNotAvailable);
        let share = PATIENCE / u32::try_from(addresses.len().max(1)).unwrap_or(u32::MAX);
        for address in &addresses {
            match TcpStream::connect_timeout(address, share) {
                Ok(socket) => return Ok(socket),
                Err(error) => failure = error,
            }
        }
        Err(failure)
    }

    /// HTTP/1.0, so that the answer ends with the connection and comes in one piece.
    fn exchange(&self, mut stream: impl Read + Write) -> io::Result<Vec<u8>> {
        let Self {
            host, port, path, ..
        } = self;
        let host = if host.contains(':') {
            format!("[{host}]")
        } else {
            host.clone()
        };
        write!(stream, "GET {path} HTTP/1.0\r\nHost: {host}:{port}\r\n\r\n")?;
        stream.flush()?;
        let mut answer = Vec::new();
        match stream.take(MAX_ANSWER).read_to_end(&mut answer) {
            // Servers may close a TLS connection without saying so first.
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(answer),
            outcome => outcome.map(|_| answer),
        }
    }
}

/// A socket on which nothing waits beyond a point in time.
#[derive(Debug)]
struct PatientSocket {
    socket: TcpStream,
    until: Instant,
}

impl PatientSocket {
    fn left(&self) -> io::Result<Option<Duration>> {
        #[expect(clippy::disallowed_methods, reason = "the edges read the clock")]
        let left = self.until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(io::Error::new(io::ErrorKind::TimedOut, "no answer in time"));
        }
        Ok(Some(left))
    }
}

impl Read for PatientSocket {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.socket.set_read_timeout(self.left()?)?;
        self.socket.read(buffer)
    }
}

impl Write for PatientSocket {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        self.socket.set_write_timeout(self.left()?)?;
        self.socket.write(buffer)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.socket.flush()
    }
}

/// The status of an answer and the first line of its body.
fn understand(answer: &[u8]) -> Option<(u16, String)> {
    let text = String::from_utf8_lossy(answer);
    let (head, body) = text.split_once("\r\n\r\n")?;
    let mut words = head.split(' ');
    words
        .next()
        .filter(|version| version.starts_with("HTTP/1."))?;
    let status = words.next()?.get(..3)?.parse().ok()?;
    Some((status, body.lines().next().unwrap_or_default().to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_taken_apart() {
        let target = Target::parse("https://[::1]:8443/readyz?x=1").unwrap();
        let expected = Target {
            secured: true,
            host: "::1".to_owned(),
            port: 8443,
            path: "/readyz?x=1".to_owned(),
        };
        assert_eq!(target, expected);
        let target = Target::parse("http://example.com").unwrap();
        assert_eq!((target.port, target.path.as_str()), (80, "/healthz"));
        for wrong in [
            "",
            "/readyz",
            "127.0.0.1:8222",
            "ftp://a/b",
            "http://",
            "http:///x",
        ] {
            assert!(Target::parse(wrong).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn the_own_url_is_one_that_this_machine_reaches() {
        let mut options = Options::default();
        assert!(own_url(&options, "").unwrap_err().contains("http_port"));
        options.monitoring.http_port = Some(8222);
        assert_eq!(
            own_url(&options, "").unwrap(),
            "http://127.0.0.1:8222/readyz"
        );
        options.monitoring.base_path = Some("/nats".to_owned());
        let url = own_url(&options, "/livez").unwrap();
        assert_eq!(url, "http://127.0.0.1:8222/nats/livez");
        options.monitoring.host = Some("::1".to_owned());
        (options.monitoring.http_port, options.monitoring.https_port) = (None, Some(1));
        assert_eq!(
            own_url(&options, "").unwrap(),
            "https://[::1]:1/nats/readyz"
        );
        options.monitoring.https_port = Some(0);
        assert!(own_url(&options, "").is_err());
    }

    #[test]
    fn answers_are_understood_and_others_are_not() {
        let answer = b"HTTP/1.0 503 Service Unavailable\r\nA: b\r\n\r\nnot ready\nmore";
        assert_eq!(understand(answer), Some((503, "not ready".to_owned())));
        for wrong in [
            "",
            "HTTP/1.0 200 OK\r\n",
            "SSH-2.0\r\n\r\n",
            "HTTP/1.0 abc\r\n\r\n",
        ] {
            assert_eq!(understand(wrong.as_bytes()), None, "{wrong:?}");
        }
    }
}
