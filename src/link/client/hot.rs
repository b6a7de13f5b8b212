//! Draws the messages that are counted for the subjects that are published to most.

use super::{Client, Received};
use crate::broker::hot::SAMPLED;
use crate::conn::turn::Turn;
use crate::proto::op::Publish;

impl Client {
    /// Decides which message of a turn is counted first.
    #[cold]
    pub(super) fn draw(&self, turn: &mut Turn<'_>, received: &mut Received) {
        received.drawn = match self.counted_in {
            0 => gap(turn),
            left => left,
        };
    }

    /// Counts a message that was drawn, and decides which is the next.
    #[cold]
    pub(super) fn count_subject(
        &self,
        turn: &mut Turn<'_>,
        message: &Publish<'_>,
        received: &mut Received,
    ) {
        if let Some(hot) = self.account.hot_subjects() {
            let worker = turn.deliveries.worker();
            hot.count(worker, message.subject, message.size.bytes, turn.now);
        }
        received.drawn += gap(turn);
    }
}

/// A number of messages of which one is counted: any from 1 on that makes [`SAMPLED`] on average, so that
/// nobody's rhythm hides a subject.
fn gap(turn: &mut Turn<'_>) -> u64 {
    1 + turn.deliveries.random() % (2 * SAMPLED - 1)
}
