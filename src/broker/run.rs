//! Messages of one turn that go to the same subscriptions, gathered so that each receiver is locked,
//! counted and copied to once for all of them.
//!
//! A publisher that is busy sends many messages at a time, mostly to the same receivers. Gathering
//! them changes nothing that anybody could see: all of them were read together, each receiver gets
//! them in order, and whatever else the turn does ends the run first.

use std::sync::Arc;

use bytes::Bytes;

use super::peer::Peer;
use super::subscription::Subscription;
use crate::outbound::{SEGMENT_BYTES, SHARE_BYTES, take_segment};
use crate::proto::encode::MessageFrame;
use crate::proto::op::Publish;

/// Most receivers of a run; more are served message by message, since comparing them costs time too.
const MAX_TARGETS: usize = 1024;

/// Messages gathered for the same targets.
///
/// Invariant: there are frames only while there are targets.
#[derive(Debug, Default)]
pub(super) struct Run {
    targets: Vec<Arc<Subscription>>,
    /// Whether all targets understand headers.
    all_headers: bool,
    /// Subject of the last message.
    subject: Vec<u8>,
    frame: MessageFrame,
    frames: Vec<u8>,
    marks: Vec<Mark>,
}

/// One message in a run.
#[derive(Debug, Clone, Copy)]
pub(super) struct Mark {
    /// Where the sid stands.
    sid: usize,
    /// Where the message ends.
    end: usize,
    /// Bytes of header block and payload.
    size: usize,
}

/// The messages of a run as one target gets them.
#[derive(Debug)]
pub(super) struct Frames<'a> {
    /// All of them, one after the other.
    pub(super) bytes: FrameBytes,
    /// Where each ends, and its size.
    pub(super) marks: &'a [Mark],
    /// Difference between this target's sid and the one the marks were made with.
    sid_growth: isize,
}

/// A run's bytes and whose they are.
#[derive(Debug, Clone)]
pub(super) enum FrameBytes {
    /// For this target alone.
    Owned(Vec<u8>),
    /// The same for several targets.
    Shared(Bytes),
}

impl FrameBytes {
    pub(super) fn len(&self) -> usize {
        match self {
            Self::Owned(bytes) => bytes.len(),
            Self::Shared(bytes) => bytes.len(),
        }
    }
}

impl Frames<'_> {
    /// Length in bytes of the first `count` messages.
    pub(super) fn length_of(&self, count: usize) -> usize {
        let Some(last) = count.checked_sub(1).and_then(|last| self.marks.get(last)) else {
            return 0;
        };
        let growth = self
            .sid_growth
            .saturating_mul(count.try_into().unwrap_or(0));
        last.end.saturating_add_signed(growth).min(self.bytes.len())
    }

    /// Bytes of header blocks and payloads in the first `count` messages.
    pub(super) fn size_of(&self, count: usize) -> u64 {
        self.marks
            .iter()
            .take(count)
            .map(|mark| mark.size as u64)
            .sum()
    }
}

impl Run {
    pub(super) fn is_empty(&self) -> bool {
        self.targets.is_empty()
    }

    /// Whether `message` may be gathered at all.
    pub(super) fn gathers(message: &Publish<'_>) -> bool {
        message.body.len() < SHARE_BYTES
    }

    /// Adds `message` if it has the subject of the message before it, hence the same targets.
    pub(super) fn push_same_subject(&mut self, message: &Publish<'_>) -> bool {
        !self.is_empty() && self.subject == message.subject && self.push(message)
    }

    /// Adds `message`, which goes to `targets`, if those are the run's.
    pub(super) fn push_same_targets(
        &mut self,
        message: &Publish<'_>,
        targets: &[Arc<Subscription>],
    ) -> bool {
        let same = self.targets.len() == targets.len()
            && self
                .targets
                .iter()
                .zip(targets)
                .all(|(one, other)| Arc::ptr_eq(one, other));
        if !same || self.is_empty() {
            return false;
        }
        self.subject.clear();
        self.subject.extend_from_slice(message.subject);
        self.push(message)
    }

    /// Begins with `message` for `targets`; the run must be empty. False, and nothing done, when they
    /// cannot be served together.
    pub(super) fn start(
        &mut self,
        message: &Publish<'_>,
        targets: &[Arc<Subscription>],
        from: &Arc<Peer>,
    ) -> bool {
        let own = |target: &&Arc<Subscription>| Arc::ptr_eq(target.peer(), from);
        let silent = !from.echo() && targets.iter().any(|target| own(&target));
        let special =
            |target: &Arc<Subscription>| !target.admits_all() || target.peer().tracks_responses();
        if targets.is_empty()
            || targets.len() > MAX_TARGETS
            || silent
            || targets.iter().any(special)
            || has_peer_twice(targets)
        {
            return false;
        }
        self.all_headers = targets.iter().all(|target| target.peer().headers());
        if message.header.is_some() && !self.all_headers {
            return false;
        }
        self.targets.extend_from_slice(targets);
        self.subject.clear();
        self.subject.extend_from_slice(message.subject);
        self.push(message)
    }

    fn push(&mut self, message: &Publish<'_>) -> bool {
        if message.header.is_some() && !self.all_headers {
            return false;
        }
        let Some(first) = self.targets.first() else {
            return false;
        };
        self.frame.prepare(message);
        let (head, sid, tail) = (self.frame.head(), first.sid(), self.frame.tail());
        let length = head.len() + sid.len() + tail.len() + message.body.len();
        if self.frames.is_empty() {
            self.frames = take_segment(length);
        } else if self.frames.len() + length > SEGMENT_BYTES {
            return false;
        }
        let sid_at = self.frames.len() + head.len();
        for part in [head, sid, tail, message.body] {
            self.frames.extend_from_slice(part);
        }
        let mark = Mark {
            sid: sid_at,
            end: self.frames.len(),
            size: message.size.bytes,
        };
        self.marks.push(mark);
        true
    }

    /// Ends the run: calls `deliver` for each target with all messages as that target gets them.
    pub(super) fn finish(&mut self, mut deliver: impl FnMut(&Arc<Subscription>, Frames<'_>)) {
        let frames = std::mem::take(&mut self.frames);
        if let [only] = &*self.targets {
            let bytes = FrameBytes::Owned(frames);
            deliver(
                only,
                Frames {
                    bytes,
                    marks: &self.marks,
                    sid_growth: 0,
                },
            );
        } else if let Some(first) = self.targets.first() {
            let mut variant = Variant {
                sid: first.sid(),
                bytes: Bytes::from(frames),
            };
            let original = variant.clone();
            for target in &self.targets {
                if target.sid() != variant.sid {
                    variant = original.with_sid(target.sid(), &self.marks);
                }
                let bytes = FrameBytes::Shared(variant.bytes.clone());
                let sid_growth = target
                    .sid()
                    .len()
                    .wrapping_sub(first.sid().len())
                    .cast_signed();
                deliver(
                    target,
                    Frames {
                        bytes,
                        marks: &self.marks,
                        sid_growth,
                    },
                );
            }
        }
        self.targets.clear();
        self.marks.clear();
    }
}

/// A run's messages with one sid in them. Targets with the same sid share it, and clients tend to
/// number their subscriptions alike.
#[derive(Debug, Clone)]
struct Variant<'a> {
    sid: &'a [u8],
    bytes: Bytes,
}

impl Variant<'_> {
    fn with_sid<'b>(&self, sid: &'b [u8], marks: &[Mark]) -> Variant<'b> {
        if sid == self.sid {
            return Variant {
                sid,
                bytes: self.bytes.clone(),
            };
        }
        let grown = sid.len().saturating_sub(self.sid.len()) * marks.len();
        let mut bytes = Vec::with_capacity(self.bytes.len() + grown);
        let mut from = 0;
        for mark in marks {
            bytes.extend_from_slice(self.bytes.get(from..mark.sid).unwrap_or_default());
            bytes.extend_from_slice(sid);
            from = mark.sid + self.sid.len();
        }
        bytes.extend_from_slice(self.bytes.get(from..).unwrap_or_default());
        Variant {
            sid,
            bytes: bytes.into(),
        }
    }
}

/// Whether two targets belong to one connection, which then expects its messages interleaved.
fn has_peer_twice(targets: &[Arc<Subscription>]) -> bool {
    if targets.len() < 2 {
        return false;
    }
    let mut ids: Vec<u64> = targets.iter().map(|target| target.peer().id()).collect();
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
        }
    }

    /// What each target gets of a run: all of it, and the first of its messages alone.
    fn delivered(targets: &[Arc<Subscription>]) -> Vec<(String, String)> {
        let mut run = Run::default();
        assert!(run.start(&message(b"x\r\n"), targets, &peer(9)));
        assert!(run.push_same_subject(&message(b"yz\r\n")));
        let mut delivered = Vec::new();
        run.finish(|_, frames| {
            let bytes = match &frames.bytes {
                FrameBytes::Owned(bytes) => &**bytes,
                FrameBytes::Shared(bytes) => bytes,
            };
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
        assert!(!run.start(&text, &[], &peer(9)));
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
            !run.start(&text, &twice, &peer(9)),
            "a connection expects its copies interleaved"
        );
        one.peer().set_options(false, false, false);
        assert!(
            !run.start(&text, std::slice::from_ref(&one), one.peer()),
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
            !run.start(&header, std::slice::from_ref(&other), &peer(9)),
            "no headers"
        );
        assert!(run.start(&text, std::slice::from_ref(&other), &peer(9)));
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
