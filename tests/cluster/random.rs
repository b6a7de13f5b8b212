//! Chance that can be repeated.

use std::time::Duration;

/// xorshift64*.
pub(crate) struct Random(u64);

impl Random {
    /// Numbers that `seed` decides.
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    pub(crate) fn below(&mut self, count: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        let high = self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 32;
        usize::try_from((high * count as u64) >> 32).expect("it is there")
    }

    pub(crate) fn number(&mut self, count: u32) -> u32 {
        u32::try_from(self.below(count as usize)).expect("a small number")
    }

    pub(crate) fn chance(&mut self, percent: usize) -> bool {
        self.below(100) < percent
    }

    pub(crate) fn millis(&mut self, from: usize, to: usize) -> Duration {
        Duration::from_millis((from + self.below(to - from)) as u64)
    }
}
