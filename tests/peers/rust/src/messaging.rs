//! Checks of messages: who gets them, in which order, and whole.

use std::time::Duration;

use async_nats::{
    Client, ConnectOptions, HeaderMap, PublishErrorKind, Request, RequestErrorKind, Subscriber,
};
use futures_util::future::try_join_all;
use tokio::time::timeout;

use crate::checks::{Outcome, expect, expect_equal};
use crate::client::{
    barrier, distinct, noticed, numbers, open, publish_all, receive, respond, setting, settle,
    texts, waiting,
};

pub async fn publish_subscribe() -> Outcome {
    let (receiver, sender) = (open().await?, open().await?);
    let mut subscriber = receiver.subscribe("greet.joe").await?;
    barrier(&receiver).await?;
    sender.publish("greet.joe", "hello".into()).await?;
    let message = receive(&mut subscriber).await?;
    expect_equal(message.subject.as_str(), "greet.joe", "subject")?;
    expect_equal(&message.payload[..], &b"hello"[..], "payload")?;
    expect_equal(message.reply, None, "reply subject of a message without")?;
    sender
        .publish_with_reply("greet.joe", "answers.here", "again".into())
        .await?;
    let reply = receive(&mut subscriber).await?.reply;
    expect_equal(reply.as_deref(), Some("answers.here"), "reply subject")?;
    settle(&sender, &[&receiver]).await?;
    expect_equal(waiting(&mut subscriber).await.len(), 0, "messages left")
}

pub async fn payload_bytes() -> Outcome {
    let every: Vec<u8> = (0..=u8::MAX).cycle().take(1280).collect();
    let sent: [&[u8]; 6] = [
        b"",
        b"\r\n",
        b"+OK\r\nPING\r\nMSG a 1 0\r\n",
        "grüße 🐘".as_bytes(),
        b"\0",
        &every,
    ];
    let (receiver, sender) = (open().await?, open().await?);
    let mut subscriber = receiver.subscribe("bytes").await?;
    barrier(&receiver).await?;
    for payload in sent {
        sender.publish("bytes", payload.to_vec().into()).await?;
    }
    for payload in sent {
        expect_equal(
            &receive(&mut subscriber).await?.payload[..],
            payload,
            "payload",
        )?;
    }
    Ok(())
}

pub async fn order() -> Outcome {
    let sent = numbers(20_000);
    let (receiver, sender) = (open().await?, open().await?);
    let mut subscriber = receiver.subscribe("order").await?;
    barrier(&receiver).await?;
    publish_all(&sender, "order", &sent).await?;
    expect(
        texts(&mut subscriber, sent.len()).await? == sent,
        "messages out of order",
    )?;
    settle(&sender, &[&receiver]).await?;
    expect_equal(waiting(&mut subscriber).await.len(), 0, "messages left")
}

pub async fn request() -> Outcome {
    let (responder, requester) = (open().await?, open().await?);
    respond(&responder, "shout").await?;
    let reply = requester.request("shout", "help me".into()).await?;
    expect_equal(&reply.payload[..], &b"HELP ME"[..], "reply")
}

pub async fn requests_in_flight() -> Outcome {
    let (responder, requester) = (open().await?, open().await?);
    respond(&responder, "many").await?;
    let requests = numbers(500)
        .into_iter()
        .map(|number| requester.request("many", format!("n{number}").into()));
    let replies = try_join_all(requests).await?;
    let wanted: Vec<String> = numbers(500)
        .iter()
        .map(|number| format!("N{number}"))
        .collect();
    let got: Vec<_> = replies
        .iter()
        .map(|reply| String::from_utf8_lossy(&reply.payload))
        .collect();
    expect_equal(got, wanted, "replies")
}

pub async fn request_own_inbox() -> Outcome {
    let (responder, requester) = (open().await?, open().await?);
    respond(&responder, "own").await?;
    for number in numbers(20) {
        let request = Request::new()
            .inbox(requester.new_inbox())
            .payload(format!("o{number}").into());
        let reply = requester.send_request("own", request).await?;
        expect_equal(&reply.payload[..], format!("O{number}").as_bytes(), "reply")?;
    }
    Ok(())
}

pub async fn no_responders() -> Outcome {
    let requester = open().await?;
    let patient = || Request::new().timeout(Some(Duration::from_secs(20)));
    for request in [patient(), patient().inbox(requester.new_inbox())] {
        // The server answers at once; the client's own patience ends later than this.
        let answer = timeout(
            Duration::from_secs(10),
            requester.send_request("nobody.listens", request),
        );
        match answer.await? {
            Err(error) => expect_equal(error.kind(), RequestErrorKind::NoResponders, "error")?,
            Ok(_) => return Err("a reply came from nowhere".into()),
        }
    }
    Ok(())
}

pub async fn headers() -> Outcome {
    let mut sent = HeaderMap::new();
    sent.insert("Kind", "greeting");
    sent.append("Many", "one");
    sent.append("Many", "two");
    sent.insert("Colon", "a: b:c");
    let (receiver, sender) = (open().await?, open().await?);
    let mut subscriber = receiver.subscribe("headers").await?;
    barrier(&receiver).await?;
    for payload in ["with a body", ""] {
        sender
            .publish_with_headers("headers", sent.clone(), payload.into())
            .await?;
        let message = receive(&mut subscriber).await?;
        expect_equal(&message.payload[..], payload.as_bytes(), "payload")?;
        expect_equal(message.headers.as_ref(), Some(&sent), "headers")?;
    }
    sender.publish("headers", "bare".into()).await?;
    expect_equal(
        receive(&mut subscriber).await?.headers,
        None,
        "headers of a message without",
    )
}

pub async fn headers_request() -> Outcome {
    let (responder, requester) = (open().await?, open().await?);
    respond(&responder, "echo.headers").await?;
    let mut sent = HeaderMap::new();
    sent.insert("Id", "42");
    let reply = requester
        .request_with_headers("echo.headers", sent.clone(), "x".into())
        .await?;
    expect_equal(&reply.payload[..], &b"X"[..], "reply")?;
    expect_equal(reply.headers, Some(sent), "headers of the reply")
}

pub async fn queue_group_spread() -> Outcome {
    let total = 3000;
    let sender = open().await?;
    let members = [open().await?, open().await?, open().await?];
    let mut shares = Vec::new();
    for member in &members {
        shares.push(member.queue_subscribe("work", "workers".to_owned()).await?);
        barrier(member).await?;
    }
    publish_all(&sender, "work", &numbers(total)).await?;
    settle(&sender, &members.each_ref()).await?;
    let (mut counts, mut got) = (Vec::new(), Vec::new());
    for share in &mut shares {
        let messages = waiting(share).await;
        counts.push(messages.len());
        got.extend(
            messages
                .iter()
                .map(|message| String::from_utf8_lossy(&message.payload).into_owned()),
        );
    }
    expect_equal(
        (got.len(), distinct(&got)),
        (total, total),
        "messages taken in all, and different ones",
    )?;
    let smallest = counts.iter().copied().min().unwrap_or_default();
    expect(
        smallest * 10 > total / 3 * 8,
        &format!("uneven shares: {counts:?}"),
    )
}

pub async fn queue_group_each() -> Outcome {
    let (receiver, sender) = (open().await?, open().await?);
    let mut counts = Vec::new();
    let mut subscribers: Vec<Subscriber> = Vec::new();
    for (subject, group) in [
        ("jobs.*", "red"),
        ("jobs.*", "red"),
        ("jobs.new", "blue"),
        ("jobs.new", "blue"),
    ] {
        subscribers.push(receiver.queue_subscribe(subject, group.to_owned()).await?);
    }
    subscribers.push(receiver.subscribe("jobs.>").await?);
    barrier(&receiver).await?;
    publish_all(&sender, "jobs.new", &numbers(100)).await?;
    settle(&sender, &[&receiver]).await?;
    for subscriber in &mut subscribers {
        counts.push(waiting(subscriber).await.len());
    }
    let (red, blue) = (counts[0] + counts[1], counts[2] + counts[3]);
    expect_equal(
        (red, blue, counts[4]),
        (100, 100, 100),
        "messages for red, blue and the plain one",
    )
}

/// Publishes to a queue group of which one member is left.
async fn expect_all_for_one(staying: &mut Subscriber, sender: &Client) -> Outcome {
    publish_all(sender, "shift", &numbers(100)).await?;
    expect_equal(
        texts(staying, 100).await?,
        numbers(100),
        "messages of the member that stays",
    )
}

pub async fn queue_group_member_leaves() -> Outcome {
    let (stays, leaves, sender) = (open().await?, open().await?, open().await?);
    let mut staying = stays.queue_subscribe("shift", "crew".to_owned()).await?;
    let mut leaving = leaves.queue_subscribe("shift", "crew".to_owned()).await?;
    barrier(&stays).await?;
    barrier(&leaves).await?;
    leaving.unsubscribe().await?;
    barrier(&leaves).await?;
    expect_all_for_one(&mut staying, &sender).await
}

pub async fn queue_group_member_dies() -> Outcome {
    let (stays, dies, sender) = (open().await?, open().await?, open().await?);
    let mut staying = stays.queue_subscribe("shift", "crew".to_owned()).await?;
    let leaving = dies.queue_subscribe("shift", "crew".to_owned()).await?;
    respond(&dies, "still.alive").await?;
    barrier(&stays).await?;
    dies.drain().await?;
    drop((leaving, dies));
    noticed(&sender, "still.alive").await?;
    expect_all_for_one(&mut staying, &sender).await
}

pub async fn same_subject_twice() -> Outcome {
    let (receiver, sender) = (open().await?, open().await?);
    let mut copies = [
        receiver.subscribe("twice").await?,
        receiver.subscribe("twice").await?,
        receiver.subscribe("twice").await?,
    ];
    barrier(&receiver).await?;
    sender.publish("twice", "x".into()).await?;
    settle(&sender, &[&receiver]).await?;
    for copy in &mut copies {
        expect_equal(waiting(copy).await.len(), 1, "copies of the message")?;
    }
    Ok(())
}

pub async fn many_subjects() -> Outcome {
    let (receiver, sender) = (open().await?, open().await?);
    let mut subscribers = Vec::new();
    for number in numbers(5000) {
        subscribers.push(receiver.subscribe(format!("many.{number}.subject")).await?);
    }
    let mut everything = receiver.subscribe("many.*.subject").await?;
    barrier(&receiver).await?;
    for number in numbers(5000) {
        sender
            .publish(format!("many.{number}.subject"), number.into())
            .await?;
    }
    expect_equal(
        texts(&mut everything, 5000).await?,
        numbers(5000),
        "messages for the wildcard",
    )?;
    settle(&sender, &[&receiver]).await?;
    for (subscriber, number) in subscribers.iter_mut().zip(numbers(5000)) {
        let messages = waiting(subscriber).await;
        expect_equal(messages.len(), 1, "messages of one subject")?;
        expect_equal(&messages[0].payload[..], number.as_bytes(), "payload")?;
    }
    Ok(())
}

pub async fn many_connections() -> Outcome {
    let sender = open().await?;
    let receivers = try_join_all((0..50).map(|_| open())).await?;
    let mut subscribers = Vec::new();
    for receiver in &receivers {
        subscribers.push(receiver.subscribe("to.all").await?);
        barrier(receiver).await?;
    }
    publish_all(&sender, "to.all", &numbers(20)).await?;
    for subscriber in &mut subscribers {
        expect_equal(
            texts(subscriber, 20).await?,
            numbers(20),
            "messages of one connection",
        )?;
    }
    let ids: Vec<String> = receivers
        .iter()
        .map(|client| client.server_info().client_id.to_string())
        .collect();
    expect_equal(distinct(&ids), 50, "different client ids")
}

/// Publishes to these subjects and compares what each subscription gets.
async fn expect_subjects(
    published: &[&'static str],
    wanted: &[(&'static str, &[&str])],
) -> Outcome {
    let (receiver, sender) = (open().await?, open().await?);
    let mut subscribers = Vec::new();
    for (filter, _) in wanted {
        subscribers.push(receiver.subscribe(*filter).await?);
    }
    barrier(&receiver).await?;
    for subject in published {
        sender.publish(*subject, "x".into()).await?;
    }
    settle(&sender, &[&receiver]).await?;
    for (subscriber, (filter, subjects)) in subscribers.iter_mut().zip(wanted) {
        let messages = waiting(subscriber).await;
        let got: Vec<&str> = messages
            .iter()
            .map(|message| message.subject.as_str())
            .collect();
        expect_equal(got, *subjects, filter)?;
    }
    Ok(())
}

pub async fn wildcards() -> Outcome {
    let published = ["w", "w.a", "w.a.c", "w.b.c", "w.b.d.e", "v.w.a"];
    expect_subjects(
        &published,
        &[
            ("w.*", &["w.a"]),
            ("w.*.c", &["w.a.c", "w.b.c"]),
            ("w.>", &["w.a", "w.a.c", "w.b.c", "w.b.d.e"]),
            ("*.b.*", &["w.b.c"]),
            ("*.*.*.e", &["w.b.d.e"]),
            ("w.a.c", &["w.a.c"]),
            ("W.a", &[]),
            ("w.*.c.>", &[]),
        ],
    )
    .await
}

pub async fn wildcards_overlapping() -> Outcome {
    let filters = [
        "over.lap.x",
        "over.*.x",
        "over.lap.*",
        "over.>",
        "*.*.*",
        "*.lap.>",
    ];
    let wanted = filters.map(|filter| (filter, &["over.lap.x"][..]));
    expect_subjects(&["over.lap.x"], &wanted).await
}

pub async fn largest_payload() -> Outcome {
    let (receiver, sender) = (open().await?, open().await?);
    let mut subscriber = receiver.subscribe("large").await?;
    barrier(&receiver).await?;
    let largest = sender.max_payload();
    expect_equal(largest, 1024 * 1024, "max_payload of the server")?;
    for size in [4095, 4096, 65_535, 65_536, 65_537, largest - 1, largest] {
        let payload: Vec<u8> = b"0123456789abcde"
            .iter()
            .copied()
            .cycle()
            .take(size)
            .collect();
        sender.publish("large", payload.clone().into()).await?;
        let received = receive(&mut subscriber).await?.payload;
        expect(received == payload, &format!("payload of {size} bytes"))?;
    }
    Ok(())
}

pub async fn payload_too_large() -> Outcome {
    let sender = open().await?;
    let payload = vec![b'x'; sender.max_payload() + 1];
    match sender.publish("large", payload.into()).await {
        Err(error) => expect_equal(error.kind(), PublishErrorKind::MaxPayloadExceeded, "error")?,
        Ok(()) => return Err("a payload over max_payload was accepted".into()),
    }
    barrier(&sender).await
}

pub async fn flush() -> Outcome {
    let (receiver, sender) = (open().await?, open().await?);
    let mut subscriber = receiver.subscribe("flushed").await?;
    barrier(&receiver).await?;
    for _ in 0..100 {
        sender.publish("flushed", "0123456789".into()).await?;
        sender.flush().await?;
        receive(&mut subscriber).await?;
    }
    Ok(())
}

pub async fn echo_on() -> Outcome {
    let client = open().await?;
    let mut subscriber = client.subscribe("echo").await?;
    client.publish("echo", "me".into()).await?;
    expect_equal(texts(&mut subscriber, 1).await?, ["me"], "own message")
}

pub async fn echo_off() -> Outcome {
    let silent = ConnectOptions::new()
        .no_echo()
        .connect(setting("NATS_URL"))
        .await?;
    let (other, judge) = (open().await?, open().await?);
    let mut own = silent.subscribe("no.echo").await?;
    let mut group = silent
        .queue_subscribe("no.echo", "group".to_owned())
        .await?;
    let mut outside = judge.subscribe("no.echo").await?;
    barrier(&judge).await?;
    // Others get the messages, so the server has handled them and the subscriptions before them.
    publish_all(&silent, "no.echo", &numbers(10)).await?;
    expect_equal(
        texts(&mut outside, 10).await?,
        numbers(10),
        "messages for others",
    )?;
    other.publish("no.echo", "theirs".into()).await?;
    expect_equal(
        texts(&mut own, 1).await?,
        ["theirs"],
        "message of the other connection",
    )?;
    expect_equal(
        texts(&mut group, 1).await?,
        ["theirs"],
        "message for the group",
    )?;
    expect_equal(
        waiting(&mut own).await.len() + waiting(&mut group).await.len(),
        0,
        "messages left",
    )
}

pub async fn statistics() -> Outcome {
    let (receiver, sender) = (open().await?, open().await?);
    let mut subscriber = receiver.subscribe("counted").await?;
    barrier(&receiver).await?;
    let before = received(&receiver);
    publish_all(&sender, "counted", &numbers(10)).await?;
    texts(&mut subscriber, 10).await?;
    expect_equal(
        received(&receiver) - before,
        10,
        "messages counted by the client",
    )
}

/// How many messages the server has sent to this connection.
pub fn received(client: &Client) -> u64 {
    client
        .statistics()
        .in_messages
        .load(std::sync::atomic::Ordering::Relaxed)
}
