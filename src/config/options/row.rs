//! A row of the option table: everything there is to say about one option.

use crate::config::diagnostic::{Diagnostic, Problems, nearest};
use crate::config::value::{Entry, Table, Value};

/// The type of an option's value, as it is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `true` or `false`; `yes`, `no`, `on` and `off` as well.
    Boolean,
    /// A whole number.
    Integer,
    /// A number of bytes, with or without a suffix such as `k`, `MB` or `GiB`.
    Size,
    /// A time such as `10s` or `2m30s`.
    Duration,
    /// A time in seconds, or like a duration.
    Seconds,
    /// A string.
    Text,
    /// A file or folder, relative to the working directory.
    Path,
    /// A string that is never shown.
    Secret,
    /// A port, or `host:port`.
    Address,
    /// One of these words.
    Choice(&'static [&'static str]),
    /// A string or a list of strings.
    Texts,
    /// A block of names with any values of one type.
    Names,
    /// A block with options of its own.
    Block,
    /// A list of blocks with options of their own.
    Blocks,
    /// Several forms; the sentence of the row tells them.
    Mixed,
}

impl Kind {
    /// The type in a few words.
    pub fn describe(self) -> String {
        match self {
            Self::Boolean => "true or false".to_owned(),
            Self::Integer => "number".to_owned(),
            Self::Size => "bytes, such as 1MB".to_owned(),
            Self::Duration => "time, such as 10s".to_owned(),
            Self::Seconds => "seconds".to_owned(),
            Self::Text | Self::Secret => "text".to_owned(),
            Self::Path => "path".to_owned(),
            Self::Address => "port or host:port".to_owned(),
            Self::Choice(words) => words.join(" or "),
            Self::Texts => "text or list of texts".to_owned(),
            Self::Names => "block of names and values".to_owned(),
            Self::Block => "block".to_owned(),
            Self::Blocks => "list of blocks".to_owned(),
            Self::Mixed => "see the text".to_owned(),
        }
    }
}

/// Whether this version does what an option asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Support {
    /// It does.
    Supported,
    /// The option is taken, so that existing files and tools work, and changes nothing; why.
    WithoutEffect(&'static str),
    /// The option is refused by name, unless its value turns the feature off; why.
    Missing(&'static str),
}

/// When a change takes effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reload {
    /// When the configuration is reloaded.
    Live,
    /// When the server is started again.
    Restart,
}

/// The group that an option is shown in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Section {
    /// Listening, names, files.
    Server,
    /// Logging.
    Logging,
    /// Limits and times.
    Limits,
    /// Users and what they may do.
    Authorization,
    /// TLS.
    Tls,
    /// Monitoring.
    Monitoring,
    /// Links to other servers.
    Cluster,
    /// Stored messages.
    JetStream,
    /// Everything else.
    Other,
}

impl Section {
    /// The heading.
    pub fn title(self) -> &'static str {
        match self {
            Self::Server => "Server",
            Self::Logging => "Logging",
            Self::Limits => "Limits",
            Self::Authorization => "Authorization",
            Self::Tls => "TLS",
            Self::Monitoring => "Monitoring",
            Self::Cluster => "Cluster",
            Self::JetStream => "JetStream",
            Self::Other => "Other",
        }
    }
}

/// What there is to say about an option, without how it is stored.
#[derive(Clone, Copy, Debug)]
pub struct About {
    /// The key in its block, in lower case.
    pub key: &'static str,
    /// Other keys that mean the same.
    pub aliases: &'static [&'static str],
    /// Flags without their dashes, the one to recommend last; one dash or two make no difference.
    pub flags: &'static [&'static str],
    /// What stands for the value of the flag in the help.
    pub value_name: &'static str,
    /// Type and unit.
    pub kind: Kind,
    /// The default as it is written in a file; empty if there is none.
    pub default: &'static str,
    /// A value to show where there is no default.
    pub example: &'static str,
    /// What the option does, in one sentence.
    pub document: &'static str,
    /// The group.
    pub section: Section,
    /// Whether this version does it.
    pub support: Support,
    /// When a change takes effect.
    pub reload: Reload,
    /// The options of the block, if it is one.
    pub children: fn() -> Vec<&'static Self>,
}

impl About {
    /// Whether `key` means this option.
    pub fn answers_to(&self, key: &str) -> bool {
        self.key.eq_ignore_ascii_case(key)
            || self
                .aliases
                .iter()
                .any(|alias| alias.eq_ignore_ascii_case(key))
    }
}

/// How an option is stored in `T`.
pub(crate) type Store<T> = fn(&mut T, &Entry, &mut Problems);

/// An option of the block that is read into a `T`.
#[derive(Debug)]
pub(crate) struct Row<T> {
    pub(crate) about: About,
    pub(crate) store: Store<T>,
}

impl<T> Row<T> {
    /// An option that changes nothing until it is told how to be stored.
    pub(crate) const fn new(key: &'static str, kind: Kind, default: &'static str) -> Self {
        let about = About {
            key,
            aliases: &[],
            flags: &[],
            value_name: "",
            kind,
            default,
            example: "",
            document: "",
            section: Section::Other,
            support: Support::Supported,
            reload: Reload::Restart,
            children: Vec::new,
        };
        Self {
            about,
            store: |_, _, _| {},
        }
    }

    pub(crate) const fn document(mut self, document: &'static str) -> Self {
        self.about.document = document;
        self
    }

    pub(crate) const fn store(mut self, store: Store<T>) -> Self {
        self.store = store;
        self
    }

    pub(crate) const fn aliases(mut self, aliases: &'static [&'static str]) -> Self {
        self.about.aliases = aliases;
        self
    }

    pub(crate) const fn flags(
        mut self,
        flags: &'static [&'static str],
        value_name: &'static str,
    ) -> Self {
        self.about.flags = flags;
        self.about.value_name = value_name;
        self
    }

    pub(crate) const fn example(mut self, example: &'static str) -> Self {
        self.about.example = example;
        self
    }

    pub(crate) const fn section(mut self, section: Section) -> Self {
        self.about.section = section;
        self
    }

    pub(crate) const fn live(mut self) -> Self {
        self.about.reload = Reload::Live;
        self
    }

    pub(crate) const fn missing(mut self, reason: &'static str) -> Self {
        self.about.support = Support::Missing(reason);
        self
    }

    pub(crate) const fn without_effect(mut self, reason: &'static str) -> Self {
        self.about.support = Support::WithoutEffect(reason);
        self
    }

    pub(crate) const fn children(mut self, children: fn() -> Vec<&'static About>) -> Self {
        self.about.children = children;
        self
    }
}

/// What there is to say about each row.
pub(crate) fn abouts<T>(rows: &'static [Row<T>]) -> Vec<&'static About> {
    rows.iter().map(|row| &row.about).collect()
}

/// Reads the entries of a block into `target`.
pub(crate) fn read_table<T>(
    rows: &'static [Row<T>],
    target: &mut T,
    table: &Table,
    problems: &mut Problems,
) {
    for entry in &table.entries {
        match rows.iter().find(|row| row.about.answers_to(&entry.key)) {
            Some(row) if supported(&row.about, entry, problems) => {
                (row.store)(target, entry, problems)
            }
            Some(_) => {}
            // A key that only serves as a variable may have any name.
            None if entry.node.referenced => {}
            None => problems.error(unknown(rows, entry)),
        }
    }
}

/// Reads the value of `entry`, which must be a block, into `target`.
pub(crate) fn read_block<T>(
    rows: &'static [Row<T>],
    target: &mut T,
    entry: &Entry,
    problems: &mut Problems,
) {
    if let Some(table) = super::read::table(entry, problems) {
        read_table(rows, target, table, problems);
    }
}

fn unknown<T>(rows: &'static [Row<T>], entry: &Entry) -> Diagnostic {
    let keys = rows
        .iter()
        .flat_map(|row| [&[row.about.key], row.about.aliases].concat());
    let diagnostic = Diagnostic::new(entry.place(), format!("unknown field {:?}", entry.key));
    match nearest(&entry.key, keys) {
        Some(key) => diagnostic.fix(format!("did you mean {key:?}?")),
        None => diagnostic,
    }
}

/// Whether the option may be read; if not, the reason is recorded.
fn supported(about: &About, entry: &Entry, problems: &mut Problems) -> bool {
    let Support::Missing(reason) = about.support else {
        return true;
    };
    if problems.everything_supported {
        return true;
    }
    let off = matches!(entry.node.value, Value::Boolean(false) | Value::Integer(0));
    if !off {
        let message = format!(
            "{:?} is not supported by this version of Midge: {reason}",
            entry.key
        );
        problems.error(Diagnostic::new(entry.place(), message));
    }
    false
}
