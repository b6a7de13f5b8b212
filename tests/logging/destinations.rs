//! Files with rotation, and syslog servers.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::net::{TcpListener, UdpSocket};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::{UnixDatagram, UnixListener};
use std::path::{Path, PathBuf};

use midge::logging::{Destination, LogOptions, layer};

use super::child::{PATIENCE, eventually};
use super::lines::{file_options, with_log};

fn rotating(path: &Path, size_limit: u64, max_files: usize) -> LogOptions {
    let destination = Destination::File {
        path: path.to_owned(),
        size_limit,
        max_files,
    };
    LogOptions {
        destination,
        ..file_options(path)
    }
}

/// Backups of the log file, oldest first, and then the file itself.
fn files_of(path: &Path) -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> = fs::read_dir(path.parent().unwrap())
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    files.sort();
    files.rotate_left(1);
    assert_eq!(files.last().unwrap(), path);
    files
}

fn messages(path: &Path) -> Vec<String> {
    let prefix = format!("[{}] ", std::process::id());
    let text = fs::read_to_string(path).unwrap();
    text.split_inclusive('\n')
        .map(|line| line.replacen(&prefix, "", 1))
        .collect()
}

#[test]
fn the_line_that_exceeds_the_limit_is_the_last_of_its_file() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("server.log");
    let line_length = format!("[{}] [INF] line 0\n", std::process::id()).len() as u64;
    with_log(&rotating(&path, 3 * line_length, 0), |_| {
        for number in 0..6 {
            tracing::info!(target: "midge", "line {number}");
        }
    });
    let files = files_of(&path);
    let first: Vec<String> = (0..4)
        .map(|number| format!("[INF] line {number}\n"))
        .collect();
    assert_eq!(messages(&files[0]), first);
    let backup = files[0].to_str().unwrap();
    let note = format!("[INF] Rotated log, backup saved as \"{backup}\"\r\n");
    assert_eq!(messages(&files[1])[0], note);
    // The note alone is longer than the limit, so that every further line makes a backup.
    assert_eq!(files.len(), 4);
    assert_eq!(messages(&files[1])[1], "[INF] line 4\n");
    assert_eq!(messages(&files[2])[1], "[INF] line 5\n");
    assert_eq!(
        fs::metadata(&path).unwrap().permissions().mode() & 0o777,
        0o640
    );
}

#[test]
fn old_backups_are_purged_and_other_files_are_not() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("server.log");
    let mine = [
        "server.log.2001.02.03.04.05.06.000000007",
        "server.log.2002.02.03.04.05.06.000000007",
    ];
    let others = [
        "server.log.2001.02.03.gz",
        "server.log.old",
        "other.log.2001.02.03.04.05.06.7",
    ];
    for name in mine.iter().chain(&others) {
        fs::write(directory.path().join(name), "old").unwrap();
    }
    with_log(
        &rotating(&path, 10, 2),
        |_| tracing::info!(target: "midge", "more than ten bytes"),
    );
    for name in others {
        assert!(directory.path().join(name).exists(), "{name}");
    }
    let remaining = fs::read_dir(directory.path()).unwrap().count();
    assert_eq!(
        remaining,
        others.len() + 2,
        "the file and one backup remain"
    );
    let purged: Vec<String> = mine
        .iter()
        .map(|name| format!("[INF] Purged log file \"{name}\"\r\n"))
        .collect();
    assert_eq!(messages(&path)[1..], purged);
}

#[test]
fn a_file_over_its_limit_at_start_rotates_at_once() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("server.log");
    fs::write(&path, "x".repeat(200)).unwrap();
    with_log(&rotating(&path, 150, 0), |_| {});
    let files = files_of(&path);
    assert_eq!(files.len(), 2);
    assert!(
        fs::read_to_string(&files[0])
            .unwrap()
            .ends_with("[INF] Rotating logfile...\n")
    );
    assert_eq!(messages(&path).len(), 1);
}

#[test]
fn a_failed_rotation_keeps_the_file() {
    let directory = tempfile::tempdir().unwrap();
    let inner = directory.path().join("inner");
    fs::create_dir(&inner).unwrap();
    let path = inner.join("server.log");
    let moved = directory.path().join("moved");
    with_log(&rotating(&path, 60, 0), |handle| {
        tracing::info!(target: "midge", "short");
        assert!(handle.flush(PATIENCE));
        fs::rename(&inner, &moved).unwrap();
        tracing::info!(target: "midge", "{}", "long ".repeat(20));
        tracing::info!(target: "midge", "still here");
    });
    let lines = messages(&moved.join("server.log"));
    let expected = "[ERR] Unable to rotate logfile (no such file or directory), will attempt next rotation at size 120\r\n";
    assert_eq!(lines[2], expected);
    assert_eq!(lines[3], "[INF] still here\n");
}

#[test]
fn reopen_begins_a_new_file_after_a_rename() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("server.log");
    let moved = directory.path().join("server.log.1");
    let options = file_options(&path);
    with_log(&options, |handle| {
        tracing::info!(target: "midge", "before");
        assert!(handle.flush(PATIENCE));
        fs::rename(&path, &moved).unwrap();
        tracing::info!(target: "midge", "between");
        handle.reopen(&options);
        tracing::info!(target: "midge", "after");
        let elsewhere = file_options(&directory.path().join("absent/server.log"));
        handle.reopen(&elsewhere);
        handle.reopen(&LogOptions::default());
    });
    assert_eq!(messages(&moved), ["[INF] before\n", "[INF] between\n"]);
    let lines = messages(&path);
    assert_eq!(lines[..2], ["[INF] File log re-opened\n", "[INF] after\n"]);
    assert!(lines[2].starts_with("[ERR] File log re-open failed, the old file stays in use"));
    assert_eq!(
        lines[3],
        "[INF] File log re-open ignored, not a file logger\n"
    );
}

#[test]
fn apply_moves_the_log() {
    let directory = tempfile::tempdir().unwrap();
    let (first, second) = (
        directory.path().join("a.log"),
        directory.path().join("b.log"),
    );
    with_log(&file_options(&first), |handle| {
        tracing::info!(target: "midge", "one");
        let changed = LogOptions {
            debug: true,
            ..file_options(&second)
        };
        handle.apply(&changed).unwrap();
        tracing::debug!(target: "midge", "two");
        let refused = handle.apply(&file_options(&directory.path().join("absent/c.log")));
        assert!(refused.is_err());
        tracing::debug!(target: "midge", "three");
    });
    assert_eq!(messages(&first), ["[INF] one\n"]);
    assert_eq!(messages(&second), ["[DBG] two\n", "[DBG] three\n"]);
}

#[test]
fn what_cannot_be_opened_is_told_in_the_known_words() {
    let refused = |destination| {
        let options = LogOptions {
            destination,
            ..LogOptions::default()
        };
        layer(&options).map(|_| ()).unwrap_err().to_string()
    };
    let url = |url: &str| refused(Destination::RemoteSyslog { url: url.into() });
    let path = Path::new("/nonexistent/x.log");
    let text = refused(file_options(path).destination);
    assert_eq!(
        text,
        "error opening file: open /nonexistent/x.log: no such file or directory"
    );
    assert_eq!(url("bogus://x"), "error invalid network type: \"bogus\"");
    let closed = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let expected =
        format!("error connecting to syslog: \"dial tcp {closed}: connect: connection refused\"");
    assert_eq!(url(&format!("tcp://{closed}")), expected);
    let absent = refused(Destination::Syslog {
        socket: Some("/nonexistent/log".into()),
    });
    assert_eq!(
        absent,
        "error connecting to syslog: \"Unix syslog delivery error\""
    );
}

fn to_syslog(destination: Destination) -> LogOptions {
    LogOptions {
        destination,
        utc: true,
        debug: true,
        trace: true,
        ..LogOptions::default()
    }
}

fn emit_one_of_each() {
    tracing::error!(target: "midge", fatal = true, "fatal");
    tracing::error!(target: "midge", "error");
    tracing::warn!(target: "midge", "warn");
    tracing::info!(target: "midge", "info");
    tracing::debug!(target: "midge", "debug");
    tracing::trace!(target: "midge", "trace");
}

/// Takes a message apart: priority, time, the rest.
fn split_message(message: &str, time_length: usize) -> (u8, &str, &str) {
    let (priority, rest) = message.strip_prefix('<').unwrap().split_once('>').unwrap();
    let (time, rest) = rest.split_at(time_length);
    (priority.parse().unwrap(), time, rest)
}

const SEVERITIES: [(u8, &str); 6] = [
    (2, "fatal"),
    (3, "error"),
    (4, "warn"),
    (5, "info"),
    (7, "debug"),
    (5, "trace"),
];

fn check_remote_message(message: &str, (priority, text): (u8, &str)) {
    let (found, time, rest) = split_message(message, "2026-11-22T17:32:50Z".len());
    let host = rustix::system::uname()
        .nodename()
        .to_str()
        .unwrap()
        .to_owned();
    let (tag, process) = (midge::process::executable_name(), std::process::id());
    assert_eq!(found, priority);
    assert!(time.parse::<jiff::Timestamp>().is_ok(), "{time}");
    assert_eq!(rest, format!(" {host} {tag}[{process}]: {text}\n"));
}

#[test]
fn remote_syslog_over_udp() {
    let server = UdpSocket::bind("127.0.0.1:0").unwrap();
    server.set_read_timeout(Some(PATIENCE)).unwrap();
    let url = format!("udp://{}", server.local_addr().unwrap());
    with_log(&to_syslog(Destination::RemoteSyslog { url }), |_| {
        emit_one_of_each()
    });
    for expected in SEVERITIES {
        let mut buffer = [0; 1024];
        let length = server.recv(&mut buffer).unwrap();
        check_remote_message(std::str::from_utf8(&buffer[..length]).unwrap(), expected);
    }
}

#[test]
fn remote_syslog_over_tcp_survives_a_restart_of_the_server() {
    let server = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("tcp://{}", server.local_addr().unwrap());
    with_log(&to_syslog(Destination::RemoteSyslog { url }), |handle| {
        let (stream, _) = server.accept().unwrap();
        emit_one_of_each();
        let mut reader = BufReader::new(stream);
        for expected in SEVERITIES {
            let mut line = String::new();
            reader.read_line(&mut line).unwrap();
            check_remote_message(&line, expected);
        }
        drop(reader);
        server.set_nonblocking(true).unwrap();
        let mut accepted = None;
        eventually("a second connection", || {
            tracing::info!(target: "midge", "again");
            assert!(handle.flush(PATIENCE));
            accepted = server.accept().ok();
            accepted.is_some()
        });
        let (stream, _) = accepted.unwrap();
        stream.set_nonblocking(false).unwrap();
        let mut line = String::new();
        BufReader::new(stream).read_line(&mut line).unwrap();
        check_remote_message(&line, (5, "again"));
    });
}

fn check_local_message(message: &str, (severity, text): (u8, &str)) {
    let (found, time, rest) = split_message(message, "Nov 22 17:32:50".len());
    let (tag, process) = (midge::process::executable_name(), std::process::id());
    assert_eq!(found, 24 + severity, "the facility is daemon");
    assert!(
        time.as_bytes()[3] == b' ' && time.as_bytes()[9] == b':',
        "{time}"
    );
    assert_eq!(rest, format!(" {tag}[{process}]: {text}\n"));
}

#[test]
fn local_syslog_takes_datagrams() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("log");
    let server = UnixDatagram::bind(&path).unwrap();
    server.set_read_timeout(Some(PATIENCE)).unwrap();
    with_log(
        &to_syslog(Destination::Syslog { socket: Some(path) }),
        |_| emit_one_of_each(),
    );
    for expected in SEVERITIES {
        let mut buffer = [0; 1024];
        let length = server.recv(&mut buffer).unwrap();
        check_local_message(std::str::from_utf8(&buffer[..length]).unwrap(), expected);
    }
}

#[test]
fn local_syslog_takes_a_stream_where_datagrams_are_refused() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("log");
    let server = UnixListener::bind(&path).unwrap();
    let destination = Destination::Syslog {
        socket: Some(path.clone()),
    };
    with_log(
        &to_syslog(destination),
        |_| tracing::info!(target: "midge", "info"),
    );
    let mut line = String::new();
    BufReader::new(server.accept().unwrap().0)
        .read_line(&mut line)
        .unwrap();
    check_local_message(&line, (5, "info"));
    let url = format!("unix://{}", path.display());
    let destination = Destination::RemoteSyslog { url };
    with_log(
        &to_syslog(destination),
        |_| tracing::info!(target: "midge", "info"),
    );
    let mut line = String::new();
    BufReader::new(server.accept().unwrap().0)
        .read_line(&mut line)
        .unwrap();
    check_remote_message(&line, (5, "info"));
}
