//! The pages of monitoring by their paths.

use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{ACCEPT, CACHE_CONTROL, CONTENT_TYPE, HeaderMap, HeaderValue, LOCATION};
use hyper::{Response, StatusCode};
use serde::Serialize;

use super::query::{BadRequest, Query};
use super::root;
use crate::monitor::Monitor;
use crate::monitor::accounts::AccountStatsQuery;
use crate::monitor::connections::ConnectionsQuery;
use crate::monitor::health::HealthQuery;
use crate::monitor::routes::RoutesQuery;
use crate::monitor::subscriptions::SubscriptionsQuery;

/// An answer, whole.
pub(super) type Answer = Response<Full<Bytes>>;

const JSON: &str = "application/json";
const TEXT: &str = "text/plain; charset=utf-8";
const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Pages without content of their own, for probes: they need no credentials.
pub(super) const PROBES: [&str; 3] = ["/livez", "/readyz", "/startupz"];

/// The answer to a request for `path`, of which the configured base has been taken off.
pub(super) fn answer(monitor: &Monitor, path: &str, query: &str, headers: &HeaderMap) -> Answer {
    let query = Query::parse(query);
    let outcome = match path {
        "" | "/" => {
            monitor.count_request("/");
            Ok(root_page(headers))
        }
        "/healthz" => health(monitor, &query),
        "/metrics" => Ok(body(OPEN_METRICS, monitor.metrics())),
        "/livez" => Ok(body(TEXT, "ok\n")),
        "/readyz" => Ok(probe(monitor.is_ready())),
        "/startupz" => query.unsigned("routes").map(|routes| {
            let servers = usize::try_from(routes).unwrap_or(usize::MAX);
            probe(monitor.is_ready() && monitor.has_routes(servers))
        }),
        "/raftz" => Ok(refusal(StatusCode::NOT_FOUND, "No Raft nodes registered")),
        _ => document(monitor, path, &query),
    };
    outcome.unwrap_or_else(|text| refusal(StatusCode::BAD_REQUEST, text))
}

/// The pages that are one JSON document.
fn document(monitor: &Monitor, path: &str, query: &Query) -> Result<Answer, BadRequest> {
    match path {
        "/varz" => {
            monitor.count_request("/varz");
            json(&monitor.server())
        }
        "/connz" => connections(monitor, query),
        "/subsz" | "/subscriptionsz" => subscriptions(monitor, query),
        "/routez" => {
            let listed = query.listed()?;
            monitor.count_request("/routez");
            json(&monitor.route_page(RoutesQuery {
                subscriptions: listed.filters,
                subscriptions_detail: listed.details,
            }))
        }
        "/accountz" => {
            monitor.count_request("/accountz");
            json(&monitor.accounts(query.text("acc"))?)
        }
        "/accstatz" => {
            monitor.count_request("/accstatz");
            json(&monitor.account_stats(&AccountStatsQuery {
                accounts: Vec::new(),
                include_unused: query.boolean("unused")?,
            }))
        }
        "/gatewayz" => {
            monitor.count_request("/gatewayz");
            query.listed()?;
            query.boolean("accs")?;
            json(&monitor.gateways())
        }
        "/leafz" => {
            monitor.count_request("/leafz");
            query.boolean("subs")?;
            json(&monitor.leafs())
        }
        "/jsz" => streams(monitor, query),
        "/ipqueuesz" => {
            query.boolean("all")?;
            Ok(body(JSON, "{}"))
        }
        _ => Ok(not_found()),
    }
}

fn connections(monitor: &Monitor, query: &Query) -> Result<Answer, BadRequest> {
    let auth = query.boolean("auth")?;
    let listed = query.listed()?;
    let wanted = ConnectionsQuery {
        sort: query.owned("sort"),
        auth,
        subscriptions: listed.filters,
        subscriptions_detail: listed.details,
        offset: query.integer("offset")?,
        limit: query.integer("limit")?,
        cid: query.unsigned("cid")?,
        state: query.state()?,
        mqtt_client: query.owned("mqtt_client"),
        user: query.owned("user"),
        account: query.owned("acc"),
        filter_subject: query.owned("filter_subject"),
    };
    monitor.count_request("/connz");
    json(&monitor.connections(&wanted)?)
}

fn subscriptions(monitor: &Monitor, query: &Query) -> Result<Answer, BadRequest> {
    monitor.count_request("/subsz");
    let wanted = SubscriptionsQuery {
        subscriptions: query.boolean("subs")?,
        offset: query.integer("offset")?,
        limit: query.integer("limit")?,
        account: query.owned("acc"),
        test: query.owned("test"),
        top: usize::try_from(query.integer("top")?).unwrap_or(0),
    };
    json(&monitor.subscriptions(&wanted)?)
}

fn streams(monitor: &Monitor, query: &Query) -> Result<Answer, BadRequest> {
    monitor.count_request("/jsz");
    let switches = [
        "accounts",
        "streams",
        "consumers",
        "direct-consumers",
        "config",
    ];
    for name in switches {
        query.boolean(name)?;
    }
    for name in ["offset", "limit"] {
        query.integer(name)?;
    }
    let leader_only = query.boolean("leader-only")?;
    for name in ["raft", "stream-leader-only"] {
        query.boolean(name)?;
    }
    if leader_only {
        return Err("filtered response: not leader".to_owned());
    }
    json(&monitor.streams())
}

fn health(monitor: &Monitor, query: &Query) -> Result<Answer, BadRequest> {
    monitor.count_request("/healthz");
    let switches = [
        "js-enabled",
        "js-enabled-only",
        "js-server-only",
        "js-meta-only",
    ];
    for name in switches {
        query.boolean(name)?;
    }
    let wanted = HealthQuery {
        account: query.owned("account"),
        stream: query.owned("stream"),
        consumer: query.owned("consumer"),
        details: query.boolean("details")?,
    };
    let mut health = monitor.health(&wanted);
    // The code stands in the status line already.
    let code = health.status_code.take().unwrap_or_default();
    let text = serde_json::to_vec(&health).map_err(|error| error.to_string())?;
    let mut answer = body(JSON, text);
    *answer.status_mut() = StatusCode::from_u16(code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    Ok(answer)
}

/// The dashboard for browsers; for everything else links to the pages.
fn root_page(headers: &HeaderMap) -> Answer {
    let accepted = headers.get_all(ACCEPT).iter();
    let mut accepted = accepted.filter_map(|value| value.to_str().ok());
    let page = if accepted.any(|value| value.contains("text/html")) {
        root::DASHBOARD.clone()
    } else {
        root::links().into()
    };
    let mut answer = body("text/html; charset=utf-8", page);
    answer.headers_mut().insert(
        "content-security-policy",
        HeaderValue::from_static(root::CONTENT_SECURITY_POLICY),
    );
    answer
}

fn probe(is_okay: bool) -> Answer {
    if is_okay {
        body(TEXT, "ok\n")
    } else {
        refusal(StatusCode::SERVICE_UNAVAILABLE, "unavailable\n")
    }
}

fn json(document: &impl Serialize) -> Result<Answer, BadRequest> {
    let text = serde_json::to_vec_pretty(document).map_err(|error| error.to_string())?;
    Ok(body(JSON, text))
}

pub(super) fn not_found() -> Answer {
    let mut answer = refusal(StatusCode::NOT_FOUND, "404 page not found\n");
    answer.headers_mut().insert(
        "x-content-type-options",
        HeaderValue::from_static("nosniff"),
    );
    answer
}

/// Sends a browser on to `path`.
pub(super) fn moved(path: &str) -> Answer {
    let mut answer = refusal(StatusCode::MOVED_PERMANENTLY, "");
    if let Ok(path) = HeaderValue::from_str(path) {
        answer.headers_mut().insert(LOCATION, path);
    }
    answer
}

pub(super) fn refusal(status: StatusCode, text: impl Into<Bytes>) -> Answer {
    let mut answer = body(TEXT, text);
    *answer.status_mut() = status;
    answer
}

fn body(content_type: &'static str, content: impl Into<Bytes>) -> Answer {
    let mut answer = Response::new(Full::new(content.into()));
    let headers = answer.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    answer
}
