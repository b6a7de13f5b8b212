//! Accounts.
use super::Options;
use super::authorization::User;
use super::row::About;
use crate::config::diagnostic::Problems;
use crate::config::value::Entry;
/// An account.
#[derive(Clone, Debug, PartialEq)]
pub struct Account {
    /// Its name.
    pub name: String,
    /// Its users.
    pub users: Vec<User>,
}
/// A mapping.
#[derive(Clone, Debug, PartialEq)]
pub struct Mapping {
    /// Subject that is mapped.
    pub source: String,
}
pub(crate) fn store_accounts(_: &mut Options, _: &Entry, _: &mut Problems) {}
pub(crate) fn mappings(_: &Entry, _: &mut Problems) -> Option<Vec<Mapping>> {
    None
}
pub(crate) fn about() -> Vec<&'static About> {
    Vec::new()
}
