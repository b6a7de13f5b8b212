//! The connections that ended last, for monitoring.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::close::CloseReason;
use super::peer::portrait::Portrait;
use super::subscription::Subscription;

/// Subscriptions that are remembered of one connection; it may have had more.
pub const REMEMBERED_SUBSCRIPTIONS: usize = 64;

/// Bytes of their words that are remembered of one connection: some thousand connections are.
pub const REMEMBERED_BYTES: usize = 4096;

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
}
