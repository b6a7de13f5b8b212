//! What is different between two configurations, and what a reload does about it.

use std::collections::BTreeMap;
use std::fmt;

use super::options::accounts::Account;
use super::options::authorization::Authorization;
use super::options::cluster::{Cluster, DEFAULT_ROUTE_PORT, RouteUrl};
use super::options::mappings::Mapping;
use super::options::users::User;
use super::options::{LogFormat, Options, WriteTimeout};
use super::units::format_duration;
use Content::{Hidden, Shown};
use Effect::{Applied, Closes, Judged, Links, Moves, NewConnections, Restart};

/// One difference between the configuration in force and another one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// The option, with the keys of the blocks around it, such as `tls` or `authorization.users`.
    pub option: &'static str,
    /// The value in force; empty where there is none, or where it is not shown in one line.
    pub old: String,
    /// The other value. For lists it says which elements come, go and change. It never holds a secret.
    pub new: String,
    /// What a reload does.
    pub effect: Effect,
}

/// What a reload does about a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// It is in force at once, for everybody.
    Applied,
    /// It is in force for connections that are made from now on.
    NewConnections,
    /// Connected clients are judged anew: who may not be connected any more is closed, and subscriptions that are not
    /// allowed any more end.
    Judged,
    /// It is in force at once; connections beyond the limit are closed, the newest first.
    Closes,
    /// A listener opens, closes or moves. Connected clients stay.
    Moves,
    /// Links to other servers are made and ended as it says; clients stay.
    Links,
    /// The reload is refused: it takes a restart. Holds nats-server's name for the option.
    Restart(&'static str),
}

impl fmt::Display for Effect {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Applied => "applied",
            NewConnections => "applied to new connections",
            Judged => "applied; clients that may not be connected any more are closed",
            Closes => "applied; connections beyond the limit are closed",
            Moves => "the listener opens, closes or moves; connected clients stay",
            Links => "applied to the links to other servers",
            Restart(_) => "needs a restart",
        })
    }
}

impl Change {
    /// The line for the log, in nats-server's words where it has any.
    #[must_use]
    pub fn notice(&self) -> String {
        let Self { option, new, .. } = self;
        let words = match *option {
            "client_advertise" => return format!("Reload: client_advertise = {new}"),
            "no_fast_producer_stall" if new == "true" => "fast producers will not be stalled",
            "no_fast_producer_stall" => "fast producers will be stalled",
            "server_tags" => "tags",
            "server_metadata" => "metadata",
            "authorization.user" => "authorization username",
            "authorization.password" => "authorization password",
            "authorization.token" => "authorization token",
            "authorization.users" => "authorization users",
            "authorization.timeout" => return format!("Reloaded: authorization timeout = {new}"),
            "accounts" => "accounts",
            "cluster.routes" => "cluster routes",
            option if option.starts_with("cluster") => "cluster",
            "tls.timeout" => return format!("Reloaded: tls timeout = {new}"),
            option if new.is_empty() => option,
            option => return format!("Reloaded: {option} = {new}"),
        };
        format!("Reloaded: {words}")
    }
}

impl fmt::Display for Change {
    /// A line for people: `max_payload: 1048576 -> 1024 (applied)`.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            option,
            old,
            new,
            effect,
        } = self;
        match (old.as_str(), new.as_str()) {
            ("", "") => write!(formatter, "{option}: changed ({effect})"),
            ("", new) => write!(formatter, "{option}: {new} ({effect})"),
            (old, "") => write!(formatter, "{option}: {old} -> none ({effect})"),
            (old, new) => write!(formatter, "{option}: {old} -> {new} ({effect})"),
        }
    }
}

/// How an option is compared.
enum Content {
    /// By its value, which may be shown.
    Shown(fn(&Options) -> String),
    /// By more than may be shown, or fits into a line: what differs, in words.
    Hidden(fn(&Options, &Options) -> Option<String>),
}

/// All options, with what a reload does about each. `listen` is `host` and `port`, `http` and `https` are theirs.
#[rustfmt::skip]
static WATCHED: &[(&str, Effect, Content)] = &[
    // Server
    ("host", Moves, Shown(|o| if o.listens_on_tcp { o.host.clone() } else { String::new() })),
    ("port", Moves, Shown(|o| if o.listens_on_tcp { o.port.to_string() } else { String::new() })),
    ("unix_socket", Moves, Hidden(|old, new| differ(&old.unix_socket, &new.unix_socket, || {
        shown(new.unix_socket.as_ref().map(|socket| socket.path.display()))
    }))),
    ("server_name", Restart("ServerName"), Shown(|o| shown(o.server_name.as_ref()))),
    ("client_advertise", NewConnections, Shown(|o| shown(o.client_advertise.as_ref()))),
    ("server_tags", Applied, Shown(|o| o.server_tags.join(", "))),
    ("server_metadata", Applied, Shown(|o| pairs(&o.server_metadata))),
    ("feature_flags", Applied, Shown(|o| pairs(&o.feature_flags))),
    ("pid_file", Applied, Shown(|o| shown(o.pid_file.as_ref().map(|path| path.display())))),
    ("ports_file_dir", Applied, Shown(|o| shown(o.ports_file_dir.as_ref().map(|path| path.display())))),
    // Logging
    ("debug", Applied, Shown(|o| o.log.debug.to_string())),
    ("trace", Applied, Shown(|o| o.log.trace.to_string())),
    ("trace_verbose", Applied, Shown(|o| o.log.trace_verbose.to_string())),
    ("trace_headers", Applied, Shown(|o| o.log.trace_headers.to_string())),
    ("max_traced_msg_len", Applied, Shown(|o| o.log.max_traced_message_bytes.unwrap_or(0).to_string())),
    ("logtime", Applied, Shown(|o| o.log.logtime.to_string())),
    ("logtime_utc", Applied, Shown(|o| o.log.logtime_utc.to_string())),
    ("log_format", Applied, Shown(|o| match o.log.format {
        LogFormat::Text => "text".to_owned(),
        LogFormat::Json => "json".to_owned(),
    })),
    ("log_file", Applied, Shown(|o| shown(o.log.file.as_ref().map(|path| path.display())))),
    ("log_size_limit", Applied, Shown(|o| o.log.size_limit.unwrap_or(0).to_string())),
    ("log_max_num", Applied, Shown(|o| o.log.max_files.unwrap_or(0).to_string())),
    ("syslog", Applied, Shown(|o| o.log.syslog.to_string())),
    ("remote_syslog", Applied, Shown(|o| shown(o.log.remote_syslog.as_ref()))),
    // Limits
    ("max_connections", Closes, Shown(|o| o.max_connections.to_string())),
    ("max_connections_per_ip", NewConnections, Shown(|o| o.max_connections_per_ip.unwrap_or(0).to_string())),
    ("max_subscriptions", Closes, Shown(|o| o.max_subscriptions.unwrap_or(0).to_string())),
    ("max_subscription_tokens", Applied, Shown(|o| shown(o.max_subscription_tokens))),
    ("max_control_line", Applied, Shown(|o| o.max_control_line.to_string())),
    ("max_payload", Applied, Shown(|o| o.max_payload.map_or(-1, i64::from).to_string())),
    ("max_pending", Applied, Shown(|o| o.max_pending.to_string())),
    ("memory_budget", Applied, Shown(|o| shown(o.memory_budget))),
    ("lame_duck_on_term", Applied, Shown(|o| o.lame_duck_on_term.to_string())),
    ("max_closed_clients", Applied, Shown(|o| o.max_closed_clients.to_string())),
    ("ping_interval", Applied, Shown(|o| format_duration(o.ping_interval))),
    ("ping_max", Applied, Shown(|o| o.ping_max.to_string())),
    ("write_deadline", Applied, Shown(|o| format_duration(o.write_deadline))),
    ("write_timeout", Applied, Shown(|o| match o.write_timeout {
        WriteTimeout::Default => "default".to_owned(),
        WriteTimeout::Close => "close".to_owned(),
        WriteTimeout::Retry => "retry".to_owned(),
    })),
    ("no_fast_producer_stall", Applied, Shown(|o| o.no_fast_producer_stall.to_string())),
    ("no_header_support", Applied, Shown(|o| o.no_header_support.to_string())),
    ("lame_duck_duration", Applied, Shown(|o| format_duration(o.lame_duck_duration))),
    ("lame_duck_grace_period", Applied, Shown(|o| format_duration(o.lame_duck_grace_period))),
    // Authorization
    ("authorization.user", Judged, Shown(|o| shown(o.authorization.user.as_ref()))),
    ("authorization.password", Judged, Hidden(|old, new| {
        differ(&old.authorization.password, &new.authorization.password, String::new)
    })),
    ("authorization.token", Judged, Hidden(|old, new| {
        differ(&old.authorization.token, &new.authorization.token, String::new)
    })),
    ("authorization.timeout", NewConnections, Shown(|o| o.authentication_timeout().as_secs_f64().to_string())),
    ("authorization.users", Judged, Hidden(|old, new| {
        let of = |options: &Options| (options.authorization.written, options.authorization.users_defined);
        let (old_users, new_users) = (&old.authorization.users, &new.authorization.users);
        let listed = lists_differ(old_users, new_users, |user| user.identity.name().to_owned());
        listed.or_else(|| differ(&of(old), &of(new), String::new))
    })),
    ("authorization.default_permissions", Judged, Hidden(|old, new| {
        differ(&old.authorization.default_permissions, &new.authorization.default_permissions, String::new)
    })),
    ("authorization.auth_callout", Judged, Hidden(|old, new| {
        differ(&old.authorization.auth_callout, &new.authorization.auth_callout, String::new)
    })),
    ("no_auth_user", Judged, Shown(|o| shown(o.no_auth_user.as_ref()))),
    ("accounts", Judged, Hidden(|old, new| {
        lists_differ(&old.accounts, &new.accounts, |account| account.name.clone())
    })),
    ("system_account", Restart("SystemAccount"), Shown(|o| shown(o.system_account.as_ref()))),
    ("no_system_account", Restart("NoSystemAccount"), Shown(|o| o.no_system_account.to_string())),
    ("top_subjects", Applied, Shown(|o| o.top_subjects.to_string())),
    ("mappings", Applied, Hidden(|old, new| {
        lists_differ(&old.mappings, &new.mappings, |mapping| mapping.source.clone())
    })),
    // TLS
    ("tls", NewConnections, Hidden(|old, new| differ(&old.tls, &new.tls, || {
        if new.tls.is_some() { "enabled".to_owned() } else { "disabled".to_owned() }
    }))),
    ("allow_non_tls", NewConnections, Shown(|o| o.allow_non_tls.to_string())),
    // Monitoring
    ("http", Moves, Shown(|o| shown(o.monitoring.host.as_ref()))),
    ("http_port", Moves, Shown(|o| shown(o.monitoring.http_port))),
    ("https_port", Moves, Shown(|o| shown(o.monitoring.https_port))),
    ("http_base_path", Applied, Shown(|o| shown(o.monitoring.base_path.as_ref()))),
    ("http_user", Applied, Shown(|o| shown(o.monitoring.user.as_ref()))),
    ("http_password", Applied, Hidden(|old, new| differ(&old.monitoring.password, &new.monitoring.password, String::new))),
    ("http_token", Applied, Hidden(|old, new| differ(&old.monitoring.token, &new.monitoring.token, String::new))),
    // Cluster
    ("cluster.host", Restart("cluster host"), Shown(|o| shown(o.cluster.as_ref().map(|cluster| &cluster.host)))),
    ("cluster.port", Restart("cluster port"), Shown(|o| shown(o.cluster.as_ref().and_then(|cluster| cluster.port)))),
    ("cluster.name", Restart("cluster name"), Shown(|o| shown(o.cluster.as_ref().and_then(|cluster| cluster.name.as_ref())))),
    ("cluster.routes", Links, Hidden(|old, new| {
        let routes = |options: &Options| options.cluster.as_ref().map(|cluster| cluster.routes.clone());
        let name = |route: &RouteUrl| format!("{}:{}", route.host, route.port.unwrap_or(DEFAULT_ROUTE_PORT));
        lists_differ(&routes(old).unwrap_or_default(), &routes(new).unwrap_or_default(), name)
    })),
    ("cluster.authorization", Links, Hidden(|old, new| {
        let of = |options: &Options| options.cluster.as_ref().map(|cluster| cluster.authorization.clone());
        differ(&of(old), &of(new), String::new)
    })),
    ("cluster.tls", NewConnections, Hidden(|old, new| {
        let of = |options: &Options| options.cluster.as_ref().map(|cluster| cluster.tls.clone());
        differ(&of(old), &of(new), String::new)
    })),
    ("cluster.ping_interval", NewConnections, Hidden(|old, new| differ(&link_times(old), &link_times(new), String::new))),
    ("cluster", Links, Hidden(|old, new| differ(&agreed_upon(old), &agreed_upon(new), String::new))),
    ("connect_error_reports", Applied, Shown(|o| o.connect_error_reports.to_string())),
    ("reconnect_error_reports", Applied, Shown(|o| o.reconnect_error_reports.to_string())),
    // Without effect
    ("store_dir", Applied, Shown(|o| shown(o.store_dir.as_ref().map(|path| path.display())))),
    ("disable_sublist_cache", Applied, Shown(|o| o.disable_sublist_cache.to_string())),
];

/// What is different in `new`. Where something was written, and in which order lists of users, accounts and mappings
/// are, makes no difference; nor does a port that the system chooses.
#[must_use]
pub fn changes(old: &Options, new: &Options) -> Vec<Change> {
    let (old, mut new) = (without_places(old), without_places(new));
    keep_chosen_ports(&old, &mut new);
    let difference = |(option, effect, content): &(&'static str, Effect, Content)| {
        let (old, new) = match content {
            Shown(show) => (show(&old), show(&new)),
            Hidden(difference) => (String::new(), difference(&old, &new)?),
        };
        let hidden = matches!(content, Hidden(_));
        (hidden || old != new).then_some(Change {
            option,
            old,
            new,
            effect: *effect,
        })
    };
    WATCHED.iter().filter_map(difference).collect()
}

/// The options that changes are known of, with what a reload does about each.
pub fn watched() -> impl Iterator<Item = (&'static str, Effect)> {
    WATCHED.iter().map(|(option, effect, _)| (*option, *effect))
}

/// Time limits of links and how they are dialed.
fn link_times(options: &Options) -> Option<impl PartialEq + use<>> {
    let cluster = options.cluster.as_ref()?;
    let times = (
        cluster.ping_interval,
        cluster.ping_max,
        cluster.write_deadline,
    );
    Some((times, cluster.connect_retries, cluster.connect_backoff))
}

/// The rest of the block: what servers agree upon when a link is made.
fn agreed_upon(options: &Options) -> Option<Cluster> {
    let mut cluster = options.cluster.clone()?;
    cluster.host.clear();
    (cluster.port, cluster.name, cluster.tls) = (None, None, None);
    (
        cluster.ping_interval,
        cluster.ping_max,
        cluster.write_deadline,
    ) = (None, None, None);
    (cluster.connect_retries, cluster.connect_backoff) = (0, false);
    cluster.routes.clear();
    cluster.authorization = Authorization::default();
    Some(cluster)
}

/// A port that the system is to choose is satisfied by the one that is open.
fn keep_chosen_ports(old: &Options, new: &mut Options) {
    let open = |old: Option<u16>, new: &mut Option<u16>| {
        if *new == Some(0) && old.is_some() {
            *new = old;
        }
    };
    open(old.monitoring.http_port, &mut new.monitoring.http_port);
    open(old.monitoring.https_port, &mut new.monitoring.https_port);
    if new.port == 0 && old.listens_on_tcp {
        new.port = old.port;
    }
    if let (Some(old), Some(new)) = (&old.cluster, &mut new.cluster) {
        open(old.port, &mut new.port);
    }
}

fn shown(value: Option<impl fmt::Display>) -> String {
    value.map_or_else(String::new, |value| value.to_string())
}

fn pairs(values: &BTreeMap<String, impl fmt::Display>) -> String {
    let pairs = values.iter().map(|(name, value)| format!("{name}={value}"));
    pairs.collect::<Vec<_>>().join(", ")
}

fn differ<T: PartialEq>(old: &T, new: &T, words: impl FnOnce() -> String) -> Option<String> {
    (old != new).then(words)
}

/// Which elements of a list come, go and change, whatever their order.
fn lists_differ<T: PartialEq>(old: &[T], new: &[T], name: fn(&T) -> String) -> Option<String> {
    let by_name = |list: &[T]| -> BTreeMap<String, usize> {
        let names = list.iter().enumerate();
        names
            .map(|(index, element)| (name(element), index))
            .collect()
    };
    let (before, after) = (by_name(old), by_name(new));
    let gone = before.keys().filter(|name| !after.contains_key(*name));
    let added = after.keys().filter(|name| !before.contains_key(*name));
    let changed = before.iter().filter(|(name, index)| {
        let other = after.get(*name).and_then(|index| new.get(*index));
        other.is_some() && other != old.get(**index)
    });
    let groups: [(&str, Vec<&String>); 3] = [
        ("added", added.collect()),
        ("removed", gone.collect()),
        ("changed", changed.map(|(name, _)| name).collect()),
    ];
    let words = groups.iter().filter(|(_, names)| !names.is_empty());
    let words = words.map(|(verb, names)| {
        let names: Vec<&str> = names.iter().map(|name| name.as_str()).collect();
        format!("{verb} {}", names.join(", "))
    });
    let words = words.collect::<Vec<_>>().join("; ");
    (!words.is_empty()).then_some(words)
}

/// The same options as if all had been written in one place.
fn without_places(options: &Options) -> Options {
    let mut options = options.clone();
    let place = super::Place::Assignment(String::new());
    let users = |users: &mut Vec<User>| {
        for user in users.iter_mut() {
            user.place.clone_from(&place);
        }
        users.sort_by(|one, other| one.identity.name().cmp(other.identity.name()));
    };
    let mappings = |mappings: &mut Vec<Mapping>| {
        for mapping in mappings {
            mapping.place.clone_from(&place);
        }
    };
    users(&mut options.authorization.users);
    mappings(&mut options.mappings);
    for account in &mut options.accounts {
        let Account {
            users: own_users,
            mappings: own_mappings,
            exports,
            imports,
            ..
        } = account;
        users(own_users);
        mappings(own_mappings);
        for export in exports {
            export.place.clone_from(&place);
        }
        for import in imports {
            import.place.clone_from(&place);
        }
        account.place.clone_from(&place);
    }
    if let Some(cluster) = &mut options.cluster {
        users(&mut cluster.authorization.users);
        for route in &mut cluster.routes {
            route.place.clone_from(&place);
        }
        cluster.place.clone_from(&place);
    }
    let cluster_tls = options
        .cluster
        .as_mut()
        .and_then(|cluster| cluster.tls.as_mut());
    for tls in options.tls.as_mut().into_iter().chain(cluster_tls) {
        tls.place.clone_from(&place);
    }
    options
}

#[cfg(test)]
mod tests {
    use super::super::load_text;
    use super::super::options::table::list;
    use super::*;

    fn between(old: &str, new: &str) -> Vec<Change> {
        let load = |text: &str| load_text(text, "f", true).unwrap().options;
        changes(&load(old), &load(new))
    }

    #[test]
    fn where_and_in_which_order_things_are_written_is_no_change() {
        let old = "accounts { A { users: [{user: a, password: p}, {user: b, password: p}], imports: [], mappings { x: y } }, B {} }
            cluster { port: 1, routes: [\"nats://a:1\"] }\nport: 4222";
        let new = "\n\nlisten: \"0.0.0.0:4222\"
            accounts { B {}, A { mappings { x: y }, users: [{user: b, password: p}, {user: a, password: p}] } }

            cluster { routes: [\"nats://a:1\"], listen: \"0.0.0.0:1\" }";
        assert_eq!(between(old, new), []);
    }

    #[test]
    fn lists_tell_what_comes_goes_and_changes_and_no_secret() {
        let users = |users: &str| format!("authorization {{ users: [{users}] }}");
        let old =
            users("{user: a, password: one}, {user: b, password: two}, {user: c, password: three}");
        let new = users(
            "{user: d, password: four}, {user: b, password: five}, {user: c, password: three}",
        );
        let changed = between(&old, &new);
        let line = "authorization.users: added d; removed a; changed b (applied; clients that may not be connected any \
                    more are closed)";
        assert_eq!(changed[0].to_string(), line);
        assert_eq!(changed[0].notice(), "Reloaded: authorization users");
        assert_eq!(changed.len(), 1);
        let secrets = between("authorization {token: abc}", "authorization {token: def}");
        let shown = format!("{secrets:?}{}{}", secrets[0], secrets[0].notice());
        assert!(!shown.contains("abc") && !shown.contains("def"), "{shown}");
    }

    /// Every option has its say here, and the table tells the same as the reload does.
    #[test]
    fn every_option_is_watched() {
        for option in list().iter().filter(|option| option.path.len() == 1) {
            let key = option.about.key;
            // These are other ways to write host and port.
            if option.missing.is_some() || ["listen", "https"].contains(&key) {
                continue;
            }
            let block = format!("{key}.");
            let mut effects =
                watched().filter(|(name, _)| *name == key || name.starts_with(&block));
            let live = effects
                .next()
                .map(|(_, effect)| !matches!(effect, Restart(_)));
            let known = live.unwrap_or_else(|| panic!("nobody watches {key}"));
            assert_eq!(option.live(), known, "{key}");
        }
    }
}
