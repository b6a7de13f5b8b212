//! How two servers get to know each other.

use super::compression::{Agreement, level_word};
use super::{MAX_LINE, Outcome, Route, Stage, Stop};
use crate::auth::{ConnectionFacts, ConnectionType, Credentials, Decision, Login, Rejection};
use crate::broker::close::CloseReason;
use crate::broker::peer::portrait::Introduction;
use crate::conn::compression::Level;
use crate::conn::turn::{Compress, Turn};
use crate::proto::encode;
use crate::proto::route_info::{RouteConnect, RouteInfo};

impl Route {
    /// A server that has connected must say CONNECT before anything else.
    pub(super) fn check_first_byte(&self, turn: &mut Turn<'_>, input: &[u8]) -> Outcome {
        let first = input.first();
        if self.stage != Stage::Connect
            || first.is_some_and(|byte| byte.eq_ignore_ascii_case(&b'c'))
        {
            return Ok(());
        }
        Err(self.deny(turn, Rejection::NoCredentials))
    }

    pub(super) fn connect(&mut self, turn: &mut Turn<'_>, document: &[u8]) -> Outcome {
        if self.stage != Stage::Connect {
            return Ok(());
        }
        let text = String::from_utf8_lossy(document);
        let Ok(connect) = serde_json::from_str::<RouteConnect>(&text) else {
            self.complain("CONNECT is no JSON object with fields of the right types".to_owned());
            return Err(Stop::Close(CloseReason::ProtocolViolation));
        };
        if !connect.lang.is_empty() {
            let text = "attempted to connect to route port";
            self.send_error(text);
            self.complain(text.to_owned());
            return Err(Stop::Close(CloseReason::WrongPort));
        }
        let credentials = Credentials {
            user: &connect.user,
            password: &connect.pass,
            ..Credentials::default()
        };
        let facts = ConnectionFacts {
            nonce: &[],
            certificate: None,
            connection_type: ConnectionType::Standard,
            map_certificate: false,
            unix_user: None,
        };
        let authenticator = &self.settings.authenticator;
        let decision = authenticator.authenticate(&credentials, &facts, turn.now);
        self.connect = Some(Box::new(connect));
        match decision {
            Decision::Accept(login) => self.let_in(turn, Ok(login)),
            Decision::Reject(rejection) => self.let_in(turn, Err(rejection)),
            Decision::NeedsBlocking(check) => Err(Stop::Verify(Box::new(check))),
        }
    }

    /// Acts on the decision about the other server's credentials.
    pub(super) fn let_in(
        &mut self,
        turn: &mut Turn<'_>,
        outcome: Result<Login, Rejection>,
    ) -> Outcome {
        let connect = self.connect.take();
        if let Err(rejection) = outcome {
            return Err(self.deny(turn, rejection));
        }
        self.stage = Stage::Info;
        if let Some(connect) = connect {
            self.host.connected(self.peer.id(), &connect);
        }
        self.check_closing()
    }

    fn deny(&self, turn: &mut Turn<'_>, rejection: Rejection) -> Stop {
        turn.deliveries
            .send(turn.peer, b"-ERR 'Authorization Violation'\r\n");
        self.complain(format!("authentication error: {rejection}"));
        Stop::Close(CloseReason::AuthenticationViolation)
    }

    pub(super) fn info(&mut self, turn: &mut Turn<'_>, document: &[u8]) -> Outcome {
        let text = String::from_utf8_lossy(document);
        let info = match serde_json::from_str::<RouteInfo>(&text) {
            Ok(info) if self.stage == Stage::Open && !info.route_acc_add_reqid.is_empty() => {
                self.account_moves(turn, info);
                return Ok(());
            }
            Ok(info) if is_sound(&info) => info,
            Ok(_) | Err(_) => {
                self.complain("INFO cannot be understood".to_owned());
                return Err(Stop::Close(CloseReason::ProtocolViolation));
            }
        };
        if self.stage == Stage::Info {
            self.agree(turn, &info)?;
            self.introduce(turn, &info)?;
        }
        self.host.informed(self.peer.id(), info);
        self.check_closing()
    }

    /// The other server gives an account a link of its own from now on, which a reload there waits to hear
    /// confirmed. It takes back what it told of the account over this link without saying so.
    fn account_moves(&mut self, turn: &mut Turn<'_>, info: RouteInfo) {
        if info.route_account.is_empty() {
            return;
        }
        self.forget_account(turn, &info.route_account);
        let confirmation = RouteInfo {
            route_account: String::new(),
            ..info
        };
        turn.deliveries
            .send(turn.peer, &encode::info(&confirmation.to_json()));
    }

    /// Agrees upon compression, once. Where there is to be some, another INFO follows.
    fn agree(&mut self, turn: &mut Turn<'_>, info: &RouteInfo) -> Outcome {
        if std::mem::replace(&mut self.agreed, true) {
            return Ok(());
        }
        let mode = &self.settings.compression;
        let level = match mode.agree(&info.compression) {
            Ok(Agreement::Plain) => {
                self.host.compression_chosen(self.peer.id(), "off");
                return Ok(());
            }
            Ok(Agreement::Compressed(level)) => level,
            Err(text) => {
                self.send_error(&text);
                self.complain(text);
                return Err(Stop::Close(CloseReason::ProtocolViolation));
            }
        };
        let waited = turn.now.saturating_duration_since(self.began);
        let by_time = if level.is_none() {
            mode.level_for(waited)
        } else {
            None
        };
        let word = match by_time {
            Some(_) => mode.word(),
            None => level.map_or("off", level_word),
        };
        self.auto_level = by_time;
        let text = encode::info(&self.host.compression_chosen(self.peer.id(), word));
        let level = level.or(by_time).unwrap_or(Level::Fast);
        self.host.level_changed(self.peer.id(), level);
        if self.dialed {
            turn.deliveries.send(turn.peer, &text);
            return Err(Stop::Compress(Compress {
                level,
                then: Vec::new(),
            }));
        }
        Err(Stop::Compress(Compress { level, then: text }))
    }

    /// The first INFO that counts.
    fn introduce(&mut self, turn: &mut Turn<'_>, info: &RouteInfo) -> Outcome {
        turn.introduced = true;
        self.stage = Stage::Open;
        self.limits.max_line = MAX_LINE;
        self.limits.names_origin = info.lnocu;
        self.limits.max_payload = match usize::try_from(info.max_payload) {
            Ok(theirs) => self
                .limits
                .max_payload
                .max(theirs.saturating_add(super::ADDED_HEADERS)),
            Err(_) => usize::MAX,
        };
        self.remote_name.clone_from(&info.server_name);
        self.peer.introduce(Introduction {
            name: info.server_name.as_str().into(),
            ..Introduction::default()
        });
        self.peer
            .set_options(false, self.settings.headers && info.headers, false);
        if !self.dialed && !info.route_account.is_empty() {
            let Some(account) = self.broker.existing_account(&info.route_account) else {
                let text = format!("Unable to lookup account {:?}", info.route_account);
                self.send_error(&text);
                self.complain(text);
                return Err(Stop::Close(CloseReason::MissingAccount));
            };
            self.own_account = Some(account);
            self.limits.names_account = false;
        }
        if self.own_account.is_some() {
            self.peer.belong_to_account();
        }
        Ok(())
    }
}

/// Whether words that are passed on to others, or become part of protocol lines, hold what they may.
fn is_sound(info: &RouteInfo) -> bool {
    let words = [&info.server_id, &info.ip, &info.host, &info.route_account];
    let urls = info.connect_urls.iter();
    !info.server_id.is_empty()
        && words
            .into_iter()
            .chain(urls)
            .all(|word| !word.contains(|c: char| c.is_whitespace() || c.is_control()))
}
