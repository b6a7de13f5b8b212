//! How much of the processors somebody else took while a scenario ran.
//!
//! The kernel tells how long the processors were busy, and how long this process and its finished
//! children were on them. The rest belongs to other processes, or to other machines on the same host.

use std::fs;
use std::thread;
use std::time::Instant;

use crate::Outcome;
use crate::process::processor_ticks;

/// Ticks of `/proc` in a second.
const TICKS_PER_SECOND: f64 = 100.0;

/// The state of the machine when a run begins.
pub(crate) struct Watch {
    began: Instant,
    foreign: f64,
}

impl Watch {
    /// Begins to watch.
    pub(crate) fn start() -> Outcome<Self> {
        Ok(Self {
            began: Instant::now(),
            foreign: foreign_ticks()?,
        })
    }

    /// The share of all processors' time since then that went to others, 0 to 1. The servers that
    /// were started meanwhile must have ended.
    pub(crate) fn share(&self) -> Outcome<f64> {
        let processors = thread::available_parallelism()?.get() as f64;
        let available = self.began.elapsed().as_secs_f64() * TICKS_PER_SECOND * processors;
        Ok(((foreign_ticks()? - self.foreign) / available).clamp(0.0, 1.0))
    }
}

/// Ticks that the processors spent on others since the machine started.
fn foreign_ticks() -> Outcome<f64> {
    let text = fs::read_to_string("/proc/stat")?;
    let line = text.lines().next().ok_or("/proc/stat is empty")?;
    let mut fields = line.split_whitespace().skip(1).map(str::parse::<f64>);
    let mut busy = 0.0;
    // user, nice, system, idle, iowait, irq, softirq, steal
    for name in [
        "user", "nice", "system", "idle", "iowait", "irq", "softirq", "steal",
    ] {
        let ticks = fields.next().ok_or("short /proc/stat")??;
        if name != "idle" && name != "iowait" {
            busy += ticks;
        }
    }
    // utime, stime, and the same of children that have been waited for.
    let own: f64 = processor_ticks("self", 4)?.into_iter().sum();
    Ok(busy - own)
}
