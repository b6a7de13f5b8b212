//! Asking a server over a plain connection whether anybody listens to a subject.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::time::Duration;

use crate::process::poll_until;
use crate::server::Server;

/// Time within which a program must have subscribed.
const INTEREST_DEADLINE: Duration = Duration::from_secs(20);

/// Time within which the server must answer.
const ANSWER_DEADLINE: Duration = Duration::from_secs(10);

/// Waits until somebody listens to a subject.
///
/// Programs say that they subscribe before the server knows. A request to the subject is answered
/// with status 503 as long as nobody listens, so the first one without that answer shows that
/// somebody does. That one is delivered: each listener gets exactly one empty message too many.
pub(crate) fn wait_for_interest(server: &Server, subject: &str) {
    let mut probe = Probe::connect(server);
    let found = poll_until(INTEREST_DEADLINE, || probe.somebody_listens(subject));
    assert!(found, "nobody listens to {subject}:\n{}", server.log());
}

/// A connection that sends requests and looks at the status of what comes back.
#[derive(Debug)]
struct Probe {
    writer: TcpStream,
    reader: BufReader<TcpStream>,
}

impl Probe {
    fn connect(server: &Server) -> Self {
        let writer = server.connect();
        writer
            .set_read_timeout(Some(ANSWER_DEADLINE))
            .expect("a time limit for reading");
        let reader = BufReader::new(writer.try_clone().expect("a second handle of the socket"));
        let mut probe = Self { writer, reader };
        probe.send("CONNECT {\"verbose\":false,\"headers\":true,\"no_responders\":true,\"protocol\":1}\r\n");
        probe.send("SUB probe.reply 1\r\n");
        probe
    }

    fn send(&mut self, text: &str) {
        self.writer
            .write_all(text.as_bytes())
            .expect("the server takes the bytes");
    }

    /// Sends one request; the answer to the PING behind it shows that the server has handled it.
    fn somebody_listens(&mut self, subject: &str) -> bool {
        self.send(&format!("PUB {subject} probe.reply 0\r\n\r\nPING\r\n"));
        let mut listens = true;
        loop {
            let mut line = String::new();
            let length = self
                .reader
                .read_line(&mut line)
                .expect("the server answers");
            assert!(length > 0, "the server closed the connection");
            match line.trim_end() {
                "PONG" => return listens,
                status if status.starts_with("NATS/1.0 503") => listens = false,
                _ => {}
            }
        }
    }
}
