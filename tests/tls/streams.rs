//! Established connections: bytes in both directions, back-pressure, ends.

use std::io::{IoSlice, Read as _, Write as _};

use midge::conn::transport::Sender as _;
use midge::tls::{TlsReadHalf, TlsWriteHalf};
use rustls::version::{TLS12, TLS13};
use tokio::io::AsyncReadExt as _;

use super::support::{Client, PATIENCE, Server, Site, blocking, serve_options};

/// Bytes that repeat nowhere near each other: the numbers from 0 on, four bytes each.
fn pattern(length: usize) -> Vec<u8> {
    (0_u32..).flat_map(u32::to_be_bytes).take(length).collect()
}

async fn accept(server: &mut Server) -> (TlsReadHalf, TlsWriteHalf) {
    server.next().await.unwrap().split()
}

/// Writes all, in slices of odd lengths, offering again what was not taken, as the server's outbound does.
async fn write_all(write: &TlsWriteHalf, bytes: &[u8]) {
    let mut rest = bytes;
    while !rest.is_empty() {
        let (first, second) = rest.split_at(rest.len() / 3);
        let (second, third) = second.split_at(second.len() / 2);
        match write.try_write(&[first, second, third].map(IoSlice::new)) {
            Ok(written) => rest = &rest[written..],
            Err(error) => {
                assert_eq!(error.kind(), std::io::ErrorKind::WouldBlock);
                std::future::poll_fn(|context| write.poll_writable(context))
                    .await
                    .unwrap();
            }
        }
    }
}

async fn shut_down(mut write: TlsWriteHalf) {
    std::future::poll_fn(|context| write.poll_shutdown(context))
        .await
        .unwrap();
}

#[tokio::test]
async fn bytes_go_both_ways() {
    const LENGTH: usize = 3 * 1024 * 1024;
    let site = Site::new();
    let mut server = serve_options(site.options()).await;
    for version in [&TLS12, &TLS13] {
        let (address, config) = (server.address, site.client().version(version).config());
        let client = tokio::spawn(blocking(move || {
            let mut client = Client::new(address, config);
            client.handshake().unwrap();
            client.write(&pattern(LENGTH)).unwrap();
            client.read(LENGTH).unwrap()
        }));
        let (mut read, write) = accept(&mut server).await;
        let mut received = vec![0; LENGTH];
        tokio::time::timeout(PATIENCE, read.read_exact(&mut received))
            .await
            .unwrap()
            .unwrap();
        assert!(received == pattern(LENGTH));
        write_all(&write, &received).await;
        assert!(client.await.unwrap() == pattern(LENGTH));
    }
}

#[tokio::test]
async fn a_reader_with_little_room_loses_nothing() {
    let site = Site::new();
    let mut server = serve_options(site.options()).await;
    let (address, config) = (server.address, site.client().config());
    let client = tokio::spawn(blocking(move || {
        let mut client = Client::new(address, config);
        client.handshake().unwrap();
        client.write(&pattern(100_000)).unwrap();
        client.session.send_close_notify();
        client.write(b"").unwrap();
        // Kept open: a socket that closes with bytes unread takes those back that it sent.
        client
    }));
    let (mut read, _write) = accept(&mut server).await;
    let mut received = Vec::new();
    let mut room = [0; 7];
    loop {
        let count = tokio::time::timeout(PATIENCE, read.read(&mut room))
            .await
            .unwrap()
            .unwrap();
        if count == 0 {
            break;
        }
        received.extend_from_slice(&room[..count]);
    }
    assert!(received == pattern(100_000));
    drop(client.await.unwrap());
}

#[tokio::test]
async fn what_comes_with_the_handshake_is_not_lost() {
    let site = Site::new();
    let mut server = serve_options(site.options()).await;
    let (address, config) = (server.address, site.client().config());
    let _client = blocking(move || {
        let mut client = Client::new(address, config);
        // Kept by the session and sent together with the end of the handshake.
        client.session.writer().write_all(&pattern(40_000)).unwrap();
        client.handshake().unwrap();
        client.write(b"and more").unwrap();
        client
    })
    .await;
    let (mut read, _write) = accept(&mut server).await;
    let mut received = vec![0; 40_008];
    tokio::time::timeout(PATIENCE, read.read_exact(&mut received))
        .await
        .unwrap()
        .unwrap();
    assert!(received[..40_000] == pattern(40_000) && received[40_000..] == *b"and more");
}

#[tokio::test]
async fn a_peer_that_does_not_read_blocks_nobody() {
    let site = Site::new();
    let mut server = serve_options(site.options()).await;
    let (address, config) = (server.address, site.client().config());
    let mut client = blocking(move || {
        let mut client = Client::new(address, config);
        client.handshake().unwrap();
        client
    })
    .await;
    let (_read, write) = accept(&mut server).await;
    let chunk = pattern(1_000_000);
    let (mut written, mut blocked) = (0, 0);
    let all = chunk.repeat(30);
    while blocked < 3 {
        match write.try_write(&[IoSlice::new(&all[written..])]) {
            Ok(count) => written += count,
            Err(error) => {
                assert_eq!(error.kind(), std::io::ErrorKind::WouldBlock);
                blocked += 1;
            }
        }
        assert!(written < all.len(), "the socket takes everything");
    }
    let expected = all.clone();
    let client = tokio::spawn(blocking(move || {
        client.read(expected.len()).unwrap() == expected
    }));
    write_all(&write, &all[written..]).await;
    assert!(
        client.await.unwrap(),
        "nothing is sent twice, nothing is left out"
    );
}

#[tokio::test]
async fn the_end_is_announced() {
    let site = Site::new();
    let mut server = serve_options(site.options()).await;
    for version in [&TLS12, &TLS13] {
        let (address, config) = (server.address, site.client().version(version).config());
        let client = tokio::spawn(blocking(move || {
            let mut client = Client::new(address, config);
            client.handshake().unwrap();
            let mut received = Vec::new();
            // Fails unless the end is announced: it could be an attacker's.
            rustls::Stream::new(&mut client.session, &mut client.socket)
                .read_to_end(&mut received)
                .unwrap();
            received
        }));
        let (_read, write) = accept(&mut server).await;
        write_all(&write, b"last words").await;
        shut_down(write).await;
        assert_eq!(client.await.unwrap(), b"last words");
    }
}

#[tokio::test]
async fn a_cut_connection_ends_the_reading() {
    let site = Site::new();
    let mut server = serve_options(site.options()).await;
    let (address, config) = (server.address, site.client().config());
    let client = blocking(move || {
        let mut client = Client::new(address, config);
        client.handshake().unwrap();
        client.write(b"x").unwrap();
        client
    })
    .await;
    let (mut read, _write) = accept(&mut server).await;
    let mut room = [0; 10];
    assert_eq!(read.read(&mut room).await.unwrap(), 1);
    drop(client);
    let end = tokio::time::timeout(PATIENCE, read.read(&mut room))
        .await
        .unwrap();
    assert!(end.map_or(true, |count| count == 0));
}

#[tokio::test]
async fn a_broken_record_is_an_error_and_told() {
    let site = Site::new();
    let mut server = serve_options(site.options()).await;
    let (address, config) = (server.address, site.client().config());
    let mut client = blocking(move || {
        let mut client = Client::new(address, config);
        client.handshake().unwrap();
        client.write(b"x").unwrap();
        client
    })
    .await;
    let (mut read, write) = accept(&mut server).await;
    let mut room = [0; 10];
    assert_eq!(read.read(&mut room).await.unwrap(), 1);
    // A record of application data with a length and no seal.
    client.socket.write_all(&[23, 3, 3, 0, 20]).unwrap();
    client.socket.write_all(&[0; 20]).unwrap();
    let error = tokio::time::timeout(PATIENCE, read.read(&mut room))
        .await
        .unwrap()
        .unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::InvalidData);
    shut_down(write).await;
    let told = blocking(move || client.read(1).unwrap_err().to_string()).await;
    assert!(told.contains("BadRecordMac"), "{told}");
}
