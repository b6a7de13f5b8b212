//! The NATS client protocol as pure functions over bytes: no sockets, clocks, locks or randomness.
//!
//! [`parse`] turns a slice of received bytes into an [`op::Op`] that borrows it, [`encode`] writes what a
//! server sends, [`info`] holds the two JSON documents, [`headers`] the header block, and [`error`] every
//! error text that a peer can see; [`route`] and [`route_info`] are what the servers of a cluster speak.

pub mod args;
pub mod display;
pub mod encode;
pub mod error;
pub mod headers;
pub mod info;
mod json;
pub mod message_trace;
pub mod op;
pub mod parse;
pub mod quick;
pub mod request_info;
pub mod route;
pub mod route_info;
