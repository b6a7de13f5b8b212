//! Messages as one subscription gets them, one after the other and ready to be sent.

use std::ops::Range;

use bytes::Bytes;

use super::routed::routed_prefix;
use crate::outbound::{SEGMENT_BYTES, recycle, take_segment};
use crate::proto::encode;
use crate::proto::op::Publish;

/// Messages encoded for one sid.
#[derive(Debug, Default)]
pub(super) struct Batch {
    bytes: Vec<u8>,
    marks: Vec<Mark>,
    /// Where the last message's line up to its sid and the blank behind it stands, and whose it is: the
    /// next message on that subject begins with the same bytes.
    prefix: Range<usize>,
    prefix_of: Option<Prefix>,
    /// Length of the batch before, which this one will have as well if its publisher goes on like that.
    length_before: usize,
}

/// What decides how a message begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Prefix {
    subject: u32,
    headers: bool,
}

/// One message of a batch.
#[derive(Debug, Clone, Copy)]
pub(super) struct Mark {
    /// Where the sid stands.
    sid: usize,
    /// Where the message ends.
    end: usize,
    /// Bytes of header block and payload.
    size: usize,
}

/// Messages on their way to one subscription.
#[derive(Debug)]
pub(super) struct Frames<'a> {
    /// All of them, one after the other.
    pub(super) bytes: FrameBytes,
    /// Where each ends, and its size.
    pub(super) marks: &'a [Mark],
    /// Difference between this subscription's sid and the one the marks were made with.
    pub(super) sid_growth: isize,
}

/// Encoded messages and whose they are.
#[derive(Debug, Clone)]
pub(super) enum FrameBytes {
    /// For this subscription alone.
    Owned(Vec<u8>),
    /// The same for several.
    Shared(Bytes),
}

impl FrameBytes {
    fn len(&self) -> usize {
        self.as_slice().len()
    }

    pub(super) fn as_slice(&self) -> &[u8] {
        match self {
            Self::Owned(bytes) => bytes,
            Self::Shared(bytes) => bytes,
        }
    }

    /// A copy of what stands behind the first `length` bytes.
    pub(super) fn behind(&self, length: usize) -> Self {
        match self {
            Self::Owned(bytes) => Self::Owned(bytes.get(length..).unwrap_or_default().to_vec()),
            Self::Shared(bytes) => Self::Shared(bytes.slice(length.min(bytes.len())..)),
        }
    }
}

impl Frames<'_> {
    /// Length in bytes of the first `count` messages.
    pub(super) fn length_of(&self, count: usize) -> usize {
        let growth = self
            .sid_growth
            .saturating_mul(count.try_into().unwrap_or(0));
        let end = end_of(self.marks, count).saturating_add_signed(growth);
        end.min(self.bytes.len())
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

impl Batch {
    pub(super) fn is_empty(&self) -> bool {
        self.marks.is_empty()
    }

    pub(super) fn marks(&self) -> &[Mark] {
        &self.marks
    }

    /// The bytes, which the batch is done with.
    pub(super) fn take_bytes(&mut self) -> Vec<u8> {
        self.length_before = self.bytes.len();
        std::mem::take(&mut self.bytes)
    }

    /// Makes room for other messages.
    pub(super) fn clear(&mut self) {
        recycle(std::mem::take(&mut self.bytes));
        self.marks.clear();
        self.prefix_of = None;
    }

    /// Whether a segment can hold `message` as well, with `word` in front of or behind its subject.
    pub(super) fn has_room(&self, message: &Publish<'_>, word: &[u8]) -> bool {
        let length = encode::message_length(message, word);
        self.bytes.is_empty() || self.bytes.len() + length <= SEGMENT_BYTES
    }

    /// Adds `message` for `sid`; false when a segment cannot hold it as well. Within a batch, equal
    /// numbers `subject` mean equal subjects.
    pub(super) fn push(&mut self, message: &Publish<'_>, sid: &[u8], subject: u32) -> bool {
        self.push_with(message, sid, subject, encode::message_prefix)
    }

    /// The same for other servers: `account` is the name that is to stand in front of subjects, and the
    /// blank behind it.
    pub(super) fn push_routed(
        &mut self,
        message: &Publish<'_>,
        account: &[u8],
        subject: u32,
    ) -> bool {
        self.push_with(message, account, subject, routed_prefix)
    }

    /// Adds `message`, of which `begin` makes the beginning with the word `word` in it.
    fn push_with(
        &mut self,
        message: &Publish<'_>,
        word: &[u8],
        subject: u32,
        begin: impl FnOnce(&mut Vec<u8>, &Publish<'_>, &[u8]),
    ) -> bool {
        let length = encode::message_length(message, word);
        if self.bytes.is_empty() {
            self.bytes = take_segment(length.max(self.length_before));
        } else if self.bytes.len() + length > SEGMENT_BYTES {
            return false;
        }
        let start = self.bytes.len();
        let prefix = Prefix {
            subject,
            headers: encode::has_headers(message),
        };
        if self.prefix_of == Some(prefix) {
            self.bytes.extend_from_within(self.prefix.clone());
        } else {
            begin(&mut self.bytes, message, word);
            self.prefix_of = Some(prefix);
        }
        let prefix_end = self.bytes.len();
        self.prefix = start..prefix_end;
        encode::message_rest(&mut self.bytes, message);
        self.marks.push(Mark {
            sid: prefix_end - 1 - word.len(),
            end: self.bytes.len(),
            size: message.size.bytes,
        });
        true
    }
}

/// A copy of messages that were made for the sid `from`, with the sid `to`.
pub(super) fn with_other_sid(bytes: &[u8], marks: &[Mark], from: &[u8], to: &[u8]) -> Vec<u8> {
    let grown = to.len().saturating_sub(from.len()) * marks.len();
    let mut copy = Vec::with_capacity(bytes.len() + grown);
    let mut copied = 0;
    for mark in marks {
        copy.extend_from_slice(bytes.get(copied..mark.sid).unwrap_or_default());
        copy.extend_from_slice(to);
        copied = mark.sid + from.len();
    }
    copy.extend_from_slice(bytes.get(copied..).unwrap_or_default());
    copy
}

/// Where the first `count` messages end.
pub(super) fn end_of(marks: &[Mark], count: usize) -> usize {
    let last = count.checked_sub(1).and_then(|last| marks.get(last));
    last.map_or(0, |mark| mark.end)
}

/// The marks of what is left of a batch behind its first `count` messages, counted from there.
pub(super) fn marks_behind(marks: &[Mark], count: usize) -> Vec<Mark> {
    let start = end_of(marks, count);
    let rest = marks.get(count..).unwrap_or_default().iter();
    rest.map(|mark| Mark {
        sid: mark.sid.saturating_sub(start),
        end: mark.end.saturating_sub(start),
        size: mark.size,
    })
    .collect()
}
