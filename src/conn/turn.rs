//! All work that one read causes, and what a kind of connection has to say about it.

use std::cell::RefCell;
use std::sync::Arc;

use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;

use super::Timeouts;
use super::compression::Level;
use crate::auth::{Login, PasswordCheck, Rejection};
use crate::broker::close::CloseReason;
use crate::broker::deliver::Deliveries;
use crate::broker::peer::Peer;

/// Bytes that one read takes at most, so that a turn ends soon. Reads go into a buffer of the worker
/// thread; a connection has none while it is idle.
pub const READ_BYTES: usize = 64 * 1024;

/// The same while the peer must introduce itself: all that comes behind its CONNECT in one read is kept while its
/// password is checked.
pub const STRANGER_READ_BYTES: usize = 4 * 1024;

/// The same for a peer whose messages are big: its turns take no longer, and the socket's own costs and
/// the receivers' wake-ups are spread over more bytes.
pub const WIDE_READ_BYTES: usize = 256 * 1024;

/// Bytes that messages must have on average to count as big.
pub const WIDE_MESSAGE_BYTES: u64 = 256;

/// What a kind of peer (client, route, …) does with the bytes that come from it.
pub trait Link: Send + 'static {
    /// Serves all whole operations at the front of `input`.
    fn serve(&mut self, turn: &mut Turn<'_>, input: Input<'_>) -> Served;

    /// The outcome of a [`Verdict::Verify`].
    fn verified(&mut self, turn: &mut Turn<'_>, outcome: Result<Login, Rejection>) -> Verdict;

    /// A peer was cut off in this turn because too much was pending for it: says so to the log.
    fn overflowed(&self, slow: &Arc<Peer>);

    /// Reading failed; the reason to close with.
    fn read_failed(&mut self, error: &std::io::Error) -> CloseReason;

    /// Whether what arrived before writing failed is still to be served.
    fn hears_last_words(&self) -> bool {
        false
    }

    /// The peer does not answer pings: says so to it and to the log.
    fn stale(&mut self);

    /// The peer did not introduce itself in time, or its password could not be checked in time: says so to it and to the log.
    fn not_introduced(&mut self);

    /// The peer does not drain what is sent to it: says so to the log.
    fn write_deadline_passed(&mut self, deadline: Duration);

    /// The peer is sent a ping.
    fn pinging(&mut self);

    /// How long the peer takes to answer: how much to compress from now on, if that changes.
    fn measured(&mut self, _round_trip: Duration) -> Option<Level> {
        None
    }

    /// Settings may have changed: judges the peer by those in force. The time limits, if it took others over.
    fn reconsider(&mut self, _now: Instant) -> Option<Timeouts> {
        None
    }

    /// The ping timer has fired: give up memory that was not used since it fired last.
    fn idle(&mut self);

    /// A step of giving up what the connection holds in shared structures; whether more is left.
    fn release(&mut self) -> bool;

    /// The connection has ended.
    fn closed(&mut self, reason: CloseReason);
}

/// Received bytes.
#[derive(Debug, Clone, Copy)]
pub struct Input<'a> {
    /// The bytes, of which the first begins an operation.
    pub bytes: &'a [u8],
    /// The same bytes where they may outlive the turn.
    pub source: Option<&'a Bytes>,
}

/// What became of an [`Input`].
#[derive(Debug)]
pub struct Served {
    /// Bytes that were used up.
    pub consumed: usize,
    /// Bytes after those that must be offered again, in front of what comes next.
    pub kept: usize,
    /// Length of the operation that begins after those, if it is known already; otherwise 0.
    pub needed: usize,
    /// Whether the connection goes on.
    pub verdict: Verdict,
}

impl Served {
    /// Only whole operations, `consumed` bytes of them, were there or matter.
    #[must_use]
    pub fn whole(consumed: usize, verdict: Verdict) -> Self {
        Self {
            consumed,
            kept: 0,
            needed: 0,
            verdict,
        }
    }
}

/// Whether a connection goes on after a turn.
#[derive(Debug)]
pub enum Verdict {
    /// It does.
    Continue,
    /// It ends.
    Close(CloseReason),
    /// It does once this is known; until then nothing more is served.
    Verify(Box<PasswordCheck>),
    /// It does, and everything that follows is compressed in both directions.
    Compress(Compress),
}

/// From when on a connection is compressed: what was sent before is not, and `then` is sent after.
#[derive(Debug)]
pub struct Compress {
    /// How much work goes into it.
    pub level: Level,
    /// What is to be sent first.
    pub then: Vec<u8>,
}

/// What a link works with during one turn.
#[derive(Debug)]
pub struct Turn<'a> {
    /// Where messages and answers go.
    pub deliveries: &'a mut Deliveries,
    /// The peer whose bytes are served.
    pub peer: &'a Arc<Peer>,
    /// When the turn began.
    pub now: Instant,
    /// Messages that came from the peer.
    pub messages: u64,
    /// Set when the peer has introduced itself and is let in.
    pub introduced: bool,
    /// Set when the peer has answered a ping.
    pub ponged: bool,
    /// Set when nothing more may be read from the peer for so long.
    pub pause: Option<Duration>,
}

/// The time on the wall, for whoever must tell when something happened in the middle of a turn.
#[must_use]
pub fn wall_clock() -> SystemTime {
    SystemTime::now()
}

/// What each worker thread has once, for whichever connection's turn it is.
#[derive(Debug)]
pub struct Scratch {
    /// Where reads go.
    pub read_buffer: Box<[u8]>,
    /// What the turn has touched.
    pub deliveries: Deliveries,
}

thread_local! {
    static SCRATCH: RefCell<Option<Box<Scratch>>> = const { RefCell::new(None) };
}

/// Calls `work` with this thread's scratch space.
pub fn with_scratch<T>(work: impl FnOnce(&mut Scratch) -> T) -> T {
    SCRATCH.with_borrow_mut(|slot| {
        work(slot.get_or_insert_with(|| {
            let seed = foldhash::fast::RandomState::default();
            Box::new(Scratch {
                // In front of a read stands what an earlier one left over.
                read_buffer: vec![0; READ_BYTES + WIDE_READ_BYTES].into_boxed_slice(),
                deliveries: Deliveries::new(std::hash::BuildHasher::hash_one(&seed, 0)),
            })
        }))
    })
}
