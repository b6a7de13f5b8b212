//! Who may connect: the block `authorization`.

use std::time::Duration;

use super::permissions::{self, Permissions, permissions};
use super::read::{boolean, optional_secret, optional_text, seconds, set, table, text, text_list};
use super::row::{About, Kind, Row, abouts, read_block, read_table};
use super::users::{self, User, apply_default_permissions, public_key, users};
use super::{HIGH_AUTHENTICATION_TIMEOUT, Options};
use crate::config::diagnostic::{Diagnostic, Place, Problems};
use crate::config::secret::Secret;
use crate::config::units::format_duration;
use crate::config::value::{Entry, Table, Value};

/// Time a client has to authenticate, without TLS.
pub const DEFAULT_AUTHENTICATION_TIMEOUT: Duration = Duration::from_secs(2);

/// Who may connect. With [`users`](Self::users) (here or in an account) only those count; otherwise
/// the token, and then the single user, if they are set. With none of them everybody may connect.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Authorization {
    /// Whether the block was written at all: then nobody comes in without credentials, whatever it holds.
    pub written: bool,
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

/// The options of the block `authorization`.
pub(crate) static AUTHORIZATION: &[Row<Authorization>] = &[
    option("user", Kind::Text, "")
        .document("User name that every client must give.")
.aliases(&["username"])
        .flags(&["user"], "<user>")
        .example("alice")
        .live()
        .store(|block, entry, problems| {
        set(&mut block.user, optional_text(entry, problems));
    }),
    option("password", Kind::Secret, "")
        .document("Password that every client must give, plain or as a bcrypt hash.")
.aliases(&["pass"])
        .flags(&["pass"], "<password>")
        .example("change-me")
        .live()
        .store(|block, entry, problems| {
        set(&mut block.password, optional_secret(entry, problems));
    }),
    option("token", Kind::Secret, "")
        .document("Token that every client must give, plain or as a bcrypt hash.")
.flags(&["auth"], "<token>")
        .example("change-me")
        .live()
        .store(|block, entry, problems| {
        set(&mut block.token, optional_secret(entry, problems));
    }),
    option("timeout", Kind::Seconds, "2")
        .document("Time a client has to authenticate.")
.live()
        .store(store_timeout),
    option("users", Kind::Blocks, "")
        .document("Users that may connect, each with a name and a password.")
.example(r#"[ { user: alice, password: change-me } ]"#)
        .children(users::about)
        .live()
        .store(|block, entry, problems| {
        block.users_defined = true;
        set(&mut block.users, users(entry, problems));
    }),
    option("default_permissions", Kind::Block, "")
        .document("What users may do that have no permissions of their own.")
.aliases(&["default_permission", "permissions"])
        .example(r#"{ publish: ">", subscribe: ">" }"#)
        .children(permissions::about)
        .live()
        .store(|block, entry, problems| {
        block.default_permissions = permissions(entry, problems);
    }),
    option("auth_callout", Kind::Block, "")
        .document("A service that decides whether a client may connect.")
.aliases(&["auth_hook"])
        .example("{ issuer: ABJHLOVMPA4CI6R5KLNGOB4GSLNIY7IOUPAJC4YFNDLQVIOBYQGUWVLA, auth_users: [ auth ] }")
        .children(|| abouts(AUTH_CALLOUT))
        .missing("asking a service about clients is not built yet")
        .live()
        .store(|block, entry, problems| {
        block.auth_callout = auth_callout(entry, problems);
    }),
    option("proxy_required", Kind::Boolean, "false")
        .document("Take clients only through a trusted proxy.")
.missing("trusted proxies are not built yet")
        .store(|block, entry, problems| {
        set(&mut block.proxy_required, boolean(entry, problems));
    }),
];

const fn option(key: &'static str, kind: Kind, default: &'static str) -> Row<Authorization> {
    Row::new(key, kind, default)
}

/// Reads the block `authorization` of the top level.
pub(crate) fn store_authorization(options: &mut Options, entry: &Entry, problems: &mut Problems) {
    let mut block = Authorization {
        written: true,
        ..Authorization::default()
    };
    read_block(AUTHORIZATION, &mut block, entry, problems);
    if let Value::Table(table) = &entry.node.value {
        refuse_mixtures(&block, table, problems);
    }
    apply_default_permissions(&mut block.users, block.default_permissions.as_ref());
    options.authorization = block;
}

/// The options of the block `authorization` of links to other servers.
pub(crate) static LINK: &[Row<Authorization>] = &[
    option("user", Kind::Text, "")
        .document("User name that other servers must give.")
        .aliases(&["username"])
        .example("route")
        .live()
        .store(|block, entry, problems| set(&mut block.user, optional_text(entry, problems))),
    option("password", Kind::Secret, "")
        .document("Password that other servers must give.")
        .aliases(&["pass"])
        .example("change-me")
        .live()
        .store(|block, entry, problems| set(&mut block.password, optional_secret(entry, problems))),
    option("timeout", Kind::Seconds, "2")
        .document("Time another server has to authenticate.")
        .live()
        .store(store_timeout),
    option("default_permissions", Kind::Block, "")
        .document("Deprecated: set permissions outside of this block.")
        .aliases(&["default_permission", "permissions"])
        .example("{ import: \">\", export: \">\" }")
        .children(permissions::about)
        .live()
        .store(|block, entry, problems| block.default_permissions = permissions(entry, problems)),
];

/// Reads the block `authorization` of links to other servers, which have one user and no token.
pub(crate) fn read_link_authorization(
    entry: &Entry,
    what: &str,
    problems: &mut Problems,
) -> Option<Authorization> {
    let refused = [
        (&["users"][..], "does not allow multiple users"),
        (&["token"], "does not support tokens"),
        (&["auth_callout", "auth_hook"], "does not support callouts"),
        (&["proxy_required"], "does not support proxies"),
    ];
    let mut known = table(entry, problems)?.clone();
    for (keys, mistake) in refused {
        let is_refused = |entry: &Entry| keys.iter().any(|key| entry.key.eq_ignore_ascii_case(key));
        for entry in known.entries.iter().filter(|entry| is_refused(entry)) {
            let message = format!("{what} authorization {mistake}");
            problems.error(Diagnostic::new(entry.place(), message));
        }
        known.entries.retain(|entry| !is_refused(entry));
    }
    let mut block = Authorization::default();
    read_table(LINK, &mut block, &known, problems);
    Some(block)
}

/// What there is to say about the options of the block of links.
pub(crate) fn about_link() -> Vec<&'static About> {
    abouts(LINK)
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

/// The options of the block `auth_callout`.
pub(crate) static AUTH_CALLOUT: &[Row<AuthCallout>] = &[
    of_callout("issuer", Kind::Text, "")
        .document("Public account nkey that signs the service's answers.")
        .example("ABJHLOVMPA4CI6R5KLNGOB4GSLNIY7IOUPAJC4YFNDLQVIOBYQGUWVLA")
        .store(|block, entry, problems| {
            set(&mut block.issuer, public_key(entry, 'A', problems));
        }),
    of_callout("account", Kind::Text, "\"$G\"")
        .document("Account that the service is in.")
        .aliases(&["acc"])
        .store(|block, entry, problems| {
            set(&mut block.account, text(entry, problems));
        }),
    of_callout("auth_users", Kind::Texts, "")
        .document("Users that the service itself connects as.")
        .aliases(&["users"])
        .example("[ auth ]")
        .store(|block, entry, problems| {
            set(&mut block.auth_users, text_list(entry, problems));
        }),
    of_callout("xkey", Kind::Text, "")
        .document("Public curve nkey to encrypt requests with.")
        .aliases(&["key"])
        .example("XAB3NANV3M6N7AHSQP2U5FRWKKUT7EG2ZXXABV4XVXYQRJGM4S2CZGHT")
        .store(|block, entry, problems| {
            block.xkey = public_key(entry, 'X', problems);
        }),
    of_callout("allowed_accounts", Kind::Texts, "")
        .document("Accounts it decides for; all if there are none.")
        .example("[ APP ]")
        .store(|block, entry, problems| {
            set(&mut block.allowed_accounts, text_list(entry, problems));
        }),
];

const fn of_callout(key: &'static str, kind: Kind, default: &'static str) -> Row<AuthCallout> {
    Row::new(key, kind, default)
}

fn auth_callout(entry: &Entry, problems: &mut Problems) -> Option<AuthCallout> {
    let before = problems.errors.len();
    let mut block = AuthCallout {
        account: "$G".to_owned(),
        ..AuthCallout::default()
    };
    let table = table(entry, problems)?;
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
