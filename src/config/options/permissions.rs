//! What users may publish and subscribe to.

use std::time::Duration;

use super::read::{integer, set, signed_duration, texts};
use super::row::{About, Kind, Row, abouts, read_table};
use crate::config::diagnostic::{Diagnostic, Problems};
use crate::config::subjects::permission_mistake;
use crate::config::value::{Entry, Value};

/// What a user may publish and subscribe to, or a cluster link import and export.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Permissions {
    /// Subjects to publish to (a link: to import); none is all.
    pub publish: Option<SubjectPermission>,
    /// Subjects to subscribe to (a link: to export), with or without a queue group behind a blank;
    /// none is all.
    pub subscribe: Option<SubjectPermission>,
    /// Publish to the reply subjects of received messages.
    pub allow_responses: Option<ResponsePermission>,
}

/// Subjects that are allowed and denied; a denied one wins.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SubjectPermission {
    /// Allowed; none is all.
    pub allow: Option<Vec<String>>,
    /// Denied.
    pub deny: Vec<String>,
}

/// How replies to received messages are allowed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResponsePermission {
    /// Replies to each message; none is without a limit.
    pub max: Option<u32>,
    /// Time for them; none is without a limit.
    pub expires: Option<Duration>,
}

impl Default for ResponsePermission {
    fn default() -> Self {
        Self {
            max: Some(1),
            expires: Some(Duration::from_secs(120)),
        }
    }
}

/// The options of a block of permissions.
pub(crate) static PERMISSIONS: &[Row<Permissions>] = &[
    of_permissions("publish", Kind::Mixed, "")
        .document("Subjects to publish to: one, a list, or a block with allow and deny.")
        .aliases(&["pub", "import"])
        .example(r#"{ allow: "orders.>", deny: "orders.secret" }"#)
        .children(|| abouts(SUBJECTS))
        .store(|block, entry, problems| {
            let read = subject_permission(entry, false, problems);
            // Allowing replies closes everything that is not allowed by name.
            let closed = block.allow_responses.is_some();
            block.publish = read;
            if closed {
                close_publish(block);
            }
        }),
    of_permissions("subscribe", Kind::Mixed, "")
        .document(
            "Subjects to subscribe to, each with or without a queue group: one, a list, or \
             a block with allow and deny.",
        )
        .aliases(&["sub", "export"])
        .example(r#"{ allow: [ "orders.>", "jobs" ] }"#)
        .children(|| abouts(SUBJECTS))
        .store(|block, entry, problems| {
            block.subscribe = subject_permission(entry, true, problems);
        }),
    of_permissions("allow_responses", Kind::Mixed, "false")
        .document("Publish replies to received messages: true, or a block with max and expires.")
        .aliases(&["publish_allow_responses"])
        .children(|| abouts(RESPONSES))
        .store(|block, entry, problems| {
            block.allow_responses = response_permission(entry, problems);
            if block.allow_responses.is_some() {
                close_publish(block);
            }
        }),
];

const fn of_permissions(key: &'static str, kind: Kind, default: &'static str) -> Row<Permissions> {
    Row::new(key, kind, default)
}

fn close_publish(block: &mut Permissions) {
    block
        .publish
        .get_or_insert_default()
        .allow
        .get_or_insert_default();
}

/// A block of permissions.
pub(crate) fn permissions(entry: &Entry, problems: &mut Problems) -> Option<Permissions> {
    let mut block = Permissions::default();
    let table = super::read::table(entry, problems)?;
    read_table(PERMISSIONS, &mut block, table, problems);
    Some(block)
}

/// Subjects while their block is read.
#[derive(Debug, Default)]
pub(crate) struct SubjectsDraft {
    permission: SubjectPermission,
    queues: bool,
}

/// The options of a block of subjects.
pub(crate) static SUBJECTS: &[Row<SubjectsDraft>] = &[
    of_subjects("allow", Kind::Texts, "")
        .document("Subjects that are allowed; without it all are.")
        .example("\"orders.>\"")
        .store(|block, entry, problems| {
            block.permission.allow = subjects(entry, block.queues, problems);
        }),
    of_subjects("deny", Kind::Texts, "")
        .document("Subjects that are not allowed.")
        .example("\"orders.secret\"")
        .store(|block, entry, problems| {
            set(
                &mut block.permission.deny,
                subjects(entry, block.queues, problems),
            );
        }),
];

const fn of_subjects(key: &'static str, kind: Kind, default: &'static str) -> Row<SubjectsDraft> {
    Row::new(key, kind, default)
}

fn subject_permission(
    entry: &Entry,
    queues: bool,
    problems: &mut Problems,
) -> Option<SubjectPermission> {
    let Value::Table(table) = &entry.node.value else {
        let allow = Some(subjects(entry, queues, problems)?);
        return Some(SubjectPermission {
            allow,
            deny: Vec::new(),
        });
    };
    if table.entries.is_empty() {
        return None;
    }
    let mut draft = SubjectsDraft {
        queues,
        ..SubjectsDraft::default()
    };
    read_table(SUBJECTS, &mut draft, table, problems);
    Some(draft.permission)
}

fn subjects(entry: &Entry, queues: bool, problems: &mut Problems) -> Option<Vec<String>> {
    let subjects = texts(entry, problems)?;
    for mistake in subjects
        .iter()
        .filter_map(|subject| permission_mistake(subject, queues))
    {
        problems.error(Diagnostic::new(entry.place(), mistake));
    }
    Some(subjects)
}

/// The options of a block of response permissions.
pub(crate) static RESPONSES: &[Row<ResponsePermission>] = &[
    of_responses("max", Kind::Integer, "1")
        .document("Replies to each message; -1 is without a limit.")
        .aliases(&["max_msgs", "max_messages", "max_responses"])
        .store(|block, entry, problems| {
            match integer(entry, i64::MIN, i64::from(u32::MAX), problems) {
                Some(0) | None => {}
                Some(number) => block.max = u32::try_from(number).ok(),
            }
        }),
    of_responses("expires", Kind::Duration, "\"2m\"")
        .document("Time for the replies; \"-1s\" is without a limit.")
        .aliases(&["expiration", "ttl"])
        .store(
            |block, entry, problems| match signed_duration(entry, problems) {
                Some(0) | None => {}
                Some(nanoseconds) => {
                    block.expires = u64::try_from(nanoseconds).ok().map(Duration::from_nanos);
                }
            },
        ),
];

const fn of_responses(
    key: &'static str,
    kind: Kind,
    default: &'static str,
) -> Row<ResponsePermission> {
    Row::new(key, kind, default)
}

fn response_permission(entry: &Entry, problems: &mut Problems) -> Option<ResponsePermission> {
    if let Value::Boolean(allowed) = entry.node.value {
        return allowed.then(ResponsePermission::default);
    }
    let Value::Table(table) = &entry.node.value else {
        let message = format!("{:?} must be true, false or a block", entry.key);
        problems.error(Diagnostic::new(entry.place(), message));
        return None;
    };
    let mut block = ResponsePermission::default();
    read_table(RESPONSES, &mut block, table, problems);
    Some(block)
}

/// What there is to say about the options of a block of permissions.
pub(crate) fn about() -> Vec<&'static About> {
    abouts(PERMISSIONS)
}
