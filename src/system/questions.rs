//! What any client may ask the server about itself and its account, without access to the system account.

use serde::Serialize;

use super::System;
use crate::broker::events::Request;
use crate::config::Options;
use crate::config::options::permissions::{Permissions, SubjectPermission};
use crate::config::options::users::{Identity, User};
use crate::monitor::accounts::AccountStatsQuery;
use crate::monitor::connections::ConnectionsQuery;
use crate::monitor::text::{Nanoseconds, lossy};

/// The answer to `$SYS.REQ.USER.INFO`.
#[derive(Debug, Serialize)]
struct UserInfo {
    user: String,
    account: String,
    account_name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    permissions: Option<PermissionsInfo>,
}

#[derive(Debug, Serialize)]
struct PermissionsInfo {
    publish: SubjectsInfo,
    subscribe: SubjectsInfo,
    #[serde(skip_serializing_if = "Option::is_none")]
    responses: Option<ResponsesInfo>,
}

#[derive(Debug, Default, Serialize)]
struct SubjectsInfo {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    allow: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    deny: Vec<String>,
}

#[derive(Debug, Serialize)]
struct ResponsesInfo {
    max: i64,
    ttl: Nanoseconds,
}

#[derive(Debug, Serialize)]
struct Answer<D> {
    server: crate::monitor::stats::ServerInfo,
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<D>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<Mistake>,
}

#[derive(Debug, Serialize)]
struct Mistake {
    code: u16,
    description: String,
}

impl System {
    /// Answers a question in the asker's account.
    pub(super) fn answer_question(&mut self, request: &Request) {
        let account = request.account.name().to_owned();
        match &*request.subject {
            b"$SYS.REQ.USER.INFO" => {
                let info = self.user_info(request);
                self.answer(request, Ok(info));
            }
            b"$SYS.REQ.ACCOUNT.PING.STATZ" => {
                let stats = self.monitor.account_stats(&AccountStatsQuery {
                    accounts: vec![account],
                    include_unused: false,
                });
                self.answer(request, Ok(stats));
            }
            _ => {
                let query = if request.body.is_empty() {
                    Ok(ConnectionsQuery::default())
                } else {
                    serde_json::from_slice(&request.body).map_err(|error| error.to_string())
                };
                let page = query.and_then(|query: ConnectionsQuery| {
                    self.monitor
                        .connections(&ConnectionsQuery { account, ..query })
                });
                self.answer(request, page);
            }
        }
    }

    fn answer<D: Serialize>(&mut self, request: &Request, outcome: Result<D, String>) {
        let server = self.signature();
        let answer = match outcome {
            Ok(data) => Answer {
                server,
                data: Some(data),
                error: None,
            },
            Err(description) => Answer {
                server,
                data: None,
                error: Some(Mistake {
                    code: 400,
                    description,
                }),
            },
        };
        self.send_to(&request.account, &lossy(&request.reply), &answer);
    }

    fn user_info(&self, request: &Request) -> UserInfo {
        let introduction = request.peer.introduction();
        let user = introduction.map_or_else(String::new, |known| known.user.to_string());
        let account = request.account.name().to_owned();
        let options = self.monitor.options();
        let permissions = permissions_of(&options, &user, &account).map(shown);
        UserInfo {
            user,
            account_name: account.clone(),
            account,
            permissions,
        }
    }
}

/// What the configuration lets a user do.
fn permissions_of<'a>(options: &'a Options, name: &str, account: &str) -> Option<&'a Permissions> {
    let is_named = |user: &&User| match &user.identity {
        Identity::Password { user, .. } => user == name,
        Identity::Nkey(nkey) => nkey == name,
    };
    let configured = options.accounts.iter().find(|one| one.name == account);
    let in_account = configured.and_then(|one| one.users.iter().find(is_named));
    if let Some(user) = in_account {
        let default = configured.and_then(|one| one.default_permissions.as_ref());
        return user.permissions.as_ref().or(default);
    }
    let user = options.authorization.users.iter().find(is_named)?;
    let default = options.authorization.default_permissions.as_ref();
    user.permissions.as_ref().or(default)
}

fn shown(permissions: &Permissions) -> PermissionsInfo {
    let subjects = |subjects: &Option<SubjectPermission>| {
        let subjects = subjects.as_ref();
        subjects.map_or_else(SubjectsInfo::default, |subjects| SubjectsInfo {
            allow: subjects.allow.clone().unwrap_or_default(),
            deny: subjects.deny.clone(),
        })
    };
    PermissionsInfo {
        publish: subjects(&permissions.publish),
        subscribe: subjects(&permissions.subscribe),
        responses: permissions
            .allow_responses
            .as_ref()
            .map(|responses| ResponsesInfo {
                max: responses.max.map_or(-1, i64::from),
                ttl: Nanoseconds(responses.expires.unwrap_or_default()),
            }),
    }
}
