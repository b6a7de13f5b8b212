//! From the configuration of accounts to what the broker takes.

use crate::broker::account::{AccountLimits, GLOBAL_ACCOUNT};
use crate::broker::imports::{DEFAULT_RESPONSE_THRESHOLD, ResponseType};
use crate::broker::latency::LatencyRules;
use crate::broker::mappings::{DestinationRules, MappingRules};
use crate::broker::message_trace::TraceRules;
use crate::broker::registry::AccountSettings;
use crate::broker::sharing::{ExportRules, ImportRules, Sharing, SharingRules};
use crate::config::Options;
use crate::config::options::{accounts, mappings};

/// The name of the cluster that the server belongs to; empty without one.
pub(super) fn cluster_name(options: &Options) -> &str {
    let cluster = options.cluster.as_ref();
    cluster
        .and_then(|cluster| cluster.name.as_deref())
        .unwrap_or_default()
}

/// What holds in each account, `$G` among them.
#[must_use]
pub fn account_settings(options: &Options) -> Vec<AccountSettings> {
    let mut settings = vec![AccountSettings {
        name: GLOBAL_ACCOUNT.to_owned(),
        mappings: mapping_rules(&options.mappings),
        top_subjects: options.top_subjects.into(),
        ..AccountSettings::default()
    }];
    let of_account = |account| one_account(account, options.top_subjects);
    settings.extend(options.accounts.iter().map(of_account));
    settings
}

fn one_account(account: &accounts::Account, top_subjects: u16) -> AccountSettings {
    let size = |limit: Option<u32>| limit.and_then(|limit| usize::try_from(limit).ok());
    AccountSettings {
        name: account.name.clone(),
        limits: AccountLimits {
            max_connections: size(account.limits.max_connections),
            max_subscriptions: size(account.limits.max_subscriptions),
            max_payload: size(account.limits.max_payload),
        },
        mappings: mapping_rules(&account.mappings),
        top_subjects: account.top_subjects.unwrap_or(top_subjects).into(),
        trace: account.message_trace.as_ref().map(trace_rules),
        sharing: SharingRules {
            exports: account.exports.iter().map(export_rules).collect(),
            imports: account.imports.iter().map(import_rules).collect(),
        },
    }
}

fn trace_rules(configured: &accounts::MessageTrace) -> TraceRules {
    TraceRules {
        destination: configured.destination.clone(),
        percent: configured.sampling,
    }
}

fn sharing(configured: accounts::Sharing) -> Sharing {
    match configured {
        accounts::Sharing::Stream => Sharing::Stream,
        accounts::Sharing::Service => Sharing::Service,
    }
}

fn export_rules(export: &accounts::Export) -> ExportRules {
    let position = export.account_token_position;
    ExportRules {
        sharing: sharing(export.sharing),
        subject: export.subject.clone(),
        accounts: export.accounts.clone(),
        account_token_position: position.and_then(|place| usize::try_from(place).ok()),
        response: match export.response {
            accounts::ResponseType::Single => ResponseType::Single,
            accounts::ResponseType::Stream | accounts::ResponseType::Chunked => {
                ResponseType::Several
            }
        },
        threshold: export
            .response_threshold
            .unwrap_or(DEFAULT_RESPONSE_THRESHOLD),
        latency: export.latency.as_ref().map(latency_rules),
        allow_trace: export.allow_trace,
    }
}

fn latency_rules(latency: &accounts::Latency) -> LatencyRules {
    LatencyRules {
        subject: latency.subject.clone(),
        percent: match latency.sampling {
            accounts::Sampling::Headers => 0,
            accounts::Sampling::Percent(percent) => percent,
        },
    }
}

fn import_rules(import: &accounts::Import) -> ImportRules {
    ImportRules {
        sharing: sharing(import.sharing),
        account: import.account.clone(),
        subject: import.subject.clone(),
        local: import.local(),
        share: import.share,
        allow_trace: import.allow_trace,
    }
}

fn mapping_rules(configured: &[mappings::Mapping]) -> Vec<MappingRules> {
    let destination = |destination: &mappings::MappingDestination| DestinationRules {
        subject: destination.subject.clone(),
        weight: destination.weight,
        cluster: destination.cluster.clone(),
    };
    let rule = |mapping: &mappings::Mapping| MappingRules {
        source: mapping.source.clone(),
        destinations: mapping.destinations.iter().map(destination).collect(),
    };
    configured.iter().map(rule).collect()
}
