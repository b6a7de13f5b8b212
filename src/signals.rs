//! Signals: what the running server is told, and the `--signal` command that tells it.

use std::fmt;
use std::fs;
use std::io;
use std::task::Poll;

use rustix::process::{Pid, Signal};
use tokio::signal::unix::{self, SignalKind};

use crate::process::{executable_name, os_error_text};

/// Length to which the kernel cuts the name of a process (Linux: `TASK_COMM_LEN` without its final zero).
const PROCESS_NAME_LIMIT: usize = 15;

/// What a signal asks of the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ServerSignal {
    /// `SIGINT`: shut down and exit with code 0.
    Stop,
    /// `SIGTERM`: the same, except that a server in lame duck mode goes on with that.
    Terminate,
    /// `SIGUSR1`: open the log file anew.
    Reopen,
    /// `SIGUSR2`: enter lame duck mode.
    LameDuck,
    /// `SIGHUP`: read the configuration again.
    Reload,
}

impl ServerSignal {
    const ALL: [Self; 5] = [
        Self::Stop,
        Self::Terminate,
        Self::Reopen,
        Self::LameDuck,
        Self::Reload,
    ];

    fn kind(self) -> SignalKind {
        match self {
            Self::Stop => SignalKind::interrupt(),
            Self::Terminate => SignalKind::terminate(),
            Self::Reopen => SignalKind::user_defined1(),
            Self::LameDuck => SignalKind::user_defined2(),
            Self::Reload => SignalKind::hangup(),
        }
    }
}

impl fmt::Display for ServerSignal {
    /// The signal as nats-server names it in `Trapped "terminated" signal`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Stop => "interrupt",
            Self::Terminate => "terminated",
            Self::Reopen => "user defined signal 1",
            Self::LameDuck => "user defined signal 2",
            Self::Reload => "hangup",
        })
    }
}

/// The signals that reach this process, from its creation on. `SIGQUIT` is left to the system, which ends the
/// process; nats-server does not handle it either.
#[derive(Debug)]
pub struct SignalStream {
    sources: [(ServerSignal, unix::Signal); ServerSignal::ALL.len()],
}

impl SignalStream {
    /// Takes over the signals. Must be called within a Tokio runtime.
    ///
    /// # Errors
    /// If the system refuses a handler.
    pub fn new() -> io::Result<Self> {
        let source =
            |signal: ServerSignal| -> io::Result<_> { Ok((signal, unix::signal(signal.kind())?)) };
        let [first, second, third, fourth, fifth] = ServerSignal::ALL;
        Ok(Self {
            sources: [
                source(first)?,
                source(second)?,
                source(third)?,
                source(fourth)?,
                source(fifth)?,
            ],
        })
    }

    /// Waits for the next signal. Signals of one kind that arrive together count once. Dropping the future loses
    /// nothing.
    pub async fn next(&mut self) -> ServerSignal {
        std::future::poll_fn(|context| {
            for (signal, source) in &mut self.sources {
                if let Poll::Ready(Some(())) = source.poll_recv(context) {
                    return Poll::Ready(*signal);
                }
            }
            Poll::Pending
        })
        .await
    }
}

/// Carries out the value of `--signal`: `command` or `command=target`, see [`send`].
///
/// # Errors
/// The text to print behind the program's name; the program then exits with code 1.
pub fn run(argument: &str) -> Result<(), String> {
    let mut parts = argument.split('=');
    let command = parts.next().unwrap_or_default();
    let target = parts.next();
    let rest: Vec<&str> = parts.collect();
    if !rest.is_empty() {
        return Err(format!("invalid signal parameters: [{}]", rest.join(" ")));
    }
    send(command, target)
}

/// Sends the signal of a command (`ldm`, `stop`, `quit`, `term`, `reopen`, `reload`) to a server on this machine.
///
/// The target is a process id, the path of a pid file, or the beginning of process ids with `*` behind it (`*`
/// alone: all of them). Without a target there must be exactly one other process of this program's name.
/// `stop` kills without warning, `quit` is the prompt shutdown.
///
/// Unlike nats-server's, a pid file may end with a line feed, and ids below 1, which would address groups of
/// processes, are refused.
///
/// # Errors
/// nats-server's texts for an invalid target, an unknown command, no such process, or several of them.
pub fn send(command: &str, target: Option<&str>) -> Result<(), String> {
    send_to(command, target, &executable_name())
}

/// [`send`] with the name of the processes to look for.
///
/// # Errors
/// As [`send`].
pub fn send_to(command: &str, target: Option<&str>, process_name: &str) -> Result<(), String> {
    let target = read_target(target.unwrap_or_default());
    let (prefix, is_glob) = match target.strip_suffix('*') {
        Some(prefix) => (prefix, true),
        None => (target.as_str(), false),
    };
    if !prefix.is_empty() && !prefix.parse::<i32>().is_ok_and(|id| id > 0) {
        return Err(format!("invalid pid: {prefix}"));
    }
    let mut processes = match prefix.parse::<i32>() {
        Ok(id) if !is_glob => vec![id],
        _ => other_processes(process_name)?,
    };
    if processes.len() > 1 && !is_glob {
        let ids: String = processes.iter().map(|id| format!("\n{id}")).collect();
        return Err(format!("multiple {process_name} processes running:{ids}"));
    }
    if processes.is_empty() {
        return Err(format!("no {process_name} processes running"));
    }
    let signal = signal_of(command).ok_or_else(|| format!("unknown signal {command:?}"))?;
    processes.retain(|id| id.to_string().starts_with(prefix));
    let failures: String = processes
        .iter()
        .filter_map(|&id| {
            let cause = kill(id, signal).err()?;
            Some(format!("\nsignal {command:?} {id}: {cause}"))
        })
        .collect();
    if failures.is_empty() {
        Ok(())
    } else {
        Err(failures)
    }
}

fn signal_of(command: &str) -> Option<Signal> {
    Some(match command {
        "stop" => Signal::KILL,
        "quit" => Signal::INT,
        "term" => Signal::TERM,
        "reopen" => Signal::USR1,
        "reload" => Signal::HUP,
        "ldm" => Signal::USR2,
        _ => return None,
    })
}

/// The content of the file that the target names, or else the target itself.
fn read_target(target: &str) -> String {
    match fs::read_to_string(target) {
        Ok(content) => content.trim_end().to_owned(),
        Err(_) => target.to_owned(),
    }
}

fn kill(id: i32, signal: Signal) -> Result<(), String> {
    let pid = Pid::from_raw(id).ok_or("invalid pid")?;
    rustix::process::kill_process(pid, signal)
        .map_err(|error| os_error_text(&io::Error::from(error)))
}

/// Ids of the processes of a name, in order, without this process.
fn other_processes(name: &str) -> Result<Vec<i32>, String> {
    let unresolved = |_| "unable to resolve pid, try providing one".to_owned();
    let own = std::process::id().cast_signed();
    let known: String = name.chars().take(PROCESS_NAME_LIMIT).collect();
    let mut processes = Vec::new();
    for entry in fs::read_dir("/proc").map_err(unresolved)? {
        let entry = entry.map_err(unresolved)?;
        let Some(id) = entry
            .file_name()
            .to_str()
            .and_then(|name| name.parse::<i32>().ok())
        else {
            continue;
        };
        // A process may end at any time; one whose name cannot be read is not there.
        let Ok(name) = fs::read_to_string(entry.path().join("comm")) else {
            continue;
        };
        if id != own && name.trim_end_matches('\n') == known {
            processes.push(id);
        }
    }
    processes.sort_unstable();
    Ok(processes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_are_refused_with_the_known_texts() {
        let refused = |argument: &str| run(argument).unwrap_err();
        let name = executable_name();
        assert_eq!(refused("ldm=1=2"), "invalid signal parameters: [2]");
        assert_eq!(refused("ldm=1=2=3"), "invalid signal parameters: [2 3]");
        assert_eq!(refused("stop=notapid"), "invalid pid: notapid");
        assert_eq!(refused("stop=-1"), "invalid pid: -1");
        assert_eq!(refused("stop=0"), "invalid pid: 0");
        assert_eq!(refused("bogus=1"), "unknown signal \"bogus\"");
        assert_eq!(refused("=1"), "unknown signal \"\"");
        let absent = send_to("bogus", None, "no-such-name").unwrap_err();
        assert_eq!(absent, "no no-such-name processes running");
        // Above the kernel's largest process id.
        let highest = i32::MAX;
        let expected = format!("\nsignal \"quit\" {highest}: no such process");
        assert_eq!(refused(&format!("quit={highest}")), expected);
        assert!(!name.is_empty());
    }

    #[test]
    fn a_pid_file_stands_for_its_content() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("server.pid");
        let target = path.to_str().unwrap();
        fs::write(&path, "nonsense\n").unwrap();
        assert_eq!(
            send("quit", Some(target)).unwrap_err(),
            "invalid pid: nonsense"
        );
        fs::write(&path, format!("{}\n", i32::MAX)).unwrap();
        assert!(
            send("quit", Some(target))
                .unwrap_err()
                .ends_with("no such process")
        );
    }
}
