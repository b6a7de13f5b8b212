//! The `midge` binary.
use midge::broker::registry::Broker;
use midge::conn::Timeouts;
use midge::link::client::*;
use midge::server::*;
use std::sync::Arc;
use std::time::Duration;

#[derive(Debug)]
struct Open(Arc<Broker>);
impl Authenticate for Open {
    fn is_required(&self) -> bool {
        false
    }
    fn authenticate(
        &self,
        _: &midge::proto::info::ConnectOptions,
        broker: &Broker,
    ) -> Option<Identity> {
        Some(Identity {
            account: broker.global_account().clone(),
            user: String::new(),
        })
    }
}
#[tokio::main]
async fn main() {
    let port = std::env::args().nth(1).map_or(4222, |p| p.parse().unwrap());
    let s = Server::start(ServerOptions {
        name: None,
        host: "127.0.0.1".into(),
        port,
        advertise: None,
        limits: Limits::default(),
        timeouts: Timeouts {
            ping_interval: Duration::from_secs(120),
            ping_max: 2,
            write_deadline: Duration::from_secs(10),
            introduction: None,
        },
        lame_duck_duration: Duration::from_secs(120),
        lame_duck_grace_period: Duration::from_secs(10),
        authenticate: Box::new(Open(Arc::new(Broker::default()))),
    })
    .await
    .unwrap();
    eprintln!("Listening for client connections on {}", s.client_address());
    tokio::signal::ctrl_c().await.unwrap();
    s.shutdown().await;
}
