//! Traffic in numbers, and the statistics that a server sends to the system account.

use std::collections::BTreeMap;

use serde::Serialize;

use super::text::Time;
use super::{Monitor, clocks, is_zero, usage};
use crate::broker::stats::Traffic;

/// Messages and their bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Volume {
    pub(crate) msgs: u64,
    pub(crate) bytes: u64,
}

impl Volume {
    pub(crate) fn of(traffic: &Traffic) -> Self {
        Self {
            msgs: traffic.messages.get(),
            bytes: traffic.bytes.get(),
        }
    }
}

/// The traffic of an account in one direction, and the part of it that other servers had.
#[derive(Debug, Clone, Copy, Default, Serialize)]
pub(crate) struct AccountTraffic {
    #[serde(flatten)]
    all: Volume,
    gateways: Volume,
    routes: Volume,
    leafs: Volume,
}

impl AccountTraffic {
    pub(crate) fn of(traffic: &Traffic) -> Self {
        Self {
            all: Volume::of(traffic),
            ..Self::default()
        }
    }
}

/// A number for each kind of peer.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub(crate) struct ByKind {
    pub(crate) clients: u64,
    pub(crate) routes: u64,
    pub(crate) gateways: u64,
    pub(crate) leafs: u64,
}

/// All traffic of the server.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Totals {
    pub(crate) received: Volume,
    pub(crate) received_from_clients: Volume,
    pub(crate) sent: Volume,
    pub(crate) sent_to_clients: Volume,
}

/// Who sends a message to the system account.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct ServerInfo {
    name: String,
    host: String,
    id: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    cluster: String,
    ver: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tags: Vec<String>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    metadata: BTreeMap<String, String>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    feature_flags: BTreeMap<String, bool>,
    jetstream: bool,
    flags: u64,
    seq: u64,
    time: Time,
}

/// Statistics of the server as a whole.
#[derive(Debug, Serialize)]
pub(crate) struct ServerStats {
    start: Time,
    mem: u64,
    cores: usize,
    cpu: f64,
    connections: usize,
    total_connections: u64,
    active_accounts: usize,
    subscriptions: usize,
    sent: Volume,
    sent_to_clients: Volume,
    received: Volume,
    received_from_clients: Volume,
    slow_consumers: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    slow_consumer_stats: Option<ByKind>,
    #[serde(skip_serializing_if = "is_zero")]
    stale_connections: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    stale_connection_stats: Option<ByKind>,
    #[serde(skip_serializing_if = "is_zero")]
    stalled_clients: u64,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    routes: Vec<RouteStat>,
    active_servers: usize,
    gomaxprocs: usize,
}

#[derive(Debug, Serialize)]
struct RouteStat {
    rid: u64,
    #[serde(skip_serializing_if = "String::is_empty")]
    name: String,
    sent: Volume,
    received: Volume,
    pending: usize,
}

impl Monitor {
    /// Traffic since the start.
    pub(crate) fn totals(&self) -> Totals {
        let broker = self.broker();
        let from_clients = Volume::of(&broker.stats.received);
        let mut to_clients = Volume::of(&broker.stats.sent_to_closed);
        broker.for_each_peer(|peer| {
            let (messages, bytes) = peer.traffic_out();
            to_clients.msgs += messages;
            to_clients.bytes += bytes;
        });
        let (mut received, mut sent) = (from_clients, to_clients);
        for (total, traffic) in [
            (&mut received, &broker.stats.received_from_servers),
            (&mut sent, &broker.stats.sent_to_closed_servers),
        ] {
            let routed = Volume::of(traffic);
            total.msgs += routed.msgs;
            total.bytes += routed.bytes;
        }
        for report in self.routes() {
            sent.msgs += report.portrait.out_messages;
            sent.bytes += report.portrait.out_bytes;
        }
        Totals {
            received,
            received_from_clients: from_clients,
            sent,
            sent_to_clients: to_clients,
        }
    }

    /// Connections that were cut because they did not drain what was sent to them.
    pub(crate) fn slow_consumers(&self) -> ByKind {
        ByKind {
            clients: self.broker().stats.slow_consumers.get(),
            ..ByKind::default()
        }
    }

    /// Connections that were closed because they did not answer pings.
    pub(crate) fn stale_connections(&self) -> ByKind {
        ByKind {
            clients: self.broker().stats.stale_connections.get(),
            ..ByKind::default()
        }
    }

    /// How the server signs its `sequence`-th message to the system account.
    pub(crate) fn server_info(&self, sequence: u64) -> ServerInfo {
        let (info, options) = (self.context.info(), self.options());
        ServerInfo {
            name: info.server_name.to_string(),
            host: info.host.to_string(),
            id: info.server_id.to_string(),
            cluster: self.context.topology().cluster,
            ver: info.version.to_string(),
            tags: options.server_tags.clone(),
            metadata: options.server_metadata.clone(),
            feature_flags: self.features(),
            jetstream: false,
            flags: 0,
            seq: sequence,
            time: Time(clocks().0),
        }
    }

    /// Percent of one processor that the server takes.
    pub(crate) fn processor_percent(&self) -> f64 {
        self.usage.processor_percent(clocks().1)
    }

    /// The statistics that are sent to the system account; `servers` are known to be running.
    pub(crate) fn server_stats(&self, servers: usize) -> ServerStats {
        let (broker, totals) = (self.broker(), self.totals());
        let (slow, stale) = (self.slow_consumers(), self.stale_connections());
        let unless_none = |by_kind: ByKind| Some(by_kind).filter(|all| *all != ByKind::default());
        let accounts = broker.accounts();
        let active = accounts.iter().filter(|one| one.connections.get() > 0);
        ServerStats {
            start: Time(self.started.0),
            mem: usage::resident_bytes(),
            cores: usage::processors(),
            cpu: self.processor_percent(),
            connections: broker.connection_count(),
            total_connections: broker.stats.total_connections.get(),
            active_accounts: active.count(),
            subscriptions: self.subscription_count(),
            sent: totals.sent,
            sent_to_clients: totals.sent_to_clients,
            received: totals.received,
            received_from_clients: totals.received_from_clients,
            slow_consumers: broker.stats.slow_consumers.get(),
            slow_consumer_stats: unless_none(slow),
            stale_connections: broker.stats.stale_connections.get(),
            stale_connection_stats: unless_none(stale),
            stalled_clients: broker.stats.stalled_publishers.get(),
            routes: self.route_stats(),
            active_servers: servers,
            gomaxprocs: usage::processors(),
        }
    }

    fn route_stats(&self) -> Vec<RouteStat> {
        let stat = |report: super::routes::RouteReport| RouteStat {
            rid: report.portrait.id,
            name: report.remote_name,
            sent: Volume {
                msgs: report.portrait.out_messages,
                bytes: report.portrait.out_bytes,
            },
            received: Volume {
                msgs: report.portrait.in_messages,
                bytes: report.portrait.in_bytes,
            },
            pending: report.portrait.pending,
        };
        self.routes().into_iter().map(stat).collect()
    }
}
