//! The layers above the configuration file: environment, `-C`, flags.
//!
//! A higher layer overrides a lower one: defaults, file, `MIDGE_…` variables, `-C key=value`, flags.
//! Each value of a layer is put into the tree that the file was read into, behind what is there, so
//! that it is read and checked like one in the file, and its mistakes name where it came from.

use std::fmt;
use std::path::PathBuf;

use super::diagnostic::{Diagnostic, Place, Problems};
use super::options::row::{About, Kind, abouts};
use super::options::table::{Listed, OPTIONS, list};
use super::parse::{Environment, parse_value};
use super::value::{Entry, Node, Table, Value};

/// What a configuration is made from besides defaults and environment. Kept in
/// [`Options`](super::Options), so that [`load`](super::load) can make it again.
#[derive(Clone, Default)]
pub struct Layers {
    /// The configuration file.
    pub config_file: Option<PathBuf>,
    /// `-C key=value` arguments in their order: the dotted key and the text of the value.
    pub assignments: Vec<(String, String)>,
    /// Values given by flags, in their order.
    pub flags: Vec<FlagValue>,
}

/// Shows which options are set, and no value: any of them may be a secret.
impl fmt::Debug for Layers {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let assignments: Vec<&str> = self
            .assignments
            .iter()
            .map(|(key, _)| key.as_str())
            .collect();
        formatter
            .debug_struct("Layers")
            .field("config_file", &self.config_file)
            .field("assignments", &assignments)
            .field("flags", &self.flags)
            .finish()
    }
}

/// A value given by a flag.
#[derive(Clone, PartialEq)]
pub struct FlagValue {
    /// The flag as it was given, such as `--port`.
    pub flag: String,
    /// Keys of the option from the top level.
    pub path: Vec<&'static str>,
    /// The value.
    pub value: Value,
}

impl fmt::Debug for FlagValue {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.flag)
    }
}

/// Puts the layers above the file into `tree`.
pub(super) fn overlay(
    tree: &mut Table,
    layers: &Layers,
    environment: &Environment<'_>,
    problems: &mut Problems,
) {
    let options = list();
    for option in &options {
        overlay_variable(tree, option, environment, problems);
    }
    for (key, text) in &layers.assignments {
        overlay_assignment(tree, &options, (key, text), environment, problems);
    }
    for flag in &layers.flags {
        let path: Vec<String> = flag.path.iter().map(|key| (*key).to_owned()).collect();
        let place = Place::Flag(flag.flag.clone());
        insert(tree, &path, Node::new(flag.value.clone(), place));
    }
}

fn overlay_variable(
    tree: &mut Table,
    option: &Listed,
    environment: &Environment<'_>,
    problems: &mut Problems,
) {
    let Some(name) = option.environment_variable() else {
        return;
    };
    let Some(text) = environment(&name) else {
        return;
    };
    let place = Place::Environment(name.clone());
    // In a Kubernetes service that is called midge, each pod finds the service's URL in MIDGE_PORT.
    if name == "MIDGE_PORT" && text.contains("://") {
        let message = format!("{text:?} is the address of a service, not a port, and is ignored");
        return problems.advice(Diagnostic::new(&place, message));
    }
    match typed(option.about, &text, environment) {
        Ok(value) => {
            let path: Vec<String> = option.path.iter().map(|key| (*key).to_owned()).collect();
            insert(tree, &path, Node::new(value, place));
        }
        Err(message) => problems.error(Diagnostic::new(&place, message)),
    }
}

fn overlay_assignment(
    tree: &mut Table,
    options: &[Listed],
    (key, text): (&str, &str),
    environment: &Environment<'_>,
    problems: &mut Problems,
) {
    let place = Place::Assignment(key.to_owned());
    let (path, about) = match resolve(key) {
        Ok(found) => found,
        Err(unknown) => {
            let keys: Vec<String> = options.iter().map(Listed::dotted).collect();
            let near = super::diagnostic::nearest(key, keys.iter().map(String::as_str));
            let diagnostic = Diagnostic::new(&place, format!("unknown field {unknown:?}"));
            return problems.error(match near {
                Some(near) => diagnostic.fix(format!("did you mean {near:?}?")),
                None => diagnostic,
            });
        }
    };
    let value = match about {
        Some(about) => typed(about, text, environment),
        None => parse_value(text, environment),
    };
    match value {
        Ok(value) => insert(tree, &path, Node::new(value, place)),
        Err(message) => problems.error(Diagnostic::new(&place, message)),
    }
}

/// Follows a dotted key through the blocks of the table. Behind an option that is no block of known
/// keys the rest is one key, so that `mappings.a.b=c` maps the subject `a.b`.
fn resolve(dotted: &str) -> Result<(Vec<String>, Option<&'static About>), String> {
    let mut path = Vec::new();
    let mut known = abouts(OPTIONS);
    let mut rest = dotted;
    loop {
        let (key, behind) = match rest.split_once('.') {
            Some((key, behind)) => (key, Some(behind)),
            None => (rest, None),
        };
        let about = known
            .iter()
            .find(|about| about.answers_to(key))
            .ok_or(key)?;
        path.push(about.key.to_owned());
        let Some(behind) = behind else {
            return Ok((path, Some(about)));
        };
        let children = (about.children)();
        let keys_of_its_own = matches!(about.kind, Kind::Block) && !children.is_empty();
        if !keys_of_its_own {
            path.push(behind.to_owned());
            return Ok((path, None));
        }
        known = children;
        rest = behind;
    }
}

/// Reads the text of a value as the option's type. Texts are taken as they are, so that passwords
/// and subjects need no quotes.
fn typed(about: &About, text: &str, environment: &Environment<'_>) -> Result<Value, String> {
    match about.kind {
        Kind::Text | Kind::Path | Kind::Secret | Kind::Choice(_) | Kind::Duration => {
            Ok(Value::Text(text.to_owned()))
        }
        Kind::Address => Ok(text
            .parse()
            .map_or_else(|_| Value::Text(text.to_owned()), Value::Integer)),
        Kind::Boolean
        | Kind::Integer
        | Kind::Size
        | Kind::Seconds
        | Kind::Texts
        | Kind::Names
        | Kind::Block
        | Kind::Blocks
        | Kind::Mixed => parse_value(text, environment),
    }
}

/// Puts a value behind everything that is in the block at `path`, which is made if it is not there.
fn insert(tree: &mut Table, path: &[String], node: Node) {
    let Some((key, behind)) = path.split_first() else {
        return;
    };
    if behind.is_empty() {
        tree.entries.push(Entry {
            key: key.clone(),
            node,
        });
        return;
    }
    let about = abouts(OPTIONS)
        .into_iter()
        .find(|about| about.answers_to(key));
    let answers = |written: &str| match about {
        Some(about) => about.answers_to(written),
        None => written == key.as_str(),
    };
    let has_block = matches!(
        tree.last_mut(answers).map(|entry| &entry.node.value),
        Some(Value::Table(_))
    );
    if !has_block {
        let block = Node::new(Value::Table(Table::default()), node.place.clone());
        tree.entries.push(Entry {
            key: key.clone(),
            node: block,
        });
    }
    if let Some(Entry {
        node: Node {
            value: Value::Table(table),
            ..
        },
        ..
    }) = tree.last_mut(answers)
    {
        insert(table, behind, node);
    }
}
