//! Messages traced through a cluster: each server reports its part of the way.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::client::{Client, PATIENCE, eventually};
use crate::mixed::start;
use crate::node::{Kind, Node, Setup, program};

use Kind::{Midge, NatsServer};

const TOP: &str = r#"
no_auth_user: a
accounts {
  A {
    users: [ { user: a, password: a } ]
    exports: [ { service: asked, allow_trace: true }, { service: closed } ]
  }
  B {
    users: [ { user: b, password: b } ]
    imports: [ { service: { account: A, subject: asked } }, { service: { account: A, subject: closed } } ]
  }
}"#;

const MIXTURES: [[Kind; 3]; 4] = [
    [NatsServer, NatsServer, NatsServer],
    [Midge, Midge, Midge],
    [Midge, NatsServer, Midge],
    [NatsServer, Midge, NatsServer],
];

/// Who publishes what, and how many reports that makes.
const CASES: [(&str, &str, &str, usize); 6] = [
    ("a", "far", "", 3),
    ("a", "far", "Nats-Trace-Only: true\r\n", 3),
    ("a", "queued", "", 2),
    ("a", "near", "", 1),
    ("b", "asked", "", 2),
    ("b", "closed", "", 1),
];

/// The order of what differs from run to run, and its values, taken out of a report.
fn normalized(mut report: Value) -> Value {
    let name = report["server"]["name"].take();
    report["server"] = name;
    let mut is_made_up = false;
    let header = &mut report["request"]["header"];
    for (_, values) in header.as_object_mut().expect("headers") {
        let text = values[0].as_str().unwrap_or_default();
        if text.starts_with("_R_.") || text.starts_with("{\"acc\"") {
            values[0] = Value::Null;
            is_made_up = true;
        }
    }
    if is_made_up {
        // Its length differs as well.
        report["request"]["msgsize"] = Value::Null;
    }
    let events = report["events"].as_array_mut().expect("events");
    for event in events.iter_mut() {
        let event = event.as_object_mut().expect("an event");
        for key in ["ts", "cid", "hop"] {
            if let Some(value) = event.get_mut(key) {
                *value = Value::Null;
            }
        }
    }
    events.sort_by_key(ToString::to_string);
    report
}

/// The reports of one message, by the servers' names.
fn reports(watcher: &mut Client, count: usize) -> Vec<Value> {
    let mut all: Vec<Value> = (0..count)
        .map(|_| {
            let message = watcher.next_within(PATIENCE).expect("a report");
            serde_json::from_str(&message.body).expect("JSON")
        })
        .collect();
    all.sort_by_key(|report| report["server"]["name"].to_string());
    let hops = |report: &Value| report["request"]["header"]["Nats-Trace-Hop"][0].to_string();
    let told: BTreeSet<String> = all.iter().map(hops).collect();
    assert_eq!(told.len(), count, "each copy has its own number: {all:?}");
    for report in &mut all {
        if let Some(hop) = report.pointer_mut("/request/header/Nats-Trace-Hop/0") {
            *hop = Value::Null;
        }
    }
    all.into_iter().map(normalized).collect()
}

/// Subscribers on all nodes but the first; the watcher's wishes tell when those have been heard of.
fn subscribe(nodes: &[Node]) -> Vec<Client> {
    let wish = |(place, node): (usize, &Node)| {
        let mut client = node.client_as("a");
        client.subscribe("far", "1");
        client.subscribe("asked", "2");
        if place == 1 {
            client.send("SUB queued workers 3\r\nSUB closed 4\r\n");
            client.flush();
        } else {
            client.send("UNSUB 2\r\n");
            client.flush();
        }
        client
    };
    nodes.iter().enumerate().skip(1).map(wish).collect()
}

/// What every case makes of itself in a cluster.
fn trace(nodes: &[Node]) -> Vec<Vec<Value>> {
    let mut subscribers = subscribe(nodes);
    let mut near = nodes[0].client_as("a");
    near.subscribe("near", "1");
    let mut results = Vec::new();
    for (user, subject, headers, count) in CASES {
        let mut watcher = nodes[0].client_as(user);
        let mut publisher = nodes[0].client_as(user);
        watcher.subscribe("tr", "1");
        // Until the other servers have been heard of, fewer reports come.
        let publish = |publisher: &mut Client| {
            let header = format!("NATS/1.0\r\nNats-Trace-Dest: tr\r\n{headers}\r\n");
            let (length, total) = (header.len(), header.len() + 2);
            publisher.send(&format!(
                "HPUB {subject} {length} {total}\r\n{header}hi\r\n"
            ));
            publisher.flush();
        };
        eventually("all servers report", || {
            watcher.flush();
            drop(watcher.drain());
            publish(&mut publisher);
            let deadline = std::time::Duration::from_millis(500);
            let come = (0..count)
                .map_while(|_| watcher.next_within(deadline))
                .count();
            come == count
        });
        watcher.flush();
        drop(watcher.drain());
        subscribers
            .iter_mut()
            .for_each(|subscriber| drop(subscriber.drain()));
        publish(&mut publisher);
        results.push(reports(&mut watcher, count));
        let is_delivered = !headers.contains("Only") && subject == "far";
        for subscriber in &mut subscribers {
            subscriber.flush();
            let got = subscriber.drain();
            let delivered = got.iter().any(|message| message.subject == "far");
            assert_eq!(delivered, is_delivered, "{subject} {headers}: {got:?}");
        }
    }
    results
}

#[test]
fn each_server_reports_its_part() {
    let mut known: Option<Vec<Vec<Value>>> = None;
    for kinds in MIXTURES {
        if kinds.iter().any(|kind| program(*kind).is_none()) {
            continue;
        }
        let setup = Setup {
            top: TOP.to_owned(),
            ..Setup::default()
        };
        let Some(nodes) = start(&kinds, &setup) else {
            continue;
        };
        let found = trace(&nodes);
        let expected = known.get_or_insert_with(|| found.clone());
        for ((case, found), expected) in CASES.iter().zip(&found).zip(&*expected) {
            assert_eq!(found, expected, "{kinds:?}: {case:?}");
        }
    }
}
