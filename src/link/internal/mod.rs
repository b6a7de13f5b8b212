//! A connection within the process: publishes and subscribes without a socket and without the text
//! protocol's way in. The server's own services use it, and programs that embed a server.

mod message;
mod pipe;

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

pub use message::Message;
use pipe::{Pipe, PipeWire};

use crate::broker::account::Account;
use crate::broker::close::CloseReason;
use crate::broker::deliver::Publication;
use crate::broker::peer::{Facts, Peer};
use crate::broker::subscription::Subscription;
use crate::conn::turn::with_scratch;
use crate::link::context::ClientContext;
use crate::proto::op::{Publish, Size, Subscribe};
use crate::subject;

/// Why something was not done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InternalError {
    /// The subject or filter is none.
    InvalidSubject,
    /// The message is larger than the server allows.
    TooLarge,
}

impl fmt::Display for InternalError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::InvalidSubject => "invalid subject",
            Self::TooLarge => "message too large",
        })
    }
}

impl std::error::Error for InternalError {}

/// What to publish.
#[derive(Debug, Clone, Copy, Default)]
pub struct Outgoing<'a> {
    /// Where to.
    pub subject: &'a str,
    /// Where an answer shall go.
    pub reply: Option<&'a str>,
    /// The header block, from `NATS/1.0` to the empty line; empty for none.
    pub headers: &'a [u8],
    /// The payload.
    pub payload: &'a [u8],
}

/// What became of a message.
#[derive(Debug)]
pub struct Published {
    /// How many subscriptions it reached.
    pub reached: usize,
    /// A receiver that does not keep up; publishers should pause for it.
    pub slow: Option<Arc<Peer>>,
}

/// A connection within the process, in one account and with every right there. It gets no message that
/// it publishes itself.
#[derive(Debug)]
pub struct InternalConnection {
    context: Arc<ClientContext>,
    account: Arc<Account>,
    peer: Arc<Peer>,
    pipe: Arc<Pipe>,
    subscriptions: Mutex<HashMap<u64, Arc<Subscription>>>,
    last_subscription: AtomicU64,
    /// What came and was not given out yet; only [`Self::next`] holds it, and one caller at a time.
    received: Mutex<Received>,
}

#[derive(Debug, Default)]
struct Received {
    bytes: Vec<u8>,
    /// How many of them have been given out.
    used: usize,
}

impl InternalConnection {
    /// A connection to `account`, which others see as number `facts.id`.
    #[must_use]
    pub fn new(context: Arc<ClientContext>, account: Arc<Account>, facts: Facts) -> Self {
        let pipe = Arc::new(Pipe::default());
        let wire = Box::new(PipeWire(Arc::clone(&pipe)));
        let peer = Arc::new(Peer::new(
            facts,
            wire,
            context.settings().limits.max_pending,
        ));
        peer.set_options(false, true, false);
        peer.join_budget(Arc::clone(&context.broker.budget));
        Self {
            context,
            account,
            peer,
            pipe,
            subscriptions: Mutex::default(),
            last_subscription: AtomicU64::new(0),
            received: Mutex::default(),
        }
    }

    /// The account it is connected to.
    #[must_use]
    pub fn account(&self) -> &Arc<Account> {
        &self.account
    }

    /// Whether it was cut off because its messages were not taken.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.peer.condition().closing.is_some()
    }

    fn subscriptions(&self) -> MutexGuard<'_, HashMap<u64, Arc<Subscription>>> {
        let lock = self.subscriptions.lock();
        lock.unwrap_or_else(PoisonError::into_inner)
    }

    /// Wants all messages on `filter`, or its share of them as a member of the group `queue`. The
    /// number of the subscription comes with each message.
    ///
    /// # Errors
    /// [`InternalError::InvalidSubject`].
    pub fn subscribe(&self, filter: &str, queue: Option<&str>) -> Result<u64, InternalError> {
        if !subject::is_valid_filter(filter.as_bytes()) {
            return Err(InternalError::InvalidSubject);
        }
        let number = self.last_subscription.fetch_add(1, Ordering::Relaxed) + 1;
        let sid = number.to_string();
        let words = Subscribe {
            filter: filter.as_bytes(),
            queue: queue.map(str::as_bytes),
            sid: sid.as_bytes(),
        };
        let subscription = Subscription::new(&words, Arc::clone(&self.peer), None);
        let subscription = Arc::new(subscription.ok_or(InternalError::InvalidSubject)?);
        self.subscriptions()
            .insert(number, Arc::clone(&subscription));
        self.account.subscribe(subscription);
        Ok(number)
    }

    /// Ends a subscription; no message that is published from now on comes for it.
    pub fn unsubscribe(&self, number: u64) {
        let subscription = self.subscriptions().remove(&number);
        if let Some(subscription) = subscription {
            self.peer.end_subscription(&subscription);
            self.account.unsubscribe(&subscription);
        }
    }

    /// Publishes a message at the time `now`; how many subscriptions it reached. Not to be called in
    /// the middle of another connection's turn, whose scratch space it would need.
    ///
    /// # Errors
    /// [`InternalError`]; nothing was published then.
    pub fn publish(&self, message: Outgoing<'_>, now: Instant) -> Result<usize, InternalError> {
        self.publish_paced(message, now)
            .map(|published| published.reached)
    }

    /// The same, and which receiver does not keep up.
    ///
    /// # Errors
    /// As [`Self::publish`].
    pub fn publish_paced(
        &self,
        message: Outgoing<'_>,
        now: Instant,
    ) -> Result<Published, InternalError> {
        let total = message.headers.len() + message.payload.len();
        let most = self.context.settings().limits.max_payload;
        if most.is_some_and(|most| total > most) {
            return Err(InternalError::TooLarge);
        }
        self.publish_to(&self.account, message, now)
    }

    /// The same in any account and of any length, for what the server itself has to say.
    pub(crate) fn publish_to(
        &self,
        account: &Arc<Account>,
        message: Outgoing<'_>,
        now: Instant,
    ) -> Result<Published, InternalError> {
        if !subject::is_valid_subject(message.subject.as_bytes()) {
            return Err(InternalError::InvalidSubject);
        }
        let total = message.headers.len() + message.payload.len();
        let body = [message.headers, message.payload, b"\r\n"].concat();
        let (header_digits, digits) = (message.headers.len().to_string(), total.to_string());
        let publish = Publish {
            subject: message.subject.as_bytes(),
            reply: message.reply.map(str::as_bytes),
            header: (!message.headers.is_empty()).then_some(Size {
                bytes: message.headers.len(),
                text: header_digits.as_bytes(),
            }),
            size: Size {
                bytes: total,
                text: digits.as_bytes(),
            },
            body: &body,
            sized_body: None,
        };
        Ok(self.deliver(account, &publish, now))
    }

    fn deliver(&self, account: &Arc<Account>, message: &Publish<'_>, now: Instant) -> Published {
        let (published, overflows) = with_scratch(|scratch| {
            let deliveries = &mut scratch.deliveries;
            let publication = Publication::new(message, &self.peer, now);
            let reached = deliveries.publish_uncached(account, &publication);
            deliveries.flush(now);
            let slow = deliveries.take_stall();
            let (messages, bytes) = deliveries.take_traffic();
            account.sent.add(messages, bytes);
            (Published { reached, slow }, deliveries.take_overflows())
        });
        let bytes = message.size.bytes as u64;
        account.received.add(1, bytes);
        self.peer.count_received(1, bytes, now);
        for slow in overflows {
            self.context.broker.report_overflow(&slow);
        }
        published
    }

    /// The next message; nothing once the connection was cut off and everything has been given out.
    /// Only one caller at a time gets messages.
    pub async fn next(&self) -> Option<Message> {
        loop {
            if let Some(message) = self.take() {
                return Some(message);
            }
            let condition = self.peer.condition();
            if condition.blocked {
                self.peer.resume();
            } else if condition.closing.is_some() {
                return None;
            } else {
                self.pipe.changed().await;
            }
        }
    }

    /// A message that has come already.
    fn take(&self) -> Option<Message> {
        let mut received = self.received.lock().unwrap_or_else(PoisonError::into_inner);
        let Received { bytes, used } = &mut *received;
        let waiting = bytes.get(*used..).unwrap_or_default();
        if let Some((message, length)) = message::first(waiting) {
            *used += length;
            return Some(message);
        }
        bytes.drain(..std::mem::take(used));
        self.pipe.take(bytes);
        let (message, length) = message::first(bytes)?;
        *used = length;
        Some(message)
    }
}

impl Drop for InternalConnection {
    fn drop(&mut self) {
        self.peer.close(CloseReason::ClientClosed);
        let subscriptions = std::mem::take(&mut *self.subscriptions());
        for subscription in subscriptions.into_values() {
            self.peer.end_subscription(&subscription);
            self.account.unsubscribe(&subscription);
        }
    }
}
