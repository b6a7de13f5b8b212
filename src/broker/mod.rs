//! What connections share, and the decisions about it: accounts and their interest, the registry of
//! peers, delivery, and why a connection ends. No sockets, no timers, no configuration files.

pub mod account;
pub(crate) mod addresses;
pub mod announce;
mod batch;
pub mod budget;
pub mod close;
pub mod closed;
pub mod deliver;
pub mod events;
pub mod forward;
pub mod hot;
pub mod imports;
pub mod lanes;
pub mod latency;
pub mod mappings;
pub mod message_trace;
pub mod peer;
pub mod rate;
pub mod registry;
mod responses;
pub mod rewritten;
mod routed;
pub mod routes;
mod run;
pub mod security;
pub mod sharing;
mod spread;
pub mod stats;
pub mod subscription;
pub mod wishes;
