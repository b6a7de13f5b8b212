//! Accepting clients.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::net::unix::UCred;
use tokio::net::{TcpListener, TcpSocket, TcpStream, UnixStream, lookup_host};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::newcomer::{Newcomer, Origin};
use super::unix::BoundSocket;
use super::{Inner, secure};
use crate::broker::close::CloseReason;
use crate::conn::transport::{ReadHalf, WriteHalf, split_tcp, split_unix};
use crate::proto::error::ProtocolError;

/// First and longest pause after the system would not accept a connection (too many open files).
const FIRST_PAUSE: Duration = Duration::from_millis(10);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// Clients accepted in a row, before connections that wait for the same thread are served.
const IN_A_ROW: usize = 8;

/// Connections that the system completes before they are accepted; it may allow fewer.
const BACKLOG: u32 = 4096;

/// How long a listener from which another one takes over still takes clients. Those whose handshake with the system is under
/// way at that moment, which is a matter of a round trip, would be thrown out otherwise.
const LAST_CALL: Duration = Duration::from_millis(250);

/// A bound listener for clients.
#[derive(Debug)]
pub(super) enum Listener {
    Tcp(Arc<TcpListener>),
    Unix(BoundSocket),
}

enum Accepted {
    Tcp(TcpStream, SocketAddr),
    Unix(UnixStream, UCred),
}

impl Listener {
    /// The socket, if it is one of TCP.
    pub(super) fn socket(&self) -> Weak<TcpListener> {
        match self {
            Self::Tcp(socket) => Arc::downgrade(socket),
            Self::Unix(_) => Weak::new(),
        }
    }

    /// The address that TCP clients connect to.
    pub(super) fn address(&self) -> Option<SocketAddr> {
        match self {
            Self::Tcp(socket) => socket.local_addr().ok(),
            Self::Unix(_) => None,
        }
    }

    /// Accepts clients until the listener is to close, and a little longer if it has a successor then.
    pub(super) async fn accept(
        self,
        server: Arc<Inner>,
        closing: CancellationToken,
        has_successor: Arc<AtomicBool>,
    ) {
        let mut pause = FIRST_PAUSE;
        let mut in_a_row = 0;
        loop {
            let accepted = tokio::select! {
                biased;
                () = closing.cancelled() => break,
                accepted = self.next() => accepted,
            };
            match accepted {
                Ok(accepted) => {
                    pause = FIRST_PAUSE;
                    accepted.serve(&server);
                    in_a_row = (in_a_row + 1) % IN_A_ROW;
                    if in_a_row == 0 {
                        tokio::task::yield_now().await;
                    }
                }
                Err(error) => {
                    tracing::error!("Temporary Client Accept Error ({error}), sleeping {pause:?}");
                    sleep(pause).await;
                    pause = (pause * 2).min(LONGEST_PAUSE);
                }
            }
        }
        if has_successor.load(Ordering::Relaxed) {
            self.accept_waiting(&server).await;
        }
    }

    /// Takes those who came in time, whom the end of the listener would throw out.
    async fn accept_waiting(&self, server: &Arc<Inner>) {
        let last_call = sleep(LAST_CALL);
        tokio::pin!(last_call);
        loop {
            let accepted = tokio::select! {
                biased;
                () = server.closing_listeners.cancelled() => return,
                accepted = self.next() => accepted,
                () = &mut last_call => return,
            };
            match accepted {
                Ok(accepted) => accepted.serve(server),
                Err(_) => sleep(FIRST_PAUSE).await,
            }
        }
    }

    async fn next(&self) -> io::Result<Accepted> {
        match self {
            Self::Tcp(socket) => {
                let (stream, address) = socket.accept().await?;
                Ok(Accepted::Tcp(stream, address))
            }
            Self::Unix(socket) => {
                let (stream, peer) = socket.accept().await?;
                Ok(Accepted::Unix(stream, peer))
            }
        }
    }
}

impl Accepted {
    fn serve(self, server: &Arc<Inner>) {
        match self {
            Self::Tcp(stream, address) => serve(server, stream, address),
            Self::Unix(stream, peer) => {
                let (user, process) = (peer.uid(), peer.pid());
                serve_local(server, stream, Origin::UnixUser { user, process });
            }
        }
    }
}

/// What a place on the network comes to.
pub(super) enum Bindable {
    New(TcpListener),
    /// One of the sockets that are open already has its address.
    Open(SocketAddr),
}

/// Listens on the port of a host, which another socket of this process may listen on if this one takes over from it.
pub(super) async fn bind(
    host: &str,
    port: u16,
    takes_over: bool,
    open: &[SocketAddr],
) -> io::Result<Bindable> {
    let socket = match host.parse() {
        Ok(IpAddr::V4(Ipv4Addr::UNSPECIFIED)) => bind_everywhere(port, takes_over)?,
        Ok(_) | Err(_) => match bind_host(host, port, takes_over, open).await? {
            Bindable::New(socket) => socket,
            Bindable::Open(address) => return Ok(Bindable::Open(address)),
        },
    };
    if takes_over {
        // From now on nobody else may.
        rustix::net::sockopt::set_socket_reuseport(&socket, false)?;
    }
    // Small messages must not wait for an acknowledgement of earlier ones. On Linux the sockets of clients
    // inherit this, which saves each of them a system call.
    rustix::net::sockopt::set_tcp_nodelay(&socket, true)?;
    Ok(Bindable::New(socket))
}

/// A listener that somebody else has bound.
pub(super) fn given(listener: std::net::TcpListener) -> io::Result<TcpListener> {
    listener.set_nonblocking(true)?;
    let socket = TcpListener::from_std(listener)?;
    rustix::net::sockopt::set_tcp_nodelay(&socket, true)?;
    Ok(socket)
}

/// Listens on all addresses of both families, which is what `0.0.0.0` means to nats-server (oracle).
fn bind_everywhere(port: u16, takes_over: bool) -> io::Result<TcpListener> {
    match bind_both_families(port, takes_over) {
        // There is no IPv6 here; every other reason would be the same for IPv4.
        Err(error) if error.kind() != io::ErrorKind::AddrInUse => {
            let address = (Ipv4Addr::UNSPECIFIED, port).into();
            listen(TcpSocket::new_v4()?, address, takes_over)
        }
        outcome => outcome,
    }
}

fn bind_both_families(port: u16, takes_over: bool) -> io::Result<TcpListener> {
    let socket = TcpSocket::new_v6()?;
    rustix::net::sockopt::set_ipv6_v6only(&socket, false)?;
    listen(socket, (Ipv6Addr::UNSPECIFIED, port).into(), takes_over)
}

/// Listens on the first address of a host that can be had.
async fn bind_host(
    host: &str,
    port: u16,
    takes_over: bool,
    open: &[SocketAddr],
) -> io::Result<Bindable> {
    let mut failure = io::Error::new(
        io::ErrorKind::InvalidInput,
        "could not resolve to any address",
    );
    for address in lookup_host((host, port)).await? {
        if open.contains(&address) {
            return Ok(Bindable::Open(address));
        }
        let socket = match address {
            SocketAddr::V4(_) => TcpSocket::new_v4()?,
            SocketAddr::V6(_) => TcpSocket::new_v6()?,
        };
        match listen(socket, address, takes_over) {
            Ok(listener) => return Ok(Bindable::New(listener)),
            Err(error) => failure = error,
        }
    }
    Err(failure)
}

/// Not tokio's own way: its backlog is 128, and when 2,000 clients come back at once those beyond that wait for
/// repeated packets, some longer than half a minute.
fn listen(socket: TcpSocket, address: SocketAddr, takes_over: bool) -> io::Result<TcpListener> {
    socket.set_reuseaddr(true)?;
    if takes_over {
        rustix::net::sockopt::set_socket_reuseport(&socket, true)?;
    }
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// Registers a client and lets it run: at once, or after its handshake.
fn serve(server: &Arc<Inner>, stream: TcpStream, address: SocketAddr) {
    #[cfg(not(target_os = "linux"))]
    let _ = stream.set_nodelay(true);
    let (newcomer, population) = Newcomer::register(server, Origin::of(address));
    let secured = server.secured();
    if let Some(exceeded) = newcomer.settings().limits.exceeded_by(population) {
        if !secured.is_some_and(|(tls, _)| tls.handshake_first()) {
            newcomer.greet();
        }
        return turn_away(newcomer, split_tcp(stream), exceeded);
    }
    match secured {
        None => {
            newcomer.greet();
            newcomer.run(split_tcp(stream));
        }
        Some((tls, gate)) => {
            let served = secure::serve(newcomer, tls, gate, stream);
            server.connections.spawn(served);
        }
    }
}

/// The same for a client on the same machine, where there is no TLS.
pub(super) fn serve_local(server: &Arc<Inner>, stream: UnixStream, origin: Origin) {
    let (newcomer, population) = Newcomer::register(server, origin);
    newcomer.greet();
    match newcomer.settings().limits.exceeded_by(population) {
        Some(exceeded) => turn_away(newcomer, split_unix(stream), exceeded),
        None => newcomer.run(split_unix(stream)),
    }
}

fn turn_away(newcomer: Newcomer, halves: (ReadHalf, WriteHalf), exceeded: &str) {
    let (id, label) = (newcomer.peer().id(), newcomer.peer().label());
    tracing::error!(cid = id, "{label} - {exceeded}");
    let reason = CloseReason::MaximumConnectionsExceeded;
    newcomer.refuse(halves, &ProtocolError::MaximumConnections, reason);
}

#[cfg(test)]
mod tests {
    use std::net::TcpStream as BlockingStream;

    use super::*;
    use crate::server::Server;

    /// More than the usual backlog of 128, which the system may not allow to exceed.
    const CLIENTS: usize = 300;

    async fn bound(host: &str) -> TcpListener {
        match bind(host, 0, false, &[]).await.unwrap() {
            Bindable::New(listener) => listener,
            Bindable::Open(address) => unreachable!("{address} is no open socket"),
        }
    }

    #[tokio::test]
    async fn a_crowd_is_connected_before_the_first_of_it_is_accepted() {
        let allowed = std::fs::read_to_string("/proc/sys/net/core/somaxconn").unwrap();
        let count = CLIENTS.min(allowed.trim().parse().unwrap());
        for host in ["127.0.0.1", "localhost", "0.0.0.0"] {
            let listener = bound(host).await;
            let mut address = listener.local_addr().unwrap();
            if address.ip().is_unspecified() {
                address.set_ip(Ipv4Addr::LOCALHOST.into());
            }
            let connect = |_| BlockingStream::connect_timeout(&address, Duration::from_secs(1));
            let crowd: io::Result<Vec<_>> = (0..count).map(connect).collect();
            assert_eq!(crowd.unwrap().len(), count, "{host}");
        }
    }

    /// On one thread, so that nobody else can serve them.
    #[tokio::test]
    async fn others_are_served_while_a_crowd_is_accepted() {
        let server = Server::builder().configuration("listen: \"127.0.0.1:-1\"");
        let server = server.unwrap().start().await.unwrap();
        let allowed = std::fs::read_to_string("/proc/sys/net/core/somaxconn").unwrap();
        let count = CLIENTS.min(allowed.trim().parse().unwrap());
        let address = server.client_address();
        let crowd: io::Result<Vec<_>> = (0..count)
            .map(|_| BlockingStream::connect(address))
            .collect();
        let (mut accepted, mut most) = (0, 0);
        while accepted < count {
            tokio::task::yield_now().await;
            let now = server.clients().broker.connection_count();
            (accepted, most) = (now, most.max(now - accepted));
        }
        assert!(crowd.is_ok());
        assert!((1..=2 * IN_A_ROW).contains(&most), "{most} in a row");
        server.shutdown().await;
    }

    #[tokio::test]
    async fn sockets_of_clients_do_not_delay() {
        for host in ["127.0.0.1", "0.0.0.0"] {
            let listener = bound(host).await;
            let port = listener.local_addr().unwrap().port();
            let client = TcpStream::connect((Ipv4Addr::LOCALHOST, port));
            let (accepted, client) = tokio::join!(listener.accept(), client);
            let (stream, _) = accepted.unwrap();
            assert!(client.is_ok());
            assert_eq!(stream.nodelay().unwrap(), cfg!(target_os = "linux"));
        }
    }
}
