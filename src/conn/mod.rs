//! One connection, whatever it is for: bytes in, turns, bytes out, timers, and its end.
//!
//! A connection is one task. It waits for its socket, serves everything that one read brought in a
//! *turn* (see [`turn`]), and looks after its own pending bytes only when the socket would not take
//! them at once; normally whoever left them there has sent them too. What a connection means is the
//! business of its [`Link`].
#![expect(
    clippy::disallowed_methods,
    reason = "this layer reads the clock for those below"
)]

pub mod checks;
pub mod compression;
pub mod keepalive;
pub mod read;
pub mod transport;
pub mod turn;

use std::fmt;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, Sleep, timeout};

use crate::auth::PasswordCheck;
use crate::broker::close::CloseReason;
use crate::broker::peer::{Flush, Peer};
use crate::proto::encode;
use checks::{Checked, PasswordChecks};
use keepalive::{Due, Keepalive};
use read::{Reader, Turned};
use transport::{ReadHalf, SocketWire};
use turn::{Compress, Link, Verdict};

/// How long a blocked wire may stay without any progress before publishers stop pausing for it.
const UNRESPONSIVE_AFTER: Duration = Duration::from_millis(100);

/// Longest pause of a publisher for a slow peer, each time it has filled that peer's backlog.
pub(crate) const MAX_STALL: Duration = Duration::from_millis(10);

/// The same for another server: everybody behind it would lose messages if its link were cut.
const MAX_ROUTE_STALL: Duration = Duration::from_secs(1);

/// How long a closing connection may take to send what is still pending.
const CLOSING_FLUSH: Duration = Duration::from_secs(1);

/// How long, and up to how many bytes, a connection that was closed for a mistake goes on to read:
/// closing a socket with unread bytes would reset it, and the peer would never see the error text.
const LINGER: Duration = Duration::from_millis(250);
const LINGER_BYTES: usize = 4 * 1024 * 1024;

/// Time limits of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timeouts {
    /// Time between pings.
    pub ping_interval: Duration,
    /// Unanswered pings after which the connection is stale.
    pub ping_max: u32,
    /// How long a blocked wire may stay without progress before the peer is cut off.
    pub write_deadline: Duration,
    /// Time for the peer to introduce itself; `None` where it need not.
    pub introduction: Option<Duration>,
}

impl Default for Timeouts {
    /// Those of a server that was told nothing, where nobody needs to log in (nats-server).
    fn default() -> Self {
        Self {
            ping_interval: Duration::from_secs(120),
            ping_max: 2,
            write_deadline: Duration::from_secs(10),
            introduction: None,
        }
    }
}

/// What connections of a server have in common.
#[derive(Debug, Clone)]
pub struct Surroundings {
    /// Time limits.
    pub timeouts: Timeouts,
    /// Where passwords are checked that take their time.
    pub password_checks: Arc<PasswordChecks>,
    /// Spreads the first pings of many connections.
    pub random: u64,
}

/// A connection about to run.
#[derive(Debug)]
pub struct Connection<L> {
    reader: Reader,
    wire: Arc<SocketWire>,
    peer: Arc<Peer>,
    link: L,
    write_deadline: Duration,
    keepalive: Keepalive,
    /// Until when the peer must be let in.
    introduce_until: Option<Instant>,
    blocked: Option<Blocked>,
    /// Until when nothing is read.
    stalled: Option<Stall>,
    password_checks: Arc<PasswordChecks>,
    /// A check of the peer's password; nothing is read until its outcome is known.
    verification: Option<Verification>,
}

/// A check under way, or one that waits for its turn.
struct Verification(Pin<Box<dyn Future<Output = Checked> + Send>>);

impl fmt::Debug for Verification {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Verification")
    }
}

/// Why a connection is not read, and until when at most.
#[derive(Debug)]
enum Stall {
    /// A peer does not drain what this publisher sends it.
    For(Arc<Peer>, Instant),
    /// More has come than the rates allow.
    Rate(Instant),
}

impl Stall {
    fn until(&self) -> Instant {
        match self {
            Self::For(_, until) | Self::Rate(until) => *until,
        }
    }
}

/// A wire that takes no bytes.
#[derive(Debug)]
struct Blocked {
    /// Since when there has been no progress.
    since: Instant,
    /// Whether publishers have been told not to wait.
    unresponsive: bool,
}

/// What woke the task.
enum Woken {
    Control,
    Timer,
    Writable,
    Unstalled,
    Turned(Turned),
    Verified(Checked),
}

impl<L: Link> Connection<L> {
    /// A connection that reads from `half` and whose peer writes through `wire`.
    #[must_use]
    pub fn new(
        half: ReadHalf,
        wire: Arc<SocketWire>,
        peer: Arc<Peer>,
        link: L,
        surroundings: Surroundings,
    ) -> Self {
        let now = Instant::now();
        let Surroundings {
            timeouts,
            password_checks,
            random,
        } = surroundings;
        Self {
            reader: Reader::new(half, timeouts.introduction.is_some()),
            wire,
            peer,
            link,
            write_deadline: timeouts.write_deadline,
            keepalive: Keepalive::new(now, timeouts.ping_interval, timeouts.ping_max, random),
            introduce_until: timeouts.introduction.map(|allowed| now + allowed),
            blocked: None,
            stalled: None,
            password_checks,
            verification: None,
        }
    }

    /// Serves the connection until it ends.
    // Not an `async fn`: that would keep the connection twice, as its argument and as its variable.
    #[expect(
        clippy::manual_async_fn,
        reason = "half the memory of an idle connection"
    )]
    pub fn run(mut self) -> impl Future<Output = ()> + Send {
        async move {
            let reason = self.serve().await;
            // It would wait on, and keep others waiting, without anybody to ask it how far it is.
            self.verification = None;
            if self.peer.take_unreported_overflow() {
                self.link.overflowed(&self.peer);
            }
            if self.peer.is_told_the_end() {
                // Still one of the connections meanwhile: it counts, and is the first to go where memory is short.
                let drained = drain(&self.peer, &self.wire);
                let _ = timeout(self.write_deadline, drained).await;
            }
            if reason == CloseReason::WriteError && self.link.hears_last_words() {
                self.hear_last_words().await;
            }
            self.peer.note_end(Instant::now().into_std());
            while self.link.release() {
                tokio::task::yield_now().await;
            }
            self.link.closed(reason);
            self.finish(reason).await;
        }
    }

    async fn serve(&mut self) -> CloseReason {
        let timer = tokio::time::sleep_until(self.next_deadline());
        tokio::pin!(timer);
        loop {
            let condition = self.peer.condition();
            if let Some(reason) = condition.closing {
                return reason;
            }
            self.note_blocked(condition.blocked);
            let deadline = self.next_deadline();
            if timer.deadline() != deadline {
                timer.as_mut().reset(deadline);
            }
            match self.wait(timer.as_mut()).await {
                Woken::Control => self.reconsider(),
                Woken::Timer => self.on_timer(),
                Woken::Writable => self.resume(),
                Woken::Unstalled => self.stalled = None,
                Woken::Turned(turned) => self.after_turn(turned),
                Woken::Verified(outcome) => self.on_verified(outcome),
            }
        }
    }

    async fn wait(&mut self, timer: Pin<&mut Sleep>) -> Woken {
        let Self {
            reader,
            wire,
            peer,
            link,
            stalled,
            blocked,
            verification,
            ..
        } = self;
        let (stalls, verifies) = (stalled.is_some(), verification.is_some());
        let reads = !stalls && !verifies;
        let verified = async {
            match verification {
                Some(check) => check.0.as_mut().await,
                None => std::future::pending().await,
            }
        };
        let ungated = async {
            match stalled {
                Some(Stall::For(slow, _)) => slow.ungated().await,
                Some(Stall::Rate(_)) => std::future::pending().await,
                None => {}
            }
        };
        tokio::select! {
            biased;
            () = wire.control() => Woken::Control,
            () = timer => Woken::Timer,
            () = poll_fn(|context| wire.poll_writable(context)), if blocked.is_some() => {
                Woken::Writable
            }
            () = ungated, if stalls => Woken::Unstalled,
            outcome = verified, if verifies => Woken::Verified(outcome),
            turned = poll_fn(|context| reader.poll_turn(context, link, peer)), if reads => {
                Woken::Turned(turned)
            }
        }
    }

    /// Serves what had arrived before the socket broke: it may say why the peer hung up.
    async fn hear_last_words(&mut self) {
        let Self {
            reader, link, peer, ..
        } = self;
        let heard = async {
            loop {
                let turned = poll_fn(|context| reader.poll_turn(context, link, peer)).await;
                let Turned::Served { verdict, .. } = turned else {
                    return;
                };
                if !matches!(verdict, Verdict::Continue) {
                    return;
                }
            }
        };
        let _ = timeout(LINGER, heard).await;
    }

    fn after_turn(&mut self, turned: Turned) {
        let (verdict, stall, introduced, ponged, pause) = match turned {
            Turned::Served {
                verdict,
                stall,
                introduced,
                ponged,
                pause,
            } => (verdict, stall, introduced, ponged, pause),
            Turned::EndOfStream => return self.peer.close(CloseReason::ClientClosed),
            Turned::Failed(error) => return self.peer.close(self.link.read_failed(&error)),
        };
        let now = Instant::now();
        self.keepalive.heard(now);
        if ponged {
            self.keepalive.ponged(now);
            let measured = self.keepalive.round_trip();
            if let Some(level) = measured.and_then(|time| self.link.measured(time)) {
                self.wire.set_level(level);
            }
        }
        if introduced {
            self.introduce_until = None;
        }
        let refused = CloseReason::AuthenticationViolation;
        let answered = introduced
            || matches!(&verdict, Verdict::Verify(_))
            || matches!(&verdict, Verdict::Close(reason) if *reason == refused);
        if answered {
            self.keepalive.introduced(now);
        }
        if (ponged || answered)
            && let Some(round_trip) = self.keepalive.round_trip()
        {
            self.peer.note_round_trip(round_trip);
        }
        if let Some(slow) = stall {
            slow.count_stall();
            let longest = if slow.blocks_publishers() {
                self.write_deadline
            } else if slow.is_route() {
                MAX_ROUTE_STALL
            } else {
                MAX_STALL
            };
            self.stalled = Some(Stall::For(slow, now + longest));
        }
        if let Some(pause) = pause {
            self.stalled = Some(Stall::Rate(now + pause));
        }
        match verdict {
            Verdict::Continue => {}
            Verdict::Close(reason) => self.peer.close(reason),
            Verdict::Verify(check) => self.verify(*check),
            Verdict::Compress(compress) => self.compress(&compress),
        }
    }

    /// Compresses from now on. Little was sent before: if the wire would not take it, it is broken.
    fn compress(&mut self, compress: &Compress) {
        self.peer.flush();
        if self.peer.pending() > 0 {
            return self.peer.close(CloseReason::WriteError);
        }
        self.wire.compress(compress.level);
        self.reader.decompress();
        if self.peer.send(&compress.then) {
            self.peer.flush();
        }
    }

    /// Checks a password where that may take its time. How long it may wait for its turn is what is left of the time
    /// to log in.
    fn verify(&mut self, check: PasswordCheck) {
        let checks = Arc::clone(&self.password_checks);
        let (peer, until) = (Arc::clone(&self.peer), self.introduce_until.take());
        let outcome = async move { checks.run(peer.facts(), check, until).await };
        self.verification = Some(Verification(Box::pin(outcome)));
    }

    fn on_verified(&mut self, outcome: Checked) {
        self.verification = None;
        match outcome {
            Some(outcome) => {
                let turned = self.reader.resume_turn(&mut self.link, &self.peer, outcome);
                self.after_turn(turned);
            }
            None => self.end_unintroduced(),
        }
    }

    fn end_unintroduced(&mut self) {
        self.introduce_until = None;
        self.link.not_introduced();
        self.peer.close(CloseReason::AuthenticationTimeout);
    }

    /// Takes over settings that have changed, if that is what woke the task.
    fn reconsider(&mut self) {
        let now = Instant::now();
        if let Some(timeouts) = self.link.reconsider(now.into_std()) {
            self.write_deadline = timeouts.write_deadline;
            self.keepalive
                .change(now, timeouts.ping_interval, timeouts.ping_max);
        }
    }

    fn note_blocked(&mut self, blocked: bool) {
        if !blocked {
            self.blocked = None;
        } else if self.blocked.is_none() {
            self.blocked = Some(Blocked {
                since: Instant::now(),
                unresponsive: false,
            });
        }
    }

    /// The wire takes bytes again: any progress starts the write deadline anew.
    fn resume(&mut self) {
        let before = self.peer.sent();
        self.peer.resume();
        if self.peer.sent() != before {
            self.blocked = None;
        }
    }

    fn next_deadline(&self) -> Instant {
        let blocked = self.blocked.as_ref().map(|blocked| {
            let until_unresponsive = UNRESPONSIVE_AFTER.min(self.write_deadline);
            let wait = if blocked.unresponsive {
                self.write_deadline
            } else {
                until_unresponsive
            };
            blocked.since + wait
        });
        let stalled = self.stalled.as_ref().map(Stall::until);
        let others = [blocked, stalled, self.introduce_until];
        others
            .into_iter()
            .flatten()
            .fold(self.keepalive.next(), Instant::min)
    }

    fn on_timer(&mut self) {
        let now = Instant::now();
        if self
            .stalled
            .as_ref()
            .is_some_and(|stall| now >= stall.until())
        {
            self.stalled = None;
        }
        if self.introduce_until.is_some_and(|until| now >= until) {
            self.end_unintroduced();
        }
        self.check_blocked(now);
        if now >= self.keepalive.next() {
            self.link.idle();
        }
        if self.stalled.is_some() {
            // Its answer to a ping would not be read.
            self.keepalive.put_off(now);
        }
        match self.keepalive.due(now) {
            Due::Nothing => {}
            Due::Ping => {
                self.link.pinging();
                if self.peer.send(encode::PING) {
                    self.peer.flush();
                }
            }
            Due::Stale => {
                self.link.stale();
                self.peer.close(CloseReason::StaleConnection);
            }
        }
    }

    fn check_blocked(&mut self, now: Instant) {
        let Some(blocked) = &mut self.blocked else {
            return;
        };
        let waited = now.saturating_duration_since(blocked.since);
        if waited >= self.write_deadline {
            self.link.write_deadline_passed(self.write_deadline);
            self.peer.close(CloseReason::SlowConsumerWriteDeadline);
        } else if waited >= UNRESPONSIVE_AFTER && !blocked.unresponsive {
            blocked.unresponsive = true;
            self.peer.mark_unresponsive();
        }
    }

    /// Sends what may still be sent and closes the socket.
    async fn finish(&mut self, reason: CloseReason) {
        if reason.flushes() {
            let _ = timeout(
                CLOSING_FLUSH.min(self.write_deadline),
                drain(&self.peer, &self.wire),
            )
            .await;
        }
        let has_last_words = reason.flushes() || self.peer.is_told_the_end();
        if has_last_words && reason != CloseReason::ClientClosed {
            let wire = &self.wire;
            poll_fn(|context| wire.poll_shutdown(context)).await;
            let reader = &mut self.reader;
            let mut left = LINGER_BYTES;
            let discard = poll_fn(|context| reader.poll_discard(context, &mut left));
            let _ = timeout(LINGER, discard).await;
        }
        drop(self.wire.take());
        // Match caches of others may hold the peer for a while yet.
        self.peer.discard_pending();
    }
}

/// Sends what is pending, or waits until whoever is sending it has done so.
async fn drain(peer: &Peer, wire: &SocketWire) {
    loop {
        match peer.resume() {
            Flush::Broken => return,
            Flush::Done if peer.pending() == 0 => return,
            Flush::Done => tokio::task::yield_now().await,
            Flush::Blocked => poll_fn(|context| wire.poll_writable(context)).await,
        }
    }
}
