//! Midge: a NATS server as a library.
pub mod cli;
pub mod config;
pub mod logging;
