//! Routes: what a server does for each operation of another one of its cluster.

mod accounts;
pub mod compression;
mod handshake;
mod interest;
mod report;
mod traced;

use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::auth::{Authenticator, Login, PasswordCheck, Permissions, Rejection};
use crate::broker::account::Account;
use crate::broker::close::CloseReason;
use crate::broker::deliver::Publication;
use crate::broker::events::Event;
use crate::broker::peer::Peer;
use crate::broker::registry::Broker;
use crate::broker::wishes::Wishes;
use crate::conn::compression::Level;
use crate::conn::turn::{Compress, Input, Link, Served, Turn, Verdict};
use crate::proto::display::PayloadTrace;
use crate::proto::encode;
use crate::proto::route::{RouteLimits, RouteOp, RouteParsed, RoutedMessage, parse_route};
use crate::proto::route_info::{RouteConnect, RouteInfo};
use accounts::Accounts;
use compression::CompressionMode;
use traced::Tracing;

/// Longest control line of a server that has not been let in, in bytes.
const MAX_FIRST_LINE: usize = 64 * 1024;
/// Longest control line of a server that has been let in, in bytes: an INFO may name many URLs.
const MAX_LINE: usize = 1024 * 1024;
/// What a message may have more than the payload limit, in bytes: headers that servers add.
const ADDED_HEADERS: usize = 64 * 1024;
/// Wishes given up in one step when a link ends, so that a link with very many of them does not keep a
/// worker thread from its other work.
const RELEASE_STEP: usize = 1024;

/// Who decides about links: the cluster.
pub trait RouteHost: fmt::Debug + Send + Sync {
    /// A server that has connected was let in by its credentials and has told who it is.
    fn connected(&self, link: u64, connect: &RouteConnect);
    /// The other server has told about itself, or about a third.
    fn informed(&self, link: u64, info: RouteInfo);
    /// The other server has answered a ping.
    fn ponged(&self, link: u64);
    /// The link has ended.
    fn closed(&self, link: u64);
    /// How a link is compressed from now on; the INFO document that says so to the other server.
    fn compression_chosen(&self, link: u64, word: &'static str) -> String;
    /// How much a link is compressed from now on.
    fn level_changed(&self, link: u64, level: Level);
    /// Something is wrong with a link: for the log, which repeats itself only now and then.
    fn complain(&self, link: u64, text: String);
}

/// What links of a server have in common; a link keeps what was in force when it began.
#[derive(Debug, Clone)]
pub struct RouteSettings {
    /// Who may come in.
    pub authenticator: Arc<Authenticator>,
    /// What may be imported and exported; everything without any.
    pub permissions: Option<Arc<Permissions>>,
    /// Largest header block and payload together in bytes; `None` for no limit.
    pub max_payload: Option<usize>,
    /// Whether headers are supported.
    pub headers: bool,
    /// How much of a message trace lines show.
    pub trace: PayloadTrace,
    /// How links are compressed.
    pub compression: CompressionMode,
}

/// Where a link stands with the other server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// It has connected; nothing but CONNECT may come.
    Connect,
    /// Its first INFO has not come.
    Info,
    /// It is known.
    Open,
}

/// A link to another server.
#[derive(Debug)]
pub struct Route {
    broker: Arc<Broker>,
    host: Arc<dyn RouteHost>,
    settings: Arc<RouteSettings>,
    peer: Arc<Peer>,
    stage: Stage,
    dialed: bool,
    /// What it said first, while its password is checked.
    connect: Option<Box<RouteConnect>>,
    limits: RouteLimits,
    /// The account that has the link for itself.
    own_account: Option<Arc<Account>>,
    /// Whether compression has been agreed upon, and the level while the round-trip time decides.
    agreed: bool,
    auto_level: Option<Level>,
    began: Instant,
    accounts: Accounts,
    wishes: Wishes,
    remote_name: String,
}

/// What one turn brought in.
#[derive(Debug, Default)]
struct Received {
    messages: u64,
    bytes: u64,
}

/// Why a turn cannot go on.
#[derive(Debug)]
enum Stop {
    Close(CloseReason),
    Verify(Box<PasswordCheck>),
    Compress(Compress),
}

type Outcome = Result<(), Stop>;

impl Route {
    /// A link over `peer`. `dialed` is `None` where the other server has connected, otherwise the account
    /// that the link was dialed for, if it is for one. It began `began`.
    #[must_use]
    pub fn new(
        broker: Arc<Broker>,
        host: Arc<dyn RouteHost>,
        settings: Arc<RouteSettings>,
        peer: Arc<Peer>,
        dialed: Option<Option<String>>,
        began: Instant,
    ) -> Self {
        let own_account = dialed
            .as_ref()
            .and_then(|account| account.as_deref())
            .map(|account| broker.account(account));
        Self {
            stage: if dialed.is_some() {
                Stage::Info
            } else {
                Stage::Connect
            },
            dialed: dialed.is_some(),
            connect: None,
            limits: RouteLimits {
                max_line: MAX_FIRST_LINE,
                max_payload: settings
                    .max_payload
                    .map_or(usize::MAX, |most| most.saturating_add(ADDED_HEADERS)),
                names_account: own_account.is_none(),
                names_origin: true,
            },
            own_account,
            agreed: false,
            auto_level: None,
            began,
            accounts: Accounts::default(),
            wishes: Wishes::default(),
            remote_name: String::new(),
            broker,
            host,
            settings,
            peer,
        }
    }

    /// Serves operations from the front of `input` until it is used up or something ends the turn.
    fn serve_all(
        &mut self,
        turn: &mut Turn<'_>,
        input: Input<'_>,
        received: &mut Received,
    ) -> Served {
        let traces = tracing::enabled!(tracing::Level::TRACE);
        let mut consumed = 0;
        loop {
            let rest = input.bytes.get(consumed..).unwrap_or_default();
            if rest.is_empty() {
                return Served::whole(consumed, Verdict::Continue);
            }
            if let Err(stop) = self.check_first_byte(turn, rest) {
                return Served::whole(consumed, stop.into());
            }
            let (op, length) = match parse_route(rest, &self.limits) {
                Ok(RouteParsed::Complete(op, length)) => (op, length),
                Ok(RouteParsed::Incomplete(needed)) => {
                    return Served {
                        consumed,
                        kept: rest.len(),
                        needed,
                        verdict: Verdict::Continue,
                    };
                }
                Err(error) => {
                    let reason = self.refuse_input(turn, error, rest);
                    return Served::whole(consumed, Verdict::Close(reason));
                }
            };
            consumed += length;
            if traces {
                self.trace_incoming(&op, rest);
            }
            if let Err(stop) = self.serve_op(turn, &op, input, received) {
                return Served {
                    consumed,
                    kept: input.bytes.len().saturating_sub(consumed),
                    needed: 0,
                    verdict: stop.into(),
                };
            }
        }
    }

    fn serve_op(
        &mut self,
        turn: &mut Turn<'_>,
        op: &RouteOp<'_>,
        input: Input<'_>,
        received: &mut Received,
    ) -> Outcome {
        if let RouteOp::Message(message) = op {
            self.check_open()?;
            received.messages += 1;
            received.bytes += message.publish.size.bytes as u64;
            self.deliver(turn, message, input);
            return Ok(());
        }
        turn.deliveries.end_run();
        match op {
            RouteOp::Message(_) | RouteOp::Okay | RouteOp::Account => {}
            RouteOp::Interest(interest) => {
                self.check_open()?;
                self.add_interest(turn, interest);
            }
            RouteOp::NoInterest(interest) => {
                self.check_open()?;
                self.drop_interest(turn, interest);
            }
            RouteOp::Ping => turn.deliveries.send(turn.peer, encode::PONG),
            RouteOp::Pong => {
                turn.ponged = true;
                self.host.ponged(self.peer.id());
                self.check_closing()?;
            }
            RouteOp::Connect(document) => return self.connect(turn, document),
            RouteOp::Info(document) => return self.info(turn, document),
            RouteOp::Error(text) => {
                let text = String::from_utf8_lossy(text);
                self.complain(format!("Route Error {text}"));
                return Err(Stop::Close(CloseReason::ParseError));
            }
        }
        Ok(())
    }

    fn deliver(&mut self, turn: &mut Turn<'_>, message: &RoutedMessage<'_>, input: Input<'_>) {
        let name = message.account;
        let broker = &self.broker;
        let own = self.own_account.as_ref();
        let Some(entry) = self.accounts.find(name.unwrap_or_default(), || match name {
            None => own.map(Arc::clone),
            Some(name) => broker.existing_account(&String::from_utf8_lossy(name)),
        }) else {
            let name = String::from_utf8_lossy(name.unwrap_or_default()).into_owned();
            return self.log_debug(&format!("Unknown account {name:?} for routed message"));
        };
        let size = message.publish.size.bytes as u64;
        entry.messages += 1;
        entry.bytes += size;
        let tracing = match message.publish.header {
            None => Tracing::Off,
            Some(_) => traced::begin(&self.settings, turn, &entry.account, &message.publish),
        };
        if tracing == Tracing::Dropped {
            return;
        }
        let traces = tracing::enabled!(tracing::Level::TRACE);
        let publication = Publication {
            message: &message.publish,
            source: input.source,
            from: turn.peer,
            drop_when_gated: false,
            gathered: !traces && tracing == Tracing::Off,
            trace: traces.then_some(self.settings.trace),
            now: turn.now,
            from_elsewhere: true,
            passage: None,
        };
        turn.deliveries.publish_routed(
            &entry.account,
            &mut entry.matches,
            &publication,
            message.queues(),
        );
        if let Some(report) = turn.deliveries.end_trace() {
            self.broker.notice(|| Event::Traced(Box::new(report)));
        }
    }

    /// Interest and messages come only from servers that are known.
    fn check_open(&self) -> Outcome {
        if self.stage == Stage::Open {
            return Ok(());
        }
        self.complain("interest or message before INFO".to_owned());
        Err(Stop::Close(CloseReason::ProtocolViolation))
    }

    /// The host may have ended the link in answer to what it was told.
    fn check_closing(&self) -> Outcome {
        match self.peer.condition().closing {
            None => Ok(()),
            Some(reason) => Err(Stop::Close(reason)),
        }
    }
}

impl From<Stop> for Verdict {
    fn from(stop: Stop) -> Self {
        match stop {
            Stop::Close(reason) => Self::Close(reason),
            Stop::Verify(check) => Self::Verify(check),
            Stop::Compress(compress) => Self::Compress(compress),
        }
    }
}

impl Link for Route {
    fn serve(&mut self, turn: &mut Turn<'_>, input: Input<'_>) -> Served {
        let mut received = Received::default();
        let served = self.serve_all(turn, input, &mut received);
        turn.deliveries.end_run();
        // Whoever is slow here must not hold up what other servers send for everybody.
        drop(turn.deliveries.take_stall());
        self.peer
            .count_received(received.messages, received.bytes, turn.now);
        let stats = &self.broker.stats;
        stats
            .received_from_servers
            .add(received.messages, received.bytes);
        self.accounts.count_traffic(turn.deliveries.take_traffic());
        served
    }

    fn verified(&mut self, turn: &mut Turn<'_>, outcome: Result<Login, Rejection>) -> Verdict {
        match self.let_in(turn, outcome) {
            Ok(()) => Verdict::Continue,
            Err(stop) => stop.into(),
        }
    }

    fn overflowed(&self, slow: &Arc<Peer>) {
        self.broker.report_overflow(slow);
    }

    fn read_failed(&mut self, error: &io::Error) -> CloseReason {
        crate::link::report::read_failed(&self.peer, error)
    }

    /// A server that refuses another one says why and closes; that may be noticed first by a write.
    fn hears_last_words(&self) -> bool {
        true
    }

    fn stale(&mut self) {
        self.broker.stats.stale_connections.add(1);
        self.log_debug("Stale Route Connection - Closing");
        self.send_error("Stale Connection");
    }

    fn not_introduced(&mut self) {
        self.complain("authentication timeout".to_owned());
        self.send_error("Authentication Timeout");
    }

    fn write_deadline_passed(&mut self, deadline: Duration) {
        self.broker.stats.slow_consumers.add(1);
        crate::link::report::write_deadline_passed(&self.peer, deadline);
    }

    fn pinging(&mut self) {
        self.trace(|| "->> [PING]".to_owned());
    }

    fn measured(&mut self, round_trip: Duration) -> Option<Level> {
        let now = self.auto_level?;
        let level = self.settings.compression.level_for(round_trip);
        let changed = level.filter(|level| *level != now)?;
        self.auto_level = level;
        self.host.level_changed(self.peer.id(), changed);
        Some(changed)
    }

    fn idle(&mut self) {
        self.log_debug("Router Ping Timer");
        self.accounts.forget_unused();
    }

    fn release(&mut self) -> bool {
        self.broker.detach_route(&self.peer);
        self.release_wishes(RELEASE_STEP)
    }

    fn closed(&mut self, reason: CloseReason) {
        self.accounts = Accounts::default();
        let remote = match &*self.remote_name {
            "" => String::new(),
            name => format!(" - Remote: {name}"),
        };
        let (messages, bytes) = self.peer.traffic_out();
        let stats = &self.broker.stats;
        stats.sent_to_closed_servers.add(messages, bytes);
        self.log_info(&format!("Router connection closed: {reason}{remote}"));
        self.host.closed(self.peer.id());
    }
}
