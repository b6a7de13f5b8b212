//! What becomes of a client when the settings change.

use std::sync::Arc;
use std::time::Instant;

use super::Client;
use crate::auth::{Decision, Login, Permissions, Rejection, Renewal};
use crate::broker::close::CloseReason;
use crate::broker::subscription::Subscription;
use crate::conn::Timeouts;
use crate::proto::encode;
use crate::proto::error::ProtocolError;

impl Client {
    /// Takes over the settings in force and judges the client by them; the time limits, if they were others.
    pub(super) fn take_over_settings(&mut self, now: Instant) -> Option<Timeouts> {
        let settings = self.context.settings();
        if Arc::ptr_eq(&settings, &self.settings) {
            return None;
        }
        let timeouts = settings.timeouts;
        // A reload has ended once nobody holds the settings before it, so they are held until everything is judged.
        let _before = std::mem::replace(&mut self.settings, settings);
        self.peer.set_max_pending(self.settings.limits.max_pending);
        if self.connected {
            self.renew_login(now);
        } else if !self.awaits_connect && self.settings.authenticator.is_required() {
            // It was never given a time to log in, and may have taken itself for welcome (oracle).
            self.turn_out(Rejection::NoCredentials);
        }
        Some(timeouts)
    }

    /// A login whose password was found right, under the rules in force now.
    pub(super) fn confirmed(&self, login: Login) -> Result<Login, Rejection> {
        match self.settings.authenticator.renew(&login, &self.facts()) {
            Renewal::Keep(login) => Ok(login),
            Renewal::Moved => Err(Rejection::UnknownUser),
            Renewal::Refuse(rejection) => Err(rejection),
        }
    }

    fn renew_login(&mut self, now: Instant) {
        let Some(login) = self.login.take() else {
            return;
        };
        match self.judge_login(&login, now) {
            Renewal::Keep(renewed) => self.stay(&login, renewed),
            Renewal::Moved => self.peer.close(CloseReason::ClientClosed),
            Renewal::Refuse(rejection) => self.turn_out(rejection),
        }
    }

    /// Who the client is under the rules in force now. Where nothing was asked for until now, what CONNECT said
    /// counts (oracle).
    fn judge_login(&self, login: &Login, now: Instant) -> Renewal {
        let authenticator = &self.settings.authenticator;
        let was_open = login.user.is_none() && authenticator.is_required();
        if !was_open {
            return authenticator.renew(login, &self.facts());
        }
        let renewal = authenticator.renew(login, &self.facts());
        if !matches!(renewal, Renewal::Refuse(Rejection::NoCredentials)) {
            return renewal;
        }
        match self.decide(now) {
            Decision::Accept(renewed) if renewed.account == login.account => Renewal::Keep(renewed),
            // A bcrypt check would keep other connections waiting: it has to connect again.
            Decision::Accept(_) | Decision::NeedsBlocking(_) => Renewal::Moved,
            Decision::Reject(rejection) => Renewal::Refuse(rejection),
        }
    }

    fn stay(&mut self, before: &Login, renewed: Login) {
        self.account_limits = self.account.rules().limits;
        if before.permissions.as_deref() != renewed.permissions.as_deref() {
            self.permissions.clone_from(&renewed.permissions);
            self.peer.set_responses(renewed.permissions.clone());
            self.judge_subscriptions();
        }
        self.take_over_slow_treatment(&renewed);
        self.become_known_as(&renewed);
        let held = self.sids.len().saturating_sub(self.peer.expired());
        if self.subscription_limits().any(|most| held > most) {
            let error = ProtocolError::MaximumSubscriptions;
            self.log_error(&error.text());
            self.tell(&error);
            self.peer.close(CloseReason::MaximumSubscriptionsExceeded);
        }
    }

    /// Ends subscriptions that the permissions do not allow any more, and lets the others see what they allow.
    fn judge_subscriptions(&mut self) {
        for subscription in self.sids.open() {
            let (filter, queue) = (subscription.filter(), subscription.queue());
            let permissions = self.permissions.as_ref();
            if permissions.is_some_and(|permissions| !permissions.may_subscribe(filter, queue)) {
                self.end_forbidden(&subscription);
                continue;
            }
            let filtered =
                |permissions: &Arc<Permissions>| permissions.delivery_filter(filter, queue);
            let admission = permissions.and_then(filtered);
            if admission.is_none() && subscription.is_plain() {
                continue;
            }
            self.sids.remove(subscription.sid());
            let (account, peer) = (&self.account, &self.peer);
            if let Some(successor) = peer.judge_subscription(account, &subscription, admission) {
                self.sids.insert(successor);
            } else {
                peer.forget_expired(1);
            }
        }
    }

    /// Ends a subscription and says so in nats-server's words.
    fn end_forbidden(&mut self, subscription: &Arc<Subscription>) {
        self.sids.remove(subscription.sid());
        self.peer.end_subscription(subscription);
        self.account.unsubscribe(subscription);
        let lossy = |bytes| String::from_utf8_lossy(bytes).into_owned();
        let queue = subscription.queue();
        let queue = queue.map(|queue| format!(" using queue {:?}", lossy(queue)));
        let (filter, sid) = (lossy(subscription.filter()), lossy(subscription.sid()));
        let which = format!("{filter:?}{} (sid {sid:?})", queue.unwrap_or_default());
        let text = format!("Permissions Violation for Subscription to {which}");
        self.trace(|| format!("->> [-ERR {text}]"));
        self.send(format!("-ERR '{text}'\r\n").as_bytes());
        let user = self.login_name();
        tracing::info!(
            cid = self.peer.id(),
            "Removed sub {which} for User {user:?} - not authorized"
        );
    }

    fn login_name(&self) -> String {
        let introduction = self.peer.introduction();
        introduction.map_or_else(String::new, |introduction| introduction.user.to_string())
    }

    /// The client may not be connected any more.
    fn turn_out(&self, rejection: Rejection) {
        self.report_denial(rejection);
        self.tell(&ProtocolError::AuthorizationViolation);
        self.peer.close(CloseReason::AuthenticationViolation);
    }

    /// Sends an error outside of a turn.
    fn tell(&self, error: &ProtocolError) {
        self.trace(|| format!("->> [-ERR {}]", error.text()));
        self.send(&encode::error(error));
    }

    fn send(&self, text: &[u8]) {
        if self.peer.send(text) {
            self.peer.flush();
        }
    }
}
