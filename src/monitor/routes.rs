//! `/routez`: links to the other servers of a cluster.

use std::collections::HashMap;
use std::time::SystemTime;

use serde::{Deserialize, Serialize};

use super::subscriptions::SubscriptionDetail;
use super::text::{Time, lossy, round_trip, uptime};
use super::{Monitor, clocks};
use crate::broker::closed::SubscriptionPortrait;
use crate::broker::peer::portrait::Portrait;
use crate::broker::subscription::Subscription;
use crate::proto::route_info::SubjectLists;

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
    /// What the other server lets come in, as it told.
    pub import: Option<SubjectLists>,
    /// What it lets go out.
    pub export: Option<SubjectLists>,
    /// The account it is pinned to; empty without one.
    pub account: String,
    /// How it is compressed; empty where it was not negotiated.
    pub compression: &'static str,
}

/// All links, and what they may carry as far as this server decides it.
#[derive(Debug, Clone, Default)]
pub struct RoutesReport {
    /// The port that is listened on for other servers; 0 for none.
    pub port: u16,
    /// What may come in; none for everything.
    pub import: Option<SubjectLists>,
    /// What may go out; none for everything.
    pub export: Option<SubjectLists>,
    /// One for each link.
    pub routes: Vec<RouteReport>,
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
    import: Option<SubjectLists>,
    #[serde(skip_serializing_if = "Option::is_none")]
    export: Option<SubjectLists>,
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
    import: Option<SubjectLists>,
    #[serde(skip_serializing_if = "Option::is_none")]
    export: Option<SubjectLists>,
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
    #[serde(skip_serializing_if = "str::is_empty")]
    compression: &'static str,
}

impl Monitor {
    /// The links to other servers.
    pub(crate) fn route_page(&self, query: RoutesQuery) -> Routes {
        let (now, _) = clocks();
        let report = self.routes_report();
        let mut lists = self.route_interest(query, &report.routes);
        let info = |route: RouteReport| {
            let list = lists.remove(&route.portrait.id).unwrap_or_default();
            info(route, list, query, now)
        };
        let routes: Vec<RouteInfo> = report.routes.into_iter().map(info).collect();
        Routes {
            server_id: self.server_id(),
            server_name: self.context.info().server_name.to_string(),
            now: Time(now),
            import: report.import,
            export: report.export,
            num_routes: routes.len(),
            routes,
        }
    }

    /// What the other servers want, by the numbers of their links, where it is asked for.
    fn route_interest(
        &self,
        query: RoutesQuery,
        routes: &[RouteReport],
    ) -> HashMap<u64, Vec<SubscriptionPortrait>> {
        let mut lists = HashMap::new();
        if !query.subscriptions && !query.subscriptions_detail {
            return lists;
        }
        for route in routes {
            lists.insert(route.portrait.id, Vec::new());
        }
        for account in self.broker().accounts() {
            account.interest().for_each(|subscription| {
                if !subscription.is_remote() {
                    return;
                }
                for connection in subscription.peer().connections() {
                    if let Some(list) = lists.get_mut(&connection) {
                        list.push(portrait(subscription, account.name(), connection));
                    }
                }
            });
        }
        lists
    }
}

/// A wish of another server, with the name that nats-server gives it.
fn portrait(subscription: &Subscription, account: &str, connection: u64) -> SubscriptionPortrait {
    let mut portrait = SubscriptionPortrait::from(subscription);
    let mut words = vec![b"R" as &[u8]];
    if subscription.peer().names_account() {
        words.push(account.as_bytes());
    }
    words.push(subscription.filter());
    words.extend(subscription.queue());
    portrait.sid = words.join(&b' ').into();
    portrait.connection = connection;
    portrait
}

fn info(
    report: RouteReport,
    list: Vec<SubscriptionPortrait>,
    query: RoutesQuery,
    now: SystemTime,
) -> RouteInfo {
    let portrait = report.portrait;
    let since = |time| now.duration_since(time).unwrap_or_default();
    let (filters, details) = if query.subscriptions_detail {
        let details = list.into_iter();
        let details = details.map(|one| SubscriptionDetail::of(one, None));
        (Vec::new(), details.collect())
    } else {
        let filters = list.iter().map(|one| lossy(&one.filter)).collect();
        (filters, Vec::new())
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
        subscriptions: portrait.subscriptions,
        subscriptions_list: filters,
        subscriptions_list_detail: details,
        account: report.account,
        compression: report.compression,
    }
}
