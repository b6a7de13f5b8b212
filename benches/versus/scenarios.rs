//! The list of scenarios, their sizes and their targets.

use std::path::Path;
use std::time::Duration;

use crate::Outcome;
use crate::limits::{Bound, Target};
use crate::measure::{Measure, Sample};
use crate::throughput::Shape;
use crate::{cluster, idle, loopback, requests, startup, subscriptions, throughput, tls_storm};

/// How big and how long everything is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sizes {
    /// Traffic before the measured time.
    pub(crate) warm_up: Duration,
    /// Measured time of a flow.
    pub(crate) duration: Duration,
    /// Measured time with a subscriber that does not read.
    pub(crate) slow_duration: Duration,
    /// Subjects of the scenario with many publishers.
    pub(crate) many_subjects: usize,
    /// Starts of which the median counts.
    pub(crate) starts: usize,
    /// Counts of subscriptions and connections are divided by this.
    pub(crate) divisor: usize,
}

impl Sizes {
    /// What the published figures are made with.
    pub(crate) const FULL: Self = Self {
        warm_up: Duration::from_millis(300),
        duration: Duration::from_millis(1500),
        slow_duration: Duration::from_secs(5),
        many_subjects: 100_000,
        starts: 11,
        divisor: 1,
    };
    /// Enough to see that every scenario works.
    pub(crate) const SMOKE: Self = Self {
        warm_up: Duration::from_millis(20),
        duration: Duration::from_millis(80),
        slow_duration: Duration::from_millis(300),
        many_subjects: 2000,
        starts: 2,
        divisor: 25,
    };
}

/// One run of one scenario against one server.
#[derive(Clone, Copy)]
pub(crate) struct Trial<'a> {
    /// The server's executable.
    pub(crate) binary: &'a Path,
    /// How big and how long.
    pub(crate) sizes: &'a Sizes,
}

/// What a scenario does.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Work {
    /// Messages in a plain shape.
    Flow(Shape),
    /// Requests, with so many under way.
    Requests(usize),
    /// Messages published at one server and received at another.
    Between(Shape, Link),
    /// Requests from a client of one server to one of another.
    RequestsBetween(usize),
    /// A server joins one whose clients want so many subjects.
    Exchange(usize),
    /// So many subscriptions.
    Subscriptions(usize),
    /// Many publishers over many subjects to one wildcard subscriber.
    ManySubjects,
    /// Publishing while another connection subscribes and unsubscribes.
    Churn,
    /// So many idle connections.
    Idle(usize),
    /// So many clients do their TLS handshakes while somebody else requests.
    TlsStorm(usize),
    /// One of five subscribers stops reading.
    SlowSubscriber,
    /// Start, idle memory, executable.
    Startup,
    /// No server: messages of a payload size through a bare socket pair.
    Loopback(usize),
}

/// How two servers are linked.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Link {
    /// Without compression.
    Plain,
    /// With S2, fast.
    Compressed,
}

/// A scenario.
#[derive(Debug)]
pub(crate) struct Scenario {
    /// Its name on the command line and in the JSON file.
    pub(crate) name: &'static str,
    /// Its name in the table.
    pub(crate) title: &'static str,
    /// What it does.
    pub(crate) work: Work,
    /// What is expected of Midge.
    pub(crate) targets: &'static [Target],
}

impl Scenario {
    /// Runs it once.
    ///
    /// # Errors
    /// A server that fails, and every lost, doubled or changed message.
    pub(crate) fn run(&self, trial: &Trial<'_>) -> Outcome<Vec<Sample>> {
        let sizes = trial.sizes;
        match self.work {
            Work::Flow(shape) => throughput::run(trial, shape),
            Work::Requests(in_flight) => requests::run(trial, in_flight),
            Work::Between(shape, link) => throughput::run_between(trial, shape, link),
            Work::RequestsBetween(in_flight) => requests::run_between(trial, in_flight),
            Work::Exchange(count) => cluster::exchange(trial, count / sizes.divisor),
            Work::Subscriptions(count) => subscriptions::run(trial, count / sizes.divisor),
            Work::ManySubjects => throughput::run_many_subjects(trial),
            Work::Churn => throughput::run_churn(trial),
            Work::Idle(count) => idle::run(trial, count / sizes.divisor),
            Work::TlsStorm(count) => tls_storm::run(trial, count / sizes.divisor),
            Work::SlowSubscriber => throughput::run_slow_subscriber(trial),
            Work::Startup => startup::run(trial),
            Work::Loopback(payload) => loopback::run(sizes, payload),
        }
    }

    /// Whether it needs a server.
    pub(crate) const fn needs_server(&self) -> bool {
        !matches!(self.work, Work::Loopback(_))
    }
}

const fn flow(groups: usize, receivers: usize, payload: usize) -> Work {
    Work::Flow(Shape {
        groups,
        receivers,
        queue: false,
        payload,
        headers: false,
    })
}

const fn between(groups: usize, receivers: usize, payload: usize, link: Link) -> Work {
    let shape = Shape {
        groups,
        receivers,
        queue: false,
        payload,
        headers: false,
    };
    Work::Between(shape, link)
}

const fn ratio_at_least(measure: Measure, limit: f64) -> Target {
    Target {
        measure,
        bound: Bound::RatioAtLeast(limit),
    }
}

const fn ratio_at_most(measure: Measure, limit: f64) -> Target {
    Target {
        measure,
        bound: Bound::RatioAtMost(limit),
    }
}

const fn at_least(measure: Measure, limit: f64) -> Target {
    Target {
        measure,
        bound: Bound::AtLeast(limit),
    }
}

const fn at_most(measure: Measure, limit: f64) -> Target {
    Target {
        measure,
        bound: Bound::AtMost(limit),
    }
}

/// Throughput and processor time per message, as ratios.
macro_rules! rate_and_cost {
    ($rate:expr, $cost:expr) => {
        &[
            ratio_at_least(Measure::Throughput, $rate),
            ratio_at_most(Measure::ProcessorPerMessage, $cost),
        ]
    };
}

const MEBIBYTE: f64 = 1_048_576.0;

const IDLE_TARGETS: &[Target] = &[
    at_most(Measure::MemoryEach, 4096.0),
    ratio_at_most(Measure::MemoryEach, 0.1),
    ratio_at_most(Measure::ConnectProcessor, 0.3),
];

/// Every scenario, in the order of the report.
pub(crate) const SCENARIOS: &[Scenario] = &[
    Scenario {
        name: "publish-16",
        title: "publish 16 B, no interest",
        work: flow(1, 0, 16),
        targets: rate_and_cost!(4.0, 0.25),
    },
    Scenario {
        name: "publish-128",
        title: "publish 128 B, no interest",
        work: flow(1, 0, 128),
        targets: &[],
    },
    Scenario {
        name: "one-to-one-16",
        title: "1 → 1, 16 B",
        work: flow(1, 1, 16),
        targets: rate_and_cost!(5.0, 0.2),
    },
    Scenario {
        name: "one-to-one-128",
        title: "1 → 1, 128 B",
        work: flow(1, 1, 128),
        targets: &[],
    },
    Scenario {
        name: "one-to-one-1k",
        title: "1 → 1, 1 KiB",
        work: flow(1, 1, 1024),
        targets: rate_and_cost!(1.8, 0.42),
    },
    Scenario {
        name: "one-to-one-64k",
        title: "1 → 1, 64 KiB",
        work: flow(1, 1, 65_536),
        targets: rate_and_cost!(1.2, 0.8),
    },
    Scenario {
        name: "headers-128",
        title: "1 → 1, headers and 128 B",
        work: Work::Flow(Shape {
            groups: 1,
            receivers: 1,
            queue: false,
            payload: 128,
            headers: true,
        }),
        targets: rate_and_cost!(4.0, 0.25),
    },
    Scenario {
        name: "pairs-4-16",
        title: "4 → 4 pairs, 16 B",
        work: flow(4, 1, 16),
        targets: rate_and_cost!(5.5, 0.2),
    },
    Scenario {
        name: "fan-out-16-16",
        title: "1 → 16, 16 B",
        work: flow(1, 16, 16),
        targets: rate_and_cost!(8.0, 0.12),
    },
    Scenario {
        name: "fan-out-16-1k",
        title: "1 → 16, 1 KiB",
        work: flow(1, 16, 1024),
        targets: &[],
    },
    Scenario {
        name: "fan-out-100-16",
        title: "1 → 100, 16 B",
        work: flow(1, 100, 16),
        targets: rate_and_cost!(5.5, 0.15),
    },
    Scenario {
        name: "fan-out-100-1k",
        title: "1 → 100, 1 KiB",
        work: flow(1, 100, 1024),
        targets: &[],
    },
    Scenario {
        name: "queue-8",
        title: "1 → queue group of 8, 16 B",
        work: Work::Flow(Shape {
            groups: 1,
            receivers: 8,
            queue: true,
            payload: 16,
            headers: false,
        }),
        targets: rate_and_cost!(4.5, 0.22),
    },
    Scenario {
        name: "request-1",
        title: "request/reply, 1 in flight",
        work: Work::Requests(1),
        targets: &[
            ratio_at_most(Measure::LatencyMedian, 0.65),
            ratio_at_most(Measure::ProcessorPerMessage, 0.6),
        ],
    },
    Scenario {
        name: "request-16",
        title: "request/reply, 16 in flight",
        work: Work::Requests(16),
        targets: &[],
    },
    Scenario {
        name: "subscriptions-100k",
        title: "100,000 subscriptions",
        work: Work::Subscriptions(100_000),
        targets: &[],
    },
    Scenario {
        name: "subscriptions-1m",
        title: "1,000,000 subscriptions",
        work: Work::Subscriptions(1_000_000),
        targets: &[
            ratio_at_most(Measure::InsertProcessor, 0.4),
            ratio_at_most(Measure::MemoryEach, 0.3),
            ratio_at_most(Measure::ProcessorPerMessage, 0.5),
        ],
    },
    Scenario {
        name: "many-subjects",
        title: "100 publishers × 100,000 subjects → 1 wildcard subscriber",
        work: Work::ManySubjects,
        targets: rate_and_cost!(6.0, 0.2),
    },
    Scenario {
        name: "churn",
        title: "4 publishers × 1,000 subjects under 10,000 SUB+UNSUB a second",
        work: Work::Churn,
        targets: &[
            ratio_at_least(Measure::Throughput, 5.0),
            at_least(Measure::RateKept, 0.8),
        ],
    },
    Scenario {
        name: "slow-subscriber",
        title: "1 → 4, 1 KiB, a fifth subscriber stops reading",
        work: Work::SlowSubscriber,
        targets: &[
            at_least(Measure::RateKept, 0.8),
            at_most(Measure::PeakMemory, 72.0 * MEBIBYTE),
        ],
    },
    Scenario {
        name: "idle-5000",
        title: "5,000 idle connections",
        work: Work::Idle(5000),
        targets: IDLE_TARGETS,
    },
    Scenario {
        name: "idle-9000",
        title: "9,000 idle connections",
        work: Work::Idle(9000),
        targets: IDLE_TARGETS,
    },
    Scenario {
        name: "tls-storm",
        title: "request/reply while 2,000 clients connect with TLS",
        work: Work::TlsStorm(2000),
        targets: &[
            at_most(Measure::LatencyGrowth, 5.0),
            at_most(Measure::FailedConnects, 0.0),
        ],
    },
    Scenario {
        name: "cluster-one-to-one-16",
        title: "two nodes: 1 → 1, 16 B",
        work: between(1, 1, 16, Link::Plain),
        targets: rate_and_cost!(3.5, 0.3),
    },
    Scenario {
        name: "cluster-pairs-4-16",
        title: "two nodes: 4 → 4 pairs, 16 B",
        work: between(4, 1, 16, Link::Plain),
        targets: &[ratio_at_least(Measure::Throughput, 4.0)],
    },
    Scenario {
        name: "cluster-one-to-one-1k",
        title: "two nodes: 1 → 1, 1 KiB",
        work: between(1, 1, 1024, Link::Plain),
        targets: &[],
    },
    Scenario {
        name: "cluster-compressed-1k",
        title: "two nodes, compressed: 1 → 1, 1 KiB",
        work: between(1, 1, 1024, Link::Compressed),
        targets: &[],
    },
    Scenario {
        name: "cluster-request-1",
        title: "two nodes: request/reply, 1 in flight",
        work: Work::RequestsBetween(1),
        targets: &[ratio_at_most(Measure::LatencyMedian, 0.7)],
    },
    Scenario {
        name: "cluster-exchange-200k",
        title: "a node joins one with 200,000 interests",
        work: Work::Exchange(200_000),
        targets: &[ratio_at_most(Measure::ExchangeTime, 0.5)],
    },
    Scenario {
        name: "startup",
        title: "start, idle, executable",
        work: Work::Startup,
        targets: &[
            at_most(Measure::StartTime, 0.005),
            at_most(Measure::IdleMemory, 4.0 * MEBIBYTE),
            at_most(Measure::BinarySize, 6.0 * MEBIBYTE),
        ],
    },
    Scenario {
        name: "loopback-16",
        title: "bare loopback, 16 B",
        work: Work::Loopback(16),
        targets: &[],
    },
    Scenario {
        name: "loopback-1k",
        title: "bare loopback, 1 KiB",
        work: Work::Loopback(1024),
        targets: &[],
    },
    Scenario {
        name: "loopback-64k",
        title: "bare loopback, 64 KiB",
        work: Work::Loopback(65_536),
        targets: &[],
    },
];

/// Which one-to-one scenario a bare-loopback scenario is the limit of.
pub(crate) fn limited_by(loopback: &str) -> Option<&'static str> {
    let suffix = loopback.strip_prefix("loopback-")?;
    let names = SCENARIOS.iter().map(|scenario| scenario.name);
    names
        .into_iter()
        .find(|name| name.strip_prefix("one-to-one-") == Some(suffix))
}
