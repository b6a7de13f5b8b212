//! What must hold for all bytes. Each function takes any and panics where something does not hold.
//!
//! The test `corpora` of the main crate takes these functions in by path, and they in turn take in the
//! models of the property tests.

#[path = "../../tests/properties/model.rs"]
#[allow(
    dead_code,
    reason = "not everything that the property tests use is used here"
)]
mod model;
#[path = "../../tests/properties/sessions.rs"]
#[allow(
    dead_code,
    reason = "not everything that the property tests use is used here"
)]
mod sessions;
#[path = "../../tests/properties/wire.rs"]
#[allow(
    dead_code,
    reason = "not everything that the property tests use is used here"
)]
mod wire;

mod certificates;
mod configuration;
mod login;
mod parser;
mod route;
mod steps;
mod transforms;

use midge::link::client::redact;
use midge::link::context::Limits;
use midge::proto::info::ConnectOptions;
use midge::subject;

use sessions::{Bench, Options};

/// The client parser: cuts change nothing, and it ends.
pub fn client_parser(bytes: &[u8]) {
    parser::check(bytes);
}

/// The parser of routes: cuts change nothing, and it ends.
pub fn route_parser(bytes: &[u8]) {
    route::check(bytes);
}

/// Takes the first byte for instructions; 0 where there is none.
fn split_first(bytes: &[u8]) -> (u8, &[u8]) {
    bytes
        .split_first()
        .map_or((0, bytes), |(first, rest)| (*first, rest))
}

/// A whole connection: what it and another client are sent does not depend on how its bytes were cut,
/// the other one is sent nothing but messages, and nothing is left of the connection in the end.
pub fn connection(bytes: &[u8]) {
    let (chunk, bytes) = split_first(bytes);
    let whole = converse(bytes, bytes.len().max(1));
    let cut = converse(bytes, usize::from(chunk % 32) + 1);
    assert_eq!(login::transcript(&whole.0), login::transcript(&cut.0));
    assert_eq!(login::transcript(&whole.1), login::transcript(&cut.1));
}

/// What the connection and a witness of everything are sent.
fn converse(bytes: &[u8], chunk: usize) -> (Vec<u8>, Vec<u8>) {
    let limits = Limits {
        max_control_line: 200,
        max_payload: Some(300),
        max_subscriptions: Some(20),
        max_subscription_tokens: Some(8),
        ..Limits::default()
    };
    let mut bench = Bench::new(1, limits);
    let witness = bench.connect(&Options::default());
    bench.feed(witness, b"SUB > 1\r\nSUB *.a q 2\r\n");
    let client = bench.accept();
    for part in bytes.chunks(chunk) {
        bench.feed(client, part);
    }
    let seen = bench.output(witness);
    wire::read_frames(&seen);
    let sent = bench.output(client);
    bench.close(client, midge::broker::close::CloseReason::ClientClosed);
    assert_eq!(bench.context().broker.global_account().interest().len(), 2);
    bench.feed(witness, b"PUB still.a 5\r\nthere\r\n");
    assert_eq!(
        bench.received(witness).len(),
        2,
        "the witness is served as before"
    );
    (sent, seen)
}

/// CONNECT documents: reading one twice is reading it once, and what names nothing changes nothing.
pub fn connect_options(bytes: &[u8]) {
    let mut options = ConnectOptions::default();
    if options.merge(bytes).is_err() {
        return;
    }
    let once = options.clone();
    for neutral in [&b"{}"[..], b"null", b" {\"unknown\": [{}]} ", bytes] {
        assert!(options.merge(neutral).is_ok());
        assert!(options == once, "{:?}", neutral.escape_ascii().to_string());
    }
    let shown = format!("{options:?}");
    for secret in [
        &options.pass,
        &options.auth_token,
        &options.sig,
        &options.jwt,
    ] {
        let public = [&options.name, &options.lang, &options.version];
        let repeated = public.iter().any(|text| text.contains(&**secret));
        assert!(
            secret.len() < 12 || repeated || !shown.contains(&**secret),
            "a secret is shown"
        );
    }
}

/// CONNECT documents for the log: the same document, but for the secrets.
pub fn redact(bytes: &[u8]) {
    let redacted = redact::connect(bytes);
    if redacted == "[REDACTED]" {
        return;
    }
    let mut options = ConnectOptions::default();
    if options.merge(bytes).is_err() {
        return;
    }
    let mut shown = ConnectOptions::default();
    assert!(shown.merge(redacted.as_bytes()).is_ok(), "{redacted}");
    // Null leaves a secret as it was, and is blanked out as well.
    for (secret, shown) in [
        (&mut options.pass, &mut shown.pass),
        (&mut options.auth_token, &mut shown.auth_token),
        (&mut options.sig, &mut shown.sig),
        (&mut options.jwt, &mut shown.jwt),
    ] {
        assert!(shown.is_empty() || shown == "[REDACTED]", "{redacted}");
        assert!(secret.is_empty() || shown == "[REDACTED]", "{redacted}");
        secret.clear();
        shown.clear();
    }
    assert!(options == shown, "{redacted}");
}

/// Connections that must log in: who gets in, what they may do, what they cost before.
pub fn login(bytes: &[u8]) {
    login::check(bytes);
}

/// Certificates and the users that their names belong to.
pub fn certificate_names(bytes: &[u8]) {
    certificates::check(bytes);
}

/// Configurations: every mistake has its place, and what is accepted can be put in force.
pub fn configuration(bytes: &[u8]) {
    configuration::check(bytes);
}

/// Mapped subjects: what comes out is a subject, and there is a way back where there must be one.
pub fn transforms(bytes: &[u8]) {
    transforms::check(bytes);
}

/// A filter and a subject, each line of the input one of them: matching is what the definition says.
pub fn subjects(bytes: &[u8]) {
    let mut lines = bytes.splitn(2, |&byte| byte == b'\n');
    let (filter, text) = (
        lines.next().unwrap_or_default(),
        lines.next().unwrap_or_default(),
    );
    let filter_tokens: Vec<_> = subject::tokens(filter).collect();
    let subject_tokens: Vec<_> = subject::tokens(text).collect();
    let whole = subject_tokens.iter().all(|token| !token.is_empty());
    // The definition calls itself for each token.
    if filter_tokens.len() < 1000 && subject_tokens.len() < 1000 {
        let defined = whole && model::is_wanted(&filter_tokens, &subject_tokens);
        assert_eq!(subject::matches(filter, text), defined);
    }
    if subject::is_valid_filter(filter) {
        assert!(filter_tokens.iter().all(|token| !token.is_empty()));
        let wildcards = filter_tokens
            .iter()
            .any(|token| *token == b"*" || *token == b">");
        assert_eq!(subject::has_wildcard(filter), wildcards);
        assert_eq!(subject::is_valid_subject(filter), !wildcards);
        if !wildcards {
            assert!(subject::matches(filter, filter));
        }
    }
}

/// Interest and match cache against a list, the input being a program of changes and questions.
pub fn routing(bytes: &[u8]) {
    steps::run(bytes);
}
