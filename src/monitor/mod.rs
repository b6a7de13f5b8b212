//! What a server tells about itself: the documents that its monitoring pages and system services give.
//!
//! Names, order, types and units of the fields are nats-server's (oracle), so that its tools read them.

pub(crate) mod accounts;
pub(crate) mod connections;
pub(crate) mod health;
mod hot;
pub(crate) mod metrics;
pub(crate) mod others;
pub mod routes;
pub(crate) mod server;
mod sharing;
pub(crate) mod stats;
pub(crate) mod subscriptions;
pub(crate) mod text;
mod usage;

use std::collections::{BTreeMap, HashSet};
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, RwLock};
use std::time::{Instant, SystemTime};

use crate::broker::registry::Broker;
use crate::config::Options;
use crate::link::context::ClientContext;
use routes::{RouteReport, RoutesReport};
pub(crate) use server::monitoring_host;
use usage::Usage;

/// The features of nats-server 2.15.1 that have a switch, all of them about streams, and where the switch
/// stands unless the configuration moves it (oracle).
const FEATURES: [(&str, bool); 4] = [
    ("js_ack_fc_v2", false),
    ("js_api_reply_v2", false),
    ("js_raft_delete_range", true),
    ("js_snapshot_sources", false),
];

/// Gives the routes of a cluster as they are now.
type RouteSource = Box<dyn Fn() -> RoutesReport + Send + Sync>;

/// Everything that monitoring knows of one server.
pub struct Monitor {
    pub(crate) context: Arc<ClientContext>,
    configuration: RwLock<Configuration>,
    started: (SystemTime, Instant),
    usage: Usage,
    routes: OnceLock<RouteSource>,
    closed_doors: AtomicBool,
    /// How often each page was asked for.
    requests: Mutex<BTreeMap<&'static str, u64>>,
}

#[derive(Debug, Clone)]
struct Configuration {
    options: Arc<Options>,
    loaded: SystemTime,
}

impl fmt::Debug for Monitor {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Monitor").finish_non_exhaustive()
    }
}

impl Monitor {
    /// Monitoring of a server that starts now with `options`.
    #[must_use]
    pub fn new(context: Arc<ClientContext>, options: Arc<Options>) -> Self {
        let (now, instant) = clocks();
        context
            .broker
            .closed
            .set_limit(options.max_closed_clients as usize);
        Self {
            context,
            configuration: RwLock::new(Configuration {
                options,
                loaded: now,
            }),
            started: (now, instant),
            usage: Usage::new(instant),
            routes: OnceLock::new(),
            closed_doors: AtomicBool::new(false),
            requests: Mutex::default(),
        }
    }

    /// The server has other options from now on.
    pub fn reconfigure(&self, options: Arc<Options>) {
        self.broker()
            .closed
            .set_limit(options.max_closed_clients as usize);
        let (now, _) = clocks();
        *self
            .configuration
            .write()
            .unwrap_or_else(PoisonError::into_inner) = Configuration {
            options,
            loaded: now,
        };
    }

    /// Lets `/routez` show what `source` gives. Only the first source is used.
    pub fn show_routes(&self, source: impl Fn() -> RoutesReport + Send + Sync + 'static) {
        let _ = self.routes.set(Box::new(source));
    }

    pub(crate) fn broker(&self) -> &Broker {
        &self.context.broker
    }

    /// The features that can be opted in to or out of, and whether they are on.
    fn features(&self) -> BTreeMap<String, bool> {
        let known = FEATURES.map(|(name, on)| (name.to_owned(), on));
        let mut features = BTreeMap::from(known);
        features.extend(self.options().feature_flags.clone());
        features
    }

    pub(crate) fn options(&self) -> Arc<Options> {
        self.configuration().options
    }

    fn configuration(&self) -> Configuration {
        self.configuration
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Notes that a page was asked for.
    pub(crate) fn count_request(&self, page: &'static str) {
        let mut requests = self.requests.lock().unwrap_or_else(PoisonError::into_inner);
        *requests.entry(page).or_default() += 1;
    }

    fn request_counts(&self) -> BTreeMap<&'static str, u64> {
        let requests = self.requests.lock().unwrap_or_else(PoisonError::into_inner);
        requests.clone()
    }

    pub(crate) fn server_id(&self) -> String {
        self.context.info().server_id.to_string()
    }

    /// Lets probes know that the server takes no more clients.
    pub(crate) fn close_doors(&self) {
        self.closed_doors.store(true, Ordering::Release);
    }

    /// Whether the server takes clients.
    pub(crate) fn is_ready(&self) -> bool {
        !self.closed_doors.load(Ordering::Acquire)
    }

    /// The routes of the cluster as they are now.
    fn routes(&self) -> Vec<RouteReport> {
        self.routes_report().routes
    }

    /// The same with what is the same for all of them.
    fn routes_report(&self) -> RoutesReport {
        self.routes
            .get()
            .map_or_else(RoutesReport::default, |source| source())
    }
}

/// How many other servers there are routes to.
fn remote_servers(routes: &[RouteReport]) -> usize {
    let ids: HashSet<&str> = routes.iter().map(|route| &*route.remote_id).collect();
    ids.len()
}

#[expect(
    clippy::disallowed_methods,
    reason = "monitoring is an edge, and the edges read the clock"
)]
fn clocks() -> (SystemTime, Instant) {
    (SystemTime::now(), Instant::now())
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde passes fields by reference"
)]
fn is_false(flag: &bool) -> bool {
    !flag
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde passes fields by reference"
)]
pub(crate) fn is_zero(number: &u64) -> bool {
    *number == 0
}
