//! From the configuration to what the server's parts take.

use std::sync::Arc;

use ring::rand::{SecureRandom, SystemRandom};

use super::account_settings::{account_settings, cluster_name};
use super::{ClientTls, ClientTlsOptions, GivenListeners, ServerOptions};
use crate::auth::{
    AccountRules, AuthRules, Authenticator, ConnectionType, PermissionRules, ResponseRules, Secret,
    SubjectRules, UserIdentity, UserRules,
};
use crate::broker::account::SYSTEM_ACCOUNT;
use crate::broker::peer::treatment::{Choices, SlowPolicy, SlowTable};
use crate::broker::rate::{Rate, RateLimit, RateTable};
use crate::cluster::ClusterOptions;
use crate::config::Options;
use crate::config::options::rate_limit::RateLimit as ConfiguredRate;
use crate::config::options::slow_consumer::SlowConsumer;
use crate::config::options::tls::{Tls, TlsVersion as ConfiguredVersion};
use crate::config::options::{accounts, permissions, users};
use crate::conn::Timeouts;
use crate::link::context::{ClientSettings, Limits};
use crate::process::memory_limit;
use crate::proto::display::PayloadTrace;
use crate::tls::{CertificateFiles, PinnedCertificates, TlsOptions, TlsVersion};

impl ServerOptions {
    /// What the configuration asks for.
    ///
    /// # Errors
    /// Each rule for coming in that makes no sense or leaves a door open.
    pub fn from_config(options: &Options) -> Result<Self, Vec<String>> {
        check_monitoring(options).map_err(|mistake| vec![mistake])?;
        let tls = client_tls(options).map_err(|reason| vec![reason])?;
        let ClientSettings {
            limits,
            authenticator,
            rates,
            slow,
            timeouts,
            ..
        } = client_settings(options, tls.as_deref(), None)?;
        Ok(Self {
            name: options.server_name.clone(),
            host: options.host.clone(),
            port: options.port,
            listens_on_tcp: options.listens_on_tcp,
            unix_socket: options.unix_socket.clone(),
            advertise: options
                .client_advertise
                .as_deref()
                .map(|text| advertised(text, options)),
            limits,
            timeouts,
            lame_duck_duration: options.lame_duck_duration,
            lame_duck_grace_period: options.lame_duck_grace_period,
            system_account: options
                .system_account
                .clone()
                .unwrap_or_else(|| SYSTEM_ACCOUNT.to_owned()),
            accounts: account_settings(options),
            cluster_name: cluster_name(options).to_owned(),
            authenticator,
            cluster: cluster_options(options)?,
            configuration: Arc::new(options.clone()),
            tls,
            rates,
            given: GivenListeners::default(),
            slow,
        })
    }
}

/// How the server takes part in a cluster, if it does. Reads the files of its TLS.
pub(super) fn cluster_options(options: &Options) -> Result<Option<ClusterOptions>, Vec<String>> {
    let cluster = options.cluster.as_ref();
    let tls = cluster.and_then(|cluster| cluster.tls.as_ref());
    ClusterOptions::from_config(options, tls.map(tls_options))
}

/// TLS of the client listener, if there is to be one. Reads its files.
///
/// # Errors
/// If a file cannot be used.
pub fn client_tls(options: &Options) -> Result<Option<Arc<ClientTls>>, String> {
    let Some(tls) = &options.tls else {
        return Ok(None);
    };
    let pinned = PinnedCertificates::new(&tls.pinned_certs).map_err(|error| error.to_string())?;
    let made = ClientTls::new(ClientTlsOptions {
        tls: tls_options(tls),
        allow_plain: options.allow_non_tls,
        map_certificate: tls.verify_and_map,
        timeout: tls.timeout_or_default(),
        handshake_first: tls.handshake_first,
        pinned,
        connection_rate_limit: tls.connection_rate_limit,
        serves_monitoring: options.monitoring.https_port.is_some(),
    });
    made.map(|made| Some(Arc::new(made)))
        .map_err(|error| error.to_string())
}

/// What a `tls` block says about handshakes.
fn tls_options(tls: &Tls) -> TlsOptions {
    let single = tls.cert_file.iter().zip(&tls.key_file);
    let several = tls
        .certificates
        .iter()
        .map(|pair| (&pair.cert_file, &pair.key_file));
    let certificates = single
        .chain(several)
        .map(|(cert_file, key_file)| CertificateFiles {
            cert_file: cert_file.clone(),
            key_file: key_file.clone(),
        });
    TlsOptions {
        certificates: certificates.collect(),
        ca_file: tls.ca_file.clone(),
        verify: tls.verify,
        cipher_suites: tls.cipher_suites.clone(),
        allow_insecure_cipher_suites: tls.allow_insecure_cipher_suites,
        curve_preferences: tls.curve_preferences.clone(),
        min_version: match tls.min_version {
            None | Some(ConfiguredVersion::Tls12) => TlsVersion::Tls12,
            Some(ConfiguredVersion::Tls13) => TlsVersion::Tls13,
        },
    }
}

/// Monitoring is served over HTTP or over HTTPS, as on nats-server.
pub(super) fn check_monitoring(options: &Options) -> Result<(), String> {
    match (options.monitoring.http_port, options.monitoring.https_port) {
        (Some(http), Some(https)) => Err(format!(
            "can't specify both HTTP ({http}) and HTTPs ({https}) ports"
        )),
        (None, Some(_)) if options.tls.is_none() => {
            Err("TLS cert and key required for HTTPS".to_owned())
        }
        _ => Ok(()),
    }
}

/// What clients may do and who may come in. Logins under the rules of `previous` can be renewed under those made here.
///
/// # Errors
/// As [`ServerOptions::from_config`].
pub fn client_settings(
    options: &Options,
    tls: Option<&ClientTls>,
    previous: Option<&Authenticator>,
) -> Result<ClientSettings, Vec<String>> {
    let authenticator = authenticator(options, previous)?;
    Ok(ClientSettings {
        limits: limits(options),
        timeouts: timeouts(options, &authenticator),
        authenticator,
        tls: tls.map(ClientTls::terms).unwrap_or_default(),
        rates: Arc::new(rates(options)),
        slow: Arc::new(slow_policies(options)),
    })
}

/// Time limits of clients.
fn timeouts(options: &Options, authenticator: &Authenticator) -> Timeouts {
    let introduction = options.authentication_timeout();
    Timeouts {
        ping_interval: options.ping_interval,
        ping_max: options.ping_max,
        write_deadline: options.write_deadline,
        introduction: authenticator.is_required().then_some(introduction),
    }
}

fn rates(options: &Options) -> RateTable {
    let limit = |name: &str, configured: Option<ConfiguredRate>| {
        let ConfiguredRate { messages, bytes } = configured?;
        let limit = RateLimit::new(Rate { messages, bytes });
        Some((name.to_owned(), Arc::new(limit)))
    };
    let in_accounts = options.accounts.iter().flat_map(|account| &account.users);
    let users = options.authorization.users.iter().chain(in_accounts);
    RateTable {
        users: users
            .filter_map(|user| limit(user.identity.name(), user.rate_limit))
            .collect(),
        accounts: (options.accounts.iter())
            .filter_map(|account| limit(&account.name, account.rate_limit))
            .collect(),
    }
}

fn slow_policies(options: &Options) -> SlowTable {
    let policy = |name: &str, configured: Option<SlowConsumer>| {
        let policy = match configured? {
            SlowConsumer::Disconnect => SlowPolicy::Disconnect,
            SlowConsumer::DropNew => SlowPolicy::DropNew,
            SlowConsumer::DropOld => SlowPolicy::DropOld,
            SlowConsumer::Block => SlowPolicy::Block,
        };
        Some((name.to_owned(), policy))
    };
    let in_accounts = options.accounts.iter().flat_map(|account| &account.users);
    let users = options.authorization.users.iter().chain(in_accounts);
    let error = |name: &str, configured: Option<bool>| Some((name.to_owned(), configured?));
    let accounts = || options.accounts.iter();
    SlowTable {
        policies: Choices {
            users: (users.clone())
                .filter_map(|user| policy(user.identity.name(), user.slow_consumer))
                .collect(),
            accounts: accounts()
                .filter_map(|account| policy(&account.name, account.slow_consumer))
                .collect(),
        },
        errors: Choices {
            users: users
                .filter_map(|user| error(user.identity.name(), user.slow_consumer_error))
                .collect(),
            accounts: accounts()
                .filter_map(|account| error(&account.name, account.slow_consumer_error))
                .collect(),
        },
    }
}

fn limits(options: &Options) -> Limits {
    let size = |bytes: u64| usize::try_from(bytes).unwrap_or(usize::MAX);
    Limits {
        max_control_line: size(options.max_control_line.into()),
        max_payload: options.max_payload.map(|bytes| size(bytes.into())),
        max_pending: size(options.max_pending),
        memory_budget: memory_budget(options),
        max_connections: size(options.max_connections),
        max_connections_per_ip: options
            .max_connections_per_ip
            .map(|count| size(count.into())),
        max_subscriptions: options.max_subscriptions.map(|count| size(count.into())),
        max_subscription_tokens: options.max_subscription_tokens.map(usize::from),
        headers: !options.no_header_support,
        no_fast_producer_stall: options.no_fast_producer_stall,
        trace: PayloadTrace {
            max_bytes: options.log.max_traced_message_bytes.map(size),
            headers_only: options.log.trace_headers,
        },
    }
}

/// What part of the container's memory may wait for all connections together where nobody says how much. Segments
/// are up to twice as large as what is in them, and allocators keep some of what is given back (docs/sidecar.md).
const BUDGET_SHARE: u64 = 4;

/// What may wait for all connections together.
fn memory_budget(options: &Options) -> Option<usize> {
    let bytes = match options.memory_budget {
        Some(0) => None,
        Some(bytes) => Some(bytes),
        None => memory_limit().map(|limit| limit / BUDGET_SHARE),
    };
    bytes.map(|bytes| usize::try_from(bytes).unwrap_or(usize::MAX))
}

/// `host:port`, or a host alone with the port that is listened on.
pub(super) fn advertised(text: &str, options: &Options) -> (String, u16) {
    let split = text
        .rsplit_once(':')
        .filter(|(host, _)| !host.contains(':') || host.ends_with(']'));
    match split.map(|(host, port)| (host, port.parse())) {
        Some((host, Ok(port))) => (host.trim_matches(['[', ']']).to_owned(), port),
        Some((_, Err(_))) | None => (text.to_owned(), options.port),
    }
}

fn authenticator(
    options: &Options,
    previous: Option<&Authenticator>,
) -> Result<Arc<Authenticator>, Vec<String>> {
    let rules = auth_rules(options);
    let made = if let Some(previous) = previous {
        previous.with_rules(&rules)
    } else {
        let mut random = [0; 32];
        let filled = SystemRandom::new().fill(&mut random);
        filled.map_err(|_| vec!["no randomness for the keys of password digests".to_owned()])?;
        Authenticator::new(&rules, &random)
    };
    made.map_err(|problems| problems.into_iter().map(|problem| problem.text).collect())
}

fn auth_rules(options: &Options) -> AuthRules {
    let block = &options.authorization;
    let maps_certificates = options.tls.as_ref().is_some_and(|tls| tls.verify_and_map);
    let secret = |secret: &crate::config::Secret| Secret::new(secret.expose());
    let mut users: Vec<UserRules> = block
        .users
        .iter()
        .map(|user| user_rules(user, None))
        .collect();
    for account in &options.accounts {
        let name = Some(account.name.as_str());
        users.extend(account.users.iter().map(|user| user_rules(user, name)));
    }
    AuthRules {
        authorization_block: block.written,
        user: block.user.clone(),
        password: block.password.as_ref().map(secret),
        token: block.token.as_ref().map(secret),
        users_list: block.users_defined,
        users,
        default_permissions: block.default_permissions.as_ref().map(permission_rules),
        accounts: options.accounts.iter().map(account_rules).collect(),
        system_account: options.system_account.clone(),
        no_auth_user: options.no_auth_user.clone(),
        unix_users: unix_users(options),
        certificate_listeners: if maps_certificates {
            vec![ConnectionType::Standard]
        } else {
            Vec::new()
        },
    }
}

/// Who the machine's users are over the Unix socket.
fn unix_users(options: &Options) -> Vec<(u32, String)> {
    let in_accounts = options.accounts.iter().flat_map(|account| &account.users);
    let users = options.authorization.users.iter().chain(in_accounts);
    let of_user = |user: &users::User| {
        let name = user.identity.name().to_owned();
        let numbers = user.unix_users.clone().into_iter();
        numbers.map(move |number| (number, name.clone()))
    };
    users.flat_map(of_user).collect()
}

fn account_rules(account: &accounts::Account) -> AccountRules {
    AccountRules {
        name: account.name.clone(),
        default_permissions: account.default_permissions.as_ref().map(permission_rules),
    }
}

fn user_rules(user: &users::User, account: Option<&str>) -> UserRules {
    let identity = match &user.identity {
        users::Identity::Password { user, password } => UserIdentity::Password {
            name: user.clone(),
            password: Secret::new(password.expose()),
        },
        users::Identity::Nkey(nkey) => UserIdentity::Nkey(nkey.clone()),
    };
    let types = user.allowed_connection_types.as_deref().unwrap_or_default();
    UserRules {
        identity,
        account: account.map(str::to_owned),
        permissions: user.permissions.as_ref().map(permission_rules),
        allowed_connection_types: types.iter().copied().map(connection_type).collect(),
    }
}

fn connection_type(configured: users::ConnectionType) -> ConnectionType {
    match configured {
        users::ConnectionType::Standard => ConnectionType::Standard,
        users::ConnectionType::Websocket => ConnectionType::WebSocket,
        users::ConnectionType::Leafnode => ConnectionType::LeafNode,
        users::ConnectionType::LeafnodeWebsocket => ConnectionType::LeafNodeWebSocket,
        users::ConnectionType::Mqtt => ConnectionType::Mqtt,
        users::ConnectionType::MqttWebsocket => ConnectionType::MqttWebSocket,
        users::ConnectionType::InProcess => ConnectionType::InProcess,
    }
}

fn permission_rules(configured: &permissions::Permissions) -> PermissionRules {
    PermissionRules {
        publish: configured.publish.as_ref().map(subject_rules),
        subscribe: configured.subscribe.as_ref().map(subject_rules),
        responses: configured
            .allow_responses
            .as_ref()
            .map(|responses| ResponseRules {
                max_messages: responses.max,
                expires: responses.expires,
            }),
    }
}

fn subject_rules(configured: &permissions::SubjectPermission) -> SubjectRules {
    SubjectRules {
        allow: configured.allow.clone(),
        deny: configured.deny.clone(),
    }
}
