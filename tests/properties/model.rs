//! Routing as anybody would write it who had all the time in the world: a list, searched from end to end.

use std::collections::BTreeMap;
use std::sync::Arc;

use midge::routing::groups::{Subscriber, SubscriberSet};

/// A subscription without anything behind it.
#[derive(Debug, Clone)]
pub(crate) struct Subscription(Arc<Words>);

#[derive(Debug)]
struct Words {
    number: usize,
    filter: Vec<u8>,
    queue: Option<Vec<u8>>,
}

impl Subscription {
    pub(crate) fn new(number: usize, filter: &[u8], queue: Option<&[u8]>) -> Self {
        Self(Arc::new(Words {
            number,
            filter: filter.to_vec(),
            queue: queue.map(<[u8]>::to_vec),
        }))
    }
}

impl Subscriber for Subscription {
    fn filter(&self) -> &[u8] {
        &self.0.filter
    }

    fn queue(&self) -> Option<&[u8]> {
        self.0.queue.as_deref()
    }

    fn is(&self, other: &Self) -> bool {
        self.0.number == other.0.number
    }
}

/// Numbers of subscriptions: plain ones and the members of each queue group, in ascending order.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Wanted {
    pub(crate) plain: Vec<usize>,
    pub(crate) groups: BTreeMap<Vec<u8>, Vec<usize>>,
}

impl Wanted {
    pub(crate) fn add(&mut self, subscription: &Subscription) {
        let list = match subscription.queue() {
            None => &mut self.plain,
            Some(queue) => self.groups.entry(queue.to_vec()).or_default(),
        };
        list.push(subscription.0.number);
        list.sort_unstable();
    }

    /// What a set of the library holds. A group that stands in it twice, or is empty, is a mistake.
    pub(crate) fn from_set(set: &SubscriberSet<Subscription>) -> Self {
        let mut wanted = Self::default();
        set.plain().iter().for_each(|found| wanted.add(found));
        for group in set.groups() {
            let queue = group.members[0].queue().unwrap();
            assert!(!wanted.groups.contains_key(queue), "a group stands twice");
            group.members.iter().for_each(|found| wanted.add(found));
        }
        wanted
    }
}

/// Whether `subject` is wanted by `filter`: the definition, token by token and by recursion.
pub(crate) fn is_wanted(filter: &[&[u8]], subject: &[&[u8]]) -> bool {
    match (filter, subject) {
        ([], []) => true,
        ([b">"], [_, ..]) => true,
        ([b"*", filter @ ..], [_, subject @ ..]) => is_wanted(filter, subject),
        ([wanted, filter @ ..], [token, subject @ ..]) => {
            wanted == token && is_wanted(filter, subject)
        }
        ([], [_, ..]) | ([_, ..], []) => false,
    }
}

/// The list.
#[derive(Debug, Default)]
pub(crate) struct Interest {
    pub(crate) subscriptions: Vec<Subscription>,
}

impl Interest {
    pub(crate) fn wanted(&self, subject: &[u8]) -> Wanted {
        let mut wanted = Wanted::default();
        let wants =
            |subscription: &&Subscription| midge::subject::matches(subscription.filter(), subject);
        let found = self.subscriptions.iter().filter(wants);
        found.for_each(|subscription| wanted.add(subscription));
        wanted
    }
}
