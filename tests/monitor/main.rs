//! Monitoring: its pages, its services in the system account and its dashboard.
//!
//! The pages are compared key by key with those of the real nats-server under the same load. The peer is
//! the program that `MIDGE_NATS_SERVER` names, or the one that the peers' preparation put into its cache;
//! without it those tests are skipped, and fail when `CI` is `true`.

#![expect(
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "tests say what they skip, and waiting with a deadline reads the clock"
)]

#[cfg(test)]
mod browser;
#[cfg(test)]
mod cli;
#[cfg(test)]
mod clustered;
#[cfg(test)]
mod compared;
#[cfg(test)]
mod embedded;
#[cfg(test)]
mod hot;
#[cfg(test)]
mod http;
#[cfg(test)]
mod links;
#[cfg(test)]
mod pages;
#[cfg(test)]
mod servers;
#[cfg(test)]
mod services;
#[cfg(test)]
mod shape;
#[cfg(test)]
mod slow;
#[cfg(test)]
mod tls;
#[cfg(test)]
mod traced;
#[cfg(test)]
#[path = "../shared/wait.rs"]
mod wait;
