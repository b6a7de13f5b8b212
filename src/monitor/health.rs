//! `/healthz` and the probes beside it: whether the server works.

use serde::{Deserialize, Serialize};

use super::{Monitor, remote_servers};

/// What to check.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(crate) struct HealthQuery {
    pub(crate) account: String,
    pub(crate) stream: String,
    pub(crate) consumer: String,
    /// List each problem with its kind.
    pub(crate) details: bool,
}

/// The answer.
#[derive(Debug, Serialize)]
pub(crate) struct Health {
    pub(crate) status: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) status_code: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) error: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) errors: Vec<HealthError>,
}

/// One problem.
#[derive(Debug, Serialize)]
pub(crate) struct HealthError {
    r#type: &'static str,
    error: String,
}

const OKAY: u16 = 200;
const BAD_REQUEST: u16 = 400;
const INTERNAL_ERROR: u16 = 500;

impl Health {
    fn wrong(code: u16, kind: &'static str, text: &str, details: bool) -> Self {
        let error = HealthError {
            r#type: kind,
            error: text.to_owned(),
        };
        Self {
            status: "error",
            status_code: Some(code),
            error: (!details).then(|| text.to_owned()),
            errors: details.then_some(error).into_iter().collect(),
        }
    }
}

impl Monitor {
    /// Whether the server works. There are no streams that could be behind.
    pub(crate) fn health(&self, query: &HealthQuery) -> Health {
        let missing = |name: &str, of: &str| {
            let text = format!("{name:?} must not be empty when checking {of} health");
            Health::wrong(BAD_REQUEST, "BAD_REQUEST", &text, query.details)
        };
        if query.account.is_empty() && !query.stream.is_empty() {
            return missing("account", "stream");
        }
        if query.stream.is_empty() && !query.consumer.is_empty() {
            return missing("stream", "consumer");
        }
        if !self.is_ready() {
            let text = "server is not accepting connections";
            return Health::wrong(INTERNAL_ERROR, "CONNECTION", text, query.details);
        }
        Health {
            status: "ok",
            status_code: Some(OKAY),
            error: None,
            errors: Vec::new(),
        }
    }

    /// Whether routes to at least this many other servers are there.
    pub(crate) fn has_routes(&self, servers: usize) -> bool {
        remote_servers(&self.routes()) >= servers
    }
}
