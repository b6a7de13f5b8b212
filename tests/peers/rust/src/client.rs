//! What the checks share: connections, receiving with a deadline, and barriers.

use std::collections::BTreeSet;
use std::env;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_nats::{Client, ConnectOptions, Event, Message, RequestErrorKind, Subscriber};
use futures_util::StreamExt;
use tokio::sync::watch;

use crate::checks::{Outcome, event};

/// The value of an environment variable that the test sets.
pub fn setting(name: &str) -> String {
    env::var(name).unwrap_or_default()
}

/// Opens a connection to the plain server.
pub async fn open() -> Outcome<Client> {
    Ok(ConnectOptions::new().connect(setting("NATS_URL")).await?)
}

/// What a connection has reported since it was opened.
#[derive(Clone, Debug)]
pub struct Events {
    seen: Arc<Mutex<Vec<String>>>,
    changed: watch::Receiver<usize>,
}

impl Events {
    /// Adds a recorder of events to the options of a connection.
    pub fn record(options: ConnectOptions) -> (ConnectOptions, Self) {
        let seen = Arc::new(Mutex::new(Vec::new()));
        let (sender, changed) = watch::channel(0);
        let log = Arc::clone(&seen);
        let options = options.event_callback(move |event: Event| {
            let mut log = log.lock().unwrap_or_else(PoisonError::into_inner);
            log.push(event.to_string());
            sender.send_replace(log.len());
            async {}
        });
        (options, Self { seen, changed })
    }

    /// How often an event has been reported.
    pub fn count(&self, event: &Event) -> usize {
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.iter()
            .filter(|text| **text == event.to_string())
            .count()
    }

    /// Waits until an event has been reported this often.
    pub async fn wait_for(&self, wanted: Event, times: usize) -> Outcome {
        let mut changed = self.changed.clone();
        let happened =
            async { while self.count(&wanted) < times && changed.changed().await.is_ok() {} };
        event(happened, &wanted.to_string()).await
    }
}

/// The next message, which must come.
pub async fn receive(subscriber: &mut Subscriber) -> Outcome<Message> {
    event(subscriber.next(), "a message")
        .await?
        .ok_or_else(|| "the subscription ended".into())
}

/// The payloads of the next messages as text.
pub async fn texts(subscriber: &mut Subscriber, count: usize) -> Outcome<Vec<String>> {
    let mut texts = Vec::with_capacity(count);
    for _ in 0..count {
        texts.push(String::from_utf8(
            receive(subscriber).await?.payload.to_vec(),
        )?);
    }
    Ok(texts)
}

/// All that has arrived and waits in a subscription.
///
/// Complete only after [`settle`], which makes sure that nothing is on its way.
pub async fn waiting(subscriber: &mut Subscriber) -> Vec<Message> {
    let mut messages = Vec::new();
    // A message that has arrived is there at once; the short wait ends when there is none.
    while let Ok(Some(message)) = tokio::time::timeout(Duration::ZERO, subscriber.next()).await {
        messages.push(message);
    }
    messages
}

/// Returns when the server has handled all that this connection sent.
///
/// The client's own flush ends when the bytes are written; a message to itself shows that the
/// server has come to them.
pub async fn barrier(client: &Client) -> Outcome {
    settle(client, &[client]).await
}

/// Returns when all that the sender published has arrived at these receivers, whose own commands
/// the server has handled by then. Takes two messages to each receiver, one when it is the sender.
pub async fn settle(sender: &Client, receivers: &[&Client]) -> Outcome {
    for receiver in receivers {
        let inbox = receiver.new_inbox();
        let mut marker = receiver.subscribe(inbox.clone()).await?;
        receiver.publish(inbox.clone(), "marker".into()).await?;
        receive(&mut marker).await?;
        if receiver.server_info().client_id != sender.server_info().client_id {
            sender.publish(inbox, "marker".into()).await?;
            receive(&mut marker).await?;
        }
    }
    Ok(())
}

/// Answers each request with its payload in capitals and with its headers.
pub async fn respond(client: &Client, subject: &'static str) -> Outcome {
    let mut requests = client.subscribe(subject).await?;
    let responder = client.clone();
    tokio::spawn(async move {
        while let Some(request) = requests.next().await {
            let Some(reply) = request.reply else { continue };
            let answer = request.payload.to_ascii_uppercase().into();
            let headers = request.headers.unwrap_or_default();
            let sent = if headers.is_empty() {
                responder.publish(reply, answer).await
            } else {
                responder.publish_with_headers(reply, headers, answer).await
            };
            if sent.is_err() {
                break;
            }
        }
    });
    barrier(client).await
}

/// Waits until the server has noticed that nobody answers this subject any more.
pub async fn noticed(client: &Client, subject: &'static str) -> Outcome {
    let request = || async_nats::Request::new().timeout(Some(Duration::from_millis(500)));
    loop {
        match client.send_request(subject, request()).await {
            Err(error) if error.kind() == RequestErrorKind::NoResponders => return Ok(()),
            Ok(_) | Err(_) => {}
        }
    }
}

/// The numbers from nought as text.
pub fn numbers(count: usize) -> Vec<String> {
    (0..count).map(|number| number.to_string()).collect()
}

/// Publishes each of these texts to one subject.
pub async fn publish_all(client: &Client, subject: &'static str, texts: &[String]) -> Outcome {
    for text in texts {
        client.publish(subject, text.clone().into()).await?;
    }
    client.flush().await?;
    Ok(())
}

/// How many different texts there are.
pub fn distinct(texts: &[String]) -> usize {
    texts.iter().collect::<BTreeSet<_>>().len()
}
