//! How much a user or an account may publish in each second: the block `rate_limit`.

use super::read::{optional_limit, set};
use super::row::{About, Kind, Row, abouts, read_block};
use crate::config::diagnostic::Problems;
use crate::config::value::Entry;

/// Most messages and bytes in each second, over all connections together; none is without a limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RateLimit {
    /// Messages.
    pub messages: Option<u64>,
    /// Bytes of headers and payloads.
    pub bytes: Option<u64>,
}

/// The options of a block `rate_limit`.
static RATE_LIMIT: &[Row<RateLimit>] = &[
    of_rate_limit("messages", Kind::Integer, "0")
        .document("Messages in each second, over all connections; 0 is without a limit.")
        .store(|d, e, p| set(&mut d.messages, optional_limit(e, i64::MAX, p))),
    of_rate_limit("bytes", Kind::Size, "0")
        .document("Bytes of messages in each second, over all connections; 0 is without a limit.")
        .store(|d, e, p| set(&mut d.bytes, optional_limit(e, i64::MAX, p))),
];

const fn of_rate_limit(key: &'static str, kind: Kind, default: &'static str) -> Row<RateLimit> {
    Row::new(key, kind, default)
}

/// A block `rate_limit`; none if it limits nothing.
pub(crate) fn rate_limit(entry: &Entry, problems: &mut Problems) -> Option<RateLimit> {
    let mut limit = RateLimit::default();
    read_block(RATE_LIMIT, &mut limit, entry, problems);
    (limit != RateLimit::default()).then_some(limit)
}

/// What there is to say about the options of a block `rate_limit`.
pub(crate) fn about() -> Vec<&'static About> {
    abouts(RATE_LIMIT)
}
