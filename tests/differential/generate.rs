//! Conversations from a seed: mostly valid traffic, some of it damaged or cut in odd places.
//!
//! What the reference itself answers differently from run to run is not generated: a queue
//! member's limit, and a carriage return inside a control line. Nor is what is known to differ:
//! a message that a pedantic client leaves incomplete.

use crate::notation::Pieces;
use crate::random::Random;
use crate::script::{Awaited, Conversation, Step, Tolerance};

/// Subjects are made of few words, so that they often match.
const WORDS: [&str; 4] = ["a", "b", "c", "dd"];
const PEERS: [&str; 3] = ["x", "y", "z"];
const LIMITS: &str =
    "max_payload: 64\nmax_control_line: 96\nmax_subscriptions: 4\nmax_subscription_tokens: 3\n";
const USERS: &str = "authorization { users = [
  { user: alice, password: wonder }
  { user: bob, password: builder, permissions: {
      publish: { allow: [\"a.>\", \"*.b\", \"r.>\", \"dd\"], deny: [\"a.b.>\", \"r.2\"] }
      subscribe: { allow: [\"a.>\", \"b.>\", \"c q\", \"r.>\"], deny: [\"a.b\", \"*.c w.*\", \"a.*.dd\"] } } }
  { user: carl, password: coral, permissions: { publish: \"c.>\", allow_responses: { max: 2, expires: \"1m\" } } }
] }
";
const CREDENTIALS: [&str; 5] = [
    "\"user\":\"alice\",\"pass\":\"wonder\"",
    "\"user\":\"bob\",\"pass\":\"builder\"",
    "\"user\":\"bob\",\"pass\":\"builder\"",
    "\"user\":\"carl\",\"pass\":\"coral\"",
    "\"user\":\"alice\",\"pass\":\"builder\"",
];

/// The conversation of this seed.
pub(crate) fn conversation(seed: u64) -> Conversation {
    let mut random = Random::new(seed);
    let configuration = match random.below(10) {
        0..=4 => "",
        5..=7 => LIMITS,
        _ => USERS,
    };
    let mut author = Author {
        random,
        limited: configuration == LIMITS,
        ..Author::default()
    };
    author.write(configuration == USERS);
    Conversation {
        title: format!("seed {seed}"),
        origin: "generated".into(),
        configuration: configuration.into(),
        tolerance: Tolerance {
            unanswered: true,
            repeats: true,
            groups: author
                .queues
                .into_iter()
                .map(|(_, sids)| sids)
                .filter(|sids| !sids.is_empty())
                .collect(),
            ..Tolerance::default()
        },
        steps: author.steps,
    }
}

#[derive(Default)]
struct Author {
    random: Random,
    limited: bool,
    /// Some of what is said gets damaged.
    damaging: bool,
    steps: Vec<Step>,
    /// Names of the plain subscriptions of each peer.
    sids: [Vec<String>; PEERS.len()],
    /// Names of the members of each queue group, over all peers.
    queues: Vec<(String, Vec<String>)>,
    named: usize,
}

impl Default for Random {
    fn default() -> Self {
        Self::new(0)
    }
}

impl Author {
    fn write(&mut self, with_users: bool) {
        let peers = self.random.within(1..PEERS.len() + 1);
        self.queues = ["q", "w.*", "n"]
            .map(|name| (name.to_owned(), Vec::new()))
            .to_vec();
        self.damaging = self.random.chance(40);
        for peer in 0..peers {
            // Without CONNECT a client is pedantic.
            if self.damaging || !self.random.chance(8) {
                let line = self.connect(with_users);
                self.say(peer, line, false);
            }
        }
        for _ in 0..self.random.within(2..9) {
            let peer = self.random.below(peers);
            for _ in 0..self.random.within(1..6) {
                if self.random.chance(6) {
                    self.ping(peer);
                    continue;
                }
                let operation = self.operation(peer, with_users);
                let damaged = self.damaging && self.random.chance(12);
                self.say(peer, operation, damaged);
            }
            self.steps.push(Step::Sync(PEERS[peer].into()));
        }
        self.steps.push(Step::SyncAll);
    }

    /// Has `peer` send a PING in one of the accepted forms and wait: were its PONG still on the
    /// way, the next sync would take it for its own.
    fn ping(&mut self, peer: usize) {
        let forms: [&[u8]; 4] = [b"PING\r\n", b"PING now\r\n", b"pInG\n", b"PINGX\t\r\n"];
        let form = self.random.pick::<&[u8]>(&forms).to_vec();
        self.say(peer, form, false);
        let pong = Awaited::Text(b"PONG\r\n".to_vec());
        self.steps.push(Step::Await(PEERS[peer].into(), pong));
    }

    /// Has `peer` send `bytes`, perhaps damaged and perhaps cut.
    fn say(&mut self, peer: usize, bytes: Vec<u8>, damaged: bool) {
        let bytes = if damaged { self.damage(bytes) } else { bytes };
        let pieces = self.cut(bytes);
        self.steps.push(Step::Send(PEERS[peer].into(), pieces));
    }

    fn connect(&mut self, with_users: bool) -> Vec<u8> {
        let mut fields = Vec::new();
        let mut flag = |random: &mut Random, name: &str, percent: usize, named: usize| {
            if random.chance(named) {
                fields.push(format!("\"{name}\":{}", random.chance(percent)));
            }
        };
        flag(&mut self.random, "verbose", 25, 90);
        let pedantic = if self.damaging { (0, 100) } else { (25, 70) };
        flag(&mut self.random, "pedantic", pedantic.0, pedantic.1);
        flag(&mut self.random, "echo", 70, 30);
        let headers = self.random.chance(75);
        if headers || self.random.chance(30) {
            fields.push(format!("\"headers\":{headers}"));
        }
        if self.random.chance(if headers { 60 } else { 3 }) {
            fields.push("\"no_responders\":true".into());
        }
        if self.random.chance(60) {
            fields.push(format!(
                "\"protocol\":{}",
                self.random.pick(&["1", "1", "1", "0", "2"])
            ));
        }
        if with_users && !self.random.chance(8) {
            fields.push((*self.random.pick(&CREDENTIALS)).into());
        }
        if self.random.chance(10) {
            let odd = [
                "\"name\":\"\\u00e4\"",
                "\"lang\":null",
                "\"extra\":[1,{}]",
                "\"VERBOSE\":false",
                "\"echo\":1",
            ];
            fields.push((*self.random.pick(&odd)).into());
        }
        format!("CONNECT {{{}}}\r\n", fields.join(",")).into_bytes()
    }

    fn operation(&mut self, peer: usize, with_users: bool) -> Vec<u8> {
        match self.random.below(100) {
            0..=27 => self.subscribe(peer),
            28..=35 => self.unsubscribe(peer),
            36..=69 => self.publish(),
            70..=87 => self.publish_with_header(),
            88..=91 => b"PONG\r\n".to_vec(),
            92..=94 => b"+OK\r\n".to_vec(),
            95 => b"INFO {}\r\n".to_vec(),
            96 => self.connect(with_users),
            _ => {
                let odd: [&[u8]; 4] = [b"pong now\r\n", b"+ok fine\n", b"PUB a\r\n", b"SUB a\r\n"];
                self.random.pick(&odd).to_vec()
            }
        }
    }

    fn subscribe(&mut self, peer: usize) -> Vec<u8> {
        let filter = self.filter();
        if self.random.chance(25) {
            self.named += 1;
            let sid = format!("g{}", self.named);
            let at = self.random.below(self.queues.len());
            let (queue, sids) = &mut self.queues[at];
            sids.push(sid.clone());
            let line = [filter, queue.clone(), sid];
            return self.line("SUB", &line);
        }
        let reused = !self.sids[peer].is_empty() && self.random.chance(12);
        let sid = if reused {
            self.random.pick(&self.sids[peer]).clone()
        } else {
            self.named += 1;
            self.named.to_string()
        };
        self.sids[peer].push(sid.clone());
        self.line("SUB", &[filter, sid])
    }

    fn unsubscribe(&mut self, peer: usize) -> Vec<u8> {
        let known = !self.sids[peer].is_empty() && self.random.chance(85);
        let sid = if known {
            self.random.pick(&self.sids[peer]).clone()
        } else {
            "77".into()
        };
        let max = ["", "", "0", "1", "2", "3", "-1", "x", "1000000000"];
        let max = (*self.random.pick(&max)).to_owned();
        self.line("UNSUB", &[sid, max])
    }

    fn publish(&mut self) -> Vec<u8> {
        let (subject, reply, payload) = (self.subject(), self.reply(), self.payload());
        let size = self.size(payload.len());
        let mut bytes = self.line("PUB", &[subject, reply, size]);
        bytes.extend_from_slice(&payload);
        bytes.extend_from_slice(b"\r\n");
        bytes
    }

    fn publish_with_header(&mut self) -> Vec<u8> {
        let headers: [&[u8]; 5] = [
            b"NATS/1.0\r\n\r\n",
            b"NATS/1.0\r\nA: b\r\n\r\n",
            b"NATS/1.0 100 Idle\r\n\r\n",
            b"NATS/1.0\r\nA:b\r\nA: c\r\n\r\n",
            b"no header",
        ];
        let header = self.random.pick(&headers).to_vec();
        let (subject, reply, payload) = (self.subject(), self.reply(), self.payload());
        let header_size = self.size(header.len());
        let total = self.size(header.len() + payload.len());
        let mut bytes = self.line("HPUB", &[subject, reply, header_size, total]);
        bytes.extend_from_slice(&header);
        bytes.extend_from_slice(&payload);
        bytes.extend_from_slice(b"\r\n");
        bytes
    }

    /// A control line with its words set apart in one of the accepted ways.
    fn line(&mut self, verb: &str, words: &[String]) -> Vec<u8> {
        let mut line = verb.to_owned();
        if self.random.chance(8) {
            line.make_ascii_lowercase();
        }
        for word in words.iter().filter(|word| !word.is_empty()) {
            let blank = if self.random.chance(6) {
                *self.random.pick(&["  ", "\t", " \t "])
            } else {
                " "
            };
            line.push_str(blank);
            line.push_str(word);
        }
        if self.random.chance(3) {
            line.push(' ');
        }
        line.push_str(if self.random.chance(5) { "\n" } else { "\r\n" });
        line.into_bytes()
    }

    /// A subscription's subject: sometimes with wildcards, seldom malformed.
    fn filter(&mut self) -> String {
        if self.random.chance(4) {
            let odd = [
                "a..b", ".a", "a.", ">.a", "a.>.b", "a*", "*b.c", "a.b>", ".", "$SYS.x", "_R_.x",
            ];
            return (*self.random.pick(&odd)).to_owned();
        }
        if self.random.chance(12) {
            return (*self.random.pick(&[">", "*", "*.*", "r.*", "a.>"])).to_owned();
        }
        let count = self.random.within(1..5);
        let mut words: Vec<&str> = (0..count)
            .map(|_| {
                if self.random.chance(20) {
                    "*"
                } else {
                    *self.random.pick(&WORDS)
                }
            })
            .collect();
        if self.random.chance(12) {
            words.push(">");
        }
        words.join(".")
    }

    /// A message's subject: seldom with wildcards or malformed.
    fn subject(&mut self) -> String {
        if self.random.chance(5) {
            let odd = [
                "a.*", ">", "a..b", ".a", "a.", "a*", "a.>.b", "$NRG.x", "_GR_.x", "$GR.a.b",
                "\u{e4}",
            ];
            return (*self.random.pick(&odd)).to_owned();
        }
        let count = self.random.within(1..4);
        let words: Vec<&str> = (0..count).map(|_| *self.random.pick(&WORDS)).collect();
        words.join(".")
    }

    /// A reply subject, or none.
    fn reply(&mut self) -> String {
        match self.random.below(20) {
            0..=9 => String::new(),
            10..=15 => format!("r.{}", self.random.below(3)),
            16..=17 => self.subject(),
            18 => (*self
                .random
                .pick(&["a..b", "r.*", ">", "_R_.x", "_GR_.x", "$JS.ACK.x"]))
            .to_owned(),
            _ => "a".into(),
        }
    }

    fn payload(&mut self) -> Vec<u8> {
        let size = match self.random.below(20) {
            0..=3 => 0,
            4..=14 => self.random.within(1..20),
            15..=16 => self.random.within(40..70),
            _ if self.limited => self.random.within(60..70),
            17 => self.random.within(500..530),
            18 => self.random.within(4080..4110),
            _ => *self.random.pick(&[8192, 16384, 32768, 65530, 65536, 70000]),
        };
        vec![*self.random.pick(b"xyz"); size]
    }

    /// The text of a size; seldom with leading zeros.
    fn size(&mut self, size: usize) -> String {
        if self.random.chance(4) {
            format!("0{size}")
        } else {
            size.to_string()
        }
    }

    /// Cuts `bytes` into separate writes.
    fn cut(&mut self, bytes: Vec<u8>) -> Pieces {
        if bytes.len() < 2 || self.random.chance(70) {
            return vec![bytes];
        }
        if bytes.len() < 80 && self.random.chance(20) {
            return bytes.into_iter().map(|byte| vec![byte]).collect();
        }
        let mut pieces = Vec::new();
        let mut rest = bytes.as_slice();
        for _ in 0..self.random.within(1..4) {
            if rest.len() > 1 {
                let (piece, after) = rest.split_at(self.random.within(1..rest.len()));
                pieces.push(piece.to_vec());
                rest = after;
            }
        }
        pieces.push(rest.to_vec());
        pieces
    }

    /// One small change to `bytes`, unless it would leave a carriage return inside a line.
    fn damage(&mut self, bytes: Vec<u8>) -> Vec<u8> {
        let mut damaged = bytes.clone();
        let at = self.random.below(damaged.len());
        match self.random.below(7) {
            0 => {
                damaged.remove(at);
            }
            1 => damaged.insert(at, *self.random.pick(b"0123456789 \tPx.*>{\"\\\0\xff-+")),
            2 => damaged[at] = *self.random.pick(b"0123456789 \tPx.*>{\"\\\0\xff-+\n"),
            3 => damaged.truncate(at),
            4 => damaged[at] ^= 0x20,
            5 => {
                let to = (at + self.random.within(1..12)).min(damaged.len());
                let copy = damaged[at..to].to_vec();
                damaged.splice(at..at, copy);
            }
            _ => {
                let ends: [&[u8]; 5] = [b"\n", b"x", b" ", b"\r\n", b"PI"];
                damaged.extend_from_slice(self.random.pick::<&[u8]>(&ends));
            }
        }
        let lone = |at: usize| damaged[at] == b'\r' && damaged.get(at + 1) != Some(&b'\n');
        if (0..damaged.len()).any(lone) {
            bytes
        } else {
            damaged
        }
    }
}

/// The shortest part of `conversation` that is still `different`. Only what is sent is dropped:
/// without the waits in between, what peers say to each other would overlap.
pub(crate) fn minimise(
    conversation: &Conversation,
    different: impl Fn(&Conversation) -> bool,
) -> Conversation {
    let mut shortest = conversation.clone();
    let mut size = conversation.steps.len().div_ceil(2);
    while size > 0 {
        let mut from = 0;
        while from < shortest.steps.len() {
            let shorter = without_sends(&shortest, from, size);
            let smaller = shorter.steps.len() < shortest.steps.len();
            if smaller && different(&shorter) {
                shortest = shorter;
            } else {
                from += size;
            }
        }
        size /= 2;
    }
    shortest
}

/// `conversation` without what is sent in `size` steps from number `from` on, and without the
/// waits that have nothing to wait for then.
fn without_sends(conversation: &Conversation, from: usize, size: usize) -> Conversation {
    let mut shorter = conversation.clone();
    let dropped = from..from + size;
    let steps = conversation.steps.iter().enumerate();
    shorter.steps = steps
        .filter(|(at, step)| !dropped.contains(at) || !matches!(step, Step::Send(..)))
        .map(|(_, step)| step.clone())
        .collect();
    shorter
        .steps
        .dedup_by(|later, earlier| later == earlier && matches!(later, Step::Sync(_)));
    shorter
}

#[test]
fn a_seed_always_makes_the_same_conversation() {
    for seed in 0..50 {
        assert_eq!(conversation(seed), conversation(seed));
    }
    assert_ne!(conversation(1).steps, conversation(2).steps);
}

#[test]
fn minimising_keeps_only_what_matters() {
    let all = conversation(7);
    let is_send = |step: &&Step| matches!(step, Step::Send(..));
    let sends: Vec<Step> = all.steps.iter().filter(is_send).cloned().collect();
    let wanted = [sends[1].clone(), sends[sends.len() - 1].clone()];
    let short = minimise(&all, |part| {
        wanted.iter().all(|step| part.steps.contains(step))
    });
    let kept: Vec<Step> = short.steps.iter().filter(is_send).cloned().collect();
    assert_eq!(kept, wanted);
}
