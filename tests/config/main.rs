//! Tests of the configuration and the command line.
//!
//! With `MIDGE_NATS_SERVER` set to the path of nats-server 2.15.1, the tables are put to it as well.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    clippy::wildcard_enum_match_arm,
    reason = "a test fails by panicking, its helpers too"
)]

mod command_line;
mod example;
mod language;
mod mistakes;
mod options;
mod oracle;
mod properties;
mod table;
