//! Whole clusters in one thread: the mesh of each server runs over a simulated network with delays,
//! cuts, lost connections, restarts and crossing dials. However it went, once the network is well again
//! all servers are linked with each other in all places, and each knows what every other wants.
//!
//! A run is made from one number. `MIDGE_SIMULATION_SEED=17 cargo test --test cluster simulated` repeats
//! the run that failed; `MIDGE_SIMULATION_RUNS` says how many there are.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use midge::broker::routes::{Share, slot_of};
use midge::cluster::mesh::{Action, Endpoint, GoalId, LinkId, Mesh, MeshConfig, Target};
use midge::proto::route_info::{RouteConnect, RouteInfo};

use crate::random::Random;

const ACCOUNTS: [&str; 4] = ["$G", "$SYS", "A", "B"];
/// How long the network misbehaves.
const TROUBLE: Duration = Duration::from_secs(30);
/// How long the mesh may take to be whole again.
const PATIENCE: Duration = Duration::from_secs(90);

type Want = (usize, u32);

#[derive(Debug, Clone)]
enum Message {
    Connect(Box<RouteConnect>),
    Info(Box<RouteInfo>),
    Ping,
    Pong,
    Wants(Want, bool),
    /// The connection ends after what was sent before.
    End,
}

#[derive(Debug)]
enum Event {
    Connect(usize, u32, GoalId, usize),
    Arrive(usize, usize, Message),
    Closed(usize, u32, LinkId),
    Tick(usize),
    Trouble,
}

/// One connection between two servers: at each end the server, its incarnation and its link.
struct Wire {
    ends: [(usize, u32, LinkId); 2],
    /// Nothing arrives earlier than what was sent before it.
    last_arrival: [Duration; 2],
    ended: [bool; 2],
}

struct Node {
    mesh: Mesh,
    incarnation: u32,
    alive: bool,
    config: MeshConfig,
    wants: BTreeSet<Want>,
    shares: BTreeMap<LinkId, Share>,
    heard: BTreeMap<LinkId, BTreeSet<Want>>,
    tick_at: Duration,
}

struct Network {
    random: Random,
    now: Duration,
    nodes: Vec<Node>,
    wires: Vec<Wire>,
    links: BTreeMap<(usize, LinkId), (usize, usize)>,
    next_link: LinkId,
    events: BTreeMap<(Duration, u64), Event>,
    next_event: u64,
    cuts: BTreeSet<(usize, usize)>,
    log: Vec<String>,
}

fn config(random: &mut Random, index: usize, count: usize, style: usize) -> MeshConfig {
    let mut routes: Vec<usize> = match style {
        // One seed, a chain, everybody to everybody, or a ring.
        0 => vec![0],
        1 => vec![index.saturating_sub(1)],
        2 => (0..count).collect(),
        _ => vec![(index + 1) % count],
    };
    if random.chance(20) {
        routes.push(random.below(count));
    }
    let target = |to: usize| Target {
        endpoint: Endpoint {
            host: format!("n{to}"),
            port: 1,
        },
        explicit: true,
        auth_required: false,
    };
    MeshConfig {
        server_id: String::new(),
        cluster: "c".to_owned(),
        cluster_dynamic: false,
        pool_size: None,
        accounts: Vec::new(),
        routes: routes.into_iter().map(target).collect(),
        connect_retries: 0,
        connect_backoff: random.chance(30),
        info: RouteInfo::default(),
        seed: 0,
    }
}

impl Network {
    fn new(seed: u64) -> Self {
        let mut random = Random::new(seed);
        let (count, style) = (3 + random.below(5), random.below(4));
        let names = random.chance(30);
        let pools = [Some(3), Some(1), None, Some(2)];
        let mixed = random.chance(30);
        let common = pools[random.below(4)];
        let pinned = random.below(3);
        let lanes = random.below(3);
        let mut network = Self {
            random,
            now: Duration::ZERO,
            nodes: Vec::new(),
            wires: Vec::new(),
            links: BTreeMap::new(),
            next_link: 0,
            events: BTreeMap::new(),
            next_event: 0,
            cuts: BTreeSet::new(),
            log: Vec::new(),
        };
        for index in 0..count {
            let mut config = config(&mut network.random, index, count, style);
            config.pool_size = if mixed {
                pools[network.random.below(4)]
            } else {
                common
            };
            if config.pool_size.is_some() {
                config.accounts = ACCOUNTS[1..=pinned]
                    .iter()
                    .map(|name| (*name).to_owned())
                    .collect();
            }
            if names {
                config.cluster_dynamic = true;
                config.cluster = format!("made-up-{}", network.random.below(1000));
            }
            config.info = RouteInfo {
                go: "midge test".to_owned(),
                host: format!("n{index}"),
                port: 1,
                headers: true,
                connect_urls: vec![format!("n{index}:4222")],
                server_name: format!("n{index}"),
                // Nowhere, everywhere, or only at some.
                lanes: lanes == 1 || lanes == 2 && network.random.chance(60),
                ..RouteInfo::default()
            };
            network.nodes.push(Node {
                mesh: Mesh::new(config.clone(), Duration::ZERO),
                incarnation: 0,
                alive: false,
                config,
                wants: BTreeSet::new(),
                shares: BTreeMap::new(),
                heard: BTreeMap::new(),
                tick_at: Duration::MAX,
            });
            network.start(index);
        }
        network
    }

    fn at(&mut self, time: Duration, event: Event) {
        self.next_event += 1;
        self.events.insert((time, self.next_event), event);
    }

    fn start(&mut self, index: usize) {
        let (seed, now) = (self.random.below(1 << 30) as u64, self.now);
        let node = &mut self.nodes[index];
        node.incarnation += 1;
        node.alive = true;
        node.tick_at = Duration::MAX;
        node.config.seed = seed;
        node.config.server_id = format!("ID{:08x}-{index}-{}", seed & 0xffff, node.incarnation);
        node.config
            .info
            .server_id
            .clone_from(&node.config.server_id);
        node.mesh = Mesh::new(node.config.clone(), now);
        node.shares.clear();
        node.heard.clear();
        node.wants = (0..4_u32)
            .map(|filter| (filter as usize, 1000 * node.incarnation + filter))
            .collect();
        let delay = self.random.millis(0, 200);
        self.at(now + delay, Event::Tick(index));
    }

    fn stop(&mut self, index: usize) {
        self.nodes[index].alive = false;
        let links: Vec<_> = self
            .links
            .range((index, 0)..(index + 1, 0))
            .map(|(key, at)| (*key, *at))
            .collect();
        for ((_, link), (wire, end)) in links {
            self.links.remove(&(index, link));
            self.end(wire, end);
        }
    }

    fn is_cut(&self, one: usize, other: usize) -> bool {
        self.cuts.contains(&(one.min(other), one.max(other)))
    }

    /// Sends over a wire from one of its ends.
    fn send(&mut self, wire: usize, end: usize, message: Message) {
        let delay = self.random.millis(1, 40);
        let found = &mut self.wires[wire];
        if found.ended[end] {
            return;
        }
        let arrival = (self.now + delay).max(found.last_arrival[end]);
        found.last_arrival[end] = arrival;
        self.at(arrival, Event::Arrive(wire, end, message));
    }

    /// One end of a wire closes it.
    fn end(&mut self, wire: usize, end: usize) {
        self.send(wire, end, Message::End);
        self.wires[wire].ended[end] = true;
    }

    /// A server learns that a link has ended.
    fn closed(&mut self, index: usize, link: LinkId) {
        if let Some((wire, end)) = self.links.remove(&(index, link)) {
            self.end(wire, end);
            let node = &mut self.nodes[index];
            node.shares.remove(&link);
            node.heard.remove(&link);
            node.mesh.closed(link, self.now);
            self.obey(index);
        }
    }

    /// Does what a mesh asks for.
    fn obey(&mut self, index: usize) {
        for action in self.nodes[index].mesh.take_actions() {
            self.log.push(format!("{:?} n{index} {action:?}", self.now));
            let incarnation = self.nodes[index].incarnation;
            match action {
                Action::Dial(goal, target, _) => {
                    let to = target.endpoint.host[1..].parse().expect("it is there");
                    let delay = self.random.millis(1, 60);
                    self.at(
                        self.now + delay,
                        Event::Connect(index, incarnation, goal, to),
                    );
                }
                Action::SendConnect(link, connect) => {
                    self.send_on(index, link, Message::Connect(connect))
                }
                Action::SendInfo(link, info) => self.send_on(index, link, Message::Info(info)),
                Action::Ping(link) => self.send_on(index, link, Message::Ping),
                Action::Attach(link, share) => {
                    let mut wants = self.nodes[index].wants.clone();
                    wants.retain(|want| serves(&share, &self.nodes[index].config, *want));
                    for want in wants {
                        self.send_on(index, link, Message::Wants(want, true));
                    }
                    self.nodes[index].shares.insert(link, share);
                }
                Action::Close(link, _, _) => {
                    let delay = self.random.millis(0, 20);
                    self.at(self.now + delay, Event::Closed(index, incarnation, link));
                }
                Action::Permissions(..) | Action::ConnectUrls(_) | Action::ClusterNamed(..) => {}
            }
        }
        let next = self.nodes[index]
            .mesh
            .next_tick()
            .max(self.now + Duration::from_millis(1));
        if next < self.nodes[index].tick_at {
            self.nodes[index].tick_at = next;
            self.at(next, Event::Tick(index));
        }
    }

    fn send_on(&mut self, index: usize, link: LinkId, message: Message) {
        if let Some((wire, end)) = self.links.get(&(index, link)).copied() {
            self.send(wire, end, message);
        }
    }

    /// A server wants something more, or less.
    fn change_wants(&mut self, index: usize) {
        let want = (self.random.below(ACCOUNTS.len()), self.random.number(8));
        let added = self.nodes[index].wants.insert(want);
        if !added {
            self.nodes[index].wants.remove(&want);
        }
        let shares = self.nodes[index].shares.clone();
        for (link, share) in shares {
            if serves(&share, &self.nodes[index].config, want) {
                self.send_on(index, link, Message::Wants(want, added));
            }
        }
    }

    fn step(&mut self) {
        let ((time, _), event) = self.events.pop_first().expect("there is always a tick");
        self.now = time;
        match event {
            Event::Tick(index) => {
                if self.nodes[index].alive && self.nodes[index].tick_at <= time
                    || self.nodes[index].tick_at == Duration::MAX
                {
                    self.nodes[index].tick_at = Duration::MAX;
                    if self.nodes[index].alive {
                        self.nodes[index].mesh.tick(time);
                        self.obey(index);
                    }
                }
            }
            Event::Connect(index, incarnation, goal, to) => {
                self.connect(index, incarnation, goal, to)
            }
            Event::Arrive(wire, end, message) => self.arrive(wire, end, message),
            Event::Closed(index, incarnation, link) => {
                if self.nodes[index].incarnation == incarnation {
                    self.closed(index, link);
                }
            }
            Event::Trouble => self.make_trouble(),
        }
    }

    fn connect(&mut self, index: usize, incarnation: u32, goal: GoalId, to: usize) {
        let node = &self.nodes[index];
        if !node.alive || node.incarnation != incarnation {
            return;
        }
        if !self.nodes[to].alive || self.is_cut(index, to) {
            self.nodes[index].mesh.dial_failed(goal, self.now);
            return self.obey(index);
        }
        let (one, other) = (self.next_link + 1, self.next_link + 2);
        self.next_link += 2;
        let ends = [
            (index, incarnation, one),
            (to, self.nodes[to].incarnation, other),
        ];
        self.links.insert((index, one), (self.wires.len(), 0));
        self.links.insert((to, other), (self.wires.len(), 1));
        self.wires.push(Wire {
            ends,
            last_arrival: [self.now; 2],
            ended: [false; 2],
        });
        self.nodes[index].mesh.dialed(goal, one, &format!("n{to}"));
        self.obey(index);
        self.nodes[to].mesh.accepted(other, &format!("n{index}"));
        self.obey(to);
    }

    fn arrive(&mut self, wire: usize, end: usize, message: Message) {
        let (index, incarnation, link) = self.wires[wire].ends[1 - end];
        let (from, _, _) = self.wires[wire].ends[end];
        if !self.nodes[index].alive
            || self.nodes[index].incarnation != incarnation
            || !self.links.contains_key(&(index, link))
        {
            return;
        }
        if self.is_cut(index, from) {
            // It is sent again until the path is there, or the connection is given up.
            let later = self.now + self.random.millis(100, 300);
            return self.at_in_order(wire, end, later, message);
        }
        let now = self.now;
        let mesh = &mut self.nodes[index].mesh;
        match message {
            Message::Connect(connect) => mesh.connect_received(link, &connect),
            Message::Info(info) => mesh.info_received(link, *info, now),
            Message::Ping => return self.send_on(index, link, Message::Pong),
            Message::Pong => mesh.ponged(link, now),
            Message::Wants(want, wanted) => {
                let heard = self.nodes[index].heard.entry(link).or_default();
                let changed = if wanted {
                    heard.insert(want)
                } else {
                    heard.remove(&want)
                };
                assert!(changed, "{want:?} was told twice");
            }
            Message::End => return self.closed(index, link),
        }
        self.obey(index);
    }

    /// Puts off what cannot arrive, and everything that was sent after it.
    fn at_in_order(&mut self, wire: usize, end: usize, later: Duration, message: Message) {
        let behind = self.events.iter().filter(
            |(_, event)| matches!(event, Event::Arrive(w, e, _) if (*w, *e) == (wire, end)),
        );
        let behind: Vec<_> = behind.map(|(key, _)| *key).collect();
        self.at(later, Event::Arrive(wire, end, message));
        for key in behind {
            let event = self.events.remove(&key).expect("it is there");
            self.at(key.0.max(later), event);
        }
        let last = &mut self.wires[wire].last_arrival[end];
        *last = (*last).max(later);
    }

    fn make_trouble(&mut self) {
        let count = self.nodes.len();
        let index = self.random.below(count);
        match self.random.below(10) {
            0 if self.nodes[index].alive => self.stop(index),
            0 | 1 if !self.nodes[index].alive => self.start(index),
            1 => {
                self.stop(index);
                self.start(index);
            }
            2 | 3 => {
                let other = self.random.below(count);
                let pair = (index.min(other), index.max(other));
                if !self.cuts.remove(&pair) && index != other {
                    self.cuts.insert(pair);
                    if self.random.chance(50) {
                        self.lose_between(pair);
                    }
                }
            }
            4 => {
                // One connection breaks; each side learns it in its own time.
                if !self.wires.is_empty() {
                    let wire = self.random.below(self.wires.len());
                    self.lose(wire);
                }
            }
            _ => self.change_wants(index),
        }
        if self.now < TROUBLE {
            let delay = self.random.millis(1, 400);
            self.at(self.now + delay, Event::Trouble);
        }
    }

    fn lose_between(&mut self, pair: (usize, usize)) {
        for wire in 0..self.wires.len() {
            let [(one, ..), (other, ..)] = self.wires[wire].ends;
            if (one.min(other), one.max(other)) == pair {
                self.lose(wire);
            }
        }
    }

    fn lose(&mut self, wire: usize) {
        for (index, incarnation, link) in self.wires[wire].ends {
            let delay = self.random.millis(0, 4000);
            self.at(self.now + delay, Event::Closed(index, incarnation, link));
        }
        self.wires[wire].ended = [true; 2];
    }

    /// What is not as it should be, if anything.
    fn fault(&self) -> Option<String> {
        for (index, node) in self.nodes.iter().enumerate() {
            for (other, there) in self
                .nodes
                .iter()
                .enumerate()
                .filter(|(other, _)| *other != index)
            {
                if !node.mesh.is_complete(&there.config.server_id) {
                    return Some(format!("n{index} lacks links with n{other}"));
                }
                if node.mesh.remotes().count() != self.nodes.len() - 1 {
                    return Some(format!("n{index} has links with servers that are gone"));
                }
                let leads_there = |link: &LinkId| {
                    node.mesh
                        .remote_of(*link)
                        .is_some_and(|info| info.server_id == there.config.server_id)
                };
                let heard = node.heard.iter().filter(|(link, _)| leads_there(link));
                let mut all: Vec<Want> =
                    heard.flat_map(|(_, wants)| wants.iter().copied()).collect();
                all.sort_unstable();
                let links = node.shares.iter().filter(|(link, _)| leads_there(link));
                let lanes: Vec<_> = links
                    .filter(|(_, share)| matches!(share, Share::Lane { .. }))
                    .collect();
                let both = node.config.info.lanes && there.config.info.lanes;
                if !lanes.is_empty() {
                    if !both {
                        return Some(format!("n{index} spreads messages for n{other}"));
                    }
                    if let Some(fault) = lanes_fault(&lanes) {
                        return Some(format!("n{index} to n{other}: {fault}"));
                    }
                    // Each tells of all but pinned accounts.
                    all = once_per_lane(all, lanes.len(), &node.config);
                }
                if !all.iter().eq(&there.wants) {
                    return Some(format!(
                        "n{index} believes that n{other} wants {all:?}, not {:?}",
                        there.wants
                    ));
                }
            }
        }
        None
    }
}

/// What is wrong with the lanes to a server, if anything.
fn lanes_fault(lanes: &[(&LinkId, &Share)]) -> Option<String> {
    let mut indexes = BTreeSet::new();
    for (_, share) in lanes {
        let Share::Lane { index, count, .. } = share else {
            return Some(format!("{share:?} beside lanes"));
        };
        if *count != lanes.len() || !indexes.insert(*index) || index >= count {
            return Some(format!("the lanes are {lanes:?}"));
        }
    }
    None
}

/// Wants that were heard `count` times, as they are heard once; others stay as they are.
fn once_per_lane(all: Vec<Want>, count: usize, config: &MeshConfig) -> Vec<Want> {
    let mut times = BTreeMap::new();
    for want in all {
        *times.entry(want).or_insert(0_usize) += 1;
    }
    let expected = |account: usize| {
        let pinned = config
            .accounts
            .iter()
            .any(|pinned| pinned == ACCOUNTS[account]);
        if pinned { 1 } else { count }
    };
    times.retain(|(account, _), times| *times == expected(*account));
    times.into_keys().collect()
}

/// Whether a want goes over a link with that share.
fn serves(share: &Share, config: &MeshConfig, (account, _): Want) -> bool {
    let name = ACCOUNTS[account];
    let pinned = config.accounts.iter().any(|pinned| pinned == name);
    match share {
        Share::All => true,
        Share::Lane { .. } => !pinned,
        Share::Account(own) => own == name,
        Share::Slot { index, size } => !pinned && slot_of(name, *size) == *index,
    }
}

fn run(seed: u64) -> Result<Duration, (String, Vec<String>)> {
    let mut network = Network::new(seed);
    let begins = network.random.millis(1, 3000);
    network.at(begins, Event::Trouble);
    while network.now < TROUBLE {
        network.step();
    }
    network.cuts.clear();
    for index in 0..network.nodes.len() {
        if !network.nodes[index].alive {
            network.start(index);
        }
    }
    let healed = network.now;
    let mut look_at = healed + Duration::from_secs(5);
    while network.now < healed + PATIENCE {
        network.step();
        // Trouble that was still on its way may begin after the end of all trouble.
        network.cuts.clear();
        if let Some(dead) = network.nodes.iter().position(|node| !node.alive) {
            network.start(dead);
        }
        if network.now > look_at {
            look_at += Duration::from_secs(1);
            if network.fault().is_none() {
                return Ok(network.now - healed);
            }
        }
    }
    match network.fault() {
        None => Ok(PATIENCE),
        Some(fault) => Err((fault, network.log)),
    }
}

#[test]
fn simulated_clusters_become_whole_again() {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse().ok());
    if let Some(seed) = number("MIDGE_SIMULATION_SEED") {
        if let Err((fault, log)) = run(seed) {
            panic!("{}\nseed {seed}: {fault}", log.join("\n"));
        }
        return;
    }
    let runs = number("MIDGE_SIMULATION_RUNS").unwrap_or(150);
    let mut slowest = Duration::ZERO;
    for seed in 1..=runs {
        match run(seed) {
            Ok(took) => slowest = slowest.max(took),
            Err((fault, _)) => {
                panic!("MIDGE_SIMULATION_SEED={seed} cargo test --test cluster simulated\n{fault}")
            }
        }
    }
    assert!(slowest < PATIENCE, "whole again after {slowest:?}");
}
