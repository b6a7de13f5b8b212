//! Reports of a message's way through a server, for whoever asks for one in its headers (ADR-41).
//!
//! A turn traces one message at a time. Each server on the way makes a report of its own; they belong
//! together by the numbers that copies for other servers carry.

use std::sync::Arc;
use std::time::SystemTime;

use serde::Serialize;

use super::account::Account;
use super::deliver::{Deliveries, Publication};
use super::imports::{Imported, ResponseType, ServiceExport};
use super::peer::{Delivery, Peer};
use super::registry::FIRST_CONNECTION;
use super::responses::Pending;
use super::rewritten::Rewritten;
use super::subscription::Subscription;
use crate::proto::message_trace::{DESTINATION, DISABLED, HOP, Headers};
use crate::proto::op::Publish;

/// Most bytes of steps that a report holds: a message may go to very many. Others are left out.
const MAX_STEP_BYTES: usize = 2 * 1024 * 1024;

/// What a step and its names weigh besides its longer words.
const STEP_BYTES: usize = 256;

/// Why a message did not go out (nats-server's texts).
const NO_ECHO: &str = "Not delivered because of no echo";
const DENIED: &str = "Not delivered because subscription denies this subject";
const SUBSCRIPTION_CLOSED: &str = "Not delivered because subscription is closed";
const CLIENT_CLOSED: &str = "Not delivered because client is closed";
const LEFT_OUT: &str = "Not delivered because fast producer not stalled and consumer is slow";

/// Where messages of an account that are part of a trace of other systems are reported.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TraceRules {
    /// The subject of the reports.
    pub destination: String,
    /// How many of a hundred such messages are traced.
    pub percent: u8,
}

/// What kind of connection a message came from or went to. Their numbers are nats-server's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(into = "u8")]
pub enum TracedKind {
    /// A client.
    Client,
    /// Another server of the cluster.
    Route,
}

impl From<TracedKind> for u8 {
    fn from(kind: TracedKind) -> Self {
        match kind {
            TracedKind::Client => 0,
            TracedKind::Route => 1,
        }
    }
}

/// A connection that a message came from or went to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct TracedPeer {
    /// What kind of connection it is.
    pub kind: TracedKind,
    /// Its number.
    pub cid: u64,
    /// What the client calls it, or the other server's name.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub name: String,
}

impl TracedPeer {
    fn of(peer: &Peer) -> Self {
        let kind = match peer.is_route() {
            true => TracedKind::Route,
            false => TracedKind::Client,
        };
        let known = peer.introduction();
        Self {
            kind,
            cid: peer.id(),
            name: known.map_or_else(String::new, |known| known.name.to_string()),
        }
    }
}

/// What happened to a message. Fields and their order are nats-server's.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(untagged)]
#[expect(
    missing_docs,
    reason = "the names of the fields say it, and those of nats-server's"
)]
pub enum TraceStep {
    /// It came in.
    Ingress {
        #[serde(flatten)]
        peer: TracedPeer,
        #[serde(rename = "acc")]
        account: String,
        #[serde(rename = "subj")]
        subject: String,
        #[serde(skip_serializing_if = "String::is_empty")]
        error: String,
    },
    /// Its subject was mapped to another.
    Mapping { to: String },
    /// It goes to an account that imports it as part of a stream.
    StreamExport {
        #[serde(rename = "acc")]
        account: String,
        to: String,
    },
    /// It goes to the account of a service, or back as the answer.
    ServiceImport {
        #[serde(rename = "acc")]
        account: String,
        from: String,
        to: String,
    },
    /// It went out, or would have.
    Egress {
        #[serde(flatten)]
        peer: TracedPeer,
        #[serde(skip_serializing_if = "String::is_empty")]
        hop: String,
        /// The account, where it is not that of the ingress.
        #[serde(rename = "acc", skip_serializing_if = "String::is_empty")]
        account: String,
        #[serde(rename = "sub", skip_serializing_if = "String::is_empty")]
        subscription: String,
        #[serde(skip_serializing_if = "String::is_empty")]
        queue: String,
        #[serde(skip_serializing_if = "str::is_empty")]
        error: &'static str,
    },
}

impl TraceStep {
    /// What nats-server calls this kind of step.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Ingress { .. } => "in",
            Self::Mapping { .. } => "sm",
            Self::StreamExport { .. } => "se",
            Self::ServiceImport { .. } => "si",
            Self::Egress { .. } => "eg",
        }
    }

    /// About how many bytes it takes.
    fn weight(&self) -> usize {
        let words = match self {
            Self::Ingress { subject, .. } => subject.len(),
            Self::Mapping { to } | Self::StreamExport { to, .. } => to.len(),
            Self::ServiceImport { from, to, .. } => from.len() + to.len(),
            Self::Egress {
                subscription,
                queue,
                ..
            } => subscription.len() + queue.len(),
        };
        STEP_BYTES + words
    }
}

/// What is told of a message's way through this server.
#[derive(Debug)]
pub struct TraceReport {
    /// The account in which it is published.
    pub account: Arc<Account>,
    /// Its subject.
    pub destination: String,
    /// The message's headers.
    pub headers: Headers,
    /// Length of the message's header block and payload, in bytes.
    pub size: usize,
    /// How many other servers got a copy.
    pub hops: u64,
    /// What happened, and when.
    pub steps: Vec<(SystemTime, TraceStep)>,
    /// About how many bytes the steps take.
    pub step_bytes: usize,
}

/// How a message that goes to another account is traced there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Following {
    /// It is not traced at all.
    Untraced,
    /// It is.
    On,
    /// The account does not allow it; the message goes on without.
    Aside,
    /// The account does not allow it, and clients shall not get the message.
    Stop,
}

/// A message that is traced.
#[derive(Debug)]
pub struct MessageTrace {
    report: TraceReport,
    /// Whether clients do not get it.
    only: bool,
    /// Its number among the copies of the server that it came from; empty from a client.
    hop: String,
    /// The number of the copy that is made.
    next_hop: String,
    /// What is told of the next subscription in place of its filter: nats-server tells the one that it
    /// makes in the exporting account.
    filter: Option<String>,
    /// Where other servers report to: in the account that the message is in now.
    destination: String,
    /// Whether the message is in an account that does not allow traces.
    is_aside: bool,
    clock: fn() -> SystemTime,
}

/// What is asked for in a message's headers, and may be done.
#[derive(Debug)]
pub struct TraceOrder {
    /// The subject of the reports.
    pub destination: String,
    /// All headers.
    pub headers: Headers,
    /// Whether clients shall not get the message.
    pub only: bool,
    /// The message's number among the copies of another server; empty from a client.
    pub hop: String,
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

impl MessageTrace {
    /// A message that came from `from` into `account`. `clock` tells when something happens.
    #[must_use]
    pub fn new(
        order: TraceOrder,
        message: &Publish<'_>,
        from: &Peer,
        account: &Arc<Account>,
        clock: fn() -> SystemTime,
    ) -> Self {
        let mut trace = Self {
            report: TraceReport {
                account: Arc::clone(account),
                destination: order.destination.clone(),
                headers: order.headers,
                size: message.size.bytes,
                hops: 0,
                steps: Vec::new(),
                step_bytes: 0,
            },
            only: order.only,
            hop: order.hop,
            next_hop: String::new(),
            filter: None,
            destination: order.destination,
            is_aside: false,
            clock,
        };
        trace.note(TraceStep::Ingress {
            peer: TracedPeer::of(from),
            account: account.name().to_owned(),
            subject: text(message.subject),
            error: String::new(),
        });
        trace
    }

    fn note(&mut self, step: TraceStep) {
        let weight = step.weight();
        if self.report.step_bytes + weight <= MAX_STEP_BYTES {
            self.report.step_bytes += weight;
            self.report.steps.push(((self.clock)(), step));
        }
    }

    /// The message's subject is mapped to another.
    pub fn note_mapping(&mut self, to: &[u8]) {
        self.note(TraceStep::Mapping { to: text(to) });
    }

    /// The message was not let in.
    pub fn refuse(&mut self, reason: &str) {
        if let Some((_, TraceStep::Ingress { error, .. })) = self.report.steps.first_mut() {
            reason.clone_into(error);
        }
    }

    /// What there is to tell.
    #[must_use]
    pub fn into_report(self) -> TraceReport {
        self.report
    }

    fn egress(&mut self, subscription: Option<&Subscription>, peer: &Peer, error: &'static str) {
        let own = self.report.account.name();
        let known = peer.introduction();
        let account = known.map_or_else(String::new, |known| known.account.to_string());
        let is_elsewhere = !peer.is_route() && account != own;
        let filter = self.filter.take();
        let words = |words: fn(&Subscription) -> Option<&[u8]>| {
            subscription.and_then(words).map_or_else(String::new, text)
        };
        let step = TraceStep::Egress {
            peer: TracedPeer::of(peer),
            hop: std::mem::take(&mut self.next_hop),
            account: if is_elsewhere { account } else { String::new() },
            subscription: filter
                .unwrap_or_else(|| words(|subscription| Some(subscription.filter()))),
            queue: words(Subscription::queue),
            error,
        };
        self.note(step);
    }

    fn follow(&self, is_allowed: bool) -> Following {
        match (is_allowed, self.only) {
            (true, _) => Following::On,
            (false, true) => Following::Stop,
            (false, false) => Following::Aside,
        }
    }
}

/// Whether a peer is the server itself, whose subscriptions nobody is told of.
fn is_internal(peer: &Peer) -> bool {
    !peer.is_route() && peer.id() < FIRST_CONNECTION
}

impl Deliveries {
    /// Traces the message that is published next, until [`Self::end_trace`].
    pub fn begin_trace(&mut self, trace: MessageTrace) {
        self.end_run();
        self.message_trace = Some(Box::new(trace));
    }

    /// The trace of the message at hand is complete.
    pub fn end_trace(&mut self) -> Option<TraceReport> {
        self.message_trace.take().map(|trace| trace.into_report())
    }

    /// The trace of the message at hand, if it is traced where it is now.
    pub fn trace(&mut self) -> Option<&mut MessageTrace> {
        let trace = self.message_trace.as_deref_mut();
        trace.filter(|trace| !trace.is_aside)
    }

    /// Whether the message at hand is traced.
    #[must_use]
    pub fn traces_message(&self) -> bool {
        self.message_trace.is_some()
    }

    /// Whether clients shall not get the message at hand.
    #[must_use]
    pub fn is_only_traced(&self) -> bool {
        let trace = self.message_trace.as_deref();
        trace.is_some_and(|trace| trace.only)
    }

    /// Notes that a client's own message does not come back to it.
    #[cold]
    pub(super) fn trace_no_echo(&mut self, subscription: &Subscription) {
        self.trace_refusal(subscription, NO_ECHO);
    }

    /// Notes that a client must not see a message.
    #[cold]
    pub(super) fn trace_denied(&mut self, subscription: &Subscription) {
        self.trace_refusal(subscription, DENIED);
    }

    fn trace_refusal(&mut self, subscription: &Subscription, error: &'static str) {
        if let Some(trace) = self.trace() {
            trace.egress(Some(subscription), subscription.peer(), error);
        }
    }

    /// Notes what would be delivered to a client if it got the message; false when it shall get it.
    #[cold]
    pub(super) fn trace_instead(&mut self, subscription: &Subscription) -> bool {
        let peer = subscription.peer();
        let Some(trace) = self.trace().filter(|trace| trace.only) else {
            return false;
        };
        if is_internal(peer) {
            return false;
        }
        let error = if subscription.is_closed() {
            SUBSCRIPTION_CLOSED
        } else {
            ""
        };
        trace.egress(Some(subscription), peer, error);
        true
    }

    /// Notes what became of a delivery to a client.
    #[cold]
    pub(super) fn trace_delivery(&mut self, subscription: &Subscription, delivery: Delivery) {
        let peer = subscription.peer();
        let Some(trace) = self.trace() else { return };
        if is_internal(peer) {
            return;
        }
        let is_closing = peer.condition().closing.is_some();
        let error = if delivery.delivered > 0 || (delivery.overflow && is_closing) {
            ""
        } else if is_closing {
            CLIENT_CLOSED
        } else if !subscription.is_closed() {
            LEFT_OUT
        } else {
            SUBSCRIPTION_CLOSED
        };
        trace.egress(Some(subscription), peer, error);
    }

    /// Notes what became of a delivery to another server.
    #[cold]
    pub(super) fn trace_routed(&mut self, peer: &Peer, delivery: Delivery) {
        let is_sent = delivery.delivered > 0 || delivery.overflow;
        if let Some(trace) = self.trace() {
            trace.egress(None, peer, if is_sent { "" } else { CLIENT_CLOSED });
        }
    }

    /// The copy of a traced message for the next one of the other servers.
    pub(super) fn next_copy(&mut self, message: &Publish<'_>) -> Option<Rewritten> {
        let trace = self.trace()?;
        trace.report.hops += 1;
        let (hop, number) = (&trace.hop, trace.report.hops);
        trace.next_hop = match &**hop {
            "" => number.to_string(),
            _ => format!("{hop}.{number}"),
        };
        Some(Rewritten::new(
            message,
            HOP.as_bytes(),
            trace.next_hop.as_bytes(),
        ))
    }

    /// Notes that the message at hand goes to the account that imports a stream, as `subject`.
    #[cold]
    pub(super) fn trace_stream(
        &mut self,
        shadow: &Subscription,
        imported: &Imported,
        subject: &[u8],
    ) -> Following {
        let Some(trace) = self.trace() else {
            return Following::Untraced;
        };
        let importer = imported.importer.upgrade();
        trace.note(TraceStep::StreamExport {
            account: importer.map_or_else(String::new, |account| account.name().to_owned()),
            to: text(subject),
        });
        trace.filter = Some(text(shadow.filter()));
        trace.follow(imported.allows_trace())
    }

    /// Notes that the message at hand goes to `account` for a service.
    pub(super) fn trace_service(
        &mut self,
        account: &Account,
        subjects: (&[u8], &[u8]),
        is_allowed: bool,
    ) -> Following {
        let Some(trace) = self.trace() else {
            return Following::Untraced;
        };
        let (from, to) = subjects;
        trace.note(TraceStep::ServiceImport {
            account: account.name().to_owned(),
            from: text(from),
            to: text(to),
        });
        trace.follow(is_allowed)
    }

    /// Does `work` without tracing the message at hand.
    pub(super) fn aside<T>(&mut self, work: impl FnOnce(&mut Self) -> T) -> T {
        let set = |deliveries: &mut Self, aside: bool| {
            let trace = deliveries.message_trace.as_deref_mut();
            trace.map(|trace| std::mem::replace(&mut trace.is_aside, aside))
        };
        let before = set(self, true).unwrap_or_default();
        let outcome = work(self);
        set(self, before);
        outcome
    }

    /// Does `work` with a traced message that goes from `requester` to the service of `exporter`. Other
    /// servers that get it there report to a subject of that account, from where the reports come back.
    pub(super) fn follow_service<T>(
        &mut self,
        (requester, exporter): (&Arc<Account>, &Arc<Account>),
        publication: &Publication<'_>,
        server: &Arc<Peer>,
        work: impl FnOnce(&mut Self, &str) -> T,
    ) -> T {
        let (before, hops) = self.trace().map_or_else(Default::default, |trace| {
            (trace.destination.clone(), trace.report.hops)
        });
        let pending = Pending {
            requester: Arc::downgrade(requester),
            reply: before.as_bytes().into(),
            export: Arc::new(ServiceExport {
                response: ResponseType::Several,
                ..ServiceExport::default()
            }),
            since: publication.now,
            measurement: None,
        };
        let reply = exporter.await_answers(pending, server);
        let destination = reply.as_deref().map_or_else(|| DISABLED.to_owned(), text);
        if let Some(trace) = self.trace() {
            trace.destination.clone_from(&destination);
        }
        let outcome = work(self, &destination);
        let trace = self.trace();
        let is_routed = trace.as_ref().is_some_and(|trace| trace.report.hops > hops);
        if let Some(trace) = trace {
            trace.destination = before;
        }
        if let Some(reply) = reply.filter(|_| !is_routed) {
            exporter.forget_request(&reply);
        }
        outcome
    }
}

/// `message` as it goes on where it must not be traced.
#[must_use]
pub fn untraced(message: &Publish<'_>) -> Rewritten {
    Rewritten::new(message, DESTINATION.as_bytes(), DISABLED.as_bytes())
}
