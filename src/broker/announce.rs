//! What the clients of an account want, counted, and the other servers of the cluster told of it.
//!
//! Another server needs to know only whether anybody here wants a filter, and of a queue group how many
//! members it has here. Counting and telling happen under one lock, so that each server hears of all
//! changes in their order, and a server that joins hears of everything else before.

use std::hash::BuildHasher;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use foldhash::fast::RandomState;
use hashbrown::HashTable;

use super::peer::Peer;
use crate::auth::Permissions;
use crate::proto::route::push_interest;

/// Counts what is wanted and tells other servers.
#[derive(Debug)]
pub struct Announcements {
    account: Box<str>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    wishes: HashTable<Wish>,
    hasher: RandomState,
    listeners: Vec<Listener>,
    /// Where lines are put together.
    text: Vec<u8>,
}

/// One filter, or one queue group on it, and how many want it.
#[derive(Debug)]
struct Wish {
    /// Filter and queue.
    words: Box<[u8]>,
    filter_end: u32,
    queued: bool,
    count: u32,
}

/// A link over which another server is told.
#[derive(Debug)]
struct Listener {
    peer: Arc<Peer>,
    /// What may be imported from there; all of it without any.
    permissions: Option<Arc<Permissions>>,
}

impl Wish {
    fn filter(&self) -> &[u8] {
        self.words
            .get(..self.filter_end as usize)
            .unwrap_or_default()
    }

    fn queue(&self) -> Option<&[u8]> {
        self.queued
            .then(|| self.words.get(self.filter_end as usize..))
            .flatten()
    }

    fn is(&self, filter: &[u8], queue: Option<&[u8]>) -> bool {
        self.filter() == filter && self.queue() == queue
    }
}

impl Listener {
    fn imports(&self, filter: &[u8]) -> bool {
        self.permissions
            .as_ref()
            .is_none_or(|permissions| permissions.may_publish(filter))
    }
}

impl State {
    fn hash(&self, filter: &[u8], queue: Option<&[u8]>) -> u64 {
        self.hasher.hash_one((filter, queue))
    }

    fn tell(&mut self, account: &str, filter: &[u8], queue: Option<&[u8]>, count: u32) {
        for listener in &self.listeners {
            if listener.imports(filter) {
                let named = listener.peer.names_account().then_some(account.as_bytes());
                self.text.clear();
                push_interest(&mut self.text, named, filter, queue, count);
                listener.peer.send_soon(&self.text);
            }
        }
    }
}

impl Announcements {
    /// Nobody in `account` wants anything yet, and there is nobody to tell.
    #[must_use]
    pub fn new(account: &str) -> Self {
        Self {
            account: account.into(),
            state: Mutex::default(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One more wants `filter`, as a member of `queue` if there is one.
    pub fn added(&self, filter: &[u8], queue: Option<&[u8]>) {
        let mut state = self.lock();
        let hash = state.hash(filter, queue);
        let known = state.wishes.find_mut(hash, |wish| wish.is(filter, queue));
        let count = match known {
            Some(wish) => {
                wish.count = wish.count.saturating_add(1);
                wish.count
            }
            None => {
                let Ok(filter_end) = u32::try_from(filter.len()) else {
                    return;
                };
                let wish = Wish {
                    words: [filter, queue.unwrap_or_default()].concat().into(),
                    filter_end,
                    queued: queue.is_some(),
                    count: 1,
                };
                let State { wishes, hasher, .. } = &mut *state;
                wishes.insert_unique(hash, wish, |wish| {
                    hasher.hash_one((wish.filter(), wish.queue()))
                });
                1
            }
        };
        if count == 1 || queue.is_some() {
            state.tell(&self.account, filter, queue, count);
        }
    }

    /// One fewer wants it.
    pub fn removed(&self, filter: &[u8], queue: Option<&[u8]>) {
        let mut state = self.lock();
        let hash = state.hash(filter, queue);
        let Ok(mut entry) = state.wishes.find_entry(hash, |wish| wish.is(filter, queue)) else {
            return;
        };
        let wish = entry.get_mut();
        wish.count -= 1;
        let count = wish.count;
        if count == 0 {
            entry.remove();
            let State { wishes, hasher, .. } = &mut *state;
            let (length, capacity) = (wishes.len(), wishes.capacity());
            if capacity > 64 && length < capacity / 8 {
                wishes.shrink_to(length * 2, |wish| {
                    hasher.hash_one((wish.filter(), wish.queue()))
                });
            }
        }
        if count == 0 || queue.is_some() {
            state.tell(&self.account, filter, queue, count);
        }
    }

    /// Tells another server everything, and from now on each change.
    pub fn attach(&self, peer: &Arc<Peer>, permissions: Option<Arc<Permissions>>) {
        let mut state = self.lock();
        let listener = Listener {
            peer: Arc::clone(peer),
            permissions,
        };
        let named = peer.names_account().then_some(self.account.as_bytes());
        let mut text = Vec::new();
        for wish in &state.wishes {
            if listener.imports(wish.filter()) {
                push_interest(&mut text, named, wish.filter(), wish.queue(), wish.count);
            }
        }
        if !text.is_empty() {
            peer.send_whole(Bytes::from(text));
        }
        state.listeners.push(listener);
    }

    /// A server is told no more over this link.
    pub fn detach(&self, peer: &Arc<Peer>) {
        let mut state = self.lock();
        state
            .listeners
            .retain(|listener| !Arc::ptr_eq(&listener.peer, peer));
    }

    /// How many different filters and queue groups are wanted.
    #[must_use]
    pub fn len(&self) -> usize {
        self.lock().wishes.len()
    }

    /// Whether nothing is wanted.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

#[cfg(test)]
mod tests {
    use super::super::peer::tests::{Sink, route_on};
    use super::*;

    fn told(sink: &Sink, peer: &Peer) -> Vec<String> {
        peer.resume();
        let mut sent = sink.0.lock().unwrap();
        let text = String::from_utf8(std::mem::take(&mut *sent)).unwrap();
        let mut lines: Vec<_> = text.lines().map(str::to_owned).collect();
        lines.sort();
        lines
    }

    #[test]
    fn servers_hear_of_what_is_there_and_of_changes_that_matter() {
        let announcements = Announcements::new("A");
        announcements.added(b"a", None);
        announcements.added(b"a", None);
        announcements.added(b"a", Some(b"q"));
        let sink = Arc::default();
        let peer = route_on(1, &sink);
        announcements.attach(&peer, None);
        assert_eq!(told(&sink, &peer), ["RS+ A a", "RS+ A a q 1"]);
        announcements.added(b"a", Some(b"q"));
        announcements.added(b"b.*", None);
        announcements.removed(b"a", None);
        assert_eq!(told(&sink, &peer), ["RS+ A a q 2", "RS+ A b.*"]);
        announcements.removed(b"a", None);
        announcements.removed(b"a", Some(b"q"));
        assert_eq!(told(&sink, &peer), ["RS+ A a q 1", "RS- A a"]);
        announcements.removed(b"a", Some(b"q"));
        assert_eq!(told(&sink, &peer), ["RS- A a q"]);
        assert_eq!(announcements.len(), 1);
        announcements.detach(&peer);
        announcements.removed(b"b.*", None);
        announcements.removed(b"b.*", None);
        assert!(told(&sink, &peer).is_empty() && announcements.is_empty());
    }

    #[test]
    fn a_link_of_one_account_does_not_name_it() {
        let announcements = Announcements::new("A");
        announcements.added(b"a", None);
        let sink = Arc::default();
        let peer = route_on(1, &sink);
        peer.belong_to_account();
        announcements.attach(&peer, None);
        announcements.removed(b"a", None);
        assert_eq!(told(&sink, &peer), ["RS+ a", "RS- a"]);
    }
}
