//! The first page: a dashboard for browsers, links for everything else.

use std::sync::LazyLock;

use bytes::Bytes;

/// The dashboard: one page that asks for nothing but the pages beside it.
pub(super) static DASHBOARD: LazyLock<Bytes> = LazyLock::new(|| {
    let parts = [
        (
            "/*UPLOT-STYLE*/",
            include_str!("vendor/uplot/uPlot.min.css"),
        ),
        ("UPLOT-LICENSE", include_str!("vendor/uplot/LICENSE")),
        (
            "/*UPLOT-SCRIPT*/",
            include_str!("vendor/uplot/uPlot.iife.min.js"),
        ),
    ];
    let page = include_str!("dashboard.html").to_owned();
    let whole = parts
        .into_iter()
        .fold(page, |page, (place, part)| page.replacen(place, part, 1));
    whole.into()
});

/// What the dashboard may load and run: only itself, and data from the server it came from.
pub(super) const CONTENT_SECURITY_POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; \
     script-src 'unsafe-inline'; connect-src 'self'; img-src data:; base-uri 'none'; \
     form-action 'none'; frame-ancestors 'none'";

/// Pages with a title, in the order in which they are listed.
const PAGES: [(&str, &str); 15] = [
    ("/varz", "General"),
    ("/connz", "Connections"),
    ("/accountz", "Accounts"),
    ("/accstatz", "Account statistics"),
    ("/subsz", "Subscriptions"),
    ("/routez", "Routes"),
    ("/leafz", "Leaf nodes"),
    ("/gatewayz", "Gateways"),
    ("/jsz", "JetStream"),
    ("/raftz", "Raft groups"),
    ("/healthz", "Health"),
    ("/metrics", "Metrics"),
    ("/livez", "Liveness probe"),
    ("/readyz", "Readiness probe"),
    ("/startupz", "Startup probe"),
];

/// A page of links to all others, which stand beside it.
#[must_use]
pub(super) fn links() -> String {
    let link = |(path, title): &(&str, &str)| format!("<li><a href=\".{path}\">{title}</a>\n");
    let list: String = PAGES.iter().map(link).collect();
    format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n<title>Midge</title>\n\
         <h1>Midge {}</h1>\n<ul>\n{list}</ul>\n</html>\n",
        env!("CARGO_PKG_VERSION")
    )
}
