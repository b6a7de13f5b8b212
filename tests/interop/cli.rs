//! The official command line tool: what people type works against the server.

use std::fs::{self, File};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use tempfile::{NamedTempFile, TempDir};

use crate::peer::{PASSWORD, TOKEN, USER, installed};
use crate::probe::wait_for_interest;
use crate::process::{poll_until, wait_for_exit};
use crate::server::{Server, Stop};

/// Time for one command, or for what a command in the background must show.
const COMMAND_DEADLINE: Duration = Duration::from_secs(60);

/// The tool and the server it talks to.
#[derive(Debug)]
struct Tool {
    program: PathBuf,
    server: Server,
    directory: TempDir,
}

impl Tool {
    /// The tool with a server that has these flags; none when the tool is not installed.
    fn with_server(check: &str, flags: &[&str]) -> Option<Self> {
        let program = installed(check, ".cache/go/bin/nats")?;
        let directory = tempfile::tempdir().expect("a directory for the tool");
        Some(Self {
            program,
            server: Server::start(flags, ""),
            directory,
        })
    }

    /// A command line with nothing of the user's own settings in it.
    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.program);
        command
            .env_clear()
            .env("HOME", self.directory.path())
            .env("XDG_CONFIG_HOME", self.directory.path())
            .env("NATS_URL", self.server.url())
            .args(arguments);
        command
    }

    /// Runs a command to its end; returns whether it succeeded, and all that it said.
    fn run(&self, arguments: &[&str], input: &[u8]) -> (bool, String) {
        let path = self.directory.path().join("input");
        fs::write(&path, input).expect("a file with the input");
        let input = File::open(&path).expect("the input opens");
        let mut command = self.start_with_input(arguments, input.into());
        let status = wait_for_exit(&mut command.child, COMMAND_DEADLINE);
        let text = command.text();
        let status = status.unwrap_or_else(|| panic!("{arguments:?} does not end:\n{text}"));
        (status.success(), text)
    }

    /// Runs a command that must succeed and returns all that it said.
    fn succeed(&self, arguments: &[&str]) -> String {
        let (success, text) = self.run(arguments, b"");
        assert!(
            success,
            "{arguments:?} failed:\n{text}\n{}",
            self.server.log()
        );
        text
    }

    /// Runs a command that must fail and returns all that it said.
    fn fail(&self, arguments: &[&str]) -> String {
        let (success, text) = self.run(arguments, b"");
        assert!(
            !success,
            "{arguments:?} did not fail:\n{text}\n{}",
            self.server.log()
        );
        text
    }

    /// Starts a command and waits until the server knows that it listens to a subject, which
    /// sends it one empty message.
    fn listen(&self, arguments: &[&str], subject: &str) -> Listener {
        let listener = self.start(arguments);
        wait_for_interest(&self.server, subject);
        listener
    }

    /// Starts a command in the background.
    fn start(&self, arguments: &[&str]) -> Listener {
        self.start_with_input(arguments, Stdio::null())
    }

    /// Starts a command whose output is collected in a file.
    fn start_with_input(&self, arguments: &[&str], input: Stdio) -> Listener {
        let file = NamedTempFile::new_in(self.directory.path()).expect("a file for the output");
        let output = || {
            File::options()
                .append(true)
                .open(file.path())
                .expect("the file opens")
        };
        let mut command = self.command(arguments);
        let child = command
            .stdin(input)
            .stdout(output())
            .stderr(output())
            .spawn();
        Listener {
            child: child.expect("the tool starts"),
            file,
        }
    }
}

/// A command in the background, killed when dropped.
#[derive(Debug)]
struct Listener {
    child: Child,
    file: NamedTempFile,
}

impl Listener {
    /// All that the command has said.
    fn text(&self) -> String {
        String::from_utf8_lossy(&fs::read(self.file.path()).unwrap_or_default()).into_owned()
    }

    /// How many messages a subscriber has shown.
    fn received(&self) -> usize {
        self.text().matches("] Received on ").count()
    }

    /// Waits until the command has ended well, and returns all that it said.
    fn finish(mut self) -> String {
        let status = wait_for_exit(&mut self.child, COMMAND_DEADLINE);
        let text = self.text();
        assert!(
            status.is_some_and(|status| status.success()),
            "{status:?}:\n{text}"
        );
        text
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// Fails unless a text holds all of these parts.
#[track_caller]
fn expect_parts(text: &str, parts: &[&str]) {
    for part in parts {
        assert!(text.contains(part), "'{part}' is missing in:\n{text}");
    }
}

#[test]
fn publish_and_subscribe() {
    let Some(tool) = Tool::with_server("cli-publish-subscribe", &[]) else {
        return;
    };
    let subscriber = tool.listen(&["sub", "greet.>", "--count", "4"], "greet.probe");
    let published = tool.succeed(&["pub", "greet.joe", "hello"]);
    expect_parts(&published, &["Published 5 bytes to \"greet.joe\""]);
    let arguments = [
        "pub",
        "greet.sue",
        "body {{Count}}",
        "-H",
        "Kind:greeting",
        "-H",
        "Id:42",
        "--count",
        "2",
    ];
    tool.succeed(&arguments);
    let shown = subscriber.finish();
    expect_parts(
        &shown,
        &[
            "Received on \"greet.joe\"\nhello",
            "Kind: greeting\n",
            "Id: 42\n",
        ],
    );
    expect_parts(
        &shown,
        &["body 1", "body 2", "[#4] Received on \"greet.sue\""],
    );
}

#[test]
fn large_payloads() {
    let Some(tool) = Tool::with_server("cli-large-payloads", &[]) else {
        return;
    };
    let mut payload = b"0123456789abcde".repeat(1024 * 1024 / 15 + 1);
    payload.truncate(1024 * 1024);
    let subscriber = tool.listen(&["sub", "large", "--raw", "--count", "2"], "large");
    let (success, text) = tool.run(&["pub", "large", "--force-stdin"], &payload);
    assert!(success, "{text}");
    let shown = subscriber.finish();
    // The first message, from waiting for the subscriber, has no body.
    let got = shown.trim_start_matches("nil body").trim();
    assert!(
        got.as_bytes() == payload,
        "{} bytes came of {}",
        got.len(),
        payload.len()
    );
    payload.push(b'x');
    let (_, text) = tool.run(&["pub", "large", "--force-stdin"], &payload);
    expect_parts(&text, &["maximum payload exceeded"]);
}

#[test]
fn queue_groups() {
    let Some(tool) = Tool::with_server("cli-queue-groups", &[]) else {
        return;
    };
    let arguments = ["sub", "work.>", "--queue", "workers"];
    let members = [
        tool.listen(&arguments, "work.probe"),
        tool.start(&arguments),
    ];
    // The second member is there once it shows a message of its own.
    let mut published = 1;
    let both = poll_until(COMMAND_DEADLINE, || {
        tool.succeed(&["pub", "work.early", "x"]);
        published += 1;
        members[1].received() > 0
    });
    assert!(
        both,
        "the second member gets nothing:\n{}",
        members[1].text()
    );
    let before = members.each_ref().map(Listener::received);
    tool.succeed(&["pub", "work.new", "{{Count}}", "--count", "300"]);
    published += 300;
    let all = poll_until(COMMAND_DEADLINE, || {
        members.iter().map(Listener::received).sum::<usize>() >= published
    });
    let counts = members.each_ref().map(Listener::received);
    assert!(
        all && counts.iter().sum::<usize>() == published,
        "{counts:?} of {published}"
    );
    let shares = [counts[0] - before[0], counts[1] - before[1]];
    assert!(
        shares.iter().all(|share| *share > 100),
        "uneven shares: {shares:?}"
    );
}

#[test]
fn request_and_reply() {
    let Some(tool) = Tool::with_server("cli-request-reply", &[]) else {
        return;
    };
    let _responder = tool.listen(&["reply", "shout", "--echo"], "shout");
    let reply = tool.succeed(&["request", "shout", "help me", "--raw", "-H", "Id:42"]);
    assert_eq!(reply.trim(), "help me");
    let replies = tool.succeed(&[
        "request",
        "shout",
        "number {{Count}}",
        "--count",
        "20",
        "--raw",
    ]);
    let wanted: Vec<String> = (1..=20).map(|number| format!("number {number}")).collect();
    assert_eq!(
        replies.split_whitespace().collect::<Vec<_>>().join(" "),
        wanted.join(" ")
    );
}

#[test]
fn request_with_two_replies() {
    let Some(tool) = Tool::with_server("cli-request-replies", &[]) else {
        return;
    };
    let _one = tool.listen(&["reply", "both.>", "from one", "--queue", "a"], "both.one");
    let _two = tool.start(&["reply", "both.>", "from two", "--queue", "b"]);
    let mut text = String::new();
    let both = poll_until(COMMAND_DEADLINE, || {
        text = tool.succeed(&[
            "request",
            "both.now",
            "hi",
            "--replies",
            "2",
            "--timeout",
            "2s",
        ]);
        text.contains("from one") && text.contains("from two")
    });
    assert!(both, "{text}");
}

#[test]
fn request_without_responders() {
    let Some(tool) = Tool::with_server("cli-no-responders", &[]) else {
        return;
    };
    let (_, text) = tool.run(&["request", "nobody.listens", "?", "--timeout", "30s"], b"");
    expect_parts(&text, &["No responders are available"]);
}

#[test]
fn bench_publish_and_subscribe() {
    let Some(tool) = Tool::with_server("cli-bench", &[]) else {
        return;
    };
    let subscribe = [
        "bench",
        "sub",
        "load",
        "--msgs",
        "50000",
        "--size",
        "128",
        "--no-progress",
    ];
    let subscriber = tool.listen(&subscribe, "load");
    let publish = [
        "bench",
        "pub",
        "load",
        "--msgs",
        "50000",
        "--clients",
        "4",
        "--no-progress",
    ];
    expect_parts(
        &tool.succeed(&publish),
        &["publisher aggregated stats", "msgs/sec"],
    );
    expect_parts(&subscriber.finish(), &["subscriber stats", "msgs/sec"]);
}

#[test]
fn bench_service() {
    let Some(tool) = Tool::with_server("cli-bench-service", &[]) else {
        return;
    };
    let serve = [
        "bench",
        "service",
        "serve",
        "work",
        "--clients",
        "2",
        "--no-progress",
    ];
    let _service = tool.listen(&serve, "work");
    let request = [
        "bench",
        "service",
        "request",
        "work",
        "--msgs",
        "2000",
        "--clients",
        "2",
        "--no-progress",
    ];
    expect_parts(
        &tool.succeed(&request),
        &["requester aggregated stats", "(1,000 msgs)"],
    );
}

#[test]
fn round_trip_time() {
    let Some(tool) = Tool::with_server("cli-rtt", &[]) else {
        return;
    };
    let text = tool.succeed(&["rtt", "--json", "5"]);
    let times: serde_json::Value = serde_json::from_str(&text).expect("rtt prints JSON");
    let result = &times[0]["results"][0];
    assert_eq!(result["url"], tool.server.url());
    assert!(
        result["rtt"]
            .as_u64()
            .is_some_and(|nanoseconds| nanoseconds > 0),
        "{text}"
    );
}

#[test]
fn check_connection() {
    let Some(tool) = Tool::with_server("cli-check-connection", &[]) else {
        return;
    };
    // Thresholds that a busy machine keeps: the check is about what works, not how fast.
    let arguments = [
        "server",
        "check",
        "connection",
        "--format",
        "json",
        "--connect-warn",
        "30s",
        "--connect-critical",
        "40s",
        "--rtt-warn",
        "30s",
        "--rtt-critical",
        "40s",
        "--req-warn",
        "30s",
        "--req-critical",
        "40s",
    ];
    let text = tool.succeed(&arguments);
    let report: serde_json::Value = serde_json::from_str(&text).expect("the check prints JSON");
    assert_eq!(report["status"], "OK", "{text}");
    let passed = report["ok"].as_array().map_or(0, Vec::len);
    assert_eq!(passed, 3, "connection, round trip and request: {text}");
}

#[test]
fn micro_service() {
    let Some(tool) = Tool::with_server("cli-service", &[]) else {
        return;
    };
    let _service = tool.listen(&["service", "serve", "demo"], "$SRV.PING.demo");
    expect_parts(
        &tool.succeed(&["service", "ping", "demo"]),
        &["demo", "rtt="],
    );
    expect_parts(
        &tool.succeed(&["service", "info", "demo"]),
        &["demo", "Endpoint"],
    );
}

#[test]
fn latency() {
    let Some(tool) = Tool::with_server("cli-latency", &[]) else {
        return;
    };
    let server = tool.server.url();
    let text = tool.succeed(&[
        "latency",
        "--server-b",
        &server,
        "--duration",
        "1s",
        "--rate",
        "200",
    ]);
    expect_parts(&text, &["Pub Server RTT", "HDR Percentiles"]);
}

#[test]
fn account_information() {
    let Some(tool) = Tool::with_server("cli-account-information", &[]) else {
        return;
    };
    let text = tool.succeed(&["account", "info"]);
    // The account's name comes from a system service, which this version does not have.
    let wanted = [
        "Client IP: 127.0.0.1",
        "Headers Supported: true",
        "Maximum Payload: 1.0 MiB",
    ];
    expect_parts(&text, &wanted);
    expect_parts(
        &text,
        &[
            "Connected Server Version: 2.15.",
            "JetStream is not supported",
        ],
    );
}

#[test]
fn user_and_password() {
    let flags = ["--user", USER, "--pass", PASSWORD];
    let Some(tool) = Tool::with_server("cli-password", &flags) else {
        return;
    };
    tool.succeed(&[
        "--user",
        USER,
        "--password",
        PASSWORD,
        "pub",
        "private",
        "x",
    ]);
    for credentials in [
        ["--user", USER, "--password", "wrong"],
        ["--user", "nobody", "--password", PASSWORD],
    ] {
        let text = tool.fail(&[&credentials[..], &["pub", "private", "x"]].concat());
        expect_parts(&text, &["Authorization Violation"]);
    }
    expect_parts(
        &tool.fail(&["pub", "private", "x"]),
        &["Authorization Violation"],
    );
}

#[test]
fn token() {
    let Some(tool) = Tool::with_server("cli-token", &["--auth", TOKEN]) else {
        return;
    };
    tool.succeed(&["--token", TOKEN, "pub", "private", "x"]);
    let text = tool.fail(&["--token", "wrong", "pub", "private", "x"]);
    expect_parts(&text, &["Authorization Violation"]);
}

#[test]
fn subscriber_outlives_the_server() {
    let Some(mut tool) = Tool::with_server("cli-reconnect", &[]) else {
        return;
    };
    let subscriber = tool.listen(&["sub", "kept.>", "--count", "3"], "kept.before");
    for (how, shown) in [(Stop::Gracefully, 1), (Stop::Abruptly, 2)] {
        // A server that is killed takes along what it has accepted and not delivered yet.
        let delivered = poll_until(COMMAND_DEADLINE, || subscriber.received() == shown);
        assert!(delivered, "{}", subscriber.text());
        tool.server.restart(how).expect("the server is there again");
        wait_for_interest(&tool.server, "kept.again");
    }
    expect_parts(
        &subscriber.finish(),
        &[
            "Received on \"kept.before\"",
            "[#3] Received on \"kept.again\"",
        ],
    );
}
