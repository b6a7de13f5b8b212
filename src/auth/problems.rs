//! What is wrong with a configuration of users, found before anybody connects.
//!
//! Errors are what nats-server refuses, in its words, and what it accepts although it leaves a door open that the
//! configuration means to close.

use std::collections::HashSet;

use super::authenticator::effective_permissions;
use super::distinguished_name::DistinguishedName;
use super::password::{bcrypt_cost, is_bcrypt, is_usable_bcrypt};
use super::permissions::{PermissionRules, Permissions, SubjectRules};
use super::rules::{AuthRules, Secret, UserIdentity, UserRules};
use super::signature::user_key;

/// Cost from which a bcrypt hash is reported: above it one login takes more than four seconds of a processor.
const HIGH_BCRYPT_COST: u32 = 16;

/// Name of the system account unless another is configured.
const SYSTEM_ACCOUNT: &str = "$SYS";

/// Something that is wrong with the rules.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Whether it forbids the configuration.
    pub severity: Severity,
    /// Where it is.
    pub place: Place,
    /// What it is, without any secret.
    pub text: String,
}

/// How bad a [`Problem`] is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Severity {
    /// The server must not start.
    Error,
    /// The server starts and logs it.
    Warning,
}

/// Which part of the rules a [`Problem`] is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// The `authorization` block.
    Authorization,
    /// The user at this place of [`AuthRules::users`].
    User(usize),
    /// The option `no_auth_user`.
    NoAuthUser,
}

/// All problems of the rules.
#[must_use]
pub fn problems(rules: &AuthRules) -> Vec<Problem> {
    let mut found = Found(Vec::new());
    authorization(rules, &mut found);
    duplicates(rules, &mut found);
    for (place, user) in rules.users.iter().enumerate() {
        self::user(rules, place, user, &mut found);
    }
    distinguished_names(rules, &mut found);
    no_auth_user(rules, &mut found);
    plain_passwords(rules, &mut found);
    found.0
}

struct Found(Vec<Problem>);

impl Found {
    fn error(&mut self, place: Place, text: impl Into<String>) {
        self.0.push(Problem {
            severity: Severity::Error,
            place,
            text: text.into(),
        });
    }

    fn warning(&mut self, place: Place, text: impl Into<String>) {
        self.0.push(Problem {
            severity: Severity::Warning,
            place,
            text: text.into(),
        });
    }
}

/// The mixes of single user, token and users that exclude each other, and the blocks that demand nothing.
fn authorization(rules: &AuthRules, found: &mut Found) {
    let mut error = |text: &str| found.error(Place::Authorization, text);
    let single = rules.user.is_some() || rules.password.is_some();
    if single && rules.token.is_some() {
        error("Cannot have a user/pass and token");
    }
    let others = match (rules.users_list, rules.users.is_empty()) {
        (true, _) => Some("a users array"),
        (false, false) => Some("accounts"),
        (false, true) => None,
    };
    if let Some(others) = others {
        if rules.user.is_some() {
            error(&format!("Can not have a single user/pass and {others}"));
        }
        if rules.token.is_some() {
            error(&format!("Can not have a token and {others}"));
        }
    }
    if rules.users_list && rules.users.is_empty() {
        error("the users array is empty, which would let everybody in without a login");
    }
    if rules.user.as_deref() == Some("") {
        error("the user is empty, which would let everybody in without a login");
    }
    if rules.user.is_none() && rules.password.is_some() {
        error("a password without a user would let everybody in without a login");
    }
    if rules.token.as_ref().is_some_and(Secret::is_empty) {
        error("the token is empty, which would let everybody in without a login");
    }
    if rules.user.is_some() && rules.default_permissions.is_some() {
        error("permissions do not apply to a single user; put the user into a users array");
    }
    for secret in rules.password.iter().chain(&rules.token) {
        bcrypt(
            Place::Authorization,
            "the authorization block",
            secret,
            found,
        );
    }
}

fn duplicates(rules: &AuthRules, found: &mut Found) {
    let mut names = HashSet::new();
    for (place, user) in rules.users.iter().enumerate() {
        let (kind, name) = match &user.identity {
            UserIdentity::Password { name, .. } => ("user", name),
            UserIdentity::Nkey(nkey) => ("nkey", nkey),
        };
        if !names.insert(name) {
            found.error(
                Place::User(place),
                format!("Duplicate {kind} {name:?} detected"),
            );
        }
    }
}

fn user(rules: &AuthRules, place: usize, user: &UserRules, found: &mut Found) {
    let place = Place::User(place);
    let shown = match &user.identity {
        UserIdentity::Nkey(nkey) => {
            if user_key(nkey).is_none() {
                found.error(place, "Not a valid public nkey for a user");
            }
            format!("nkey {nkey:?}")
        }
        UserIdentity::Password { name, password } => {
            if name.is_empty() {
                found.error(place, "User entry requires a user");
            }
            let shown = format!("user {name:?}");
            bcrypt(place, &shown, password, found);
            if password.is_empty() && rules.certificate_listeners.is_empty() {
                let text = format!("{shown} has no password, so that anybody can log in as it");
                found.warning(place, text);
            }
            shown
        }
    };
    for direction in empty_lists(effective_permissions(rules, user)) {
        let text = format!(
            "invalid permissions for {shown}: the empty list of subjects to {direction} to would allow all; leave it out or deny \">\""
        );
        found.error(place, text);
    }
    if let Some(Err(errors)) = effective_permissions(rules, user).map(Permissions::compile) {
        for error in errors {
            found.error(place, format!("invalid permissions for {shown}: {error}"));
        }
    }
}

/// The directions in which an empty list of allowed subjects allows all with nats-server. Not for publishing where
/// responses are allowed: there it means that nothing else is.
fn empty_lists(permissions: Option<&PermissionRules>) -> impl Iterator<Item = &'static str> {
    let is_empty = |rules: Option<&SubjectRules>| {
        rules
            .and_then(|rules| rules.allow.as_ref())
            .is_some_and(Vec::is_empty)
    };
    let publish = permissions.filter(|permissions| permissions.responses.is_none());
    let publish = is_empty(publish.and_then(|permissions| permissions.publish.as_ref()));
    let subscribe = is_empty(permissions.and_then(|permissions| permissions.subscribe.as_ref()));
    [(publish, "publish"), (subscribe, "subscribe")]
        .into_iter()
        .filter_map(|(empty, direction)| empty.then_some(direction))
}

fn bcrypt(place: Place, shown: &str, secret: &Secret, found: &mut Found) {
    let text = secret.expose();
    if !is_bcrypt(text) {
        return;
    }
    if !is_usable_bcrypt(text) {
        let text = format!(
            "the password of {shown} starts as a bcrypt hash and is none: nothing will match"
        );
        found.warning(place, text);
    } else if bcrypt_cost(text) > HIGH_BCRYPT_COST {
        let cost = bcrypt_cost(text);
        let text =
            format!("the bcrypt hash of {shown} has cost {cost}: each login takes many seconds");
        found.warning(place, text);
    }
}

/// Two users with the same distinguished name: a certificate could not tell which of them it is.
fn distinguished_names(rules: &AuthRules, found: &mut Found) {
    if rules.certificate_listeners.is_empty() {
        return;
    }
    let mut names: Vec<(DistinguishedName, &str)> = Vec::new();
    for (place, user) in rules.users.iter().enumerate() {
        let UserIdentity::Password { name, .. } = &user.identity else {
            continue;
        };
        let Some(distinguished) = DistinguishedName::parse(name) else {
            continue;
        };
        // The same text is a duplicate user already.
        let same = names
            .iter()
            .find(|(other, text)| other.equals(&distinguished) && text != name);
        if let Some((_, other)) = same {
            let text = format!("users {other:?} and {name:?} are the same distinguished name");
            found.error(Place::User(place), text);
        }
        names.push((distinguished, name));
    }
}

fn no_auth_user(rules: &AuthRules, found: &mut Found) {
    let Some(wanted) = &rules.no_auth_user else {
        return;
    };
    if rules.users.is_empty() {
        let text = format!("no_auth_user: {wanted:?} present, but users/nkeys are not defined");
        return found.error(Place::NoAuthUser, text);
    }
    let user = rules.users.iter().find(|user| match &user.identity {
        UserIdentity::Password { name, .. } => name == wanted,
        UserIdentity::Nkey(nkey) => nkey == wanted,
    });
    let Some(user) = user else {
        let text = format!(
            "no_auth_user: {wanted:?} not present as user or nkey in authorization block or account configuration"
        );
        return found.error(Place::NoAuthUser, text);
    };
    let system = rules.system_account.as_deref().unwrap_or(SYSTEM_ACCOUNT);
    if user.account.as_deref() == Some(system) {
        let text = format!(
            "no_auth_user: {wanted:?} belongs to the system account: whoever connects would rule the server"
        );
        found.error(Place::NoAuthUser, text);
    }
    if let UserIdentity::Password { password, .. } = &user.identity
        && is_bcrypt(password.expose())
    {
        let text = format!(
            "no_auth_user: {wanted:?} has a bcrypt password, so that nobody without credentials is let in"
        );
        found.warning(Place::NoAuthUser, text);
    }
}

fn plain_passwords(rules: &AuthRules, found: &mut Found) {
    let plain = |secret: &Secret| !secret.is_empty() && !is_bcrypt(secret.expose());
    let plain_user = rules.users.iter().any(|user| match &user.identity {
        UserIdentity::Password { password, .. } => plain(password),
        UserIdentity::Nkey(_) => false,
    });
    if plain_user || rules.password.as_ref().is_some_and(plain) {
        let text = "Plaintext passwords detected, use nkeys or bcrypt";
        found.warning(Place::Authorization, text);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::ResponseRules;
    use crate::auth::rules::{AccountRules, ConnectionType};

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

    fn nkey(text: &str) -> UserRules {
        UserRules {
            identity: UserIdentity::Nkey(text.into()),
            ..user("", "")
        }
    }

    fn list(users: Vec<UserRules>) -> AuthRules {
        AuthRules {
            authorization_block: true,
            users_list: true,
            users,
            ..AuthRules::default()
        }
    }

    fn texts(severity: Severity, rules: &AuthRules) -> Vec<String> {
        let wanted = problems(rules)
            .into_iter()
            .filter(|problem| problem.severity == severity);
        wanted.map(|problem| problem.text).collect()
    }

    fn errors(rules: &AuthRules) -> Vec<String> {
        texts(Severity::Error, rules)
    }

    fn secret(text: &str) -> Option<Secret> {
        Some(Secret::new(text))
    }

    #[test]
    fn mixes_are_refused() {
        let single = AuthRules {
            user: Some("a".into()),
            password: secret("b"),
            ..AuthRules::default()
        };
        assert!(errors(&single).is_empty());
        let both = AuthRules {
            token: secret("t"),
            ..single.clone()
        };
        assert_eq!(errors(&both), ["Cannot have a user/pass and token"]);
        let listed = AuthRules {
            users_list: true,
            users: vec![user("b", "c")],
            ..single.clone()
        };
        assert_eq!(
            errors(&listed),
            ["Can not have a single user/pass and a users array"]
        );
        let accounts = AuthRules {
            users: vec![user("b", "c")],
            ..single
        };
        assert_eq!(
            errors(&accounts),
            ["Can not have a single user/pass and accounts"]
        );
        let token = AuthRules {
            token: secret("t"),
            ..list(vec![user("b", "c")])
        };
        assert_eq!(errors(&token), ["Can not have a token and a users array"]);
        let token = AuthRules {
            users_list: false,
            ..token
        };
        assert_eq!(errors(&token), ["Can not have a token and accounts"]);
    }

    /// The class of CVE-2023-47090: what looks closed and is open.
    #[test]
    fn open_doors_are_refused() {
        let open = [
            list(Vec::new()),
            AuthRules {
                password: secret("x"),
                ..AuthRules::default()
            },
            AuthRules {
                token: secret(""),
                ..AuthRules::default()
            },
            AuthRules {
                user: Some(String::new()),
                password: secret("x"),
                ..AuthRules::default()
            },
        ];
        for rules in open {
            let errors = errors(&rules);
            assert_eq!(errors.len(), 1, "{errors:?}");
            assert!(errors[0].contains("would let everybody in"), "{errors:?}");
        }
        let without_effect = AuthRules {
            user: Some("a".into()),
            default_permissions: Some(PermissionRules::default()),
            ..AuthRules::default()
        };
        assert!(errors(&without_effect)[0].starts_with("permissions do not apply"));
    }

    #[test]
    fn all_problems_of_users_are_found_at_once() {
        let key = nkeys::KeyPair::new_user().public_key();
        let bad = SubjectRules {
            allow: Some(vec!["a..b".into()]),
            deny: Vec::new(),
        };
        let bad = PermissionRules {
            publish: Some(bad),
            ..PermissionRules::default()
        };
        let rules = AuthRules {
            accounts: vec![AccountRules {
                name: "A".into(),
                default_permissions: Some(bad),
            }],
            ..list(vec![
                user("a", "x"),
                user("a", "y"),
                nkey("UABC"),
                nkey(&key),
                nkey(&key),
                user("", "z"),
                UserRules {
                    account: Some("A".into()),
                    ..user("c", "x")
                },
            ])
        };
        let found: Vec<(Place, String)> = problems(&rules)
            .into_iter()
            .filter(|problem| problem.severity == Severity::Error)
            .map(|problem| (problem.place, problem.text))
            .collect();
        let expected = [
            (Place::User(1), "Duplicate user \"a\" detected".to_owned()),
            (Place::User(4), format!("Duplicate nkey {key:?} detected")),
            (Place::User(2), "Not a valid public nkey for a user".to_owned()),
            (Place::User(5), "User entry requires a user".to_owned()),
            (
                Place::User(6),
                "invalid permissions for user \"c\": publish allow: subject \"a..b\" is not a valid subject"
                    .to_owned(),
            ),
        ];
        assert_eq!(found, expected);
    }

    #[test]
    fn an_empty_list_of_subjects_is_no_list() {
        let empty = || {
            Some(SubjectRules {
                allow: Some(Vec::new()),
                deny: Vec::new(),
            })
        };
        let with = |permissions| {
            let user = UserRules {
                permissions: Some(permissions),
                ..user("a", "x")
            };
            errors(&list(vec![user]))
        };
        let both = PermissionRules {
            publish: empty(),
            subscribe: empty(),
            responses: None,
        };
        assert_eq!(with(both.clone()).len(), 2);
        let responses = Some(ResponseRules::default());
        assert_eq!(with(PermissionRules { responses, ..both }).len(), 1);
        let none = PermissionRules {
            responses,
            publish: empty(),
            ..PermissionRules::default()
        };
        assert!(with(none).is_empty());
    }

    #[test]
    fn the_same_distinguished_name_twice() {
        let rules = list(vec![
            user("CN=a,O=b", ""),
            user("cn=a, o=b", ""),
            user("O=b,CN=a", ""),
        ]);
        assert!(errors(&rules).is_empty());
        let rules = AuthRules {
            certificate_listeners: vec![ConnectionType::Standard],
            ..rules
        };
        let expected = "users \"CN=a,O=b\" and \"cn=a, o=b\" are the same distinguished name";
        assert_eq!(errors(&rules), [expected]);
    }

    #[test]
    fn no_auth_user_must_exist() {
        let with = |users| AuthRules {
            no_auth_user: Some("zz".into()),
            ..list(users)
        };
        let undefined = AuthRules {
            users_list: false,
            ..with(Vec::new())
        };
        let expected = "no_auth_user: \"zz\" present, but users/nkeys are not defined";
        assert_eq!(errors(&undefined), [expected]);
        let expected = "no_auth_user: \"zz\" not present as user or nkey in authorization block or account configuration";
        assert_eq!(errors(&with(vec![user("a", "b")])), [expected]);
        assert!(errors(&with(vec![user("zz", "b")])).is_empty());
    }

    #[test]
    fn warnings_name_what_is_weak() {
        let hash = "$2a$06$If6bvum7DFjUnE9p2uDeDu0YHzrHM6tf.iqN8.yx.jNN1ILEf7h0i";
        let warnings = |users| texts(Severity::Warning, &list(users));
        assert!(warnings(vec![user("a", hash)]).is_empty());
        let plain = "Plaintext passwords detected, use nkeys or bcrypt";
        assert_eq!(warnings(vec![user("a", "x"), user("b", "y")]), [plain]);
        assert!(warnings(vec![user("a", "")])[0].contains("anybody can log in as it"));
        assert!(warnings(vec![user("a", "$2a$10$short")])[0].contains("starts as a bcrypt hash"));
        assert!(warnings(vec![user("a", &hash.replace("$06$", "$20$"))])[0].contains("cost 20"));
        let rules = AuthRules {
            no_auth_user: Some("a".into()),
            ..list(vec![user("a", hash)])
        };
        assert!(texts(Severity::Warning, &rules)[0].contains("has a bcrypt password"));
    }
}
