//! What another server is told of its mistakes, and what logs are told of a link.

use super::{Route, RouteOp};
use crate::broker::close::CloseReason;
use crate::conn::turn::Turn;
use crate::link::report::{self, Nonsense};
use crate::proto::display;
use crate::proto::parse::ParseError;
use crate::proto::route_info::RouteConnect;

impl Route {
    /// Sends an error text; whether the link ends is the caller's business.
    pub(super) fn send_error(&self, text: &str) {
        self.trace(|| format!("->> [-ERR {text}]"));
        self.peer.send_soon(format!("-ERR '{text}'\r\n").as_bytes());
    }

    /// The input makes no sense any more: says so as nats-server does; the reason to close with.
    pub(super) fn refuse_input(
        &self,
        turn: &mut Turn<'_>,
        error: ParseError,
        input: &[u8],
    ) -> CloseReason {
        turn.deliveries.end_run();
        let most = || self.limits.max_payload;
        let Nonsense { told, reason, log } = Nonsense::of(&error, input, "Router", most);
        if let Some(told) = told {
            self.send_error(&told.text());
        }
        self.complain(log);
        reason
    }

    /// For the log, which repeats itself only now and then.
    pub(super) fn complain(&self, text: String) {
        self.host.complain(self.peer.id(), text);
    }

    pub(super) fn log_info(&self, text: &str) {
        report::log_info(&self.peer, text);
    }

    pub(super) fn log_debug(&self, text: &str) {
        report::log_debug(&self.peer, text);
    }

    /// A protocol line, made only where somebody wants to see it.
    pub(super) fn trace(&self, text: impl FnOnce() -> String) {
        report::trace(&self.peer, text);
    }

    pub(super) fn trace_incoming(&self, op: &RouteOp<'_>, input: &[u8]) {
        let end = memchr::memchr(b'\n', input).unwrap_or(input.len());
        let line = input.get(..end).unwrap_or_default().trim_ascii_end();
        let line = match op {
            RouteOp::Connect(document) => {
                let text = String::from_utf8_lossy(document);
                let mut connect: RouteConnect = serde_json::from_str(&text).unwrap_or_default();
                if !connect.pass.is_empty() {
                    "[REDACTED]".clone_into(&mut connect.pass);
                }
                format!("CONNECT {}", connect.to_json())
            }
            RouteOp::Info(_) => return,
            RouteOp::Interest(_)
            | RouteOp::NoInterest(_)
            | RouteOp::Message(_)
            | RouteOp::Account
            | RouteOp::Ping
            | RouteOp::Pong
            | RouteOp::Okay
            | RouteOp::Error(_) => String::from_utf8_lossy(line).into_owned(),
        };
        self.trace(|| format!("<<- [{line}]"));
        if let RouteOp::Message(message) = op {
            let publish = &message.publish;
            let header = publish.header.map_or(0, |header| header.bytes);
            if let Some(line) = display::payload(publish.body, header, self.settings.trace) {
                self.trace(|| format!("<<- {line}"));
            }
        }
    }
}
