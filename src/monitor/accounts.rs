//! `/accountz` and `/accstatz`: accounts and their traffic.

use serde::{Deserialize, Serialize};

use super::sharing::AccountSharing;
use super::stats::AccountTraffic;
use super::subscriptions::InterestStats;
use super::text::Time;
use super::{Monitor, clocks, is_false, is_zero};
use crate::broker::account::{Account, GLOBAL_ACCOUNT};

/// What accounts to show statistics of.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(crate) struct AccountStatsQuery {
    /// Names; none for all.
    pub(crate) accounts: Vec<String>,
    /// Also those without connections.
    pub(crate) include_unused: bool,
}

/// The names of all accounts, or all about one.
#[derive(Debug, Serialize)]
pub(crate) struct Accounts {
    server_id: String,
    now: Time,
    #[serde(skip_serializing_if = "Option::is_none")]
    system_account: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    accounts: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    account_detail: Option<AccountDetail>,
}

/// All about one account.
#[derive(Debug, Serialize)]
pub(crate) struct AccountDetail {
    account_name: String,
    update_time: Time,
    #[serde(skip_serializing_if = "is_false")]
    is_system: bool,
    expired: bool,
    complete: bool,
    jetstream_enabled: bool,
    leafnode_connections: u64,
    client_connections: u64,
    subscriptions: u64,
    #[serde(flatten)]
    sharing: AccountSharing,
    name_tag: String,
    sublist_stats: InterestStats,
}

/// Traffic by account.
#[derive(Debug, Serialize)]
pub(crate) struct AccountStats {
    server_id: String,
    now: Time,
    pub(crate) account_statz: Vec<AccountStat>,
}

/// Traffic of one account.
#[derive(Debug, Serialize)]
pub(crate) struct AccountStat {
    acc: String,
    name: String,
    conns: u64,
    leafnodes: u64,
    pub(crate) total_conns: u64,
    num_subscriptions: u64,
    sent: AccountTraffic,
    received: AccountTraffic,
    slow_consumers: u64,
    /// Not in nats-server, nor here unless `slow_consumer` says that messages may be dropped.
    #[serde(skip_serializing_if = "is_zero")]
    dropped_msgs: u64,
    #[serde(skip_serializing_if = "is_zero")]
    dropped_bytes: u64,
}

impl AccountStat {
    pub(crate) fn of(account: &Account) -> Self {
        let connections = account.connections.get();
        Self {
            acc: account.name().to_owned(),
            name: account.name().to_owned(),
            conns: connections,
            leafnodes: 0,
            total_conns: connections,
            num_subscriptions: account.interest().len() as u64,
            sent: AccountTraffic::of(&account.sent),
            received: AccountTraffic::of(&account.received),
            slow_consumers: account.slow_consumers.get(),
            dropped_msgs: account.dropped.messages.get(),
            dropped_bytes: account.dropped.bytes.get(),
        }
    }
}

impl Monitor {
    /// The names of all accounts, or all about the one that is named.
    ///
    /// # Errors
    /// nats-server's text if there is no such account.
    pub(crate) fn accounts(&self, name: &str) -> Result<Accounts, String> {
        let mut page = Accounts {
            server_id: self.server_id(),
            now: Time(clocks().0),
            system_account: self.system_account(),
            accounts: Vec::new(),
            account_detail: None,
        };
        if name.is_empty() {
            let accounts = self.broker().accounts();
            page.accounts = accounts
                .iter()
                .map(|account| account.name().to_owned())
                .collect();
            page.accounts.sort_unstable();
        } else {
            page.account_detail = Some(self.account(name)?);
        }
        Ok(page)
    }

    /// All about one account.
    ///
    /// # Errors
    /// nats-server's text if there is no such account.
    pub(crate) fn account(&self, name: &str) -> Result<AccountDetail, String> {
        let Some(account) = self.broker().known_account(name) else {
            return Err(format!("Account {name} does not exist"));
        };
        let stats = InterestStats::of(&account);
        let (options, system) = (self.options(), self.system_account());
        let global = (name == GLOBAL_ACCOUNT).then_some(options.mappings.as_slice());
        Ok(AccountDetail {
            account_name: name.to_owned(),
            update_time: Time(self.configuration().loaded),
            is_system: system.as_deref() == Some(name),
            expired: false,
            complete: true,
            jetstream_enabled: false,
            leafnode_connections: 0,
            client_connections: account.connections.get(),
            subscriptions: account.interest().len() as u64,
            sharing: AccountSharing::of(name, &options.accounts, global, system.as_deref()),
            name_tag: name.to_owned(),
            sublist_stats: stats,
        })
    }

    /// Traffic of the accounts that `query` asks for.
    pub(crate) fn account_stats(&self, query: &AccountStatsQuery) -> AccountStats {
        let mut accounts = self.broker().accounts();
        accounts.retain(|account| {
            let named = query.accounts.is_empty()
                || query.accounts.iter().any(|name| name == account.name());
            named && (query.include_unused || account.connections.get() > 0)
        });
        accounts.sort_by(|one, other| one.name().cmp(other.name()));
        AccountStats {
            server_id: self.server_id(),
            now: Time(clocks().0),
            account_statz: accounts
                .iter()
                .map(|account| AccountStat::of(account))
                .collect(),
        }
    }

    /// The name of the system account, unless the server has none.
    pub(crate) fn system_account(&self) -> Option<String> {
        let has_one = !self.options().no_system_account;
        has_one.then(|| self.broker().system_account().name().to_owned())
    }
}
