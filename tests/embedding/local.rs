//! The client that needs no socket and speaks no protocol.

use std::collections::BTreeSet;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use midge::link::internal::{InternalError, Outgoing};
use midge::server::{LocalSubscription, RequestError};
use tokio::time::timeout;

use super::servers::{runtime, start};
use crate::wait::PATIENCE;

async fn next(subscription: &mut LocalSubscription) -> Vec<u8> {
    let message = timeout(PATIENCE, subscription.next()).await;
    message
        .expect("a message in time")
        .expect("a message")
        .payload
}

#[test]
fn it_publishes_and_subscribes_among_clients_of_all_kinds() {
    let runtime = runtime();
    let server = start(&runtime, "");
    let local = server.local_client("$G");
    assert_eq!(local.account(), "$G");
    let mut everything = local.subscribe("a.>", None).unwrap();
    let mut stream = TcpStream::connect(server.client_address()).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut lines = BufReader::new(stream.try_clone().unwrap()).lines();
    let mut line = || lines.next().unwrap().unwrap();
    assert!(line().starts_with("INFO "));
    stream
        .write_all(b"CONNECT {\"verbose\":false,\"headers\":true}\r\nSUB a.b 7\r\nPING\r\n")
        .unwrap();
    assert_eq!(line(), "PONG");

    runtime.block_on(async {
        // To both, its own subscription included.
        assert_eq!(local.publish("a.b", "one").await, Ok(2));
        assert_eq!(local.publish("b", "nobody").await, Ok(0));
        assert_eq!(next(&mut everything).await, b"one");
    });
    assert_eq!(
        (line(), line()),
        ("MSG a.b 7 3".to_owned(), "one".to_owned())
    );
    stream
        .write_all(b"HPUB a.c back 19 21\r\nNATS/1.0\r\nA: bc\r\n\r\nhi\r\n")
        .unwrap();
    let message = runtime.block_on(everything.next()).unwrap();
    assert_eq!(
        (
            message.subject.as_str(),
            message.reply.as_deref(),
            &*message.headers,
            &*message.payload
        ),
        (
            "a.c",
            Some("back"),
            &b"NATS/1.0\r\nA: bc\r\n\r\n"[..],
            &b"hi"[..]
        )
    );
    let with_headers = Outgoing {
        subject: "a.b",
        headers: b"NATS/1.0\r\nD: e\r\n\r\n",
        payload: b"two",
        reply: None,
    };
    assert_eq!(runtime.block_on(local.publish_message(with_headers)), Ok(2));
    assert_eq!(line(), "HMSG a.b 7 18 21");
    everything.unsubscribe();
    assert_eq!(runtime.block_on(local.publish("a.b", "three")), Ok(1));

    let refused = runtime.block_on(local.publish("a.*", ""));
    assert_eq!(refused, Err(InternalError::InvalidSubject));
    let refused = runtime.block_on(local.publish("a", vec![0; 1024 * 1024 + 1]));
    assert_eq!(refused, Err(InternalError::TooLarge));
    assert_eq!(
        local.subscribe("a..b", None).unwrap_err(),
        InternalError::InvalidSubject
    );
    runtime.block_on(server.shutdown());
}

#[test]
fn members_of_a_group_share_and_accounts_are_apart() {
    let runtime = runtime();
    let server = start(&runtime, "accounts { A {}, B {} }");
    let (ours, theirs) = (server.local_client("A"), server.local_client("B"));
    runtime.block_on(async {
        let mut workers: Vec<_> = (0..3)
            .map(|_| ours.subscribe("jobs", Some("workers")).unwrap())
            .collect();
        let mut others = theirs.subscribe("jobs", None).unwrap();
        for job in 0..300_u32 {
            assert_eq!(ours.publish("jobs", job.to_be_bytes()).await, Ok(1));
        }
        assert_eq!(theirs.publish("jobs", "last").await, Ok(1));
        assert_eq!(next(&mut others).await, b"last");
        let mut jobs = BTreeSet::new();
        for worker in &mut workers {
            // What is there is given out without waiting.
            let before = jobs.len();
            while let Ok(message) = timeout(Duration::ZERO, worker.next()).await {
                let job = message.unwrap().payload.try_into().unwrap();
                assert!(jobs.insert(u32::from_be_bytes(job)));
            }
            assert!(jobs.len() > before, "each has had some");
        }
        assert_eq!(jobs, (0..300).collect());
    });
    runtime.block_on(server.shutdown());
}

#[test]
fn requests_are_answered_or_not() {
    let runtime = runtime();
    let server = start(&runtime, "");
    let local = server.local_client("$G");
    let mut service = local.subscribe("double", None).unwrap();
    let serving = runtime.spawn({
        let local = local.clone();
        async move {
            while let Some(request) = service.next().await {
                let number: u64 = String::from_utf8(request.payload).unwrap().parse().unwrap();
                let answer = (2 * number).to_string();
                local
                    .publish(&request.reply.unwrap(), answer)
                    .await
                    .unwrap();
            }
        }
    });
    let _silent = local.subscribe("silent", None).unwrap();
    runtime.block_on(async {
        for number in 0..50_u64 {
            let answer = local.request("double", number.to_string(), PATIENCE).await;
            assert_eq!(answer.unwrap().payload, (2 * number).to_string().as_bytes());
        }
        let nobody = local.request("nobody", "", PATIENCE).await;
        assert_eq!(nobody.unwrap_err(), RequestError::NoResponders);
        let late = local.request("silent", "", Duration::from_millis(20)).await;
        assert_eq!(late.unwrap_err(), RequestError::TimedOut);
        let wrong = local.request("a b", "", PATIENCE).await;
        assert_eq!(
            wrong.unwrap_err(),
            RequestError::Refused(InternalError::InvalidSubject)
        );
        // Requests leave no subscription behind.
        let interest = server.clients().broker.global_account().interest().len();
        assert_eq!(interest, 2);
    });
    // Whoever waits learns of the server's end.
    let waiting = runtime.spawn(async move { local.request("silent", "", PATIENCE).await });
    crate::wait::eventually("the waiting request", || {
        server.clients().broker.global_account().interest().len() == 3
    });
    runtime.block_on(server.shutdown());
    let outcome = runtime.block_on(waiting).unwrap();
    assert_eq!(outcome.unwrap_err(), RequestError::Closed);
    runtime.block_on(serving).unwrap();
}

#[test]
fn whoever_does_not_take_messages_is_cut_off_alone() {
    let runtime = runtime();
    let server = start(&runtime, "max_pending: 2MB");
    let local = server.local_client("$G");
    let mut stuck = local.subscribe("flood", None).unwrap();
    let mut reader = local.subscribe("flood", None).unwrap();
    let payload = vec![b'x'; 50_000];
    runtime.block_on(async {
        let mut rounds = 0;
        while !stuck.is_cut_off() {
            local.publish("flood", &payload).await.unwrap();
            assert_eq!(next(&mut reader).await, payload);
            rounds += 1;
            assert!(rounds < 1000, "more than its limit waits");
        }
        // What it had before it was cut off is its own, and then there is an end.
        let mut taken = 0;
        while let Some(message) = timeout(PATIENCE, stuck.next()).await.unwrap() {
            assert_eq!(message.payload, payload);
            taken += 1;
        }
        assert!(taken < rounds, "{taken} of {rounds}");
        assert_eq!(local.publish("flood", "last").await, Ok(1));
        assert_eq!(next(&mut reader).await, b"last");
    });
    assert_eq!(server.clients().broker.stats.slow_consumers.get(), 1);
    runtime.block_on(server.shutdown());
}

/// Many tasks at once, and nothing is lost, doubled or out of order.
#[test]
fn many_publishers_and_subscribers_run_at_once() {
    const EACH: u32 = 500;
    let runtime = runtime();
    let server = start(&runtime, "");
    let local = server.local_client("$G");
    let readers: Vec<_> = (0..4)
        .map(|_| {
            let mut subscription = local.subscribe("n.*", None).unwrap();
            runtime.spawn(async move {
                let mut following = [0_u32; 4];
                for _ in 0..4 * EACH {
                    let message = timeout(PATIENCE, subscription.next())
                        .await
                        .unwrap()
                        .unwrap();
                    let publisher: usize = message.subject[2..].parse().unwrap();
                    let number = u32::from_be_bytes(message.payload.try_into().unwrap());
                    assert_eq!(number, following[publisher]);
                    following[publisher] += 1;
                }
            })
        })
        .collect();
    let writers: Vec<_> = (0..4)
        .map(|publisher| {
            let local = local.clone();
            runtime.spawn(async move {
                for number in 0..EACH {
                    let subject = format!("n.{publisher}");
                    let reached = local.publish(&subject, number.to_be_bytes()).await;
                    assert_eq!(reached, Ok(4));
                }
            })
        })
        .collect();
    for task in writers.into_iter().chain(readers) {
        runtime.block_on(task).unwrap();
    }
    runtime.block_on(server.shutdown());
}
