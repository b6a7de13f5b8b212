//! Pending bytes against a plain vector.

use std::io::IoSlice;

use bytes::Bytes;
use proptest::prelude::*;
use proptest::sample::Index;

use super::effort::cases;
use midge::outbound::{MAX_SLICES, Outbound, SEGMENT_BYTES};

#[derive(Debug, Clone)]
enum Step {
    Push(usize, usize),
    Share(usize),
    Send(Index),
    /// A batch is taken out, part of it is sent while others add, and the rest goes back.
    Batch(Index, Vec<usize>),
    SendAll,
    Clear,
}

/// Lengths around those at which something else happens.
fn length() -> impl Strategy<Value = usize> {
    prop_oneof![
        12 => 0_usize..40,
        4 => 1000_usize..1100,
        1 => (SEGMENT_BYTES - 3)..(SEGMENT_BYTES + 3),
        1 => 0_usize..(2 * SEGMENT_BYTES),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (length(), length()).prop_map(|(first, second)| Step::Push(first, second)),
        3 => length().prop_map(Step::Share),
        3 => any::<Index>().prop_map(Step::Send),
        3 => (any::<Index>(), prop::collection::vec(length(), 0..4))
            .prop_map(|(sent, added)| Step::Batch(sent, added)),
        1 => Just(Step::SendAll),
        1 => Just(Step::Clear),
    ]
}

/// The buffer and what it should hold.
#[derive(Default)]
struct Bench {
    outbound: Outbound,
    model: Vec<u8>,
    next: u8,
}

impl Bench {
    /// Bytes that are nowhere the same for long, so that a mix-up shows.
    fn bytes(&mut self, length: usize) -> Vec<u8> {
        self.next = self.next.wrapping_add(41);
        let first = usize::from(self.next);
        #[expect(clippy::cast_possible_truncation, reason = "only a pattern is wanted")]
        let pattern = |index: usize| (first + index * 7 + index / 251) as u8;
        (0..length).map(pattern).collect()
    }

    fn push(&mut self, first: usize, second: usize) {
        let (first, second) = (self.bytes(first), self.bytes(second));
        self.outbound.push([&first, &second]);
        self.model.extend_from_slice(&first);
        self.model.extend_from_slice(&second);
    }

    fn take(&mut self, step: &Step) {
        match step {
            Step::Push(first, second) => self.push(*first, *second),
            Step::Share(length) => {
                let bytes = self.bytes(*length);
                self.model.extend_from_slice(&bytes);
                self.outbound.push_shared(Bytes::from(bytes));
            }
            Step::Send(index) => self.send(index.index(self.model.len() + 1)),
            Step::Batch(index, added) => self.batch(*index, added),
            Step::SendAll => {
                self.send(self.model.len());
                assert!(self.outbound.is_empty());
            }
            Step::Clear => {
                self.outbound.clear();
                self.model.clear();
            }
        }
        self.check();
    }

    fn send(&mut self, count: usize) {
        self.outbound.advance(count);
        self.model.drain(..count);
    }

    fn batch(&mut self, index: Index, added: &[usize]) {
        let mut batch = std::mem::take(&mut self.outbound);
        let length = self.model.len();
        let sent = index.index(length + 1);
        for length in added {
            self.push(*length, 1);
        }
        assert_eq!(batch.pending(), length);
        batch.advance(sent);
        self.model.drain(..sent);
        self.outbound.prepend(batch);
    }

    /// Slices show what comes first, up to as many of them as one call takes.
    fn check(&self) {
        assert_eq!(self.outbound.pending(), self.model.len());
        assert_eq!(self.outbound.is_empty(), self.model.is_empty());
        let mut slices = [IoSlice::new(&[]); MAX_SLICES];
        let count = self.outbound.slices(&mut slices);
        let shown: Vec<u8> = slices[..count]
            .iter()
            .flat_map(|slice| slice.to_vec())
            .collect();
        assert!(slices[..count].iter().all(|slice| !slice.is_empty()));
        assert!(
            self.model.starts_with(&shown),
            "the slices show something else"
        );
        assert!(
            count == MAX_SLICES || shown.len() == self.model.len(),
            "something is not shown"
        );
    }
}

proptest! {
    #![proptest_config(cases(100))]

    #[test]
    fn bytes_leave_in_the_order_they_came(steps in prop::collection::vec(step(), 1..60)) {
        let mut bench = Bench::default();
        for step in &steps {
            bench.take(step);
        }
        bench.take(&Step::SendAll);
    }

    /// More segments than one call can take.
    #[test]
    fn many_shared_payloads_are_sent_in_several_calls(
        count in 1_usize..200,
        sends in prop::collection::vec(any::<Index>(), 0..20),
    ) {
        let mut bench = Bench::default();
        for number in 0..count {
            bench.take(&Step::Push(3, number % 5));
            bench.take(&Step::Share(number % 7));
        }
        for index in sends {
            bench.take(&Step::Send(index));
        }
        bench.take(&Step::SendAll);
    }
}
