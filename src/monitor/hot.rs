//! The subjects that clients publish to most, where that is found out (`top_subjects`).

use serde::Serialize;

use super::text::lossy;
use super::{Monitor, clocks};

/// The shortest time that rates are made of, in seconds.
const LEAST_SECONDS: f64 = 1.0;

/// A subject and what clients of this server published to it within the last one to two minutes. Numbers
/// are estimates.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct TopSubject {
    pub(crate) account: String,
    pub(crate) subject: String,
    /// Messages; never too few but for the luck of the draw.
    pub(crate) msgs: u64,
    /// Their header blocks and payloads.
    pub(crate) bytes: u64,
    /// By how much `msgs` may be too big.
    error: u64,
    /// Messages per second.
    rate: f64,
    /// Seconds that were counted.
    window: f64,
}

impl Monitor {
    /// Up to `most` such subjects of each account, or of the one that is named; most messages first.
    pub(crate) fn top_subjects(&self, account: &str, most: usize) -> Vec<TopSubject> {
        let (_, now) = clocks();
        let mut all = Vec::new();
        for counting in self.broker().accounts() {
            if !account.is_empty() && counting.name() != account {
                continue;
            }
            let Some(hot) = counting.hot_subjects() else {
                continue;
            };
            let hottest = hot.hottest(most, now);
            let window = hottest.window.as_secs_f64();
            all.extend(hottest.subjects.into_iter().map(|counted| TopSubject {
                account: counting.name().to_owned(),
                subject: lossy(&counted.subject),
                msgs: counted.count,
                bytes: counted.bytes,
                error: counted.error,
                rate: counted.count as f64 / window.max(LEAST_SECONDS),
                window,
            }));
        }
        all.sort_by_key(|one| u64::MAX - one.msgs);
        all
    }
}
