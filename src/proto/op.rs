//! The operations that a client can send.

/// One operation, borrowing its arguments from the bytes it was parsed from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Op<'a> {
    /// `CONNECT {json}`.
    Connect(&'a [u8]),
    /// `INFO {json}`: servers send it; a client that does is tolerated as long as the JSON is valid.
    Info(&'a [u8]),
    /// `PUB` or `HPUB` with its payload.
    Publish(Publish<'a>),
    /// `SUB subject [queue] sid`.
    Subscribe(Subscribe<'a>),
    /// `UNSUB sid [max]`.
    Unsubscribe(Unsubscribe<'a>),
    /// `PING`.
    Ping,
    /// `PONG`.
    Pong,
    /// `+OK`, ignored.
    Okay,
    /// `-ERR text`: the client gives up.
    Error(&'a [u8]),
}

/// A message on its way in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Publish<'a> {
    /// Where to; validated only for pedantic clients.
    pub subject: &'a [u8],
    /// Where an answer shall go.
    pub reply: Option<&'a [u8]>,
    /// The header block's length; `None` for `PUB`.
    pub header: Option<Size<'a>>,
    /// Length of header block and payload together.
    pub size: Size<'a>,
    /// Header block, payload and the closing CR LF.
    pub body: &'a [u8],
    /// Sizes, their line end and `body` in one piece, if the line ended just as a server writes it:
    /// receivers get these bytes as they stand.
    pub sized_body: Option<&'a [u8]>,
}

/// A length in bytes as a number and as the digits that the publisher wrote: receivers get those
/// digits, leading zeros included (oracle).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Size<'a> {
    /// The number of bytes.
    pub bytes: usize,
    /// How the publisher wrote it.
    pub text: &'a [u8],
}

/// The arguments of `SUB`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Subscribe<'a> {
    /// What to listen to, not validated yet.
    pub filter: &'a [u8],
    /// The queue group, if any.
    pub queue: Option<&'a [u8]>,
    /// The client's own name for the subscription.
    pub sid: &'a [u8],
}

/// The arguments of `UNSUB`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unsubscribe<'a> {
    /// Which subscription.
    pub sid: &'a [u8],
    /// Number of messages after which the subscription ends by itself, counted from its beginning;
    /// `None` (also for a number that cannot be read) ends it at once.
    pub max: Option<u64>,
}
