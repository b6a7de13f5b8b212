//! Publishers and receivers at work together for a fixed time.

use std::sync::{Arc, Barrier};
use std::thread;
use std::time::{Duration, Instant};

use crate::Outcome;
use crate::measure::{Measure, Sample};
use crate::process::Server;
use crate::publish::{Publisher, Sink};
use crate::receive::Receiver;

/// A set of connections with work to do.
pub(crate) struct Flow {
    epoch: Instant,
    publishers: Vec<Publisher>,
    sinks: Vec<Arc<Sink>>,
    receivers: Vec<Receiver>,
}

/// What a flow did in one run.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Transfer {
    /// Deliveries, or publishes where nobody receives.
    pub(crate) messages: f64,
    /// From the first write to the last arrival.
    pub(crate) seconds: f64,
    /// Processor seconds of the server meanwhile.
    pub(crate) processor: f64,
}

impl Transfer {
    /// Messages per second.
    pub(crate) fn rate(self) -> f64 {
        self.messages / self.seconds
    }

    /// Throughput and processor time per message.
    pub(crate) fn samples(self) -> Vec<Sample> {
        vec![
            Measure::Throughput.of(self.rate()),
            Measure::ProcessorPerMessage.of(self.processor / self.messages),
        ]
    }
}

impl Flow {
    /// An empty flow; its receivers count time from now.
    pub(crate) fn new() -> Self {
        let (publishers, sinks, receivers) = (Vec::new(), Vec::new(), Vec::new());
        Self {
            epoch: Instant::now(),
            publishers,
            sinks,
            receivers,
        }
    }

    /// The moment from which receivers count.
    pub(crate) const fn epoch(&self) -> Instant {
        self.epoch
    }

    /// Adds receivers and the sink that sums them up.
    pub(crate) fn add_sink(&mut self, receivers: Vec<Receiver>, sink: Sink) -> Arc<Sink> {
        let sink = Arc::new(sink);
        self.receivers.extend(receivers);
        self.sinks.push(Arc::clone(&sink));
        sink
    }

    /// Adds a publisher.
    pub(crate) fn add_publisher(&mut self, publisher: Publisher) {
        self.publishers.push(publisher);
    }

    /// Publishes for `duration` and waits for the last message.
    ///
    /// # Errors
    /// A lost, doubled or changed message; a closed connection.
    pub(crate) fn run(&mut self, server: &Server, duration: Duration) -> Outcome<Transfer> {
        let processor = server.processor_clock()?;
        let (began, ended, published) = self.publish_all(duration)?;
        for sink in &self.sinks {
            sink.await_all()
                .map_err(|failure| server.failure(&failure.to_string()))?;
        }
        let last = self
            .sinks
            .iter()
            .map(|sink| self.epoch + Duration::from_nanos(sink.last()))
            .max();
        let each = self
            .sinks
            .first()
            .map_or(1, |sink| sink.deliveries_per_message());
        Ok(Transfer {
            messages: (published * each) as f64,
            seconds: last
                .unwrap_or(ended)
                .saturating_duration_since(began)
                .as_secs_f64(),
            processor: server.processor_since(processor)?,
        })
    }

    /// Runs every publisher in a thread of its own. Returns when they began, when the last one had
    /// its PONG, and how many messages they published in all.
    fn publish_all(&mut self, duration: Duration) -> Outcome<(Instant, Instant, u64)> {
        let start = Barrier::new(self.publishers.len() + 1);
        let start = &start;
        thread::scope(|scope| {
            let threads: Vec<_> = self
                .publishers
                .iter_mut()
                .map(|publisher| {
                    scope.spawn(move || {
                        start.wait();
                        publisher.publish_until(Instant::now() + duration)
                    })
                })
                .collect();
            start.wait();
            let began = Instant::now();
            let mut published = 0;
            for thread in threads {
                published += thread.join().map_err(|_| "a publisher panicked")??;
            }
            Ok((began, Instant::now(), published))
        })
    }
}
