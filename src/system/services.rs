//! Requests to the system account, and what answers them.

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::value::{RawValue, to_raw_value};
use tokio::sync::oneshot;

use super::{System, clocks};
use crate::broker::close::CloseReason;
use crate::link::internal::Message;
use crate::monitor::accounts::{AccountStat, AccountStatsQuery};
use crate::monitor::connections::ConnectionsQuery;
use crate::monitor::health::HealthQuery;
use crate::monitor::routes::RoutesQuery;
use crate::monitor::subscriptions::SubscriptionsQuery;
use crate::proto::encode;

/// What a subscription of the server is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Service {
    /// `$SYS.REQ.SERVER.PING.…` and `$SYS.REQ.SERVER.<id>.…`.
    Server(Page),
    /// `$SYS.REQ.ACCOUNT.*.…`.
    Account(Page),
    /// `$SYS.REQ.ACCOUNT.PING.STATZ`.
    AllAccounts,
    /// `$SYS.REQ.ACCOUNT.NSUBS`.
    CountSubscribers,
    Reload,
    Kick,
    LameDuck,
    /// Answers of other servers to a question that was passed on to them.
    Answers,
    /// Another server's statistics.
    OtherServer,
    /// Another server leaves.
    OtherServerGone,
}

/// What a request asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Page {
    Identity,
    Statistics,
    Server,
    Subscriptions,
    Connections,
    Connection,
    Routes,
    Gateways,
    Leafs,
    Accounts,
    AccountStats,
    Streams,
    Health,
    Queues,
    Raft,
}

/// Requests about the server by the last token of their subject.
const SERVER_PAGES: [(&str, Page); 14] = [
    ("IDZ", Page::Identity),
    ("STATSZ", Page::Statistics),
    ("VARZ", Page::Server),
    ("SUBSZ", Page::Subscriptions),
    ("CONNZ", Page::Connections),
    ("ROUTEZ", Page::Routes),
    ("GATEWAYZ", Page::Gateways),
    ("LEAFZ", Page::Leafs),
    ("ACCOUNTZ", Page::Accounts),
    ("ACCSTATZ", Page::AccountStats),
    ("JSZ", Page::Streams),
    ("HEALTHZ", Page::Health),
    ("IPQUEUESZ", Page::Queues),
    ("RAFTZ", Page::Raft),
];

/// Requests about an account by the last token of their subject.
const ACCOUNT_PAGES: [(&str, Page); 7] = [
    ("SUBSZ", Page::Subscriptions),
    ("CONNZ", Page::Connections),
    ("LEAFZ", Page::Leafs),
    ("JSZ", Page::Streams),
    ("INFO", Page::Accounts),
    ("STATZ", Page::AccountStats),
    ("CONNS", Page::Connection),
];

const BAD_REQUEST: u16 = 400;
const INTERNAL_ERROR: u16 = 500;

/// Which servers a request is for; every field may be left out.
#[derive(Debug, Default, serde::Deserialize)]
#[serde(default)]
struct Filter {
    server_name: String,
    cluster: String,
    host: String,
    /// Names must be equal and not only hold the given text.
    exact_match: bool,
    tags: Vec<String>,
    domain: String,
}

/// What a request gets.
#[derive(Debug, Default, Serialize)]
pub(super) struct Reply {
    /// What was asked for; `null` where making it has failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<Box<RawValue>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<Failure>,
}

#[derive(Debug, Serialize)]
struct Failure {
    code: u16,
    description: String,
}

impl Reply {
    pub(super) fn document(document: &impl Serialize) -> Self {
        match to_raw_value(document) {
            Ok(data) => Self {
                data: Some(data),
                error: None,
            },
            Err(error) => Self::failed(error.to_string()),
        }
    }

    fn refused(code: u16, description: String) -> Self {
        Self {
            data: None,
            error: Some(Failure { code, description }),
        }
    }

    fn failed(description: String) -> Self {
        Self {
            data: Some(RawValue::NULL.to_owned()),
            ..Self::refused(INTERNAL_ERROR, description)
        }
    }

    fn of<D: Serialize>(outcome: Result<D, String>) -> Self {
        match outcome {
            Ok(document) => Self::document(&document),
            Err(text) => Self::failed(text),
        }
    }
}

/// The account or connection that a request names.
#[derive(Debug, Default, serde::Deserialize)]
#[serde(default)]
struct Named {
    #[serde(alias = "acc")]
    account: String,
    cid: u64,
}

impl System {
    /// Subscribes to everything that is served.
    pub(super) fn subscribe(&mut self) {
        self.services.clear();
        let id = self.monitor.server_id();
        self.serve_on("$SYS.REQ.SERVER.PING", Service::Server(Page::Statistics));
        for (name, page) in SERVER_PAGES {
            self.serve_on(
                &format!("$SYS.REQ.SERVER.PING.{name}"),
                Service::Server(page),
            );
            self.serve_on(
                &format!("$SYS.REQ.SERVER.{id}.{name}"),
                Service::Server(page),
            );
        }
        for (name, page) in ACCOUNT_PAGES {
            self.serve_on(
                &format!("$SYS.REQ.ACCOUNT.*.{name}"),
                Service::Account(page),
            );
        }
        self.serve_on("$SYS.REQ.ACCOUNT.PING.STATZ", Service::AllAccounts);
        self.serve_on("$SYS.REQ.ACCOUNT.NSUBS", Service::CountSubscribers);
        self.serve_on(&format!("$SYS.REQ.SERVER.{id}.RELOAD"), Service::Reload);
        self.serve_on(&format!("$SYS.REQ.SERVER.{id}.KICK"), Service::Kick);
        self.serve_on(&format!("$SYS.REQ.SERVER.{id}.LDM"), Service::LameDuck);
        self.serve_on(&self.answers_filter(), Service::Answers);
        self.serve_on("$SYS.SERVER.*.STATSZ", Service::OtherServer);
        self.serve_on("$SYS.SERVER.*.SHUTDOWN", Service::OtherServerGone);
        self.serve_on("$SYS.SERVER.*.LAMEDUCK", Service::OtherServerGone);
    }

    fn serve_on(&mut self, filter: &str, service: Service) {
        match self.connection.subscribe(filter, None) {
            Ok(number) => {
                self.services.insert(number, service);
            }
            Err(error) => tracing::error!("cannot serve requests to {filter}: {error}"),
        }
    }

    /// Does what a message to one of the subscriptions asks for.
    pub(super) fn serve(&mut self, message: &Message) {
        let Some(&service) = self.services.get(&message.subscription) else {
            return;
        };
        if service == Service::Server(Page::Statistics) {
            return self.serve_statistics(message);
        }
        if matches!(service, Service::OtherServer | Service::OtherServerGone) {
            return self.hear_of(message, service == Service::OtherServer);
        }
        if service == Service::Answers {
            return self.take_answer(message);
        }
        let Some(reply) = message.reply.as_deref() else {
            return;
        };
        let answer = match service {
            Service::Server(Page::Identity) => return self.send(reply, &self.identity()),
            Service::Account(Page::Connection) => return self.serve_account_connections(message),
            Service::CountSubscribers => return self.count_here(message, reply),
            Service::Reload => return self.reload(message, reply),
            Service::Server(page) => self.filtered(message, |system| system.page(page, message)),
            Service::Account(page) => {
                let account = message.subject.split('.').nth(3).unwrap_or_default();
                self.filtered(message, |system| {
                    system.account_page(page, account, message)
                })
            }
            Service::AllAccounts => self.filtered(message, |system| {
                let query = parsed::<AccountStatsQuery>(message).unwrap_or_default();
                Some(Reply::document(&system.monitor.account_stats(&query)))
            }),
            Service::Kick => self.filtered(message, |system| Some(system.kick(message))),
            Service::LameDuck => self.filtered(message, |system| Some(system.move_on(message))),
            Service::Answers | Service::OtherServer | Service::OtherServerGone => None,
        };
        if let Some(answer) = answer {
            self.send_signed(reply, answer);
        }
    }

    /// The answer of `make`, unless the request is for other servers or makes no sense.
    pub(super) fn filtered(
        &self,
        message: &Message,
        make: impl FnOnce(&Self) -> Option<Reply>,
    ) -> Option<Reply> {
        match parsed::<Filter>(message) {
            Err(mistake) => Some(Reply::refused(BAD_REQUEST, mistake)),
            Ok(filter) if self.is_meant(&filter) => make(self),
            Ok(_) => None,
        }
    }

    fn is_meant(&self, filter: &Filter) -> bool {
        let info = self.monitor.context.info();
        let cluster = self.monitor.context.topology().cluster;
        let names = [
            (filter.server_name.as_str(), &*info.server_name),
            (&filter.host, &info.host),
            (&filter.cluster, &cluster),
        ];
        let fits = |(wanted, is): (&str, &str)| {
            wanted.is_empty()
                || if filter.exact_match {
                    wanted == is
                } else {
                    is.contains(wanted)
                }
        };
        let options = self.monitor.options();
        let is_tagged = |tag: &String| options.server_tags.contains(&tag.to_lowercase());
        names.into_iter().all(fits) && filter.tags.iter().all(is_tagged) && filter.domain.is_empty()
    }

    fn page(&self, page: Page, message: &Message) -> Option<Reply> {
        let monitor = &self.monitor;
        Some(match page {
            Page::Server => Reply::document(&monitor.server()),
            Page::Subscriptions => asked(message, |query: SubscriptionsQuery| {
                Reply::of(monitor.subscriptions(&query))
            }),
            Page::Connections => asked(message, |query: ConnectionsQuery| {
                Reply::of(monitor.connections(&query))
            }),
            Page::Routes => asked(message, |query: RoutesQuery| {
                Reply::document(&monitor.route_page(query))
            }),
            Page::Gateways => Reply::document(&monitor.gateways()),
            Page::Leafs => Reply::document(&monitor.leafs()),
            Page::Accounts => asked(message, |named: Named| {
                Reply::of(monitor.accounts(&named.account))
            }),
            Page::AccountStats => asked(message, |query: AccountStatsQuery| {
                Reply::document(&monitor.account_stats(&query))
            }),
            Page::Streams => Reply::document(&monitor.streams()),
            Page::Health => asked(message, |query: HealthQuery| {
                Reply::document(&monitor.health(&query))
            }),
            Page::Queues | Page::Raft => Reply::document(&serde_json::Map::new()),
            Page::Identity | Page::Statistics | Page::Connection => return None,
        })
    }

    pub(super) fn account_page(
        &self,
        page: Page,
        account: &str,
        message: &Message,
    ) -> Option<Reply> {
        let monitor = &self.monitor;
        let account = account.to_owned();
        Some(match page {
            Page::Subscriptions => asked(message, |query: SubscriptionsQuery| {
                let query = SubscriptionsQuery {
                    subscriptions: true,
                    account,
                    ..query
                };
                Reply::of(monitor.subscriptions(&query))
            }),
            Page::Connections => asked(message, |query: ConnectionsQuery| {
                let query = ConnectionsQuery { account, ..query };
                Reply::of(monitor.connections(&query))
            }),
            Page::Leafs => Reply::document(&monitor.leafs()),
            Page::Streams => Reply::failed("jetstream not enabled".to_owned()),
            Page::Accounts => Reply::of(monitor.account(&account)),
            Page::AccountStats if account == "PING" => return None,
            Page::AccountStats => {
                let query = parsed::<AccountStatsQuery>(message).unwrap_or_default();
                let query = AccountStatsQuery {
                    accounts: vec![account],
                    ..query
                };
                let stats = monitor.account_stats(&query);
                if stats.account_statz.is_empty() && !query.include_unused {
                    return None;
                }
                Reply::document(&stats)
            }
            Page::Identity
            | Page::Statistics
            | Page::Server
            | Page::Connection
            | Page::Routes
            | Page::Gateways
            | Page::Health
            | Page::Queues
            | Page::Raft => return None,
        })
    }

    fn serve_statistics(&mut self, message: &Message) {
        let own = format!("$SYS.SERVER.{}.STATSZ", self.monitor.server_id());
        let reply = message.reply.as_deref().unwrap_or(&own);
        match parsed::<Filter>(message) {
            Err(mistake) => self.send_signed(reply, Reply::refused(BAD_REQUEST, mistake)),
            Ok(filter) if self.is_meant(&filter) => {
                let statistics = self.statistics();
                self.send_signed(reply, statistics);
            }
            Ok(_) => {}
        }
    }

    fn identity(&self) -> Identity {
        let info = self.monitor.context.info();
        Identity {
            name: info.server_name.to_string(),
            host: info.host.to_string(),
            id: info.server_id.to_string(),
        }
    }

    /// How many connections an account has, in the form of the report about it.
    fn serve_account_connections(&mut self, message: &Message) {
        let name = message.subject.split('.').nth(3).unwrap_or_default();
        let account = self.monitor.broker().known_account(name);
        if let (Some(account), Some(reply)) = (account, message.reply.as_deref()) {
            let stat = AccountStat::of(&account);
            if stat.total_conns > 0 {
                self.send_account_connections(reply, stat);
            }
        }
    }

    /// Closes a connection.
    fn kick(&self, message: &Message) -> Reply {
        let named = parsed::<Named>(message).unwrap_or_default();
        match self.monitor.broker().peer(named.cid) {
            Some(peer) => {
                peer.close(CloseReason::Kicked);
                Reply::default()
            }
            None => Reply::refused(INTERNAL_ERROR, "no such client or leafnode id".to_owned()),
        }
    }

    /// Tells one client to connect elsewhere.
    fn move_on(&self, message: &Message) -> Reply {
        let named = parsed::<Named>(message).unwrap_or_default();
        let Some(peer) = self.monitor.broker().peer(named.cid) else {
            return Reply::refused(INTERNAL_ERROR, "no such client id".to_owned());
        };
        if peer.wants_info() {
            let mut info = self.monitor.context.info_for(&peer);
            info.ldm = true;
            peer.send(&encode::info(&info.to_json()));
            peer.flush();
        }
        Reply::default()
    }

    /// Lets the configuration be read again; whoever does that may take its time.
    fn reload(&mut self, message: &Message, reply: &str) {
        let meant = match parsed::<Filter>(message) {
            Ok(filter) => self.is_meant(&filter),
            Err(mistake) => {
                return self.send_signed(reply, Reply::refused(BAD_REQUEST, mistake));
            }
        };
        if !meant {
            return;
        }
        let (outcome, wait) = oneshot::channel();
        let asked = self.reloads.try_send(outcome).is_ok();
        let (signature, reply) = (self.signature(), reply.to_owned());
        let connection = std::sync::Arc::clone(&self.connection);
        tokio::spawn(async move {
            let outcome = if asked { wait.await.ok() } else { None };
            let document = match outcome {
                Some(Ok(())) => Reply::default(),
                Some(Err(text)) => Reply::refused(INTERNAL_ERROR, text),
                None => {
                    let text = "the configuration cannot be read again here";
                    Reply::refused(INTERNAL_ERROR, text.to_owned())
                }
            };
            let signed = super::Signed {
                server: signature,
                document,
            };
            let payload = serde_json::to_vec(&signed).unwrap_or_default();
            let message = crate::link::internal::Outgoing {
                subject: &reply,
                payload: &payload,
                ..Default::default()
            };
            if let Err(error) = connection.publish(message, clocks().1) {
                tracing::debug!("cannot answer a request to reload: {error}");
            }
        });
    }
}

#[derive(Debug, Serialize)]
struct Identity {
    name: String,
    host: String,
    id: String,
}

/// What a request says; everything is at its default where it says nothing.
pub(super) fn parsed<Q: DeserializeOwned + Default>(message: &Message) -> Result<Q, String> {
    if message.payload.is_empty() {
        return Ok(Q::default());
    }
    serde_json::from_slice(&message.payload).map_err(|error| error.to_string())
}

fn asked<Q: DeserializeOwned + Default>(
    message: &Message,
    answer: impl FnOnce(Q) -> Reply,
) -> Reply {
    match parsed(message) {
        Ok(query) => answer(query),
        Err(mistake) => Reply::refused(BAD_REQUEST, mistake),
    }
}
