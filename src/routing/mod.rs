//! Who wants what: pure structures that turn a subject into the subscriptions that want it.

pub mod cache;
pub mod generations;
pub mod groups;
pub mod interest;
pub mod space_saving;
pub mod trie;
