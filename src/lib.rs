//! Midge: a NATS server as a library.
pub mod auth;
pub mod broker;
pub mod cli;
pub mod config;
pub mod conn;
pub mod daemon;
pub mod link;
pub mod logging;
pub mod outbound;
pub mod process;
pub mod proto;
pub mod routing;
pub mod server;
pub mod signals;
pub mod subject;
pub mod tls;
