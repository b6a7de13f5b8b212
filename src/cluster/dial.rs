//! Connecting to another server.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpStream, lookup_host};
use tokio::time::timeout;

use super::mesh::{GoalId, Target};
use super::{ConfiguredRoute, Inner, Made, names, now};
use crate::broker::security::TlsFacts;
use crate::conn::transport::{ReadHalf, WriteHalf, split_tcp};

/// How long a connection may take to be made.
const PATIENCE: Duration = Duration::from_secs(1);

/// Where a name leads.
enum Found {
    /// To one of its addresses that is not this server's own, taken at random: the name may stand for
    /// all servers of the cluster, and the others are told about by the one that is reached.
    Other(SocketAddr),
    /// Only to this server.
    Self_,
}

/// Dials once and tells the mesh how it went. Names are resolved at each attempt.
pub(super) async fn dial(inner: Arc<Inner>, goal: GoalId, target: Target, account: Option<String>) {
    let stopping = inner.stopping.clone();
    let outcome = tokio::select! {
        biased;
        () = stopping.cancelled() => return,
        outcome = connect(&inner, &target) => outcome,
    };
    match outcome {
        Ok(Some(((halves, tls), address))) => {
            let login = login(&inner, &target);
            inner.open(Made {
                halves,
                tls,
                address,
                dialed: Some((goal, account)),
                login,
            });
        }
        Ok(None) => inner.input(|state, now| state.mesh.dialed_self(goal, now)),
        Err(error) => {
            let endpoint = &target.endpoint;
            let text = format!(
                "Error trying to connect to route {}:{}: {error}",
                endpoint.host, endpoint.port
            );
            inner.complaints.log_text(text, now());
            inner.input(|state, now| state.mesh.dial_failed(goal, now));
        }
    }
}

/// Halves of a connection, and how it is secured.
type Connected = ((ReadHalf, WriteHalf), Option<TlsFacts>);

async fn connect(inner: &Inner, target: &Target) -> io::Result<Option<(Connected, SocketAddr)>> {
    let Some((stream, address)) = connect_plain(inner, target).await? else {
        return Ok(None);
    };
    // Small messages must not wait for an acknowledgement of earlier ones. Should the option fail the
    // socket is broken already, which the first read tells.
    let _ = stream.set_nodelay(true);
    let connected = match &inner.options().tls {
        None => (split_tcp(stream), None),
        Some(tls) => {
            let (read, write, facts) = tls.dial(stream, &target.endpoint.host).await?;
            ((read, write), Some(facts))
        }
    };
    Ok(Some((connected, address)))
}

async fn connect_plain(
    inner: &Inner,
    target: &Target,
) -> io::Result<Option<(TcpStream, SocketAddr)>> {
    let connected = timeout(PATIENCE, async {
        let address = match resolve(inner, target).await? {
            Found::Other(address) => address,
            Found::Self_ => return Ok(None),
        };
        tracing::debug!("Trying to connect to route on {address}");
        TcpStream::connect(address)
            .await
            .map(|stream| Some((stream, address)))
    });
    connected
        .await
        .unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
}

async fn resolve(inner: &Inner, target: &Target) -> io::Result<Found> {
    let endpoint = &target.endpoint;
    if let Ok(ip) = endpoint.host.parse::<IpAddr>() {
        return Ok(Found::Other(SocketAddr::new(ip, endpoint.port)));
    }
    let found: Vec<SocketAddr> = lookup_host((&*endpoint.host, endpoint.port))
        .await?
        .collect();
    let own = names::own_addresses();
    let is_self = |address: &&SocketAddr| {
        address.port() == inner.address.port() && own.contains(&address.ip().to_canonical())
    };
    let others: Vec<&SocketAddr> = found.iter().filter(|address| !is_self(address)).collect();
    let draw = usize::try_from(names::random() >> 1)
        .unwrap_or(0)
        .checked_rem(others.len());
    match draw.and_then(|draw| others.get(draw)) {
        Some(address) => Ok(Found::Other(**address)),
        None if found.is_empty() => Err(io::Error::new(
            io::ErrorKind::NotFound,
            "the name has no address",
        )),
        None => Ok(Found::Self_),
    }
}

/// What to present: what the route's URL names, or else what this server asks of others.
fn login(inner: &Inner, target: &Target) -> Option<super::Login> {
    let is_target = |route: &&ConfiguredRoute| target.explicit && route.endpoint == target.endpoint;
    let options = inner.options();
    let routes = &options.routes;
    let named = routes
        .iter()
        .find(is_target)
        .and_then(|route| route.login.clone());
    named.or_else(|| options.login.clone())
}
