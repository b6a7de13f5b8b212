//! Links as monitoring shows them.

use super::{Cluster, Handle};
use crate::broker::routes::Share;
use crate::link::route::compression::level_word;
use crate::monitor::routes::{RouteReport, RoutesReport};
use crate::proto::route_info::RouteInfo;

impl Cluster {
    /// The links that are part of the cluster.
    #[must_use]
    pub fn links(&self) -> Vec<RouteReport> {
        let state = self.inner.lock();
        let links = state.links.iter().filter_map(|(id, handle)| {
            let info = state.mesh.remote_of(*id)?;
            Some(report(handle, info, state.mesh.is_explicit(*id)))
        });
        links.collect()
    }

    /// The same, and what they may carry as far as this server decides it.
    #[must_use]
    pub fn report(&self) -> RoutesReport {
        let options = self.inner.options();
        RoutesReport {
            port: self.address().port(),
            import: options.import.clone(),
            export: options.export.clone(),
            routes: self.links(),
        }
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

fn report(handle: &Handle, info: &RouteInfo, is_configured: bool) -> RouteReport {
    let account = match &handle.share {
        Some(Share::Account(account)) => account.clone(),
        Some(Share::Slot { .. } | Share::Lane { .. } | Share::All) | None => String::new(),
    };
    RouteReport {
        portrait: handle.peer.portrait(),
        remote_id: info.server_id.clone(),
        remote_name: info.server_name.clone(),
        did_solicit: handle.dialed,
        is_configured,
        import: info.import.clone(),
        export: info.export.clone(),
        account,
        compression: handle.level.map_or(handle.compression, level_word),
    }
}
