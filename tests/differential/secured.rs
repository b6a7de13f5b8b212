//! Clients of every kind at listeners with TLS: both servers must tell all of them the same, let the same ones in
//! and hang up on the same ones.
//!
//! Scripts hold no certificates, so these conversations are made here: every visitor goes to every listener.

use std::io::Write as _;
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::thread;
use std::time::Duration;

use rcgen::{CertificateParams, DistinguishedName, DnType, SanType};
use rustls::SupportedProtocolVersion;
use rustls::version::{TLS12, TLS13};

use crate::frames::{View, show_difference};
use crate::script::Tolerance;
use crate::server::{Programs, Server};
use crate::suite::{programs, say};
use crate::support::{Authority, Client, Identity, Site};
use crate::talk::{Heard, HeardByPeer};

/// How long a visitor waits for a server that neither answers nor hangs up.
const PATIENCE: Duration = Duration::from_secs(40);

/// How long servers wait for a handshake, in seconds, unless the listener says otherwise; machines are busy.
const TLS_TIMEOUT: u32 = 20;

/// Visits that both servers answer, and that both refuse: as many as this test promises of each.
const AT_LEAST: usize = 60;

/// The last of two answers ends a visit.
const ANSWER: &[u8] = b"PONG\r\n";

/// When a visitor begins to speak, and how.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Manner {
    /// Plain, after INFO.
    Plain,
    /// Plain, without waiting for INFO.
    PlainAtOnce,
    /// TLS after INFO.
    Tls,
    /// TLS without waiting for INFO.
    TlsAtOnce,
}

/// A listener: what its configuration says within `tls`, and besides.
struct Listener {
    within: &'static str,
    besides: &'static str,
    manners: &'static [Manner],
}

/// Manners at a listener that sends INFO first.
const INFO_FIRST: &[Manner] = &[Manner::Plain, Manner::PlainAtOnce, Manner::Tls];

const USERS: &str = r#"authorization { timeout: 30, users: [
  { user: "alice@example.com" }, { user: "CN=Bob,O=Example" }, { user: joe, password: secret } ] }"#;

const LISTENERS: [Listener; 14] = [
    listener("", "", INFO_FIRST),
    listener("", USERS, INFO_FIRST),
    listener("", "allow_non_tls: true", INFO_FIRST),
    listener("min_version: \"1.3\"", "", INFO_FIRST),
    listener("verify: true", "", INFO_FIRST),
    listener("verify: true", USERS, INFO_FIRST),
    listener("verify: true", "allow_non_tls: true", INFO_FIRST),
    listener("verify_and_map: true", USERS, INFO_FIRST),
    listener(
        "verify_and_map: true",
        "allow_non_tls: true, authorization { user: joe, password: secret }",
        INFO_FIRST,
    ),
    listener(
        "handshake_first: true",
        "",
        &[Manner::PlainAtOnce, Manner::TlsAtOnce],
    ),
    listener("handshake_first: true, timeout: 0.5", "", &[Manner::Plain]),
    listener(
        "handshake_first: true, verify_and_map: true",
        USERS,
        &[Manner::PlainAtOnce, Manner::TlsAtOnce],
    ),
    // Whoever waits for INFO gets it after a while, ...
    listener("handshake_first: auto", "", &[Manner::Plain, Manner::Tls]),
    // ... and nobody is so slow.
    listener("handshake_first: \"15s\"", USERS, &[Manner::TlsAtOnce]),
];

const fn listener(
    within: &'static str,
    besides: &'static str,
    manners: &'static [Manner],
) -> Listener {
    Listener {
        within,
        besides,
        manners,
    }
}

/// A visitor with a certificate or none, and with what it puts into CONNECT besides.
struct Visitor {
    name: &'static str,
    identity: Option<Identity>,
    version: &'static SupportedProtocolVersion,
    connect: &'static str,
}

fn visitors(site: &Site) -> Vec<Visitor> {
    let signed = |authority: &Authority, alternative: Vec<SanType>, name: &str| {
        let mut parameters = CertificateParams::new(Vec::new()).unwrap();
        parameters.subject_alt_names = alternative;
        parameters.distinguished_name = DistinguishedName::new();
        let subject = &mut parameters.distinguished_name;
        subject.push(DnType::OrganizationName, "Example");
        subject.push(DnType::CommonName, name);
        Some(authority.sign_for(&parameters))
    };
    let email = |address: &str| vec![SanType::Rfc822Name(address.try_into().unwrap())];
    let ours = &site.authority;
    let stranger = Authority::new("Nobody knows it");
    let alice = || signed(ours, email("alice@example.com"), "Somebody");
    let visitor = |name, identity, version, connect| Visitor {
        name,
        identity,
        version,
        connect,
    };
    let joe = r#","user":"joe","pass":"secret""#;
    vec![
        visitor("nobody", None, &TLS13, ""),
        visitor("nobody, TLS 1.2", None, &TLS12, ""),
        visitor("joe", None, &TLS13, joe),
        visitor(
            "joe with a wrong password",
            None,
            &TLS13,
            r#","user":"joe","pass":"x""#,
        ),
        visitor(
            "alice by name only",
            None,
            &TLS13,
            r#","user":"alice@example.com""#,
        ),
        visitor("alice", alice(), &TLS13, ""),
        visitor("alice, TLS 1.2", alice(), &TLS12, ""),
        visitor("alice as joe", alice(), &TLS13, joe),
        visitor("bob", signed(ours, Vec::new(), "Bob"), &TLS13, ""),
        visitor(
            "mallory",
            signed(ours, email("mallory@example.com"), "Mallory"),
            &TLS13,
            "",
        ),
        visitor(
            "a stranger",
            signed(&stranger, email("alice@example.com"), "Bob"),
            &TLS13,
            joe,
        ),
        visitor(
            "a stranger, TLS 1.2",
            signed(&stranger, email("alice@example.com"), "Bob"),
            &TLS12,
            joe,
        ),
    ]
}

impl Visitor {
    /// Speaks until the server has answered twice or hung up; what came before TLS, and what came after it began.
    fn visit(&self, address: SocketAddr, site: &Site, manner: Manner) -> Heard {
        let mut socket = TcpStream::connect(address).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        socket.set_write_timeout(Some(PATIENCE)).unwrap();
        let mut before = HeardByPeer {
            name: "before".to_owned(),
            ..HeardByPeer::default()
        };
        if matches!(manner, Manner::Plain | Manner::Tls) {
            listen(&mut socket, &mut before, |bytes| bytes.ends_with(b"\n"));
        }
        let connect = self.connect;
        let words =
            format!("CONNECT {{\"verbose\":false,\"protocol\":1{connect}}}\r\nPING\r\nPING\r\n");
        let answered = |bytes: &[u8]| memchr::memmem::find_iter(bytes, ANSWER).count() == 2;
        let mut after = HeardByPeer {
            name: "after".to_owned(),
            ..HeardByPeer::default()
        };
        if before.closed {
            // It will not be spoken to.
        } else if matches!(manner, Manner::Plain | Manner::PlainAtOnce) {
            // A server that has hung up already says so to whoever listens.
            let _ = socket.write_all(words.as_bytes());
            listen(&mut socket, &mut after, answered);
        } else {
            let setup = site.client().version(self.version);
            let setup = match &self.identity {
                Some(identity) => setup.identity(identity),
                None => setup,
            };
            let mut client = Client::over(socket, setup.config(), "localhost");
            let mut stream = rustls::Stream::new(&mut client.session, &mut client.socket);
            let _ = stream.write_all(words.as_bytes());
            listen(&mut stream, &mut after, answered);
        }
        Heard {
            peers: vec![before, after],
            missed: Vec::new(),
        }
    }
}

/// Reads byte by byte, so that nothing of what comes after is taken, until it is `enough` or the end.
fn listen(from: &mut impl std::io::Read, heard: &mut HeardByPeer, enough: impl Fn(&[u8]) -> bool) {
    let mut byte = [0];
    while !heard.closed && !enough(&heard.bytes) {
        match from.read(&mut byte) {
            Ok(count) if count > 0 => heard.bytes.extend_from_slice(&byte),
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {
                panic!("it neither answers nor hangs up after {:?}", heard.bytes)
            }
            // However TLS says it, and a reset says it, too.
            Ok(_) | Err(_) => heard.closed = true,
        }
    }
}

/// How many visits both servers answered and refused, and where they differed.
#[derive(Default)]
struct Outcome {
    answered: usize,
    refused: usize,
    differences: String,
}

impl Listener {
    fn configuration(&self, site: &Site) -> String {
        let files = site.options().certificates.remove(0);
        let path = |path: &Path| path.display().to_string();
        format!(
            "server_name: secured\n{}\ntls {{ timeout: {TLS_TIMEOUT}, cert_file: {:?}, key_file: {:?}, ca_file: {:?}, {} }}\n",
            self.besides,
            path(&files.cert_file),
            path(&files.key_file),
            path(&site.authority_file()),
            self.within,
        )
    }

    /// Lets everybody visit both servers.
    fn compare(&self, programs: &Programs) -> Outcome {
        let site = Site::new();
        let configuration = self.configuration(&site);
        let [reference, tested] = [&programs.reference, &programs.tested]
            .map(|program| Server::start(program, &configuration).unwrap());
        let mut outcome = Outcome::default();
        for visitor in visitors(&site) {
            for &manner in self.manners {
                let plain = matches!(manner, Manner::Plain | Manner::PlainAtOnce);
                if plain && visitor.identity.is_some() {
                    continue;
                }
                let [expected, found] = [&reference, &tested].map(|server| {
                    let heard = visitor.visit(server.address(), &site, manner);
                    View::new(&heard, &Tolerance::default())
                });
                if expected.peers.iter().any(|peer| peer.closed) {
                    outcome.refused += 1;
                } else {
                    outcome.answered += 1;
                }
                if expected != found {
                    let shown = show_difference(&expected, &found);
                    outcome.differences.push_str(&format!(
                        "{} {manner:?} at {configuration}{shown}\n",
                        visitor.name
                    ));
                }
            }
        }
        outcome
    }
}

#[test]
fn visitors_at_listeners_with_tls() {
    let Some(programs) = programs("visitors_at_listeners_with_tls") else {
        return;
    };
    let outcomes: Vec<Outcome> = thread::scope(|scope| {
        let compare = |listener: &'static Listener| {
            let programs = &programs;
            scope.spawn(move || listener.compare(programs))
        };
        let running: Vec<_> = LISTENERS.iter().map(compare).collect();
        running.into_iter().map(|one| one.join().unwrap()).collect()
    });
    let answered: usize = outcomes.iter().map(|outcome| outcome.answered).sum();
    let refused: usize = outcomes.iter().map(|outcome| outcome.refused).sum();
    let differences: String = outcomes.into_iter().map(|one| one.differences).collect();
    assert!(
        differences.is_empty(),
        "nats-server, then Midge:\n{differences}"
    );
    say(&format!(
        "{answered} visits over TLS or beside it answered and {refused} refused by both"
    ));
    assert!(answered >= AT_LEAST && refused >= AT_LEAST);
}
