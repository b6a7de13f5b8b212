//! The bytes that wait to be sent to one peer.
//!
//! Small messages are copied one after the other into the last *segment*; a big payload is shared with
//! every other peer that gets it. A backlog is a list of full segments, so it costs what it holds and
//! growing never copies it. An idle peer holds no memory at all: drained segments go back to a small
//! pool of the thread that wrote them.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::io::IoSlice;

use bytes::Bytes;

/// Capacity of a segment in bytes: what one read can bring, so that one turn fills about one segment.
pub const SEGMENT_BYTES: usize = 256 * 1024;

/// Capacity of a segment at first when the pool has none; it doubles up to [`SEGMENT_BYTES`]. A peer
/// that gets a line now and then must not cost a whole segment.
const FIRST_SEGMENT_BYTES: usize = 1024;

/// Payloads of at least this many bytes are shared instead of copied when their publisher's buffer
/// can be shared: below it the copy is cheaper than the bookkeeping.
pub const SHARE_BYTES: usize = 16 * 1024;

/// Capacity from which on a segment is worth keeping.
const LEAST_POOLED_BYTES: usize = 32 * 1024;

/// Segments that one thread keeps for later use: 1.5 MiB.
const POOLED_SEGMENTS: usize = 6;

/// Most slices offered to one system call.
pub const MAX_SLICES: usize = 64;

thread_local! {
    static POOL: RefCell<Vec<Vec<u8>>> = const { RefCell::new(Vec::new()) };
}

/// Pending bytes, first in, first out.
///
/// Invariant: `pending` is the number of bytes in `full` and `tail` less `sent`.
#[derive(Debug, Default)]
pub struct Outbound {
    full: VecDeque<Segment>,
    tail: Vec<u8>,
    /// Bytes of the first segment that have been sent already.
    sent: usize,
    pending: usize,
}

#[derive(Debug)]
enum Segment {
    Copied(Vec<u8>),
    Shared(Bytes),
}

impl Segment {
    fn as_slice(&self) -> &[u8] {
        match self {
            Self::Copied(bytes) => bytes,
            Self::Shared(bytes) => bytes,
        }
    }
}

impl Outbound {
    /// Bytes that wait.
    #[must_use]
    pub fn pending(&self) -> usize {
        self.pending
    }

    /// Whether nothing waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.pending == 0
    }

    /// Appends copies of all `parts`, one after the other.
    pub fn push<const N: usize>(&mut self, parts: [&[u8]; N]) {
        let length = parts.iter().map(|part| part.len()).sum();
        self.make_room(length);
        for part in parts {
            self.tail.extend_from_slice(part);
        }
        self.pending += length;
    }

    /// Appends a whole buffer, which becomes a segment.
    pub fn push_segment(&mut self, bytes: Vec<u8>) {
        self.pending += bytes.len();
        self.close_tail();
        self.tail = bytes;
    }

    /// Appends `bytes` without copying them.
    pub fn push_shared(&mut self, bytes: Bytes) {
        self.pending += bytes.len();
        self.close_tail();
        self.full.push_back(Segment::Shared(bytes));
    }

    /// Puts what is left of `earlier` back in front of everything.
    pub fn prepend(&mut self, mut earlier: Self) {
        if earlier.is_empty() {
            return;
        }
        if self.is_empty() {
            *self = earlier;
            return;
        }
        earlier.close_tail();
        earlier.full.append(&mut self.full);
        earlier.tail = std::mem::take(&mut self.tail);
        earlier.pending += self.pending;
        *self = earlier;
    }

    /// The first pending slices, for one vectored write.
    pub fn slices<'a>(&'a self, into: &mut [IoSlice<'a>; MAX_SLICES]) -> usize {
        let segments = self.full.iter().map(Segment::as_slice);
        let mut count = 0;
        let mut skip = self.sent;
        for segment in segments.chain(std::iter::once(&*self.tail)) {
            let rest = segment.get(skip..).unwrap_or_default();
            skip = 0;
            if rest.is_empty() {
                continue;
            }
            let Some(place) = into.get_mut(count) else {
                break;
            };
            *place = IoSlice::new(rest);
            count += 1;
        }
        count
    }

    /// Drops the first `count` bytes, which have been sent.
    pub fn advance(&mut self, count: usize) {
        self.pending -= count;
        self.sent += count;
        while let Some(first) = self.full.front() {
            let length = first.as_slice().len();
            if self.sent < length {
                return;
            }
            self.sent -= length;
            if let Some(Segment::Copied(buffer)) = self.full.pop_front() {
                recycle(buffer);
            }
        }
        if self.sent == self.tail.len() {
            self.sent = 0;
            recycle(std::mem::take(&mut self.tail));
            if self.full.capacity() > 0 {
                self.full = VecDeque::new();
            }
        }
    }

    /// Drops everything.
    pub fn clear(&mut self) {
        *self = Self::default();
    }

    /// Makes sure that `length` more bytes fit into the tail.
    fn make_room(&mut self, length: usize) {
        let wanted = self.tail.len() + length;
        if wanted <= self.tail.capacity() {
            return;
        }
        if self.tail.is_empty() {
            self.tail = take_segment(length);
        } else if wanted <= SEGMENT_BYTES {
            let doubled = (self.tail.capacity() * 2).clamp(wanted, SEGMENT_BYTES);
            self.tail.reserve_exact(doubled - self.tail.len());
        } else {
            self.close_tail();
            self.tail = take_segment(length);
        }
    }

    fn close_tail(&mut self) {
        if !self.tail.is_empty() {
            self.full
                .push_back(Segment::Copied(std::mem::take(&mut self.tail)));
        }
    }
}

/// An empty buffer with room for at least `length` bytes, from the thread's pool if it has one.
#[must_use]
pub fn take_segment(length: usize) -> Vec<u8> {
    if length <= SEGMENT_BYTES
        && let Some(segment) = POOL.with_borrow_mut(Vec::pop)
    {
        return segment;
    }
    Vec::with_capacity(length.max(FIRST_SEGMENT_BYTES))
}

/// Keeps a big segment for later, drops any other.
pub fn recycle(mut segment: Vec<u8>) {
    if !(LEAST_POOLED_BYTES..=SEGMENT_BYTES).contains(&segment.capacity()) {
        return;
    }
    segment.clear();
    POOL.with_borrow_mut(|pool| {
        if pool.len() < POOLED_SEGMENTS {
            pool.push(segment);
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Sends everything in steps of `step` bytes and returns it.
    fn drain(outbound: &mut Outbound, step: usize) -> Vec<u8> {
        let mut sent = Vec::new();
        while !outbound.is_empty() {
            let mut slices = [IoSlice::new(&[]); MAX_SLICES];
            let count = outbound.slices(&mut slices);
            let all = slices[..count]
                .iter()
                .map(|slice| slice.to_vec())
                .collect::<Vec<_>>()
                .concat();
            let part = &all[..step.min(all.len())];
            sent.extend_from_slice(part);
            let length = part.len();
            outbound.advance(length);
        }
        sent
    }

    #[test]
    fn order_is_kept_over_segments_and_shared_payloads() {
        for step in [1, 7, 1000, usize::MAX] {
            let mut outbound = Outbound::default();
            let mut expected = Vec::new();
            for round in 0..40_u8 {
                let small = vec![round; 3000];
                outbound.push([b"x", &small]);
                expected.extend_from_slice(b"x");
                expected.extend_from_slice(&small);
                let shared = Bytes::from(vec![round; 500]);
                outbound.push_shared(shared.clone());
                expected.extend_from_slice(&shared);
            }
            assert_eq!(outbound.pending(), expected.len());
            assert!(drain(&mut outbound, step) == expected, "step {step}");
            assert_eq!((outbound.tail.capacity(), outbound.full.capacity()), (0, 0));
        }
    }

    #[test]
    fn what_was_not_sent_goes_back_to_the_front() {
        let mut outbound = Outbound::default();
        outbound.push([b"abc"]);
        let mut batch = std::mem::take(&mut outbound);
        outbound.push([b"def"]);
        batch.advance(1);
        outbound.prepend(batch);
        assert_eq!(drain(&mut outbound, 2), b"bcdef");
    }
}
