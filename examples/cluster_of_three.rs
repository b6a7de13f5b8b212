//! Three servers as one: clients at different nodes reach each other, and move when a node ends.
//!
//! ```sh
//! cargo run --example cluster_of_three
//! ```
#![expect(clippy::print_stdout, reason = "an example shows what happens")]

mod shared;

use std::error::Error;
use std::time::Duration;

use midge::server::Server;
use shared::Client;
use tokio::runtime::Runtime;

/// How long the servers may take to find each other.
const PATIENCE: Duration = Duration::from_secs(10);

fn main() -> Result<(), Box<dyn Error>> {
    // One node is known from the beginning, the others are told about by it.
    let (runtime, seed) = start("a", "")?;
    let port = seed.cluster().ok_or("no cluster")?.address().port();
    let route = format!("nats://127.0.0.1:{port}");
    let (second_runtime, second) = start("b", &route)?;
    let (third_runtime, third) = start("c", &route)?;
    for server in [&seed, &second, &third] {
        let found = async { tokio::time::timeout(PATIENCE, server.ready(2)).await };
        if runtime.block_on(found) != Ok(true) {
            return Err("the servers do not find each other".into());
        }
        println!(
            "{} at {} has found the others",
            server.name(),
            server.client_address()
        );
    }

    let mut worker = Client::connect(second.client_address())?;
    worker.subscribe("jobs", "workers")?;
    let mut boss = Client::connect(third.client_address())?;
    // Nobody waits for the news of a subscription to reach the other nodes: it takes a moment.
    wait_for(|| {
        let account = third.clients().broker.global_account();
        !account.interest().is_empty()
    })?;
    for job in 1..=3 {
        boss.publish("jobs", &format!("job {job}"))?;
    }
    for _ in 1..=3 {
        let message = worker.next()?;
        println!(
            "at {}: {} from a client of {}",
            second.name(),
            message.payload,
            third.name()
        );
    }

    runtime.block_on(seed.shutdown());
    println!("{} has ended", seed.name());
    boss.publish("jobs", "the others go on")?;
    println!("at {}: {}", second.name(), worker.next()?.payload);
    second_runtime.block_on(second.shutdown());
    third_runtime.block_on(third.shutdown());
    Ok(())
}

/// Starts a node that dials `route`, if it is one.
fn start(name: &str, route: &str) -> Result<(Runtime, Server), Box<dyn Error>> {
    let routes = format!("[ {route} ]");
    shared::start(&[
        ("server_name", name),
        ("cluster.name", "example"),
        ("cluster.listen", "127.0.0.1:-1"),
        ("cluster.routes", &routes),
    ])
}

/// Waits until something is true.
fn wait_for(is_true: impl Fn() -> bool) -> Result<(), Box<dyn Error>> {
    let step = Duration::from_millis(10);
    let mut waited = Duration::ZERO;
    while !is_true() {
        if waited > PATIENCE {
            return Err("the subscription is not heard of".into());
        }
        std::thread::sleep(step);
        waited += step;
    }
    Ok(())
}
