//! Signals between real processes.

use std::os::unix::fs::symlink;
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use midge::process::write_pid_file;
use midge::signals::{ServerSignal, SignalStream, send, send_to};

use super::child::{Running, has_role, spawn, spawn_with, tell};

const PID_FILE: &str = "MIDGE_LOGGING_TEST_PID_FILE";

/// Writes its pid to a file if told where, says what it receives, and ends as a server would.
fn receive_signals() {
    if let Some(path) = std::env::var_os(PID_FILE) {
        write_pid_file(Path::new(&path)).unwrap();
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let mut signals = SignalStream::new().unwrap();
        tell("listening");
        loop {
            let signal = signals.next().await;
            tell(format_args!("trapped \"{signal}\""));
            if matches!(signal, ServerSignal::Stop | ServerSignal::Terminate) {
                return;
            }
        }
    });
}

fn start(program: &Path, test: &str) -> Running {
    let mut child = spawn(program, test, "receiver", Stdio::null());
    child.wait_for("listening");
    child
}

/// A link to this program, so that its processes have a name of their own. Must be shorter than 16 bytes.
fn named(directory: &Path, name: &str) -> PathBuf {
    let link = directory.join(name);
    symlink(std::env::current_exe().unwrap(), &link).unwrap();
    link
}

#[test]
fn each_command_arrives_as_its_signal() {
    const TEST: &str = "signals::each_command_arrives_as_its_signal";
    if has_role("receiver") {
        return receive_signals();
    }
    let program = std::env::current_exe().unwrap();
    for (last, text) in [("quit", "\"interrupt\""), ("term", "\"terminated\"")] {
        let mut child = start(&program, TEST);
        let target = child.id().to_string();
        for (command, text) in [
            ("reopen", "\"user defined signal 1\""),
            ("ldm", "\"user defined signal 2\""),
            ("reload", "\"hangup\""),
        ] {
            send(command, Some(&target)).unwrap();
            assert_eq!(child.wait_for("trapped "), text);
        }
        send(last, Some(&target)).unwrap();
        assert_eq!(child.wait_for("trapped "), text);
        assert!(child.exit().success());
    }
    let mut child = start(&program, TEST);
    send("stop", Some(&child.id().to_string())).unwrap();
    assert_eq!(child.exit().signal(), Some(9));
}

#[test]
fn quit_signal_is_left_to_the_system() {
    const TEST: &str = "signals::quit_signal_is_left_to_the_system";
    if has_role("receiver") {
        return receive_signals();
    }
    let mut child = start(&std::env::current_exe().unwrap(), TEST);
    let pid = rustix::process::Pid::from_raw(child.id().cast_signed()).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::QUIT).unwrap();
    assert_eq!(child.exit().signal(), Some(3));
}

#[test]
fn processes_are_found_by_name_pid_file_and_pattern() {
    const TEST: &str = "signals::processes_are_found_by_name_pid_file_and_pattern";
    if has_role("receiver") {
        return receive_signals();
    }
    let directory = tempfile::tempdir().unwrap();
    let name = format!("sig{}", std::process::id());
    let program = named(directory.path(), &name);
    let absent = send_to("reload", None, &name).unwrap_err();
    assert_eq!(absent, format!("no {name} processes running"));

    let mut first = start(&program, TEST);
    send_to("reload", None, &name).unwrap();
    assert_eq!(first.wait_for("trapped "), "\"hangup\"");

    let pid_file = directory.path().join("server.pid");
    let environment = [(PID_FILE, pid_file.as_os_str())];
    let mut second = spawn_with(&program, TEST, "receiver", Stdio::null(), &environment);
    second.wait_for("listening");
    let mut ids = [first.id(), second.id()];
    ids.sort_unstable();
    let several = send_to("reload", None, &name).unwrap_err();
    let expected = format!("multiple {name} processes running:\n{}\n{}", ids[0], ids[1]);
    assert_eq!(several, expected);

    send_to("reopen", Some("*"), &name).unwrap();
    for child in [&mut first, &mut second] {
        assert_eq!(child.wait_for("trapped "), "\"user defined signal 1\"");
    }
    // A pattern that is one whole id, here also the beginning of no other id of the name.
    send_to("ldm", Some(&format!("{}*", second.id())), &name).unwrap();
    assert_eq!(second.wait_for("trapped "), "\"user defined signal 2\"");

    assert_eq!(
        std::fs::read_to_string(&pid_file).unwrap(),
        second.id().to_string()
    );
    send("quit", pid_file.to_str()).unwrap();
    assert_eq!(second.wait_for("trapped "), "\"interrupt\"");
    assert!(second.exit().success());
    send_to("term", None, &name).unwrap();
    assert_eq!(first.wait_for("trapped "), "\"terminated\"");
    assert!(first.exit().success());
}
