//! `nats.conf.example` shows every option, and nothing else.
//!
//! A line `# text` explains, a line `#key: value` is an option that is not set. The file is made from
//! the option table: after a change there, run the tests with `MIDGE_WRITE_EXAMPLE=1`.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use midge::config::options::row::{About, Kind, Section, Support};
use midge::config::options::table::{Listed, list};
use midge::config::parse::parse_text;
use midge::config::value::{Table, Value};
use midge::config::{Layers, Options};

use crate::oracle::{environment, load_file, load_file_unsupported, write};

fn path() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("nats.conf.example")
}

fn written() -> String {
    std::fs::read_to_string(path()).expect("nats.conf.example is there")
}

#[test]
fn is_what_the_table_says() {
    let expected = example();
    if std::env::var_os("MIDGE_WRITE_EXAMPLE").is_some() {
        std::fs::write(path(), &expected).expect("nats.conf.example can be written");
    }
    assert_eq!(
        written(),
        expected,
        "run the tests with MIDGE_WRITE_EXAMPLE=1"
    );
}

#[test]
fn sets_every_option_to_its_default() {
    let loaded = load_file(&path()).unwrap_or_else(|mistakes| panic!("{mistakes}"));
    assert!(loaded.warnings.is_empty(), "{:?}", loaded.warnings);
    let options = Options {
        config_file: None,
        config_digest: None,
        layers: Layers::default(),
        ..loaded.options
    };
    assert_eq!(
        format!("{options:#?}"),
        format!("{:#?}", Options::default())
    );
}

/// The keys of the file, found without the table, are those of the table.
#[test]
fn names_every_option_and_no_other() {
    // With the comment signs before options gone, the file is one big configuration.
    let uncommented: Vec<String> = written()
        .lines()
        .map(|line| match line.trim_start().strip_prefix('#') {
            Some(option) if !option.starts_with([' ', '-']) && !option.is_empty() => {
                option.to_owned()
            }
            _ => line.to_owned(),
        })
        .collect();
    let parsed = parse_text(&uncommented.join("\n"), "example", &environment);
    assert!(parsed.mistakes.is_empty(), "{:?}", parsed.mistakes);
    let expected: BTreeSet<String> = top_level_and_blocks().into_iter().collect();
    let mut found = BTreeSet::new();
    keys(&parsed.table, "", &expected, &mut found);
    let missing: Vec<_> = expected.difference(&found).collect();
    let unknown: Vec<_> = found.difference(&expected).collect();
    assert!(
        missing.is_empty() && unknown.is_empty(),
        "missing {missing:?}, unknown {unknown:?}"
    );
}

/// Each option can be set to what its row shows, at least once it is supported.
#[test]
fn shows_values_that_are_taken() {
    let folder = tempfile::tempdir().expect("a folder for the test");
    let mut wrong = Vec::new();
    let once: BTreeSet<String> = top_level_and_blocks().into_iter().collect();
    for option in list()
        .into_iter()
        .filter(|option| once.contains(&option.dotted()))
    {
        let shown = shown(option.about);
        if shown.is_empty() {
            continue;
        }
        let path = write(folder.path(), "one.conf", &nested(&option, shown));
        match load_file_unsupported(&path) {
            Ok(loaded) if loaded.warnings.is_empty() => {}
            Ok(_) if option.about.document.starts_with("Deprecated") => {}
            Ok(loaded) => wrong.push(format!("{}: {:?}", option.dotted(), loaded.warnings)),
            Err(mistakes) if only_lacks_others(&mistakes) => {}
            Err(mistakes) => wrong.push(format!("{}: {mistakes}", option.dotted())),
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// An option that cannot stand alone is complained about for the others, not for itself.
fn only_lacks_others(mistakes: &str) -> bool {
    mistakes.lines().all(|mistake| {
        [
            "requires",
            "missing '",
            "no such file or directory",
            "not defined",
            "must be that of",
            "belong together",
        ]
        .iter()
        .any(|text| mistake.contains(text))
    })
}

/// The option alone in a file.
fn nested(option: &Listed, value: &str) -> String {
    let mut open = String::new();
    let mut close = String::new();
    let mut known = list();
    for (depth, key) in option.path.iter().enumerate().take(option.path.len() - 1) {
        let path = &option.path[..=depth];
        let block = known
            .iter_mut()
            .find(|listed| listed.path == path)
            .expect("a block");
        let (start, end) = brackets(block.about);
        let _ = write!(open, "{key} {start} ");
        close.insert_str(0, end);
    }
    format!("{open}{}: {value}\n{close}", option.about.key)
}

/// What the contents of a block stand in.
fn brackets(about: &About) -> (&'static str, &'static str) {
    match (about.key, about.kind) {
        ("accounts", _) => ("{ APP {", "} }"),
        ("mappings", _) => ("{ \"orders.*\": {", "} }"),
        (_, Kind::Blocks) => ("[ {", "} ]"),
        _ => ("{", "}"),
    }
}

/// The dotted keys of a block, down to the blocks that `expected` knows the contents of.
fn keys(table: &Table, path: &str, expected: &BTreeSet<String>, found: &mut BTreeSet<String>) {
    for entry in &table.entries {
        let name = if path.is_empty() {
            entry.key.clone()
        } else {
            format!("{path}.{}", entry.key)
        };
        found.insert(name.clone());
        if !expected
            .iter()
            .any(|key| key.starts_with(&format!("{name}.")))
        {
            continue;
        }
        for block in blocks(&entry.node.value, &entry.key) {
            keys(block, &name, expected, found);
        }
    }
}

/// The blocks in the value of `key`: itself, its elements, or those with names that the user chose.
fn blocks<'a>(value: &'a Value, key: &str) -> Vec<&'a Table> {
    let tables = |nodes: Vec<&'a midge::config::value::Node>| {
        nodes
            .into_iter()
            .flat_map(|node| blocks(&node.value, ""))
            .collect()
    };
    match value {
        Value::Table(table) if ["accounts", "mappings"].contains(&key) => {
            tables(table.entries.iter().map(|entry| &entry.node).collect())
        }
        Value::Table(table) => vec![table],
        Value::List(elements) => tables(elements.iter().collect()),
        _ => Vec::new(),
    }
}

/// The options that the file must show: those of a block that stands in several places once.
fn top_level_and_blocks() -> Vec<String> {
    let mut seen = Vec::new();
    let mut expected = Vec::new();
    for option in list().iter().filter(|option| option.path.len() == 1) {
        collect(option.about, "", &mut seen, &mut expected);
    }
    expected
}

fn collect(about: &About, path: &str, seen: &mut Vec<usize>, expected: &mut Vec<String>) {
    let path = if path.is_empty() {
        about.key.to_owned()
    } else {
        format!("{path}.{}", about.key)
    };
    expected.push(path.clone());
    for child in unseen_children(about, seen) {
        collect(child, &path, seen, expected);
    }
}

/// The options of a block, unless they were shown elsewhere.
fn unseen_children(about: &About, seen: &mut Vec<usize>) -> Vec<&'static About> {
    let children = (about.children)();
    let Some(first) = children.first() else {
        return children;
    };
    let identity = std::ptr::from_ref::<About>(first).addr();
    if seen.contains(&identity) {
        return Vec::new();
    }
    seen.push(identity);
    children
}

fn shown(about: &About) -> &'static str {
    if about.default.is_empty() {
        about.example
    } else {
        about.default
    }
}

/// The text that the file must have.
fn example() -> String {
    let mut text = String::from(
        "# Every option of Midge with its default and what it does.\n\
         #\n\
         # An option without a default is shown as a comment with a value to go by, as are options that\n\
         # this version does not support. \"live\" marks options that a reload changes.\n\
         # Each is also set by its environment variable and by -C option=value; higher up win: flags,\n\
         # -C, environment, this file.\n",
    );
    let mut options: Vec<Listed> = list().into_iter().filter(|o| o.path.len() == 1).collect();
    options.sort_by_key(|option| option.about.section);
    let mut section: Option<Section> = None;
    let mut seen = Vec::new();
    for option in &options {
        if section != Some(option.about.section) {
            section = Some(option.about.section);
            let _ = write!(text, "\n#---- {} ----\n", option.about.section.title());
        }
        let place = Shown {
            depth: 0,
            set: option.missing.is_none(),
            variable: "MIDGE".to_owned(),
        };
        append(&mut text, option.about, &place, &mut seen);
    }
    text
}

/// Where an option is shown.
struct Shown {
    depth: usize,
    /// Not in a block that is a comment.
    set: bool,
    /// The environment variable of the block; empty in lists.
    variable: String,
}

fn append(text: &mut String, about: &'static About, place: &Shown, seen: &mut Vec<usize>) {
    let variable = match place.variable.as_str() {
        "" => String::new(),
        block => format!("{block}_{}", about.key.to_uppercase()),
    };
    explain(text, about, place, &variable);
    let indent = "  ".repeat(place.depth);
    let children = unseen_children(about, seen);
    let set =
        place.set && !about.default.is_empty() && !matches!(about.support, Support::Missing(_));
    let sign = if set { "" } else { "#" };
    if children.is_empty() {
        let _ = writeln!(text, "{indent}{sign}{}: {}", about.key, shown(about));
        return;
    }
    let (start, end) = brackets(about);
    let _ = writeln!(text, "{indent}{sign}{} {start}", about.key);
    let unnamed = start != "{";
    let place = Shown {
        depth: place.depth + 1,
        set,
        variable: if unnamed { String::new() } else { variable },
    };
    for child in children {
        append(text, child, &place, seen);
    }
    let _ = writeln!(text, "{indent}{sign}{end}");
}

fn explain(text: &mut String, about: &About, place: &Shown, variable: &str) {
    let indent = "  ".repeat(place.depth);
    let mut remarks = vec![about.kind.describe()];
    if !variable.is_empty() {
        remarks.push(variable.to_owned());
    }
    if about.reload == midge::config::options::row::Reload::Live {
        remarks.push("live".to_owned());
    }
    if place.depth == 0 {
        text.push('\n');
    }
    comment(text, &indent, about.document);
    comment(text, &indent, &format!("[{}]", remarks.join("; ")));
    match about.support {
        Support::Supported => {}
        Support::WithoutEffect(reason) => {
            comment(text, &indent, &format!("Without effect: {reason}."));
        }
        Support::Missing(reason) => {
            comment(
                text,
                &indent,
                &format!("Not supported by this version: {reason}."),
            );
        }
    }
}

/// A comment, in lines of at most 100 columns.
fn comment(text: &mut String, indent: &str, words: &str) {
    let mut line = format!("{indent}#");
    for word in words.split(' ') {
        if line.len() + 1 + word.len() > 100 {
            let _ = writeln!(text, "{line}");
            line = format!("{indent}#");
        }
        let _ = write!(line, " {word}");
    }
    let _ = writeln!(text, "{line}");
}
