//! What must hold for every row of the option table.

use std::collections::BTreeSet;

use midge::config::options::row::{Kind, Support};
use midge::config::options::table::{Listed, list};

/// The options of each block, by the path of the block.
fn siblings() -> Vec<Vec<Listed>> {
    let options = list();
    let blocks: BTreeSet<Vec<&str>> = options
        .iter()
        .map(|option| option.path[..option.path.len() - 1].to_vec())
        .collect();
    let of = |block: &Vec<&str>| {
        options
            .iter()
            .filter(|o| o.path[..o.path.len() - 1] == block[..])
            .cloned()
            .collect()
    };
    blocks.iter().map(of).collect()
}

#[test]
fn no_key_means_two_options() {
    for block in siblings() {
        let mut seen = BTreeSet::new();
        for option in &block {
            for key in [&[option.about.key], option.about.aliases].concat() {
                assert!(
                    seen.insert(key),
                    "{} is taken already: {key}",
                    option.dotted()
                );
                assert_eq!(key, key.to_lowercase(), "keys are compared in lower case");
            }
        }
    }
}

#[test]
fn no_environment_variable_means_two_options() {
    let mut seen = BTreeSet::new();
    for option in list() {
        let Some(variable) = option.environment_variable() else {
            continue;
        };
        assert!(seen.insert(variable.clone()), "{variable} is taken already");
        assert_ne!(variable, "MIDGE_CONFIG", "that names the file");
    }
}

#[test]
fn every_row_is_explained() {
    for option in list() {
        let name = option.dotted();
        let document = option.about.document;
        assert!(
            document.len() > 10 && document.ends_with('.'),
            "{name}: {document:?}"
        );
        assert!(document.len() <= 130, "{name}: a sentence is enough");
        let has_children = !(option.about.children)().is_empty();
        let shown = !option.about.default.is_empty() || !option.about.example.is_empty();
        assert!(
            has_children || shown,
            "{name} has neither a default nor an example"
        );
        if let Support::WithoutEffect(reason) | Support::Missing(reason) = option.about.support {
            assert!(
                !reason.ends_with('.') && reason.len() > 10,
                "{name}: {reason:?}"
            );
        }
        if option.about.kind == Kind::Block {
            assert!(has_children, "{name} is a block of nothing");
        }
    }
}

#[test]
fn flags_have_a_name_for_their_value() {
    for option in list().iter().filter(|option| !option.flags().is_empty()) {
        let switch = option.about.kind == Kind::Boolean || option.dotted() == "jetstream";
        assert_eq!(
            option.about.value_name.is_empty(),
            switch,
            "{}",
            option.dotted()
        );
    }
}

/// Every key of nats-server's top level is in the table, so that none is taken for a misspelling.
#[test]
fn knows_every_key_of_nats_server() {
    let known = "accounts allow_non_tls authorization client_advertise cluster \
        connect_error_reports debug default_js_domain default_sentinel disable_sublist_cache \
        no_sublist_cache feature_flags gateway host net http http_base_path http_port monitor_port \
        https https_port jetstream lame_duck_duration lame_duck_grace_period leaf leafnodes listen \
        log_file logfile log_max_num logfile_max_num log_size_limit logfile_size_limit logtime \
        logtime_utc mappings maps max_closed_clients max_connections max_conn max_control_line \
        max_payload max_pending max_sub_tokens max_subscription_tokens max_subscriptions max_subs \
        max_traced_msg_len mqtt no_auth_user no_fast_producer_stall no_header_support \
        no_system_account no_system no_sys_acc ocsp ocsp_cache operator operators roots root \
        root_operators root_operator pid_file pidfile ping_interval ping_max port ports_file_dir \
        prof_block_rate prof_port proxies proxy_protocol reconnect_error_reports remote_syslog \
        resolver account_resolver accounts_resolver resolver_pinned_accounts resolver_preload \
        resolver_tls server_metadata server_name server_tags store_dir storedir syslog \
        system_account system tls trace trace_headers trace_verbose trusted trusted_keys websocket \
        ws write_deadline write_timeout";
    let options: Vec<Listed> = list().into_iter().filter(|o| o.path.len() == 1).collect();
    for key in known.split_whitespace() {
        assert!(
            options.iter().any(|option| option.about.answers_to(key)),
            "{key}"
        );
    }
}
