//! Connections that do nothing: how fast they are accepted, and what each costs.

use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Resource, getrlimit, setrlimit};

use crate::Outcome;
use crate::measure::{Measure, Sample};
use crate::process::Server;
use crate::scenarios::Trial;
use crate::wire::Connection;

/// Threads that connect at the same time.
const CONNECTORS: usize = 4;
/// How long memory may take to settle; half of it at least, since servers send a first PING to new
/// connections after about two seconds, and that may cost memory.
const SETTLING: Duration = Duration::from_secs(6);
/// File descriptors that this process and the server need beside the connections.
pub(crate) const SPARE_DESCRIPTORS: u64 = 200;

/// Opens `count` connections, each up to its PONG, and looks at the server's memory.
pub(crate) fn run(trial: &Trial<'_>, count: usize) -> Outcome<Vec<Sample>> {
    allow_descriptors(count as u64 + SPARE_DESCRIPTORS)?;
    let server = Server::start(trial.binary)?;
    let before = server.settled_memory(trial.sizes.duration)?;
    let processor = server.processor_clock()?;
    let began = Instant::now();
    let connections = connect_all(server.port(), count)
        .map_err(|failure| server.failure(&failure.to_string()))?;
    let seconds = began.elapsed().as_secs_f64();
    let processor = server.processor_since(processor)?;
    let after = server.settled_memory(SETTLING / u32::try_from(trial.sizes.divisor)?)?;
    drop(connections);
    let each = |grown: f64| grown / count as f64;
    Ok(vec![
        Measure::ConnectRate.of(count as f64 / seconds),
        Measure::ConnectProcessor.of(each(processor)),
        Measure::MemoryEach.of(each(after.resident - before.resident)),
        Measure::ProportionalEach.of(each(after.proportional - before.proportional)),
        Measure::PeakMemory.of(after.peak),
    ])
}

fn connect_all(port: u16, count: usize) -> Outcome<Vec<Connection>> {
    thread::scope(|scope| {
        let threads: Vec<_> = (0..CONNECTORS)
            .map(|number| {
                let share = (number..count).step_by(CONNECTORS).len();
                scope.spawn(move || (0..share).map(|_| Connection::greet(port)).collect())
            })
            .collect();
        let mut connections = Vec::with_capacity(count);
        for thread in threads {
            let opened: Outcome<Vec<Connection>> =
                thread.join().map_err(|_| "a connecting thread panicked")?;
            connections.extend(opened?);
        }
        Ok(connections)
    })
}

/// Raises the limit of open files for this process and the servers it starts.
pub(crate) fn allow_descriptors(wanted: u64) -> Outcome<()> {
    let mut limit = getrlimit(Resource::Nofile);
    if limit.current.is_none_or(|current| current >= wanted) {
        return Ok(());
    }
    if limit.maximum.is_some_and(|maximum| maximum < wanted) {
        return Err(format!("needs {wanted} open files: raise the hard limit (ulimit -Hn)").into());
    }
    limit.current = Some(wanted);
    Ok(setrlimit(Resource::Nofile, limit)?)
}
