//! The differences that are known and explained.
//!
//! They are the table under "Known differences" in docs/compatibility.md: the first column holds
//! the title of a conversation, or its beginning followed by `…`.

const DOCUMENT: &str = include_str!("../../docs/compatibility.md");
const HEADING: &str = "## Known differences";

/// The explained conversations, as the document names them.
pub(crate) fn entries() -> Vec<String> {
    entries_of(DOCUMENT)
}

fn entries_of(document: &str) -> Vec<String> {
    let section = document.split_once(HEADING).map_or("", |(_, after)| after);
    let section = section.split("\n## ").next().unwrap_or_default();
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
    assert_eq!(entries_of(document), ["one [a b]", "two…"]);
    assert!(explains("two…", "two and more") && !explains("two", "two and more"));
}
