//! From the configuration to what the cluster takes.

use std::sync::Arc;

use ring::rand::{SecureRandom, SystemRandom};

use super::mesh::Endpoint;
use super::{ClusterOptions, ClusterTls, ConfiguredRoute, Login};
use crate::auth::{AuthRules, Authenticator, PermissionRules, Permissions, Secret, SubjectRules};
use crate::config::Options;
use crate::config::options::authorization::DEFAULT_AUTHENTICATION_TIMEOUT;
use crate::config::options::cluster::{
    Cluster, Compression, DEFAULT_ROUTE_PORT, MAXIMUM_ROUTE_PING_INTERVAL, RouteUrl,
};
use crate::config::options::permissions::SubjectPermission;
use crate::conn::Timeouts;
use crate::conn::compression::Level;
use crate::link::route::compression::CompressionMode;
use crate::proto::route_info::SubjectLists;
use crate::tls::TlsOptions;

impl ClusterOptions {
    /// What the configuration asks for; `None` where it asks for no cluster. `secured` is what its block
    /// `tls` says about handshakes.
    ///
    /// # Errors
    /// Each rule that makes no sense.
    pub fn from_config(
        options: &Options,
        secured: Option<TlsOptions>,
    ) -> Result<Option<Self>, Vec<String>> {
        let Some(cluster) = &options.cluster else {
            return Ok(None);
        };
        let Some(port) = cluster.port else {
            return Ok(None);
        };
        let import = cluster
            .permissions
            .as_ref()
            .and_then(|permissions| permissions.publish.as_ref());
        let export = cluster
            .permissions
            .as_ref()
            .and_then(|permissions| permissions.subscribe.as_ref());
        Ok(Some(Self {
            name: cluster.name.clone(),
            host: cluster.host.clone(),
            port,
            advertise: cluster
                .advertise
                .as_deref()
                .map(|text| split_address(text, port)),
            no_advertise: cluster.no_advertise,
            routes: cluster.routes.iter().map(configured_route).collect(),
            login: login(
                cluster.authorization.user.as_ref(),
                cluster.authorization.password.as_ref(),
            ),
            authenticator: authenticator(cluster)?,
            permissions: permissions(cluster)?,
            import: import.map(subject_lists),
            export: export.map(subject_lists),
            pool_size: cluster.pool_size,
            lanes: cluster.lanes,
            accounts: cluster.accounts.clone(),
            tls: tls(cluster, secured)?,
            compression: compression(&cluster.compression),
            connect_retries: cluster.connect_retries,
            connect_backoff: cluster.connect_backoff,
            timeouts: timeouts(options, cluster),
        }))
    }
}

fn timeouts(options: &Options, cluster: &Cluster) -> Timeouts {
    let interval = cluster.ping_interval.unwrap_or(options.ping_interval);
    let introduction = cluster.authorization.timeout;
    Timeouts {
        ping_interval: interval.min(MAXIMUM_ROUTE_PING_INTERVAL),
        ping_max: cluster.ping_max.unwrap_or(options.ping_max),
        write_deadline: cluster.write_deadline.unwrap_or(options.write_deadline),
        introduction: Some(introduction.unwrap_or(DEFAULT_AUTHENTICATION_TIMEOUT)),
    }
}

fn tls(
    cluster: &Cluster,
    secured: Option<TlsOptions>,
) -> Result<Option<Arc<ClusterTls>>, Vec<String>> {
    let (Some(block), Some(secured)) = (&cluster.tls, secured) else {
        return Ok(None);
    };
    let made = ClusterTls::new(cluster, block, secured);
    made.map(|made| Some(Arc::new(made)))
        .map_err(|reason| vec![format!("cluster: {reason}")])
}

fn compression(configured: &Compression) -> CompressionMode {
    match configured {
        Compression::NotSupported => CompressionMode::NotSupported,
        Compression::Off => CompressionMode::Off,
        Compression::Accept => CompressionMode::Accept,
        Compression::Auto(thresholds) => CompressionMode::Auto(thresholds.clone()),
        Compression::Fast => CompressionMode::Always(Level::Fast),
        Compression::Better => CompressionMode::Always(Level::Better),
        Compression::Best => CompressionMode::Always(Level::Best),
    }
}

fn configured_route(url: &RouteUrl) -> ConfiguredRoute {
    ConfiguredRoute {
        endpoint: Endpoint {
            host: url.host.clone(),
            port: url.port.unwrap_or(DEFAULT_ROUTE_PORT),
        },
        login: login(url.user.as_ref(), url.password.as_ref()),
    }
}

fn login(user: Option<&String>, password: Option<&crate::config::Secret>) -> Option<Login> {
    Some(Login {
        user: user?.clone(),
        password: password.cloned().unwrap_or_default(),
    })
}

fn authenticator(cluster: &Cluster) -> Result<Arc<Authenticator>, Vec<String>> {
    let mut random = [0; 32];
    let filled = SystemRandom::new().fill(&mut random);
    filled.map_err(|_| vec!["no randomness for the keys of password digests".to_owned()])?;
    let block = &cluster.authorization;
    let secret = |secret: &crate::config::Secret| Secret::new(secret.expose());
    let rules = AuthRules {
        user: block.user.clone(),
        password: block.password.as_ref().map(secret),
        ..AuthRules::default()
    };
    Authenticator::new(&rules, &random)
        .map_err(|problems| problems.into_iter().map(|problem| problem.text).collect())
}

fn permissions(cluster: &Cluster) -> Result<Option<Arc<Permissions>>, Vec<String>> {
    let Some(configured) = &cluster.permissions else {
        return Ok(None);
    };
    let rules = PermissionRules {
        publish: configured.publish.as_ref().map(subject_rules),
        subscribe: configured.subscribe.as_ref().map(subject_rules),
        responses: None,
    };
    Permissions::compile(&rules).map(|compiled| Some(Arc::new(compiled)))
}

fn subject_rules(configured: &SubjectPermission) -> SubjectRules {
    SubjectRules {
        allow: configured.allow.clone(),
        deny: configured.deny.clone(),
    }
}

fn subject_lists(configured: &SubjectPermission) -> SubjectLists {
    SubjectLists {
        allow: configured.allow.clone(),
        deny: Some(configured.deny.clone()).filter(|deny| !deny.is_empty()),
    }
}

/// `host:port`, or a host alone with the port that is listened on.
fn split_address(text: &str, port: u16) -> (String, u16) {
    let split = text
        .rsplit_once(':')
        .filter(|(host, _)| !host.contains(':') || host.ends_with(']'));
    match split.map(|(host, port)| (host, port.parse())) {
        Some((host, Ok(port))) => (host.trim_matches(['[', ']']).to_owned(), port),
        Some((_, Err(_))) | None => (text.to_owned(), port),
    }
}
