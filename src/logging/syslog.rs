//! Syslog: headers as nats-server writes them, and the sockets.
//!
//! The local daemon gets the short header of RFC 3164 with the facility `daemon`. A remote server gets an RFC 3339
//! time and the host's name, with facility 0. Every message ends with a line feed, in datagrams too.

use std::io::{self, Write as _};
use std::net::{TcpStream, ToSocketAddrs as _, UdpSocket};
use std::os::unix::net::{UnixDatagram, UnixStream};
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::LogError;
use super::clock::Clock;
use super::render::Severity;
use super::sink::Sink;
use crate::process::os_error_text;

/// The facility `daemon` of RFC 3164, where the priority wants it.
const FACILITY_DAEMON: u8 = 3 << 3;

/// Where the local daemon's socket may be.
const LOCAL_SOCKETS: [&str; 3] = ["/dev/log", "/var/run/syslog", "/var/run/log"];

/// How long one attempt to connect to a syslog server over TCP may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// What a message starts with, apart from priority and time.
#[derive(Clone, Debug)]
pub(super) struct Header {
    /// The host's name; absent in messages to the local daemon.
    host: Option<String>,
    tag: String,
}

impl Header {
    pub(super) fn local() -> Self {
        Self {
            host: None,
            tag: crate::process::executable_name(),
        }
    }

    pub(super) fn remote() -> Self {
        let host = rustix::system::uname()
            .nodename()
            .to_string_lossy()
            .into_owned();
        Self {
            host: Some(host),
            ..Self::local()
        }
    }

    /// `<29>Nov 22 17:32:50 tag[1]: ` or `<5>2026-11-22T17:32:50Z host tag[1]: `.
    pub(super) fn write(&self, out: &mut Vec<u8>, severity: Severity, process: u32, clock: &Clock) {
        let facility = if self.host.is_none() {
            FACILITY_DAEMON
        } else {
            0
        };
        let _infallible = write!(out, "<{}>", facility | severity.syslog());
        match &self.host {
            None => clock.bsd(out),
            Some(host) => {
                clock.rfc3339(out, false);
                let _infallible = write!(out, " {host}");
            }
        }
        let _infallible = write!(out, " {}[{process}]: ", self.tag);
    }
}

/// Whom to connect to.
#[derive(Clone, Debug)]
enum Server {
    Local(Vec<PathBuf>),
    Unix(PathBuf),
    Udp(String),
    Tcp(String),
}

enum Connection {
    UnixDatagram(UnixDatagram),
    UnixStream(UnixStream),
    Udp(UdpSocket),
    Tcp(TcpStream),
}

/// A connected syslog server.
pub(super) struct Syslog {
    server: Server,
    /// Absent after a failure, until the next line.
    connection: Option<Connection>,
}

impl Syslog {
    /// Connects to the daemon of this machine, at `socket` if given.
    pub(super) fn local(socket: Option<&Path>) -> Result<Self, LogError> {
        let sockets = match socket {
            Some(socket) => vec![socket.to_owned()],
            None => LOCAL_SOCKETS.map(PathBuf::from).to_vec(),
        };
        Self::connected(Server::Local(sockets))
            .map_err(|_| LogError::Syslog("Unix syslog delivery error".into()))
    }

    /// Connects to the server that the URL names.
    pub(super) fn remote(url: &str) -> Result<Self, LogError> {
        let (scheme, rest) = url.split_once("://").unwrap_or((url, ""));
        let host = rest.split('/').next().unwrap_or_default().to_owned();
        let server = match scheme {
            "udp" => Server::Udp(host.clone()),
            "tcp" => Server::Tcp(host.clone()),
            "unix" => Server::Unix(PathBuf::from(rest)),
            _ => return Err(LogError::SyslogUrl(scheme.to_owned())),
        };
        let shown = if scheme == "unix" {
            rest.to_owned()
        } else {
            host
        };
        Self::connected(server).map_err(|error| {
            let cause = os_error_text(&error);
            LogError::Syslog(format!("dial {scheme} {shown}: connect: {cause}"))
        })
    }

    fn connected(server: Server) -> io::Result<Self> {
        let connection = Some(server.connect()?);
        Ok(Self { server, connection })
    }

    /// Sends one message; a broken connection is made anew once.
    fn deliver(&mut self, message: &[u8]) -> io::Result<()> {
        if let Some(connection) = &mut self.connection
            && connection.send(message).is_ok()
        {
            return Ok(());
        }
        self.connection = None;
        let mut connection = self.server.connect()?;
        connection.send(message)?;
        self.connection = Some(connection);
        Ok(())
    }
}

impl Sink for Syslog {
    fn write(&mut self, text: &[u8], ends: &[usize]) -> u64 {
        let mut lost = 0;
        let mut rest = text;
        let mut start = 0;
        for &end in ends {
            let (message, later) = rest.split_at_checked(end - start).unwrap_or((rest, &[]));
            lost += u64::from(self.deliver(message).is_err());
            (rest, start) = (later, end);
        }
        lost
    }
}

impl Server {
    fn connect(&self) -> io::Result<Connection> {
        match self {
            Self::Local(sockets) => connect_local(sockets),
            Self::Unix(path) => UnixStream::connect(path).map(Connection::UnixStream),
            Self::Udp(address) => {
                let address = resolve(address)?;
                let unspecified = if address.is_ipv4() {
                    "0.0.0.0:0"
                } else {
                    "[::]:0"
                };
                let socket = UdpSocket::bind(unspecified)?;
                socket.connect(address)?;
                Ok(Connection::Udp(socket))
            }
            Self::Tcp(address) => {
                TcpStream::connect_timeout(&resolve(address)?, CONNECT_TIMEOUT).map(Connection::Tcp)
            }
        }
    }
}

impl Connection {
    fn send(&mut self, message: &[u8]) -> io::Result<()> {
        match self {
            Self::UnixDatagram(socket) => socket.send(message).map(|_| ()),
            Self::UnixStream(stream) => stream.write_all(message),
            Self::Udp(socket) => socket.send(message).map(|_| ()),
            Self::Tcp(stream) => stream.write_all(message),
        }
    }
}

/// Datagrams first, at every place, then streams.
fn connect_local(sockets: &[PathBuf]) -> io::Result<Connection> {
    let mut failure = io::Error::from(io::ErrorKind::NotFound);
    for path in sockets {
        let socket = UnixDatagram::unbound()?;
        match socket.connect(path) {
            Ok(()) => return Ok(Connection::UnixDatagram(socket)),
            Err(error) => failure = error,
        }
    }
    for path in sockets {
        match UnixStream::connect(path) {
            Ok(stream) => return Ok(Connection::UnixStream(stream)),
            Err(error) => failure = error,
        }
    }
    Err(failure)
}

fn resolve(address: &str) -> io::Result<std::net::SocketAddr> {
    let mut addresses = address.to_socket_addrs()?;
    addresses
        .next()
        .ok_or_else(|| io::ErrorKind::AddrNotAvailable.into())
}
