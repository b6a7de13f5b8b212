//! From the socket into turns.
//!
//! Bytes are read into the worker thread's buffer and served from there. Only an incomplete operation
//! is kept per connection: a short one is put in front of the next read, a long one gets a buffer of
//! exactly its size into which the rest is read directly, and from which its payload can be shared.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncRead, ReadBuf};
use tokio_util::io::poll_read_buf;

use super::transport::ReadHalf;
use super::turn::{
    Input, Link, READ_BYTES, STRANGER_READ_BYTES, Scratch, Served, Turn, Verdict,
    WIDE_MESSAGE_BYTES, WIDE_READ_BYTES, with_scratch,
};
use crate::auth::{Login, Rejection};
use crate::broker::peer::Peer;
use crate::outbound::SHARE_BYTES;

/// The receiving side of a connection.
#[derive(Debug)]
pub struct Reader {
    half: ReadHalf,
    tail: Tail,
    /// Whether the last read was full of few, big messages.
    wide: bool,
    /// Whether the peer has yet to say who it is.
    stranger: bool,
}

/// The incomplete operation that the last read ended with.
#[derive(Debug)]
enum Tail {
    None,
    /// Short, or of unknown length: goes in front of the next read.
    Short(Box<[u8]>),
    /// Long: it is served again once its buffer holds `needed` bytes. Where that is the length of the
    /// operation, the buffer has room for no more.
    Long {
        buffer: BytesMut,
        needed: usize,
    },
}

impl Tail {
    fn long(rest: &[u8], capacity: usize, needed: usize) -> Self {
        let mut buffer = BytesMut::with_capacity(capacity);
        buffer.extend_from_slice(rest);
        Self::Long { buffer, needed }
    }
}

/// How one call of [`Reader::poll_turn`] went.
#[derive(Debug)]
pub enum Turned {
    /// A turn was made.
    Served {
        /// Whether the connection goes on.
        verdict: Verdict,
        /// The slow peer for which this publisher should pause.
        stall: Option<Arc<Peer>>,
        /// Whether the peer has introduced itself.
        introduced: bool,
        /// Whether the peer has answered a ping.
        ponged: bool,
        /// How long nothing more may be read.
        pause: Option<Duration>,
    },
    /// The peer will send no more.
    EndOfStream,
    /// The socket is broken.
    Failed(io::Error),
}

impl Reader {
    /// A reader of `half`, which takes little at a time while the peer is a stranger who must introduce itself.
    #[must_use]
    pub fn new(half: ReadHalf, stranger: bool) -> Self {
        Self {
            half,
            tail: Tail::None,
            wide: false,
            stranger,
        }
    }

    /// Reads once and serves what came.
    pub fn poll_turn<L: Link>(
        &mut self,
        context: &mut Context<'_>,
        link: &mut L,
        peer: &Arc<Peer>,
    ) -> Poll<Turned> {
        with_scratch(|scratch| {
            let read = match &mut self.tail {
                Tail::Long { .. } => self.poll_long(context, scratch, link, peer),
                Tail::None | Tail::Short(_) => self.poll_short(context, scratch, link, peer),
            };
            match ready!(read) {
                Ok(turned) => Poll::Ready(turned),
                Err(error) => Poll::Ready(Turned::Failed(error)),
            }
        })
    }

    /// Reads into the thread's buffer, behind what is left of the read before.
    fn poll_short<L: Link>(
        &mut self,
        context: &mut Context<'_>,
        scratch: &mut Scratch,
        link: &mut L,
        peer: &Arc<Peer>,
    ) -> Poll<io::Result<Turned>> {
        let Scratch {
            read_buffer,
            deliveries,
        } = scratch;
        let kept = match &self.tail {
            Tail::Short(bytes) => bytes.len(),
            Tail::None | Tail::Long { .. } => 0,
        };
        let most = match (self.stranger, self.wide) {
            (true, _) => STRANGER_READ_BYTES,
            (false, true) => WIDE_READ_BYTES,
            (false, false) => READ_BYTES,
        };
        let room = read_buffer.get_mut(kept..kept + most).unwrap_or_default();
        let mut space = ReadBuf::new(room);
        ready!(Pin::new(&mut self.half).poll_read(context, &mut space))?;
        let received = space.filled().len();
        if received == 0 {
            return Poll::Ready(Ok(Turned::EndOfStream));
        }
        if let Tail::Short(bytes) = std::mem::replace(&mut self.tail, Tail::None)
            && let Some(front) = read_buffer.get_mut(..kept)
        {
            front.copy_from_slice(&bytes);
        }
        let bytes = read_buffer.get(..kept + received).unwrap_or_default();
        let mut turn = begin(deliveries, peer);
        let served = link.serve(
            &mut turn,
            Input {
                bytes,
                source: None,
            },
        );
        let big = turn.messages * WIDE_MESSAGE_BYTES < received as u64;
        self.wide = big && received >= READ_BYTES;
        self.stranger &= !turn.introduced;
        self.keep(bytes, &served);
        Poll::Ready(Ok(end(link, turn, served)))
    }

    /// Reads on into a long operation's own buffer.
    fn poll_long<L: Link>(
        &mut self,
        context: &mut Context<'_>,
        scratch: &mut Scratch,
        link: &mut L,
        peer: &Arc<Peer>,
    ) -> Poll<io::Result<Turned>> {
        let Tail::Long { buffer, needed } = &mut self.tail else {
            return Poll::Ready(Ok(Turned::EndOfStream));
        };
        if ready!(poll_read_buf(Pin::new(&mut self.half), context, buffer))? == 0 {
            return Poll::Ready(Ok(Turned::EndOfStream));
        }
        let mut turn = begin(&mut scratch.deliveries, peer);
        if buffer.len() < *needed {
            let served = Served {
                consumed: 0,
                kept: buffer.len(),
                needed: *needed,
                verdict: Verdict::Continue,
            };
            return Poll::Ready(Ok(end(link, turn, served)));
        }
        let whole: Bytes = std::mem::take(buffer).freeze();
        self.tail = Tail::None;
        let served = link.serve(
            &mut turn,
            Input {
                bytes: &whole,
                source: Some(&whole),
            },
        );
        self.keep(&whole, &served);
        Poll::Ready(Ok(end(link, turn, served)))
    }

    /// Goes on after [`Verdict::Verify`]: tells the link the outcome and serves what it left over.
    pub fn resume_turn<L: Link>(
        &mut self,
        link: &mut L,
        peer: &Arc<Peer>,
        outcome: Result<Login, Rejection>,
    ) -> Turned {
        with_scratch(|scratch| {
            let mut turn = begin(&mut scratch.deliveries, peer);
            let verdict = link.verified(&mut turn, outcome);
            self.stranger &= !turn.introduced;
            let mut served = Served::whole(0, verdict);
            if matches!(served.verdict, Verdict::Continue) {
                let kept: Bytes = match std::mem::replace(&mut self.tail, Tail::None) {
                    Tail::None => Bytes::new(),
                    Tail::Short(bytes) => bytes.into(),
                    Tail::Long { buffer, .. } => buffer.freeze(),
                };
                let input = Input {
                    bytes: &kept,
                    source: Some(&kept),
                };
                served = link.serve(&mut turn, input);
                self.keep(&kept, &served);
            }
            end(link, turn, served)
        })
    }

    /// From now on everything that comes is compressed, what was kept of the last read included.
    pub fn decompress(&mut self) {
        let kept: Bytes = match std::mem::replace(&mut self.tail, Tail::None) {
            Tail::None => Bytes::new(),
            Tail::Short(bytes) => bytes.into(),
            Tail::Long { buffer, .. } => buffer.freeze(),
        };
        let half = std::mem::replace(&mut self.half, ReadHalf::closed());
        self.half = half.decompressed(&kept);
    }

    /// Keeps what one turn left over of `bytes`.
    fn keep(&mut self, bytes: &[u8], served: &Served) {
        let end = served.consumed.saturating_add(served.kept);
        let rest = bytes.get(served.consumed..end).unwrap_or_default();
        self.tail = if rest.is_empty() {
            Tail::None
        } else if served.needed >= SHARE_BYTES {
            Tail::long(rest, served.needed, served.needed)
        } else if rest.len() > READ_BYTES {
            // A control line that is longer than the thread's buffer has room for.
            Tail::long(rest, rest.len() + READ_BYTES, rest.len() + 1)
        } else {
            Tail::Short(rest.into())
        };
    }

    /// Reads and drops what still comes, `left` bytes of it, until the peer closes.
    pub fn poll_discard(&mut self, context: &mut Context<'_>, left: &mut usize) -> Poll<()> {
        self.tail = Tail::None;
        with_scratch(|scratch| {
            while *left > 0 {
                let mut space = ReadBuf::new(&mut scratch.read_buffer);
                match ready!(Pin::new(&mut self.half).poll_read(context, &mut space)) {
                    Ok(()) if !space.filled().is_empty() => {
                        *left = left.saturating_sub(space.filled().len());
                    }
                    Ok(()) | Err(_) => return Poll::Ready(()),
                }
            }
            Poll::Ready(())
        })
    }
}

fn begin<'a>(
    deliveries: &'a mut crate::broker::deliver::Deliveries,
    peer: &'a Arc<Peer>,
) -> Turn<'a> {
    Turn {
        deliveries,
        peer,
        now: Instant::now(),
        messages: 0,
        introduced: false,
        ponged: false,
        pause: None,
    }
}

/// Flushes everybody whom the turn touched.
fn end<L: Link>(link: &L, turn: Turn<'_>, served: Served) -> Turned {
    turn.deliveries.flush(turn.now);
    for slow in turn.deliveries.take_overflows() {
        link.overflowed(&slow);
    }
    Turned::Served {
        verdict: served.verdict,
        stall: turn.deliveries.take_stall(),
        introduced: turn.introduced,
        ponged: turn.ponged,
        pause: turn.pause,
    }
}
