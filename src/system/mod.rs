//! The server's own connection to the system account: it answers requests about the server, and reports
//! what happens to its connections.

mod advisories;
mod questions;
mod relays;
mod services;
mod traces;

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant, SystemTime};

use serde::Serialize;
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use crate::broker::account::{Account, GLOBAL_ACCOUNT};
use crate::broker::events::{Event, Observer};
use crate::broker::peer::{Facts, Peer};
use crate::link::internal::{InternalConnection, Message, Outgoing};
use crate::monitor::Monitor;
use crate::monitor::stats::ServerStats;
use relays::Relays;
use services::Service;

/// Events that wait to be reported; what comes while so many wait is lost and counted.
const MAX_EVENTS: usize = 4096;

/// The same for questions of clients, which have a queue of their own: nobody can keep events from being reported
/// by asking.
const MAX_QUESTIONS: usize = 1024;

/// Bytes of reports of traced messages that may wait; reports beyond are not sent.
const MAX_TRACE_BYTES: usize = 16 * 1024 * 1024;

/// The number under which the server's own connection is known.
const CONNECTION_NUMBER: u64 = 1;

/// Statistics are sent soon after the start, then at growing distances, up to this one.
const FIRST_STATISTICS: Duration = Duration::from_millis(250);
const STATISTICS_INTERVAL: Duration = Duration::from_secs(10);

/// How often the number of each account's connections is sent even if it did not change.
const ACCOUNTS_INTERVAL: Duration = Duration::from_secs(30);

/// A server that was not heard of for this long is gone.
const FORGET_SERVERS: Duration = Duration::from_secs(50);

/// Other servers that are counted; more are not. Every user of the system account can tell of servers.
const MAX_SERVERS: usize = 4096;

/// Letters and digits of a server's id, which begins with `N`: an nkey of a server.
const SERVER_ID_LENGTH: usize = 56;

/// Where the account of everybody is told of its connections.
const CONNECTED_TO_GLOBAL: &str = "$SYS.ACCOUNT.$G.CONNECT";
const DISCONNECTED_FROM_GLOBAL: &str = "$SYS.ACCOUNT.$G.DISCONNECT";

/// How long leaving waits for the announcement of it to be sent.
const ANNOUNCEMENT_PATIENCE: Duration = Duration::from_millis(500);

/// A request to read the configuration again, and where the outcome goes.
pub type ReloadRequest = oneshot::Sender<Result<(), String>>;

/// What the server tells all others before it leaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Announcement {
    LameDuck,
    Shutdown,
}

/// Reaches the running services.
#[derive(Debug, Clone)]
pub(crate) struct SystemHandle {
    announcements: mpsc::Sender<(Announcement, oneshot::Sender<()>)>,
}

impl SystemHandle {
    /// Tells all others in the system account that the server leaves.
    pub(crate) async fn announce(&self, announcement: Announcement) {
        let (done, wait) = oneshot::channel();
        if self.announcements.try_send((announcement, done)).is_ok() {
            // Whoever does not hear of it in time learns it from the connection that closes.
            let _ = tokio::time::timeout(ANNOUNCEMENT_PATIENCE, wait).await;
        }
    }
}

/// Takes events and questions from the turns in which they happen to the task that reports and answers them.
struct Queue {
    events: mpsc::Sender<Event>,
    questions: mpsc::Sender<Event>,
    /// Bytes of reports of traced messages that wait.
    traced: Arc<AtomicUsize>,
    /// The account in which events are reported.
    account: Arc<Account>,
}

impl Queue {
    /// Whether nobody listens to the report of an event. Of each connection that comes or goes the system's task would
    /// have to be woken to find that out.
    fn is_unheard(&self, event: &Event) -> bool {
        let subject = match event {
            Event::Connected(peer) if is_of_everybody(peer) => CONNECTED_TO_GLOBAL,
            Event::Disconnected(peer, _) if is_of_everybody(peer) => DISCONNECTED_FROM_GLOBAL,
            Event::Connected(_)
            | Event::Disconnected(..)
            | Event::Refused(_)
            | Event::SlowConsumer(..)
            | Event::Traced(_)
            | Event::Request(_) => return false,
        };
        !is_wanted_in(&self.account, subject)
    }
}

impl fmt::Debug for Queue {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Queue").finish_non_exhaustive()
    }
}

impl Observer for Queue {
    fn notice(&self, event: Event) {
        if self.is_unheard(&event) {
            return;
        }
        let queue = match event {
            // Clients make as many of these as they like.
            Event::Request(_) | Event::Traced(_) => &self.questions,
            Event::Connected(_)
            | Event::Disconnected(..)
            | Event::Refused(_)
            | Event::SlowConsumer(..) => &self.events,
        };
        let weight = match &event {
            Event::Traced(report) => traces::weight(report),
            Event::Request(_)
            | Event::Connected(_)
            | Event::Disconnected(..)
            | Event::Refused(_)
            | Event::SlowConsumer(..) => 0,
        };
        let waiting = self.traced.fetch_add(weight, Ordering::Relaxed);
        let fits = weight == 0 || waiting + weight <= MAX_TRACE_BYTES;
        let sent = fits && queue.try_send(event).is_ok();
        if !sent {
            self.traced.fetch_sub(weight, Ordering::Relaxed);
            tracing::debug!("an event was not reported, or a question not answered: too many wait");
        }
    }
}

/// Starts the services of a server; they end when `stopping` is cancelled. Requests to reload go to
/// `reloads`.
pub(crate) fn start(
    monitor: Arc<Monitor>,
    reloads: mpsc::Sender<ReloadRequest>,
    stopping: CancellationToken,
) -> SystemHandle {
    let (events, waiting_events) = mpsc::channel(MAX_EVENTS);
    let (questions, waiting_questions) = mpsc::channel(MAX_QUESTIONS);
    let (announcements, waiting_announcements) = mpsc::channel(4);
    let traced = Arc::<AtomicUsize>::default();
    monitor.broker().observe(Box::new(Queue {
        events,
        questions,
        traced: Arc::clone(&traced),
        account: Arc::clone(monitor.broker().system_account()),
    }));
    let system = System {
        connection: connect(&monitor),
        monitor,
        reloads,
        sequence: 0,
        services: HashMap::new(),
        servers: Servers::default(),
        relays: Relays::default(),
        traced,
        statistics_interval: FIRST_STATISTICS,
    };
    let waiting = Waiting {
        events: waiting_events,
        questions: waiting_questions,
        announcements: waiting_announcements,
    };
    tokio::spawn(system.run(waiting, stopping));
    SystemHandle { announcements }
}

fn connect(monitor: &Monitor) -> Arc<InternalConnection> {
    let account = Arc::clone(monitor.broker().system_account());
    let facts = Facts {
        id: CONNECTION_NUMBER,
        ip: String::new(),
        port: 0,
        began: clocks(),
        unix_user: None,
        in_process: false,
        nonce: String::new(),
        label: "SYSTEM".to_owned(),
    };
    let context = Arc::clone(&monitor.context);
    Arc::new(InternalConnection::new(context, account, facts))
}

/// What waits to be reported, answered and announced.
struct Waiting {
    events: mpsc::Receiver<Event>,
    questions: mpsc::Receiver<Event>,
    announcements: mpsc::Receiver<(Announcement, oneshot::Sender<()>)>,
}

/// Other servers that have been heard of, and when.
#[derive(Debug, Default)]
struct Servers(HashMap<String, Instant>);

impl Servers {
    fn len(&self) -> usize {
        self.0.len()
    }

    /// Notes that a server is there, unless the id is none or too many servers are known.
    fn hear_of(&mut self, id: &str, now: Instant) {
        if let Some(heard) = self.0.get_mut(id) {
            *heard = now;
        } else if is_server_id(id) && self.0.len() < MAX_SERVERS {
            self.0.insert(id.to_owned(), now);
        }
    }

    fn forget(&mut self, id: &str) {
        self.0.remove(id);
    }

    fn forget_silent(&mut self, now: Instant) {
        self.0
            .retain(|_, heard| now.saturating_duration_since(*heard) < FORGET_SERVERS);
    }
}

/// The services while they run.
struct System {
    monitor: Arc<Monitor>,
    connection: Arc<InternalConnection>,
    reloads: mpsc::Sender<ReloadRequest>,
    /// Messages signed so far.
    sequence: u64,
    services: HashMap<u64, Service>,
    servers: Servers,
    /// Questions that other servers have been asked as well.
    relays: Relays,
    /// Bytes of reports of traced messages that wait.
    traced: Arc<AtomicUsize>,
    statistics_interval: Duration,
}

impl System {
    async fn run(
        mut self,
        Waiting {
            mut events,
            mut questions,
            mut announcements,
        }: Waiting,
        stopping: CancellationToken,
    ) {
        self.subscribe();
        let mut statistics = Box::pin(tokio::time::sleep(self.statistics_interval));
        let mut accounts = tokio::time::interval(ACCOUNTS_INTERVAL);
        loop {
            let connection = Arc::clone(&self.connection);
            tokio::select! {
                biased;
                Some((announcement, done)) = announcements.recv() => {
                    // What has happened before comes first.
                    while let Ok(event) = events.try_recv() {
                        self.report(event);
                    }
                    self.announce(announcement);
                    let _ = done.send(());
                }
                () = stopping.cancelled() => return,
                Some(event) = events.recv() => self.report(event),
                () = &mut statistics => {
                    self.send_statistics();
                    self.statistics_interval =
                        (self.statistics_interval * 2).min(STATISTICS_INTERVAL);
                    let next = tokio::time::Instant::now() + self.statistics_interval;
                    statistics.as_mut().reset(next);
                }
                _ = accounts.tick() => self.report_all_accounts(),
                () = reached(self.relays.deadline()) => self.end_relays(),
                message = connection.next() => match message {
                    Some(message) => self.serve(&message),
                    None => self.connect_again(),
                },
                Some(question) = questions.recv() => self.report(question),
            }
        }
    }

    /// The connection was cut off because requests came faster than they could be answered.
    fn connect_again(&mut self) {
        tracing::warn!("too many requests to the system account: some were lost");
        self.connection = connect(&self.monitor);
        self.subscribe();
    }

    /// Statistics for everybody who listens.
    fn send_statistics(&mut self) {
        let subject = format!("$SYS.SERVER.{}.STATSZ", self.monitor.server_id());
        let (_, now) = clocks();
        self.servers.forget_silent(now);
        if self.is_wanted(&subject) {
            let statistics = self.statistics();
            self.send_signed(&subject, statistics);
        }
    }

    fn statistics(&self) -> Statistics {
        Statistics {
            statsz: self.monitor.server_stats(self.servers.0.len() + 1),
        }
    }

    /// Whether anybody but this connection listens to `subject` in the system account.
    fn is_wanted(&self, subject: &str) -> bool {
        is_wanted_in(self.connection.account(), subject)
    }

    /// Sends `document` with the server's signature in front.
    fn send_signed(&mut self, subject: &str, document: impl Serialize) {
        let signed = Signed {
            server: self.signature(),
            document,
        };
        self.send(subject, &signed);
    }

    fn signature(&mut self) -> crate::monitor::stats::ServerInfo {
        self.sequence += 1;
        self.monitor.server_info(self.sequence)
    }

    /// Sends a document to a subject of the system account.
    fn send(&self, subject: &str, document: &impl Serialize) {
        self.send_to(self.connection.account(), subject, document);
    }

    /// Sends a document to a subject of an account.
    fn send_to(&self, account: &Arc<Account>, subject: &str, document: &impl Serialize) {
        let payload = match serde_json::to_vec(document) {
            Ok(payload) => payload,
            Err(error) => {
                tracing::error!("cannot write a message to {subject}: {error}");
                return;
            }
        };
        let message = Outgoing {
            subject,
            payload: &payload,
            ..Outgoing::default()
        };
        let sent = self.connection.publish_to(account, message, clocks().1);
        if let Err(error) = sent {
            tracing::debug!("cannot send to {subject:?}: {error}");
        }
    }

    /// Notes what another server says about itself.
    fn hear_of(&mut self, message: &Message, is_there: bool) {
        let Some(server) = message.subject.split('.').nth(2) else {
            return;
        };
        if is_there {
            self.servers.hear_of(server, clocks().1);
        } else {
            self.servers.forget(server);
        }
    }
}

fn is_server_id(text: &str) -> bool {
    let letter = |byte: u8| byte.is_ascii_uppercase() || (b'2'..=b'7').contains(&byte);
    text.len() == SERVER_ID_LENGTH && text.starts_with('N') && text.bytes().all(letter)
}

/// Whether a connection is in the account whose connections nobody counts.
fn is_of_everybody(peer: &Peer) -> bool {
    (peer.introduction()).is_some_and(|introduction| &*introduction.account == GLOBAL_ACCOUNT)
}

/// Whether anybody but the server's own connection listens to `subject` in an account.
fn is_wanted_in(account: &Account, subject: &str) -> bool {
    let subject = subject.as_bytes();
    let matches = account.interest().matches(subject, account.hash(subject));
    let mut wanted = false;
    matches.for_each(|subscription| {
        wanted |= subscription.peer().id() != CONNECTION_NUMBER;
    });
    wanted
}

/// Waits until then; for ever without a time.
async fn reached(time: Option<Instant>) {
    match time {
        Some(time) => tokio::time::sleep_until(time.into()).await,
        None => std::future::pending().await,
    }
}

#[derive(Debug, Serialize)]
struct Signed<D> {
    server: crate::monitor::stats::ServerInfo,
    #[serde(flatten)]
    document: D,
}

#[derive(Debug, Serialize)]
struct Statistics {
    statsz: ServerStats,
}

#[expect(
    clippy::disallowed_methods,
    reason = "services are an edge, and the edges read the clock"
)]
fn clocks() -> (SystemTime, Instant) {
    (SystemTime::now(), Instant::now())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_other_servers_only_so_many_are_counted_and_only_those_with_an_id() {
        let (_, start) = clocks();
        let mut servers = Servers::default();
        for text in [
            "",
            "A",
            "N",
            &"A".repeat(56),
            &"N".repeat(57),
            &"n".repeat(56),
        ] {
            servers.hear_of(text, start);
        }
        assert!(servers.0.is_empty());
        let id = |number: usize| {
            let digits = ["A", "B", "C", "D", "E", "F", "2", "3"];
            let word: String = (0..55)
                .map(|place| digits[number.checked_shr(3 * place).unwrap_or(0) % 8])
                .collect();
            format!("N{word}")
        };
        for number in 0..MAX_SERVERS + 10 {
            servers.hear_of(&id(number), start);
        }
        assert_eq!(servers.0.len(), MAX_SERVERS);
        // Those that are known stay known; the place of one that is gone goes to another.
        let later = start + FORGET_SERVERS;
        servers.hear_of(&id(7), later);
        servers.forget(&id(8));
        servers.hear_of(&id(MAX_SERVERS), later);
        servers.forget_silent(later);
        let mut left: Vec<&String> = servers.0.keys().collect();
        left.sort();
        let mut expected = [id(7), id(MAX_SERVERS)];
        expected.sort();
        assert!(left.into_iter().eq(&expected));
    }
}
