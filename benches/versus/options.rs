//! The command line and the two executables.

use std::env;
use std::path::{Path, PathBuf};

use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};

use crate::Outcome;
use crate::scenarios::{SCENARIOS, Scenario};

/// What to run.
pub(crate) struct Options {
    /// Parts of scenario names; none means all.
    filters: Vec<String>,
    /// Alternating rounds.
    pub(crate) rounds: usize,
    /// Tiny sizes, one round, no judgement.
    pub(crate) smoke: bool,
    /// Repeat rounds in which other processes took much of the processors.
    pub(crate) only_quiet: bool,
    /// Only name the scenarios.
    pub(crate) list: bool,
    /// Where the rows go; rows of scenarios that do not run again are kept.
    pub(crate) json: Option<PathBuf>,
    /// Run nothing; show the rows of the JSON file.
    pub(crate) show: bool,
    /// Whether to renew the table and the chart in `docs`.
    pub(crate) write_docs: bool,
    /// Midge's executable.
    pub(crate) midge: PathBuf,
    /// nats-server's executable; nothing when it is not there.
    pub(crate) nats_server: Option<PathBuf>,
}

impl Options {
    /// Reads the command line and the environment.
    pub(crate) fn from_environment() -> Outcome<Self> {
        let matches = command().get_matches();
        let smoke = matches.get_flag("smoke");
        let rounds = matches.get_one::<usize>("rounds").copied();
        Ok(Self {
            filters: strings(&matches),
            rounds: rounds.unwrap_or(if smoke { 1 } else { 5 }).max(1),
            smoke,
            only_quiet: matches.get_flag("only-quiet"),
            list: matches.get_flag("list"),
            show: matches.get_flag("show"),
            json: matches.get_one::<PathBuf>("json").cloned(),
            write_docs: matches.get_flag("write-docs"),
            midge: environment_path("MIDGE_BINARY")?
                .unwrap_or_else(|| PathBuf::from(env!("CARGO_BIN_EXE_midge"))),
            nats_server: nats_server()?,
        })
    }

    /// The scenarios to run.
    ///
    /// # Errors
    /// A filter that chooses none.
    pub(crate) fn scenarios(&self) -> Outcome<Vec<&'static Scenario>> {
        let fits = |filter: &String, scenario: &Scenario| scenario.name.contains(filter.as_str());
        for filter in &self.filters {
            if !SCENARIOS.iter().any(|scenario| fits(filter, scenario)) {
                return Err(format!("no scenario is called {filter:?}; --list names them").into());
            }
        }
        let chosen = |scenario: &&Scenario| {
            self.filters.is_empty() || self.filters.iter().any(|filter| fits(filter, scenario))
        };
        Ok(SCENARIOS.iter().filter(chosen).collect())
    }
}

fn command() -> Command {
    let switch = |name: &'static str, help: &'static str| {
        Arg::new(name)
            .long(name)
            .action(ArgAction::SetTrue)
            .help(help)
    };
    Command::new("versus")
        .about("Runs Midge and nats-server in turns and compares them")
        .after_help(
            "MIDGE_BINARY and MIDGE_NATS_SERVER name other executables to compare.\n\
             Without the latter, tests/peers/.cache/python/bin/nats-server is used.",
        )
        .arg(
            Arg::new("scenario")
                .num_args(0..)
                .help("Runs only scenarios whose name holds one of these"),
        )
        .arg(
            Arg::new("rounds")
                .long("rounds")
                .value_name("COUNT")
                .value_parser(value_parser!(usize))
                .help("Alternating rounds (default: 5)"),
        )
        .arg(
            Arg::new("json")
                .long("json")
                .value_name("FILE")
                .value_parser(value_parser!(PathBuf))
                .help("Writes the rows to this file, keeping those of scenarios that did not run"),
        )
        .arg(switch(
            "smoke",
            "Runs everything at tiny size, once: does it work at all?",
        ))
        .arg(switch(
            "only-quiet",
            "Repeats rounds in which other processes took over 5 % of the processors",
        ))
        .arg(switch("list", "Names the scenarios"))
        .arg(
            switch(
                "show",
                "Runs nothing and shows the rows of the file that --json names",
            )
            .requires("json"),
        )
        .arg(
            switch("write-docs", "Renews the table and the chart in docs/").conflicts_with("smoke"),
        )
        .arg(switch("bench", "Given by cargo; no effect").hide(true))
}

fn strings(matches: &ArgMatches) -> Vec<String> {
    matches
        .get_many::<String>("scenario")
        .into_iter()
        .flatten()
        .cloned()
        .collect()
}

fn environment_path(name: &str) -> Outcome<Option<PathBuf>> {
    match env::var_os(name).map(PathBuf::from) {
        Some(path) if !path.is_file() => Err(format!("{name}: no file {}", path.display()).into()),
        given => Ok(given),
    }
}

fn nats_server() -> Outcome<Option<PathBuf>> {
    let cached = project("tests/peers/.cache/python/bin/nats-server");
    Ok(environment_path("MIDGE_NATS_SERVER")?.or_else(|| cached.is_file().then_some(cached)))
}

/// A path inside the project.
pub(crate) fn project(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}
