//! Answers that an account owes to requests from others.
//!
//! A request that goes to another account carries a reply subject of that account's own, made up for
//! this request alone: `_R_.` and two random words. Whoever answers there answers the requester, and
//! nobody in the exporting account learns the requester's own reply subject.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::{Arc, Weak};
use std::time::Instant;

use foldhash::fast::RandomState;
use ring::rand::{SecureRandom, SystemRandom};

use super::account::Account;
use super::imports::{ResponseType, ServiceExport};
use super::latency::{Measurement, header_bytes};

/// How all reply subjects begin that lead to another account; clients may not ask for answers there.
pub(super) const REPLY_PREFIX: &[u8] = b"_R_.";

/// Requests of which an account awaits answers at a time, and bytes that requesters chose, reply subjects and headers,
/// which are kept for them. Each requesting account may have as much of that as it leaves to all others, see [`Used::leaves`].
const MOST: Used = Used {
    requests: 1 << 20,
    bytes: 64 * 1024 * 1024,
};

/// Letters of the word that all reply subjects of an account have, and of the one that tells them
/// apart. Nobody must guess them.
const ACCOUNT_LETTERS: usize = 8;
const REQUEST_LETTERS: usize = 12;

/// Random bytes that are drawn at once.
const RANDOM_BYTES: usize = 32 * REQUEST_LETTERS;

/// A request that was not answered yet, or not completely.
#[derive(Debug, Clone)]
pub(super) struct Pending {
    /// The account of the requester.
    pub(super) requester: Weak<Account>,
    /// Where the requester wants the answer.
    pub(super) reply: Box<[u8]>,
    /// The service asked for.
    pub(super) export: Arc<ServiceExport>,
    /// When the request came, or the last answer.
    pub(super) since: Instant,
    /// How its latency is measured, if it is.
    pub(super) measurement: Option<Arc<Measurement>>,
}

impl Pending {
    /// Bytes that the requester chose.
    fn bytes(&self) -> usize {
        let headers = self.measurement.as_ref();
        self.reply.len() + headers.map_or(0, |measurement| header_bytes(&measurement.headers))
    }

    fn asked_by(&self) -> Requester {
        Requester(self.requester.as_ptr().addr())
    }

    fn is_late(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.since) >= self.export.threshold
    }
}

/// All requests of which an account awaits answers.
#[derive(Debug, Default)]
pub(super) struct Responses {
    /// `_R_.word.`; empty before the first request.
    prefix: Vec<u8>,
    pending: HashMap<Box<[u8]>, Pending, RandomState>,
    usage: Usage,
    random: Random,
}

/// How much room pending requests take.
#[derive(Debug, Default)]
struct Usage {
    all: Used,
    /// Those of each requesting account that has any.
    by: HashMap<Requester, Used, RandomState>,
}

impl Usage {
    /// Counts a request in, if there is room for it.
    fn enter(&mut self, pending: &Pending, most: &Used) -> bool {
        let requester = pending.asked_by();
        let mut by = self.by.get(&requester).copied().unwrap_or_default();
        let mut all = self.all;
        by.add(pending);
        all.add(pending);
        let fits = by.leaves(&all, most);
        if fits {
            self.all = all;
            self.by.insert(requester, by);
        }
        fits
    }

    fn leave(&mut self, pending: &Pending) {
        self.all.subtract(pending);
        if let Entry::Occupied(mut entry) = self.by.entry(pending.asked_by()) {
            entry.get_mut().subtract(pending);
            if entry.get().requests == 0 {
                entry.remove();
            }
        }
    }
}

/// Tells requesting accounts apart, for as long as a request of theirs is pending.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Requester(usize);

/// The room that some requests take.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Used {
    requests: usize,
    bytes: usize,
}

impl Used {
    fn add(&mut self, pending: &Pending) {
        self.requests += 1;
        self.bytes += pending.bytes();
    }

    fn subtract(&mut self, pending: &Pending) {
        self.requests -= 1;
        self.bytes -= pending.bytes();
    }

    /// Whether an account that uses so much, where all use `all`, leaves as much room as it takes itself. So one that
    /// takes all it can get leaves half of the room to others, two of them a third, and so on.
    fn leaves(&self, all: &Self, most: &Self) -> bool {
        all.requests + self.requests <= most.requests && all.bytes + self.bytes <= most.bytes
    }
}

impl Responses {
    /// The filter that all reply subjects match; whether it was made by this call.
    ///
    /// # Errors
    /// There is no randomness.
    pub(super) fn filter(&mut self) -> Result<(Vec<u8>, bool), NoRandomness> {
        let new = self.prefix.is_empty();
        if new {
            let mut prefix = REPLY_PREFIX.to_vec();
            self.random.push_word(ACCOUNT_LETTERS, &mut prefix)?;
            prefix.push(b'.');
            self.prefix = prefix;
        }
        Ok(([&self.prefix, &b">"[..]].concat(), new))
    }

    /// Enters a request; the reply subject for it, or none if there are too many.
    pub(super) fn enter(&mut self, pending: Pending) -> Option<Box<[u8]>> {
        self.enter_up_to(&MOST, pending)
    }

    fn enter_up_to(&mut self, most: &Used, pending: Pending) -> Option<Box<[u8]>> {
        let mut reply = self.prefix.clone();
        self.random.push_word(REQUEST_LETTERS, &mut reply).ok()?;
        if !self.usage.enter(&pending, most) {
            return None;
        }
        let reply: Box<[u8]> = reply.into();
        self.pending.insert(reply.clone(), pending);
        Some(reply)
    }

    /// The request that an answer on `subject` is for. `last` says that the answer ends it, if it is
    /// one of several; it may be forgotten then.
    pub(super) fn answer(&mut self, subject: &[u8], last: bool, now: Instant) -> Option<Pending> {
        let pending = self.pending.get_mut(subject)?;
        if pending.is_late(now) {
            // Whoever forgets it has to report it.
            return None;
        }
        if last || pending.export.response == ResponseType::Single {
            return self.remove(subject);
        }
        pending.since = now;
        Some(pending.clone())
    }

    /// Forgets a request.
    pub(super) fn remove(&mut self, subject: &[u8]) -> Option<Pending> {
        let removed = self.pending.remove(subject)?;
        self.usage.leave(&removed);
        if self.pending.capacity() > 1024 && self.pending.len() < self.pending.capacity() / 8 {
            self.pending.shrink_to(self.pending.len() * 2);
        }
        Some(removed)
    }

    /// Forgets what has waited for too long; those among it that are measured.
    pub(super) fn expire(&mut self, now: Instant) -> Vec<Pending> {
        let mut measured = Vec::new();
        if self.pending.is_empty() {
            return measured;
        }
        let usage = &mut self.usage;
        self.pending.retain(|_, pending| {
            let late = pending.is_late(now);
            if late {
                usage.leave(pending);
            }
            if late && pending.measurement.is_some() {
                measured.push(pending.clone());
            }
            !late
        });
        self.pending.shrink_to(self.pending.len() * 2);
        measured
    }

    /// Some random letters and digits.
    pub(super) fn random_word(&mut self, letters: usize) -> Vec<u8> {
        let mut word = Vec::new();
        // Without randomness the word is shorter.
        let _ = self.random.push_word(letters, &mut word);
        word
    }

    pub(super) fn len(&self) -> usize {
        self.pending.len()
    }
}

/// The system has no randomness to give.
#[derive(Debug)]
pub(super) struct NoRandomness;

/// Random letters, drawn many at a time.
#[derive(Debug, Default)]
struct Random {
    bytes: Vec<u8>,
}

impl Random {
    fn push_word(&mut self, letters: usize, to: &mut Vec<u8>) -> Result<(), NoRandomness> {
        const LETTERS: &[u8; 62] =
            b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
        for _ in 0..letters {
            if self.bytes.is_empty() {
                let mut bytes = [0; RANDOM_BYTES];
                let filled = SystemRandom::new().fill(&mut bytes);
                filled.map_err(|_| NoRandomness)?;
                self.bytes.extend_from_slice(&bytes);
            }
            let letter = usize::from(self.bytes.pop().unwrap_or_default() % 62);
            to.push(LETTERS.get(letter).copied().unwrap_or(b'0'));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::broker::latency::LatencyRules;
    use crate::broker::peer::tests::peer;
    use crate::broker::registry::Broker;
    use crate::broker::sharing::OwnServer;
    use std::time::Duration;

    const FEW: Used = Used {
        requests: 12,
        bytes: 120,
    };

    #[expect(clippy::disallowed_methods, reason = "any instant will do")]
    fn start() -> Instant {
        Instant::now()
    }

    fn pending(requester: &Arc<Account>, reply: &str, since: Instant) -> Pending {
        Pending {
            requester: Arc::downgrade(requester),
            reply: reply.as_bytes().into(),
            export: Arc::new(ServiceExport {
                response: ResponseType::Single,
                threshold: Duration::from_secs(1),
                latency: None,
                allow_trace: false,
            }),
            since,
            measurement: None,
        }
    }

    /// How many requests of this account find room, and the subject of the first.
    fn fill(responses: &mut Responses, requester: &Arc<Account>, reply: &str) -> (usize, Vec<u8>) {
        let mut entered = Vec::new();
        while let Some(subject) = responses.enter_up_to(&FEW, pending(requester, reply, start())) {
            entered.push(subject);
        }
        let first = entered.first().map(|subject| subject.to_vec());
        (entered.len(), first.unwrap_or_default())
    }

    #[test]
    fn a_greedy_account_leaves_room_to_modest_ones() {
        let broker = Broker::default();
        let [greedy, second, modest] =
            ["greedy", "second", "modest"].map(|name| broker.account(name));
        let mut responses = Responses::default();
        responses.filter().unwrap();
        // By number, then by bytes.
        for reply in ["r", "twenty letters reply"] {
            let (most, first) = fill(&mut responses, &greedy, reply);
            assert_eq!(most, if reply == "r" { 6 } else { 3 });
            let (some, _) = fill(&mut responses, &second, reply);
            assert_eq!(some, most / 2);
            let one = responses.enter_up_to(&FEW, pending(&modest, reply, start()));
            assert!(one.is_some(), "there is room for others");
            assert_eq!(fill(&mut responses, &greedy, reply).0, 0);
            let _forgotten = responses.remove(&first).unwrap();
            let after = responses.expire(start() + Duration::from_secs(2));
            assert!(after.is_empty() && responses.pending.is_empty());
            assert!(responses.usage.all == Used::default() && responses.usage.by.is_empty());
        }
    }

    #[test]
    fn headers_for_reports_take_room_as_well() {
        let broker = Broker::default();
        let requester = broker.account("requester");
        let measured = |value: &str| Pending {
            measurement: Some(Arc::new(Measurement {
                rules: LatencyRules {
                    subject: "reports".to_owned(),
                    percent: 0,
                },
                requester: peer(1),
                account: "requester".to_owned(),
                share: false,
                headers: [("B3".to_owned(), [value.to_owned()])].into(),
                server: Arc::new(OwnServer {
                    name: String::new(),
                    cluster: String::new(),
                    peer: peer(2),
                }),
                since: start(),
            })),
            ..pending(&requester, "r", start())
        };
        let mut responses = Responses::default();
        responses.filter().unwrap();
        let long = "x".repeat(FEW.bytes / 2 - 3);
        assert!(responses.enter_up_to(&FEW, measured(&long)).is_some());
        assert!(responses.enter_up_to(&FEW, measured("")).is_none());
        let late = responses.expire(start() + Duration::from_secs(2));
        assert_eq!(late.len(), 1);
        assert!(responses.enter_up_to(&FEW, measured("")).is_some());
    }
}
