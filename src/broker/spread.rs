//! Messages of one turn for one queue group, gathered for the member that was drawn for each.

use std::sync::Arc;

use super::batch::{Batch, FrameBytes, Frames, Mark, end_of, marks_behind, with_other_sid};
use super::peer::Peer;
use super::run::Targets;
use super::subscription::Subscription;
use crate::outbound::recycle;
use crate::proto::op::Publish;

/// Messages gathered for members of one queue group, each of which goes to one of them.
///
/// Invariant: there are messages only while there are members, and as many batches as members.
#[derive(Debug, Default)]
pub(super) struct Spread {
    members: Targets,
    /// What each member gets. Those behind the last member are empty and wait for bigger groups.
    batches: Vec<Batch>,
}

/// What a member did not take of its messages.
#[derive(Debug)]
pub(super) struct Refused {
    /// The messages, encoded for that member.
    pub(super) bytes: FrameBytes,
    /// How many of the member's messages stood before them.
    pub(super) behind: usize,
}

impl Spread {
    pub(super) fn is_empty(&self) -> bool {
        self.members.list().is_empty()
    }

    /// Adds `message` for the member that `draw` picks if it has the subject of the one before it.
    pub(super) fn push_same_subject(
        &mut self,
        message: &Publish<'_>,
        draw: impl FnOnce(usize) -> usize,
    ) -> bool {
        self.members.have_subject(message) && self.push(message, draw)
    }

    /// Adds `message`, which goes to one of `members`, if those are the spread's.
    pub(super) fn push_same_members(
        &mut self,
        message: &Publish<'_>,
        members: &[Arc<Subscription>],
        draw: impl FnOnce(usize) -> usize,
    ) -> bool {
        self.members.are(message, members) && self.push(message, draw)
    }

    /// Begins with `message` for one of `members`; the spread must be empty. False, and nothing done,
    /// when their messages cannot be gathered.
    pub(super) fn start(
        &mut self,
        message: &Publish<'_>,
        members: &[Arc<Subscription>],
        from: &Arc<Peer>,
        draw: impl FnOnce(usize) -> usize,
    ) -> bool {
        if !self.members.begin(message, members, from) {
            return false;
        }
        if self.batches.len() < members.len() {
            self.batches.resize_with(members.len(), Batch::default);
        }
        self.push(message, draw)
    }

    fn push(&mut self, message: &Publish<'_>, draw: impl FnOnce(usize) -> usize) -> bool {
        if !self.members.accept(message) {
            return false;
        }
        let chosen = draw(self.members.list().len());
        match (
            self.members.list().get(chosen),
            self.batches.get_mut(chosen),
        ) {
            (Some(member), Some(batch)) => {
                batch.push(message, member.sid(), self.members.subject_number())
            }
            (Some(_) | None, _) => false,
        }
    }

    /// Ends it: calls `deliver` for each member that was drawn, with its messages. What a member does
    /// not take is offered to the others.
    pub(super) fn finish(
        &mut self,
        mut deliver: impl FnMut(&Arc<Subscription>, Frames<'_>) -> Option<Refused>,
    ) {
        let members = self.members.list();
        for (index, (member, batch)) in members.iter().zip(&mut self.batches).enumerate() {
            if batch.is_empty() {
                continue;
            }
            let bytes = FrameBytes::Owned(batch.take_bytes());
            let marks = batch.marks();
            let frames = Frames {
                bytes,
                marks,
                sid_growth: 0,
            };
            if let Some(refused) = deliver(member, frames) {
                let others = members.iter().cycle().skip(index + 1);
                let others = others.take(members.len() - 1);
                offer(refused, marks, member.sid(), others, &mut deliver);
            }
            batch.clear();
        }
        self.members.clear();
    }
}

/// Offers what one member did not take to the others, until one takes it.
fn offer<'a>(
    refused: Refused,
    marks: &[Mark],
    sid: &[u8],
    others: impl Iterator<Item = &'a Arc<Subscription>>,
    deliver: &mut impl FnMut(&Arc<Subscription>, Frames<'_>) -> Option<Refused>,
) {
    let mut marks = marks_behind(marks, refused.behind);
    let mut left = refused.bytes.as_slice().to_vec();
    for other in others {
        let bytes = with_other_sid(&left, &marks, sid, other.sid());
        let growth = other.sid().len().wrapping_sub(sid.len()).cast_signed();
        let frames = Frames {
            bytes: FrameBytes::Owned(bytes),
            marks: &marks,
            sid_growth: growth,
        };
        let Some(refused) = deliver(other, frames) else {
            break;
        };
        left.drain(..end_of(&marks, refused.behind));
        marks = marks_behind(&marks, refused.behind);
    }
    recycle(left);
}

#[cfg(test)]
mod tests {
    use super::super::peer::tests::peer;
    use super::*;
    use crate::proto::op::{Size, Subscribe};

    fn member(id: u64, sid: &str) -> Arc<Subscription> {
        let words = Subscribe {
            filter: b"a",
            queue: Some(b"q"),
            sid: sid.as_bytes(),
        };
        Arc::new(Subscription::new(&words, peer(id), None).unwrap())
    }

    fn message(body: &[u8]) -> Publish<'_> {
        Publish {
            subject: b"a",
            reply: None,
            header: None,
            size: Size {
                bytes: body.len() - 2,
                text: b"1",
            },
            body,
            sized_body: None,
        }
    }

    /// Sends `bodies` to the first member, who takes `taken` of them; what each got in the end.
    fn finished(members: &[Arc<Subscription>], bodies: &[&[u8]], taken: usize) -> Vec<String> {
        let mut spread = Spread::default();
        let (first, rest) = bodies.split_first().unwrap();
        assert!(spread.start(&message(first), members, &peer(9), |_| 0));
        for body in rest {
            assert!(spread.push_same_subject(&message(body), |_| 0));
        }
        let mut got = vec![String::new(); members.len()];
        spread.finish(|member, frames| {
            let place = members.iter().position(|other| Arc::ptr_eq(other, member));
            let count = if place == Some(0) { taken } else { usize::MAX };
            let count = count.min(frames.marks.len());
            let length = frames.length_of(count);
            let bytes = frames.bytes.as_slice()[..length].to_vec();
            got[place.unwrap()].push_str(std::str::from_utf8(&bytes).unwrap());
            (count < frames.marks.len()).then(|| Refused {
                bytes: frames.bytes.behind(length),
                behind: count,
            })
        });
        assert!(spread.is_empty());
        got
    }

    #[test]
    fn what_a_member_does_not_take_goes_to_another() {
        let members = [member(1, "1"), member(2, "22")];
        let bodies: [&[u8]; 3] = [b"x\r\n", b"y\r\n", b"z\r\n"];
        let text = |sid: &str, bodies: &str| -> String {
            let lines = bodies
                .chars()
                .map(|body| format!("MSG a {sid} 1\r\n{body}\r\n"));
            lines.collect()
        };
        for taken in 0..=3 {
            let got = finished(&members, &bodies, taken);
            let expected = [text("1", &"xyz"[..taken]), text("22", &"xyz"[taken..])];
            assert_eq!(got, expected);
        }
    }

    #[test]
    fn members_on_one_connection_are_not_gathered_for() {
        let one = member(1, "1");
        let words = Subscribe {
            filter: b"a",
            queue: Some(b"q"),
            sid: b"2",
        };
        let other = Subscription::new(&words, Arc::clone(one.peer()), None).unwrap();
        let mut spread = Spread::default();
        let members = [one, Arc::new(other)];
        assert!(!spread.start(&message(b"x\r\n"), &members, &peer(9), |_| 0));
        assert!(spread.is_empty());
    }
}
