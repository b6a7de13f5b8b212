//! What the examples share: a server in this process, and a NATS client of a few lines, so that they
//! need nothing but Midge and show what goes over the wire. Programs of your own take a client
//! library from <https://nats.io/download/>.
#![allow(dead_code, reason = "each example uses a part of it")]

use std::collections::VecDeque;
use std::error::Error;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use midge::config::{self, Layers};
use midge::server::{Server, ServerOptions};
use tokio::runtime::Runtime;

/// How long a client waits for what must come.
const PATIENCE: Duration = Duration::from_secs(10);

/// A server on a free port of this machine, set up by `-C` like pairs of option and value.
pub(crate) fn start(settings: &[(&str, &str)]) -> Result<(Runtime, Server), Box<dyn Error>> {
    let local = [("host", "127.0.0.1"), ("port", "-1")];
    let assignments = local.iter().chain(settings);
    let layers = Layers {
        assignments: assignments
            .map(|(option, value)| ((*option).to_owned(), (*value).to_owned()))
            .collect(),
        ..Layers::default()
    };
    // Variables of the environment are left alone: nothing but `settings` counts.
    let loaded = config::load(&layers, &|_| None).map_err(|mistakes| lines(&mistakes))?;
    let options =
        ServerOptions::from_config(&loaded.options).map_err(|mistakes| lines(&mistakes))?;
    let runtime = Runtime::new()?;
    let server = runtime.block_on(Server::start(options))?;
    Ok((runtime, server))
}

fn lines(mistakes: &[impl ToString]) -> String {
    let texts: Vec<String> = mistakes.iter().map(ToString::to_string).collect();
    texts.join("\n")
}

/// A message that came.
#[derive(Debug)]
pub(crate) struct Message {
    pub(crate) subject: String,
    pub(crate) reply: Option<String>,
    pub(crate) payload: String,
    /// Whether it says that nobody listens to what was requested.
    pub(crate) no_responders: bool,
}

/// A connection to a server.
#[derive(Debug)]
pub(crate) struct Client {
    reader: BufReader<TcpStream>,
    writer: TcpStream,
    /// Number of subscriptions so far, which is also the name of the last one.
    subscriptions: u32,
    /// Messages that came while something else was awaited.
    waiting: VecDeque<Message>,
}

/// What the server sends.
#[derive(Debug)]
enum Incoming {
    Message(Message),
    Pong,
    Refusal(String),
    Other,
}

impl Client {
    /// Connects without credentials.
    pub(crate) fn connect(address: SocketAddr) -> io::Result<Self> {
        Self::introduce(address, "")
    }

    /// Connects as a user.
    pub(crate) fn log_in(address: SocketAddr, user: &str, password: &str) -> io::Result<Self> {
        Self::introduce(address, &format!(r#","user":"{user}","pass":"{password}""#))
    }

    fn introduce(address: SocketAddr, credentials: &str) -> io::Result<Self> {
        let writer = TcpStream::connect(address)?;
        writer.set_read_timeout(Some(PATIENCE))?;
        let mut client = Self {
            reader: BufReader::new(writer.try_clone()?),
            writer,
            subscriptions: 0,
            waiting: VecDeque::new(),
        };
        client.send(&format!(
            "CONNECT {{\"verbose\":false,\"headers\":true,\"no_responders\":true{credentials}}}\r\n"
        ))?;
        client.flush()?;
        Ok(client)
    }

    /// Asks for everything that is published on `filter`, or for a share of it with others of the same
    /// queue group. The number is the subscription's name.
    pub(crate) fn subscribe(&mut self, filter: &str, queue: &str) -> io::Result<u32> {
        self.subscriptions += 1;
        let sid = self.subscriptions;
        self.send(&format!("SUB {filter} {queue} {sid}\r\n"))?;
        self.flush()?;
        Ok(sid)
    }

    /// Ends a subscription.
    pub(crate) fn unsubscribe(&mut self, sid: u32) -> io::Result<()> {
        self.send(&format!("UNSUB {sid}\r\n"))?;
        self.flush()
    }

    /// Publishes a message.
    pub(crate) fn publish(&mut self, subject: &str, payload: &str) -> io::Result<()> {
        let length = payload.len();
        self.send(&format!("PUB {subject} {length}\r\n{payload}\r\n"))
    }

    /// Publishes a message with a subject for answers and waits for the first one.
    pub(crate) fn request(&mut self, subject: &str, payload: &str) -> io::Result<Message> {
        let inbox = format!("_INBOX.{}", self.writer.local_addr()?.port());
        let sid = self.subscribe(&inbox, "")?;
        let length = payload.len();
        self.send(&format!("PUB {subject} {inbox} {length}\r\n{payload}\r\n"))?;
        let answer = self.next()?;
        self.unsubscribe(sid)?;
        Ok(answer)
    }

    /// Waits for the next message.
    ///
    /// # Errors
    /// What the server refused, or that nothing came in time.
    pub(crate) fn next(&mut self) -> io::Result<Message> {
        if let Some(message) = self.waiting.pop_front() {
            return Ok(message);
        }
        loop {
            match self.receive()? {
                Incoming::Message(message) => return Ok(message),
                Incoming::Refusal(text) => return Err(io::Error::other(text)),
                Incoming::Pong | Incoming::Other => {}
            }
        }
    }

    /// Waits until the server has served everything sent so far.
    ///
    /// # Errors
    /// What the server refused of it.
    pub(crate) fn flush(&mut self) -> io::Result<()> {
        self.send("PING\r\n")?;
        let mut refused = Ok(());
        loop {
            match self.receive() {
                Ok(Incoming::Pong) => return refused,
                Ok(Incoming::Message(message)) => self.waiting.push_back(message),
                Ok(Incoming::Refusal(text)) => refused = Err(io::Error::other(text)),
                Ok(Incoming::Other) => {}
                // After some refusals the server closes the connection.
                Err(error) => return refused.and(Err(error)),
            }
        }
    }

    fn receive(&mut self) -> io::Result<Incoming> {
        let mut line = String::new();
        if self.reader.read_line(&mut line)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let words: Vec<&str> = line.split_ascii_whitespace().collect();
        let (subject, reply, header_size, size) = match *words {
            ["MSG", subject, _, size] => (subject, None, "0", size),
            ["MSG", subject, _, reply, size] => (subject, Some(reply), "0", size),
            ["HMSG", subject, _, headers, size] => (subject, None, headers, size),
            ["HMSG", subject, _, reply, headers, size] => (subject, Some(reply), headers, size),
            ["PONG"] => return Ok(Incoming::Pong),
            ["PING"] => return self.send("PONG\r\n").map(|()| Incoming::Other),
            ["-ERR", ..] => return Ok(Incoming::Refusal(line.trim_end().to_owned())),
            _ => return Ok(Incoming::Other), // INFO
        };
        let number = |text: &str| text.parse::<usize>().map_err(io::Error::other);
        let mut body = vec![0; number(size)? + "\r\n".len()];
        self.reader.read_exact(&mut body)?;
        let (headers, payload) = body.split_at(number(header_size)?.min(body.len()));
        Ok(Incoming::Message(Message {
            subject: subject.to_owned(),
            reply: reply.map(str::to_owned),
            payload: String::from_utf8_lossy(payload).trim_end().to_owned(),
            no_responders: headers.starts_with(b"NATS/1.0 503"),
        }))
    }

    fn send(&mut self, text: &str) -> io::Result<()> {
        self.writer.write_all(text.as_bytes())
    }
}
