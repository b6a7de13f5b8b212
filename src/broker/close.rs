//! Why a connection ended: one list for logs, monitoring and tests.

use std::fmt;

/// The reason for which a connection was closed. Texts are nats-server's (`/connz?state=closed`), where it has
/// the reason.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "each reason's text says what it means")]
pub enum CloseReason {
    ClientClosed,
    AuthenticationTimeout,
    AuthenticationViolation,
    TlsHandshakeError,
    SlowConsumerPendingBytes,
    SlowConsumerWriteDeadline,
    MemoryBudgetExceeded,
    WriteError,
    ReadError,
    ParseError,
    StaleConnection,
    ProtocolViolation,
    BadClientProtocolVersion,
    MaximumConnectionsExceeded,
    MaximumAccountConnectionsExceeded,
    MaximumSubscriptionsExceeded,
    MaximumPayloadExceeded,
    MaximumControlLineExceeded,
    ServerShutdown,
    AuthenticationExpired,
    NoRespondersRequiresHeaders,
    Kicked,
    DuplicateRoute,
    RouteRemoved,
    DuplicateServerName,
    ClusterNameConflict,
    WrongPort,
    WrongGateway,
    MissingAccount,
    CompressionError,
}

impl CloseReason {
    /// The reason in words.
    #[must_use]
    pub fn text(self) -> &'static str {
        match self {
            Self::ClientClosed => "Client Closed",
            Self::AuthenticationTimeout => "Authentication Timeout",
            Self::AuthenticationViolation => "Authentication Failure",
            Self::TlsHandshakeError => "TLS Handshake Failure",
            Self::SlowConsumerPendingBytes => "Slow Consumer (Pending Bytes)",
            Self::SlowConsumerWriteDeadline => "Slow Consumer (Write Deadline)",
            Self::MemoryBudgetExceeded => "Slow Consumer (Memory Budget)",
            Self::WriteError => "Write Error",
            Self::ReadError => "Read Error",
            Self::ParseError => "Parse Error",
            Self::StaleConnection => "Stale Connection",
            Self::ProtocolViolation => "Protocol Violation",
            Self::BadClientProtocolVersion => "Bad Client Protocol Version",
            Self::MaximumConnectionsExceeded => "Maximum Connections Exceeded",
            Self::MaximumAccountConnectionsExceeded => "Maximum Account Connections Exceeded",
            Self::MaximumSubscriptionsExceeded => "Maximum Subscriptions Exceeded",
            Self::MaximumPayloadExceeded => "Maximum Message Payload Exceeded",
            Self::MaximumControlLineExceeded => "Maximum Control Line Exceeded",
            Self::ServerShutdown => "Server Shutdown",
            Self::AuthenticationExpired => "Authentication Expired",
            Self::NoRespondersRequiresHeaders => "No Responders Requires Headers",
            Self::Kicked => "Kicked",
            Self::RouteRemoved => "Route Removed",
            Self::DuplicateRoute => "Duplicate Route",
            Self::DuplicateServerName => "Duplicate Server Name",
            Self::ClusterNameConflict => "Cluster Name Conflict",
            Self::WrongPort => "Incorrect Port",
            Self::WrongGateway => "Wrong Gateway",
            Self::MissingAccount => "Missing Account",
            Self::CompressionError => "Compression Error",
        }
    }

    /// Whether what is pending may still be sent before the socket is closed: not to a peer that does
    /// not read, nor over a broken socket.
    #[must_use]
    pub fn flushes(self) -> bool {
        match self {
            Self::SlowConsumerPendingBytes
            | Self::SlowConsumerWriteDeadline
            | Self::MemoryBudgetExceeded
            | Self::WriteError
            | Self::ReadError
            | Self::TlsHandshakeError
            | Self::CompressionError => false,
            Self::ClientClosed
            | Self::AuthenticationTimeout
            | Self::AuthenticationViolation
            | Self::ParseError
            | Self::StaleConnection
            | Self::ProtocolViolation
            | Self::BadClientProtocolVersion
            | Self::MaximumConnectionsExceeded
            | Self::MaximumAccountConnectionsExceeded
            | Self::MaximumSubscriptionsExceeded
            | Self::MaximumPayloadExceeded
            | Self::MaximumControlLineExceeded
            | Self::ServerShutdown
            | Self::AuthenticationExpired
            | Self::NoRespondersRequiresHeaders
            | Self::Kicked
            | Self::DuplicateRoute
            | Self::RouteRemoved
            | Self::DuplicateServerName
            | Self::ClusterNameConflict
            | Self::WrongPort
            | Self::WrongGateway
            | Self::MissingAccount => true,
        }
    }
}

impl fmt::Display for CloseReason {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.text())
    }
}
