//! What a server does for its accounts: it is a peer of theirs, and cleans up behind them.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::{Inner, ServerOptions};
use crate::broker::deliver::Deliveries;
use crate::broker::imports::NoWire;
use crate::broker::peer::{Facts, Peer};
use crate::broker::sharing::OwnServer;
use crate::proto::info::Info;

/// How often requests from account to account that are late are looked for. An answer that comes late
/// is dropped in any case.
const LATE_REQUESTS_INTERVAL: Duration = Duration::from_secs(1);

/// Forgets requests from account to account that nobody answered, until the server ends.
pub(super) async fn forget_late_requests(server: Arc<Inner>) {
    let mut deliveries = Deliveries::new(super::random());
    let pause = || tokio::time::sleep(LATE_REQUESTS_INTERVAL);
    while server.stopping.run_until_cancelled(pause()).await.is_some() {
        #[expect(clippy::disallowed_methods, reason = "the edges read the clock")]
        let now = Instant::now();
        for account in server.context.broker.accounts() {
            deliveries.expire_requests(&account, now);
        }
        deliveries.flush(now);
    }
}

/// The server as a peer of its accounts.
pub(super) fn own_server(options: &ServerOptions, info: &Info) -> OwnServer {
    let facts = Facts {
        id: 0,
        ip: String::new(),
        port: 0,
        began: super::newcomer::clocks(),
        nonce: String::new(),
        label: "server".to_owned(),
        unix_user: None,
        in_process: false,
    };
    OwnServer {
        name: info.server_name.to_string(),
        cluster: options.cluster_name.clone(),
        peer: Arc::new(Peer::new(facts, Box::new(NoWire), 0)),
    }
}
