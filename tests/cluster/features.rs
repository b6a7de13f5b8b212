//! Pools, accounts, credentials, permissions and the end of a node, in mixed clusters.

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use rustix::process::Signal;

use crate::client::{Client, PATIENCE, eventually};
use crate::mixed::{check_cluster, start, wait_until_heard, wait_until_linked};
use crate::node::{Kind, Node, Setup, free_port, program};

use Kind::{Midge, NatsServer};

const MIXTURES: [[Kind; 3]; 3] = [
    [Midge, Midge, Midge],
    [Midge, NatsServer, Midge],
    [NatsServer, Midge, NatsServer],
];

const ACCOUNTS: &str = "
accounts {
  A { users: [ { user: a, password: a } ] }
  B { users: [ { user: b, password: b } ] }
}";

fn cluster(text: &str) -> Setup {
    Setup {
        cluster: text.to_owned(),
        ..Setup::default()
    }
}

/// How many connections a node has to each other one, by their names: the log tells.
fn registered(node: &Node) -> usize {
    node.log().matches("Registering remote route").count()
}

#[test]
fn pools_of_all_sizes() {
    for pool in ["pool_size: 1", "pool_size: -1", "pool_size: 5"] {
        for kinds in MIXTURES {
            if let Some(nodes) = start(&kinds, &cluster(pool)) {
                check_cluster(&nodes);
            }
        }
    }
}

#[test]
fn nodes_with_different_pools() {
    for kinds in [[Midge, NatsServer], [NatsServer, Midge], [Midge, Midge]] {
        for pools in [
            ["pool_size: 1", "pool_size: 4"],
            ["pool_size: -1", "pool_size: 3"],
        ] {
            if kinds.iter().any(|kind| program(*kind).is_none()) {
                continue;
            }
            let first = Node::start(kinds[0], "n0", &[], &cluster(pools[0]));
            let second = Node::start(kinds[1], "n1", &[first.route_port], &cluster(pools[1]));
            let nodes = [first, second];
            wait_until_linked(&nodes);
            check_cluster(&nodes);
        }
    }
}

#[test]
fn accounts_stay_apart() {
    for pinned in ["", "accounts: [ A ]", "accounts: [ A, B ]", "pool_size: -1"] {
        for kinds in MIXTURES {
            let setup = Setup {
                top: ACCOUNTS.to_owned(),
                ..cluster(pinned)
            };
            if let Some(nodes) = start_with_accounts(&kinds, &setup) {
                check_accounts(&nodes);
            }
        }
    }
}

fn start_with_accounts(kinds: &[Kind], setup: &Setup) -> Option<Vec<Node>> {
    if kinds.iter().any(|kind| program(*kind).is_none()) {
        return None;
    }
    let mut nodes: Vec<Node> = Vec::new();
    for (index, kind) in kinds.iter().enumerate() {
        let seeds: Vec<u16> = nodes
            .first()
            .map(|seed| seed.route_port)
            .into_iter()
            .collect();
        nodes.push(Node::start(*kind, &format!("n{index}"), &seeds, setup));
    }
    Some(nodes)
}

fn check_accounts(nodes: &[Node]) {
    let mut both: Vec<Vec<Client>> = Vec::new();
    for user in ["a", "b"] {
        let mut clients: Vec<Client> = nodes.iter().map(|node| node.client_as(user)).collect();
        for client in &mut clients {
            client.subscribe(">", "1");
        }
        wait_until_heard(&mut clients, "probe");
        both.push(clients);
    }
    for (user, clients) in both.iter_mut().enumerate() {
        for from in 0..clients.len() {
            let body = format!("{user} {from}");
            clients[from].publish("news", &body);
            for client in &mut *clients {
                assert_eq!(client.next().expect("a message").body, body);
            }
        }
    }
    for client in both.iter_mut().flatten() {
        client.flush();
        assert_eq!(client.drain(), [], "another account's message");
    }
}

#[test]
fn servers_need_the_right_credentials() {
    let setup = |user: &str| Setup {
        login: format!("{user}:s3cret@"),
        ..cluster("authorization { user: route, password: s3cret }")
    };
    for kinds in MIXTURES {
        let Some(nodes) = start(&kinds, &setup("route")) else {
            continue;
        };
        check_cluster(&nodes);
        let seed = &nodes[0];
        let stranger = Node::start(Midge, "stranger", &[seed.route_port], &setup("wrong"));
        eventually("the stranger is refused", || {
            stranger.log().contains("Authorization Violation")
        });
        let told: BTreeSet<String> =
            serde_json::from_value(seed.client().info["connect_urls"].clone()).expect("URLs");
        assert!(!told.contains(&stranger.address().to_string()));
        if seed.kind == Midge {
            assert!(!seed.log().contains("s3cret") && !stranger.log().contains("s3cret"));
            // It comes back every second and is complained of once.
            eventually("it has come back", || {
                stranger.log().matches("Route connection created").count() > 2
            });
            let complaints = stranger.log().matches("[ERR]").count();
            assert!(
                complaints <= 2,
                "{complaints} complaints:\n{}",
                stranger.log()
            );
        }
    }
}

#[test]
fn another_cluster_is_refused() {
    for kinds in [[Midge, Midge], [Midge, NatsServer], [NatsServer, Midge]] {
        if kinds.iter().any(|kind| program(*kind).is_none()) {
            continue;
        }
        let seed = Node::start(kinds[0], "n0", &[], &Setup::default());
        // The later of two names counts.
        let other = Node::start(kinds[1], "n1", &[seed.route_port], &cluster("name: other"));
        let log = "cluster name \"other\" does not match \"c\"";
        eventually("it is refused", || {
            seed.log().contains(log) || other.log().contains("Cluster Name Conflict")
        });
        assert_eq!(registered(&seed), 0);
    }
}

#[test]
fn permissions_limit_what_crosses() {
    for kinds in [[Midge, Midge], [Midge, NatsServer], [NatsServer, Midge]] {
        if kinds.iter().any(|kind| program(*kind).is_none()) {
            continue;
        }
        let limited = cluster(
            "permissions { import: [ \"in.>\", probe ], export: { allow: [ \"out.>\", probe ], deny: out.secret } }",
        );
        let first = Node::start(kinds[0], "n0", &[], &limited);
        let second = Node::start(kinds[1], "n1", &[first.route_port], &Setup::default());
        let nodes = [first, second];
        wait_until_linked(&nodes);
        let mut clients: Vec<Client> = nodes.iter().map(Node::client).collect();
        for client in &mut clients {
            for filter in ["probe", "in.a", "out.a", "out.secret", "else"] {
                client.subscribe(filter, filter);
            }
        }
        wait_until_heard(&mut clients, "probe");
        // From the limited node only what it exports, to it only what it imports.
        for (from, to, crossing) in [(0, 1, "out.a"), (1, 0, "in.a")] {
            for subject in ["in.a", "out.a", "out.secret", "else", "probe"] {
                clients[from].publish(subject, "x");
            }
            let mut crossed = Vec::new();
            while let Some(message) = clients[to].next() {
                if message.subject == "probe" {
                    break;
                }
                crossed.push(message.subject);
            }
            assert_eq!(crossed, [crossing], "{kinds:?} from {from}");
            for client in &mut clients {
                client.flush();
                client.drain();
            }
        }
    }
}

#[test]
fn clients_learn_who_leaves() {
    for kinds in MIXTURES {
        let Some(mut nodes) = start(&kinds, &Setup::default()) else {
            continue;
        };
        let mut client = nodes[0].client();
        client.flush();
        let gone = nodes.pop().expect("a node");
        let gone_url = serde_json::json!(gone.address().to_string());
        let names = |client: &Client| {
            let urls = client.info["connect_urls"].as_array().cloned();
            urls.unwrap_or_default().contains(&gone_url)
        };
        assert!(names(&client));
        // A client of it keeps the lame duck waiting.
        let mut moving = gone.client();
        moving.flush();
        gone.signal(Signal::USR2);
        eventually("the client is told to move", || {
            moving.read();
            moving.info["ldm"] == true
        });
        eventually("other clients are told not to go there", || {
            client.read();
            !names(&client)
        });
        drop(gone);
        check_cluster(&nodes);
        // It comes back under another identity.
        let seed = nodes[0].route_port;
        nodes.push(Node::start(kinds[2], "n2", &[seed], &Setup::default()));
        wait_until_linked(&nodes);
        check_cluster(&nodes);
    }
}

/// What a server answers to raw bytes on its port for other servers, until it closes or is silent.
fn answer(port: u16, bytes: &[u8]) -> String {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).expect("it listens");
    stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    stream.write_all(bytes).expect("it is sent");
    let mut text = String::new();
    let mut byte = [0];
    while let Ok(1) = stream.read(&mut byte) {
        text.push(char::from(byte[0]));
        if text.ends_with("PONG\r\n") {
            return text;
        }
    }
    text + "EOF"
}

#[test]
fn what_breaks_the_protocol_is_refused_in_the_words_of_nats_server() {
    let hello = "CONNECT {\"name\":\"X\",\"cluster\":\"c\",\"headers\":true}\r\n";
    let info = |fields: &str| {
        format!(
            "{hello}INFO {{\"server_id\":\"X\",\"server_name\":\"x\",\"port\":1,\"host\":\"x\",\"cluster\":\"c\",\"max_payload\":100{fields}}}\r\n"
        )
    };
    let pooled = |rest: &str| info(",\"route_pool_size\":3,\"headers\":true") + rest;
    let cases = [
        "PING\r\n".to_owned(),
        "INFO {}\r\n".to_owned(),
        "CONNECT {\"lang\":\"go\"}\r\n".to_owned(),
        "CONNECT {\"cluster\":\"zz\",\"name\":\"X\"}\r\n".to_owned(),
        "CONNECT {\"cluster\":\"c\",\"gateway\":\"g\"}\r\n".to_owned(),
        "CONNECT {\"cluster\":1}\r\n".to_owned(),
        info(",\"route_pool_size\":3,\"route_pool_idx\":7"),
        info(",\"route_pool_size\":3,\"route_account\":\"$G\""),
        info(",\"server_name\":\"n0\",\"route_pool_size\":3").replace("\"server_name\":\"x\",", ""),
        pooled("XX\r\n"),
        pooled("RMSG $G\r\n"),
        pooled("RMSG $G a x\r\n"),
        pooled("HMSG $G a 3 2\r\nhi\r\n"),
        pooled("RS+ $G\r\n"),
        pooled("RS+ $G a q\r\n"),
        pooled("RS+ $G a..b\r\nPING\r\n"),
        pooled("RS+ UNKNOWN a\r\nPING\r\n"),
        pooled("RS- $G a\r\nPING\r\n"),
        pooled("RMSG $G a..b 2\r\nhi\r\nPING\r\n"),
        pooled("RMSG UNKNOWN a 2\r\nhi\r\nPING\r\n"),
        pooled("RMSG $G a 2\r\nhiXX\r\nPING\r\n"),
        pooled("A+ x\r\nPING\r\n"),
        pooled("-ERR x\r\n"),
    ];
    let midge = Node::start(Midge, "n0", &[], &cluster("pool_size: 3"));
    let nats =
        program(NatsServer).map(|_| Node::start(NatsServer, "n0", &[], &cluster("pool_size: 3")));
    let told = |node: &Node, case: &str| {
        let text = answer(node.route_port, case.as_bytes());
        let lines = text.lines().filter(|line| {
            // What a server tells about itself, and when it asks whether one is there, is its own business.
            !line.starts_with("INFO ") && !line.starts_with("RS+ ") && *line != "PING"
        });
        lines.collect::<Vec<_>>().join("|")
    };
    for case in &cases {
        let ours = told(&midge, case);
        assert!(
            ours.ends_with("EOF") || ours.ends_with("PONG"),
            "{case}: {ours}"
        );
        if let Some(nats) = &nats {
            assert_eq!(ours, told(nats, case), "{case}");
        }
    }
    // Nothing of this has disturbed clients.
    let mut client = midge.client();
    client.subscribe("a", "1");
    client.publish("a", "x");
    assert_eq!(client.next().expect("a message").body, "x");
}

#[test]
fn a_node_that_dials_itself_or_nobody_serves_its_clients() {
    let own = free_port();
    let nobody = free_port();
    let setup = cluster(&format!("listen: \"127.0.0.1:{own}\""));
    let node = Node::start(Midge, "n0", &[own, nobody], &setup);
    eventually("it has dialed itself and nobody", || {
        let log = node.log();
        log.contains("Error trying to connect to route") && log.contains("Duplicate Route")
    });
    let mut client = node.client();
    client.subscribe("a", "1");
    client.publish("a", "x");
    assert_eq!(client.next().expect("a message").body, "x");
    assert_eq!(registered(&node), 0);
}

#[test]
fn links_are_compressed_as_agreed() {
    let modes = [
        "s2_fast",
        "s2_better",
        "s2_best",
        "accept",
        "off",
        "{ mode: s2_auto, rtt_thresholds: [ 0s, 10ms, 20ms ] }",
    ];
    for kinds in [[Midge, NatsServer], [NatsServer, Midge], [Midge, Midge]] {
        if kinds.iter().any(|kind| program(*kind).is_none()) {
            continue;
        }
        for (index, mode) in modes.iter().enumerate() {
            let other = modes[(index + 3) % modes.len()];
            let first = Node::start(
                kinds[0],
                "n0",
                &[],
                &cluster(&format!("compression: {mode}")),
            );
            let second = Node::start(
                kinds[1],
                "n1",
                &[first.route_port],
                &cluster(&format!("compression: {other}")),
            );
            let nodes = [first, second];
            wait_until_linked(&nodes);
            check_cluster(&nodes);
            check_long_messages(&nodes);
        }
    }
}

/// Messages of all sizes arrive whole and in order.
fn check_long_messages(nodes: &[Node]) {
    let mut clients: Vec<Client> = nodes.iter().map(Node::client).collect();
    for client in &mut clients {
        client.subscribe("long", "1");
    }
    wait_until_heard(&mut clients, "long");
    for from in 0..clients.len() {
        for size in [0, 1, 100, 5_000, 70_000, 900_000] {
            let body: String = (0..size)
                .map(|at| {
                    char::from(
                        b'a' + u8::try_from((at % 1009 * at % 1013 + size) % 26).expect("a letter"),
                    )
                })
                .collect();
            clients[from].publish("long", &body);
            for client in &mut clients {
                let message = client.next().expect("a message");
                assert!(message.body == body, "{size} bytes from {from}");
            }
        }
    }
}

/// A service of one account that another one imports, and a stream.
const SHARED: &str = "
accounts {
  A {
    users: [ { user: a, password: a } ]
    imports: [ { service: { account: B, subject: help } }, { stream: { account: B, subject: news } } ]
  }
  B { users: [ { user: b, password: b } ], exports: [ { service: help }, { stream: news } ] }
}";

#[test]
fn services_and_streams_are_shared_across_servers() {
    for kinds in [[Midge, Midge], [Midge, NatsServer], [NatsServer, Midge]] {
        let setup = Setup {
            top: SHARED.to_owned(),
            ..Setup::default()
        };
        let Some(nodes) = start_with_accounts(&kinds, &setup) else {
            continue;
        };
        for (at, other) in [(0, 1), (1, 0)] {
            let (mut asking, mut helping) = (nodes[at].client_as("a"), nodes[other].client_as("b"));
            asking.subscribe("inbox", "1");
            asking.subscribe("news", "2");
            helping.subscribe("help", "1");
            let mut answered = None;
            eventually("the service answers", || {
                asking.send("PUB help inbox 1\r\n?\r\n");
                let asked = helping.next_within(Duration::from_millis(200));
                if let Some(reply) = asked.and_then(|asked| asked.reply) {
                    helping.publish(&reply, "!");
                    answered = asking.next_within(Duration::from_millis(500));
                }
                answered.as_ref().is_some_and(|answer| answer.body == "!")
            });
            assert_eq!(answered.expect("an answer").subject, "inbox", "{kinds:?}");
            asking.drain();
            eventually("the stream flows", || {
                helping.publish("news", "extra");
                let news = asking.next_within(Duration::from_millis(200));
                news.is_some_and(|news| news.body == "extra" && news.sid == "2")
            });
        }
    }
}

/// Reloads a configuration that is taken.
fn reload(node: &Node, seeds: &[u16], setup: &Setup) {
    let count = |node: &Node| node.log().matches("Reloaded server configuration").count();
    let before = count(node);
    node.configure(seeds, setup);
    node.signal(Signal::HUP);
    eventually("the reload", || count(node) > before);
}

/// What of these subjects crosses from one client to another; the last one always does.
fn crossing(from: &mut Client, to: &mut Client, subjects: &[&str]) -> Vec<String> {
    for subject in subjects {
        from.publish(subject, "x");
    }
    let mut crossed = Vec::new();
    while let Some(message) = to.next() {
        let last = Some(&*message.subject) == subjects.last().copied();
        crossed.push(message.subject);
        if last {
            break;
        }
    }
    crossed
}

#[test]
fn a_reload_changes_the_links_to_other_servers() {
    for other in [Midge, NatsServer] {
        if program(other).is_none() {
            continue;
        }
        let mut peer = Node::start(other, "n1", &[], &Setup::default());
        let node = Node::start(Midge, "n0", &[], &Setup::default());
        let moved = Setup {
            top: "# the block moves down a line".to_owned(),
            ..Setup::default()
        };
        reload(&node, &[], &moved);
        assert!(!node.log().contains("Reloaded: cluster"), "{}", node.log());
        let mut clients = [node.client(), peer.client()];
        for client in &mut clients {
            for filter in ["a.x", "b.x", "probe"] {
                client.subscribe(filter, filter);
            }
        }
        // A route comes.
        let seeds = [peer.route_port];
        reload(&node, &seeds, &Setup::default());
        assert!(node.log().contains("Reloaded: cluster routes"));
        wait_until_heard(&mut clients, "probe");
        // What servers agree upon changes: links are made anew, and clients stay.
        for block in [
            "pool_size: 5",
            "compression: s2_fast",
            "permissions { import: \"*\", export: [ \"a.>\", probe ] }",
        ] {
            let before = registered(&node);
            reload(&node, &seeds, &cluster(block));
            eventually("new links", || registered(&node) > before);
            wait_until_heard(&mut clients[..1], "probe");
            let [first, second] = &mut clients;
            let mut round = 0;
            eventually("a message crosses", || {
                round += 1;
                let body = format!("again {round}");
                first.publish("probe", &body);
                first.flush();
                let pause = Duration::from_millis(300);
                let mut heard = std::iter::from_fn(|| second.next_within(pause));
                heard.any(|message| message.body == body)
            });
            clients.iter_mut().for_each(|client| drop(client.drain()));
        }
        let [first, second] = &mut clients;
        let crossed = crossing(first, second, &["b.x", "a.x", "probe"]);
        assert_eq!(crossed, ["a.x", "probe"]);
        // The route goes, and the link with it.
        reload(&node, &[], &Setup::default());
        eventually("the end of the link", || {
            let told = node.client().info["connect_urls"].clone();
            let told: Vec<String> = serde_json::from_value(told).unwrap_or_default();
            told.len() < 2
        });
        peer.stop();
    }
}

#[test]
fn other_credentials_end_links_that_others_have_made() {
    let node = Node::start(Midge, "n0", &[], &Setup::default());
    let other = Node::start(Midge, "n1", &[node.route_port], &Setup::default());
    let nodes = [node, other];
    wait_until_linked(&nodes);
    let strict = cluster("authorization { user: r, password: s }");
    reload(&nodes[0], &[], &strict);
    eventually("the end of the link", || {
        let told = nodes[0].client().info["connect_urls"].clone();
        let told: Vec<String> = serde_json::from_value(told).unwrap_or_default();
        told.len() < 2
    });
    let known = Setup {
        login: "r:s@".to_owned(),
        ..Setup::default()
    };
    reload(&nodes[1], &[nodes[0].route_port], &known);
    wait_until_linked(&nodes);
}

#[test]
fn where_a_node_listens_for_others_needs_a_restart() {
    let node = Node::start(Midge, "n0", &[], &Setup::default());
    node.configure(&[], &cluster("port: 1"));
    node.signal(Signal::HUP);
    let (old, new) = (node.route_port, 1);
    let refused = format!("config reload not supported for cluster port: old={old}, new={new}");
    eventually(&refused, || node.log().contains(&refused));
    node.configure(&[], &cluster("name: d"));
    node.signal(Signal::HUP);
    let refused = "config reload not supported for cluster name: old=c, new=d";
    eventually(refused, || node.log().contains(refused));
}

#[test]
fn nats_server_gives_an_account_a_link_of_its_own_while_it_runs() {
    let setup = |cluster: &str| Setup {
        top: ACCOUNTS.to_owned(),
        cluster: cluster.to_owned(),
        ..Setup::default()
    };
    let Some(mut nodes) = start_with_accounts(&[Midge, NatsServer], &setup("")) else {
        return;
    };
    check_accounts(&nodes);
    let seed = nodes[0].route_port;
    nodes[1].configure(&[seed], &setup("accounts: [ A ]"));
    nodes[1].signal(Signal::HUP);
    eventually("the reload is done", || {
        nodes[1].log().contains("Reloaded: cluster")
    });
    // The other account goes on over the links that there were.
    let mut clients = [nodes[0].client_as("b"), nodes[1].client_as("b")];
    for client in &mut clients {
        client.subscribe(">", "1");
    }
    wait_until_heard(&mut clients, "probe");
    drop(clients);
    assert!(!nodes[0].log().contains("cannot be understood"));
    assert_eq!(registered(&nodes[0]), 4, "no link was made again");
    nodes[0].stop();
    nodes[0].configure(&[], &setup("accounts: [ A ]"));
    nodes[0].run();
    check_accounts(&nodes);
}

#[test]
fn accounts_that_a_reload_brings_reach_the_other_servers() {
    let setup = |accounts: &str| Setup {
        top: accounts.to_owned(),
        ..cluster("")
    };
    let before = setup("accounts { A { users: [ { user: a, password: a } ] } }");
    for kinds in [[Midge, Midge], [Midge, NatsServer]] {
        let Some(nodes) = start_with_accounts(&kinds, &before) else {
            continue;
        };
        let mut clients: Vec<Client> = nodes.iter().map(|node| node.client_as("a")).collect();
        for client in &mut clients {
            client.subscribe(">", "1");
        }
        wait_until_heard(&mut clients, "probe");
        drop(clients);
        let seeds = [nodes[0].route_port];
        for (node, seeds) in nodes.iter().zip([&[][..], &seeds]) {
            node.configure(seeds, &setup(ACCOUNTS));
            node.signal(Signal::HUP);
            eventually("the reload is done", || {
                node.log().contains("Reloaded: accounts")
            });
        }
        check_accounts(&nodes);
    }
}
