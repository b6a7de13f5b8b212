//! The subscriptions of one filter: plain ones and queue groups.

/// What the routing structures must know of a subscription.
pub trait Subscriber: Clone {
    /// The filter it listens to.
    fn filter(&self) -> &[u8];
    /// Its queue group, if any.
    fn queue(&self) -> Option<&[u8]>;
    /// Whether both are the same subscription.
    fn is(&self, other: &Self) -> bool;
}

/// The members of one queue group; a message goes to one of them.
#[derive(Debug, Clone)]
pub struct QueueGroup<S> {
    /// The members, of which there is at least one.
    pub members: Vec<S>,
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
            Some(group) => group.members.push(subscriber),
            None => self.groups.push(QueueGroup {
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
