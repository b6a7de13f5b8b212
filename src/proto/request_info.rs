//! Who sends a request to a service of another account: the document in the header
//! [`REQUEST_INFO`](super::headers::REQUEST_INFO).

use serde::Serialize;

/// The requester, as nats-server describes it. Only the account and the round-trip time are told to
/// services that were not promised more.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct RequestInfo {
    /// When its connection began (RFC 3339).
    #[serde(skip_serializing_if = "String::is_empty")]
    pub start: String,
    /// Its address.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub host: String,
    /// The number of its connection.
    #[serde(skip_serializing_if = "is_zero")]
    pub id: u64,
    /// Its account.
    #[serde(rename = "acc", skip_serializing_if = "String::is_empty")]
    pub account: String,
    /// The account that passed the request on, if it came through more than one.
    #[serde(rename = "svc", skip_serializing_if = "String::is_empty")]
    pub service: String,
    /// Its user.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub user: String,
    /// Its own name for the connection.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// Language of its library.
    #[serde(rename = "lang", skip_serializing_if = "String::is_empty")]
    pub language: String,
    /// Version of its library.
    #[serde(rename = "ver", skip_serializing_if = "String::is_empty")]
    pub version: String,
    /// Round-trip time in nanoseconds, if it is known.
    #[serde(rename = "rtt", skip_serializing_if = "is_zero")]
    pub round_trip: u64,
    /// The server that it is connected to.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub server: String,
    /// That server's cluster.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub cluster: String,
    /// What kind of peer it is.
    #[serde(skip_serializing_if = "str::is_empty")]
    pub kind: &'static str,
    /// Which protocol it speaks.
    #[serde(skip_serializing_if = "str::is_empty")]
    pub client_type: &'static str,
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde passes a reference"
)]
fn is_zero(number: &u64) -> bool {
    *number == 0
}

impl RequestInfo {
    /// The document.
    #[must_use]
    pub fn to_json(&self) -> String {
        // Texts and numbers always make a document.
        serde_json::to_string(self).unwrap_or_default()
    }
}
