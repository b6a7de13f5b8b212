//! Whom to dial, and when.

use std::time::Duration;

use super::types::{Goal, GoalId, GoalState, Link, Place};
use super::{
    Action, FILL_PATIENCE, FIRST_DELAY, FORGET_AFTER, LONGEST_DELAY, LinkId, Mesh, NEXT_DELAY,
    REFUSALS,
};

impl Mesh {
    pub(super) fn add_goal(&mut self, goal: Goal) -> GoalId {
        self.next_goal += 1;
        self.goals.insert(self.next_goal, goal);
        self.next_goal
    }

    /// Dials for each goal that is due.
    pub(super) fn pursue_goals(&mut self, now: Duration) {
        if self.stopped {
            return;
        }
        let due = self.goals.iter().filter(|(_, goal)| {
            goal.state == GoalState::Idle && goal.next <= now && self.may_want(goal)
        });
        let due: Vec<GoalId> = due.map(|(id, _)| *id).collect();
        for id in due {
            let Some(wanted) = self.wanted(id, now) else {
                continue;
            };
            if let Some(goal) = self.goals.get_mut(&id) {
                goal.state = GoalState::Dialing(wanted.clone());
                let target = goal.target.clone();
                self.act(Action::Dial(id, target, wanted));
            }
        }
    }

    /// Whether a goal lacks a link, be it due or not.
    pub(super) fn may_want(&self, goal: &Goal) -> bool {
        let found = goal.remote.as_ref().and_then(|id| self.remotes.get(id));
        let Some(remote) = found else { return true };
        let slots = remote.slots.iter().any(Option::is_none);
        let accounts = remote.pool
            && self
                .config
                .accounts
                .iter()
                .any(|account| !remote.accounts.contains_key(account));
        slots || accounts
    }

    /// The link that a goal lacks: for an account, or for the pool. `None` when it is somebody else's
    /// turn to make it; then the goal is put off.
    fn wanted(&mut self, id: GoalId, now: Duration) -> Option<Option<String>> {
        let goal = self.goals.get(&id)?;
        let found = goal.remote.as_ref().and_then(|id| self.remotes.get(id));
        let Some(remote) = found else {
            return Some(None);
        };
        let unconfirmed = remote.links().filter_map(|link| self.links.get(&link));
        let waits = unconfirmed
            .into_iter()
            .any(|link| link.goal.is_some() && !link.confirmed);
        let earlier = self.goals.iter().any(|(other, found)| {
            *other < id
                && found.remote == goal.remote
                && found.target.explicit >= goal.target.explicit
        });
        if waits || earlier {
            self.put_off(id, now + NEXT_DELAY);
            return None;
        }
        if self.is_filled_by_other(remote) && now < remote.seated_at + FILL_PATIENCE {
            let until = remote.seated_at + FILL_PATIENCE;
            let until = until + self.spread(Duration::ZERO);
            self.put_off(id, until);
            return None;
        }
        if remote.slots.iter().any(Option::is_none) {
            return Some(None);
        }
        let lacking = self.config.accounts.iter().find(|account| {
            let refused = goal
                .refused
                .get(*account)
                .is_some_and(|(_, until)| *until > now);
            !remote.accounts.contains_key(*account) && !refused
        });
        let lacking = lacking.cloned();
        if lacking.is_none() {
            let until = goal.refused.values().map(|(_, until)| until);
            let until = until.filter(|until| **until > now).min();
            let until = until.copied().unwrap_or(now + LONGEST_DELAY);
            self.put_off(id, until);
        }
        lacking.map(Some)
    }

    /// Whether the other server dials too, and it is for it to complete the links.
    fn is_filled_by_other(&self, remote: &super::Remote) -> bool {
        let links = || remote.links().filter_map(|link| self.links.get(&link));
        let theirs = links().any(|link| link.goal.is_none());
        let ours = links().any(|link| link.goal.is_some());
        theirs && (!ours || remote.info.server_id > self.config.server_id)
    }

    fn put_off(&mut self, id: GoalId, until: Duration) {
        if let Some(goal) = self.goals.get_mut(&id) {
            goal.next = until;
        }
    }

    /// A dial led to nothing: when to try again, if at all.
    pub(super) fn attempt_failed(&mut self, id: GoalId, now: Duration) {
        let backoff = self.config.connect_backoff;
        let retries = self.config.connect_retries;
        let Some(goal) = self.goals.get_mut(&id) else {
            return;
        };
        goal.state = GoalState::Idle;
        goal.failed = goal.failed.saturating_add(1);
        let since = *goal.failing_since.get_or_insert(now);
        let hopeless = if goal.reached {
            now.saturating_sub(since) > FORGET_AFTER
        } else {
            goal.failed > retries
        };
        let linked = goal
            .remote
            .as_ref()
            .is_some_and(|id| self.remotes.contains_key(id));
        if !goal.target.explicit && hopeless && !linked {
            self.goals.remove(&id);
            return;
        }
        // Configured servers are dialed once a second as nats-server does it; those that were told about
        // may be gone for good.
        let doubles = if backoff || !goal.target.explicit {
            goal.failed.saturating_sub(2).min(5)
        } else {
            0
        };
        let delay = if goal.failed == 1 {
            FIRST_DELAY
        } else {
            (NEXT_DELAY * 2_u32.pow(doubles)).min(LONGEST_DELAY)
        };
        let delay = self.spread(delay);
        self.put_off(id, now + delay);
    }

    /// A link that was dialed has ended.
    pub(super) fn link_of_goal_closed(
        &mut self,
        id: GoalId,
        gone: &Link,
        link: LinkId,
        now: Duration,
    ) {
        let delay = self.spread(FIRST_DELAY);
        let Some(goal) = self.goals.get_mut(&id) else {
            return;
        };
        if goal.state == GoalState::Greeting(link) {
            if let (Some(account), true) = (&gone.account, gone.place.is_some()) {
                // Maybe the account has no such connection over there.
                let (times, until) = goal.refused.entry(account.clone()).or_default();
                *times = times.saturating_add(1);
                let delay = if *times < REFUSALS {
                    NEXT_DELAY
                } else {
                    LONGEST_DELAY
                };
                *until = now + delay;
            }
            self.attempt_failed(id, now);
        } else {
            goal.next = now + delay;
        }
    }

    /// A server has lost a link: goals that had nothing more to do with it are looked at again.
    pub(super) fn wake_goals(&mut self, server: &str, now: Duration) {
        let soon = now + self.spread(FIRST_DELAY);
        for goal in self.goals.values_mut() {
            if goal.remote.as_deref() == Some(server) && goal.failed == 0 {
                goal.next = goal.next.min(soon);
            }
        }
    }

    /// Links that were dialed for a goal need no answer to a ping where the place was taken already.
    pub(super) fn goal_is_satisfied(&mut self, link: LinkId) {
        let goal = self.links.get(&link).and_then(|link| link.goal);
        if let Some(goal) = goal.and_then(|goal| self.goals.get_mut(&goal)) {
            goal.succeeded();
        }
    }

    /// The slot that a dialed link takes.
    pub(super) fn free_slot(remote: &super::Remote) -> Option<Place> {
        let free = remote.slots.iter().position(Option::is_none)?;
        Some(Place::Slot(free))
    }
}
