//! A connection to a server with users: who may come in, what they may do, and what they hold before.
//!
//! The first byte chooses the rules and how the bytes are cut. In what follows, each zero byte is a step
//! of another client, which publishes requests; it and the rules are the same for all cuts.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use midge::auth::{
    AccountRules, AuthRules, PermissionRules, ResponseRules, Secret, SubjectRules, UserIdentity,
    UserRules,
};
use midge::broker::close::CloseReason;
use midge::broker::events::{Event, Observer};
use midge::link::context::Limits;
use midge::subject;

use super::sessions::Bench;
use super::wire::{self, Message};

/// What clients are asked to sign.
const NONCE: &str = "bm9uY2Ugb2YgdGhlIGZ1eno";

/// The public key to the seed of 32 sevens.
const NKEY: &str = "UDVEU3DD4KOFECV66VIHWEZOYX4ZKR3WV27L464SIIPOU2IUI3JCYSJF";

/// The hash of `b` with the least cost there is.
const BCRYPT: &str = "$2a$04$O7YhcNyyoD3BIi5ZSlLBAecIXI8.KGEdxAISYe8hmFVvjmN3AluO.";

/// The witness's password, which no input should hold.
const WITNESS_PASSWORD: &str = "Zmlyc3QgdGhlIHdpdG5lc3M";

const MAX_CONTROL_LINE: usize = 200;

/// Bytes that are kept of somebody unknown besides that: the verb, and blanks before the arguments.
const SLACK: usize = 1024;

/// What somebody is told who has not logged in.
const REFUSALS: [&[u8]; 4] = [
    b"",
    b"-ERR 'Authorization Violation'\r\n",
    b"-ERR 'Unknown Protocol Operation'\r\n",
    b"-ERR 'maximum control line exceeded'\r\n",
];

/// Subjects that the witness publishes to in turn.
const REQUESTS: [&str; 8] = [
    "a.b", "a.secret", "jobs.1", "c.d", "_INBOX.x", "a.x", "b.1", "a.b.c",
];

/// Most responses to one request.
const RESPONSES: u32 = 2;

/// The rules by which clients log in, and what they may do then.
struct Scene {
    rules: AuthRules,
    /// What the witness says.
    witness: String,
    /// Whether those who come in are in the witness's account.
    together: bool,
    /// What they may do.
    permissions: Option<PermissionRules>,
}

pub(crate) fn check(bytes: &[u8]) {
    let (instructions, bytes) = super::split_first(bytes);
    let scene = scene(instructions % 8);
    let whole = converse(&scene, bytes, bytes.len().max(1));
    let cut = converse(&scene, bytes, usize::from(instructions >> 3) + 1);
    // Very many blanks before the document of CONNECT are taken if the end of its line comes with them.
    let blank = |run: &[u8]| run.iter().all(|byte| matches!(byte, b' ' | b'\t'));
    if bytes.windows(SLACK / 2).any(blank) {
        return;
    }
    assert_eq!(transcript(&whole.0), transcript(&cut.0));
    assert_eq!(transcript(&whole.1), transcript(&cut.1));
}

/// Messages and other lines. In which order several subscriptions of one client get a message is left
/// to chance, so their names are left out.
pub(crate) fn transcript(bytes: &[u8]) -> Vec<String> {
    let (mut parts, mut rest) = (Vec::new(), bytes);
    while let Some(((message, line), after)) = next(rest) {
        let (part, header) = match &message {
            Some(message) => (
                [
                    &*message.subject,
                    message.reply.as_deref().unwrap_or_default(),
                    &message.payload,
                ]
                .join(&b' '),
                message.header.as_deref().unwrap_or_default(),
            ),
            None => (line.to_vec(), &b""[..]),
        };
        parts.push([&part, header].concat().escape_ascii().to_string());
        rest = after;
    }
    parts
}

fn scene(number: u8) -> Scene {
    let witness = password("witness", WITNESS_PASSWORD);
    let login = format!("\"user\":\"witness\",\"pass\":\"{WITNESS_PASSWORD}\"");
    let mut scene = Scene {
        rules: AuthRules {
            authorization_block: true,
            ..AuthRules::default()
        },
        witness: login,
        together: true,
        permissions: Some(permissions()),
    };
    let rules = &mut scene.rules;
    let mut users = vec![witness];
    match number {
        0 => {
            rules.token = Some(Secret::new("t"));
            scene.witness = "\"auth_token\":\"t\"".to_owned();
            scene.permissions = None;
            return scene;
        }
        1 => {
            rules.user = Some("a".to_owned());
            rules.password = Some(Secret::new("b"));
            scene.witness = "\"user\":\"a\",\"pass\":\"b\"".to_owned();
            scene.permissions = None;
            return scene;
        }
        2 => users.push(limited(password("a", "b"))),
        3 => users.push(limited(user(UserIdentity::Nkey(NKEY.to_owned())))),
        4 => {
            users.push(limited(password("a", "b")));
            rules.no_auth_user = Some("a".to_owned());
        }
        5 => {
            users.push(limited(password("a", BCRYPT)));
        }
        6 => {
            users.push(limited(user(UserIdentity::Nkey(NKEY.to_owned()))));
            rules.no_auth_user = Some(NKEY.to_owned());
        }
        _ => {
            let account = AccountRules {
                name: "B".to_owned(),
                default_permissions: None,
            };
            rules.accounts.push(account);
            let mut stranger = password("a", "b");
            stranger.account = Some("B".to_owned());
            users.push(stranger);
            scene.together = false;
            scene.permissions = None;
        }
    }
    rules.users_list = true;
    rules.users = users;
    scene
}

fn password(name: &str, password: &str) -> UserRules {
    user(UserIdentity::Password {
        name: name.to_owned(),
        password: Secret::new(password),
    })
}

fn user(identity: UserIdentity) -> UserRules {
    UserRules {
        identity,
        account: None,
        permissions: None,
        allowed_connection_types: Vec::new(),
    }
}

fn limited(user: UserRules) -> UserRules {
    UserRules {
        permissions: Some(permissions()),
        ..user
    }
}

fn permissions() -> PermissionRules {
    let texts = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect();
    PermissionRules {
        publish: Some(SubjectRules {
            allow: Some(texts(&["a.*", "b.>", "a.c.*.d"])),
            deny: texts(&["b.secret.>", "a.a"]),
        }),
        subscribe: Some(SubjectRules {
            allow: Some(texts(&["a.>", "jobs.* workers", "_INBOX.>", "b.* q.*"])),
            deny: texts(&["a.secret", "a.x q", "a.*.c"]),
        }),
        responses: Some(ResponseRules {
            max_messages: Some(RESPONSES),
            expires: None,
        }),
    }
}

/// Notes whether somebody was let in.
#[derive(Debug)]
struct Doorkeeper(Arc<AtomicBool>);

impl Observer for Doorkeeper {
    fn notice(&self, event: Event) {
        if matches!(event, Event::Connected(_)) {
            self.0.store(true, Ordering::Relaxed);
        }
    }
}

/// One run of the input: what the client and the witness are sent.
struct Run<'a> {
    scene: &'a Scene,
    bench: Bench,
    witness: usize,
    client: usize,
    /// Whether the client was ever let in.
    known: Arc<AtomicBool>,
    /// Everything that the client was sent.
    sent: Vec<u8>,
    /// Everything of the client's that the witness was sent.
    seen: Vec<u8>,
}

fn converse(scene: &Scene, bytes: &[u8], chunk: usize) -> (Vec<u8>, Vec<u8>) {
    let limits = Limits {
        max_control_line: MAX_CONTROL_LINE,
        max_payload: Some(300),
        max_subscriptions: Some(20),
        max_subscription_tokens: Some(8),
        ..Limits::default()
    };
    let mut bench = Bench::with_rules(1, limits, &scene.rules, NONCE);
    let witness = bench.accept();
    let connect = format!(
        "CONNECT {{\"verbose\":false,\"headers\":true,{}}}\r\nSUB > 1\r\n",
        scene.witness
    );
    assert_eq!(bench.feed(witness, connect.as_bytes()), None);
    assert_eq!(bench.output(witness), b"", "the witness may do everything");
    let known = Arc::new(AtomicBool::new(false));
    let doorkeeper = Doorkeeper(Arc::clone(&known));
    bench.context().broker.observe(Box::new(doorkeeper));
    let client = bench.accept();
    let mut run = Run {
        scene,
        bench,
        witness,
        client,
        known,
        sent: Vec::new(),
        seen: Vec::new(),
    };
    for (step, part) in bytes.split(|&byte| byte == 0).enumerate() {
        if step > 0 {
            run.request(step);
        }
        for part in part.chunks(chunk) {
            run.feed(part);
        }
    }
    run.finish()
}

impl Run<'_> {
    /// Connections that were let in, the witness among them.
    fn logged_in(&self) -> u64 {
        let accounts = self.bench.context().broker.accounts();
        accounts
            .iter()
            .map(|account| account.connections.get())
            .sum()
    }

    fn is_known(&self) -> bool {
        self.known.load(Ordering::Relaxed)
    }

    fn feed(&mut self, bytes: &[u8]) {
        self.bench.feed(self.client, bytes);
        let (sent, seen) = (
            self.bench.output(self.client),
            self.bench.output(self.witness),
        );
        if !self.is_known() {
            assert!(seen.is_empty(), "somebody unknown is heard");
            let told = sent.escape_ascii().to_string();
            assert!(REFUSALS.contains(&&*sent), "{told} for somebody unknown");
            let kept = self.bench.tail(self.client);
            assert!(kept <= MAX_CONTROL_LINE + SLACK, "{kept} bytes are kept");
            assert_eq!(self.bench.peer(self.client).subscriptions(), 0);
        }
        self.sent.extend_from_slice(&sent);
        self.seen.extend_from_slice(&seen);
    }

    /// The witness asks something.
    fn request(&mut self, step: usize) {
        let subject = REQUESTS[step % REQUESTS.len()];
        let request = format!("PUB {subject} answer.{step} 2\r\nhi\r\n");
        assert_eq!(self.bench.feed(self.witness, request.as_bytes()), None);
        for message in self.bench.received(self.witness) {
            assert_eq!(message.subject, subject.as_bytes());
        }
        let told = self.bench.output(self.client);
        let reachable = self.is_known() && self.scene.together;
        assert!(told.is_empty() || reachable, "a stranger is reached");
        self.sent.extend_from_slice(&told);
    }

    fn finish(mut self) -> (Vec<u8>, Vec<u8>) {
        self.bench.close(self.client, CloseReason::ClientClosed);
        assert_eq!(self.logged_in(), 1, "it has left");
        let broker = &self.bench.context().broker;
        for account in broker.accounts() {
            let own = account.name() == broker.global_account().name();
            assert_eq!(account.interest().len(), usize::from(own));
        }
        self.bench.feed(self.witness, b"PUB still.a 5\r\nthere\r\n");
        assert_eq!(self.bench.received(self.witness).len(), 1);
        self.check_subjects();
        (self.sent, self.seen)
    }

    /// Whatever came through was allowed, by a plainer reading of the rules.
    fn check_subjects(&self) {
        let received = messages(&self.sent);
        let published = wire::read_frames(&self.seen);
        if !self.scene.together {
            assert!(published.is_empty(), "an account hears another one");
        }
        let Some(permissions) = &self.scene.permissions else {
            return;
        };
        let mut answers: HashMap<&[u8], u32> = HashMap::new();
        for message in &received {
            let readable = permissions
                .subscribe
                .as_ref()
                .is_none_or(|rules| may(rules, &message.subject));
            assert!(
                readable,
                "{:?} is delivered",
                message.subject.escape_ascii().to_string()
            );
            if let Some(reply) = &message.reply {
                *answers.entry(reply).or_default() += RESPONSES;
            }
        }
        for message in &published {
            let rules = permissions.publish.as_ref();
            if rules.is_none_or(|rules| may(rules, &message.subject)) {
                continue;
            }
            let left = answers.get_mut(&*message.subject).filter(|left| **left > 0);
            let Some(left) = left else {
                panic!(
                    "{:?} is published",
                    message.subject.escape_ascii().to_string()
                );
            };
            *left -= 1;
        }
    }
}

/// Whether the rules leave a way for this subject: queue groups of allowed entries do not count, and
/// neither do denied entries with one.
fn may(rules: &SubjectRules, text: &[u8]) -> bool {
    let matches = |entry: &str| subject::matches(entry.as_bytes(), text);
    let allowed = |entry: &String| matches(entry.split(' ').next().unwrap_or_default());
    rules
        .allow
        .as_ref()
        .is_none_or(|allow| allow.iter().any(allowed))
        && !rules.deny.iter().any(|entry| matches(entry))
}

/// The messages among everything that a client was sent.
fn messages(bytes: &[u8]) -> Vec<Message> {
    let (mut messages, mut rest) = (Vec::new(), bytes);
    while let Some(((message, _), after)) = next(rest) {
        messages.extend(message);
        rest = after;
    }
    messages
}

/// A message, or none and a line.
type Sent<'a> = (Option<Message>, &'a [u8]);

/// What stands at the front of what a client was sent, and what follows it.
fn next(bytes: &[u8]) -> Option<(Sent<'_>, &[u8])> {
    if bytes.starts_with(b"MSG ") || bytes.starts_with(b"HMSG ") {
        let (message, after) = wire::read_frame(bytes);
        return Some(((Some(message), b""), after));
    }
    let end = memchr::memchr(b'\n', bytes)?;
    let (line, after) = bytes.split_at(end + 1);
    Some(((None, line), after))
}
