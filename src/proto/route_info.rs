//! The two JSON documents between the servers of a cluster: INFO from both, CONNECT from the one that
//! dialed.
//!
//! Field names, their order and which are left out when empty are nats-server's (oracle 2.15.1).

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// The protocol level that nats-server 2.15.1 tells other servers.
pub const ROUTE_PROTOCOL: i64 = 3;

/// Scheme of the URLs by which servers tell each other where others can be reached.
pub const ROUTE_SCHEME: &str = "nats-route://";

/// How a server that was told of another one passes on that it has connected to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, PartialOrd, Ord)]
pub enum GossipMode {
    /// By the rules for servers that dialed or were dialed.
    #[default]
    Default,
    /// Do not tell others: who told about it tells everybody.
    Disabled,
    /// Tell others in any case.
    Override,
}

impl GossipMode {
    fn is_default(&self) -> bool {
        *self == Self::Default
    }
}

impl Serialize for GossipMode {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u8(match self {
            Self::Default => 0,
            Self::Disabled => 1,
            Self::Override => 2,
        })
    }
}

impl<'de> Deserialize<'de> for GossipMode {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(match u8::deserialize(deserializer)? {
            1 => Self::Disabled,
            2 => Self::Override,
            _ => Self::Default,
        })
    }
}

/// Subjects that a server lets others import or export.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct SubjectLists {
    /// Those that are allowed; without any, all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub allow: Option<Vec<String>>,
    /// Those that are not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deny: Option<Vec<String>>,
}

fn is_false(flag: &bool) -> bool {
    !flag
}

fn is_zero(number: &i64) -> bool {
    *number == 0
}

/// What a server tells another one about itself, or about a third.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct RouteInfo {
    /// The server's public key, its identity.
    pub server_id: String,
    /// Its name.
    pub server_name: String,
    /// Its nats-server level.
    pub version: String,
    /// Its protocol level.
    pub proto: i64,
    /// What it was built with.
    pub go: String,
    /// Host that it listens on for other servers.
    pub host: String,
    /// Port that it listens on for other servers.
    pub port: u16,
    /// Whether it supports headers.
    pub headers: bool,
    /// Whether CONNECT must carry credentials.
    #[serde(skip_serializing_if = "is_false")]
    pub auth_required: bool,
    /// Whether the connection must be upgraded to TLS.
    #[serde(skip_serializing_if = "is_false")]
    pub tls_required: bool,
    /// Whether a certificate is asked for.
    #[serde(skip_serializing_if = "is_false")]
    pub tls_verify: bool,
    /// Largest header block and payload together, in bytes; -1 without a limit.
    pub max_payload: i64,
    /// URL at which it can be reached, where another server tells about it or an address is advertised.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub ip: String,
    /// A challenge, which routes do not use.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub nonce: String,
    /// Name of the cluster.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub cluster: String,
    /// Whether that name was made up.
    #[serde(skip_serializing_if = "is_false")]
    pub cluster_dynamic: bool,
    /// Where clients can connect to it, `host:port`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub connect_urls: Vec<String>,
    /// Whether it is about to end.
    #[serde(skip_serializing_if = "is_false")]
    pub ldm: bool,
    /// How it compresses, or wants to.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub compression: String,
    /// What it imports.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub import: Option<SubjectLists>,
    /// What it exports.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub export: Option<SubjectLists>,
    /// Whether it knows `LS+` and `LMSG`.
    #[serde(skip_serializing_if = "is_false")]
    pub lnoc: bool,
    /// Whether it names the leaf cluster in `LS-`.
    #[serde(skip_serializing_if = "is_false")]
    pub lnocu: bool,
    /// Connections that it wants to each other server; 0 without a pool.
    #[serde(skip_serializing_if = "is_zero")]
    pub route_pool_size: i64,
    /// Which of them this is.
    #[serde(skip_serializing_if = "is_zero")]
    pub route_pool_idx: i64,
    /// The account that has this connection for itself.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub route_account: String,
    /// Marks a request, or the answer, to give an account a connection of its own.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub route_acc_add_reqid: String,
    /// Whether it takes messages of any account over any connection of the pool, told of all interest over
    /// each, and wants to send them so: between servers of this kind only.
    #[serde(rename = "midge_lanes", skip_serializing_if = "is_false")]
    pub lanes: bool,
    /// How the news that this server is there is passed on.
    #[serde(skip_serializing_if = "GossipMode::is_default")]
    pub gossip_mode: GossipMode,
    /// Everything else, which is passed on as it came.
    #[serde(flatten)]
    pub others: Map<String, Value>,
}

impl RouteInfo {
    /// The document as JSON.
    #[must_use]
    pub fn to_json(&self) -> String {
        // Strings, numbers and flags only: there is nothing in it that could fail to serialise.
        serde_json::to_string(self).unwrap_or_default()
    }

    /// Whether the other server is of this kind and not a nats-server.
    #[must_use]
    pub fn is_midge(&self) -> bool {
        self.go.starts_with("midge ")
    }
}

/// What a server that dialed says first.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "the protocol has this many independent switches"
)]
pub struct RouteConnect {
    /// Has no meaning for routes.
    pub echo: bool,
    /// Whether each operation is confirmed with `+OK`.
    pub verbose: bool,
    /// Has no meaning for routes.
    pub pedantic: bool,
    /// User name.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub user: String,
    /// Password.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub pass: String,
    /// Whether it wants TLS.
    pub tls_required: bool,
    /// Whether it supports headers.
    pub headers: bool,
    /// The server's identity.
    pub name: String,
    /// Name of its cluster.
    pub cluster: String,
    /// Whether that name was made up.
    #[serde(skip_serializing_if = "is_false")]
    pub cluster_dynamic: bool,
    /// Whether it knows `LS+` and `LMSG`.
    #[serde(skip_serializing_if = "is_false")]
    pub lnoc: bool,
    /// Whether it names the leaf cluster in `LS-`.
    #[serde(skip_serializing_if = "is_false")]
    pub lnocu: bool,
    /// Name of a gateway, which has come to the wrong port.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub gateway: String,
    /// Language of a client library, which has come to the wrong port.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub lang: String,
}

/// Secrets never reach logs.
impl std::fmt::Debug for RouteConnect {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("RouteConnect")
            .field("name", &self.name)
            .field("cluster", &self.cluster)
            .finish_non_exhaustive()
    }
}

impl RouteConnect {
    /// The document as JSON.
    #[must_use]
    pub fn to_json(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_known_is_passed_on() {
        let text = concat!(
            r#"{"server_id":"N1","port":6222,"jetstream":true,"route_pool_size":3,"gossip_mode":1,"#,
            r#""gateway_url":"g:1"}"#
        );
        let mut info: RouteInfo = serde_json::from_str(text).unwrap();
        assert_eq!(
            (info.gossip_mode, info.route_pool_size),
            (GossipMode::Disabled, 3)
        );
        info.gossip_mode = GossipMode::Override;
        let passed_on = info.to_json();
        for part in [
            r#""jetstream":true"#,
            r#""gateway_url":"g:1""#,
            r#""gossip_mode":2"#,
        ] {
            assert!(passed_on.contains(part), "{passed_on}");
        }
        info.gossip_mode = GossipMode::Default;
        assert!(!info.to_json().contains("gossip_mode"));
    }

    #[test]
    fn documents_look_like_nats_servers() {
        let connect = RouteConnect {
            headers: true,
            echo: true,
            name: "N".to_owned(),
            cluster: "c".to_owned(),
            lnoc: true,
            ..RouteConnect::default()
        };
        let text = concat!(
            r#"{"echo":true,"verbose":false,"pedantic":false,"tls_required":false,"headers":true,"#,
            r#""name":"N","cluster":"c","lnoc":true}"#
        );
        assert_eq!(connect.to_json(), text);
    }
}
