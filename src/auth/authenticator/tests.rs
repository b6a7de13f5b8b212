//! Logins by every method, in the order and with the limits of nats-server.

use std::time::Duration;

use data_encoding::BASE64URL_NOPAD;
use rcgen::{CertificateParams, DistinguishedName as Subject, DnType, SanType};

use super::*;
use crate::auth::Renewal;
use crate::auth::rules::{AccountRules, Secret};
use crate::auth::{ResponseRules, SubjectRules};

/// A bcrypt hash of "abc".
const ABC: &str = "$2a$06$If6bvum7DFjUnE9p2uDeDu0YHzrHM6tf.iqN8.yx.jNN1ILEf7h0i";

#[expect(
    clippy::disallowed_methods,
    reason = "any instant will do as the test's beginning"
)]
fn now() -> Instant {
    Instant::now()
}

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

fn nkey_user(nkey: &str) -> UserRules {
    UserRules {
        identity: UserIdentity::Nkey(nkey.into()),
        ..user("", "")
    }
}

fn with_users(users: Vec<UserRules>) -> AuthRules {
    AuthRules {
        authorization_block: true,
        users_list: true,
        users,
        ..AuthRules::default()
    }
}

fn build(rules: &AuthRules) -> Arc<Authenticator> {
    Authenticator::new(rules, &[3; 32]).unwrap()
}

const FACTS: ConnectionFacts<'_> = ConnectionFacts {
    nonce: b"nonce",
    certificate: None,
    connection_type: ConnectionType::Standard,
    map_certificate: false,
    unix_user: None,
};

/// Decides to the end; tells apart whether it took a bcrypt check.
fn decide(
    authenticator: &Arc<Authenticator>,
    credentials: Credentials<'_>,
    facts: &ConnectionFacts<'_>,
) -> (Result<Login, Rejection>, bool) {
    match authenticator.authenticate(&credentials, facts, now()) {
        Decision::Accept(login) => (Ok(login), false),
        Decision::Reject(rejection) => (Err(rejection), false),
        Decision::NeedsBlocking(check) => (check.run(now()), true),
    }
}

fn login(
    authenticator: &Arc<Authenticator>,
    credentials: Credentials<'_>,
) -> Result<Login, Rejection> {
    decide(authenticator, credentials, &FACTS).0
}

fn name(login: Result<Login, Rejection>) -> String {
    login.unwrap().user.unwrap().to_string()
}

fn password<'a>(user: &'a str, password: &'a str) -> Credentials<'a> {
    Credentials {
        user,
        password,
        ..Credentials::default()
    }
}

#[test]
fn without_rules_everybody_is_let_in() {
    let authenticator = build(&AuthRules::default());
    assert!(!authenticator.is_required() && !authenticator.info_auth_required());
    assert!(authenticator.may_skip_connect(ConnectionType::Standard));
    let login = login(&authenticator, password("any", "thing")).unwrap();
    assert_eq!((login.user, &*login.account), (None, "$G"));
}

#[test]
fn a_token() {
    for token in ["secret", ABC] {
        let rules = AuthRules {
            token: Some(Secret::new(token)),
            ..AuthRules::default()
        };
        let authenticator = build(&rules);
        let present = |token| Credentials {
            token,
            ..Credentials::default()
        };
        let right = if token == ABC { "abc" } else { token };
        assert!(login(&authenticator, present(right)).is_ok());
        for wrong in ["", "wrong", "secretx"] {
            let rejection = login(&authenticator, present(wrong)).unwrap_err();
            assert_eq!(rejection, Rejection::WrongToken);
        }
        assert!(login(&authenticator, password("a", right)).is_err());
        assert!(!authenticator.may_skip_connect(ConnectionType::Standard));
    }
}

#[test]
fn a_single_user() {
    let rules = AuthRules {
        user: Some("alice".into()),
        password: Some(Secret::new("secret")),
        ..AuthRules::default()
    };
    let authenticator = build(&rules);
    assert_eq!(
        name(login(&authenticator, password("alice", "secret"))),
        "alice"
    );
    let refused = |credentials| login(&authenticator, credentials).unwrap_err();
    assert_eq!(refused(password("alice", "")), Rejection::WrongPassword);
    assert_eq!(refused(password("bob", "secret")), Rejection::UnknownUser);
    assert_eq!(refused(password("", "")), Rejection::UnknownUser);
}

#[test]
fn users_have_accounts_and_permissions() {
    let narrow = PermissionRules {
        publish: Some(SubjectRules {
            allow: Some(vec!["a".into()]),
            deny: Vec::new(),
        }),
        ..PermissionRules::default()
    };
    let silent = PermissionRules {
        responses: Some(ResponseRules::default()),
        ..PermissionRules::default()
    };
    let own = UserRules {
        permissions: Some(narrow.clone()),
        ..user("own", "x")
    };
    let member = UserRules {
        account: Some("A".into()),
        ..user("member", "x")
    };
    let rules = AuthRules {
        default_permissions: Some(silent),
        accounts: vec![AccountRules {
            name: "A".into(),
            default_permissions: Some(narrow),
        }],
        ..with_users(vec![own, user("default", "x"), member])
    };
    let authenticator = build(&rules);
    let login = |name| login(&authenticator, password(name, "x")).unwrap();
    let may = |name, subject: &[u8]| login(name).permissions.unwrap().may_publish(subject);
    assert!(may("own", b"a") && !may("own", b"b"));
    assert!(!may("default", b"a"));
    assert!(may("member", b"a") && !may("member", b"b"));
    assert_eq!(
        (&*login("member").account, &*login("own").account),
        ("A", "$G")
    );
}

#[test]
fn one_bcrypt_hash_makes_every_refusal_slow() {
    let authenticator = build(&with_users(vec![user("hashed", ABC), user("plain", "x")]));
    let attempt = |name, secret| decide(&authenticator, password(name, secret), &FACTS);
    let slowly = |rejection| (Some(rejection), true);
    let refused = |(outcome, slow): (Result<Login, _>, bool)| (outcome.err(), slow);
    assert_eq!(
        refused(attempt("hashed", "wrong")),
        slowly(Rejection::WrongPassword)
    );
    assert_eq!(
        refused(attempt("plain", "wrong")),
        slowly(Rejection::WrongPassword)
    );
    assert_eq!(
        refused(attempt("nobody", "abc")),
        slowly(Rejection::UnknownUser)
    );
    assert_eq!(refused(attempt("plain", "x")), (None, false));
    assert_eq!(refused(attempt("hashed", "abc")), (None, true));
    assert_eq!(
        refused(attempt("hashed", "abc")),
        (None, false),
        "remembered"
    );
    assert_eq!(
        refused(attempt("hashed", "wrong")),
        slowly(Rejection::WrongPassword)
    );
    let quick = build(&with_users(vec![user("plain", "x")]));
    let (outcome, slow) = decide(&quick, password("nobody", "x"), &FACTS);
    assert!(outcome.is_err() && !slow);
}

/// The quickest of many attempts, which other work on the machine does not delay.
fn quickest_refusal(authenticator: &Arc<Authenticator>, names: [&str; 2]) -> [Duration; 2] {
    // Long, so that its digest takes longer than everything else.
    let secret = "x".repeat(64 * 1024);
    let mut quickest = [Duration::MAX; 2];
    for _ in 0..100 {
        for (name, least) in names.iter().zip(&mut quickest) {
            let begun = now();
            let (outcome, _) = decide(authenticator, password(name, &secret), &FACTS);
            *least = begun.elapsed().min(*least);
            assert!(outcome.is_err());
        }
    }
    quickest
}

#[test]
fn an_unknown_name_is_refused_as_slowly_as_a_wrong_password() {
    let single = AuthRules {
        user: Some("plain".into()),
        password: Some(Secret::new("secret")),
        ..AuthRules::default()
    };
    for rules in [with_users(vec![user("plain", "secret")]), single] {
        let [known, unknown] = quickest_refusal(&build(&rules), ["plain", "nobody"]);
        assert!(
            known < unknown * 2 && unknown < known * 2,
            "{known:?} {unknown:?}"
        );
    }
}

#[test]
fn nkeys_sign_the_nonce() {
    let key = KeyPair::new_user();
    let public = key.public_key();
    let authenticator = build(&with_users(vec![nkey_user(&public), user("plain", "x")]));
    assert!(authenticator.info_nonce_required());
    let signature = BASE64URL_NOPAD.encode(&key.sign(b"nonce").unwrap());
    let signed = Credentials {
        nkey: &public,
        signature: &signature,
        ..Credentials::default()
    };
    assert_eq!(name(login(&authenticator, signed)), public);
    let stale = ConnectionFacts {
        nonce: b"another",
        ..FACTS
    };
    assert_eq!(
        decide(&authenticator, signed, &stale).0.unwrap_err(),
        Rejection::SignatureWrong
    );
    let unsigned = Credentials {
        signature: "",
        ..signed
    };
    assert_eq!(
        login(&authenticator, unsigned).unwrap_err(),
        Rejection::SignatureMissing
    );
    let stranger = KeyPair::new_user().public_key();
    let unknown = Credentials {
        nkey: &stranger,
        ..signed
    };
    assert_eq!(
        login(&authenticator, unknown).unwrap_err(),
        Rejection::UnknownNkey
    );
    // An nkey counts before a user, even if that one would be let in.
    let both = Credentials {
        user: "plain",
        password: "x",
        ..unknown
    };
    assert_eq!(
        login(&authenticator, both).unwrap_err(),
        Rejection::UnknownNkey
    );
    assert_eq!(name(login(&authenticator, password("plain", "x"))), "plain");
}

#[test]
fn no_auth_user_is_for_those_without_credentials() {
    let rules = AuthRules {
        no_auth_user: Some("guest".into()),
        ..with_users(vec![user("guest", "secret"), user("alice", "x")])
    };
    let authenticator = build(&rules);
    assert!(authenticator.is_required() && !authenticator.info_auth_required());
    assert!(authenticator.may_skip_connect(ConnectionType::Standard));
    assert_eq!(name(login(&authenticator, Credentials::default())), "guest");
    assert_eq!(name(login(&authenticator, password("alice", "x"))), "alice");
    assert!(login(&authenticator, password("guest", "wrong")).is_err());
    let token = Credentials {
        token: "t",
        ..Credentials::default()
    };
    assert_eq!(
        login(&authenticator, token).unwrap_err(),
        Rejection::NoCredentials
    );
    let hashed = AuthRules {
        users: vec![user("guest", ABC)],
        ..rules
    };
    assert!(login(&build(&hashed), Credentials::default()).is_err());
}

#[test]
fn an_nkey_can_be_the_no_auth_user() {
    let nkey = KeyPair::new_user().public_key();
    let rules = AuthRules {
        no_auth_user: Some(nkey.clone()),
        ..with_users(vec![nkey_user(&nkey), user("alice", "x")])
    };
    let authenticator = build(&rules);
    assert_eq!(name(login(&authenticator, Credentials::default())), nkey);
    assert!(!authenticator.may_skip_connect(ConnectionType::Standard));
}

/// GHSA-38x3, GHSA-hmmp: the way without CONNECT went past the limits of the user.
#[test]
fn connection_types_hold_on_every_way_in() {
    let mut guest = user("guest", "x");
    guest.allowed_connection_types = vec![ConnectionType::WebSocket];
    let key = KeyPair::new_user();
    let mut signer = nkey_user(&key.public_key());
    signer.allowed_connection_types = vec![ConnectionType::WebSocket];
    let rules = AuthRules {
        no_auth_user: Some("guest".into()),
        ..with_users(vec![guest, signer])
    };
    let authenticator = build(&rules);
    assert!(!authenticator.may_skip_connect(ConnectionType::Standard));
    assert!(authenticator.may_skip_connect(ConnectionType::WebSocket));
    let public = key.public_key();
    let signature = BASE64URL_NOPAD.encode(&key.sign(b"nonce").unwrap());
    let signed = Credentials {
        nkey: &public,
        signature: &signature,
        ..Credentials::default()
    };
    let web = ConnectionFacts {
        connection_type: ConnectionType::WebSocket,
        ..FACTS
    };
    for credentials in [Credentials::default(), password("guest", "x"), signed] {
        let refused = login(&authenticator, credentials).unwrap_err();
        assert_eq!(refused, Rejection::ConnectionType);
        assert!(decide(&authenticator, credentials, &web).0.is_ok());
    }
}

/// CVE-2023-47090: an authorization block was without effect when only the system account was configured.
#[test]
fn a_system_account_alone_asks_nobody_else_to_log_in() {
    let system = UserRules {
        account: Some("$SYS".into()),
        ..user("admin", "x")
    };
    let rules = AuthRules {
        users: vec![system],
        accounts: vec![AccountRules {
            name: "$SYS".into(),
            ..AccountRules::default()
        }],
        system_account: Some("$SYS".into()),
        ..AuthRules::default()
    };
    let open = build(&rules);
    assert!(open.info_auth_required() && open.is_required());
    assert_eq!(
        &*login(&open, Credentials::default()).unwrap().account,
        "$G"
    );
    assert_eq!(
        &*login(&open, password("admin", "x")).unwrap().account,
        "$SYS"
    );
    assert!(login(&open, password("other", "x")).is_err());
    let closed = build(&AuthRules {
        authorization_block: true,
        ..rules.clone()
    });
    assert!(login(&closed, Credentials::default()).is_err());
    let ordinary = build(&AuthRules {
        system_account: Some("B".into()),
        ..rules
    });
    assert!(login(&ordinary, Credentials::default()).is_err());
}

fn certificate(change: impl FnOnce(&mut CertificateParams)) -> Vec<u8> {
    let mut parameters = CertificateParams::new(Vec::new()).unwrap();
    parameters.distinguished_name = Subject::new();
    parameters
        .distinguished_name
        .push(DnType::OrganizationName, "Acme");
    parameters
        .distinguished_name
        .push(DnType::CommonName, "alice");
    change(&mut parameters);
    let key = rcgen::KeyPair::generate().unwrap();
    parameters.self_signed(&key).unwrap().der().to_vec()
}

fn map(authenticator: &Arc<Authenticator>, certificate: &[u8]) -> Result<Login, Rejection> {
    let facts = ConnectionFacts {
        certificate: Some(certificate),
        map_certificate: true,
        unix_user: None,
        ..FACTS
    };
    decide(authenticator, Credentials::default(), &facts).0
}

#[test]
fn certificates_name_their_user() {
    let bare = certificate(|_| {});
    let mail = certificate(|parameters| {
        parameters.subject_alt_names =
            vec![SanType::Rfc822Name("alice@example".try_into().unwrap())];
    });
    let mapped = |users: &[&str], certificate: &[u8]| {
        let rules = AuthRules {
            certificate_listeners: vec![ConnectionType::Standard],
            ..with_users(users.iter().map(|name| user(name, "")).collect())
        };
        map(&build(&rules), certificate).map(|login| login.user.unwrap().to_string())
    };
    assert_eq!(
        mapped(&["alice@example", "CN=alice,O=Acme"], &mail).unwrap(),
        "alice@example"
    );
    assert_eq!(
        mapped(&["CN=alice,O=Acme"], &mail).unwrap(),
        "CN=alice,O=Acme"
    );
    assert_eq!(
        mapped(&["O=Acme, CN=alice"], &bare).unwrap(),
        "O=Acme, CN=alice"
    );
    let both = ["O=Acme,CN=alice", "CN=alice,O=Acme"];
    assert_eq!(
        mapped(&both, &bare).unwrap(),
        "CN=alice,O=Acme",
        "the exact one comes first"
    );
    for strangers in ["CN=alice", "CN=bob,O=Acme", "CN=alice,O=Acme,C=DE", "alice"] {
        assert_eq!(
            mapped(&[strangers], &bare).unwrap_err(),
            Rejection::UnknownCertificate
        );
    }
}

#[test]
fn a_mapping_listener_takes_users_from_certificates_only() {
    let bare = certificate(|_| {});
    let rules = AuthRules {
        certificate_listeners: vec![ConnectionType::Standard],
        no_auth_user: Some("guest".into()),
        ..with_users(vec![
            user("CN=alice,O=Acme", "s"),
            user("guest", "g"),
            user("mail", ""),
        ])
    };
    let authenticator = build(&rules);
    let mapping = ConnectionFacts {
        map_certificate: true,
        unix_user: None,
        ..FACTS
    };
    let refused = decide(&authenticator, password("guest", "g"), &mapping)
        .0
        .unwrap_err();
    assert_eq!(refused, Rejection::NoCertificate);
    // The user of a certificate may have a password as well, which then counts.
    assert_eq!(
        map(&authenticator, &bare).unwrap_err(),
        Rejection::WrongPassword
    );
    let facts = ConnectionFacts {
        certificate: Some(&bare),
        ..mapping
    };
    assert!(decide(&authenticator, password("", "s"), &facts).0.is_ok());
    let garbage = ConnectionFacts {
        certificate: Some(b"garbage"),
        ..mapping
    };
    let refused = decide(&authenticator, password("", "s"), &garbage)
        .0
        .unwrap_err();
    assert_eq!(refused, Rejection::NoCertificate);
}

/// nats-server ccd898ea8: users of certificates could log in by name on listeners without mapping.
#[test]
fn a_user_of_certificates_cannot_log_in_by_name_elsewhere() {
    let rules = AuthRules {
        certificate_listeners: vec![ConnectionType::WebSocket],
        ..with_users(vec![user("CN=alice,O=Acme", "")])
    };
    let by_name = password("CN=alice,O=Acme", "");
    assert_eq!(
        login(&build(&rules), by_name).unwrap_err(),
        Rejection::CertificateOnly
    );
    let without = AuthRules {
        certificate_listeners: Vec::new(),
        ..rules
    };
    assert!(
        login(&build(&without), by_name).is_ok(),
        "an empty password is one, then"
    );
}

#[test]
fn secrets_are_nowhere_to_be_seen() {
    let rules = AuthRules {
        password: Some(Secret::new("s3cret-single")),
        user: Some("alice".into()),
        ..AuthRules::default()
    };
    let many = with_users(vec![user("bob", "s3cret-user")]);
    let shown = format!(
        "{rules:?} {many:?} {:?} {:?} {:?}",
        build(&rules),
        build(&many),
        problems(&many)
    );
    assert!(shown.contains("bob") && !shown.contains("s3cret"));
}

/// What becomes of a login under other rules: the name it keeps, or what happens to it.
fn renewed(
    before: &Arc<Authenticator>,
    credentials: Credentials<'_>,
    rules: &AuthRules,
) -> Result<Option<String>, String> {
    let login = login(before, credentials).unwrap();
    match before.with_rules(rules).unwrap().renew(&login, &FACTS) {
        Renewal::Keep(login) => Ok(login.user.map(|name| name.to_string())),
        Renewal::Moved => Err("moved".into()),
        Renewal::Refuse(rejection) => Err(rejection.to_string()),
    }
}

#[test]
fn users_stay_if_their_password_does() {
    let rules = with_users(vec![user("alice", "x"), user("hashed", ABC)]);
    let before = build(&rules);
    let alice = password("alice", "x");
    let kept = |name: &str| Ok(Some(name.to_owned()));
    assert_eq!(renewed(&before, alice, &rules), kept("alice"));
    assert_eq!(
        renewed(&before, password("hashed", "abc"), &rules),
        kept("hashed")
    );
    let changed = with_users(vec![
        user("alice", "y"),
        user("hashed", &ABC.replace("06", "07")),
    ]);
    let wrong = Err("wrong password".to_owned());
    assert_eq!(renewed(&before, alice, &changed), wrong);
    assert_eq!(renewed(&before, password("hashed", "abc"), &changed), wrong);
    let gone = with_users(vec![user("bob", "x")]);
    assert_eq!(renewed(&before, alice, &gone), Err("moved".into()));
    let moved = UserRules {
        account: Some("A".into()),
        ..user("alice", "x")
    };
    assert_eq!(
        renewed(&before, alice, &with_users(vec![moved])),
        Err("moved".into())
    );
    let mut limited = user("alice", "x");
    limited.allowed_connection_types = vec![ConnectionType::WebSocket];
    assert!(renewed(&before, alice, &with_users(vec![limited])).is_err());
    assert_eq!(
        renewed(&before, alice, &AuthRules::default()),
        Err("moved".into()),
        "its user is gone, although no login is asked for"
    );
}

#[test]
fn new_permissions_come_with_the_renewal() {
    let rules = with_users(vec![user("alice", "x")]);
    let before = build(&rules);
    let allow = Some(vec!["a".to_owned()]);
    let publish = Some(SubjectRules {
        allow,
        deny: Vec::new(),
    });
    let narrow = PermissionRules {
        publish,
        ..PermissionRules::default()
    };
    let narrow = UserRules {
        permissions: Some(narrow),
        ..user("alice", "x")
    };
    let login = login(&before, password("alice", "x")).unwrap();
    assert!(login.permissions.is_none());
    let after = before.with_rules(&with_users(vec![narrow])).unwrap();
    let Renewal::Keep(login) = after.renew(&login, &FACTS) else {
        panic!("not kept")
    };
    assert!(!login.permissions.unwrap().may_publish(b"b"));
}

#[test]
fn other_logins_are_renewed_too() {
    let nothing = Credentials::default();
    let token = |token: &str| AuthRules {
        token: Some(Secret::new(token)),
        ..AuthRules::default()
    };
    let before = build(&token("t"));
    let with_token = Credentials {
        token: "t",
        ..nothing
    };
    assert_eq!(renewed(&before, with_token, &token("t")), Ok(None));
    assert_eq!(
        renewed(&before, with_token, &token("other")),
        Err("wrong token".into())
    );
    assert!(renewed(&before, with_token, &with_users(vec![user("a", "t")])).is_err());
    assert_eq!(
        renewed(&before, with_token, &AuthRules::default()),
        Ok(None)
    );

    let open = build(&AuthRules::default());
    assert_eq!(renewed(&open, nothing, &AuthRules::default()), Ok(None));
    assert!(renewed(&open, nothing, &token("t")).is_err());

    let single = |password: &str| AuthRules {
        user: Some("a".into()),
        password: Some(Secret::new(password)),
        ..AuthRules::default()
    };
    let before = build(&single("x"));
    assert_eq!(
        renewed(&before, password("a", "x"), &single("x")),
        Ok(Some("a".into()))
    );
    assert!(renewed(&before, password("a", "x"), &single("y")).is_err());
    let listed = with_users(vec![user("a", "x")]);
    assert_eq!(
        renewed(&before, password("a", "x"), &listed),
        Ok(Some("a".into()))
    );

    let guests = |name: &str| AuthRules {
        no_auth_user: Some(name.into()),
        ..with_users(vec![user("a", "x"), user("b", "x")])
    };
    let before = build(&guests("a"));
    assert_eq!(
        renewed(&before, nothing, &guests("b")),
        Ok(Some("b".into()))
    );
    assert!(renewed(&before, nothing, &listed).is_err());
}

#[test]
fn nkeys_are_renewed_without_a_signature() {
    let key = KeyPair::new_user();
    let public = key.public_key();
    let rules = with_users(vec![nkey_user(&public)]);
    let before = build(&rules);
    let signature = BASE64URL_NOPAD.encode(&key.sign(b"nonce").unwrap());
    let signed = Credentials {
        nkey: &public,
        signature: &signature,
        ..Credentials::default()
    };
    assert_eq!(renewed(&before, signed, &rules), Ok(Some(public.clone())));
    assert!(renewed(&before, signed, &with_users(vec![user("a", "x")])).is_err());
    // Somebody let in as the guest is not the owner of the key.
    let guests = AuthRules {
        no_auth_user: Some(public.clone()),
        ..rules.clone()
    };
    assert!(renewed(&build(&guests), Credentials::default(), &rules).is_err());
}

#[test]
fn certificates_are_judged_anew() {
    let bare = certificate(|_| {});
    let rules = |names: &[&str]| AuthRules {
        certificate_listeners: vec![ConnectionType::Standard],
        ..with_users(names.iter().map(|name| user(name, "")).collect())
    };
    let before = build(&rules(&["CN=alice,O=Acme"]));
    let facts = ConnectionFacts {
        certificate: Some(&bare),
        map_certificate: true,
        unix_user: None,
        ..FACTS
    };
    let login = map(&before, &bare).unwrap();
    let after = before
        .with_rules(&rules(&["CN=alice,O=Acme", "CN=bob"]))
        .unwrap();
    assert!(matches!(after.renew(&login, &facts), Renewal::Keep(_)));
    let after = before.with_rules(&rules(&["CN=bob"])).unwrap();
    assert!(matches!(
        after.renew(&login, &facts),
        Renewal::Refuse(Rejection::UnknownCertificate)
    ));
}
