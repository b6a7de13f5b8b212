//! Clients that speak the protocol over a connection within the process.

use std::io::{BufRead as _, BufReader, ErrorKind, Write as _};
use std::os::unix::net::UnixStream;

use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _};

use super::servers::{runtime, start};
use crate::wait::PATIENCE;

/// A blocking client that has been greeted.
fn client(stream: UnixStream) -> (UnixStream, BufReader<UnixStream>, serde_json::Value) {
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut lines = BufReader::new(stream.try_clone().unwrap());
    let info = line(&mut lines);
    let info = serde_json::from_str(info.strip_prefix("INFO ").unwrap()).unwrap();
    (stream, lines, info)
}

fn line(reader: &mut BufReader<UnixStream>) -> String {
    let mut line = String::new();
    reader.read_line(&mut line).unwrap();
    line.trim_end().to_owned()
}

#[test]
fn it_is_a_connection_like_any_other() {
    let runtime = runtime();
    let server = start(&runtime, "max_connections: 2");
    // Blocking clients need no runtime, and their connections run on the server's.
    let (mut writer, mut lines, info) = client(server.connect_in_process().unwrap());
    assert_eq!(info["server_id"], server.id());
    assert_eq!(info.get("client_ip"), None, "{info}");
    writer
        .write_all(b"CONNECT {\"verbose\":false}\r\nSUB a 1\r\nPING\r\n")
        .unwrap();
    assert_eq!(line(&mut lines), "PONG");

    // An asynchronous one over tokio.
    let stream = server.connect_in_process().unwrap();
    runtime.block_on(async {
        stream.set_nonblocking(true).unwrap();
        let stream = tokio::net::UnixStream::from_std(stream).unwrap();
        let (reader, mut writer) = stream.into_split();
        let mut lines = tokio::io::BufReader::new(reader).lines();
        assert!(
            lines
                .next_line()
                .await
                .unwrap()
                .unwrap()
                .starts_with("INFO ")
        );
        let publish = b"CONNECT {\"verbose\":false}\r\nPUB a 5\r\nhello\r\nPING\r\n";
        writer.write_all(publish).await.unwrap();
        assert_eq!(lines.next_line().await.unwrap().unwrap(), "PONG");
    });
    assert_eq!(line(&mut lines), "MSG a 1 5");
    assert_eq!(line(&mut lines), "hello");

    // It counts: one more than the limit is refused (the one above may not have gone yet).
    let more: Vec<_> = (0..2)
        .map(|_| server.connect_in_process().unwrap())
        .collect();
    let (_writer, mut refused, _) = client(more.into_iter().next_back().unwrap());
    assert_eq!(line(&mut refused), "-ERR 'maximum connections exceeded'");

    runtime.block_on(server.shutdown());
    assert_eq!(line(&mut lines), "", "the server closes it");
    let error = server.connect_in_process().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotConnected);
}

/// The server's own process is a way of its own to connect, as users may be allowed it or not.
#[test]
fn users_may_be_allowed_only_within_the_process() {
    let runtime = runtime();
    let server = start(
        &runtime,
        r#"authorization { users: [
            { user: inner, password: p, allowed_connection_types: [ "IN_PROCESS" ] }
            { user: outer, password: p, allowed_connection_types: [ "STANDARD" ] }
        ] }"#,
    );
    let outcome = |stream: UnixStream, user: &str| {
        let (mut writer, mut lines, info) = client(stream);
        assert_eq!(info["auth_required"], true);
        let connect =
            format!("CONNECT {{\"verbose\":false,\"user\":\"{user}\",\"pass\":\"p\"}}\r\nPING\r\n");
        writer.write_all(connect.as_bytes()).unwrap();
        line(&mut lines)
    };
    let connect = || server.connect_in_process().unwrap();
    assert_eq!(outcome(connect(), "inner"), "PONG");
    let refused = "-ERR 'Authorization Violation'";
    assert_eq!(outcome(connect(), "outer"), refused);
    let mut stream = std::net::TcpStream::connect(server.client_address()).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let connect = b"CONNECT {\"verbose\":false,\"user\":\"inner\",\"pass\":\"p\"}\r\nPING\r\n";
    stream.write_all(connect).unwrap();
    let mut lines = BufReader::new(stream).lines();
    assert!(lines.next().unwrap().unwrap().starts_with("INFO "));
    assert_eq!(lines.next().unwrap().unwrap(), refused);
    runtime.block_on(server.shutdown());
}

/// Nobody listens in between, so that nothing is to be encrypted.
#[test]
fn it_needs_no_tls_where_others_do() {
    let directory = tempfile::tempdir().unwrap();
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let (certificate, key) = (directory.path().join("cert"), directory.path().join("key"));
    std::fs::write(&certificate, made.cert.pem()).unwrap();
    std::fs::write(&key, made.signing_key.serialize_pem()).unwrap();
    let runtime = runtime();
    let tls = format!("tls {{ cert_file: {certificate:?}, key_file: {key:?} }}");
    let server = start(&runtime, &tls);
    let (mut writer, mut lines, info) = client(server.connect_in_process().unwrap());
    assert_eq!(info.get("tls_required"), None, "{info}");
    writer
        .write_all(b"CONNECT {\"verbose\":false}\r\nPING\r\n")
        .unwrap();
    assert_eq!(line(&mut lines), "PONG");
    runtime.block_on(server.shutdown());
}
