//! Tests that come with async-nats, run against the server as it stands.
//!
//! They start whatever program is called `nats-server`, read its log and its pid file and send it
//! signals, so they also show that Midge under that name is what such harnesses expect.

use std::collections::BTreeMap;
use std::env;
use std::ffi::OsString;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::peer::{installed, peers};
use crate::process::capture;
use crate::server::binary;

/// How many tests the pinned version of async-nats has in the files that are run.
const TESTS_IN_ALL: usize = 87;

/// Time for building and running all of them.
const SUITE_DEADLINE: Duration = Duration::from_secs(540);

/// Tests that cannot pass, each with the reason.
const LEFT_OUT: &[(&str, &str)] = &[
    (
        "client::connect_domain",
        "connects to a server on the internet",
    ),
    (
        "client::retry_on_initial_connect",
        "listens on a fixed port",
    ),
    ("client::custom_auth_callback_jwt", "needs JWT accounts"),
    ("client::multiple_auth_methods", "needs JWT accounts"),
    (
        "server_pool::server_pool_contains_discovered_servers",
        "needs a cluster with JetStream",
    ),
    (
        "server_pool::set_server_pool_marks_all_as_explicit",
        "needs a cluster with JetStream",
    ),
];

#[test]
fn async_nats_own_tests() {
    let Some(_) = installed("async-nats-own-tests", ".cache/suite/tests/client_tests.rs") else {
        return;
    };
    let links = tempfile::tempdir().expect("a directory for the link");
    symlink(absolute(&binary()), links.path().join("nats-server")).expect("a link to the server");
    let (_, text) = capture(&mut suite(links.path()), SUITE_DEADLINE);
    let outcomes = outcomes(&text);
    let failed: Vec<_> = outcomes.iter().filter(|(_, passed)| !**passed).collect();
    assert!(failed.is_empty(), "{failed:?}\n{text}");
    let wanted = TESTS_IN_ALL - LEFT_OUT.len();
    assert_eq!(outcomes.len(), wanted, "tests that ran\n{text}");
}

/// The command that runs the suite with a directory at the front of the path.
fn suite(front_of_path: &Path) -> Command {
    let path = env::var_os("PATH").unwrap_or_default();
    let directories = [front_of_path.to_owned()]
        .into_iter()
        .chain(env::split_paths(&path));
    let mut command = Command::new(env!("CARGO"));
    command
        .args([
            "test",
            "--locked",
            "--no-fail-fast",
            "--tests",
            "--manifest-path",
        ])
        .arg(peers(".cache/suite/Cargo.toml"))
        .arg("--target-dir")
        .arg(peers(".cache/rust"))
        .args(["--", "--test-threads", "4", "--exact"])
        .env("PATH", env::join_paths(directories).expect("a search path"));
    for (name, _) in LEFT_OUT {
        command.args(["--skip", name]);
    }
    command
}

/// The tests that ran, by name, and whether each passed.
fn outcomes(text: &str) -> BTreeMap<&str, bool> {
    let lines = text.lines().filter_map(|line| line.strip_prefix("test "));
    let results = lines.filter_map(|line| line.split_once(" ... "));
    results
        .map(|(name, result)| (name, result == "ok"))
        .collect()
}

/// The path of the server for a link in another directory.
fn absolute(binary: &OsString) -> PathBuf {
    Path::new(binary)
        .canonicalize()
        .expect("the server is there")
}
