//! Logins by every method against configurations of every kind.

use std::fmt::Write as _;
use std::sync::Arc;

use data_encoding::{BASE64, BASE64URL_NOPAD};
use midge::auth::{
    AccountRules, AuthRules, Authenticator, ConnectionFacts, ConnectionType, Credentials, Decision,
    Secret, UserIdentity, UserRules,
};
use nkeys::KeyPair;

use super::server::{Server, now};

/// A bcrypt hash of "abc".
const ABC: &str = "$2a$06$If6bvum7DFjUnE9p2uDeDu0YHzrHM6tf.iqN8.yx.jNN1ILEf7h0i";

fn user(name: &str, password: &str) -> UserRules {
    UserRules {
        identity: UserIdentity::Password {
            name: name.into(),
            password: Secret::new(password),
        },
        account: None,
        permissions: None,
        allowed_connection_types: Vec::new(),
    }
}

fn of_account(account: &str, user: UserRules) -> UserRules {
    UserRules {
        account: Some(account.into()),
        ..user
    }
}

fn account(name: &str) -> AccountRules {
    AccountRules {
        name: name.into(),
        default_permissions: None,
    }
}

fn listed(users: Vec<UserRules>) -> AuthRules {
    AuthRules {
        authorization_block: true,
        users_list: true,
        users,
        ..AuthRules::default()
    }
}

/// A configuration as text and as rules.
type Configuration = (String, AuthRules);

const ALICE: &str = "{ user: alice, password: secret }";

fn alice() -> UserRules {
    user("alice", "secret")
}

fn configurations(nkey: &str) -> Vec<Configuration> {
    let mut all = without_users();
    all.extend(with_users(nkey));
    all.extend(with_guests(nkey));
    all.extend(with_accounts());
    all
}

fn without_users() -> Vec<Configuration> {
    let block = || AuthRules {
        authorization_block: true,
        ..AuthRules::default()
    };
    let token = |token| AuthRules {
        token: Some(Secret::new(token)),
        ..block()
    };
    let single = AuthRules {
        user: Some("alice".into()),
        ..block()
    };
    let full = AuthRules {
        password: Some(Secret::new("secret")),
        ..single.clone()
    };
    vec![
        (String::new(), AuthRules::default()),
        ("authorization { timeout: 2 }\n".into(), block()),
        ("authorization { token: t0ken }\n".into(), token("t0ken")),
        (
            format!("authorization {{ token: \"{ABC}\" }}\n"),
            token(ABC),
        ),
        (
            "authorization { user: alice, password: secret }\n".into(),
            full,
        ),
        ("authorization { user: alice }\n".into(), single),
    ]
}

fn list(users: &str) -> String {
    format!("authorization {{ users: [ {users} ] }}\n")
}

fn signer(nkey: &str) -> UserRules {
    UserRules {
        identity: UserIdentity::Nkey(nkey.into()),
        ..user("", "")
    }
}

fn with_users(nkey: &str) -> Vec<Configuration> {
    let allowed_connection_types = vec![ConnectionType::WebSocket];
    let web = UserRules {
        allowed_connection_types,
        ..user("bob", "x")
    };
    let web_text = "{ user: bob, password: x, allowed_connection_types: [WEBSOCKET] }";
    let several = vec![alice(), user("bob", ABC), user("empty", "")];
    vec![
        (list(ALICE), listed(vec![alice()])),
        (
            list(&format!(
                "{ALICE}, {{ user: bob, password: \"{ABC}\" }}, {{ user: empty }}"
            )),
            listed(several),
        ),
        (
            list(&format!("{ALICE}, {web_text}")),
            listed(vec![alice(), web]),
        ),
        (
            list(&format!("{ALICE}, {{ nkey: {nkey} }}")),
            listed(vec![alice(), signer(nkey)]),
        ),
        (
            list(&format!("{{ nkey: {nkey} }}")),
            listed(vec![signer(nkey)]),
        ),
    ]
}

fn with_guests(nkey: &str) -> Vec<Configuration> {
    let guests = |name: &str, text: &str, users| {
        let rules = AuthRules {
            no_auth_user: Some(name.into()),
            ..listed(users)
        };
        (
            format!(
                "no_auth_user: \"{name}\"\n{}",
                list(&format!("{ALICE}, {text}"))
            ),
            rules,
        )
    };
    let nkey_text = format!("{{ nkey: {nkey} }}");
    let bob_text = format!("{{ user: bob, password: \"{ABC}\" }}");
    vec![
        guests("alice", &nkey_text, vec![alice(), signer(nkey)]),
        guests(nkey, &nkey_text, vec![alice(), signer(nkey)]),
        guests("bob", &bob_text, vec![alice(), user("bob", ABC)]),
    ]
}

fn with_accounts() -> Vec<Configuration> {
    let rules = |users, names: &[&str]| AuthRules {
        users,
        accounts: names.iter().map(|name| account(name)).collect(),
        system_account: Some("$SYS".into()),
        ..AuthRules::default()
    };
    let system = || vec![of_account("$SYS", alice())];
    let only_system = format!("accounts {{\n $SYS {{ users: [ {ALICE} ] }}\n}}\n");
    let blocked = AuthRules {
        authorization_block: true,
        ..rules(system(), &["$SYS"])
    };
    vec![
        (
            format!("accounts {{\n A {{ users: [ {ALICE} ] }}\n}}\n"),
            rules(vec![of_account("A", alice())], &["A"]),
        ),
        (only_system.clone(), rules(system(), &["$SYS"])),
        (
            format!("{only_system}authorization {{ timeout: 2 }}\n"),
            blocked,
        ),
        (
            format!("accounts {{\n $SYS {{ users: [ {ALICE} ] }}\n B {{}}\n}}\n"),
            rules(system(), &["$SYS", "B"]),
        ),
        ("accounts {\n B {}\n}\n".into(), rules(Vec::new(), &["B"])),
    ]
}

/// CONNECT fields; a signature stands for what is made from the nonce.
#[derive(Clone, Copy, Debug, Default)]
struct Attempt<'a> {
    user: &'a str,
    password: &'a str,
    token: &'a str,
    nkey: &'a str,
    signature: Signature,
}

#[derive(Clone, Copy, Debug, Default, PartialEq)]
enum Signature {
    #[default]
    None,
    UrlSafe,
    Standard,
    OfAnotherNonce,
    Garbage,
}

fn attempts<'a>(nkey: &'a str, stranger: &'a str) -> Vec<Attempt<'a>> {
    let none = Attempt::default();
    let mut all = Vec::new();
    for user in ["", "alice", "bob", "empty", "Alice"] {
        for password in ["", "secret", "abc", "x", "secretx", ABC] {
            all.push(Attempt {
                user,
                password,
                ..none
            });
        }
    }
    for token in ["t0ken", "abc", "t0kenx", ABC] {
        all.push(Attempt { token, ..none });
        all.push(Attempt {
            token,
            user: "alice",
            password: "secret",
            ..none
        });
    }
    use Signature::{Garbage, OfAnotherNonce, Standard, UrlSafe};
    for nkey in [nkey, stranger, "garbage"] {
        for signature in [Signature::None, UrlSafe, Standard, OfAnotherNonce, Garbage] {
            all.push(Attempt {
                nkey,
                signature,
                ..none
            });
        }
        all.push(Attempt {
            nkey,
            user: "alice",
            password: "secret",
            ..none
        });
        all.push(Attempt {
            nkey,
            token: "t0ken",
            signature: UrlSafe,
            ..none
        });
    }
    all.push(Attempt {
        signature: Garbage,
        ..none
    });
    all
}

fn sign(key: &KeyPair, nonce: &str, signature: Signature) -> String {
    let sign = |nonce: &str| key.sign(nonce.as_bytes()).unwrap();
    match signature {
        Signature::None => String::new(),
        Signature::UrlSafe => BASE64URL_NOPAD.encode(&sign(nonce)),
        Signature::Standard => BASE64.encode(&sign(nonce)),
        Signature::OfAnotherNonce => BASE64URL_NOPAD.encode(&sign("another")),
        Signature::Garbage => "%%%".into(),
    }
}

/// Whether the server lets the attempt in, with the nonce and signature of that connection.
fn theirs(server: &Server, attempt: &Attempt<'_>, key: &KeyPair) -> (bool, String, String) {
    let mut connection = server.connect();
    let info: serde_json::Value = serde_json::from_str(&connection.info[5..]).unwrap();
    let nonce = info["nonce"].as_str().unwrap_or_default().to_owned();
    let signature = sign(key, &nonce, attempt.signature);
    let fields = serde_json::json!({
        "verbose": false, "user": attempt.user, "pass": attempt.password,
        "auth_token": attempt.token, "nkey": attempt.nkey, "sig": signature,
    });
    connection.send(&format!("CONNECT {fields}\r\nPING\r\n"));
    loop {
        match connection.line().as_deref() {
            Some("PONG") => return (true, nonce, signature),
            Some(line) if line.starts_with("INFO ") => {}
            Some(line) => {
                assert_eq!(line, "-ERR 'Authorization Violation'");
                assert_eq!(connection.drain(), "");
                return (false, nonce, signature);
            }
            None => panic!("closed without an answer"),
        }
    }
}

fn ours(
    authenticator: &Arc<Authenticator>,
    attempt: &Attempt<'_>,
    nonce: &str,
    signature: &str,
) -> bool {
    let Attempt {
        user,
        password,
        token,
        nkey,
        ..
    } = *attempt;
    let credentials = Credentials {
        user,
        password,
        token,
        nkey,
        signature,
    };
    let facts = ConnectionFacts {
        nonce: nonce.as_bytes(),
        certificate: None,
        connection_type: ConnectionType::Standard,
        map_certificate: false,
        unix_user: None,
    };
    match authenticator.authenticate(&credentials, &facts, now()) {
        Decision::Accept(_) => true,
        Decision::Reject(_) => false,
        Decision::NeedsBlocking(check) => check.run(now()).is_ok(),
    }
}

/// Whether somebody may send PING before CONNECT.
fn may_skip_connect(server: &Server) -> bool {
    let mut connection = server.connect();
    connection.send("PING\r\n");
    connection.line().as_deref() == Some("PONG")
}

#[test]
fn decisions_equal_those_of_nats_server() {
    let (key, other) = (KeyPair::new_user(), KeyPair::new_user());
    let (nkey, stranger) = (key.public_key(), other.public_key());
    let mut differences = String::new();
    for (text, rules) in configurations(&nkey) {
        let Some(server) = Server::start(&text) else {
            return;
        };
        let authenticator = Authenticator::new(&rules, &[1; 32]).unwrap();
        let info: serde_json::Value = serde_json::from_str(&server.connect().info[5..]).unwrap();
        let required = info["auth_required"].as_bool().unwrap_or_default();
        assert_eq!(required, authenticator.info_auth_required(), "{text}");
        assert_eq!(
            info["nonce"].is_string(),
            authenticator.info_nonce_required(),
            "{text}"
        );
        let skips = authenticator.may_skip_connect(ConnectionType::Standard)
            && ours(&authenticator, &Attempt::default(), "", "");
        assert_eq!(may_skip_connect(&server), skips, "{text}");
        for attempt in attempts(&nkey, &stranger) {
            let (theirs, nonce, signature) = theirs(&server, &attempt, &key);
            if theirs != ours(&authenticator, &attempt, &nonce, &signature) {
                writeln!(
                    differences,
                    "nats-server says {theirs}: {attempt:?} for\n{text}"
                )
                .unwrap();
            }
        }
    }
    assert_eq!(differences, "");
}
