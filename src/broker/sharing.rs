//! What accounts offer to and take from each other, from settings to what delivers.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use super::account::{Account, Imports};
use super::imports::{ResponseType, ServiceExport, ServiceImport, StreamImport};
use super::latency::LatencyRules;
use super::peer::Peer;
use crate::subject;

/// Whether subjects are published to or asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sharing {
    /// Messages flow from the exporting account to the importing one.
    Stream,
    /// Requests flow from the importing account to the exporting one, and answers back.
    Service,
}

/// What an account offers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExportRules {
    /// Stream or service.
    pub sharing: Sharing,
    /// The subject.
    pub subject: String,
    /// The accounts that may import it; `None` is all.
    pub accounts: Option<Vec<String>>,
    /// Position (from 1) of the token that must be the importing account's name.
    pub account_token_position: Option<usize>,
    /// How many answers a service gives.
    pub response: ResponseType,
    /// How long a service may take.
    pub threshold: Duration,
    /// Where a service's latency is reported, if it is.
    pub latency: Option<LatencyRules>,
    /// Whether traces follow requests to a service.
    pub allow_trace: bool,
}

/// What an account takes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImportRules {
    /// Stream or service.
    pub sharing: Sharing,
    /// The exporting account.
    pub account: String,
    /// The subject there.
    pub subject: String,
    /// The subject here, with placeholders for the wildcards there.
    pub local: String,
    /// Tell a service more of who asks than the account.
    pub share: bool,
    /// Whether traces follow messages of a stream.
    pub allow_trace: bool,
}

/// The server in whose name an account subscribes for its imports.
#[derive(Debug, Clone)]
pub struct OwnServer {
    /// Its name.
    pub name: String,
    /// The name of its cluster; empty without one.
    pub cluster: String,
    /// A peer without connection.
    pub peer: Arc<Peer>,
}

/// What an account offers and takes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SharingRules {
    /// What it offers.
    pub exports: Vec<ExportRules>,
    /// What it takes.
    pub imports: Vec<ImportRules>,
}

/// All accounts that share, with their rules.
#[derive(Debug)]
pub(super) struct Sharers<'a> {
    accounts: HashMap<&'a str, Sharer<'a>>,
    server: &'a Arc<OwnServer>,
}

#[derive(Debug)]
struct Sharer<'a> {
    account: Arc<Account>,
    rules: &'a SharingRules,
    /// The services among the exports, at the same places; one each, so that requests through
    /// different imports of one are known to be for the same.
    services: Vec<Option<Arc<ServiceExport>>>,
}

impl<'a> Sharers<'a> {
    pub(super) fn new(server: &'a Arc<OwnServer>) -> Self {
        Self {
            accounts: HashMap::new(),
            server,
        }
    }

    pub(super) fn add(&mut self, name: &'a str, account: Arc<Account>, rules: &'a SharingRules) {
        let service = |export: &ExportRules| {
            let offered = ServiceExport {
                response: export.response,
                threshold: export.threshold,
                latency: export.latency.clone(),
                allow_trace: export.allow_trace,
            };
            (export.sharing == Sharing::Service).then(|| Arc::new(offered))
        };
        let services = rules.exports.iter().map(service).collect();
        let sharer = Sharer {
            account,
            rules,
            services,
        };
        self.accounts.insert(name, sharer);
    }

    /// What each account takes.
    ///
    /// # Errors
    /// The first import that nobody offers to its account, or whose subjects do not correspond.
    pub(super) fn imports(&self) -> Result<Vec<(Arc<Account>, Imports)>, String> {
        let mut prepared = Vec::new();
        for (name, sharer) in &self.accounts {
            let mut imports = Imports::default();
            for import in &sharer.rules.imports {
                self.add_import(name, import, &mut imports)
                    .map_err(|reason| {
                        let subject = &import.subject;
                        format!(
                            "account {name:?}: import {subject:?} from {:?}: {reason}",
                            import.account
                        )
                    })?;
            }
            prepared.push((Arc::clone(&sharer.account), imports));
        }
        Ok(prepared)
    }

    fn add_import(
        &self,
        name: &str,
        import: &ImportRules,
        imports: &mut Imports,
    ) -> Result<(), String> {
        let exporter = self.accounts.get(import.account.as_str());
        let exporter = exporter.ok_or("there is no such account")?;
        let place = offered(&exporter.rules.exports, name, import).ok_or("not authorized")?;
        match (import.sharing, exporter.services.get(place)) {
            (Sharing::Service, Some(Some(export))) => {
                let (export, server) = (Arc::clone(export), Arc::clone(self.server));
                let service = ServiceImport::new(&exporter.account, import, export, server);
                let service = Arc::new(service.map_err(|error| error.to_string())?);
                imports.services.extend(service.subscription());
            }
            (Sharing::Stream, _) => {
                let (subject, local) = (&import.subject, &import.local);
                let stream =
                    StreamImport::new(&exporter.account, subject, local, import.allow_trace)
                        .map_err(|error| error.to_string())?;
                imports.streams.push(Arc::new(stream));
            }
            (Sharing::Service, _) => return Err("not authorized".to_owned()),
        }
        Ok(())
    }
}

/// The place of the export that allows the account `importer` this import: the one of exactly the same
/// subject if there is one, or else the first that covers it.
fn offered(exports: &[ExportRules], importer: &str, import: &ImportRules) -> Option<usize> {
    let subject = import.subject.as_bytes();
    let same_kind = |export: &ExportRules| export.sharing == import.sharing;
    let exact = |export: &ExportRules| same_kind(export) && export.subject == import.subject;
    let covers = |export: &ExportRules| {
        same_kind(export) && subject::covers(export.subject.as_bytes(), subject)
    };
    let place = exports
        .iter()
        .rposition(exact)
        .or_else(|| exports.iter().position(covers))?;
    is_open(exports.get(place)?, importer, subject).then_some(place)
}

fn is_open(export: &ExportRules, importer: &str, subject: &[u8]) -> bool {
    if let Some(position) = export.account_token_position {
        let token = position
            .checked_sub(1)
            .and_then(|place| subject::tokens(subject).nth(place));
        return token == Some(importer.as_bytes());
    }
    let named = |accounts: &Vec<String>| accounts.iter().any(|account| account == importer);
    export.accounts.as_ref().is_none_or(named)
}
