//! Links as monitoring shows them.

use std::time::{Duration, Instant};

use super::{Cluster, now};
use crate::broker::routes::Share;

/// One link.
#[derive(Debug, Clone)]
pub struct RouteStatus {
    /// The connection's number.
    pub id: u64,
    /// The other server's identity.
    pub remote_id: String,
    /// The other server's name.
    pub remote_name: String,
    /// Whether this server dialed.
    pub dialed: bool,
    /// Address of the other end.
    pub ip: String,
    /// How long there has been the connection.
    pub uptime: Duration,
    /// Bytes that wait to be sent.
    pub pending: usize,
    /// Messages and bytes received.
    pub received: (u64, u64),
    /// Messages and bytes sent.
    pub sent: (u64, u64),
    /// The account that has the link for itself.
    pub account: Option<String>,
}

impl Cluster {
    /// The links that are part of the cluster.
    #[must_use]
    pub fn links(&self) -> Vec<RouteStatus> {
        let now: Instant = now();
        let state = self.inner.lock();
        let links = state.links.iter().filter_map(|(id, handle)| {
            let info = state.mesh.remote_of(*id)?;
            Some(RouteStatus {
                id: *id,
                remote_id: info.server_id.clone(),
                remote_name: info.server_name.clone(),
                dialed: handle.dialed,
                ip: handle.peer.facts().ip.clone(),
                uptime: now.saturating_duration_since(handle.since),
                pending: handle.peer.pending(),
                received: handle.peer.traffic_in(),
                sent: handle.peer.traffic_out(),
                account: match &handle.share {
                    Some(Share::Account(account)) => Some(account.clone()),
                    Some(Share::Slot { .. } | Share::Lane { .. } | Share::All) | None => None,
                },
            })
        });
        links.collect()
    }

    /// The name of the cluster.
    #[must_use]
    pub fn name(&self) -> String {
        self.inner.lock().mesh.cluster().0.to_owned()
    }

    /// How many other servers there are links with.
    #[must_use]
    pub fn remote_count(&self) -> usize {
        self.inner.lock().mesh.remotes().count()
    }
}
