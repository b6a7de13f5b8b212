//! Holding a conversation with one server over real sockets.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crate::clock::Deadline;
use crate::script::{Awaited, Conversation, Step};
use crate::server::Server;

/// How long the steps of a conversation wait.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Patience {
    /// For something that a script awaits.
    pub(crate) awaited: Duration,
    /// Without any byte, after the last step, until the conversation counts as over.
    pub(crate) quiet: Duration,
    /// For the answers of the reference to appear.
    pub(crate) catch_up: Duration,
    /// Whatever is awaited must come.
    pub(crate) is_strict: bool,
}

/// Between the writes of a text that is cut in pieces, so that the server reads them apart.
const BETWEEN_PIECES: Duration = Duration::from_micros(150);
/// For the server to take notice that the peers have gone.
const GOODBYE: Duration = Duration::from_millis(500);

/// All that one server said in a conversation.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Heard {
    /// In the order in which the peers were opened.
    pub(crate) peers: Vec<HeardByPeer>,
    /// Waits that ended without the awaited, in order.
    pub(crate) missed: Vec<String>,
}

/// All that one peer received.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct HeardByPeer {
    pub(crate) name: String,
    pub(crate) bytes: Vec<u8>,
    /// The server had closed the connection, or refused it.
    pub(crate) closed: bool,
}

/// Holds `conversation` with `server`. After the last step it goes on listening until `complete`
/// says that nothing is missing or the patience ends, and then until the peers are quiet.
pub(crate) fn hold(
    conversation: &Conversation,
    server: &Server,
    patience: Patience,
    complete: impl Fn(&Heard) -> bool,
) -> Heard {
    let mut talk = Talk {
        server,
        patience,
        ears: Arc::default(),
        peers: Vec::new(),
        missed: Vec::new(),
        last_speaker: String::new(),
    };
    for step in &conversation.steps {
        talk.step(step);
    }
    let deadline = Deadline::after(patience.catch_up);
    while !complete(&talk.heard()) && !deadline.is_over() {
        talk.wait_for_news(deadline.left());
    }
    while talk.wait_for_news(patience.quiet) {}
    let heard = talk.heard();
    talk.goodbye();
    heard
}

struct Talk<'a> {
    server: &'a Server,
    patience: Patience,
    ears: Arc<Ears>,
    peers: Vec<Peer>,
    missed: Vec<String>,
    last_speaker: String,
}

/// One connection of the conversation; its index is that of its [`Ear`].
struct Peer {
    name: String,
    stream: Option<TcpStream>,
    listener: Option<JoinHandle<()>>,
    /// Bytes up to here were awaited before.
    awaited_to: usize,
}

/// What all peers hear, and how the script learns of it.
#[derive(Default)]
struct Ears {
    ears: Mutex<Vec<Ear>>,
    news: Condvar,
}

#[derive(Default)]
struct Ear {
    bytes: Vec<u8>,
    closed: bool,
    held: bool,
}

impl Ears {
    fn lock(&self) -> MutexGuard<'_, Vec<Ear>> {
        self.ears.lock().unwrap()
    }
}

impl Talk<'_> {
    fn step(&mut self, step: &Step) {
        match step {
            Step::Open(name) => {
                self.peer(name);
            }
            Step::Send(name, pieces) => self.send(name, pieces),
            Step::Await(name, awaited) => self.await_it(name, awaited),
            Step::Sync(name) => self.sync(name),
            Step::SyncAll => {
                let mut names: Vec<String> =
                    self.peers.iter().map(|peer| peer.name.clone()).collect();
                names.sort_by_key(|name| *name != self.last_speaker);
                names.iter().for_each(|name| self.sync(name));
            }
            Step::Drop(name) => {
                let index = self.peer(name);
                if let Some(stream) = &self.peers[index].stream {
                    stream.shutdown(Shutdown::Write).ok();
                }
                self.wait(GOODBYE, |ears| ears[index].closed);
            }
            Step::Hold(name) => self.set_held(name, true),
            Step::Resume(name) => self.set_held(name, false),
            Step::Signal(signal) => self.server.signal(*signal),
        }
    }

    /// The index of the peer called `name`, opened if it was not yet.
    fn peer(&mut self, name: &str) -> usize {
        if let Some(index) = self.peers.iter().position(|peer| peer.name == name) {
            return index;
        }
        let index = self.peers.len();
        self.ears.lock().push(Ear::default());
        let stream = TcpStream::connect_timeout(&self.server.address(), self.patience.awaited).ok();
        let listener = stream.as_ref().and_then(|stream| {
            stream.set_nodelay(true).ok()?;
            let (stream, ears) = (stream.try_clone().ok()?, Arc::clone(&self.ears));
            Some(thread::spawn(move || listen(stream, &ears, index)))
        });
        if listener.is_none() {
            self.ears.lock()[index].closed = true;
        }
        self.peers.push(Peer {
            name: name.into(),
            stream,
            listener,
            awaited_to: 0,
        });
        self.wait(self.patience.awaited, |ears| {
            ears[index].closed || ears[index].bytes.contains(&b'\n')
        });
        index
    }

    fn send(&mut self, name: &str, pieces: &[Vec<u8>]) {
        let index = self.peer(name);
        self.last_speaker = name.into();
        let Some(mut stream) = self.peers[index].stream.as_ref() else {
            return;
        };
        for (number, piece) in pieces.iter().enumerate() {
            if number > 0 {
                thread::sleep(BETWEEN_PIECES);
            }
            let piece = with_reply(piece, &self.ears.lock()[index].bytes);
            // A server that has closed refuses the rest; its answers tell that already.
            if stream.write_all(&piece).is_err() {
                return;
            }
        }
    }

    fn await_it(&mut self, name: &str, awaited: &Awaited) {
        let index = self.peer(name);
        let from = self.peers[index].awaited_to;
        let here = self.wait(self.patience.awaited, |ears| {
            let ear = &ears[index];
            ear.closed
                || match awaited {
                    Awaited::Closed => false,
                    Awaited::Text(text) => end_of(&ear.bytes, from, text).is_some(),
                }
        });
        if !here {
            self.missed
                .push(Step::Await(name.into(), awaited.clone()).to_string());
        }
        if let Awaited::Text(text) = awaited {
            let end = end_of(&self.ears.lock()[index].bytes, from, text);
            self.peers[index].awaited_to = end.unwrap_or(from);
        }
    }

    fn sync(&mut self, name: &str) {
        let index = self.peer(name);
        if !self.ears.lock()[index].closed {
            self.send(name, &[b"PING\r\n".to_vec()]);
            self.await_it(name, &Awaited::Text(b"PONG\r\n".to_vec()));
        }
    }

    fn set_held(&mut self, name: &str, held: bool) {
        let index = self.peer(name);
        self.ears.lock()[index].held = held;
        self.ears.news.notify_all();
    }

    /// Waits until `condition` holds; `false` if it does not in time.
    fn wait(&self, wait: Duration, condition: impl Fn(&[Ear]) -> bool) -> bool {
        let ears = self.ears.lock();
        let waited = self
            .ears
            .news
            .wait_timeout_while(ears, wait, |ears| !condition(ears))
            .unwrap();
        !waited.1.timed_out()
    }

    /// Waits until anything is heard; `false` if nothing is in time.
    fn wait_for_news(&self, wait: Duration) -> bool {
        let heard = |ears: &[Ear]| -> usize {
            ears.iter()
                .map(|ear| ear.bytes.len() + usize::from(ear.closed))
                .sum()
        };
        let before = heard(&self.ears.lock());
        self.wait(wait, |ears| heard(ears) != before)
    }

    fn heard(&self) -> Heard {
        let ears = self.ears.lock();
        let peers = self
            .peers
            .iter()
            .zip(ears.iter())
            .map(|(peer, ear)| HeardByPeer {
                name: peer.name.clone(),
                bytes: ear.bytes.clone(),
                closed: ear.closed,
            });
        Heard {
            peers: peers.collect(),
            missed: self.missed.clone(),
        }
    }

    /// Closes all connections in a way that lets the server finish with them.
    fn goodbye(&mut self) {
        self.ears.lock().iter_mut().for_each(|ear| ear.held = false);
        self.ears.news.notify_all();
        for stream in self.peers.iter().filter_map(|peer| peer.stream.as_ref()) {
            stream.shutdown(Shutdown::Write).ok();
        }
        self.wait(GOODBYE, |ears| ears.iter().all(|ear| ear.closed));
        for peer in &mut self.peers {
            if let Some(stream) = &peer.stream {
                stream.shutdown(Shutdown::Both).ok();
            }
            if let Some(listener) = peer.listener.take() {
                listener.join().unwrap();
            }
        }
    }
}

/// Reads from `stream` into ear number `index` until the connection ends.
fn listen(mut stream: TcpStream, ears: &Ears, index: usize) {
    let mut buffer = vec![0; 16 * 1024];
    loop {
        let held = ears
            .news
            .wait_while(ears.lock(), |ears| ears[index].held)
            .unwrap();
        drop(held);
        let read = stream.read(&mut buffer).unwrap_or(0);
        let ear = &mut ears.lock()[index];
        match buffer.get(..read) {
            Some(bytes) if read > 0 => ear.bytes.extend_from_slice(bytes),
            _ => ear.closed = true,
        }
        ears.news.notify_all();
        if read == 0 {
            return;
        }
    }
}

/// How scripts write the last reply subject that the peer got with a request from another account.
const REPLY: &[u8] = b"<reply>";

/// `piece` with the reply subject that was `heard` last in the place of [`REPLY`].
fn with_reply(piece: &[u8], heard: &[u8]) -> Vec<u8> {
    let Some(at) = memchr::memmem::find(piece, REPLY) else {
        return piece.to_vec();
    };
    let reply = memchr::memmem::rfind(heard, b"_R_.").map_or(&b""[..], |start| &heard[start..]);
    let end = reply.iter().position(u8::is_ascii_whitespace);
    let reply = &reply[..end.unwrap_or(reply.len())];
    [&piece[..at], reply, &piece[at + REPLY.len()..]].concat()
}

/// Where `text` ends in `bytes`, looking from `from` on.
fn end_of(bytes: &[u8], from: usize, text: &[u8]) -> Option<usize> {
    let found = memchr::memmem::find(bytes.get(from..)?, text)?;
    Some(from + found + text.len())
}
