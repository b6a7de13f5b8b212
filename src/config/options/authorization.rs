//! Users and what they may do: the block `authorization` and the parts it shares with `accounts`.

use std::collections::HashSet;
use std::time::Duration;

use super::read::{
    boolean, integer, optional_secret, optional_text, seconds, set, signed_duration, tables, text,
    texts,
};
use super::row::{About, Kind, Row, abouts, read_block, read_table};
use super::{HIGH_AUTHENTICATION_TIMEOUT, Options};
use crate::config::diagnostic::{Diagnostic, Place, Problems};
use crate::config::secret::Secret;
use crate::config::subjects::permission_mistake;
use crate::config::units::format_duration;
use crate::config::value::{Entry, Node, Table, Value};

/// Time a client has to authenticate, without TLS.
pub const DEFAULT_AUTHENTICATION_TIMEOUT: Duration = Duration::from_secs(2);

/// Who may connect. With [`users`](Self::users) (here or in an account) only those count; otherwise
/// the token, and then the single user, if they are set. With none of them everybody may connect.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Authorization {
    /// The single user.
    pub user: Option<String>,
    /// The single user's password, plain or as a bcrypt hash.
    pub password: Option<Secret>,
    /// The token that every client must give, plain or as a bcrypt hash.
    pub token: Option<Secret>,
    /// Time a client has to authenticate; none is 2 s, or with TLS its timeout and 1 s.
    pub timeout: Option<Duration>,
    /// Whether the key `users` was written: with an empty list nobody may connect.
    pub users_defined: bool,
    /// The users, of the account `$G`.
    pub users: Vec<User>,
    /// What users may do that have no permissions of their own.
    pub default_permissions: Option<Permissions>,
    /// Ask a service whether a client may connect.
    pub auth_callout: Option<AuthCallout>,
    /// Take clients only through a trusted proxy.
    pub proxy_required: bool,
}

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

/// What a user may publish and subscribe to, or a cluster link import and export.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Permissions {
    /// Subjects to publish to (a link: to import); none is all.
    pub publish: Option<SubjectPermission>,
    /// Subjects to subscribe to (a link: to export), with or without a queue group behind a blank;
    /// none is all.
    pub subscribe: Option<SubjectPermission>,
    /// Publish to the reply subjects of received messages.
    pub allow_responses: Option<ResponsePermission>,
}

/// Subjects that are allowed and denied; a denied one wins.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SubjectPermission {
    /// Allowed; none is all.
    pub allow: Option<Vec<String>>,
    /// Denied.
    pub deny: Vec<String>,
}

/// How replies to received messages are allowed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResponsePermission {
    /// Replies to each message; none is without a limit.
    pub max: Option<u32>,
    /// Time for them; none is without a limit.
    pub expires: Option<Duration>,
}

impl Default for ResponsePermission {
    fn default() -> Self {
        Self {
            max: Some(1),
            expires: Some(Duration::from_secs(120)),
        }
    }
}

/// A service that decides whether a client may connect.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AuthCallout {
    /// Public account nkey that signs the service's answers.
    pub issuer: String,
    /// Account that the service is in.
    pub account: String,
    /// Users that the service itself connects as.
    pub auth_users: Vec<String>,
    /// Public curve nkey to encrypt requests with.
    pub xkey: Option<String>,
    /// Accounts it decides for; empty is all.
    pub allowed_accounts: Vec<String>,
}

const PERMISSIONS_MISSING: &str = "permissions of users are not built yet";

/// The options of the block `authorization`.
pub(crate) static AUTHORIZATION: &[Row<Authorization>] = &[
    Row::<Authorization>::new("user", Kind::Text, "", "User name that every client must give.", |block, entry, problems| {
        set(&mut block.user, optional_text(entry, problems));
    })
    .aliases(&["username"])
    .flags(&["user"], "<user>")
    .example("alice")
    .live(),
    Row::<Authorization>::new("password", Kind::Secret, "", "Password that every client must give, plain or as a bcrypt hash.", |block, entry, problems| {
        set(&mut block.password, optional_secret(entry, problems));
    })
    .aliases(&["pass"])
    .flags(&["pass"], "<password>")
    .example("change me")
    .live(),
    Row::<Authorization>::new("token", Kind::Secret, "", "Token that every client must give, plain or as a bcrypt hash.", |block, entry, problems| {
        set(&mut block.token, optional_secret(entry, problems));
    })
    .flags(&["auth"], "<token>")
    .example("change me")
    .live(),
    Row::<Authorization>::new("timeout", Kind::Seconds, "2", "Time a client has to authenticate.", store_timeout).live(),
    Row::<Authorization>::new("users", Kind::Blocks, "", "Users that may connect, each with a name and a password.", |block, entry, problems| {
        block.users_defined = true;
        set(&mut block.users, users(entry, problems));
    })
    .example(r#"[ { user: alice, password: "change me" } ]"#)
    .children(|| abouts(USER))
    .live(),
    Row::<Authorization>::new("default_permissions", Kind::Block, "", "What users may do that have no permissions of their own.", |block, entry, problems| {
        block.default_permissions = permissions(entry, problems);
    })
    .aliases(&["default_permission", "permissions"])
    .example(r#"{ publish: ">", subscribe: ">" }"#)
    .children(|| abouts(PERMISSIONS))
    .missing(PERMISSIONS_MISSING)
    .live(),
    Row::<Authorization>::new("auth_callout", Kind::Block, "", "A service that decides whether a client may connect.", |block, entry, problems| {
        block.auth_callout = auth_callout(entry, problems);
    })
    .aliases(&["auth_hook"])
    .example("{ issuer: ABJHLOVMPA4CI6R5KLNGOB4GSLNIY7IOUPAJC4YFNDLQVIOBYQGUWVLA, auth_users: [ auth ] }")
    .children(|| abouts(AUTH_CALLOUT))
    .missing("asking a service about clients is not built yet")
    .live(),
    Row::<Authorization>::new("proxy_required", Kind::Boolean, "false", "Take clients only through a trusted proxy.", |block, entry, problems| {
        set(&mut block.proxy_required, boolean(entry, problems));
    })
    .missing("trusted proxies are not built yet"),
];

/// Reads the block `authorization` of the top level.
pub(crate) fn store_authorization(options: &mut Options, entry: &Entry, problems: &mut Problems) {
    let mut block = Authorization::default();
    read_block(AUTHORIZATION, &mut block, entry, problems);
    if let Value::Table(table) = &entry.node.value {
        refuse_mixtures(&block, table, problems);
    }
    apply_default_permissions(&mut block.users, block.default_permissions.as_ref());
    options.authorization = block;
}

fn store_timeout(block: &mut Authorization, entry: &Entry, problems: &mut Problems) {
    let Some(timeout) = seconds(entry, problems) else {
        return;
    };
    block.timeout = timeout;
    if let Some(timeout) = timeout.filter(|timeout| *timeout > HIGH_AUTHENTICATION_TIMEOUT) {
        let message = format!(
            "invalid use of field {:?}: a timeout of {} is high",
            entry.key,
            format_duration(timeout)
        );
        let fix = "keep it under 60 seconds; a bare 1m is a million seconds, \"1m\" is a minute";
        problems.deprecated(Diagnostic::new(entry.place(), message).fix(fix));
    }
}

/// A single user, a token and a list of users exclude each other. What the command line brings in is
/// not looked at here: it overrides the file.
fn refuse_mixtures(block: &Authorization, table: &Table, problems: &mut Problems) {
    let place_of = |keys: &[&str]| {
        let written = |entry: &&Entry| {
            keys.iter().any(|key| entry.key.eq_ignore_ascii_case(key))
                && !matches!(entry.place(), Place::Flag(_))
        };
        table.entries.iter().rev().find(written).map(Entry::place)
    };
    let user = place_of(&["user", "username"]).filter(|_| block.user.is_some());
    let token = place_of(&["token"]).filter(|_| block.token.is_some());
    let users = place_of(&["users"]).filter(|_| block.users_defined);
    let mut refuse = |left: Option<&Place>, right: Option<&Place>, what: &str| {
        if let (Some(_), Some(place)) = (left, right) {
            let message = format!("cannot have {what}");
            problems.error(Diagnostic::new(place, message).fix("keep one of them"));
        }
    };
    refuse(user, token, "both a user and a token");
    refuse(user, users, "both a single user and a list of users");
    refuse(token, users, "both a token and a list of users");
}

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
}

/// The options of a user.
pub(crate) static USER: &[Row<UserDraft>] = &[
    Row::<UserDraft>::new(
        "user",
        Kind::Text,
        "",
        "The user's name.",
        |user, entry, problems| {
            set(&mut user.user, optional_text(entry, problems));
        },
    )
    .aliases(&["username"])
    .example("alice"),
    Row::<UserDraft>::new(
        "password",
        Kind::Secret,
        "",
        "The user's password, plain or as a bcrypt hash.",
        |user, entry, problems| {
            set(&mut user.password, optional_secret(entry, problems));
        },
    )
    .aliases(&["pass"])
    .example("change me"),
    Row::<UserDraft>::new(
        "nkey",
        Kind::Text,
        "",
        "The user's public nkey, in place of name and password.",
        |user, entry, problems| {
            set(&mut user.nkey, optional_text(entry, problems));
        },
    )
    .example("UDXU4RCSJNZOIQHZNWXHXORDPRTGNJAHAHFRGZNEEJCPQTT2M7NLCNF4")
    .missing("nkeys are not built yet"),
    Row::<UserDraft>::new(
        "permissions",
        Kind::Block,
        "",
        "What the user may do.",
        |user, entry, problems| {
            user.permissions = permissions(entry, problems);
        },
    )
    .aliases(&["permission", "authorization"])
    .example(r#"{ publish: ">", subscribe: ">" }"#)
    .children(|| abouts(PERMISSIONS))
    .missing(PERMISSIONS_MISSING),
    Row::<UserDraft>::new(
        "allowed_connection_types",
        Kind::Texts,
        "",
        "Kinds of connection the user may use.",
        |user, entry, problems| {
            user.allowed_connection_types = connection_types(entry, problems);
        },
    )
    .aliases(&["connection_types", "clients"])
    .example("[ STANDARD ]")
    .missing("limiting users to kinds of connection is not built yet"),
    Row::<UserDraft>::new(
        "proxy_required",
        Kind::Boolean,
        "false",
        "Take the user only through a trusted proxy.",
        |user, entry, problems| {
            set(&mut user.proxy_required, boolean(entry, problems));
        },
    )
    .missing("trusted proxies are not built yet"),
];

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

/// The options of a block of permissions.
pub(crate) static PERMISSIONS: &[Row<Permissions>] = &[
    Row::<Permissions>::new("publish", Kind::Mixed, "", "Subjects to publish to: one, a list, or a block with allow and deny.", |block, entry, problems| {
        let read = subject_permission(entry, false, problems);
        // Allowing replies closes everything that is not allowed by name.
        let closed = block.allow_responses.is_some();
        block.publish = read;
        if closed {
            close_publish(block);
        }
    })
    .aliases(&["pub", "import"])
    .example(r#"{ allow: "orders.>", deny: "orders.secret" }"#)
    .children(|| abouts(SUBJECTS)),
    Row::<Permissions>::new("subscribe", Kind::Mixed, "", "Subjects to subscribe to, each with or without a queue group: one, a list, or a block with allow and deny.", |block, entry, problems| {
        block.subscribe = subject_permission(entry, true, problems);
    })
    .aliases(&["sub", "export"])
    .example(r#"{ allow: [ "orders.>", "jobs workers" ] }"#)
    .children(|| abouts(SUBJECTS)),
    Row::<Permissions>::new("allow_responses", Kind::Mixed, "false", "Publish replies to received messages: true, or a block with max and expires.", |block, entry, problems| {
        block.allow_responses = response_permission(entry, problems);
        if block.allow_responses.is_some() {
            close_publish(block);
        }
    })
    .aliases(&["publish_allow_responses"])
    .children(|| abouts(RESPONSES)),
];

fn close_publish(block: &mut Permissions) {
    block
        .publish
        .get_or_insert_default()
        .allow
        .get_or_insert_default();
}

/// A block of permissions.
pub(crate) fn permissions(entry: &Entry, problems: &mut Problems) -> Option<Permissions> {
    let mut block = Permissions::default();
    let table = super::read::table(entry, problems)?;
    read_table(PERMISSIONS, &mut block, table, problems);
    Some(block)
}

/// Subjects while their block is read.
#[derive(Debug, Default)]
pub(crate) struct SubjectsDraft {
    permission: SubjectPermission,
    queues: bool,
}

/// The options of a block of subjects.
pub(crate) static SUBJECTS: &[Row<SubjectsDraft>] = &[
    Row::<SubjectsDraft>::new(
        "allow",
        Kind::Texts,
        "",
        "Subjects that are allowed; without it all are.",
        |block, entry, problems| {
            block.permission.allow = subjects(entry, block.queues, problems);
        },
    )
    .example("\"orders.>\""),
    Row::<SubjectsDraft>::new(
        "deny",
        Kind::Texts,
        "",
        "Subjects that are not allowed.",
        |block, entry, problems| {
            set(
                &mut block.permission.deny,
                subjects(entry, block.queues, problems),
            );
        },
    )
    .example("\"orders.secret\""),
];

fn subject_permission(
    entry: &Entry,
    queues: bool,
    problems: &mut Problems,
) -> Option<SubjectPermission> {
    match &entry.node.value {
        Value::Table(table) if table.entries.is_empty() => None,
        Value::Table(table) => {
            let mut draft = SubjectsDraft {
                queues,
                ..SubjectsDraft::default()
            };
            read_table(SUBJECTS, &mut draft, table, problems);
            Some(draft.permission)
        }
        _ => {
            let allow = Some(subjects(entry, queues, problems)?);
            Some(SubjectPermission {
                allow,
                deny: Vec::new(),
            })
        }
    }
}

fn subjects(entry: &Entry, queues: bool, problems: &mut Problems) -> Option<Vec<String>> {
    let subjects = texts(entry, problems)?;
    for mistake in subjects
        .iter()
        .filter_map(|subject| permission_mistake(subject, queues))
    {
        problems.error(Diagnostic::new(entry.place(), mistake));
    }
    Some(subjects)
}

/// The options of a block of response permissions.
pub(crate) static RESPONSES: &[Row<ResponsePermission>] = &[
    Row::<ResponsePermission>::new(
        "max",
        Kind::Integer,
        "1",
        "Replies to each message; -1 is without a limit.",
        |block, entry, problems| match integer(entry, i64::MIN, i64::from(u32::MAX), problems) {
            Some(0) | None => {}
            Some(number) => block.max = u32::try_from(number).ok(),
        },
    )
    .aliases(&["max_msgs", "max_messages", "max_responses"]),
    Row::<ResponsePermission>::new(
        "expires",
        Kind::Duration,
        "\"2m\"",
        "Time for the replies; \"-1s\" is without a limit.",
        |block, entry, problems| match signed_duration(entry, problems) {
            Some(0) | None => {}
            Some(nanoseconds) => {
                block.expires = u64::try_from(nanoseconds).ok().map(Duration::from_nanos);
            }
        },
    )
    .aliases(&["expiration", "ttl"]),
];

fn response_permission(entry: &Entry, problems: &mut Problems) -> Option<ResponsePermission> {
    match &entry.node.value {
        Value::Boolean(allowed) => allowed.then(ResponsePermission::default),
        Value::Table(table) => {
            let mut block = ResponsePermission::default();
            read_table(RESPONSES, &mut block, table, problems);
            Some(block)
        }
        _ => {
            let message = format!("{:?} must be true, false or a block", entry.key);
            problems.error(Diagnostic::new(entry.place(), message));
            None
        }
    }
}

/// The options of the block `auth_callout`.
pub(crate) static AUTH_CALLOUT: &[Row<AuthCallout>] = &[
    Row::<AuthCallout>::new(
        "issuer",
        Kind::Text,
        "",
        "Public account nkey that signs the service's answers.",
        |block, entry, problems| {
            set(&mut block.issuer, public_key(entry, 'A', problems));
        },
    )
    .example("ABJHLOVMPA4CI6R5KLNGOB4GSLNIY7IOUPAJC4YFNDLQVIOBYQGUWVLA"),
    Row::<AuthCallout>::new(
        "account",
        Kind::Text,
        "$G",
        "Account that the service is in.",
        |block, entry, problems| {
            set(&mut block.account, text(entry, problems));
        },
    )
    .aliases(&["acc"]),
    Row::<AuthCallout>::new(
        "auth_users",
        Kind::Texts,
        "",
        "Users that the service itself connects as.",
        |block, entry, problems| {
            set(
                &mut block.auth_users,
                super::read::text_list(entry, problems),
            );
        },
    )
    .aliases(&["users"])
    .example("[ auth ]"),
    Row::<AuthCallout>::new(
        "xkey",
        Kind::Text,
        "",
        "Public curve nkey to encrypt requests with.",
        |block, entry, problems| {
            block.xkey = public_key(entry, 'X', problems);
        },
    )
    .aliases(&["key"])
    .example("XAB3NANV3M6N7AHSQP2U5FRWKKUT7EG2ZXXABV4XVXYQRJGM4S2CZGHT"),
    Row::<AuthCallout>::new(
        "allowed_accounts",
        Kind::Texts,
        "",
        "Accounts it decides for; all if there are none.",
        |block, entry, problems| {
            set(
                &mut block.allowed_accounts,
                super::read::text_list(entry, problems),
            );
        },
    )
    .example("[ APP ]"),
];

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

fn auth_callout(entry: &Entry, problems: &mut Problems) -> Option<AuthCallout> {
    let before = problems.errors.len();
    let mut block = AuthCallout {
        account: "$G".to_owned(),
        ..AuthCallout::default()
    };
    let table = super::read::table(entry, problems)?;
    read_table(AUTH_CALLOUT, &mut block, table, problems);
    if problems.errors.len() == before {
        let missing = match (block.issuer.is_empty(), block.auth_users.is_empty()) {
            (true, _) => "an issuer",
            (_, true) => "auth_users",
            _ => return Some(block),
        };
        problems.error(Diagnostic::new(
            entry.place(),
            format!("{:?} requires {missing}", entry.key),
        ));
    }
    None
}

/// What there is to say about the options of the block.
pub(crate) fn about() -> Vec<&'static About> {
    abouts(AUTHORIZATION)
}
