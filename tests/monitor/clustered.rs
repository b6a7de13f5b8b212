//! A cluster as operators and users see it from each node, of Midge and of both kinds of server.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Duration;

use serde_json::Value;

use crate::cli::{Operator, tool};
use crate::servers::{Client, Server, eventually, midge, reference};
use crate::wait::now;

/// How long answers may take before a question is asked again.
const ROUND: Duration = Duration::from_secs(2);

const SYSTEM: &str = r#""user":"sys","pass":"sys""#;

/// The configuration of a node with these users that dials `other`.
fn configuration(name: &str, other: Option<&Server>, users: &str) -> String {
    let route = other.map_or_else(String::new, |other| {
        let address = other.routes.expect("a cluster");
        format!("\"nats://{address}\"")
    });
    format!(
        "server_name: {name}\n{users}\ncluster {{ name: C1, listen: \"127.0.0.1:-1\", routes: [ {route} ] }}\n"
    )
}

const ACCOUNTS: &str = "
accounts {
  A { users: [{user: a, password: a}] }
  SYS { users: [{user: sys, password: sys}] }
}
system_account: SYS";

/// The programs of two nodes: Midge twice, and each kind joining the other.
fn pairs() -> Vec<[PathBuf; 2]> {
    let mut pairs = vec![[midge(), midge()]];
    if let Some(other) = reference() {
        pairs.push([midge(), other.clone()]);
        pairs.push([other, midge()]);
    }
    pairs
}

/// Asks until the answers are as they should be.
fn ask_until(
    client: &mut Client,
    question: (&str, &str),
    mut is_right: impl FnMut(&[String]) -> bool,
) {
    let (subject, payload) = question;
    let mut round = 0;
    eventually(subject, || {
        round += 1;
        let inbox = format!("_INBOX.{round}");
        client.send(&format!("SUB {inbox} {round}\r\n"));
        client.send(&format!(
            "PUB {subject} {inbox} {}\r\n{payload}\r\n",
            payload.len()
        ));
        let (mut answers, deadline) = (Vec::new(), now() + ROUND);
        while now() < deadline {
            for (to, answer) in client.messages() {
                if to == inbox {
                    answers.push(String::from_utf8(answer).unwrap());
                }
            }
            if is_right(&answers) {
                return true;
            }
        }
        client.send(&format!("UNSUB {round}\r\n"));
        false
    });
}

/// The names of the servers that have answered; empty if one has answered twice or not as `C1`.
fn answered_by(answers: &[String]) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for answer in answers {
        let answer: Value = serde_json::from_str(answer).unwrap();
        let server = &answer["server"];
        if server["cluster"] != "C1" || !names.insert(server["name"].as_str().unwrap().to_owned()) {
            return BTreeSet::new();
        }
    }
    names
}

fn both() -> BTreeSet<String> {
    ["S1", "S2"].map(str::to_owned).into()
}

fn wait_until_linked(servers: [&Server; 2]) {
    for server in servers {
        let mut client = server.connect(SYSTEM);
        ask_until(&mut client, ("$SYS.REQ.SERVER.PING", ""), |answers| {
            answered_by(answers) == both()
        });
    }
}

/// Commands, who gives them at either node, and what the answer must hold.
const COMMANDS: &[(&str, &str, &[&str])] = &[
    (
        "sys",
        "server ls 2",
        &["│ S1 ", "│ S2 ", "│ C1      │          2 │"],
    ),
    ("sys", "server ping 2", &["S1", "S2", "2 replies"]),
    (
        "sys",
        "server info S1",
        &["information for S1", "Client URLs: 127.0.0.1"],
    ),
    (
        "sys",
        "server info S2",
        &["information for S2", "Client URLs: 127.0.0.1"],
    ),
    (
        "sys",
        "server report connections 2",
        &["watcher1", "watcher2", "│ S1     │ C1 ", "│ S2     │ C1 "],
    ),
    (
        "sys",
        "server report connections 2 --account A",
        &["watcher1", "watcher2"],
    ),
    (
        "sys",
        "server report accounts",
        &["Accounts Overview", "│ A "],
    ),
    (
        "sys",
        "server report accounts A 2",
        &["watcher1", "watcher2"],
    ),
    (
        "sys",
        "server report health 2",
        &["│ S1 ", "│ S2 ", "err: 0"],
    ),
    (
        "sys",
        "server request variables 2",
        &["\"server_name\":\"S1\"", "\"server_name\":\"S2\""],
    ),
    (
        "sys",
        "server request connections 2",
        &["\"name\":\"watcher1\"", "\"name\":\"watcher2\""],
    ),
    (
        "sys",
        "server request subscriptions 2 --detail",
        &["orders.1", "orders.2"],
    ),
    (
        "sys",
        "server request accounts 2",
        &["\"name\":\"S1\"", "\"name\":\"S2\""],
    ),
    (
        "sys",
        "server request routes 2",
        &["\"name\":\"S1\"", "\"name\":\"S2\""],
    ),
    ("sys", "server check connection", &["OK Connection"]),
    ("sys", "server check server --name S1", &["OK S1"]),
    ("sys", "server check server --name S2", &["OK S2"]),
    (
        "sys",
        "server account info A",
        &["information for account A"],
    ),
    ("sys", "top S1 --output top1.txt --delimiter ;", &[]),
    ("sys", "top S2 --output top2.txt --delimiter ;", &[]),
    ("sys", "rtt", &["nats://127.0.0.1"]),
    (
        "a",
        "account info",
        &["User: a", "Account: A", "Connected Cluster: C1"],
    ),
    ("a", "account report connections", &["watcher1", "watcher2"]),
    ("a", "rtt", &["nats://127.0.0.1"]),
    ("a", "server check connection", &["OK Connection"]),
];

#[test]
fn the_tools_commands_work_at_each_node() {
    let Some(tool) = tool() else { return };
    for programs in pairs() {
        let first = Operator::new(&tool, &programs[0], &configuration("S1", None, ACCOUNTS));
        let text = configuration("S2", Some(&first.server), ACCOUNTS);
        let nodes = [&first, &Operator::new(&tool, &programs[1], &text)];
        wait_until_linked(nodes.map(|node| &node.server));
        let mut watchers = Vec::new();
        for (number, node) in (1..).zip(nodes) {
            let introduction = format!(r#""user":"a","pass":"a","name":"watcher{number}""#);
            let mut watcher = node.server.connect(&introduction);
            watcher.send(&format!("SUB orders.{number} 1\r\n"));
            watcher.flush();
            watchers.push(watcher);
        }
        let mut report = String::new();
        for node in nodes {
            for (user, command, words) in COMMANDS {
                let (succeeded, text) = node.run(user, command);
                if !succeeded || words.iter().any(|word| !text.contains(word)) {
                    report.push_str(&format!(
                        "{user}: nats {command}: lacks {words:?}:\n{text}\n"
                    ));
                }
            }
            for number in 1..=2 {
                let top = node.file(&format!("top{number}.txt"));
                if !top.contains(&format!("watcher{number}")) {
                    report.push_str(&format!("nats top S{number}: {top:?}\n"));
                }
            }
        }
        assert!(report.is_empty(), "{programs:?}:\n{report}");
    }
}

/// What users outside the system account ask about their account, all servers answer, each for itself.
#[test]
fn questions_of_accounts_are_answered_by_all_servers() {
    for programs in pairs() {
        let first = Server::start(&programs[0], &configuration("S1", None, ACCOUNTS));
        let text = configuration("S2", Some(&first), ACCOUNTS);
        let second = Server::start(&programs[1], &text);
        wait_until_linked([&first, &second]);
        let connect = |server: &Server, name: &str| {
            server.connect(&format!(r#""user":"a","pass":"a","name":"{name}""#))
        };
        let mut users = [connect(&first, "user1"), connect(&second, "user2")];
        for user in &mut users {
            for subject in ["$SYS.REQ.ACCOUNT.PING.CONNZ", "$SYS.REQ.SERVER.PING.CONNZ"] {
                ask_until(user, (subject, ""), |answers| {
                    let all = answers.concat();
                    answered_by(answers) == both()
                        && ["user1", "user2"].iter().all(|name| all.contains(*name))
                });
            }
            ask_until(user, ("$SYS.REQ.ACCOUNT.PING.STATZ", ""), |answers| {
                answered_by(answers) == both()
                    && answers.iter().all(|answer| answer.contains(r#""acc":"A""#))
            });
            ask_until(
                user,
                ("$SYS.REQ.ACCOUNT.PING.CONNZ", r#"{"sort":"no"}"#),
                |answers| {
                    let text = "invalid sorting option: no";
                    answered_by(answers) == both()
                        && answers.iter().all(|answer| answer.contains(text))
                },
            );
            // Only the server knows that the user is connected to.
            let own = user.request("$SYS.REQ.USER.INFO", "");
            assert_eq!(own["data"]["account"], "A", "{own}");
        }
    }
}

/// How many clients of the system account have subscriptions, wherever they are connected.
#[test]
fn subscribers_are_counted_at_all_servers() {
    for programs in pairs() {
        let first = Server::start(&programs[0], &configuration("S1", None, ACCOUNTS));
        let text = configuration("S2", Some(&first), ACCOUNTS);
        let second = Server::start(&programs[1], &text);
        wait_until_linked([&first, &second]);
        let mut clients = [first.connect(SYSTEM), second.connect(SYSTEM)];
        for client in &mut clients {
            client.send("SUB work.a w1\r\nSUB work.a q w2\r\nSUB work.* q w3\r\nSUB *.a w4\r\n");
            client.flush();
        }
        let counts = [
            ("work.a", "8"),
            ("work.a q", "4"),
            ("work.a other", "0"),
            ("work.>", "6"),
            ("work.> q", "4"),
        ];
        // nats-server asks those servers of whose connections it has heard.
        for client in &mut clients {
            for (body, count) in &counts {
                ask_until(client, ("$SYS.DEBUG.SUBSCRIBERS", body), |answers| {
                    answers == [*count]
                });
            }
        }
    }
}

/// Users of the account that strangers are in hear of logins that failed, at all nodes.
#[test]
fn accounts_hear_of_failed_logins() {
    let users = "authorization { user: a, password: a }";
    for programs in pairs() {
        let first = Server::start(&programs[0], &configuration("S1", None, users));
        let second = Server::start(&programs[1], &configuration("S2", Some(&first), users));
        let subject = "$SYS.ACCOUNT.CLIENT.AUTH.ERR";
        let mut listeners = [&first, &second].map(|server| {
            let mut client = server.connect(r#""user":"a","pass":"a""#);
            client.send(&format!("SUB {subject} 1\r\n"));
            client.flush();
            client
        });
        let mut heard = [false, false];
        eventually("both have heard", || {
            let mut stranger = Client::greet(first.clients);
            stranger.send("CONNECT {\"user\":\"stranger\",\"pass\":\"x\",\"name\":\"s\"}\r\n");
            assert_eq!(stranger.line(), "-ERR 'Authorization Violation'");
            for (listener, heard) in listeners.iter_mut().zip(&mut heard) {
                for (to, event) in listener.messages() {
                    let event: Value = serde_json::from_slice(&event).unwrap();
                    assert_eq!(
                        (to.as_str(), &event["server"]["name"]),
                        (subject, &"S1".into())
                    );
                    assert_eq!(
                        event["type"],
                        "io.nats.server.advisory.v1.client_disconnect"
                    );
                    assert_eq!(event["reason"], "Authentication Failure");
                    assert_eq!(event["client"]["acc"], "$G");
                    assert_eq!(event["client"]["user"], "stranger");
                    *heard = true;
                }
            }
            heard == [true, true]
        });
    }
}
