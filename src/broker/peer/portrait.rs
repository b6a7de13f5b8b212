//! A connection as monitoring shows it.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant, SystemTime};

use super::Peer;
use crate::broker::security::TlsFacts;

/// How a peer introduced itself, and who it was found to be.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Introduction {
    /// Its own name for the connection.
    pub name: Box<str>,
    /// Language of its library.
    pub language: Box<str>,
    /// Version of its library.
    pub version: Box<str>,
    /// The user's name or key; `[REDACTED]` for a token, empty for nobody.
    pub user: Box<str>,
    /// The account it was bound to.
    pub account: Arc<str>,
}

/// A connection at one moment. Sizes are in bytes.
#[derive(Debug, Clone)]
#[expect(missing_docs, reason = "the traffic's field names say it")]
pub struct Portrait {
    /// The connection's number.
    pub id: u64,
    /// The peer's address.
    pub ip: String,
    /// The peer's port; 0 where it has none.
    pub port: u16,
    /// When it began.
    pub began: SystemTime,
    /// When the peer sent or was sent a message or changed its interest last.
    pub last_active: SystemTime,
    /// When it ended, if it has.
    pub ended: SystemTime,
    /// The last round-trip time; zero before one is known.
    pub round_trip: Duration,
    /// What waits to be sent.
    pub pending: usize,
    pub in_messages: u64,
    pub in_bytes: u64,
    pub out_messages: u64,
    pub out_bytes: u64,
    /// Times that publishers were paused for it.
    pub stalls: u64,
    /// Messages and bytes that were dropped because it was slow.
    pub dropped: (u64, u64),
    /// Subscriptions that have not ended.
    pub subscriptions: usize,
    /// How it is secured; nothing without TLS.
    pub tls: Option<TlsFacts>,
    /// How the peer introduced itself, if it has.
    pub introduction: Option<Arc<Introduction>>,
}

/// What is noted of a connection for monitoring alone.
#[derive(Debug, Default)]
pub(super) struct Observed {
    /// Subscriptions on the connection's own list, those that ended by themselves included.
    subscriptions: AtomicUsize,
    /// Nanoseconds from the beginning to the last message or change of interest.
    active: AtomicU64,
    /// Nanoseconds from the beginning to the end; 0 before it.
    ended: AtomicU64,
    /// The last round-trip time in nanoseconds; 0 before the first is known.
    round_trip: AtomicU64,
    introduction: RwLock<Option<Arc<Introduction>>>,
}

impl Peer {
    /// Notes how many subscriptions stand on the connection's own list.
    pub fn count_subscriptions(&self, count: usize, now: Instant) {
        self.observed.subscriptions.store(count, Ordering::Relaxed);
        self.note_activity(now);
    }

    /// Notes that the peer did something or was sent something at `now`.
    pub fn note_activity(&self, now: Instant) {
        self.observed.active.store(self.age(now), Ordering::Relaxed);
    }

    /// Notes that the connection ended at `now`.
    pub fn note_end(&self, now: Instant) {
        self.observed.ended.store(self.age(now), Ordering::Relaxed);
    }

    /// Notes the last round-trip time.
    pub fn note_round_trip(&self, round_trip: Duration) {
        let nanoseconds = u64::try_from(round_trip.as_nanos()).unwrap_or(u64::MAX);
        self.observed
            .round_trip
            .store(nanoseconds, Ordering::Relaxed);
    }

    fn age(&self, now: Instant) -> u64 {
        let (_, began) = self.facts.began;
        let age = now.saturating_duration_since(began);
        // Good for 584 years, and much shorter than what 128 bits take.
        age.as_secs()
            .wrapping_mul(1_000_000_000)
            .wrapping_add(age.subsec_nanos().into())
    }

    /// Takes over how the peer introduced itself and who it is.
    pub fn introduce(&self, introduction: Introduction) {
        *self
            .observed
            .introduction
            .write()
            .unwrap_or_else(PoisonError::into_inner) = Some(Arc::new(introduction));
    }

    /// How the peer introduced itself; nothing before it has.
    #[must_use]
    pub fn introduction(&self) -> Option<Arc<Introduction>> {
        self.observed
            .introduction
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Subscriptions that have not ended.
    #[must_use]
    pub fn subscriptions(&self) -> usize {
        self.observed
            .subscriptions
            .load(Ordering::Relaxed)
            .saturating_sub(self.expired())
    }

    /// When the peer sent or was sent a message or changed its interest last.
    #[must_use]
    pub fn last_active(&self) -> SystemTime {
        let active = self.observed.active.load(Ordering::Relaxed);
        self.facts.began.0 + Duration::from_nanos(active)
    }

    /// The last round-trip time; zero before one is known.
    #[must_use]
    pub fn round_trip(&self) -> Duration {
        Duration::from_nanos(self.observed.round_trip.load(Ordering::Relaxed))
    }

    /// The connection as monitoring shows it, at this moment.
    #[must_use]
    pub fn portrait(&self) -> Portrait {
        let nanoseconds = |value: &AtomicU64| Duration::from_nanos(value.load(Ordering::Relaxed));
        let (began, _) = self.facts.began;
        let (in_messages, in_bytes) = self.traffic_in();
        let (pending, (out_messages, out_bytes)) = {
            let state = self.lock();
            (state.pending(), (state.out_messages, state.out_bytes))
        };
        Portrait {
            id: self.facts.id,
            ip: self.facts.ip.clone(),
            port: self.facts.port,
            began,
            last_active: began + nanoseconds(&self.observed.active),
            ended: began + nanoseconds(&self.observed.ended),
            round_trip: nanoseconds(&self.observed.round_trip),
            pending,
            in_messages,
            in_bytes,
            out_messages,
            out_bytes,
            stalls: self.stalls.load(Ordering::Relaxed),
            dropped: self.dropped(),
            subscriptions: self.subscriptions(),
            tls: self.tls().cloned(),
            introduction: self.introduction(),
        }
    }
}
