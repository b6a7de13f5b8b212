//! The gate under silent, stalling and hostile peers, and under many at once.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::Duration;

use midge::tls::{
    GateLimits, HandshakeError, HandshakeGate, TLS_HANDSHAKE_BYTE, TlsListener, first_byte,
};
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use super::support::{Client, LIMITS, PATIENCE, Server, Site, blocking, now, serve, serve_options};

const SHORT: Duration = Duration::from_millis(200);

async fn impatient(site: &Site, limits: GateLimits) -> Server {
    serve(
        Arc::new(TlsListener::new(site.options()).unwrap()),
        SHORT,
        limits,
    )
    .await
}

/// The first flight of a client, to be sent or not.
fn hello(site: &Site) -> Vec<u8> {
    let name = "localhost".try_into().unwrap();
    let mut session = rustls::ClientConnection::new(site.client().config(), name).unwrap();
    let mut bytes = Vec::new();
    session.write_tls(&mut bytes).unwrap();
    assert_eq!(bytes[0], TLS_HANDSHAKE_BYTE);
    bytes
}

#[tokio::test]
async fn silent_and_stalling_peers_time_out() {
    let site = Site::new();
    let mut server = impatient(&site, LIMITS).await;
    let hello = hello(&site);
    for sent in [&hello[..0], &hello[..1], &hello[..hello.len() - 1], &hello] {
        let mut peer = TcpStream::connect(server.address).unwrap();
        peer.write_all(sent).unwrap();
        let error = server.next().await.unwrap_err();
        assert!(matches!(error, HandshakeError::Timeout), "{error}");
        assert_eq!(error.to_string(), "TLS handshake timeout");
        peer.set_read_timeout(Some(PATIENCE)).unwrap();
        let _reset_is_a_close = blocking(move || peer.read_to_end(&mut Vec::new())).await;
    }
}

#[tokio::test]
async fn peers_that_close_are_let_go() {
    let site = Site::new();
    let mut server = serve_options(site.options()).await;
    let hello = hello(&site);
    for sent in [&hello[..0], &hello[..10], &hello] {
        let mut peer = TcpStream::connect(server.address).unwrap();
        peer.write_all(sent).unwrap();
        drop(peer);
        let error = server.next().await.unwrap_err();
        assert_eq!(error.to_string(), "TLS handshake error: EOF");
    }
}

#[tokio::test]
async fn garbage_is_refused() {
    let site = Site::new();
    let mut server = serve_options(site.options()).await;
    let endless: Vec<u8> = (0..100)
        .flat_map(|_| [&[22, 3, 1, 0x40, 0, 1, 0, 0xff, 0xff][..], &[0; 0x4000 - 4]].concat())
        .collect();
    let mut flipped = hello(&site);
    let middle = flipped.len() / 2;
    flipped[middle..].fill(0xff);
    for sent in [
        b"CONNECT {}\r\n".to_vec(),
        vec![0; 100],
        vec![0x16; 5000],
        flipped,
        endless,
    ] {
        let mut peer = TcpStream::connect(server.address).unwrap();
        peer.set_write_timeout(Some(PATIENCE)).unwrap();
        let writer = tokio::spawn(blocking(move || {
            let _closed_in_the_middle = peer.write_all(&sent);
            peer
        }));
        let error = server.next().await.unwrap_err();
        let known = matches!(
            error,
            HandshakeError::Refused(_) | HandshakeError::TooLong | HandshakeError::Closed
        );
        assert!(known, "{error:?}");
        writer.await.unwrap();
    }
}

/// A hundred times more stalling peers than may have their turn, and one that just wants in.
#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn stalling_peers_do_not_keep_others_out() {
    const STALLING: usize = 400;
    let site = Site::new();
    let listener = Arc::new(TlsListener::new(site.options()).unwrap());
    let limits = GateLimits {
        unfinished: 10 * STALLING,
        ..LIMITS
    };
    let server = serve(listener, PATIENCE, limits).await;
    let hello = hello(&site);
    let mut peers = Vec::new();
    for _ in 0..STALLING {
        let mut peer = TcpStream::connect(server.address).unwrap();
        peer.write_all(&hello).unwrap();
        peers.push(peer);
    }
    let (address, config) = (server.address, site.client().config());
    let started = now();
    blocking(move || Client::new(address, config).handshake().unwrap()).await;
    assert!(started.elapsed() < PATIENCE / 2, "{:?}", started.elapsed());
    drop(peers);
}

/// Of those that send the beginning of a message of 64 KiB and then stall only some are kept.
#[tokio::test]
async fn large_handshakes_are_few_and_keep_nobody_out() {
    const KEPT: usize = 128;
    const TOO_MANY: usize = 60;
    let site = Site::new();
    let listener = Arc::new(TlsListener::new(site.options()).unwrap());
    let limits = GateLimits {
        unfinished: 1000,
        ..LIMITS
    };
    let mut server = serve(listener, PATIENCE, limits).await;
    let record = |first: &[u8]| {
        let mut record = vec![0x16, 3, 1, 0x40, 0];
        record.extend_from_slice(first);
        record.resize(5 + 0x4000, 0);
        record
    };
    // Its length stands behind its type, and its first bytes are a version.
    let large = [record(&[1, 0, 0xff, 0xff, 3, 3]), record(&[])].concat();
    let address = server.address;
    let peers = blocking(move || -> Vec<TcpStream> {
        let connect = |_| {
            let mut peer = TcpStream::connect(address).unwrap();
            peer.write_all(&large).unwrap();
            peer
        };
        (0..KEPT + TOO_MANY).map(connect).collect()
    })
    .await;
    for _ in 0..TOO_MANY {
        let error = server.next().await.unwrap_err();
        assert!(matches!(error, HandshakeError::TooLong), "{error}");
    }
    let config = site.client().config();
    blocking(move || Client::new(address, config).handshake().unwrap()).await;
    server.next().await.unwrap();
    drop(peers);
}

#[tokio::test]
async fn beyond_the_queue_connections_are_refused() {
    const PEERS: usize = 200;
    let site = Site::new();
    let config = TlsListener::new(site.options()).unwrap().current();
    let gate = HandshakeGate::start(GateLimits {
        unfinished: 1,
        queued: 1,
        ..LIMITS
    })
    .unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut peers = Vec::new();
    let mut handshakes = JoinSet::new();
    let gate = Arc::new(gate);
    for _ in 0..PEERS {
        peers.push(TcpStream::connect(listener.local_addr().unwrap()).unwrap());
        let (stream, _) = listener.accept().await.unwrap();
        let (gate, config) = (Arc::clone(&gate), Arc::clone(&config));
        // All are asked for in one go, when this test waits for them.
        handshakes.spawn(async move { gate.handshake(stream, config, SHORT).await });
    }
    let outcomes = handshakes.join_all().await;
    let count = |wanted: fn(&HandshakeError) -> bool| {
        outcomes
            .iter()
            .filter(|outcome| outcome.as_ref().is_err_and(wanted))
            .count()
    };
    let busy = count(|error| matches!(error, HandshakeError::Busy));
    let timed_out = count(|error| matches!(error, HandshakeError::Timeout));
    assert!(
        busy > 0 && timed_out > 0 && busy + timed_out == PEERS,
        "{busy} {timed_out}"
    );
}

#[tokio::test]
async fn many_at_once_all_get_in() {
    const CLIENTS: usize = 200;
    let site = Site::new();
    let mut server = serve_options(site.verifying()).await;
    let identity = site.authority.sign(&["client.example"]);
    let (address, config) = (server.address, site.client().identity(&identity).config());
    let clients = tokio::spawn(blocking(move || {
        let mut clients: Vec<Client> = (0..CLIENTS)
            .map(|_| Client::new(address, config.clone()))
            .collect();
        for client in &mut clients {
            client.session.write_tls(&mut client.socket).unwrap();
        }
        clients
            .iter_mut()
            .for_each(|client| client.handshake().unwrap());
        clients
    }));
    let mut established = Vec::new();
    for _ in 0..CLIENTS {
        established.push(server.next().await.unwrap());
    }
    clients.await.unwrap();
}

#[tokio::test]
async fn the_first_byte_stays_where_it_is() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut peer = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (mut stream, _) = listener.accept().await.unwrap();
    assert_eq!(first_byte(&stream, Duration::from_millis(20)).await, None);
    peer.write_all(b"CONNECT").unwrap();
    for _ in 0..2 {
        assert_eq!(first_byte(&stream, PATIENCE).await, Some(b'C'));
    }
    let mut bytes = [0; 7];
    tokio::io::AsyncReadExt::read_exact(&mut stream, &mut bytes)
        .await
        .unwrap();
    assert_eq!(&bytes, b"CONNECT");
    drop(peer);
    assert_eq!(first_byte(&stream, PATIENCE).await, None);
}
