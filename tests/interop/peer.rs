//! Running one client's program against its servers, and judging what it says.
//!
//! A program prints one line for each check, `ok NAME` or `not ok NAME: reason`. A line
//! `control ACTION` asks for something only this side can do, such as restarting a server; the
//! answer `done` on the program's input says that it has been done. Other lines are remarks that
//! are shown when something fails.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread::{JoinHandle, spawn};
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::process::wait_for_exit;
use crate::server::{Server, Stop};
use crate::site::{CERTIFICATE_USER, Site};

/// Time for a whole program; each of its checks has its own, far shorter deadline.
const PROGRAM_DEADLINE: Duration = Duration::from_secs(240);

/// Time for a program to exit after its last line.
const EXIT_DEADLINE: Duration = Duration::from_secs(20);

/// User, password and token that the servers with authorization accept.
pub(crate) const USER: &str = "alice";
pub(crate) const PASSWORD: &str = "wonderland";
pub(crate) const TOKEN: &str = "open-sesame";

/// Lame duck as quick as nats-server permits: clients are told, and moved half a second later.
const LAME_DUCK_CONFIGURATION: &str =
    "lame_duck_grace_period: \"500ms\"\nlame_duck_duration: \"30s\"\n";

/// The servers that one client's program is given.
#[derive(Debug)]
struct Servers {
    plain: Server,
    password: Server,
    token: Server,
    restart: Server,
    lame_duck: Server,
    secured: Server,
    secured_first: Server,
    site: Site,
}

impl Servers {
    fn start() -> Self {
        let site = Site::new();
        let users = format!("authorization {{ users = [ {{ user: {CERTIFICATE_USER:?} }} ] }}");
        Self {
            secured: Server::start(&[], &site.configuration("verify_and_map: true", &users)),
            secured_first: Server::start(&[], &site.configuration("handshake_first: true", "")),
            site,
            plain: Server::start(&["-n", "plain"], ""),
            password: Server::start(&["--user", USER, "--pass", PASSWORD], ""),
            token: Server::start(&["--auth", TOKEN], ""),
            restart: Server::start(&[], ""),
            lame_duck: Server::start(&[], LAME_DUCK_CONFIGURATION),
        }
    }

    /// Tells a program where the servers are and what they accept.
    fn describe(&self, command: &mut Command) {
        command
            .env("NATS_URL", self.plain.url())
            .env("PASSWORD_URL", self.password.url())
            .env("TOKEN_URL", self.token.url())
            .env("RESTART_URL", self.restart.url())
            .env("LAME_DUCK_URL", self.lame_duck.url())
            .env("TLS_URL", of_name(&self.secured))
            .env("TLS_FIRST_URL", of_name(&self.secured_first))
            .env("CA_FILE", self.site.file("ca.pem"))
            .env("CERT_FILE", self.site.file("client.pem"))
            .env("KEY_FILE", self.site.file("client-key.pem"))
            .env("PEER_USER", USER)
            .env("PEER_PASSWORD", PASSWORD)
            .env("PEER_TOKEN", TOKEN);
    }

    /// Does what a program asked for.
    fn control(&mut self, action: &str) -> Result<(), String> {
        match action {
            "restart" => self.restart.restart(Stop::Gracefully),
            "crash" => self.restart.restart(Stop::Abruptly),
            "lame-duck" => {
                self.lame_duck.signal(Signal::USR2);
                Ok(())
            }
            "lame-duck-exit" => match self.lame_duck.wait_for_exit()? {
                status if status.success() => Ok(()),
                status => Err(format!("the server in lame duck mode ended with {status}")),
            },
            _ => Err("there is no such action".to_owned()),
        }
    }

    /// What each server logged, with a heading, for the report of a failure.
    fn logs(&self) -> String {
        let servers = [
            ("plain", &self.plain),
            ("password", &self.password),
            ("token", &self.token),
            ("restart", &self.restart),
            ("lame duck", &self.lame_duck),
            ("secured", &self.secured),
            ("secured first", &self.secured_first),
        ];
        servers
            .iter()
            .fold(String::new(), |mut logs, (name, server)| {
                let log = server.log();
                let lines: Vec<&str> = log.lines().collect();
                let shown = lines.iter().skip(lines.len().saturating_sub(40));
                logs.push_str(&format!("--- log of the server '{name}', last lines\n"));
                shown.for_each(|line| logs.extend([line, "\n"]));
                logs
            })
    }
}

/// The address of a server by the name that stands in its certificate.
fn of_name(server: &Server) -> String {
    server.url().replace("nats://127.0.0.1", "tls://localhost")
}

/// What a program has said so far.
#[derive(Debug, Default)]
struct Transcript {
    lines: Vec<String>,
    passed: Vec<String>,
    failed: Vec<String>,
}

impl Transcript {
    fn record(&mut self, line: &str) {
        if let Some(name) = line.strip_prefix("ok ") {
            self.passed.push(name.to_owned());
        } else if let Some(failure) = line.strip_prefix("not ok ") {
            self.failed.push(failure.to_owned());
        }
        self.lines.push(line.to_owned());
    }

    /// All that speaks against the run: failures, missing and unknown names, names said twice.
    fn complaints(&self, expected: &[&str]) -> Vec<String> {
        let mut complaints: Vec<String> = self
            .failed
            .iter()
            .map(|failure| format!("not ok {failure}"))
            .collect();
        let wanted: BTreeSet<&str> = expected.iter().copied().collect();
        let passed: BTreeSet<&str> = self.passed.iter().map(String::as_str).collect();
        let failed = |name: &str| {
            self.failed
                .iter()
                .any(|line| line.starts_with(&format!("{name}:")))
        };
        let missing = wanted.difference(&passed).filter(|name| !failed(name));
        complaints.extend(missing.map(|name| format!("never ran: {name}")));
        let unknown = passed.difference(&wanted);
        complaints.extend(unknown.map(|name| format!("not in the list of checks: {name}")));
        if self.passed.len() != passed.len() {
            complaints.push(format!("a name came twice: {:?}", self.passed));
        }
        complaints
    }
}

/// Runs a client's program and fails unless exactly the expected checks passed.
///
/// # Panics
/// When a check failed, is missing or unknown, when the program or a server ended badly, and when
/// time ran out; the message holds what the program and the servers said.
pub(crate) fn run(mut command: Command, expected: &[&str]) {
    let mut servers = Servers::start();
    servers.describe(&mut command);
    let mut transcript = Transcript::default();
    let mut complaints = drive(&mut command, &mut servers, &mut transcript);
    complaints.extend(transcript.complaints(expected));
    if !servers.plain.runs() {
        complaints.push("the plain server has ended".to_owned());
    }
    if servers.logs().contains("panicked at") {
        complaints.push("a server panicked".to_owned());
    }
    assert!(
        complaints.is_empty(),
        "{command:?}\n{}\n--- all that the program said\n{}\n{}",
        complaints.join("\n"),
        transcript.lines.join("\n"),
        servers.logs()
    );
    println!("{}", transcript.lines.join("\n"));
}

/// Runs the program to its end, does what it asks for, and returns what went wrong around it.
fn drive(command: &mut Command, servers: &mut Servers, transcript: &mut Transcript) -> Vec<String> {
    let end = Instant::now() + PROGRAM_DEADLINE;
    let mut complaints = Vec::new();
    let mut program = Program::start(command);
    loop {
        match program
            .lines
            .recv_timeout(end.saturating_duration_since(Instant::now()))
        {
            Ok(line) => {
                transcript.record(&line);
                if let Some(action) = line.strip_prefix("control ") {
                    let outcome = servers.control(action);
                    program.answer(outcome.is_ok());
                    complaints.extend(outcome.err().map(|error| format!("{action}: {error}")));
                }
            }
            Err(RecvTimeoutError::Disconnected) => break,
            Err(RecvTimeoutError::Timeout) => {
                complaints.push(format!("not finished after {PROGRAM_DEADLINE:?}"));
                break;
            }
        }
    }
    complaints.extend(program.finish(transcript));
    complaints
}

/// A running program with the threads that read what it says; killed when dropped.
#[derive(Debug)]
struct Program {
    child: Child,
    input: ChildStdin,
    lines: Receiver<String>,
    errors: Option<JoinHandle<String>>,
}

impl Program {
    fn start(command: &mut Command) -> Self {
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("{command:?} does not start: {error}"));
        let input = child.stdin.take().expect("a pipe to the program");
        let output = child.stdout.take().expect("a pipe from the program");
        let mut error_output = child.stderr.take().expect("a pipe for errors");
        let (sender, lines) = channel();
        spawn(move || {
            let lines = BufReader::new(output).lines().map_while(Result::ok);
            lines
                .take_while(|line| sender.send(line.clone()).is_ok())
                .for_each(drop);
        });
        let errors = spawn(move || {
            let mut text = Vec::new();
            drop(error_output.read_to_end(&mut text));
            String::from_utf8_lossy(&text).into_owned()
        });
        Self {
            child,
            input,
            lines,
            errors: Some(errors),
        }
    }

    /// Tells the program whether its request has been carried out.
    fn answer(&mut self, carried_out: bool) {
        let answer: &[u8] = if carried_out { b"done\n" } else { b"failed\n" };
        // A program that has ended meanwhile takes no answer; its exit status tells the rest.
        drop(
            self.input
                .write_all(answer)
                .and_then(|()| self.input.flush()),
        );
    }

    /// Waits for the exit, adds the error output to the transcript, and names what was wrong.
    fn finish(mut self, transcript: &mut Transcript) -> Option<String> {
        let status = wait_for_exit(&mut self.child, EXIT_DEADLINE);
        drop(self.child.kill());
        if let Some(text) = self.errors.take().and_then(|errors| errors.join().ok()) {
            transcript
                .lines
                .extend(text.lines().map(|line| format!("stderr: {line}")));
        }
        match status {
            Some(status) if status.success() => None,
            Some(status) => Some(format!("the program ended with {status}")),
            None => Some("the program did not exit".to_owned()),
        }
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// A path below `tests/peers`, where the programs and the installed clients are.
pub(crate) fn peers(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/peers")
        .join(path)
}

/// An installed tool below `tests/peers`; none, after saying so, when `tests/run` has not
/// installed it.
///
/// # Panics
/// In CI, where every client must be there.
pub(crate) fn installed(check: &str, path: &str) -> Option<PathBuf> {
    let tool = peers(path);
    if tool.exists() {
        return Some(tool);
    }
    skip(check, &format!("{path} is missing, tests/run installs it"));
    None
}

/// Says that a check did not run, in the form that `tests/run` counts.
///
/// # Panics
/// In CI, where nothing may be skipped.
pub(crate) fn skip(check: &str, reason: &str) {
    println!("skipped: {check}: {reason}");
    assert!(
        std::env::var_os("CI").is_none_or(|value| value != "true"),
        "{check}: {reason}"
    );
}
