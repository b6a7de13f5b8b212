//! Reports of traced messages, in the accounts that they were published in (ADR-41).

use std::sync::atomic::Ordering;

use minlz::crc::crc;
use minlz::encode_snappy;
use serde::Serialize;

use super::{System, clocks};
use crate::broker::message_trace::{TraceReport, TraceStep};
use crate::link::internal::Outgoing;
use crate::monitor::is_zero;
use crate::monitor::stats::ServerInfo;
use crate::monitor::text::Time;
use crate::proto::message_trace::{ACCEPT_ENCODING, CONTENT_ENCODING, Headers};

/// The frame with which a Snappy stream begins.
const STREAM_START: &[u8] = b"\xff\x06\x00\x00sNaPpY";
/// The type of a frame that holds a compressed block.
const COMPRESSED: u8 = 0x00;
/// Most plain bytes of a block.
const BLOCK_BYTES: usize = 64 * 1024;

#[derive(Debug, Serialize)]
struct Document<'a> {
    server: ServerInfo,
    request: Request<'a>,
    #[serde(skip_serializing_if = "is_zero")]
    hops: u64,
    events: Vec<Step<'a>>,
}

#[derive(Debug, Serialize)]
struct Request<'a> {
    header: &'a Headers,
    msgsize: usize,
}

#[derive(Debug, Serialize)]
struct Step<'a> {
    r#type: &'static str,
    ts: Time,
    #[serde(flatten)]
    step: &'a TraceStep,
}

/// How a report is written for whoever reads it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Encoding {
    /// As it is, without a word about it.
    Plain,
    /// As it is, since none of what is understood is known here.
    Identity,
    /// A Snappy stream.
    Snappy,
}

impl Encoding {
    fn wanted(headers: &Headers) -> Self {
        let accepted = headers.get(ACCEPT_ENCODING).and_then(|all| all.first());
        let accepted = accepted.map_or_else(String::new, |words| words.to_lowercase());
        if accepted.is_empty() {
            Self::Plain
        } else if accepted.contains("snappy") || accepted.contains("s2") {
            Self::Snappy
        } else {
            Self::Identity
        }
    }

    fn header(self) -> String {
        let name = match self {
            Self::Plain => return String::new(),
            Self::Identity => "identity",
            Self::Snappy => "snappy",
        };
        format!("NATS/1.0\r\n{CONTENT_ENCODING}: {name}\r\n\r\n")
    }
}

/// About how many bytes a report takes while it waits.
pub(super) fn weight(report: &TraceReport) -> usize {
    let headers = report.headers.iter().map(|(name, values)| {
        let values: usize = values.iter().map(String::len).sum();
        name.len() + values
    });
    report.step_bytes + headers.sum::<usize>()
}

impl System {
    /// Publishes what became of a traced message.
    pub(super) fn report_trace(&mut self, report: TraceReport) {
        self.traced.fetch_sub(weight(&report), Ordering::Relaxed);
        let step = |(time, step)| Step {
            r#type: TraceStep::kind(step),
            ts: Time(time),
            step,
        };
        let document = Document {
            server: self.signature(),
            request: Request {
                header: &report.headers,
                msgsize: report.size,
            },
            hops: report.hops,
            events: report
                .steps
                .iter()
                .map(|(time, made)| step((*time, made)))
                .collect(),
        };
        let payload = match serde_json::to_vec(&document) {
            Ok(payload) => payload,
            Err(error) => return tracing::error!("cannot write a trace: {error}"),
        };
        let encoding = Encoding::wanted(&report.headers);
        let payload = match encoding {
            Encoding::Snappy => snappy(&payload),
            Encoding::Plain | Encoding::Identity => payload,
        };
        let headers = encoding.header();
        let message = Outgoing {
            subject: &report.destination,
            headers: headers.as_bytes(),
            payload: &payload,
            // nats-server's reports have a reply subject, an empty one.
            reply: Some(""),
        };
        let sent = self
            .connection
            .publish_to(&report.account, message, clocks().1);
        if let Err(error) = sent {
            tracing::debug!("cannot report to {:?}: {error}", report.destination);
        }
    }
}

/// A Snappy stream that holds `plain`.
fn snappy(plain: &[u8]) -> Vec<u8> {
    let mut stream = STREAM_START.to_vec();
    for block in plain.chunks(BLOCK_BYTES) {
        let packed = encode_snappy(block);
        let length = u32::try_from(packed.len() + 4).unwrap_or(u32::MAX);
        let [low, middle, high, _] = length.to_le_bytes();
        stream.extend_from_slice(&[COMPRESSED, low, middle, high]);
        stream.extend_from_slice(&crc(block).to_le_bytes());
        stream.extend_from_slice(&packed);
    }
    stream
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_of_blocks_is_what_readers_expect() {
        let plain: Vec<u8> = (0..200_000_u32).map(|n| (n % 251 / 7) as u8).collect();
        let stream = snappy(&plain);
        let mut reader = minlz::Reader::new(&stream[..]);
        let mut read = Vec::new();
        std::io::Read::read_to_end(&mut reader, &mut read).unwrap();
        assert!(read == plain);
        assert!(stream.len() < plain.len() / 2);
    }
}
