//! What a server listens on. Doors can be opened and closed while it runs; who came in stays.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::listener::{self, Bindable, Listener};
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

    /// Whether whoever comes in there meets the same.
    fn serves_as(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Clients { .. }, Self::Clients { .. }) => true,
            (Self::Monitoring { secured: one, .. }, Self::Monitoring { secured: two, .. }) => {
                one == two
            }
            (Self::Unix(one), Self::Unix(two)) => one == two,
            _ => false,
        }
    }

    /// Whether one that takes over from the other needs what the other holds.
    fn competes_with(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Unix(one), Self::Unix(two)) => one.path == two.path,
            (one, two) => one.port().is_some() && one.port() == two.port(),
        }
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
    /// The socket of an open door serves this place as well.
    Open(SocketAddr),
}

/// An open door.
#[derive(Debug)]
struct Door {
    /// What it is open for. More than one door is open for a place after a move to all addresses: those who knock at the
    /// old address would be thrown out if its socket closed.
    place: Place,
    address: Option<SocketAddr>,
    socket: Weak<TcpListener>,
    opened: Opened,
}

/// What lets people in at a door.
#[derive(Debug)]
struct Opened {
    /// Ends it when cancelled.
    closing: CancellationToken,
    /// Whether another door takes over from it then.
    has_successor: Arc<AtomicBool>,
    serving: JoinHandle<()>,
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
        let doors = open.iter();
        let addresses = doors
            .filter(|door| matches!(door.place, Place::Clients { .. }))
            .filter_map(|door| door.address);
        widest(addresses).unwrap_or(nowhere)
    }

    /// The address that monitoring is served on, if it is.
    pub(super) fn monitoring_address(&self) -> Option<SocketAddr> {
        let open = self.lock();
        let doors = open.iter();
        let addresses = doors
            .filter(|door| matches!(door.place, Place::Monitoring { .. }))
            .filter_map(|door| door.address);
        widest(addresses)
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
            let takes_over = replaced.iter().any(|(old, _)| place.competes_with(old));
            let same = replaced.iter().filter(|(old, _)| place.serves_as(old));
            let open: Vec<SocketAddr> = same.filter_map(|(_, address)| *address).collect();
            self.share_ports(takes_over);
            let listener = bind(&place, takes_over, &open, &mut given).await;
            self.share_ports(false);
            bound.push(Bound {
                place,
                listener: listener?,
            });
        }
        Ok(bound)
    }

    /// The places that have no door yet, and those whose doors are to close, with their addresses.
    fn compare(&self, wanted: &[Place]) -> (Vec<Place>, Vec<(Place, Option<SocketAddr>)>) {
        let open = self.lock();
        let missing = wanted
            .iter()
            .filter(|place| !open.iter().any(|door| door.is(place)));
        let replaced = open
            .iter()
            .filter(|door| !wanted.iter().any(|place| door.is(place)));
        (
            missing.cloned().collect(),
            replaced
                .map(|door| (door.place.clone(), door.address))
                .collect(),
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

    /// Lets people in where it was prepared, and closes the doors that are not wanted any more: they are closed when what
    /// is returned has ended.
    pub(super) fn switch(
        &self,
        server: &Arc<Inner>,
        wanted: &[Place],
        bound: Vec<Bound>,
    ) -> Vec<JoinHandle<()>> {
        let mut open = self.lock();
        for door in open.iter_mut() {
            if let Some(new) = bound.iter().find(|new| new.covers(door)) {
                door.place = new.place.clone().with_port(new.address());
            }
        }
        let stays = |door: &mut Door| wanted.iter().any(|place| door.is(place));
        let closing: Vec<Door> = open.extract_if(.., |door| !stays(door)).collect();
        for door in &closing {
            let taken_over = bound.iter().any(|new| new.place.competes_with(&door.place));
            (door.opened.has_successor).store(taken_over, Ordering::Relaxed);
            door.opened.closing.cancel();
        }
        open.extend(bound.into_iter().filter_map(|bound| bound.open(server)));
        let ends = closing.into_iter().map(|door| door.opened.serving);
        ends.collect()
    }
}

impl Bound {
    /// The address that clients of TCP connect to.
    pub(super) fn client_address(&self) -> Option<SocketAddr> {
        let clients = matches!(self.place, Place::Clients { .. });
        self.address().filter(|_| clients)
    }

    fn address(&self) -> Option<SocketAddr> {
        match &self.listener {
            Listening::Clients(listener) => listener.address(),
            Listening::Unix(_) => None,
            Listening::Monitoring(listener) => Some(listener.address()),
            Listening::Open(address) => Some(*address),
        }
    }

    /// Whether it is reached by everybody whom an open door is reached by, and does the same for them.
    fn covers(&self, door: &Door) -> bool {
        let (Some(new), Some(old)) = (self.address(), door.address) else {
            return false;
        };
        let everywhere = new.ip().is_unspecified() && new.port() == old.port();
        // Bound to all addresses of IPv6, a socket may or may not be reached over IPv4, as the system has it.
        let certainly = new.is_ipv6() == old.is_ipv6() || self.is_for_both_families();
        let reached = match &self.listener {
            Listening::Open(_) => new == old,
            // One of two sockets at the same address is enough.
            Listening::Clients(_) | Listening::Unix(_) | Listening::Monitoring(_) => {
                new != old && everywhere && certainly
            }
        };
        reached && self.place.serves_as(&door.place)
    }

    /// Whether it is asked for by the name that listens on all addresses of both families.
    fn is_for_both_families(&self) -> bool {
        match &self.place {
            Place::Clients { host, .. } | Place::Monitoring { host, .. } => host == "0.0.0.0",
            Place::Unix(_) => false,
        }
    }

    fn open(self, server: &Arc<Inner>) -> Option<Door> {
        let Self { place, listener } = self;
        let (address, socket, opened) = match listener {
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
                let address = Some(listener.address());
                let secured = matches!(place, Place::Monitoring { secured: true, .. });
                let opened = Opened {
                    closing: closing.clone(),
                    has_successor: Arc::default(),
                    serving: server.serve_monitoring(listener, secured, closing),
                };
                (address, socket, opened)
            }
            Listening::Open(_) => return None,
        };
        Some(Door {
            place: place.with_port(address),
            address,
            socket,
            opened,
        })
    }
}

/// Lets clients in; where they come in, and how.
fn accept(
    listener: Listener,
    server: &Arc<Inner>,
) -> (Option<SocketAddr>, Weak<TcpListener>, Opened) {
    let closing = server.closing_listeners.child_token();
    let has_successor: Arc<AtomicBool> = Arc::default();
    let (address, socket) = (listener.address(), listener.socket());
    let accepting = listener.accept(
        Arc::clone(server),
        closing.clone(),
        Arc::clone(&has_successor),
    );
    let opened = Opened {
        closing,
        has_successor,
        serving: server.listeners.spawn(accepting),
    };
    (address, socket, opened)
}

/// Of the addresses that a place is open at the one that holds the others.
fn widest(addresses: impl Iterator<Item = SocketAddr>) -> Option<SocketAddr> {
    addresses.max_by_key(|address| address.ip().is_unspecified())
}

/// Listens on a place, unless that needs one of the `open` sockets, which serve the same already.
async fn bind(
    place: &Place,
    takes_over: bool,
    open: &[SocketAddr],
    given: &mut GivenListeners,
) -> Result<Listening, StartError> {
    match place {
        Place::Clients { host, port } => {
            let bound = match given.clients.take() {
                Some(given) => listener::given(given).map(Bindable::New),
                None => listener::bind(host, *port, takes_over, open).await,
            };
            let listener = bound.map(|socket| match socket {
                Bindable::New(socket) => Listening::Clients(Listener::Tcp(Arc::new(socket))),
                Bindable::Open(address) => Listening::Open(address),
            });
            listener.map_err(|source| StartError::Listen {
                address: format!("{host}:{port}"),
                source,
            })
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
                Some(given) => listener::given(given).map(Bindable::New),
                None => listener::bind(host, *port, takes_over, open).await,
            };
            let listener = bound.and_then(|socket| match socket {
                Bindable::New(socket) => HttpListener::new(socket).map(Listening::Monitoring),
                Bindable::Open(address) => Ok(Listening::Open(address)),
            });
            listener.map_err(|source| StartError::Monitor {
                address: format!("{host}:{port}"),
                source,
            })
        }
    }
}
