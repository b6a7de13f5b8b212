//! Counts the instructions that one published message costs, and compares them with the committed
//! numbers: `cargo bench --bench instructions`.
//!
//! Time depends on what else a machine does; the number of instructions hardly does. The same program
//! runs under `valgrind --tool=callgrind` with few and with many batches, and the difference divided by
//! the messages is the cost of one, start-up excluded. `-- --update` commits new numbers.

#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a command-line program reports on its standard streams"
)]
#[path = "../shared/mod.rs"]
mod shared;

use std::collections::BTreeMap;
use std::env;
use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};

use serde::{Deserialize, Serialize};
use shared::workloads::WORKLOADS;

type Outcome<T> = Result<T, Box<dyn Error>>;

/// Batches of the shorter and of the longer run.
const BATCHES: [u64; 2] = [2, 12];
/// How much more than the committed number is a failure.
const TOLERANCE: f64 = 0.03;

/// The committed numbers.
#[derive(Debug, Default, Deserialize, Serialize)]
struct Expected {
    /// The compiler they belong to; another one makes other code.
    compiler: String,
    /// Instructions per published message.
    instructions: BTreeMap<String, f64>,
}

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args()
        .skip(1)
        .filter(|argument| argument != "--bench")
        .collect();
    let result = match arguments
        .iter()
        .map(String::as_str)
        .collect::<Vec<_>>()
        .as_slice()
    {
        [] => compare(),
        ["--update"] => update(),
        ["--workload", name, batches] => run_workload(name, batches),
        _ => Err("usage: instructions [--update]".into()),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("instructions: {failure}");
            ExitCode::FAILURE
        }
    }
}

/// The part that runs under valgrind.
fn run_workload(name: &str, batches: &str) -> Outcome<()> {
    let (_, build) = WORKLOADS
        .iter()
        .find(|(known, _)| *known == name)
        .ok_or("no such workload")?;
    let mut workload = build();
    let (batches, before) = (batches.parse::<u64>()?, workload.received());
    for _ in 0..batches {
        workload.run_batch();
    }
    if workload.received() - before != batches * workload.delivered {
        return Err("not everything was delivered".into());
    }
    println!("{}", workload.messages);
    Ok(())
}

/// Why there can be no comparison here, if so.
fn obstacle(expected: &Expected) -> Outcome<Option<String>> {
    if !cfg!(target_arch = "x86_64") {
        return Ok(Some("the committed numbers are for x86_64".to_owned()));
    }
    let valgrind = Command::new("valgrind")
        .arg("--version")
        .stdout(Stdio::null())
        .status();
    if valgrind.is_err() {
        return Ok(Some("valgrind is not installed".to_owned()));
    }
    let compiler = compiler()?;
    Ok((compiler != expected.compiler).then(|| {
        format!(
            "the committed numbers are for {}, this is {compiler}",
            expected.compiler
        )
    }))
}

fn compare() -> Outcome<()> {
    let expected: Expected = serde_json::from_str(&fs::read_to_string(expected_path())?)?;
    if let Some(obstacle) = obstacle(&expected)? {
        println!("skipped: instructions per publish: {obstacle}");
        return Ok(());
    }
    let mut worse = Vec::new();
    for (name, _) in WORKLOADS {
        let count = count(name)?;
        let committed = *expected
            .instructions
            .get(name)
            .ok_or("a workload has no number yet")?;
        let change = count / committed - 1.0;
        println!(
            "{name:<24} {count:>8.1}  committed {committed:>8.1}  {:>+6.1} %",
            change * 100.0
        );
        if change > TOLERANCE {
            worse.push(name);
        }
    }
    if worse.is_empty() {
        return Ok(());
    }
    Err(format!(
        "more instructions than committed: {} (meant so? -- --update)",
        worse.join(", ")
    )
    .into())
}

fn update() -> Outcome<()> {
    let mut expected = Expected {
        compiler: compiler()?,
        ..Expected::default()
    };
    for (name, _) in WORKLOADS {
        let count = (count(name)? * 10.0).round() / 10.0;
        println!("{name:<24} {count:>8.1}");
        expected.instructions.insert(name.to_owned(), count);
    }
    Ok(fs::write(
        expected_path(),
        serde_json::to_string_pretty(&expected)? + "\n",
    )?)
}

/// Instructions per published message of one workload.
fn count(name: &str) -> Outcome<f64> {
    let [few, many] = BATCHES;
    let (messages, less) = run_counted(name, few)?;
    let (_, more) = run_counted(name, many)?;
    Ok((more - less) / (messages * (many - few) as f64))
}

/// Runs a workload under callgrind: messages of a batch, instructions of the whole run.
fn run_counted(name: &str, batches: u64) -> Outcome<(f64, f64)> {
    let profile = tempfile::NamedTempFile::new()?;
    let output = Command::new("valgrind")
        .arg("--tool=callgrind")
        .arg(format!("--callgrind-out-file={}", profile.path().display()))
        .arg(env::current_exe()?)
        .args(["--workload", name, &batches.to_string()])
        .output()?;
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).into());
    }
    let messages = String::from_utf8(output.stdout)?.trim().parse()?;
    Ok((messages, total(profile.path())?))
}

/// The sum that callgrind writes at the end of its file.
fn total(profile: &Path) -> Outcome<f64> {
    let text = fs::read_to_string(profile)?;
    let totals = text
        .lines()
        .rev()
        .find_map(|line| line.strip_prefix("totals: "));
    Ok(totals.ok_or("callgrind gave no totals")?.trim().parse()?)
}

fn compiler() -> Outcome<String> {
    let name = env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let output = Command::new(name).arg("--version").output()?;
    Ok(String::from_utf8(output.stdout)?.trim().to_owned())
}

fn expected_path() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/instructions/expected.json")
}
