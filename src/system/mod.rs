//! The server's own connection to the system account: it answers requests about the server, and reports
//! what happens to its connections.

mod advisories;
mod questions;
mod services;

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use serde::Serialize;
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use crate::broker::account::Account;
use crate::broker::events::{Event, Observer};
use crate::broker::peer::Facts;
use crate::link::internal::{InternalConnection, Message, Outgoing};
use crate::monitor::Monitor;
use crate::monitor::stats::ServerStats;
use services::Service;

/// Events that wait to be reported; what comes while so many wait is lost and counted.
const MAX_EVENTS: usize = 4096;

/// The number under which the server's own connection is known.
const CONNECTION_NUMBER: u64 = 1;

/// Statistics are sent soon after the start, then at growing distances, up to this one.
const FIRST_STATISTICS: Duration = Duration::from_millis(250);
const STATISTICS_INTERVAL: Duration = Duration::from_secs(10);

/// How often the number of each account's connections is sent even if it did not change.
const ACCOUNTS_INTERVAL: Duration = Duration::from_secs(30);

/// A server that was not heard of for this long is gone.
const FORGET_SERVERS: Duration = Duration::from_secs(50);

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

/// Takes events from the turns in which they happen to the task that reports them.
struct Queue {
    events: mpsc::Sender<Event>,
}

impl fmt::Debug for Queue {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Queue").finish_non_exhaustive()
    }
}

impl Observer for Queue {
    fn notice(&self, event: Event) {
        if self.events.try_send(event).is_err() {
            tracing::debug!("an event was not reported: too many wait");
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
    let (announcements, waiting_announcements) = mpsc::channel(4);
    monitor.broker().observe(Box::new(Queue { events }));
    let system = System {
        connection: connect(&monitor),
        monitor,
        reloads,
        sequence: 0,
        services: HashMap::new(),
        servers: HashMap::new(),
        statistics_interval: FIRST_STATISTICS,
    };
    tokio::spawn(system.run(waiting_events, waiting_announcements, stopping));
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

/// The services while they run.
struct System {
    monitor: Arc<Monitor>,
    connection: Arc<InternalConnection>,
    reloads: mpsc::Sender<ReloadRequest>,
    /// Messages signed so far.
    sequence: u64,
    services: HashMap<u64, Service>,
    /// Other servers that have been heard of, and when.
    servers: HashMap<String, Instant>,
    statistics_interval: Duration,
}

impl System {
    async fn run(
        mut self,
        mut events: mpsc::Receiver<Event>,
        mut announcements: mpsc::Receiver<(Announcement, oneshot::Sender<()>)>,
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
                message = connection.next() => match message {
                    Some(message) => self.serve(&message),
                    None => self.connect_again(),
                },
                () = &mut statistics => {
                    self.send_statistics();
                    self.statistics_interval =
                        (self.statistics_interval * 2).min(STATISTICS_INTERVAL);
                    let next = tokio::time::Instant::now() + self.statistics_interval;
                    statistics.as_mut().reset(next);
                }
                _ = accounts.tick() => self.report_all_accounts(),
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
        self.servers
            .retain(|_, heard| now.saturating_duration_since(*heard) < FORGET_SERVERS);
        if self.is_wanted(&subject) {
            let statistics = self.statistics();
            self.send_signed(&subject, statistics);
        }
    }

    fn statistics(&self) -> Statistics {
        Statistics {
            statsz: self.monitor.server_stats(self.servers.len() + 1),
        }
    }

    /// Whether anybody but this connection listens to `subject` in the system account.
    fn is_wanted(&self, subject: &str) -> bool {
        let account = self.connection.account();
        let subject = subject.as_bytes();
        let matches = account.interest().matches(subject, account.hash(subject));
        let mut wanted = false;
        matches.for_each(|subscription| {
            wanted |= subscription.peer().id() != CONNECTION_NUMBER;
        });
        wanted
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
            self.servers.insert(server.to_owned(), clocks().1);
        } else {
            self.servers.remove(server);
        }
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
