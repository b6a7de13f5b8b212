//! Conversations: what is said to a server, read from text files.
//!
//! A file holds conversations; lines that start with `#` are comments.
//!
//! ```text
//! let quiet = CONNECT {"verbose":false}      text for \{quiet} in the lines below
//! server                                     configuration for the conversations below,
//!     max_payload: 100                       until the next such block
//! end
//!
//! == title of a conversation
//! | value                                    one conversation for each such line,
//! | other                                    with \= replaced by the value
//! a> SUB foo 1                               peer a (opened here) sends this and CRLF
//! a>> PING\r\n                               sends exactly this
//! a each>> PING\r\n                          … one byte at a time (also `a each> PING`)
//! a times 5> PUB foo 0\r\n                   … five times in one write
//! a? PONG                                    waits until these bytes have come, or the close
//! a? 100 bytes                               waits until this many have come in all
//! a? closed                                  waits for the close
//! a sync                                     sends PING and waits for PONG, or the close
//! sync                                       the same for every peer, first for the last speaker
//! a open / a drop / a hold / a resume        opens; closes from here; stops and restarts reading
//! server signal usr2                         sends the signal to the server's process
//! ```
//!
//! What the server answers is not written down: the reference server says it.
//! Between title and steps a conversation may say how answers are compared:
//! `alone` (servers of its own), `keepalive` (the server's PINGs count), `group 1 2`
//! (who of these subscriptions gets a message is left open), `unanswered` (503 may go to any of
//! the peer's equal subscriptions), `repeats` (the complaint about a pedantic client's subject
//! counts once however often it is repeated), `documents` (of payloads that are JSON only the
//! names of fields are compared), `loosely b` (of b only the close is compared).

use std::collections::BTreeMap;
use std::fmt;

use crate::notation::{self, Pieces};

/// What the reference and the tested server are both told.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Conversation {
    /// Unique among the written ones.
    pub(crate) title: String,
    /// File and line, or the seed that made it.
    pub(crate) origin: String,
    /// Contents of the configuration file.
    pub(crate) configuration: String,
    /// How the answers are compared.
    pub(crate) tolerance: Tolerance,
    /// In order; a step starts when the one before is done.
    pub(crate) steps: Vec<Step>,
}

/// What a conversation leaves open.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Tolerance {
    /// Needs servers that nobody else uses.
    pub(crate) alone: bool,
    /// PINGs of the server are compared; otherwise they are left out.
    pub(crate) keepalive: bool,
    /// A no-responders status may carry any subscription of its peer.
    pub(crate) unanswered: bool,
    /// nats-server complains about a subject again when the message came in pieces.
    pub(crate) repeats: bool,
    /// Of JSON payloads only the names of fields are compared.
    pub(crate) documents: bool,
    /// Subscriptions among which the server chooses freely.
    pub(crate) groups: Vec<Vec<String>>,
    /// Peers of which only the close is compared.
    pub(crate) loosely: Vec<String>,
}

/// One thing done by a peer.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Step {
    Open(String),
    Send(String, Pieces),
    Await(String, Awaited),
    Sync(String),
    SyncAll,
    Drop(String),
    Hold(String),
    Resume(String),
    Signal(Signal),
}

/// What a peer waits for; a close always ends the wait.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Awaited {
    Closed,
    /// Found after the previous text that was awaited.
    Text(Vec<u8>),
}

/// A signal to the server's process.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Signal {
    Hangup,
    Terminate,
    User2,
}

/// Reads all conversations of one file.
///
/// # Errors
/// Names file, line and mistake.
pub(crate) fn read(file: &str, text: &str) -> Result<Vec<Conversation>, String> {
    let mut reader = Reader {
        file,
        ..Reader::default()
    };
    for (index, line) in text.lines().enumerate() {
        reader
            .line(index + 1, line.trim_end())
            .map_err(|why| format!("{file}:{}: {why}", index + 1))?;
    }
    reader.finish().map_err(|why| format!("{file}: {why}"))?;
    Ok(reader.done)
}

#[derive(Default)]
struct Reader<'a> {
    file: &'a str,
    lets: BTreeMap<String, String>,
    configuration: String,
    inside_server: bool,
    started: Option<Started>,
    done: Vec<Conversation>,
}

/// A conversation of which more lines may come.
struct Started {
    title: String,
    origin: String,
    cases: Vec<String>,
    lines: Vec<(usize, String)>,
}

impl Reader<'_> {
    fn line(&mut self, number: usize, line: &str) -> Result<(), String> {
        if self.inside_server {
            if line == "end" {
                self.inside_server = false;
            } else {
                self.configuration.push_str(line);
                self.configuration.push('\n');
            }
        } else if line.is_empty() || line.starts_with('#') {
        } else if line == "server" {
            self.finish()?;
            self.configuration.clear();
            self.inside_server = true;
        } else if let Some(rest) = line.strip_prefix("let ") {
            let (name, value) = rest.split_once(" = ").ok_or("let NAME = TEXT")?;
            let value = self.expand(value, None)?;
            self.lets.insert(name.trim().into(), value);
        } else if let Some(title) = line.strip_prefix("== ") {
            self.finish()?;
            let (title, origin) = (title.into(), format!("{}:{number}", self.file));
            self.started = Some(Started {
                title,
                origin,
                cases: Vec::new(),
                lines: Vec::new(),
            });
        } else {
            let started = self
                .started
                .as_mut()
                .ok_or("a step before the first title")?;
            match line.strip_prefix('|') {
                Some(case) => started
                    .cases
                    .push(case.strip_prefix(' ').unwrap_or(case).into()),
                None => started.lines.push((number, line.into())),
            }
        }
        Ok(())
    }

    /// Ends the conversation under way, if there is one.
    fn finish(&mut self) -> Result<(), String> {
        let Some(started) = self.started.take() else {
            return Ok(());
        };
        if started.cases.is_empty() {
            let conversation = self.build(&started, None)?;
            self.done.push(conversation);
        }
        for case in &started.cases {
            let conversation = self.build(&started, Some(case))?;
            self.done.push(conversation);
        }
        Ok(())
    }

    fn build(&self, started: &Started, case: Option<&str>) -> Result<Conversation, String> {
        let mut conversation = Conversation {
            title: started.title.clone(),
            origin: started.origin.clone(),
            configuration: self.configuration.clone(),
            ..Conversation::default()
        };
        if let Some(case) = case {
            conversation.title.push_str(&format!(" [{case}]"));
        }
        for (number, line) in &started.lines {
            self.expand(line, case)
                .and_then(|line| read_line(&line, &mut conversation))
                .map_err(|why| format!("line {number}: {why}"))?;
        }
        Ok(conversation)
    }

    /// Replaces `\=` and `\{name}`.
    fn expand(&self, text: &str, case: Option<&str>) -> Result<String, String> {
        let mut expanded = String::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once('\\') {
            expanded.push_str(before);
            if let Some(after) = after.strip_prefix('=') {
                expanded.push_str(case.ok_or("\\= without cases")?);
                rest = after;
            } else if let Some(after) = after.strip_prefix('{') {
                let (name, after) = after.split_once('}').ok_or("\\{ without }")?;
                let value = self
                    .lets
                    .get(name)
                    .ok_or_else(|| format!("no let {name}"))?;
                expanded.push_str(value);
                rest = after;
            } else {
                let kept = after.chars().next().map_or(0, char::len_utf8);
                expanded.push('\\');
                expanded.push_str(&after[..kept]);
                rest = &after[kept..];
            }
        }
        expanded.push_str(rest);
        Ok(expanded)
    }
}

/// Reads one tolerance or step.
fn read_line(line: &str, conversation: &mut Conversation) -> Result<(), String> {
    let words: Vec<&str> = line.split_whitespace().collect();
    let tolerance = &mut conversation.tolerance;
    match words.as_slice() {
        ["alone"] => tolerance.alone = true,
        ["keepalive"] => tolerance.keepalive = true,
        ["unanswered"] => tolerance.unanswered = true,
        ["repeats"] => tolerance.repeats = true,
        ["documents"] => tolerance.documents = true,
        ["group", sids @ ..] => tolerance.groups.push(owned(sids)),
        ["loosely", peers @ ..] => tolerance.loosely.extend(owned(peers)),
        _ => conversation.steps.push(read_step(line, &words)?),
    }
    Ok(())
}

fn owned(words: &[&str]) -> Vec<String> {
    words.iter().map(|&word| word.to_owned()).collect()
}

fn read_step(line: &str, words: &[&str]) -> Result<Step, String> {
    Ok(match words {
        ["sync"] => Step::SyncAll,
        ["server", "signal", "hup"] => Step::Signal(Signal::Hangup),
        ["server", "signal", "term"] => Step::Signal(Signal::Terminate),
        ["server", "signal", "usr2"] => Step::Signal(Signal::User2),
        [peer, "open"] => Step::Open((*peer).into()),
        [peer, "sync"] => Step::Sync((*peer).into()),
        [peer, "drop"] => Step::Drop((*peer).into()),
        [peer, "hold"] => Step::Hold((*peer).into()),
        [peer, "resume"] => Step::Resume((*peer).into()),
        _ => match line.find(['>', '?']) {
            Some(at) if line[at..].starts_with('?') => read_await(&line[..at], &line[at + 1..])?,
            Some(at) => read_send(&line[..at], &line[at + 1..])?,
            None => return Err(format!("not a step: {line}")),
        },
    })
}

fn read_await(peer: &str, text: &str) -> Result<Step, String> {
    let text = text.strip_prefix(' ').unwrap_or(text);
    let awaited = match text.split_whitespace().collect::<Vec<_>>().as_slice() {
        ["closed"] => Awaited::Closed,
        _ => Awaited::Text(notation::read(text)?.concat()),
    };
    Ok(Step::Await(peer.into(), awaited))
}

fn read_send(head: &str, text: &str) -> Result<Step, String> {
    let (exactly, text) = match text.strip_prefix('>') {
        Some(text) => (true, text),
        None => (false, text),
    };
    let mut pieces = notation::read(text.strip_prefix(' ').unwrap_or(text))?;
    if let (false, Some(last)) = (exactly, pieces.last_mut()) {
        last.extend_from_slice(b"\r\n");
    }
    let peer = match head.split_whitespace().collect::<Vec<_>>().as_slice() {
        [peer] => peer.to_string(),
        [peer, "each"] => {
            pieces = pieces.concat().into_iter().map(|byte| vec![byte]).collect();
            peer.to_string()
        }
        [peer, "times", count] => {
            let count: usize = count.parse().map_err(|_| "bad count")?;
            pieces = vec![pieces.concat().repeat(count)];
            peer.to_string()
        }
        _ => return Err(format!("nobody sends: {head}")),
    };
    Ok(Step::Send(peer, pieces))
}

impl fmt::Display for Conversation {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.configuration.is_empty() {
            writeln!(formatter, "server\n{}end\n", self.configuration)?;
        }
        writeln!(formatter, "== {}", self.title)?;
        let tolerance = &self.tolerance;
        let flags = [
            (tolerance.alone, "alone"),
            (tolerance.keepalive, "keepalive"),
            (tolerance.unanswered, "unanswered"),
            (tolerance.repeats, "repeats"),
            (tolerance.documents, "documents"),
        ];
        for (_, word) in flags.iter().filter(|(set, _)| *set) {
            writeln!(formatter, "{word}")?;
        }
        for group in &tolerance.groups {
            writeln!(formatter, "group {}", group.join(" "))?;
        }
        if !tolerance.loosely.is_empty() {
            writeln!(formatter, "loosely {}", tolerance.loosely.join(" "))?;
        }
        self.steps
            .iter()
            .try_for_each(|step| writeln!(formatter, "{step}"))
    }
}

impl fmt::Display for Step {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Open(peer) => write!(formatter, "{peer} open"),
            Self::Send(peer, pieces) => {
                let each = pieces.len() > 3 && pieces.iter().all(|piece| piece.len() == 1);
                if each {
                    return write!(
                        formatter,
                        "{peer} each>> {}",
                        notation::show(&pieces.concat())
                    );
                }
                match pieces.as_slice() {
                    [line] if line.ends_with(b"\r\n") => {
                        write!(
                            formatter,
                            "{peer}> {}",
                            notation::show(&line[..line.len() - 2])
                        )
                    }
                    _ => write!(formatter, "{peer}>> {}", notation::show_pieces(pieces)),
                }
            }
            Self::Await(peer, Awaited::Closed) => write!(formatter, "{peer}? closed"),
            Self::Await(peer, Awaited::Text(text)) => {
                write!(formatter, "{peer}? {}", notation::show(text))
            }
            Self::Sync(peer) => write!(formatter, "{peer} sync"),
            Self::SyncAll => write!(formatter, "sync"),
            Self::Drop(peer) => write!(formatter, "{peer} drop"),
            Self::Hold(peer) => write!(formatter, "{peer} hold"),
            Self::Resume(peer) => write!(formatter, "{peer} resume"),
            Self::Signal(Signal::Hangup) => write!(formatter, "server signal hup"),
            Self::Signal(Signal::Terminate) => write!(formatter, "server signal term"),
            Self::Signal(Signal::User2) => write!(formatter, "server signal usr2"),
        }
    }
}

#[test]
fn scripts_round_trip_through_their_text() {
    let text = "let quiet = CONNECT {\"verbose\":false}\nserver\nport: -1\nend\n== one\n| 1\n| \\s2\nalone\n\
        group 1 2\nloosely b\ndocuments\nunanswered\nrepeats\nkeepalive\na> \\{quiet}\na>> PUB a \\=\\|\\r\\n\na each> PING\na times 3> PING\na? +OK\n\
        a? closed\na? 12 times\nb open\nb sync\nsync\nb hold\nb resume\nb drop\nserver signal usr2\n";
    let conversations = read("text", text).unwrap();
    assert_eq!(conversations.len(), 2);
    assert_eq!(conversations[1].title, "one [\\s2]");
    for conversation in conversations {
        let again = read("text", &conversation.to_string()).unwrap().remove(0);
        assert_eq!(again.steps, conversation.steps);
        assert_eq!(again.tolerance, conversation.tolerance);
        assert_eq!(again.configuration, conversation.configuration);
    }
}

#[test]
fn mistakes_in_scripts_are_named_with_their_line() {
    for (text, place) in [
        ("a> PING", "f:1: a step before the first title"),
        ("== t\na nothing\n== u\n", "f:3: line 2: not a step"),
        ("== t\na> \\{x}\n", "line 2: no let x"),
        ("== t\na> \\=\n", "line 2: \\= without cases"),
        ("== t\na>> \\q\n", "line 2: unknown escape"),
    ] {
        let error = read("f", text).unwrap_err();
        assert!(error.contains(place), "{error}");
    }
}
