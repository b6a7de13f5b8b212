//! The connections that ended last, for monitoring.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::close::CloseReason;
use super::peer::portrait::{Introduction, Portrait};
use super::subscription::Subscription;

/// Subscriptions that are remembered of one connection; it may have had more.
pub const REMEMBERED_SUBSCRIPTIONS: usize = 64;

/// Bytes of their words that are remembered of one connection: some thousand connections are.
pub const REMEMBERED_BYTES: usize = 4096;

/// Bytes that are remembered of each text by which one connection introduced itself, which may have been nobody's
/// who may come in.
const REMEMBERED_TEXT: usize = 256;

/// Connections that are remembered unless told otherwise (nats-server's `max_closed_clients`).
const REMEMBERED_CONNECTIONS: usize = 10_000;

/// A subscription at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SubscriptionPortrait {
    /// The filter.
    pub filter: Box<[u8]>,
    /// The queue group, if it is in one.
    pub queue: Option<Box<[u8]>>,
    /// The peer's name for it.
    pub sid: Box<[u8]>,
    /// Messages delivered.
    pub delivered: u64,
    /// Messages after which it ends; 0 for none.
    pub max: u64,
    /// The number of the connection.
    pub connection: u64,
}

impl From<&Subscription> for SubscriptionPortrait {
    fn from(subscription: &Subscription) -> Self {
        Self {
            filter: subscription.filter().into(),
            queue: subscription.queue().map(Into::into),
            sid: subscription.sid().into(),
            delivered: subscription.delivered(),
            max: subscription.max().unwrap_or(0),
            connection: subscription.peer().id(),
        }
    }
}

/// A connection that has ended.
#[derive(Debug)]
pub struct ClosedConnection {
    /// What it was at its end.
    pub portrait: Portrait,
    /// Why it ended.
    pub reason: CloseReason,
    /// Its subscriptions, up to [`REMEMBERED_SUBSCRIPTIONS`] of them and [`REMEMBERED_BYTES`].
    pub subscriptions: Box<[SubscriptionPortrait]>,
}

/// A bounded memory of closed connections: the oldest is forgotten for the newest.
#[derive(Debug)]
pub struct ClosedConnections {
    ring: Mutex<VecDeque<Arc<ClosedConnection>>>,
    limit: AtomicUsize,
}

impl Default for ClosedConnections {
    fn default() -> Self {
        Self {
            ring: Mutex::default(),
            limit: AtomicUsize::new(REMEMBERED_CONNECTIONS),
        }
    }
}

impl ClosedConnections {
    fn lock(&self) -> MutexGuard<'_, VecDeque<Arc<ClosedConnection>>> {
        self.ring.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Remembers this many connections from now on.
    pub fn set_limit(&self, limit: usize) {
        self.limit.store(limit, Ordering::Relaxed);
        let mut ring = self.lock();
        let surplus = ring.len().saturating_sub(limit);
        ring.drain(..surplus);
    }

    /// Remembers a connection.
    pub fn add(&self, mut connection: ClosedConnection) {
        // Nobody asks for it any more, and it is larger than all the rest.
        if let Some(tls) = &mut connection.portrait.tls {
            tls.peer_certificate = None;
        }
        shorten(&mut connection.portrait.introduction);
        let limit = self.limit.load(Ordering::Relaxed);
        let mut ring = self.lock();
        if ring.len() >= limit {
            ring.pop_front();
        }
        if limit > 0 {
            ring.push_back(Arc::new(connection));
        }
    }

    /// Those that are remembered, the oldest first.
    #[must_use]
    pub fn list(&self) -> Vec<Arc<ClosedConnection>> {
        self.lock().iter().cloned().collect()
    }
}

/// Leaves as much of long texts as is remembered.
fn shorten(introduction: &mut Option<Arc<Introduction>>) {
    let Some(known) = introduction else { return };
    let texts = [&known.name, &known.language, &known.version, &known.user];
    if texts.iter().all(|text| text.len() <= REMEMBERED_TEXT) {
        return;
    }
    let short = |text: &str| {
        let end = text.floor_char_boundary(REMEMBERED_TEXT);
        text.get(..end).unwrap_or_default().into()
    };
    *known = Arc::new(Introduction {
        name: short(&known.name),
        language: short(&known.language),
        version: short(&known.version),
        user: short(&known.user),
        account: Arc::clone(&known.account),
    });
}

#[cfg(test)]
mod tests {
    use super::super::peer::tests::peer;
    use super::*;

    fn close(connections: &ClosedConnections, id: u64) {
        connections.add(ClosedConnection {
            portrait: peer(id).portrait(),
            reason: CloseReason::ClientClosed,
            subscriptions: Box::default(),
        });
    }

    fn ids(connections: &ClosedConnections) -> Vec<u64> {
        let list = connections.list();
        list.iter().map(|closed| closed.portrait.id).collect()
    }

    #[test]
    fn the_oldest_are_forgotten() {
        let connections = ClosedConnections::default();
        connections.set_limit(3);
        (1..=5).for_each(|id| close(&connections, id));
        assert_eq!(ids(&connections), [3, 4, 5]);
        connections.set_limit(1);
        assert_eq!(ids(&connections), [5]);
        connections.set_limit(0);
        close(&connections, 6);
        assert_eq!(ids(&connections), [0; 0]);
    }

    #[test]
    fn of_long_texts_the_beginning_is_remembered() {
        let connections = ClosedConnections::default();
        for (given, kept) in [(300, 128), (128, 128), (3, 3)] {
            let client = peer(1);
            // Two bytes each.
            let text = |count| -> Box<str> { "é".repeat(count).into() };
            client.introduce(Introduction {
                name: text(given),
                user: text(given / 2),
                version: "v".into(),
                ..Introduction::default()
            });
            connections.add(ClosedConnection {
                portrait: client.portrait(),
                reason: CloseReason::AuthenticationViolation,
                subscriptions: Box::default(),
            });
            let known = connections.list().pop().unwrap();
            let known = known.portrait.introduction.clone().unwrap();
            assert_eq!(known.name, text(kept));
            assert_eq!(known.user, text(kept.min(given / 2)));
            assert_eq!(&*known.version, "v");
        }
    }
}
