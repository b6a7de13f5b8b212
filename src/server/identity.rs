//! The keys that identify a server.

use nkeys::{KeyPair, XKey};

/// Public halves of a server's keys, made anew at each start.
#[derive(Debug)]
pub(super) struct Identity {
    /// Public signing key, `N…`.
    pub(super) id: String,
    /// Public curve key, `X…`.
    pub(super) xkey: String,
}

impl Identity {
    pub(super) fn generate() -> Result<Self, String> {
        let id = KeyPair::new_server().public_key();
        let xkey = XKey::new().public_key();
        if id.is_empty() || xkey.is_empty() {
            return Err("no randomness".to_owned());
        }
        Ok(Self { id, xkey })
    }
}
