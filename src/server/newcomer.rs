//! A client between its socket and its task.

use std::fmt;
use std::hint::black_box;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Instant, SystemTime};

use ring::rand::{SecureRandom, SystemRandom};

use super::Inner;
use crate::broker::close::CloseReason;
use crate::broker::closed::ClosedConnection;
use crate::broker::peer::{Facts, Peer};
use crate::broker::registry::Population;
use crate::conn::Connection;
use crate::conn::transport::{ReadHalf, SharedWire, SocketWire, WriteHalf};
use crate::link::client::Client;
use crate::link::context::ClientSettings;
use crate::proto::encode;
use crate::proto::error::ProtocolError;
use crate::proto::info::Info;

/// For every so many clients, memory for all of them is asked for and given back at once. In all threads but the first the
/// C library gets memory from the system page by page, with a system call for each; what it was given back it keeps up to
/// 128 KiB, and of as much it asks the system in another way.
const CROWD: u64 = 16;
const CROWD_BYTES: usize = 96 * 1024;

/// Where a client comes from.
#[derive(Debug, Clone, Copy)]
pub(super) enum Origin {
    Address(SocketAddr),
    /// The other end of a Unix socket, as the system vouches for it: numbers of a user and of a process, if known.
    UnixUser {
        user: u32,
        process: Option<i32>,
    },
    InProcess,
}

impl Origin {
    /// A peer of a listener for both families may have an IPv4 address in the form of an IPv6 one.
    pub(super) fn of(address: SocketAddr) -> Self {
        Self::Address(SocketAddr::new(address.ip().to_canonical(), address.port()))
    }

    /// How log lines call the connection of that number from there, whose address reads `ip`.
    fn label(self, ip: &str, id: u64) -> String {
        let mut digits = itoa::Buffer::new();
        let id = digits.format(id);
        match self {
            Self::Address(address) => {
                let mut digits = itoa::Buffer::new();
                let (open, close) = if address.is_ipv6() {
                    ("[", "]:")
                } else {
                    ("", ":")
                };
                [
                    open,
                    ip,
                    close,
                    digits.format(address.port()),
                    " - cid:",
                    id,
                ]
                .concat()
            }
            Self::UnixUser { .. } | Self::InProcess => format!("{self} - cid:{id}"),
        }
    }
}

impl fmt::Display for Origin {
    /// As log lines begin.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(address) => address.fmt(formatter),
            Self::UnixUser { user, process } => {
                let process = process.unwrap_or_default();
                write!(formatter, "unix:{user}:{process}")
            }
            Self::InProcess => formatter.write_str("in-process"),
        }
    }
}

/// A client that is registered and does not run yet.
#[derive(Debug)]
pub(super) struct Newcomer {
    server: Arc<Inner>,
    settings: Arc<ClientSettings>,
    wire: Arc<SocketWire>,
    peer: Arc<Peer>,
}

impl Newcomer {
    /// Registers a client; also how many there are now.
    pub(super) fn register(server: &Arc<Inner>, origin: Origin) -> (Self, Population) {
        let context = &server.context;
        let settings = context.settings();
        let id = context.broker.next_id();
        let nonce = if settings.authenticator.info_nonce_required() {
            nonce()
        } else {
            String::new()
        };
        let (ip, port, unix_user) = match origin {
            Origin::Address(address) => (ip_text(address.ip()), address.port(), None),
            Origin::UnixUser { user, .. } => (String::new(), 0, Some(user)),
            Origin::InProcess => (String::new(), 0, None),
        };
        let facts = Facts {
            id,
            label: origin.label(&ip, id),
            ip,
            port,
            began: clocks(),
            nonce,
            unix_user,
            in_process: matches!(origin, Origin::InProcess),
        };
        let wire = Arc::new(SocketWire::detached());
        let sender = Box::new(SharedWire(Arc::clone(&wire)));
        tracing::debug!(cid = id, "{} - Client connection created", facts.label);
        let peer = Arc::new(Peer::new(facts, sender, settings.limits.max_pending));
        let population = context.broker.register(Arc::clone(&peer));
        // Shutdown closes everybody it finds registered; this one may have come too late to be found.
        if server.stopping.is_cancelled() {
            peer.close(CloseReason::ServerShutdown);
        }
        let newcomer = Self {
            server: Arc::clone(server),
            settings,
            wire,
            peer,
        };
        (newcomer, population)
    }

    /// What was in force when it came.
    pub(super) fn settings(&self) -> &ClientSettings {
        &self.settings
    }

    pub(super) fn peer(&self) -> &Peer {
        &self.peer
    }

    /// The INFO document that it is greeted with.
    pub(super) fn greeting(&self) -> Info {
        self.server.context.greeting(&self.peer)
    }

    /// Leaves the greeting for when it runs.
    pub(super) fn greet(&self) {
        self.peer.send(&encode::info(&self.greeting().to_json()));
    }

    /// Lets it run in a task of its own.
    pub(super) fn run(self, (read, write): (ReadHalf, WriteHalf)) {
        if self.peer.id().is_multiple_of(CROWD) {
            drop(black_box(Vec::<u8>::with_capacity(CROWD_BYTES)));
        }
        let Self {
            server, wire, peer, ..
        } = self;
        wire.attach(write);
        peer.flush();
        let client = Client::new(Arc::clone(&server.context), Arc::clone(&peer));
        let connection = Connection::new(read, wire, peer, client, server.surroundings());
        server.connections.spawn(connection.run());
    }

    /// Lets it run just long enough to be told why it may not stay.
    pub(super) fn refuse(
        self,
        halves: (ReadHalf, WriteHalf),
        error: &ProtocolError,
        reason: CloseReason,
    ) {
        self.peer.send(&encode::error(error));
        self.peer.close(reason);
        self.run(halves);
    }

    /// Gives it up before it runs.
    pub(super) fn abandon(self, reason: CloseReason) {
        self.peer.close(reason);
        self.peer.note_end(clocks().1);
        let broker = &self.server.context.broker;
        broker.deregister(&self.peer);
        let reason = self.peer.condition().closing.unwrap_or(reason);
        broker.closed.add(ClosedConnection {
            portrait: self.peer.portrait(),
            reason,
            subscriptions: Box::default(),
        });
        let (id, label) = (self.peer.id(), self.peer.label());
        tracing::debug!(cid = id, "{label} - Client connection closed: {reason}");
    }

    /// Resolves when it is to end before it runs.
    pub(super) async fn closing(&self) {
        while self.peer.condition().closing.is_none() {
            self.wire.control().await;
        }
    }
}

/// An address as text, sooner than by way of a formatter where it is of IPv4.
fn ip_text(ip: IpAddr) -> String {
    let IpAddr::V4(v4) = ip else {
        return ip.to_string();
    };
    let mut text = String::with_capacity("255.255.255.255".len());
    for (place, part) in v4.octets().into_iter().enumerate() {
        if place > 0 {
            text.push('.');
        }
        text.push_str(itoa::Buffer::new().format(part));
    }
    text
}

/// A challenge for clients that log in with a key: 15 characters of URL-safe base64.
pub(super) fn nonce() -> String {
    let mut bytes = [0; 11];
    // Without randomness the empty challenge remains, which no signature is accepted for.
    match SystemRandom::new().fill(&mut bytes) {
        Ok(()) => data_encoding::BASE64URL_NOPAD.encode(&bytes),
        Err(_) => String::new(),
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "connections begin and end here, and the edges read the clock"
)]
pub(super) fn clocks() -> (SystemTime, Instant) {
    (SystemTime::now(), Instant::now())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_read_as_addresses_do() {
        for text in [
            "127.0.0.1:4222",
            "0.10.200.255:0",
            "[::1]:65535",
            "[fe80::a:1]:7",
        ] {
            let address: SocketAddr = text.parse().unwrap();
            let ip = ip_text(address.ip());
            assert_eq!(ip, address.ip().to_string());
            assert_eq!(Origin::of(address).label(&ip, 5), format!("{text} - cid:5"));
        }
        let local = Origin::UnixUser {
            user: 7,
            process: Some(8),
        };
        assert_eq!(local.label("", 9), "unix:7:8 - cid:9");
        assert_eq!(Origin::InProcess.label("", 9), "in-process - cid:9");
    }
}
