//! Accepting clients.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpSocket, TcpStream};

use super::newcomer::Newcomer;
use super::{Inner, secure};
use crate::broker::close::CloseReason;
use crate::conn::transport::split_tcp;
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
        let socket = match host.parse() {
            Ok(IpAddr::V4(Ipv4Addr::UNSPECIFIED)) => bind_everywhere(port).await?,
            Ok(_) | Err(_) => TcpListener::bind((host, port)).await?,
        };
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
fn serve(server: &Arc<Inner>, stream: TcpStream, address: SocketAddr) {
    // Small messages must not wait for an acknowledgement of earlier ones. Should the option fail the
    // socket is broken already, which the first read tells.
    let _ = stream.set_nodelay(true);
    let (newcomer, population) = Newcomer::register(server, address);
    let secured = server.secured();
    let handshake_first = secured
        .as_ref()
        .is_some_and(|(tls, _)| tls.handshake_first());
    if let Some(exceeded) = newcomer.settings().limits.exceeded_by(population) {
        let (id, label) = (newcomer.peer().id(), newcomer.peer().label());
        tracing::error!(cid = id, "{label} - {exceeded}");
        if !handshake_first {
            newcomer.greet();
        }
        let (error, reason) = (
            ProtocolError::MaximumConnections,
            CloseReason::MaximumConnectionsExceeded,
        );
        return newcomer.refuse(split_tcp(stream), &error, reason);
    }
    match secured {
        None => {
            newcomer.greet();
            let (read, write) = split_tcp(stream);
            newcomer.run(read, write);
        }
        Some((tls, gate)) => {
            server
                .connections
                .spawn(secure::serve(newcomer, tls, gate, stream));
        }
    }
}
