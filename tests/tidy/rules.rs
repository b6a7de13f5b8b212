//! Rules about single files.

use std::fmt;

use super::code::{code_of, is_word};
use super::imports::File;

/// Most lines of a file under `src`, its tests included.
const MAX_LINES: usize = 800;

/// Most lines of the map of the code.
const MAX_MAP_LINES: usize = 200;

/// A place where a rule is broken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Violation {
    path: String,
    line: usize,
    rule: String,
}

impl Violation {
    pub(crate) fn new(path: &str, line: usize, rule: &str) -> Self {
        Self {
            path: path.to_owned(),
            line,
            rule: rule.to_owned(),
        }
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}:{}: {}", self.path, self.line, self.rule)
    }
}

/// Files that nobody can read through, and files without anything in them.
pub(crate) fn check_size(file: &File) -> Vec<Violation> {
    let lines = file.text.lines().count();
    let rule = if file.text.trim().is_empty() {
        "is empty".to_owned()
    } else if lines > MAX_LINES && file.path.starts_with("src/") {
        format!("has {lines} lines; at most {MAX_LINES} are allowed")
    } else {
        return Vec::new();
    };
    vec![Violation::new(&file.path, lines.max(1), &rule)]
}

/// What says that something is not finished, or not tested.
pub(crate) fn check_unfinished(file: &File) -> Vec<Violation> {
    const MARKS: [&str; 4] = ["todo!", "unimplemented!", "#[ignore", "dbg!"];
    let code = code_of(&file.text);
    let lines = code.lines().enumerate();
    let found = lines.filter_map(|(index, line)| {
        let mark = MARKS.iter().find(|mark| {
            line.match_indices(**mark)
                .any(|(at, _)| !line[..at].ends_with(is_word))
        })?;
        Some(Violation::new(
            &file.path,
            index + 1,
            &format!("{mark} is not allowed"),
        ))
    });
    found.collect()
}

/// Tests wait for conditions and do not sleep and hope. A test may sleep only between two looks at a
/// condition, in a function that knows a deadline after which it gives up.
pub(crate) fn check_sleeps(file: &File) -> Vec<Violation> {
    let code = code_of(&file.text);
    let mut violations = Vec::new();
    let mut function = Vec::new();
    let mut has_deadline = false;
    for (index, line) in code.lines().enumerate() {
        if function_name(line).is_some() {
            violations.append(&mut function);
            has_deadline = false;
        }
        has_deadline |= line.to_lowercase().contains("deadline");
        if calls_sleep(line) {
            let rule = "a test may not sleep; wait for a condition with a deadline";
            function.push(Violation::new(&file.path, index + 1, rule));
        }
        if has_deadline {
            function.clear();
        }
    }
    violations.append(&mut function);
    violations
}

fn calls_sleep(line: &str) -> bool {
    line.match_indices("sleep").any(|(at, _)| {
        let before = line[..at].chars().next_back();
        let after = &line[at + "sleep".len()..];
        let is_call = after.starts_with('(') || after.starts_with("_until(");
        is_call && !before.is_some_and(is_word)
    })
}

/// The name of the function that begins on a line.
fn function_name(line: &str) -> Option<&str> {
    let at = line.find("fn ")?;
    if line[..at].ends_with(is_word) {
        return None;
    }
    let name = line[at + "fn ".len()..].trim_start();
    let end = name.find(|letter| !is_word(letter)).unwrap_or(name.len());
    Some(&name[..end]).filter(|name| !name.is_empty())
}

/// The map of the code is short, and every file that it names is there.
pub(crate) fn check_map(map: &File, exists: impl Fn(&str) -> bool) -> Vec<Violation> {
    let mut violations = Vec::new();
    let lines = map.text.lines().count();
    if lines > MAX_MAP_LINES {
        let rule = format!("has {lines} lines; at most {MAX_MAP_LINES} are allowed");
        violations.push(Violation::new(&map.path, lines, &rule));
    }
    for (index, line) in map.text.lines().enumerate() {
        for (at, _) in line.match_indices("src/") {
            if line[..at].ends_with(|letter: char| is_word(letter) || letter == '/') {
                continue;
            }
            let path = &line[at..];
            let is_part = |letter: char| is_word(letter) || matches!(letter, '/' | '.' | '-');
            let end = path.find(|letter| !is_part(letter)).unwrap_or(path.len());
            let path = path[..end].trim_end_matches(['.', '/']);
            if !exists(path) {
                let rule = format!("{path} does not exist");
                violations.push(Violation::new(&map.path, index + 1, &rule));
            }
        }
    }
    violations
}

#[cfg(test)]
mod tests {
    use super::super::imports::file;
    use super::*;

    fn shown(violations: &[Violation]) -> Vec<String> {
        violations.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn long_and_empty_files_are_found() {
        let long = "x\n".repeat(801);
        let found = check_size(&file("src/a.rs", &long));
        assert_eq!(
            shown(&found),
            ["src/a.rs:801: has 801 lines; at most 800 are allowed"]
        );
        assert_eq!(check_size(&file("src/a.rs", &long[2..])), []);
        assert_eq!(check_size(&file("tests/a.rs", &long)), []);
        assert_eq!(
            shown(&check_size(&file("tests/a.rs", " \n\n"))),
            ["tests/a.rs:2: is empty"]
        );
    }

    #[test]
    fn unfinished_code_is_found() {
        let text = "fn a() { todo!() }\n// todo!\nlet x = \"unimplemented!\";\n#[ignore = \"slow\"]\nmy_todo!();";
        let found = check_unfinished(&file("src/a.rs", text));
        assert_eq!(
            shown(&found),
            [
                "src/a.rs:1: todo! is not allowed",
                "src/a.rs:4: #[ignore is not allowed"
            ]
        );
    }

    #[test]
    fn sleeping_tests_are_found() {
        let text = "fn eventually() {\n let deadline = x;\n std::thread::sleep(x);\n}\n#[test]\n\
            fn hopes() {\n thread::sleep(x); // until the deadline\n tokio::time::sleep(x).await; sleep_until(y);\n\
            asleep(x); let sleep = 1; // sleep(x)\n}\nfn late() {\n sleep(x); if now() > DEADLINE { return; }\n}\n\
            async fn last() { sleep(x) }";
        let found = check_sleeps(&file("tests/a.rs", text));
        let lines: Vec<usize> = found.iter().map(|violation| violation.line).collect();
        assert_eq!(lines, [7, 8, 14]);
    }

    #[test]
    fn maps_that_lie_are_found() {
        let map = "`src/a.rs` and src/b/, not `src/c/d.rs`.\nhttps://host/src/e.rs\nsrc/a.rs.";
        let exists = |path: &str| ["src/a.rs", "src/b"].contains(&path);
        let found = check_map(&file("ARCHITECTURE.md", map), exists);
        assert_eq!(
            shown(&found),
            ["ARCHITECTURE.md:1: src/c/d.rs does not exist"]
        );
        let long = file("ARCHITECTURE.md", &"x\n".repeat(201));
        assert_eq!(check_map(&long, exists).len(), 1);
    }
}
