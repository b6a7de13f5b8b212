//! `allow_responses`: the reply subjects that a connection may answer for a while.

use std::collections::{HashMap, VecDeque};
use std::time::{Duration, Instant};

use super::permissions::ResponseRules;

/// Reply subjects that one connection may have open; the oldest give way. nats-server has no such limit.
const TRACKED_REPLIES_LIMIT: usize = 65_536;

/// Bytes of reply subjects that one connection remembers at most; others choose how long they are.
const TRACKED_BYTES_LIMIT: usize = 8 * 1024 * 1024;

/// Remembers the reply subjects of messages that were delivered to one connection.
///
/// Only subjects to which the user may not publish anyway are to be tracked.
#[derive(Debug)]
pub struct ReplyTracker {
    rules: ResponseRules,
    open: HashMap<Box<[u8]>, Reply>,
    /// Subjects in the order in which they were tracked; may name some that are no longer open.
    order: VecDeque<(Instant, Box<[u8]>)>,
    /// Bytes of the subjects in `order`, each of which may be in `open` as well.
    bytes: usize,
}

#[derive(Debug)]
struct Reply {
    since: Instant,
    used: u32,
}

impl ReplyTracker {
    /// A tracker without any reply subject.
    #[must_use]
    pub fn new(rules: ResponseRules) -> Self {
        Self {
            rules,
            open: HashMap::new(),
            order: VecDeque::new(),
            bytes: 0,
        }
    }

    /// Notes that a message with this reply subject was delivered.
    ///
    /// As in nats-server, a second message with a subject that is still open counts as one of its responses and
    /// does not open it anew.
    pub fn delivered(&mut self, reply: &[u8], now: Instant) {
        if self.may_respond(reply, now) {
            return;
        }
        self.bytes += 2 * reply.len();
        self.forget_old(now);
        self.open.insert(
            reply.into(),
            Reply {
                since: now,
                used: 0,
            },
        );
        self.order.push_back((now, reply.into()));
    }

    /// Whether a response may be published to this subject, which counts it.
    pub fn may_respond(&mut self, subject: &[u8], now: Instant) -> bool {
        let Some(reply) = self.open.get_mut(subject) else {
            return false;
        };
        reply.used = reply.used.saturating_add(1);
        let used_up = self
            .rules
            .max_messages
            .is_some_and(|most| reply.used > most);
        if used_up || is_old(self.rules.expires, reply.since, now) {
            self.open.remove(subject);
            return false;
        }
        true
    }

    /// Reply subjects that are open, expired ones included until they are noticed.
    #[must_use]
    pub fn len(&self) -> usize {
        self.open.len()
    }

    /// Whether no reply subject is open.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.open.is_empty()
    }

    /// Forgets what has expired or is used up, oldest first, and makes room for one more.
    fn forget_old(&mut self, now: Instant) {
        while let Some((since, subject)) = self.order.front() {
            let current = self.open.get(subject).filter(|reply| reply.since == *since);
            let full =
                self.order.len() >= TRACKED_REPLIES_LIMIT || self.bytes > TRACKED_BYTES_LIMIT;
            let bytes = 2 * subject.len();
            if let Some(reply) = current {
                let spent = self
                    .rules
                    .max_messages
                    .is_some_and(|most| reply.used >= most);
                if !full && !spent && !is_old(self.rules.expires, *since, now) {
                    return;
                }
                self.open.remove(subject);
            }
            self.order.pop_front();
            self.bytes -= bytes;
        }
    }
}

fn is_old(expires: Option<Duration>, since: Instant, now: Instant) -> bool {
    expires.is_some_and(|limit| now.saturating_duration_since(since) > limit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[expect(
        clippy::disallowed_methods,
        reason = "any instant will do as the test's beginning"
    )]
    fn start() -> Instant {
        Instant::now()
    }

    const SECOND: Duration = Duration::from_secs(1);

    fn tracker(max_messages: Option<u32>, expires: Option<Duration>) -> ReplyTracker {
        ReplyTracker::new(ResponseRules {
            max_messages,
            expires,
        })
    }

    #[test]
    fn a_reply_may_be_used_as_often_as_the_rule_says() {
        let now = start();
        let mut replies = tracker(Some(2), None);
        assert!(!replies.may_respond(b"r", now));
        replies.delivered(b"r", now);
        assert!(replies.may_respond(b"r", now) && replies.may_respond(b"r", now));
        assert!(!replies.may_respond(b"r", now) && replies.is_empty());
        let mut replies = tracker(None, None);
        replies.delivered(b"r", now);
        assert!((0..1000).all(|_| replies.may_respond(b"r", now + 1000 * SECOND)));
    }

    #[test]
    fn long_subjects_are_remembered_within_a_limit_of_bytes() {
        let now = start();
        let mut replies = tracker(None, None);
        let subject = |number: usize| format!("{number:04096}").into_bytes();
        for number in 0..4000 {
            replies.delivered(&subject(number), now);
        }
        assert_eq!(replies.len(), TRACKED_BYTES_LIMIT / 4096 / 2);
        assert!(replies.may_respond(&subject(3999), now) && !replies.may_respond(&subject(0), now));
        assert!(replies.bytes <= TRACKED_BYTES_LIMIT);
    }

    #[test]
    fn a_reply_expires() {
        let now = start();
        let mut replies = tracker(None, Some(10 * SECOND));
        replies.delivered(b"r", now);
        assert!(replies.may_respond(b"r", now + 10 * SECOND));
        assert!(!replies.may_respond(b"r", now + 11 * SECOND));
        replies.delivered(b"r", now + 12 * SECOND);
        assert!(replies.may_respond(b"r", now + 20 * SECOND));
    }

    #[test]
    fn a_second_request_with_the_same_reply_counts_as_a_response() {
        let now = start();
        let mut replies = tracker(Some(1), None);
        replies.delivered(b"r", now);
        replies.delivered(b"r", now);
        assert!(!replies.may_respond(b"r", now));
        replies.delivered(b"r", now);
        assert!(replies.may_respond(b"r", now));
    }

    #[test]
    fn spent_and_expired_replies_are_forgotten() {
        let now = start();
        let mut replies = tracker(Some(1), Some(10 * SECOND));
        for number in 0..100_u32 {
            let subject = number.to_string();
            replies.delivered(subject.as_bytes(), now);
            assert!(replies.may_respond(subject.as_bytes(), now));
        }
        assert_eq!(
            (replies.len(), replies.order.len()),
            (1, 1),
            "all but the last are spent"
        );
        for number in 0..100_u32 {
            replies.delivered(number.to_string().as_bytes(), now + SECOND);
        }
        replies.delivered(b"later", now + 60 * SECOND);
        assert_eq!(
            (replies.len(), replies.order.len()),
            (1, 1),
            "all but the last are old"
        );
    }

    #[test]
    fn the_number_of_replies_is_limited() {
        let now = start();
        let mut replies = tracker(None, None);
        for number in 0..TRACKED_REPLIES_LIMIT + 10 {
            replies.delivered(number.to_string().as_bytes(), now);
        }
        assert_eq!(
            (replies.len(), replies.order.len()),
            (TRACKED_REPLIES_LIMIT, TRACKED_REPLIES_LIMIT)
        );
        assert!(!replies.may_respond(b"9", now) && replies.may_respond(b"10", now));
    }
}
