//! Midge: a NATS server, as a library.
//!
//! [`server::Server`] is a whole server to embed. It listens where it is told, serves until it is shut
//! down, installs no signal handlers, never ends the process and keeps nothing in globals, so that
//! several can run side by side on any Tokio runtime.
//!
//! ```
//! use std::time::Duration;
//!
//! use midge::server::Server;
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # tokio::runtime::Runtime::new()?.block_on(async {
//! let configuration = "listen: \"127.0.0.1:-1\""; // any port that is free
//! let server = Server::builder().configuration(configuration)?.start().await?;
//! println!("nats://{}", server.client_address());
//!
//! let client = server.local_client("$G");
//! let mut questions = client.subscribe("double.*", Some("workers"))?;
//! let service = client.clone();
//! tokio::spawn(async move {
//!     while let Some(question) = questions.next().await {
//!         let answer = question.payload.repeat(2);
//!         let _ = service.publish(&question.reply.unwrap_or_default(), answer).await;
//!     }
//! });
//! let answer = client.request("double.text", "ha", Duration::from_secs(5)).await?;
//! assert_eq!(answer.payload, b"haha");
//!
//! server.shutdown().await;
//! # Ok(())
//! # })
//! # }
//! ```
//!
//! | to | there is |
//! |---|---|
//! | start it from options, a configuration text, or listeners that are bound already | [`server::Server::builder`] |
//! | know when it is ready, tell it to leave or to end | [`ready`](server::Server::ready), [`lame_duck`](server::Server::lame_duck), [`shutdown`](server::Server::shutdown) |
//! | publish, subscribe and request by function calls | [`local_client`](server::Server::local_client) |
//! | give a client library a stream | [`connect_in_process`](server::Server::connect_in_process) |
//! | change users, limits and certificates | [`reload`](server::Server::reload) |
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
//! | 4 kinds of peers | [`link`] what operations of clients and of other servers do |
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
