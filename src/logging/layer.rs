//! The [`tracing_subscriber::Layer`]: which events are wanted, and their message and fields as text.

use std::cell::RefCell;
use std::fmt::{self, Write as _};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use serde::Serialize;
use tracing::field::{Field, Visit};
use tracing::level_filters::LevelFilter;
use tracing::subscriber::Interest;
use tracing::{Event, Level, Metadata, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;

use super::LogOptions;
use super::queue::Producer;
use super::render::Severity;

/// Bytes of capacity that a thread's text buffers may keep between events.
const KEPT_CAPACITY_BYTES: usize = 16 * 1024;

/// Members that every JSON line has; an event's field of the same name gets an underscore behind it.
const RESERVED_MEMBERS: [&str; 4] = ["time", "level", "pid", "message"];

/// Which of the events below `INFO` are wanted; may change at any time. As in nats-server, debug and trace are
/// independent of each other.
#[derive(Debug)]
pub(super) struct Levels {
    debug: AtomicBool,
    trace: AtomicBool,
    trace_verbose: AtomicBool,
}

impl Levels {
    pub(super) fn new(options: &LogOptions) -> Self {
        Self {
            debug: AtomicBool::new(options.debug),
            trace: AtomicBool::new(options.trace || options.trace_verbose),
            trace_verbose: AtomicBool::new(options.trace_verbose),
        }
    }

    pub(super) fn set(&self, debug: bool, trace: bool, trace_verbose: bool) {
        self.debug.store(debug, Ordering::Relaxed);
        self.trace.store(trace || trace_verbose, Ordering::Relaxed);
        self.trace_verbose.store(trace_verbose, Ordering::Relaxed);
    }

    fn wants(&self, metadata: &Metadata<'_>) -> bool {
        let level = *metadata.level();
        if !is_ours(metadata.target()) {
            return level <= Level::WARN;
        }
        match level {
            Level::TRACE => self.trace.load(Ordering::Relaxed),
            Level::DEBUG => self.debug.load(Ordering::Relaxed),
            _ => true,
        }
    }
}

/// Writes the process's events to the log; made by [`super::layer()`].
///
/// Events of other crates are shown from `WARN` upwards only, so that `-DV` shows this server's protocol and not
/// the inner life of its libraries.
#[derive(Debug)]
pub struct LogLayer {
    producer: Producer,
    levels: Arc<Levels>,
}

impl LogLayer {
    pub(super) fn new(producer: Producer, levels: Arc<Levels>) -> Self {
        Self { producer, levels }
    }

    fn write(&self, event: &Event<'_>, text: &mut EventText) {
        text.clear(self.producer.wants_fields());
        event.record(text);
        let level = *event.metadata().level();
        let trace_hidden = || !self.levels.trace_verbose.load(Ordering::Relaxed);
        if level == Level::TRACE && text.system_account && trace_hidden() {
            return;
        }
        let severity = match level {
            Level::ERROR if text.fatal => Severity::Fatal,
            Level::ERROR => Severity::Error,
            Level::WARN => Severity::Warning,
            Level::INFO => Severity::Info,
            Level::DEBUG => Severity::Debug,
            _ => Severity::Trace,
        };
        self.producer.event(severity, &text.message, &text.fields);
        text.shrink();
    }
}

impl<S: Subscriber> Layer<S> for LogLayer {
    fn register_callsite(&self, metadata: &'static Metadata<'static>) -> Interest {
        if !metadata.is_span() && self.levels.wants(metadata) {
            Interest::always()
        } else {
            Interest::never()
        }
    }

    fn enabled(&self, metadata: &Metadata<'_>, _context: Context<'_, S>) -> bool {
        self.levels.wants(metadata)
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        Some(if self.levels.trace.load(Ordering::Relaxed) {
            LevelFilter::TRACE
        } else if self.levels.debug.load(Ordering::Relaxed) {
            LevelFilter::DEBUG
        } else {
            LevelFilter::INFO
        })
    }

    fn on_event(&self, event: &Event<'_>, _context: Context<'_, S>) {
        thread_local! {
            static TEXT: RefCell<EventText> = RefCell::default();
        }
        TEXT.with(|text| match text.try_borrow_mut() {
            Ok(mut text) => self.write(event, &mut text),
            // A value logged an event of its own while it was formatted.
            Err(_) => self.write(event, &mut EventText::default()),
        });
    }
}

/// Whether an event comes from this crate, its binary or their tests.
fn is_ours(target: &str) -> bool {
    target
        .strip_prefix("midge")
        .is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
}

/// The texts of one event; reused by each thread, so that an event costs no allocation.
#[derive(Debug, Default)]
struct EventText {
    message: String,
    /// Members of a JSON object, each with a comma before it; empty unless `wants_fields`.
    fields: String,
    wants_fields: bool,
    fatal: bool,
    system_account: bool,
}

impl EventText {
    fn clear(&mut self, wants_fields: bool) {
        self.message.clear();
        self.fields.clear();
        self.wants_fields = wants_fields;
        self.fatal = false;
        self.system_account = false;
    }

    fn shrink(&mut self) {
        self.message.clear();
        self.message.shrink_to(KEPT_CAPACITY_BYTES);
        self.fields.clear();
        self.fields.shrink_to(KEPT_CAPACITY_BYTES);
    }

    fn member(&mut self, field: &Field, value: &impl Serialize) {
        if !self.wants_fields {
            return;
        }
        let name = field.name();
        let name = name.strip_prefix("r#").unwrap_or(name);
        let mark = if RESERVED_MEMBERS.contains(&name) {
            "_"
        } else {
            ""
        };
        if let Ok(value) = serde_json::to_string(value) {
            let _infallible = write!(self.fields, ",\"{name}{mark}\":{value}");
        }
    }
}

impl Visit for EventText {
    fn record_bool(&mut self, field: &Field, value: bool) {
        match field.name() {
            "fatal" => self.fatal = value,
            "system_account" => self.system_account = value,
            _ => {}
        }
        self.member(field, &value);
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.member(field, &value);
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.member(field, &value);
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.member(field, &value);
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == "message" {
            self.message.push_str(value);
        } else {
            self.member(field, &value);
        }
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        if field.name() == "message" {
            let _infallible = write!(self.message, "{value:?}");
        } else if self.wants_fields {
            self.member(field, &format_args!("{value:?}").to_string());
        }
    }
}
