//! Leaving gracefully: clients are told to move and then closed a few at a time, so that the servers
//! that take them over are not flooded.

use std::time::Duration;

use super::Server;
use crate::broker::close::CloseReason;
use crate::system::Announcement;

/// Longest pause between two closes: a handful of clients need not be spread over minutes.
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// Time to close all clients in when the grace period takes the whole duration.
const SHORTEST_SPREAD: Duration = Duration::from_secs(1);

pub(super) async fn run(server: &Server) {
    let inner = &server.inner;
    if inner.stopping.is_cancelled() || !inner.become_lame_duck() {
        return;
    }
    tracing::info!("Entering lame duck mode, stop accepting new clients");
    inner.stop_listening().await;
    inner.announce(Announcement::LameDuck).await;
    if inner.context.broker.connection_count() > 0 {
        if let Some(cluster) = &inner.cluster {
            cluster.become_lame_duck();
        }
        inner.context.tell_clients(|info| info.ldm = true);
        tokio::select! {
            () = inner.stopping.cancelled() => return,
            () = close_clients(server) => {}
        }
    }
    server.shutdown().await;
}

async fn close_clients(server: &Server) {
    let inner = &server.inner;
    let (duration, grace_period) = inner.lame_duck_times();
    tokio::time::sleep(grace_period).await;
    tracing::info!("Closing existing clients");
    let spread = duration.saturating_sub(grace_period);
    let spread = if spread.is_zero() {
        SHORTEST_SPREAD
    } else {
        spread
    };
    let peers = inner.context.broker.peers();
    let count = u32::try_from(peers.len()).unwrap_or(u32::MAX).max(1);
    let pause = (spread / count).min(LONGEST_PAUSE);
    let mut due = tokio::time::Instant::now();
    for (index, peer) in peers.iter().enumerate() {
        peer.close(CloseReason::ServerShutdown);
        if index + 1 == peers.len() {
            return;
        }
        // Half of the pause to the whole of it, at random, so that several lame ducks do not close
        // their clients in step. Pauses too short for the timer add up until one is due.
        due += pause / 2 + pause / 2 * u32::try_from(super::random() % 1024).unwrap_or(0) / 1024;
        tokio::time::sleep_until(due).await;
    }
}
