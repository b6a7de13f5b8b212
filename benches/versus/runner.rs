//! Runs the chosen scenarios, round by round and side by side.

use std::collections::BTreeMap;
use std::env;
use std::fs;
use std::iter;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use crate::Outcome;
use crate::interference::Watch;
use crate::measure::{Measure, Sample};
use crate::options::Options;
use crate::report::QUIET;
use crate::rows::{Conditions, Results, Row, Side};
use crate::scenarios::{SCENARIOS, Scenario, Sizes, Trial};
use crate::{documents, report, self_check};

/// How often a round is tried when it must be a quiet one.
const QUIET_ATTEMPTS: usize = 6;

/// How long a server may take to name its version.
const VERSION_LIMIT: Duration = Duration::from_secs(5);

/// The whole command.
pub(crate) fn run() -> Outcome<()> {
    let options = Options::from_environment()?;
    if options.list {
        report::list(SCENARIOS);
        return Ok(());
    }
    let scenarios = options.scenarios()?;
    let results = if options.show {
        shown(&options)?
    } else {
        measure(&options, &scenarios)?
    };
    if options.smoke {
        documents::check(&results)?;
        println!("\nsmoke run: nothing lost; too short to judge the figures");
        return Ok(());
    }
    report::summary(&results, &scenarios);
    if options.write_docs {
        documents::write(&results)?;
    }
    Ok(())
}

/// Rows of earlier runs.
fn shown(options: &Options) -> Outcome<Results> {
    let results = options
        .json
        .as_deref()
        .map_or_else(|| Ok(Results::default()), Results::read)?;
    for scenario in report::measured(&results) {
        report::scenario(&results, scenario);
    }
    Ok(results)
}

/// Runs the scenarios; rows go to the file as soon as they are there.
fn measure(options: &Options, scenarios: &[&Scenario]) -> Outcome<Results> {
    if options.nats_server.is_none() {
        let text = "nats-server is not there (MIDGE_NATS_SERVER names it)";
        if env::var("CI").is_ok_and(|value| value == "true") {
            return Err(text.into());
        }
        println!("skipped: comparison with nats-server: {text}");
    }
    self_check::run()?;
    let mut results = options
        .json
        .as_deref()
        .map_or_else(|| Ok(Results::default()), Results::read)?;
    results.conditions = conditions(options)?;
    for scenario in scenarios {
        let (rows, interference) = run_scenario(options, scenario)
            .map_err(|failure| format!("{}: {failure}", scenario.name))?;
        results.replace(scenario, rows, interference);
        report::scenario(&results, scenario);
        if let Some(path) = &options.json {
            results.write(path)?;
        }
    }
    Ok(results)
}

/// One side and its executable.
type Contestant<'a> = (Side, &'a Path);

/// All rounds of a scenario, and the largest share of the processors that others took in one.
fn run_scenario(options: &Options, scenario: &Scenario) -> Outcome<(Vec<Row>, f64)> {
    let mut contestants = contestants(options, scenario);
    let mut values: BTreeMap<&str, BTreeMap<Side, Vec<f64>>> = BTreeMap::new();
    let mut interference: f64 = 0.0;
    for _ in 0..options.rounds {
        let mut attempts = if options.only_quiet {
            QUIET_ATTEMPTS
        } else {
            1
        };
        let (round, share) = loop {
            attempts -= 1;
            let (round, share) = run_round(options, scenario, &contestants)?;
            if share <= QUIET || attempts == 0 {
                break (round, share);
            }
        };
        interference = interference.max(share);
        for (side, sample) in round {
            let measured = values.entry(sample.measure.key()).or_default();
            measured.entry(side).or_default().push(sample.value);
        }
        // The other one goes first next time: neither always follows its own kind of round.
        contestants.reverse();
    }
    let row = |measure: Measure| Some(Row::new(scenario, measure, values.get(measure.key())?));
    Ok((
        Measure::ALL.into_iter().filter_map(row).collect(),
        interference,
    ))
}

fn contestants<'a>(options: &'a Options, scenario: &Scenario) -> Vec<Contestant<'a>> {
    if !scenario.needs_server() {
        return vec![(Side::Loopback, Path::new(""))];
    }
    let nats_server = options
        .nats_server
        .as_deref()
        .map(|path| (Side::NatsServer, path));
    iter::once((Side::Midge, options.midge.as_path()))
        .chain(nats_server)
        .collect()
}

/// Everybody once; with the share of the processors that others took meanwhile.
fn run_round(
    options: &Options,
    scenario: &Scenario,
    contestants: &[Contestant<'_>],
) -> Outcome<(Vec<(Side, Sample)>, f64)> {
    let sizes = if options.smoke {
        Sizes::SMOKE
    } else {
        Sizes::FULL
    };
    let watch = Watch::start()?;
    let mut round = Vec::new();
    for &(side, binary) in contestants {
        let samples = scenario
            .run(&Trial {
                binary,
                sizes: &sizes,
            })
            .map_err(|failure| format!("{}: {failure}", binary.display()))?;
        round.extend(samples.into_iter().map(|sample| (side, sample)));
    }
    Ok((round, watch.share()?))
}

fn conditions(options: &Options) -> Outcome<Conditions> {
    let information = fs::read_to_string("/proc/cpuinfo")?;
    let model = information
        .lines()
        .find_map(|line| line.strip_prefix("model name")?.split_once(": "))
        .map_or("unknown processor", |(_, model)| model);
    let processors = thread::available_parallelism()?;
    Ok(Conditions {
        date: jiff::Zoned::now().strftime("%Y-%m-%d").to_string(),
        processor: format!("{model}, {processors} processors"),
        kernel: fs::read_to_string("/proc/sys/kernel/osrelease")?
            .trim()
            .to_owned(),
        midge: version(&options.midge)?,
        nats_server: options
            .nats_server
            .as_deref()
            .map_or_else(|| Ok(String::new()), version)?,
        rounds: options.rounds,
    })
}

fn version(binary: &Path) -> Outcome<String> {
    let mut child = Command::new(binary)
        .arg("--version")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .map_err(|error| format!("{}: {error}", binary.display()))?;
    let began = Instant::now();
    while child.try_wait()?.is_none() {
        if began.elapsed() > VERSION_LIMIT {
            child.kill()?;
            child.wait()?;
            return Err(format!("{}: --version does not end", binary.display()).into());
        }
        thread::sleep(Duration::from_millis(1));
    }
    let output = child.wait_with_output()?;
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}
