//! The official command line tool as operators use it.
//!
//! The tool is the program that `MIDGE_NATS_CLI` names, or the one that the peers' preparation installed;
//! without it the test is skipped, and fails when `CI` is `true`.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::servers::{Server, midge, reference, skip};

const CONFIGURATION: &str = r#"
server_name: S1
accounts {
  A { users: [{user: a, password: a}] }
  SYS { users: [{user: sys, password: sys}] }
}
system_account: SYS
"#;

pub(crate) fn tool() -> Option<PathBuf> {
    let installed = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/peers/.cache/go/bin/nats");
    let program = std::env::var_os("MIDGE_NATS_CLI").map_or(installed, PathBuf::from);
    if program.is_file() {
        return Some(program);
    }
    skip("there is no nats tool");
    None
}

/// A server, the tool, and a folder in which the tool finds no settings.
pub(crate) struct Operator {
    tool: PathBuf,
    pub(crate) server: Server,
    home: tempfile::TempDir,
}

impl Operator {
    pub(crate) fn new(tool: &Path, program: &Path, configuration: &str) -> Self {
        Self {
            tool: tool.to_owned(),
            server: Server::start(program, configuration),
            home: tempfile::tempdir().unwrap(),
        }
    }

    /// Runs a command as a user with that name and password; whether it succeeded, and what it said.
    pub(crate) fn run(&self, user: &str, arguments: &str) -> (bool, String) {
        run(
            &self.tool,
            self.home.path(),
            self.server.clients,
            user,
            arguments,
        )
    }

    /// A file that a command has written; empty if there is none.
    pub(crate) fn file(&self, name: &str) -> String {
        std::fs::read_to_string(self.home.path().join(name)).unwrap_or_default()
    }
}

/// The same in a folder without settings.
pub(crate) fn run(
    tool: &Path,
    home: &Path,
    server: SocketAddr,
    user: &str,
    arguments: &str,
) -> (bool, String) {
    let output = Command::new(tool)
        .env_clear()
        .env("HOME", home)
        .env("XDG_CONFIG_HOME", home)
        .env("NATS_URL", format!("nats://{server}"))
        .env("NATS_USER", user)
        .env("NATS_PASSWORD", user)
        .current_dir(home)
        .args(arguments.split(' '))
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let text = [output.stdout, output.stderr].concat();
    let text = String::from_utf8_lossy(&text).into_owned();
    (output.status.success(), text)
}

/// Commands, who gives them, and what the answer must hold.
const COMMANDS: &[(&str, &str, &[&str])] = &[
    ("sys", "server ls 1", &["S1", "2.15.1"]),
    (
        "sys",
        "server info S1",
        &["Server information for S1", "Auth Required: true"],
    ),
    ("sys", "server ping 1", &["S1", "rtt="]),
    (
        "sys",
        "server report connections 1",
        &["watcher", "Connections per server"],
    ),
    ("sys", "server report accounts A 1", &["watcher"]),
    (
        "sys",
        "server report accounts",
        &["Accounts Overview", "│ A "],
    ),
    ("sys", "server report routes", &["Cluster Report"]),
    (
        "sys",
        "server request variables 1",
        &["\"server_name\":\"S1\""],
    ),
    (
        "sys",
        "server request connections 1",
        &["\"name\":\"watcher\""],
    ),
    (
        "sys",
        "server request subscriptions 1 --detail",
        &["orders."],
    ),
    (
        "sys",
        "server request accounts 1",
        &["\"system_account\":\"SYS\""],
    ),
    ("sys", "server request routes 1", &["\"num_routes\":0"]),
    (
        "sys",
        "server request gateways 1",
        &["\"outbound_gateways\":{}"],
    ),
    ("sys", "server request leafnodes 1", &["\"leafnodes\":0"]),
    (
        "sys",
        "server request jetstream-health",
        &["\"status\":\"ok\""],
    ),
    (
        "sys",
        "server check connection",
        &["OK Connection", "round trip took"],
    ),
    (
        "sys",
        "server check server --name S1",
        &["OK S1", "connections=2"],
    ),
    (
        "sys",
        "server account info A",
        &["information for account A"],
    ),
    ("sys", "top S1 --output top.txt --delimiter ;", &[]),
    ("sys", "rtt", &["nats://127.0.0.1"]),
    (
        "a",
        "trace orders.new hello",
        &["watcher", "orders.>", "Egress Count:"],
    ),
    ("a", "trace nobody hello", &["No active interest"]),
    ("a", "account info", &["User: a", "Account: A"]),
    ("a", "rtt", &["nats://127.0.0.1"]),
    ("a", "server check connection", &["OK Connection"]),
];

#[test]
fn the_tools_commands_work() {
    let Some(tool) = tool() else { return };
    for program in std::iter::once(midge()).chain(reference()) {
        let operator = Operator::new(&tool, &program, CONFIGURATION);
        let mut watcher = operator
            .server
            .connect(r#""user":"a","pass":"a","name":"watcher","lang":"test""#);
        watcher.send("SUB orders.> 1\r\n");
        watcher.flush();
        let mut report = String::new();
        for (user, command, words) in COMMANDS {
            let (succeeded, text) = operator.run(user, command);
            if !succeeded || words.iter().any(|word| !text.contains(word)) {
                report.push_str(&format!(
                    "{user}: nats {command}: lacks {words:?}:\n{text}\n"
                ));
            }
        }
        let top = operator.file("top.txt");
        if !top.contains("watcher") {
            report.push_str(&format!("nats top: {top:?}\n"));
        }
        assert!(report.is_empty(), "{}:\n{report}", program.display());
    }
}

/// Who is not in the system account learns nothing of the server.
#[test]
fn others_are_told_nothing() {
    let Some(tool) = tool() else { return };
    let operator = Operator::new(&tool, &midge(), CONFIGURATION);
    for command in [
        "server info S1 --timeout 1s",
        "server request variables 1 --timeout 1s",
    ] {
        let (succeeded, text) = operator.run("a", command);
        assert!(
            !succeeded && !text.contains("max_payload"),
            "{command}: {text}"
        );
    }
}
