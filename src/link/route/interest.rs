//! What another server wants.

use std::sync::Arc;

use super::Route;
use crate::broker::account::Account;
use crate::broker::peer::Peer;
use crate::broker::subscription::Subscription;
use crate::broker::wishes::{Wish, WishKey};
use crate::conn::turn::Turn;
use crate::proto::route::RemoteInterest;
use crate::subject;

/// Takes a wish back that `peer` told of.
fn take_back(peer: &Peer, wish: &Wish) {
    match peer.lanes() {
        Some(lanes) => lanes.let_go(wish),
        None => {
            wish.account.unsubscribe(&wish.subscription);
        }
    }
}

fn subscribe(
    account: &Arc<Account>,
    key: WishKey<'_>,
    weight: u32,
    peer: &Arc<Peer>,
) -> Option<Arc<Subscription>> {
    let made = Subscription::new_remote(key.filter, key.queue, Arc::clone(peer), weight)?;
    let subscription = Arc::new(made);
    account.subscribe(Arc::clone(&subscription));
    Some(subscription)
}

impl Route {
    fn account_of(&self, interest: &RemoteInterest<'_>) -> Option<Arc<Account>> {
        match interest.account {
            None => self.own_account.clone(),
            Some(name) => self.broker.existing_account(&String::from_utf8_lossy(name)),
        }
    }

    pub(super) fn add_interest(&mut self, turn: &Turn<'_>, interest: &RemoteInterest<'_>) {
        let Some(account) = self.account_of(interest) else {
            let account = String::from_utf8_lossy(interest.account.unwrap_or_default());
            return self.complain(format!("Unknown account {account:?} for remote subject"));
        };
        let RemoteInterest {
            filter,
            queue,
            weight,
            origin,
            ..
        } = *interest;
        if !subject::is_valid_filter(filter) {
            self.send_error("Invalid Subscription");
            let filter = String::from_utf8_lossy(filter);
            return self.complain(format!("Could not insert subscription {filter:?}"));
        }
        let exports =
            |permissions: &crate::auth::Permissions| permissions.may_subscribe(filter, None);
        if !self.settings.permissions.as_deref().is_none_or(exports) {
            let filter = String::from_utf8_lossy(filter);
            return self.log_debug(&format!(
                "Can not export {filter:?}, ignoring remote subscription request"
            ));
        }
        let key = WishKey {
            account: account.name(),
            filter,
            queue,
            origin,
        };
        // A queue group without members is told with RS-; whoever says so here means one.
        let weight = weight.max(1);
        if let Some(known) = self.wishes.find_mut(key) {
            return known.subscription.set_weight(weight);
        }
        let subscription = match turn.peer.lanes() {
            Some(lanes) => lanes.hold(&account, key, weight, turn.peer),
            None => subscribe(&account, key, weight, turn.peer),
        };
        let Some(subscription) = subscription else {
            return;
        };
        self.wishes.insert(Wish {
            account,
            origin: origin.map(Into::into),
            subscription,
        });
        self.peer.count_subscriptions(self.wishes.len(), turn.now);
    }

    pub(super) fn drop_interest(&mut self, turn: &Turn<'_>, interest: &RemoteInterest<'_>) {
        let Some(account) = self.account_of(interest) else {
            return;
        };
        let key = WishKey {
            account: account.name(),
            filter: interest.filter,
            queue: interest.queue,
            origin: interest.origin,
        };
        if let Some(gone) = self.wishes.remove(key) {
            take_back(turn.peer, &gone);
            self.peer.count_subscriptions(self.wishes.len(), turn.now);
        }
    }

    /// Gives up what was told of an account.
    pub(super) fn forget_account(&mut self, turn: &Turn<'_>, account: &str) {
        let of_account = |wish: &Wish| wish.account.name() == account;
        for wish in self.wishes.take_those(of_account) {
            take_back(turn.peer, &wish);
        }
        self.peer.count_subscriptions(self.wishes.len(), turn.now);
    }

    /// Gives up to `count` wishes up; whether there may be more.
    pub(super) fn release_wishes(&mut self, count: usize) -> bool {
        let mut released = 0;
        for wish in self.wishes.take(count) {
            take_back(&self.peer, &wish);
            released += 1;
        }
        released == count
    }
}
