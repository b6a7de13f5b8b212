//! One test for each client library: its program against servers of its own.

use std::process::Command;
use std::time::Duration;

use crate::checks::{C, EVERY_CLIENT, NODE, PYTHON, RUST};
use crate::peer::{installed, peers, run};
use crate::process::capture;

/// Time for compiling a client's program with all it depends on.
const BUILD_DEADLINE: Duration = Duration::from_secs(540);

/// The checks of every client and those of one.
fn with(extra: &[&'static str]) -> Vec<&'static str> {
    [EVERY_CLIENT, extra].concat()
}

#[test]
fn nats_py() {
    let Some(python) = installed("nats-py", ".cache/python/bin/python3") else {
        return;
    };
    let mut command = Command::new(python);
    command.arg("-B").arg(peers("python/client.py"));
    run(command, &with(PYTHON));
}

#[test]
fn transport_node() {
    let Some(_) = installed("transport-node", "node_modules/@nats-io/transport-node") else {
        return;
    };
    let mut command = Command::new("node");
    command.arg(peers("node/client.mjs"));
    run(command, &with(NODE));
}

#[test]
fn c_client() {
    let program = peers(".cache/c/client");
    let Some(directory) = installed("c-client", ".cache/c") else {
        return;
    };
    build(
        Command::new("cc")
            .args([
                "-std=c11",
                "-D_GNU_SOURCE",
                "-Wall",
                "-Wextra",
                "-Werror",
                "-O1",
                "-o",
            ])
            .arg(&program)
            .arg(peers("c/client.c"))
            .args(["-lnats", "-lpthread"])
            .current_dir(directory),
    );
    run(Command::new(program), &with(C));
}

#[test]
fn async_nats() {
    let Some(directory) = installed("async-nats", ".cache/rust") else {
        return;
    };
    build(
        Command::new(env!("CARGO"))
            .args(["build", "--quiet", "--locked", "--manifest-path"])
            .arg(peers("rust/Cargo.toml"))
            .arg("--target-dir")
            .arg(&directory),
    );
    run(
        Command::new(directory.join("debug/midge-peer")),
        &with(RUST),
    );
}

/// Builds a program and fails with the compiler's words when that does not work.
fn build(command: &mut Command) {
    let (status, text) = capture(command, BUILD_DEADLINE);
    assert!(status.success(), "{command:?}\n{text}");
}
