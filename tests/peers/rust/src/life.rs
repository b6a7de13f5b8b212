//! Checks of the life of subscriptions and connections: their ends, who is let in, and restarts.

use std::cell::RefCell;
use std::time::Duration;

use async_nats::{Client, ConnectErrorKind, ConnectOptions, Event};
use futures_util::StreamExt;

use crate::checks::{Outcome, control, event, expect, expect_equal};
use crate::client::{
    Events, barrier, numbers, open, publish_all, receive, setting, settle, texts, waiting,
};
use crate::messaging::received;

pub async fn unsubscribe() -> Outcome {
    let (receiver, sender) = (open().await?, open().await?);
    let mut ended = receiver.subscribe("stop").await?;
    let mut other = receiver.subscribe("stop").await?;
    barrier(&receiver).await?;
    sender.publish("stop", "1".into()).await?;
    expect_equal(texts(&mut ended, 1).await?, ["1"], "message before")?;
    ended.unsubscribe().await?;
    barrier(&receiver).await?;
    let before = received(&receiver);
    sender.publish("stop", "2".into()).await?;
    expect_equal(
        texts(&mut other, 2).await?,
        ["1", "2"],
        "messages of the other subscription",
    )?;
    settle(&sender, &[&receiver]).await?;
    // One message, and the two of `settle`.
    expect_equal(
        received(&receiver) - before,
        3,
        "messages that the server sent after the end",
    )
}

pub async fn unsubscribe_after() -> Outcome {
    let (receiver, sender) = (open().await?, open().await?);
    let mut five = receiver.subscribe("five").await?;
    let mut marker = receiver.subscribe("five").await?;
    five.unsubscribe_after(5).await?;
    barrier(&receiver).await?;
    let before = received(&receiver);
    publish_all(&sender, "five", &numbers(12)).await?;
    expect_equal(
        texts(&mut marker, 12).await?,
        numbers(12),
        "messages of the other subscription",
    )?;
    expect_equal(texts(&mut five, 5).await?, numbers(5), "messages")?;
    expect(
        event(five.next(), "the end of the subscription")
            .await?
            .is_none(),
        "a sixth message",
    )?;
    settle(&sender, &[&receiver]).await?;
    expect_equal(
        received(&receiver) - before,
        12 + 5 + 2,
        "messages that the server sent in all",
    )
}

pub async fn unsubscribe_after_passed() -> Outcome {
    let (receiver, sender) = (open().await?, open().await?);
    let mut late = receiver.subscribe("late").await?;
    let mut marker = receiver.subscribe("late").await?;
    barrier(&receiver).await?;
    publish_all(&sender, "late", &numbers(4)).await?;
    texts(&mut marker, 4).await?;
    texts(&mut late, 4).await?;
    // Fewer than have been delivered already: the subscription ends now.
    late.unsubscribe_after(2).await?;
    barrier(&receiver).await?;
    let before = received(&receiver);
    sender.publish("late", "after".into()).await?;
    receive(&mut marker).await?;
    settle(&sender, &[&receiver]).await?;
    expect_equal(
        received(&receiver) - before,
        1 + 2,
        "messages that the server sent after the end",
    )
}

pub async fn drain_subscription() -> Outcome {
    let (receiver, sender) = (open().await?, open().await?);
    let mut subscriber = receiver.subscribe("drain").await?;
    barrier(&receiver).await?;
    publish_all(&sender, "drain", &numbers(500)).await?;
    settle(&sender, &[&receiver]).await?;
    subscriber.drain().await?;
    expect_equal(
        texts(&mut subscriber, 500).await?,
        numbers(500),
        "messages before the drain",
    )?;
    expect(
        event(subscriber.next(), "the end of the drain")
            .await?
            .is_none(),
        "messages left",
    )?;
    let before = received(&receiver);
    sender.publish("drain", "after".into()).await?;
    settle(&sender, &[&receiver]).await?;
    expect_equal(
        received(&receiver) - before,
        2,
        "messages that the server sent after the drain",
    )
}

pub async fn drain_connection() -> Outcome {
    let (options, events) = Events::record(ConnectOptions::new());
    let receiver = options.connect(setting("NATS_URL")).await?;
    let sender = open().await?;
    let mut subscriber = receiver.subscribe("drained").await?;
    let mut answers = sender.subscribe("drained.answers").await?;
    barrier(&receiver).await?;
    barrier(&sender).await?;
    publish_all(&sender, "drained", &numbers(500)).await?;
    settle(&sender, &[&receiver]).await?;
    // Written by the client just before its drain, and to be sent by it.
    for number in numbers(500) {
        receiver.publish("drained.answers", number.into()).await?;
    }
    receiver.drain().await?;
    expect_equal(
        texts(&mut subscriber, 500).await?,
        numbers(500),
        "messages before the drain",
    )?;
    expect(
        event(subscriber.next(), "the end of the drain")
            .await?
            .is_none(),
        "messages left",
    )?;
    events.wait_for(Event::Closed, 1).await?;
    expect_equal(
        texts(&mut answers, 500).await?,
        numbers(500),
        "answers sent before the drain",
    )
}

/// A connection with these options must be let in.
async fn expect_admitted(url: &str, options: ConnectOptions) -> Outcome {
    let client = options.connect(setting(url)).await?;
    let mut subscriber = client.subscribe("private").await?;
    client.publish("private", "x".into()).await?;
    expect_equal(texts(&mut subscriber, 1).await?, ["x"], "message")?;
    expect(client.server_info().auth_required, "auth_required")
}

/// A connection with these options must be refused, with the server's reason.
async fn expect_refused(url: &str, options: ConnectOptions) -> Outcome {
    match options.connect(setting(url)).await {
        Err(error) => expect_equal(
            error.kind(),
            ConnectErrorKind::AuthorizationViolation,
            "error",
        ),
        Ok(_) => Err("the server let somebody in".into()),
    }
}

pub async fn password() -> Outcome {
    let (user, password) = (setting("PEER_USER"), setting("PEER_PASSWORD"));
    expect_admitted(
        "PASSWORD_URL",
        ConnectOptions::with_user_and_password(user, password),
    )
    .await
}

pub async fn password_refused() -> Outcome {
    let (user, password) = (setting("PEER_USER"), setting("PEER_PASSWORD"));
    let with = ConnectOptions::with_user_and_password;
    expect_refused("PASSWORD_URL", with(user, "wrong".to_owned())).await?;
    expect_refused("PASSWORD_URL", with("nobody".to_owned(), password)).await?;
    expect_refused("PASSWORD_URL", ConnectOptions::new()).await
}

pub async fn token() -> Outcome {
    expect_admitted(
        "TOKEN_URL",
        ConnectOptions::with_token(setting("PEER_TOKEN")),
    )
    .await
}

pub async fn token_refused() -> Outcome {
    expect_refused("TOKEN_URL", ConnectOptions::with_token("wrong".to_owned())).await?;
    expect_refused("TOKEN_URL", ConnectOptions::new()).await
}

/// What the client trusts.
fn trusting() -> ConnectOptions {
    ConnectOptions::new()
        .add_root_certificates(setting("CA_FILE").into())
        .require_tls(true)
}

/// More than one record goes there and comes back.
async fn expect_echo(client: &Client) -> Outcome {
    let mut echo = client.subscribe("echo").await?;
    let payload: Vec<u8> = (0..=u8::MAX).cycle().take(100_000).collect();
    client.publish("echo", payload.clone().into()).await?;
    let message = receive(&mut echo).await?;
    expect(message.payload == payload, "the payload comes back")
}

pub async fn tls_certificate() -> Outcome {
    let files = (setting("CERT_FILE").into(), setting("KEY_FILE").into());
    let options = trusting().add_client_certificate(files.0, files.1);
    let client = options.connect(setting("TLS_URL")).await?;
    expect_echo(&client).await
}

pub async fn tls_first() -> Outcome {
    let client = trusting()
        .tls_first()
        .connect(setting("TLS_FIRST_URL"))
        .await?;
    expect_echo(&client).await
}

pub async fn tls_refused() -> Outcome {
    for options in [trusting(), ConnectOptions::new()] {
        let accepted = options.connect(setting("TLS_URL")).await.is_ok();
        expect(!accepted, "the connection is refused")?;
    }
    Ok(())
}

pub async fn server_info() -> Outcome {
    let (client, other) = (open().await?, open().await?);
    let info = client.server_info();
    expect_equal(info.server_name.as_str(), "plain", "server_name")?;
    expect_equal(info.server_id.len(), 56, "length of server_id")?;
    expect(
        info.server_id.starts_with('N'),
        "server_id is a server's public key",
    )?;
    expect(
        info.version.starts_with("2.15."),
        &format!("version {}", info.version),
    )?;
    expect_equal(
        (info.proto, info.headers, info.max_payload),
        (1, true, 1024 * 1024),
        "proto, headers, max_payload",
    )?;
    expect_equal(
        format!("nats://127.0.0.1:{}", info.port),
        setting("NATS_URL"),
        "port",
    )?;
    expect_equal(info.client_ip.as_str(), "127.0.0.1", "client_ip")?;
    expect(
        info.client_id > 0 && info.client_id < other.server_info().client_id,
        "client ids ascend",
    )?;
    let flags = (
        info.auth_required,
        info.tls_required,
        info.lame_duck_mode,
        info.jetstream,
    );
    expect_equal(
        flags,
        (false, false, false, false),
        "auth_required, tls_required, ldm, jetstream",
    )?;
    expect(
        client.is_server_compatible(2, 14, 0),
        "the server's version opens every gate",
    )
}

/// A connection that looks for its server often.
async fn open_stubborn() -> Outcome<(Client, Events)> {
    let options = ConnectOptions::new().reconnect_delay_callback(|_| Duration::from_millis(50));
    let (options, events) = Events::record(options);
    Ok((options.connect(setting("RESTART_URL")).await?, events))
}

/// A connection outlives its server and keeps its subscriptions.
async fn reconnect(how: &str) -> Outcome {
    let (receiver, receiver_events) = open_stubborn().await?;
    let (sender, sender_events) = open_stubborn().await?;
    let mut plain = receiver.subscribe("kept.*").await?;
    let mut group = receiver
        .queue_subscribe("kept.*", "group".to_owned())
        .await?;
    barrier(&receiver).await?;
    let first = receiver.server_info().server_id;
    control(how).await?;
    receiver_events.wait_for(Event::Disconnected, 1).await?;
    // The first connection is reported too.
    receiver_events.wait_for(Event::Connected, 2).await?;
    sender_events.wait_for(Event::Connected, 2).await?;
    barrier(&receiver).await?;
    sender.publish("kept.x", "after".into()).await?;
    for subscriber in [&mut plain, &mut group] {
        expect_equal(
            texts(subscriber, 1).await?,
            ["after"],
            "message after the restart",
        )?;
    }
    expect(waiting(&mut plain).await.is_empty(), "messages left")?;
    expect(
        receiver.server_info().server_id != first,
        "a new server has a new id",
    )
}

pub async fn reconnect_gracefully() -> Outcome {
    reconnect("restart").await
}

pub async fn reconnect_after_crash() -> Outcome {
    reconnect("crash").await
}

thread_local! {
    /// The connection that has been told of lame duck mode and waits for its end.
    static TOLD: RefCell<Option<(Client, Events)>> = const { RefCell::new(None) };
}

pub async fn lame_duck() -> Outcome {
    let (options, events) = Events::record(ConnectOptions::new());
    let client = options.connect(setting("LAME_DUCK_URL")).await?;
    let mut subscriber = client.subscribe("still.works").await?;
    barrier(&client).await?;
    control("lame-duck").await?;
    events.wait_for(Event::LameDuckMode, 1).await?;
    client.publish("still.works", "x".into()).await?;
    expect_equal(
        texts(&mut subscriber, 1).await?,
        ["x"],
        "message in lame duck mode",
    )?;
    expect_equal(
        events.count(&Event::Disconnected),
        0,
        "connections lost at once",
    )?;
    TOLD.set(Some((client, events)));
    Ok(())
}

pub async fn lame_duck_close() -> Outcome {
    let (_client, events) = TOLD.take().ok_or("lame duck mode was not entered")?;
    events.wait_for(Event::Disconnected, 1).await?;
    control("lame-duck-exit").await
}
