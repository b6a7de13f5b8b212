//! What is wrong with links, logged once and then only counted for a while: a server that is refused
//! comes back every second.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::broker::peer::Peer;

/// How long the same complaint is only counted.
const QUIET: Duration = Duration::from_secs(60);
/// Different complaints that are remembered.
const MOST: usize = 64;

/// Complaints made lately.
#[derive(Debug, Default)]
pub(super) struct Complaints(Mutex<HashMap<String, Complaint>>);

#[derive(Debug)]
struct Complaint {
    logged: Instant,
    since: u32,
}

impl Complaints {
    /// Logs what is wrong with a link.
    pub(super) fn log(&self, peer: &Peer, text: String, now: Instant) {
        let label = peer.label();
        if let Some(text) = self.note(text, now) {
            tracing::error!(cid = peer.id(), "{label} - {text}");
        } else {
            tracing::debug!(cid = peer.id(), "{label} - the same error again");
        }
    }

    /// Logs what is wrong without a link.
    pub(super) fn log_text(&self, text: String, now: Instant) {
        if let Some(text) = self.note(text, now) {
            tracing::error!("{text}");
        }
    }

    /// The line to log, if it is time for one.
    fn note(&self, text: String, now: Instant) -> Option<String> {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(complaint) = known.get_mut(&text) {
            complaint.since += 1;
            if now.saturating_duration_since(complaint.logged) < QUIET {
                return None;
            }
            let times = std::mem::take(&mut complaint.since);
            complaint.logged = now;
            return Some(format!("{text} ({times} times since it was logged last)"));
        }
        if known.len() >= MOST {
            known.retain(|_, complaint| now.saturating_duration_since(complaint.logged) < QUIET);
        }
        if known.len() >= MOST {
            known.clear();
        }
        let complaint = Complaint {
            logged: now,
            since: 0,
        };
        known.insert(text.clone(), complaint);
        Some(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn repeats_are_counted() {
        let complaints = Complaints::default();
        let start = super::super::now();
        let note = |text: &str, seconds| {
            complaints.note(text.to_owned(), start + Duration::from_secs(seconds))
        };
        assert_eq!(note("a", 0).as_deref(), Some("a"));
        assert_eq!(note("b", 1).as_deref(), Some("b"));
        assert_eq!((note("a", 2), note("a", 59)), (None, None));
        let again = note("a", 61);
        assert_eq!(
            again.as_deref(),
            Some("a (3 times since it was logged last)")
        );
        for number in 0..1000 {
            note(&number.to_string(), 62);
        }
        assert!(complaints.0.lock().unwrap().len() <= MOST);
    }
}
