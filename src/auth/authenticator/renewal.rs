//! Logins under rules that have changed.

use std::sync::Arc;

use super::super::login::{ConnectionFacts, Credentials, Login, Proof, Rejection, Renewal};
use super::super::password::StoredPassword;
use super::{Authenticator, NoAuth, Single};

impl Authenticator {
    /// Judges somebody anew who was let in under other rules, made by [`with_rules`](Self::with_rules) into these.
    /// No secret is needed for it: a password still counts if the configured one is the same text.
    pub fn renew(&self, login: &Login, facts: &ConnectionFacts<'_>) -> Renewal {
        let renewed = match (&login.proof, &login.user) {
            (Proof::Token(token), _) => self.renew_token(token),
            (Proof::Password(password), Some(name)) => self.renew_password(name, password, facts),
            (Proof::Nkey, Some(name)) => self.renew_nkey(name, facts),
            (Proof::Nothing | Proof::Password(_) | Proof::Nkey, _) => self.renew_nothing(facts),
        };
        match renewed {
            // nats-server closes those whose user is gone as it closes those that move: without an error.
            Err(Rejection::UnknownUser | Rejection::UnknownNkey) => Renewal::Moved,
            Err(rejection) => Renewal::Refuse(rejection),
            Ok(renewed) if renewed.account != login.account => Renewal::Moved,
            Ok(renewed) => Renewal::Keep(renewed),
        }
    }

    fn renew_token(&self, token: &StoredPassword) -> Result<Login, Rejection> {
        match &self.single {
            Some(Single::Token(known)) if known == token => {
                Ok(self.anybody(Proof::Token(token.clone())))
            }
            _ if !self.is_required() => Ok(self.anybody(Proof::Nothing)),
            Some(Single::Token(_)) => Err(Rejection::WrongToken),
            Some(Single::User(..)) | None => Err(Rejection::NoCredentials),
        }
    }

    fn renew_password(
        &self,
        name: &Arc<str>,
        password: &StoredPassword,
        facts: &ConnectionFacts<'_>,
    ) -> Result<Login, Rejection> {
        if let Some(Single::User(known, stored)) = &self.single
            && known == name
        {
            return if stored == password {
                Ok(self.single_login(name, stored))
            } else {
                Err(Rejection::WrongPassword)
            };
        }
        let user = if facts.map_certificate && !self.users.is_empty() {
            self.user_of_certificate(facts)?
        } else {
            self.users.get(&**name).ok_or(Rejection::UnknownUser)?
        };
        if user.member.name != *name || user.password != *password {
            return Err(Rejection::WrongPassword);
        }
        if !user.member.may_connect_by(facts.connection_type) {
            return Err(Rejection::ConnectionType);
        }
        if !facts.map_certificate && self.needs_certificate(user) {
            return Err(Rejection::CertificateOnly);
        }
        if !facts.map_certificate && self.needs_unix_socket(user) {
            return Err(Rejection::UnixSocketOnly);
        }
        Ok(user.login())
    }

    fn renew_nkey(&self, name: &str, facts: &ConnectionFacts<'_>) -> Result<Login, Rejection> {
        let (member, _) = self.nkeys.get(name).ok_or(Rejection::UnknownNkey)?;
        if !member.may_connect_by(facts.connection_type) {
            return Err(Rejection::ConnectionType);
        }
        Ok(member.login(Proof::Nkey))
    }

    fn renew_nothing(&self, facts: &ConnectionFacts<'_>) -> Result<Login, Rejection> {
        let nothing = Credentials::default();
        if !self.is_required() {
            return Ok(self.anybody(Proof::Nothing));
        }
        if let Some(member) = self.unix_member(facts) {
            return Ok(member.login(Proof::Nothing));
        }
        if facts.map_certificate && !self.users.is_empty() {
            let user = self.user_of_certificate(facts)?;
            return if user.has_password {
                Err(Rejection::WrongPassword)
            } else {
                Ok(user.login())
            };
        }
        match &self.no_auth {
            NoAuth::GlobalAccount => Ok(self.anybody(Proof::Nothing)),
            NoAuth::Refused => Err(Rejection::NoCredentials),
            NoAuth::User(name) if self.presented_nkey(&nothing).is_some() => {
                let (member, _) = self.nkeys.get(name).ok_or(Rejection::UnknownNkey)?;
                if member.may_connect_by(facts.connection_type) {
                    Ok(member.login(Proof::Nothing))
                } else {
                    Err(Rejection::ConnectionType)
                }
            }
            NoAuth::User(name) => self.without_credentials(name, facts),
        }
    }
}
