//! Which accounts' interest goes over which link to another server.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use super::account::Account;
use super::lanes::Lanes;
use super::peer::Peer;
use crate::auth::Permissions;

/// Which accounts' interest goes over a link.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Share {
    /// Accounts whose slot of a pool of `size` is `index`.
    Slot {
        /// Number of the slot.
        index: usize,
        /// This server's pool size.
        size: u32,
    },
    /// All accounts: the other server has no pool.
    All,
    /// All accounts, whose messages are spread over `count` connections to `server`.
    Lane {
        /// The other server's identity.
        server: String,
        /// Which of the connections it is.
        index: usize,
        /// How many there are to be.
        count: usize,
    },
    /// This account alone, which lines then do not name.
    Account(String),
}

/// The links of a server that are part of its cluster.
#[derive(Debug, Default)]
pub struct Routes {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    links: Vec<RouteLink>,
    /// Accounts that have links of their own.
    pinned: Vec<String>,
    /// The lanes to other servers, by their identities; they last as long as their links.
    lanes: Vec<(String, Weak<Lanes>)>,
}

#[derive(Debug)]
struct RouteLink {
    peer: Arc<Peer>,
    share: Share,
    permissions: Option<Arc<Permissions>>,
}

/// The links, locked: no account comes or goes meanwhile.
#[derive(Debug)]
pub(super) struct LockedRoutes<'a>(MutexGuard<'a, State>);

impl Routes {
    pub(super) fn lock(&self) -> LockedRoutes<'_> {
        LockedRoutes(self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// How many links there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.lock().0.links.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl LockedRoutes<'_> {
    pub(super) fn pin(&mut self, accounts: Vec<String>) {
        self.0.pinned = accounts;
    }

    /// Adds a link, over which the interest of those of `accounts` goes that it serves.
    pub(super) fn attach(
        &mut self,
        peer: Arc<Peer>,
        share: Share,
        permissions: Option<Arc<Permissions>>,
        accounts: impl Iterator<Item = Arc<Account>>,
    ) {
        if let Share::Lane {
            server,
            index,
            count,
        } = &share
        {
            let lanes = self.0.lanes_to(server, *count);
            peer.lanes.get_or_init(|| lanes).open(*index, &peer);
        }
        let link = RouteLink {
            peer,
            share,
            permissions,
        };
        for account in accounts {
            link.join(&account, &self.0.pinned);
        }
        self.0.links.push(link);
    }

    /// Takes a link off.
    pub(super) fn detach(
        &mut self,
        peer: &Arc<Peer>,
        accounts: impl Iterator<Item = Arc<Account>>,
    ) {
        if let Some(lanes) = peer.lanes() {
            lanes.close(peer);
        }
        let before = self.0.links.len();
        self.0.links.retain(|link| !Arc::ptr_eq(&link.peer, peer));
        if self.0.links.len() < before {
            for account in accounts {
                if let Some(announcements) = account.announcements() {
                    announcements.detach(peer);
                }
            }
        }
    }

    /// Tells the servers that are to know of a new account.
    pub(super) fn join(&self, account: &Account) {
        for link in &self.0.links {
            link.join(account, &self.0.pinned);
        }
    }
}

impl State {
    fn lanes_to(&mut self, server: &str, count: usize) -> Arc<Lanes> {
        self.lanes.retain(|(_, lanes)| lanes.strong_count() > 0);
        let mut known = self.lanes.iter().filter(|(known, _)| known == server);
        let lanes = known.find_map(|(_, lanes)| lanes.upgrade());
        if let Some(lanes) = lanes.filter(|lanes| lanes.count() == count) {
            return lanes;
        }
        // After a reload there may be more of them or fewer; caches hold the old ones for a while yet.
        self.lanes.retain(|(known, _)| known != server);
        let lanes = Arc::new(Lanes::new(count));
        self.lanes.push((server.to_owned(), Arc::downgrade(&lanes)));
        lanes
    }
}

impl RouteLink {
    fn join(&self, account: &Account, pinned: &[String]) {
        if let Some(announcements) = account.announcements()
            && serves(&self.share, account.name(), pinned)
        {
            announcements.attach(&self.peer, self.permissions.clone());
        }
    }
}

fn serves(share: &Share, account: &str, pinned: &[String]) -> bool {
    match share {
        Share::All => true,
        Share::Account(own) => own == account,
        Share::Lane { .. } => !is_pinned(account, pinned),
        Share::Slot { index, size } => {
            !is_pinned(account, pinned) && slot_of(account, *size) == *index
        }
    }
}

fn is_pinned(account: &str, pinned: &[String]) -> bool {
    pinned.iter().any(|pinned| pinned == account)
}

/// Which slot of a pool of `size` connections serves an account: the same on all servers (oracle).
#[must_use]
pub fn slot_of(account: &str, size: u32) -> usize {
    // 32-bit FNV-1a.
    let mut hash: u32 = 0x811c_9dc5;
    for byte in account.bytes() {
        hash = (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193);
    }
    hash.checked_rem(size)
        .and_then(|slot| usize::try_from(slot).ok())
        .unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accounts_have_the_slots_that_nats_server_gives_them() {
        assert_eq!(slot_of("", 1 << 31), 0x811c_9dc5 % (1 << 31));
        assert_eq!((slot_of("a", 0), slot_of("$G", 1)), (0, 0));
        assert_eq!(slot_of("foobar", u32::MAX), 0xbf9c_f968);
        let pinned = ["P".to_owned()];
        let slot = |index| Share::Slot { index, size: 3 };
        let served = |account| {
            (0..3)
                .filter(|index| serves(&slot(*index), account, &pinned))
                .count()
        };
        assert_eq!((served("P"), served("A"), served("$G")), (0, 1, 1));
        assert!(serves(&Share::All, "P", &pinned));
        assert!(serves(&Share::Account("P".to_owned()), "P", &pinned));
    }

    #[test]
    fn another_number_of_lanes_needs_other_lanes() {
        let mut state = State::default();
        let four = state.lanes_to("N1", 4);
        assert!(Arc::ptr_eq(&four, &state.lanes_to("N1", 4)));
        let two = state.lanes_to("N1", 2);
        assert_eq!((four.count(), two.count()), (4, 2));
        assert!(
            Arc::ptr_eq(&two, &state.lanes_to("N1", 2)),
            "the old ones are still held"
        );
        assert_eq!(state.lanes_to("N2", 4).count(), 4);
    }
}
