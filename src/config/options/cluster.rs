//! Cluster.
use super::Options;
use super::row::About;
use crate::config::diagnostic::Problems;
use crate::config::value::Entry;
/// Cluster.
#[derive(Clone, Debug, PartialEq)]
pub struct Cluster {
    /// Its name.
    pub name: Option<String>,
}
pub(crate) fn store_cluster(_: &mut Options, _: &Entry, _: &mut Problems) {}
pub(crate) fn about() -> Vec<&'static About> {
    Vec::new()
}
