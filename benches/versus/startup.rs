//! The server alone: how soon it greets, what it holds in memory, how big its executable is.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::Outcome;
use crate::measure::{Measure, Sample, median};
use crate::process::Server;
use crate::scenarios::Trial;

/// How long memory may take to settle.
const SETTLING: Duration = Duration::from_secs(2);

/// Starts the server several times, then leaves the last one alone.
pub(crate) fn run(trial: &Trial<'_>) -> Outcome<Vec<Sample>> {
    let mut times = Vec::new();
    for _ in 0..trial.sizes.starts {
        let (_server, time) = Server::start_timed(trial.binary)?;
        times.push(time.as_secs_f64());
    }
    let server = Server::start(trial.binary)?;
    let memory = server.settled_memory(SETTLING.min(trial.sizes.duration))?;
    Ok(vec![
        Measure::StartTime.of(median(&times)),
        Measure::IdleMemory.of(memory.resident),
        Measure::IdleProportional.of(memory.proportional),
        Measure::BinarySize.of(stripped_size(trial.binary)?),
    ])
}

/// The size of a stripped copy.
fn stripped_size(binary: &Path) -> Outcome<f64> {
    let copy = tempfile::NamedTempFile::new()?.into_temp_path();
    let mut strip = Command::new("strip");
    strip.arg("-o").arg(&copy).arg(binary).stdin(Stdio::null());
    let status = strip
        .status()
        .map_err(|error| format!("strip (binutils): {error}"))?;
    if !status.success() {
        return Err(format!("strip: {status}").into());
    }
    Ok(std::fs::metadata(&copy)?.len() as f64)
}
