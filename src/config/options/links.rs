//! What accounts take from each other must be offered, and must not go in circles.

use std::collections::{HashMap, HashSet};

use super::accounts::{Account, Export, Import, Sharing};
use crate::broker::imports;
use crate::config::diagnostic::{Diagnostic, Problems};
use crate::config::subjects;
use crate::subject;
use crate::subject::transform::destination_filter;

/// Accounts that a cycle is looked for through, as in nats-server.
const MAXIMUM_CYCLE_DEPTH: usize = 1024;

/// Records exports to and imports from accounts that do not exist, imports that nobody offers to
/// this account, and imports that form a cycle.
pub(crate) fn check(accounts: &[Account], problems: &mut Problems) {
    let by_name: HashMap<&str, &Account> = accounts
        .iter()
        .map(|account| (account.name.as_str(), account))
        .collect();
    for account in accounts {
        for export in &account.exports {
            check_export(export, &by_name, problems);
            check_latency(account, export, problems);
        }
        for import in &account.imports {
            check_import(account, import, &by_name, problems);
        }
    }
}

fn check_export(export: &Export, by_name: &HashMap<&str, &Account>, problems: &mut Problems) {
    let unknown = |name: &&String| !by_name.contains_key(name.as_str());
    for name in export.accounts.iter().flatten().filter(unknown) {
        let message = format!(
            "{name:?} account not defined for {} export",
            export.sharing.word()
        );
        problems.error(Diagnostic::new(&export.place, message));
    }
}

/// Reports of a service's latency go to one subject, and not to a service of the same account.
fn check_latency(account: &Account, export: &Export, problems: &mut Problems) {
    let Some(latency) = &export.latency else {
        return;
    };
    let loops = account.exports.iter().any(|other| {
        other.sharing == Sharing::Service && is_subset(&latency.subject, &other.subject)
    });
    if !subjects::is_literal(&latency.subject) || loops {
        let message = format!("latency of {:?}: invalid publish subject", export.subject);
        let fix = "name a subject without wildcards that is no service of this account";
        problems.error(Diagnostic::new(&export.place, message).fix(fix));
    }
}

fn check_import(
    account: &Account,
    import: &Import,
    by_name: &HashMap<&str, &Account>,
    problems: &mut Problems,
) {
    let word = import.sharing.word();
    let Some(exporter) = by_name.get(import.account.as_str()) else {
        let message = format!("{:?} account not defined for {word} import", import.account);
        return problems.error(Diagnostic::new(&import.place, message));
    };
    if !is_offered(exporter, account, import) {
        let message = format!("{word} import {:?} not authorized", import.subject);
        let fix = format!(
            "export it from {:?}, to {:?} if to some only",
            exporter.name, account.name
        );
        return problems.error(Diagnostic::new(&import.place, message).fix(fix));
    }
    let (subject, local) = (&import.subject, import.local());
    let checked = match import.sharing {
        Sharing::Service => imports::check_service_subjects(subject, &local),
        Sharing::Stream => imports::check_stream_subjects(subject, &local),
    };
    if let Err(error) = checked {
        let message = format!("{word} import {subject:?} cannot be mapped to {local:?}: {error}");
        return problems.error(Diagnostic::new(&import.place, message));
    }
    let local = local_subject(import);
    let subjects = match import.sharing {
        Sharing::Service => vec![local],
        Sharing::Stream => vec![local, import.subject.clone()],
    };
    let cycle = subjects.iter().any(|subject| {
        let mut visited = HashSet::from([account.name.as_str()]);
        forms_cycle(exporter, import, subject, by_name, &mut visited)
    });
    if cycle {
        let message = format!("{word} import {:?} forms a cycle", import.subject);
        problems.error(Diagnostic::new(&import.place, message));
    }
}

/// Whether one of `exporter`'s exports covers `import` and is open to `importer`.
fn is_offered(exporter: &Account, importer: &Account, import: &Import) -> bool {
    let of_kind = |export: &&Export| export.sharing == import.sharing;
    let exact = |export: &&Export| export.subject == import.subject;
    let mut exports = exporter.exports.iter().filter(of_kind);
    // The export of exactly this subject decides, if there is one.
    if let Some(export) = exporter
        .exports
        .iter()
        .rfind(|export| of_kind(export) && exact(export))
    {
        return is_open(export, importer, import);
    }
    exports.any(|export| {
        is_subset(&import.subject, &export.subject) && is_open(export, importer, import)
    })
}

fn is_open(export: &Export, importer: &Account, import: &Import) -> bool {
    if let Some(position) = export.account_token_position {
        let token = import.subject.split('.').nth(position as usize - 1);
        return token == Some(importer.name.as_str());
    }
    export
        .accounts
        .as_ref()
        .is_none_or(|accounts| accounts.contains(&importer.name))
}

/// The subject that the import has in the importing account, with `*` for its placeholders.
fn local_subject(import: &Import) -> String {
    destination_filter(&import.local())
}

/// Whether `subject`, followed from `account` along its imports, gets to an account in `visited`.
/// The import that it comes from, `origin`, is left out: an account may import from itself.
fn forms_cycle<'a>(
    account: &'a Account,
    origin: &Import,
    subject: &str,
    by_name: &HashMap<&'a str, &'a Account>,
    visited: &mut HashSet<&'a str>,
) -> bool {
    let exported =
        |export: &Export| export.sharing == Sharing::Stream && is_subset(subject, &export.subject);
    // What an account does not export flows no further.
    let sharing = origin.sharing;
    if sharing == Sharing::Stream && !account.exports.iter().any(exported) {
        return false;
    }
    let others = account
        .imports
        .iter()
        .filter(|import| import.sharing == sharing && !std::ptr::eq(*import, origin));
    for import in others {
        let local = local_subject(import);
        let arrives = match sharing {
            Sharing::Service => &import.subject,
            Sharing::Stream => &local,
        };
        let Some(next) = by_name.get(import.account.as_str()) else {
            continue;
        };
        if !overlap(subject, arrives) {
            continue;
        }
        if visited.contains(next.name.as_str()) || visited.len() >= MAXIMUM_CYCLE_DEPTH {
            return true;
        }
        visited.insert(&account.name);
        let narrowed = if is_subset(&local, subject) {
            local.as_str()
        } else {
            subject
        };
        if forms_cycle(next, origin, narrowed, by_name, visited) {
            return true;
        }
    }
    false
}

/// Whether every subject that `inner` matches is matched by `outer`.
fn is_subset(inner: &str, outer: &str) -> bool {
    subject::covers(outer.as_bytes(), inner.as_bytes())
}

/// Whether some subject is matched by both.
fn overlap(left: &str, right: &str) -> bool {
    subject::intersection(left.as_bytes(), right.as_bytes()).is_some()
}
