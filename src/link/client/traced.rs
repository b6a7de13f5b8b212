//! Messages of a client whose way is to be reported.

use super::Client;
use super::messages::{RESERVED_SUBJECTS, is_reserved};
use crate::broker::events::Event;
use crate::broker::message_trace::{MessageTrace, untraced};
use crate::conn::turn::{Input, Turn};
use crate::link::traced::{Asker, Decision, clock};
use crate::proto::error::ProtocolError;
use crate::proto::op::Publish;

impl Client {
    /// Publishes a message that may ask for a trace.
    #[cold]
    pub(super) fn publish_asking(
        &mut self,
        turn: &mut Turn<'_>,
        message: &Publish<'_>,
        input: Input<'_>,
    ) {
        turn.deliveries.end_run();
        let lot = turn.deliveries.random() % 100;
        let asker = Asker {
            account: &self.account,
            lot: Some(lot),
            may_publish: &|subject| self.may_report_to(subject),
            complain: &|text| self.log_error(text),
        };
        match asker.decide(message) {
            Decision::Skip => self.judge(turn, message),
            Decision::Plain => self.publish_untraced(turn, message, input),
            Decision::Untraced => {
                let rewritten = untraced(message);
                let rewritten = rewritten.message(message.subject, message.reply);
                let input = Input {
                    source: None,
                    ..input
                };
                self.publish_untraced(turn, &rewritten, input);
            }
            Decision::Refused(destination) => {
                self.judge(turn, message);
                let refusal = ProtocolError::PublishViolation(destination.into_bytes());
                self.refuse(turn, &refusal);
            }
            Decision::Traced(order) => {
                let trace = MessageTrace::new(order, message, turn.peer, &self.account, clock);
                turn.deliveries.begin_trace(trace);
                self.publish_untraced(turn, message, input);
                if let Some(report) = turn.deliveries.end_trace() {
                    let broker = &self.context.broker;
                    broker.notice(|| Event::Traced(Box::new(report)));
                }
            }
        }
    }

    /// Whether the client may have reports sent to a subject. That it may answer there does not count.
    fn may_report_to(&self, subject: &[u8]) -> bool {
        let permissions = self.permissions.as_ref();
        permissions.is_none_or(|permissions| permissions.may_publish(subject))
            && !is_reserved(subject, &RESERVED_SUBJECTS)
    }
}
