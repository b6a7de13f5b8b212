//! Accounts and what they share: the block `accounts`.

use std::time::Duration;

use super::Options;
use super::mappings::{self, Mapping, mappings};
use super::permissions::{self, Permissions, permissions};
use super::rate_limit::{self, RateLimit};
use super::read::{
    boolean, integer, optional_text, percentage, set, strict_duration, table, tables, text,
    text_list,
};
use super::row::{About, Kind, Row, abouts, read_block, read_table};
use super::slow_consumer::{self, SlowConsumer};
use super::top_subjects;
use super::users::{self, User, apply_default_permissions, public_key, users};
use crate::config::diagnostic::{Diagnostic, Place, Problems};
use crate::config::subjects;
use crate::config::value::{Entry, Node, Value};

/// The account of clients that belong to no other; it cannot be configured.
pub const GLOBAL_ACCOUNT: &str = "$G";

/// A subject space with its users.
#[derive(Clone, Debug, PartialEq)]
pub struct Account {
    /// Its name.
    pub name: String,
    /// Its public nkey.
    pub nkey: Option<String>,
    /// Its users.
    pub users: Vec<User>,
    /// What users may do that have no permissions of their own; they are applied already.
    pub default_permissions: Option<Permissions>,
    /// What it offers to other accounts.
    pub exports: Vec<Export>,
    /// What it takes from other accounts.
    pub imports: Vec<Import>,
    /// Its mapped subjects.
    pub mappings: Vec<Mapping>,
    /// Its limits.
    pub limits: AccountLimits,
    /// How much all its connections may publish.
    pub rate_limit: Option<RateLimit>,
    /// What becomes of messages for its connections that are slow; none is as in nats-server.
    pub slow_consumer: Option<SlowConsumer>,
    /// Whether its connections are told that they are slow; none is no, as in nats-server.
    pub slow_consumer_error: Option<bool>,
    /// How many of the subjects that are published to most are told; none is as at the top level.
    pub top_subjects: Option<u16>,
    /// Where traced messages are reported.
    pub message_trace: Option<MessageTrace>,
    /// Where it was written.
    pub place: Place,
}

/// What an account may use at most; none is without a limit.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AccountLimits {
    /// Connections of all its clients; 0 lets nobody in.
    pub max_connections: Option<u32>,
    /// Subscriptions of each connection.
    pub max_subscriptions: Option<u32>,
    /// Bytes of a message, headers included.
    pub max_payload: Option<u32>,
    /// Leaf nodes.
    pub max_leafnodes: Option<u32>,
}

/// Whether subjects are published to or asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sharing {
    /// Messages flow from the exporting account to the importing one.
    Stream,
    /// Requests flow from the importing account to the exporting one, and replies back.
    Service,
}

impl Sharing {
    /// The word for it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Stream => "stream",
            Self::Service => "service",
        }
    }
}

/// What an account offers to others.
#[derive(Clone, Debug, PartialEq)]
pub struct Export {
    /// Stream or service.
    pub sharing: Sharing,
    /// The subject.
    pub subject: String,
    /// The accounts that may import it; none is all.
    pub accounts: Option<Vec<String>>,
    /// Position (from 1) of the token that must be the importing account's name.
    pub account_token_position: Option<u32>,
    /// How many replies a service gives.
    pub response: ResponseType,
    /// Time a service may take; none is two minutes.
    pub response_threshold: Option<Duration>,
    /// Where a service's latency is reported.
    pub latency: Option<Latency>,
    /// Whether traced messages are followed into a service.
    pub allow_trace: bool,
    /// Where it was written.
    pub place: Place,
}

/// How many replies a service gives.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ResponseType {
    /// One.
    #[default]
    Single,
    /// Any number.
    Stream,
    /// One in several parts.
    Chunked,
}

/// Reports about the latency of a service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Latency {
    /// Subject they are published to.
    pub subject: String,
    /// Which requests are measured.
    pub sampling: Sampling,
}

/// Which requests are measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sampling {
    /// Those with a header that asks for it.
    Headers,
    /// This many of a hundred.
    Percent(u8),
}

/// What an account takes from another.
#[derive(Clone, Debug, PartialEq)]
pub struct Import {
    /// Stream or service.
    pub sharing: Sharing,
    /// The exporting account.
    pub account: String,
    /// The subject in the exporting account.
    pub subject: String,
    /// The subject in this account; none is the same.
    pub to: Option<String>,
    /// Tokens before the subject in this account; streams only.
    pub prefix: Option<String>,
    /// Tell the service who asks.
    pub share: bool,
    /// Whether traced messages are followed into a stream.
    pub allow_trace: bool,
    /// Where it was written.
    pub place: Place,
}

impl Import {
    /// The subject in this account, with placeholders for the wildcards of the other one.
    pub fn local(&self) -> String {
        match (&self.to, &self.prefix) {
            (Some(to), _) => to.clone(),
            (None, Some(prefix)) if self.sharing == Sharing::Stream => {
                format!("{}.{}", prefix.trim_end_matches('.'), self.subject)
            }
            (None, _) => self.subject.clone(),
        }
    }
}

/// Where traced messages are reported.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MessageTrace {
    /// Subject of the reports.
    pub destination: String,
    /// How many of a hundred messages.
    pub sampling: u8,
}

/// The options of an account.
pub(crate) static ACCOUNT: &[Row<Account>] = &[
    of_account("nkey", Kind::Text, "")
        .document("The account's public nkey.")
        .example("ABJHLOVMPA4CI6R5KLNGOB4GSLNIY7IOUPAJC4YFNDLQVIOBYQGUWVLA")
        .store(|d, e, p| d.nkey = public_key(e, 'A', p)),
    of_account("users", Kind::Blocks, "[]")
        .document("The account's users.")
        .children(users::about)
        .store(|d, e, p| set(&mut d.users, users(e, p))),
    of_account("default_permissions", Kind::Block, "")
        .document("What users may do that have no permissions of their own.")
        .example("{ publish: \">\", subscribe: \">\" }")
        .children(permissions::about)
        .store(|d, e, p| d.default_permissions = permissions(e, p)),
    of_account("rate_limit", Kind::Block, "")
        .document("How much all connections of the account may publish; more is read later.")
        .example("{ messages: 1000, bytes: 1MB }")
        .children(rate_limit::about)
        .store(|d, e, p| d.rate_limit = rate_limit::rate_limit(e, p)),
    of_account("slow_consumer", slow_consumer::KIND, "disconnect")
        .document(slow_consumer::DOCUMENT)
        .store(|d, e, p| d.slow_consumer = slow_consumer::slow_consumer(e, p)),
    of_account("slow_consumer_error", Kind::Boolean, "false")
        .document(slow_consumer::ERROR_DOCUMENT)
        .store(|d, e, p| d.slow_consumer_error = boolean(e, p)),
    of_account("exports", Kind::Blocks, "[]")
        .document("What the account offers to other accounts.")
        .children(|| abouts(EXPORT))
        .store(|d, e, p| set(&mut d.exports, exports(e, p))),
    of_account("imports", Kind::Blocks, "[]")
        .document("What the account takes from other accounts.")
        .children(|| abouts(IMPORT))
        .store(|d, e, p| set(&mut d.imports, imports(e, p))),
    of_account("mappings", Kind::Names, "{}")
        .document("Subjects of the account that are mapped to others.")
        .aliases(&["maps"])
        .children(mappings::about)
        .store(|d, e, p| set(&mut d.mappings, mappings(e, p))),
    of_account("limits", Kind::Block, "{}")
        .document("What the account may use at most.")
        .children(|| abouts(LIMITS))
        .store(|d, e, p| read_block(LIMITS, &mut d.limits, e, p)),
    of_account("msg_trace", Kind::Mixed, "")
        .document(
            "Where traced messages are reported: a subject, or a block with dest and sampling.",
        )
        .aliases(&["trace_dest"])
        .example("{ dest: traces, sampling: 10 }")
        .store(|d, e, p| set(&mut d.message_trace, message_trace(e, p))),
    of_account("top_subjects", Kind::Integer, "")
        .document(top_subjects::DOCUMENT)
        .example("100")
        .store(|d, e, p| d.top_subjects = top_subjects::top_subjects(e, p)),
    of_account("jetstream", Kind::Mixed, "false")
        .document("Store messages of the account.")
        .missing("storing messages (JetStream) is not built yet"),
];

const fn of_account(key: &'static str, kind: Kind, default: &'static str) -> Row<Account> {
    Row::new(key, kind, default)
}

/// Reads the block `accounts`: names with blocks, or a list of names.
pub(crate) fn store_accounts(options: &mut Options, entry: &Entry, problems: &mut Problems) {
    let mut accounts: Vec<Account> = Vec::new();
    if let Value::List(_) = &entry.node.value {
        for name in text_list(entry, problems).unwrap_or_default() {
            if accounts.iter().any(|account| account.name == name) {
                let message = format!("duplicate account {name:?}");
                problems.error(Diagnostic::new(entry.place(), message));
            } else if !is_reserved(&name, entry.place(), problems) {
                accounts.push(empty(&name, entry.place()));
            }
        }
    } else if let Some(table) = table(entry, problems) {
        // A key that a variable refers to is no account.
        for entry in table.entries.iter().filter(|entry| !entry.node.referenced) {
            if !is_reserved(&entry.key, entry.place(), problems) {
                let mut account = empty(&entry.key, entry.place());
                read_block(ACCOUNT, &mut account, entry, problems);
                let permissions = account.default_permissions.clone();
                apply_default_permissions(&mut account.users, permissions.as_ref());
                accounts.push(account);
            }
        }
    }
    options.accounts = accounts;
}

fn is_reserved(name: &str, place: &Place, problems: &mut Problems) -> bool {
    let reserved = name == GLOBAL_ACCOUNT;
    if reserved {
        let message = format!("{name:?} is a reserved account");
        problems.error(Diagnostic::new(place, message).fix("use the top-level options for it"));
    }
    reserved
}

fn empty(name: &str, place: &Place) -> Account {
    Account {
        name: name.to_owned(),
        nkey: None,
        users: Vec::new(),
        default_permissions: None,
        exports: Vec::new(),
        imports: Vec::new(),
        mappings: Vec::new(),
        limits: AccountLimits::default(),
        rate_limit: None,
        slow_consumer: None,
        slow_consumer_error: None,
        top_subjects: None,
        message_trace: None,
        place: place.clone(),
    }
}

/// The options of a block `limits`.
pub(crate) static LIMITS: &[Row<AccountLimits>] = &[
    of_limits("max_connections", Kind::Integer, "-1")
        .document("Connections of all clients of the account; -1 is without a limit.")
        .aliases(&["max_conn"])
        .store(|d, e, p| set(&mut d.max_connections, limit(e, p))),
    of_limits("max_subscriptions", Kind::Integer, "-1")
        .document("Subscriptions of each connection; -1 is without a limit.")
        .aliases(&["max_subs"])
        .store(|d, e, p| set(&mut d.max_subscriptions, limit(e, p))),
    of_limits("max_payload", Kind::Size, "-1")
        .document("Bytes of a message, headers included; -1 is without a limit.")
        .aliases(&["max_pay"])
        .store(|d, e, p| set(&mut d.max_payload, limit(e, p))),
    of_limits("max_leafnodes", Kind::Integer, "-1")
        .document("Leaf nodes of the account; -1 is without a limit.")
        .aliases(&["max_leafs"])
        .without_effect("there are no leaf nodes in this version")
        .store(|d, e, p| set(&mut d.max_leafnodes, limit(e, p))),
];

const fn of_limits(key: &'static str, kind: Kind, default: &'static str) -> Row<AccountLimits> {
    Row::new(key, kind, default)
}

/// A limit of 0 allows nothing, as in nats-server.
fn limit(entry: &Entry, problems: &mut Problems) -> Option<Option<u32>> {
    let number = integer(entry, -1, i64::from(i32::MAX), problems)?;
    Some(u32::try_from(number).ok())
}

/// An export while its block is read.
#[derive(Debug, Default)]
pub(crate) struct ExportDraft {
    stream: Option<String>,
    service: Option<String>,
    accounts: Option<Vec<String>>,
    position: Option<u32>,
    response: Option<ResponseType>,
    threshold: Option<Duration>,
    latency: Option<Latency>,
    allow_trace: Option<bool>,
}

/// The options of an export.
pub(crate) static EXPORT: &[Row<ExportDraft>] = &[
    of_export("stream", Kind::Text, "")
        .document("Subject whose messages flow to accounts that import it.")
        .example("\"events.>\"")
        .store(|d, e, p| d.stream = text(e, p)),
    of_export("service", Kind::Text, "")
        .document("Subject that accounts that import it send requests to.")
        .example("\"time.now\"")
        .store(|d, e, p| d.service = text(e, p)),
    of_export("accounts", Kind::Texts, "")
        .document("The accounts that may import it; without it all may.")
        .example("[ APP ]")
        .store(store_importers),
    of_export("account_token_position", Kind::Integer, "0")
        .document("Position of the wildcard that must be the importing account's name.")
        .store(|d, e, p| {
            let number = integer(e, 0, i64::from(u32::MAX), p);
            d.position = number.and_then(|n| u32::try_from(n).ok()).filter(|position| *position > 0);
        }),
    of_export("response_type", Kind::Choice(&["single", "stream", "chunked"]), "single")
        .document("How many replies the service gives: one, any number, or one in parts.")
        .aliases(&["response"])
        .store(store_response_type),
    of_export("response_threshold", Kind::Duration, "\"2m\"")
        .document("Time the service may take.")
        .aliases(&["threshold", "response_max_time", "response_time"])
        .store(|d, e, p| d.threshold = strict_duration(e, p)),
    of_export("latency", Kind::Mixed, "")
        .document("Where the service's latency is reported: a subject, or a block with sampling and subject.")
        .example("{ sampling: \"10%\", subject: latency.time }")
        .store(|d, e, p| d.latency = latency(e, p)),
    of_export("allow_trace", Kind::Boolean, "false")
        .document("Follow traced messages into the service.")
        .store(|d, e, p| d.allow_trace = boolean(e, p)),
];

const fn of_export(key: &'static str, kind: Kind, default: &'static str) -> Row<ExportDraft> {
    Row::new(key, kind, default)
}

/// nats-server lets everybody import what is exported to an empty list, which nobody means.
fn store_importers(draft: &mut ExportDraft, entry: &Entry, problems: &mut Problems) {
    draft.accounts = text_list(entry, problems);
    if draft.accounts.as_ref().is_some_and(Vec::is_empty) {
        let message = format!("{:?} is empty", entry.key);
        let fix = "name the accounts that may import it, or remove it if all may";
        problems.error(Diagnostic::new(entry.place(), message).fix(fix));
    }
}

fn store_response_type(draft: &mut ExportDraft, entry: &Entry, problems: &mut Problems) {
    let Some(word) = text(entry, problems) else {
        return;
    };
    draft.response = match word.to_lowercase().as_str() {
        "single" | "singleton" => Some(ResponseType::Single),
        "stream" => Some(ResponseType::Stream),
        "chunk" | "chunked" => Some(ResponseType::Chunked),
        _ => {
            let message = format!("unknown response type {word:?}");
            let fix = "write single, stream or chunked";
            problems.error(Diagnostic::new(entry.place(), message).fix(fix));
            None
        }
    };
}

fn exports(entry: &Entry, problems: &mut Problems) -> Option<Vec<Export>> {
    let mut found = Vec::new();
    for (node, table) in tables(entry, problems)? {
        let before = problems.errors.len();
        let mut draft = ExportDraft::default();
        read_table(EXPORT, &mut draft, table, problems);
        let told = problems.errors.len() > before;
        match export(draft, node) {
            Ok(export) => found.push(export),
            Err(_) if told => {}
            Err(message) => problems.error(Diagnostic::new(&node.place, message)),
        }
    }
    Some(found)
}

fn export(draft: ExportDraft, node: &Node) -> Result<Export, String> {
    let (sharing, subject) = match (draft.stream, draft.service) {
        (Some(subject), None) => (Sharing::Stream, subject),
        (None, Some(subject)) => (Sharing::Service, subject),
        (Some(_), Some(_)) => return Err("an export is either a stream or a service".to_owned()),
        (None, None) => return Err("an export requires a stream or a service".to_owned()),
    };
    if !subjects::is_valid(&subject) {
        return Err(format!("subject {subject:?} is not a valid subject"));
    }
    if sharing == Sharing::Stream {
        let of_services = [
            (draft.response.is_some(), "response_type"),
            (draft.threshold.is_some(), "response_threshold"),
            (draft.latency.is_some(), "latency"),
            (draft.allow_trace.is_some(), "allow_trace"),
        ];
        if let Some((_, key)) = of_services.iter().find(|(given, _)| *given) {
            return Err(format!("{key:?} is for services; this export is a stream"));
        }
    }
    if draft.latency.is_some()
        && draft
            .response
            .is_some_and(|kind| kind != ResponseType::Single)
    {
        return Err("latency is measured only for services with a single response".to_owned());
    }
    let position = draft.position.map(|position| position as usize);
    let wildcard = |at: usize| subject.split('.').nth(at - 1) == Some("*");
    if position.is_some_and(|at| !wildcard(at)) {
        return Err("\"account_token_position\" must be that of a * in the subject".to_owned());
    }
    Ok(Export {
        sharing,
        subject,
        accounts: draft.accounts,
        account_token_position: draft.position,
        response: draft.response.unwrap_or_default(),
        response_threshold: draft.threshold,
        latency: draft.latency,
        allow_trace: draft.allow_trace.unwrap_or_default(),
        place: node.place.clone(),
    })
}

fn latency(entry: &Entry, problems: &mut Problems) -> Option<Latency> {
    if let Value::Text(subject) = &entry.node.value {
        return Some(Latency {
            subject: subject.clone(),
            sampling: Sampling::Percent(100),
        });
    }
    let table = table(entry, problems)?;
    let sampling = match table.get("sampling") {
        None => Some(Sampling::Percent(100)),
        Some(node) => sampling(node),
    };
    let subject = match table.get("subject").map(|node| &node.value) {
        Some(Value::Text(subject)) => Some(subject.clone()),
        _ => None,
    };
    match (subject, sampling) {
        (Some(subject), Some(sampling)) => Some(Latency { subject, sampling }),
        (None, _) => {
            let message = format!("{:?} requires a subject", entry.key);
            problems.error(Diagnostic::new(entry.place(), message));
            None
        }
        (_, None) => {
            let message = "bad sampling percentage, should be 1-100";
            let fix = "write a number, a percentage such as \"10%\", or headers";
            problems.error(Diagnostic::new(entry.place(), message).fix(fix));
            None
        }
    }
}

/// `headers`, or a number from 1 to 100 with or without `%`.
fn sampling(node: &Node) -> Option<Sampling> {
    if let Value::Text(text) = &node.value
        && text.trim().eq_ignore_ascii_case("headers")
    {
        return Some(Sampling::Headers);
    }
    percentage(node)
        .filter(|percent| *percent > 0)
        .map(Sampling::Percent)
}

/// An import while its block is read.
#[derive(Debug, Default)]
pub(crate) struct ImportDraft {
    stream: Option<SourceDraft>,
    service: Option<SourceDraft>,
    to: Option<String>,
    prefix: Option<String>,
    share: Option<bool>,
    allow_trace: Option<bool>,
}

/// What an import refers to, while its block is read.
#[derive(Debug, Default)]
pub(crate) struct SourceDraft {
    account: Option<String>,
    subject: Option<String>,
}

/// The options of an import.
pub(crate) static IMPORT: &[Row<ImportDraft>] = &[
    of_import("stream", Kind::Block, "")
        .document("Account and subject of the stream to take.")
        .example("{ account: EVENTS, subject: \"events.>\" }")
        .children(|| abouts(SOURCE))
        .store(|d, e, p| d.stream = source(e, p)),
    of_import("service", Kind::Block, "")
        .document("Account and subject of the service to ask.")
        .example("{ account: TIME, subject: time.now }")
        .children(|| abouts(SOURCE))
        .store(|d, e, p| d.service = source(e, p)),
    of_import("to", Kind::Text, "")
        .document("The subject in this account; the default is the same.")
        .example("now")
        .store(|d, e, p| set(&mut d.to, optional_text(e, p))),
    of_import("prefix", Kind::Text, "")
        .document("Tokens before the subject of a stream in this account.")
        .example("imported")
        .store(|d, e, p| set(&mut d.prefix, optional_text(e, p))),
    of_import("share", Kind::Boolean, "false")
        .document("Tell the service who asks.")
        .store(|d, e, p| d.share = boolean(e, p)),
    of_import("allow_trace", Kind::Boolean, "false")
        .document("Follow traced messages into the stream.")
        .store(|d, e, p| d.allow_trace = boolean(e, p)),
];

const fn of_import(key: &'static str, kind: Kind, default: &'static str) -> Row<ImportDraft> {
    Row::new(key, kind, default)
}

/// The options of what an import refers to.
pub(crate) static SOURCE: &[Row<SourceDraft>] = &[
    of_source("account", Kind::Text, "")
        .document("The account that exports it.")
        .example("TIME")
        .store(|d, e, p| set(&mut d.account, optional_text(e, p))),
    of_source("subject", Kind::Text, "")
        .document("The subject in that account.")
        .example("time.now")
        .store(|d, e, p| set(&mut d.subject, optional_text(e, p))),
];

const fn of_source(key: &'static str, kind: Kind, default: &'static str) -> Row<SourceDraft> {
    Row::new(key, kind, default)
}

fn source(entry: &Entry, problems: &mut Problems) -> Option<SourceDraft> {
    let before = problems.errors.len();
    let mut draft = SourceDraft::default();
    read_block(SOURCE, &mut draft, entry, problems);
    if problems.errors.len() == before && (draft.account.is_none() || draft.subject.is_none()) {
        let message = format!("{:?} requires an account and a subject", entry.key);
        problems.error(Diagnostic::new(entry.place(), message));
    }
    Some(draft)
}

fn imports(entry: &Entry, problems: &mut Problems) -> Option<Vec<Import>> {
    let mut found: Vec<Import> = Vec::new();
    for (node, table) in tables(entry, problems)? {
        let before = problems.errors.len();
        let mut draft = ImportDraft::default();
        read_table(IMPORT, &mut draft, table, problems);
        let told = problems.errors.len() > before;
        match import(draft, node).and_then(|import| once(import, &found)) {
            Ok(import) => found.push(import),
            Err(_) if told => {}
            Err(message) => problems.error(Diagnostic::new(&node.place, message)),
        }
    }
    Some(found)
}

/// Refuses an import that another one makes already.
fn once(import: Import, others: &[Import]) -> Result<Import, String> {
    let local = |import: &Import| import.to.as_ref().unwrap_or(&import.subject).clone();
    let same = |other: &&Import| {
        other.sharing == import.sharing
            && other.account == import.account
            && match import.sharing {
                Sharing::Service => local(other) == local(&import),
                Sharing::Stream => other.subject == import.subject,
            }
    };
    if others.iter().any(|other| same(&other)) {
        let word = import.sharing.word();
        return Err(format!(
            "duplicate {word} import subject {:?}",
            local(&import)
        ));
    }
    Ok(import)
}

fn import(draft: ImportDraft, node: &Node) -> Result<Import, String> {
    let (sharing, source) = match (draft.stream, draft.service) {
        (Some(source), None) => (Sharing::Stream, source),
        (None, Some(source)) => (Sharing::Service, source),
        (Some(_), Some(_)) => return Err("an import is either a stream or a service".to_owned()),
        (None, None) => return Err("an import requires a stream or a service".to_owned()),
    };
    let (account, subject) = (
        source.account.unwrap_or_default(),
        source.subject.unwrap_or_default(),
    );
    if sharing == Sharing::Service && draft.allow_trace.is_some() {
        return Err(
            "\"allow_trace\" of an import is for streams; this import is a service".to_owned(),
        );
    }
    if sharing == Sharing::Stream && draft.to.is_some() && draft.prefix.is_some() {
        return Err("a stream import cannot have both \"prefix\" and \"to\"".to_owned());
    }
    if draft
        .prefix
        .as_deref()
        .is_some_and(|p| !subjects::is_literal(p.trim_end_matches('.')))
    {
        return Err("\"prefix\" must be a subject without wildcards".to_owned());
    }
    for subject in [Some(&subject), draft.to.as_ref()].into_iter().flatten() {
        if !subjects::is_valid(subject) {
            return Err(format!("subject {subject:?} is not a valid subject"));
        }
    }
    Ok(Import {
        sharing,
        account,
        subject,
        to: draft.to,
        prefix: draft.prefix,
        share: draft.share.unwrap_or_default(),
        allow_trace: draft.allow_trace.unwrap_or_default(),
        place: node.place.clone(),
    })
}

fn message_trace(entry: &Entry, problems: &mut Problems) -> Option<Option<MessageTrace>> {
    let mut draft = TraceDraft::default();
    if let Value::Text(subject) = &entry.node.value {
        draft.destination = Some(subject.clone());
    } else {
        read_table(TRACE, &mut draft, table(entry, problems)?, problems);
    }
    let Some(destination) = draft.destination else {
        if draft.sampling.is_some() {
            let message = "sampling of traced messages is ignored, since no destination was set";
            problems.deprecated(Diagnostic::new(entry.place(), message));
        }
        return Some(None);
    };
    if !subjects::is_literal(&destination) {
        let message = format!("trace destination {destination:?} is not valid");
        problems.error(Diagnostic::new(entry.place(), message));
        return None;
    }
    Some(Some(MessageTrace {
        destination,
        sampling: draft.sampling.unwrap_or(100),
    }))
}

/// Where traced messages are reported, while its block is read.
#[derive(Debug, Default)]
pub(crate) struct TraceDraft {
    destination: Option<String>,
    sampling: Option<u8>,
}

/// The options of a block `msg_trace`.
pub(crate) static TRACE: &[Row<TraceDraft>] = &[
    of_trace("dest", Kind::Text, "")
        .document("The subject of the reports.")
        .example("traces")
        .store(|d, e, p| set(&mut d.destination, optional_text(e, p))),
    of_trace("sampling", Kind::Mixed, "100")
        .document("How many of a hundred messages: a number or a percentage.")
        .store(|d, e, p| {
            d.sampling = percentage(&e.node).filter(|percent| *percent > 0);
            if d.sampling.is_none() {
                let message = "the sampling of traced messages needs to be from 1 to 100";
                p.error(Diagnostic::new(e.place(), message));
            }
        }),
];

const fn of_trace(key: &'static str, kind: Kind, default: &'static str) -> Row<TraceDraft> {
    Row::new(key, kind, default)
}

/// What there is to say about the options of an account.
pub(crate) fn about() -> Vec<&'static About> {
    abouts(ACCOUNT)
}
