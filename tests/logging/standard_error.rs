//! Standard error as harnesses use it: read, not read, closed, a terminal.

use std::ffi::OsStr;
use std::io::Read as _;
use std::process::Stdio;
use std::time::Duration;

use midge::logging::{LogOptions, install};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};

use super::child::{PATIENCE, has_role, spawn, spawn_with, tell};

#[test]
fn the_default_line_has_pid_local_time_and_label() {
    const TEST: &str = "standard_error::the_default_line_has_pid_local_time_and_label";
    if has_role("default line") {
        let handle = install(&LogOptions::default()).unwrap();
        assert!(
            install(&LogOptions::default()).is_err(),
            "a second subscriber is refused"
        );
        tracing::info!(target: "midge", "Server is ready");
        assert!(handle.flush(PATIENCE));
        return;
    }
    let program = std::env::current_exe().unwrap();
    let zone = [("TZ", OsStr::new("XYZ-5:30"))];
    let before = jiff::Timestamp::now();
    let mut child = spawn_with(&program, TEST, "default line", Stdio::piped(), &zone);
    let text = child.stderr();
    let after = jiff::Timestamp::now();
    assert!(child.exit().success(), "{text}");
    let rest = text.strip_prefix(&format!("[{}] ", child.id())).unwrap();
    let (stamp, rest) = rest.split_at(26);
    assert_eq!(rest, " [INF] Server is ready\n");
    let civil = jiff::civil::DateTime::strptime("%Y/%m/%d %H:%M:%S%.f", stamp).unwrap();
    let offset = jiff::tz::Offset::from_seconds(5 * 3600 + 1800).unwrap();
    let time = offset.to_timestamp(civil).unwrap();
    let microsecond = jiff::SignedDuration::from_micros(1);
    assert!(
        before - microsecond <= time && time <= after,
        "{before} {time} {after}"
    );
}

#[test]
fn a_pipe_that_nobody_reads_stops_nothing() {
    const TEST: &str = "standard_error::a_pipe_that_nobody_reads_stops_nothing";
    const LINES: usize = 50_000;
    if has_role("full pipe") {
        let handle = install(&LogOptions::default()).unwrap();
        for number in 0..LINES {
            tracing::info!(target: "midge", "line {number} {}", "x".repeat(100));
        }
        let flushed = handle.flush(Duration::from_millis(100));
        tell(format_args!("logged all, flushed {flushed}"));
        assert!(handle.flush(PATIENCE));
        tell(format_args!("lost {}", handle.lost_lines()));
        return;
    }
    let program = std::env::current_exe().unwrap();
    let mut child = spawn(&program, TEST, "full pipe", Stdio::piped());
    assert_eq!(child.wait_for("logged all, flushed "), "false");
    let text = child.stderr();
    let lost: usize = child.wait_for("lost ").parse().unwrap();
    assert!(child.exit().success());
    assert!(lost > 0);
    assert_eq!(text.matches("] line ").count() + lost, LINES);
    let reported: usize = text
        .lines()
        .filter_map(|line| line.split_once("[WRN] Log destination failed or too slow: "))
        .map(|(_, rest)| rest.split(' ').next().unwrap().parse::<usize>().unwrap())
        .sum();
    assert_eq!(reported, lost);
}

#[test]
fn a_full_pipe_that_does_not_block_is_waited_for() {
    const TEST: &str = "standard_error::a_full_pipe_that_does_not_block_is_waited_for";
    const LINES: usize = 5000;
    if has_role("non-blocking pipe") {
        rustix::fs::fcntl_setfl(std::io::stderr(), rustix::fs::OFlags::NONBLOCK).unwrap();
        let handle = install(&LogOptions::default()).unwrap();
        for number in 0..LINES {
            tracing::info!(target: "midge", "line {number} {}", "x".repeat(100));
        }
        tell(format_args!(
            "flushed {}",
            handle.flush(Duration::from_millis(100))
        ));
        assert!(handle.flush(PATIENCE));
        return;
    }
    let program = std::env::current_exe().unwrap();
    let mut child = spawn(&program, TEST, "non-blocking pipe", Stdio::piped());
    assert_eq!(child.wait_for("flushed "), "false");
    let text = child.stderr();
    assert!(child.exit().success());
    assert_eq!(text.lines().count(), LINES);
}

#[test]
fn a_closed_pipe_is_survived() {
    const TEST: &str = "standard_error::a_closed_pipe_is_survived";
    if has_role("closed pipe") {
        let handle = install(&LogOptions::default()).unwrap();
        tell("started");
        let mut line = String::new();
        while handle.lost_lines() == 0 {
            line.push('x');
            tracing::info!(target: "midge", "{line}");
            assert!(handle.flush(PATIENCE));
        }
        tell(format_args!("lost {}", handle.lost_lines()));
        return;
    }
    let program = std::env::current_exe().unwrap();
    let mut child = spawn(&program, TEST, "closed pipe", Stdio::piped());
    child.wait_for("started");
    child.close_stderr();
    assert_eq!(child.wait_for("lost "), "1");
    assert!(child.exit().success());
}

#[test]
fn a_terminal_gets_coloured_labels() {
    const TEST: &str = "standard_error::a_terminal_gets_coloured_labels";
    if has_role("terminal") {
        let options = LogOptions {
            timestamps: false,
            ..LogOptions::default()
        };
        let handle = install(&options).unwrap();
        tracing::info!(target: "midge", "green");
        tracing::error!(target: "midge", "red");
        assert!(handle.flush(PATIENCE));
        return;
    }
    let controller = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
    grantpt(&controller).unwrap();
    unlockpt(&controller).unwrap();
    let name = ptsname(&controller, Vec::new()).unwrap();
    let terminal = std::fs::OpenOptions::new()
        .read(true)
        .write(true)
        .open(name.to_str().unwrap())
        .unwrap();
    let program = std::env::current_exe().unwrap();
    let mut child = spawn(&program, TEST, "terminal", Stdio::from(terminal));
    assert!(child.exit().success());
    let id = child.id();
    let expected =
        format!("[{id}] [\x1b[32mINF\x1b[0m] green\r\n[{id}] [\x1b[31mERR\x1b[0m] red\r\n");
    let mut text = vec![0; expected.len()];
    std::fs::File::from(controller)
        .read_exact(&mut text)
        .unwrap();
    assert_eq!(String::from_utf8(text).unwrap(), expected);
}
