//! Users, of the block `authorization` and of accounts.

use std::collections::HashSet;

use super::permissions::{self, Permissions, permissions};
use super::rate_limit::{self, RateLimit};
use super::read::{boolean, optional_secret, optional_text, set, tables, text, texts};
use super::row::{About, Kind, Row, abouts, read_table};
use super::slow_consumer::{self, SlowConsumer};
use super::unix_socket::system_number;
use crate::config::diagnostic::{Diagnostic, Place, Problems};
use crate::config::secret::Secret;
use crate::config::value::{Entry, Node, Value};
use crate::process::user_number;

/// Somebody who may connect.
#[derive(Clone, Debug, PartialEq)]
pub struct User {
    /// How the user is recognised.
    pub identity: Identity,
    /// What the user may do; none is everything.
    pub permissions: Option<Permissions>,
    /// Kinds of connection the user may use, in upper case such as `STANDARD`; none is all.
    pub allowed_connection_types: Option<Vec<ConnectionType>>,
    /// Take the user only through a trusted proxy.
    pub proxy_required: bool,
    /// Numbers of the machine's users who are this one without credentials, over the Unix socket.
    pub unix_users: Vec<u32>,
    /// How much all connections of the user may publish.
    pub rate_limit: Option<RateLimit>,
    /// What becomes of messages for the user's connections that are slow; none is as the account says.
    pub slow_consumer: Option<SlowConsumer>,
    /// Whether the user's connections are told that they are slow; none is as the account says.
    pub slow_consumer_error: Option<bool>,
    /// Where the user was written.
    pub place: Place,
}

/// How a user is recognised.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Identity {
    /// By name and password. With `verify_and_map` the name may be that of a certificate and the
    /// password empty.
    Password {
        /// The name.
        user: String,
        /// Plain or as a bcrypt hash.
        password: Secret,
    },
    /// By a signature with the private half of this public nkey, which starts with `U`.
    Nkey(String),
}

impl Identity {
    /// The user name or nkey, which is unique over all accounts.
    pub fn name(&self) -> &str {
        match self {
            Self::Password { user, .. } => user,
            Self::Nkey(nkey) => nkey,
        }
    }
}

/// A kind of connection, for [`User::allowed_connection_types`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ConnectionType {
    /// A client over TCP or TLS.
    Standard,
    /// A client over WebSocket.
    Websocket,
    /// A leaf node.
    Leafnode,
    /// A leaf node over WebSocket.
    LeafnodeWebsocket,
    /// An MQTT client.
    Mqtt,
    /// An MQTT client over WebSocket.
    MqttWebsocket,
    /// A client in the server's own process.
    InProcess,
}

/// Names of the kinds of connection.
const CONNECTION_TYPES: [(&str, ConnectionType); 7] = [
    ("STANDARD", ConnectionType::Standard),
    ("WEBSOCKET", ConnectionType::Websocket),
    ("LEAFNODE", ConnectionType::Leafnode),
    ("LEAFNODE_WS", ConnectionType::LeafnodeWebsocket),
    ("MQTT", ConnectionType::Mqtt),
    ("MQTT_WS", ConnectionType::MqttWebsocket),
    ("IN_PROCESS", ConnectionType::InProcess),
];

/// Gives `permissions` to users without permissions of their own.
pub(crate) fn apply_default_permissions(users: &mut [User], permissions: Option<&Permissions>) {
    for user in users {
        if user.permissions.is_none() {
            user.permissions = permissions.cloned();
        }
    }
}

/// Records users whose name was seen before, over all accounts.
pub(crate) fn refuse_duplicates<'a>(
    users: impl Iterator<Item = &'a User>,
    problems: &mut Problems,
) {
    let mut seen = HashSet::new();
    for user in users {
        if !seen.insert(user.identity.name()) {
            let kind = match user.identity {
                Identity::Password { .. } => "user",
                Identity::Nkey(_) => "nkey",
            };
            let message = format!("duplicate {kind} {:?}", user.identity.name());
            problems.error(
                Diagnostic::new(&user.place, message).fix("names are unique over all accounts"),
            );
        }
    }
}

/// A user while its block is read.
#[derive(Debug, Default)]
pub(crate) struct UserDraft {
    user: Option<String>,
    password: Option<Secret>,
    nkey: Option<String>,
    permissions: Option<Permissions>,
    allowed_connection_types: Option<Vec<ConnectionType>>,
    proxy_required: bool,
    unix_users: Vec<u32>,
    rate_limit: Option<RateLimit>,
    slow_consumer: Option<SlowConsumer>,
    slow_consumer_error: Option<bool>,
}

/// The options of a user.
pub(crate) static USER: &[Row<UserDraft>] = &[
    of_user("user", Kind::Text, "")
        .document("The user's name.")
        .aliases(&["username"])
        .example("alice")
        .store(|user, entry, problems| {
            set(&mut user.user, optional_text(entry, problems));
        }),
    of_user("password", Kind::Secret, "")
        .document("The user's password, plain or as a bcrypt hash.")
        .aliases(&["pass"])
        .example("change-me")
        .store(|user, entry, problems| {
            set(&mut user.password, optional_secret(entry, problems));
        }),
    of_user("nkey", Kind::Text, "")
        .document("The user's public nkey, in place of name and password.")
        .example("UDXU4RCSJNZOIQHZNWXHXORDPRTGNJAHAHFRGZNEEJCPQTT2M7NLCNF4")
        .store(|user, entry, problems| {
            set(&mut user.nkey, optional_text(entry, problems));
        }),
    of_user("permissions", Kind::Block, "")
        .document("What the user may do.")
        .aliases(&["permission", "authorization"])
        .example(r#"{ publish: ">", subscribe: ">" }"#)
        .children(permissions::about)
        .store(|user, entry, problems| {
            user.permissions = permissions(entry, problems);
        }),
    of_user("allowed_connection_types", Kind::Texts, "")
        .document("Kinds of connection the user may use.")
        .aliases(&["connection_types", "clients"])
        .example("[ STANDARD ]")
        .store(|user, entry, problems| {
            user.allowed_connection_types = connection_types(entry, problems);
        }),
    of_user("proxy_required", Kind::Boolean, "false")
        .document("Take the user only through a trusted proxy.")
        .missing("trusted proxies are not built yet")
        .store(|user, entry, problems| {
            set(&mut user.proxy_required, boolean(entry, problems));
        }),
    of_user("unix_users", Kind::Texts, "[]")
        .document("The machine's users who are this one, by name or number, over the Unix socket.")
        .store(|user, entry, problems| {
            user.unix_users = unix_users(entry, problems);
        }),
    of_user("rate_limit", Kind::Block, "")
        .document("How much all connections of the user may publish; more is read later.")
        .example("{ messages: 1000, bytes: 1MB }")
        .children(rate_limit::about)
        .store(|user, entry, problems| {
            user.rate_limit = rate_limit::rate_limit(entry, problems);
        }),
    of_user("slow_consumer", slow_consumer::KIND, "")
        .document(slow_consumer::DOCUMENT)
        .example("drop_old")
        .store(|user, entry, problems| {
            user.slow_consumer = slow_consumer::slow_consumer(entry, problems);
        }),
    of_user("slow_consumer_error", Kind::Boolean, "")
        .document(slow_consumer::ERROR_DOCUMENT)
        .example("true")
        .store(|user, entry, problems| {
            user.slow_consumer_error = boolean(entry, problems);
        }),
];

const fn of_user(key: &'static str, kind: Kind, default: &'static str) -> Row<UserDraft> {
    Row::new(key, kind, default)
}

/// A list of users.
pub(crate) fn users(entry: &Entry, problems: &mut Problems) -> Option<Vec<User>> {
    let mut found = Vec::new();
    for (node, table) in tables(entry, problems)? {
        let before = problems.errors.len();
        let mut draft = UserDraft::default();
        read_table(USER, &mut draft, table, problems);
        let told = problems.errors.len() > before;
        match user(draft, node) {
            Ok(user) => found.push(user),
            // What is missing may be what was just refused.
            Err(_) if told => {}
            Err(diagnostic) => problems.error(diagnostic),
        }
    }
    Some(found)
}

fn user(draft: UserDraft, node: &Node) -> Result<User, Diagnostic> {
    let identity = match (draft.nkey, draft.user, draft.password) {
        (Some(_), user, password) if user.is_some() || password.is_some() => {
            let message = "an nkey user takes neither a name nor a password";
            return Err(Diagnostic::new(&node.place, message));
        }
        (Some(nkey), ..) if is_public_key(&nkey, 'U') => Identity::Nkey(nkey),
        (Some(nkey), ..) => {
            let message = format!("{nkey:?} is not a valid public nkey for a user");
            return Err(Diagnostic::new(&node.place, message).fix("it starts with U"));
        }
        (None, Some(user), password) => Identity::Password {
            user,
            password: password.unwrap_or_default(),
        },
        (None, None, _) => {
            return Err(Diagnostic::new(
                &node.place,
                "a user entry requires a user or an nkey",
            ));
        }
    };
    Ok(User {
        identity,
        permissions: draft.permissions,
        allowed_connection_types: draft.allowed_connection_types,
        proxy_required: draft.proxy_required,
        unix_users: draft.unix_users,
        rate_limit: draft.rate_limit,
        slow_consumer: draft.slow_consumer,
        slow_consumer_error: draft.slow_consumer_error,
        place: node.place.clone(),
    })
}

/// Whether `text` is a public nkey of the kind that starts with `prefix`.
pub(crate) fn is_public_key(text: &str, prefix: char) -> bool {
    if prefix == 'X' {
        return nkeys::XKey::from_public_key(text).is_ok();
    }
    text.starts_with(prefix) && nkeys::KeyPair::from_public_key(text).is_ok()
}

/// A public nkey of the kind that starts with `prefix`.
pub(crate) fn public_key(entry: &Entry, prefix: char, problems: &mut Problems) -> Option<String> {
    let key = text(entry, problems)?;
    if is_public_key(&key, prefix) {
        return Some(key);
    }
    let message = format!(
        "{:?} must be a public nkey that starts with {prefix}, not {key:?}",
        entry.key
    );
    problems.error(Diagnostic::new(entry.place(), message));
    None
}

/// Users of the machine: one, or a list of them.
fn unix_users(entry: &Entry, problems: &mut Problems) -> Vec<u32> {
    let nodes = if let Value::List(nodes) = &entry.node.value {
        nodes.as_slice()
    } else {
        std::slice::from_ref(&entry.node)
    };
    let number = |node| system_number(node, "user", user_number, problems);
    nodes.iter().filter_map(number).collect()
}

fn connection_types(entry: &Entry, problems: &mut Problems) -> Option<Vec<ConnectionType>> {
    let mut found = Vec::new();
    for word in texts(entry, problems)? {
        let known = CONNECTION_TYPES
            .iter()
            .find(|(name, _)| name.eq_ignore_ascii_case(&word));
        match known {
            Some((_, kind)) if found.contains(kind) => {}
            Some((_, kind)) => found.push(*kind),
            None => {
                let names = CONNECTION_TYPES.map(|(name, _)| name).join(", ");
                let message = format!("unknown connection type {word:?}");
                problems.error(
                    Diagnostic::new(entry.place(), message).fix(format!("known are {names}")),
                );
            }
        }
    }
    Some(found)
}

/// What there is to say about the options of a user.
pub(crate) fn about() -> Vec<&'static About> {
    abouts(USER)
}
