//! The layers: a module names only its own layer and those below, and no layer names what belongs to
//! one above it.

use std::collections::BTreeMap;

use super::code::{code_without_tests, is_test_file, is_word};
use super::imports::{File, Module, imports, module_of, resolve};
use super::rules::Violation;

/// The modules of each layer from the lowest on. A module that stands nowhere belongs to no layer and
/// is a violation by itself.
const LAYERS: [&[&str]; 6] = [
    &["proto", "subject"],
    &["routing", "outbound"],
    &["broker", "auth"],
    &["conn"],
    &["link"],
    &[
        "config", "tls", "http", "monitor", "system", "cluster", "server", "signals", "cli",
        "logging", "process", "daemon",
    ],
];

/// What is meant by the words that layers may not name.
const SOCKETS: &[&str] = &[
    "std::net::Tcp",
    "std::net::Udp",
    "std::os::unix::net",
    "tokio::net",
    "TcpStream",
    "TcpListener",
    "UnixStream",
    "UnixListener",
    "UdpSocket",
];
const TIMERS: &[&str] = &["tokio::time", "thread::sleep"];
const CLOCKS: &[&str] = &["Instant::now", "SystemTime::now"];
const LOCKS: &[&str] = &["Mutex", "RwLock", "std::sync::atomic"];
const RANDOMNESS: &[&str] = &["rand::", "RandomState", "SystemRandom", "getrandom"];
const TOKIO: &[&str] = &["tokio::"];
const FILES: &[&str] = &["std::fs", "tokio::fs", "std::env"];

/// What each layer may not name. The layer of whole connections reads the clock for those below it.
const FORBIDDEN: [&[&[&str]]; 6] = [
    &[
        TOKIO,
        SOCKETS,
        TIMERS,
        CLOCKS,
        &["Instant"],
        LOCKS,
        RANDOMNESS,
        FILES,
    ],
    &[TOKIO, SOCKETS, TIMERS, CLOCKS, &["Mutex", "RwLock"], FILES],
    &[TOKIO, SOCKETS, TIMERS, CLOCKS, FILES],
    &[FILES],
    &[SOCKETS, TIMERS, CLOCKS, FILES],
    &[],
];

/// What may be named all the same: it only tells tasks that something has changed.
const EXCEPTIONS: [(usize, &str); 1] = [(2, "tokio::sync::Notify")];

/// The kinds of peers, which do not know each other.
const KINDS: [&str; 6] = ["client", "route", "internal", "leaf", "gateway", "mqtt"];

fn layer_of(module: &[String]) -> Option<usize> {
    let first = module.first()?.as_str();
    LAYERS.iter().position(|names| names.contains(&first))
}

fn modules(files: &[File]) -> Vec<Module> {
    files
        .iter()
        .filter_map(|file| module_of(&file.path))
        .collect()
}

/// Imports from above, between kinds, and modules without a layer.
pub(crate) fn check_imports(files: &[File]) -> Vec<Violation> {
    let modules = modules(files);
    let mut violations = Vec::new();
    for file in files {
        let Some(own) = module_of(&file.path) else {
            continue;
        };
        let Some(layer) = layer_of(&own) else {
            violations.push(Violation::new(&file.path, 1, "belongs to no layer"));
            continue;
        };
        for import in imports(file) {
            let Some(target) = resolve(&import.target, &modules) else {
                continue;
            };
            let rule = match layer_of(target) {
                Some(other) if other > layer => format!(
                    "layer {layer} may not name {} of layer {other}",
                    target.join("::")
                ),
                Some(_) if names_other_kind(&own, target) => {
                    format!("a kind may not name the kind {}", target.join("::"))
                }
                Some(_) | None => continue,
            };
            violations.push(Violation::new(&file.path, import.line, &rule));
        }
    }
    violations
}

fn names_other_kind(own: &[String], target: &[String]) -> bool {
    let kind = |module: &[String]| match module {
        [link, kind, ..] if link == "link" && KINDS.contains(&kind.as_str()) => Some(kind.clone()),
        _ => None,
    };
    kind(own).is_some_and(|own| kind(target).is_some_and(|target| own != target))
}

/// Words that a layer may not name.
pub(crate) fn check_words(file: &File) -> Vec<Violation> {
    let Some(layer) = module_of(&file.path).as_deref().and_then(layer_of) else {
        return Vec::new();
    };
    if is_test_file(&file.path) {
        return Vec::new();
    }
    let mut violations = Vec::new();
    for (index, line) in code_without_tests(&file.text).lines().enumerate() {
        let mut line = line.to_owned();
        for (_, exception) in EXCEPTIONS.iter().filter(|(allowed, _)| *allowed == layer) {
            line = line.replace(exception, "");
        }
        let words = FORBIDDEN[layer].iter().copied().flatten();
        if let Some(word) = words.into_iter().find(|word| names(&line, word)) {
            let rule = format!("layer {layer} may not name {word}");
            violations.push(Violation::new(&file.path, index + 1, &rule));
        }
    }
    violations
}

/// Whether `line` holds `word`, not as a part of a longer one.
fn names(line: &str, word: &str) -> bool {
    line.match_indices(word).any(|(at, _)| {
        let before = line[..at].chars().next_back();
        let after = line[at + word.len()..].chars().next();
        let open_end = word.ends_with(':') || word.ends_with("Tcp") || word.ends_with("Udp");
        !before.is_some_and(is_word) && (open_end || !after.is_some_and(is_word))
    })
}

/// Modules that import each other in a circle. The parts of one directory are one module here: they
/// were taken apart for reading, and share what they are about.
pub(crate) fn check_cycles(files: &[File]) -> Vec<Violation> {
    let modules = modules(files);
    let mut edges: BTreeMap<String, BTreeMap<String, (String, usize)>> = BTreeMap::new();
    for file in files {
        let Some(own) = module_of(&file.path) else {
            continue;
        };
        for import in imports(file) {
            let Some(target) = resolve(&import.target, &modules) else {
                continue;
            };
            if target[0] != own[0] {
                let place = (file.path.clone(), import.line);
                edges
                    .entry(own[0].clone())
                    .or_default()
                    .insert(target[0].clone(), place);
            }
        }
    }
    let mut violations = Vec::new();
    for (from, targets) in &edges {
        for (to, (path, line)) in targets {
            if reaches(&edges, to, from) {
                let rule = format!("{from} names {to}, which leads back to {from}");
                violations.push(Violation::new(path, *line, &rule));
            }
        }
    }
    violations
}

fn reaches(
    edges: &BTreeMap<String, BTreeMap<String, (String, usize)>>,
    from: &str,
    to: &str,
) -> bool {
    let mut seen = vec![from.to_owned()];
    let mut next = 0;
    while next < seen.len() {
        let targets = edges.get(&seen[next]).into_iter().flat_map(BTreeMap::keys);
        for target in targets {
            if !seen.contains(target) {
                seen.push(target.clone());
            }
        }
        next += 1;
    }
    seen.iter().any(|module| module == to)
}

#[cfg(test)]
mod tests {
    use super::super::imports::file;
    use super::*;

    fn shown(violations: &[Violation]) -> Vec<String> {
        violations.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn imports_from_above_are_found() {
        let files = [
            file("src/lib.rs", "pub mod server; use crate::server::Server;"),
            file(
                "src/proto/parse.rs",
                "use super::op::Op;\nuse crate::routing::trie::Trie;",
            ),
            file("src/proto/op.rs", ""),
            file("src/routing/trie.rs", "use crate::subject;"),
            file("src/subject.rs", "fn f() {\n crate::server::start(); }"),
            file(
                "src/server/mod.rs",
                "use crate::{conn::Connection, link::client::Client};",
            ),
            file(
                "src/conn/mod.rs",
                "use crate::{proto::op::Op, config::{Options}};",
            ),
            file("src/config/mod.rs", "use crate::server::Server;"),
            file("src/stray.rs", ""),
        ];
        assert_eq!(
            shown(&check_imports(&files)),
            [
                "src/proto/parse.rs:2: layer 0 may not name routing::trie of layer 1",
                "src/subject.rs:2: layer 0 may not name server of layer 5",
                "src/conn/mod.rs:1: layer 3 may not name config of layer 5",
                "src/stray.rs:1: belongs to no layer",
            ]
        );
    }

    #[test]
    fn kinds_that_know_each_other_are_found() {
        let files = [
            file(
                "src/link/client/mod.rs",
                "use super::route::Route;\nuse super::context::C;",
            ),
            file(
                "src/link/route.rs",
                "use crate::link::client::Client;\nuse crate::link::route::X;",
            ),
            file("src/link/context.rs", ""),
        ];
        assert_eq!(
            shown(&check_imports(&files)),
            [
                "src/link/client/mod.rs:1: a kind may not name the kind link::route",
                "src/link/route.rs:1: a kind may not name the kind link::client",
            ]
        );
    }

    #[test]
    fn words_of_higher_layers_are_found() {
        for (path, line) in [
            ("src/proto/parse.rs", "use tokio::io::AsyncRead;"),
            (
                "src/proto/parse.rs",
                "static X: std::sync::Mutex<u8> = x();",
            ),
            (
                "src/subject.rs",
                "let x = std::collections::hash_map::RandomState::new();",
            ),
            ("src/subject.rs", "fn f(now: Instant) {}"),
            ("src/outbound.rs", "use tokio::sync::Notify;"),
            ("src/routing/trie.rs", "let now = Instant::now();"),
            ("src/broker/peer.rs", "use tokio::sync::{Notify, Mutex};"),
            ("src/broker/peer.rs", "use std::net::TcpStream;"),
            ("src/auth/mod.rs", "let text = std::fs::read(path);"),
            ("src/conn/read.rs", "use std::env;"),
            ("src/link/client.rs", "use tokio::net::tcp;"),
        ] {
            let found = check_words(&file(path, &format!("\n{line}")));
            assert_eq!(found.len(), 1, "{path}: {line}");
            assert!(shown(&found)[0].starts_with(&format!("{path}:2: ")));
        }
        for (path, line) in [
            (
                "src/proto/parse.rs",
                "// tokio::io and Mutex\nlet instantly = \"Mutex\";",
            ),
            (
                "src/proto/parse.rs",
                "#[cfg(test)]\nmod tests {\n use tokio::io;",
            ),
            (
                "src/broker/peer.rs",
                "use tokio::sync::Notify;\nlet x: Instant = now;",
            ),
            (
                "src/conn/mod.rs",
                "let now = Instant::now(); use tokio::net::TcpStream;",
            ),
            (
                "src/server/mod.rs",
                "std::fs::read(path); TcpListener::bind(x)",
            ),
            ("src/auth/mod.rs", "let operand::brand::x = y;"),
            ("src/auth/x/tests.rs", "let now = Instant::now();"),
        ] {
            assert_eq!(
                shown(&check_words(&file(path, line))),
                [""; 0],
                "{path}: {line}"
            );
        }
    }

    #[test]
    fn circles_are_found() {
        let files = [
            file(
                "src/server/mod.rs",
                "use crate::http::serve;\nuse crate::tls::Tls;",
            ),
            file("src/http/mod.rs", "use crate::cluster::Routes;"),
            file("src/cluster.rs", "\nuse crate::server::Server;"),
            file("src/tls.rs", ""),
            file("src/broker/peer.rs", "use super::subscription::S;"),
            file("src/broker/subscription.rs", "use super::peer::Peer;"),
        ];
        assert_eq!(
            shown(&check_cycles(&files)),
            [
                "src/cluster.rs:2: cluster names server, which leads back to cluster",
                "src/http/mod.rs:1: http names cluster, which leads back to http",
                "src/server/mod.rs:1: server names http, which leads back to server",
            ]
        );
    }
}
