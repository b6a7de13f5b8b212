//! Midge: a NATS server, as a library.
//!
//! [`server::Server`] is a whole server to embed. It listens where it is told, serves until it is shut
//! down, installs no signal handlers, never ends the process and keeps nothing in globals, so that
//! several can run side by side on any Tokio runtime.
//!
//! ```
//! use std::io::{BufRead, BufReader, Write};
//!
//! use midge::config::Options;
//! use midge::server::{Server, ServerOptions};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let options = Options {
//!     host: "127.0.0.1".to_owned(),
//!     port: 0, // any that is free
//!     ..Options::default()
//! };
//! let options = ServerOptions::from_config(&options).map_err(|mistakes| mistakes.join("\n"))?;
//! let runtime = tokio::runtime::Runtime::new()?;
//! let server = runtime.block_on(Server::start(options))?;
//!
//! let mut client = std::net::TcpStream::connect(server.client_address())?;
//! client.write_all(b"CONNECT {\"verbose\":false}\r\n")?;
//! client.write_all(b"SUB greet.* 1\r\nPUB greet.world 5\r\nhello\r\n")?;
//! let mut lines = BufReader::new(client).lines();
//! let info = lines.next().transpose()?;
//! assert!(info.is_some_and(|line| line.starts_with("INFO {")));
//! assert_eq!(lines.next().transpose()?.as_deref(), Some("MSG greet.world 1 5"));
//! assert_eq!(lines.next().transpose()?.as_deref(), Some("hello"));
//!
//! runtime.block_on(server.shutdown());
//! # Ok(())
//! # }
//! ```
//!
//! A configuration file, variables and `key=value` pairs are read by [`config::load`]. Log lines are
//! [`tracing`] events; [`logging::install`] brings them where a server's log goes, and a program that
//! installs its own subscriber gets them there.
//!
//! # The map
//!
//! A module uses those of its own layer and of the layers below, and no others.
//!
//! | layer | modules |
//! |---|---|
//! | 5 edges | [`daemon`] a server as a process · [`server`] a server to embed · [`config`] · [`cli`] · [`logging`] · [`signals`] · [`process`] · [`tls`] · [`monitor`], [`http`], [`system`] what a server tells of itself |
//! | 4 kinds of peers | [`link`] what a client's operations do |
//! | 3 connections | [`conn`] one task each: read, turn, flush, timers, end |
//! | 2 shared state | [`broker`] accounts, peers, delivery · [`auth`] who comes in, and what they may do |
//! | 1 structures | [`routing`] who wants what · [`outbound`] what waits for a peer |
//! | 0 bytes and words | [`proto`] parse and encode · [`subject`] subjects and filters |
//!
//! Modules other than [`server`], [`config`], [`logging`] and what those mention are public for tests, benches
//! and the curious; they change without notice before version 1.
pub mod auth;
pub mod broker;
pub mod cli;
pub mod cluster;
pub mod config;
pub mod conn;
pub mod daemon;
pub mod http;
pub mod link;
pub mod logging;
pub mod monitor;
pub mod outbound;
pub mod process;
pub mod proto;
pub mod routing;
pub mod server;
pub mod signals;
pub mod subject;
pub mod system;
pub mod tls;

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
