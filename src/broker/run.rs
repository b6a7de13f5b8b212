//! Messages of one turn that go to the same subscriptions, gathered so that each receiver is locked,
//! counted and copied to once for all of them.
//!
//! A publisher that is busy sends many messages at a time, mostly to the same receivers. Gathering
//! them changes nothing that anybody could see: all of them were read together, each receiver gets
//! them in order, and whatever else the turn does ends the run first.

use std::sync::Arc;

use bytes::Bytes;

use super::batch::{Batch, FrameBytes, Frames, with_other_sid};
use super::peer::Peer;
use super::subscription::Subscription;
use crate::outbound::SHARE_BYTES;
use crate::proto::op::Publish;

/// Most receivers of a run; more are served message by message, since comparing them costs time too.
const MAX_TARGETS: usize = 1024;

/// Whose messages a run gathers.
#[derive(Debug, Default)]
pub(super) struct Targets {
    list: Vec<Arc<Subscription>>,
    /// How many of them are other servers.
    remotes: usize,
    /// Whether messages for those name their account.
    names_account: bool,
    /// Whether all of them understand headers.
    all_headers: bool,
    /// Subject of the last message, and how many there were before it.
    subject: Vec<u8>,
    subject_number: u32,
}

impl Targets {
    pub(super) fn list(&self) -> &[Arc<Subscription>] {
        &self.list
    }

    /// The number of the last message's subject.
    pub(super) fn subject_number(&self) -> u32 {
        self.subject_number
    }

    /// Whether `message` may be gathered for them at all.
    pub(super) fn accept(&self, message: &Publish<'_>) -> bool {
        self.all_headers || message.header.is_none()
    }

    /// Whether `message` has the subject of the one before it, hence the same targets.
    pub(super) fn have_subject(&self, message: &Publish<'_>) -> bool {
        !self.list.is_empty() && self.subject == message.subject
    }

    /// Whether `message`, which goes to `targets`, goes to these.
    pub(super) fn are(&mut self, message: &Publish<'_>, targets: &[Arc<Subscription>]) -> bool {
        let same = self.list.len() == targets.len()
            && self
                .list
                .iter()
                .zip(targets)
                .all(|(one, other)| Arc::ptr_eq(one, other));
        if !same || self.list.is_empty() {
            return false;
        }
        self.set_subject(message);
        true
    }

    /// Takes `targets`, who are to get `message` first; there must be none yet. False, and nothing
    /// done, when they cannot be served together.
    pub(super) fn begin(
        &mut self,
        message: &Publish<'_>,
        targets: &[Arc<Subscription>],
        from: &Arc<Peer>,
    ) -> bool {
        let own = |target: &&Arc<Subscription>| Arc::ptr_eq(target.peer(), from);
        let silent = !from.echo() && targets.iter().any(|target| own(&target));
        let special =
            |target: &Arc<Subscription>| !target.is_plain() || target.peer().tracks_responses();
        if targets.is_empty()
            || targets.len() > MAX_TARGETS
            || silent
            || targets.iter().any(special)
            || has_peer_twice(targets)
        {
            return false;
        }
        let is_remote = |target: &&Arc<Subscription>| target.is_remote();
        let mut servers = targets.iter().filter(is_remote).map(|target| target.peer());
        let named = servers.next().is_some_and(|first| first.names_account());
        if servers.any(|server| server.names_account() != named) {
            return false;
        }
        self.all_headers = targets.iter().all(|target| target.peer().headers());
        if !self.accept(message) {
            return false;
        }
        self.list.extend_from_slice(targets);
        self.remotes = targets.iter().filter(is_remote).count();
        self.names_account = named;
        self.set_subject(message);
        true
    }

    pub(super) fn clear(&mut self) {
        self.list.clear();
    }

    fn set_subject(&mut self, message: &Publish<'_>) {
        self.subject.clear();
        self.subject.extend_from_slice(message.subject);
        self.subject_number = self.subject_number.wrapping_add(1);
    }
}

/// Messages gathered for the same targets, all of whom get all of them.
///
/// Invariant: there are messages only while there are targets.
#[derive(Debug, Default)]
pub(super) struct Run {
    targets: Targets,
    batch: Batch,
    /// The same messages for the other servers among the targets, and the name of the account that
    /// stands in them.
    routed: Batch,
    account: Vec<u8>,
}

impl Run {
    pub(super) fn is_empty(&self) -> bool {
        self.targets.list().is_empty()
    }

    /// Whether `message` may be gathered at all.
    pub(super) fn gathers(message: &Publish<'_>) -> bool {
        message.body.len() < SHARE_BYTES
    }

    /// Adds `message` if it has the subject of the message before it.
    pub(super) fn push_same_subject(&mut self, message: &Publish<'_>) -> bool {
        self.targets.have_subject(message) && self.push(message)
    }

    /// Adds `message`, which goes to `targets`, if those are the run's.
    pub(super) fn push_same_targets(
        &mut self,
        message: &Publish<'_>,
        targets: &[Arc<Subscription>],
    ) -> bool {
        self.targets.are(message, targets) && self.push(message)
    }

    /// Begins with `message` for `targets`, all of `account`; the run must be empty. False, and nothing
    /// done, when they cannot be served together.
    pub(super) fn start(
        &mut self,
        message: &Publish<'_>,
        targets: &[Arc<Subscription>],
        from: &Arc<Peer>,
        account: &str,
    ) -> bool {
        if !self.targets.begin(message, targets, from) {
            return false;
        }
        if self.targets.remotes > 0 {
            self.account.clear();
            if self.targets.names_account {
                self.account.extend_from_slice(account.as_bytes());
                self.account.push(b' ');
            }
        }
        self.push(message)
    }

    fn push(&mut self, message: &Publish<'_>) -> bool {
        if !self.targets.accept(message) {
            return false;
        }
        if self.targets.remotes > 0 {
            return self.push_for_servers(message);
        }
        let Some(first) = self.targets.list().first() else {
            return false;
        };
        let number = self.targets.subject_number();
        self.batch.push(message, first.sid(), number)
    }

    /// Adds `message` for targets some of which are other servers.
    fn push_for_servers(&mut self, message: &Publish<'_>) -> bool {
        let number = self.targets.subject_number();
        let first = self
            .targets
            .list()
            .iter()
            .find(|target| !target.is_remote());
        if !self.routed.has_room(message, &self.account)
            || first.is_some_and(|first| !self.batch.has_room(message, first.sid()))
        {
            return false;
        }
        if let Some(first) = first {
            self.batch.push(message, first.sid(), number);
        }
        self.routed.push_routed(message, &self.account, number)
    }

    /// Ends the run: calls `deliver` for each target with all messages as that target gets them.
    pub(super) fn finish(&mut self, mut deliver: impl FnMut(&Arc<Subscription>, Frames<'_>)) {
        let list = self.targets.list();
        if self.targets.remotes == 0 {
            deliver_all(&mut self.batch, list.iter(), &mut deliver);
        } else {
            let clients = list.iter().filter(|target| !target.is_remote());
            deliver_all(&mut self.batch, clients, &mut deliver);
            let servers = list.iter().enumerate().filter(|(index, target)| {
                // A server gets a message once, however many of its wishes match.
                let earlier = list.get(..*index).unwrap_or_default();
                let same = |other: &Arc<Subscription>| other.peer().leads_where(target.peer());
                target.is_remote() && !earlier.iter().any(same)
            });
            deliver_all(
                &mut self.routed,
                servers.map(|(_, target)| target),
                &mut deliver,
            );
        }
        self.targets.clear();
    }
}

/// Calls `deliver` for each target with all messages of `batch`, which is empty then.
fn deliver_all<'a>(
    batch: &mut Batch,
    targets: impl Iterator<Item = &'a Arc<Subscription>> + Clone,
    deliver: &mut impl FnMut(&Arc<Subscription>, Frames<'_>),
) {
    let mut others = targets.clone();
    let Some(first) = others.next() else {
        return;
    };
    let bytes = batch.take_bytes();
    let marks = batch.marks();
    let frames = |bytes, sid_growth| Frames {
        bytes,
        marks,
        sid_growth,
    };
    if others.next().is_none() {
        deliver(first, frames(FrameBytes::Owned(bytes), 0));
    } else {
        let original = Bytes::from(bytes);
        let mut variant = (first.sid(), original.clone());
        for target in targets {
            // Targets with the same sid share it, and clients tend to number their subscriptions alike.
            if target.sid() == first.sid() {
                variant = (first.sid(), original.clone());
            } else if target.sid() != variant.0 {
                let other = with_other_sid(&original, marks, first.sid(), target.sid());
                variant = (target.sid(), other.into());
            }
            let growth = target.sid().len().wrapping_sub(first.sid().len());
            let bytes = FrameBytes::Shared(variant.1.clone());
            deliver(target, frames(bytes, growth.cast_signed()));
        }
    }
    batch.clear();
}

/// Whether two targets belong to one connection, which then expects its messages interleaved.
fn has_peer_twice(targets: &[Arc<Subscription>]) -> bool {
    if targets.len() < 2 {
        return false;
    }
    let clients = targets.iter().filter(|target| !target.is_remote());
    let mut ids: Vec<u64> = clients.map(|target| target.peer().id()).collect();
    ids.sort_unstable();
    ids.windows(2).any(|pair| pair.first() == pair.last())
}

#[cfg(test)]
mod tests {
    use super::super::peer::tests::peer;
    use super::*;
    use crate::proto::op::{Size, Subscribe};

    fn target(id: u64, sid: &str) -> Arc<Subscription> {
        let words = Subscribe {
            filter: b"a",
            queue: None,
            sid: sid.as_bytes(),
        };
        Arc::new(Subscription::new(&words, peer(id), None).unwrap())
    }

    fn message(body: &[u8]) -> Publish<'_> {
        let text: &[u8] = if body.len() == 3 { b"1" } else { b"2" };
        Publish {
            subject: b"a",
            reply: None,
            header: None,
            size: Size {
                bytes: body.len() - 2,
                text,
            },
            body,
            sized_body: None,
        }
    }

    /// What each target gets of a run: all of it, and the first of its messages alone.
    fn delivered(targets: &[Arc<Subscription>]) -> Vec<(String, String)> {
        let mut run = Run::default();
        assert!(run.start(&message(b"x\r\n"), targets, &peer(9), "A"));
        assert!(run.push_same_subject(&message(b"yz\r\n")));
        let mut delivered = Vec::new();
        run.finish(|_, frames| {
            let bytes = frames.bytes.as_slice();
            assert_eq!((frames.length_of(0), frames.size_of(0)), (0, 0));
            assert_eq!((frames.length_of(2), frames.size_of(2)), (bytes.len(), 3));
            let first = &bytes[..frames.length_of(1)];
            let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
            delivered.push((text(bytes), text(first)));
        });
        assert!(run.is_empty());
        delivered
    }

    #[test]
    fn each_target_gets_its_own_sid() {
        let sids = ["7", "7", "1234", ""];
        let targets: Vec<_> = (1..).zip(sids).map(|(id, sid)| target(id, sid)).collect();
        let expected: Vec<_> = sids
            .iter()
            .map(|sid| {
                let first = format!("MSG a {sid} 1\r\nx\r\n");
                (format!("{first}MSG a {sid} 2\r\nyz\r\n"), first)
            })
            .collect();
        assert_eq!(delivered(&targets), expected);
        assert_eq!(delivered(&targets[2..3]), expected[2..3]);
    }

    #[test]
    fn what_cannot_be_served_together_is_not_gathered() {
        let mut run = Run::default();
        let (one, other) = (target(1, "1"), target(2, "1"));
        let text = message(b"x\r\n");
        assert!(!run.start(&text, &[], &peer(9), "A"));
        let twice = [
            Arc::clone(&one),
            Arc::new(
                Subscription::new(
                    &Subscribe {
                        filter: b"a",
                        queue: None,
                        sid: b"2",
                    },
                    Arc::clone(one.peer()),
                    None,
                )
                .unwrap(),
            ),
        ];
        assert!(
            !run.start(&text, &twice, &peer(9), "A"),
            "a connection expects its copies interleaved"
        );
        one.peer().set_options(false, false, false);
        assert!(
            !run.start(&text, std::slice::from_ref(&one), one.peer(), "A"),
            "no echo"
        );
        let header = Publish {
            header: Some(Size {
                bytes: 1,
                text: b"1",
            }),
            ..text
        };
        assert!(
            !run.start(&header, std::slice::from_ref(&other), &peer(9), "A"),
            "no headers"
        );
        assert!(run.start(&text, std::slice::from_ref(&other), &peer(9), "A"));
        assert!(!run.push_same_subject(&header));
        let elsewhere = Publish {
            subject: b"b",
            ..text
        };
        assert!(!run.push_same_subject(&elsewhere));
        assert!(!run.push_same_targets(&elsewhere, std::slice::from_ref(&one)));
        assert!(run.push_same_targets(&elsewhere, std::slice::from_ref(&other)));
    }
}
