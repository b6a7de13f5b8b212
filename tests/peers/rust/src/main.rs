//! Drives a server with async-nats: one check for each thing that a client does.
//!
//! The addresses of the servers and what they accept come from the environment.

mod checks;
mod client;
mod life;
mod messaging;

use std::process::ExitCode;

use checks::{Check, run_all};

/// Names a check and starts its function.
macro_rules! checks {
    ($($name:literal => $function:path),+ $(,)?) => {
        &[$(($name, || Box::pin($function()))),+]
    };
}

const CHECKS: &[Check] = checks![
    "publish-subscribe" => messaging::publish_subscribe,
    "payload-bytes" => messaging::payload_bytes,
    "order" => messaging::order,
    "request" => messaging::request,
    "requests-in-flight" => messaging::requests_in_flight,
    "request-own-inbox" => messaging::request_own_inbox,
    "no-responders" => messaging::no_responders,
    "headers" => messaging::headers,
    "headers-request" => messaging::headers_request,
    "queue-group-spread" => messaging::queue_group_spread,
    "queue-group-each" => messaging::queue_group_each,
    "queue-group-member-leaves" => messaging::queue_group_member_leaves,
    "queue-group-member-dies" => messaging::queue_group_member_dies,
    "same-subject-twice" => messaging::same_subject_twice,
    "many-subjects" => messaging::many_subjects,
    "many-connections" => messaging::many_connections,
    "wildcards" => messaging::wildcards,
    "wildcards-overlapping" => messaging::wildcards_overlapping,
    "largest-payload" => messaging::largest_payload,
    "payload-too-large" => messaging::payload_too_large,
    "flush" => messaging::flush,
    "echo-on" => messaging::echo_on,
    "echo-off" => messaging::echo_off,
    "statistics" => messaging::statistics,
    "unsubscribe" => life::unsubscribe,
    "unsubscribe-after" => life::unsubscribe_after,
    "unsubscribe-after-passed" => life::unsubscribe_after_passed,
    "drain-subscription" => life::drain_subscription,
    "drain-connection" => life::drain_connection,
    "password" => life::password,
    "password-refused" => life::password_refused,
    "token" => life::token,
    "token-refused" => life::token_refused,
    "tls-certificate" => life::tls_certificate,
    "tls-first" => life::tls_first,
    "tls-refused" => life::tls_refused,
    "server-info" => life::server_info,
    "reconnect" => life::reconnect_gracefully,
    "reconnect-after-crash" => life::reconnect_after_crash,
    "lame-duck" => life::lame_duck,
    "lame-duck-close" => life::lame_duck_close,
];

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    run_all(CHECKS).await
}
