//! What is measured, in which unit, and how a value is written for people.

/// One kind of figure. Values are kept in base units: seconds, bytes, events per second, shares.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Measure {
    /// Messages per second: deliveries where there are receivers, otherwise publishes.
    Throughput,
    /// Processor seconds of the server process for one of those messages.
    ProcessorPerMessage,
    /// Round-trip time that half of the requests stay under.
    LatencyMedian,
    /// Round-trip time that 99 % of the requests stay under.
    Latency99,
    /// Round-trip time that 99.9 % of the requests stay under.
    Latency999,
    /// [`Measure::LatencyMedian`] before the disturbance begins.
    UndisturbedMedian,
    /// [`Measure::Latency99`] before the disturbance begins.
    Undisturbed99,
    /// [`Measure::Latency99`] under the disturbance divided by the one without it, same server, same run.
    LatencyGrowth,
    /// Largest resident memory of the server process during the scenario.
    PeakMemory,
    /// Time until every subscription is confirmed.
    InsertTime,
    /// Time from the start of a server until it knows what clients of another one want.
    ExchangeTime,
    /// Processor seconds of the server for one subscription.
    InsertProcessor,
    /// Growth of resident memory divided by the number of subscriptions or connections.
    MemoryEach,
    /// The same with proportional set size (shared pages divided among their users).
    ProportionalEach,
    /// Connections opened, greeted and confirmed per second.
    ConnectRate,
    /// Processor seconds of the server for one connection.
    ConnectProcessor,
    /// Time until every connection is opened, greeted and confirmed, however often it had to be tried.
    ConnectTime,
    /// Attempts to connect that failed.
    FailedConnects,
    /// Rate under the disturbance divided by the rate without it, same server, same run.
    RateKept,
    /// Messages per second before the disturbance begins.
    UndisturbedRate,
    /// SUB and UNSUB pairs per second that the disturbing connection got through.
    ChurnRate,
    /// From starting the process to the first byte of INFO.
    StartTime,
    /// Resident memory of a server that has nothing to do.
    IdleMemory,
    /// Proportional set size of a server that has nothing to do.
    IdleProportional,
    /// Size of the executable after `strip`.
    BinarySize,
}

/// The unit a value is kept in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unit {
    /// Events per second.
    PerSecond,
    /// Seconds.
    Seconds,
    /// Bytes.
    Bytes,
    /// A part of one.
    Share,
    /// A count, or how many times more.
    Number,
}

/// One figure of one run.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sample {
    /// What was measured.
    pub(crate) measure: Measure,
    /// The value in the base unit of `measure`.
    pub(crate) value: f64,
}

impl Measure {
    /// Every measure, in the order of the report.
    pub(crate) const ALL: [Self; 25] = [
        Self::Throughput,
        Self::ProcessorPerMessage,
        Self::LatencyMedian,
        Self::Latency99,
        Self::Latency999,
        Self::UndisturbedMedian,
        Self::Undisturbed99,
        Self::LatencyGrowth,
        Self::UndisturbedRate,
        Self::RateKept,
        Self::ChurnRate,
        Self::InsertTime,
        Self::ExchangeTime,
        Self::InsertProcessor,
        Self::ConnectRate,
        Self::ConnectTime,
        Self::FailedConnects,
        Self::ConnectProcessor,
        Self::MemoryEach,
        Self::ProportionalEach,
        Self::StartTime,
        Self::IdleMemory,
        Self::IdleProportional,
        Self::PeakMemory,
        Self::BinarySize,
    ];

    /// A sample of this measure.
    pub(crate) const fn of(self, value: f64) -> Sample {
        Sample {
            measure: self,
            value,
        }
    }

    /// The name in the JSON file.
    pub(crate) const fn key(self) -> &'static str {
        match self {
            Self::Throughput => "throughput",
            Self::ProcessorPerMessage => "cpu_per_message",
            Self::LatencyMedian => "latency_p50",
            Self::Latency99 => "latency_p99",
            Self::Latency999 => "latency_p99_9",
            Self::UndisturbedMedian => "undisturbed_p50",
            Self::Undisturbed99 => "undisturbed_p99",
            Self::LatencyGrowth => "latency_growth_p99",
            Self::PeakMemory => "peak_memory",
            Self::InsertTime => "insert_time",
            Self::ExchangeTime => "exchange_time",
            Self::InsertProcessor => "insert_cpu_each",
            Self::MemoryEach => "rss_each",
            Self::ProportionalEach => "pss_each",
            Self::ConnectRate => "connect_rate",
            Self::ConnectProcessor => "connect_cpu_each",
            Self::ConnectTime => "connect_time",
            Self::FailedConnects => "failed_connects",
            Self::RateKept => "rate_kept",
            Self::UndisturbedRate => "undisturbed_rate",
            Self::ChurnRate => "churn_rate",
            Self::StartTime => "start_time",
            Self::IdleMemory => "idle_rss",
            Self::IdleProportional => "idle_pss",
            Self::BinarySize => "binary_size",
        }
    }

    /// The words in the table.
    pub(crate) const fn label(self) -> &'static str {
        match self {
            Self::Throughput => "messages a second",
            Self::ProcessorPerMessage => "server CPU per message",
            Self::LatencyMedian => "p50",
            Self::Latency99 => "p99",
            Self::Latency999 => "p99.9",
            Self::UndisturbedMedian => "p50, undisturbed",
            Self::Undisturbed99 => "p99, undisturbed",
            Self::LatencyGrowth => "p99 against undisturbed",
            Self::PeakMemory => "peak memory",
            Self::InsertTime => "time to subscribe",
            Self::ExchangeTime => "time until known",
            Self::InsertProcessor => "server CPU per subscription",
            Self::MemoryEach => "memory each (RSS)",
            Self::ProportionalEach => "memory each (PSS)",
            Self::ConnectRate => "connects a second",
            Self::ConnectProcessor => "server CPU per connect",
            Self::ConnectTime => "time to connect all",
            Self::FailedConnects => "failed connects",
            Self::RateKept => "rate kept",
            Self::UndisturbedRate => "messages a second, undisturbed",
            Self::ChurnRate => "SUB+UNSUB a second",
            Self::StartTime => "start to first INFO",
            Self::IdleMemory => "idle memory (RSS)",
            Self::IdleProportional => "idle memory (PSS)",
            Self::BinarySize => "binary, stripped",
        }
    }

    /// The unit of its values.
    pub(crate) const fn unit(self) -> Unit {
        match self {
            Self::Throughput | Self::ConnectRate | Self::UndisturbedRate | Self::ChurnRate => {
                Unit::PerSecond
            }
            Self::ProcessorPerMessage
            | Self::LatencyMedian
            | Self::Latency99
            | Self::Latency999
            | Self::UndisturbedMedian
            | Self::Undisturbed99
            | Self::ConnectTime
            | Self::InsertTime
            | Self::ExchangeTime
            | Self::InsertProcessor
            | Self::ConnectProcessor
            | Self::StartTime => Unit::Seconds,
            Self::PeakMemory
            | Self::MemoryEach
            | Self::ProportionalEach
            | Self::IdleMemory
            | Self::IdleProportional
            | Self::BinarySize => Unit::Bytes,
            Self::RateKept => Unit::Share,
            Self::LatencyGrowth | Self::FailedConnects => Unit::Number,
        }
    }
}

impl Unit {
    /// The name in the JSON file.
    pub(crate) const fn key(self) -> &'static str {
        match self {
            Self::PerSecond => "per_second",
            Self::Seconds => "seconds",
            Self::Bytes => "bytes",
            Self::Share => "share",
            Self::Number => "number",
        }
    }

    /// Writes a value with about three significant digits and a fitting prefix.
    pub(crate) fn format(self, value: f64) -> String {
        let scales: &[(f64, &str)] = match self {
            Self::PerSecond => &[(1e6, " M/s"), (1e3, " k/s"), (1.0, " /s")],
            Self::Seconds => &[(1.0, " s"), (1e-3, " ms"), (1e-6, " µs"), (1e-9, " ns")],
            Self::Bytes => &[(1_048_576.0, " MiB"), (1024.0, " KiB"), (1.0, " B")],
            Self::Share | Self::Number => &[(1.0, "")],
        };
        let fitting = scales
            .iter()
            .find(|(scale, _)| value.abs() >= *scale)
            .or_else(|| scales.last());
        let (scale, suffix) = fitting.copied().unwrap_or((1.0, ""));
        format!("{}{suffix}", three_digits(value / scale))
    }
}

/// A number with about three significant digits.
pub(crate) fn three_digits(value: f64) -> String {
    match value.abs() {
        large if large >= 99.95 => format!("{value:.0}"),
        medium if medium >= 9.995 => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}

/// The middle of a set of values; the mean of the two middle ones for an even count, 0 for none.
pub(crate) fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    let upper = sorted.get(middle).copied().unwrap_or_default();
    if sorted.len() % 2 == 1 {
        return upper;
    }
    let lower = middle
        .checked_sub(1)
        .and_then(|index| sorted.get(index))
        .copied()
        .unwrap_or(upper);
    f64::midpoint(lower, upper)
}
