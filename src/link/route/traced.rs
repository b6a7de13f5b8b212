//! Messages of another server whose way is to be reported.

use std::sync::Arc;

use super::RouteSettings;
use crate::broker::account::Account;
use crate::broker::message_trace::MessageTrace;
use crate::conn::turn::{Turn, wall_clock};
use crate::link::traced::{Asker, Decision, asks};
use crate::proto::op::Publish;

/// What to do with a message of another server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tracing {
    /// It is not traced.
    Off,
    /// It is.
    On,
    /// It is dropped: it was only to be traced.
    Dropped,
}

/// Begins to trace a message if it asks for it and that can be done.
pub(super) fn begin(
    settings: &RouteSettings,
    turn: &mut Turn<'_>,
    account: &Arc<Account>,
    message: &Publish<'_>,
) -> Tracing {
    if !asks(message, account) {
        return Tracing::Off;
    }
    let permissions = settings.permissions.as_ref();
    let peer = turn.peer;
    let complain = |text: &str| tracing::error!(cid = peer.id(), "{} - {text}", peer.label());
    let asker = Asker {
        account,
        lot: None,
        may_publish: &|subject| {
            permissions.is_none_or(|permissions| permissions.may_publish(subject))
        },
        complain: &complain,
    };
    match asker.decide(message) {
        Decision::Skip => Tracing::Dropped,
        Decision::Plain | Decision::Untraced => Tracing::Off,
        Decision::Refused(destination) => {
            complain(&format!("Publish Violation - Subject {destination:?}"));
            Tracing::Dropped
        }
        Decision::Traced(order) => {
            let trace = MessageTrace::new(order, message, peer, account, wall_clock);
            turn.deliveries.begin_trace(trace);
            Tracing::On
        }
    }
}
