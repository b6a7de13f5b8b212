//! A client between its socket and its task.

use std::fmt;
use std::net::SocketAddr;
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
            Origin::Address(address) => (address.ip().to_string(), address.port(), None),
            Origin::UnixUser { user, .. } => (String::new(), 0, Some(user)),
            Origin::InProcess => (String::new(), 0, None),
        };
        let facts = Facts {
            id,
            ip,
            port,
            began: clocks(),
            nonce,
            label: format!("{origin} - cid:{id}"),
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
