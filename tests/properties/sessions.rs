//! A broker and its clients without sockets: bytes go in by a call, and what would be sent is kept.

use std::io::{self, IoSlice};
use std::sync::{Arc, Mutex};

use midge::auth::{AuthRules, Authenticator};
use midge::broker::close::CloseReason;
use midge::broker::deliver::Deliveries;
use midge::broker::peer::{Facts, Peer, Wire};
use midge::conn::turn::{Input, Link as _, Turn, Verdict};
use midge::link::client::Client;
use midge::link::context::{ClientContext, ClientSettings, Limits, TlsTerms};
use midge::proto::info::Info;

use super::wire::{Message, read_frames};

/// A socket that takes as much as it is told to.
#[derive(Debug)]
struct Recorder(Mutex<Recorded>);

#[derive(Debug)]
struct Recorded {
    sent: Vec<u8>,
    room: usize,
    broken: bool,
}

#[derive(Debug)]
struct RecorderHandle(Arc<Recorder>);

impl Wire for RecorderHandle {
    fn try_write(&self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        let mut recorded = self.0.0.lock().unwrap();
        if recorded.broken {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        if recorded.room == 0 {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let mut taken = 0;
        for slice in slices {
            let part = &slice[..slice.len().min(recorded.room)];
            recorded.sent.extend_from_slice(part);
            recorded.room -= part.len();
            taken += part.len();
        }
        Ok(taken)
    }

    fn wake(&self) {}
}

/// What a client says in CONNECT.
#[derive(Debug, Clone)]
pub(crate) struct Options {
    pub(crate) echo: bool,
    pub(crate) headers: bool,
    pub(crate) no_responders: bool,
    pub(crate) verbose: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            echo: true,
            headers: true,
            no_responders: false,
            verbose: false,
        }
    }
}

impl Options {
    pub(crate) fn line(&self) -> String {
        let Self {
            echo,
            headers,
            no_responders,
            verbose,
        } = self;
        let no_responders = *no_responders && *headers;
        format!(
            "CONNECT {{\"verbose\":{verbose},\"pedantic\":false,\"echo\":{echo},\
             \"headers\":{headers},\"no_responders\":{no_responders}}}\r\n"
        )
    }
}

#[derive(Debug)]
struct Session {
    client: Client,
    peer: Arc<Peer>,
    wire: Arc<Recorder>,
    tail: Vec<u8>,
    closed: Option<CloseReason>,
}

/// The broker and its clients, by number.
#[derive(Debug)]
pub(crate) struct Bench {
    context: Arc<ClientContext>,
    deliveries: Deliveries,
    sessions: Vec<Session>,
    nonce: &'static str,
}

impl Bench {
    /// No clients yet; members of queue groups are drawn by `seed`.
    pub(crate) fn with_seed(seed: u64) -> Self {
        Self::new(seed, Limits::default())
    }

    pub(crate) fn new(seed: u64, limits: Limits) -> Self {
        Self::with_rules(seed, limits, &AuthRules::default(), "")
    }

    /// Clients must log in by these rules; each is asked to sign this nonce.
    pub(crate) fn with_rules(
        seed: u64,
        limits: Limits,
        rules: &AuthRules,
        nonce: &'static str,
    ) -> Self {
        let info = Info {
            headers: true,
            ..Info::default()
        };
        let authenticator = Authenticator::new(rules, &[0; 32]).unwrap();
        let settings = ClientSettings {
            slow: Arc::default(),
            limits,
            authenticator,
            tls: TlsTerms::default(),
            rates: Arc::default(),
            timeouts: midge::conn::Timeouts::default(),
        };
        let context = ClientContext::new(Arc::default(), settings, info);
        Self {
            context: Arc::new(context),
            deliveries: Deliveries::new(seed),
            sessions: Vec::new(),
            nonce,
        }
    }

    /// A client that has said nothing.
    pub(crate) fn accept(&mut self) -> usize {
        let id = self.context.broker.next_id();
        let recorded = Recorded {
            sent: Vec::new(),
            room: usize::MAX,
            broken: false,
        };
        let wire = Arc::new(Recorder(Mutex::new(recorded)));
        #[expect(clippy::disallowed_methods, reason = "a connection begins now")]
        let began = (std::time::SystemTime::UNIX_EPOCH, std::time::Instant::now());
        let facts = Facts {
            id,
            ip: String::new(),
            port: 0,
            began,
            nonce: self.nonce.to_owned(),
            label: format!("cid:{id}"),
            unix_user: None,
            in_process: false,
        };
        let handle = Box::new(RecorderHandle(Arc::clone(&wire)));
        let peer = Arc::new(Peer::new(
            facts,
            handle,
            self.context.settings().limits.max_pending,
        ));
        self.context.broker.register(Arc::clone(&peer));
        let client = Client::new(Arc::clone(&self.context), Arc::clone(&peer));
        let (tail, closed) = (Vec::new(), None);
        self.sessions.push(Session {
            client,
            peer,
            wire,
            tail,
            closed,
        });
        self.sessions.len() - 1
    }

    /// A client that has introduced itself.
    pub(crate) fn connect(&mut self, options: &Options) -> usize {
        let number = self.accept();
        assert_eq!(self.feed(number, options.line().as_bytes()), None);
        number
    }

    /// What one read brings from a client; why the connection has ended, if it has.
    pub(crate) fn feed(&mut self, number: usize, bytes: &[u8]) -> Option<CloseReason> {
        let session = &mut self.sessions[number];
        if session.closed.is_some() {
            return session.closed;
        }
        let mut input = [&std::mem::take(&mut session.tail)[..], bytes].concat();
        #[expect(clippy::disallowed_methods, reason = "a turn wants to know the time")]
        let now = std::time::Instant::now();
        let mut turn = Turn {
            deliveries: &mut self.deliveries,
            peer: &session.peer,
            now,
            messages: 0,
            introduced: false,
            ponged: false,
            pause: None,
        };
        let verdict = loop {
            let served = session.client.serve(
                &mut turn,
                Input {
                    bytes: &input,
                    source: None,
                },
            );
            let rest = &input[served.consumed..];
            input = rest[..served.kept].to_vec();
            let Verdict::Verify(check) = served.verdict else {
                break served.verdict;
            };
            match session.client.verified(&mut turn, check.run(now)) {
                Verdict::Continue => {}
                verdict @ (Verdict::Close(_) | Verdict::Verify(_) | Verdict::Compress(_)) => {
                    break verdict;
                }
            }
        };
        turn.deliveries.flush(now);
        match verdict {
            Verdict::Continue => session.tail = input,
            Verdict::Close(reason) => self.close(number, reason),
            Verdict::Verify(_) => panic!("a password was checked twice"),
            Verdict::Compress(_) => panic!("clients do not compress"),
        }
        self.sessions[number].closed
    }

    /// The connection ends, unless it has.
    pub(crate) fn close(&mut self, number: usize, reason: CloseReason) {
        let session = &mut self.sessions[number];
        if session.closed.is_some() {
            return;
        }
        session.peer.close(reason);
        while session.client.release() {}
        session.client.closed(reason);
        session.closed = Some(reason);
    }

    /// The client's socket takes `room` more bytes, and the connection's task is told when it takes any.
    pub(crate) fn set_room(&self, number: usize, room: usize) {
        self.sessions[number].wire.0.lock().unwrap().room = room;
        if room > 0 && self.peer(number).condition().blocked {
            self.peer(number).resume();
        }
    }

    /// The client's socket breaks.
    pub(crate) fn break_wire(&self, number: usize) {
        self.sessions[number].wire.0.lock().unwrap().broken = true;
    }

    /// Bytes that are kept because they may be the beginning of an operation.
    #[allow(dead_code, reason = "the fuzz targets ask for it")]
    pub(crate) fn tail(&self, number: usize) -> usize {
        self.sessions[number].tail.len()
    }

    /// What was sent to a client since this was asked last.
    pub(crate) fn output(&self, number: usize) -> Vec<u8> {
        std::mem::take(&mut self.sessions[number].wire.0.lock().unwrap().sent)
    }

    /// What was sent to a client and was not asked for yet.
    pub(crate) fn peek(&self, number: usize) -> Vec<u8> {
        self.sessions[number].wire.0.lock().unwrap().sent.clone()
    }

    /// What was sent since [`Self::output`] was asked last, which must be nothing but messages.
    pub(crate) fn received(&self, number: usize) -> Vec<Message> {
        read_frames(&self.output(number))
    }

    /// The peer for which the publisher of the last turn should pause.
    pub(crate) fn take_stall(&mut self) -> Option<Arc<Peer>> {
        self.deliveries.take_stall()
    }

    pub(crate) fn peer(&self, number: usize) -> &Arc<Peer> {
        &self.sessions[number].peer
    }

    pub(crate) fn context(&self) -> &ClientContext {
        &self.context
    }
}
