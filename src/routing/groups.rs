//! The subscriptions of one filter: plain ones and queue groups.

/// What the routing structures must know of a subscription.
pub trait Subscriber: Clone {
    /// The filter it listens to.
    fn filter(&self) -> &[u8];
    /// Its queue group, if any.
    fn queue(&self) -> Option<&[u8]>;
    /// Whether both are the same subscription.
    fn is(&self, other: &Self) -> bool;
    /// Whether another server wants it, on behalf of any number of its clients.
    fn is_remote(&self) -> bool {
        false
    }
}

/// The members of one queue group; a message goes to one of them.
#[derive(Debug, Clone)]
pub struct QueueGroup<S> {
    /// The members, of which there is at least one.
    pub members: Vec<S>,
    /// How many of them are other servers, which count more than once.
    pub remotes: usize,
}

/// Subscriptions, plain ones apart from queue groups.
///
/// Invariants: each group has a member; all members of a group have the same queue name.
#[derive(Debug, Clone)]
pub struct SubscriberSet<S> {
    plain: Vec<S>,
    groups: Vec<QueueGroup<S>>,
}

impl<S> Default for SubscriberSet<S> {
    fn default() -> Self {
        Self {
            plain: Vec::new(),
            groups: Vec::new(),
        }
    }
}

impl<S: Subscriber> SubscriberSet<S> {
    /// Adds a subscription.
    pub fn insert(&mut self, subscriber: S) {
        let Some(queue) = subscriber.queue() else {
            self.plain.push(subscriber);
            return;
        };
        match self.groups.iter_mut().find(|group| group.is_named(queue)) {
            Some(group) => group.insert(subscriber),
            None => self.groups.push(QueueGroup {
                remotes: usize::from(subscriber.is_remote()),
                members: vec![subscriber],
            }),
        }
    }

    /// Takes a subscription out; whether it was there.
    pub fn remove(&mut self, subscriber: &S) -> bool {
        let Some(queue) = subscriber.queue() else {
            return take_out(&mut self.plain, subscriber);
        };
        let Some(at) = self.groups.iter().position(|group| group.is_named(queue)) else {
            return false;
        };
        let Some(group) = self.groups.get_mut(at) else {
            return false;
        };
        let removed = take_out(&mut group.members, subscriber);
        group.remotes -= usize::from(removed && subscriber.is_remote());
        if group.members.is_empty() {
            self.groups.swap_remove(at);
        }
        removed
    }

    /// Adds everything that `other` holds; groups of the same name become one.
    pub fn extend(&mut self, other: &Self) {
        self.plain.extend_from_slice(&other.plain);
        for group in &other.groups {
            for member in &group.members {
                self.insert(member.clone());
            }
        }
    }

    /// Drops what other servers want.
    pub fn keep_local(&mut self) {
        self.plain.retain(|subscriber| !subscriber.is_remote());
        self.groups.retain_mut(|group| {
            if group.remotes > 0 {
                group.members.retain(|member| !member.is_remote());
                group.remotes = 0;
            }
            !group.members.is_empty()
        });
    }

    /// Subscriptions that each get every message.
    #[must_use]
    pub fn plain(&self) -> &[S] {
        &self.plain
    }

    /// Queue groups, each of which gets every message once.
    #[must_use]
    pub fn groups(&self) -> &[QueueGroup<S>] {
        &self.groups
    }

    /// Calls `found` for each of its subscriptions.
    pub fn for_each<'a>(&'a self, mut found: impl FnMut(&'a S)) {
        let queued = self.groups.iter().flat_map(|group| &group.members);
        self.plain.iter().chain(queued).for_each(&mut found);
    }

    /// Any of its subscriptions.
    #[must_use]
    pub fn first(&self) -> Option<&S> {
        let queued = || self.groups.first().and_then(|group| group.members.first());
        self.plain.first().or_else(queued)
    }

    /// Whether nobody is in it.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.plain.is_empty() && self.groups.is_empty()
    }
}

impl<S: Subscriber> QueueGroup<S> {
    fn insert(&mut self, subscriber: S) {
        self.remotes += usize::from(subscriber.is_remote());
        self.members.push(subscriber);
    }

    fn is_named(&self, queue: &[u8]) -> bool {
        self.members.first().and_then(Subscriber::queue) == Some(queue)
    }
}

/// Removes from the end first: what was added last tends to go first.
fn take_out<S: Subscriber>(list: &mut Vec<S>, subscriber: &S) -> bool {
    match list.iter().rposition(|candidate| candidate.is(subscriber)) {
        Some(at) => {
            list.swap_remove(at);
            if list.capacity() > 4 * list.len() + 4 {
                list.shrink_to(2 * list.len());
            }
            true
        }
        None => false,
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A subscription that is known by its number.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub(in crate::routing) struct Numbered {
        pub(in crate::routing) number: usize,
        pub(in crate::routing) filter: &'static str,
        pub(in crate::routing) queue: Option<&'static str>,
    }

    impl Subscriber for Numbered {
        fn filter(&self) -> &[u8] {
            self.filter.as_bytes()
        }
        fn queue(&self) -> Option<&[u8]> {
            self.queue.map(str::as_bytes)
        }
        fn is(&self, other: &Self) -> bool {
            self.number == other.number
        }
    }

    fn numbered(number: usize, queue: Option<&'static str>) -> Numbered {
        Numbered {
            number,
            filter: "a",
            queue,
        }
    }

    #[test]
    fn groups_of_one_name_become_one() {
        let (mut one, mut other) = (SubscriberSet::default(), SubscriberSet::default());
        for number in 0..4 {
            one.insert(numbered(number, (number > 1).then_some("q")));
            other.insert(numbered(
                10 + number,
                Some(if number > 1 { "q" } else { "r" }),
            ));
        }
        one.extend(&other);
        let sizes: Vec<_> = one
            .groups()
            .iter()
            .map(|group| group.members.len())
            .collect();
        assert_eq!((one.plain().len(), sizes), (2, vec![4, 2]));
    }

    #[test]
    fn a_group_goes_with_its_last_member() {
        let mut set = SubscriberSet::default();
        let members = [
            numbered(1, Some("q")),
            numbered(2, Some("q")),
            numbered(3, Some("r")),
        ];
        members.iter().for_each(|member| set.insert(member.clone()));
        assert!(!set.remove(&numbered(1, None)), "it is not a plain one");
        assert!(
            !set.remove(&numbered(1, Some("r"))),
            "it is in another group"
        );
        for (member, left) in members.iter().zip([2, 1, 0]) {
            assert!(set.remove(member) && !set.remove(member));
            assert_eq!(set.groups().len(), left);
        }
        assert!(set.is_empty() && set.first().is_none());
    }

    #[test]
    fn memory_is_given_back() {
        let mut set = SubscriberSet::default();
        (0..1000).for_each(|number| set.insert(numbered(number, None)));
        (10..1000).for_each(|number| assert!(set.remove(&numbered(number, None))));
        assert!(set.plain.capacity() < 64, "{}", set.plain.capacity());
        let mut left: Vec<_> = set.plain().iter().map(|found| found.number).collect();
        left.sort_unstable();
        assert!(left.into_iter().eq(0..10));
    }
}
