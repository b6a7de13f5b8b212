//! What options must fulfil together.

use super::authorization::DEFAULT_AUTHENTICATION_TIMEOUT;
use super::users::{Identity, User, refuse_duplicates};
use super::{DISCOURAGED_PAYLOAD_BYTES, Options};
use crate::config::diagnostic::{Diagnostic, Problems};
use crate::config::secret::Secret;
use crate::config::units::format_duration;
use crate::config::value::Table;

/// Records what does not fit together. `tree` is what the options were read from.
pub(crate) fn validate(options: &Options, tree: &Table, problems: &mut Problems) {
    check_lame_duck(options, tree, problems);
    check_routes(options, problems);
    check_payload(options, tree, problems);
    let users = || {
        let accounts = options.accounts.iter().flat_map(|account| &account.users);
        options.authorization.users.iter().chain(accounts)
    };
    refuse_duplicates(users(), problems);
    refuse_user_with_accounts(options, problems);
    super::links::check(&options.accounts, problems);
    check_callout(options, tree, problems);
    check_monitoring(options, tree, problems);
    // With mistakes in the list of users, the one looked for may be among them.
    if problems.errors.is_empty() {
        check_no_auth_user(
            options,
            tree,
            users().collect::<Vec<_>>().as_slice(),
            problems,
        );
    }
}

/// A user without a password would not be asked for one.
fn check_monitoring(options: &Options, tree: &Table, problems: &mut Problems) {
    let monitoring = &options.monitoring;
    if monitoring.user.is_some() != monitoring.password.is_some() {
        let message = "http_user and http_password belong together".to_owned();
        let mistake = mistake(tree, &["http_user", "http_password"], message);
        problems.errors.push(mistake);
    }
    let is_empty = |secret: &Option<Secret>| secret.as_ref().is_some_and(Secret::is_empty);
    if is_empty(&monitoring.password) || is_empty(&monitoring.token) {
        let message = "an empty password or token would let everybody in".to_owned();
        let mistake = mistake(tree, &["http_password", "http_token"], message);
        problems.errors.push(mistake);
    }
}

/// A mistake of several options, shown at the one of `keys` that was written last.
fn mistake(tree: &Table, keys: &[&str], message: String) -> Diagnostic {
    let written = tree
        .entries
        .iter()
        .rev()
        .find(|entry| keys.contains(&entry.key.as_str()));
    match written {
        Some(entry) => Diagnostic::new(entry.place(), message),
        None => Diagnostic::general(message),
    }
}

impl Options {
    /// Time a client has to authenticate.
    pub fn authentication_timeout(&self) -> std::time::Duration {
        let with_tls = || {
            self.tls
                .as_ref()
                .map(|tls| tls.timeout_or_default() + std::time::Duration::from_secs(1))
        };
        self.authorization
            .timeout
            .or_else(with_tls)
            .unwrap_or(DEFAULT_AUTHENTICATION_TIMEOUT)
    }
}

/// Users of accounts and a single user or token exclude each other; the command line overrides.
fn refuse_user_with_accounts(options: &Options, problems: &mut Problems) {
    let Some(user) = options
        .accounts
        .iter()
        .find_map(|account| account.users.first())
    else {
        return;
    };
    let of_flags = |flag: &super::super::FlagValue| flag.path.first() == Some(&"authorization");
    if options.layers.flags.iter().any(of_flags) {
        return;
    }
    let single = [
        (options.authorization.user.is_some(), "a single user"),
        (options.authorization.token.is_some(), "a token"),
    ];
    for (_, what) in single.iter().filter(|(given, _)| *given) {
        let message = format!("cannot have both {what} and users of accounts");
        problems.error(Diagnostic::new(&user.place, message).fix("keep one of them"));
    }
}

/// A service that decides about clients decides only for accounts that there are.
fn check_callout(options: &Options, tree: &Table, problems: &mut Problems) {
    let Some(callout) = &options.authorization.auth_callout else {
        return;
    };
    for name in &callout.allowed_accounts {
        if !options.accounts.iter().any(|account| account.name == *name) {
            let message =
                format!("auth_callout allowed account {name:?} not found in configured accounts");
            problems.error(mistake(tree, &["authorization"], message));
        }
    }
}

/// Routes on the command line need a port for other servers; in a file nats-server lets them pass.
fn check_routes(options: &Options, problems: &mut Problems) {
    let Some(cluster) = &options.cluster else {
        return;
    };
    let of_flags = |flag: &super::super::FlagValue| flag.path == ["cluster", "routes"];
    if cluster.port.is_none() && options.layers.flags.iter().any(of_flags) {
        let message = "solicited routes require cluster capabilities, e.g. --cluster";
        problems.error(Diagnostic::new(&cluster.place, message));
    }
}

fn check_lame_duck(options: &Options, tree: &Table, problems: &mut Problems) {
    let (grace, whole) = (options.lame_duck_grace_period, options.lame_duck_duration);
    if grace >= whole {
        let message = format!(
            "lame duck grace period ({}) should be strictly lower than lame duck duration ({})",
            format_duration(grace),
            format_duration(whole)
        );
        let keys = ["lame_duck_grace_period", "lame_duck_duration"];
        problems.error(mistake(tree, &keys, message));
    }
}

fn check_payload(options: &Options, tree: &Table, problems: &mut Problems) {
    let Some(payload) = options.max_payload else {
        return;
    };
    let pending = options.max_pending;
    if u64::from(payload) > pending {
        let message =
            format!("max_payload ({payload}) cannot be higher than max_pending ({pending})");
        problems.error(mistake(tree, &["max_payload", "max_pending"], message));
    }
    if payload > DISCOURAGED_PAYLOAD_BYTES {
        problems.advice(Diagnostic::general(
            "Maximum payloads over 8.00 MB are generally discouraged and could lead to poor performance",
        ));
    }
}

fn check_no_auth_user(options: &Options, tree: &Table, users: &[&User], problems: &mut Problems) {
    let Some(wanted) = &options.no_auth_user else {
        return;
    };
    if users.is_empty() {
        let message = format!("no_auth_user {wanted:?} present, but users/nkeys are not defined");
        return problems.error(mistake(tree, &["no_auth_user"], message));
    }
    let found = users.iter().any(|user| match &user.identity {
        Identity::Password { user, .. } => user == wanted,
        Identity::Nkey(nkey) => nkey == wanted,
    });
    if !found {
        let message = format!(
            "no_auth_user {wanted:?} not present as user or nkey in authorization block or account configuration"
        );
        problems.error(mistake(tree, &["no_auth_user"], message));
    }
}
