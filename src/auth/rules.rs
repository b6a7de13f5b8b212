//! The input of [`Authenticator`](super::Authenticator): who may connect, as configured.

use std::fmt;
use std::str::FromStr;

use super::permissions::PermissionRules;

/// The name of the account that everybody without another one belongs to.
pub const GLOBAL_ACCOUNT: &str = "$G";

/// A password or token of the configuration; never printed.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Wraps a password or token, in plain text or as a bcrypt hash.
    #[must_use]
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// Whether it is the empty text.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[REDACTED]")
    }
}

/// How a peer is connected, as `allowed_connection_types` names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ConnectionType {
    /// A client on TCP, TLS or a Unix socket.
    Standard,
    /// A client on WebSocket.
    WebSocket,
    /// A leaf node.
    LeafNode,
    /// A leaf node on WebSocket.
    LeafNodeWebSocket,
    /// An MQTT client.
    Mqtt,
    /// An MQTT client on WebSocket.
    MqttWebSocket,
    /// A client within the server's process.
    InProcess,
}

impl FromStr for ConnectionType {
    type Err = String;

    /// Reads a name of the configuration; case does not matter.
    fn from_str(name: &str) -> Result<Self, String> {
        let upper = name.to_uppercase();
        Ok(match upper.as_str() {
            "STANDARD" => Self::Standard,
            "WEBSOCKET" => Self::WebSocket,
            "LEAFNODE" => Self::LeafNode,
            "LEAFNODE_WS" => Self::LeafNodeWebSocket,
            "MQTT" => Self::Mqtt,
            "MQTT_WS" => Self::MqttWebSocket,
            "IN_PROCESS" => Self::InProcess,
            _ => return Err(format!("invalid connection types [{upper:?}]")),
        })
    }
}

/// What a user of the configuration is known by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum UserIdentity {
    /// A name and a password, which may be empty where certificates prove the name.
    Password {
        /// The user's name, or a certificate's name that maps to this user.
        name: String,
        /// Plain text or a bcrypt hash.
        password: Secret,
    },
    /// The public part of a user nkey (`U…`).
    Nkey(String),
}

/// One entry of a `users` list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UserRules {
    /// Who this is.
    pub identity: UserIdentity,
    /// The account in whose block the user stands; `None` for the `authorization` block.
    pub account: Option<String>,
    /// The user's own permissions; `None` takes the default ones of the block.
    pub permissions: Option<PermissionRules>,
    /// How the user may be connected; empty allows all.
    pub allowed_connection_types: Vec<ConnectionType>,
}

/// One account.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AccountRules {
    /// The account's name.
    pub name: String,
    /// Permissions of the account's users that have none of their own.
    pub default_permissions: Option<PermissionRules>,
}

/// Everything that decides who may connect.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AuthRules {
    /// Whether there is an `authorization` block, whatever it holds.
    pub authorization_block: bool,
    /// `user` of the `authorization` block.
    pub user: Option<String>,
    /// `password` of the `authorization` block.
    pub password: Option<Secret>,
    /// `token` of the `authorization` block.
    pub token: Option<Secret>,
    /// Whether the `authorization` block holds a `users` list, even an empty one.
    pub users_list: bool,
    /// The users of the `authorization` block and of all accounts.
    pub users: Vec<UserRules>,
    /// `default_permissions` of the `authorization` block, for its users.
    pub default_permissions: Option<PermissionRules>,
    /// The accounts, without `$G`; the system account only if the configuration names it in `accounts`.
    pub accounts: Vec<AccountRules>,
    /// Name of the system account.
    pub system_account: Option<String>,
    /// The user or nkey of connections that present no credentials.
    pub no_auth_user: Option<String>,
    /// Users of the machine, by number, and the name or nkey that each of them has over the Unix socket.
    pub unix_users: Vec<(u32, String)>,
    /// The connection types whose listeners take the user from the client's certificate (`verify_and_map`).
    pub certificate_listeners: Vec<ConnectionType>,
}
