//! `/routez`: links to the other servers of a cluster.

use std::time::SystemTime;

use serde::{Deserialize, Serialize};

use super::subscriptions::SubscriptionDetail;
use super::text::{Time, lossy, round_trip, uptime};
use super::{Monitor, clocks};
use crate::broker::closed::SubscriptionPortrait;
use crate::broker::peer::portrait::Portrait;

/// Subjects that a link may carry in one direction.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct SubjectPermission {
    /// Filters of what it may carry; none for everything.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub allow: Vec<String>,
    /// Filters of what it may not carry.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub deny: Vec<String>,
}

/// One link to another server, as whoever keeps it reports it.
#[derive(Debug, Clone)]
pub struct RouteReport {
    /// Traffic, times and address.
    pub portrait: Portrait,
    /// Public key of the other server.
    pub remote_id: String,
    /// Name of the other server.
    pub remote_name: String,
    /// Whether this server has connected, and not the other one.
    pub did_solicit: bool,
    /// Whether the configuration names it.
    pub is_configured: bool,
    /// What may come in.
    pub import: Option<SubjectPermission>,
    /// What may go out.
    pub export: Option<SubjectPermission>,
    /// The account it is pinned to; empty without one.
    pub account: String,
    /// How it is compressed; empty where it was not negotiated.
    pub compression: String,
    /// What the other server wants.
    pub subscriptions: Vec<SubscriptionPortrait>,
}

/// How to show routes.
#[derive(Debug, Clone, Copy, Default, Deserialize)]
#[serde(default)]
pub(crate) struct RoutesQuery {
    /// List the filters of subscriptions.
    pub(crate) subscriptions: bool,
    /// List subscriptions with all that is known of them.
    pub(crate) subscriptions_detail: bool,
}

/// The page.
#[derive(Debug, Serialize)]
pub(crate) struct Routes {
    server_id: String,
    server_name: String,
    now: Time,
    #[serde(skip_serializing_if = "Option::is_none")]
    import: Option<SubjectPermission>,
    #[serde(skip_serializing_if = "Option::is_none")]
    export: Option<SubjectPermission>,
    num_routes: usize,
    routes: Vec<RouteInfo>,
}

#[derive(Debug, Serialize)]
struct RouteInfo {
    rid: u64,
    remote_id: String,
    remote_name: String,
    did_solicit: bool,
    is_configured: bool,
    ip: String,
    port: u16,
    start: Time,
    last_activity: Time,
    rtt: String,
    uptime: String,
    idle: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    import: Option<SubjectPermission>,
    #[serde(skip_serializing_if = "Option::is_none")]
    export: Option<SubjectPermission>,
    pending_size: usize,
    in_msgs: u64,
    out_msgs: u64,
    in_bytes: u64,
    out_bytes: u64,
    subscriptions: usize,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    subscriptions_list: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    subscriptions_list_detail: Vec<SubscriptionDetail>,
    #[serde(skip_serializing_if = "String::is_empty")]
    account: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    compression: String,
}

impl Monitor {
    /// The links to other servers.
    pub(crate) fn route_page(&self, query: RoutesQuery) -> Routes {
        let (now, _) = clocks();
        let reports = self.routes();
        let first = |choose: fn(&RouteReport) -> &Option<SubjectPermission>| {
            reports.first().and_then(|report| choose(report).clone())
        };
        Routes {
            server_id: self.server_id(),
            server_name: self.context.info().server_name.clone(),
            now: Time(now),
            import: first(|report| &report.import),
            export: first(|report| &report.export),
            num_routes: reports.len(),
            routes: reports
                .into_iter()
                .map(|report| info(report, query, now))
                .collect(),
        }
    }
}

fn info(report: RouteReport, query: RoutesQuery, now: SystemTime) -> RouteInfo {
    let portrait = report.portrait;
    let since = |time| now.duration_since(time).unwrap_or_default();
    let list = report.subscriptions;
    let subscriptions = list.len();
    let (filters, details) = if query.subscriptions_detail {
        let details = list.into_iter();
        let details = details.map(|one| SubscriptionDetail::of(one, None));
        (Vec::new(), details.collect())
    } else if query.subscriptions {
        let filters = list.iter().map(|one| lossy(&one.filter)).collect();
        (filters, Vec::new())
    } else {
        (Vec::new(), Vec::new())
    };
    RouteInfo {
        rid: portrait.id,
        remote_id: report.remote_id,
        remote_name: report.remote_name,
        did_solicit: report.did_solicit,
        is_configured: report.is_configured,
        ip: portrait.ip,
        port: portrait.port,
        start: Time(portrait.began),
        last_activity: Time(portrait.last_active),
        rtt: round_trip(portrait.round_trip),
        uptime: uptime(since(portrait.began)),
        idle: uptime(since(portrait.last_active)),
        import: report.import,
        export: report.export,
        pending_size: portrait.pending,
        in_msgs: portrait.in_messages,
        out_msgs: portrait.out_messages,
        in_bytes: portrait.in_bytes,
        out_bytes: portrait.out_bytes,
        subscriptions,
        subscriptions_list: filters,
        subscriptions_list_detail: details,
        account: report.account,
        compression: report.compression,
    }
}
