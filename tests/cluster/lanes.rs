//! Several connections for each account between two servers of this kind: in one thread, where every
//! connection is as slow as chance wants and is cut now and then, and between real processes.
//!
//! `MIDGE_LANES_SEED=17 cargo test --test cluster lanes` repeats the run that failed.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime};

use midge::auth::{AuthRules, Authenticator};
use midge::broker::deliver::{Deliveries, Matches, Publication};
use midge::broker::peer::{Facts, Peer, Wire};
use midge::broker::registry::Broker;
use midge::broker::routes::Share;
use midge::broker::subscription::Subscription;
use midge::conn::compression::Level;
use midge::conn::turn::{Input, Link, Turn, Verdict};
use midge::link::route::compression::CompressionMode;
use midge::link::route::{Route, RouteHost, RouteSettings};
use midge::proto::display::PayloadTrace;
use midge::proto::op::{Publish, Size, Subscribe};
use midge::proto::route_info::{RouteConnect, RouteInfo};
use midge::server::Server;

use crate::client::{Client, eventually};
use crate::faults::{embedded, impatient, interest, requests_succeed};
use crate::mixed::{check_cluster, start};
use crate::node::{Kind, Node, Setup};
use crate::proxy::Proxy;
use crate::random::Random;

use Kind::{Midge, NatsServer};

/// Connections between the two servers.
const LANES: usize = 3;
/// Clients that publish at each server.
const PUBLISHERS: usize = 8;
/// Steps of a run.
const STEPS: usize = 2000;

/// What was sent and not received yet.
#[derive(Debug, Default)]
struct Pipe(Mutex<Vec<u8>>);

#[derive(Debug)]
struct Into(Arc<Pipe>);

impl Wire for Into {
    fn try_write(&self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        let mut bytes = self.0.0.lock().expect("a lock");
        let before = bytes.len();
        for slice in slices {
            bytes.extend_from_slice(slice);
        }
        Ok(bytes.len() - before)
    }

    fn wake(&self) {}
}

fn facts(id: u64) -> Facts {
    Facts {
        id,
        ip: String::new(),
        port: 0,
        began: (SystemTime::UNIX_EPOCH, Instant::now()),
        nonce: String::new(),
        label: format!("{id}"),
        unix_user: None,
        in_process: false,
    }
}

/// Attaches a link once the other server has introduced itself.
#[derive(Debug)]
struct Host {
    broker: Arc<Broker>,
    peer: Arc<Peer>,
    index: usize,
}

impl RouteHost for Host {
    fn connected(&self, _: u64, _: &RouteConnect) {}

    fn informed(&self, _: u64, info: RouteInfo) {
        let share = Share::Lane {
            server: info.server_id,
            index: self.index,
            count: LANES,
        };
        self.broker
            .attach_route(Arc::clone(&self.peer), share, None);
    }

    fn ponged(&self, _: u64) {}

    fn closed(&self, _: u64) {}

    fn compression_chosen(&self, _: u64, _: &'static str) -> String {
        String::new()
    }

    fn level_changed(&self, _: u64, _: Level) {}

    fn complain(&self, _: u64, text: String) {
        assert_eq!(text, "", "there is nothing to complain of");
    }
}

/// One end of a connection between the servers.
struct Lane {
    peer: Arc<Peer>,
    link: Route,
    sent: Arc<Pipe>,
    /// What has arrived and is no whole operation yet.
    rest: Vec<u8>,
}

/// A client: what it has got, and what it wants.
struct Participant {
    peer: Arc<Peer>,
    inbox: Arc<Pipe>,
    cache: Matches,
    wishes: Vec<Arc<Subscription>>,
}

#[derive(Debug)]
struct Message {
    subject: String,
    reply: Option<String>,
    body: String,
}

struct Side {
    name: &'static str,
    broker: Arc<Broker>,
    deliveries: Deliveries,
    lanes: Vec<Option<Lane>>,
    publishers: Vec<Participant>,
    /// Want `t.*.*`, `t.>`, and `t.shared.*` as a queue group that has a member at each server.
    listeners: Vec<Participant>,
    service: Participant,
    asking: Participant,
    /// The numbers of the messages that each listener has heard of each publisher.
    heard: BTreeMap<(usize, String), BTreeSet<usize>>,
    /// Requests without an answer, by their reply subjects.
    open: BTreeMap<String, Arc<Subscription>>,
    asked: usize,
}

impl Participant {
    fn new(broker: &Broker) -> Self {
        let inbox = Arc::new(Pipe::default());
        let wire = Box::new(Into(Arc::clone(&inbox)));
        let peer = Arc::new(Peer::new(facts(broker.next_id()), wire, 1 << 30));
        Self {
            peer,
            inbox,
            cache: Matches::default(),
            wishes: Vec::new(),
        }
    }

    fn want(&mut self, broker: &Broker, filter: &str, queue: Option<&str>) -> Arc<Subscription> {
        let words = Subscribe {
            filter: filter.as_bytes(),
            queue: queue.map(str::as_bytes),
            sid: b"1",
        };
        let made = Subscription::new(&words, Arc::clone(&self.peer), None).expect("short words");
        let wish = Arc::new(made);
        broker.global_account().subscribe(Arc::clone(&wish));
        self.wishes.push(Arc::clone(&wish));
        wish
    }

    fn give_up(&mut self, broker: &Broker, wish: &Arc<Subscription>) {
        self.peer.end_subscription(wish);
        assert!(broker.global_account().unsubscribe(wish));
        self.wishes.retain(|other| !Arc::ptr_eq(other, wish));
    }

    fn publish(
        &mut self,
        broker: &Broker,
        deliveries: &mut Deliveries,
        (subject, reply, body): (&str, Option<&str>, &str),
    ) {
        let size = body.len().to_string();
        let framed = format!("{body}\r\n");
        let message = Publish {
            subject: subject.as_bytes(),
            reply: reply.map(str::as_bytes),
            header: None,
            size: Size {
                bytes: body.len(),
                text: size.as_bytes(),
            },
            body: framed.as_bytes(),
            sized_body: None,
        };
        let mut publication = Publication::new(&message, &self.peer, Instant::now());
        publication.gathered = body.len() % 2 == 0;
        deliveries.publish(broker.global_account(), &mut self.cache, &publication);
    }

    fn received(&self) -> Vec<Message> {
        let bytes = std::mem::take(&mut *self.inbox.0.lock().expect("a lock"));
        let text = String::from_utf8(bytes).expect("text");
        let mut lines = text.split("\r\n");
        let mut messages = Vec::new();
        while let Some(line) = lines.next().filter(|line| !line.is_empty()) {
            let words: Vec<&str> = line.split(' ').collect();
            assert_eq!(words[0], "MSG", "{line}");
            messages.push(Message {
                subject: words[1].to_owned(),
                reply: (words.len() == 5).then(|| words[3].to_owned()),
                body: lines.next().expect("a body").to_owned(),
            });
        }
        messages
    }
}

impl Side {
    fn new(name: &'static str, seed: u64) -> Self {
        let broker = Arc::new(Broker::new_announced("$SYS"));
        let many = |count: usize| (0..count).map(|_| Participant::new(&broker)).collect();
        let (publishers, listeners) = (many(PUBLISHERS), many(3));
        let mut side = Self {
            name,
            deliveries: Deliveries::new(seed),
            lanes: (0..LANES).map(|_| None).collect(),
            publishers,
            listeners,
            service: Participant::new(&broker),
            asking: Participant::new(&broker),
            heard: BTreeMap::new(),
            open: BTreeMap::new(),
            asked: 0,
            broker,
        };
        let filters = [("t.*.*", None), ("t.>", None), ("t.shared.*", Some("q"))];
        for (listener, (filter, queue)) in side.listeners.iter_mut().zip(filters) {
            listener.want(&side.broker, filter, queue);
        }
        let subject = format!("service.{name}");
        side.service.want(&side.broker, &subject, None);
        side
    }

    fn open_lane(&mut self, index: usize) {
        let sent = Arc::new(Pipe::default());
        let wire = Box::new(Into(Arc::clone(&sent)));
        let id = self.broker.next_id();
        let peer = Arc::new(Peer::new_route(facts(id), wire, 1 << 30));
        let settings = RouteSettings {
            authenticator: Authenticator::new(&AuthRules::default(), &[0; 32]).expect("no rules"),
            permissions: None,
            max_payload: None,
            headers: true,
            trace: PayloadTrace::default(),
            compression: CompressionMode::Off,
        };
        let host = Arc::new(Host {
            broker: Arc::clone(&self.broker),
            peer: Arc::clone(&peer),
            index,
        });
        let link = Route::new(
            Arc::clone(&self.broker),
            host,
            Arc::new(settings),
            Arc::clone(&peer),
            Some(None),
            Instant::now(),
        );
        let info = format!(
            "INFO {{\"server_id\":\"{}\",\"max_payload\":-1,\"headers\":true}}\r\n",
            self.name
        );
        peer.send(info.as_bytes());
        self.lanes[index] = Some(Lane {
            peer,
            link,
            sent,
            rest: Vec::new(),
        });
    }

    /// Takes up to `most` bytes that were sent over a lane.
    fn take_sent(&self, index: usize, most: usize) -> Vec<u8> {
        let Some(lane) = &self.lanes[index] else {
            return Vec::new();
        };
        lane.peer.resume();
        let mut sent = lane.sent.0.lock().expect("a lock");
        let count = most.min(sent.len());
        sent.drain(..count).collect()
    }

    fn receive(&mut self, index: usize, bytes: &[u8]) {
        let Some(lane) = &mut self.lanes[index] else {
            return;
        };
        lane.rest.extend_from_slice(bytes);
        let now = Instant::now();
        let mut turn = Turn {
            deliveries: &mut self.deliveries,
            peer: &lane.peer,
            now,
            messages: 0,
            introduced: false,
            ponged: false,
            pause: None,
        };
        let input = Input {
            bytes: &lane.rest,
            source: None,
        };
        let served = lane.link.serve(&mut turn, input);
        assert!(matches!(served.verdict, Verdict::Continue), "{served:?}");
        lane.rest.drain(..served.consumed);
        self.deliveries.flush(now);
    }

    /// The connection has ended: gives up what it held.
    fn close_lane(&mut self, index: usize) {
        if let Some(mut lane) = self.lanes[index].take() {
            while lane.link.release() {}
            lane.link
                .closed(midge::broker::close::CloseReason::ClientClosed);
        }
    }

    fn publish(&mut self, at: usize, first: usize, count: usize) {
        let publisher = &mut self.publishers[at];
        let kind = if is_shared(at) { "shared" } else { "plain" };
        let subject = format!("t.{kind}.{}{at}", self.name);
        for number in first..first + count {
            let message = (&*subject, None, &*format!("{}{at} {number}", self.name));
            publisher.publish(&self.broker, &mut self.deliveries, message);
        }
        self.deliveries.flush(Instant::now());
    }

    fn ask(&mut self, whom: &str) {
        self.asked += 1;
        let reply = format!("inbox.{}.{}", self.name, self.asked);
        let wish = self.asking.want(&self.broker, &reply, None);
        self.open.insert(reply.clone(), wish);
        let subject = format!("service.{whom}");
        let message = (&*subject, Some(&*reply), "?");
        // Any client may ask for one that listens: the answer finds its way whoever asked.
        let from = self.asked % PUBLISHERS;
        self.publishers[from].publish(&self.broker, &mut self.deliveries, message);
        self.deliveries.flush(Instant::now());
    }

    /// Lets clients look at what they have got: no message comes twice or before an earlier one.
    fn look(&mut self) {
        for (at, listener) in self.listeners.iter().enumerate() {
            for message in listener.received() {
                let (from, number) = message.body.split_once(' ').expect("two words");
                let number: usize = number.parse().expect("a number");
                let heard = self.heard.entry((at, from.to_owned())).or_default();
                assert!(
                    heard.last().is_none_or(|last| *last < number),
                    "{} heard {number} of {from} after {:?}",
                    self.name,
                    heard.last()
                );
                heard.insert(number);
            }
        }
        for request in self.service.received() {
            let reply = request.reply.expect("a reply subject");
            let message = (&*reply, None, "!");
            self.service
                .publish(&self.broker, &mut self.deliveries, message);
        }
        self.deliveries.flush(Instant::now());
        for answer in self.asking.received() {
            let wish = self.open.remove(&answer.subject);
            let wish = wish.expect("a request is answered once");
            self.asking.give_up(&self.broker, &wish);
        }
    }

    fn interest(&self) -> usize {
        self.broker.global_account().interest().len()
    }
}

/// Whether a publisher's messages go to the queue group as well.
fn is_shared(publisher: usize) -> bool {
    publisher.is_multiple_of(2)
}

struct World {
    random: Random,
    sides: [Side; 2],
    /// How many messages each publisher has published.
    published: [[usize; PUBLISHERS]; 2],
}

impl World {
    fn new(seed: u64) -> Self {
        let mut world = Self {
            random: Random::new(seed),
            sides: [Side::new("a", seed), Side::new("b", seed + 1)],
            published: [[0; PUBLISHERS]; 2],
        };
        for index in 0..LANES {
            world.open(index);
        }
        // What is wanted is heard first over one or the other.
        for _ in 0..60 {
            let (index, at) = (world.random.below(LANES), world.random.below(2));
            let most = 1 + world.random.below(60);
            world.pump(index, at, most);
        }
        world.settle();
        world
    }

    fn open(&mut self, index: usize) {
        for side in &mut self.sides {
            side.open_lane(index);
        }
    }

    fn pump(&mut self, index: usize, from: usize, most: usize) -> bool {
        let bytes = self.sides[from].take_sent(index, most);
        if self.sides[1 - from].lanes[index].is_some() {
            self.sides[1 - from].receive(index, &bytes);
        }
        !bytes.is_empty()
    }

    fn unanswered(&self) -> usize {
        self.sides.iter().map(|side| side.open.len()).sum()
    }

    /// Lets everything arrive that is on its way.
    fn settle(&mut self) {
        loop {
            let mut moved = false;
            for (index, from) in (0..LANES).flat_map(|index| [(index, 0), (index, 1)]) {
                moved |= self.pump(index, from, usize::MAX);
            }
            let open = self.unanswered();
            self.sides.iter_mut().for_each(Side::look);
            if !moved && open == self.unanswered() {
                return;
            }
        }
    }

    fn step(&mut self) {
        let at = self.random.below(2);
        match self.random.below(10) {
            0..3 => {
                let (who, count) = (self.random.below(PUBLISHERS), 1 + self.random.below(20));
                let first = self.published[at][who];
                self.sides[at].publish(who, first, count);
                self.published[at][who] += count;
            }
            3 | 4 => {
                let whom = if at == 0 { "b" } else { "a" };
                self.sides[at].ask(whom);
            }
            5 => self.sides[at].look(),
            _ => {
                let (index, most) = (self.random.below(LANES), 1 + self.random.below(3000));
                self.pump(index, at, most);
            }
        }
    }

    /// Breaks one connection: what is on its way is lost, and each side learns of it in its own time.
    fn cut(&mut self, index: usize) {
        let first = self.random.below(2);
        self.sides[first].close_lane(index);
        for _ in 0..self.random.below(30) {
            let (lane, at) = (self.random.below(LANES), self.random.below(2));
            if lane != index {
                self.pump(lane, at, 500);
            }
        }
        self.sides[1 - first].close_lane(index);
        for _ in 0..self.random.below(30) {
            self.step();
        }
        self.open(index);
    }

    /// What a publisher of the side `from` published, as far as each listener could miss it.
    fn missing(&self, from: usize, who: usize, since: usize) -> usize {
        let name = format!("{}{who}", self.sides[from].name);
        let all: BTreeSet<usize> = (since..self.published[from][who]).collect();
        let none = BTreeSet::new();
        let heard = |side: usize, at: usize| {
            let heard = self.sides[side].heard.get(&(at, name.clone()));
            heard.unwrap_or(&none)
        };
        let lacks = |side: usize, at: usize| all.difference(heard(side, at)).count();
        let plain = [(0, 0), (0, 1), (1, 0), (1, 1)].map(|(side, at)| lacks(side, at));
        let taken = [heard(0, 2), heard(1, 2)];
        let twice = taken[0].intersection(taken[1]).count();
        assert_eq!(twice, 0, "one member of a group gets a message");
        let by_group = all.difference(&(taken[0] | taken[1])).count();
        plain.iter().sum::<usize>() + if is_shared(who) { by_group } else { 0 }
    }

    /// Everything that is published and asked for now arrives, and nothing is left of what was wanted.
    fn finish(mut self) {
        self.settle();
        // What was lost with a connection was asked for in vain.
        for side in &mut self.sides {
            for (_, wish) in std::mem::take(&mut side.open) {
                side.asking.give_up(&side.broker, &wish);
            }
        }
        self.settle();
        let since = self.published;
        for _ in 0..200 {
            self.step();
        }
        self.settle();
        for (from, who) in (0..2).flat_map(|from| (0..PUBLISHERS).map(move |who| (from, who))) {
            assert_eq!(self.missing(from, who, since[from][who]), 0);
        }
        for side in &mut self.sides {
            assert!(side.open.is_empty(), "{} got no answer", side.name);
            let mut all: Vec<&mut Participant> = side.listeners.iter_mut().collect();
            all.extend([&mut side.service, &mut side.asking]);
            for participant in all {
                for wish in participant.wishes.clone() {
                    participant.give_up(&side.broker, &wish);
                }
            }
        }
        self.settle();
        for side in &self.sides {
            assert_eq!(side.interest(), 0, "{} believes in interest", side.name);
        }
    }
}

fn run(seed: u64) {
    let mut world = World::new(seed);
    // Four own wishes and four of the other server.
    assert!(world.sides.iter().all(|side| side.interest() == 8));
    for _ in 0..STEPS {
        world.step();
    }
    world.settle();
    let all = (0..2).flat_map(|from| (0..PUBLISHERS).map(move |who| (from, who)));
    for (from, who) in all.clone() {
        assert_eq!(world.missing(from, who, 0), 0, "nothing is lost");
    }
    assert_eq!(world.unanswered(), 0, "every request is answered");
    let since = world.published;
    let index = world.random.below(LANES);
    for _ in 0..20 {
        world.cut(index);
        for _ in 0..100 {
            world.step();
        }
    }
    world.settle();
    let unharmed = all.filter(|(from, who)| world.missing(*from, *who, since[*from][*who]) == 0);
    assert!(
        unharmed.count() >= PUBLISHERS,
        "whose lane was not cut loses nothing"
    );
    for index in 0..LANES {
        world.cut(index);
    }
    world.finish();
}

#[test]
fn simulated_lanes_keep_order_and_lose_nothing() {
    let named = std::env::var("MIDGE_LANES_SEED").ok();
    if let Some(seed) = named.and_then(|text| text.parse().ok()) {
        return run(seed);
    }
    for seed in 1..=15 {
        let outcome = std::panic::catch_unwind(|| run(seed));
        assert!(
            outcome.is_ok(),
            "MIDGE_LANES_SEED={seed} cargo test --test cluster lanes"
        );
    }
}

fn spreading() -> Setup {
    Setup {
        midge_cluster: "lanes: true".to_owned(),
        ..Setup::default()
    }
}

#[test]
fn clusters_where_messages_are_spread() {
    for kinds in [
        [Midge, Midge, Midge],
        [Midge, NatsServer, Midge],
        [NatsServer, Midge, Midge],
    ] {
        if let Some(nodes) = start(&kinds, &spreading()) {
            wait_until_complete(&nodes);
            check_cluster(&nodes);
        }
    }
}

/// Waits until the links of each pool are there, and that of the system account.
fn wait_until_complete(nodes: &[Node]) {
    for node in nodes.iter().filter(|node| node.kind == Midge) {
        eventually("all links are there", || {
            let links = node.log().matches("Registering remote route").count();
            links >= (nodes.len() - 1) * (LANES + 1)
        });
    }
}

/// Publishers, each with a subject of its own.
fn publishers(count: usize, at: SocketAddr) -> Vec<Client> {
    (0..count).map(|_| Client::connect(at, "")).collect()
}

/// Reads until each publisher's `count` messages are there; they must come in order and once.
fn check_all(listener: &mut Client, publishers: usize, count: usize) {
    let mut next = vec![0; publishers];
    while next.iter().sum::<usize>() < publishers * count {
        let message = listener.next().expect("a message");
        let from: usize = message.subject[2..].parse().expect("a number");
        assert_eq!(message.body, next[from].to_string(), "of {from}");
        next[from] += 1;
    }
}

/// How many links of a server to others, without those of an account, have carried messages.
fn used_links(server: &Server) -> usize {
    let links = server.cluster().expect("a cluster").links();
    let used = links
        .iter()
        .filter(|link| link.account.is_empty() && link.portrait.out_messages > 0);
    used.count()
}

#[test]
fn messages_of_one_account_take_all_connections_where_both_servers_want_that() {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    for (here, there, used) in [
        ("lanes: true", "lanes: true", LANES),
        ("lanes: true", "lanes: true, pool_size: 5", 5),
        ("lanes: true", "lanes: true, pool_size: 1", LANES),
        ("lanes: true", "lanes: true, pool_size: -1", 1),
        (
            "lanes: true, accounts: [\"$G\"]",
            "lanes: true, accounts: [\"$G\"]",
            0,
        ),
        ("lanes: true", "lanes: false", 1),
        ("lanes: false", "lanes: true", 1),
    ] {
        let first = runtime.block_on(embedded("n0", &[], here));
        let port = first.cluster().expect("a cluster").address().port();
        let second = runtime.block_on(embedded("n1", &[port], there));
        let mut listener = Client::connect(second.client_address(), "");
        listener.subscribe("t.*", "1");
        let mut all = publishers(16, first.client_address());
        for (at, client) in all.iter_mut().enumerate() {
            eventually("what each publishes arrives", || {
                client.publish(&format!("t.{at}"), "probe");
                client.flush();
                let probe = listener.next_within(Duration::from_millis(50));
                probe.is_some_and(|probe| probe.subject == format!("t.{at}"))
            });
        }
        listener.next_within(Duration::from_millis(100));
        listener.drain();
        for number in 0..300 {
            for (at, client) in all.iter_mut().enumerate() {
                client.publish(&format!("t.{at}"), &number.to_string());
            }
        }
        check_all(&mut listener, all.len(), 300);
        assert_eq!(used_links(&first), used, "{here} / {there}");
        assert_eq!(interest(&first), 1, "one wish, however often it was told");
        drop(listener);
        eventually("nothing is wanted any more", || interest(&first) == 0);
        runtime.block_on(async {
            first.shutdown().await;
            second.shutdown().await;
        });
    }
}

#[test]
fn connections_that_are_cut_one_by_one() {
    let setup = Setup {
        midge_cluster: "lanes: true".to_owned(),
        ..impatient()
    };
    let first = Node::start(Midge, "n0", &[], &setup);
    let proxy = Proxy::to(first.route_port);
    let second = Node::start(Midge, "n1", &[proxy.port], &setup);
    let nodes = [first, second];
    wait_until_complete(&nodes);
    let mut listener = nodes[1].client();
    listener.subscribe("t.*", "1");
    let mut all = publishers(9, nodes[0].address());
    let (mut asking, mut answering) = (nodes[0].client(), nodes[1].client());
    asking.subscribe("inbox", "1");
    answering.subscribe("ask", "1");
    requests_succeed(&mut asking, &mut answering, 5);
    let mut last = vec![None; all.len()];
    let mut next = 0;
    for _ in 0..8 {
        proxy.cut_one();
        let until = Instant::now() + Duration::from_millis(150);
        while Instant::now() < until {
            for (at, client) in all.iter_mut().enumerate() {
                client.publish(&format!("t.{at}"), &next.to_string());
            }
            next += 1;
            for message in listener.drain() {
                note(&mut last, &message.subject, &message.body);
            }
        }
        requests_succeed(&mut asking, &mut answering, 20);
    }
    // However often it was cut, in the end all publishers are heard again.
    eventually("everybody is heard", || {
        for (at, client) in all.iter_mut().enumerate() {
            client.publish(&format!("t.{at}"), &next.to_string());
        }
        next += 1;
        while let Some(message) = listener.next_within(Duration::from_millis(50)) {
            note(&mut last, &message.subject, &message.body);
        }
        last.iter().all(|last| *last == Some(next - 1))
    });
    drop((listener, answering));
    let mut probe = nodes[0].client();
    probe.subscribe("probe.inbox", "9");
    eventually("nobody is believed to listen", || {
        probe.send("PUB t.0 probe.inbox 1\r\nx\r\n");
        let answer = probe.next_within(Duration::from_millis(200));
        answer.is_some_and(|answer| answer.header.contains("503"))
    });
}

/// Notes a message; it must be later than those of its publisher before it.
fn note(last: &mut [Option<usize>], subject: &str, body: &str) {
    let from: usize = subject[2..].parse().expect("a number");
    let number: usize = body.parse().expect("a number");
    assert!(last[from] < Some(number), "{number} after {:?}", last[from]);
    last[from] = Some(number);
}
