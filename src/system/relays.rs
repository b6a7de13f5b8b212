//! Questions that other servers of the cluster have to answer as well, and what comes of their answers.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use data_encoding::BASE64;
use serde::{Deserialize, Serialize};

use super::{CONNECTION_NUMBER, System, clocks};
use crate::broker::account::Account;
use crate::broker::events::Request;
use crate::broker::subscription::{Handling, Subscription};
use crate::link::internal::{Message, Outgoing};
use crate::monitor::text::lossy;
use crate::subject;

/// Where other servers count subscriptions.
const COUNT_SUBJECT: &str = "$SYS.REQ.ACCOUNT.NSUBS";

/// Questions whose answers are awaited at a time; beyond it the oldest is forgotten.
const MAX_RELAYS: usize = 1024;

/// How long answers of other servers are passed on.
const RELAY_PATIENCE: Duration = Duration::from_secs(5);

/// How long other servers may take to count subscriptions (nats-server).
const COUNT_PATIENCE: Duration = Duration::from_millis(500);

/// Answers that are awaited, by the number at the end of their subject.
#[derive(Debug, Default)]
pub(super) struct Relays {
    last: u64,
    waiting: BTreeMap<u64, Relay>,
}

#[derive(Debug)]
struct Relay {
    account: Arc<Account>,
    /// Where the asker wants the answer.
    reply: String,
    until: Instant,
    /// The sum of what servers have counted; none when each answer is passed on as it is.
    count: Option<Count>,
}

#[derive(Debug)]
struct Count {
    sum: u64,
    /// Other servers that have not answered.
    missing: usize,
}

impl Relays {
    fn add(&mut self, relay: Relay) -> u64 {
        if self.waiting.len() >= MAX_RELAYS {
            self.waiting.pop_first();
        }
        self.last += 1;
        self.waiting.insert(self.last, relay);
        self.last
    }

    /// When the next one is over.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.waiting.values().map(|relay| relay.until).min()
    }
}

/// Which subscriptions are to be counted; written as nats-server writes it.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Counted {
    #[serde(rename = "acc")]
    account: String,
    subject: String,
    /// The queue group in Base64; none for all subscriptions.
    #[serde(skip_serializing_if = "Option::is_none")]
    queue: Option<String>,
}

impl Counted {
    /// A subject or filter and, behind a blank, a queue group.
    fn parse(account: &Account, text: &str) -> Self {
        let mut words = text.trim().split(' ');
        Self {
            account: account.name().to_owned(),
            subject: words.next().unwrap_or_default().to_owned(),
            queue: words.next().map(|queue| BASE64.encode(queue.as_bytes())),
        }
    }

    fn fits(&self, subscription: &Subscription) -> bool {
        let (wanted, filter) = (self.subject.as_bytes(), subscription.filter());
        let in_queue = self.queue.as_ref().is_none_or(|queue| {
            let name = subscription.queue().map(|name| BASE64.encode(name));
            name.is_some_and(|name| name == *queue)
        });
        let of_client = !subscription.is_remote()
            && subscription.peer().id() != CONNECTION_NUMBER
            && !matches!(
                subscription.handling(),
                Some(Handling::Service(_) | Handling::Responses)
            );
        let covered = if subject::has_wildcard(wanted) {
            subject::covers(wanted, filter)
        } else {
            subject::matches(filter, wanted)
        };
        in_queue && of_client && covered
    }
}

impl System {
    /// The filter of all subjects that other servers answer on.
    pub(super) fn answers_filter(&self) -> String {
        self.answer_subject("*")
    }

    fn answer_subject(&self, last: impl std::fmt::Display) -> String {
        format!("$SYS._INBOX.{}.{last}", self.monitor.server_id())
    }

    /// Lets the other servers answer a question of `account` on `subject` of the system account.
    pub(super) fn ask_others(&mut self, request: &Request, subject: &str) {
        let relay = Relay {
            account: Arc::clone(&request.account),
            reply: lossy(&request.reply),
            until: clocks().1 + RELAY_PATIENCE,
            count: None,
        };
        self.await_answers(relay, subject, &request.body);
    }

    /// Sends a question to the other servers; whether any of them hears it.
    fn await_answers(&mut self, relay: Relay, subject: &str, payload: &[u8]) -> bool {
        let number = self.relays.add(relay);
        let reply = self.answer_subject(number);
        let message = Outgoing {
            subject,
            reply: Some(&reply),
            payload,
            ..Outgoing::default()
        };
        let heard = self.connection.publish(message, clocks().1);
        let is_heard = heard.is_ok_and(|count| count > 0);
        if !is_heard {
            self.relays.waiting.remove(&number);
        }
        is_heard
    }

    /// Another server has answered.
    pub(super) fn take_answer(&mut self, message: &Message) {
        let number = message.subject.rsplit('.').next().unwrap_or_default();
        let Ok(number) = number.parse() else { return };
        let Some(relay) = self.relays.waiting.get_mut(&number) else {
            return;
        };
        let Some(count) = &mut relay.count else {
            let (account, reply) = (Arc::clone(&relay.account), relay.reply.clone());
            return self.pass_on(&account, &reply, &message.payload);
        };
        let text = String::from_utf8_lossy(&message.payload);
        // Whoever answers may say what it likes.
        let own = text.parse::<u64>().unwrap_or_default();
        count.sum = count.sum.saturating_add(own);
        count.missing = count.missing.saturating_sub(1);
        if count.missing == 0
            && let Some(relay) = self.relays.waiting.remove(&number)
        {
            self.finish(&relay);
        }
    }

    fn pass_on(&self, account: &Arc<Account>, reply: &str, payload: &[u8]) {
        let message = Outgoing {
            subject: reply,
            payload,
            ..Outgoing::default()
        };
        if let Err(error) = self.connection.publish_to(account, message, clocks().1) {
            tracing::debug!("cannot pass an answer on to {reply:?}: {error}");
        }
    }

    /// Ends what has waited long enough.
    pub(super) fn end_relays(&mut self) {
        let (_, now) = clocks();
        let is_over = |_: &u64, relay: &mut Relay| relay.until <= now;
        let over: Vec<Relay> = self
            .relays
            .waiting
            .extract_if(.., is_over)
            .map(|(_, relay)| relay)
            .collect();
        for relay in &over {
            self.finish(relay);
        }
    }

    fn finish(&self, relay: &Relay) {
        if let Some(count) = &relay.count {
            self.send_to(&relay.account, &relay.reply, &count.sum);
        }
    }

    /// Answers how many clients of the whole cluster have subscriptions of a kind in the asker's account.
    pub(super) fn count_everywhere(&mut self, request: &Request) {
        let counted = Counted::parse(&request.account, &lossy(&request.body));
        let sum = count(&request.account, &counted);
        let relay = Relay {
            account: Arc::clone(&request.account),
            reply: lossy(&request.reply),
            until: clocks().1 + COUNT_PATIENCE,
            count: Some(Count {
                sum,
                missing: self.servers.0.len(),
            }),
        };
        let question = serde_json::to_vec(&counted).unwrap_or_default();
        if self.servers.len() == 0 || !self.await_answers(relay, COUNT_SUBJECT, &question) {
            self.send_to(&request.account, &lossy(&request.reply), &sum);
        }
    }

    /// Counts the subscriptions of clients of this server for another server.
    pub(super) fn count_here(&self, message: &Message, reply: &str) {
        let Ok(counted) = super::services::parsed::<Counted>(message) else {
            return;
        };
        let Some(account) = self.monitor.broker().known_account(&counted.account) else {
            return;
        };
        if account.connections.get() > 0 {
            self.send(reply, &count(&account, &counted));
        }
    }
}

fn count(account: &Account, counted: &Counted) -> u64 {
    let mut count = 0;
    account
        .interest()
        .for_each(|subscription| count += u64::from(counted.fits(subscription)));
    count
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_question_is_forgotten_when_there_are_too_many() {
        let (_, now) = clocks();
        let account = Arc::new(Account::new("A"));
        let mut relays = Relays::default();
        assert_eq!(relays.deadline(), None);
        for number in 0..=MAX_RELAYS as u64 {
            let added = relays.add(Relay {
                account: Arc::clone(&account),
                reply: String::new(),
                until: now + Duration::from_secs(1 + number),
                count: None,
            });
            assert_eq!(added, number + 1);
        }
        assert_eq!(relays.waiting.len(), MAX_RELAYS);
        assert_eq!(relays.deadline(), Some(now + Duration::from_secs(2)));
    }

    #[test]
    fn what_is_counted_is_read_from_words() {
        let account = Account::new("A");
        let counted = Counted::parse(&account, " work.* q \r\n");
        assert_eq!((&*counted.account, &*counted.subject), ("A", "work.*"));
        assert_eq!(counted.queue.as_deref(), Some("cQ=="));
        let counted = Counted::parse(&account, "work");
        assert_eq!((&*counted.subject, counted.queue), ("work", None));
    }
}
