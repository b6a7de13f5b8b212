//! From the configuration to what the server's parts take.

use std::sync::Arc;

use ring::rand::{SecureRandom, SystemRandom};

use super::ServerOptions;
use crate::auth::{
    AccountRules, AuthRules, Authenticator, ConnectionType, PermissionRules, ResponseRules, Secret,
    SubjectRules, UserIdentity, UserRules,
};
use crate::broker::account::SYSTEM_ACCOUNT;
use crate::cluster::ClusterOptions;
use crate::config::Options;
use crate::config::options::authorization::DEFAULT_AUTHENTICATION_TIMEOUT;
use crate::config::options::{accounts, permissions, users};
use crate::conn::Timeouts;
use crate::link::context::{ClientSettings, Limits};
use crate::proto::display::PayloadTrace;

impl ServerOptions {
    /// What the configuration asks for.
    ///
    /// # Errors
    /// Each rule for coming in that makes no sense or leaves a door open.
    pub fn from_config(options: &Options) -> Result<Self, Vec<String>> {
        let ClientSettings {
            limits,
            authenticator,
        } = client_settings(options)?;
        Ok(Self {
            name: options.server_name.clone(),
            host: options.host.clone(),
            port: options.port,
            advertise: options
                .client_advertise
                .as_deref()
                .map(|text| advertised(text, options)),
            limits,
            timeouts: timeouts(options, &authenticator),
            lame_duck_duration: options.lame_duck_duration,
            lame_duck_grace_period: options.lame_duck_grace_period,
            system_account: options
                .system_account
                .clone()
                .unwrap_or_else(|| SYSTEM_ACCOUNT.to_owned()),
            authenticator,
            accounts: options
                .accounts
                .iter()
                .map(|account| account.name.clone())
                .collect(),
            cluster: ClusterOptions::from_config(options)?,
        })
    }
}

/// What clients may do and who may come in.
///
/// # Errors
/// As [`ServerOptions::from_config`].
pub fn client_settings(options: &Options) -> Result<ClientSettings, Vec<String>> {
    Ok(ClientSettings {
        limits: limits(options),
        authenticator: authenticator(options)?,
    })
}

/// Time limits of clients.
#[must_use]
pub fn timeouts(options: &Options, authenticator: &Authenticator) -> Timeouts {
    let configured = options.authorization.timeout;
    let introduction = configured.unwrap_or(DEFAULT_AUTHENTICATION_TIMEOUT);
    Timeouts {
        ping_interval: options.ping_interval,
        ping_max: options.ping_max,
        write_deadline: options.write_deadline,
        introduction: authenticator.is_required().then_some(introduction),
    }
}

fn limits(options: &Options) -> Limits {
    let size = |bytes: u64| usize::try_from(bytes).unwrap_or(usize::MAX);
    Limits {
        max_control_line: size(options.max_control_line.into()),
        max_payload: options.max_payload.map(|bytes| size(bytes.into())),
        max_pending: size(options.max_pending),
        max_connections: size(options.max_connections),
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

/// `host:port`, or a host alone with the port that is listened on.
fn advertised(text: &str, options: &Options) -> (String, u16) {
    let split = text
        .rsplit_once(':')
        .filter(|(host, _)| !host.contains(':') || host.ends_with(']'));
    match split.map(|(host, port)| (host, port.parse())) {
        Some((host, Ok(port))) => (host.trim_matches(['[', ']']).to_owned(), port),
        Some((_, Err(_))) | None => (text.to_owned(), options.port),
    }
}

fn authenticator(options: &Options) -> Result<Arc<Authenticator>, Vec<String>> {
    let mut random = [0; 32];
    let filled = SystemRandom::new().fill(&mut random);
    filled.map_err(|_| vec!["no randomness for the keys of password digests".to_owned()])?;
    Authenticator::new(&auth_rules(options), &random)
        .map_err(|problems| problems.into_iter().map(|problem| problem.text).collect())
}

fn auth_rules(options: &Options) -> AuthRules {
    let block = &options.authorization;
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
        certificate_listeners: Vec::new(),
    }
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
