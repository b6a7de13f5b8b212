//! `/subsz`: subscriptions of all accounts.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::connections::DEFAULT_LIMIT;
use super::hot::TopSubject;
use super::text::{Time, lossy};
use super::{Monitor, clocks, is_zero};
use crate::broker::account::Account;
use crate::broker::closed::SubscriptionPortrait;
use crate::subject;

/// What subscriptions to show.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(crate) struct SubscriptionsQuery {
    pub(crate) offset: i64,
    /// Zero or less for the default.
    pub(crate) limit: i64,
    /// List subscriptions instead of counting them only.
    pub(crate) subscriptions: bool,
    /// Only this account's; empty for all.
    pub(crate) account: String,
    /// Only those that want this subject; empty for all.
    pub(crate) test: String,
    /// So many of the subjects that are published to most, of each account.
    pub(crate) top: usize,
}

/// The page.
#[derive(Debug, Serialize)]
pub(crate) struct Subscriptions {
    server_id: String,
    now: Time,
    #[serde(flatten)]
    stats: InterestStats,
    total: usize,
    offset: i64,
    limit: i64,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    subscriptions_list: Vec<SubscriptionDetail>,
    /// Not in nats-server, nor here unless asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    top_subjects: Option<Vec<TopSubject>>,
}

/// What is counted about interest. Matches are remembered per connection and not counted, so the fields
/// about them, which tools expect, are zero.
#[derive(Debug, Clone, Copy, Default, Serialize)]
pub(crate) struct InterestStats {
    num_subscriptions: u64,
    num_cache: u64,
    num_inserts: u64,
    num_removes: u64,
    num_matches: u64,
    cache_hit_rate: f64,
    max_fanout: u64,
    avg_fanout: f64,
}

impl InterestStats {
    pub(crate) fn of(account: &Account) -> Self {
        let interest = account.interest();
        let (count, inserted) = (interest.len() as u64, interest.inserted());
        Self {
            num_subscriptions: count,
            num_inserts: inserted,
            num_removes: inserted.saturating_sub(count),
            ..Self::default()
        }
    }

    fn add(&mut self, other: Self) {
        self.num_subscriptions += other.num_subscriptions;
        self.num_inserts += other.num_inserts;
        self.num_removes += other.num_removes;
    }
}

/// One subscription.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct SubscriptionDetail {
    #[serde(skip_serializing_if = "Option::is_none")]
    account: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    account_tag: Option<String>,
    subject: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    qgroup: Option<String>,
    sid: String,
    msgs: u64,
    #[serde(skip_serializing_if = "is_zero")]
    max: u64,
    cid: u64,
}

impl SubscriptionDetail {
    /// A subscription, with its account where that is to be shown.
    pub(crate) fn of(portrait: SubscriptionPortrait, account: Option<&str>) -> Self {
        Self {
            account: account.map(str::to_owned),
            account_tag: account.map(str::to_owned),
            subject: lossy(&portrait.filter),
            qgroup: portrait.queue.as_deref().map(lossy),
            sid: lossy(&portrait.sid),
            msgs: portrait.delivered,
            max: portrait.max,
            cid: portrait.connection,
        }
    }
}

impl Monitor {
    /// The subscriptions that `query` asks for.
    ///
    /// # Errors
    /// nats-server's text for a query that makes no sense.
    pub(crate) fn subscriptions(
        &self,
        query: &SubscriptionsQuery,
    ) -> Result<Subscriptions, String> {
        let test = query.test.as_bytes();
        if !test.is_empty() && !subject::is_valid_subject(test) {
            return Err(format!(
                "invalid test subject, must be valid publish subject: {}",
                query.test
            ));
        }
        let mut accounts = self.broker().accounts();
        accounts.retain(|account| query.account.is_empty() || account.name() == query.account);
        accounts.sort_by(|one, other| one.name().cmp(other.name()));
        let mut stats = InterestStats::default();
        for account in &accounts {
            stats.add(InterestStats::of(account));
        }
        let limit = if query.limit <= 0 {
            DEFAULT_LIMIT
        } else {
            query.limit
        };
        let mut page = Subscriptions {
            server_id: self.server_id(),
            now: Time(clocks().0),
            stats,
            total: 0,
            offset: query.offset.max(0),
            limit,
            subscriptions_list: Vec::new(),
            top_subjects: (query.top > 0).then(|| self.top_subjects(&query.account, query.top)),
        };
        if query.subscriptions {
            page.list(&accounts, test);
        }
        Ok(page)
    }

    /// Subscriptions of all accounts.
    pub(crate) fn subscription_count(&self) -> usize {
        let accounts = self.broker().accounts();
        accounts
            .iter()
            .map(|account| account.interest().len())
            .sum()
    }
}

impl Subscriptions {
    /// Fills in the part of the list that the page shows.
    fn list(&mut self, accounts: &[Arc<Account>], test: &[u8]) {
        let offset = usize::try_from(self.offset).unwrap_or(usize::MAX);
        let end = offset.saturating_add(usize::try_from(self.limit).unwrap_or(usize::MAX));
        for account in accounts {
            account.interest().for_each(|subscription| {
                // Other servers' wishes are counted, and listed by `/routez`.
                if subscription.is_remote() {
                    return;
                }
                if !test.is_empty() && !subject::matches(subscription.filter(), test) {
                    return;
                }
                if (offset..end).contains(&self.total) {
                    let detail =
                        SubscriptionDetail::of((&**subscription).into(), Some(account.name()));
                    self.subscriptions_list.push(detail);
                }
                self.total += 1;
            });
        }
    }
}
