//! Whole conversations of several clients against a model of what NATS promises.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::routing::queue;
use super::sessions::{Bench, Options};
use super::subjects::{filter, subject};
use midge::broker::close::CloseReason;
use midge::subject::matches;

const CLIENTS: usize = 3;

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
    /// The connection ends and another takes its place.
    Replace(Options),
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
        1 => options().prop_map(Step::Replace),
        1 => options().prop_map(Step::Introduce),
    ]
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

struct World {
    bench: Bench,
    /// The bench's number of each client, and what it said of itself.
    clients: Vec<(usize, Options)>,
    subscriptions: BTreeMap<Name, Subscription>,
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
        }
    }

    fn say(&mut self, client: usize, text: &str) {
        let number = self.clients[client].0;
        assert_eq!(self.bench.feed(number, text.as_bytes()), None, "{text}");
    }

    fn take(&mut self, client: usize, step: &Step) {
        match step {
            Step::Subscribe { filter, queue, sid } => {
                let queue_text = queue.map(|queue| format!(" {queue}")).unwrap_or_default();
                self.say(client, &format!("SUB {filter}{queue_text} {sid}\r\n"));
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
                let max_text = max.map(|max| format!(" {max}")).unwrap_or_default();
                self.say(client, &format!("UNSUB {sid}{max_text}\r\n"));
                if let Some(subscription) = self.subscriptions.get_mut(&(client, *sid)) {
                    subscription.max = Some(max.unwrap_or(0));
                }
                self.drop_finished();
            }
            Step::Publish {
                subject,
                reply,
                headers,
            } => {
                self.publish(client, subject, reply.as_deref(), *headers);
            }
            Step::Replace(options) => {
                self.bench
                    .close(self.clients[client].0, CloseReason::ClientClosed);
                self.clients[client] = (self.bench.connect(options), options.clone());
                self.subscriptions.retain(|(owner, _), _| *owner != client);
            }
            Step::Introduce(options) => {
                self.say(client, &options.line());
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

    fn publish(&mut self, client: usize, subject: &str, reply: Option<&str>, headers: bool) {
        let headers = headers && self.clients[client].1.headers;
        let reply_text = reply.map(|reply| format!(" {reply}")).unwrap_or_default();
        let text = if headers {
            format!("HPUB {subject}{reply_text} 12 13\r\nNATS/1.0\r\n\r\nx\r\n")
        } else {
            format!("PUB {subject}{reply_text} 1\r\nx\r\n")
        };
        let (mut plain, groups) = self.expected(client, subject);
        self.say(client, &text);
        let got = self.delivered(subject, reply, headers);
        if got.is_empty() && plain.is_empty() && groups.is_empty() {
            self.check_no_responders(client, subject, reply);
            return;
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
        assert_eq!(got, plain);
        for name in &got {
            self.subscriptions.get_mut(name).unwrap().delivered += 1;
        }
        self.drop_finished();
        assert_eq!(
            self.bench.output(self.clients[client].0),
            b"",
            "nothing else is sent"
        );
    }

    /// Who must get a message, and the groups of which one member must.
    fn expected(
        &self,
        client: usize,
        subject: &str,
    ) -> (BTreeSet<Name>, BTreeMap<&'static str, BTreeSet<Name>>) {
        let mut plain = BTreeSet::new();
        let mut groups: BTreeMap<_, BTreeSet<_>> = BTreeMap::new();
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
        (plain, groups)
    }

    /// Who got the message, each once and as it was sent; 503 answers are left where they are.
    fn delivered(&mut self, subject: &str, reply: Option<&str>, headers: bool) -> BTreeSet<Name> {
        let mut got = BTreeSet::new();
        for client in 0..CLIENTS {
            let (number, options) = &self.clients[client];
            let output = self.bench.peek(*number);
            if memchr::memmem::find(&output, b"NATS/1.0 503").is_some() {
                continue;
            }
            for message in self.bench.received(*number) {
                assert_eq!(message.subject, subject.as_bytes());
                assert_eq!(message.reply.as_deref(), reply.map(str::as_bytes));
                assert_eq!(message.header.is_some(), headers && options.headers);
                assert_eq!(message.payload, b"x");
                assert!(
                    got.insert((client, message.sid[0] - b'0')),
                    "a message came twice"
                );
            }
        }
        got
    }

    fn check_no_responders(&mut self, client: usize, subject: &str, reply: Option<&str>) {
        let (number, options) = &self.clients[client];
        let answers = self.bench.received(*number);
        let wants = |subscription: &Subscription, reply: &str| {
            subscription.queue.is_none()
                && matches(subscription.filter.as_bytes(), reply.as_bytes())
        };
        let own: Vec<u8> = match reply {
            Some(reply) if options.no_responders && options.headers => {
                let own = self
                    .subscriptions
                    .iter()
                    .filter(|(name, _)| name.0 == client);
                own.filter(|(_, found)| wants(found, reply))
                    .map(|(name, _)| name.1 + b'0')
                    .collect()
            }
            Some(_) | None => Vec::new(),
        };
        assert_eq!(
            answers.len(),
            usize::from(!own.is_empty()),
            "503 answers to {subject}"
        );
        if let Some(answer) = answers.first() {
            let block = format!("NATS/1.0 503\r\nNats-Subject: {subject}\r\n\r\n");
            assert_eq!(answer.header.as_deref(), Some(block.as_bytes()));
            assert_eq!(answer.subject, reply.unwrap().as_bytes());
            assert!(own.contains(&answer.sid[0]) && answer.payload.is_empty());
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn everybody_gets_what_was_promised(
        options in [options(), options(), options()],
        steps in prop::collection::vec((0..CLIENTS, step()), 1..150),
    ) {
        let mut world = World::new(options);
        for (client, step) in &steps {
            world.take(*client, step);
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
