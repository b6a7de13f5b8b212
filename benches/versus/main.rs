//! Midge and nats-server side by side: `cargo bench --bench versus`.
//!
//! Every scenario starts a fresh server process on a random loopback port, drives it with raw sockets
//! and reads the cost from the kernel's accounting. The two servers take turns, round by round, and
//! the medians are compared. `docs/performance.md` explains the method.

#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a command-line program reports on its standard streams"
)]
#![expect(clippy::disallowed_methods, reason = "a benchmark reads the clock")]

mod chart;
mod cluster;
mod documents;
mod flow;
mod frames;
mod idle;
mod interference;
mod limits;
mod loopback;
mod measure;
mod options;
mod process;
mod publish;
mod receive;
mod report;
mod requests;
mod rows;
mod runner;
mod scenarios;
mod self_check;
mod startup;
mod subscriptions;
mod throughput;
mod tls_storm;
mod wire;

use std::error::Error;
use std::process::ExitCode;

/// What a step of the benchmark gives; the error text is for the person who runs it.
pub(crate) type Outcome<T> = Result<T, Box<dyn Error + Send + Sync>>;

fn main() -> ExitCode {
    match runner::run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("versus: {failure}");
            ExitCode::FAILURE
        }
    }
}
