//! The permission matrix on running servers: allowed × denied × wildcards × queue groups × imports ×
//! responses. What Midge delivers must be what a slow and obvious model says, and what nats-server
//! delivers, but for two cases in which nats-server delivers what is denied.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use super::server::{Connection, Server};

/// Lists of allowed or of denied entries for subscriptions.
const LISTS: [&[&str]; 11] = [
    &[],
    &["a"],
    &["*"],
    &[">"],
    &["a.*"],
    &["*.b"],
    &["a.>"],
    &["a.b", "b.>"],
    &["a.* q.*"],
    &["> q1"],
    &["a.> q1", "a.b"],
];

const FILTERS: [&str; 13] = [
    "a", "b", "*", ">", "a.b", "a.*", "*.b", "*.*", "a.>", "*.>", "a.*.b", "a.a.b", "b.*",
];

const GROUPS: [Option<&str>; 4] = [None, Some("q1"), Some("q2"), Some("q.x")];

/// What is published in the importing account, and in the exporting one with its local subject.
const OWN: [&str; 8] = ["a", "b", "a.b", "a.a", "b.b", "a.a.b", "a.b.b", "b.a.b"];
const IMPORTED: [(&str, &str); 7] = [
    ("src.b", "a.b"),
    ("src.a", "a.a"),
    ("src.a.b", "a.a.b"),
    ("src.b.b.b", "a.b.b.b"),
    ("end.a", "a.b"),
    ("end.b", "b.b"),
    ("one", "b"),
];

struct Case {
    allow: &'static [&'static str],
    deny: &'static [&'static str],
}

fn cases() -> Vec<Case> {
    let deny = |allow| LISTS.into_iter().map(move |deny| Case { allow, deny });
    LISTS.into_iter().flat_map(deny).collect()
}

fn configuration(cases: &[Case]) -> String {
    let mut text = "accounts { IMPORTER { imports: [
        { stream: { account: EXPORTER, subject: \"src.>\" }, to: \"a.>\" }
        { stream: { account: EXPORTER, subject: \"end.*\" }, to: \"$1.b\" }
        { stream: { account: EXPORTER, subject: one }, to: b }
    ], users: [ { user: own, password: x }\n"
        .to_owned();
    for (number, case) in cases.iter().enumerate() {
        let mut lists = serde_json::Map::new();
        for (name, list) in [("allow", case.allow), ("deny", case.deny)] {
            if !list.is_empty() {
                lists.insert(name.to_owned(), serde_json::json!(list));
            }
        }
        let lists = serde_json::Value::from(lists);
        let permissions = match lists.as_object().is_some_and(serde_json::Map::is_empty) {
            true => String::new(),
            false => format!(", permissions: {{ subscribe: {lists} }}"),
        };
        writeln!(text, "{{ user: user{number}, password: x{permissions} }}").unwrap();
    }
    text + "] }, EXPORTER {
        exports: [ { stream: \"src.>\" }, { stream: \"end.*\" }, { stream: one } ]
        users: [ { user: exporter, password: x } ]
    } }\n"
}

/// What a subscription came to: refused, or what it received: local subject and message.
type Outcome = Option<BTreeSet<String>>;

/// What all publications together are, and who sees them published.
struct Publishers {
    own: (Connection, String),
    exporter: (Connection, String),
}

impl Publishers {
    fn new(server: &Server) -> Self {
        let publications = |subjects: &mut dyn Iterator<Item = &str>| -> String {
            subjects
                .map(|subject| format!("PUB {subject} {}\r\n{subject}\r\n", subject.len()))
                .collect()
        };
        let mut imported = IMPORTED.iter().map(|(subject, _)| *subject);
        Self {
            own: (
                server.log_in("own", "x"),
                publications(&mut OWN.into_iter()),
            ),
            exporter: (server.log_in("exporter", "x"), publications(&mut imported)),
        }
    }

    /// Publishes everything once and returns when the server has routed it.
    fn publish(&mut self) {
        for (connection, publications) in [&mut self.own, &mut self.exporter] {
            assert!(connection.exchange(publications).is_empty());
        }
    }
}

/// What becomes of one subscription.
fn try_out(
    user: &mut Connection,
    publishers: &mut Publishers,
    filter: &str,
    queue: Option<&str>,
) -> Outcome {
    let answer = user.exchange(&format!("SUB {filter} {} 1\r\n", queue.unwrap_or_default()));
    if let [error] = &*answer {
        assert!(error.starts_with("-ERR 'Permissions Violation for Subscription"));
        return None;
    }
    publishers.publish();
    let lines = user.exchange("UNSUB 1\r\n");
    let message = |pair: &[String]| {
        let subject = pair[0].split(' ').nth(1).unwrap();
        format!("{subject} {}", pair[1])
    };
    let messages: Vec<String> = lines.chunks(2).map(message).collect();
    let distinct: BTreeSet<String> = messages.iter().cloned().collect();
    assert_eq!(
        distinct.len(),
        messages.len(),
        "delivered twice: {messages:?}"
    );
    Some(distinct)
}

/// Everything that a server decides, in the order of the cases, filters and groups.
fn outcomes(server: &Server, cases: &[Case]) -> Vec<Outcome> {
    let mut publishers = Publishers::new(server);
    let mut outcomes = Vec::new();
    for number in 0..cases.len() {
        let mut user = server.log_in(&format!("user{number}"), "x");
        for filter in FILTERS {
            for queue in GROUPS {
                outcomes.push(try_out(&mut user, &mut publishers, filter, queue));
            }
        }
    }
    outcomes
}

/// Whether a filter wants a subject, token by token. For whether an entry allows a filter, that is
/// taken for a subject, as in nats-server.
fn wants(filter: &str, subject: &str) -> bool {
    let mut tokens = subject.split('.');
    for wanted in filter.split('.') {
        match tokens.next() {
            None => return false,
            Some(_) if wanted == ">" => return true,
            Some(token) if wanted == "*" || wanted == token => {}
            Some(_) => return false,
        }
    }
    tokens.next().is_none()
}

/// The groups that entries for `subject` name: `None` stands for an entry without a group.
fn groups<'a>(entries: &[&'a str], subject: &str) -> Vec<Option<&'a str>> {
    let entry = |entry: &&'a str| {
        let mut words = entry.split(' ');
        let wanted = wants(words.next()?, subject);
        wanted.then(|| words.next())
    };
    entries.iter().filter_map(entry).collect()
}

impl Case {
    fn allows(&self, subject: &str, queue: Option<&str>) -> bool {
        if self.allow.is_empty() {
            return true;
        }
        let found = groups(self.allow, subject);
        match queue {
            // Where entries speak of groups, they decide alone about queue subscriptions.
            Some(queue) if found.iter().any(Option::is_some) => {
                found.iter().flatten().any(|group| wants(group, queue))
            }
            _ => found.contains(&None),
        }
    }

    fn denies(&self, subject: &str, queue: Option<&str>) -> bool {
        groups(self.deny, subject)
            .into_iter()
            .any(|group| match (group, queue) {
                (None, _) => true,
                (Some(group), Some(queue)) => wants(group, queue),
                (Some(_), None) => false,
            })
    }

    fn expected(&self, filter: &str, queue: Option<&str>) -> Outcome {
        if !self.allows(filter, queue) || self.denies(filter, queue) {
            return None;
        }
        let own = OWN.map(|subject| (subject, subject));
        let all = own.into_iter().chain(IMPORTED);
        let received = all.filter(|(_, local)| {
            wants(filter, local) && self.allows(local, queue) && !self.denies(local, queue)
        });
        Some(
            received
                .map(|(message, local)| format!("{local} {message}"))
                .collect(),
        )
    }

    /// Why nats-server may deliver `surplus`: it takes the `>` of `a.>` for a token that `a.*` allows,
    /// and asks about members of queue groups what the exporting account calls the message.
    fn is_known(&self, filter: &str, queue: Option<&str>, surplus: &str) -> bool {
        let (local, message) = surplus.split_once(' ').unwrap();
        let imported = IMPORTED.iter().any(|(subject, _)| *subject == message);
        (filter.ends_with('>') && !self.allows(local, queue))
            || (queue.is_some() && imported && self.denies(local, queue))
    }
}

#[test]
fn deliveries_are_as_defined_and_as_by_nats_server() {
    let cases = cases();
    let configuration = configuration(&cases);
    let ours = outcomes(&Server::start_midge(&configuration), &cases);
    let theirs = Server::start(&configuration).map(|server| outcomes(&server, &cases));
    let combinations = cases.iter().flat_map(|case| {
        let filters = FILTERS.into_iter();
        filters.flat_map(move |filter| GROUPS.into_iter().map(move |queue| (case, filter, queue)))
    });
    let mut known = 0;
    for (place, (case, filter, queue)) in combinations.enumerate() {
        let context = format!(
            "allow {:?} deny {:?}: {filter} {queue:?}",
            case.allow, case.deny
        );
        assert_eq!(ours[place], case.expected(filter, queue), "{context}");
        let Some(theirs) = &theirs else { continue };
        if theirs[place] == ours[place] {
            continue;
        }
        let (Some(theirs), Some(ours)) = (&theirs[place], &ours[place]) else {
            panic!("{context}: {:?} here {:?}", theirs[place], ours[place]);
        };
        assert!(
            ours.is_subset(theirs),
            "{context}: {theirs:?} here {ours:?}"
        );
        for surplus in theirs.difference(ours) {
            assert!(
                case.is_known(filter, queue, surplus),
                "{context}: {surplus}"
            );
        }
        known += 1;
    }
    assert_eq!(
        ours.len(),
        LISTS.len().pow(2) * FILTERS.len() * GROUPS.len()
    );
    assert_eq!(
        known > 0,
        theirs.is_some(),
        "nats-server knows better by now"
    );
    assert!(known < ours.len() / 10, "{known} of {} differ", ours.len());
}
