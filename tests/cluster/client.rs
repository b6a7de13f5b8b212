//! A client that speaks the protocol over a plain socket, and waiting for what is to come true.

use std::collections::VecDeque;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

pub(crate) use crate::wait::{PATIENCE, eventually};

/// One message as a client gets it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Message {
    pub(crate) subject: String,
    pub(crate) sid: String,
    pub(crate) reply: Option<String>,
    pub(crate) header: String,
    pub(crate) body: String,
}

#[derive(Debug)]
pub(crate) struct Client {
    stream: TcpStream,
    buffer: Vec<u8>,
    messages: VecDeque<Message>,
    /// The last INFO.
    pub(crate) info: serde_json::Value,
    pongs: usize,
    pub(crate) errors: Vec<String>,
}

impl Client {
    /// Connects; `fields` are further ones of CONNECT, each after a comma.
    pub(crate) fn connect(address: SocketAddr, fields: &str) -> Self {
        let stream = TcpStream::connect(address).expect("the server listens");
        stream
            .set_read_timeout(Some(Duration::from_millis(5)))
            .expect("a timeout");
        let mut client = Self {
            stream,
            buffer: Vec::new(),
            messages: VecDeque::new(),
            info: serde_json::Value::Null,
            pongs: 0,
            errors: Vec::new(),
        };
        client.send(&format!(
            "CONNECT {{\"verbose\":false,\"protocol\":1,\"headers\":true,\"no_responders\":true{fields}}}\r\n"
        ));
        client.flush();
        client
    }

    pub(crate) fn send(&mut self, text: &str) {
        self.stream.write_all(text.as_bytes()).expect("it is sent");
    }

    pub(crate) fn subscribe(&mut self, filter: &str, sid: &str) {
        self.send(&format!("SUB {filter} {sid}\r\n"));
        self.flush();
    }

    pub(crate) fn publish(&mut self, subject: &str, body: &str) {
        self.send(&format!("PUB {subject} {}\r\n{body}\r\n", body.len()));
    }

    /// Waits until the server has served everything sent so far.
    pub(crate) fn flush(&mut self) {
        let pongs = self.pongs + 1;
        self.send("PING\r\n");
        let deadline = Instant::now() + PATIENCE;
        while self.pongs < pongs {
            assert!(Instant::now() < deadline, "no PONG: {:?}", self.errors);
            assert!(self.read(), "closed: {:?}", self.errors);
        }
    }

    /// The next message, if one comes before long.
    pub(crate) fn next(&mut self) -> Option<Message> {
        self.next_within(PATIENCE)
    }

    pub(crate) fn next_within(&mut self, patience: Duration) -> Option<Message> {
        let deadline = Instant::now() + patience;
        while self.messages.is_empty() && Instant::now() < deadline {
            if !self.read() {
                break;
            }
        }
        self.messages.pop_front()
    }

    /// What has come so far.
    pub(crate) fn drain(&mut self) -> Vec<Message> {
        self.read();
        self.messages.drain(..).collect()
    }

    /// Reads what is there; false when the server has closed.
    pub(crate) fn read(&mut self) -> bool {
        let mut bytes = [0; 65536];
        match self.stream.read(&mut bytes) {
            Ok(0) => return false,
            Ok(count) => self.buffer.extend_from_slice(&bytes[..count]),
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
            Err(_) => return false,
        }
        let mut used = 0;
        while let Some(length) = self.take_line(used) {
            used += length;
        }
        self.buffer.drain(..used);
        true
    }

    /// Takes the operation at `from`; its length, once it is whole.
    fn take_line(&mut self, from: usize) -> Option<usize> {
        let rest = &self.buffer[from..];
        let end = rest.windows(2).position(|pair| pair == b"\r\n")?;
        let line = String::from_utf8_lossy(&rest[..end]).into_owned();
        let words: Vec<&str> = line.split_whitespace().collect();
        match words.first().copied() {
            Some("PING") => self.send("PONG\r\n"),
            Some("PONG") => self.pongs += 1,
            Some("INFO") => self.info = serde_json::from_str(&line[5..]).expect("JSON"),
            Some("MSG" | "HMSG") => {
                let sizes = 1 + usize::from(words[0] == "HMSG");
                let size: usize = words[words.len() - 1].parse().expect("a size");
                let header = match sizes {
                    1 => 0,
                    _ => words[words.len() - 2].parse().expect("a size"),
                };
                let body = rest.get(end + 2..end + 2 + size)?;
                rest.get(end + 2 + size..end + 4 + size)?;
                let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
                let reply = (words.len() == 4 + sizes).then(|| words[3].to_owned());
                let message = Message {
                    subject: words[1].to_owned(),
                    sid: words[2].to_owned(),
                    reply,
                    header: text(&body[..header]),
                    body: text(&body[header..]),
                };
                self.messages.push_back(message);
                return Some(end + 4 + size);
            }
            _ => self.errors.push(line),
        }
        Some(end + 2)
    }
}
