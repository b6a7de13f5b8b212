//! What accounts offer to each other, take from each other and map, as `/accountz` shows it.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::config::options::accounts::{
    Account, Export, Import, Latency, ResponseType, Sampling, Sharing,
};
use crate::config::options::mappings::Mapping;
use crate::subject;

/// All of it about one account.
#[derive(Debug, Default, Serialize)]
pub(super) struct AccountSharing {
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    mappings: BTreeMap<String, Vec<Destination>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    exports: Vec<ExportInfo>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    imports: Vec<ImportInfo>,
}

#[derive(Debug, Serialize)]
struct Destination {
    subject: String,
    /// Percent of the messages that go to this destination or to one before it (oracle).
    weight: u16,
    #[serde(skip_serializing_if = "Option::is_none")]
    cluster: Option<String>,
}

#[derive(Debug, Serialize)]
struct ExportInfo {
    subject: String,
    r#type: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    response_type: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    service_latency: Option<LatencyInfo>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    approved_accounts: Vec<String>,
}

#[derive(Debug, Serialize)]
struct ImportInfo {
    subject: String,
    account: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    to: Option<String>,
    local_subject: String,
    r#type: &'static str,
    invalid: bool,
    share: bool,
    tracking: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    latency: Option<LatencyInfo>,
}

#[derive(Debug, Clone, Serialize)]
struct LatencyInfo {
    sampling: SamplingInfo,
    results: String,
}

/// A percentage, or `headers` where the requester decides.
#[derive(Debug, Clone, Serialize)]
#[serde(untagged)]
enum SamplingInfo {
    Percent(u8),
    Headers(&'static str),
}

impl AccountSharing {
    /// What holds for the account `name`. `system` is the system account, which answers questions of all
    /// others; the top level's mappings are those of the account of everybody.
    pub(super) fn of(
        name: &str,
        accounts: &[Account],
        global: Option<&[Mapping]>,
        system: Option<&str>,
    ) -> Self {
        let mut sharing = Self::default();
        let configured = accounts.iter().find(|account| account.name == name);
        let own = configured.map(|account| account.mappings.as_slice());
        for mapping in global.or(own).unwrap_or_default() {
            let shown = destinations(mapping);
            sharing.mappings.insert(mapping.source.clone(), shown);
        }
        if let Some(account) = configured {
            let of_kind = |kind| {
                account
                    .exports
                    .iter()
                    .filter(move |one| one.sharing == kind)
            };
            let exports = of_kind(Sharing::Service).chain(of_kind(Sharing::Stream));
            sharing.exports = exports.map(export).collect();
            let of_kind = |kind| {
                account
                    .imports
                    .iter()
                    .filter(move |one| one.sharing == kind)
            };
            let imports = of_kind(Sharing::Stream).chain(of_kind(Sharing::Service));
            sharing.imports = imports.map(|one| import(one, accounts)).collect();
        }
        if let Some(system) = system.filter(|system| *system != name) {
            sharing.imports.extend(questions(name, system));
        }
        sharing
    }
}

fn destinations(mapping: &Mapping) -> Vec<Destination> {
    let mut before = 0;
    let destinations = mapping.destinations.iter().map(|one| {
        before += u16::from(one.weight);
        Destination {
            subject: one.subject.clone(),
            weight: before,
            cluster: one.cluster.clone(),
        }
    });
    destinations.collect()
}

fn export(export: &Export) -> ExportInfo {
    let is_service = export.sharing == Sharing::Service;
    ExportInfo {
        subject: export.subject.clone(),
        r#type: export.sharing.word(),
        response_type: is_service.then_some(match export.response {
            ResponseType::Single => "Singleton",
            ResponseType::Stream => "Streamed",
            ResponseType::Chunked => "Chunked",
        }),
        service_latency: export.latency.as_ref().map(latency),
        approved_accounts: export.accounts.clone().unwrap_or_default(),
    }
}

fn import(import: &Import, accounts: &[Account]) -> ImportInfo {
    let is_service = import.sharing == Sharing::Service;
    let mut exporters = accounts.iter().filter(|one| one.name == import.account);
    let exported = exporters.next().and_then(|account| {
        account.exports.iter().find(|export| {
            export.sharing == Sharing::Service
                && (export.subject == import.subject
                    || subject::matches(export.subject.as_bytes(), import.subject.as_bytes()))
        })
    });
    let measured = exported.filter(|_| is_service);
    ImportInfo {
        subject: import.subject.clone(),
        account: import.account.clone(),
        to: is_service.then(|| import.local()),
        local_subject: import.local(),
        r#type: import.sharing.word(),
        invalid: false,
        share: import.share,
        tracking: false,
        latency: measured.and_then(|export| export.latency.as_ref().map(latency)),
    }
}

fn latency(latency: &Latency) -> LatencyInfo {
    LatencyInfo {
        sampling: match latency.sampling {
            Sampling::Headers => SamplingInfo::Headers("headers"),
            Sampling::Percent(percent) => SamplingInfo::Percent(percent),
        },
        results: latency.subject.clone(),
    }
}

/// What clients of every account may ask the system account about themselves.
fn questions(name: &str, system: &str) -> impl Iterator<Item = ImportInfo> {
    let about_account = |what: &str| format!("$SYS.REQ.ACCOUNT.{name}.{what}");
    let questions = [
        ("$SYS.REQ.ACCOUNT.PING.CONNZ", about_account("CONNZ")),
        ("$SYS.REQ.SERVER.PING.CONNZ", about_account("CONNZ")),
        ("$SYS.REQ.ACCOUNT.PING.STATZ", about_account("STATZ")),
        ("$SYS.REQ.USER.INFO", format!("$SYS.REQ.USER.{name}.INFO")),
    ];
    questions
        .into_iter()
        .map(move |(local, subject)| ImportInfo {
            share: local == "$SYS.REQ.USER.INFO",
            subject,
            account: system.to_owned(),
            to: Some(local.to_owned()),
            local_subject: local.to_owned(),
            r#type: "service",
            invalid: false,
            tracking: false,
            latency: None,
        })
}
