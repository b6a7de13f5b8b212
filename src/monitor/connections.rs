//! `/connz`: connections, open and closed.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::subscriptions::SubscriptionDetail;
use super::text::{Time, lossy, round_trip, uptime};
use super::{Monitor, clocks, is_false, is_zero};
use crate::auth::{CertificateNames, certificate_public_key, overlap};
use crate::broker::account::GLOBAL_ACCOUNT;
use crate::broker::closed::{ClosedConnection, SubscriptionPortrait};
use crate::broker::peer::Peer;
use crate::broker::peer::portrait::{Introduction, Portrait};

/// Connections on a page unless asked otherwise.
pub(crate) const DEFAULT_LIMIT: i64 = 1024;

/// What connections to show, and how.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(crate) struct ConnectionsQuery {
    /// A name of [`Order`]; empty for the connection's number.
    pub(crate) sort: String,
    /// Show users and accounts.
    pub(crate) auth: bool,
    /// List the filters of subscriptions.
    pub(crate) subscriptions: bool,
    /// List subscriptions with all that is known of them.
    pub(crate) subscriptions_detail: bool,
    pub(crate) offset: i64,
    /// Zero or less for the default.
    pub(crate) limit: i64,
    /// Only the connection of this number; 0 for all.
    pub(crate) cid: u64,
    pub(crate) mqtt_client: String,
    /// 0 open, 1 closed, 2 both.
    pub(crate) state: u8,
    pub(crate) user: String,
    #[serde(rename = "acc")]
    pub(crate) account: String,
    /// Only connections with interest that overlaps this filter.
    pub(crate) filter_subject: String,
}

impl ConnectionsQuery {
    /// Whether nothing but open connections is asked for, and all of them.
    fn wants_all_open(&self) -> bool {
        let texts = [
            &self.account,
            &self.user,
            &self.mqtt_client,
            &self.filter_subject,
        ];
        self.state == OPEN && self.cid == 0 && texts.iter().all(|text| text.is_empty())
    }
}

/// State of the connections to show, as requests to the system account number them.
pub(crate) const OPEN: u8 = 0;
pub(crate) const CLOSED: u8 = 1;
pub(crate) const ALL: u8 = 2;

/// What connections are sorted by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Order {
    Number,
    Subscriptions,
    Pending,
    MessagesTo,
    MessagesFrom,
    BytesTo,
    BytesFrom,
    LastActive,
    Idle,
    Uptime,
    Ended,
    Reason,
    RoundTrip,
}

impl Order {
    fn of(name: &str) -> Option<Self> {
        Some(match name {
            "" | "cid" | "start" => Self::Number,
            "subs" => Self::Subscriptions,
            "pending" => Self::Pending,
            "msgs_to" => Self::MessagesTo,
            "msgs_from" => Self::MessagesFrom,
            "bytes_to" => Self::BytesTo,
            "bytes_from" => Self::BytesFrom,
            "last" => Self::LastActive,
            "idle" => Self::Idle,
            "uptime" => Self::Uptime,
            "stop" => Self::Ended,
            "reason" => Self::Reason,
            "rtt" => Self::RoundTrip,
            _ => return None,
        })
    }

    /// Whether the largest comes first.
    fn descends(self) -> bool {
        !matches!(self, Self::Number | Self::Uptime | Self::Reason)
    }
}

/// The page.
#[derive(Debug, Serialize)]
pub(crate) struct Connections {
    server_id: String,
    now: Time,
    num_connections: usize,
    total: usize,
    offset: i64,
    limit: i64,
    /// Nothing where nats-server writes null: the account does not exist.
    connections: Option<Vec<ConnectionInfo>>,
}

#[derive(Debug, Serialize)]
struct ConnectionInfo {
    cid: u64,
    kind: &'static str,
    r#type: &'static str,
    ip: String,
    port: u16,
    start: Time,
    last_activity: Time,
    #[serde(skip_serializing_if = "Option::is_none")]
    stop: Option<Time>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'static str>,
    rtt: String,
    uptime: String,
    idle: String,
    pending_bytes: usize,
    in_msgs: u64,
    out_msgs: u64,
    in_bytes: u64,
    out_bytes: u64,
    #[serde(skip_serializing_if = "is_zero")]
    stalls: u64,
    /// Not in nats-server, nor here unless `slow_consumer` says that messages may be dropped.
    #[serde(skip_serializing_if = "is_zero")]
    dropped_msgs: u64,
    #[serde(skip_serializing_if = "is_zero")]
    dropped_bytes: u64,
    subscriptions: usize,
    #[serde(skip_serializing_if = "str::is_empty")]
    name: Box<str>,
    #[serde(skip_serializing_if = "str::is_empty")]
    lang: Box<str>,
    #[serde(skip_serializing_if = "str::is_empty")]
    version: Box<str>,
    #[serde(skip_serializing_if = "str::is_empty")]
    tls_version: &'static str,
    #[serde(skip_serializing_if = "str::is_empty")]
    tls_cipher_suite: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    tls_peer_certs: Option<[PeerCertificate; 1]>,
    #[serde(skip_serializing_if = "is_false")]
    tls_first: bool,
    #[serde(skip_serializing_if = "str::is_empty")]
    authorized_user: Box<str>,
    #[serde(skip_serializing_if = "str::is_empty")]
    account: Box<str>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    subscriptions_list: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    subscriptions_list_detail: Vec<SubscriptionDetail>,
    #[serde(skip_serializing_if = "str::is_empty")]
    name_tag: Box<str>,
}

/// A client's certificate.
#[derive(Debug, Serialize)]
struct PeerCertificate {
    #[serde(skip_serializing_if = "String::is_empty")]
    subject: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    spki_sha256: String,
    cert_sha256: String,
}

impl PeerCertificate {
    fn of(certificate: &[u8]) -> Self {
        let names = CertificateNames::read(certificate);
        let key = certificate_public_key(certificate);
        Self {
            subject: names.map_or_else(String::new, |names| names.subject_text().to_owned()),
            spki_sha256: key.map_or_else(String::new, |key| sha256(&key)),
            cert_sha256: sha256(certificate),
        }
    }
}

fn sha256(bytes: &[u8]) -> String {
    data_encoding::HEXLOWER.encode(&Sha256::digest(bytes))
}

/// A connection to be shown.
#[derive(Debug, Clone)]
enum Shown {
    Open(Arc<Peer>),
    Closed(Arc<ClosedConnection>),
}

impl Shown {
    fn id(&self) -> u64 {
        match self {
            Self::Open(peer) => peer.id(),
            Self::Closed(closed) => closed.portrait.id,
        }
    }

    fn portrait(&self) -> Portrait {
        match self {
            Self::Open(peer) => peer.portrait(),
            Self::Closed(closed) => closed.portrait.clone(),
        }
    }

    fn introduction(&self) -> Option<Arc<Introduction>> {
        match self {
            Self::Open(peer) => peer.introduction(),
            Self::Closed(closed) => closed.portrait.introduction.clone(),
        }
    }

    fn account(&self) -> Arc<str> {
        let introduction = self.introduction();
        introduction.map_or_else(|| GLOBAL_ACCOUNT.into(), |known| Arc::clone(&known.account))
    }

    /// What it is sorted by, besides reasons, which are texts.
    fn rank(&self, order: Order, now: SystemTime) -> u128 {
        let since = |time: SystemTime| now.duration_since(time).unwrap_or_default().as_nanos();
        match order {
            Order::Number | Order::Reason => self.id().into(),
            Order::LastActive => u128::MAX - since(self.last_active()),
            Order::Idle => since(self.last_active()),
            Order::Ended => match self {
                Self::Open(_) => 0,
                Self::Closed(closed) => u128::MAX - since(closed.portrait.ended),
            },
            Order::Uptime => match self {
                Self::Open(peer) => since(peer.facts().began.0),
                Self::Closed(closed) => {
                    lasted(closed.portrait.began, closed.portrait.ended).as_nanos()
                }
            },
            Order::Subscriptions
            | Order::Pending
            | Order::MessagesTo
            | Order::MessagesFrom
            | Order::BytesTo
            | Order::BytesFrom
            | Order::RoundTrip => self.figure(order),
        }
    }

    /// The number that it is sorted by.
    fn figure(&self, order: Order) -> u128 {
        let both = |(messages, bytes): (u64, u64)| (u128::from(messages), u128::from(bytes));
        let (received, sent) = match self {
            Self::Open(peer) => (peer.traffic_in(), peer.traffic_out()),
            Self::Closed(closed) => {
                let portrait = &closed.portrait;
                (
                    (portrait.in_messages, portrait.in_bytes),
                    (portrait.out_messages, portrait.out_bytes),
                )
            }
        };
        match (order, self) {
            (Order::MessagesFrom, _) => both(received).0,
            (Order::BytesFrom, _) => both(received).1,
            (Order::MessagesTo, _) => both(sent).0,
            (Order::BytesTo, _) => both(sent).1,
            (Order::Subscriptions, Self::Open(peer)) => peer.subscriptions() as u128,
            (Order::Subscriptions, Self::Closed(closed)) => closed.portrait.subscriptions as u128,
            (Order::Pending, Self::Open(peer)) => peer.pending() as u128,
            (Order::Pending, Self::Closed(closed)) => closed.portrait.pending as u128,
            (_, Self::Open(peer)) => peer.round_trip().as_nanos(),
            (_, Self::Closed(closed)) => closed.portrait.round_trip.as_nanos(),
        }
    }

    fn last_active(&self) -> SystemTime {
        match self {
            Self::Open(peer) => peer.last_active(),
            Self::Closed(closed) => closed.portrait.last_active,
        }
    }

    fn reason(&self) -> &'static str {
        match self {
            Self::Open(_) => "",
            Self::Closed(closed) => closed.reason.text(),
        }
    }
}

fn lasted(from: SystemTime, to: SystemTime) -> Duration {
    to.duration_since(from).unwrap_or_default()
}

impl Monitor {
    /// The connections that `query` asks for.
    ///
    /// # Errors
    /// nats-server's text for a query that makes no sense.
    pub(crate) fn connections(&self, query: &ConnectionsQuery) -> Result<Connections, String> {
        let order = checked_order(query)?;
        let limit = match (query.cid, query.limit) {
            (1.., _) => 1,
            (0, ..=0) => DEFAULT_LIMIT,
            (0, limit) => limit,
        };
        let (now, _) = clocks();
        let mut page = Connections {
            server_id: self.server_id(),
            now: Time(now),
            num_connections: 0,
            total: 0,
            offset: query.offset.max(0),
            limit,
            connections: Some(Vec::new()),
        };
        if !query.account.is_empty() && self.broker().known_account(&query.account).is_none() {
            page.server_id = String::new();
            page.connections = None;
            return Ok(page);
        }
        let number = |number: i64| usize::try_from(number).unwrap_or(usize::MAX);
        let (offset, limit) = (number(page.offset), number(limit));
        let chosen: Vec<Shown> = if order == Order::Number && query.wants_all_open() {
            let ids = self.broker().peer_ids();
            page.total = ids.len();
            self.by_number(ids, offset, limit)
        } else {
            let (mut shown, total) = self.selected(query);
            page.total = total;
            sort(&mut shown, order, now);
            shown.into_iter().skip(offset).take(limit).collect()
        };
        let mut lists = self.subscription_lists(query, &chosen);
        let infos = chosen.iter().map(|connection| {
            let list = lists.remove(&connection.id()).unwrap_or_default();
            info(connection, query, list, now)
        });
        let infos: Vec<_> = infos.collect();
        page.num_connections = infos.len();
        page.connections = Some(infos);
        Ok(page)
    }

    /// A page of the open connections in the order of their numbers. Only those on it are looked at.
    fn by_number(&self, mut ids: Vec<u64>, offset: usize, limit: usize) -> Vec<Shown> {
        ids.sort_unstable();
        let page = ids.into_iter().skip(offset).take(limit);
        page.filter_map(|id| self.broker().peer(id).map(Shown::Open))
            .collect()
    }

    /// The connections that `query` means, and how many there are before users and subjects are
    /// looked at.
    fn selected(&self, query: &ConnectionsQuery) -> (Vec<Shown>, usize) {
        let mut shown: Vec<Shown> = Vec::new();
        if query.state != CLOSED {
            shown.extend(self.broker().peers().into_iter().map(Shown::Open));
        }
        if query.state != OPEN {
            shown.extend(self.broker().closed.list().into_iter().map(Shown::Closed));
        }
        if !query.account.is_empty() {
            shown.retain(|connection| *connection.account() == *query.account);
        }
        let total = shown.len();
        if query.cid > 0 {
            shown.retain(|connection| connection.id() == query.cid);
            return (shown, total);
        }
        if !query.user.is_empty() {
            let is_wanted = |known: Arc<Introduction>| *known.user == *query.user;
            shown.retain(|connection| connection.introduction().is_some_and(is_wanted));
        }
        if !query.mqtt_client.is_empty() {
            shown.clear();
        }
        if !matches!(&*query.filter_subject, "" | ">") {
            let interested = self.interested(&query.account, query.filter_subject.as_bytes());
            shown.retain(|connection| match connection {
                Shown::Open(peer) => interested.contains(&peer.id()),
                Shown::Closed(_) => true,
            });
        }
        (shown, total)
    }

    /// The connections of an account with interest that overlaps `filter`.
    fn interested(&self, account: &str, filter: &[u8]) -> HashSet<u64> {
        let mut found = HashSet::new();
        if let Some(account) = self.broker().known_account(account) {
            account.interest().for_each(|subscription| {
                if overlap(filter, subscription.filter()) {
                    found.insert(subscription.peer().id());
                }
            });
        }
        found
    }

    /// The subscriptions of `connections`, where they are asked for.
    fn subscription_lists(
        &self,
        query: &ConnectionsQuery,
        connections: &[Shown],
    ) -> HashMap<u64, Vec<SubscriptionPortrait>> {
        let mut lists: HashMap<u64, Vec<SubscriptionPortrait>> = HashMap::new();
        if !query.subscriptions && !query.subscriptions_detail {
            return lists;
        }
        let mut accounts: HashMap<Arc<str>, HashSet<u64>> = HashMap::new();
        for connection in connections {
            match connection {
                Shown::Open(peer) => {
                    lists.insert(peer.id(), Vec::new());
                    let members = accounts.entry(connection.account()).or_default();
                    members.insert(peer.id());
                }
                Shown::Closed(closed) => {
                    lists.insert(closed.portrait.id, closed.subscriptions.to_vec());
                }
            }
        }
        for (name, members) in &accounts {
            let Some(account) = self.broker().known_account(name) else {
                continue;
            };
            account.interest().for_each(|subscription| {
                // Imports put interest of their clients into other accounts.
                let id = subscription.peer().id();
                if members.contains(&id)
                    && !subscription.is_closed()
                    && let Some(list) = lists.get_mut(&id)
                {
                    list.push((&**subscription).into());
                }
            });
        }
        lists
    }
}

fn checked_order(query: &ConnectionsQuery) -> Result<Order, String> {
    let Some(order) = Order::of(&query.sort) else {
        return Err(format!("invalid sorting option: {}", query.sort));
    };
    if order == Order::Ended && query.state != CLOSED {
        return Err("sort by stop only valid on closed connections".to_owned());
    }
    if order == Order::Reason && query.state != CLOSED {
        return Err("sort by reason only valid on closed connections".to_owned());
    }
    if !matches!(&*query.filter_subject, "" | ">") && query.account.is_empty() {
        return Err("filter by subject only valid with account filtering".to_owned());
    }
    Ok(order)
}

fn sort(shown: &mut [Shown], order: Order, now: SystemTime) {
    if order == Order::Number {
        shown.sort_unstable_by_key(Shown::id);
        return;
    }
    shown.sort_by_cached_key(|connection| {
        if order == Order::Reason {
            return (0, connection.reason(), connection.id());
        }
        let rank = connection.rank(order, now);
        let rank = if order.descends() {
            u128::MAX - rank
        } else {
            rank
        };
        (rank, "", connection.id())
    });
}

fn info(
    connection: &Shown,
    query: &ConnectionsQuery,
    list: Vec<SubscriptionPortrait>,
    now: SystemTime,
) -> ConnectionInfo {
    let portrait = connection.portrait();
    let known = portrait.introduction.as_deref().cloned();
    let account = match &portrait.introduction {
        Some(known) => Arc::clone(&known.account),
        None => GLOBAL_ACCOUNT.into(),
    };
    let introduction = known.unwrap_or_default();
    let tls = portrait.tls.unwrap_or_default();
    let certificate = tls.peer_certificate.filter(|_| query.auth);
    let (until, stop, reason) = match connection {
        Shown::Open(_) => (now, None, None),
        Shown::Closed(closed) => {
            let ended = portrait.ended;
            (ended, Some(Time(ended)), Some(closed.reason.text()))
        }
    };
    let shown_to_auth = |text: &str| if query.auth { text } else { "" }.into();
    let named = if *account == *GLOBAL_ACCOUNT {
        ""
    } else {
        &account
    };
    let (filters, details) = if query.subscriptions_detail {
        let owner = (stop.is_some() && !account.is_empty()).then_some(&*account);
        let details = list.into_iter();
        let details = details.map(|one| SubscriptionDetail::of(one, owner));
        (Vec::new(), details.collect())
    } else {
        let filters = list.iter().map(|one| lossy(&one.filter)).collect();
        (filters, Vec::new())
    };
    ConnectionInfo {
        cid: portrait.id,
        kind: "Client",
        r#type: "nats",
        ip: portrait.ip,
        port: portrait.port,
        start: Time(portrait.began),
        last_activity: Time(portrait.last_active),
        stop,
        reason,
        rtt: round_trip(portrait.round_trip),
        uptime: uptime(lasted(portrait.began, until)),
        idle: uptime(lasted(portrait.last_active, until)),
        pending_bytes: portrait.pending,
        in_msgs: portrait.in_messages,
        out_msgs: portrait.out_messages,
        in_bytes: portrait.in_bytes,
        out_bytes: portrait.out_bytes,
        stalls: portrait.stalls,
        dropped_msgs: portrait.dropped.0,
        dropped_bytes: portrait.dropped.1,
        subscriptions: portrait.subscriptions,
        name: introduction.name,
        lang: introduction.language,
        version: introduction.version,
        tls_version: tls.version,
        tls_cipher_suite: tls.cipher_suite,
        tls_peer_certs: certificate.map(|certificate| [PeerCertificate::of(&certificate)]),
        tls_first: tls.handshake_first,
        authorized_user: shown_to_auth(&introduction.user),
        account: shown_to_auth(named),
        subscriptions_list: filters,
        subscriptions_list_detail: details,
        name_tag: shown_to_auth(&account),
    }
}
