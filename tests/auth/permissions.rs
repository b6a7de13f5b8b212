//! Every combination of allowed and denied entries from a small alphabet, for every filter of it.

use std::collections::{BTreeSet, HashMap};
use std::fmt::Write as _;
use std::sync::Arc;

use midge::auth::{PermissionRules, Permissions, SubjectRules};

use super::server::{Connection, Server};

/// Lists of allowed or of denied entries; an absent one and all shapes of overlap.
const LISTS: [&[&str]; 19] = [
    &[],
    &["a"],
    &["*"],
    &[">"],
    &["a.b"],
    &["a.*"],
    &["*.b"],
    &["*.*"],
    &["a.>"],
    &["*.>"],
    &["a.*.b"],
    &["*.a.*"],
    &["a.*", "b"],
    &["a.a", "a.b", "b.>"],
    &["a q1"],
    &["a", "a q1"],
    &["a.* q.*"],
    &["> q1"],
    &["a.> q1", "a.b"],
];

const FILTERS: [&str; 15] = [
    "a", "b", "*", ">", "a.b", "a.*", "*.b", "*.*", "a.>", "*.>", "a.*.b", "*.a.*", "a.a.b",
    "a.b.>", "b.*",
];

const GROUPS: [&str; 3] = ["q1", "q2", "q.x"];

fn subjects() -> Vec<String> {
    let mut all = vec!["a".to_owned(), "b".to_owned()];
    let mut longest = all.clone();
    for _ in 0..2 {
        longest = longest
            .iter()
            .flat_map(|word| [format!("{word}.a"), format!("{word}.b")])
            .collect();
        all.extend(longest.iter().cloned());
    }
    all
}

fn list(entries: &[&str]) -> Vec<String> {
    entries.iter().map(|entry| (*entry).to_owned()).collect()
}

struct Case {
    user: String,
    rules: PermissionRules,
}

fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for allow in LISTS {
        for deny in LISTS {
            let rules = |allow: &[&str], deny: &[&str]| SubjectRules {
                allow: (!allow.is_empty()).then(|| list(allow)),
                deny: list(deny),
            };
            // Entries for queue groups do not exist for publishing.
            let queues = allow.iter().chain(deny).any(|entry| entry.contains(' '));
            cases.push(Case {
                user: format!("user{}", cases.len()),
                rules: PermissionRules {
                    publish: (!queues).then(|| rules(allow, deny)),
                    subscribe: Some(rules(allow, deny)),
                    responses: None,
                },
            });
        }
    }
    cases
}

fn configuration(cases: &[Case]) -> String {
    let part = |rules: &Option<SubjectRules>| match rules {
        None => serde_json::Value::Null,
        Some(rules) => {
            let mut map = serde_json::Map::new();
            if let Some(allow) = &rules.allow {
                map.insert("allow".into(), serde_json::json!(allow));
            }
            if !rules.deny.is_empty() {
                map.insert("deny".into(), serde_json::json!(rules.deny));
            }
            if map.is_empty() {
                serde_json::Value::Null
            } else {
                map.into()
            }
        }
    };
    let mut text = "authorization { users: [ { user: admin, password: x }\n".to_owned();
    for case in cases {
        let mut permissions = serde_json::Map::new();
        for (name, rules) in [
            ("publish", &case.rules.publish),
            ("subscribe", &case.rules.subscribe),
        ] {
            let part = part(rules);
            if !part.is_null() {
                permissions.insert(name.into(), part);
            }
        }
        let permissions = serde_json::Value::from(permissions);
        writeln!(
            text,
            "{{ user: {}, password: x, permissions: {permissions} }}",
            case.user
        )
        .unwrap();
    }
    text + "] }\n"
}

/// What a subscription came to: refused, or the subjects that it received.
type Outcome = Option<BTreeSet<String>>;

struct Bench {
    admin: Connection,
    publications: String,
    subjects: Vec<String>,
}

impl Bench {
    /// Publishes once to every subject and returns when the server has routed all of it.
    fn publish(&mut self) {
        assert!(self.admin.exchange(&self.publications).is_empty());
    }

    /// All plain subscriptions at once: the connection tells them apart by number.
    fn plain(&mut self, user: &mut Connection) -> Vec<Outcome> {
        let mut text = String::new();
        for (number, filter) in FILTERS.iter().enumerate() {
            writeln!(text, "SUB {filter} {number}\r").unwrap();
        }
        let refused: BTreeSet<String> = user.exchange(&text).into_iter().collect();
        self.publish();
        let mut received: HashMap<String, BTreeSet<String>> = HashMap::new();
        for line in user.exchange("") {
            let words: Vec<&str> = line.split(' ').collect();
            assert_eq!(words[0], "MSG", "{line}");
            received
                .entry(words[2].to_owned())
                .or_default()
                .insert(words[1].to_owned());
        }
        let unsubscribe: String = (0..FILTERS.len())
            .map(|number| format!("UNSUB {number}\r\n"))
            .collect();
        assert!(user.exchange(&unsubscribe).is_empty());
        let outcome = |(number, filter): (usize, &&str)| {
            let error = format!("-ERR 'Permissions Violation for Subscription to \"{filter}\"'");
            let received = received.remove(&number.to_string()).unwrap_or_default();
            if refused.contains(&error) {
                assert!(received.is_empty());
                return None;
            }
            Some(received)
        };
        FILTERS.iter().enumerate().map(outcome).collect()
    }

    /// One queue subscription: two of one group would share the messages.
    fn queue(&mut self, user: &mut Connection, filter: &str, queue: &str) -> Outcome {
        let answer = user.exchange(&format!("SUB {filter} {queue} 1\r\n"));
        if !answer.is_empty() {
            let error = format!(
                "-ERR 'Permissions Violation for Subscription to \"{filter}\" using queue \"{queue}\"'"
            );
            assert_eq!(answer, [error]);
            return None;
        }
        self.publish();
        let lines = user.exchange("UNSUB 1\r\n");
        Some(
            lines
                .iter()
                .map(|line| line.split(' ').nth(1).unwrap().to_owned())
                .collect(),
        )
    }

    fn refused_publications(&self, user: &mut Connection) -> BTreeSet<String> {
        let lines = user.exchange(&self.publications);
        let subject = |line: &String| {
            let rest = line.strip_prefix("-ERR 'Permissions Violation for Publish to \"")?;
            rest.strip_suffix("\"'").map(str::to_owned)
        };
        lines
            .iter()
            .map(|line| subject(line).expect(line))
            .collect()
    }

    /// What the library says about a subscription, and whether nats-server delivers more than is allowed.
    fn expected(
        &self,
        permissions: &Arc<Permissions>,
        filter: &str,
        queue: Option<&str>,
    ) -> Outcome {
        let queue = queue.map(str::as_bytes);
        if !permissions.may_subscribe(filter.as_bytes(), queue) {
            return None;
        }
        let limit = permissions.delivery_filter(filter.as_bytes(), queue);
        let wanted = |subject: &&String| {
            matches(filter, subject)
                && limit
                    .as_ref()
                    .is_none_or(|limit| limit.admits(subject.as_bytes()))
        };
        Some(self.subjects.iter().filter(wanted).cloned().collect())
    }
}

/// Whether a filter wants a subject, the obvious way.
fn matches(filter: &str, subject: &str) -> bool {
    let mut tokens = subject.split('.');
    for wanted in filter.split('.') {
        let Some(token) = tokens.next() else {
            return false;
        };
        if wanted == ">" {
            return true;
        }
        if wanted != "*" && wanted != token {
            return false;
        }
    }
    tokens.next().is_none()
}

/// Whether an allowed entry speaks of a subject for this group, the obvious way: groups decide where there are any.
fn is_allowed(rules: &SubjectRules, subject: &str, queue: Option<&str>) -> bool {
    let Some(allow) = &rules.allow else {
        return true;
    };
    let (mut plain, mut groups) = (false, Vec::new());
    for entry in allow {
        let mut words = entry.split(' ');
        if matches(words.next().unwrap(), subject) {
            match words.next() {
                None => plain = true,
                Some(group) => groups.push(group.to_owned()),
            }
        }
    }
    match queue {
        Some(queue) if !groups.is_empty() => groups.iter().any(|group| matches(group, queue)),
        _ => plain,
    }
}

/// Compares and counts the one known difference: nats-server takes the `>` of `a.>` for a token that `a.*` allows,
/// and delivers what no entry allows.
fn compare(
    case: &Case,
    filter: &str,
    queue: Option<&str>,
    theirs: &Outcome,
    ours: &Outcome,
) -> u32 {
    let context = || format!("{:?} {filter} {queue:?}", case.rules.subscribe);
    if theirs == ours {
        return 0;
    }
    let (Some(theirs), Some(ours)) = (theirs, ours) else {
        panic!("{}: {theirs:?} here {ours:?}", context());
    };
    assert!(
        filter.ends_with('>') && ours.is_subset(theirs),
        "{}",
        context()
    );
    let rules = case.rules.subscribe.as_ref().unwrap();
    for surplus in theirs.difference(ours) {
        assert!(
            !is_allowed(rules, surplus, queue),
            "{}: {surplus}",
            context()
        );
    }
    1
}

#[test]
fn decisions_equal_those_of_nats_server() {
    let cases = cases();
    let Some(server) = Server::start(&configuration(&cases)) else {
        return;
    };
    let subjects = subjects();
    let publications = subjects
        .iter()
        .map(|subject| format!("PUB {subject} 0\r\n\r\n"))
        .collect();
    let mut bench = Bench {
        admin: server.log_in("admin", "x"),
        publications,
        subjects,
    };
    let (mut compared, mut known) = (0, 0);
    for case in &cases {
        let permissions = Arc::new(Permissions::compile(&case.rules).unwrap());
        let mut user = server.log_in(&case.user, "x");
        for (filter, theirs) in FILTERS.iter().zip(bench.plain(&mut user)) {
            let ours = bench.expected(&permissions, filter, None);
            known += compare(case, filter, None, &theirs, &ours);
            compared += 1;
        }
        for filter in FILTERS {
            for queue in GROUPS {
                let theirs = bench.queue(&mut user, filter, queue);
                let ours = bench.expected(&permissions, filter, Some(queue));
                known += compare(case, filter, Some(queue), &theirs, &ours);
                compared += 1;
            }
        }
        let refused: BTreeSet<String> = (bench.subjects.iter())
            .filter(|subject| !permissions.may_publish(subject.as_bytes()))
            .cloned()
            .collect();
        assert_eq!(
            bench.refused_publications(&mut user),
            refused,
            "{:?}",
            case.rules.publish
        );
    }
    assert_eq!(compared, cases.len() * FILTERS.len() * (GROUPS.len() + 1));
    assert!(
        known > 0 && known < 1000,
        "{known} of {compared} differ in the known way"
    );
}
