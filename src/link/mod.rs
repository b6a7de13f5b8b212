//! The kinds of peers: what each does with the bytes that come from it.

pub mod client;
pub mod context;
pub mod internal;
pub mod route;
mod traced;
