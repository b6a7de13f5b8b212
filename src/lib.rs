//! Midge: a NATS server as a library.
pub mod auth;
pub mod config;
pub mod logging;
pub mod process;
pub mod signals;
