//! Keeps what waits for all connections together within its budget.

use std::cmp::Reverse;
use std::sync::Arc;

use super::Inner;
use crate::broker::close::CloseReason;
use crate::broker::peer::Peer;

/// A connection that has not taken anything for a while counts as if so many times as much waited for it.
const UNRESPONSIVE_WEIGHT: usize = 4;

/// Cuts off the slowest clients whenever more waits than may, until the server ends.
pub(super) async fn keep_within_budget(server: Arc<Inner>) {
    let budget = &server.context.broker.budget;
    while server
        .stopping
        .run_until_cancelled(budget.exceeded())
        .await
        .is_some()
    {
        if budget.excess() > 0 {
            shed(&server);
        }
    }
}

/// Cuts off those for whom most waits and who make the least progress, as many as it takes; before them, whoever has been
/// cut off already and only gets the rest. Links to other servers are left alone: everybody behind them would lose messages.
fn shed(server: &Inner) {
    let broker = &server.context.broker;
    let mut slow: Vec<(usize, usize, Arc<Peer>)> = Vec::new();
    for peer in broker.peers() {
        let (pending, responds) = peer.backlog();
        if peer.is_told_the_end() {
            peer.close(CloseReason::MemoryBudgetExceeded);
        } else if pending > 0 && peer.condition().closing.is_none() {
            let weight = if responds { 1 } else { UNRESPONSIVE_WEIGHT };
            slow.push((pending.saturating_mul(weight), pending, peer));
        }
    }
    slow.sort_unstable_by_key(|(weighed, ..)| Reverse(*weighed));
    let mut excess = broker.budget.excess();
    for (_, pending, peer) in slow {
        if excess == 0 {
            return;
        }
        peer.close(CloseReason::MemoryBudgetExceeded);
        server.context.broker.report_overflow(&peer);
        excess = excess.saturating_sub(pending);
    }
}
