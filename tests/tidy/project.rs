//! The project's own files.

use std::path::Path;

use super::imports::File;
use super::layers;
use super::rules::{Violation, check_map, check_size, check_sleeps, check_unfinished};

/// Where Rust code stands that people read.
const FOLDERS: [&str; 5] = ["src", "tests", "benches", "examples", "fuzz"];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// All Rust files under a folder; build output and what tests install do not count.
fn rust_files(folder: &str) -> Vec<File> {
    let mut files = Vec::new();
    let mut folders = vec![root().join(folder)];
    while let Some(folder) = folders.pop() {
        let Ok(entries) = std::fs::read_dir(folder) else {
            continue;
        };
        for entry in entries {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            if path.is_dir() && name != "target" && !name.starts_with('.') && name != "node_modules"
            {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                files.push(read(&path));
            }
        }
    }
    files.sort_by(|one, other| one.path.cmp(&other.path));
    files
}

fn read(path: &Path) -> File {
    let shown = path
        .strip_prefix(root())
        .unwrap()
        .to_string_lossy()
        .replace('\\', "/");
    File {
        path: shown,
        text: std::fs::read_to_string(path).unwrap(),
    }
}

fn all_rust_files() -> Vec<File> {
    FOLDERS
        .iter()
        .flat_map(|folder| rust_files(folder))
        .collect()
}

/// Fails with one line for each violation.
fn none(violations: &[Violation]) {
    let lines: Vec<String> = violations.iter().map(ToString::to_string).collect();
    assert!(
        lines.is_empty(),
        "{} broken rules:\n{}",
        lines.len(),
        lines.join("\n")
    );
}

fn each(files: &[File], check: impl Fn(&File) -> Vec<Violation>) {
    assert!(!files.is_empty(), "there is nothing to check");
    none(&files.iter().flat_map(check).collect::<Vec<_>>());
}

#[test]
fn modules_name_only_their_own_layer_and_those_below() {
    let files = rust_files("src");
    assert!(files.len() > 30, "the sources were not found");
    none(&layers::check_imports(&files));
}

#[test]
fn layers_do_not_name_what_belongs_above_them() {
    each(&rust_files("src"), layers::check_words);
}

#[test]
fn modules_do_not_import_each_other_in_circles() {
    none(&layers::check_cycles(&rust_files("src")));
}

#[test]
fn files_are_neither_empty_nor_too_long() {
    each(&all_rust_files(), check_size);
}

#[test]
fn nothing_is_left_unfinished() {
    each(&all_rust_files(), check_unfinished);
}

#[test]
fn tests_do_not_sleep_and_hope() {
    // What is to arrive in pieces must be sent in pieces, with time between them.
    let in_pieces = (
        "tests/differential/talk.rs",
        "thread::sleep(BETWEEN_PIECES);",
    );
    let files = rust_files("tests").into_iter().map(|file| match file {
        File { path, text } if path == in_pieces.0 => File {
            path,
            text: text.replacen(in_pieces.1, "", 1),
        },
        other => other,
    });
    each(&files.collect::<Vec<_>>(), check_sleeps);
}

#[test]
fn the_map_of_the_code_tells_the_truth() {
    let path = root().join("ARCHITECTURE.md");
    if path.exists() {
        none(&check_map(&read(&path), |path| root().join(path).exists()));
    }
}

/// A check of a folder that was renamed would pass for ever.
#[test]
fn the_checks_look_at_this_file() {
    let own = rust_files("tests")
        .into_iter()
        .find(|file| file.path == "tests/tidy/project.rs");
    let bad = File {
        text: format!("{}\nfn x() {{ todo!() }}", own.unwrap().text),
        path: "x".into(),
    };
    assert_eq!(check_unfinished(&bad).len(), 1);
}
