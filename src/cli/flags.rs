//! The flags, and how they are written.
//!
//! One dash or two mean the same, a value follows a blank or `=`, and a flag without a value is
//! `true`; it takes another value only behind `=`. The first argument that is no flag ends them. The
//! last of several equal flags counts.

use std::sync::LazyLock;

use crate::config::options::row::{About, Kind, Section};
use crate::config::options::table;
use crate::config::units::parse_flag_integer;
use crate::config::value::{Entry, Node, Table, Value};
use crate::config::{FlagValue, Place, nearest, parse};

/// What a flag without an option of its own does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Action {
    Config,
    Test,
    CheckReload,
    Signal,
    Assign,
    DebugTrace,
    VerboseTrace,
    DebugVerboseTrace,
    Tls,
    Cluster,
    Help,
    Version,
    TlsHelp,
    Completions,
    Manual,
}

/// What a flag stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Meaning {
    Does(Action),
    /// Sets the option at this path.
    Sets(Vec<&'static str>),
}

/// What a flag takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Takes {
    Boolean,
    Number,
    Text,
}

/// A flag.
#[derive(Clone, Debug)]
pub(super) struct Flag {
    /// Names without dashes, the one to recommend last.
    pub(super) names: &'static [&'static str],
    pub(super) takes: Takes,
    pub(super) value_name: &'static str,
    pub(super) meaning: Meaning,
    pub(super) section: Section,
    pub(super) document: &'static str,
    /// The default of its option.
    pub(super) default: &'static str,
    /// Left out of help, completions and manual: this version refuses it.
    pub(super) hidden: bool,
}

/// Every flag, in the order of the help.
pub(super) static FLAGS: LazyLock<Vec<Flag>> = LazyLock::new(|| {
    let options = table::list();
    let mut flags: Vec<Flag> = ACTIONS.iter().map(from_action).collect();
    flags.extend(
        options
            .iter()
            .filter(|option| !option.flags().is_empty())
            .map(from_option),
    );
    for flag in &mut flags {
        let of_missing_block = match flag.meaning {
            Meaning::Does(Action::Tls) => Some("tls"),
            Meaning::Does(Action::Cluster) => Some("cluster"),
            Meaning::Does(_) | Meaning::Sets(_) => None,
        };
        let block = of_missing_block.and_then(|key| options.iter().find(|o| o.path == [key]));
        flag.hidden |= block.is_some_and(|block| block.missing.is_some());
    }
    flags.sort_by_key(|flag| flag.section);
    flags
});

type ActionRow = (
    &'static [&'static str],
    Takes,
    &'static str,
    Action,
    Section,
    &'static str,
);

const ACTIONS: &[ActionRow] = &[
    (
        &["c", "config"],
        Takes::Text,
        "<file>",
        Action::Config,
        Section::Server,
        "Configuration file.",
    ),
    (
        &["C"],
        Takes::Text,
        "<key=value>",
        Action::Assign,
        Section::Server,
        "Set any option, such as max_payload=2MB or authorization.user=alice; may be repeated.",
    ),
    (
        &["t"],
        Takes::Boolean,
        "",
        Action::Test,
        Section::Server,
        "Test the configuration, tell all mistakes, and exit.",
    ),
    (
        &["check-reload"],
        Takes::Text,
        "<file>",
        Action::CheckReload,
        Section::Server,
        "Tell what a server that runs with the file of -c would change if it reloaded this one, and exit: with 2 if that needs a restart.",
    ),
    (
        &["sl", "signal"],
        Takes::Text,
        "<signal>[=<pid>]",
        Action::Signal,
        Section::Server,
        "Send ldm, stop, quit, term, reopen or reload to a running server, told by its process id or its pid file.",
    ),
    (
        &["VV"],
        Takes::Boolean,
        "",
        Action::VerboseTrace,
        Section::Logging,
        "Trace, with the system account.",
    ),
    (
        &["DV"],
        Takes::Boolean,
        "",
        Action::DebugTrace,
        Section::Logging,
        "Debug and trace.",
    ),
    (
        &["DVV"],
        Takes::Boolean,
        "",
        Action::DebugVerboseTrace,
        Section::Logging,
        "Debug and trace, with the system account.",
    ),
    (
        &["tls"],
        Takes::Boolean,
        "",
        Action::Tls,
        Section::Tls,
        "Take TLS clients, with tlscert and tlskey.",
    ),
    (
        &["cluster", "cluster_listen"],
        Takes::Text,
        "<url>",
        Action::Cluster,
        Section::Cluster,
        "URL to listen on for other servers of the cluster.",
    ),
    (
        &["h", "help"],
        Takes::Boolean,
        "",
        Action::Help,
        Section::Other,
        "Show this help.",
    ),
    (
        &["v", "version"],
        Takes::Boolean,
        "",
        Action::Version,
        Section::Other,
        "Show the version.",
    ),
    (
        &["help_tls"],
        Takes::Boolean,
        "",
        Action::TlsHelp,
        Section::Other,
        "Show help about TLS.",
    ),
    (
        &["completions"],
        Takes::Text,
        "<shell>",
        Action::Completions,
        Section::Other,
        "Write completions for bash, zsh or fish to standard output.",
    ),
    (
        &["man"],
        Takes::Boolean,
        "",
        Action::Manual,
        Section::Other,
        "Write the manual page to standard output.",
    ),
];

fn from_action(row: &ActionRow) -> Flag {
    let (names, takes, value_name, action, section, document) = *row;
    let meaning = Meaning::Does(action);
    Flag {
        names,
        takes,
        value_name,
        meaning,
        section,
        document,
        default: "",
        hidden: false,
    }
}

fn from_option(option: &table::Listed) -> Flag {
    let about: &About = option.about;
    let takes = match about.kind {
        Kind::Boolean => Takes::Boolean,
        Kind::Integer | Kind::Size => Takes::Number,
        // `--jetstream` is an option with several forms in a file, and a switch here.
        Kind::Mixed if about.value_name.is_empty() => Takes::Boolean,
        Kind::Seconds
        | Kind::Duration
        | Kind::Text
        | Kind::Path
        | Kind::Secret
        | Kind::Address
        | Kind::Choice(_)
        | Kind::Texts
        | Kind::Names
        | Kind::Block
        | Kind::Blocks
        | Kind::Mixed => Takes::Text,
    };
    Flag {
        names: option.flags(),
        takes,
        value_name: about.value_name,
        meaning: Meaning::Sets(option.path.clone()),
        section: section_of(option),
        document: about.document,
        default: about.default,
        hidden: option.missing.is_some(),
    }
}

/// Options in a block are shown in the section of the block.
fn section_of(option: &table::Listed) -> Section {
    let block = option.path.first().copied().unwrap_or_default();
    let top = table::list().into_iter().find(|top| top.path == [block]);
    top.map_or(Section::Other, |top| top.about.section)
}

/// The arguments, understood.
#[derive(Debug, Default)]
pub(super) struct Given {
    flags: Vec<GivenFlag>,
    /// What is left behind the flags.
    pub(super) words: Vec<String>,
}

#[derive(Debug)]
struct GivenFlag {
    /// As it was written, without its value.
    spelling: String,
    flag: &'static Flag,
    value: Value,
}

impl Given {
    fn of(&self, action: Action) -> impl DoubleEndedIterator<Item = &GivenFlag> {
        self.flags
            .iter()
            .filter(move |given| given.flag.meaning == Meaning::Does(action))
    }

    /// Whether the switch was set.
    pub(super) fn action(&self, action: Action) -> bool {
        self.of(action)
            .next_back()
            .is_some_and(|given| given.value == Value::Boolean(true))
    }

    /// The last value that is not empty.
    pub(super) fn text(&self, action: Action) -> Option<&str> {
        self.texts(action)
            .next_back()
            .filter(|text| !text.is_empty())
    }

    /// Takes over the flags that stand behind a word, and what is behind them.
    pub(super) fn extend(&mut self, more: Self) {
        self.flags.extend(more.flags);
        self.words.extend(more.words);
    }

    /// All values.
    pub(super) fn texts(&self, action: Action) -> impl DoubleEndedIterator<Item = &str> {
        self.of(action).filter_map(|given| {
            let Value::Text(text) = &given.value else {
                return None;
            };
            Some(text.as_str())
        })
    }
}

/// Takes the flags apart.
///
/// # Errors
/// The first flag that cannot be understood, in nats-server's words.
pub(super) fn understand(arguments: &[String]) -> Result<Given, String> {
    let mut given = Given::default();
    let mut rest = arguments.iter();
    while let Some(argument) = rest.next() {
        if argument == "--" {
            given.words.extend(rest.cloned());
            break;
        }
        let Some(written) = argument
            .strip_prefix('-')
            .filter(|written| !written.is_empty())
        else {
            given.words.push(argument.clone());
            given.words.extend(rest.cloned());
            break;
        };
        let written = written.strip_prefix('-').unwrap_or(written);
        if written.starts_with(['-', '=']) {
            return Err(format!("bad flag syntax: {argument}"));
        }
        let (name, attached) = match written.split_once('=') {
            Some((name, value)) => (name, Some(value.to_owned())),
            None => (written, None),
        };
        let flag = find(name)?;
        let value = match (attached, flag.takes) {
            (None, Takes::Boolean) => Value::Boolean(true),
            (Some(text), _) => convert(name, flag.takes, text)?,
            (None, _) => match rest.next() {
                Some(text) => convert(name, flag.takes, text.clone())?,
                None => return Err(format!("flag needs an argument: -{name}")),
            },
        };
        let spelling = argument.split('=').next().unwrap_or_default().to_owned();
        given.flags.push(GivenFlag {
            spelling,
            flag,
            value,
        });
    }
    Ok(given)
}

fn find(name: &str) -> Result<&'static Flag, String> {
    if let Some(flag) = FLAGS.iter().find(|flag| flag.names.contains(&name)) {
        return Ok(flag);
    }
    let known = FLAGS
        .iter()
        .filter(|flag| !flag.hidden)
        .flat_map(|flag| flag.names);
    let near = nearest(name, known.copied().filter(|known| known.len() > 2));
    let hint = near.map_or_else(String::new, |near| format!("; did you mean --{near}?"));
    Err(format!("flag provided but not defined: -{name}{hint}"))
}

fn convert(name: &str, takes: Takes, text: String) -> Result<Value, String> {
    match takes {
        Takes::Text => Ok(Value::Text(text)),
        Takes::Boolean => match text.as_str() {
            "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok(Value::Boolean(true)),
            "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok(Value::Boolean(false)),
            _ => Err(format!(
                "invalid boolean value {text:?} for -{name}: parse error"
            )),
        },
        Takes::Number => match parse_flag_integer(&text) {
            Ok(number) => Ok(Value::Integer(number)),
            // Sizes with a suffix are no number to nats-server's flags, but they are in its files.
            Err(mistake) => match parse::parse_value(&text, &|_| None) {
                Ok(Value::Integer(number)) => Ok(Value::Integer(number)),
                _ => Err(format!(
                    "invalid value {text:?} for flag -{name}: {mistake}"
                )),
            },
        },
    }
}

/// The options that the flags set.
///
/// # Errors
/// Flags that do not fit together.
pub(super) fn values(given: &Given) -> Result<Vec<FlagValue>, String> {
    let mut values = Vec::new();
    let mut tls = Vec::new();
    for given in &given.flags {
        let mut set = |path: &[&'static str], value: Value| {
            values.push(FlagValue {
                flag: given.spelling.clone(),
                path: path.to_vec(),
                value,
            });
        };
        match &given.flag.meaning {
            Meaning::Sets(path) if path.first() == Some(&"tls") => tls.push(given),
            Meaning::Sets(path) if path.ends_with(&["routes"]) => set(path, routes(&given.value)),
            Meaning::Sets(path) => set(path, given.value.clone()),
            Meaning::Does(Action::Tls) => tls.push(given),
            Meaning::Does(Action::DebugTrace) => {
                set(&["debug"], given.value.clone());
                set(&["trace"], given.value.clone());
            }
            Meaning::Does(Action::VerboseTrace) => set(&["trace_verbose"], given.value.clone()),
            Meaning::Does(Action::DebugVerboseTrace) => {
                set(&["debug"], given.value.clone());
                set(&["trace_verbose"], given.value.clone());
            }
            Meaning::Does(Action::Cluster) => {
                for (path, value) in cluster(given)? {
                    set(&path, value);
                }
            }
            Meaning::Does(_) => {}
        }
    }
    values.extend(tls_block(&tls)?);
    Ok(values)
}

/// A list of URLs separated by commas.
fn routes(value: &Value) -> Value {
    let Value::Text(text) = value else {
        return value.clone();
    };
    let place = Place::Flag("--routes".to_owned());
    let urls = text.split(',').map(str::trim).filter(|url| !url.is_empty());
    let nodes = urls.map(|url| Node::new(Value::Text(url.to_owned()), place.clone()));
    Value::List(nodes.collect())
}

/// The parts of `nats://user:password@host:port`. An empty URL turns the cluster off.
fn cluster(given: &GivenFlag) -> Result<Vec<(Vec<&'static str>, Value)>, String> {
    let Value::Text(url) = &given.value else {
        return Ok(Vec::new());
    };
    if url.is_empty() {
        return Ok(vec![(vec!["cluster"], Value::Boolean(false))]);
    }
    let (_, authority) = url.split_once("://").unwrap_or(("", url));
    let authority = authority.split(['/', '?']).next().unwrap_or_default();
    let (user, address) = match authority.rsplit_once('@') {
        Some((user, address)) => (Some(user), address),
        None => (None, authority),
    };
    let mut values = vec![(vec!["cluster", "listen"], Value::Text(address.to_owned()))];
    if let Some(user) = user {
        let (user, password) = user
            .split_once(':')
            .ok_or("expected cluster password to be set")?;
        values.push((
            vec!["cluster", "authorization", "user"],
            Value::Text(user.to_owned()),
        ));
        let password = Value::Text(password.to_owned());
        values.push((vec!["cluster", "authorization", "password"], password));
    }
    Ok(values)
}

/// The TLS flags make one block that replaces that of the file; `--tls=false` turns TLS off.
fn tls_block(given: &[&GivenFlag]) -> Result<Option<FlagValue>, String> {
    let Some(first) = given.first() else {
        return Ok(None);
    };
    let flag = first.spelling.clone();
    let switch = given
        .iter()
        .rev()
        .find(|given| given.flag.meaning == Meaning::Does(Action::Tls));
    if switch.is_some_and(|given| given.value == Value::Boolean(false)) {
        return Ok(Some(FlagValue {
            flag,
            path: vec!["tls"],
            value: Value::Boolean(false),
        }));
    }
    let mut block = Table::default();
    for given in given {
        if let Meaning::Sets(path) = &given.flag.meaning
            && let Some(key) = path.last()
        {
            let place = Place::Flag(given.spelling.clone());
            let node = Node::new(given.value.clone(), place);
            block.entries.push(Entry {
                key: (*key).to_owned(),
                node,
            });
        }
    }
    for (key, what) in [("cert_file", "certificate"), ("key_file", "private key")] {
        if block.get(key).is_none() {
            return Err(format!("TLS Server {what} must be present and valid"));
        }
    }
    Ok(Some(FlagValue {
        flag,
        path: vec!["tls"],
        value: Value::Table(block),
    }))
}
