//! What a reload changes of a peer.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::Peer;
use crate::auth::DeliveryFilter;
use crate::broker::account::Account;
use crate::broker::subscription::Subscription;

impl Peer {
    /// Lets the connection's own task look after itself: its settings may have changed.
    pub fn wake(&self) {
        self.wire.wake();
    }

    /// Changes the limit of pending bytes.
    pub fn set_max_pending(&self, bytes: usize) {
        self.max_pending.store(bytes, Ordering::Relaxed);
    }

    /// Lets messages for a subscription of this peer in `account` be judged by `admission` from now on: none is
    /// delivered twice meanwhile, and none is lost but what a publisher is gathering at this moment. The subscription that takes its place; `None` if it has ended.
    pub fn judge_subscription(
        &self,
        account: &Arc<Account>,
        subscription: &Arc<Subscription>,
        admission: Option<DeliveryFilter>,
    ) -> Option<Arc<Subscription>> {
        let successor = Arc::new(subscription.successor(admission)?);
        account.subscribe(Arc::clone(&successor));
        let went_on = {
            let _state = self.lock();
            let open = !subscription.is_closed();
            if open {
                successor.take_over(subscription);
            }
            open
        };
        if went_on {
            account.unsubscribe(subscription);
            return Some(successor);
        }
        account.unsubscribe(&successor);
        None
    }
}
