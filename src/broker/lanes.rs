//! Several connections to one other server, over each of which messages of every account go.
//!
//! A publisher's messages always take the same one, so they stay in order; while it is gone, they go
//! nowhere. Interest is told over all of them: whatever is sent over one follows what was told before it.
//! So who gets a request knows already that the answer is wanted, and whichever connection the answer
//! takes, it is sent, since what any connection told holds for all of them until each that told it has
//! taken it back or ended.

use std::borrow::Borrow;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use super::account::Account;
use super::peer::Peer;
use super::subscription::Subscription;
use super::wishes::{Wish, WishKey, Wishes};

/// The connections to one server.
pub struct Lanes {
    peers: RwLock<Box<[Option<Arc<Peer>>]>>,
    wishes: Mutex<Wishes<Held>>,
}

/// A wish and how many connections told of it.
struct Held {
    wish: Wish,
    holders: u32,
}

impl Borrow<Wish> for Held {
    fn borrow(&self) -> &Wish {
        &self.wish
    }
}

/// Connections know their lanes, which know their connections: printing ends here.
impl fmt::Debug for Lanes {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Lanes").finish_non_exhaustive()
    }
}

impl Lanes {
    /// Room for `count` connections.
    pub(super) fn new(count: usize) -> Self {
        Self {
            peers: RwLock::new(vec![None; count].into()),
            wishes: Mutex::default(),
        }
    }

    /// How many connections there is room for.
    pub(super) fn count(&self) -> usize {
        let peers = self.peers.read().unwrap_or_else(PoisonError::into_inner);
        peers.len()
    }

    /// Messages whose lane is `index` take this connection from now on.
    pub(super) fn open(&self, index: usize, peer: &Arc<Peer>) {
        let mut peers = self.peers.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(place) = peers.get_mut(index) {
            *place = Some(Arc::clone(peer));
        }
    }

    /// No more messages take this connection.
    pub(super) fn close(&self, peer: &Arc<Peer>) {
        let mut peers = self.peers.write().unwrap_or_else(PoisonError::into_inner);
        let is_gone = |place: &Option<Arc<Peer>>| {
            let found = place.as_ref();
            found.is_some_and(|found| Arc::ptr_eq(found, peer))
        };
        for place in peers.iter_mut().filter(|place| is_gone(place)) {
            *place = None;
        }
    }

    /// The connection that messages of the connection number `publisher` take, if it is there.
    pub(super) fn lane_of(&self, publisher: u64) -> Option<Arc<Peer>> {
        let peers = self.peers.read().unwrap_or_else(PoisonError::into_inner);
        // By the golden ratio, which spreads numbers evenly whatever the step between them.
        let spread = publisher.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 32;
        let index = (spread * peers.len() as u64) >> 32;
        peers.get(usize::try_from(index).ok()?)?.clone()
    }

    fn connections(&self) -> Vec<u64> {
        let peers = self.peers.read().unwrap_or_else(PoisonError::into_inner);
        peers.iter().flatten().map(|peer| peer.id()).collect()
    }

    fn wishes(&self) -> MutexGuard<'_, Wishes<Held>> {
        self.wishes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One more connection, `peer`, tells of a wish: the subscription for it. None if its words are too long
    /// (4 GiB).
    #[must_use]
    pub fn hold(
        &self,
        account: &Arc<Account>,
        key: WishKey<'_>,
        weight: u32,
        peer: &Arc<Peer>,
    ) -> Option<Arc<Subscription>> {
        let mut wishes = self.wishes();
        if let Some(held) = wishes.find_mut(key) {
            held.holders += 1;
            held.wish.subscription.set_weight(weight);
            return Some(Arc::clone(&held.wish.subscription));
        }
        let made = Subscription::new_remote(key.filter, key.queue, Arc::clone(peer), weight)?;
        let subscription = Arc::new(made);
        account.subscribe(Arc::clone(&subscription));
        let wish = Wish {
            account: Arc::clone(account),
            origin: key.origin.map(Into::into),
            subscription: Arc::clone(&subscription),
        };
        wishes.insert(Held { wish, holders: 1 });
        Some(subscription)
    }

    /// A connection that told of a wish has taken it back, or ended.
    pub fn let_go(&self, wish: &Wish) {
        let mut wishes = self.wishes();
        if let Some(held) = wishes.find_mut(wish.key())
            && Arc::ptr_eq(&held.wish.subscription, &wish.subscription)
        {
            held.holders -= 1;
            if held.holders > 0 {
                return;
            }
            wishes.remove(wish.key());
        }
        wish.account.unsubscribe(&wish.subscription);
    }
}

impl Peer {
    /// The lanes that it is one of, if messages of its server are spread over several connections.
    #[must_use]
    pub fn lanes(&self) -> Option<&Arc<Lanes>> {
        self.lanes.get()
    }

    /// The numbers of the connections that what its server wants stands for: its own, or those of all lanes.
    #[must_use]
    pub fn connections(&self) -> Vec<u64> {
        self.lanes()
            .map_or_else(|| vec![self.id()], |lanes| lanes.connections())
    }

    /// Whether both lead to the same server.
    pub(super) fn leads_where(self: &Arc<Self>, other: &Arc<Self>) -> bool {
        Arc::ptr_eq(self, other)
            || match (self.lanes(), other.lanes()) {
                (Some(own), Some(others)) => Arc::ptr_eq(own, others),
                (_, None) | (None, _) => false,
            }
    }
}
