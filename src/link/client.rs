//! Clients: what a server does for each operation of the client protocol.

use std::fmt;
use std::io;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use super::sids::Sids;
use super::trace;
use crate::broker::account::Account;
use crate::broker::close::CloseReason;
use crate::broker::deliver::{Matches, Publication};
use crate::broker::peer::{Facts, Peer};
use crate::broker::registry::Broker;
use crate::broker::subscription::Subscription;
use crate::conn::turn::{Input, Link, Served, Turn, Verdict};
use crate::proto::encode;
use crate::proto::error::ProtocolError;
use crate::proto::info::{ConnectOptions, Info, PROTOCOL_ASYNC_INFO};
use crate::proto::op::{Op, Publish, Subscribe, Unsubscribe};
use crate::proto::parse::{ParseError, ParseLimits, Parsed, parse};
use crate::subject;

/// What a client may do at most. Sizes are in bytes; 0 means without limit where it says so.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Longest argument line.
    pub max_control_line: usize,
    /// Largest header block and payload together.
    pub max_payload: usize,
    /// Most bytes that may wait for a client before it is cut off.
    pub max_pending: usize,
    /// Most connections; 0 for no limit.
    pub max_connections: usize,
    /// Most subscriptions of one connection; 0 for no limit.
    pub max_subscriptions: usize,
    /// Most tokens in a filter; 0 for no limit.
    pub max_subscription_tokens: usize,
    /// Whether headers are supported.
    pub headers: bool,
    /// Leave messages out for slow peers instead of pausing their publisher.
    pub no_fast_producer_stall: bool,
    /// Most bytes of a message that a trace line shows; 0 for all.
    pub max_traced_message: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_control_line: 4096,
            max_payload: 1024 * 1024,
            max_pending: 64 * 1024 * 1024,
            max_connections: 64 * 1024,
            max_subscriptions: 0,
            max_subscription_tokens: 0,
            headers: true,
            no_fast_producer_stall: false,
            max_traced_message: 0,
        }
    }
}

/// Who a client turned out to be.
#[derive(Debug, Clone)]
pub struct Identity {
    /// The account it belongs to.
    pub account: Arc<Account>,
    /// How logs call the user; empty where nobody had to log in.
    pub user: String,
}

/// Decides who a client is.
pub trait Authenticate: fmt::Debug + Send + Sync {
    /// Whether CONNECT must come first and carry credentials.
    fn is_required(&self) -> bool;

    /// The client's identity; `None` when its credentials are not known.
    fn authenticate(&self, options: &ConnectOptions, broker: &Broker) -> Option<Identity>;
}

/// What all clients of a server share.
#[derive(Debug)]
pub struct ClientContext {
    /// Accounts, connections and counters.
    pub broker: Arc<Broker>,
    /// Who may come in.
    pub authenticate: Box<dyn Authenticate>,
    limits: RwLock<Arc<Limits>>,
    info: RwLock<Arc<Info>>,
}

impl ClientContext {
    /// A context with these limits, whose clients are told `info`.
    #[must_use]
    pub fn new(
        broker: Arc<Broker>,
        authenticate: Box<dyn Authenticate>,
        limits: Limits,
        info: Info,
    ) -> Self {
        let (limits, info) = (RwLock::new(Arc::new(limits)), RwLock::new(Arc::new(info)));
        Self {
            broker,
            authenticate,
            limits,
            info,
        }
    }

    /// The limits in force for new connections.
    #[must_use]
    pub fn limits(&self) -> Arc<Limits> {
        Arc::clone(&self.limits.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// What clients are told, less what concerns one of them alone.
    #[must_use]
    pub fn info(&self) -> Arc<Info> {
        Arc::clone(&self.info.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Changes what clients are told from now on.
    pub fn update_info(&self, change: impl FnOnce(&mut Info)) {
        let mut info = self.info.write().unwrap_or_else(PoisonError::into_inner);
        change(Arc::make_mut(&mut info));
    }

    /// The INFO document for one client.
    #[must_use]
    pub fn info_for(&self, client: &Peer) -> Info {
        let mut info = (*self.info()).clone();
        info.client_id = client.id();
        info.client_ip.clone_from(&client.facts().ip);
        info.auth_required = self.authenticate.is_required();
        info
    }
}

/// Subscriptions given up in one step when a connection ends, so that one with very many of them does
/// not keep a worker thread from its other work.
const RELEASE_STEP: usize = 1024;

/// Subscriptions that ended by themselves before the list is swept.
const SWEEP_AFTER: usize = 32;

/// Reply subjects that only servers may use, since they route answers between accounts and streams.
const RESERVED_REPLIES: [&[u8]; 4] = [b"_R_.", b"_GR_.", b"$GR.", b"$JS.ACK."];

/// One client.
#[derive(Debug)]
pub struct Client {
    context: Arc<ClientContext>,
    limits: Arc<Limits>,
    peer: Arc<Peer>,
    account: Arc<Account>,
    options: ConnectOptions,
    sids: Sids,
    matches: Matches,
    connected: bool,
    /// Whether CONNECT with credentials is still to come.
    awaits_credentials: bool,
    first_pong_sent: bool,
    published_since_idle: bool,
}

/// What one turn brought in.
#[derive(Debug, Default)]
struct Received {
    messages: u64,
    bytes: u64,
}

/// Whether the connection can go on after an operation.
type Outcome = Result<(), CloseReason>;

impl Client {
    /// A client that has not said anything yet.
    #[must_use]
    pub fn new(context: Arc<ClientContext>, peer: Arc<Peer>) -> Self {
        let account = Arc::clone(context.broker.global_account());
        let awaits_credentials = context.authenticate.is_required();
        Self {
            limits: context.limits(),
            peer,
            account,
            options: ConnectOptions::default(),
            sids: Sids::default(),
            matches: Matches::default(),
            connected: false,
            awaits_credentials,
            first_pong_sent: false,
            published_since_idle: false,
            context,
        }
    }

    fn parse_limits(&self) -> ParseLimits {
        ParseLimits {
            max_control_line: self.limits.max_control_line,
            max_payload: self.limits.max_payload,
            headers: self.limits.headers && self.options.headers,
        }
    }

    /// Serves one operation.
    fn serve_op(
        &mut self,
        turn: &mut Turn<'_>,
        op: &Op<'_>,
        input: Input<'_>,
        received: &mut Received,
    ) -> Outcome {
        if !matches!(op, Op::Publish(_)) {
            // Whatever an operation changes must not concern messages before it.
            turn.deliveries.end_run();
        }
        match op {
            Op::Publish(message) => {
                received.messages += 1;
                received.bytes += message.size.bytes as u64;
                self.publish(turn, message, input);
            }
            Op::Subscribe(subscribe) => self.subscribe(turn, subscribe),
            Op::Unsubscribe(unsubscribe) => self.unsubscribe(turn, unsubscribe),
            Op::Ping => self.ping(turn),
            Op::Pong => turn.ponged = true,
            Op::Connect(document) => return self.connect(turn, document),
            Op::Info(document) => return self.info(document),
            Op::Okay => {}
            Op::Error(text) => {
                self.log_error(&format!("Client Error {}", String::from_utf8_lossy(text)));
                return Err(CloseReason::ParseError);
            }
        }
        Ok(())
    }

    fn publish(&mut self, turn: &mut Turn<'_>, message: &Publish<'_>, input: Input<'_>) {
        if self.options.pedantic && !subject::is_valid_subject(message.subject) {
            self.refuse(turn, &ProtocolError::InvalidPublishSubject);
        }
        if let Some(reply) = message.reply
            && RESERVED_REPLIES
                .iter()
                .any(|prefix| reply.starts_with(prefix))
        {
            self.refuse(turn, &ProtocolError::ReplyViolation(reply.to_vec()));
            return;
        }
        if self.options.verbose {
            turn.deliveries.send(turn.peer, encode::OKAY);
        }
        self.published_since_idle = true;
        let answers_no_responders = self.options.no_responders && message.reply.is_some();
        let publication = Publication {
            message,
            source: input.source,
            from: turn.peer,
            drop_when_gated: self.limits.no_fast_producer_stall,
            gathered: !self.options.verbose && !answers_no_responders,
        };
        let (deliveries, matches) = (&mut *turn.deliveries, &mut self.matches);
        if publication.gathered {
            deliveries.publish(&self.account, matches, &publication);
        } else if deliveries.publish_now(&self.account, matches, &publication) == 0
            && answers_no_responders
        {
            deliveries.answer_no_responders(&self.account, turn.peer, message);
        }
    }

    fn subscribe(&mut self, turn: &mut Turn<'_>, subscribe: &Subscribe<'_>) {
        self.sweep();
        let filter = subscribe.filter;
        let most_tokens = self.limits.max_subscription_tokens;
        if most_tokens > 0 && subject::tokens(filter).count() > most_tokens {
            self.refuse(turn, &ProtocolError::TooManySubjectTokens(filter.to_vec()));
            return;
        }
        let most = self.limits.max_subscriptions;
        if most > 0 && self.sids.len().saturating_sub(self.peer.expired()) >= most {
            self.refuse(turn, &ProtocolError::MaximumSubscriptions);
            return;
        }
        let taken = self
            .sids
            .get(subscribe.sid)
            .is_some_and(|found| !found.is_closed());
        if !taken {
            if !subject::is_valid_filter(filter) {
                self.refuse(turn, &ProtocolError::InvalidSubject);
                return;
            }
            self.sids.remove(subscribe.sid);
            if let Some(subscription) = Subscription::new(subscribe, Arc::clone(turn.peer)) {
                let subscription = Arc::new(subscription);
                self.sids.insert(Arc::clone(&subscription));
                self.account.subscribe(subscription);
            }
        }
        self.confirm(turn);
    }

    fn unsubscribe(&mut self, turn: &mut Turn<'_>, unsubscribe: &Unsubscribe<'_>) {
        let limited = match (self.sids.get(unsubscribe.sid), unsubscribe.max) {
            (Some(subscription), Some(max)) => self.peer.limit_subscription(subscription, max),
            (Some(_) | None, _) => false,
        };
        if !limited && let Some(subscription) = self.sids.remove(unsubscribe.sid) {
            self.peer.end_subscription(&subscription);
            self.account.unsubscribe(&subscription);
        }
        self.confirm(turn);
    }

    /// Drops subscriptions that ended by themselves once they are many.
    fn sweep(&mut self) {
        let expired = self.peer.expired();
        if expired > SWEEP_AFTER && expired > self.sids.len() / 2 {
            self.peer.forget_expired();
            self.sids.drop_closed();
        }
    }

    fn ping(&mut self, turn: &mut Turn<'_>) {
        turn.deliveries.send(turn.peer, encode::PONG);
        if self.connected && !self.first_pong_sent {
            self.first_pong_sent = true;
            if self.options.protocol >= PROTOCOL_ASYNC_INFO {
                let mut info = self.context.info_for(&self.peer);
                info.connect_info = true;
                self.account.name().clone_into(&mut info.remote_account);
                info.acc_is_sys = Arc::ptr_eq(&self.account, self.context.broker.system_account());
                turn.deliveries
                    .send(turn.peer, &encode::info(&info.to_json()));
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
                Err(CloseReason::ProtocolViolation)
            }
        }
    }

    fn connect(&mut self, turn: &mut Turn<'_>, document: &[u8]) -> Outcome {
        if self.options.merge(document).is_err() {
            self.log_error("CONNECT is no JSON object with fields of the right types");
            return Err(CloseReason::ProtocolViolation);
        }
        turn.introduced = true;
        if self.connected {
            self.release_subscriptions(usize::MAX);
        }
        let wants_account = self.options.new_account || !self.options.account.is_empty();
        let identity = self
            .context
            .authenticate
            .authenticate(&self.options, &self.context.broker);
        let Some(identity) = identity.filter(|_| !wants_account) else {
            return Err(self.deny(turn));
        };
        self.connected = true;
        self.awaits_credentials = false;
        self.bind(&identity);
        self.forget_secrets();
        self.check_options(turn)?;
        self.confirm(turn);
        Ok(())
    }

    /// Takes over the account and what else CONNECT decided.
    fn bind(&mut self, identity: &Identity) {
        if !Arc::ptr_eq(&self.account, &identity.account) {
            self.account = Arc::clone(&identity.account);
            self.matches.clear();
        }
        let headers = self.limits.headers && self.options.headers;
        let wants_info = self.options.protocol >= PROTOCOL_ASYNC_INFO;
        self.peer
            .set_options(self.options.echo, headers, wants_info);
        self.peer
            .set_label(&label(self.peer.facts(), &self.options, identity));
    }

    /// Nothing needs the credentials any more.
    fn forget_secrets(&mut self) {
        self.options.pass = String::new();
        self.options.auth_token = String::new();
        self.options.sig = String::new();
        self.options.jwt = String::new();
    }

    fn check_options(&self, turn: &mut Turn<'_>) -> Outcome {
        if !(0..=PROTOCOL_ASYNC_INFO).contains(&self.options.protocol) {
            self.refuse(turn, &ProtocolError::InvalidClientProtocol);
            return Err(CloseReason::BadClientProtocolVersion);
        }
        if self.options.no_responders && !(self.limits.headers && self.options.headers) {
            self.refuse(turn, &ProtocolError::NoRespondersRequiresHeaders);
            return Err(CloseReason::NoRespondersRequiresHeaders);
        }
        Ok(())
    }

    /// Nobody knows these credentials.
    fn deny(&self, turn: &mut Turn<'_>) -> CloseReason {
        let user = &self.options.user;
        if user.is_empty() {
            self.log_error("authentication error");
        } else {
            self.log_error(&format!("authentication error - User {user:?}"));
        }
        self.refuse(turn, &ProtocolError::AuthorizationViolation);
        CloseReason::AuthenticationViolation
    }

    fn confirm(&self, turn: &mut Turn<'_>) {
        if self.options.verbose {
            turn.deliveries.send(turn.peer, encode::OKAY);
        }
    }

    /// Sends an error; whether the connection ends is the caller's business.
    fn refuse(&self, turn: &mut Turn<'_>, error: &ProtocolError) {
        self.trace(|| format!("->> [-ERR {}]", error.text()));
        turn.deliveries.send(turn.peer, &encode::error(error));
    }

    /// The input makes no sense any more: says why, as nats-server does, and ends the connection.
    fn refuse_input(&self, turn: &mut Turn<'_>, error: ParseError, input: &[u8]) -> CloseReason {
        let (told, reason, log) = match error {
            ParseError::UnknownOperation(at) => {
                let snippet: Vec<u8> = input.iter().copied().take(32).collect();
                let log = format!(
                    "Client parser ERROR, i={at}: proto='{}...'",
                    trace::quoted(&snippet)
                );
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
            ParseError::MaximumPayload(size) => (
                Some(ProtocolError::MaximumPayload),
                CloseReason::MaximumPayloadExceeded,
                format!(
                    "maximum payload exceeded: {size} vs {}",
                    self.limits.max_payload
                ),
            ),
            ParseError::HeadersNotSupported => (
                None,
                CloseReason::ProtocolViolation,
                "message headers not supported".to_owned(),
            ),
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

    /// Gives up to `count` subscriptions up; how many there were.
    fn release_subscriptions(&mut self, count: usize) -> usize {
        let subscriptions = self.sids.take(count);
        for subscription in &subscriptions {
            self.peer.end_subscription(subscription);
            self.account.unsubscribe(subscription);
        }
        subscriptions.len()
    }

    fn log_error(&self, text: &str) {
        tracing::error!(cid = self.peer.id(), "{} - {text}", self.peer.label());
    }

    fn log_debug(&self, text: &str) {
        tracing::debug!(cid = self.peer.id(), "{} - {text}", self.peer.label());
    }

    fn log_info(&self, text: &str) {
        tracing::info!(cid = self.peer.id(), "{} - {text}", self.peer.label());
    }

    fn trace(&self, text: impl FnOnce() -> String) {
        if tracing::enabled!(tracing::Level::TRACE) {
            tracing::trace!(cid = self.peer.id(), "{} - {}", self.peer.label(), text());
        }
    }

    fn trace_incoming(&self, op: &Op<'_>, input: &[u8]) {
        if let Some(line) = trace::incoming(op, input) {
            self.trace(|| line);
        }
        if let Op::Publish(message) = op {
            self.trace(|| trace::payload("<<-", message, self.limits.max_traced_message));
        }
    }
}

impl Link for Client {
    fn serve(&mut self, turn: &mut Turn<'_>, input: Input<'_>) -> Served {
        let traces = tracing::enabled!(tracing::Level::TRACE);
        let mut received = Received::default();
        let mut consumed = 0;
        let mut limits = self.parse_limits();
        let (verdict, needed) = loop {
            let rest = input.bytes.get(consumed..).unwrap_or_default();
            let Some(first) = rest.first() else {
                break (Verdict::Continue, 0);
            };
            if self.awaits_credentials && !first.eq_ignore_ascii_case(&b'c') {
                break (Verdict::Close(self.deny(turn)), 0);
            }
            match parse(rest, &limits) {
                Ok(Parsed::Complete {
                    op,
                    consumed: length,
                }) => {
                    if traces {
                        self.trace_incoming(&op, rest);
                    }
                    consumed += length;
                    if let Err(reason) = self.serve_op(turn, &op, input, &mut received) {
                        break (Verdict::Close(reason), 0);
                    }
                    if matches!(op, Op::Connect(_)) {
                        limits = self.parse_limits();
                    }
                }
                Ok(Parsed::Incomplete { needed }) => break (Verdict::Continue, needed),
                Err(error) => break (Verdict::Close(self.refuse_input(turn, error, rest)), 0),
            }
        };
        self.peer.count_received(received.messages, received.bytes);
        self.account.received.add(received.messages, received.bytes);
        self.context
            .broker
            .stats
            .received
            .add(received.messages, received.bytes);
        let (messages, bytes) = turn.deliveries.take_traffic();
        self.account.sent.add(messages, bytes);
        Served {
            consumed,
            needed,
            verdict,
        }
    }

    fn overflowed(&self, slow: &Peer) {
        self.context.broker.stats.slow_consumers.add(1);
        tracing::info!(
            cid = slow.id(),
            "{} - Slow Consumer Detected: MaxPending of {} Exceeded",
            slow.label(),
            slow.max_pending()
        );
    }

    fn read_failed(&mut self, error: &io::Error) -> CloseReason {
        if error.kind() == io::ErrorKind::ConnectionReset {
            return CloseReason::ClientClosed;
        }
        self.log_error(&format!("read error: {error}"));
        CloseReason::ReadError
    }

    fn stale(&mut self) {
        self.context.broker.stats.stale_connections.add(1);
        self.log_debug("Stale Client Connection - Closing");
        self.peer
            .send(&encode::error(&ProtocolError::StaleConnection));
    }

    fn not_introduced(&mut self) {
        self.log_debug("Authorization Timeout");
        self.peer
            .send(&encode::error(&ProtocolError::AuthenticationTimeout));
    }

    fn write_deadline_passed(&mut self, deadline: Duration) {
        self.context.broker.stats.slow_consumers.add(1);
        self.account.slow_consumers.add(1);
        self.log_info(&format!(
            "Slow Consumer Detected: WriteDeadline of {deadline:?} exceeded with {} total bytes.",
            self.peer.pending()
        ));
    }

    fn idle(&mut self) {
        if !std::mem::take(&mut self.published_since_idle) {
            self.matches.clear();
        }
    }

    fn release(&mut self) -> bool {
        self.release_subscriptions(RELEASE_STEP) == RELEASE_STEP
    }

    fn closed(&mut self, reason: CloseReason) {
        self.matches.clear();
        self.context.broker.deregister(&self.peer);
        self.log_debug(&format!("Client connection closed: {reason}"));
    }
}

/// How logs call a client: address, number, and what CONNECT told.
fn label(facts: &Facts, options: &ConnectOptions, identity: &Identity) -> String {
    let version = if options.version.is_empty() { "" } else { "v" };
    let version = format!("{version}{}", options.version);
    let words = [&version, &options.lang, &options.name];
    let told: Vec<&str> = words
        .into_iter()
        .map(String::as_str)
        .filter(|word| !word.is_empty())
        .collect();
    let mut label = facts.label.clone();
    if !told.is_empty() {
        label.push_str(&format!(" - {:?}", told.join(":")));
    }
    if !identity.user.is_empty() {
        label.push_str(&format!(
            " - {:?}",
            format!("{}/{}", identity.account.name(), identity.user)
        ));
    }
    label
}
