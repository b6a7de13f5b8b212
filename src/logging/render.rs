//! Turns one event into the bytes of one line.

use std::io::{IsTerminal as _, Write as _};

use super::clock::Clock;
use super::{Destination, LogFormat, LogOptions, syslog};

/// How grave a line is. The order has no meaning.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Severity {
    Fatal,
    Error,
    Warning,
    Info,
    Debug,
    Trace,
}

impl Severity {
    fn label(self) -> &'static str {
        match self {
            Self::Fatal => "FTL",
            Self::Error => "ERR",
            Self::Warning => "WRN",
            Self::Info => "INF",
            Self::Debug => "DBG",
            Self::Trace => "TRC",
        }
    }

    /// The parameter of the terminal's "select graphic rendition" sequence.
    fn colour(self) -> &'static str {
        match self {
            Self::Fatal | Self::Error => "31",
            Self::Warning => "0;93",
            Self::Info => "32",
            Self::Debug => "36",
            Self::Trace => "33",
        }
    }

    /// The value of `level` in a JSON line.
    fn name(self) -> &'static str {
        match self {
            Self::Fatal => "fatal",
            Self::Error => "error",
            Self::Warning => "warn",
            Self::Info => "info",
            Self::Debug => "debug",
            Self::Trace => "trace",
        }
    }

    /// The severity of RFC 3164 that nats-server sends; trace lines are notices there.
    pub(super) fn syslog(self) -> u8 {
        match self {
            Self::Fatal => 2,
            Self::Error => 3,
            Self::Warning => 4,
            Self::Info | Self::Trace => 5,
            Self::Debug => 7,
        }
    }
}

/// What stands around the message.
#[derive(Clone, Debug)]
enum Envelope {
    /// Process id, time and label as nats-server writes them to a file or a terminal.
    Plain { colours: bool },
    /// A syslog header, which carries process id, time and severity itself.
    Syslog(syslog::Header),
}

/// Writes lines in the form that the options ask for.
#[derive(Clone, Debug)]
pub(super) struct Renderer {
    envelope: Envelope,
    format: LogFormat,
    timestamps: bool,
    process: u32,
    clock: Clock,
}

impl Renderer {
    pub(super) fn new(options: &LogOptions) -> Self {
        let envelope = match &options.destination {
            Destination::Stderr => Envelope::Plain {
                colours: std::io::stderr().is_terminal(),
            },
            Destination::File { .. } => Envelope::Plain { colours: false },
            Destination::Syslog { .. } => Envelope::Syslog(syslog::Header::local()),
            Destination::RemoteSyslog { .. } => Envelope::Syslog(syslog::Header::remote()),
        };
        Self {
            envelope,
            format: options.format,
            timestamps: options.timestamps,
            process: std::process::id(),
            clock: Clock::new(options.utc),
        }
    }

    /// Whether lines are JSON objects, so that the fields of events are wanted.
    pub(super) fn is_json(&self) -> bool {
        self.format == LogFormat::Json
    }

    /// Appends one line. `fields` are the members that a JSON object gets after the message, each with a comma
    /// before it.
    pub(super) fn line(
        &mut self,
        out: &mut Vec<u8>,
        severity: Severity,
        message: &str,
        fields: &str,
    ) {
        self.clock.tick();
        if let Envelope::Syslog(header) = &self.envelope {
            header.write(out, severity, self.process, &self.clock);
        }
        match (self.format, &self.envelope) {
            (LogFormat::Json, _) => self.object(out, severity, message, fields),
            (LogFormat::Text, Envelope::Plain { colours }) => {
                self.prefix(out, severity, *colours);
                printable(out, message);
            }
            (LogFormat::Text, Envelope::Syslog(_)) => printable(out, message),
        }
        out.push(b'\n');
    }

    /// Appends a line about the log file itself. nats-server ends the text form of these with a carriage return
    /// and a line feed, on every system.
    pub(super) fn file_note(&mut self, out: &mut Vec<u8>, severity: Severity, message: &str) {
        self.line(out, severity, message, "");
        if self.format == LogFormat::Text {
            out.pop();
            out.extend_from_slice(b"\r\n");
        }
    }

    fn prefix(&self, out: &mut Vec<u8>, severity: Severity, colours: bool) {
        let _infallible = write!(out, "[{}] ", self.process);
        if self.timestamps {
            self.clock.slashes(out);
            out.push(b' ');
        }
        let _infallible = if colours {
            write!(
                out,
                "[\x1b[{}m{}\x1b[0m] ",
                severity.colour(),
                severity.label()
            )
        } else {
            write!(out, "[{}] ", severity.label())
        };
    }

    fn object(&self, out: &mut Vec<u8>, severity: Severity, message: &str, fields: &str) {
        out.push(b'{');
        if self.timestamps {
            out.extend_from_slice(b"\"time\":\"");
            self.clock.rfc3339(out, true);
            out.extend_from_slice(b"\",");
        }
        let (level, process) = (severity.name(), self.process);
        let _infallible = write!(out, "\"level\":\"{level}\",\"pid\":{process},\"message\":");
        let _infallible = serde_json::to_writer(&mut *out, message);
        out.extend_from_slice(fields.as_bytes());
        out.push(b'}');
    }
}

/// Appends a message so that it cannot pretend to be a line of its own or command a terminal: further lines of it
/// start with a tab, other control characters are shown as `\x1b` is. One line feed at the end is dropped.
fn printable(out: &mut Vec<u8>, message: &str) {
    let message = message.strip_suffix('\n').unwrap_or(message);
    if !message.bytes().any(|byte| byte.is_ascii_control()) {
        return out.extend_from_slice(message.as_bytes());
    }
    for &byte in message.as_bytes() {
        match byte {
            b'\n' => out.extend_from_slice(b"\n\t"),
            b'\t' => out.push(byte),
            control if control.is_ascii_control() => {
                let _infallible = write!(out, "\\x{control:02x}");
            }
            other => out.push(other),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(options: &LogOptions, severity: Severity, message: &str, fields: &str) -> String {
        let mut out = Vec::new();
        Renderer::new(options).line(&mut out, severity, message, fields);
        String::from_utf8(out).unwrap()
    }

    fn untimed() -> LogOptions {
        LogOptions {
            timestamps: false,
            destination: Destination::File {
                path: "x".into(),
                size_limit: 0,
                max_files: 0,
            },
            ..LogOptions::default()
        }
    }

    #[test]
    fn text_lines_without_time() {
        let process = std::process::id();
        for (severity, label) in [
            (Severity::Fatal, "FTL"),
            (Severity::Error, "ERR"),
            (Severity::Warning, "WRN"),
            (Severity::Info, "INF"),
            (Severity::Debug, "DBG"),
            (Severity::Trace, "TRC"),
        ] {
            let expected = format!("[{process}] [{label}] hello\n");
            assert_eq!(line(&untimed(), severity, "hello", ",\"cid\":1"), expected);
        }
    }

    #[test]
    fn colours_mark_the_label_only() {
        let mut renderer = Renderer::new(&untimed());
        renderer.envelope = Envelope::Plain { colours: true };
        let mut out = Vec::new();
        renderer.line(&mut out, Severity::Warning, "careful", "");
        let process = std::process::id();
        let expected = format!("[{process}] [\x1b[0;93mWRN\x1b[0m] careful\n");
        assert_eq!(String::from_utf8(out).unwrap(), expected);
    }

    #[test]
    fn json_lines_hold_message_and_fields() {
        let options = LogOptions {
            format: LogFormat::Json,
            timestamps: true,
            utc: true,
            ..untimed()
        };
        let text = line(&options, Severity::Info, "say \"hi\"\n\u{1b}", ",\"cid\":5");
        let object: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(object["level"], "info");
        assert_eq!(object["pid"], std::process::id());
        assert_eq!(object["message"], "say \"hi\"\n\u{1b}");
        assert_eq!(object["cid"], 5);
        let time: jiff::Timestamp = object["time"].as_str().unwrap().parse().unwrap();
        assert!(time.as_second() > 1_790_000_000);
        assert_eq!(text.matches('\n').count(), 1);
        assert!(text.starts_with("{\"time\":\""), "{text}");
    }

    #[test]
    fn a_message_cannot_forge_a_line() {
        let text = line(
            &untimed(),
            Severity::Info,
            "a\n[1] [INF] forged\x1b[2J\r",
            "",
        );
        let process = std::process::id();
        assert_eq!(
            text,
            format!("[{process}] [INF] a\n\t[1] [INF] forged\\x1b[2J\\x0d\n")
        );
        assert_eq!(
            line(&untimed(), Severity::Info, "end\n", ""),
            format!("[{process}] [INF] end\n")
        );
    }
}
