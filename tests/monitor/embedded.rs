//! Connections within the process of a server that is embedded.

use std::time::{Duration, Instant};

use midge::config::Options;
use midge::link::internal::{InternalError, Message, Outgoing};
use midge::server::{Server, ServerOptions};

use crate::servers::Client;

async fn server() -> Server {
    let options = Options {
        host: "127.0.0.1".to_owned(),
        port: 0,
        ..Options::default()
    };
    let options = ServerOptions::from_config(&options).unwrap();
    Server::start(options).await.unwrap()
}

fn outgoing<'a>(subject: &'a str, payload: &'a [u8]) -> Outgoing<'a> {
    Outgoing {
        subject,
        payload,
        ..Outgoing::default()
    }
}

/// The next message, which must come soon.
async fn next(connection: &midge::link::internal::InternalConnection) -> Message {
    let message = tokio::time::timeout(Duration::from_secs(20), connection.next()).await;
    message.unwrap().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn it_serves_requests_of_clients() {
    let server = server().await;
    let service = server.connect_within("$G");
    let number = service.subscribe("service.*", Some("workers")).unwrap();
    let address = server.client_address();
    let client = tokio::task::spawn_blocking(move || {
        let mut client = Client::connect(address, r#""headers":true,"no_responders":true"#);
        let answer = client.request("service.add", r#"{"a":1}"#);
        assert_eq!(answer["sum"], 3);
        client.send("SUB told 1\r\n");
        client.flush();
        client
    });
    let request = next(&service).await;
    assert_eq!(request.subject, "service.add");
    assert_eq!(request.subscription, number);
    assert_eq!(request.payload, br#"{"a":1}"#);
    let reply = request.reply.unwrap();
    let reached = service.publish(outgoing(&reply, br#"{"sum":3}"#), Instant::now());
    assert_eq!(reached, Ok(1));
    let mut client = client.await.unwrap();
    let with_headers = Outgoing {
        headers: b"NATS/1.0\r\nColor: red\r\n\r\n",
        ..outgoing("told", b"body")
    };
    assert_eq!(service.publish(with_headers, Instant::now()), Ok(1));
    let client = tokio::task::spawn_blocking(move || {
        assert_eq!(client.message(), ("told".to_owned(), b"body".to_vec()));
        assert!(client.last_header().contains("Color: red"));
        client.send("HPUB service.x 22 24\r\nNATS/1.0\r\nA: b\r\nC:\r\n\r\nhi\r\n");
        client.flush();
        client
    });
    let message = next(&service).await;
    assert_eq!(message.payload, b"hi");
    assert_eq!(message.headers, b"NATS/1.0\r\nA: b\r\nC:\r\n\r\n");
    service.unsubscribe(number);
    drop(client.await.unwrap());
    assert_eq!(service.publish(outgoing("service.x", b""), Instant::now()), Ok(0));
    server.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backlog_is_kept_in_order_and_own_messages_do_not_come_back() {
    let server = server().await;
    let (one, other) = (server.connect_within("$G"), server.connect_within("$G"));
    one.subscribe("numbers", None).unwrap();
    one.subscribe(">", None).unwrap();
    let elsewhere = server.connect_within("ELSEWHERE");
    elsewhere.subscribe(">", None).unwrap();
    // More than the pipe holds before anybody reads.
    let padding = vec![b'.'; 1000];
    for number in 0..5000_u32 {
        let payload = [&number.to_be_bytes()[..], &padding].concat();
        assert_eq!(other.publish(outgoing("numbers", &payload), Instant::now()), Ok(2));
    }
    assert_eq!(one.publish(outgoing("numbers", b"own"), Instant::now()), Ok(0));
    for number in 0..5000_u32 {
        for _ in 0..2 {
            let message = next(&one).await;
            assert_eq!(message.payload[..4], number.to_be_bytes());
        }
    }
    assert!(!one.is_closed());
    drop(one);
    assert_eq!(other.publish(outgoing("numbers", b""), Instant::now()), Ok(0));
    server.shutdown().await;
}

#[tokio::test]
async fn mistakes_are_told() {
    let server = server().await;
    let connection = server.connect_within("$G");
    let now = Instant::now();
    for subject in ["", "a..b", "a.*", ">", "a b"] {
        let published = connection.publish(outgoing(subject, b""), now);
        assert_eq!(published, Err(InternalError::InvalidSubject), "{subject:?}");
    }
    for filter in ["", "a..b", ">.a", "a b"] {
        let subscribed = connection.subscribe(filter, None);
        assert_eq!(subscribed, Err(InternalError::InvalidSubject), "{filter:?}");
    }
    let large = vec![0; 1024 * 1024 + 1];
    let published = connection.publish(outgoing("a", &large), now);
    assert_eq!(published, Err(InternalError::TooLarge));
    server.shutdown().await;
}
