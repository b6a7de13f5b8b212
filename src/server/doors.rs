//! What a server listens on. Doors can be opened and closed while it runs; who came in stays.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use super::listener::{self, Listener};
use super::unix::{self, HiddenSocket};
use super::{GivenListeners, Inner, StartError};
use crate::config::Options;
use crate::config::options::unix_socket::UnixSocket;
use crate::http::HttpListener;
use crate::monitor::monitoring_host;

/// Where to listen, and for whom.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Place {
    /// Clients over TCP; port 0 is any free one, and satisfied by the one that is open.
    Clients { host: String, port: u16 },
    /// Clients over a Unix socket.
    Unix(UnixSocket),
    /// Monitoring, over HTTPS if it is secured.
    Monitoring {
        host: String,
        port: u16,
        secured: bool,
    },
}

impl Place {
    /// Where monitoring listens, if the options ask for it.
    pub(super) fn of_monitoring(options: &Options) -> Option<Self> {
        let monitoring = &options.monitoring;
        Some(Self::Monitoring {
            host: monitoring_host(options),
            port: monitoring.http_port.or(monitoring.https_port)?,
            secured: monitoring.https_port.is_some(),
        })
    }

    /// Everything that the options ask for.
    pub(super) fn all(options: &Options) -> Vec<Self> {
        let clients = options.listens_on_tcp.then(|| Self::Clients {
            host: options.host.clone(),
            port: options.port,
        });
        let unix = options.unix_socket.clone().map(Self::Unix);
        let monitoring = Self::of_monitoring(options);
        clients.into_iter().chain(unix).chain(monitoring).collect()
    }

    fn port(&self) -> Option<u16> {
        match self {
            Self::Clients { port, .. } | Self::Monitoring { port, .. } => Some(*port),
            Self::Unix(_) => None,
        }
    }

    /// The same with the port that was chosen.
    fn with_port(mut self, chosen: Option<SocketAddr>) -> Self {
        match (&mut self, chosen) {
            (Self::Clients { port, .. } | Self::Monitoring { port, .. }, Some(address)) => {
                *port = address.port();
            }
            (Self::Unix(_), _) | (_, None) => {}
        }
        self
    }
}

/// A place that is listened on and where nobody is let in yet.
#[derive(Debug)]
pub(super) struct Bound {
    place: Place,
    listener: Listening,
}

#[derive(Debug)]
enum Listening {
    Clients(Listener),
    Unix(HiddenSocket),
    Monitoring(HttpListener),
}

/// An open door.
#[derive(Debug)]
struct Door {
    place: Place,
    address: Option<SocketAddr>,
    socket: Weak<TcpListener>,
    closing: CancellationToken,
}

impl Door {
    fn is(&self, wanted: &Place) -> bool {
        match wanted.port() {
            Some(0) => self.place == wanted.clone().with_port(self.address),
            Some(_) | None => self.place == *wanted,
        }
    }
}

/// The doors of a server.
#[derive(Debug, Default)]
pub(super) struct Doors {
    open: Mutex<Vec<Door>>,
}

impl Doors {
    fn lock(&self) -> MutexGuard<'_, Vec<Door>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The address that clients connect to; port 0 if there is no TCP listener for them.
    pub(super) fn client_address(&self) -> SocketAddr {
        let nowhere = (Ipv4Addr::UNSPECIFIED, 0).into();
        let open = self.lock();
        let mut doors = open.iter();
        let door = doors.find(|door| matches!(door.place, Place::Clients { .. }));
        door.and_then(|door| door.address).unwrap_or(nowhere)
    }

    /// The address that monitoring is served on, if it is.
    pub(super) fn monitoring_address(&self) -> Option<SocketAddr> {
        let open = self.lock();
        let mut doors = open.iter();
        let door = doors.find(|door| matches!(door.place, Place::Monitoring { .. }))?;
        door.address
    }

    /// Listens where it is wanted and not done yet. Doors that are to close stay open for now, also where a new one
    /// takes over their port or their path. Given sockets are used in place of those that would be bound.
    pub(super) async fn prepare(
        &self,
        wanted: &[Place],
        mut given: GivenListeners,
    ) -> Result<Vec<Bound>, StartError> {
        let (missing, replaced) = self.compare(wanted);
        let mut bound = Vec::new();
        for place in missing {
            let takes_over = replaced.iter().any(|old| match (&place, old) {
                (Place::Unix(new), Place::Unix(old)) => new.path == old.path,
                (new, old) => new.port().is_some() && new.port() == old.port(),
            });
            self.share_ports(takes_over);
            let listener = bind(&place, takes_over, &mut given).await;
            self.share_ports(false);
            bound.push(Bound {
                place,
                listener: listener?,
            });
        }
        Ok(bound)
    }

    /// The places that have no door yet, and those whose doors are to close.
    fn compare(&self, wanted: &[Place]) -> (Vec<Place>, Vec<Place>) {
        let open = self.lock();
        let missing = wanted
            .iter()
            .filter(|place| !open.iter().any(|door| door.is(place)));
        let replaced = open
            .iter()
            .filter(|door| !wanted.iter().any(|place| door.is(place)));
        (
            missing.cloned().collect(),
            replaced.map(|door| door.place.clone()).collect(),
        )
    }

    /// Whether others may listen on the same ports. Otherwise a port could only be taken over after a moment in which
    /// nobody listens on it.
    fn share_ports(&self, shared: bool) {
        for socket in self.lock().iter().filter_map(|door| door.socket.upgrade()) {
            // Where it does not work, binding the new socket fails and tells.
            let _ = rustix::net::sockopt::set_socket_reuseport(&socket, shared);
        }
    }

    /// Lets people in where it was prepared, and closes the doors that are not wanted any more.
    pub(super) fn switch(&self, server: &Arc<Inner>, wanted: &[Place], bound: Vec<Bound>) {
        let mut open = self.lock();
        open.retain(|door| {
            let stays = wanted.iter().any(|place| door.is(place));
            if !stays {
                door.closing.cancel();
            }
            stays
        });
        open.extend(bound.into_iter().filter_map(|bound| bound.open(server)));
    }
}

impl Bound {
    /// The address that clients of TCP connect to.
    pub(super) fn client_address(&self) -> Option<SocketAddr> {
        match &self.listener {
            Listening::Clients(listener) => listener.address(),
            Listening::Unix(_) | Listening::Monitoring(_) => None,
        }
    }

    fn open(self, server: &Arc<Inner>) -> Option<Door> {
        let Self { place, listener } = self;
        let (address, socket, closing) = match listener {
            Listening::Clients(listener) => accept(listener, server),
            Listening::Unix(hidden) => match hidden.appear() {
                Ok(socket) => accept(Listener::Unix(socket), server),
                Err(error) => {
                    tracing::error!("Error listening on unix socket: {error}");
                    return None;
                }
            },
            Listening::Monitoring(listener) => {
                let closing = server.stopping.child_token();
                let socket = Arc::downgrade(listener.socket());
                let door = (Some(listener.address()), socket, closing.clone());
                let secured = matches!(place, Place::Monitoring { secured: true, .. });
                server.serve_monitoring(listener, secured, closing);
                door
            }
        };
        Some(Door {
            place: place.with_port(address),
            address,
            socket,
            closing,
        })
    }
}

/// Lets clients in; where they come in, and what ends it.
fn accept(
    listener: Listener,
    server: &Arc<Inner>,
) -> (Option<SocketAddr>, Weak<TcpListener>, CancellationToken) {
    let closing = server.closing_listeners.child_token();
    let door = (listener.address(), listener.socket(), closing.clone());
    let accepting = listener.accept(Arc::clone(server), closing);
    server.listeners.spawn(accepting);
    door
}

async fn bind(
    place: &Place,
    takes_over: bool,
    given: &mut GivenListeners,
) -> Result<Listening, StartError> {
    match place {
        Place::Clients { host, port } => {
            let bound = match given.clients.take() {
                Some(given) => listener::given(given),
                None => listener::bind(host, *port, takes_over).await,
            };
            let listener = bound.map(|socket| Listener::Tcp(Arc::new(socket)));
            let listener = listener.map_err(|source| StartError::Listen {
                address: format!("{host}:{port}"),
                source,
            });
            listener.map(Listening::Clients)
        }
        Place::Unix(socket) => {
            let hidden = unix::bind(socket, takes_over);
            let hidden = hidden.map_err(|source| StartError::ListenUnix {
                path: socket.path.clone(),
                source,
            });
            hidden.map(Listening::Unix)
        }
        Place::Monitoring { host, port, .. } => {
            let bound = match given.monitoring.take() {
                Some(given) => listener::given(given),
                None => listener::bind(host, *port, takes_over).await,
            };
            let bound = bound.and_then(HttpListener::new);
            bound
                .map(Listening::Monitoring)
                .map_err(|source| StartError::Monitor {
                    address: format!("{host}:{port}"),
                    source,
                })
        }
    }
}
