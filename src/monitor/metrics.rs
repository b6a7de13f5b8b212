//! `/metrics`: the numbers for Prometheus and its kin, in the OpenMetrics text format.

use std::fmt::Write as _;
use std::time::Duration;

use super::{Monitor, usage};
use crate::broker::account::Account;

/// Accounts with numbers of their own, those with most connections first. More would make more series
/// than a collector likes.
const MAX_ACCOUNTS: usize = 100;

/// Subjects of all accounts that are shown, where those that are published to most are found out: ten of
/// each, and no more in all than this.
const MAX_SUBJECTS: usize = 100;
const MAX_SUBJECTS_OF_ACCOUNT: usize = 10;

/// Round-trip times are counted up to these limits, in microseconds.
const ROUND_TRIPS: [u64; 10] = [
    100, 250, 500, 1_000, 2_500, 5_000, 10_000, 50_000, 250_000, 1_000_000,
];

/// Name, kind, help and value of a metric that each account has.
type Family = (
    &'static str,
    &'static str,
    &'static str,
    fn(&Account) -> u64,
);

/// What each account has.
const ACCOUNT_FAMILIES: [Family; 9] = [
    (
        "midge_account_connections",
        "gauge",
        "Connections.",
        |one| one.connections.get(),
    ),
    (
        "midge_account_subscriptions",
        "gauge",
        "Subscriptions.",
        |one| one.interest().len() as u64,
    ),
    (
        "midge_account_received_messages",
        "counter",
        "Published.",
        |one| one.received.messages.get(),
    ),
    (
        "midge_account_received_bytes",
        "counter",
        "Published.",
        |one| one.received.bytes.get(),
    ),
    (
        "midge_account_sent_messages",
        "counter",
        "Delivered.",
        |one| one.sent.messages.get(),
    ),
    ("midge_account_sent_bytes", "counter", "Delivered.", |one| {
        one.sent.bytes.get()
    }),
    (
        "midge_account_slow_consumers",
        "counter",
        "Connections cut.",
        |one| one.slow_consumers.get(),
    ),
    (
        "midge_account_dropped_messages",
        "counter",
        "Dropped for slow consumers.",
        |one| one.dropped.messages.get(),
    ),
    (
        "midge_account_dropped_bytes",
        "counter",
        "Dropped for slow consumers.",
        |one| one.dropped.bytes.get(),
    ),
];

/// A text of metric families.
#[derive(Debug, Default)]
struct Page(String);

impl Page {
    fn family(&mut self, name: &str, kind: &str, unit: &str, help: &str) {
        // Writing to a string cannot fail.
        let _ = writeln!(self.0, "# TYPE {name} {kind}");
        if !unit.is_empty() {
            let _ = writeln!(self.0, "# UNIT {name} {unit}");
        }
        let _ = writeln!(self.0, "# HELP {name} {help}");
    }

    fn sample(&mut self, name: &str, labels: &str, value: impl std::fmt::Display) {
        let _ = writeln!(self.0, "{name}{labels} {value}");
    }

    fn gauge(&mut self, name: &str, help: &str, value: impl std::fmt::Display) {
        self.family(name, "gauge", "", help);
        self.sample(name, "", value);
    }

    fn counter(&mut self, name: &str, help: &str, value: u64) {
        self.family(name, "counter", "", help);
        self.sample(&format!("{name}_total"), "", value);
    }

    /// A counter of what comes in and of what goes out.
    fn both_ways(&mut self, name: &str, help: &str, received: u64, sent: u64) {
        self.family(name, "counter", "", help);
        let name = format!("{name}_total");
        self.sample(&name, "{direction=\"received\"}", received);
        self.sample(&name, "{direction=\"sent\"}", sent);
    }
}

impl Monitor {
    /// All metrics.
    pub(crate) fn metrics(&self) -> String {
        let mut page = Page::default();
        let (broker, totals) = (self.broker(), self.totals());
        let info = self.context.info();
        page.family("midge_build", "info", "", "The server's identity.");
        let labels = format!(
            "{{version=\"{}\",compatible_version=\"{}\",server_id=\"{}\",server_name=\"{}\"}}",
            env!("CARGO_PKG_VERSION"),
            info.version,
            info.server_id,
            escaped(&info.server_name)
        );
        page.sample("midge_build_info", &labels, 1);
        page.gauge(
            "midge_connections",
            "Client connections.",
            broker.connection_count(),
        );
        page.counter(
            "midge_accepted_connections",
            "Client connections since the start.",
            broker.stats.total_connections.get(),
        );
        page.gauge(
            "midge_subscriptions",
            "Subscriptions of all accounts.",
            self.subscription_count(),
        );
        page.both_ways(
            "midge_messages",
            "Messages of clients and routes.",
            totals.received.msgs,
            totals.sent.msgs,
        );
        page.both_ways(
            "midge_message_bytes",
            "Header blocks and payloads of those messages.",
            totals.received.bytes,
            totals.sent.bytes,
        );
        self.trouble(&mut page);
        self.process(&mut page);
        self.round_trips(&mut page);
        self.account_metrics(&mut page);
        self.route_metrics(&mut page);
        self.subject_metrics(&mut page);
        page.0.push_str("# EOF\n");
        page.0
    }

    fn trouble(&self, page: &mut Page) {
        let stats = &self.broker().stats;
        page.counter(
            "midge_slow_consumers",
            "Connections cut because they did not drain what was sent to them.",
            stats.slow_consumers.get(),
        );
        let budget = &self.broker().budget;
        page.counter(
            "midge_shed_connections",
            "Connections cut because all together had too much pending.",
            budget.shed.get(),
        );
        let name = "midge_memory_budget_used_bytes";
        let help =
            "What waits for connections whose sockets are full, as the memory budget counts it.";
        page.family(name, "gauge", "bytes", help);
        page.sample(name, "", budget.used());
        if let Some(limit) = budget.limit() {
            let name = "midge_memory_budget_bytes";
            page.family(name, "gauge", "bytes", "What may wait for all connections.");
            page.sample(name, "", limit);
        }
        page.counter(
            "midge_stale_connections",
            "Connections closed because they did not answer pings.",
            stats.stale_connections.get(),
        );
        page.counter(
            "midge_stalled_publishers",
            "Times that a publisher was paused for a slow consumer.",
            stats.stalled_publishers.get(),
        );
    }

    fn process(&self, page: &mut Page) {
        page.family(
            "process_resident_memory_bytes",
            "gauge",
            "bytes",
            "Memory that is really there.",
        );
        page.sample("process_resident_memory_bytes", "", usage::resident_bytes());
        if let Some(seconds) = usage::processor_seconds() {
            let help = "Processor time used.";
            page.family("process_cpu_seconds", "counter", "seconds", help);
            page.sample("process_cpu_seconds_total", "", seconds);
        }
        let start = self.started.0.duration_since(std::time::UNIX_EPOCH);
        let help = "When the server started, in seconds since 1970.";
        page.family("process_start_time_seconds", "gauge", "seconds", help);
        let start = start.unwrap_or_default().as_secs_f64();
        page.sample("process_start_time_seconds", "", start);
    }

    /// The last round-trip times of all connections that have one.
    fn round_trips(&self, page: &mut Page) {
        let (mut counts, mut total, mut sum) = ([0_u64; ROUND_TRIPS.len()], 0_u64, Duration::ZERO);
        let (mut pending, mut most) = (0, 0);
        for peer in self.broker().peers() {
            let waiting = peer.pending();
            pending += waiting;
            most = most.max(waiting);
            let round_trip = peer.round_trip();
            if round_trip.is_zero() {
                continue;
            }
            total += 1;
            sum += round_trip;
            for (count, limit) in counts.iter_mut().zip(ROUND_TRIPS) {
                *count += u64::from(round_trip <= Duration::from_micros(limit));
            }
        }
        let name = "midge_connection_round_trip_seconds";
        let help = "Last round-trip times of the connections.";
        page.family(name, "gaugehistogram", "seconds", help);
        for (count, limit) in counts.iter().zip(ROUND_TRIPS) {
            let limit = Duration::from_micros(limit).as_secs_f64();
            let labels = format!("{{le=\"{limit:?}\"}}");
            page.sample(&format!("{name}_bucket"), &labels, count);
        }
        page.sample(&format!("{name}_bucket"), "{le=\"+Inf\"}", total);
        page.sample(&format!("{name}_gcount"), "", total);
        page.sample(&format!("{name}_gsum"), "", sum.as_secs_f64());
        page.family(
            "midge_pending_bytes",
            "gauge",
            "bytes",
            "What waits to be sent.",
        );
        page.sample("midge_pending_bytes", "", pending);
        let help = "What waits for the connection for which most does.";
        page.family("midge_most_pending_bytes", "gauge", "bytes", help);
        page.sample("midge_most_pending_bytes", "", most);
    }

    fn account_metrics(&self, page: &mut Page) {
        let mut accounts = self.broker().accounts();
        accounts.sort_by_key(|account| {
            let connections = account.connections.get();
            (u64::MAX - connections, account.name().to_owned())
        });
        accounts.truncate(MAX_ACCOUNTS);
        for (name, kind, help, value) in ACCOUNT_FAMILIES {
            page.family(name, kind, "", help);
            let name = if kind == "counter" {
                format!("{name}_total")
            } else {
                name.to_owned()
            };
            for account in &accounts {
                let labels = format!("{{account=\"{}\"}}", escaped(account.name()));
                page.sample(&name, &labels, value(account));
            }
        }
    }

    fn subject_metrics(&self, page: &mut Page) {
        let mut subjects = self.top_subjects("", MAX_SUBJECTS_OF_ACCOUNT);
        if subjects.is_empty() {
            return;
        }
        subjects.truncate(MAX_SUBJECTS);
        let name = "midge_top_subject_messages";
        let help = "Published by clients within the last one to two minutes, estimated.";
        page.family(name, "gauge", "", help);
        for subject in &subjects {
            let labels = format!(
                "{{account=\"{}\",subject=\"{}\"}}",
                escaped(&subject.account),
                escaped(&subject.subject)
            );
            page.sample(name, &labels, subject.msgs);
        }
    }

    fn route_metrics(&self, page: &mut Page) {
        let routes = self.routes();
        let help = "Connections to other servers of the cluster.";
        page.gauge("midge_routes", help, routes.len());
        let name = "midge_route_round_trip_seconds";
        let help = "Last round-trip times to other servers.";
        page.family(name, "gauge", "seconds", help);
        for route in routes {
            let labels = format!(
                "{{remote=\"{}\",route=\"{}\"}}",
                escaped(&route.remote_name),
                route.portrait.id
            );
            page.sample(name, &labels, route.portrait.round_trip.as_secs_f64());
        }
    }
}

/// A label's value.
fn escaped(text: &str) -> String {
    text.replace('\\', "\\\\")
        .replace('"', "\\\"")
        .replace('\n', "\\n")
}
