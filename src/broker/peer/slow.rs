//! Connections for which a full backlog does not mean the end.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;

use super::treatment::{SlowPolicy, SlowTreatment};
use super::{BatchDelivery, COPY_RUN_BYTES, Delivery, NOT_DELIVERED, Parcel, Peer, State};
use crate::broker::batch::{FrameBytes, Frames};
use crate::broker::close::CloseReason;
use crate::broker::spread::Refused;
use crate::broker::stats::Traffic;
use crate::broker::subscription::Subscription;

/// What a peer is told whose messages are dropped, or which is cut.
const SLOW_CONSUMER: &[u8] = b"-ERR 'Slow Consumer'\r\n";

/// Bytes of held messages that are given to the socket at a time: those cannot be dropped any more.
const REFILL_BYTES: usize = 128 * 1024;

/// How many times the limit may wait where publishers are to wait: those that could not be told yet. The same
/// where new messages are dropped, for protocol text.
const BLOCK_LIMITS: usize = 2;

/// How a connection that is slow is treated, and what it cost.
#[derive(Debug)]
pub(super) struct Slow {
    policy: SlowPolicy,
    tells: bool,
    /// What was dropped for all connections of its account.
    account: Arc<Traffic>,
    dropped_messages: u64,
    dropped_bytes: u64,
    /// Whether messages have been dropped since the backlog was sent the last time.
    drops: bool,
    /// What waits behind the outbound bytes and may still be dropped, the oldest first.
    held: VecDeque<Held>,
    held_bytes: usize,
}

/// A whole message, or protocol text, which is never dropped.
#[derive(Debug)]
enum Held {
    Message {
        bytes: Bytes,
        /// Bytes of header block and payload.
        size: u64,
    },
    /// Texts that follow each other are one.
    Text(Vec<u8>),
}

impl Held {
    /// What it takes of the limit: small messages take more than their bytes.
    fn weight(&self) -> usize {
        let bytes = match self {
            Self::Message { bytes, .. } => bytes.len(),
            Self::Text(text) => text.len(),
        };
        bytes + size_of::<Self>()
    }
}

impl Slow {
    pub(super) fn held_bytes(&self) -> usize {
        self.held_bytes
    }

    pub(super) fn dropped(&self) -> (u64, u64) {
        (self.dropped_messages, self.dropped_bytes)
    }

    /// The policy once so much is pending for a wire that takes nothing.
    pub(super) fn is_over(&self, pending: usize, max_pending: usize) -> bool {
        match self.policy {
            // Messages that do not fit are dropped; what comes beyond the limit is text.
            SlowPolicy::Block | SlowPolicy::DropNew => {
                pending > max_pending.saturating_mul(BLOCK_LIMITS)
            }
            SlowPolicy::Disconnect | SlowPolicy::DropOld => pending > max_pending,
        }
    }

    /// Whether publishers pause before the backlog is full.
    pub(super) fn gates(&self) -> bool {
        !matches!(self.policy, SlowPolicy::DropNew | SlowPolicy::DropOld)
    }

    pub(super) fn blocks(&self) -> bool {
        self.policy == SlowPolicy::Block
    }

    /// The backlog is gone.
    pub(super) fn recover(&mut self) {
        self.drops = false;
        if self.held.is_empty() {
            self.held = VecDeque::new();
        }
    }

    pub(super) fn discard(&mut self) {
        self.held = VecDeque::new();
        self.held_bytes = 0;
    }

    /// Whether the connection is told that it was cut, behind everything that waits for it.
    fn tells_the_end(&self, reason: CloseReason) -> bool {
        self.tells && reason == CloseReason::SlowConsumerPendingBytes
    }

    /// Counts dropped messages; whether they are the first since the backlog was sent.
    fn note_dropped(&mut self, messages: u64, bytes: u64) -> bool {
        self.dropped_messages += messages;
        self.dropped_bytes += bytes;
        self.account.add(messages, bytes);
        messages > 0 && !std::mem::replace(&mut self.drops, true)
    }

    fn hold(&mut self, held: Held) {
        self.held_bytes += held.weight();
        self.held.push_back(held);
    }

    fn hold_text(&mut self, text: &[u8]) {
        if let Some(Held::Text(last)) = self.held.back_mut() {
            self.held_bytes += text.len();
            last.extend_from_slice(text);
        } else {
            self.hold(Held::Text(text.to_vec()));
        }
    }

    /// Leaves a text before everything that is held: there messages have been dropped.
    fn tell_of_gap(&mut self) {
        let text = match self.held.pop_front() {
            Some(Held::Text(text)) => {
                self.held_bytes -= text.len() + size_of::<Held>();
                [SLOW_CONSUMER, &text].concat()
            }
            Some(message) => {
                self.held.push_front(message);
                SLOW_CONSUMER.to_vec()
            }
            None => SLOW_CONSUMER.to_vec(),
        };
        self.held_bytes += text.len() + size_of::<Held>();
        self.held.push_front(Held::Text(text));
    }

    /// Drops the oldest messages until no more than `most` bytes are held; their number and size.
    fn shed(&mut self, most: usize) -> (u64, u64) {
        let (mut messages, mut bytes) = (0, 0);
        // Texts on the way become one, so that they are passed once and not again with each message.
        let mut kept: Option<Vec<u8>> = None;
        while self.held_bytes > most
            && let Some(first) = self.held.pop_front()
        {
            self.held_bytes -= first.weight();
            match first {
                Held::Message { size, .. } => {
                    messages += 1;
                    bytes += size;
                }
                Held::Text(text) => match &mut kept {
                    Some(kept) => {
                        self.held_bytes += text.len();
                        kept.extend_from_slice(&text);
                    }
                    None => {
                        self.held_bytes += text.len() + size_of::<Held>();
                        kept = Some(text);
                    }
                },
            }
        }
        if let Some(text) = kept {
            self.held.push_front(Held::Text(text));
        }
        (messages, bytes)
    }
}

impl State {
    /// Moves some of what is held to where it is sent from; whether there was any.
    pub(super) fn refill(&mut self) -> bool {
        let Some(slow) = self.slow.as_deref_mut() else {
            return false;
        };
        let mut moved = 0;
        while moved < REFILL_BYTES
            && let Some(held) = slow.held.pop_front()
        {
            slow.held_bytes -= held.weight();
            let bytes = match held {
                Held::Message { bytes, .. } => bytes,
                Held::Text(text) => text.into(),
            };
            moved += bytes.len();
            if bytes.len() > COPY_RUN_BYTES {
                self.outbound.push_shared(bytes);
            } else {
                self.outbound.push([&bytes]);
            }
        }
        moved > 0
    }

    /// Whether what comes now is held: it may be dropped later.
    fn holds(&self) -> bool {
        let blocked = self.blocked;
        let holds =
            |slow: &Slow| slow.policy == SlowPolicy::DropOld && (blocked || !slow.held.is_empty());
        self.slow.as_deref().is_some_and(holds)
    }

    fn drops_new(&self) -> bool {
        let policy = self.slow.as_deref().map(|slow| slow.policy);
        self.blocked && policy == Some(SlowPolicy::DropNew)
    }

    /// How much may be held at most.
    fn room_to_hold(&self, max_pending: usize) -> usize {
        max_pending.saturating_sub(self.outbound.pending() + self.sending)
    }

    /// Counts new messages that were dropped, and tells the peer of the first; whether they are the first.
    fn note_dropped(&mut self, messages: u64, bytes: u64) -> bool {
        let Some(slow) = self.slow.as_deref_mut() else {
            return false;
        };
        let first = slow.note_dropped(messages, bytes);
        if first && slow.tells {
            self.outbound.push([SLOW_CONSUMER]);
        }
        first
    }

    /// What becomes of the backlog of a connection that ends: it is given up, unless the reason stands at its end.
    pub(super) fn end_backlog(&mut self, reason: CloseReason) {
        let slow = self.slow.as_deref();
        if slow.is_some_and(|slow| slow.tells_the_end(reason)) {
            while self.refill() {}
            self.outbound.push([SLOW_CONSUMER]);
        } else if !reason.flushes() {
            self.discard();
        }
    }
}

impl Peer {
    /// Treats the connection in this way when it is slow; what is dropped is counted for its account in
    /// `account` as well.
    pub fn set_slow_treatment(&self, treatment: SlowTreatment, account: Arc<Traffic>) {
        let SlowTreatment { policy, tells } = treatment;
        let mut state = self.lock();
        // What was held may have to stay now.
        while state.refill() {}
        match state.slow.as_deref_mut() {
            Some(slow) => {
                slow.policy = policy;
                slow.tells = tells;
                slow.account = account;
            }
            None if treatment == SlowTreatment::default() => {}
            None => {
                state.slow = Some(Box::new(Slow {
                    policy,
                    tells,
                    account,
                    dropped_messages: 0,
                    dropped_bytes: 0,
                    drops: false,
                    held: VecDeque::new(),
                    held_bytes: 0,
                }));
            }
        }
    }

    /// Whether publishers wait for it for as long as a write may take.
    #[must_use]
    pub fn blocks_publishers(&self) -> bool {
        let state = self.lock();
        state.slow.as_deref().is_some_and(Slow::blocks)
    }

    /// Whether what is pending is sent although the connection was cut: it ends with the reason.
    #[must_use]
    pub fn is_told_the_end(&self) -> bool {
        let state = self.lock();
        let (slow, closing) = (state.slow.as_deref(), state.closing);
        slow.zip(closing)
            .is_some_and(|(slow, reason)| slow.tells_the_end(reason) && !state.discards)
    }

    /// Messages and bytes that were dropped because the peer was slow.
    #[must_use]
    pub fn dropped(&self) -> (u64, u64) {
        let state = self.lock();
        state.slow.as_deref().map_or((0, 0), Slow::dropped)
    }

    /// Leaves a message for a peer that is treated in a way of its own; nothing if that makes no
    /// difference now.
    #[cold]
    pub(super) fn deliver_slowly(
        &self,
        state: &mut State,
        subscription: &Subscription,
        parcel: Parcel<'_>,
    ) -> Option<Delivery> {
        let parts = [parcel.head, subscription.sid(), parcel.tail, parcel.body];
        let size = parcel.body.len().saturating_sub(2) as u64;
        if state.drops_new() {
            let length: usize = parts.iter().map(|part| part.len()).sum();
            if state.pending() + length <= self.max_pending() || subscription.is_closed() {
                return None;
            }
            let overflow = state.note_dropped(1, size);
            return Some(Delivery {
                overflow,
                ..NOT_DELIVERED
            });
        }
        if !state.holds() {
            return None;
        }
        let count = subscription.count(1);
        if count.taken == 0 {
            return Some(NOT_DELIVERED);
        }
        state.out_messages += 1;
        state.out_bytes += size;
        if let Some(slow) = state.slow.as_deref_mut() {
            slow.hold(Held::Message {
                bytes: parts.concat().into(),
                size,
            });
        }
        let overflow = self.shed(state);
        let delivery = self.after_append(state, count);
        Some(Delivery {
            overflow: overflow || delivery.overflow,
            ..delivery
        })
    }

    /// The same for several messages; they come back if it makes no difference now.
    #[cold]
    pub(super) fn deliver_batch_slowly<'a>(
        &self,
        state: &mut State,
        subscription: &Subscription,
        frames: Frames<'a>,
    ) -> Result<BatchDelivery, Frames<'a>> {
        if state.drops_new() {
            let room = self.max_pending().saturating_sub(state.pending());
            if frames.length_of(frames.marks.len()) <= room || subscription.is_closed() {
                return Err(frames);
            }
            return Ok(self.take_what_fits(state, subscription, frames, room));
        }
        if !state.holds() {
            return Err(frames);
        }
        let count = subscription.count(frames.marks.len());
        let length = frames.length_of(count.taken);
        let left = (count.taken < frames.marks.len()).then(|| Refused {
            bytes: frames.bytes.behind(length),
            behind: count.taken,
        });
        let ends: Vec<usize> = (0..=count.taken).map(|n| frames.length_of(n)).collect();
        let sizes: Vec<u64> = (0..=count.taken).map(|n| frames.size_of(n)).collect();
        let bytes = match frames.bytes {
            FrameBytes::Owned(bytes) => Bytes::from(bytes),
            FrameBytes::Shared(bytes) => bytes,
        };
        if let Some(slow) = state.slow.as_deref_mut() {
            for (ends, sizes) in ends.windows(2).zip(sizes.windows(2)) {
                if let ([start, end], [before, after]) = (ends, sizes) {
                    slow.hold(Held::Message {
                        bytes: bytes.slice(*start..*end),
                        size: after - before,
                    });
                }
            }
        }
        let size = sizes.last().copied().unwrap_or_default();
        state.out_messages += count.taken as u64;
        state.out_bytes += size;
        let overflow = self.shed(state);
        let mut delivery = self.after_append(state, count);
        delivery.overflow |= overflow;
        Ok(BatchDelivery {
            delivery,
            size,
            left,
        })
    }

    /// Takes as many messages as there is room for and drops the others.
    fn take_what_fits(
        &self,
        state: &mut State,
        subscription: &Subscription,
        frames: Frames<'_>,
        room: usize,
    ) -> BatchDelivery {
        let all = frames.marks.len();
        let mut fitting = 0;
        while fitting < all && frames.length_of(fitting + 1) <= room {
            fitting += 1;
        }
        let count = subscription.count(fitting);
        let length = frames.length_of(count.taken);
        let size = frames.size_of(count.taken);
        let taken = frames.bytes.as_slice().get(..length).unwrap_or_default();
        state.outbound.push([taken]);
        state.out_messages += count.taken as u64;
        state.out_bytes += size;
        let mut delivery = NOT_DELIVERED;
        if count.taken > 0 {
            delivery = self.after_append(state, count);
        }
        if !count.last {
            let bytes = frames.size_of(all) - size;
            delivery.overflow |= state.note_dropped((all - count.taken) as u64, bytes);
        }
        BatchDelivery {
            delivery,
            size,
            left: Some(Refused {
                bytes: frames.bytes.behind(length),
                behind: count.taken,
            }),
        }
    }

    /// Leaves protocol text behind messages that are held; whether there are any.
    pub(super) fn hold_text(&self, state: &mut State, text: &[u8]) -> bool {
        let holds = state.holds();
        if holds && let Some(slow) = state.slow.as_deref_mut() {
            slow.hold_text(text);
            self.shed(state);
        }
        holds
    }

    /// Drops held messages until the limit is kept; whether they are the first.
    fn shed(&self, state: &mut State) -> bool {
        let most = state.room_to_hold(self.max_pending());
        let Some(slow) = state.slow.as_deref_mut() else {
            return false;
        };
        let (messages, bytes) = slow.shed(most);
        let first = slow.note_dropped(messages, bytes);
        if first && slow.tells {
            slow.tell_of_gap();
        }
        state.out_messages -= messages;
        state.out_bytes -= bytes;
        first
    }

    /// Whether so much waits that the connection is to end.
    pub(super) fn is_over(&self, state: &State, pending: usize) -> bool {
        let most = self.max_pending();
        state.blocked
            && match state.slow.as_deref() {
                None => pending > most,
                Some(slow) => slow.is_over(pending, most),
            }
    }
}

#[cfg(test)]
mod tests {
    use std::io::{self, IoSlice};
    use std::sync::Mutex;

    use super::*;
    use crate::broker::peer::tests::facts;
    use crate::broker::peer::{Flush, Wire};
    use crate::proto::op::Subscribe;

    const MAX_PENDING: usize = 1000;

    /// A wire that takes so many bytes and no more.
    #[derive(Debug, Default)]
    struct Valve {
        taken: Mutex<Vec<u8>>,
        open: Mutex<usize>,
    }

    impl Wire for Arc<Valve> {
        fn try_write(&self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
            let mut open = self.open.lock().unwrap();
            let all: Vec<u8> = slices.iter().flat_map(|slice| slice.to_vec()).collect();
            let count = all.len().min(*open);
            *open -= count;
            self.taken.lock().unwrap().extend_from_slice(&all[..count]);
            match count {
                0 => Err(io::ErrorKind::WouldBlock.into()),
                _ => Ok(count),
            }
        }

        fn wake(&self) {}
    }

    struct Slowness {
        valve: Arc<Valve>,
        peer: Arc<Peer>,
        subscription: Subscription,
        account: Arc<Traffic>,
    }

    impl Slowness {
        fn new(policy: SlowPolicy) -> Self {
            Self::with(policy, false)
        }

        fn with(policy: SlowPolicy, tells: bool) -> Self {
            let valve: Arc<Valve> = Arc::default();
            let wire = Box::new(Arc::clone(&valve));
            let peer = Arc::new(Peer::new(facts(1), wire, MAX_PENDING));
            let account: Arc<Traffic> = Arc::default();
            let treatment = SlowTreatment { policy, tells };
            peer.set_slow_treatment(treatment, Arc::clone(&account));
            let words = Subscribe {
                filter: b"a",
                queue: None,
                sid: b"1",
            };
            let subscription = Subscription::new(&words, Arc::clone(&peer), None).unwrap();
            Self {
                valve,
                peer,
                subscription,
                account,
            }
        }

        fn open(&self, bytes: usize) {
            *self.valve.open.lock().unwrap() = bytes;
            self.peer.resume();
        }

        /// Leaves a message of 100 bytes.
        fn deliver(&self, number: usize) -> Delivery {
            let body = format!("{number:086}\r\n");
            let parcel = Parcel {
                head: b"MSG a ",
                tail: b" 86\r\n",
                body: body.as_bytes(),
                shared: None,
            };
            let delivery = self.peer.deliver(&self.subscription, parcel, false);
            if delivery.must_flush {
                self.peer.flush();
            }
            delivery
        }

        /// The numbers of the messages that the wire took, with the texts between them.
        fn taken(&self) -> Vec<String> {
            let taken = self.valve.taken.lock().unwrap();
            let text = String::from_utf8(taken.clone()).unwrap();
            let lines = text.lines().filter(|line| !line.starts_with("MSG a 1 86"));
            lines
                .map(|line| match line.trim_start_matches('0') {
                    "" => "0".to_owned(),
                    word => word.to_owned(),
                })
                .collect()
        }

        fn dropped(&self) -> (u64, u64) {
            let dropped = self.peer.dropped();
            let counted = (self.account.messages.get(), self.account.bytes.get());
            assert_eq!(dropped, counted);
            dropped
        }
    }

    fn numbers(numbers: impl IntoIterator<Item = usize>) -> Vec<String> {
        numbers
            .into_iter()
            .map(|number| number.to_string())
            .collect()
    }

    #[test]
    fn what_does_not_fit_is_dropped() {
        let slow = Slowness::new(SlowPolicy::DropNew);
        slow.open(50);
        let overflows: Vec<usize> = (0..20).filter(|n| slow.deliver(*n).overflow).collect();
        assert_eq!(overflows, [10], "said once");
        assert_eq!(slow.dropped(), (10, 860));
        assert_eq!(slow.peer.traffic_out(), (10, 860));
        assert!(slow.peer.condition().closing.is_none() && !slow.peer.stalls());
        slow.open(usize::MAX);
        slow.deliver(20);
        assert_eq!(slow.taken(), numbers((0..10).chain([20])));
        slow.open(0);
        let overflows: Vec<usize> = (21..40).filter(|n| slow.deliver(*n).overflow).collect();
        assert_eq!(overflows.len(), 1, "said again: {overflows:?}");
    }

    #[test]
    fn the_oldest_are_dropped_but_not_what_was_begun() {
        let slow = Slowness::new(SlowPolicy::DropOld);
        slow.open(150);
        for number in 0..30 {
            let delivery = slow.deliver(number);
            assert_eq!(delivery.delivered, 1);
            assert!(slow.peer.pending() <= MAX_PENDING);
            if number == 20 {
                slow.peer.send(b"PONG\r\n");
            }
        }
        let (messages, bytes) = slow.dropped();
        assert_eq!(bytes, messages * 86);
        assert_eq!(slow.peer.traffic_out().0, 30 - messages);
        slow.open(usize::MAX);
        let taken = slow.taken();
        assert_eq!(taken[..2], numbers([0, 1]));
        let pong = taken.iter().position(|line| line == "PONG").unwrap();
        assert!(
            taken[..pong]
                .iter()
                .all(|line| line.parse::<usize>().unwrap() <= 20)
        );
        let kept: Vec<usize> = taken.iter().filter_map(|line| line.parse().ok()).collect();
        assert_eq!(kept.len() as u64, 30 - messages);
        assert_eq!(
            kept[2..].first().copied(),
            Some(30 - (kept.len() - 2)),
            "{kept:?}"
        );
        assert_eq!(kept.last(), Some(&29));
        assert_eq!((slow.peer.pending(), slow.peer.flush()), (0, Flush::Done));
    }

    #[test]
    fn texts_between_dropped_messages_become_one() {
        let slow = Slowness::new(SlowPolicy::DropOld);
        slow.open(50);
        for number in 0..70 {
            slow.deliver(number);
            slow.peer.send(b"PONG\r\n");
        }
        assert!(slow.peer.condition().closing.is_none());
        let held = slow.peer.lock().slow.as_ref().unwrap().held.len();
        assert!(held < 20, "{held}");
        slow.open(usize::MAX);
        let texts = slow.taken().iter().filter(|line| *line == "PONG").count();
        assert_eq!(texts, 70);
        let state = slow.peer.lock();
        let rest = state.slow.as_ref().unwrap();
        assert_eq!((rest.held_bytes, rest.held.capacity()), (0, 0));
    }

    #[test]
    fn another_policy_keeps_what_was_held_and_counted() {
        let slow = Slowness::new(SlowPolicy::DropOld);
        slow.open(50);
        for number in 0..20 {
            slow.deliver(number);
        }
        let dropped = slow.dropped();
        assert!(dropped.0 > 0);
        let account = Arc::clone(&slow.account);
        slow.peer
            .set_slow_treatment(SlowTreatment::default(), account);
        assert_eq!(slow.dropped(), dropped);
        assert!((20..30).any(|number| slow.deliver(number).overflow));
        assert!(slow.peer.condition().closing.is_some());
        assert_eq!(slow.dropped(), dropped, "it is cut off");
    }

    #[test]
    fn who_is_told_sees_it_where_messages_are_missing() {
        for policy in [SlowPolicy::DropNew, SlowPolicy::DropOld] {
            let slow = Slowness::with(policy, true);
            slow.open(50);
            for number in 0..30 {
                slow.deliver(number);
            }
            slow.open(usize::MAX);
            slow.deliver(30);
            let taken = slow.taken();
            let told = |line: &&String| *line == "-ERR 'Slow Consumer'";
            assert_eq!(
                taken.iter().filter(told).count(),
                1,
                "{policy:?}: {taken:?}"
            );
            let mut parts = taken.split(|line| told(&line));
            let (before, after) = (parts.next().unwrap(), parts.next().unwrap());
            assert_eq!(before, numbers(0..before.len()), "{policy:?}");
            assert_eq!(after, numbers(31 - after.len()..31), "{policy:?}");
            assert!(!before.is_empty() && before.len() + after.len() < 31);
        }
    }

    #[test]
    fn who_is_told_gets_the_backlog_and_why_it_ends() {
        let slow = Slowness::with(SlowPolicy::Disconnect, true);
        slow.open(50);
        let cut = (0..).find(|number| slow.deliver(*number).overflow).unwrap();
        assert!(slow.peer.is_told_the_end());
        slow.open(usize::MAX);
        let mut expected = numbers(0..=cut);
        expected.push("-ERR 'Slow Consumer'".to_owned());
        assert_eq!(slow.taken(), expected);
        // Where memory is short, nothing is kept for its sake.
        let slow = Slowness::with(SlowPolicy::Disconnect, true);
        slow.open(50);
        (0..).find(|number| slow.deliver(*number).overflow).unwrap();
        slow.peer.close(CloseReason::MemoryBudgetExceeded);
        assert_eq!(
            (slow.peer.pending(), slow.peer.is_told_the_end()),
            (0, false)
        );
    }

    #[test]
    fn publishers_wait_until_there_is_too_much_in_any_case() {
        let slow = Slowness::new(SlowPolicy::Block);
        slow.open(50);
        let cut = (0..).find(|number| {
            let delivery = slow.deliver(*number);
            assert_eq!(delivery.stalls, slow.peer.stalls(), "{number}");
            delivery.overflow
        });
        assert_eq!(cut, Some(2 * MAX_PENDING / 100));
        assert_eq!(slow.dropped(), (0, 0));
        let slow = Slowness::new(SlowPolicy::Block);
        slow.open(50);
        for number in 0..15 {
            slow.deliver(number);
        }
        slow.peer.mark_unresponsive();
        assert!(slow.peer.stalls() && slow.peer.blocks_publishers());
        slow.open(usize::MAX);
        assert!(!slow.peer.stalls());
        assert_eq!(slow.taken(), numbers(0..15));
    }
}
