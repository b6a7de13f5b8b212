//! What another configuration changes of a cluster's links.

use std::sync::{Arc, PoisonError};

use super::{Cluster, ClusterOptions, Inner, State, mesh_config, route_settings, send};
use crate::broker::close::CloseReason;
use crate::proto::encode;

/// Which links end because of another configuration; they are made again under it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Relink {
    /// All: what was agreed upon when they were made is different now.
    pub all: bool,
    /// Those that others have dialed: they must present other credentials.
    pub accepted: bool,
}

impl Cluster {
    /// Puts other options in force, of which the name, the host and the port do not count. Servers that are configured
    /// now are dialed, and links to those that are not any more end. Links to others stay unless `relink` says
    /// otherwise.
    pub fn reconfigure(&self, options: ClusterOptions, client_urls: Vec<String>, relink: Relink) {
        let inner = &self.inner;
        let settings = route_settings(&options, &inner.clients);
        let mut config = mesh_config(&options, &inner.clients, &client_urls, inner.address);
        // The name may have been made up, or taken over from others.
        config.cluster.clear();
        let broker = &inner.clients.broker;
        broker.pin_accounts(config.accounts.clone());
        *inner
            .options
            .write()
            .unwrap_or_else(PoisonError::into_inner) = Arc::new(options);
        *inner
            .settings
            .write()
            .unwrap_or_else(PoisonError::into_inner) = Arc::new(settings);
        *inner
            .own_urls
            .write()
            .unwrap_or_else(PoisonError::into_inner) = client_urls.into();
        inner.input(|state, now| {
            let removed = state.mesh.reconfigure(config, now);
            for link in removed {
                if let Some(handle) = state.links.get(&link) {
                    tracing::info!("Removed route {}", handle.peer.label());
                    handle.peer.close(CloseReason::RouteRemoved);
                }
            }
            inner.relink(state, relink);
            // Whoever stays hears what is different.
            for (link, info) in state.mesh.farewells() {
                if let Some(handle) = state.links.get(&link) {
                    send(&handle.peer, &encode::info(&info.to_json()));
                }
            }
        });
    }
}

impl Inner {
    fn relink(&self, state: &State, relink: Relink) {
        let ends = |dialed: bool| relink.all || (relink.accepted && !dialed);
        for handle in state.links.values().filter(|handle| ends(handle.dialed)) {
            handle.peer.close(CloseReason::RouteRemoved);
        }
    }
}
