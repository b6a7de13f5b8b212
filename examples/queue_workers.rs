//! Three workers share jobs: each job goes to one of them, and when one leaves, the others take over.
//!
//! ```sh
//! cargo run --example queue_workers
//! ```
#![expect(clippy::print_stdout, reason = "an example shows what happens")]

mod shared;

use std::collections::BTreeMap;
use std::error::Error;
use std::io;
use std::net::SocketAddr;
use std::thread::{self, JoinHandle};

use shared::Client;

/// Jobs of each round.
const JOBS: usize = 300;

fn main() -> Result<(), Box<dyn Error>> {
    let (runtime, server) = shared::start(&[])?;
    let address = server.client_address();
    let mut boss = Client::connect(address)?;
    boss.subscribe("done", "")?;

    let mut workers = BTreeMap::new();
    for name in ["Ann", "Bob", "Cid"] {
        workers.insert(name, hire(address, name)?);
    }
    println!("three workers: {:?}", share_out(&mut boss)?);

    boss.publish("leave.Bob", "")?;
    if let Some(bob) = workers.remove("Bob") {
        bob.join().map_err(|_| "a worker panicked")??;
    }
    println!("Bob has left:  {:?}", share_out(&mut boss)?);

    runtime.block_on(server.shutdown());
    Ok(())
}

/// Starts a worker, who is ready when this returns.
fn hire(address: SocketAddr, name: &'static str) -> io::Result<JoinHandle<io::Result<()>>> {
    let mut worker = Client::connect(address)?;
    let jobs = worker.subscribe("jobs", "workers")?;
    worker.subscribe(&format!("leave.{name}"), "")?;
    Ok(thread::spawn(move || {
        while worker.next()?.subject == "jobs" {
            worker.publish("done", name)?;
        }
        // Whoever leaves says so first; what was on its way until then still arrives here.
        worker.unsubscribe(jobs)
    }))
}

/// Publishes the jobs and counts who did how many.
fn share_out(boss: &mut Client) -> io::Result<BTreeMap<String, usize>> {
    for number in 0..JOBS {
        boss.publish("jobs", &number.to_string())?;
    }
    let mut shares = BTreeMap::new();
    for _ in 0..JOBS {
        *shares.entry(boss.next()?.payload).or_default() += 1;
    }
    Ok(shares)
}
