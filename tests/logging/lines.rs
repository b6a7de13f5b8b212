//! What lines look like and which events make one.

use std::fs;
use std::path::Path;

use midge::logging::{Destination, LogFormat, LogHandle, LogOptions, layer};
use tracing_subscriber::layer::SubscriberExt as _;

use super::child::PATIENCE;

pub(crate) fn file_options(path: &Path) -> LogOptions {
    let destination = Destination::File {
        path: path.to_owned(),
        size_limit: 0,
        max_files: 0,
    };
    LogOptions {
        destination,
        timestamps: false,
        ..LogOptions::default()
    }
}

/// Runs `body` with a log of its own and returns when all lines are with their destination.
pub(crate) fn with_log(options: &LogOptions, body: impl FnOnce(&LogHandle)) {
    let (layer, handle) = layer(options).unwrap();
    let subscriber = tracing_subscriber::registry().with(layer);
    tracing::subscriber::with_default(subscriber, || body(&handle));
    assert!(handle.flush(PATIENCE));
}

fn emit_one_of_each() {
    tracing::error!(target: "midge", fatal = true, "fatal one");
    tracing::error!(target: "midge::server", cid = 7, "error one");
    tracing::warn!(target: "midge", "warn one");
    tracing::info!(target: "midge", "info {}", "one");
    tracing::debug!(target: "midge", "debug one");
    tracing::trace!(target: "midge", "trace one");
    tracing::trace!(target: "midge", system_account = true, "system one");
    tracing::info!(target: "midgets", "another crate's");
    tracing::warn!(target: "rustls", "a library warns");
}

fn shown(options: impl Fn(&mut LogOptions), body: impl FnOnce(&LogHandle)) -> Vec<String> {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("server.log");
    let mut chosen = file_options(&path);
    options(&mut chosen);
    with_log(&chosen, body);
    let prefix = format!("[{}] ", std::process::id());
    let text = fs::read_to_string(&path).unwrap();
    text.lines()
        .map(|line| line.strip_prefix(&prefix).unwrap_or(line).to_owned())
        .collect()
}

const ALWAYS: [&str; 5] = [
    "[FTL] fatal one",
    "[ERR] error one",
    "[WRN] warn one",
    "[INF] info one",
    "[WRN] a library warns",
];

fn with_extra(extra: &[&str]) -> Vec<String> {
    let (library, before) = ALWAYS.split_last().unwrap();
    before
        .iter()
        .chain(extra)
        .chain([library])
        .map(|line| (*line).to_owned())
        .collect()
}

#[test]
fn debug_and_trace_are_independent() {
    let emit = |_: &LogHandle| emit_one_of_each();
    assert_eq!(shown(|_| {}, emit), with_extra(&[]));
    assert_eq!(
        shown(|options| options.debug = true, emit),
        with_extra(&["[DBG] debug one"])
    );
    assert_eq!(
        shown(|options| options.trace = true, emit),
        with_extra(&["[TRC] trace one"])
    );
    let verbose = with_extra(&["[TRC] trace one", "[TRC] system one"]);
    assert_eq!(shown(|options| options.trace_verbose = true, emit), verbose);
}

#[test]
fn levels_change_while_running() {
    let lines = shown(
        |_| {},
        |handle| {
            for (debug, trace) in [(false, false), (true, false), (false, true), (false, false)] {
                handle.set_levels(debug, trace, false);
                tracing::debug!(target: "midge", "d");
                tracing::trace!(target: "midge", "t");
                tracing::info!(target: "midge", "i");
            }
        },
    );
    assert_eq!(
        lines,
        [
            "[INF] i", "[DBG] d", "[INF] i", "[TRC] t", "[INF] i", "[INF] i"
        ]
    );
}

#[test]
fn json_lines_carry_every_field() {
    let lines = shown(
        |options| options.format = LogFormat::Json,
        |_| {
            tracing::info!(
                target: "midge",
                cid = 5_u64,
                kind = "client",
                ratio = 0.5,
                negative = -3,
                flag = true,
                account = ?Some("A \"quoted\""),
                address = %"127.0.0.1:4000",
                level = "reserved",
                "Client connection created"
            );
            tracing::error!(target: "midge", fatal = true, "the end");
        },
    );
    let objects: Vec<serde_json::Value> = lines
        .iter()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let expected = serde_json::json!({
        "level": "info", "pid": std::process::id(), "message": "Client connection created",
        "cid": 5, "kind": "client", "ratio": 0.5, "negative": -3, "flag": true,
        "account": "Some(\"A \\\"quoted\\\"\")", "address": "127.0.0.1:4000", "level_": "reserved",
    });
    assert_eq!(objects[0], expected);
    assert!(
        lines[0].starts_with("{\"level\":\"info\",\"pid\":"),
        "{}",
        lines[0]
    );
    assert_eq!(objects[1]["level"], "fatal");
    assert_eq!(objects[1]["fatal"], true);
}

#[test]
fn a_value_that_logs_while_it_is_formatted_is_harmless() {
    struct Chatty;
    impl std::fmt::Display for Chatty {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            tracing::info!(target: "midge", "inner");
            f.write_str("value")
        }
    }
    let lines = shown(
        |_| {},
        |_| tracing::info!(target: "midge", "outer {Chatty}"),
    );
    assert!(lines.contains(&"[INF] outer value".to_owned()), "{lines:?}");
}

#[test]
fn many_threads_never_mix_their_lines() {
    let lines = shown(
        |_| {},
        |_| {
            let dispatch = tracing::dispatcher::get_default(Clone::clone);
            std::thread::scope(|scope| {
                for writer in 0..4 {
                    let dispatch = dispatch.clone();
                    scope.spawn(move || {
                        tracing::dispatcher::with_default(&dispatch, || {
                            for number in 0..500 {
                                tracing::info!(target: "midge", "{writer}:{number}");
                            }
                        });
                    });
                }
            });
        },
    );
    assert_eq!(lines.len(), 2000);
    for writer in 0..4 {
        let own: Vec<_> = lines
            .iter()
            .filter(|line| line.starts_with(&format!("[INF] {writer}:")))
            .collect();
        let expected: Vec<_> = (0..500)
            .map(|number| format!("[INF] {writer}:{number}"))
            .collect();
        assert!(own.into_iter().eq(expected.iter()));
    }
}

#[test]
fn times_follow_the_lines() {
    let lines = shown(
        |options| (options.timestamps, options.utc) = (true, true),
        |_| (0..100).for_each(|number| tracing::info!(target: "midge", "{number}")),
    );
    let stamps: Vec<&str> = lines.iter().map(|line| &line[..26]).collect();
    assert!(stamps.is_sorted(), "{stamps:?}");
    let parsed: Vec<_> = stamps
        .iter()
        .map(|stamp| jiff::civil::DateTime::strptime("%Y/%m/%d %H:%M:%S%.f", stamp).unwrap())
        .collect();
    assert_eq!(parsed.len(), 100);
    assert_eq!(&lines[0][26..], " [INF] 0");
}
