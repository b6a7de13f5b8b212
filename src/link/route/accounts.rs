//! The accounts that a link carries messages of, with what those messages matched.

use std::sync::Arc;

use hashbrown::HashMap;

use crate::broker::account::Account;
use crate::broker::deliver::Matches;

/// Accounts by the names that messages give them.
#[derive(Debug, Default)]
pub(super) struct Accounts {
    /// The one that the last message was for.
    last: Option<Box<Entry>>,
    others: HashMap<Box<[u8]>, Box<Entry>, foldhash::fast::RandomState>,
}

/// One account of a link.
#[derive(Debug)]
pub(super) struct Entry {
    name: Box<[u8]>,
    pub(super) account: Arc<Account>,
    pub(super) matches: Matches,
    /// What this turn brought.
    pub(super) messages: u64,
    pub(super) bytes: u64,
    used: bool,
}

impl Entry {
    fn count_received(&mut self) {
        self.used |= self.messages > 0;
        self.account.received.add(self.messages, self.bytes);
        (self.messages, self.bytes) = (0, 0);
    }
}

impl Accounts {
    /// The account `name`; `look_up` finds it when it is needed for the first time.
    pub(super) fn find(
        &mut self,
        name: &[u8],
        look_up: impl FnOnce() -> Option<Arc<Account>>,
    ) -> Option<&mut Entry> {
        if self.last.as_ref().is_none_or(|last| *last.name != *name) {
            let found = match self.others.remove(name) {
                Some(found) => found,
                None => Box::new(Entry {
                    name: name.into(),
                    account: look_up()?,
                    matches: Matches::default(),
                    messages: 0,
                    bytes: 0,
                    used: false,
                }),
            };
            if let Some(mut before) = self.last.replace(found) {
                before.count_received();
                self.others.insert(before.name.clone(), before);
            }
        }
        self.last.as_deref_mut()
    }

    /// Ends a turn: adds what it brought to the accounts' counters. What it delivered is added to that of
    /// the last message, to which nearly always all of it belongs.
    pub(super) fn count_traffic(&mut self, (messages, bytes): (u64, u64)) {
        if let Some(last) = &mut self.last {
            last.count_received();
            last.account.sent.add(messages, bytes);
        }
    }

    /// Gives up what was remembered for accounts that were not used since this was called last.
    pub(super) fn forget_unused(&mut self) {
        self.others
            .retain(|_, entry| std::mem::take(&mut entry.used));
        if let Some(last) = &mut self.last
            && !std::mem::take(&mut last.used)
        {
            last.matches.clear();
        }
    }
}
