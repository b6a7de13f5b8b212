//! Frames built before the clock starts: what publishers send and what receivers expect.

/// About how many bytes a publisher hands to the kernel at once, as client libraries do.
const WRITE_SIZE: usize = 64 * 1024;

/// Frames of one length, one after the other.
pub(crate) struct Frames {
    bytes: Vec<u8>,
    frame_length: usize,
}

/// A run of whole frames.
pub(crate) struct Chunk<'a> {
    /// The frames.
    pub(crate) bytes: &'a [u8],
    /// How many they are.
    pub(crate) count: u64,
}

impl Frames {
    /// The same frame as often as fits one write.
    pub(crate) fn repeated(frame: &[u8]) -> Self {
        let count = (WRITE_SIZE / frame.len()).max(1);
        Self {
            bytes: frame.repeat(count),
            frame_length: frame.len(),
        }
    }

    /// Different frames, all of the length of the first.
    pub(crate) fn sequence(frames: impl Iterator<Item = Vec<u8>>) -> Self {
        let mut bytes = Vec::new();
        let mut frame_length = 0;
        for frame in frames {
            frame_length = frame.len();
            bytes.extend_from_slice(&frame);
        }
        Self {
            bytes,
            frame_length,
        }
    }

    /// How many frames there are before they repeat.
    pub(crate) fn count(&self) -> usize {
        self.bytes.len() / self.frame_length
    }

    /// The frames to write next, beginning with number `position` (less than [`Frames::count`]).
    pub(crate) fn chunk(&self, position: usize) -> Chunk<'_> {
        let wanted = (WRITE_SIZE / self.frame_length).max(1);
        let count = wanted.min(self.count() - position);
        let begin = position * self.frame_length;
        let bytes = self
            .bytes
            .get(begin..begin + count * self.frame_length)
            .unwrap_or_default();
        Chunk {
            bytes,
            count: count as u64,
        }
    }
}

/// A payload whose bytes differ from their neighbours, so that a shifted copy does not go unseen.
pub(crate) fn payload(size: usize) -> Vec<u8> {
    (b'a'..=b'z').cycle().take(size).collect()
}

/// `PUB subject size CRLF payload CRLF`.
pub(crate) fn publish(subject: &str, payload: &[u8]) -> Vec<u8> {
    finish(format!("PUB {subject} {}\r\n", payload.len()), payload)
}

/// `MSG subject sid size CRLF payload CRLF`.
pub(crate) fn message(subject: &str, sid: &str, payload: &[u8]) -> Vec<u8> {
    finish(
        format!("MSG {subject} {sid} {}\r\n", payload.len()),
        payload,
    )
}

/// A header block as tracing libraries send it.
const HEADERS: &str = "NATS/1.0\r\nTrace-Id: 4bf92f3577b34da6\r\n\r\n";

/// `HPUB subject header-size total-size CRLF headers payload CRLF`.
pub(crate) fn publish_with_headers(subject: &str, payload: &[u8]) -> Vec<u8> {
    let total = HEADERS.len() + payload.len();
    finish(
        format!("HPUB {subject} {} {total}\r\n{HEADERS}", HEADERS.len()),
        payload,
    )
}

/// `HMSG subject sid header-size total-size CRLF headers payload CRLF`.
pub(crate) fn message_with_headers(subject: &str, sid: &str, payload: &[u8]) -> Vec<u8> {
    let total = HEADERS.len() + payload.len();
    finish(
        format!(
            "HMSG {subject} {sid} {} {total}\r\n{HEADERS}",
            HEADERS.len()
        ),
        payload,
    )
}

fn finish(start: String, payload: &[u8]) -> Vec<u8> {
    let mut frame = start.into_bytes();
    frame.extend_from_slice(payload);
    frame.extend_from_slice(b"\r\n");
    frame
}

/// The numbers below `count` in an order that no cache or prefetcher can guess, the same every time.
pub(crate) fn shuffled(count: usize) -> Vec<usize> {
    let mut numbers: Vec<usize> = (0..count).collect();
    // Knuth's 64-bit linear congruential generator; only its upper half is random enough.
    let mut state: u64 = 0x9E37_79B9_7F4A_7C15;
    for index in (1..numbers.len()).rev() {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        let choice = usize::try_from(state >> 33).unwrap_or(0) % (index + 1);
        numbers.swap(index, choice);
    }
    numbers
}
