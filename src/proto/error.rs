//! Every error that a peer can be told, in one table: its text and whether the connection ends with it.
//!
//! The texts are nats-server's own (oracle 2.15.1), because clients compare them.

use std::borrow::Cow;

use super::display::escaped;

/// An error that is written to the peer as `-ERR 'text'`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ProtocolError {
    /// The bytes are no operation.
    UnknownOperation,
    /// An argument line is longer than `max_control_line`. `context` says how much and where.
    MaximumControlLine,
    /// A message is longer than `max_payload`.
    MaximumPayload,
    /// The connection has `max_subscriptions` already.
    MaximumSubscriptions,
    /// The server has as many connections as it may have.
    MaximumConnections,
    /// The account has as many connections as it may have.
    MaximumAccountConnections,
    /// More connections want TLS in this second than are taken.
    ConnectionThrottled,
    /// The filter has more tokens than `max_subscription_tokens`.
    TooManySubjectTokens(Vec<u8>),
    /// A filter that nobody can subscribe to.
    InvalidSubject,
    /// A pedantic client published on something that is no subject.
    InvalidPublishSubject,
    /// `no_responders` without headers on both sides.
    NoRespondersRequiresHeaders,
    /// CONNECT asks for a protocol version that does not exist.
    InvalidClientProtocol,
    /// The peer did not answer pings.
    StaleConnection,
    /// CONNECT did not come in time.
    AuthenticationTimeout,
    /// CONNECT's credentials are not known, or came not first.
    AuthorizationViolation,
    /// The peer does not drain what is sent to it.
    SlowConsumer,
    /// The listener wants TLS and the client did not start it.
    TlsRequired,
    /// The user may not publish on the subject.
    PublishViolation(Vec<u8>),
    /// The user may not ask for answers on the reply subject.
    ReplyViolation(Vec<u8>),
    /// The user may not subscribe to the filter (in the queue group).
    SubscriptionViolation {
        /// The refused filter.
        filter: Vec<u8>,
        /// The queue group asked for.
        queue: Option<Vec<u8>>,
    },
    /// The server is about to end.
    ServerShutdown,
}

impl ProtocolError {
    /// The text between the quotes of `-ERR '…'`.
    #[must_use]
    pub fn text(&self) -> Cow<'static, str> {
        let fixed = match self {
            Self::UnknownOperation => "Unknown Protocol Operation",
            Self::MaximumControlLine => "maximum control line exceeded",
            Self::MaximumPayload => "Maximum Payload Violation",
            Self::MaximumSubscriptions => "maximum subscriptions exceeded",
            Self::MaximumConnections => "maximum connections exceeded",
            Self::MaximumAccountConnections => "maximum account active connections exceeded",
            Self::ConnectionThrottled => "Connection throttling is active. Please try again later.",
            Self::InvalidSubject => "Invalid Subject",
            Self::InvalidPublishSubject => "Invalid Publish Subject",
            Self::NoRespondersRequiresHeaders => "no responders requires headers support",
            Self::InvalidClientProtocol => "invalid client protocol",
            Self::StaleConnection => "Stale Connection",
            Self::AuthenticationTimeout => "Authentication Timeout",
            Self::AuthorizationViolation => "Authorization Violation",
            Self::SlowConsumer => "Slow Consumer",
            Self::TlsRequired => "Secure Connection - TLS Required",
            Self::ServerShutdown => "Server Shutdown",
            Self::PublishViolation(subject) => {
                return format!(
                    "Permissions Violation for Publish to \"{}\"",
                    escaped(subject)
                )
                .into();
            }
            Self::ReplyViolation(reply) => {
                return format!(
                    "Permissions Violation for Publish with Reply of \"{}\"",
                    escaped(reply)
                )
                .into();
            }
            Self::TooManySubjectTokens(filter) => {
                return format!(
                    "Permissions Violation for Subscription to \"{}\", too many tokens",
                    escaped(filter)
                )
                .into();
            }
            Self::SubscriptionViolation {
                filter,
                queue: None,
            } => {
                return format!(
                    "Permissions Violation for Subscription to \"{}\"",
                    escaped(filter)
                )
                .into();
            }
            Self::SubscriptionViolation {
                filter,
                queue: Some(queue),
            } => {
                return format!(
                    "Permissions Violation for Subscription to \"{}\" using queue \"{}\"",
                    escaped(filter),
                    escaped(queue)
                )
                .into();
            }
        };
        fixed.into()
    }

    /// Whether the connection ends after this error.
    #[must_use]
    pub fn closes(&self) -> bool {
        match self {
            Self::UnknownOperation
            | Self::MaximumControlLine
            | Self::MaximumPayload
            | Self::MaximumConnections
            | Self::MaximumAccountConnections
            | Self::ConnectionThrottled
            | Self::NoRespondersRequiresHeaders
            | Self::InvalidClientProtocol
            | Self::StaleConnection
            | Self::AuthenticationTimeout
            | Self::AuthorizationViolation
            | Self::SlowConsumer
            | Self::TlsRequired
            | Self::ServerShutdown => true,
            Self::MaximumSubscriptions
            | Self::TooManySubjectTokens(_)
            | Self::InvalidSubject
            | Self::InvalidPublishSubject
            | Self::PublishViolation(_)
            | Self::ReplyViolation(_)
            | Self::SubscriptionViolation { .. } => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn subjects_are_quoted_as_go_quotes_them() {
        let error = ProtocolError::PublishViolation(b"a\"b\\\xff\x01".to_vec());
        let text = r#"Permissions Violation for Publish to "a\"b\\\xff\x01""#;
        assert_eq!(error.text(), text);
    }
}
