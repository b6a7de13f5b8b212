//! Messages of a client whose way is to be reported.

use super::Client;
use super::messages::{RESERVED_SUBJECTS, is_reserved};
use crate::broker::events::Event;
use crate::broker::message_trace::{MessageTrace, TraceReport, untraced};
use crate::conn::turn::{Input, Turn, wall_clock};
use crate::link::traced::{Asker, Decision, asks};
use crate::proto::args::{Arguments, parse_size};
use crate::proto::error::ProtocolError;
use crate::proto::op::{Publish, Size};

/// What a report says of a message that is larger than the limit (nats-server's text).
const TOO_LARGE: &str = "maximum payload exceeded";

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
        match self.decide_trace(turn, message) {
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
                let trace = MessageTrace::new(order, message, turn.peer, &self.account, wall_clock);
                turn.deliveries.begin_trace(trace);
                self.publish_untraced(turn, message, input);
                if let Some(report) = turn.deliveries.end_trace() {
                    self.report(report);
                }
            }
        }
    }

    /// Reports that a message was too large to be let in, of which `input` is all that is there.
    #[cold]
    pub(super) fn report_too_large(&self, turn: &mut Turn<'_>, input: &[u8]) {
        let Some(message) = beginning(input).filter(|message| asks(message, &self.account)) else {
            return;
        };
        match self.decide_trace(turn, &message) {
            Decision::Traced(order) => {
                let mut trace =
                    MessageTrace::new(order, &message, turn.peer, &self.account, wall_clock);
                trace.refuse(TOO_LARGE);
                self.report(trace.into_report());
            }
            Decision::Refused(destination) => {
                let refusal = ProtocolError::PublishViolation(destination.into_bytes());
                self.refuse(turn, &refusal);
            }
            Decision::Skip | Decision::Plain | Decision::Untraced => {}
        }
    }

    fn decide_trace(&self, turn: &mut Turn<'_>, message: &Publish<'_>) -> Decision {
        let lot = turn.deliveries.random() % 100;
        let asker = Asker {
            account: &self.account,
            lot: Some(lot),
            may_publish: &|subject| self.may_report_to(subject),
            complain: &|text| self.log_error(text),
        };
        asker.decide(message)
    }

    fn report(&self, report: TraceReport) {
        let broker = &self.context.broker;
        broker.notice(|| Event::Traced(Box::new(report)));
    }

    /// Whether the client may have reports sent to a subject. That it may answer there does not count.
    fn may_report_to(&self, subject: &[u8]) -> bool {
        let permissions = self.permissions.as_ref();
        permissions.is_none_or(|permissions| permissions.may_publish(subject))
            && !is_reserved(subject, &RESERVED_SUBJECTS)
    }
}

/// The beginning of a message with headers that was not read as a whole.
fn beginning(input: &[u8]) -> Option<Publish<'_>> {
    let end = memchr::memchr(b'\n', input)?;
    let line = input.get(..end)?.trim_ascii_end();
    let arguments = Arguments::<5>::split(line)?;
    let (subject, header, size) = match *arguments.as_slice() {
        [verb, subject, header, size] | [verb, subject, _, header, size]
            if verb.eq_ignore_ascii_case(b"HPUB") =>
        {
            (subject, header, size)
        }
        _ => return None,
    };
    let (length, total) = (parse_size(header)?, parse_size(size)?);
    let rest = input.get(end + 1..)?;
    let body = rest.get(..length).unwrap_or(rest);
    Some(Publish {
        subject,
        reply: None,
        header: Some(Size {
            bytes: body.len(),
            text: header,
        }),
        size: Size {
            bytes: total,
            text: size,
        },
        body,
        sized_body: None,
    })
}
