//! Which modules of the crate a file names.

use super::code::{code_without_tests, is_word};

/// A module's path within the crate: `["conn", "read"]`.
pub(crate) type Module = Vec<String>;

/// A file of the crate.
#[derive(Debug)]
pub(crate) struct File {
    /// Path from the project's root.
    pub(crate) path: String,
    pub(crate) text: String,
}

/// A place where a file names something of the crate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Import {
    pub(crate) line: usize,
    /// The whole path of what is named, as far as it is written out.
    pub(crate) target: Module,
}

/// The module that a file under `src` is; `None` for the roots of library and binary.
pub(crate) fn module_of(path: &str) -> Option<Module> {
    let path = path.strip_prefix("src/")?.strip_suffix(".rs")?;
    let path = path.strip_suffix("/mod").unwrap_or(path);
    if path == "lib" || path == "main" {
        return None;
    }
    Some(path.split('/').map(str::to_owned).collect())
}

/// Everything of the crate that `file` names by a path that begins with `crate`, `super` or `self`.
pub(crate) fn imports(file: &File) -> Vec<Import> {
    let code = code_without_tests(&file.text);
    let own = module_of(&file.path).unwrap_or_default();
    let mut found = Vec::new();
    for root in ["crate", "super", "self"] {
        for (at, _) in code.match_indices(root) {
            let after = &code[at + root.len()..];
            let begins = !code[..at].ends_with(|letter| is_word(letter) || letter == ':');
            if !begins || !after.trim_start().starts_with("::") {
                continue;
            }
            let line = code[..at].matches('\n').count() + 1;
            let base = match root {
                "crate" => Vec::new(),
                "self" => own.clone(),
                _ => own[..own.len().saturating_sub(1)].to_vec(),
            };
            let mut targets = Vec::new();
            let rest = after.trim_start().strip_prefix("::").unwrap_or_default();
            read_tree(rest, base, &mut targets);
            found.extend(targets.into_iter().map(|target| Import { line, target }));
        }
    }
    found.sort_by_key(|import| import.line);
    found
}

/// Reads a path, or a group of them in braces, at the front of `text`; what follows it.
fn read_tree<'a>(text: &'a str, mut path: Module, targets: &mut Vec<Module>) -> &'a str {
    let text = text.trim_start();
    if let Some(mut rest) = text.strip_prefix('{') {
        loop {
            rest = rest.trim_start();
            if let Some(after) = rest.strip_prefix('}') {
                return after;
            }
            if rest.is_empty() {
                return rest;
            }
            let before = rest.len();
            rest = read_tree(rest, path.clone(), targets);
            rest = rest.find([',', '}']).map_or("", |at| &rest[at..]);
            rest = rest.strip_prefix(',').unwrap_or(rest);
            assert!(
                rest.len() < before,
                "a path that cannot be read: {text:.40}"
            );
        }
    }
    let length = text.find(|letter| !is_word(letter)).unwrap_or(text.len());
    let (word, rest) = text.split_at(length);
    match word {
        "super" => drop(path.pop()),
        "self" | "" => {}
        name => path.push(name.to_owned()),
    }
    match rest.trim_start().strip_prefix("::") {
        Some(further) if !word.is_empty() => read_tree(further, path, targets),
        Some(_) | None => {
            targets.push(path);
            rest
        }
    }
}

/// The module among `modules` that a path leads to: the longest that it begins with.
pub(crate) fn resolve<'a>(target: &[String], modules: &'a [Module]) -> Option<&'a Module> {
    let matching = modules.iter().filter(|module| target.starts_with(module));
    matching.max_by_key(|module| module.len())
}

#[cfg(test)]
pub(crate) fn file(path: &str, text: &str) -> File {
    File {
        path: path.to_owned(),
        text: text.to_owned(),
    }
}

#[cfg(test)]
pub(crate) fn module(path: &str) -> Module {
    path.split("::").map(str::to_owned).collect()
}

#[test]
fn paths_are_read_in_all_their_forms() {
    let text = "use crate::a::b;\n\
        use crate::{c::{d, e as f}, g::*};\n\
        use super::h::I;\n\
        use self::j;\n\
        // use crate::no;\n\
        fn k() { crate::l::m::<crate::n::O>(\"crate::no\"); let xcrate = super::super::p::Q; }\n\
        pub(crate) use super::{self, r};\n\
        #[cfg(test)]\nmod tests {\n use crate::no;\n}\n";
    let found = imports(&file("src/conn/read.rs", text));
    let found: Vec<_> = found
        .iter()
        .map(|import| (import.line, import.target.join("::")))
        .collect();
    let expected = [
        (1, "a::b"),
        (2, "c::d"),
        (2, "c::e"),
        (2, "g"),
        (3, "conn::h::I"),
        (4, "conn::read::j"),
        (6, "l::m"),
        (6, "n::O"),
        (6, "p::Q"),
        (7, "conn"),
        (7, "conn::r"),
    ];
    let expected: Vec<_> = expected
        .iter()
        .map(|(line, target)| (*line, (*target).to_owned()))
        .collect();
    assert_eq!(found, expected);
}

#[test]
fn paths_lead_to_the_innermost_module() {
    let modules = [module("conn"), module("conn::read"), module("broker")];
    assert_eq!(
        resolve(&module("conn::read::Reader"), &modules),
        Some(&modules[1])
    );
    assert_eq!(
        resolve(&module("conn::Timeouts"), &modules),
        Some(&modules[0])
    );
    assert_eq!(resolve(&module("elsewhere"), &modules), None);
    assert_eq!(module_of("src/conn/mod.rs"), Some(module("conn")));
    assert_eq!(module_of("src/outbound.rs"), Some(module("outbound")));
    assert_eq!(module_of("src/lib.rs"), None);
}
