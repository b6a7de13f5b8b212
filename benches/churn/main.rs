//! Memory of a cluster under churn: `cargo bench --bench churn`.
//!
//! Three nodes, of which one lives throughout while the others are ended and started again in turns, one
//! of them killed. Clients come to all nodes, subscribe, publish, request, unsubscribe and go, half of
//! them without a word. At the end all clients have gone, and no node may still know of any interest.

#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a command-line program reports on its standard streams"
)]
#![expect(
    clippy::disallowed_methods,
    reason = "what runs for a given time reads the clock"
)]

mod load;
mod node;
mod options;

use std::error::Error;
use std::process::ExitCode;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use load::{Load, Tally};
use node::Node;
use options::Options;

/// What a step gives; the error text is for the person who runs it.
type Outcome<T> = Result<T, Box<dyn Error + Send + Sync>>;

/// How long nodes may take to link, and to forget what clients wanted.
const PATIENCE: Duration = Duration::from_secs(60);

/// The node that lives throughout may be this much larger in the last quarter than in the second one.
const GROWTH_LIMIT: f64 = 1.10;

/// Resident memory of the nodes at one moment.
#[derive(Debug)]
struct Sample {
    at: Duration,
    bytes: Vec<u64>,
    /// Subscriptions that the node that lives throughout knows of.
    interest: u64,
}

fn main() -> ExitCode {
    match run(&Options::from_command_line()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("churn: {failure}");
            ExitCode::FAILURE
        }
    }
}

fn run(options: &Options) -> Outcome<()> {
    let mut nodes = start_cluster(options)?;
    wait_until_idle(&nodes)?;
    let addresses: Vec<_> = nodes.iter().map(Node::address).collect();
    let load = Load::start(&addresses, options.visits_per_second);
    let samples = watch(options, &mut nodes, &load.tally)?;
    let visited = load.stop();
    report(options, &samples, &visited);
    let left = wait_until_idle(&nodes)?;
    println!("all clients have gone: interest that each node knows {left:?}");
    if options.smoke {
        return visited.is_plausible();
    }
    visited.is_plausible()?;
    judge(&samples)
}

fn start_cluster(options: &Options) -> Outcome<Vec<Node>> {
    let mut nodes: Vec<Node> = Vec::new();
    for name in ["steady", "stopped", "killed"] {
        let seeds: Vec<u16> = nodes.iter().map(Node::route_port).collect();
        nodes.push(Node::start(&options.midge, name, &seeds)?);
    }
    Ok(nodes)
}

/// Waits until all nodes are linked and know of the same interest, that of their own services; returns it.
fn wait_until_idle(nodes: &[Node]) -> Outcome<Vec<u64>> {
    let began = Instant::now();
    loop {
        let known: Outcome<Vec<u64>> = nodes.iter().map(Node::interest).collect();
        let clients: Outcome<Vec<u64>> = nodes.iter().map(Node::clients).collect();
        let linked = nodes
            .iter()
            .all(|node| node.members().is_ok_and(|count| count == nodes.len()));
        if let (Ok(known), Ok(clients)) = (&known, &clients)
            && linked
            && clients.iter().all(|count| *count == 0)
            && known.windows(2).all(|pair| pair.first() == pair.last())
        {
            return Ok(known.clone());
        }
        if began.elapsed() > PATIENCE {
            return Err(format!(
                "not idle: linked {linked}, interest {known:?}, clients {clients:?}"
            )
            .into());
        }
        thread::sleep(Duration::from_millis(100));
    }
}

/// Samples memory and restarts nodes until the time is over.
fn watch(options: &Options, nodes: &mut [Node], tally: &Arc<Tally>) -> Outcome<Vec<Sample>> {
    let began = Instant::now();
    let mut samples = Vec::new();
    let mut restarts = 0;
    while began.elapsed() < options.duration {
        thread::sleep(options.sample_interval);
        let bytes: Outcome<Vec<u64>> = nodes.iter().map(Node::resident_memory).collect();
        let steady = nodes.first().ok_or("no nodes")?;
        let sample = Sample {
            at: began.elapsed(),
            bytes: bytes?,
            interest: steady.interest()?,
        };
        println!("{}", line(&sample, tally));
        samples.push(sample);
        if began.elapsed() > options.restart_interval * (restarts + 1) {
            restarts += 1;
            let kill = restarts % 2 == 0;
            let name = if kill { "killed" } else { "stopped" };
            if let Some(node) = nodes.iter_mut().find(|node| node.name() == name) {
                node.restart(kill)?;
            }
        }
    }
    println!("{restarts} restarts");
    Ok(samples)
}

fn line(sample: &Sample, tally: &Tally) -> String {
    let seconds = sample.at.as_secs();
    let sizes: Vec<String> = sample.bytes.iter().map(|bytes| mebibytes(*bytes)).collect();
    let (sizes, interest) = (sizes.join("  "), sample.interest);
    format!("{seconds:5} s  {sizes} MiB  interest {interest}  {tally}")
}

#[expect(clippy::cast_precision_loss, reason = "shown with one decimal")]
fn mebibytes(bytes: u64) -> String {
    format!("{:6.1}", bytes as f64 / f64::from(1 << 20))
}

/// The table for the documentation: medians of each sixth of the time.
fn report(options: &Options, samples: &[Sample], visited: &Tally) {
    println!("\n| minutes | steady | stopped | killed |\n|---|---|---|---|");
    let parts = 6;
    for part in 0..parts {
        let (from, to) = (
            options.duration * part / parts,
            options.duration * (part + 1) / parts,
        );
        let medians: Vec<String> = (0..3)
            .map(|node| mebibytes(median(samples, node, from, to)))
            .collect();
        let [from, to] = [from, to].map(|time| time.as_secs_f64() / 60.0);
        println!("| {from:.0} to {to:.0} | {} |", medians.join(" | "));
    }
    println!("\n{visited}");
}

/// The median of a node's memory over a time; 0 without samples.
fn median(samples: &[Sample], node: usize, from: Duration, to: Duration) -> u64 {
    let within = samples
        .iter()
        .filter(|sample| from <= sample.at && sample.at < to);
    let mut bytes: Vec<u64> = within
        .filter_map(|sample| sample.bytes.get(node).copied())
        .collect();
    bytes.sort_unstable();
    bytes.get(bytes.len() / 2).copied().unwrap_or_default()
}

/// The node that lives throughout does not grow.
#[expect(clippy::cast_precision_loss, reason = "a ratio of sizes")]
fn judge(samples: &[Sample]) -> Outcome<()> {
    let end = samples.last().map_or(Duration::ZERO, |sample| sample.at) + Duration::from_millis(1);
    let early = median(samples, 0, end / 4, end / 2) as f64;
    let late = median(samples, 0, end * 3 / 4, end) as f64;
    let growth = late / early;
    println!("the steady node: {growth:.3} times its size between the second and the last quarter");
    if growth > GROWTH_LIMIT {
        return Err(format!("it has grown by more than {GROWTH_LIMIT}").into());
    }
    Ok(())
}
