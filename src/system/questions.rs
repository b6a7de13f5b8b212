//! What any client may ask the server about itself and its account, without access to the system account.

use serde::Serialize;

use super::services::{Page, Reply};
use super::{Signed, System};
use crate::broker::events::Request;
use crate::config::Options;
use crate::config::options::permissions::{Permissions, SubjectPermission};
use crate::config::options::users::{Identity, User};
use crate::link::internal::Message;
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

impl System {
    /// Answers a question in the asker's account.
    pub(super) fn answer_question(&mut self, request: &Request) {
        let (page, name) = match &*request.subject {
            b"$SYS.DEBUG.SUBSCRIBERS" => return self.count_everywhere(request),
            b"$SYS.REQ.USER.INFO" => {
                let info = self.user_info(request);
                return self.answer(request, Reply::document(&info));
            }
            b"$SYS.REQ.ACCOUNT.PING.STATZ" => (Page::AccountStats, "STATZ"),
            _ => (Page::Connections, "CONNZ"),
        };
        // Every server of the cluster answers what it knows of the account, this one first.
        let account = request.account.name();
        let question = Message {
            subject: format!("$SYS.REQ.ACCOUNT.{account}.{name}"),
            reply: None,
            subscription: 0,
            headers: Vec::new(),
            payload: request.body.to_vec(),
        };
        let of_account = |system: &Self| system.account_page(page, account, &question);
        if let Some(reply) = self.filtered(&question, of_account) {
            self.answer(request, reply);
        }
        // The same subject means all accounts where PING stands for the account's name.
        if account != "PING" {
            self.ask_others(request, &question.subject);
        }
    }

    fn answer(&mut self, request: &Request, document: Reply) {
        let signed = Signed {
            server: self.signature(),
            document,
        };
        self.send_to(&request.account, &lossy(&request.reply), &signed);
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
