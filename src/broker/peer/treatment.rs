//! What is chosen for connections that are slow.

use std::collections::HashMap;

/// What becomes of messages for a connection that has a full backlog and takes no bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum SlowPolicy {
    /// The connection is cut, as nats-server does it.
    #[default]
    Disconnect,
    /// Messages that do not fit any more are dropped.
    DropNew,
    /// The oldest messages are dropped to make room.
    DropOld,
    /// Publishers wait, each for as long as a write may take at most.
    Block,
}

/// How connections are treated when they are slow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SlowTreatment {
    /// What becomes of the messages.
    pub policy: SlowPolicy,
    /// Whether the peer is told with `-ERR 'Slow Consumer'`. Client libraries may take that as final and not
    /// connect again.
    pub tells: bool,
}

/// How users and accounts are treated, by their names.
#[derive(Debug, Default)]
pub struct SlowTable {
    /// What becomes of their messages.
    pub policies: Choices<SlowPolicy>,
    /// Whether they are told.
    pub errors: Choices<bool>,
}

/// What has been chosen for users and for accounts, by their names.
#[derive(Debug, Default)]
pub struct Choices<T> {
    /// For users and nkeys; they come before those for accounts.
    pub users: HashMap<String, T>,
    /// For accounts.
    pub accounts: HashMap<String, T>,
}

impl<T: Copy + Default> Choices<T> {
    fn of(&self, user: Option<&str>, account: &str) -> T {
        let user = user.and_then(|user| self.users.get(user));
        let choice = user.or_else(|| self.accounts.get(account));
        choice.copied().unwrap_or_default()
    }
}

impl SlowTable {
    /// How a client of this user and account is treated.
    #[must_use]
    pub fn of(&self, user: Option<&str>, account: &str) -> SlowTreatment {
        SlowTreatment {
            policy: self.policies.of(user, account),
            tells: self.errors.of(user, account),
        }
    }
}
