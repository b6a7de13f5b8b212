//! What a user may publish and subscribe to.
//!
//! # The rules, as nats-server has them
//! * No list of allowed subjects allows all; a denied subject overrules an allowed one.
//! * A subscription to a filter with wildcards needs one allowed filter that covers it. It is refused if one
//!   denied filter covers it, and accepted if denied subjects are only part of it; then each message is judged
//!   when it is delivered, see [`Permissions::delivery_filter`].
//! * `foo` as a subscribe permission speaks of `foo` in any queue group and in none. `foo v1` speaks of the queue
//!   group `v1` only; groups may be patterns (`foo v1.*`). Where allowed entries with groups hold for a filter,
//!   they decide alone about queue subscriptions.
//!
//! nats-server lets a user who may subscribe to `foo.*` subscribe to `foo.>`, because it takes the `>` for a token,
//! and delivers everything below `foo`. Here that subscription is accepted in the same way, and delivers what
//! `foo.*` allows.

use std::sync::Arc;
use std::time::Duration;

use super::filter_set::FilterSet;
use crate::subject;

/// The subjects that one direction allows and denies.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SubjectRules {
    /// Allowed filters; `None` allows all, an empty list none. For subscriptions an empty list allows all, too,
    /// as in nats-server.
    pub allow: Option<Vec<String>>,
    /// Denied filters.
    pub deny: Vec<String>,
}

/// `allow_responses`: whoever receives a request may publish to its reply subject, although their publish
/// permissions do not name it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ResponseRules {
    /// How many messages may answer one request; `None` is unlimited.
    pub max_messages: Option<u32>,
    /// For how long after the request; `None` is unlimited.
    pub expires: Option<Duration>,
}

impl Default for ResponseRules {
    /// What `allow_responses: true` means: one message within two minutes.
    fn default() -> Self {
        Self {
            max_messages: Some(1),
            expires: Some(Duration::from_secs(120)),
        }
    }
}

/// A user's permissions as configured.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PermissionRules {
    /// Where to publish; `None` is everywhere, or nowhere but to replies if `responses` is set.
    pub publish: Option<SubjectRules>,
    /// Where to subscribe, entries optionally with a queue group behind a blank; `None` is everywhere.
    pub subscribe: Option<SubjectRules>,
    /// Whether replies may be published.
    pub responses: Option<ResponseRules>,
}

/// A user's permissions, ready to decide. Shared by all connections of the user. Those made from equal rules are equal.
#[derive(Clone, Debug)]
pub struct Permissions {
    rules: PermissionRules,
    publish: Direction,
    subscribe: Direction,
    responses: Option<ResponseRules>,
}

#[derive(Clone, Debug, Default)]
struct Direction {
    /// `None` allows all.
    allow: Option<FilterSet>,
    /// `None` denies nothing.
    deny: Option<FilterSet>,
}

impl PartialEq for Permissions {
    fn eq(&self, other: &Self) -> bool {
        self.rules == other.rules
    }
}

impl Permissions {
    /// Prepares rules for decisions.
    ///
    /// # Errors
    /// All entries that are no valid subjects, in nats-server's words.
    pub fn compile(rules: &PermissionRules) -> Result<Self, Vec<String>> {
        let mut errors = Vec::new();
        let mut publish = Direction::publish(rules.publish.as_ref(), &mut errors);
        let subscribe = Direction::subscribe(rules.subscribe.as_ref(), &mut errors);
        if rules.responses.is_some() && publish.allow.is_none() {
            publish.allow = Some(FilterSet::default());
        }
        if errors.is_empty() {
            Ok(Self {
                rules: rules.clone(),
                publish,
                subscribe,
                responses: rules.responses,
            })
        } else {
            Err(errors)
        }
    }

    /// Whether a message may be published to `subject`. A message that may not can still be a response, see
    /// [`ReplyTracker`](super::ReplyTracker).
    #[must_use]
    pub fn may_publish(&self, subject: &[u8]) -> bool {
        let within = |set: &FilterSet| set.find(subject, None).plain;
        self.publish.allow.as_ref().is_none_or(within)
            && !self.publish.deny.as_ref().is_some_and(within)
    }

    /// Whether a subscription to `filter`, in a queue group or in none, may be made.
    #[must_use]
    pub fn may_subscribe(&self, filter: &[u8], queue: Option<&[u8]>) -> bool {
        self.subscribe.allows(filter, queue) && !self.subscribe.denies(filter, queue)
    }

    /// What decides about each message for a subscription that [`may_subscribe`](Self::may_subscribe) accepted;
    /// `None` if all messages may be delivered.
    ///
    /// A message that is not admitted is withheld from this subscription only: another member of the queue
    /// group may get it.
    #[must_use]
    pub fn delivery_filter(
        self: &Arc<Self>,
        filter: &[u8],
        queue: Option<&[u8]>,
    ) -> Option<DeliveryFilter> {
        let deny = self.subscribe.deny.as_ref();
        let wide = subject::has_wildcard(filter);
        let partly_denied =
            (wide || queue.is_some()) && deny.is_some_and(|deny| deny.overlaps(filter));
        let allow = self.subscribe.allow.as_ref();
        let partly_allowed = wide && allow.is_some_and(|allow| !allow.covers(filter, queue));
        (partly_denied || partly_allowed).then(|| DeliveryFilter {
            permissions: Arc::clone(self),
            queue: queue.map(Into::into),
            partly_allowed,
        })
    }

    /// The rules for responses, if they may be published.
    #[must_use]
    pub fn responses(&self) -> Option<ResponseRules> {
        self.responses
    }
}

/// Decides whether a message may be delivered to a subscription that overlaps a denied subject.
#[derive(Clone, Debug)]
pub struct DeliveryFilter {
    permissions: Arc<Permissions>,
    queue: Option<Box<[u8]>>,
    /// The subscription is wider than what is allowed, so that the allowed subjects count as well.
    partly_allowed: bool,
}

impl DeliveryFilter {
    /// Whether a message on `subject` may be delivered.
    #[must_use]
    pub fn admits(&self, subject: &[u8]) -> bool {
        let direction = &self.permissions.subscribe;
        let queue = self.queue.as_deref();
        (!self.partly_allowed || direction.allows(subject, queue))
            && !direction.denies(subject, queue)
    }
}

impl Direction {
    fn publish(rules: Option<&SubjectRules>, errors: &mut Vec<String>) -> Self {
        let Some(rules) = rules else {
            return Self::default();
        };
        let mut collect = |list: &'static str, entries: &[String]| {
            let mut set = FilterSet::default();
            for entry in entries {
                if subject::is_valid_filter(entry.as_bytes()) {
                    set.insert(entry.as_bytes(), None);
                } else {
                    errors.push(format!(
                        "publish {list}: subject {entry:?} is not a valid subject"
                    ));
                }
            }
            set
        };
        let allow = rules
            .allow
            .as_ref()
            .map(|entries| collect("allow", entries));
        let deny = (!rules.deny.is_empty()).then(|| collect("deny", &rules.deny));
        Self { allow, deny }
    }

    fn subscribe(rules: Option<&SubjectRules>, errors: &mut Vec<String>) -> Self {
        let Some(rules) = rules else {
            return Self::default();
        };
        let mut collect = |list: &'static str, entries: &[String]| {
            let mut set = FilterSet::default();
            for entry in entries {
                match split_queue(entry) {
                    Ok((filter, queue)) => {
                        set.insert(filter.as_bytes(), queue.map(str::as_bytes));
                    }
                    Err(error) => errors.push(format!("subscribe {list}: {error}")),
                }
            }
            set
        };
        let allow = rules.allow.as_ref().filter(|entries| !entries.is_empty());
        let allow = allow.map(|entries| collect("allow", entries));
        let deny = (!rules.deny.is_empty()).then(|| collect("deny", &rules.deny));
        Self { allow, deny }
    }

    fn allows(&self, filter: &[u8], queue: Option<&[u8]>) -> bool {
        let Some(allow) = &self.allow else {
            return true;
        };
        let found = allow.find(filter, queue);
        if queue.is_some() && found.any_queue {
            found.queue
        } else {
            found.plain
        }
    }

    fn denies(&self, filter: &[u8], queue: Option<&[u8]>) -> bool {
        self.deny.as_ref().is_some_and(|deny| {
            let found = deny.find(filter, queue);
            found.plain || found.queue
        })
    }
}

/// Takes a subscribe permission apart into filter and queue group.
fn split_queue(entry: &str) -> Result<(&str, Option<&str>), String> {
    let invalid = |subject: &str| format!("subject {subject:?} is not a valid subject");
    if subject::is_valid_filter(entry.as_bytes()) {
        return Ok((entry, None));
    }
    let mut words = entry.split_whitespace();
    match (words.next(), words.next(), words.next()) {
        (Some(filter), Some(_), None) if !subject::is_valid_filter(filter.as_bytes()) => {
            Err(invalid(filter))
        }
        (Some(_), Some(queue), None) if !subject::is_valid_filter(queue.as_bytes()) => {
            Err(format!("queue {queue:?} is not a valid queue"))
        }
        (Some(filter), Some(queue), None) => Ok((filter, Some(queue))),
        _ => Err(invalid(entry)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules(allow: &[&str], deny: &[&str]) -> Option<SubjectRules> {
        let list = |entries: &[&str]| entries.iter().map(|entry| (*entry).to_owned()).collect();
        Some(SubjectRules {
            allow: (!allow.is_empty()).then(|| list(allow)),
            deny: list(deny),
        })
    }

    fn subscriber(allow: &[&str], deny: &[&str]) -> Arc<Permissions> {
        let rules = PermissionRules {
            subscribe: rules(allow, deny),
            ..PermissionRules::default()
        };
        Arc::new(Permissions::compile(&rules).unwrap())
    }

    fn publisher(allow: &[&str], deny: &[&str]) -> Permissions {
        let rules = PermissionRules {
            publish: rules(allow, deny),
            ..PermissionRules::default()
        };
        Permissions::compile(&rules).unwrap()
    }

    #[test]
    fn publishing() {
        let permissions = publisher(&["foo.*", "bar"], &["foo.secret"]);
        for allowed in ["foo.a", "bar", "foo.*"] {
            assert!(permissions.may_publish(allowed.as_bytes()), "{allowed}");
        }
        for refused in ["foo.secret", "foo", "foo.a.b", "baz", "foo..a", "foo."] {
            assert!(!permissions.may_publish(refused.as_bytes()), "{refused}");
        }
        assert!(publisher(&[], &[]).may_publish(b"anything"));
    }

    #[test]
    fn responses_close_what_is_not_named() {
        let rules = PermissionRules {
            responses: Some(ResponseRules::default()),
            ..PermissionRules::default()
        };
        let permissions = Permissions::compile(&rules).unwrap();
        assert!(!permissions.may_publish(b"anything"));
        let rules = PermissionRules {
            publish: self::rules(&["foo"], &[]),
            ..rules
        };
        let permissions = Permissions::compile(&rules).unwrap();
        assert!(permissions.may_publish(b"foo") && !permissions.may_publish(b"bar"));
        assert_eq!(permissions.responses(), Some(ResponseRules::default()));
    }

    #[test]
    fn queue_entries_decide_about_queue_subscriptions() {
        let permissions = subscriber(&["foo", "foo v1", "bar v2.*"], &["baz", "foo v9"]);
        assert!(permissions.may_subscribe(b"foo", None));
        assert!(permissions.may_subscribe(b"foo", Some(b"v1")));
        assert!(!permissions.may_subscribe(b"foo", Some(b"v2")));
        assert!(!permissions.may_subscribe(b"bar", None));
        assert!(permissions.may_subscribe(b"bar", Some(b"v2.prod")));
        assert!(!permissions.may_subscribe(b"bar", Some(b"v2")));
        let permissions = subscriber(&[], &["foo q.*", "bar"]);
        assert!(permissions.may_subscribe(b"foo", None));
        assert!(permissions.may_subscribe(b"foo", Some(b"other")));
        assert!(!permissions.may_subscribe(b"foo", Some(b"q.1")));
        assert!(!permissions.may_subscribe(b"bar", Some(b"any")));
    }

    /// CVE-2022-29946: a queue subscription on a wildcard went past a deny.
    #[test]
    fn a_queue_subscription_on_a_wildcard_does_not_pass_a_deny() {
        let permissions = subscriber(&[], &["foo.secret", "bar.x q"]);
        assert!(permissions.may_subscribe(b"foo.*", Some(b"q")));
        let filter = permissions.delivery_filter(b"foo.*", Some(b"q")).unwrap();
        assert!(filter.admits(b"foo.open") && !filter.admits(b"foo.secret"));
        let filter = permissions.delivery_filter(b"bar.*", Some(b"q")).unwrap();
        assert!(!filter.admits(b"bar.x") && filter.admits(b"bar.y"));
        let filter = permissions
            .delivery_filter(b"bar.*", Some(b"other"))
            .unwrap();
        assert!(filter.admits(b"bar.x"));
    }

    /// GHSA-wh7g: a filter that overlaps a deny without lying inside it received denied subjects.
    #[test]
    fn a_subscription_that_overlaps_a_deny_is_filtered() {
        let permissions = subscriber(&[], &["*.secret", "a.>"]);
        assert!(permissions.may_subscribe(b"foo.*", None));
        let filter = permissions.delivery_filter(b"foo.*", None).unwrap();
        assert!(filter.admits(b"foo.open") && !filter.admits(b"foo.secret"));
        assert!(!permissions.may_subscribe(b"a.*", None));
        let filter = permissions.delivery_filter(b">", None).unwrap();
        assert!(!filter.admits(b"a.b") && !filter.admits(b"b.secret") && filter.admits(b"b.c"));
        assert!(permissions.delivery_filter(b"b.c", None).is_none());
        assert!(permissions.delivery_filter(b"b.c.*", None).is_none());
    }

    /// GHSA-jx8g: a deny for a queue group took the place of the plain deny.
    #[test]
    fn a_queue_deny_adds_to_a_plain_deny() {
        let permissions = subscriber(&[], &["foo", "foo q1"]);
        assert!(!permissions.may_subscribe(b"foo", Some(b"q2")));
        assert!(!permissions.may_subscribe(b"foo", Some(b"q1")));
        assert!(!permissions.may_subscribe(b"foo", None));
    }

    #[test]
    fn a_tail_that_passes_for_a_token_delivers_only_what_is_allowed() {
        let permissions = subscriber(&["foo.*"], &[]);
        assert!(permissions.may_subscribe(b"foo.>", None));
        let filter = permissions.delivery_filter(b"foo.>", None).unwrap();
        assert!(filter.admits(b"foo.a") && !filter.admits(b"foo.a.b"));
        assert!(permissions.delivery_filter(b"foo.*", None).is_none());
        let wide = subscriber(&["foo.*", "foo.>"], &[]);
        assert!(wide.delivery_filter(b"foo.>", None).is_none());
    }

    #[test]
    fn all_invalid_entries_are_named() {
        let rules = PermissionRules {
            publish: rules(&["a..b", "fine"], &["foo q"]),
            subscribe: rules(&["foo q r", ". q"], &["foo >.x", " "]),
            responses: None,
        };
        let expected = [
            "publish allow: subject \"a..b\" is not a valid subject",
            "publish deny: subject \"foo q\" is not a valid subject",
            "subscribe allow: subject \"foo q r\" is not a valid subject",
            "subscribe allow: subject \".\" is not a valid subject",
            "subscribe deny: queue \">.x\" is not a valid queue",
            "subscribe deny: subject \" \" is not a valid subject",
        ];
        assert_eq!(Permissions::compile(&rules).unwrap_err(), expected);
    }
}
