//! Records that no decent client sends, after a handshake that was in order.

use std::io::{IoSlice, Read as _, Write as _};
use std::net::TcpStream;

use midge::conn::transport::Sender as _;
use ring::aead::{AES_128_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use rustls::version::TLS13;
use rustls::{CipherSuite, ConnectionTrafficSecrets};
use tokio::io::AsyncReadExt as _;

use super::client::eventually;
use super::clients::block;
use super::midge::Process;
use super::support::{Client, PATIENCE, Site, blocking, serve_options};

const HANDSHAKE: u8 = 22;
const APPLICATION: u8 = 23;
/// The first half of a `KeyUpdate` (RFC 8446, section 4.6.3).
const HALF_A_KEY_UPDATE: &[u8] = &[24, 0];

/// A client whose handshake is done and whose records are made by hand.
struct Forger {
    socket: TcpStream,
    key: LessSafeKey,
    iv: [u8; 12],
    sequence: u64,
}

impl Forger {
    fn connect(address: std::net::SocketAddr, site: &Site, reads_info: bool) -> Self {
        let suite = CipherSuite::TLS13_AES_128_GCM_SHA256;
        let config = site.client().version(&TLS13).suite(suite).config();
        let socket = TcpStream::connect(address).unwrap();
        if reads_info {
            let mut byte = [0];
            while byte != *b"\n" {
                (&socket).read_exact(&mut byte).unwrap();
            }
        }
        let mut client = Client::over(socket, config, "localhost");
        client.handshake().unwrap();
        let Client { session, socket } = client;
        let (sequence, secrets) = session.dangerous_extract_secrets().unwrap().tx;
        let ConnectionTrafficSecrets::Aes128Gcm { key, iv } = secrets else {
            panic!("another suite");
        };
        Self {
            socket,
            key: LessSafeKey::new(UnboundKey::new(&AES_128_GCM, key.as_ref()).unwrap()),
            iv: iv.as_ref().try_into().unwrap(),
            sequence,
        }
    }

    /// Sends one record (RFC 8446, sections 5.2 and 5.3).
    fn send(&mut self, kind: u8, plain: &[u8]) {
        let mut nonce = self.iv;
        for (place, byte) in nonce[4..].iter_mut().zip(self.sequence.to_be_bytes()) {
            *place ^= byte;
        }
        self.sequence += 1;
        let mut inner = [plain, &[kind]].concat();
        let length = u16::try_from(inner.len() + AES_128_GCM.tag_len()).unwrap();
        let header = [&[APPLICATION, 3, 3], &length.to_be_bytes()[..]].concat();
        let nonce = Nonce::assume_unique_for_key(nonce);
        self.key
            .seal_in_place_append_tag(nonce, Aad::from(&header), &mut inner)
            .unwrap();
        self.socket.write_all(&[header, inner].concat()).unwrap();
    }
}

/// The library keeps places in the bytes that it was given last. Asked to seal with other bytes at hand, it would
/// panic: anybody could have ended the server.
#[tokio::test]
async fn half_a_handshake_message_does_not_keep_the_server_from_writing() {
    let site = Site::new();
    let mut server = serve_options(site.options()).await;
    let address = server.address;
    let client = tokio::spawn(blocking(move || {
        let mut forger = Forger::connect(address, &site, false);
        forger.send(APPLICATION, b"hello");
        for byte in HALF_A_KEY_UPDATE {
            forger.send(HANDSHAKE, &[*byte]);
        }
        forger
    }));
    let (mut read, mut write) = server.next().await.unwrap().split();
    let mut hello = [0; 5];
    tokio::time::timeout(PATIENCE, read.read_exact(&mut hello))
        .await
        .unwrap()
        .unwrap();
    let mut forger = client.await.unwrap();
    // The halves are taken in by reads that bring nothing.
    let nothing = tokio::time::timeout(std::time::Duration::from_millis(200), read.read_u8());
    assert!(nothing.await.is_err());
    for _ in 0..3 {
        assert_eq!(
            write
                .try_write(&[IoSlice::new(b"a"), IoSlice::new(b"b")])
                .unwrap(),
            2
        );
    }
    // Something else in the middle of a message is a mistake, after which nothing is sealed any more.
    forger.send(APPLICATION, b"interleaved");
    let failed = tokio::time::timeout(PATIENCE, read.read_u8())
        .await
        .unwrap();
    assert_eq!(failed.unwrap_err().kind(), std::io::ErrorKind::InvalidData);
    assert!(write.try_write(&[IoSlice::new(b"c")]).is_err());
    assert!(read.read_u8().await.is_err());
    let _ends_in_whatever_way = std::future::poll_fn(|context| write.poll_shutdown(context)).await;
}

/// The same against the whole server, which pings and answers in the middle of the message.
#[test]
fn the_whole_server_outlives_such_clients() {
    let site = Site::new();
    let rest = "ping_interval: 100ms, ping_max: 1";
    let mut server = Process::start(&block(&site, "", rest));
    let mut forgers: Vec<Forger> = (0..6)
        .map(|number| {
            let mut forger = Forger::connect(server.address, &site, true);
            forger.send(APPLICATION, b"CONNECT {\"verbose\":true}\r\nPING\r\n");
            for byte in HALF_A_KEY_UPDATE {
                forger.send(HANDSHAKE, &[*byte]);
            }
            if number % 2 == 0 {
                forger.send(APPLICATION, b"PING\r\n");
            }
            forger
        })
        .collect();
    for forger in &mut forgers {
        forger.socket.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut answers = Vec::new();
        let _reset_is_an_end = forger.socket.read_to_end(&mut answers);
        assert!(!answers.is_empty());
    }
    assert!(server.is_running(), "it ended");
    eventually("another client's turn", || {
        let (_, mut client) = super::clients::upgrade(&server, site.client().config());
        client
            .write(b"CONNECT {\"verbose\":false}\r\nPING\r\n")
            .unwrap();
        client.line() == "PONG"
    });
    let panicked = server.log().iter().any(|line| line.contains("panicked"));
    assert!(!panicked, "it panicked");
}
