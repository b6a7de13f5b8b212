//! The part of a connection that others reach: where they leave what it is to be sent.

mod facts;
pub mod portrait;
mod renewal;
mod responses;
mod slow;
pub mod treatment;

use std::fmt;
use std::io::{self, IoSlice};
use std::sync::atomic::{AtomicBool, AtomicIsize, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, RwLock};

use std::time::Instant;

use bytes::Bytes;
use tokio::sync::Notify;

pub use self::facts::Facts;
use self::portrait::Observed;
use self::responses::Responses;
use self::slow::Slow;
use super::batch::{FrameBytes, Frames};
use super::budget::{Charge, MemoryBudget, Pressure};
use super::close::CloseReason;
use super::lanes::Lanes;
use super::security::TlsFacts;
use super::spread::Refused;
use super::subscription::{Count, Subscription};
use crate::outbound::{MAX_SLICES, Outbound, recycle};

/// The sending side of a connection's socket, or whatever it has instead.
pub trait Wire: fmt::Debug + Send + Sync {
    /// Sends as much as fits without waiting.
    ///
    /// # Errors
    /// `WouldBlock` when nothing fits; anything else means that the wire is broken.
    fn try_write(&self, slices: &[IoSlice<'_>]) -> io::Result<usize>;

    /// Tells the connection's own task to look after it: the wire is blocked, the connection is to
    /// end, or a backlog has been drained.
    fn wake(&self);
}

/// Pending bytes at which a turn sends what it has gathered so far instead of gathering more.
const EAGER_FLUSH_BYTES: usize = 128 * 1024;

/// Runs of at most this many bytes are copied behind what waits already: a segment of its own costs
/// more than that for the socket as well as for memory.
const COPY_RUN_BYTES: usize = 2 * 1024;

/// Batches that one flush sends for everybody else who adds to it meanwhile, before it leaves the
/// rest to the connection's own task.
const MAX_BATCHES_PER_FLUSH: usize = 8;

/// One connection as others see it.
///
/// Locking: `state` is held for the copy of a message or less, never over a system call.
#[derive(Debug)]
pub struct Peer {
    facts: Facts,
    /// Set once the handshake is done, if there is one.
    tls: OnceLock<Box<TlsFacts>>,
    wire: Box<dyn Wire>,
    state: Mutex<State>,
    /// Most pending bytes; more and the peer is cut off.
    max_pending: AtomicUsize,
    /// Whether it is another server.
    is_route: bool,
    /// Whether messages for another server must name their account.
    names_account: AtomicBool,
    /// The connections to another server that share its messages, if there are several.
    pub(super) lanes: OnceLock<Arc<Lanes>>,
    echo: AtomicBool,
    headers: AtomicBool,
    wants_info: AtomicBool,
    label: RwLock<Arc<str>>,
    /// Subscriptions that ended by themselves and still stand in the connection's own list. Below zero
    /// for a moment when one is taken off the list before whoever ended it has counted it.
    expired: AtomicIsize,
    in_messages: AtomicU64,
    in_bytes: AtomicU64,
    stalls: AtomicU64,
    observed: Observed,
    /// Publishers that pause for this peer wait for it.
    ungated: Notify,
    /// Whether there are `responses`.
    tracks_responses: AtomicBool,
    responses: Mutex<Option<Box<Responses>>>,
}

#[derive(Debug, Default)]
struct State {
    outbound: Outbound,
    /// What a blocked wire makes wait, as it counts for all connections together.
    charge: Charge,
    /// Somebody will flush it at the end of a turn.
    dirty: bool,
    /// Somebody is sending a batch that was taken out of `outbound`; its bytes still count as pending.
    sending: usize,
    /// The wire took no more; the connection's own task waits until it does.
    blocked: bool,
    /// The backlog passed the point at which publishers are paused.
    gated: bool,
    /// The wire has been blocked for long without any progress: pausing publishers would help nobody.
    unresponsive: bool,
    closing: Option<CloseReason>,
    /// Whether protocol text was too much for it.
    unreported: bool,
    /// What is pending will never be sent, nor what comes back from a sender.
    discards: bool,
    out_messages: u64,
    out_bytes: u64,
    /// Bytes that the wire has taken, control lines included.
    sent: u64,
    /// How it is treated when it is slow, if not as everybody.
    slow: Option<Box<Slow>>,
}

/// What a connection's own task must look after.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Condition {
    /// The wire would not take everything: bytes wait until it does.
    pub blocked: bool,
    /// The connection is to end for this reason.
    pub closing: Option<CloseReason>,
}

impl State {
    fn pending(&self) -> usize {
        let held = self.slow.as_deref().map_or(0, Slow::held_bytes);
        self.outbound.pending() + self.sending + held
    }

    fn discard(&mut self) {
        self.discards = true;
        self.outbound.clear();
        self.charge.follow(self.sending);
        if let Some(slow) = &mut self.slow {
            slow.discard();
        }
    }
}

/// What became of messages for one subscription.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Delivery {
    /// How many messages the peer will be sent.
    pub delivered: usize,
    /// Whether the caller must flush the peer at the end of its turn.
    pub must_flush: bool,
    /// Whether the peer wants publishers to pause.
    pub stalls: bool,
    /// Whether the subscription has got its last message.
    pub expired: bool,
    /// Whether the peer has so much pending that it should be flushed at once.
    pub eager: bool,
    /// Whether this message was one too many: the peer is being cut off.
    pub overflow: bool,
}

const NOT_DELIVERED: Delivery = Delivery {
    delivered: 0,
    must_flush: false,
    stalls: false,
    expired: false,
    eager: false,
    overflow: false,
};

/// What became of several messages for one subscription.
#[derive(Debug)]
pub(super) struct BatchDelivery {
    pub(super) delivery: Delivery,
    /// Bytes of header blocks and payloads that the peer will be sent.
    pub(super) size: u64,
    /// What it did not take.
    pub(super) left: Option<Refused>,
}

impl BatchDelivery {
    fn refused(bytes: FrameBytes) -> Self {
        Self {
            delivery: NOT_DELIVERED,
            size: 0,
            left: Some(Refused { bytes, behind: 0 }),
        }
    }

    fn overflow(bytes: FrameBytes) -> Self {
        let mut refused = Self::refused(bytes);
        refused.delivery.overflow = true;
        refused
    }
}

/// Why a peer is cut off for which too much waits, or else too much for all of them.
fn too_slow(too_much: bool) -> CloseReason {
    if too_much {
        CloseReason::SlowConsumerPendingBytes
    } else {
        CloseReason::MemoryBudgetExceeded
    }
}

/// How a flush ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flush {
    /// Everything has been sent, or somebody else is about to send it.
    Done,
    /// The wire takes no more.
    Blocked,
    /// The wire is broken.
    Broken,
}

/// The bytes of one message, ready for one subscription.
#[derive(Debug, Clone, Copy)]
pub struct Parcel<'a> {
    /// Control line before the sid.
    pub head: &'a [u8],
    /// Control line after the sid, line end included.
    pub tail: &'a [u8],
    /// Header block, payload and line end.
    pub body: &'a [u8],
    /// The same as `body` where it may be shared instead of copied.
    pub shared: Option<&'a Bytes>,
}

impl Peer {
    /// A connection that sends through `wire` and is cut off when more than `max_pending` bytes wait.
    #[must_use]
    pub fn new(facts: Facts, wire: Box<dyn Wire>, max_pending: usize) -> Self {
        let label = &*facts.label;
        Self {
            wire,
            state: Mutex::default(),
            max_pending: AtomicUsize::new(max_pending),
            is_route: false,
            names_account: AtomicBool::new(true),
            lanes: OnceLock::new(),
            echo: AtomicBool::new(true),
            headers: AtomicBool::new(false),
            wants_info: AtomicBool::new(false),
            label: RwLock::new(label.into()),
            facts,
            tls: OnceLock::new(),
            expired: AtomicIsize::new(0),
            in_messages: AtomicU64::new(0),
            in_bytes: AtomicU64::new(0),
            stalls: AtomicU64::new(0),
            observed: Observed::default(),
            ungated: Notify::new(),
            tracks_responses: AtomicBool::new(false),
            responses: Mutex::default(),
        }
    }

    /// The same for another server of the cluster, which gets each message once.
    #[must_use]
    pub fn new_route(facts: Facts, wire: Box<dyn Wire>, max_pending: usize) -> Self {
        let mut peer = Self::new(facts, wire, max_pending);
        peer.is_route = true;
        peer.echo = AtomicBool::new(false);
        peer
    }

    /// Whether it is another server.
    #[must_use]
    pub fn is_route(&self) -> bool {
        self.is_route
    }

    /// Whether messages for another server must name their account: not on a connection that one account
    /// has for itself.
    #[must_use]
    pub fn names_account(&self) -> bool {
        self.names_account.load(Ordering::Relaxed)
    }

    /// One account has the connection for itself.
    pub fn belong_to_account(&self) {
        self.names_account.store(false, Ordering::Relaxed);
    }

    /// The connection's number.
    #[must_use]
    pub fn id(&self) -> u64 {
        self.facts.id
    }

    /// What was known of it before it said anything.
    #[must_use]
    pub fn facts(&self) -> &Facts {
        &self.facts
    }

    /// How the connection is secured; `None` for one without TLS.
    #[must_use]
    pub fn tls(&self) -> Option<&TlsFacts> {
        self.tls.get().map(Box::as_ref)
    }

    /// The connection is secured in this way. Only the first call counts.
    pub fn set_tls(&self, facts: TlsFacts) {
        let _ = self.tls.set(Box::new(facts));
    }

    /// Whether its own messages come back to it.
    #[must_use]
    pub fn echo(&self) -> bool {
        self.echo.load(Ordering::Relaxed)
    }

    /// Whether it understands headers.
    #[must_use]
    pub fn headers(&self) -> bool {
        self.headers.load(Ordering::Relaxed)
    }

    /// Whether it understands an INFO that comes later than the first.
    #[must_use]
    pub fn wants_info(&self) -> bool {
        self.wants_info.load(Ordering::Relaxed)
    }

    /// Takes over what CONNECT said.
    pub fn set_options(&self, echo: bool, headers: bool, wants_info: bool) {
        self.echo.store(echo, Ordering::Relaxed);
        self.headers.store(headers, Ordering::Relaxed);
        self.wants_info.store(wants_info, Ordering::Relaxed);
    }

    /// How logs call it.
    #[must_use]
    pub fn label(&self) -> Arc<str> {
        Arc::clone(&self.label.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Changes how logs call it.
    pub fn set_label(&self, label: &str) {
        *self.label.write().unwrap_or_else(PoisonError::into_inner) = label.into();
    }

    /// The limit of pending bytes.
    #[must_use]
    pub fn max_pending(&self) -> usize {
        self.max_pending.load(Ordering::Relaxed)
    }

    /// What waits for it counts against `budget` from now on.
    pub fn join_budget(&self, budget: Arc<MemoryBudget>) {
        self.lock().charge = Charge::against(budget);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Leaves one message for one of the peer's subscriptions.
    ///
    /// `drop_when_gated` is nats-server's `no_fast_producer_stall`: what would pause the publisher is
    /// left out instead.
    pub fn deliver(
        &self,
        subscription: &Subscription,
        parcel: Parcel<'_>,
        drop_when_gated: bool,
    ) -> Delivery {
        let mut state = self.lock();
        if state.closing.is_some() || (state.gated && drop_when_gated) {
            return NOT_DELIVERED;
        }
        if state.slow.is_some()
            && let Some(delivery) = self.deliver_slowly(&mut state, subscription, parcel)
        {
            return delivery;
        }
        let count = subscription.count(1);
        if count.taken == 0 {
            return NOT_DELIVERED;
        }
        match parcel.shared {
            Some(body) => {
                state
                    .outbound
                    .push([parcel.head, subscription.sid(), parcel.tail]);
                state.outbound.push_shared(body.clone());
            }
            None => {
                state
                    .outbound
                    .push([parcel.head, subscription.sid(), parcel.tail, parcel.body])
            }
        }
        state.out_messages += 1;
        state.out_bytes += parcel.body.len().saturating_sub(2) as u64;
        self.after_append(&mut state, count)
    }

    /// Leaves one message for another server, which wants it for whatever reason.
    pub(super) fn deliver_routed(&self, parcel: Parcel<'_>) -> Delivery {
        let mut state = self.lock();
        if state.closing.is_some() {
            return NOT_DELIVERED;
        }
        match parcel.shared {
            Some(body) => {
                state.outbound.push([parcel.head]);
                state.outbound.push_shared(body.clone());
            }
            None => state.outbound.push([parcel.head, parcel.body]),
        }
        state.out_messages += 1;
        state.out_bytes += parcel.body.len().saturating_sub(2) as u64;
        let count = Count {
            taken: 1,
            last: false,
        };
        self.after_append(&mut state, count)
    }

    /// Leaves several messages for one of the peer's subscriptions; see [`Self::deliver`].
    pub(super) fn deliver_batch(
        &self,
        subscription: &Subscription,
        mut frames: Frames<'_>,
        drop_when_gated: bool,
    ) -> BatchDelivery {
        let mut state = self.lock();
        if state.closing.is_some() || (state.gated && drop_when_gated) {
            return BatchDelivery::refused(frames.bytes);
        }
        if state.slow.is_some() {
            match self.deliver_batch_slowly(&mut state, subscription, frames) {
                Ok(outcome) => return outcome,
                Err(same) => frames = same,
            }
        }
        let count = subscription.count(frames.marks.len());
        if count.taken == 0 {
            return BatchDelivery::refused(frames.bytes);
        }
        let size = frames.size_of(count.taken);
        let length = frames.length_of(count.taken);
        if self.is_over(&state, state.pending() + length) {
            self.start_closing(&mut state, too_slow(true));
            return BatchDelivery::overflow(frames.bytes);
        }
        let left = (count.taken < frames.marks.len()).then(|| frames.bytes.behind(length));
        match frames.bytes {
            FrameBytes::Owned(mut bytes) if length > COPY_RUN_BYTES => {
                bytes.truncate(length);
                state.outbound.push_segment(bytes);
            }
            FrameBytes::Shared(bytes) if length > COPY_RUN_BYTES => {
                state.outbound.push_shared(bytes.slice(..length));
            }
            FrameBytes::Owned(bytes) => {
                let taken = bytes.get(..length).unwrap_or_default();
                state.outbound.push([taken]);
                recycle(bytes);
            }
            FrameBytes::Shared(bytes) => {
                let taken = bytes.get(..length).unwrap_or_default();
                state.outbound.push([taken]);
            }
        }
        state.out_messages += count.taken as u64;
        state.out_bytes += size;
        BatchDelivery {
            delivery: self.after_append(&mut state, count),
            size,
            left: left.map(|bytes| Refused {
                bytes,
                behind: count.taken,
            }),
        }
    }

    fn after_append(&self, state: &mut State, count: Count) -> Delivery {
        if count.last {
            self.expired.fetch_add(1, Ordering::Relaxed);
        }
        let pending = state.pending();
        let max_pending = self.max_pending();
        let pressure = if state.blocked {
            state.charge.follow(pending)
        } else {
            Pressure::Low
        };
        let too_much = self.is_over(state, pending);
        // Everybody behind another server would lose messages if its link were cut.
        let overflow = too_much || (pressure == Pressure::Overdrawn && !self.is_route);
        if overflow {
            self.start_closing(state, too_slow(too_much));
        }
        let slow = state.slow.as_deref();
        let (gates, blocks) = slow.map_or((true, false), |slow| (slow.gates(), slow.blocks()));
        state.gated |= state.blocked && gates && pending > max_pending / 4 * 3;
        state.gated |= pressure != Pressure::Low;
        let must_flush = !state.dirty && !state.blocked;
        state.dirty |= must_flush;
        Delivery {
            delivered: if overflow { 0 } else { count.taken },
            must_flush,
            stalls: state.gated && (!state.unresponsive || blocks) && !overflow,
            expired: count.last,
            eager: !state.blocked && (pending > EAGER_FLUSH_BYTES || pending > max_pending / 2),
            overflow,
        }
    }

    /// Leaves protocol text for the peer; true when the caller must flush it.
    pub fn send(&self, text: &[u8]) -> bool {
        let mut state = self.lock();
        if state.closing.is_some() {
            return false;
        }
        if !self.hold_text(&mut state, text) {
            state.outbound.push([text]);
        }
        self.after_text(&mut state)
    }

    fn after_text(&self, state: &mut State) -> bool {
        let count = Count {
            taken: 1,
            last: false,
        };
        let delivery = self.after_append(state, count);
        state.unreported |= delivery.overflow;
        delivery.must_flush
    }

    /// Whether protocol text was what cut the peer off, which nobody has reported yet.
    pub fn take_unreported_overflow(&self) -> bool {
        std::mem::take(&mut self.lock().unreported)
    }

    /// Leaves protocol text for the peer, whose own task sends it: for those that tell many peers of many
    /// small changes and have no turn to end.
    pub fn send_soon(&self, text: &[u8]) {
        let mut state = self.lock();
        if state.closing.is_some() {
            return;
        }
        state.outbound.push([text]);
        if self.after_text(&mut state) {
            // As if the wire had been found blocked: the task finds out that it is not.
            state.dirty = false;
            state.blocked = true;
            self.wire.wake();
        }
    }

    /// The same for a text of any length, which is sent as a whole: as much more may wait from now on.
    pub fn send_whole(&self, text: Bytes) {
        self.max_pending.fetch_add(text.len(), Ordering::Relaxed);
        self.lock().outbound.push_shared(text);
        self.send_soon(&[]);
    }

    /// Sends what is pending, as far as the wire takes it.
    pub fn flush(&self) -> Flush {
        for _ in 0..MAX_BATCHES_PER_FLUSH {
            let mut batch = {
                let mut state = self.lock();
                if state.sending > 0 {
                    return Flush::Done;
                }
                if state.blocked {
                    return Flush::Blocked;
                }
                if state.outbound.is_empty() && !state.refill() {
                    state.dirty = false;
                    if let Some(slow) = &mut state.slow {
                        slow.recover();
                    }
                    return Flush::Done;
                }
                state.sending = state.outbound.pending();
                std::mem::take(&mut state.outbound)
            };
            let outcome = self.write_batch(&mut batch);
            if let Some(flush) = self.after_batch(batch, outcome) {
                return flush;
            }
        }
        // Others keep adding faster than this thread sends; it has its own connection to serve.
        self.lock().blocked = true;
        self.wire.wake();
        Flush::Blocked
    }

    /// Sends until the wire blocks; without any lock, since others may want to add meanwhile.
    fn write_batch(&self, batch: &mut Outbound) -> io::Result<()> {
        while !batch.is_empty() {
            let mut slices = [IoSlice::new(&[]); MAX_SLICES];
            let count = batch.slices(&mut slices);
            match self
                .wire
                .try_write(slices.get(..count).unwrap_or_default())?
            {
                0 => return Err(io::ErrorKind::WriteZero.into()),
                sent => batch.advance(sent),
            }
        }
        Ok(())
    }

    /// Puts back what was not sent. `None` when the batch went out whole.
    fn after_batch(&self, batch: Outbound, outcome: io::Result<()>) -> Option<Flush> {
        let mut state = self.lock();
        let sent = state.sending - batch.pending();
        state.sent += sent as u64;
        state.sending = 0;
        if state.discards {
            drop(batch);
        } else {
            state.outbound.prepend(batch);
        }
        if sent > 0 {
            state.unresponsive = false;
        }
        if state.charge.is_counted() {
            let pending = state.pending();
            state.charge.follow(pending);
        }
        if state.gated && state.pending() < self.max_pending() / 4 * 3 {
            state.gated = false;
            self.ungated.notify_waiters();
        }
        let error = outcome.err()?;
        state.dirty = false;
        if error.kind() == io::ErrorKind::WouldBlock {
            state.blocked = true;
            let pending = state.pending();
            state.charge.follow(pending);
            self.wire.wake();
            return Some(Flush::Blocked);
        }
        self.start_closing(&mut state, CloseReason::WriteError);
        state.discard();
        Some(Flush::Broken)
    }

    /// Gives up what is pending, now and from now on: nobody will ever take it.
    pub fn discard_pending(&self) {
        self.lock().discard();
    }

    /// The wire takes bytes again: sends on. For the connection's own task.
    pub fn resume(&self) -> Flush {
        {
            let mut state = self.lock();
            state.blocked = false;
            state.dirty = true;
        }
        self.flush()
    }

    /// What the connection's own task must look after.
    #[must_use]
    pub fn condition(&self) -> Condition {
        let state = self.lock();
        Condition {
            blocked: state.blocked,
            closing: state.closing,
        }
    }

    /// Bytes sent so far.
    #[must_use]
    pub fn sent(&self) -> u64 {
        self.lock().sent
    }

    /// Resolves once publishers need not wait for the peer any more.
    pub async fn ungated(&self) {
        loop {
            let notified = self.ungated.notified();
            if !self.stalls() {
                return;
            }
            notified.await;
        }
    }

    /// Whether publishers should still wait for the peer.
    #[must_use]
    pub fn stalls(&self) -> bool {
        let state = self.lock();
        let blocks = state.slow.as_deref().is_some_and(Slow::blocks);
        state.gated && (!state.unresponsive || blocks) && state.closing.is_none()
    }

    /// Notes that the wire has been blocked for a while without progress.
    pub fn mark_unresponsive(&self) {
        self.lock().unresponsive = true;
        self.ungated.notify_waiters();
    }

    /// Bytes that wait to be sent.
    #[must_use]
    pub fn pending(&self) -> usize {
        self.lock().pending()
    }

    /// Bytes that wait to be sent, and whether the wire takes some now and then.
    #[must_use]
    pub fn backlog(&self) -> (usize, bool) {
        let state = self.lock();
        (state.pending(), !state.unresponsive)
    }

    /// Lets the connection end; only the first reason counts.
    pub fn close(&self, reason: CloseReason) {
        self.start_closing(&mut self.lock(), reason);
    }

    fn start_closing(&self, state: &mut State, reason: CloseReason) {
        if state.closing.is_none() {
            state.closing = Some(reason);
            state.end_backlog(reason);
            self.wire.wake();
            self.ungated.notify_waiters();
        } else if reason == CloseReason::MemoryBudgetExceeded {
            state.discard();
        }
    }

    /// Ends a subscription of this peer, which is no longer on the connection's list: no message reaches
    /// it after this returns.
    pub fn end_subscription(&self, subscription: &Subscription) {
        let _state = self.lock();
        if subscription.is_closed() {
            self.forget_expired(1);
        }
        subscription.close();
    }

    /// Lets a subscription of this peer end after `max` messages in all; false when it has had them.
    pub fn limit_subscription(&self, subscription: &Subscription, max: u64) -> bool {
        let _state = self.lock();
        subscription.set_max(max)
    }

    /// How many subscriptions have ended by themselves and were not taken off the list yet.
    #[must_use]
    pub fn expired(&self) -> usize {
        usize::try_from(self.expired.load(Ordering::Relaxed)).unwrap_or(0)
    }

    /// Notes that `count` of those have been taken off the list.
    pub fn forget_expired(&self, count: usize) {
        let count = isize::try_from(count).unwrap_or(isize::MAX);
        self.expired.fetch_sub(count, Ordering::Relaxed);
    }

    /// Adds what one turn, which began at `now`, brought from the peer. Only the connection's own task
    /// calls it.
    pub fn count_received(&self, messages: u64, bytes: u64, now: Instant) {
        if messages > 0 {
            self.note_activity(now);
            let total = self.in_messages.load(Ordering::Relaxed) + messages;
            self.in_messages.store(total, Ordering::Relaxed);
            let total = self.in_bytes.load(Ordering::Relaxed) + bytes;
            self.in_bytes.store(total, Ordering::Relaxed);
        }
    }

    /// Messages and bytes from the peer.
    #[must_use]
    pub fn traffic_in(&self) -> (u64, u64) {
        (
            self.in_messages.load(Ordering::Relaxed),
            self.in_bytes.load(Ordering::Relaxed),
        )
    }

    /// Messages and bytes to the peer.
    #[must_use]
    pub fn traffic_out(&self) -> (u64, u64) {
        let state = self.lock();
        (state.out_messages, state.out_bytes)
    }

    /// Notes that a publisher was paused for this peer.
    pub fn count_stall(&self) {
        self.stalls.fetch_add(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
pub(crate) mod tests;
