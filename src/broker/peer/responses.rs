//! Who may answer only messages that it got (`allow_responses`).

use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::time::Instant;

use super::Peer;
use crate::auth::{Permissions, ReplyTracker};

/// The answers that a peer may give to messages it got.
#[derive(Debug)]
pub(super) struct Responses {
    permissions: Arc<Permissions>,
    tracker: ReplyTracker,
}

impl Peer {
    /// Lets the peer answer messages as `permissions` say, or without regard to messages it gets.
    pub fn set_responses(&self, permissions: Option<Arc<Permissions>>) {
        let responses = permissions.and_then(|permissions| {
            let tracker = ReplyTracker::new(permissions.responses()?);
            Some(Box::new(Responses {
                permissions,
                tracker,
            }))
        });
        self.tracks_responses
            .store(responses.is_some(), Ordering::Relaxed);
        *self
            .responses
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = responses;
    }

    /// Whether the peer may answer only messages that it got.
    #[must_use]
    pub fn tracks_responses(&self) -> bool {
        self.tracks_responses.load(Ordering::Relaxed)
    }

    /// Whether the peer may publish on `subject` because it got a message that asked for it.
    #[must_use]
    pub fn may_respond(&self, subject: &[u8], now: Instant) -> bool {
        let mut responses = self
            .responses
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        responses
            .as_mut()
            .is_some_and(|responses| responses.tracker.may_respond(subject, now))
    }

    /// Notes that the peer got a message that asks for an answer on `reply`.
    pub(in crate::broker) fn expect_response(&self, reply: &[u8], now: Instant) {
        let mut responses = self
            .responses
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some(responses) = responses.as_mut()
            && !responses.permissions.may_publish(reply)
        {
            responses.tracker.delivered(reply, now);
        }
    }
}
