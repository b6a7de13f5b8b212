//! Pages about what this server has none of: gateways, leaf nodes, stored streams. They say so in the
//! form that tools expect.

use serde::Serialize;

use super::server::Nothing;
use super::text::Time;
use super::{Monitor, clocks};

/// `/gatewayz`: links to other clusters.
#[derive(Debug, Serialize)]
pub(crate) struct Gateways {
    server_id: String,
    now: Time,
    outbound_gateways: Nothing,
    inbound_gateways: Nothing,
}

/// `/leafz`: leaf nodes.
#[derive(Debug, Serialize)]
pub(crate) struct Leafs {
    server_id: String,
    now: Time,
    leafnodes: u64,
    leafs: [(); 0],
}

/// `/jsz`: stored streams.
#[derive(Debug, Serialize)]
pub(crate) struct Streams {
    memory: u64,
    storage: u64,
    reserved_memory: u64,
    reserved_storage: u64,
    accounts: u64,
    ha_assets: u64,
    api: StreamsApi,
    server_id: String,
    now: Time,
    disabled: bool,
    config: StreamsConfig,
    streams: u64,
    consumers: u64,
    messages: u64,
    bytes: u64,
    total: u64,
}

#[derive(Debug, Default, Serialize)]
struct StreamsApi {
    level: u64,
    total: u64,
    errors: u64,
}

#[derive(Debug, Default, Serialize)]
struct StreamsConfig {
    max_memory: u64,
    max_storage: u64,
}

impl Monitor {
    /// Links to other clusters: none.
    pub(crate) fn gateways(&self) -> Gateways {
        Gateways {
            server_id: self.server_id(),
            now: Time(clocks().0),
            outbound_gateways: Nothing {},
            inbound_gateways: Nothing {},
        }
    }

    /// Leaf nodes: none.
    pub(crate) fn leafs(&self) -> Leafs {
        Leafs {
            server_id: self.server_id(),
            now: Time(clocks().0),
            leafnodes: 0,
            leafs: [],
        }
    }

    /// Stored streams: disabled.
    pub(crate) fn streams(&self) -> Streams {
        Streams {
            memory: 0,
            storage: 0,
            reserved_memory: 0,
            reserved_storage: 0,
            accounts: 0,
            ha_assets: 0,
            api: StreamsApi::default(),
            server_id: self.server_id(),
            now: Time(clocks().0),
            disabled: true,
            config: StreamsConfig::default(),
            streams: 0,
            consumers: 0,
            messages: 0,
            bytes: 0,
            total: 0,
        }
    }
}
