//! Clusters of both kinds of server, as clients at every node see them.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::client::{Client, eventually};
use crate::node::{Kind, Node, Setup, program};

use Kind::{Midge, NatsServer};

/// Every mixture of three nodes: the first is the seed, the others join.
const MIXTURES: [[Kind; 3]; 7] = [
    [Midge, Midge, Midge],
    [Midge, Midge, NatsServer],
    [Midge, NatsServer, Midge],
    [Midge, NatsServer, NatsServer],
    [NatsServer, Midge, Midge],
    [NatsServer, Midge, NatsServer],
    [NatsServer, NatsServer, Midge],
];

/// Starts a cluster; `None` where nats-server is needed and is not there.
pub(crate) fn start(kinds: &[Kind], setup: &Setup) -> Option<Vec<Node>> {
    if kinds.iter().any(|kind| program(*kind).is_none()) {
        eprintln!("skipped: no nats-server to test with (MIDGE_NATS_SERVER)");
        return None;
    }
    let mut nodes: Vec<Node> = Vec::new();
    for (index, kind) in kinds.iter().enumerate() {
        let seeds: Vec<u16> = nodes
            .first()
            .map(|seed| seed.route_port)
            .into_iter()
            .collect();
        let name = format!("n{index}");
        nodes.push(Node::start(*kind, &name, &seeds, setup));
    }
    wait_until_linked(&nodes);
    Some(nodes)
}

/// Waits until every node tells its clients of all nodes.
pub(crate) fn wait_until_linked(nodes: &[Node]) {
    let all: BTreeSet<String> = nodes
        .iter()
        .map(|node| node.address().to_string())
        .collect();
    for node in nodes {
        eventually(&format!("{} tells of all nodes", node.name), || {
            let told = node.client().info["connect_urls"].clone();
            let told: BTreeSet<String> = serde_json::from_value(told).unwrap_or_default();
            told == all
        });
    }
}

/// A client at each node that is subscribed to `filter`, once a message from each node reaches all.
fn everywhere(nodes: &[Node], filter: &str) -> Vec<Client> {
    let mut clients: Vec<Client> = nodes.iter().map(Node::client).collect();
    for client in &mut clients {
        client.subscribe(filter, "1");
    }
    wait_until_heard(&mut clients, filter);
    clients
}

/// Waits until what each client publishes reaches all.
pub(crate) fn wait_until_heard(clients: &mut [Client], subject: &str) {
    for from in 0..clients.len() {
        let mut round = 0;
        eventually("a message reaches all nodes", || {
            round += 1;
            let body = format!("probe {from} {round}");
            clients[from].publish(subject, &body);
            clients[from].flush();
            clients.iter_mut().all(|client| {
                let deadline = std::time::Instant::now() + Duration::from_millis(300);
                while let Some(message) = client.next_within(Duration::from_millis(300)) {
                    if message.body == body {
                        return true;
                    }
                    if std::time::Instant::now() > deadline {
                        break;
                    }
                }
                false
            })
        });
    }
    for client in clients {
        client.drain();
    }
}

/// Everything that a cluster does for clients of one account.
pub(crate) fn check_cluster(nodes: &[Node]) {
    check_fan_out(nodes);
    check_queue_groups(nodes);
    check_requests(nodes);
}

fn check_fan_out(nodes: &[Node]) {
    let mut clients = everywhere(nodes, "all.x");
    // A second wish of the same node must not bring a second copy.
    let mut wild = nodes[0].client();
    wild.subscribe("all.*", "7");
    clients[0].subscribe("all.>", "8");
    for from in 0..clients.len() {
        for number in 0..100 {
            clients[from].publish("all.x", &format!("{from} {number}"));
        }
        clients[from].flush();
        let expected: Vec<String> = (0..100).map(|number| format!("{from} {number}")).collect();
        for (at, client) in clients.iter_mut().enumerate() {
            let mut got = Vec::new();
            let wanted = if at == 0 { 200 } else { 100 };
            while got.len() < wanted {
                let message = client.next().expect("a message");
                got.push((message.sid, message.body));
            }
            let plain = got
                .iter()
                .filter(|(sid, _)| sid == "1")
                .map(|(_, body)| body);
            assert!(plain.eq(&expected), "node {at} got {got:?}");
        }
    }
    for client in &mut clients {
        client.flush();
        assert_eq!(client.drain(), [], "nothing comes twice");
    }
}

fn check_queue_groups(nodes: &[Node]) {
    let mut clients = everywhere(nodes, "work.ready");
    let count = clients.len();
    // Twice as many members at the last node.
    for (at, client) in clients.iter_mut().enumerate() {
        client.subscribe("work.do q", "2");
        if at + 1 == count {
            client.subscribe("work.do q", "3");
        }
        client.subscribe("work.* other", "4");
    }
    wait_until_heard(&mut clients, "work.ready");
    for from in 0..count {
        // The weights go round behind the interest that has been heard of.
        eventually("members get their shares", || {
            let shares = shares_of_members(&mut clients, from);
            shares.iter().enumerate().all(|(at, share)| {
                let members = if at + 1 == count { 2.0 } else { 1.0 };
                (share - members / (count as f64 + 1.0)).abs() < 0.08
            })
        });
    }
}

/// Publishes for two queue groups, each of which gets each message once; which part of them the first group's
/// members at each node have got.
fn shares_of_members(clients: &mut [Client], from: usize) -> Vec<f64> {
    let total = 900;
    for number in 0..total {
        clients[from].publish("work.do", &number.to_string());
    }
    clients[from].flush();
    let mut taken = vec![[0; 2]; clients.len()];
    let mut seen = [vec![0; total], vec![0; total]];
    let sum = |taken: &[[usize; 2]]| taken.iter().flatten().sum::<usize>();
    eventually("each group gets each message", || {
        for (at, client) in clients.iter_mut().enumerate() {
            for message in client.drain() {
                if message.subject == "work.do" {
                    let group = usize::from(message.sid == "4");
                    taken[at][group] += 1;
                    seen[group][message.body.parse::<usize>().expect("a number")] += 1;
                }
            }
        }
        sum(&taken) >= 2 * total
    });
    assert!(
        seen.iter().flatten().all(|times| *times == 1),
        "each message once per group"
    );
    let share = |groups: &[usize; 2]| groups[0] as f64 / total as f64;
    taken.iter().map(share).collect()
}

fn check_requests(nodes: &[Node]) {
    let mut clients: Vec<Client> = nodes.iter().map(Node::client).collect();
    for (at, client) in clients.iter_mut().enumerate() {
        client.subscribe(&format!("service.{at}"), "1");
        client.subscribe(&format!("inbox.{at}"), "2");
    }
    for from in 0..clients.len() {
        for to in 0..clients.len() {
            check_request(&mut clients, from, to);
        }
    }
    for client in &mut clients {
        client.flush();
        client.drain();
    }
    for (at, client) in clients.iter_mut().enumerate() {
        client.send(&format!("PUB nobody inbox.{at} 1\r\nx\r\n"));
        let answer = client.next().expect("an answer");
        assert!(answer.header.contains("503"), "{answer:?}");
    }
}

/// A request and its answer. What is late of an earlier round, which may be repeated, is passed over.
fn check_request(clients: &mut [Client], from: usize, to: usize) {
    let (mut round, mut asked) = (0, None);
    eventually("the request arrives", || {
        round += 1;
        let question = format!("{from} {to} {round:04}");
        clients[from].send(&format!(
            "HPUB service.{to} inbox.{from} 18 26\r\nNATS/1.0\r\nA: b\r\n\r\n{question}\r\n"
        ));
        // Until the interest has come, the answer is that nobody listens.
        let window = Duration::from_millis(200);
        while let Some(message) = clients[to].next_within(window) {
            if message.sid == "1" && message.body == question {
                asked = Some(message);
                return true;
            }
        }
        false
    });
    let asked = asked.expect("the request");
    assert!(asked.header.contains("A: b"), "{asked:?}");
    let reply = asked.reply.expect("a reply subject");
    clients[to].publish(&reply, &asked.body);
    clients[to].flush();
    loop {
        let answer = clients[from].next().expect("an answer");
        if answer.sid == "2" && answer.body == asked.body {
            return;
        }
    }
}

#[test]
fn three_nodes_in_every_mixture() {
    for kinds in MIXTURES {
        if let Some(nodes) = start(&kinds, &Setup::default()) {
            check_cluster(&nodes);
        }
    }
}
