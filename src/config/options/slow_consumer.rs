//! What becomes of messages for a connection that does not drain what waits for it: `slow_consumer`.

use super::read::text;
use super::row::Kind;
use crate::config::diagnostic::{Diagnostic, Problems};
use crate::config::value::Entry;

/// What becomes of messages for a connection whose backlog is full.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SlowConsumer {
    /// It is cut, as nats-server does it.
    Disconnect,
    /// What does not fit any more is dropped.
    DropNew,
    /// The oldest is dropped.
    DropOld,
    /// Publishers wait.
    Block,
}

const CHOICES: [(&str, SlowConsumer); 4] = [
    ("disconnect", SlowConsumer::Disconnect),
    ("drop_new", SlowConsumer::DropNew),
    ("drop_old", SlowConsumer::DropOld),
    ("block", SlowConsumer::Block),
];

pub(super) const KIND: Kind = Kind::Choice(&["disconnect", "drop_new", "drop_old", "block"]);

pub(super) const DOCUMENT: &str = "When more than max_pending waits: cut the connection, drop the new or the old, or pause publishers.";

pub(super) const ERROR_DOCUMENT: &str = "Tell slow connections with -ERR 'Slow Consumer'; some clients then give up instead of connecting again.";

pub(super) fn slow_consumer(entry: &Entry, problems: &mut Problems) -> Option<SlowConsumer> {
    let word = text(entry, problems)?;
    let known = CHOICES.iter().find(|(name, _)| *name == word);
    if known.is_none() {
        let message = format!("unknown slow consumer policy {word:?}");
        let fix = "write disconnect, drop_new, drop_old or block";
        problems.error(Diagnostic::new(entry.place(), message).fix(fix));
    }
    known.map(|(_, policy)| *policy)
}
