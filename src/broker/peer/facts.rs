//! What is known of a connection from the start.

use std::time::{Instant, SystemTime};

/// What is known of a connection before its peer says anything.
#[derive(Debug, Clone)]
pub struct Facts {
    /// The connection's number.
    pub id: u64,
    /// The peer's address; empty where it has none.
    pub ip: String,
    /// The peer's port; 0 where it has none.
    pub port: u16,
    /// When the connection began, by the clock on the wall and by the one that never jumps.
    pub began: (SystemTime, Instant),
    /// The challenge in its INFO, to be signed by clients that log in with a key; empty without one.
    pub nonce: String,
    /// How logs call it at first: `address:port - cid:number`.
    pub label: String,
    /// The number of the machine's user at the other end of a Unix socket.
    pub unix_user: Option<u32>,
    /// Whether the other end is in the server's own process.
    pub in_process: bool,
}

impl Facts {
    /// Whether nobody can listen in between: the other end is on the same machine, and no network between.
    #[must_use]
    pub fn is_local(&self) -> bool {
        self.in_process || self.unix_user.is_some()
    }
}
