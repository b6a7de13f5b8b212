//! The `midge` binary.
use midge::broker::registry::Broker;
use midge::conn::Timeouts;
use midge::link::client::{Authenticate, Identity, Limits};
use midge::process::{Ports, PortsFile, listener_urls};
use midge::server::{Server, ServerOptions};
use midge::signals::{ServerSignal, SignalStream};
use std::time::Duration;

#[derive(Debug)]
struct Open;
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
    let (mut host, mut port, mut dir) = ("0.0.0.0".to_owned(), 4222, None);
    let mut log = midge::logging::LogOptions::default();
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        let (name, value) = match argument.split_once('=') {
            Some((name, value)) => (name.to_owned(), Some(value.to_owned())),
            None => (argument, None),
        };
        let mut value = || {
            value
                .clone()
                .or_else(|| arguments.next())
                .unwrap_or_default()
        };
        match name.trim_start_matches('-') {
            "p" | "port" => port = value().parse::<i32>().unwrap_or(0).max(0) as u16,
            "a" | "addr" => host = value(),
            "ports_file_dir" => dir = Some(value()),
            "DV" => (log.debug, log.trace) = (true, true),
            _ => {}
        }
    }
    let handle = midge::logging::install(&log).unwrap();
    let server = Server::start(ServerOptions {
        name: None,
        host,
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
        authenticate: Box::new(Open),
    })
    .await
    .unwrap();
    let address = server.client_address();
    tracing::info!("Listening for client connections on {address}");
    tracing::info!("Server is ready");
    if let Some(dir) = dir {
        let ports = Ports {
            nats: listener_urls("nats", address),
            ..Ports::default()
        };
        PortsFile::write(std::path::Path::new(&dir), &ports).unwrap();
    }
    let mut signals = SignalStream::new().unwrap();
    loop {
        match signals.next().await {
            ServerSignal::LameDuck => {
                let server = server.clone();
                tokio::spawn(async move { server.lame_duck().await });
            }
            _ => break,
        }
    }
    server.shutdown().await;
    drop(handle);
}
