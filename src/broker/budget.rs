//! How many bytes may wait for all connections of a server together.
//!
//! Nearly everything is sent at the end of the turn that brought it. Memory grows where wires are blocked, and
//! only there is anything counted: in steps, so that counting costs nothing that could be measured.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::Notify;

use super::stats::Counter;

/// Least number of bytes by which a connection's share changes before the sum is told; beyond eight times that an
/// eighth of the share. So many bytes may wait uncounted.
const LEAST_STEP: usize = 1024;

/// What waits for all connections of a server, and how much may.
#[derive(Debug)]
pub struct MemoryBudget {
    /// Bytes; the largest number for no limit.
    limit: AtomicUsize,
    used: AtomicUsize,
    exceeded: Notify,
    /// Connections cut because all together had too much pending.
    pub shed: Counter,
}

impl Default for MemoryBudget {
    fn default() -> Self {
        Self {
            limit: AtomicUsize::new(usize::MAX),
            used: AtomicUsize::new(0),
            exceeded: Notify::new(),
            shed: Counter::default(),
        }
    }
}

impl MemoryBudget {
    /// Lets at most so many bytes wait; `None` for any number.
    pub fn set_limit(&self, bytes: Option<usize>) {
        self.limit
            .store(bytes.unwrap_or(usize::MAX), Ordering::Relaxed);
        self.exceeded.notify_one();
    }

    /// How many bytes may wait, if that is limited.
    #[must_use]
    pub fn limit(&self) -> Option<usize> {
        let limit = self.limit.load(Ordering::Relaxed);
        (limit != usize::MAX).then_some(limit)
    }

    /// How many bytes wait for connections whose wires are blocked. Bytes that several connections share count
    /// once for each.
    #[must_use]
    pub fn used(&self) -> usize {
        self.used.load(Ordering::Relaxed)
    }

    /// How many bytes to give up: what there is beyond seven eighths of the limit, if there is more than the
    /// limit. So the next message does not exceed it again.
    #[must_use]
    pub fn excess(&self) -> usize {
        let (used, limit) = (self.used(), self.limit.load(Ordering::Relaxed));
        if used > limit {
            used - (limit - limit / 8)
        } else {
            0
        }
    }

    /// Resolves when there may be an [excess](Self::excess).
    pub async fn exceeded(&self) {
        self.exceeded.notified().await;
    }

    fn pressure(&self) -> Pressure {
        let (used, limit) = (self.used(), self.limit.load(Ordering::Relaxed));
        if used <= limit / 4 * 3 {
            Pressure::Low
        } else if used <= limit.saturating_add(limit / 4) {
            Pressure::High
        } else {
            Pressure::Overdrawn
        }
    }
}

/// What the budget asks of somebody who adds to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Pressure {
    /// Nothing.
    Low,
    /// To pause publishers, as for a connection that is near its own limit: more than three quarters are used.
    High,
    /// To add no more, since there is no time left to find the slowest: a quarter more than the limit is used.
    Overdrawn,
}

/// The share of one connection.
#[derive(Debug, Default)]
pub(super) struct Charge {
    budget: Option<Arc<MemoryBudget>>,
    counted: usize,
}

impl Charge {
    pub(super) fn against(budget: Arc<MemoryBudget>) -> Self {
        Self {
            budget: Some(budget),
            counted: 0,
        }
    }

    /// Whether anything is counted of the connection.
    pub(super) fn is_counted(&self) -> bool {
        self.counted > 0
    }

    /// The connection has `pending` bytes that its wire does not take.
    pub(super) fn follow(&mut self, pending: usize) -> Pressure {
        let Some(budget) = &self.budget else {
            return Pressure::Low;
        };
        let step = (self.counted / 8).max(LEAST_STEP);
        if pending > 0 && pending.abs_diff(self.counted) < step {
            return budget.pressure();
        }
        let counted = std::mem::replace(&mut self.counted, pending);
        if pending < counted {
            budget.used.fetch_sub(counted - pending, Ordering::Relaxed);
        } else {
            budget.used.fetch_add(pending - counted, Ordering::Relaxed);
            if budget.excess() > 0 {
                budget.exceeded.notify_one();
            }
        }
        budget.pressure()
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        self.follow(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn budget(limit: usize) -> Arc<MemoryBudget> {
        let budget = Arc::new(MemoryBudget::default());
        budget.set_limit(Some(limit));
        budget
    }

    #[test]
    fn the_sum_follows_each_share_within_an_eighth() {
        let budget = budget(usize::MAX / 2);
        let mut charges = [0; 3].map(|_: usize| Charge::against(Arc::clone(&budget)));
        let mut sizes = [0_usize; 3];
        for round in 0..10_000_usize {
            let at = round % 3;
            sizes[at] = (round * 7919) % 3_000_000;
            charges[at].follow(sizes[at]);
            let sum: usize = sizes.iter().sum();
            let most = sum / 8 + 3 * LEAST_STEP;
            assert!(
                budget.used().abs_diff(sum) <= most,
                "{} {sum}",
                budget.used()
            );
        }
        charges[0].follow(0);
        let [_, second, third] = charges;
        drop((second, third));
        assert_eq!(budget.used(), 0);
    }

    #[test]
    fn an_excess_is_told_and_goes_down_to_seven_eighths() {
        let budget = budget(800_000);
        let mut first = Charge::against(Arc::clone(&budget));
        let mut second = Charge::against(Arc::clone(&budget));
        assert_eq!(first.follow(500_000), Pressure::Low);
        assert_eq!(second.follow(200_000), Pressure::High);
        assert_eq!(budget.excess(), 0);
        assert_eq!(second.follow(400_000), Pressure::High);
        assert_eq!(budget.excess(), 200_000);
        assert_eq!(second.follow(600_000), Pressure::Overdrawn);
        // Nobody may get more, not even what is not worth counting.
        assert_eq!(first.follow(500_001), Pressure::Overdrawn);
        drop(second);
        assert_eq!((budget.excess(), first.follow(500_002)), (0, Pressure::Low));
        budget.set_limit(None);
        assert_eq!(budget.limit(), None);
        assert_eq!(first.follow(usize::MAX / 2), Pressure::Low);
    }

    #[test]
    fn without_a_budget_nothing_is_counted() {
        let mut charge = Charge::default();
        assert_eq!(charge.follow(usize::MAX), Pressure::Low);
        assert!(!charge.is_counted());
    }
}
