//! The command line.

use std::env;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Arg, ArgAction, Command, value_parser};

/// How long to run, and what.
#[derive(Debug)]
pub(crate) struct Options {
    pub(crate) duration: Duration,
    /// Distance of two restarts of a node.
    pub(crate) restart_interval: Duration,
    /// Distance of two looks at the memory.
    pub(crate) sample_interval: Duration,
    /// Clients that come per second, to all nodes together.
    pub(crate) visits_per_second: u32,
    /// A few seconds, without judgement about memory.
    pub(crate) smoke: bool,
    /// The executable.
    pub(crate) midge: PathBuf,
}

impl Options {
    /// Reads the command line and the environment; ends the process when they make no sense.
    pub(crate) fn from_command_line() -> Self {
        let matches = command().get_matches();
        let number = |name: &str, default| matches.get_one::<u32>(name).copied().unwrap_or(default);
        let smoke = matches.get_flag("smoke");
        let seconds = if smoke { 6 } else { number("minutes", 30) * 60 };
        let midge = env::var_os("MIDGE_BINARY")
            .map_or_else(|| PathBuf::from(env!("CARGO_BIN_EXE_midge")), PathBuf::from);
        Self {
            duration: Duration::from_secs(seconds.into()),
            restart_interval: Duration::from_secs(if smoke { 2 } else { 75 }),
            sample_interval: Duration::from_secs(if smoke { 1 } else { 10 }),
            visits_per_second: number("visits", 40).max(1),
            smoke,
            midge,
        }
    }
}

fn command() -> Command {
    let number = |name: &'static str, help: &'static str| {
        Arg::new(name)
            .long(name)
            .value_name("COUNT")
            .value_parser(value_parser!(u32).range(1..100_000))
            .help(help)
    };
    Command::new("churn")
        .about("Watches the memory of a cluster while clients and nodes come and go")
        .after_help("MIDGE_BINARY names another executable to watch.")
        .arg(number("minutes", "How long to run (default: 30)"))
        .arg(number(
            "visits",
            "Clients that come per second (default: 40)",
        ))
        .arg(
            Arg::new("smoke")
                .long("smoke")
                .action(ArgAction::SetTrue)
                .help("Runs for six seconds: does it work at all?"),
        )
        .arg(
            Arg::new("bench")
                .long("bench")
                .action(ArgAction::SetTrue)
                .hide(true),
        )
}
