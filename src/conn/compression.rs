//! Compression of links between servers: S2 in the frames that nats-server reads and writes.
//!
//! A frame is a type, a length of three bytes (least first) and a body: a compressed block or a plain one,
//! each with a checksum of the plain bytes, or the name of the format. A stream may name its format
//! again at any time; nats-server does so for each flush. Blocks hold at most 4 MiB.

use std::cell::RefCell;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use minlz::{Encoder, decode_into, decode_len};
use tokio::io::{AsyncRead, ReadBuf};

use super::transport::{ReadHalf, Receiver, Sender, WriteHalf};

/// Most plain bytes in one block that is written. What the encoder works on stays in the processor's cache:
/// four times as much takes it 1.7 times the time per byte and saves a thirtieth of the result.
const BLOCK_BYTES: usize = 64 * 1024;
/// Most plain bytes that are packed, into several blocks, before the socket is written to.
const BATCH_BYTES: usize = 256 * 1024;
/// Most plain bytes in one block that is read: the format's limit.
const MAX_BLOCK_BYTES: usize = 4 * 1024 * 1024;
/// Most bytes of a frame's body: what a block that cannot be compressed may grow to.
const MAX_BODY_BYTES: usize = MAX_BLOCK_BYTES + MAX_BLOCK_BYTES / 6 + 64;
/// Bytes asked of the socket at once.
const RECEIVE_BYTES: usize = 64 * 1024;
/// Blocks smaller than this are not worth trying to compress.
const LEAST_BYTES: usize = 32;

const COMPRESSED: u8 = 0x00;
const PLAIN: u8 = 0x01;
const FORMAT: u8 = 0xff;
/// The frame that begins a stream.
const S2_FORMAT: &[u8] = b"\xff\x06\x00\x00S2sTwO";
const FORMAT_NAMES: [&[u8]; 2] = [b"S2sTwO", b"sNaPpY"];

/// How much work goes into making less of the bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Level {
    /// Frames, but plain ones.
    Uncompressed,
    /// Fast.
    Fast,
    /// Smaller.
    Better,
    /// Smallest.
    Best,
}

/// A sending half that compresses.
pub(super) struct CompressedSender {
    inner: WriteHalf,
    packer: RefCell<Packer>,
}

/// Frames made and not sent yet.
#[derive(Default)]
struct Packer {
    level: Option<Level>,
    encoder: Option<Encoder>,
    started: bool,
    frames: Vec<u8>,
    sent: usize,
    /// The number of plain bytes that the frames stand for. They are offered again until all frames have
    /// been sent.
    stands_for: usize,
    plain: Vec<u8>,
}

impl std::fmt::Debug for CompressedSender {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("CompressedSender")
            .field("inner", &self.inner)
            .finish_non_exhaustive()
    }
}

impl CompressedSender {
    pub(super) fn new(inner: WriteHalf, level: Level) -> Self {
        let packer = Packer {
            level: Some(level),
            ..Packer::default()
        };
        Self {
            inner,
            packer: RefCell::new(packer),
        }
    }
}

impl Packer {
    /// Makes frames of the first bytes of `slices`.
    fn pack(&mut self, slices: &[IoSlice<'_>]) {
        self.plain.clear();
        let total: usize = slices.iter().map(|slice| slice.len()).sum();
        self.plain.reserve(total.min(BATCH_BYTES));
        for slice in slices {
            let room = BATCH_BYTES - self.plain.len();
            let part = slice.get(..room.min(slice.len())).unwrap_or_default();
            self.plain.extend_from_slice(part);
        }
        self.stands_for = self.plain.len();
        if !std::mem::replace(&mut self.started, true) {
            self.frames.extend_from_slice(S2_FORMAT);
        }
        let plain = std::mem::take(&mut self.plain);
        for block in plain.chunks(BLOCK_BYTES) {
            self.pack_block(block);
        }
        self.plain = plain;
        if self.plain.capacity() > RECEIVE_BYTES {
            self.plain = Vec::new();
        }
    }

    fn pack_block(&mut self, plain: &[u8]) {
        let encoder = self.encoder.get_or_insert_with(Encoder::new);
        let small = plain.len() < LEAST_BYTES;
        let packed = match self.level {
            _ if small => None,
            None | Some(Level::Uncompressed) => None,
            Some(Level::Fast) => Some(encoder.encode(plain)),
            Some(Level::Better) => Some(encoder.encode_better(plain)),
            Some(Level::Best) => Some(encoder.encode_best(plain)),
        };
        match packed.filter(|packed| packed.len() < plain.len()) {
            Some(packed) => self.push_frame(COMPRESSED, plain, &packed),
            None => self.push_frame(PLAIN, plain, plain),
        }
    }

    fn push_frame(&mut self, kind: u8, plain: &[u8], body: &[u8]) {
        // A body is no longer than a block, which three bytes can tell.
        let length = u32::try_from(body.len() + 4).unwrap_or(u32::MAX);
        let [low, middle, high, _] = length.to_le_bytes();
        self.frames.extend_from_slice(&[kind, low, middle, high]);
        self.frames
            .extend_from_slice(&checksum(plain).to_le_bytes());
        self.frames.extend_from_slice(body);
    }
}

impl Sender for CompressedSender {
    fn try_write(&self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        let mut packer = self.packer.borrow_mut();
        if packer.stands_for == 0 {
            packer.pack(slices);
        }
        while packer.sent < packer.frames.len() {
            let rest = packer.frames.get(packer.sent..).unwrap_or_default();
            match self.inner.try_write(&[IoSlice::new(rest)])? {
                0 => return Err(io::ErrorKind::WriteZero.into()),
                sent => packer.sent += sent,
            }
        }
        packer.sent = 0;
        packer.frames.clear();
        if packer.frames.capacity() > RECEIVE_BYTES {
            packer.frames = Vec::new();
        }
        Ok(std::mem::take(&mut packer.stands_for))
    }

    fn poll_writable(&self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.inner.poll_writable(context)
    }

    fn poll_shutdown(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.inner.poll_shutdown(context)
    }

    fn set_level(&self, level: Level) {
        self.packer.borrow_mut().level = Some(level);
    }
}

/// A receiving half that undoes compression.
#[derive(Debug)]
pub(super) struct CompressedReceiver {
    inner: ReadHalf,
    /// Frames, the last one maybe incomplete, of which the first `unpacked` bytes have been unpacked.
    frames: Vec<u8>,
    unpacked: usize,
    /// Plain bytes, of which the first `taken` have been handed on.
    plain: Vec<u8>,
    taken: usize,
    named: bool,
}

impl CompressedReceiver {
    /// `received` has been read from `inner` already.
    pub(super) fn new(inner: ReadHalf, received: &[u8]) -> Self {
        Self {
            inner,
            frames: received.to_vec(),
            unpacked: 0,
            plain: Vec::new(),
            taken: 0,
            named: false,
        }
    }

    /// Unpacks the next frame. False when it is incomplete.
    fn unpack(&mut self) -> io::Result<bool> {
        let waiting = self.frames.get(self.unpacked..).unwrap_or_default();
        let [kind, low, middle, high, rest @ ..] = waiting else {
            return Ok(false);
        };
        let length = usize::try_from(u32::from_le_bytes([*low, *middle, *high, 0])).unwrap_or(0);
        if length > MAX_BODY_BYTES {
            return Err(corrupt("a frame is too long"));
        }
        let Some(body) = rest.get(..length) else {
            return Ok(false);
        };
        match *kind {
            FORMAT if FORMAT_NAMES.contains(&body) => self.named = true,
            FORMAT => return Err(corrupt("the format is not known")),
            _ if !self.named => return Err(corrupt("a stream begins without its format")),
            COMPRESSED | PLAIN => unpack_block(*kind == COMPRESSED, body, &mut self.plain)?,
            0x02..0x80 => return Err(corrupt("a frame of unknown kind")),
            // Others may be skipped.
            0x80..FORMAT => {}
        }
        self.unpacked += 4 + length;
        Ok(true)
    }

    fn release(&mut self) {
        self.plain.clear();
        self.taken = 0;
        if self.plain.capacity() > RECEIVE_BYTES {
            self.plain = Vec::new();
        }
        if self.unpacked == self.frames.len() {
            self.frames = Vec::new();
            self.unpacked = 0;
        }
    }
}

/// Appends the plain bytes of a block.
fn unpack_block(compressed: bool, body: &[u8], plain: &mut Vec<u8>) -> io::Result<()> {
    let Some((told, block)) = body.split_first_chunk::<4>() else {
        return Err(corrupt("a frame is too short"));
    };
    let start = plain.len();
    if compressed {
        let (length, _) = decode_len(block).map_err(|_| corrupt("a block cannot be read"))?;
        if length > MAX_BLOCK_BYTES {
            return Err(corrupt("a block is too long"));
        }
        plain.resize(start + length, 0);
        let target = plain.get_mut(start..).unwrap_or_default();
        decode_into(target, block).map_err(|_| corrupt("a block cannot be read"))?;
    } else {
        plain.extend_from_slice(block);
    }
    let unpacked = plain.get(start..).unwrap_or_default();
    if checksum(unpacked).to_le_bytes() != *told {
        return Err(corrupt("a checksum is wrong"));
    }
    Ok(())
}

/// The checksum of a block's plain bytes: CRC-32C, masked as in Snappy's framing format.
fn checksum(plain: &[u8]) -> u32 {
    crc32c::crc32c(plain)
        .rotate_right(15)
        .wrapping_add(0xa282_ead8)
}

fn corrupt(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("compression: {what}"))
}

impl AsyncRead for CompressedReceiver {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        loop {
            let rest = this.plain.get(this.taken..).unwrap_or_default();
            if !rest.is_empty() {
                let count = rest.len().min(buffer.remaining());
                buffer.put_slice(rest.get(..count).unwrap_or_default());
                this.taken += count;
                if this.taken == this.plain.len() {
                    this.release();
                }
                return Poll::Ready(Ok(()));
            }
            if this.unpack()? {
                continue;
            }
            this.frames.drain(..std::mem::take(&mut this.unpacked));
            let before = this.frames.len();
            this.frames.resize(before + RECEIVE_BYTES, 0);
            let mut space = ReadBuf::new(this.frames.get_mut(before..).unwrap_or_default());
            let read = Pin::new(&mut this.inner).poll_read(context, &mut space);
            let received = space.filled().len();
            this.frames.truncate(before + received);
            if !matches!(read, Poll::Ready(Ok(()))) && this.frames.is_empty() {
                this.frames = Vec::new();
            }
            ready!(read)?;
            if received == 0 {
                return Poll::Ready(Ok(()));
            }
        }
    }
}

impl Receiver for CompressedReceiver {}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a sender of that level makes of some text, in blocks.
    fn packed(level: Level, text: &[u8]) -> Vec<u8> {
        let mut packer = Packer {
            level: Some(level),
            ..Packer::default()
        };
        let mut rest = text;
        while !rest.is_empty() {
            packer.pack(&[IoSlice::new(rest)]);
            rest = &rest[packer.stands_for..];
        }
        packer.frames
    }

    fn unpacked(frames: &[u8], step: usize) -> io::Result<Vec<u8>> {
        let (socket, _other) = std::os::unix::net::UnixStream::pair()?;
        drop(socket);
        let mut plain = Vec::new();
        let mut receiver = Unpacker::default();
        for part in frames.chunks(step) {
            plain.extend(receiver.feed(part)?);
        }
        Ok(plain)
    }

    /// The unpacking half without a socket.
    #[derive(Default)]
    struct Unpacker {
        frames: Vec<u8>,
        named: bool,
    }

    impl Unpacker {
        fn feed(&mut self, part: &[u8]) -> io::Result<Vec<u8>> {
            self.frames.extend_from_slice(part);
            let mut receiver = CompressedReceiver {
                inner: ReadHalf::Layered(Box::new(Nothing)),
                frames: std::mem::take(&mut self.frames),
                unpacked: 0,
                plain: Vec::new(),
                taken: 0,
                named: self.named,
            };
            while receiver.unpack()? {}
            self.frames = receiver.frames.split_off(receiver.unpacked);
            self.named = receiver.named;
            Ok(receiver.plain)
        }
    }

    #[derive(Debug)]
    struct Nothing;

    impl AsyncRead for Nothing {
        fn poll_read(
            self: Pin<&mut Self>,
            _: &mut Context<'_>,
            _: &mut ReadBuf<'_>,
        ) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    impl Receiver for Nothing {}

    fn text() -> Vec<u8> {
        let mut text = Vec::new();
        for number in 0..60_000_u32 {
            text.extend_from_slice(format!("RMSG $G a.{} 5\r\nhello\r\n", number % 97).as_bytes());
        }
        text
    }

    #[test]
    fn what_is_packed_can_be_unpacked_in_any_portions() {
        let text = text();
        for level in [Level::Uncompressed, Level::Fast, Level::Better, Level::Best] {
            let frames = packed(level, &text);
            assert_eq!(
                frames.len() < text.len() / 4,
                level != Level::Uncompressed,
                "{level:?}"
            );
            for step in [1000, 65_537, usize::MAX] {
                assert!(unpacked(&frames, step).unwrap() == text, "{level:?} {step}");
            }
        }
        let small = packed(Level::Fast, b"PING\r\n");
        assert_eq!(small.len(), S2_FORMAT.len() + 8 + 6);
        assert_eq!(unpacked(&small, 1).unwrap(), b"PING\r\n");
    }

    #[test]
    fn checksums_are_those_of_the_format() {
        let text = text();
        for length in [0, 1, 7, 8, 1023, 65_536] {
            let block = &text[..length];
            assert_eq!(checksum(block), minlz::crc::crc(block), "{length} bytes");
        }
    }

    #[test]
    fn broken_streams_are_refused() {
        let frames = packed(Level::Fast, &text());
        let with = |at: usize, byte: u8| {
            let mut frames = frames.clone();
            frames[at] = byte;
            unpacked(&frames, 4096)
        };
        assert!(with(0, COMPRESSED).is_err(), "no format");
        assert!(with(5, b'x').is_err(), "another format");
        assert!(with(10, 0x02).is_err(), "an unknown frame");
        assert!(with(14, frames[14] ^ 1).is_err(), "a wrong checksum");
        assert!(with(30, frames[30] ^ 0x55).is_err(), "a wrong block");
        assert!(
            unpacked(b"\xff\x06\x00\x00S2sTwO\x00\xff\xff\xff", 100).is_err(),
            "too long"
        );
        assert!(
            unpacked(
                b"\xff\x06\x00\x00S2sTwO\x00\x09\x00\x00abcd\xff\xff\xff\x7f\x00",
                100
            )
            .is_err()
        );
        assert!(unpacked(b"\xff\x06\x00\x00S2sTwO\x01\x03\x00\x00abc", 100).is_err());
        assert_eq!(
            unpacked(b"\xff\x06\x00\x00sNaPpY\xfe\x02\x00\x00ab", 100).unwrap(),
            b""
        );
    }
}
