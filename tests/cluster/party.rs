//! Client libraries at work: a program of theirs with one connection that publishes numbers, one that receives
//! them, one that asks and one that answers.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::OnceLock;
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::Duration;

use crate::node::Node;

/// How long the program may take for an answer: more than it gives a cluster to become steady.
const ANSWER_PATIENCE: Duration = Duration::from_secs(150);

/// The libraries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Library {
    AsyncNats,
    NatsPy,
}

impl Library {
    /// The command that starts the program; `None`, after saying so, where the library is not installed.
    fn command(self) -> Option<Command> {
        let peers = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/peers");
        match self {
            Self::AsyncNats => {
                let directory = installed(&peers, ".cache/rust")?;
                build_once(&peers.join("rust/Cargo.toml"), &directory);
                Some(Command::new(directory.join("debug/cluster")))
            }
            Self::NatsPy => {
                let mut command = Command::new(installed(&peers, ".cache/python/bin/python3")?);
                command.arg("-B").arg(peers.join("python/cluster.py"));
                Some(command)
            }
        }
    }
}

fn installed(peers: &Path, path: &str) -> Option<PathBuf> {
    let found = peers.join(path);
    if found.exists() {
        return Some(found);
    }
    let thread = thread::current();
    let test = thread.name().unwrap_or("test");
    println!("skipped: {test}: {path} is missing, tests/run installs it");
    let in_ci = std::env::var("CI").is_ok_and(|value| value == "true");
    assert!(!in_ci, "{path} is missing");
    None
}

fn build_once(manifest: &Path, directory: &Path) {
    static BUILT: OnceLock<()> = OnceLock::new();
    BUILT.get_or_init(|| {
        let status = Command::new(env!("CARGO"))
            .args(["build", "--quiet", "--locked", "--bin", "cluster"])
            .arg("--manifest-path")
            .arg(manifest)
            .arg("--target-dir")
            .arg(directory)
            .status();
        assert!(status.expect("cargo runs").success(), "it is built");
    });
}

/// What the connections have done so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Mark {
    pub(crate) published: u64,
    pub(crate) answered: u64,
    pub(crate) failed: u64,
}

/// The servers that the connections are connected to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Places {
    pub(crate) sender: String,
    pub(crate) receiver: String,
    pub(crate) asker: String,
    pub(crate) answerer: String,
}

/// The running program; killed when dropped.
#[derive(Debug)]
pub(crate) struct Party {
    child: Child,
    input: ChildStdin,
    lines: Receiver<String>,
}

impl Party {
    /// Starts a program whose connections, in the order of [`Places`], are given the URLs of these nodes,
    /// the first of which they connect to.
    pub(crate) fn start(library: Library, urls: [Vec<&Node>; 4]) -> Option<Self> {
        let mut command = library.command()?;
        let roles = ["SENDER", "RECEIVER", "ASKER", "ANSWERER"];
        for (role, nodes) in roles.into_iter().zip(urls) {
            let urls: Vec<String> = nodes
                .iter()
                .map(|node| format!("nats://{}", node.address()))
                .collect();
            command.env(format!("{role}_URLS"), urls.join(","));
        }
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the program starts");
        let input = child.stdin.take().expect("a pipe to it");
        let output = BufReader::new(child.stdout.take().expect("a pipe from it"));
        let (sender, lines) = channel();
        thread::spawn(move || {
            let lines = output.lines().map_while(Result::ok);
            lines
                .take_while(|line| sender.send(line.clone()).is_ok())
                .for_each(drop);
        });
        let mut party = Self {
            child,
            input,
            lines,
        };
        assert_eq!(party.line(), "started");
        party.wait_until_steady();
        Some(party)
    }

    fn line(&self) -> String {
        let line = self.lines.recv_timeout(ANSWER_PATIENCE);
        line.expect("the program answers")
    }

    /// Asks the program; its answer's words after the first, which says what it is.
    fn ask(&mut self, question: &str) -> Vec<String> {
        writeln!(self.input, "{question}").expect("the program listens");
        let line = self.line();
        let mut words = line.split(' ').map(str::to_owned);
        let first = words.next();
        assert_eq!(first.as_deref(), question.split(' ').next(), "{line}");
        words.collect()
    }

    fn numbers<const COUNT: usize>(&mut self, question: &str) -> [u64; COUNT] {
        let words = self.ask(question);
        let numbers: Vec<u64> = words
            .iter()
            .map(|word| word.parse().expect("a number"))
            .collect();
        numbers.try_into().expect("that many numbers")
    }

    /// Waits until requests are answered, one after another, and numbers arrive.
    pub(crate) fn wait_until_steady(&mut self) {
        self.ask("steady");
    }

    /// Gives up the request under way, which was lost, and goes on with the next one.
    pub(crate) fn retry(&mut self) {
        self.ask("retry");
    }

    pub(crate) fn mark(&mut self) -> Mark {
        let [published, answered, failed] = self.numbers("mark");
        Mark {
            published,
            answered,
            failed,
        }
    }

    /// How many of the numbers published between two marks have not arrived.
    pub(crate) fn lost_between(&mut self, from: Mark, to: Mark) -> u64 {
        let [lost] = self.numbers(&format!("gaps {} {}", from.published, to.published));
        lost
    }

    pub(crate) fn places(&mut self) -> Places {
        let names: [String; 4] = self.ask("where").try_into().expect("four names");
        let [sender, receiver, asker, answerer] = names;
        Places {
            sender,
            receiver,
            asker,
            answerer,
        }
    }

    /// How many numbers have come twice, and how many after a larger one.
    pub(crate) fn duplicates_and_disorder(&mut self) -> [u64; 2] {
        self.numbers("check")
    }

    /// Lets all connections close, and waits for the program's end.
    pub(crate) fn end(mut self) {
        self.ask("end");
        let status = self.child.wait().expect("it ends");
        assert!(status.success(), "{status}");
    }
}

impl Drop for Party {
    fn drop(&mut self) {
        // Both fail only when the process has ended.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}
