//! What logs are told of a connection, whatever its kind, and what is wrong with input that makes no sense.

use std::io;
use std::time::Duration;

use crate::broker::close::CloseReason;
use crate::broker::peer::Peer;
use crate::proto::display;
use crate::proto::error::ProtocolError;
use crate::proto::parse::ParseError;

/// Most bytes of a senseless input that a log line shows.
const SNIPPET_BYTES: usize = 32;

/// What follows from input that makes no sense.
#[derive(Debug)]
pub(super) struct Nonsense {
    /// What the peer is told.
    pub(super) told: Option<ProtocolError>,
    /// Why its connection closes.
    pub(super) reason: CloseReason,
    /// What the log is told.
    pub(super) log: String,
}

impl Nonsense {
    /// As nats-server judges it. `reader` is its name for what reads this kind of connection.
    pub(super) fn of(
        error: &ParseError,
        input: &[u8],
        reader: &str,
        max_payload: impl FnOnce() -> usize,
    ) -> Self {
        let (told, reason, log) = match error {
            ParseError::UnknownOperation(at) => {
                let snippet = display::escaped(input.get(..SNIPPET_BYTES).unwrap_or(input));
                (
                    Some(ProtocolError::UnknownOperation),
                    CloseReason::ProtocolViolation,
                    format!("{reader} parser ERROR, i={at}: proto='\"{snippet}\"...'"),
                )
            }
            ParseError::MaximumControlLine(_) => (
                Some(ProtocolError::MaximumControlLine),
                CloseReason::MaximumControlLineExceeded,
                "maximum control line exceeded".to_owned(),
            ),
            ParseError::MaximumPayload(size) => (
                Some(ProtocolError::MaximumPayload),
                CloseReason::MaximumPayloadExceeded,
                format!("maximum payload exceeded: {size} vs {}", max_payload()),
            ),
            ParseError::HeadersNotSupported => (
                None,
                CloseReason::ProtocolViolation,
                "message headers not supported".to_owned(),
            ),
            ParseError::BadArguments(verb) => (
                None,
                CloseReason::ProtocolViolation,
                format!("{verb} Parse Error"),
            ),
        };
        Self { told, reason, log }
    }
}

/// Reading failed: says so to the log, unless the peer has just gone; the reason to close with.
pub(super) fn read_failed(peer: &Peer, error: &io::Error) -> CloseReason {
    if error.kind() == io::ErrorKind::ConnectionReset {
        return CloseReason::ClientClosed;
    }
    log_error(peer, &format!("read error: {error}"));
    CloseReason::ReadError
}

/// The peer took nothing for as long as it may: says so to the log.
pub(super) fn write_deadline_passed(peer: &Peer, deadline: Duration) {
    let pending = peer.pending();
    log_info(
        peer,
        &format!(
            "Slow Consumer Detected: WriteDeadline of {deadline:?} exceeded with {pending} total bytes."
        ),
    );
}

pub(super) fn log_error(peer: &Peer, text: &str) {
    tracing::error!(cid = peer.id(), "{} - {text}", peer.label());
}

pub(super) fn log_info(peer: &Peer, text: &str) {
    tracing::info!(cid = peer.id(), "{} - {text}", peer.label());
}

pub(super) fn log_debug(peer: &Peer, text: &str) {
    tracing::debug!(cid = peer.id(), "{} - {text}", peer.label());
}

/// A protocol line, made only where somebody wants to see it.
pub(super) fn trace(peer: &Peer, text: impl FnOnce() -> String) {
    if tracing::enabled!(tracing::Level::TRACE) {
        tracing::trace!(cid = peer.id(), "{} - {}", peer.label(), text());
    }
}
