//! Real clients while nodes and paths fail: they find their way by themselves, and lose nothing that nothing
//! has happened to.

use std::time::Duration;

use rustix::process::Signal;

use crate::client::eventually;
use crate::faults::impatient;
use crate::mixed::{start, wait_until_linked};
use crate::node::{Kind, Node, Setup, program};
use crate::party::{Library, Mark, Party};
use crate::proxy::Proxy;
use crate::wait::now;

use Kind::{Midge, NatsServer};
use Library::{AsyncNats, NatsPy};

const MIXTURES: [[Kind; 3]; 2] = [[Midge, Midge, Midge], [NatsServer, Midge, NatsServer]];

/// A cluster with clients at work.
struct Work {
    nodes: Vec<Node>,
    /// What each node knows of when there is no client.
    idle: Vec<u64>,
    party: Party,
}

/// What clients know of the cluster.
#[derive(Debug, Clone, Copy)]
enum Known {
    /// All nodes.
    All,
    /// One; they learn of the others from it.
    One,
}

impl Work {
    /// Publishes and asks at the first node; receives and answers at the second.
    fn start(library: Library, kinds: &[Kind], setup: &Setup, known: Known) -> Option<Self> {
        let nodes = start(kinds, setup)?;
        Self::with(library, nodes, known)
    }

    fn with(library: Library, nodes: Vec<Node>, known: Known) -> Option<Self> {
        let idle = settled_interest(&nodes);
        let from = |first: usize| -> Vec<&Node> {
            let count = match known {
                Known::All => nodes.len(),
                Known::One => 1,
            };
            let nodes = (first..).map(|at| &nodes[at % nodes.len()]);
            nodes.take(count).collect()
        };
        let party = Party::start(library, [from(0), from(1), from(0), from(1)])?;
        Some(Self { nodes, idle, party })
    }

    /// Lets something happen to a node, and waits until clients are served again. What is published and asked
    /// elsewhere must not suffer, and afterwards nothing must.
    fn strike(&mut self, at: usize, fault: impl FnOnce(&mut [Node])) {
        let name = self.nodes[at].name.clone();
        let before = self.party.places();
        let numbers = before.sender == name || before.receiver == name;
        let requests = before.asker == name || before.answerer == name;
        let (from, to) = self.during(fault);
        if !numbers {
            assert_eq!(self.party.lost_between(from, to), 0, "numbers past {name}");
        }
        if !requests {
            assert_eq!(from.failed, to.failed, "requests past {name}");
        }
        self.check_calm(to);
    }

    /// Lets something happen that must not cost anything.
    fn change(&mut self, change: impl FnOnce(&mut [Node])) {
        let (from, to) = self.during(change);
        assert_eq!(self.party.lost_between(from, to), 0, "numbers");
        assert_eq!(from.failed, to.failed, "requests");
    }

    fn during(&mut self, fault: impl FnOnce(&mut [Node])) -> (Mark, Mark) {
        let from = self.party.mark();
        fault(&mut self.nodes);
        self.party.wait_until_steady();
        (from, self.party.mark())
    }

    /// Cuts the path between two nodes until both have noticed.
    fn cut(&mut self, path: &Proxy) {
        path.cut();
        for node in &self.nodes {
            eventually("the node notices", || {
                let urls = node.client().info["connect_urls"].clone();
                urls.as_array().is_some_and(|urls| urls.len() == 1)
            });
        }
        path.heal();
        // What was on its way is lost, and nobody but the path could tell.
        self.party.retry();
        self.party.wait_until_steady();
    }

    /// All requests are answered and all numbers arrive from now on.
    fn check_calm(&mut self, from: Mark) {
        self.party.wait_until_steady();
        let to = self.party.mark();
        assert_eq!(from.failed, to.failed, "requests fail though all is well");
        assert!(to.answered > from.answered);
        assert_eq!(self.party.lost_between(from, to), 0, "all is well");
    }

    /// The clients leave; nothing has come twice, and no node remembers what they wanted.
    fn end(mut self, is_ordered: bool) {
        let [duplicates, disorder] = self.party.duplicates_and_disorder();
        assert_eq!(duplicates, 0, "numbers came twice");
        assert!(disorder == 0 || !is_ordered, "{disorder} out of order");
        self.party.end();
        eventually("what clients wanted is forgotten", || {
            interest(&self.nodes) == self.idle
        });
    }
}

fn interest(nodes: &[Node]) -> Vec<u64> {
    nodes.iter().map(Node::subscriptions).collect()
}

/// How long nothing changes once all nodes have told each other what their own services want: the last of
/// those comes with the first statistics, a quarter of a second after the start.
const SETTLED: Duration = Duration::from_secs(2);

/// What nodes know of by then.
fn settled_interest(nodes: &[Node]) -> Vec<u64> {
    let mut known = interest(nodes);
    let mut since = now();
    eventually("nodes have told each other", || {
        let found = interest(nodes);
        if found != known {
            known = found;
            since = now();
        }
        since.elapsed() > SETTLED
    });
    known
}

fn killed(library: Library) {
    for kinds in MIXTURES {
        let Some(mut work) = Work::start(library, &kinds, &Setup::default(), Known::All) else {
            continue;
        };
        for at in [2, 1, 0] {
            work.strike(at, |nodes| nodes[at].kill());
            work.change(|nodes| {
                nodes[at].run();
                wait_until_linked(nodes);
            });
        }
        work.end(true);
    }
}

fn rolled(library: Library) {
    for kinds in MIXTURES {
        let Some(mut work) = Work::start(library, &kinds, &Setup::default(), Known::One) else {
            continue;
        };
        for at in 0..3 {
            work.strike(at, |nodes| nodes[at].stop());
            work.change(|nodes| {
                let seeds: Vec<u16> = nodes.iter().map(|node| node.route_port).collect();
                nodes[at].configure(&seeds, &Setup::default());
                nodes[at].run();
                wait_until_linked(nodes);
            });
        }
        work.end(true);
    }
}

fn frozen(library: Library) {
    for kinds in MIXTURES {
        let Some(mut work) = Work::start(library, &kinds, &impatient(), Known::All) else {
            continue;
        };
        for at in [1, 0] {
            work.strike(at, |nodes| nodes[at].signal(Signal::STOP));
            work.change(|nodes| {
                nodes[at].signal(Signal::CONT);
                wait_until_linked(nodes);
            });
        }
        // What a node had taken before it froze may come when it goes on.
        work.end(false);
    }
}

fn cut_and_slow(library: Library) {
    for kinds in [[Midge, Midge], [Midge, NatsServer], [NatsServer, Midge]] {
        if kinds.iter().any(|kind| program(*kind).is_none()) {
            continue;
        }
        let first = Node::start(kinds[0], "n0", &[], &impatient());
        let path = Proxy::to(first.route_port);
        let second = Node::start(kinds[1], "n1", &[path.port], &impatient());
        let nodes = vec![first, second];
        wait_until_linked(&nodes);
        let Some(mut work) = Work::with(library, nodes, Known::All) else {
            continue;
        };
        work.change(|_| path.slow_down(Duration::from_millis(5)));
        work.change(|_| path.slow_down(Duration::ZERO));
        for _ in 0..2 {
            let places = work.party.places();
            work.cut(&path);
            let healed = work.party.mark();
            work.check_calm(healed);
            // Nothing has happened to the clients' own connections.
            assert_eq!(work.party.places(), places);
        }
        work.end(true);
    }
}

#[test]
fn async_nats_outlives_nodes_that_are_killed() {
    killed(AsyncNats);
}

#[test]
fn async_nats_goes_on_while_nodes_are_rolled() {
    rolled(AsyncNats);
}

#[test]
fn async_nats_leaves_frozen_nodes() {
    frozen(AsyncNats);
}

#[test]
fn async_nats_works_over_paths_that_are_cut_and_slow() {
    cut_and_slow(AsyncNats);
}

#[test]
fn nats_py_outlives_nodes_that_are_killed() {
    killed(NatsPy);
}

#[test]
fn nats_py_goes_on_while_nodes_are_rolled() {
    rolled(NatsPy);
}

#[test]
fn nats_py_leaves_frozen_nodes() {
    frozen(NatsPy);
}

#[test]
fn nats_py_works_over_paths_that_are_cut_and_slow() {
    cut_and_slow(NatsPy);
}
