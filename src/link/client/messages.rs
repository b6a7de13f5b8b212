//! Publishing and subscribing.

use std::sync::Arc;
use std::time::Instant;

use super::Client;
use crate::broker::deliver::Publication;
use crate::broker::mappings::Mapped;
use crate::broker::subscription::Subscription;
use crate::conn::turn::{Input, Turn};
use crate::proto::error::ProtocolError;
use crate::proto::op::{Publish, Subscribe, Unsubscribe};
use crate::subject;

/// Subscriptions that ended by themselves before the list is swept.
const SWEEP_AFTER: usize = 32;

/// Beginnings of subjects on which only servers may publish (oracle). The number is how many bytes a
/// subject must have to be one of them.
pub(super) const RESERVED_SUBJECTS: [(&[u8], usize); 3] =
    [(b"$NRG.", 5), (b"_GR_.", 6), (b"$GR.", 5)];

/// The same for reply subjects, which route answers between accounts and streams.
const RESERVED_REPLIES: [(&[u8], usize); 4] =
    [(b"_R_.", 4), (b"_GR_.", 6), (b"$GR.", 5), (b"$JS.ACK.", 9)];

/// The queue group of the servers' own subscriptions.
const SYSTEM_QUEUE: &[u8] = b"_sys_";

impl Client {
    /// Publishes a message that asks for no trace, or whose trace has begun.
    pub(super) fn publish_untraced(
        &mut self,
        turn: &mut Turn<'_>,
        message: &Publish<'_>,
        input: Input<'_>,
    ) {
        self.judge(turn, message);
        if self.account.maps() {
            self.publish_mapped(turn, message, input);
        } else {
            self.publish_unmapped(turn, message, input);
        }
    }

    /// Tells a pedantic client what is wrong with a message's subject, which changes nothing.
    pub(super) fn judge(&self, turn: &mut Turn<'_>, message: &Publish<'_>) {
        if self.options.pedantic && !subject::is_valid_subject(message.subject) {
            self.refuse(turn, &ProtocolError::InvalidPublishSubject);
        }
    }

    /// Publishes where the account's mappings say. What follows judges and names that subject alone
    /// (oracle); a message whose turn it is to be lost has none.
    fn publish_mapped(&mut self, turn: &mut Turn<'_>, message: &Publish<'_>, input: Input<'_>) {
        let mut subject = std::mem::take(&mut self.mapped);
        subject.clear();
        let random = turn.deliveries.random();
        let rules = self.account.rules();
        match rules.mappings.apply(message.subject, random, &mut subject) {
            Mapped::Same => self.publish_unmapped(turn, message, input),
            Mapped::Other | Mapped::Lost => {
                let subject = &*subject;
                if let Some(trace) = turn.deliveries.trace() {
                    trace.note_mapping(subject);
                }
                self.trace(|| {
                    let [from, to] = [message.subject, subject].map(lossy);
                    format!("<<- [MAPPING {from} -> {to}]")
                });
                self.publish_unmapped(
                    turn,
                    &Publish {
                        subject,
                        ..*message
                    },
                    input,
                );
            }
        }
        self.mapped = subject;
    }

    fn publish_unmapped(&mut self, turn: &mut Turn<'_>, message: &Publish<'_>, input: Input<'_>) {
        if !self.may_publish(turn, message.subject)
            || is_reserved(message.subject, &RESERVED_SUBJECTS)
        {
            let refusal = ProtocolError::PublishViolation(message.subject.to_vec());
            self.refuse_message(turn, &refusal);
            return;
        }
        if let Some(reply) = message.reply
            && is_reserved(reply, &RESERVED_REPLIES)
        {
            self.refuse_message(turn, &ProtocolError::ReplyViolation(reply.to_vec()));
            return;
        }
        self.confirm(turn);
        self.published_since_idle = true;
        let traces = tracing::enabled!(tracing::Level::TRACE);
        let trace = traces.then_some(self.settings.limits.trace);
        let answers_no_responders = self.options.no_responders && message.reply.is_some();
        let publication = Publication {
            source: input.source,
            drop_when_gated: self.settings.limits.no_fast_producer_stall,
            gathered: !self.options.verbose
                && !answers_no_responders
                && trace.is_none()
                && !turn.deliveries.traces_message(),
            trace,
            ..Publication::new(message, turn.peer, turn.now)
        };
        let is_asked = message.reply.is_some()
            && message.subject.first() == Some(&b'$')
            && !turn.deliveries.is_only_traced()
            && self.ask_server(turn, message);
        let (deliveries, matches) = (&mut *turn.deliveries, &mut self.matches);
        if publication.gathered {
            deliveries.publish(&self.account, matches, &publication);
        } else if deliveries.publish_now(&self.account, matches, &publication) == 0
            && answers_no_responders
            && !is_asked
        {
            deliveries.answer_no_responders(&self.account, turn.peer, message);
        }
    }

    fn refuse_message(&self, turn: &mut Turn<'_>, refusal: &ProtocolError) {
        if let Some(trace) = turn.deliveries.trace() {
            trace.refuse(&refusal.text());
        }
        self.refuse(turn, refusal);
    }

    fn may_publish(&self, turn: &Turn<'_>, subject: &[u8]) -> bool {
        match &self.permissions {
            None => true,
            Some(permissions) => {
                permissions.may_publish(subject) || self.peer.may_respond(subject, turn.now)
            }
        }
    }

    pub(super) fn subscribe(&mut self, turn: &mut Turn<'_>, subscribe: &Subscribe<'_>) {
        self.sweep(turn.now);
        if let Some(refusal) = self.subscribe_refusal(subscribe) {
            if matches!(refusal, ProtocolError::SubscriptionViolation { .. }) {
                self.log_error(&format!(
                    "{}, SID {:?}",
                    refusal.text(),
                    lossy(subscribe.sid)
                ));
            }
            self.refuse(turn, &refusal);
            return;
        }
        let found = self.sids.get(subscribe.sid);
        let (is_known, has_ended) = (
            found.is_some(),
            found.is_some_and(|found| found.is_closed()),
        );
        if !is_known || has_ended {
            if !subject::is_valid_filter(subscribe.filter) {
                self.refuse(turn, &ProtocolError::InvalidSubject);
                return;
            }
            if has_ended && let Some(ended) = self.sids.remove(subscribe.sid) {
                self.peer.end_subscription(&ended);
            }
            let admits = self.permissions.as_ref().and_then(|permissions| {
                permissions.delivery_filter(subscribe.filter, subscribe.queue)
            });
            if let Some(subscription) = Subscription::new(subscribe, Arc::clone(turn.peer), admits)
            {
                let subscription = Arc::new(subscription);
                self.sids.insert(Arc::clone(&subscription));
                self.peer.count_subscriptions(self.sids.len(), turn.now);
                self.account.subscribe(subscription);
            }
        }
        self.confirm(turn);
    }

    /// Why the client may not subscribe, in the order in which nats-server checks it.
    fn subscribe_refusal(&self, subscribe: &Subscribe<'_>) -> Option<ProtocolError> {
        let limits = &self.settings.limits;
        let Subscribe { filter, queue, .. } = *subscribe;
        let may = |permissions: &crate::auth::Permissions| permissions.may_subscribe(filter, queue);
        if !self.permissions.as_deref().is_none_or(may) || queue == Some(SYSTEM_QUEUE) {
            return Some(ProtocolError::SubscriptionViolation {
                filter: filter.to_vec(),
                queue: queue.map(<[u8]>::to_vec),
            });
        }
        if limits
            .max_subscription_tokens
            .is_some_and(|most| subject::tokens(filter).count() > most)
        {
            return Some(ProtocolError::TooManySubjectTokens(filter.to_vec()));
        }
        let count = self.sids.len().saturating_sub(self.peer.expired());
        if self.subscription_limits().any(|most| count >= most) {
            return Some(ProtocolError::MaximumSubscriptions);
        }
        None
    }

    /// How many subscriptions the client may have: the server's and the account's limit.
    pub(super) fn subscription_limits(&self) -> impl Iterator<Item = usize> + use<> {
        let limits = [
            self.settings.limits.max_subscriptions,
            self.account_limits.max_subscriptions,
        ];
        limits.into_iter().flatten()
    }

    pub(super) fn unsubscribe(&mut self, turn: &mut Turn<'_>, unsubscribe: &Unsubscribe<'_>) {
        let limited = match (self.sids.get(unsubscribe.sid), unsubscribe.max) {
            (Some(subscription), Some(max)) => self.peer.limit_subscription(subscription, max),
            (Some(_) | None, _) => false,
        };
        self.confirm(turn);
        if !limited && let Some(subscription) = self.sids.remove(unsubscribe.sid) {
            self.trace(|| format!("<-> [DELSUB {}]", lossy(subscription.sid())));
            self.peer.end_subscription(&subscription);
            self.account.unsubscribe(&subscription);
            self.peer.count_subscriptions(self.sids.len(), turn.now);
        }
    }

    /// Drops subscriptions that ended by themselves once they are many.
    fn sweep(&mut self, now: Instant) {
        let expired = self.peer.expired();
        if expired > SWEEP_AFTER && expired > self.sids.len() / 2 {
            let dropped = self.sids.drop_closed();
            self.peer.count_subscriptions(self.sids.len(), now);
            self.peer.forget_expired(dropped);
        }
    }
}

pub(super) fn is_reserved(subject: &[u8], reserved: &[(&[u8], usize)]) -> bool {
    // Nearly all subjects begin with another character, which one comparison tells.
    matches!(subject.first(), Some(b'_' | b'$'))
        && reserved
            .iter()
            .any(|(start, least)| subject.len() >= *least && subject.starts_with(start))
}

fn lossy(bytes: &[u8]) -> std::borrow::Cow<'_, str> {
    String::from_utf8_lossy(bytes)
}
