//! What a client is told of its mistakes, and what logs are told of a client.

use super::{Client, trace};
use crate::broker::close::CloseReason;
use crate::conn::turn::Turn;
use crate::proto::error::ProtocolError;
use crate::proto::op::Op;
use crate::proto::parse::ParseError;
use crate::proto::{display, encode};

/// Most bytes of a senseless input that a log line shows.
const SNIPPET_BYTES: usize = 32;

impl Client {
    /// Sends an error; whether the connection ends is the caller's business.
    pub(super) fn refuse(&self, turn: &mut Turn<'_>, error: &ProtocolError) {
        self.trace(|| format!("->> [-ERR {}]", error.text()));
        turn.deliveries.send(turn.peer, &encode::error(error));
    }

    /// The input makes no sense any more: says so as nats-server does; the reason to close with.
    pub(super) fn refuse_input(
        &self,
        turn: &mut Turn<'_>,
        error: ParseError,
        input: &[u8],
    ) -> CloseReason {
        let (told, reason, log) = match error {
            ParseError::UnknownOperation(at) => {
                let snippet = display::escaped(input.get(..SNIPPET_BYTES).unwrap_or(input));
                let log = format!("Client parser ERROR, i={at}: proto='\"{snippet}\"...'");
                (
                    Some(ProtocolError::UnknownOperation),
                    CloseReason::ProtocolViolation,
                    log,
                )
            }
            ParseError::MaximumControlLine(_) => (
                Some(ProtocolError::MaximumControlLine),
                CloseReason::MaximumControlLineExceeded,
                "maximum control line exceeded".to_owned(),
            ),
            ParseError::MaximumPayload(size) => {
                self.report_too_large(turn, input);
                let most = self.max_payload().unwrap_or_default();
                let log = format!("maximum payload exceeded: {size} vs {most}");
                (
                    Some(ProtocolError::MaximumPayload),
                    CloseReason::MaximumPayloadExceeded,
                    log,
                )
            }
            ParseError::HeadersNotSupported => {
                let log = "message headers not supported".to_owned();
                (None, CloseReason::ProtocolViolation, log)
            }
            ParseError::BadArguments(verb) => (
                None,
                CloseReason::ProtocolViolation,
                format!("{verb} Parse Error"),
            ),
        };
        if let Some(told) = told {
            self.refuse(turn, &told);
        }
        self.log_error(&log);
        reason
    }

    pub(super) fn log_error(&self, text: &str) {
        tracing::error!(cid = self.peer.id(), "{} - {text}", self.peer.label());
    }

    pub(super) fn log_debug(&self, text: &str) {
        tracing::debug!(cid = self.peer.id(), "{} - {text}", self.peer.label());
    }

    pub(super) fn log_info(&self, text: &str) {
        tracing::info!(cid = self.peer.id(), "{} - {text}", self.peer.label());
    }

    /// A protocol line, made only where somebody wants to see it.
    pub(super) fn trace(&self, text: impl FnOnce() -> String) {
        if tracing::enabled!(tracing::Level::TRACE) {
            tracing::trace!(cid = self.peer.id(), "{} - {}", self.peer.label(), text());
        }
    }

    pub(super) fn trace_incoming(&self, op: &Op<'_>, input: &[u8]) {
        if let Some(line) = trace::incoming(op, input) {
            self.trace(|| line);
        }
        if let Op::Publish(message) = op {
            let header = message.header.map_or(0, |header| header.bytes);
            if let Some(line) = display::payload(message.body, header, self.settings.limits.trace) {
                self.trace(|| format!("<<- {line}"));
            }
        }
    }
}
