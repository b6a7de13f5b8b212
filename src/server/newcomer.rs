//! A client between its socket and its task.

use std::net::SocketAddr;
use std::sync::Arc;

use ring::rand::{SecureRandom, SystemRandom};

use super::Inner;
use crate::broker::close::CloseReason;
use crate::broker::peer::{Facts, Peer};
use crate::broker::registry::Population;
use crate::conn::Connection;
use crate::conn::transport::{ReadHalf, SharedWire, SocketWire, WriteHalf};
use crate::link::client::Client;
use crate::link::context::ClientSettings;
use crate::proto::encode;
use crate::proto::error::ProtocolError;
use crate::proto::info::Info;

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
    pub(super) fn register(server: &Arc<Inner>, address: SocketAddr) -> (Self, Population) {
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
        let facts = Facts {
            id,
            ip: ip.to_string(),
            nonce,
            label: format!("{endpoint} - cid:{id}"),
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
    pub(super) fn run(self, read: ReadHalf, write: WriteHalf) {
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
        (read, write): (ReadHalf, WriteHalf),
        error: &ProtocolError,
        reason: CloseReason,
    ) {
        self.peer.send(&encode::error(error));
        self.peer.close(reason);
        self.run(read, write);
    }

    /// Gives it up before it runs.
    pub(super) fn abandon(self, reason: CloseReason) {
        self.peer.close(reason);
        self.server.context.broker.deregister(&self.peer);
        let reason = self.peer.condition().closing.unwrap_or(reason);
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
fn nonce() -> String {
    let mut bytes = [0; 11];
    // Without randomness the empty challenge remains, which no signature is accepted for.
    match SystemRandom::new().fill(&mut bytes) {
        Ok(()) => data_encoding::BASE64URL_NOPAD.encode(&bytes),
        Err(_) => String::new(),
    }
}
