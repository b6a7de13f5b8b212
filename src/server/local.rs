//! A client within the process that needs no socket and speaks no protocol.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::Server;
use super::newcomer;
use crate::conn::MAX_STALL;
use crate::link::internal::{InternalConnection, InternalError, Message, Outgoing};

/// How the answer begins that says that nobody listens, when another server gives it.
const NO_RESPONDERS: &[u8] = b"NATS/1.0 503";

/// Publishes and subscribes by function calls, with every right in one account; see [`Server::local_client`].
/// Clones are the same client. It does not keep the server from ending.
#[derive(Debug, Clone)]
pub struct LocalClient {
    server: Server,
    publisher: Arc<InternalConnection>,
}

/// Why a request has no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RequestError {
    /// The request was not published.
    Refused(InternalError),
    /// Nobody listens on its subject.
    NoResponders,
    /// No answer came in time.
    TimedOut,
    /// The server has ended.
    Closed,
}

impl fmt::Display for RequestError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused(error) => error.fmt(formatter),
            Self::NoResponders => formatter.write_str("no responders"),
            Self::TimedOut => formatter.write_str("no answer in time"),
            Self::Closed => formatter.write_str("the server has ended"),
        }
    }
}

impl std::error::Error for RequestError {}

impl LocalClient {
    pub(super) fn new(server: Server, account: &str) -> Self {
        let publisher = Arc::new(server.connect_within(account));
        Self { server, publisher }
    }

    /// The name of its account.
    #[must_use]
    pub fn account(&self) -> &str {
        self.publisher.account().name()
    }

    /// Publishes a message; how many subscriptions and other servers it reached. Like any publisher it is paused
    /// for a moment when a receiver does not keep up.
    ///
    /// # Errors
    /// [`InternalError`]; nothing was published then.
    pub async fn publish(
        &self,
        subject: &str,
        payload: impl AsRef<[u8]>,
    ) -> Result<usize, InternalError> {
        let message = Outgoing {
            subject,
            payload: payload.as_ref(),
            ..Outgoing::default()
        };
        self.publish_message(message).await
    }

    /// The same with headers or a subject for answers.
    ///
    /// # Errors
    /// As [`Self::publish`].
    pub async fn publish_message(&self, message: Outgoing<'_>) -> Result<usize, InternalError> {
        let published = self
            .publisher
            .publish_paced(message, newcomer::clocks().1)?;
        if let Some(slow) = published.slow {
            slow.count_stall();
            // The receiver catches up, is cut off, or the publisher has waited as long as any.
            let _ = timeout(MAX_STALL, slow.ungated()).await;
        }
        Ok(published.reached)
    }

    /// Wants all messages on `filter`, or its share of them as a member of the group `queue`; also those of this
    /// client. They wait until they are taken, up to the server's `max_pending` bytes: a subscription that falls
    /// further behind is cut off as a slow consumer, and no other.
    ///
    /// # Errors
    /// [`InternalError::InvalidSubject`].
    pub fn subscribe(
        &self,
        filter: &str,
        queue: Option<&str>,
    ) -> Result<LocalSubscription, InternalError> {
        let connection = self.server.connect_within(self.account());
        connection.subscribe(filter, queue)?;
        Ok(LocalSubscription {
            connection,
            ending: self.server.inner.stopping.clone(),
        })
    }

    /// Publishes a request and waits for its first answer.
    ///
    /// # Errors
    /// [`RequestError`]; that nobody listens is known at once.
    pub async fn request(
        &self,
        subject: &str,
        payload: impl AsRef<[u8]>,
        patience: Duration,
    ) -> Result<Message, RequestError> {
        let inbox = format!("_INBOX.{}", newcomer::nonce());
        let mut answers = self
            .subscribe(&inbox, None)
            .map_err(RequestError::Refused)?;
        let request = Outgoing {
            subject,
            reply: Some(&inbox),
            payload: payload.as_ref(),
            ..Outgoing::default()
        };
        let reached = self.publish_message(request).await;
        if reached.map_err(RequestError::Refused)? == 0 {
            return Err(RequestError::NoResponders);
        }
        match timeout(patience, answers.next()).await {
            Err(_) => Err(RequestError::TimedOut),
            Ok(None) => Err(RequestError::Closed),
            Ok(Some(answer)) if answer.headers.starts_with(NO_RESPONDERS) => {
                Err(RequestError::NoResponders)
            }
            Ok(Some(answer)) => Ok(answer),
        }
    }
}

/// Messages on their way to a [`LocalClient`]. It ends when it is dropped.
#[derive(Debug)]
pub struct LocalSubscription {
    connection: InternalConnection,
    /// Cancelled when the server ends.
    ending: CancellationToken,
}

impl LocalSubscription {
    /// The next message. Nothing once the server ends or the subscription was cut off, and everything that came
    /// until then has been taken.
    pub async fn next(&mut self) -> Option<Message> {
        tokio::select! {
            biased;
            message = self.connection.next() => message,
            () = self.ending.cancelled() => None,
        }
    }

    /// Whether it was cut off because its messages were not taken.
    #[must_use]
    pub fn is_cut_off(&self) -> bool {
        self.connection.is_closed()
    }

    /// Ends it: no message that is published from now on comes.
    pub fn unsubscribe(self) {
        drop(self);
    }
}
