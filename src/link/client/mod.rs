//! Clients: what a server does for each operation of the client protocol.

mod hot;
mod login;
mod messages;
mod questions;
pub mod redact;
mod renewal;
mod report;
mod sids;
mod trace;
mod traced;

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::auth::{Login, PasswordCheck, Permissions, Rejection};
use crate::broker::account::{Account, AccountLimits};
use crate::broker::close::CloseReason;
use crate::broker::closed::{
    ClosedConnection, REMEMBERED_BYTES, REMEMBERED_SUBSCRIPTIONS, SubscriptionPortrait,
};
use crate::broker::deliver::Matches;
use crate::broker::events::Event;
use crate::broker::peer::Peer;
use crate::broker::rate::Rates;
use crate::conn::Timeouts;
use crate::conn::turn::{Input, Link, Served, Turn, Verdict};
use crate::link::context::{ClientContext, ClientSettings};
use crate::link::traced::asks;
use crate::proto::encode;
use crate::proto::error::ProtocolError;
use crate::proto::info::{ConnectOptions, PROTOCOL_ASYNC_INFO};
use crate::proto::op::{Op, Publish};
use crate::proto::parse::{ParseError, ParseLimits, Parsed, parse_any};
use crate::proto::quick;
use sids::Sids;

/// Subscriptions given up in one step when a connection ends, so that one with very many of them does
/// not keep a worker thread from its other work.
const RELEASE_STEP: usize = 1024;

/// Bytes that are kept besides the arguments of CONNECT for somebody who has not logged in: the verb, its
/// line end, and as many blanks as anybody could mean. The limit for control lines does not count the
/// blanks before the arguments, of which one read may bring 64 KiB.
const STRANGER_SLACK: usize = 1024;

/// One client.
#[derive(Debug)]
pub struct Client {
    context: Arc<ClientContext>,
    settings: Arc<ClientSettings>,
    peer: Arc<Peer>,
    account: Arc<Account>,
    /// Those of the account when the client was bound to it.
    account_limits: AccountLimits,
    permissions: Option<Arc<Permissions>>,
    /// What it was let in as, to be judged again when the rules change.
    login: Option<Box<Login>>,
    options: ConnectOptions,
    sids: Sids,
    matches: Matches,
    /// The subject that the last message was mapped to.
    mapped: Vec<u8>,
    rates: Rates,
    /// Messages until the next that is counted for the subjects published to most.
    counted_in: u64,
    /// Whether CONNECT has been accepted.
    connected: bool,
    /// Whether nothing but CONNECT may come.
    awaits_connect: bool,
    first_pong_sent: bool,
    published_since_idle: bool,
    /// What it wanted when it ended.
    last_subscriptions: Option<Box<[SubscriptionPortrait]>>,
}

/// What one turn brought in.
#[derive(Debug, Default)]
struct Received {
    messages: u64,
    bytes: u64,
    /// Which message is to be counted for the subjects that are published to most; 0 for none.
    drawn: u64,
}

impl Received {
    /// Counts a message; whether it is the one that was drawn.
    fn count(&mut self, message: &Publish<'_>) -> bool {
        self.messages += 1;
        self.bytes += message.size.bytes as u64;
        self.messages == self.drawn
    }
}

/// Why a turn cannot go on.
#[derive(Debug)]
enum Stop {
    /// The connection ends.
    Close(CloseReason),
    /// A password must be checked first.
    Verify(Box<PasswordCheck>),
}

/// Whether the turn can go on after an operation.
type Outcome = Result<(), Stop>;

impl Client {
    /// A client that has not said anything yet.
    #[must_use]
    pub fn new(context: Arc<ClientContext>, peer: Arc<Peer>) -> Self {
        let account = Arc::clone(context.broker.global_account());
        let settings = context.settings();
        let awaits_connect = settings.authenticator.is_required();
        // A reload may have come since the peer began.
        peer.set_max_pending(settings.limits.max_pending);
        Self {
            context,
            settings,
            peer,
            account,
            account_limits: AccountLimits::default(),
            permissions: None,
            login: None,
            options: ConnectOptions::default(),
            sids: Sids::default(),
            matches: Matches::default(),
            mapped: Vec::new(),
            rates: Rates::default(),
            counted_in: 0,
            connected: false,
            awaits_connect,
            first_pong_sent: false,
            published_since_idle: false,
            last_subscriptions: None,
        }
    }

    /// Apart, since it would cost registers where each message comes by.
    #[inline(never)]
    fn parse_limits(&self) -> ParseLimits {
        let limits = &self.settings.limits;
        ParseLimits {
            max_control_line: limits.max_control_line,
            max_payload: self.max_payload().unwrap_or(usize::MAX),
            headers: limits.headers && self.options.headers,
        }
    }

    /// The lower one of the server's and the account's limit.
    fn max_payload(&self) -> Option<usize> {
        let limits = [
            self.settings.limits.max_payload,
            self.account_limits.max_payload,
        ];
        limits.into_iter().flatten().min()
    }

    /// Serves operations from the front of `input` until it is used up or something ends the turn.
    fn serve_all(
        &mut self,
        turn: &mut Turn<'_>,
        input: Input<'_>,
        received: &mut Received,
    ) -> Served {
        let traces = tracing::enabled!(tracing::Level::TRACE);
        let mut limits = self.parse_limits();
        let mut repeats = self.repeats(traces);
        let mut consumed = 0;
        loop {
            let rest = input.bytes.get(consumed..).unwrap_or_default();
            let Some(first) = rest.first() else {
                return Served::whole(consumed, Verdict::Continue);
            };
            if self.awaits_connect && !first.eq_ignore_ascii_case(&b'c') {
                if let Err(stop) = self.skip_connect(turn) {
                    return Served::whole(consumed, stop.into());
                }
                (limits, repeats) = (self.parse_limits(), self.repeats(traces));
            }
            if let Some((message, length)) = quick::publish(rest, &limits) {
                consumed += length;
                if traces {
                    self.trace_incoming(&Op::Publish(message), rest);
                }
                self.serve_message(turn, &message, input, received, repeats);
                continue;
            }
            let op = match parse_any(rest, &limits) {
                Ok(Parsed::Complete {
                    op,
                    consumed: length,
                }) => {
                    consumed += length;
                    op
                }
                Ok(Parsed::Incomplete { needed, kept }) => {
                    if self.awaits_connect && kept > limits.max_control_line + STRANGER_SLACK {
                        let error = ParseError::MaximumControlLine(kept);
                        let reason = self.refuse_input(turn, error, rest);
                        return Served::whole(consumed, Verdict::Close(reason));
                    }
                    return Served {
                        consumed,
                        kept,
                        needed,
                        verdict: Verdict::Continue,
                    };
                }
                Err(error) => {
                    let reason = self.refuse_input(turn, error, rest);
                    return Served::whole(consumed, Verdict::Close(reason));
                }
            };
            if traces {
                self.trace_incoming(&op, rest);
            }
            if let Err(stop) = self.serve_op(turn, &op, input, received) {
                // What follows is served once the check that stopped the turn has been made.
                return Served {
                    consumed,
                    kept: input.bytes.len().saturating_sub(consumed),
                    needed: 0,
                    verdict: stop.into(),
                };
            }
            if matches!(op, Op::Connect(_)) {
                limits = self.parse_limits();
            }
            repeats = self.repeats(traces);
        }
    }

    /// Whether nothing has to be decided or said about a message on the subject of the message before.
    fn repeats(&self, traces: bool) -> bool {
        let answers = self.options.verbose || self.options.pedantic;
        !answers && !traces && !self.peer.tracks_responses() && !self.account.maps()
    }

    /// Publishes a message. `repeats` says that it may be like the one before it.
    #[inline]
    fn serve_message(
        &mut self,
        turn: &mut Turn<'_>,
        message: &Publish<'_>,
        input: Input<'_>,
        received: &mut Received,
        repeats: bool,
    ) {
        if received.count(message) {
            self.count_subject(turn, message, received);
        }
        if message.header.is_some() && asks(message, &self.account) {
            self.publish_asking(turn, message, input);
        } else if !repeats || !turn.deliveries.repeat(message) {
            self.publish_untraced(turn, message, input);
        }
    }

    fn serve_op(
        &mut self,
        turn: &mut Turn<'_>,
        op: &Op<'_>,
        input: Input<'_>,
        received: &mut Received,
    ) -> Outcome {
        if let Op::Publish(message) = op {
            self.serve_message(turn, message, input, received, false);
            return Ok(());
        }
        // Whatever an operation changes must not concern messages before it.
        turn.deliveries.end_run();
        match op {
            Op::Publish(_) | Op::Okay => {}
            Op::Subscribe(subscribe) => self.subscribe(turn, subscribe),
            Op::Unsubscribe(unsubscribe) => self.unsubscribe(turn, unsubscribe),
            Op::Ping => self.ping(turn),
            Op::Pong => turn.ponged = true,
            Op::Connect(document) => return self.connect(turn, document),
            Op::Info(document) => return self.info(document),
            Op::Error(text) => {
                self.log_error(&format!("Client Error {}", String::from_utf8_lossy(text)));
                return Err(Stop::Close(CloseReason::ParseError));
            }
        }
        Ok(())
    }

    fn ping(&mut self, turn: &mut Turn<'_>) {
        self.trace(|| "->> [PONG]".to_owned());
        turn.deliveries.send(turn.peer, encode::PONG);
        if self.connected && !self.first_pong_sent {
            self.first_pong_sent = true;
            if self.options.protocol >= PROTOCOL_ASYNC_INFO {
                let mut info = self.context.info_for(&self.peer);
                info.connect_info = true;
                // Even where the server is a lame duck already (oracle).
                info.ldm = false;
                self.account.name().clone_into(&mut info.remote_account);
                info.max_payload = told(self.max_payload());
                info.acc_is_sys = Arc::ptr_eq(&self.account, self.context.broker.system_account());
                turn.deliveries
                    .send(turn.peer, &encode::info(&info.to_json()));
                self.tell_peer();
            }
        }
    }

    /// Only servers send INFO; from a client it must at least be a JSON object.
    fn info(&self, document: &[u8]) -> Outcome {
        let text = String::from_utf8_lossy(document);
        match serde_json::from_str(&text) {
            Ok(serde_json::Value::Object(_) | serde_json::Value::Null) => Ok(()),
            Ok(_) | Err(_) => {
                self.log_error("INFO is no JSON object");
                Err(Stop::Close(CloseReason::ProtocolViolation))
            }
        }
    }

    /// Lets others know what CONNECT said. An INFO that nobody asked for is sent only to clients that
    /// had their first pong: before that they would not expect it (oracle).
    fn tell_peer(&self) {
        let headers = self.settings.limits.headers && self.options.headers;
        let wants_info = self.first_pong_sent && self.options.protocol >= PROTOCOL_ASYNC_INFO;
        self.peer
            .set_options(self.options.echo, headers, wants_info);
    }

    fn confirm(&self, turn: &mut Turn<'_>) {
        if self.options.verbose {
            self.trace(|| "->> [OK]".to_owned());
            turn.deliveries.send(turn.peer, encode::OKAY);
        }
    }

    /// Gives up to `count` subscriptions up; how many there were.
    fn release_subscriptions(&mut self, count: usize) -> usize {
        let subscriptions = self.sids.take(count);
        for subscription in &subscriptions {
            self.peer.end_subscription(subscription);
            self.account.unsubscribe(subscription);
        }
        subscriptions.len()
    }
}

/// A limit of payloads as INFO tells it: -1 is none.
fn told(limit: Option<usize>) -> i64 {
    limit.map_or(-1, |most| i64::try_from(most).unwrap_or(i64::MAX))
}

impl From<Stop> for Verdict {
    fn from(stop: Stop) -> Self {
        match stop {
            Stop::Close(reason) => Self::Close(reason),
            Stop::Verify(check) => Self::Verify(check),
        }
    }
}

impl Link for Client {
    fn serve(&mut self, turn: &mut Turn<'_>, input: Input<'_>) -> Served {
        let mut received = Received::default();
        if self.account.counts_subjects() {
            self.draw(turn, &mut received);
        }
        let served = self.serve_all(turn, input, &mut received);
        turn.deliveries.end_run();
        let Received {
            messages,
            bytes,
            drawn,
        } = received;
        self.counted_in = drawn.saturating_sub(messages);
        turn.messages = messages;
        turn.pause = self.rates.take(messages, bytes, turn.now);
        self.peer.count_received(messages, bytes, turn.now);
        self.account.received.add(received.messages, received.bytes);
        self.context
            .broker
            .stats
            .received
            .add(received.messages, received.bytes);
        let (messages, bytes) = turn.deliveries.take_traffic();
        self.account.sent.add(messages, bytes);
        served
    }

    fn verified(&mut self, turn: &mut Turn<'_>, outcome: Result<Login, Rejection>) -> Verdict {
        // The rules may have changed while the password was checked.
        let outcome = outcome.and_then(|login| self.confirmed(login));
        match self.finish_login(turn, outcome) {
            Ok(()) => Verdict::Continue,
            Err(stop) => stop.into(),
        }
    }

    fn overflowed(&self, slow: &Arc<Peer>) {
        self.context.broker.report_overflow(slow);
    }

    fn read_failed(&mut self, error: &io::Error) -> CloseReason {
        crate::link::report::read_failed(&self.peer, error)
    }

    fn stale(&mut self) {
        self.context.broker.stats.stale_connections.add(1);
        self.log_debug("Stale Client Connection - Closing");
        self.peer
            .send(&encode::error(&ProtocolError::StaleConnection));
    }

    fn not_introduced(&mut self) {
        self.log_debug("Authentication Timeout");
        self.peer
            .send(&encode::error(&ProtocolError::AuthenticationTimeout));
    }

    fn write_deadline_passed(&mut self, deadline: Duration) {
        self.context.broker.stats.slow_consumers.add(1);
        self.account.slow_consumers.add(1);
        let reason = CloseReason::SlowConsumerWriteDeadline;
        self.context
            .broker
            .notice(|| Event::SlowConsumer(Arc::clone(&self.peer), reason));
        crate::link::report::write_deadline_passed(&self.peer, deadline);
    }

    fn pinging(&mut self) {
        self.trace(|| "->> [PING]".to_owned());
    }

    fn idle(&mut self) {
        self.log_debug("Client Ping Timer");
        if !std::mem::take(&mut self.published_since_idle) {
            self.matches.clear();
            self.mapped = Vec::new();
        }
    }

    fn reconsider(&mut self, now: Instant) -> Option<Timeouts> {
        self.take_over_settings(now)
    }

    fn release(&mut self) -> bool {
        if self.last_subscriptions.is_none() {
            self.last_subscriptions = Some(
                self.sids
                    .portraits(REMEMBERED_SUBSCRIPTIONS, REMEMBERED_BYTES),
            );
        }
        self.release_subscriptions(RELEASE_STEP) == RELEASE_STEP
    }

    fn closed(&mut self, reason: CloseReason) {
        self.matches.clear();
        self.context.broker.deregister(&self.peer);
        if self.connected {
            self.account.connections.subtract(1);
            self.context
                .broker
                .notice(|| Event::Disconnected(Arc::clone(&self.peer), reason));
        }
        self.context.broker.closed.add(ClosedConnection {
            portrait: self.peer.portrait(),
            reason,
            subscriptions: self.last_subscriptions.take().unwrap_or_default(),
        });
        self.log_debug(&format!("Client connection closed: {reason}"));
    }
}
