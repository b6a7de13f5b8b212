//! What a client is told of its mistakes, and what logs are told of a client.

use super::{Client, trace};
use crate::broker::close::CloseReason;
use crate::conn::turn::Turn;
use crate::link::report::{self, Nonsense};
use crate::proto::error::ProtocolError;
use crate::proto::op::Op;
use crate::proto::parse::ParseError;
use crate::proto::{display, encode};

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
        if matches!(error, ParseError::MaximumPayload(_)) {
            self.report_too_large(turn, input);
        }
        let most = || self.max_payload().unwrap_or_default();
        let Nonsense { told, reason, log } = Nonsense::of(&error, input, "Client", most);
        if let Some(told) = told {
            self.refuse(turn, &told);
        }
        self.log_error(&log);
        reason
    }

    pub(super) fn log_error(&self, text: &str) {
        report::log_error(&self.peer, text);
    }

    pub(super) fn log_debug(&self, text: &str) {
        report::log_debug(&self.peer, text);
    }

    /// A protocol line, made only where somebody wants to see it.
    pub(super) fn trace(&self, text: impl FnOnce() -> String) {
        report::trace(&self.peer, text);
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
