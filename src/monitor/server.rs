//! `/varz`: the server as a whole.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Serialize;

use super::stats::ByKind;
use super::text::{Nanoseconds, Time, uptime};
use super::{Monitor, clocks, is_false, remote_servers, usage};
use crate::config::Options;
use crate::config::options::WriteTimeout;
use crate::config::options::authorization::DEFAULT_AUTHENTICATION_TIMEOUT;
use crate::config::options::cluster::Cluster;
use crate::config::options::tls::{DEFAULT_TLS_TIMEOUT, Tls};

/// An object without fields, for parts of the server that there are none of.
#[derive(Debug, Clone, Copy, Default, Serialize)]
pub(crate) struct Nothing {}

/// The page.
#[derive(Debug, Serialize)]
pub(crate) struct ServerPage {
    server_id: String,
    server_name: String,
    version: String,
    proto: u8,
    #[serde(skip_serializing_if = "String::is_empty")]
    git_commit: String,
    go: String,
    host: String,
    port: u16,
    #[serde(skip_serializing_if = "is_false")]
    auth_required: bool,
    #[serde(skip_serializing_if = "is_false")]
    tls_required: bool,
    #[serde(skip_serializing_if = "is_false")]
    tls_verify: bool,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    connect_urls: Vec<String>,
    max_connections: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_subscriptions: Option<u32>,
    ping_interval: Nanoseconds,
    ping_max: u32,
    http_host: String,
    http_port: i32,
    http_base_path: String,
    https_port: i32,
    auth_timeout: Seconds,
    max_control_line: u32,
    max_payload: i64,
    max_pending: u64,
    cluster: ClusterSection,
    gateway: Nothing,
    leaf: Nothing,
    mqtt: Nothing,
    websocket: Nothing,
    jetstream: Nothing,
    tls_timeout: Seconds,
    write_deadline: Nanoseconds,
    #[serde(skip_serializing_if = "str::is_empty")]
    write_timeout: &'static str,
    start: Time,
    now: Time,
    uptime: String,
    mem: u64,
    cores: usize,
    gomaxprocs: usize,
    cpu: f64,
    connections: usize,
    total_connections: u64,
    routes: usize,
    remotes: usize,
    leafnodes: usize,
    in_msgs: u64,
    in_bytes: u64,
    in_client_msgs: u64,
    in_client_bytes: u64,
    out_msgs: u64,
    out_bytes: u64,
    out_client_msgs: u64,
    out_client_bytes: u64,
    slow_consumers: u64,
    stale_connections: u64,
    stalled_clients: u64,
    subscriptions: usize,
    http_req_stats: BTreeMap<&'static str, u64>,
    config_load_time: Time,
    config_digest: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tags: Vec<String>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    metadata: BTreeMap<String, String>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    feature_flags: BTreeMap<String, bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    system_account: Option<String>,
    slow_consumer_stats: ByKind,
    stale_connection_stats: ByKind,
    disk_io_wait_stats: DiskWaits,
}

/// A number of seconds, written as an integer where it is one.
#[derive(Debug, Clone, Copy)]
struct Seconds(Duration);

impl Serialize for Seconds {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if self.0.subsec_nanos() == 0 {
            serializer.serialize_u64(self.0.as_secs())
        } else {
            serializer.serialize_f64(self.0.as_secs_f64())
        }
    }
}

/// Waits for the disk: nothing is stored yet.
#[derive(Debug, Clone, Copy, Default, Serialize)]
struct DiskWaits {
    waiters: u64,
    waits: u64,
    wait_time: u64,
    max_wait_time: u64,
}

/// Links to the other servers of the cluster.
#[derive(Debug, Default, Serialize)]
struct ClusterSection {
    #[serde(skip_serializing_if = "String::is_empty")]
    name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    addr: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cluster_port: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    auth_timeout: Option<Seconds>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    urls: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tls_timeout: Option<Seconds>,
    #[serde(skip_serializing_if = "is_false")]
    tls_required: bool,
    #[serde(skip_serializing_if = "is_false")]
    tls_verify: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pool_size: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    write_deadline: Option<Nanoseconds>,
    #[serde(skip_serializing_if = "str::is_empty")]
    write_timeout: &'static str,
}

impl Monitor {
    /// The server as a whole.
    #[expect(clippy::too_many_lines, reason = "the page has that many fields")]
    pub(crate) fn server(&self) -> ServerPage {
        let configuration = self.configuration();
        let options = &configuration.options;
        let (broker, info, totals) = (self.broker(), self.context.info(), self.totals());
        let (settings, topology) = (self.context.settings(), self.context.topology());
        let routes = self.routes_report();
        let (now, _) = clocks();
        let slow = self.slow_consumers();
        let stale = self.stale_connections();
        let tls_timeout = options.tls.as_ref().map(Tls::timeout_or_default);
        let tls_timeout = tls_timeout.unwrap_or(DEFAULT_AUTHENTICATION_TIMEOUT);
        ServerPage {
            server_id: info.server_id.to_string(),
            server_name: info.server_name.to_string(),
            version: info.version.to_string(),
            proto: info.proto,
            git_commit: info.git_commit.clone(),
            go: info.go.to_string(),
            host: info.host.to_string(),
            port: info.port,
            auth_required: settings.authenticator.info_auth_required(),
            tls_required: settings.tls.required,
            tls_verify: settings.tls.verify,
            connect_urls: topology.connect_urls,
            max_connections: options.max_connections,
            max_subscriptions: options.max_subscriptions,
            ping_interval: Nanoseconds(options.ping_interval),
            ping_max: options.ping_max,
            http_host: monitoring_host(options),
            http_port: shown_port(options.monitoring.http_port),
            http_base_path: options.monitoring.base_path.clone().unwrap_or_default(),
            https_port: shown_port(options.monitoring.https_port),
            auth_timeout: Seconds(options.authentication_timeout()),
            max_control_line: options.max_control_line,
            max_payload: info.max_payload,
            max_pending: options.max_pending,
            cluster: options
                .cluster
                .as_ref()
                .map_or_else(Default::default, |cluster| {
                    cluster_section(cluster, topology.cluster, routes.port)
                }),
            gateway: Nothing {},
            leaf: Nothing {},
            mqtt: Nothing {},
            websocket: Nothing {},
            jetstream: Nothing {},
            tls_timeout: Seconds(tls_timeout),
            write_deadline: Nanoseconds(options.write_deadline),
            write_timeout: write_timeout(options.write_timeout),
            start: Time(self.started.0),
            now: Time(now),
            uptime: uptime(now.duration_since(self.started.0).unwrap_or_default()),
            mem: usage::resident_bytes(),
            cores: usage::processors(),
            gomaxprocs: usage::processors(),
            cpu: self.processor_percent(),
            connections: broker.connection_count(),
            total_connections: broker.stats.total_connections.get(),
            routes: routes.routes.len(),
            remotes: remote_servers(&routes.routes),
            leafnodes: 0,
            in_msgs: totals.received.msgs,
            in_bytes: totals.received.bytes,
            in_client_msgs: totals.received_from_clients.msgs,
            in_client_bytes: totals.received_from_clients.bytes,
            out_msgs: totals.sent.msgs,
            out_bytes: totals.sent.bytes,
            out_client_msgs: totals.sent_to_clients.msgs,
            out_client_bytes: totals.sent_to_clients.bytes,
            slow_consumers: broker.stats.slow_consumers.get(),
            stale_connections: broker.stats.stale_connections.get(),
            stalled_clients: broker.stats.stalled_publishers.get(),
            subscriptions: self.subscription_count(),
            http_req_stats: self.request_counts(),
            config_load_time: Time(configuration.loaded),
            config_digest: options.config_digest.clone().unwrap_or_default(),
            tags: options.server_tags.clone(),
            metadata: options.server_metadata.clone(),
            feature_flags: self.features(),
            system_account: self.system_account(),
            slow_consumer_stats: slow,
            stale_connection_stats: stale,
            disk_io_wait_stats: DiskWaits::default(),
        }
    }
}

/// The host that monitoring listens on: its own, or that of the clients.
#[must_use]
pub(crate) fn monitoring_host(options: &Options) -> String {
    let own = options.monitoring.host.clone();
    own.unwrap_or_else(|| options.host.clone())
}

/// A configured port: 0 for none, -1 for one that the system chooses.
fn shown_port(port: Option<u16>) -> i32 {
    match port {
        None => 0,
        Some(0) => -1,
        Some(port) => i32::from(port),
    }
}

fn write_timeout(timeout: WriteTimeout) -> &'static str {
    match timeout {
        WriteTimeout::Default => "",
        WriteTimeout::Close => "close",
        WriteTimeout::Retry => "retry",
    }
}

/// The block `cluster`, whose cluster is called `name`; `port` is the real one.
fn cluster_section(cluster: &Cluster, name: String, port: u16) -> ClusterSection {
    let url = |url: &crate::config::options::cluster::RouteUrl| match url.port {
        Some(port) => format!("{}:{port}", url.host),
        None => url.host.clone(),
    };
    let tls = cluster.tls.as_ref();
    ClusterSection {
        name,
        addr: Some(cluster.host.clone()).filter(|host| !host.is_empty()),
        cluster_port: Some(port).filter(|port| *port != 0),
        auth_timeout: Some(Seconds(
            cluster
                .authorization
                .timeout
                .unwrap_or(DEFAULT_AUTHENTICATION_TIMEOUT),
        )),
        urls: cluster.routes.iter().map(url).collect(),
        tls_timeout: Some(Seconds(
            tls.map_or(DEFAULT_TLS_TIMEOUT, Tls::timeout_or_default),
        )),
        tls_required: cluster.tls.is_some(),
        tls_verify: cluster.tls.is_some(),
        pool_size: Some(cluster.pool_size.map_or(-1, i64::from)),
        write_deadline: cluster.write_deadline.map(Nanoseconds),
        write_timeout: write_timeout(cluster.write_timeout),
    }
}
