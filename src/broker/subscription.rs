//! One subscription: what is wanted, by whom, under which name.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};

use super::imports::{Imported, ServiceImport};
use super::peer::Peer;
use crate::auth::DeliveryFilter;
use crate::proto::op::Subscribe;
use crate::routing::groups::Subscriber;

/// A peer's wish to get what is published on a filter.
///
/// Its three words stand one after the other in a single allocation: a server may hold millions.
#[derive(Debug)]
pub struct Subscription {
    /// Filter, queue and sid.
    words: Box<[u8]>,
    filter_end: u32,
    queue_end: u32,
    has_queue: bool,
    closed: AtomicBool,
    /// Whether another server wants it, and for how many members of the queue group.
    remote: bool,
    weight: AtomicU32,
    /// Messages delivered, and the number after which it ends (0: never). Both are written only under
    /// the peer's lock.
    delivered: AtomicU64,
    max: AtomicU64,
    peer: Arc<Peer>,
    /// What is done with a message besides handing it to the peer.
    handling: Option<Box<Handling>>,
}

/// What becomes of messages for a subscription that is not just a client's wish for all of them.
#[derive(Debug)]
pub enum Handling {
    /// Each is judged, since the peer may not see all that the filter wants.
    Judged(DeliveryFilter),
    /// They go to the subscription of another account that imports them.
    Imported(Imported),
    /// They are requests that go to another account.
    Service(Arc<ServiceImport>),
    /// They are answers to requests from other accounts.
    Responses,
}

/// How many messages a subscription took.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Count {
    /// That many of those offered, from the first on.
    pub(super) taken: usize,
    /// Whether it has ended with them.
    pub(super) last: bool,
}

impl Subscription {
    /// A subscription of `peer`. `None` when the words are too long to be one (4 GiB).
    #[must_use]
    pub fn new(
        subscribe: &Subscribe<'_>,
        peer: Arc<Peer>,
        admission: Option<DeliveryFilter>,
    ) -> Option<Self> {
        let mut subscription = Self::plain(subscribe, peer)?;
        subscription.handling = admission.map(|filter| Box::new(Handling::Judged(filter)));
        Some(subscription)
    }

    /// A subscription in the name of `peer` whose messages are handled in a way of their own. `None` as
    /// above.
    #[must_use]
    pub fn with(subscribe: &Subscribe<'_>, peer: Arc<Peer>, handling: Handling) -> Option<Self> {
        let mut subscription = Self::plain(subscribe, peer)?;
        subscription.handling = Some(Box::new(handling));
        Some(subscription)
    }

    fn plain(subscribe: &Subscribe<'_>, peer: Arc<Peer>) -> Option<Self> {
        let queue = subscribe.queue.unwrap_or_default();
        let words = [subscribe.filter, queue, subscribe.sid].concat();
        Some(Self {
            words: words.into_boxed_slice(),
            filter_end: u32::try_from(subscribe.filter.len()).ok()?,
            queue_end: u32::try_from(subscribe.filter.len() + queue.len()).ok()?,
            has_queue: subscribe.queue.is_some(),
            closed: AtomicBool::new(false),
            remote: false,
            weight: AtomicU32::new(1),
            delivered: AtomicU64::new(0),
            max: AtomicU64::new(0),
            peer,
            handling: None,
        })
    }

    /// The same subscription, whose messages are judged by `admission` from now on. It is closed until
    /// [`Self::take_over`].
    pub(super) fn successor(&self, admission: Option<DeliveryFilter>) -> Option<Self> {
        let words = Subscribe {
            filter: self.filter(),
            queue: self.queue(),
            sid: self.sid(),
        };
        let successor = Self::new(&words, Arc::clone(&self.peer), admission)?;
        successor.close();
        Some(successor)
    }

    /// Goes on where `other` was, which ends. The caller holds the peer's lock.
    pub(super) fn take_over(&self, other: &Self) {
        self.delivered.store(other.delivered(), Ordering::Relaxed);
        let max = other.max.load(Ordering::Relaxed);
        self.max.store(max, Ordering::Relaxed);
        other.close();
        self.closed.store(false, Ordering::Relaxed);
    }

    /// What another server, which is reached through `peer`, wants for `weight` members of a queue group
    /// or for any number of plain subscriptions. `None` when the words are too long (4 GiB).
    #[must_use]
    pub fn new_remote(
        filter: &[u8],
        queue: Option<&[u8]>,
        peer: Arc<Peer>,
        weight: u32,
    ) -> Option<Self> {
        let words = Subscribe {
            filter,
            queue,
            sid: &[],
        };
        let mut made = Self::new(&words, peer, None)?;
        made.remote = true;
        made.weight = AtomicU32::new(weight);
        Some(made)
    }

    /// Whether another server wants it. Messages for it are sent once per server, however many of its
    /// wishes match.
    #[must_use]
    pub fn is_remote(&self) -> bool {
        self.remote
    }

    /// How many members of its queue group it stands for: 1 unless it is another server's.
    #[must_use]
    pub fn weight(&self) -> u32 {
        self.weight.load(Ordering::Relaxed)
    }

    /// The other server has more or fewer members of the queue group now.
    pub fn set_weight(&self, weight: u32) {
        self.weight.store(weight, Ordering::Relaxed);
    }

    /// The filter.
    #[must_use]
    pub fn filter(&self) -> &[u8] {
        self.words
            .get(..self.filter_end as usize)
            .unwrap_or_default()
    }

    /// The queue group, if it is in one.
    #[must_use]
    pub fn queue(&self) -> Option<&[u8]> {
        let range = self.filter_end as usize..self.queue_end as usize;
        if self.has_queue {
            self.words.get(range)
        } else {
            None
        }
    }

    /// The peer's name for it.
    #[must_use]
    pub fn sid(&self) -> &[u8] {
        self.words
            .get(self.queue_end as usize..)
            .unwrap_or_default()
    }

    /// Who gets the messages.
    #[must_use]
    pub fn peer(&self) -> &Arc<Peer> {
        &self.peer
    }

    /// What is done with a message besides handing it to the peer.
    #[must_use]
    pub fn handling(&self) -> Option<&Handling> {
        self.handling.as_deref()
    }

    /// Whether each message is just handed to the peer.
    #[must_use]
    pub fn is_plain(&self) -> bool {
        self.handling.is_none()
    }

    /// Whether it is a wish of a peer in the account, which messages of imported streams fulfil as well.
    /// Another server sees to its own imports.
    pub(super) fn wants_imports(&self) -> bool {
        !self.remote && matches!(self.handling(), None | Some(Handling::Judged(_)))
    }

    /// Whether other servers must know of it: they send what it wants. Requests that go to another
    /// account go there on the server that they come in at.
    #[must_use]
    pub fn is_of_interest_elsewhere(&self) -> bool {
        !self.remote && !matches!(self.handling(), Some(Handling::Service(_)))
    }

    /// Whether it has ended.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Relaxed)
    }

    /// Messages delivered so far.
    #[must_use]
    pub fn delivered(&self) -> u64 {
        self.delivered.load(Ordering::Relaxed)
    }

    /// The number of messages after which it ends, if there is one.
    #[must_use]
    pub fn max(&self) -> Option<u64> {
        Some(self.max.load(Ordering::Relaxed)).filter(|&max| max > 0)
    }

    /// Ends it. The caller holds the peer's lock, so that no delivery is under way.
    pub(super) fn close(&self) {
        self.closed.store(true, Ordering::Relaxed);
    }

    /// Lets it end after `max` messages in all; false when those have been delivered already. The
    /// caller holds the peer's lock.
    pub(super) fn set_max(&self, max: u64) -> bool {
        let open = max > self.delivered();
        self.max
            .store(if open { max } else { 0 }, Ordering::Relaxed);
        open
    }

    /// Counts up to `wanted` deliveries: how many it still takes. The caller holds the peer's lock,
    /// hence no read-modify-write is needed.
    pub(super) fn count(&self, wanted: usize) -> Count {
        if self.is_closed() {
            return Count {
                // The other server may have another wish that matches.
                taken: if self.remote { wanted } else { 0 },
                last: false,
            };
        }
        let before = self.delivered();
        let Some(max) = self.max() else {
            self.delivered
                .store(before + wanted as u64, Ordering::Relaxed);
            return Count {
                taken: wanted,
                last: false,
            };
        };
        let left = usize::try_from(max.saturating_sub(before)).unwrap_or(usize::MAX);
        let taken = wanted.min(left);
        self.delivered
            .store(before + taken as u64, Ordering::Relaxed);
        if taken == left {
            self.close();
        }
        Count {
            taken,
            last: taken == left,
        }
    }
}

impl Subscriber for Arc<Subscription> {
    fn filter(&self) -> &[u8] {
        Subscription::filter(self)
    }

    fn queue(&self) -> Option<&[u8]> {
        Subscription::queue(self)
    }

    fn is(&self, other: &Self) -> bool {
        Self::ptr_eq(self, other)
    }

    fn is_remote(&self) -> bool {
        Subscription::is_remote(self)
    }
}

#[cfg(test)]
mod tests {
    use super::super::peer::tests::peer;
    use super::*;

    fn subscription(queue: Option<&[u8]>) -> Subscription {
        let words = Subscribe {
            filter: b"a.*",
            queue,
            sid: b"7",
        };
        Subscription::new(&words, peer(1), None).unwrap()
    }

    #[test]
    fn words_are_kept_apart() {
        let plain = subscription(None);
        assert_eq!(
            (plain.filter(), plain.queue(), plain.sid()),
            (&b"a.*"[..], None, &b"7"[..])
        );
        // A queue without a name is still one.
        let nameless = subscription(Some(b""));
        assert_eq!(
            (nameless.queue(), nameless.sid()),
            (Some(&b""[..]), &b"7"[..])
        );
        assert_eq!(
            subscription(Some(b"workers")).queue(),
            Some(&b"workers"[..])
        );
    }

    #[test]
    fn a_maximum_ends_it_to_the_message() {
        let endless = subscription(None);
        assert_eq!(
            endless.count(1000),
            Count {
                taken: 1000,
                last: false
            }
        );
        let limited = subscription(None);
        assert_eq!(
            limited.count(2),
            Count {
                taken: 2,
                last: false
            }
        );
        assert!(limited.set_max(5));
        assert_eq!(
            limited.count(1),
            Count {
                taken: 1,
                last: false
            }
        );
        assert_eq!(
            limited.count(9),
            Count {
                taken: 2,
                last: true
            }
        );
        assert!(limited.is_closed());
        assert_eq!(
            limited.count(1),
            Count {
                taken: 0,
                last: false
            },
            "it ends once"
        );
        assert_eq!(limited.delivered(), 5);
    }

    #[test]
    fn a_maximum_that_has_been_reached_is_none() {
        let subscription = subscription(None);
        subscription.count(3);
        assert!(!subscription.set_max(3) && !subscription.set_max(0));
        assert_eq!(subscription.max(), None);
        assert!(subscription.set_max(4));
        assert_eq!(subscription.max(), Some(4));
    }
}
