//! Whether a message is traced, and how: what its headers ask for, and what may be done (ADR-41).

use crate::broker::account::Account;
use crate::broker::message_trace::TraceOrder;
use crate::proto::message_trace::{
    DESTINATION, HOP, MAX_HEADER_BYTES, ORIGIN_ACCOUNT, Wish, may_ask, wish,
};
use crate::proto::op::Publish;
use crate::subject;

/// What to do with a message that may ask for a trace.
#[derive(Debug)]
pub(super) enum Decision {
    /// Nothing: it was only to be traced, which cannot be done.
    Skip,
    /// What is done with any other.
    Plain,
    /// The same, and nobody behind this server shall trace it.
    Untraced,
    /// Nothing: its publisher must not publish to the subject of the reports.
    Refused(String),
    /// It is traced.
    Traced(TraceOrder),
}

/// Whoever sent a message that may ask for a trace.
pub(super) struct Asker<'a> {
    /// The account that the message is published in.
    pub(super) account: &'a Account,
    /// A number below a hundred: of a client's messages only some are traced; `None` from another
    /// server, which has made that decision.
    pub(super) lot: Option<u64>,
    /// Whether the asker may publish to a subject.
    pub(super) may_publish: &'a dyn Fn(&[u8]) -> bool,
    /// Logs an error.
    pub(super) complain: &'a dyn Fn(&str),
}

fn header_block<'a>(message: &Publish<'a>) -> &'a [u8] {
    let length = message.header.map_or(0, |header| header.bytes);
    message.body.get(..length).unwrap_or_default()
}

/// Whether a message may ask for a trace.
pub(super) fn asks(message: &Publish<'_>, account: &Account) -> bool {
    message.header.is_some() && may_ask(header_block(message), account.traces_parents())
}

impl Asker<'_> {
    /// Decides, in the order in which nats-server does.
    pub(super) fn decide(&self, message: &Publish<'_>) -> Decision {
        let Some(wish) = wish(header_block(message)) else {
            return Decision::Plain;
        };
        let only = wish.is_only_traced();
        let otherwise = |decision| if only { Decision::Skip } else { decision };
        let origin = wish.value(ORIGIN_ACCOUNT);
        if !origin.is_empty() {
            (self.complain)(&format!(
                "Message tracing disabled because of header {ORIGIN_ACCOUNT:?} with value={origin:?}"
            ));
            return otherwise(Decision::Untraced);
        }
        let destination = match self.destination(&wish) {
            Ok(destination) => destination,
            Err(decision) => return decision,
        };
        if !subject::is_valid_subject(destination.as_bytes()) {
            (self.complain)(&format!(
                "Destination {destination:?} is not valid, won't be able to trace events"
            ));
            return otherwise(Decision::Plain);
        }
        if !(self.may_publish)(destination.as_bytes()) {
            return Decision::Refused(destination);
        }
        if header_block(message).len() > MAX_HEADER_BYTES {
            return otherwise(Decision::Untraced);
        }
        Decision::Traced(TraceOrder {
            destination,
            only,
            // A client may write there what it likes.
            hop: match self.lot {
                Some(_) => String::new(),
                None => wish.value(HOP).to_owned(),
            },
            headers: wish.headers,
        })
    }

    fn destination(&self, wish: &Wish) -> Result<String, Decision> {
        if !wish.by_parent {
            return Ok(wish.value(DESTINATION).to_owned());
        }
        let rules = self.account.rules();
        let rules = rules.trace.as_ref().ok_or(Decision::Plain)?;
        if self.lot.is_some_and(|lot| lot >= rules.percent.into()) {
            return Err(Decision::Untraced);
        }
        Ok(rules.destination.clone())
    }
}
