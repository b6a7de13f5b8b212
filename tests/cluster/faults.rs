//! Nodes and paths that fail while clients work.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use midge::config::Options;
use midge::server::{Server, ServerOptions};
use rustix::process::Signal;

use crate::client::{Client, PATIENCE, eventually};
use crate::mixed::{check_cluster, start, wait_until_linked};
use crate::node::{Kind, Node, Setup, program};
use crate::proxy::Proxy;

use Kind::{Midge, NatsServer};

const MIXTURES: [[Kind; 3]; 2] = [[Midge, Midge, Midge], [NatsServer, Midge, NatsServer]];

/// Servers that notice within seconds that another one does not answer, and are not mistaken when the machine
/// is busy.
pub(crate) fn impatient() -> Setup {
    Setup {
        cluster: "ping_interval: 1s, ping_max: 3".to_owned(),
        ..Setup::default()
    }
}

/// A publisher whose messages are numbered, and subscribers that keep account of them.
struct Stream {
    subject: &'static str,
    publisher: Client,
    subscribers: Vec<Client>,
    sent: usize,
    /// The number from which on each counts; those before were sent while interest was still on its way.
    first: usize,
    counts: Vec<BTreeMap<usize, usize>>,
}

impl Stream {
    fn start(subject: &'static str, from: &Node, to: &[&Node]) -> Self {
        let mut stream = Self {
            subject,
            publisher: from.client(),
            subscribers: to.iter().map(|node| node.client()).collect(),
            sent: 0,
            first: 0,
            counts: vec![BTreeMap::new(); to.len()],
        };
        for client in &mut stream.subscribers {
            client.subscribe(subject, "1");
        }
        // Until all interest has come, messages may go by.
        eventually("all subscribers hear", || {
            stream.send(1);
            stream.collect_for(Duration::from_millis(20));
            stream.counts.iter().all(|counts| !counts.is_empty())
        });
        stream.first = stream.sent;
        for counts in &mut stream.counts {
            *counts = counts.split_off(&stream.first);
        }
        stream
    }

    fn send(&mut self, count: usize) {
        for _ in 0..count {
            let number = self.sent.to_string();
            self.publisher.publish(self.subject, &number);
            self.sent += 1;
        }
        self.publisher.flush();
        self.collect();
    }

    fn collect(&mut self) {
        for (client, counts) in self.subscribers.iter_mut().zip(&mut self.counts) {
            for message in client.drain() {
                let number: usize = message.body.parse().expect("a number");
                if number >= self.first {
                    *counts.entry(number).or_default() += 1;
                }
            }
        }
    }

    fn collect_for(&mut self, time: Duration) {
        let deadline = Instant::now() + time;
        while Instant::now() < deadline {
            self.collect();
        }
    }

    /// Waits until nothing comes any more.
    fn settle(&mut self) {
        let mut before = usize::MAX;
        loop {
            let now = self.counts.iter().map(BTreeMap::len).sum();
            if now == before {
                return;
            }
            before = now;
            self.collect_for(Duration::from_millis(300));
        }
    }

    /// Nothing came twice and nothing is missing.
    fn check_complete(&mut self) {
        let (sent, deadline) = (self.sent - self.first, Instant::now() + PATIENCE);
        while self.counts.iter().any(|counts| counts.len() < sent) && Instant::now() < deadline {
            self.collect();
        }
        for (at, counts) in self.counts.iter().enumerate() {
            assert_eq!(counts.len(), sent, "subscriber {at} lacks messages");
        }
        self.check_no_duplicates();
    }

    fn check_no_duplicates(&self) {
        for counts in &self.counts {
            assert!(
                counts.values().all(|times| *times == 1),
                "a message came twice"
            );
        }
    }
}

/// Asks until `count` requests in a row have been answered.
pub(crate) fn requests_succeed(asking: &mut Client, answering: &mut Client, count: usize) {
    let mut in_a_row = 0;
    let deadline = Instant::now() + PATIENCE;
    while in_a_row < count {
        assert!(Instant::now() < deadline, "requests do not succeed again");
        asking.send("PUB ask inbox 1\r\n?\r\n");
        let answered = answering
            .next_within(Duration::from_millis(500))
            .and_then(|request| request.reply)
            .is_some_and(|reply| {
                answering.publish(&reply, "!");
                let answer = asking.next_within(Duration::from_millis(500));
                answer.is_some_and(|answer| answer.body == "!")
            });
        in_a_row = if answered { in_a_row + 1 } else { 0 };
    }
}

#[test]
fn a_node_that_is_killed_leaves_the_others_alone_and_comes_back() {
    for kinds in MIXTURES {
        let Some(mut nodes) = start(&kinds, &Setup::default()) else {
            continue;
        };
        let (mut asking, mut answering) = (nodes[0].client(), nodes[2].client());
        asking.subscribe("inbox", "1");
        answering.subscribe("ask", "1");
        requests_succeed(&mut asking, &mut answering, 10);
        let mut lost = nodes[1].client();
        lost.subscribe("only.there", "1");
        let mut stream = Stream::start("numbers", &nodes[0], &[&nodes[0], &nodes[2]]);
        for round in 0..3 {
            stream.send(500);
            nodes[1].kill();
            stream.send(500);
            requests_succeed(&mut asking, &mut answering, 20);
            let mut probe = nodes[0].client();
            probe.subscribe("probe.inbox", "9");
            eventually("nobody is believed to listen over there", || {
                probe.send("PUB only.there probe.inbox 1\r\nx\r\n");
                let answer = probe.next_within(Duration::from_millis(200));
                answer.is_some_and(|answer| answer.header.contains("503"))
            });
            nodes[1].run();
            wait_until_linked(&nodes);
            if round == 0 {
                lost = nodes[1].client();
                lost.subscribe("only.there", "1");
            }
        }
        stream.check_complete();
        check_cluster(&nodes);
    }
}

#[test]
fn a_node_that_is_frozen_is_left_and_found_again() {
    for kinds in MIXTURES {
        let Some(nodes) = start(&kinds, &impatient()) else {
            continue;
        };
        let (mut asking, mut answering) = (nodes[0].client(), nodes[2].client());
        asking.subscribe("inbox", "1");
        answering.subscribe("ask", "1");
        requests_succeed(&mut asking, &mut answering, 10);
        let mut stream = Stream::start("numbers", &nodes[0], &[&nodes[0], &nodes[2]]);
        nodes[1].signal(Signal::STOP);
        stream.send(500);
        requests_succeed(&mut asking, &mut answering, 20);
        eventually("the others notice", || {
            let urls = nodes[0].client().info["connect_urls"].clone();
            urls.as_array().is_some_and(|urls| urls.len() == 2)
        });
        stream.send(500);
        nodes[1].signal(Signal::CONT);
        wait_until_linked(&nodes);
        stream.check_complete();
        check_cluster(&nodes);
    }
}

#[test]
fn paths_that_are_cut_and_slow() {
    for kinds in [[Midge, Midge], [Midge, NatsServer], [NatsServer, Midge]] {
        if kinds.iter().any(|kind| program(*kind).is_none()) {
            continue;
        }
        let first = Node::start(kinds[0], "n0", &[], &impatient());
        let proxy = Proxy::to(first.route_port);
        let second = Node::start(kinds[1], "n1", &[proxy.port], &impatient());
        let nodes = [first, second];
        wait_until_linked(&nodes);
        let mut stream = Stream::start("numbers", &nodes[0], &[&nodes[1]]);
        proxy.slow_down(Duration::from_millis(5));
        stream.send(5000);
        stream.check_complete();
        proxy.slow_down(Duration::ZERO);
        for _ in 0..3 {
            proxy.cut();
            // Lost, since there is no path, but never twice.
            stream.send(100);
            proxy.heal();
            wait_until_linked(&nodes);
        }
        eventually("messages arrive again", || {
            let before = stream.counts[0].len();
            stream.send(1);
            stream.collect_for(Duration::from_millis(20));
            stream.counts[0].len() > before
        });
        stream.settle();
        stream.check_no_duplicates();
        check_cluster(&nodes);
    }
}

#[test]
fn nodes_are_rolled_one_after_another() {
    for kinds in MIXTURES {
        let Some(mut nodes) = start(&kinds, &Setup::default()) else {
            continue;
        };
        for rolled in 0..nodes.len() {
            let (one, other) = ((rolled + 1) % 3, (rolled + 2) % 3);
            let mut stream = Stream::start("numbers", &nodes[one], &[&nodes[one], &nodes[other]]);
            stream.send(500);
            nodes[rolled].stop();
            stream.send(500);
            // From now on the seed must be found among all the others as well.
            let seeds: Vec<u16> = nodes.iter().map(|node| node.route_port).collect();
            nodes[rolled].configure(&seeds, &Setup::default());
            nodes[rolled].run();
            stream.send(500);
            stream.check_complete();
            wait_until_linked(&nodes);
        }
        check_cluster(&nodes);
    }
}

/// Servers in this process, whose interest can be counted.
pub(crate) async fn embedded(name: &str, routes: &[u16], cluster: &str) -> Server {
    let routes: Vec<String> = routes
        .iter()
        .map(|port| format!("nats://127.0.0.1:{port}"))
        .collect();
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("conf");
    let text = format!(
        "host: 127.0.0.1, port: -1, server_name: {name}\ncluster {{ name: c, host: 127.0.0.1, port: -1, routes: {routes:?}, {cluster} }}\n"
    );
    std::fs::write(&file, text).expect("the configuration is written");
    let layers = midge::config::Layers {
        config_file: Some(file),
        ..Default::default()
    };
    let loaded = midge::config::load(&layers, &|_| None).expect("a configuration");
    let options: Options = loaded.options;
    let options = ServerOptions::from_config(&options).expect("options");
    Server::start(options).await.expect("it starts")
}

/// Subscriptions of clients, here and elsewhere; the servers' own are in another account.
pub(crate) fn interest(server: &Server) -> usize {
    server.clients().broker.global_account().interest().len()
}

#[test]
fn no_interest_is_left_behind() {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let first = runtime.block_on(embedded("n0", &[], ""));
    let port = first.cluster().expect("a cluster").address().port();
    let second = runtime.block_on(embedded("n1", &[port], ""));
    let servers = [&first, &second];
    eventually("the servers are linked", || {
        servers.iter().all(|server| {
            server
                .cluster()
                .is_some_and(|cluster| cluster.remote_count() == 1)
        })
    });
    let before = interest(&first) + interest(&second);
    for round in 0..5 {
        let mut clients = Vec::new();
        for (at, server) in servers.iter().enumerate() {
            for number in 0..4 {
                let mut client = Client::connect(server.client_address(), "");
                for sid in 0..500 {
                    let queue = if sid % 3 == 0 { " q" } else { "" };
                    client.send(&format!("SUB s.{}.{}{queue} {sid}\r\n", sid % 250, sid % 7));
                }
                // Some end by themselves, some by request, the others with their connection.
                client.send("SUB once 900\r\nUNSUB 900 1\r\nPUB once 1\r\nx\r\n");
                for sid in 0..100 {
                    client.send(&format!("UNSUB {}\r\n", sid * 5 + number + at));
                }
                client.flush();
                clients.push(client);
            }
        }
        eventually("each server knows what the other one wants", || {
            interest(&first) > 1600 && interest(&second) > 1600
        });
        if round % 2 == 1 {
            clients.reverse();
        }
        drop(clients);
        eventually("nothing is wanted any more", || {
            interest(&first) + interest(&second) == before
        });
    }
    runtime.block_on(async {
        first.shutdown().await;
        second.shutdown().await;
    });
}
