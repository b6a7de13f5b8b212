//! The header block of `HPUB` and `HMSG` (ADR-4).

/// The first line of every header block, without its CR LF.
pub const VERSION_LINE: &[u8] = b"NATS/1.0";

/// Status of a reply that says that nobody listens (ADR-4).
pub const STATUS_NO_RESPONDERS: &[u8] = b"503";
