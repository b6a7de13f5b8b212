//! Decides who a connection is.
//!
//! The order in which credentials count is nats-server's: an nkey; else a user, whom the certificate names where
//! the listener maps certificates, and CONNECT elsewhere; else the single token or user of the configuration.
//!
//! What a refused peer learns is that it was refused. As soon as one user has a bcrypt hash, every refused name and
//! password costs one bcrypt computation, so that time does not tell which names exist; otherwise it costs one
//! digest of the password.

mod renewal;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::hint::black_box;
use std::sync::Arc;
use std::time::Instant;

use nkeys::KeyPair;

use super::certificate::{Candidate, CertificateNames};
use super::distinguished_name::DistinguishedName;
use super::login::{ConnectionFacts, Credentials, Decision, Login, Proof, Rejection};
use super::password::{PasswordKey, StoredPassword, Verified, bcrypt_matches};
use super::permissions::{PermissionRules, Permissions};
use super::problems::{Problem, Severity, problems};
use super::rules::{AuthRules, ConnectionType, GLOBAL_ACCOUNT, UserIdentity, UserRules};
use super::signature;

/// Knows who may connect. Made anew when the configuration changes; shared by all connections.
#[derive(Debug)]
pub struct Authenticator {
    key: PasswordKey,
    verified: Verified,
    users: HashMap<Box<str>, Arc<User>>,
    /// The users whose names are distinguished names, in the configuration's order.
    named_by_certificate: Vec<(DistinguishedName, Arc<User>)>,
    nkeys: HashMap<Box<str>, (Member, KeyPair)>,
    /// The single user or token of the configuration.
    single: Option<Single>,
    no_auth: NoAuth,
    /// Names or nkeys of the machine's users.
    unix_users: HashMap<u32, Box<str>>,
    /// The connection types whose listeners map certificates.
    certificate_listeners: Vec<ConnectionType>,
    /// The bcrypt hashes of all users, for refusals that must take as long as a check.
    hashes: Vec<Arc<str>>,
    global_account: Arc<str>,
}

#[derive(Debug)]
struct Member {
    name: Arc<str>,
    account: Arc<str>,
    permissions: Option<Arc<Permissions>>,
    allowed_connection_types: Vec<ConnectionType>,
}

#[derive(Debug)]
struct User {
    member: Member,
    password: StoredPassword,
    has_password: bool,
}

#[derive(Debug)]
enum Single {
    User(Arc<str>, StoredPassword),
    Token(StoredPassword),
}

/// Who those are that present no credentials.
#[derive(Clone, Debug, PartialEq, Eq)]
enum NoAuth {
    Refused,
    /// This user or nkey.
    User(Box<str>),
    /// Nobody in particular, in the global account: the system account is the only one configured and nothing
    /// else asks for a login. INFO says all the same that one is required.
    GlobalAccount,
}

impl Authenticator {
    /// Prepares the rules for decisions. `random` must be new and secret; it keys all digests of passwords.
    ///
    /// # Errors
    /// All problems that forbid the configuration, see [`problems`].
    pub fn new(rules: &AuthRules, random: &[u8; 32]) -> Result<Arc<Self>, Vec<Problem>> {
        Self::with_key(rules, PasswordKey::new(random))
    }

    /// Prepares other rules, such that logins under these ones can be [renewed](Self::renew) under those.
    ///
    /// # Errors
    /// As [`new`](Self::new).
    pub fn with_rules(&self, rules: &AuthRules) -> Result<Arc<Self>, Vec<Problem>> {
        Self::with_key(rules, self.key.clone())
    }

    fn with_key(rules: &AuthRules, key: PasswordKey) -> Result<Arc<Self>, Vec<Problem>> {
        let errors: Vec<Problem> = problems(rules)
            .into_iter()
            .filter(|problem| problem.severity == Severity::Error)
            .collect();
        if !errors.is_empty() {
            return Err(errors);
        }
        let mut this = Self::empty(rules, key);
        let accounts: HashMap<&str, Arc<str>> = rules
            .accounts
            .iter()
            .map(|account| (account.name.as_str(), account.name.as_str().into()))
            .collect();
        for user in &rules.users {
            let account = match user.account.as_deref() {
                Some(name) => accounts.get(name).cloned().unwrap_or_else(|| name.into()),
                None => Arc::clone(&this.global_account),
            };
            this.add(rules, user, account);
        }
        Ok(Arc::new(this))
    }

    /// Whether clients are asked to log in, so that somebody may be refused.
    #[must_use]
    pub fn is_required(&self) -> bool {
        !self.users.is_empty()
            || !self.nkeys.is_empty()
            || self.single.is_some()
            || self.no_auth == NoAuth::GlobalAccount
    }

    /// The value of `auth_required` in INFO.
    #[must_use]
    pub fn info_auth_required(&self) -> bool {
        self.is_required() && !matches!(self.no_auth, NoAuth::User(_))
    }

    /// Whether the machine's user of this number needs no credentials over the Unix socket.
    #[must_use]
    pub fn knows_unix_user(&self, number: Option<u32>) -> bool {
        number.is_some_and(|number| self.unix_users.contains_key(&number))
    }

    /// Whether INFO must hold a nonce, because somebody may have to sign it.
    #[must_use]
    pub fn info_nonce_required(&self) -> bool {
        !self.nkeys.is_empty()
    }

    /// Whether a connection of this type may send something else before CONNECT. It is then to be authenticated
    /// with empty credentials, as if it had sent an empty CONNECT, before anything is done for it.
    #[must_use]
    pub fn may_skip_connect(&self, connection_type: ConnectionType) -> bool {
        match &self.no_auth {
            NoAuth::Refused => !self.is_required(),
            NoAuth::User(name) => self
                .users
                .get(name)
                .is_some_and(|user| user.member.may_connect_by(connection_type)),
            NoAuth::GlobalAccount => true,
        }
    }

    /// Decides who a connection is.
    pub fn authenticate(
        self: &Arc<Self>,
        credentials: &Credentials<'_>,
        facts: &ConnectionFacts<'_>,
        now: Instant,
    ) -> Decision {
        if !self.is_required() {
            return Decision::Accept(self.anybody(Proof::Nothing));
        }
        if credentials.names_nobody()
            && credentials.nkey.is_empty()
            && let Some(member) = self.unix_member(facts)
        {
            return Decision::Accept(member.login(Proof::Nothing));
        }
        if !self.nkeys.is_empty()
            && let Some(nkey) = self.presented_nkey(credentials)
        {
            return self.check_nkey(nkey, credentials, facts);
        }
        if self.users.is_empty() && self.no_auth != NoAuth::GlobalAccount {
            return self.check_single(credentials, now);
        }
        if facts.map_certificate && !self.users.is_empty() {
            return match self.user_of_certificate(facts) {
                Ok(user) => self.check_password(user, credentials.password, now),
                Err(rejection) => Decision::Reject(rejection),
            };
        }
        if !credentials.user.is_empty() {
            return self.check_user(credentials, facts, now);
        }
        match &self.no_auth {
            NoAuth::GlobalAccount if credentials.names_nobody() => {
                Decision::Accept(self.anybody(Proof::Nothing))
            }
            NoAuth::User(name) if credentials.names_nobody() => {
                decided(self.without_credentials(name, facts))
            }
            NoAuth::Refused | NoAuth::User(_) | NoAuth::GlobalAccount => {
                Decision::Reject(Rejection::NoCredentials)
            }
        }
    }

    fn empty(rules: &AuthRules, key: PasswordKey) -> Self {
        let single = match (&rules.user, &rules.token) {
            (Some(name), _) => {
                let password = rules.password.clone().unwrap_or_default();
                Some(Single::User(name.as_str().into(), key.store(&password)))
            }
            (None, Some(token)) => Some(Single::Token(key.store(token))),
            (None, None) => None,
        };
        let hashes = single.iter().filter_map(|single| match single {
            Single::User(_, StoredPassword::Bcrypt(hash)) => Some(Arc::clone(hash)),
            Single::User(_, StoredPassword::Plain(_)) | Single::Token(_) => None,
        });
        Self {
            hashes: hashes.collect(),
            key,
            verified: Verified::default(),
            users: HashMap::new(),
            named_by_certificate: Vec::new(),
            nkeys: HashMap::new(),
            single,
            no_auth: no_auth(rules),
            unix_users: (rules.unix_users.iter())
                .map(|(number, name)| (*number, name.as_str().into()))
                .collect(),
            certificate_listeners: rules.certificate_listeners.clone(),
            global_account: GLOBAL_ACCOUNT.into(),
        }
    }

    fn add(&mut self, rules: &AuthRules, user: &UserRules, account: Arc<str>) {
        let permissions = effective_permissions(rules, user)
            .and_then(|rules| Permissions::compile(rules).ok())
            .map(Arc::new);
        let member = |name: &str| Member {
            name: name.into(),
            account,
            permissions,
            allowed_connection_types: user.allowed_connection_types.clone(),
        };
        match &user.identity {
            UserIdentity::Nkey(name) => {
                if let Some(key) = signature::user_key(name) {
                    self.nkeys.insert(name.as_str().into(), (member(name), key));
                }
            }
            UserIdentity::Password { name, password } => {
                let has_password = !password.is_empty();
                let password = self.key.store(password);
                if let StoredPassword::Bcrypt(hash) = &password {
                    self.hashes.push(Arc::clone(hash));
                }
                let user = Arc::new(User {
                    member: member(name),
                    password,
                    has_password,
                });
                if let Some(distinguished) = DistinguishedName::parse(name) {
                    self.named_by_certificate
                        .push((distinguished, Arc::clone(&user)));
                }
                self.users.insert(name.as_str().into(), user);
            }
        }
    }

    /// The nkey that CONNECT names, or the one of those who name nobody.
    fn presented_nkey<'a>(&'a self, credentials: &Credentials<'a>) -> Option<&'a str> {
        if !credentials.nkey.is_empty() {
            return Some(credentials.nkey);
        }
        let NoAuth::User(name) = &self.no_auth else {
            return None;
        };
        (credentials.names_nobody() && self.nkeys.contains_key(name)).then_some(name)
    }

    fn check_nkey(
        &self,
        nkey: &str,
        credentials: &Credentials<'_>,
        facts: &ConnectionFacts<'_>,
    ) -> Decision {
        let Some((member, key)) = self.nkeys.get(nkey) else {
            return Decision::Reject(Rejection::UnknownNkey);
        };
        if !member.may_connect_by(facts.connection_type) {
            return Decision::Reject(Rejection::ConnectionType);
        }
        let needs_no_proof = matches!(&self.no_auth, NoAuth::User(name) if **name == *nkey);
        if !needs_no_proof
            && let Err(error) = signature::verify(key, facts.nonce, credentials.signature)
        {
            return Decision::Reject(error.into());
        }
        let guest = credentials.nkey.is_empty() || needs_no_proof;
        let proof = if guest { Proof::Nothing } else { Proof::Nkey };
        Decision::Accept(member.login(proof))
    }

    fn check_user(
        self: &Arc<Self>,
        credentials: &Credentials<'_>,
        facts: &ConnectionFacts<'_>,
        now: Instant,
    ) -> Decision {
        let Credentials { user, password, .. } = *credentials;
        let refuse = |rejection| self.refuse_unseen(user, password, rejection);
        let Some(user) = self.users.get(user) else {
            return refuse(Rejection::UnknownUser);
        };
        if !user.member.may_connect_by(facts.connection_type) {
            return refuse(Rejection::ConnectionType);
        }
        if self.needs_certificate(user) {
            return refuse(Rejection::CertificateOnly);
        }
        if self.needs_unix_socket(user) {
            return refuse(Rejection::UnixSocketOnly);
        }
        self.check_password(user, password, now)
    }

    fn check_password(
        self: &Arc<Self>,
        user: &Arc<User>,
        presented: &str,
        now: Instant,
    ) -> Decision {
        let login = || user.login();
        let name = &user.member.name;
        self.compare(
            &user.password,
            name,
            presented,
            now,
            login,
            Rejection::WrongPassword,
        )
    }

    fn check_single(self: &Arc<Self>, credentials: &Credentials<'_>, now: Instant) -> Decision {
        let Credentials {
            user,
            password,
            token,
            ..
        } = *credentials;
        match &self.single {
            None => Decision::Reject(Rejection::NoCredentials),
            Some(Single::Token(stored)) => {
                let login = || self.anybody(Proof::Token(stored.clone()));
                self.compare(stored, "", token, now, login, Rejection::WrongToken)
            }
            Some(Single::User(name, _)) if **name != *user => {
                self.refuse_unseen(user, password, Rejection::UnknownUser)
            }
            Some(Single::User(name, stored)) => {
                let login = || self.single_login(name, stored);
                self.compare(stored, name, password, now, login, Rejection::WrongPassword)
            }
        }
    }

    /// Compares a presented secret with a stored one, at once if possible.
    fn compare(
        self: &Arc<Self>,
        stored: &StoredPassword,
        name: &str,
        presented: &str,
        now: Instant,
        login: impl FnOnce() -> Login,
        rejection: Rejection,
    ) -> Decision {
        match stored {
            StoredPassword::Plain(digest) if self.key.matches(digest, presented) => {
                Decision::Accept(login())
            }
            StoredPassword::Plain(_) => self.refuse(name, presented, rejection),
            StoredPassword::Bcrypt(hash) => {
                if self.verified.knows(&self.key, hash, presented, now) {
                    return Decision::Accept(login());
                }
                Decision::NeedsBlocking(PasswordCheck {
                    authenticator: Arc::clone(self),
                    hash: Arc::clone(hash),
                    presented: presented.into(),
                    if_right: Some(login()),
                    if_wrong: rejection,
                })
            }
        }
    }

    /// Refuses a name and password that have not been compared with anything, in the time that it would have taken.
    fn refuse_unseen(
        self: &Arc<Self>,
        name: &str,
        presented: &str,
        rejection: Rejection,
    ) -> Decision {
        black_box(self.key.matches(&[0; 32], presented));
        self.refuse(name, presented, rejection)
    }

    /// Refuses a name and password in the time that a bcrypt check takes, if there are any. A name that does not
    /// exist always costs the same, drawn from what real names cost.
    fn refuse(self: &Arc<Self>, name: &str, presented: &str, rejection: Rejection) -> Decision {
        let count = u64::try_from(self.hashes.len()).unwrap_or(u64::MAX);
        let drawn = self.key.scatter(name).checked_rem(count);
        let place = drawn.and_then(|place| usize::try_from(place).ok());
        match place.and_then(|place| self.hashes.get(place)) {
            None => Decision::Reject(rejection),
            Some(hash) => Decision::NeedsBlocking(PasswordCheck {
                authenticator: Arc::clone(self),
                hash: Arc::clone(hash),
                presented: presented.into(),
                if_right: None,
                if_wrong: rejection,
            }),
        }
    }

    /// Lets the user of those without credentials in. With a bcrypt hash nobody is let in, because its password
    /// was not presented.
    fn without_credentials(
        &self,
        name: &str,
        facts: &ConnectionFacts<'_>,
    ) -> Result<Login, Rejection> {
        let user = self.users.get(name).ok_or(Rejection::NoCredentials)?;
        if !user.member.may_connect_by(facts.connection_type) {
            return Err(Rejection::ConnectionType);
        }
        match user.password {
            StoredPassword::Plain(_) => Ok(user.member.login(Proof::Nothing)),
            StoredPassword::Bcrypt(_) => Err(Rejection::WrongPassword),
        }
    }

    fn user_of_certificate(&self, facts: &ConnectionFacts<'_>) -> Result<&Arc<User>, Rejection> {
        let names = facts.certificate.and_then(CertificateNames::read);
        let names = names.ok_or(Rejection::NoCertificate)?;
        let may_connect = |user: &&Arc<User>| user.member.may_connect_by(facts.connection_type);
        names
            .candidates()
            .find_map(|candidate| match candidate {
                Candidate::Text(text) => self.users.get(text).filter(may_connect),
                Candidate::Name(name) => self.user_of_name(name, may_connect),
            })
            .ok_or(Rejection::UnknownCertificate)
    }

    /// The user with this very distinguished name, or else one with its parts in another order.
    fn user_of_name(
        &self,
        name: &DistinguishedName,
        may_connect: impl Fn(&&Arc<User>) -> bool,
    ) -> Option<&Arc<User>> {
        let users = || {
            self.named_by_certificate
                .iter()
                .filter(|(_, user)| may_connect(&user))
        };
        let exact = users().find(|(other, _)| other.equals(name));
        exact
            .or_else(|| users().find(|(other, _)| other.equals_reordered(name)))
            .map(|(_, user)| user)
    }

    /// Whether a user without a password is one of certificates on some listener, and so must not log in by name
    /// alone: two empty passwords would be equal.
    fn needs_certificate(&self, user: &User) -> bool {
        let is_guest = matches!(&self.no_auth, NoAuth::User(name) if **name == *user.member.name);
        let may = |listener: &ConnectionType| user.member.may_connect_by(*listener);
        !user.has_password && !is_guest && self.certificate_listeners.iter().any(may)
    }

    /// Whether a user without a password is one of the machine's users, and so must not log in by name alone.
    fn needs_unix_socket(&self, user: &User) -> bool {
        let is_guest = matches!(&self.no_auth, NoAuth::User(name) if **name == *user.member.name);
        let mut names = self.unix_users.values();
        !user.has_password && !is_guest && names.any(|name| **name == *user.member.name)
    }

    /// Who the machine's user at the other end is without credentials, if anybody.
    fn unix_member(&self, facts: &ConnectionFacts<'_>) -> Option<&Member> {
        let name = self.unix_users.get(&facts.unix_user?)?;
        let user = self.users.get(name).map(|user| &user.member);
        let nkey = || self.nkeys.get(name).map(|(member, _)| member);
        let member = user.or_else(nkey);
        member.filter(|member| member.may_connect_by(facts.connection_type))
    }

    fn single_login(&self, name: &Arc<str>, stored: &StoredPassword) -> Login {
        let user = Some(Arc::clone(name));
        Login {
            user,
            ..self.anybody(Proof::Password(stored.clone()))
        }
    }

    fn anybody(&self, proof: Proof) -> Login {
        let account = Arc::clone(&self.global_account);
        Login {
            user: None,
            account,
            permissions: None,
            proof,
        }
    }
}

fn decided(outcome: Result<Login, Rejection>) -> Decision {
    outcome.map_or_else(Decision::Reject, Decision::Accept)
}

impl User {
    fn login(&self) -> Login {
        self.member.login(Proof::Password(self.password.clone()))
    }
}

impl Member {
    fn may_connect_by(&self, connection_type: ConnectionType) -> bool {
        let allowed = &self.allowed_connection_types;
        allowed.is_empty() || allowed.contains(&connection_type)
    }

    fn login(&self, proof: Proof) -> Login {
        Login {
            user: Some(Arc::clone(&self.name)),
            account: Arc::clone(&self.account),
            permissions: self.permissions.clone(),
            proof,
        }
    }
}

/// A decision that takes a bcrypt computation: tens of milliseconds and more.
#[derive(Debug)]
pub struct PasswordCheck {
    authenticator: Arc<Authenticator>,
    hash: Arc<str>,
    presented: Box<str>,
    /// Absent if the decision is made and only its time is at stake.
    if_right: Option<Login>,
    if_wrong: Rejection,
}

impl PasswordCheck {
    /// Decides. To be called where it may block, by few at a time: whoever reaches the server can ask for it.
    ///
    /// # Errors
    /// The rejection, if the password is not the right one.
    pub fn run(self, now: Instant) -> Result<Login, Rejection> {
        let matches = bcrypt_matches(&self.hash, &self.presented);
        let Some(login) = self.if_right.filter(|_| matches) else {
            return Err(self.if_wrong);
        };
        let Authenticator { key, verified, .. } = &*self.authenticator;
        verified.remember(key, &self.hash, &self.presented, now);
        Ok(login)
    }
}

/// The permissions of a user: the user's own, or else the default ones of the block it stands in.
pub(super) fn effective_permissions<'a>(
    rules: &'a AuthRules,
    user: &'a UserRules,
) -> Option<&'a PermissionRules> {
    let defaults = match &user.account {
        None => rules.default_permissions.as_ref(),
        Some(name) => {
            let account = rules.accounts.iter().find(|account| account.name == *name);
            account.and_then(|account| account.default_permissions.as_ref())
        }
    };
    user.permissions.as_ref().or(defaults)
}

/// Who those without credentials are. That everybody is let into the global account although the system account
/// has users holds only without any `authorization` block (CVE-2023-47090).
fn no_auth(rules: &AuthRules) -> NoAuth {
    if let Some(name) = &rules.no_auth_user {
        return NoAuth::User(name.as_str().into());
    }
    let only_system = match rules.accounts.as_slice() {
        [account] => rules.system_account.as_deref() == Some(account.name.as_str()),
        _ => false,
    };
    if only_system && !rules.authorization_block {
        NoAuth::GlobalAccount
    } else {
        NoAuth::Refused
    }
}
