//! Questions to the server that any client may ask, wherever it stands.

use std::sync::Arc;

use super::Client;
use crate::broker::events::{Event, Request};
use crate::conn::turn::Turn;
use crate::proto::op::Publish;

/// What a user may ask about itself.
const ABOUT_USER: &[u8] = b"$SYS.REQ.USER.INFO";

/// What clients of all accounts but the system account may ask about their own account; there, these
/// subjects mean all servers.
const ABOUT_ACCOUNT: [&[u8]; 3] = [
    b"$SYS.REQ.ACCOUNT.PING.CONNZ",
    b"$SYS.REQ.ACCOUNT.PING.STATZ",
    b"$SYS.REQ.SERVER.PING.CONNZ",
];

/// What clients of the system account may ask about their own account.
const ABOUT_SYSTEM: &[u8] = b"$SYS.DEBUG.SUBSCRIBERS";

/// Longest question in bytes; some thousand of them may wait for their answers.
const MAX_QUESTION_BYTES: usize = 4096;

impl Client {
    /// Hands a question on to whoever answers it; whether the message was one.
    pub(super) fn ask_server(&self, turn: &Turn<'_>, message: &Publish<'_>) -> bool {
        let Some(reply) = message.reply else {
            return false;
        };
        let broker = &self.context.broker;
        let in_system = Arc::ptr_eq(&self.account, broker.system_account());
        let about_account = if in_system {
            message.subject == ABOUT_SYSTEM
        } else {
            ABOUT_ACCOUNT.contains(&message.subject)
        };
        if !broker.is_observed() || !(about_account || message.subject == ABOUT_USER) {
            return false;
        }
        let header = message.header.map_or(0, |header| header.bytes);
        let body = message.body.get(header..).unwrap_or_default();
        let body = body.strip_suffix(b"\r\n").unwrap_or(body);
        if body.len() > MAX_QUESTION_BYTES {
            return false;
        }
        broker.notice(|| {
            Event::Request(Request {
                peer: Arc::clone(turn.peer),
                account: Arc::clone(&self.account),
                subject: message.subject.into(),
                reply: reply.into(),
                body: body.into(),
            })
        });
        true
    }
}
