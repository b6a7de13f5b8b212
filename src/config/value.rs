//! The tree that a configuration file is read into, before anything is known about its meaning.

use super::diagnostic::Place;

/// A value as it was written.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// A quoted, bare or block string.
    Text(String),
    /// A whole number; a size suffix such as `k` or `MiB` is already multiplied in.
    Integer(i64),
    /// A number with a fraction.
    Float(f64),
    /// `true`, `yes`, `on` and their opposites.
    Boolean(bool),
    /// A date and time in Zulu form, such as `2026-05-04T18:53:41Z`, kept as written.
    Moment(String),
    /// `[ … ]`.
    List(Vec<Node>),
    /// `{ … }`.
    Table(Table),
}

impl Value {
    /// What kind of value this is, with its article, for error texts.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Text(_) => "a string",
            Self::Integer(_) => "an integer",
            Self::Float(_) => "a number with a fraction",
            Self::Boolean(_) => "a boolean",
            Self::Moment(_) => "a date",
            Self::List(_) => "a list",
            Self::Table(_) => "a block",
        }
    }
}

/// A value with the place it was written at.
#[derive(Clone, Debug, PartialEq)]
pub struct Node {
    /// What was written.
    pub value: Value,
    /// Where: of the key for the value of a key, of the element for an element of a list.
    pub place: Place,
    /// Whether a `$variable` refers to it. Such a key may have any name.
    pub referenced: bool,
}

impl Node {
    /// A value that nothing refers to yet.
    pub fn new(value: Value, place: Place) -> Self {
        Self {
            value,
            place,
            referenced: false,
        }
    }
}

/// A key and its value.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    /// As written; options are compared without regard to case.
    pub key: String,
    /// The value.
    pub node: Node,
}

impl Entry {
    /// The place of the key.
    pub fn place(&self) -> &Place {
        &self.node.place
    }
}

/// The entries of a block in their order. A file holds each key once (the last one written wins, as
/// in nats-server); layers above the file are appended, so a later entry overrides an earlier one.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Table {
    /// The entries.
    pub entries: Vec<Entry>,
}

impl Table {
    /// The last entry that `accepts` takes.
    pub fn last_mut(&mut self, accepts: impl Fn(&str) -> bool) -> Option<&mut Entry> {
        self.entries
            .iter_mut()
            .rev()
            .find(|entry| accepts(&entry.key))
    }

    /// The last entry with exactly this key.
    pub fn get(&self, key: &str) -> Option<&Node> {
        self.entries
            .iter()
            .rev()
            .find(|entry| entry.key == key)
            .map(|entry| &entry.node)
    }
}
