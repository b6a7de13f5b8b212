//! Who a client is: CONNECT and what it decides.

use std::sync::Arc;
use std::time::Instant;

use super::{Client, Outcome, Stop};
use crate::auth::{ConnectionFacts, ConnectionType, Credentials, Decision, Login, Rejection};
use crate::broker::close::CloseReason;
use crate::broker::events::Event;
use crate::broker::peer::Facts;
use crate::broker::peer::portrait::Introduction;
use crate::conn::turn::Turn;
use crate::proto::error::ProtocolError;
use crate::proto::info::{ConnectOptions, PROTOCOL_ASYNC_INFO};

impl Client {
    pub(super) fn connect(&mut self, turn: &mut Turn<'_>, document: &[u8]) -> Outcome {
        if self.options.merge(document).is_err() {
            self.log_error("CONNECT is no JSON object with fields of the right types");
            return Err(Stop::Close(CloseReason::ProtocolViolation));
        }
        self.peer.note_activity(turn.now);
        if self.connected {
            // It may become somebody else, in another account.
            self.release_subscriptions(usize::MAX);
            self.peer.count_subscriptions(0, turn.now);
        }
        self.log_in(turn)
    }

    /// Something else than CONNECT came first, which is all right for those who need not log in.
    #[cold]
    pub(super) fn skip_connect(&mut self, turn: &mut Turn<'_>) -> Outcome {
        if !self
            .settings
            .authenticator
            .may_skip_connect(self.connection_type())
        {
            return Err(self.deny(turn, Rejection::NoCredentials));
        }
        let decision = self.decide(turn.now);
        self.awaits_connect = false;
        match decision {
            Decision::Accept(login) => self.bind(turn, &login),
            Decision::Reject(rejection) => Err(self.deny(turn, rejection)),
            Decision::NeedsBlocking(_) => Err(self.deny(turn, Rejection::NoCredentials)),
        }
    }

    fn log_in(&mut self, turn: &mut Turn<'_>) -> Outcome {
        match self.decide(turn.now) {
            Decision::Accept(login) => self.finish_login(turn, Ok(login)),
            Decision::Reject(rejection) => self.finish_login(turn, Err(rejection)),
            Decision::NeedsBlocking(check) => Err(Stop::Verify(Box::new(check))),
        }
    }

    /// Decides who it is by what CONNECT said.
    pub(super) fn decide(&self, now: Instant) -> Decision {
        let options = &self.options;
        let credentials = Credentials {
            user: &options.user,
            password: &options.pass,
            token: &options.auth_token,
            nkey: &options.nkey,
            signature: &options.sig,
        };
        self.settings
            .authenticator
            .authenticate(&credentials, &self.facts(), now)
    }

    /// What is known of it without its help.
    pub(super) fn facts(&self) -> ConnectionFacts<'_> {
        let known = self.peer.facts();
        ConnectionFacts {
            nonce: known.nonce.as_bytes(),
            certificate: self
                .peer
                .tls()
                .and_then(|tls| tls.peer_certificate.as_deref()),
            connection_type: self.connection_type(),
            map_certificate: self.settings.tls.map_certificate && !known.is_local(),
            unix_user: known.unix_user,
        }
    }

    /// How it is connected, as `allowed_connection_types` names it.
    fn connection_type(&self) -> ConnectionType {
        if self.peer.facts().in_process {
            ConnectionType::InProcess
        } else {
            ConnectionType::Standard
        }
    }

    /// Acts on the decision about the client's credentials.
    pub(super) fn finish_login(
        &mut self,
        turn: &mut Turn<'_>,
        outcome: Result<Login, Rejection>,
    ) -> Outcome {
        let login = match outcome {
            Ok(login) => login,
            Err(rejection) => return Err(self.deny(turn, rejection)),
        };
        if self.options.new_account || !self.options.account.is_empty() {
            // Clients once could ask for an account; that let them into any (CVE-2022-24450).
            return Err(self.deny(turn, Rejection::NoCredentials));
        }
        self.awaits_connect = false;
        self.bind(turn, &login)?;
        self.check_options(turn)?;
        self.confirm(turn);
        Ok(())
    }

    /// Takes over the account, the permissions and what else CONNECT decided.
    fn bind(&mut self, turn: &mut Turn<'_>, login: &Login) -> Outcome {
        let account = self.context.broker.account(&login.account);
        let limits = account.rules().limits;
        if self.connected {
            self.account.connections.subtract(1);
        }
        self.connected = account.connections.add_up_to(limits.max_connections);
        if !self.connected {
            let error = ProtocolError::MaximumAccountConnections;
            self.log_error(&error.text());
            self.refuse(turn, &error);
            let reason = CloseReason::MaximumAccountConnectionsExceeded;
            return Err(Stop::Close(reason));
        }
        turn.introduced = true;
        self.account_limits = limits;
        if !Arc::ptr_eq(&self.account, &account) {
            self.account = account;
            self.matches.clear();
        }
        self.permissions.clone_from(&login.permissions);
        self.take_over_slow_treatment(login);
        self.peer.set_responses(login.permissions.clone());
        self.tell_peer();
        self.become_known_as(login);
        self.context
            .broker
            .notice(|| Event::Connected(Arc::clone(&self.peer)));
        Ok(())
    }

    /// Notes who it is, where logs, monitoring and rates ask for it.
    pub(super) fn become_known_as(&mut self, login: &Login) {
        self.rates = self
            .settings
            .rates
            .of(login.user.as_deref(), &login.account);
        self.peer
            .set_label(&label(self.peer.facts(), &self.options, login));
        self.introduce(login.user.as_deref(), &login.account);
        self.login = Some(Box::new(login.clone()));
    }

    /// Lets monitoring know who the client is or says it is.
    fn introduce(&self, user: Option<&str>, account: &Arc<str>) {
        let options = &self.options;
        let user = match user {
            Some(user) => user,
            None if !options.nkey.is_empty() => &options.nkey,
            None if !options.user.is_empty() => &options.user,
            None if !options.auth_token.is_empty() => "[REDACTED]",
            None => "",
        };
        self.peer.introduce(Introduction {
            name: options.name.as_str().into(),
            language: options.lang.as_str().into(),
            version: options.version.as_str().into(),
            user: user.into(),
            account: Arc::clone(account),
        });
    }

    /// Has the client treated as its user or account says when it is slow.
    pub(super) fn take_over_slow_treatment(&self, login: &Login) {
        let treatment = (self.settings.slow).of(login.user.as_deref(), &login.account);
        self.peer
            .set_slow_treatment(treatment, Arc::clone(&self.account.dropped));
    }

    fn check_options(&self, turn: &mut Turn<'_>) -> Outcome {
        if !(0..=PROTOCOL_ASYNC_INFO).contains(&self.options.protocol) {
            self.refuse(turn, &ProtocolError::InvalidClientProtocol);
            return Err(Stop::Close(CloseReason::BadClientProtocolVersion));
        }
        if self.options.no_responders && !(self.settings.limits.headers && self.options.headers) {
            self.refuse(turn, &ProtocolError::NoRespondersRequiresHeaders);
            return Err(Stop::Close(CloseReason::NoRespondersRequiresHeaders));
        }
        Ok(())
    }

    /// The client may not come in. The log says which rule it was, the client does not learn it.
    fn deny(&self, turn: &mut Turn<'_>, rejection: Rejection) -> Stop {
        self.report_denial(rejection);
        self.refuse(turn, &ProtocolError::AuthorizationViolation);
        Stop::Close(CloseReason::AuthenticationViolation)
    }

    /// Tells the log and whoever hears of events that the client may not be connected.
    pub(super) fn report_denial(&self, rejection: Rejection) {
        let options = &self.options;
        let who = Credentials {
            user: &options.user,
            token: &options.auth_token,
            nkey: &options.nkey,
            ..Credentials::default()
        };
        self.log_error(&format!("authentication error - {who}: {rejection}"));
        self.introduce(None, &"".into());
        self.context
            .broker
            .notice(|| Event::Refused(Arc::clone(&self.peer)));
    }
}

/// How logs call a client: address, number, and what CONNECT told.
fn label(facts: &Facts, options: &ConnectOptions, login: &Login) -> String {
    let mut told = String::new();
    for (prefix, word) in [
        ("v", &options.version),
        ("", &options.lang),
        ("", &options.name),
    ] {
        if !word.is_empty() {
            let separator = if told.is_empty() { "" } else { ":" };
            told.extend([separator, prefix, word]);
        }
    }
    let mut label = facts.label.clone();
    if !told.is_empty() {
        push_quoted(&mut label, &told);
    }
    if let Some(user) = &login.user {
        push_quoted(&mut label, &[&login.account, "/", user].concat());
    }
    label
}

fn push_quoted(label: &mut String, text: &str) {
    let plain = |byte: u8| matches!(byte, b' '..=b'~' if !matches!(byte, b'"' | b'\\'));
    if text.bytes().all(plain) {
        label.extend([" - \"", text, "\""]);
    } else {
        label.push_str(&format!(" - {text:?}"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_clients_say_of_themselves_is_quoted() {
        for text in ["v1.0:rust:a name", "a\"b", "a\\b", "a\nb", "é", "'"] {
            let mut label = String::from("x");
            push_quoted(&mut label, text);
            assert_eq!(label, format!("x - {text:?}"));
        }
    }
}
