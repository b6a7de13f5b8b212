//! Which link has which place with its remote server.
//!
//! The server that dials chooses the place: the first free slot as it sees it, or the account it dialed
//! for. Its INFO says so, and it sends that only after it has given the link its place. So when a link
//! comes in for a slot that is taken here, it is free over there, and the link that has it here is lost
//! or about to be: the newer one takes over. Two servers of this kind that dial each other at the same
//! time would both do that; there the link that the server with the greater identity dialed wins.
//! nats-server sends the INFO of an account's link too early for that rule, so both links of a place are
//! asked which of them the other server has kept.

use std::time::Duration;

use super::types::{Place, Remote};
use super::{Action, CROSSING, LinkId, Mesh, Share};
use crate::broker::close::CloseReason;
use crate::proto::route_info::RouteInfo;

/// What becomes of a link whose place is taken.
enum Rival {
    /// It takes over.
    Wins,
    /// It ends.
    Loses,
    /// That depends on which one the other server answers.
    Waits,
}

impl Mesh {
    /// Finds a place for a link that was just introduced.
    pub(super) fn seat(&mut self, link: LinkId, now: Duration) {
        let Some(known) = self.links.get(&link) else {
            return;
        };
        let Some(info) = known.info.clone() else {
            return;
        };
        let dialed = known.goal.is_some();
        let account = if dialed {
            known.account.clone()
        } else {
            Some(info.route_account.clone()).filter(|account| !account.is_empty())
        };
        let place = match self.place_for(&info, account, dialed) {
            Ok(place) => place,
            Err(text) => return self.close(link, CloseReason::ProtocolViolation, Some(text)),
        };
        let Some(place) = place else {
            // The pool is full already.
            self.goal_is_satisfied(link);
            return self.close(link, CloseReason::DuplicateRoute, None);
        };
        let holder = self
            .remotes
            .get(&info.server_id)
            .and_then(|remote| remote.at(&place));
        let Some(holder) = holder else {
            return self.take_place(link, &info, &place, now);
        };
        match self.judge(link, holder, &info, &place, now) {
            Rival::Wins => {
                self.close(holder, CloseReason::DuplicateRoute, None);
                self.take_place(link, &info, &place, now);
            }
            Rival::Loses => {
                self.goal_is_satisfied(link);
                self.close(link, CloseReason::DuplicateRoute, None);
            }
            Rival::Waits => {
                if let Some(known) = self.links.get_mut(&link) {
                    known.waits_for = Some(place);
                }
                self.act(Action::Ping(holder));
                self.act(Action::Ping(link));
            }
        }
    }

    /// The place that a link asks for; `None` where there is none left. The texts are nats-server's.
    fn place_for(
        &self,
        info: &RouteInfo,
        account: Option<String>,
        dialed: bool,
    ) -> Result<Option<Place>, String> {
        let size = self.effective_pool(info);
        if let Some(account) = account {
            if size.is_none() {
                return Err(format!(
                    "Not possible to have a dedicated route for account {account:?} between those servers"
                ));
            }
            if !self.config.accounts.contains(&account) {
                return Err(format!("No route for account {account:?}"));
            }
            return Ok(Some(Place::Account(account)));
        }
        let Some(size) = size else {
            return Ok(Some(Place::Slot(0)));
        };
        if dialed {
            if info.route_pool_idx != 0 {
                let index = info.route_pool_idx;
                return Err(format!(
                    "Route pool index should not be set but is set to {index}"
                ));
            }
            return Ok(match self.remotes.get(&info.server_id) {
                None => Some(Place::Slot(0)),
                Some(remote) => Self::free_slot(remote),
            });
        }
        match usize::try_from(info.route_pool_idx) {
            Ok(index) if index < size => Ok(Some(Place::Slot(index))),
            Ok(_) | Err(_) => Err(format!(
                "Invalid route pool index: {} - pool size is {}",
                info.route_pool_idx, info.route_pool_size
            )),
        }
    }

    /// Slots with a server, if both have pools: the greater of the two sizes.
    fn effective_pool(&self, info: &RouteInfo) -> Option<usize> {
        let own = self.config.pool_size?;
        let theirs = u32::try_from(info.route_pool_size).ok()?;
        if theirs == 0 {
            return None;
        }
        usize::try_from(own.max(theirs)).ok()
    }

    fn judge(
        &self,
        link: LinkId,
        holder: LinkId,
        info: &RouteInfo,
        place: &Place,
        now: Duration,
    ) -> Rival {
        let (Some(new), Some(old)) = (self.links.get(&link), self.links.get(&holder)) else {
            return Rival::Wins;
        };
        if old.closing {
            return Rival::Wins;
        }
        if new.goal.is_some() {
            return Rival::Loses;
        }
        let pooled = matches!(place, Place::Slot(_)) && self.effective_pool(info).is_some();
        if info.is_midge() {
            let crossing = old.goal.is_some() && now < old.seated_at + CROSSING;
            if crossing && self.config.server_id > info.server_id {
                return Rival::Loses;
            }
            return Rival::Wins;
        }
        if pooled { Rival::Wins } else { Rival::Waits }
    }

    fn take_place(&mut self, link: LinkId, info: &RouteInfo, place: &Place, now: Duration) {
        let pool = self.effective_pool(info);
        // The link of an account may come before the first of the pool; both are news.
        let is_news = matches!(place, Place::Account(_))
            || self
                .remotes
                .get(&info.server_id)
                .is_none_or(|remote| remote.slots.iter().all(Option::is_none));
        let address = match self.links.get(&link) {
            Some(known) => known.address.clone(),
            None => return,
        };
        let remote = self
            .remotes
            .entry(info.server_id.clone())
            .or_insert_with(|| Remote {
                info: with_url(info, &address),
                pool: pool.is_some(),
                slots: Vec::new(),
                accounts: Default::default(),
                connect_urls: Vec::new(),
                seated_at: now,
            });
        let size = pool.unwrap_or(1).max(remote.slots.len());
        remote.slots.resize(size, None);
        remote.set(place, Some(link));
        remote.seated_at = now;
        if matches!(place, Place::Slot(_)) {
            remote.connect_urls.clone_from(&info.connect_urls);
        }
        let Some(known) = self.links.get_mut(&link) else {
            return;
        };
        known.place = Some(place.clone());
        known.waits_for = None;
        known.seated_at = now;
        let (dialed, gossip) = (known.goal.is_some(), known.gossip);
        known.confirmed |= !dialed;
        let (account, index) = match place {
            Place::Slot(index) => (None, *index),
            Place::Account(account) => (Some(account.as_str()), 0),
        };
        if dialed {
            let own = self.own_info(account, index, gossip);
            self.act(Action::SendInfo(link, Box::new(own)));
        }
        if is_news {
            self.tell_others(link, info);
        }
        self.tell_clients();
        let lanes = self.config.info.lanes && info.lanes;
        let share = match (account, pool, self.config.pool_size) {
            (Some(account), _, _) => Share::Account(account.to_owned()),
            (None, Some(count @ 2..), _) if lanes => Share::Lane {
                server: info.server_id.clone(),
                index,
                count,
            },
            (None, Some(_), Some(size)) => Share::Slot { index, size },
            (None, _, _) => Share::All,
        };
        self.act(Action::Attach(link, share));
        if dialed {
            self.act(Action::Ping(link));
        }
    }

    /// The link of a place has ended: another one that waits for it takes over.
    pub(super) fn vacate(&mut self, server: &str, place: &Place, link: LinkId, now: Duration) {
        let Some(remote) = self.remotes.get_mut(server) else {
            return;
        };
        if remote.at(place) == Some(link) {
            remote.set(place, None);
        } else {
            return;
        }
        let waiting = self.links.iter().find(|(_, other)| {
            let same = other
                .info
                .as_ref()
                .is_some_and(|info| info.server_id == server);
            same && !other.closing && other.waits_for.as_ref() == Some(place)
        });
        if let Some((&id, info)) = waiting.map(|(id, other)| (id, other.info.clone()))
            && let Some(info) = info
        {
            return self.take_place(id, &info, place, now);
        }
        self.wake_goals(server, now);
        let empty = self
            .remotes
            .get(server)
            .is_some_and(|remote| remote.links().next().is_none());
        if empty {
            self.remotes.remove(server);
            self.tell_clients();
        }
    }

    /// A link that waits for a place has been answered: the other server has kept it.
    pub(super) fn prefer_waiting(&mut self, link: LinkId, now: Duration) {
        let Some(known) = self.links.get(&link) else {
            return;
        };
        let (Some(place), Some(info)) = (known.waits_for.clone(), known.info.clone()) else {
            return;
        };
        let holder = self
            .remotes
            .get(&info.server_id)
            .and_then(|remote| remote.at(&place));
        if let Some(holder) = holder {
            self.close(holder, CloseReason::DuplicateRoute, None);
        }
        self.take_place(link, &info, &place, now);
    }

    /// A link with a place has been answered: those that wait for the place are not needed.
    pub(super) fn drop_rivals(&mut self, link: LinkId) {
        let Some(known) = self.links.get(&link) else {
            return;
        };
        let (Some(place), Some(info)) = (&known.place, &known.info) else {
            return;
        };
        let rivals = self.links.iter().filter(|(_, other)| {
            let same = other.info.as_ref().map(|info| &info.server_id) == Some(&info.server_id);
            same && other.waits_for.as_ref() == Some(place)
        });
        let rivals: Vec<LinkId> = rivals.map(|(id, _)| *id).collect();
        for rival in rivals {
            self.close(rival, CloseReason::DuplicateRoute, None);
        }
    }
}

/// What a server told about itself, with the URL at which others can reach it.
fn with_url(info: &RouteInfo, address: &str) -> RouteInfo {
    let mut info = info.clone();
    if info.ip.is_empty() {
        let scheme = crate::proto::route_info::ROUTE_SCHEME;
        info.ip = match address.contains(':') {
            true => format!("{scheme}[{address}]:{}/", info.port),
            false => format!("{scheme}{address}:{}/", info.port),
        };
    }
    info.nonce.clear();
    info.route_account.clear();
    info.route_pool_idx = 0;
    info
}
