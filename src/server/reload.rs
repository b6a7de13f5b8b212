//! Another configuration for a server that runs: everything is made ready first, and only when all of it succeeded is
//! it put in force.

use std::collections::HashMap;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use tokio::sync::OwnedSemaphorePermit;

use super::account_settings::account_settings;
use super::doors::{Bound, Place};
use super::settings::{advertised, client_settings, client_tls, cluster_options};
use super::{ClientTls, GivenListeners, Inner, Server, max_payload_told, secure};
use crate::broker::close::CloseReason;
use crate::broker::peer::Peer;
use crate::broker::registry::PreparedAccounts;
use crate::cluster::{ClusterOptions, Relink, client_urls};
use crate::config::Options;
use crate::config::changes::{Change, Effect, changes};
use crate::link::context::ClientSettings;
use crate::proto::encode;
use crate::proto::error::ProtocolError;
use crate::tls::{GateLimits, HandshakeGate};

/// How long a reload waits until every connection has taken it over. One that sends its last bytes may take longer.
const PATIENCE: Duration = Duration::from_secs(1);

/// Between two looks whether they have.
const PAUSE: Duration = Duration::from_millis(2);

/// A configuration that can be put in force. What it needs is there already: files are read, and new listeners hold
/// their ports. When it is dropped, nothing of that remains.
pub struct PreparedReload {
    changes: Vec<Change>,
    options: Arc<Options>,
    settings: ClientSettings,
    accounts: PreparedAccounts,
    tls: Option<Arc<ClientTls>>,
    cluster: Option<ClusterOptions>,
    places: Vec<Place>,
    bound: Vec<Bound>,
    /// Others wait until it is in force or dropped.
    turn: OwnedSemaphorePermit,
}

impl fmt::Debug for PreparedReload {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let changes = &self.changes;
        let mut shown = formatter.debug_struct("PreparedReload");
        shown.field("changes", changes).finish_non_exhaustive()
    }
}

impl PreparedReload {
    /// What it changes.
    #[must_use]
    pub fn changes(&self) -> &[Change] {
        &self.changes
    }

    /// What TLS of the client listener warns of.
    #[must_use]
    pub fn warnings(&self) -> Vec<String> {
        let tls = self.tls.as_deref();
        tls.map(ClientTls::warnings).unwrap_or_default()
    }
}

impl Server {
    /// Puts another configuration in force; what it changed. Connected clients are judged by it: those that may not be
    /// connected any more are closed, and subscriptions that are not allowed any more end.
    ///
    /// # Errors
    /// Why not; nothing has changed then.
    pub async fn reload(&self, options: &Options) -> Result<Vec<Change>, String> {
        let prepared = self.prepare_reload(options).await?;
        let changes = prepared.changes.clone();
        self.apply_reload(prepared).await;
        Ok(changes)
    }

    /// Makes another configuration ready. It waits until the one that was made ready before it is in force or dropped, so
    /// nobody may ask for a second one while holding the first.
    ///
    /// # Errors
    /// Why it cannot be put in force; nothing has changed then.
    pub async fn prepare_reload(&self, options: &Options) -> Result<PreparedReload, String> {
        let inner = &self.inner;
        let turn = Arc::clone(&inner.reloads).acquire_owned().await;
        let turn = turn.map_err(|error| error.to_string())?;
        if inner.closing_listeners.is_cancelled() {
            return Err("the server is about to end".to_owned());
        }
        let changes = changes(&inner.monitor.options(), options);
        refuse_fixed(&changes)?;
        super::settings::check_monitoring(options)?;
        let tls = client_tls(options)?;
        if tls.is_some() {
            inner.start_gate().map_err(|error| error.to_string())?;
        }
        let authenticator = Arc::clone(&inner.context.settings().authenticator);
        let settings = client_settings(options, tls.as_deref(), Some(&authenticator))
            .map_err(|reasons| reasons.join("; "))?;
        let broker = &inner.context.broker;
        let accounts = broker.prepare(&account_settings(options), &inner.own)?;
        let cluster = cluster_options(options).map_err(|reasons| reasons.join("; "))?;
        let places = Place::all(options);
        let bound = inner
            .doors
            .prepare(&places, GivenListeners::default())
            .await;
        Ok(PreparedReload {
            changes,
            options: Arc::new(options.clone()),
            settings,
            accounts,
            tls,
            cluster,
            bound: bound.map_err(|error| error.to_string())?,
            places,
            turn,
        })
    }

    /// Puts a configuration in force that was made ready. When it returns, connections have taken it over, but for those
    /// that were held up for a second.
    pub async fn apply_reload(&self, prepared: PreparedReload) {
        let inner = &self.inner;
        let PreparedReload {
            changes,
            options,
            settings,
            accounts,
            tls,
            cluster,
            places,
            bound,
            turn: _turn,
        } = prepared;
        inner.context.broker.put_in_force(accounts);
        inner.put_tls(tls);
        inner.monitor.reconfigure(Arc::clone(&options));
        inner.put_lame_duck(options.lame_duck_duration, options.lame_duck_grace_period);
        let address = bound.iter().find_map(Bound::client_address);
        inner.change_info(&options, &settings, address);
        let most = settings.limits.max_connections;
        let before = inner.context.replace_settings(settings);
        inner.close_excess(most);
        let closing = inner.doors.switch(inner, &places, bound);
        if let (Some(links), Some(cluster)) = (&inner.cluster, cluster) {
            let advertise = options.client_advertise.as_deref();
            let advertise = advertise.map(|text| advertised(text, &options));
            let port = inner.doors.client_address().port();
            let urls = client_urls(advertise.as_ref(), &options.host, port);
            links.reconfigure(cluster, urls, relink(&changes));
        }
        let taken_over = async {
            while Arc::strong_count(&before) > 1 {
                tokio::time::sleep(PAUSE).await;
            }
        };
        let _ = tokio::time::timeout(PATIENCE, taken_over).await;
        for door in closing {
            // The next reload may want its address again.
            let _ = door.await;
        }
    }
}

/// Which links to other servers end.
fn relink(changes: &[Change]) -> Relink {
    let has = |option: &str| changes.iter().any(|change| change.option == option);
    Relink {
        all: has("cluster"),
        accepted: has("cluster.authorization"),
    }
}

/// What cannot change while the server runs, in nats-server's words.
fn refuse_fixed(changes: &[Change]) -> Result<(), String> {
    let fixed = changes.iter().filter_map(|change| {
        let Effect::Restart(name) = change.effect else {
            return None;
        };
        let Change { old, new, .. } = change;
        let refusal = format!("config reload not supported for {name}: old={old}, new={new}");
        Some(refusal)
    });
    let fixed: Vec<String> = fixed.collect();
    if fixed.is_empty() {
        return Ok(());
    }
    Err(fixed.join("; "))
}

impl Inner {
    /// Starts the threads for handshakes, if they are not there.
    pub(super) fn start_gate(&self) -> io::Result<()> {
        if self.gate.get().is_none() {
            let gate = HandshakeGate::start(GateLimits::default())?;
            let _ = self.gate.set(Arc::new(gate));
        }
        Ok(())
    }

    /// Puts another TLS in force for new connections, or none. Clients whose key is not pinned any more are closed.
    pub(super) fn put_tls(&self, tls: Option<Arc<ClientTls>>) {
        if let Some(tls) = &tls {
            self.listeners.spawn(secure::keep_fresh(
                Arc::downgrade(tls),
                self.closing_listeners.clone(),
            ));
            for peer in self.context.broker.peers() {
                let certificate = peer.tls().map(|facts| facts.peer_certificate.as_deref());
                if certificate.is_some_and(|certificate| !tls.admits(certificate)) {
                    peer.close(CloseReason::TlsHandshakeError);
                }
            }
        }
        *self.tls.write().unwrap_or_else(PoisonError::into_inner) = tls;
    }

    /// Lets INFO tell new clients what holds now; `moved` is where the listener is to be, if it moves.
    fn change_info(&self, options: &Options, settings: &ClientSettings, moved: Option<SocketAddr>) {
        let port = moved.unwrap_or_else(|| self.doors.client_address()).port();
        let advertise = options.client_advertise.as_deref();
        let (host, port) = advertise.map_or_else(
            || (options.host.clone(), port),
            |text| advertised(text, options),
        );
        self.context.change_info(|info| {
            info.host = host.into();
            info.port = port;
            info.headers = settings.limits.headers;
            info.max_payload = max_payload_told(&settings.limits);
        });
    }

    /// Closes the newest connections that are too many now: of the server, and of each account.
    fn close_excess(&self, most: usize) {
        let broker = &self.context.broker;
        let mut peers = broker.peers();
        peers.retain(|peer| peer.condition().closing.is_none());
        peers.sort_unstable_by_key(|peer| peer.id());
        let excess = peers.split_off(most.min(peers.len()));
        for peer in &excess {
            let reason = CloseReason::MaximumConnectionsExceeded;
            turn_away(peer, &ProtocolError::MaximumConnections, reason);
        }
        if !excess.is_empty() {
            let count = excess.len();
            tracing::info!("Closed {count} connections to fall within max_connections");
        }
        let mut counts: HashMap<Arc<str>, usize> = HashMap::new();
        for peer in peers {
            let Some(introduction) = peer.introduction() else {
                continue;
            };
            let account = Arc::clone(&introduction.account);
            let known = broker.existing_account(&account);
            let most = known.and_then(|account| account.rules().limits.max_connections);
            let count = counts.entry(account).or_default();
            *count += 1;
            if most.is_some_and(|most| *count > most) {
                let reason = CloseReason::MaximumAccountConnectionsExceeded;
                turn_away(&peer, &ProtocolError::MaximumAccountConnections, reason);
            }
        }
    }
}

/// Closes a client that is one too many.
fn turn_away(peer: &Peer, error: &ProtocolError, reason: CloseReason) {
    tracing::error!(cid = peer.id(), "{} - {}", peer.label(), error.text());
    if peer.send(&encode::error(error)) {
        peer.flush();
    }
    peer.close(reason);
}
