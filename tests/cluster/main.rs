//! Servers as a cluster: the pure mesh under a simulated network, and real processes of both kinds.
//!
//! With `MIDGE_NATS_SERVER` set to the path of nats-server 2.15.1, or with the one that the peers'
//! preparation has installed, clusters are made of both kinds of server.

#![expect(
    clippy::expect_used,
    clippy::print_stderr,
    clippy::print_stdout,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "helpers of tests: a failed step fails the test, what was skipped is printed, and \
              waiting with a deadline reads the clock"
)]

mod client;
mod clients;
mod faults;
mod features;
mod lanes;
mod mixed;
mod node;
mod party;
mod proxy;
mod random;
mod secure;
mod simulation;
mod traced;
#[path = "../shared/wait.rs"]
mod wait;
