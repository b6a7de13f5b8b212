//! The protocol between the servers of a cluster: its parser and what a server writes.
//!
//! A route carries the messages and interests of many accounts, so each names its account, save on a
//! connection that one account has for itself. Forms are nats-server's (oracle 2.15.1):
//! `RS+ account filter [queue weight]`, `RS- account filter [queue]`, `RMSG account subject [reply] size`,
//! and with queue groups `RMSG account subject + reply queue… size` or `… | queue… size`; `HMSG` has the
//! header block's size in front of the size. `LS+`, `LS-` and `LMSG` name the leaf cluster first that an
//! interest or a message came from.

use super::args::parse_size;
use super::op::{Publish, Size};
use super::parse::ParseError;

const LINE_FEED: u8 = b'\n';

/// What the parser must know of the connection.
#[derive(Debug, Clone, Copy)]
pub struct RouteLimits {
    /// Longest control line in bytes, its verb included.
    pub max_line: usize,
    /// Largest header block and payload together in bytes.
    pub max_payload: usize,
    /// Whether lines name their account: not on a connection that one account has for itself.
    pub names_account: bool,
    /// Whether `LS-` names the leaf cluster; older servers leave it out.
    pub names_origin: bool,
}

/// One operation of a route, borrowing its arguments.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RouteOp<'a> {
    /// `CONNECT {json}`, from the server that dialed.
    Connect(&'a [u8]),
    /// `INFO {json}`, from either side.
    Info(&'a [u8]),
    /// `RS+` or `LS+`.
    Interest(RemoteInterest<'a>),
    /// `RS-` or `LS-`.
    NoInterest(RemoteInterest<'a>),
    /// `RMSG`, `HMSG` or `LMSG` with its payload.
    Message(RoutedMessage<'a>),
    /// `A+` or `A-`, which have a meaning between gateways only.
    Account,
    /// `PING`.
    Ping,
    /// `PONG`.
    Pong,
    /// `+OK`, ignored.
    Okay,
    /// `-ERR text`: the other server gives up.
    Error(&'a [u8]),
}

/// What another server wants, or wants no more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RemoteInterest<'a> {
    /// The leaf cluster whose wish it is, if that is known.
    pub origin: Option<&'a [u8]>,
    /// The account; `None` where the connection belongs to one.
    pub account: Option<&'a [u8]>,
    /// The filter, not validated yet.
    pub filter: &'a [u8],
    /// The queue group, if any.
    pub queue: Option<&'a [u8]>,
    /// Members of the queue group; 0 where it cannot be read or has no meaning.
    pub weight: u32,
}

/// A message from another server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RoutedMessage<'a> {
    /// The leaf cluster it came from, if that is known.
    pub origin: Option<&'a [u8]>,
    /// The account; `None` where the connection belongs to one.
    pub account: Option<&'a [u8]>,
    /// Subject, reply, header and payload.
    pub publish: Publish<'a>,
    /// The queue groups that it is for, with blanks between them.
    pub queues: &'a [u8],
}

impl<'a> RoutedMessage<'a> {
    /// The queue groups of which one member each shall get it.
    pub fn queues(&self) -> impl Iterator<Item = &'a [u8]> + Clone + use<'a> {
        words(self.queues)
    }
}

/// What the front of the input holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RouteParsed<'a> {
    /// A whole operation that took this many bytes.
    Complete(RouteOp<'a>, usize),
    /// The beginning of one, of this length where it is known and otherwise 0.
    Incomplete(usize),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verb {
    Message,
    HeaderMessage,
    LeafMessage,
    Interest,
    NoInterest,
    LeafInterest,
    LeafNoInterest,
    Account,
    Connect,
    Info,
    Ping,
    Pong,
    Okay,
    Error,
}

/// Every verb in lower case; those with arguments end with the blank that must follow.
const VERBS: [(&[u8], Verb); 15] = [
    (b"rmsg ", Verb::Message),
    (b"hmsg ", Verb::HeaderMessage),
    (b"rs+ ", Verb::Interest),
    (b"rs- ", Verb::NoInterest),
    (b"ping", Verb::Ping),
    (b"pong", Verb::Pong),
    (b"info ", Verb::Info),
    (b"connect ", Verb::Connect),
    (b"lmsg ", Verb::LeafMessage),
    (b"ls+ ", Verb::LeafInterest),
    (b"ls- ", Verb::LeafNoInterest),
    (b"a+ ", Verb::Account),
    (b"a- ", Verb::Account),
    (b"+ok", Verb::Okay),
    (b"-err ", Verb::Error),
];

/// Parses the operation at the front of `input`.
///
/// # Errors
/// [`ParseError`], after which the rest of the input has no meaning.
pub fn parse_route<'a>(
    input: &'a [u8],
    limits: &RouteLimits,
) -> Result<RouteParsed<'a>, ParseError> {
    let (verb, name) = match input {
        [b'R', b'M', b'S', b'G', b' ', ..] => (Verb::Message, 5),
        _ => match recognise(input)? {
            Some(found) => found,
            None => return Ok(RouteParsed::Incomplete(0)),
        },
    };
    let Some(end) = memchr::memchr(LINE_FEED, input) else {
        return match input.len() > limits.max_line {
            true => Err(ParseError::MaximumControlLine(input.len())),
            false => Ok(RouteParsed::Incomplete(0)),
        };
    };
    if end > limits.max_line {
        return Err(ParseError::MaximumControlLine(end));
    }
    let line = input.get(name..end).unwrap_or_default().trim_ascii();
    let op = match verb {
        Verb::Message | Verb::HeaderMessage | Verb::LeafMessage => {
            return parse_message(verb, input, line, end + 1, limits);
        }
        Verb::Interest => RouteOp::Interest(interest(line, Side::routed(limits))?),
        Verb::LeafInterest => RouteOp::Interest(interest(line, Side::leaf(limits, true))?),
        Verb::NoInterest => RouteOp::NoInterest(no_interest(line, Side::routed(limits))?),
        Verb::LeafNoInterest => {
            RouteOp::NoInterest(no_interest(line, Side::leaf(limits, limits.names_origin))?)
        }
        Verb::Account => RouteOp::Account,
        Verb::Connect => RouteOp::Connect(line),
        Verb::Info => RouteOp::Info(line),
        Verb::Ping => RouteOp::Ping,
        Verb::Pong => RouteOp::Pong,
        Verb::Okay => RouteOp::Okay,
        Verb::Error => RouteOp::Error(line),
    };
    Ok(RouteParsed::Complete(op, end + 1))
}

/// Finds the verb at the front of `input`; `None` while it could still become one.
fn recognise(input: &[u8]) -> Result<Option<(Verb, usize)>, ParseError> {
    let mut longest = 0;
    for (name, verb) in VERBS {
        let same = name
            .iter()
            .zip(input)
            .take_while(|(name, byte)| **name == fold(**byte))
            .count();
        if same == name.len() {
            return Ok(Some((verb, same)));
        }
        if same == input.len() {
            return Ok(None);
        }
        longest = longest.max(same);
    }
    Err(ParseError::UnknownOperation(longest))
}

fn fold(byte: u8) -> u8 {
    if byte == b'\t' {
        b' '
    } else {
        byte.to_ascii_lowercase()
    }
}

/// The words of a line between runs of blanks.
fn words(line: &[u8]) -> impl DoubleEndedIterator<Item = &[u8]> + Clone {
    line.split(|byte| matches!(byte, b' ' | b'\t' | b'\r' | b'\n'))
        .filter(|word| !word.is_empty())
}

/// Takes the first word off `rest`.
fn take_word<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let is_blank = |byte: &u8| matches!(byte, b' ' | b'\t' | b'\r' | b'\n');
    let line = rest.get(rest.iter().position(|byte| !is_blank(byte))?..)?;
    let (word, after) = line.split_at(line.iter().position(is_blank).unwrap_or(line.len()));
    *rest = after;
    Some(word)
}

/// What stands in front of the filter.
#[derive(Clone, Copy)]
struct Side {
    origin: bool,
    account: bool,
}

impl Side {
    fn routed(limits: &RouteLimits) -> Self {
        Self {
            origin: false,
            account: limits.names_account,
        }
    }

    fn leaf(limits: &RouteLimits, origin: bool) -> Self {
        Self {
            origin,
            account: limits.names_account,
        }
    }
}

fn interest(line: &[u8], side: Side) -> Result<RemoteInterest<'_>, ParseError> {
    let bad = ParseError::BadArguments("RS+");
    let (mut found, mut rest) = front(line, side).ok_or(bad)?;
    match (rest.next(), rest.next(), rest.next()) {
        (None, None, None) => {}
        (Some(queue), Some(weight), None) => {
            found.queue = Some(queue);
            let weight = parse_size(weight).and_then(|weight| u32::try_from(weight).ok());
            found.weight = weight.unwrap_or(0);
        }
        _ => return Err(bad),
    }
    Ok(found)
}

fn no_interest(line: &[u8], side: Side) -> Result<RemoteInterest<'_>, ParseError> {
    let bad = ParseError::BadArguments("RS-");
    let (mut found, mut rest) = front(line, side).ok_or(bad)?;
    found.queue = rest.next();
    match rest.next() {
        None => Ok(found),
        Some(_) => Err(bad),
    }
}

/// Origin, account and filter, and the words behind them.
fn front(line: &[u8], side: Side) -> Option<(RemoteInterest<'_>, impl Iterator<Item = &[u8]>)> {
    let mut words = words(line);
    let mut found = RemoteInterest {
        origin: None,
        account: None,
        filter: &[],
        queue: None,
        weight: 0,
    };
    if side.origin {
        found.origin = Some(words.next()?);
    }
    if side.account {
        found.account = Some(words.next()?);
    }
    found.filter = words.next()?;
    Some((found, words))
}

fn parse_message<'a>(
    verb: Verb,
    input: &'a [u8],
    line: &'a [u8],
    line_end: usize,
    limits: &RouteLimits,
) -> Result<RouteParsed<'a>, ParseError> {
    let bad = ParseError::BadArguments("RMSG");
    let usual = usual_line(verb, line, limits);
    let mut message = match usual {
        Some(message) => message,
        None => message_line(verb, line, limits).ok_or(bad)?,
    };
    let size = message.publish.size.bytes;
    if message
        .publish
        .header
        .is_some_and(|header| header.bytes > size)
    {
        return Err(bad);
    }
    if size > limits.max_payload {
        return Err(ParseError::MaximumPayload(size));
    }
    let needed = line_end + size + 2;
    let Some(body) = input.get(line_end..needed) else {
        return Ok(RouteParsed::Incomplete(needed));
    };
    if !body.ends_with(b"\r\n") {
        return Err(ParseError::UnknownOperation(line_end + size));
    }
    message.publish.body = body;
    if usual.is_some() {
        message.publish.sized_body = sized_body(input, line_end, &message.publish);
    }
    Ok(RouteParsed::Complete(RouteOp::Message(message), needed))
}

/// What stands from the sizes to the end of the message, where that can be passed on as it came.
fn sized_body<'a>(input: &'a [u8], line_end: usize, publish: &Publish<'_>) -> Option<&'a [u8]> {
    let size = publish.size.text.len();
    let sizes = match publish.header {
        None => size,
        Some(header) if header.bytes > 0 => header.text.len() + 1 + size,
        // An empty header block is left out.
        Some(_) => return None,
    };
    let start = line_end.checked_sub(sizes + 2)?;
    // A line may end in other ways, and what is passed on must not.
    let carriage_return = input.get(line_end.checked_sub(2)?)?;
    let whole = *carriage_return == b'\r' && input.get(start.checked_sub(1)?) == Some(&b' ');
    input
        .get(start..line_end + publish.body.len())
        .filter(|_| whole)
}

/// The arguments of a message without queue groups whose words have one blank between them, which nearly
/// all messages are.
fn usual_line<'a>(verb: Verb, line: &'a [u8], limits: &RouteLimits) -> Option<RoutedMessage<'a>> {
    if memchr::memchr2(b'\t', b'\r', line).is_some() || verb == Verb::LeafMessage {
        return None;
    }
    let mut words: [&[u8]; 5] = [&[]; 5];
    let (mut count, mut start) = (0, 0);
    for end in memchr::memchr_iter(b' ', line).chain(std::iter::once(line.len())) {
        let word = line.get(start..end).filter(|word| !word.is_empty())?;
        *words.get_mut(count)? = word;
        count += 1;
        start = end + 1;
    }
    let words = words.get(..count)?;
    let (account, words) = match limits.names_account {
        true => words
            .split_first()
            .map(|(account, rest)| (Some(*account), rest))?,
        false => (None, words),
    };
    let (subject, reply, header, size) = match (verb, words) {
        (Verb::Message, [subject, size]) => (*subject, None, None, *size),
        (Verb::Message, [subject, reply, size]) => (*subject, Some(*reply), None, *size),
        (Verb::HeaderMessage, [subject, header, size]) => (*subject, None, Some(*header), *size),
        (Verb::HeaderMessage, [subject, reply, header, size]) => {
            (*subject, Some(*reply), Some(*header), *size)
        }
        _ => return None,
    };
    let header = match header {
        Some(header) => Some(length(header)?),
        None => None,
    };
    Some(RoutedMessage {
        origin: None,
        account,
        publish: Publish {
            subject,
            reply,
            header,
            size: length(size)?,
            body: &[],
            sized_body: None,
        },
        queues: &[],
    })
}

/// The arguments of a message; its payload is still to be found.
fn message_line<'a>(verb: Verb, line: &'a [u8], limits: &RouteLimits) -> Option<RoutedMessage<'a>> {
    let mut rest = line;
    let origin = if verb == Verb::LeafMessage {
        Some(take_word(&mut rest)?)
    } else {
        None
    };
    let account = match limits.names_account {
        true => Some(take_word(&mut rest)?),
        false => None,
    };
    let subject = take_word(&mut rest)?;
    let mut backwards = words(rest);
    let size = length(backwards.next_back()?)?;
    let header = if matches!(verb, Verb::HeaderMessage | Verb::LeafMessage) {
        Some(length(backwards.next_back()?)?)
    } else {
        None
    };
    let middle = backwards.count();
    let (reply, queues) = match middle {
        0 => (None, &[][..]),
        1 => (Some(take_word(&mut rest)?), &[][..]),
        _ => {
            let reply = match take_word(&mut rest)? {
                b"+" => Some(take_word(&mut rest)?),
                b"|" => None,
                _ => return None,
            };
            let sizes = 1 + usize::from(header.is_some());
            (reply, without_last_words(rest, sizes)?)
        }
    };
    let publish = Publish {
        subject,
        reply,
        header,
        size,
        body: &[],
        sized_body: None,
    };
    Some(RoutedMessage {
        origin,
        account,
        publish,
        queues,
    })
}

/// `line` without its last `count` words.
fn without_last_words(line: &[u8], count: usize) -> Option<&[u8]> {
    let mut line = line.trim_ascii();
    for _ in 0..count {
        let word = words(line).next_back()?;
        line = line
            .get(..line.len().checked_sub(word.len())?)?
            .trim_ascii();
    }
    Some(line)
}

fn length(text: &[u8]) -> Option<Size<'_>> {
    parse_size(text).map(|bytes| Size { bytes, text })
}

/// Appends `RS+` or, with a weight of 0, `RS-`. `account` is `None` on a connection that it has for
/// itself. A queue group that has lost some of its members is told with what is left.
pub fn push_interest(
    text: &mut Vec<u8>,
    account: Option<&[u8]>,
    filter: &[u8],
    queue: Option<&[u8]>,
    weight: u32,
) {
    text.extend_from_slice(if weight > 0 { b"RS+ " } else { b"RS- " });
    if let Some(account) = account {
        text.extend_from_slice(account);
        text.push(b' ');
    }
    text.extend_from_slice(filter);
    if let Some(queue) = queue {
        text.push(b' ');
        text.extend_from_slice(queue);
        if weight > 0 {
            text.push(b' ');
            text.extend_from_slice(itoa::Buffer::new().format(weight).as_bytes());
        }
    }
    text.extend_from_slice(b"\r\n");
}

/// Appends the control line of a message for another server. `queues` are the names of the groups it is
/// for, each followed by a blank. A header block goes along if `headers`.
pub fn push_message_line(
    line: &mut Vec<u8>,
    account: Option<&[u8]>,
    publish: &Publish<'_>,
    queues: &[u8],
    headers: bool,
) {
    // An empty reply subject, which servers' own messages have, would make the next word one.
    let reply = publish.reply.filter(|reply| !reply.is_empty());
    let header = publish.header.filter(|header| header.bytes > 0);
    let shown = header.filter(|_| headers);
    line.extend_from_slice(if shown.is_some() { b"HMSG " } else { b"RMSG " });
    if let Some(account) = account {
        line.extend_from_slice(account);
        line.push(b' ');
    }
    line.extend_from_slice(publish.subject);
    line.push(b' ');
    if !queues.is_empty() {
        let mark: &[u8] = if reply.is_some() { b"+ " } else { b"| " };
        line.extend_from_slice(mark);
    }
    if let Some(reply) = reply {
        line.extend_from_slice(reply);
        line.push(b' ');
    }
    line.extend_from_slice(queues);
    match (shown, header) {
        (Some(header), _) => {
            line.extend_from_slice(header.text);
            line.push(b' ');
            line.extend_from_slice(publish.size.text);
        }
        (None, None) => line.extend_from_slice(publish.size.text),
        (None, Some(header)) => {
            let size = publish.size.bytes.saturating_sub(header.bytes);
            line.extend_from_slice(itoa::Buffer::new().format(size).as_bytes());
        }
    }
    line.extend_from_slice(b"\r\n");
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: RouteLimits = RouteLimits {
        max_line: 100,
        max_payload: 50,
        names_account: true,
        names_origin: true,
    };
    const PINNED: RouteLimits = RouteLimits {
        names_account: false,
        ..LIMITS
    };

    fn op(input: &[u8]) -> RouteOp<'_> {
        op_with(input, &LIMITS)
    }

    fn op_with<'a>(input: &'a [u8], limits: &RouteLimits) -> RouteOp<'a> {
        match parse_route(input, limits) {
            Ok(RouteParsed::Complete(op, consumed)) => {
                assert_eq!(consumed, input.len());
                op
            }
            other => panic!("{other:?}"),
        }
    }

    type Words<'a> = Vec<&'a [u8]>;

    fn message(input: &[u8]) -> (Words<'_>, Option<&[u8]>, Words<'_>) {
        let RouteOp::Message(message) = op(input) else {
            panic!()
        };
        let named = message.account.into_iter();
        (
            named.chain([message.publish.subject]).collect(),
            message.publish.reply,
            message.queues().collect(),
        )
    }

    #[test]
    fn message_forms() {
        let names: Vec<&[u8]> = vec![b"A", b"s"];
        let (r, none) = (Some(&b"r"[..]), vec![]);
        assert_eq!(
            message(b"RMSG A s 2\r\nhi\r\n"),
            (names.clone(), None, none.clone())
        );
        assert_eq!(message(b"rmsg A s r 2\r\nhi\r\n"), (names.clone(), r, none));
        let queues: Vec<&[u8]> = vec![b"q1", b"2"];
        assert_eq!(
            message(b"RMSG A s + r q1 2 2\r\nhi\r\n"),
            (names.clone(), r, queues.clone())
        );
        assert_eq!(
            message(b"RMSG A s | q1  2 2\r\nhi\r\n"),
            (names.clone(), None, queues)
        );
        let (_, reply, queues) = message(b"HMSG A s + + 1 12 14\r\nNATS/1.0\r\n\r\nhi\r\n");
        assert_eq!((reply, queues), (Some(&b"+"[..]), vec![&b"1"[..]]));
        let RouteOp::Message(leaf) = op_with(b"LMSG hub s 0 2\r\nhi\r\n", &PINNED) else {
            panic!()
        };
        assert_eq!(
            (leaf.origin, leaf.account, leaf.publish.subject),
            (Some(&b"hub"[..]), None, &b"s"[..])
        );
        for bad in [
            "RMSG A\r\n",
            "RMSG A s\r\n",
            "RMSG A s x\r\n",
            "RMSG A s * r q 2\r\nhi\r\n",
            "HMSG A s 2\r\nhi\r\n",
            "HMSG A s 3 2\r\nhi\r\n",
        ] {
            assert!(
                matches!(
                    parse_route(bad.as_bytes(), &LIMITS),
                    Err(ParseError::BadArguments(_))
                ),
                "{bad}"
            );
        }
        let wrong = parse_route(b"RMSG A s 2\r\nhiXX", &LIMITS);
        assert_eq!(wrong, Err(ParseError::UnknownOperation(14)));
        assert_eq!(
            parse_route(b"RMSG A s 51\r\n", &LIMITS),
            Err(ParseError::MaximumPayload(51))
        );
    }

    #[test]
    fn the_usual_line_means_what_any_line_means() {
        let verbs = [("RMSG", Verb::Message), ("HMSG", Verb::HeaderMessage)];
        let words = ["A", "s", "+", "|", "r", "2", "0", "12", "x"];
        for (name, verb) in verbs {
            for code in 0..9_usize.pow(5) {
                let count = 2 + u32::try_from(code % 4).unwrap();
                let line: Vec<&str> = (0..count)
                    .map(|at| words[code / 9_usize.pow(at) % 9])
                    .collect();
                let line = line.join(" ");
                for limits in [&LIMITS, &PINNED] {
                    if let Some(usual) = usual_line(verb, line.as_bytes(), limits) {
                        let any = message_line(verb, line.as_bytes(), limits);
                        assert_eq!(Some(usual), any, "{name} {line}");
                    }
                }
            }
        }
        let RouteOp::Message(message) = op(b"HMSG A s r 12 14\r\nNATS/1.0\r\n\r\nhi\r\n") else {
            panic!()
        };
        let passed_on = &b"12 14\r\nNATS/1.0\r\n\r\nhi\r\n"[..];
        assert_eq!(message.publish.sized_body, Some(passed_on));
        for other in [
            "RMSG A s 2\nhi\r\n",
            "RMSG A s  2\r\nhi\r\n",
            "RMSG A s 2 \r\nhi\r\n",
            "HMSG A s 0 2\r\nhi\r\n",
        ] {
            let RouteOp::Message(message) = op(other.as_bytes()) else {
                panic!()
            };
            assert_eq!(message.publish.sized_body, None, "{other}");
        }
    }

    #[test]
    fn interest_forms() {
        let plain = RemoteInterest {
            origin: None,
            account: Some(b"A"),
            filter: b"a.*",
            queue: None,
            weight: 0,
        };
        let queued = RemoteInterest {
            queue: Some(b"q"),
            weight: 3,
            ..plain
        };
        assert_eq!(op(b"RS+ A a.*\r\n"), RouteOp::Interest(plain));
        assert_eq!(op(b"RS+\tA a.* q 3\n"), RouteOp::Interest(queued));
        let leaf = RemoteInterest {
            origin: Some(b"hub"),
            ..queued
        };
        assert_eq!(op(b"LS+ hub A a.* q 3\r\n"), RouteOp::Interest(leaf));
        let gone = RemoteInterest { weight: 0, ..leaf };
        assert_eq!(op(b"LS- hub A a.* q\r\n"), RouteOp::NoInterest(gone));
        let pinned = RemoteInterest {
            account: None,
            ..plain
        };
        assert_eq!(
            op_with(b"RS- a.*\r\n", &PINNED),
            RouteOp::NoInterest(pinned)
        );
        for bad in ["RS+ A\r\n", "RS+ A a q\r\n", "RS- A a q 1\r\n", "RS+ \r\n"] {
            assert!(parse_route(bad.as_bytes(), &LIMITS).is_err(), "{bad}");
        }
    }

    #[test]
    fn incomplete_and_endless_lines() {
        let whole = b"RMSG A s + r q1 q2 5\r\nhello\r\n";
        for end in 0..whole.len() {
            let parsed = parse_route(&whole[..end], &LIMITS);
            let length = if end < 22 { 0 } else { whole.len() };
            assert_eq!(parsed, Ok(RouteParsed::Incomplete(length)), "{end}");
        }
        for endless in [vec![b'P'; 0], [b"PING".to_vec(), vec![b'x'; 200]].concat()] {
            let parsed = parse_route(&endless, &LIMITS);
            assert_eq!(parsed.is_err(), !endless.is_empty());
        }
        for unknown in ["SUB a 1\r\n", "MSG a 1 1\r\n", "\r\n", "RS* "] {
            assert!(matches!(
                parse_route(unknown.as_bytes(), &LIMITS),
                Err(ParseError::UnknownOperation(_))
            ));
        }
    }

    #[test]
    fn what_is_written_can_be_read() {
        let publish = Publish {
            subject: b"s",
            reply: Some(b"r"),
            header: Some(Size {
                bytes: 12,
                text: b"12",
            }),
            size: Size {
                bytes: 14,
                text: b"14",
            },
            sized_body: None,
            body: b"NATS/1.0\r\n\r\nhi\r\n",
        };
        let mut line = Vec::new();
        push_message_line(&mut line, Some(b"A"), &publish, b"q1 q2 ", true);
        assert_eq!(line, b"HMSG A s + r q1 q2 12 14\r\n");
        line.clear();
        push_message_line(&mut line, None, &publish, b"", false);
        assert_eq!(line, b"RMSG s r 2\r\n");
        line.clear();
        push_interest(&mut line, Some(b"A"), b"a.*", Some(b"q"), 17);
        push_interest(&mut line, None, b"a.*", Some(b"q"), 0);
        push_interest(&mut line, None, b"a.*", None, 1);
        assert_eq!(line, b"RS+ A a.* q 17\r\nRS- a.* q\r\nRS+ a.*\r\n");
    }
}
