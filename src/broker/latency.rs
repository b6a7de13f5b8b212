//! Reports about how long services of an account take, published in that account (ADR-3).

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use serde::Serialize;

use super::account::Account;
use super::deliver::{Deliveries, Publication};
use super::forward::introduce;
use super::peer::Peer;
use super::sharing::OwnServer;
use crate::proto::headers;
use crate::proto::op::{Publish, Size};
use crate::proto::request_info::RequestInfo;

/// What kind of document a report is.
const REPORT_TYPE: &str = "io.nats.server.metric.v1.service_latency";

/// Letters of a report's name.
const ID_LETTERS: usize = 22;

/// Bytes of names and values of the headers that are kept of a request until its report, which takes as long as
/// the service does. Far more than the tracing systems' own headers have; baggage (`Uberctx-…`) may be longer.
const HEADER_BYTES: usize = 4 * 1024;

/// Where the latency of a service is reported, and of which requests.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LatencyRules {
    /// Subject of the reports.
    pub subject: String,
    /// How many of a hundred requests are measured, whether or not a header asks for it; those with a
    /// header that does are measured in any case.
    pub percent: u8,
}

/// Headers that asked for a measurement.
pub(super) type Headers = BTreeMap<String, [String; 1]>;

/// A request that is measured.
#[derive(Debug)]
pub(super) struct Measurement {
    pub(super) rules: LatencyRules,
    pub(super) requester: Arc<Peer>,
    /// The requester's account, and whether more than that is told.
    pub(super) account: String,
    pub(super) share: bool,
    pub(super) headers: Headers,
    pub(super) server: Arc<OwnServer>,
    /// When the request came.
    pub(super) since: Instant,
}

/// What became of a measured request.
#[derive(Debug, Clone, Copy)]
pub(super) enum Outcome<'a> {
    /// This connection, of this account, answered.
    Answered(&'a Arc<Peer>, &'a str),
    /// It asked for no answer.
    BadRequest,
    /// Nobody was there to answer.
    Unavailable,
    /// Nobody answered in time.
    Late,
}

impl Outcome<'_> {
    fn status(self) -> (u16, &'static str) {
        match self {
            Self::Answered(..) => (200, ""),
            Self::BadRequest => (400, "Bad Request"),
            Self::Unavailable => (503, "Service Unavailable"),
            Self::Late => (504, "Service Timeout"),
        }
    }
}

/// The document that is published. Times are in nanoseconds.
#[derive(Debug, Serialize)]
struct Report<'a> {
    #[serde(rename = "type")]
    kind: &'a str,
    id: String,
    timestamp: String,
    status: u16,
    #[serde(skip_serializing_if = "str::is_empty")]
    description: &'a str,
    requestor: &'a RequestInfo,
    #[serde(skip_serializing_if = "Option::is_none")]
    responder: Option<RequestInfo>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    header: &'a Headers,
    start: String,
    service: u64,
    system: u64,
    total: u64,
}

impl Measurement {
    /// Who asked, as far as it may be told.
    fn requester(&self) -> RequestInfo {
        let mut info = introduce(&self.requester, &self.account, self.share);
        if self.share {
            self.name_server(&mut info);
        }
        info
    }

    fn name_server(&self, info: &mut RequestInfo) {
        info.server.clone_from(&self.server.name);
        info.cluster.clone_from(&self.server.cluster);
    }

    /// An instant as the clock on the wall shows it.
    fn wall(&self, instant: Instant) -> SystemTime {
        let (wall, began) = self.requester.facts().began;
        wall + instant.saturating_duration_since(began)
    }
}

impl Deliveries {
    /// The headers for which a request is measured, if it is.
    pub(super) fn sample(&mut self, rules: &LatencyRules, block: &[u8]) -> Option<Headers> {
        let always = rules.percent >= 100;
        if always || (rules.percent > 0 && self.random() % 100 <= u64::from(rules.percent)) {
            return Some(Headers::new());
        }
        asking_headers(block).map(within_limit)
    }

    /// Publishes what became of a measured request in the service's account.
    pub(super) fn report(
        &mut self,
        exporter: &Arc<Account>,
        measurement: &Measurement,
        outcome: Outcome<'_>,
        now: Instant,
    ) {
        let requester = measurement.requester();
        let to_requester = Duration::from_nanos(requester.round_trip);
        let (status, description) = outcome.status();
        let mut report = Report {
            kind: REPORT_TYPE,
            id: exporter.random_word(ID_LETTERS),
            timestamp: timestamp(measurement.wall(now)),
            status,
            description,
            requestor: &requester,
            responder: None,
            header: &measurement.headers,
            start: timestamp(measurement.wall(measurement.since) - to_requester),
            service: 0,
            system: 0,
            total: 0,
        };
        if let Outcome::Answered(responder, account) = outcome {
            let mut info = introduce(responder, account, true);
            measurement.name_server(&mut info);
            let whole = now.saturating_duration_since(measurement.since);
            report.service = nanoseconds(whole).saturating_sub(info.round_trip);
            report.total = nanoseconds(whole + to_requester);
            report.responder = Some(info);
        }
        let Ok(mut body) = serde_json::to_vec(&report) else {
            return;
        };
        let size = body.len();
        let text = size.to_string();
        body.extend_from_slice(b"\r\n");
        let message = Publish {
            subject: measurement.rules.subject.as_bytes(),
            // nats-server leaves two blanks in the line, as if there was one.
            reply: Some(b""),
            header: None,
            size: Size {
                bytes: size,
                text: text.as_bytes(),
            },
            body: &body,
            sized_body: None,
        };
        let publication = Publication::new(&message, &measurement.server.peer, now);
        self.publish_uncached(exporter, &publication);
    }

    /// Reports measured requests of `account` that nobody answered in time, and forgets all such.
    pub fn expire_requests(&mut self, account: &Arc<Account>, now: Instant) {
        for pending in account.expire_requests(now) {
            if let Some(measurement) = &pending.measurement {
                self.report(account, measurement, Outcome::Late, now);
            }
        }
    }
}

fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// A time as RFC 3339 writes it.
pub(super) fn timestamp(time: SystemTime) -> String {
    jiff::Timestamp::try_from(time)
        .map(|time| time.to_string())
        .unwrap_or_default()
}

/// The headers of tracing systems that ask for this request to be traced, with those that belong to
/// them. The first system that is named decides.
fn asking_headers(block: &[u8]) -> Option<Headers> {
    let value = |name: &str| {
        let value = headers::value(block, name.as_bytes())?;
        Some(String::from_utf8_lossy(value).into_owned())
    };
    let take = |names: &[&str]| -> Headers {
        let pair = |name: &&str| Some(((*name).to_owned(), [value(name)?]));
        names.iter().filter_map(pair).collect()
    };
    if let Some(uber) = value("Uber-Trace-Id") {
        let mut headers = take(&["Uber-Trace-Id"]);
        headers
            .extend(headers::starting_with(block, "Uberctx-").map(|(name, value)| (name, [value])));
        return is_sampled_uber(&uber).then_some(headers);
    }
    let b3 = [
        "X-B3-Sampled",
        "X-B3-Traceid",
        "X-B3-Parentspanid",
        "X-B3-Spanid",
    ];
    match value("X-B3-Sampled").as_deref() {
        Some("1") => return Some(take(&b3)),
        Some("0") => return None,
        Some(_) | None if value("X-B3-Traceid").is_some() => return Some(take(&b3)),
        Some(_) | None => {}
    }
    if let Some(single) = value("B3") {
        let words: Vec<&str> = single.split('-').collect();
        let denied = matches!(*words, ["0"] | [_, _, "0", ..]);
        return (!denied).then(|| take(&["B3"]));
    }
    let parent = value("Traceparent")?;
    let words: Vec<&str> = parent.split('-').collect();
    let flags = match *words {
        [_, _, _, flags] if flags.len() == 2 => i8::from_str_radix(flags, 16).ok()?,
        _ => return None,
    };
    (flags & 1 == 1).then(|| take(&["Traceparent", "Tracestate"]))
}

/// Bytes of names and values.
pub(super) fn header_bytes(headers: &Headers) -> usize {
    let pairs = headers.iter();
    pairs.map(|(name, [value])| name.len() + value.len()).sum()
}

/// Leaves out what would be more than [`HEADER_BYTES`] together with what comes before it.
fn within_limit(mut headers: Headers) -> Headers {
    let mut left = HEADER_BYTES;
    headers.retain(|name, [value]| {
        let rest = left.checked_sub(name.len() + value.len());
        left = rest.unwrap_or(left);
        rest.is_some()
    });
    headers
}

fn is_sampled_uber(value: &str) -> bool {
    let words: Vec<&str> = value.split(':').collect();
    match *words {
        [_, _, _, flags] if (1..=2).contains(&flags.len()) => {
            u8::from_str_radix(flags, 16).is_ok_and(|flags| flags & 1 == 1)
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asking(lines: &str) -> Option<Vec<String>> {
        let headers = asking_headers(format!("NATS/1.0\r\n{lines}\r\n\r\n").as_bytes())?;
        Some(headers.into_keys().collect())
    }

    #[test]
    fn headers_of_tracing_systems_ask_or_decline() {
        let parent = "4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7";
        for (lines, expected) in [
            (
                format!("traceparent: 00-{parent}-01\r\nTracestate: x=y"),
                Some(vec!["Traceparent", "Tracestate"]),
            ),
            (format!("Traceparent: 00-{parent}-00"), None),
            (format!("Traceparent: 00-{parent}"), None),
            (
                "X-B3-Sampled: 1\r\nX-B3-SpanId: 5".to_owned(),
                Some(vec!["X-B3-Sampled", "X-B3-Spanid"]),
            ),
            (
                format!("X-B3-Sampled: 0\r\nTraceparent: 00-{parent}-01"),
                None,
            ),
            ("x-b3-traceid: 80f1".to_owned(), Some(vec!["X-B3-Traceid"])),
            (format!("b3: {parent}-1-05"), Some(vec!["B3"])),
            (format!("B3: {parent}-0"), None),
            ("B3: 0".to_owned(), None),
            (
                "Uber-Trace-Id: 4:5:4:1\r\nuberctx-key: x".to_owned(),
                Some(vec!["Uber-Trace-Id", "Uberctx-Key"]),
            ),
            (
                format!("Uber-Trace-Id: 4:5:4:0\r\nTraceparent: 00-{parent}-01"),
                None,
            ),
            ("Uber-Trace-Id: 4:5:4:100".to_owned(), None),
            ("Other: 1".to_owned(), None),
        ] {
            let expected = expected.map(|names| names.into_iter().map(str::to_owned).collect());
            assert_eq!(asking(&lines), expected, "{lines}");
        }
    }
    #[test]
    fn long_headers_are_left_out_of_the_report_and_others_stay() {
        let long = "x".repeat(HEADER_BYTES);
        let half = "x".repeat(HEADER_BYTES / 2);
        let lines = format!(
            "Uber-Trace-Id: 4:5:4:1\r\nUberctx-A: {long}\r\nUberctx-B: {half}\r\n\
             Uberctx-C: {half}\r\nUberctx-D: short"
        );
        let block = format!("NATS/1.0\r\n{lines}\r\n\r\n");
        let kept = within_limit(asking_headers(block.as_bytes()).unwrap());
        let names: Vec<&str> = kept.keys().map(String::as_str).collect();
        assert_eq!(names, ["Uber-Trace-Id", "Uberctx-B", "Uberctx-D"]);
    }
}
