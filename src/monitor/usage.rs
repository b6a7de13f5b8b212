//! What the process takes of its machine.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// The processor's share is measured over at least this time.
const LEAST_PERIOD: Duration = Duration::from_secs(1);

/// Memory and processor time of this process, as the system counts them.
#[derive(Debug)]
pub(crate) struct Usage {
    last: Mutex<Sample>,
}

#[derive(Debug, Clone, Copy)]
struct Sample {
    at: Instant,
    /// Clock ticks of the processor used until then.
    ticks: u64,
    /// Percent of one processor in the period that ended then.
    percent: f64,
}

impl Usage {
    /// Measures from `now` on.
    pub(crate) fn new(now: Instant) -> Self {
        let last = Sample {
            at: now,
            ticks: processor_ticks().unwrap_or(0),
            percent: 0.0,
        };
        Self {
            last: Mutex::new(last),
        }
    }

    /// Percent of one processor, to a tenth: the mean since it was last measured, a second ago or more.
    pub(crate) fn processor_percent(&self, now: Instant) -> f64 {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let period = now.saturating_duration_since(last.at);
        if period >= LEAST_PERIOD
            && let Some(ticks) = processor_ticks()
        {
            let per_second = rustix::param::clock_ticks_per_second();
            let used = ticks.saturating_sub(last.ticks) as f64 / per_second as f64;
            let percent = (used / period.as_secs_f64() * 1000.0).round() / 10.0;
            *last = Sample {
                at: now,
                ticks,
                percent,
            };
        }
        last.percent
    }
}

/// Memory of this process that is really there, in bytes; 0 where the system does not tell.
#[must_use]
pub(crate) fn resident_bytes() -> u64 {
    let pages = || -> Option<u64> {
        let text = std::fs::read_to_string("/proc/self/statm").ok()?;
        text.split_ascii_whitespace().nth(1)?.parse().ok()
    };
    pages().unwrap_or(0) * rustix::param::page_size() as u64
}

/// Seconds of processor time that the process has used.
#[must_use]
pub(crate) fn processor_seconds() -> Option<f64> {
    let per_second = rustix::param::clock_ticks_per_second();
    Some(processor_ticks()? as f64 / per_second as f64)
}

/// Clock ticks that the process has used, in itself and in the kernel.
fn processor_ticks() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/self/stat").ok()?;
    // The program's name, in brackets, may hold blanks; what follows it are numbers.
    let (_, fields) = text.rsplit_once(')')?;
    let mut fields = fields.split_ascii_whitespace().skip(11);
    let mut next = || fields.next()?.parse::<u64>().ok();
    Some(next()? + next()?)
}

/// Processors that the process may use.
#[must_use]
pub(crate) fn processors() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[expect(clippy::disallowed_methods, reason = "a measurement takes time")]
    fn the_system_tells_memory_and_processor_time() {
        assert!(resident_bytes() > 1024 * 1024);
        assert!(processors() >= 1);
        let start = Instant::now();
        let usage = Usage::new(start);
        assert!(
            usage.processor_percent(start).abs() < f64::EPSILON,
            "nothing measured yet"
        );
        let before = processor_ticks().unwrap();
        let deadline = start + Duration::from_secs(20);
        while processor_ticks().unwrap() < before + 2 {
            assert!(
                Instant::now() < deadline,
                "this loop must use the processor"
            );
        }
        assert!(usage.processor_percent(start + LEAST_PERIOD) >= 2.0);
    }
}
