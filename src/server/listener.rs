//! Accepting clients.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use ring::rand::{SecureRandom, SystemRandom};
use tokio::net::{TcpListener, TcpSocket, TcpStream};

use super::Inner;
use crate::broker::close::CloseReason;
use crate::broker::peer::{Facts, Peer};
use crate::conn::Connection;
use crate::conn::transport::{SharedWire, SocketWire, split_tcp};
use crate::link::client::Client;
use crate::proto::encode;
use crate::proto::error::ProtocolError;

/// First and longest pause after the system would not accept a connection (too many open files).
const FIRST_PAUSE: Duration = Duration::from_millis(10);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// Connections that the system completes before they are accepted; it may allow fewer.
const BACKLOG: u32 = 4096;

/// A bound listener for clients.
#[derive(Debug)]
pub(super) struct Listener {
    socket: TcpListener,
    address: SocketAddr,
}

impl Listener {
    pub(super) async fn bind(host: &str, port: u16) -> io::Result<Self> {
        let socket = bind(host, port).await?;
        let address = socket.local_addr()?;
        Ok(Self { socket, address })
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Accepts clients until the listeners are to close.
    pub(super) async fn accept(self, server: Arc<Inner>) {
        let mut pause = FIRST_PAUSE;
        loop {
            let accepted = tokio::select! {
                biased;
                () = server.closing_listeners.cancelled() => return,
                accepted = self.socket.accept() => accepted,
            };
            match accepted {
                Ok((stream, address)) => {
                    pause = FIRST_PAUSE;
                    serve(&server, stream, address);
                }
                Err(error) => {
                    tracing::error!("Temporary Client Accept Error ({error}), sleeping {pause:?}");
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(LONGEST_PAUSE);
                }
            }
        }
    }
}

/// Listens on the port of a host.
pub(super) async fn bind(host: &str, port: u16) -> io::Result<TcpListener> {
    match host.parse() {
        Ok(IpAddr::V4(Ipv4Addr::UNSPECIFIED)) => bind_everywhere(port).await,
        Ok(_) | Err(_) => TcpListener::bind((host, port)).await,
    }
}

/// Listens on all addresses of both families, which is what `0.0.0.0` means to nats-server (oracle).
async fn bind_everywhere(port: u16) -> io::Result<TcpListener> {
    match bind_both_families(port) {
        // There is no IPv6 here; every other reason would be the same for IPv4.
        Err(error) if error.kind() != io::ErrorKind::AddrInUse => {
            TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)).await
        }
        outcome => outcome,
    }
}

fn bind_both_families(port: u16) -> io::Result<TcpListener> {
    let socket = TcpSocket::new_v6()?;
    rustix::net::sockopt::set_ipv6_v6only(&socket, false)?;
    socket.set_reuseaddr(true)?;
    socket.bind((Ipv6Addr::UNSPECIFIED, port).into())?;
    socket.listen(BACKLOG)
}

/// Registers a client, greets it and lets it run in a task of its own.
#[expect(
    clippy::disallowed_methods,
    reason = "a connection begins here, and the edges read the clock"
)]
fn serve(server: &Arc<Inner>, stream: TcpStream, address: SocketAddr) {
    // Small messages must not wait for an acknowledgement of earlier ones. Should the option fail the
    // socket is broken already, which the first read tells.
    let _ = stream.set_nodelay(true);
    let context = &server.context;
    let settings = context.settings();
    let id = context.broker.next_id();
    let (ip, port) = (address.ip().to_canonical(), address.port());
    let endpoint = SocketAddr::new(ip, port);
    let nonce = if settings.authenticator.info_nonce_required() {
        nonce()
    } else {
        String::new()
    };
    let label = format!("{endpoint} - cid:{id}");
    let facts = Facts {
        id,
        ip: ip.to_string(),
        port,
        began: (SystemTime::now(), Instant::now()),
        nonce,
        label,
    };
    let (read_half, write_half) = split_tcp(stream);
    let wire = Arc::new(SocketWire::new(write_half));
    let sender = Box::new(SharedWire(Arc::clone(&wire)));
    tracing::debug!(cid = id, "{} - Client connection created", facts.label);
    let peer = Arc::new(Peer::new(facts, sender, settings.limits.max_pending));
    let connections = context.broker.register(Arc::clone(&peer));
    peer.send(&encode::info(&context.greeting(&peer).to_json()));
    if connections > settings.limits.max_connections {
        tracing::error!(cid = id, "{} - maximum connections exceeded", peer.label());
        peer.send(&encode::error(&ProtocolError::MaximumConnections));
        peer.close(CloseReason::MaximumConnectionsExceeded);
    }
    peer.flush();
    // Shutdown closes everybody it finds registered; this one may have come too late to be found.
    if server.stopping.is_cancelled() {
        peer.close(CloseReason::ServerShutdown);
    }
    let client = Client::new(Arc::clone(context), Arc::clone(&peer));
    let connection = Connection::new(read_half, wire, peer, client, server.surroundings());
    server.connections.spawn(connection.run());
}

/// A challenge for clients that log in with a key: 15 characters of URL-safe base64.
fn nonce() -> String {
    let mut bytes = [0; 11];
    // Without randomness the empty challenge remains, which no signature is accepted for.
    match SystemRandom::new().fill(&mut bytes) {
        Ok(()) => data_encoding::BASE64URL_NOPAD.encode(&bytes),
        Err(_) => String::new(),
    }
}
