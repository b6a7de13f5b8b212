//! What a server said, cut into protocol frames and made comparable.

use serde_json::Value;

use crate::notation;
use crate::script::Tolerance;
use crate::talk::Heard;

/// What is compared: the frames of all peers, with what may differ taken out.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct View {
    pub(crate) peers: Vec<PeerView>,
    /// For each group of subscriptions what its members received together, sorted.
    pub(crate) groups: Vec<Vec<Vec<u8>>>,
    /// Waits that ended without the awaited.
    pub(crate) missed: Vec<String>,
}

/// What one peer received.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct PeerView {
    pub(crate) name: String,
    pub(crate) frames: Vec<Vec<u8>>,
    pub(crate) closed: bool,
}

/// A message, or anything else that a server says.
#[derive(Clone, Debug, PartialEq)]
enum Frame {
    /// A line with its end, or an incomplete rest.
    Other(Vec<u8>),
    Message(Message),
}

#[derive(Clone, Debug, PartialEq)]
struct Message {
    /// The words of the control line as they were separated by single blanks.
    words: Vec<Vec<u8>>,
    /// Header, payload and line end.
    body: Vec<u8>,
}

/// What nats-server says again when the message came in pieces.
const REPEATED: &[u8] = b"-ERR 'Invalid Publish Subject'\r\n";

/// What the accounts' users are told of logins that failed. It comes when the server finds the time, which
/// nothing in a conversation waits for; the tests of monitoring compare it.
const FAILED_LOGIN: &[u8] = b"$SYS.ACCOUNT.CLIENT.AUTH.ERR";

/// The positions of the subject and of the subscription's name in a message's control line.
const SUBJECT: usize = 1;
const SID: usize = 2;

impl View {
    /// The comparable form of what was `heard`.
    pub(crate) fn new(heard: &Heard, tolerance: &Tolerance) -> Self {
        let mut view = Self {
            missed: heard.missed.clone(),
            ..Self::default()
        };
        view.groups.resize(tolerance.groups.len(), Vec::new());
        for peer in &heard.peers {
            let mut frames = split(&peer.bytes);
            if tolerance.loosely.contains(&peer.name) {
                frames.clear();
            }
            frames.retain_mut(|frame| view.keep(frame, tolerance));
            sort_copies(&mut frames);
            if tolerance.repeats {
                frames.dedup_by(|a, b| a == b && *a == Frame::Other(REPEATED.to_vec()));
            }
            let frames = frames.iter().map(Frame::bytes).collect();
            view.peers.push(PeerView {
                name: peer.name.clone(),
                frames,
                closed: peer.closed,
            });
        }
        view.groups.iter_mut().for_each(|group| group.sort());
        view
    }

    /// Masks what may differ in `frame`; `false` if it is compared elsewhere or not at all.
    fn keep(&mut self, frame: &mut Frame, tolerance: &Tolerance) -> bool {
        match frame {
            Frame::Other(line) if line.starts_with(b"INFO ") => *line = mask_info(line),
            Frame::Other(line) => {
                mask_reply(line);
                return tolerance.keepalive || line != b"PING\r\n";
            }
            Frame::Message(message) => {
                if message.words[SUBJECT] == FAILED_LOGIN {
                    return false;
                }
                message.mask();
                let sid = String::from_utf8_lossy(message.words.get(SID).map_or(b"", |sid| sid))
                    .into_owned();
                let group = tolerance
                    .groups
                    .iter()
                    .position(|group| group.contains(&sid));
                if let Some(group) = group {
                    self.groups[group].push(message.without_sid());
                    return false;
                }
                if tolerance.documents {
                    message.outline();
                }
                if tolerance.unanswered && message.body.starts_with(b"NATS/1.0 503\r\n") {
                    message.words[SID] = b"<any>".to_vec();
                }
            }
        }
        true
    }
}

impl Frame {
    fn bytes(&self) -> Vec<u8> {
        match self {
            Self::Other(bytes) => bytes.clone(),
            Self::Message(message) => message.bytes(&message.words),
        }
    }
}

impl Message {
    fn bytes(&self, words: &[Vec<u8>]) -> Vec<u8> {
        let mut bytes = words.join(&b' ');
        bytes.extend_from_slice(b"\r\n");
        bytes.extend_from_slice(&self.body);
        bytes
    }

    /// Replaces what a server makes up: reply subjects for requests from other accounts, and what is
    /// measured about who asks. The sizes count what is left.
    fn mask(&mut self) {
        self.words.iter_mut().for_each(mask_reply);
        let Some(at) = memchr::memmem::find(&self.body, b"Nats-Request-Info: {") else {
            return;
        };
        let mut text = String::from_utf8_lossy(&self.body[at..]).into_owned();
        let before = text.len();
        for field in ["rtt", "start", "server", "id"] {
            if let Some(range) = value_of(&text, field) {
                text.replace_range(range, "*");
            }
        }
        self.body.splice(at.., text.bytes());
        let shrunk = before - text.len();
        for word in self.words.iter_mut().rev().take(2) {
            let size: usize = String::from_utf8_lossy(word).parse().unwrap_or(shrunk);
            *word = (size - shrunk).to_string().into_bytes();
        }
    }

    /// Replaces a payload that is a JSON object by the names of its fields.
    fn outline(&mut self) {
        if let Ok(document @ Value::Object(_)) = serde_json::from_slice(&self.body) {
            self.body = names(&document).into_bytes();
            self.words.pop();
        }
    }

    fn without_sid(&self) -> Vec<u8> {
        let mut words = self.words.clone();
        words[SID] = b"<group>".to_vec();
        self.bytes(&words)
    }
}

/// Replaces a reply subject for a request from another account.
fn mask_reply(bytes: &mut Vec<u8>) {
    if let Some(start) = memchr::memmem::find(bytes, b"_R_.") {
        let rest = &bytes[start..];
        let end = rest
            .iter()
            .position(|byte| byte.is_ascii_whitespace() || *byte == b'"');
        bytes.splice(start..start + end.unwrap_or(rest.len()), *b"_R_.*");
    }
}

/// The names of all fields inside `document`, in alphabetical order on each level.
fn names(document: &Value) -> String {
    match document {
        Value::Object(fields) => {
            let fields = fields
                .iter()
                .map(|(name, value)| format!("{name}{}", names(value)));
            format!("{{{}}}", fields.collect::<Vec<_>>().join(","))
        }
        Value::Array(elements) => elements.first().map_or_else(String::new, names),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => String::new(),
    }
}

/// Cuts the bytes of a server into frames.
fn split(bytes: &[u8]) -> Vec<Frame> {
    let mut frames = Vec::new();
    let mut rest = bytes;
    while !rest.is_empty() {
        let line_end = memchr::memmem::find(rest, b"\r\n").map_or(rest.len(), |at| at + 2);
        let (line, after) = rest.split_at(line_end);
        let (frame, after) = match split_message(line, after) {
            Some((message, after)) => (Frame::Message(message), after),
            None => (Frame::Other(line.to_vec()), after),
        };
        frames.push(frame);
        rest = after;
    }
    frames
}

/// The message that `line` starts, if it does and is complete, and what comes after it.
fn split_message<'a>(line: &[u8], after: &'a [u8]) -> Option<(Message, &'a [u8])> {
    let line = line.strip_suffix(b"\r\n")?;
    let words: Vec<Vec<u8>> = line
        .split(|&byte| byte == b' ')
        .map(<[u8]>::to_vec)
        .collect();
    if !matches!(words.first()?.as_slice(), b"MSG" | b"HMSG") || words.len() < 4 {
        return None;
    }
    let size: usize = std::str::from_utf8(words.last()?).ok()?.parse().ok()?;
    let body = after.get(..size.checked_add(2)?)?.to_vec();
    let after = after.get(body.len()..)?;
    Some((Message { words, body }, after))
}

/// Sorts copies of one message to several subscriptions of a peer: their order is not promised.
fn sort_copies(frames: &mut [Frame]) {
    let copies = |a: &Frame, b: &Frame| match (a, b) {
        (Frame::Message(a), Frame::Message(b)) => a.without_sid() == b.without_sid(),
        _ => false,
    };
    for run in frames.chunk_by_mut(copies) {
        run.sort_by_key(Frame::bytes);
    }
}

/// Fields of INFO whose values belong to one server, one build or one connection.
const MASKED: [&str; 6] = ["server_id", "go", "nonce", "xkey", "port", "client_id"];

/// Replaces what differs from server to server and from run to run in an INFO line.
fn mask_info(line: &[u8]) -> Vec<u8> {
    let mut text = String::from_utf8_lossy(line).into_owned();
    let id = value_of(&text, "server_id").map(|range| text[range].to_owned());
    // nats-server leaves it out when it was built outside its repository.
    if let Some(range) = value_of(&text, "git_commit") {
        text.replace_range(range.start - "\"git_commit\":".len()..range.end + 1, "");
    }
    for field in MASKED {
        if let Some(range) = value_of(&text, field) {
            let quoted = text[range.clone()].starts_with('"');
            text.replace_range(range, if quoted { "\"*\"" } else { "*" });
        }
    }
    if let Some(range) =
        value_of(&text, "server_name").filter(|range| Some(&text[range.clone()]) == id.as_deref())
    {
        text.replace_range(range, "<server_id>");
    }
    text.into_bytes()
}

/// Where the value of `field` stands in a JSON text without blanks.
fn value_of(text: &str, field: &str) -> Option<std::ops::Range<usize>> {
    let key = format!("\"{field}\":");
    let start = text.find(&key)? + key.len();
    let value = &text[start..];
    let length = match value.strip_prefix('"') {
        Some(string) => string.find('"')? + 2,
        None => value.find([',', '}'])?,
    };
    Some(start..start + length)
}

/// Both views side by side for a reader; lines that differ are marked.
pub(crate) fn show_difference(reference: &View, tested: &View) -> String {
    let mut text = String::new();
    for (at, name) in peer_names(reference, tested).into_iter().enumerate() {
        let (expected, got) = (peer_lines(reference, at), peer_lines(tested, at));
        if expected != got {
            text.push_str(&format!("  {name} heard\n"));
            text.push_str(&show_lines(&expected, &got));
        }
    }
    for (at, (expected, got)) in reference.groups.iter().zip(&tested.groups).enumerate() {
        if expected != got {
            text.push_str(&format!("  group {} heard together\n", at + 1));
            text.push_str(&show_lines(&shown(expected), &shown(got)));
        }
    }
    if reference.missed != tested.missed {
        text.push_str("  awaited in vain\n");
        text.push_str(&show_lines(&reference.missed, &tested.missed));
    }
    text
}

fn peer_names(reference: &View, tested: &View) -> Vec<String> {
    let longer = if reference.peers.len() >= tested.peers.len() {
        reference
    } else {
        tested
    };
    longer.peers.iter().map(|peer| peer.name.clone()).collect()
}

fn peer_lines(view: &View, at: usize) -> Vec<String> {
    let Some(peer) = view.peers.get(at) else {
        return Vec::new();
    };
    let mut lines = shown(&peer.frames);
    lines.push(if peer.closed {
        "(closed)".into()
    } else {
        "(still open)".into()
    });
    lines
}

fn shown(frames: &[Vec<u8>]) -> Vec<String> {
    frames.iter().map(|frame| notation::show(frame)).collect()
}

/// `=` for a line of both, `-` for one only the reference said, `+` for one only the tested said.
fn show_lines(expected: &[String], got: &[String]) -> String {
    let same_start = expected.iter().zip(got).take_while(|(a, b)| a == b).count();
    let (expected_rest, got_rest) = (&expected[same_start..], &got[same_start..]);
    let same_end = expected_rest
        .iter()
        .rev()
        .zip(got_rest.iter().rev())
        .take_while(|(a, b)| a == b)
        .count();
    let mut text = String::new();
    let mut add = |mark: &str, lines: &[String]| {
        lines
            .iter()
            .for_each(|line| text.push_str(&format!("    {mark} {line}\n")));
    };
    add("=", &expected[..same_start]);
    add(
        "- reference:",
        &expected_rest[..expected_rest.len() - same_end],
    );
    add("+ tested:   ", &got_rest[..got_rest.len() - same_end]);
    add("=", &expected_rest[expected_rest.len() - same_end..]);
    text
}

#[test]
fn frames_follow_the_sizes_they_name() {
    let bytes =
        b"+OK\r\nMSG a 1 2\r\n\r\n\r\nHMSG a 1 r 2 04\r\nhiho\r\nPONG\r\nMSG a 1 9\r\nshort";
    let frames: Vec<Vec<u8>> = split(bytes).iter().map(Frame::bytes).collect();
    let expected: [&[u8]; 6] = [
        b"+OK\r\n",
        b"MSG a 1 2\r\n\r\n\r\n",
        b"HMSG a 1 r 2 04\r\nhiho\r\n",
        b"PONG\r\n",
        b"MSG a 1 9\r\n",
        b"short",
    ];
    assert_eq!(frames, expected);
}

#[test]
fn copies_are_sorted_but_different_messages_keep_their_order() {
    let mut frames =
        split(b"MSG a 2 1\r\nx\r\nMSG a 1 1\r\nx\r\nMSG a 1 1\r\ny\r\nMSG a 0 1\r\nx\r\n");
    sort_copies(&mut frames);
    let bytes: Vec<u8> = frames.iter().flat_map(Frame::bytes).collect();
    assert_eq!(
        bytes,
        b"MSG a 1 1\r\nx\r\nMSG a 2 1\r\nx\r\nMSG a 1 1\r\ny\r\nMSG a 0 1\r\nx\r\n"
    );
}

#[test]
fn info_keeps_its_fields_and_their_order() {
    let line = br#"INFO {"server_id":"NA","server_name":"NA","version":"2.15.1","git_commit":"a","port":1234,"client_id":5} "#;
    let masked = String::from_utf8(mask_info(line)).unwrap();
    let expected = r#"INFO {"server_id":"*","server_name":<server_id>,"version":"2.15.1","port":*,"client_id":*} "#;
    assert_eq!(masked, expected);
}

#[test]
fn a_difference_shows_both_sides() {
    let lines = |lines: &[&str]| {
        lines
            .iter()
            .map(|&line| line.to_owned())
            .collect::<Vec<_>>()
    };
    let text = show_lines(
        &lines(&["+OK", "a", "(open)"]),
        &lines(&["+OK", "b", "c", "(open)"]),
    );
    assert_eq!(
        text,
        "    = +OK\n    - reference: a\n    + tested:    b\n    + tested:    c\n    = (open)\n"
    );
}

#[test]
fn documents_are_outlined() {
    let document = serde_json::json!({"b": [{"y": 1, "x": {"z": null}}, 2], "a": "text"});
    assert_eq!(names(&document), "{a,b{x{z},y}}");
}
