//! The checks that each client's program must report, by name.

/// What every client does.
pub(crate) const EVERY_CLIENT: &[&str] = &[
    "publish-subscribe",
    "payload-bytes",
    "order",
    "request",
    "requests-in-flight",
    "request-own-inbox",
    "no-responders",
    "headers",
    "headers-request",
    "queue-group-spread",
    "queue-group-each",
    "queue-group-member-leaves",
    "queue-group-member-dies",
    "unsubscribe",
    "unsubscribe-after",
    "unsubscribe-after-passed",
    "drain-subscription",
    "drain-connection",
    "same-subject-twice",
    "many-subjects",
    "many-connections",
    "wildcards",
    "wildcards-overlapping",
    "largest-payload",
    "payload-too-large",
    "flush",
    "echo-on",
    "echo-off",
    "password",
    "password-refused",
    "token",
    "token-refused",
    "server-info",
    "reconnect",
    "reconnect-after-crash",
    "lame-duck",
    "lame-duck-close",
];

/// `nats-py` also has verbose and pedantic connections, and shows what waits to be sent.
pub(crate) const PYTHON: &[&str] = &[
    "verbose",
    "pedantic",
    "pending",
    "round-trip-time",
    "tls-certificate",
    "tls-first",
    "tls-refused",
];

/// `@nats-io/transport-node` also has verbose and pedantic connections and requests with many replies.
pub(crate) const NODE: &[&str] = &[
    "verbose",
    "pedantic",
    "pending",
    "round-trip-time",
    "request-many",
    "statistics",
];

/// The C client also has verbose and pedantic connections and its own statistics.
pub(crate) const C: &[&str] = &[
    "verbose",
    "pedantic",
    "pending",
    "round-trip-time",
    "statistics",
];

/// `async-nats` speaks neither verbose nor pedantic; it counts what it moved.
pub(crate) const RUST: &[&str] = &["statistics", "tls-certificate", "tls-first", "tls-refused"];
