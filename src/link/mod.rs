//! The kinds of peers: what each does with the bytes that come from it.

pub mod client;
pub mod context;
pub mod internal;
mod report;
pub mod route;
mod traced;
