//! What may be answered to requests: publish permissions × `allow_responses` × the way the request came,
//! on running servers, against a slow and obvious model and nats-server.

use std::fmt::Write as _;

use super::server::{Connection, Server};

/// Where a responder may publish: allowed and denied entries.
const PUBLISH: [(&[&str], &[&str]); 6] = [
    (&[], &[]),
    (&["none"], &[]),
    (&["inbox.*"], &[]),
    (&["_R_.>"], &[]),
    (&[], &["inbox.>"]),
    (&["none"], &["_R_.>", "inbox.>"]),
];

/// `allow_responses`, and how many answers it allows.
const RESPONSES: [(&str, usize); 4] = [
    ("", 0),
    ("allow_responses: true", 1),
    ("allow_responses: { max: 2, expires: \"1m\" }", 2),
    ("allow_responses: { max: -1 }", usize::MAX),
];

/// How a request comes to the responder.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Way {
    /// Published in its own account.
    Direct,
    /// Published in an account that imports the service, which answers once.
    Service,
    /// The same for one that answers in parts.
    Parts,
    /// Published in an account whose stream the responder's account imports.
    Stream,
}

const WAYS: [Way; 4] = [Way::Direct, Way::Service, Way::Parts, Way::Stream];

/// Answers that are tried.
const ANSWERS: usize = 3;

fn configuration() -> String {
    let mut text = "accounts {
        REQUESTER {
            users: [ { user: requester, password: x } ]
            exports: [ { stream: asked } ]
            imports: [ { service: { account: RESPONDER, subject: once } }, { service: { account: RESPONDER, subject: parts } } ]
        }
        RESPONDER {
            exports: [ { service: once }, { service: parts, response: stream } ]
            imports: [ { stream: { account: REQUESTER, subject: asked } } ]
            users: [ { user: neighbour, password: x }\n"
        .to_owned();
    for (publish, (allow, deny)) in PUBLISH.iter().enumerate() {
        for (responses, (option, _)) in RESPONSES.iter().enumerate() {
            let mut lists = serde_json::Map::new();
            for (name, list) in [("allow", allow), ("deny", deny)] {
                if !list.is_empty() {
                    lists.insert(name.to_owned(), serde_json::json!(list));
                }
            }
            let lists = match lists.is_empty() {
                true => String::new(),
                false => format!("publish: {}, ", serde_json::Value::from(lists)),
            };
            writeln!(
                text,
                "{{ user: user{publish}{responses}, password: x, permissions: {{ {lists}subscribe: \">\", {option} }} }}"
            )
            .unwrap();
        }
    }
    text + "] } }\n"
}

/// How many of the answers the requester got, and how many were refused.
#[derive(Debug, PartialEq)]
struct Outcome {
    received: usize,
    refused: usize,
}

fn try_out(responder: &mut Connection, requesters: &mut [Connection; 2], way: Way) -> Outcome {
    let (requester, subject) = match way {
        Way::Direct => (&mut requesters[1], "direct"),
        Way::Service => (&mut requesters[0], "once"),
        Way::Parts => (&mut requesters[0], "parts"),
        Way::Stream => (&mut requesters[0], "asked"),
    };
    assert!(requester.exchange("SUB inbox.* 1\r\n").is_empty());
    assert!(
        responder
            .exchange(&format!("SUB {subject} 1\r\n"))
            .is_empty()
    );
    assert!(
        requester
            .exchange(&format!("PUB {subject} inbox.1 1\r\nx\r\n"))
            .is_empty()
    );
    let request = responder.exchange("UNSUB 1\r\n");
    let reply = request[0].split(' ').nth(3).unwrap().to_owned();
    assert_eq!(
        reply.starts_with("_R_."),
        matches!(way, Way::Service | Way::Parts)
    );
    let answers = format!("PUB {reply} 1\r\ny\r\n").repeat(ANSWERS);
    let refused = responder.exchange(&answers);
    for error in &refused {
        let expected = format!("-ERR 'Permissions Violation for Publish to \"{reply}\"'");
        assert_eq!(*error, expected);
    }
    let received = requester.exchange("UNSUB 1\r\n").len() / 2;
    Outcome {
        received,
        refused: refused.len(),
    }
}

fn outcomes(server: &Server) -> Vec<Outcome> {
    let mut requesters = ["requester", "neighbour"].map(|user| server.log_in(user, "x"));
    let mut outcomes = Vec::new();
    for publish in 0..PUBLISH.len() {
        for responses in 0..RESPONSES.len() {
            let mut responder = server.log_in(&format!("user{publish}{responses}"), "x");
            for way in WAYS {
                outcomes.push(try_out(&mut responder, &mut requesters, way));
            }
        }
    }
    outcomes
}

/// Whether an entry of the lists above speaks of a reply subject that begins with `first`.
fn speaks_of(entries: &[&str], first: &str) -> bool {
    entries.iter().any(|entry| entry.starts_with(first))
}

fn expected((allow, deny): (&[&str], &[&str]), responses: (&str, usize), way: Way) -> Outcome {
    let (option, most) = responses;
    let crossed = matches!(way, Way::Service | Way::Parts);
    let first = if crossed { "_R_" } else { "inbox" };
    // Whoever may respond may do nothing else that is not allowed by name.
    let open = allow.is_empty() && option.is_empty();
    let may = (open || speaks_of(allow, first)) && !speaks_of(deny, first);
    let published = if may { ANSWERS } else { ANSWERS.min(most) };
    let received = match way {
        Way::Direct | Way::Parts => published,
        Way::Service => published.min(1),
        // It answers in its own account, where nobody asked.
        Way::Stream => 0,
    };
    Outcome {
        received,
        refused: ANSWERS - published,
    }
}

#[test]
fn responses_are_as_defined_and_as_by_nats_server() {
    let configuration = configuration();
    let ours = outcomes(&Server::start_midge(&configuration));
    let theirs = Server::start(&configuration).map(|server| outcomes(&server));
    let mut place = 0;
    for publish in PUBLISH {
        for responses in RESPONSES {
            for way in WAYS {
                let context = format!("{publish:?} {responses:?} {way:?}");
                assert_eq!(ours[place], expected(publish, responses, way), "{context}");
                if let Some(theirs) = &theirs {
                    assert_eq!(theirs[place], ours[place], "nats-server: {context}");
                }
                place += 1;
            }
        }
    }
    assert_eq!(ours.len(), place);
}
