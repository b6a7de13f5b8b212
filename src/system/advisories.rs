//! What is told in the system account without being asked for.

use std::sync::Arc;
use std::time::SystemTime;

use ring::rand::{SecureRandom, SystemRandom};
use serde::Serialize;

use super::{Announcement, System, clocks, is_wanted_in};
use crate::broker::account::{Account, GLOBAL_ACCOUNT};
use crate::broker::close::CloseReason;
use crate::broker::events::Event;
use crate::broker::peer::Peer;
use crate::broker::peer::portrait::Portrait;
use crate::monitor::accounts::AccountStat;
use crate::monitor::is_zero;
use crate::monitor::stats::{ServerInfo, Volume};
use crate::monitor::text::{Nanoseconds, Time};

const CONNECT: &str = "io.nats.server.advisory.v1.client_connect";
const DISCONNECT: &str = "io.nats.server.advisory.v1.client_disconnect";
const ACCOUNT_CONNECTIONS: &str = "io.nats.server.advisory.v1.account_connections";
const SLOW_CONSUMER: &str = "io.midge.server.advisory.v1.slow_consumer";

/// Where an account hears of those who were refused.
const REFUSED_IN_ACCOUNT: &str = "$SYS.ACCOUNT.CLIENT.AUTH.ERR";

/// Letters of an event's identity, and how many it has.
const LETTERS: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
const IDENTITY_LENGTH: usize = 22;

/// What every event begins with.
#[derive(Debug, Serialize)]
struct Envelope<D> {
    r#type: &'static str,
    id: String,
    timestamp: Time,
    server: ServerInfo,
    #[serde(flatten)]
    document: D,
}

#[derive(Debug, Serialize)]
struct Connected {
    client: ClientInfo,
}

#[derive(Debug, Serialize)]
struct Disconnected {
    client: ClientInfo,
    /// What the client has sent.
    sent: Volume,
    /// What the client has received.
    received: Volume,
    reason: &'static str,
}

#[derive(Debug, Serialize)]
struct SlowConsumer {
    client: ClientInfo,
    /// Bytes that wait for it.
    pending_bytes: usize,
    /// Bytes that may wait.
    max_pending: usize,
    /// What was dropped for it so far, where messages may be dropped.
    #[serde(skip_serializing_if = "is_zero")]
    dropped_msgs: u64,
    #[serde(skip_serializing_if = "is_zero")]
    dropped_bytes: u64,
    reason: &'static str,
}

/// Who a connection is. Fields and their order are nats-server's.
#[derive(Debug, Serialize)]
struct ClientInfo {
    start: Time,
    host: String,
    id: u64,
    acc: String,
    #[serde(skip_serializing_if = "str::is_empty")]
    user: Box<str>,
    #[serde(skip_serializing_if = "str::is_empty")]
    name: Box<str>,
    #[serde(skip_serializing_if = "str::is_empty")]
    lang: Box<str>,
    #[serde(skip_serializing_if = "str::is_empty")]
    ver: Box<str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    rtt: Option<Nanoseconds>,
    #[serde(skip_serializing_if = "Option::is_none")]
    stop: Option<Time>,
    name_tag: String,
    kind: &'static str,
    client_type: &'static str,
}

impl ClientInfo {
    fn of(portrait: &Portrait, stop: Option<SystemTime>) -> Self {
        let known = portrait.introduction.as_deref().cloned();
        let known = known.unwrap_or_default();
        let account = account_name(portrait);
        let measured = Some(portrait.round_trip).filter(|time| !time.is_zero());
        Self {
            start: Time(portrait.began),
            host: portrait.ip.clone(),
            id: portrait.id,
            acc: account.clone(),
            user: known.user,
            name: known.name,
            lang: known.language,
            ver: known.version,
            rtt: stop.and(measured).map(Nanoseconds),
            stop: stop.map(Time),
            name_tag: account,
            kind: "Client",
            client_type: "nats",
        }
    }
}

/// The account of a connection; before it has one that of everybody.
fn account_name(portrait: &Portrait) -> String {
    let introduction = portrait.introduction.as_deref();
    let account = introduction.map_or("", |known| &known.account);
    if account.is_empty() {
        GLOBAL_ACCOUNT
    } else {
        account
    }
    .to_owned()
}

impl System {
    /// Reports an event to whoever listens.
    pub(super) fn report(&mut self, event: Event) {
        match event {
            Event::Connected(peer) => self.report_connected(&peer),
            Event::Disconnected(peer, reason) => self.report_disconnected(&peer, reason),
            Event::Refused(peer) => self.report_refused(&peer),
            Event::SlowConsumer(peer, reason) => self.report_slow_consumer(&peer, reason),
            Event::Traced(report) => self.report_trace(*report),
            Event::Request(request) => self.answer_question(&request),
        }
    }

    fn report_connected(&mut self, peer: &Peer) {
        let portrait = peer.portrait();
        let account = account_name(&portrait);
        self.report_account(&account);
        let subject = format!("$SYS.ACCOUNT.{account}.CONNECT");
        if self.is_wanted(&subject) {
            let client = ClientInfo::of(&portrait, None);
            self.send_event(&subject, CONNECT, Connected { client });
        }
    }

    fn report_disconnected(&mut self, peer: &Arc<Peer>, reason: CloseReason) {
        let account = account_name(&peer.portrait());
        self.report_account(&account);
        let subject = format!("$SYS.ACCOUNT.{account}.DISCONNECT");
        self.send_disconnected(&subject, peer, reason);
    }

    fn report_refused(&mut self, peer: &Arc<Peer>) {
        let reason = CloseReason::AuthenticationViolation;
        let server = self.monitor.server_id();
        let subject = format!("$SYS.SERVER.{server}.CLIENT.AUTH.ERR");
        self.send_disconnected(&subject, peer, reason);
        let name = account_name(&peer.portrait());
        let subject = format!("$SYS.ACCOUNT.{name}.DISCONNECT");
        self.send_disconnected(&subject, peer, reason);
        // The account that whoever was refused would have been in is told as well, in its own subjects.
        if let Some(account) = self.monitor.broker().known_account(&name) {
            self.send_disconnected_to(&account, REFUSED_IN_ACCOUNT, peer, reason);
        }
    }

    fn send_disconnected(&mut self, subject: &str, peer: &Peer, reason: CloseReason) {
        let account = Arc::clone(self.connection.account());
        self.send_disconnected_to(&account, subject, peer, reason);
    }

    fn send_disconnected_to(
        &mut self,
        account: &Arc<Account>,
        subject: &str,
        peer: &Peer,
        reason: CloseReason,
    ) {
        if !is_wanted_in(account, subject) {
            return;
        }
        let portrait = peer.portrait();
        let (now, _) = clocks();
        let ended = if portrait.ended == portrait.began {
            now
        } else {
            portrait.ended
        };
        let document = Disconnected {
            client: ClientInfo::of(&portrait, Some(ended)),
            sent: Volume {
                msgs: portrait.in_messages,
                bytes: portrait.in_bytes,
            },
            received: Volume {
                msgs: portrait.out_messages,
                bytes: portrait.out_bytes,
            },
            reason: reason.text(),
        };
        self.send_event_to(account, subject, DISCONNECT, document);
    }

    fn report_slow_consumer(&mut self, peer: &Peer, reason: CloseReason) {
        let portrait = peer.portrait();
        let account = account_name(&portrait);
        let subject = format!("$SYS.ACCOUNT.{account}.CLIENT.SLOW_CONSUMER");
        if self.is_wanted(&subject) {
            let document = SlowConsumer {
                client: ClientInfo::of(&portrait, None),
                pending_bytes: portrait.pending,
                max_pending: peer.max_pending(),
                dropped_msgs: portrait.dropped.0,
                dropped_bytes: portrait.dropped.1,
                reason: reason.text(),
            };
            self.send_event(&subject, SLOW_CONSUMER, document);
        }
    }

    /// Reports how many connections an account has. Nobody counts those of everybody.
    fn report_account(&mut self, name: &str) {
        if name == GLOBAL_ACCOUNT {
            return;
        }
        let subjects = [
            format!("$SYS.SERVER.ACCOUNT.{name}.CONNS"),
            format!("$SYS.ACCOUNT.{name}.SERVER.CONNS"),
        ];
        for subject in subjects {
            if self.is_wanted(&subject)
                && let Some(account) = self.monitor.broker().known_account(name)
            {
                self.send_account_connections(&subject, AccountStat::of(&account));
            }
        }
    }

    /// Reports all accounts that have connections.
    pub(super) fn report_all_accounts(&mut self) {
        for account in self.monitor.broker().accounts() {
            if account.connections.get() > 0 {
                self.report_account(account.name());
            }
        }
    }

    pub(super) fn send_account_connections(&mut self, subject: &str, stat: AccountStat) {
        self.send_event(subject, ACCOUNT_CONNECTIONS, stat);
    }

    fn send_event(&mut self, subject: &str, kind: &'static str, document: impl Serialize) {
        let account = Arc::clone(self.connection.account());
        self.send_event_to(&account, subject, kind, document);
    }

    fn send_event_to(
        &mut self,
        account: &Arc<Account>,
        subject: &str,
        kind: &'static str,
        document: impl Serialize,
    ) {
        let envelope = Envelope {
            r#type: kind,
            id: identity(),
            timestamp: Time(clocks().0),
            server: self.signature(),
            document,
        };
        self.send_to(account, subject, &envelope);
    }

    /// Tells all others that the server leaves.
    pub(super) fn announce(&mut self, announcement: Announcement) {
        let what = match announcement {
            Announcement::LameDuck => "LAMEDUCK",
            Announcement::Shutdown => "SHUTDOWN",
        };
        let subject = format!("$SYS.SERVER.{}.{what}", self.monitor.server_id());
        let signature = self.signature();
        self.send(&subject, &signature);
    }
}

/// A name for an event that no other one has.
fn identity() -> String {
    let mut bytes = [0; IDENTITY_LENGTH];
    // Without randomness events have the same name, which only those notice who keep them.
    let _ = SystemRandom::new().fill(&mut bytes);
    let letter = |byte: u8| LETTERS.get(usize::from(byte) % LETTERS.len());
    let letters = bytes.into_iter().filter_map(letter);
    letters.map(|&letter| char::from(letter)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identities_are_letters_and_differ() {
        let (one, other) = (identity(), identity());
        assert_eq!((one.len(), other.len()), (IDENTITY_LENGTH, IDENTITY_LENGTH));
        assert!(one.bytes().all(|letter| letter.is_ascii_alphanumeric()));
        assert_ne!(one, other);
    }
}
