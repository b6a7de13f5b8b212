//! Whole conversations of several clients against a model of what NATS promises.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use proptest::prelude::*;

use super::effort::cases;
use super::routing::queue;
use super::sessions::{Bench, Options};
use super::subjects::{filter, subject};
use super::wire::Message;
use midge::broker::close::CloseReason;
use midge::subject::matches;

const CLIENTS: usize = 3;

const BLOCK: &str = "NATS/1.0\r\n\r\n";

#[derive(Debug, Clone)]
enum Step {
    Subscribe {
        filter: String,
        queue: Option<&'static str>,
        sid: u8,
    },
    Unsubscribe {
        sid: u8,
        max: Option<u64>,
    },
    Publish {
        subject: String,
        reply: Option<String>,
        headers: bool,
    },
    /// A second CONNECT.
    Introduce(Options),
}

fn options() -> impl Strategy<Value = Options> {
    (any::<bool>(), any::<bool>(), any::<bool>()).prop_map(|(echo, headers, no_responders)| {
        Options {
            echo,
            headers,
            no_responders,
            verbose: false,
        }
    })
}

fn step() -> impl Strategy<Value = Step> {
    let filter = prop_oneof![1 => filter(), 1 => subject()];
    let sid = || 0_u8..5;
    let max = prop_oneof![Just(None), (0_u64..4).prop_map(Some)];
    let publish = (subject(), prop::option::of(subject()), any::<bool>());
    prop_oneof![
        12 => (filter, queue(), sid())
            .prop_map(|(filter, queue, sid)| Step::Subscribe { filter, queue, sid }),
        6 => (sid(), max).prop_map(|(sid, max)| Step::Unsubscribe { sid, max }),
        24 => publish
            .prop_map(|(subject, reply, headers)| Step::Publish { subject, reply, headers }),
        1 => options().prop_map(Step::Introduce),
    ]
}

/// What a client sends in one go: it is served in one turn, as if one read had brought it.
fn burst() -> impl Strategy<Value = (usize, Vec<Step>)> {
    let length = prop_oneof![2 => Just(1..2_usize), 1 => Just(2..12)];
    length.prop_flat_map(|length| (0..CLIENTS, prop::collection::vec(step(), length)))
}

/// Client and sid.
type Name = (usize, u8);

#[derive(Debug)]
struct Subscription {
    filter: String,
    queue: Option<&'static str>,
    delivered: u64,
    max: Option<u64>,
}

/// A sid as it is sent: they differ in length, too.
fn long(sid: u8) -> String {
    format!("{}{sid}", "x".repeat(usize::from(sid)))
}

/// What one burst led to.
#[derive(Debug, Default)]
struct Outcome {
    /// Who got each publication, by its number.
    got: BTreeMap<usize, BTreeSet<Name>>,
    /// The 503 answers, to the publisher's sids.
    answers: VecDeque<(u8, Message)>,
}

struct World {
    bench: Bench,
    /// The bench's number of each client, and what it said of itself.
    clients: Vec<(usize, Options)>,
    subscriptions: BTreeMap<Name, Subscription>,
    published: usize,
}

impl World {
    fn new(options: [Options; CLIENTS]) -> Self {
        let mut bench = Bench::with_seed(3);
        let clients = options
            .into_iter()
            .map(|options| (bench.connect(&options), options))
            .collect();
        Self {
            bench,
            clients,
            subscriptions: BTreeMap::new(),
            published: 0,
        }
    }

    /// Sends all steps at once, and then checks what came of them one by one.
    fn burst(&mut self, client: usize, steps: &[Step]) {
        let first = self.published;
        let text = self.text(client, steps);
        let number = self.clients[client].0;
        if !text.is_empty() {
            assert_eq!(self.bench.feed(number, text.as_bytes()), None, "{text}");
        }
        let mut outcome = self.outcome();
        self.published = first;
        for step in steps {
            self.check(client, step, &mut outcome);
        }
        assert!(
            outcome.answers.is_empty(),
            "{:?} after {text}",
            outcome.answers
        );
        assert!(outcome.got.is_empty(), "{:?} after {text}", outcome.got);
    }

    fn text(&mut self, client: usize, steps: &[Step]) -> String {
        let mut headers = self.clients[client].1.headers;
        let mut text = String::new();
        for step in steps {
            match step {
                Step::Subscribe { filter, queue, sid } => {
                    let queue = queue.map(|queue| format!(" {queue}")).unwrap_or_default();
                    text += &format!("SUB {filter}{queue} {}\r\n", long(*sid));
                }
                Step::Unsubscribe { sid, max } => {
                    let max = max.map(|max| format!(" {max}")).unwrap_or_default();
                    text += &format!("UNSUB {}{max}\r\n", long(*sid));
                }
                Step::Publish {
                    subject,
                    reply,
                    headers: wanted,
                } => {
                    let reply = reply
                        .as_ref()
                        .map(|reply| format!(" {reply}"))
                        .unwrap_or_default();
                    let payload = self.published.to_string();
                    self.published += 1;
                    let size = payload.len();
                    text += &if headers && *wanted {
                        let total = BLOCK.len() + size;
                        format!(
                            "HPUB {subject}{reply} {} {total}\r\n{BLOCK}{payload}\r\n",
                            BLOCK.len()
                        )
                    } else {
                        format!("PUB {subject}{reply} {size}\r\n{payload}\r\n")
                    };
                }
                Step::Introduce(options) => {
                    text += &options.line();
                    headers = options.headers;
                }
            }
        }
        text
    }

    /// Everything that was sent since the last burst. Each subscription gets messages in their order.
    fn outcome(&self) -> Outcome {
        let mut outcome = Outcome::default();
        for client in 0..CLIENTS {
            let mut last = BTreeMap::new();
            for message in self.bench.received(self.clients[client].0) {
                let sid = message.sid.last().unwrap() - b'0';
                if message.payload.is_empty() {
                    outcome.answers.push_back((sid, message));
                    continue;
                }
                let number: usize = std::str::from_utf8(&message.payload)
                    .unwrap()
                    .parse()
                    .unwrap();
                assert!(
                    last.insert(sid, number).is_none_or(|last| last < number),
                    "out of order"
                );
                let new = outcome.got.entry(number).or_default().insert((client, sid));
                assert!(new, "a message came twice");
            }
        }
        outcome
    }

    fn check(&mut self, client: usize, step: &Step, outcome: &mut Outcome) {
        match step {
            Step::Subscribe { filter, queue, sid } => {
                // A sid that is taken stays with its first subscription.
                self.subscriptions
                    .entry((client, *sid))
                    .or_insert_with(|| Subscription {
                        filter: filter.clone(),
                        queue: *queue,
                        delivered: 0,
                        max: None,
                    });
            }
            Step::Unsubscribe { sid, max } => {
                if let Some(subscription) = self.subscriptions.get_mut(&(client, *sid)) {
                    subscription.max = Some(max.unwrap_or(0));
                }
                self.drop_finished();
            }
            Step::Publish { subject, reply, .. } => {
                let got = outcome.got.remove(&self.published).unwrap_or_default();
                self.published += 1;
                self.check_publication(client, subject, reply.as_deref(), &got, outcome);
            }
            Step::Introduce(options) => {
                self.clients[client].1 = options.clone();
                self.subscriptions.retain(|(owner, _), _| *owner != client);
            }
        }
    }

    fn drop_finished(&mut self) {
        self.subscriptions.retain(|_, subscription| {
            subscription
                .max
                .is_none_or(|max| subscription.delivered < max)
        });
    }

    fn check_publication(
        &mut self,
        client: usize,
        subject: &str,
        reply: Option<&str>,
        got: &BTreeSet<Name>,
        outcome: &mut Outcome,
    ) {
        let (mut plain, mut groups) = (BTreeSet::new(), BTreeMap::<_, BTreeSet<Name>>::new());
        for (name, subscription) in &self.subscriptions {
            let silent = name.0 == client && !self.clients[client].1.echo;
            if silent || !matches(subscription.filter.as_bytes(), subject.as_bytes()) {
                continue;
            }
            match subscription.queue {
                None => drop(plain.insert(*name)),
                Some(queue) => drop(groups.entry(queue).or_default().insert(*name)),
            }
        }
        if plain.is_empty() && groups.is_empty() {
            self.check_no_responders(client, subject, reply, outcome);
        }
        for members in groups.values() {
            let takers: Vec<_> = got.intersection(members).collect();
            assert_eq!(
                takers.len(),
                1,
                "one of {members:?} was to get it, not {takers:?}"
            );
            plain.insert(*takers[0]);
        }
        assert_eq!(got, &plain, "on {subject}");
        for name in got {
            self.subscriptions.get_mut(name).unwrap().delivered += 1;
        }
        self.drop_finished();
    }

    fn check_no_responders(
        &self,
        client: usize,
        subject: &str,
        reply: Option<&str>,
        outcome: &mut Outcome,
    ) {
        let options = &self.clients[client].1;
        let Some(reply) = reply.filter(|_| options.no_responders && options.headers) else {
            return;
        };
        let wants = |name: &Name, subscription: &Subscription| {
            name.0 == client
                && subscription.queue.is_none()
                && matches(subscription.filter.as_bytes(), reply.as_bytes())
        };
        let mut own = self
            .subscriptions
            .iter()
            .filter(|(name, found)| wants(name, found))
            .peekable();
        if own.peek().is_none() {
            return;
        }
        let (sid, answer) = outcome.answers.pop_front().expect("a 503");
        let block = format!("NATS/1.0 503\r\nNats-Subject: {subject}\r\n\r\n");
        assert_eq!(answer.header.as_deref(), Some(block.as_bytes()));
        assert_eq!(answer.subject, reply.as_bytes());
        assert!(
            own.any(|(name, _)| name.1 == sid),
            "{sid} does not want {reply}"
        );
    }

    /// The connection ends and another takes its place.
    fn replace(&mut self, client: usize, options: &Options) {
        self.bench
            .close(self.clients[client].0, CloseReason::ClientClosed);
        self.clients[client] = (self.bench.connect(options), options.clone());
        self.subscriptions.retain(|(owner, _), _| *owner != client);
    }
}

proptest! {
    #![proptest_config(cases(300))]

    #[test]
    fn everybody_gets_what_was_promised(
        options in [options(), options(), options()],
        bursts in prop::collection::vec((burst(), prop::option::weighted(0.02, options())), 1..100),
    ) {
        let mut world = World::new(options);
        for ((client, steps), replacement) in &bursts {
            world.burst(*client, steps);
            if let Some(options) = replacement {
                world.replace(*client, options);
            }
        }
        // When all have gone, nothing of them is left.
        for (number, _) in world.clients {
            world.bench.close(number, CloseReason::ClientClosed);
        }
        let broker = &world.bench.context().broker;
        prop_assert!(broker.global_account().interest().is_empty());
        prop_assert_eq!(broker.connection_count(), 0);
    }
}
