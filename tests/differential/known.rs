//! The differences that are known and explained.
//!
//! They are the first columns of two tables in docs/compatibility.md: under "Known differences"
//! the title of a conversation, or its beginning followed by `…`; under "Options not supported
//! yet" the name of an option.

const DOCUMENT: &str = include_str!("../../docs/compatibility.md");

/// The explained conversations, as the document names them.
pub(crate) fn differences() -> Vec<String> {
    first_column(DOCUMENT, "## Known differences")
}

/// Options of nats-server with which Midge does not start yet.
pub(crate) fn unsupported() -> Vec<String> {
    first_column(DOCUMENT, "## Options not supported yet")
}

fn first_column(document: &str, heading: &str) -> Vec<String> {
    let section = document
        .split_once(heading)
        .map_or("", |(_, after)| after)
        .split("\n## ")
        .next()
        .unwrap_or_default();
    let rows = section.lines().filter(|line| line.starts_with('|')).skip(2);
    rows.filter_map(|row| row.split('|').nth(1))
        .map(|cell| cell.trim().trim_matches('`').to_owned())
        .collect()
}

/// Whether `entry` means the conversation called `title`.
pub(crate) fn explains(entry: &str, title: &str) -> bool {
    match entry.strip_suffix('…') {
        Some(beginning) => title.starts_with(beginning),
        None => title == entry,
    }
}

#[test]
fn the_table_is_read_from_its_section_only() {
    let document = "| x | y |\n|---|---|\n| no | no |\n## Known differences\n\n| conversation | why |\n|---|---|\n\
        | `one [a b]` | x |\n| two… | y |\n\n## Next\n| no | no |\n";
    assert_eq!(
        first_column(document, "## Known differences"),
        ["one [a b]", "two…"]
    );
    assert!(explains("two…", "two and more") && !explains("two", "two and more"));
}
