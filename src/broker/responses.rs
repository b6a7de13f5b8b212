//! Answers that an account owes to requests from others.
//!
//! A request that goes to another account carries a reply subject of that account's own, made up for
//! this request alone: `_R_.` and two random words. Whoever answers there answers the requester, and
//! nobody in the exporting account learns the requester's own reply subject.

use std::collections::HashMap;
use std::sync::{Arc, Weak};
use std::time::Instant;

use foldhash::fast::RandomState;
use ring::rand::{SecureRandom, SystemRandom};

use super::account::Account;
use super::imports::{ResponseType, ServiceExport};
use super::latency::Measurement;

/// How all reply subjects begin that lead to another account; clients may not ask for answers there.
pub(super) const REPLY_PREFIX: &[u8] = b"_R_.";

/// Requests of which an account awaits answers at a time; more are refused.
pub(super) const MAX_PENDING_RESPONSES: usize = 1 << 20;

/// Bytes of the requesters' own reply subjects that are kept for them; with more, requests are refused.
const MAX_REPLY_BYTES: usize = 64 * 1024 * 1024;

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
    /// Length of all reply subjects in `pending`.
    reply_bytes: usize,
    random: Random,
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
        let reply_bytes = self.reply_bytes + pending.reply.len();
        if self.pending.len() >= MAX_PENDING_RESPONSES || reply_bytes > MAX_REPLY_BYTES {
            return None;
        }
        let mut reply = self.prefix.clone();
        self.random.push_word(REQUEST_LETTERS, &mut reply).ok()?;
        let reply: Box<[u8]> = reply.into();
        self.pending.insert(reply.clone(), pending);
        self.reply_bytes = reply_bytes;
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
        self.reply_bytes -= removed.reply.len();
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
        let reply_bytes = &mut self.reply_bytes;
        self.pending.retain(|_, pending| {
            let late = pending.is_late(now);
            if late {
                *reply_bytes -= pending.reply.len();
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
