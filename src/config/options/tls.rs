//! TLS.
use super::row::About;
use crate::config::diagnostic::Problems;
use crate::config::value::Entry;
use std::time::Duration;
/// TLS.
#[derive(Clone, Debug, PartialEq)]
pub struct Tls {
    /// Handshake time.
    pub timeout: Option<Duration>,
}
impl Tls {
    /// Handshake time.
    pub fn timeout_or_default(&self) -> Duration {
        self.timeout.unwrap_or(Duration::from_secs(2))
    }
}
/// Where.
pub(crate) enum Listener {
    Clients,
}
pub(crate) fn tls(_: &Entry, _: Listener, _: &mut Problems) -> Option<Tls> {
    None
}
pub(crate) fn about() -> Vec<&'static About> {
    Vec::new()
}
/// Help.
pub(crate) fn help() -> String {
    String::new()
}
