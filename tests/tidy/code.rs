//! Rust source without what is not code: comments are blanked out, and what stands in quotes.

/// The code of `source`, with line breaks where they were.
pub(crate) fn code_of(source: &str) -> String {
    let mut code = String::with_capacity(source.len());
    let mut rest = source;
    while let Some(first) = rest.chars().next() {
        let length = skipped_length(rest, code.chars().next_back());
        if length == 0 {
            code.push(first);
            rest = &rest[first.len_utf8()..];
        } else {
            let (skipped, after) = rest.split_at(length);
            code.extend(
                skipped
                    .chars()
                    .map(|letter| if letter == '\n' { '\n' } else { ' ' }),
            );
            rest = after;
        }
    }
    code
}

/// The code of `source` up to its test module, which by custom stands last.
pub(crate) fn code_without_tests(source: &str) -> String {
    let code = code_of(source);
    let shared = "#[cfg(test)]\npub(super) mod tests {";
    let end = ["#[cfg(test)]\nmod tests {", shared]
        .iter()
        .find_map(|start| code.find(start))
        .unwrap_or(code.len());
    code[..end].to_owned()
}

/// Whether a file under `src` holds nothing but tests.
pub(crate) fn is_test_file(path: &str) -> bool {
    path.ends_with("/tests.rs")
}

/// How many bytes at the front of `text` are a comment or a literal; 0 if they are code. `before` is
/// the letter before them.
fn skipped_length(text: &str, before: Option<char>) -> usize {
    let in_word = before.is_some_and(is_word);
    if text.starts_with("//") {
        return text.find('\n').unwrap_or(text.len());
    }
    if text.starts_with("/*") {
        return block_comment_length(text);
    }
    if text.starts_with('"') {
        return quoted_length(text, '"');
    }
    if !in_word {
        for prefix in ["r", "br", "cr"] {
            if let Some(length) = text.strip_prefix(prefix).and_then(raw_length) {
                return prefix.len() + length;
            }
        }
    }
    if text.starts_with('\'') {
        return character_length(text);
    }
    0
}

pub(crate) fn is_word(letter: char) -> bool {
    letter.is_alphanumeric() || letter == '_'
}

fn block_comment_length(text: &str) -> usize {
    let mut depth = 0_usize;
    let mut at = 0;
    while at < text.len() {
        if text[at..].starts_with("/*") {
            depth += 1;
            at += 2;
        } else if text[at..].starts_with("*/") {
            depth -= 1;
            at += 2;
            if depth == 0 {
                return at;
            }
        } else {
            at += text[at..].chars().next().map_or(1, char::len_utf8);
        }
    }
    text.len()
}

/// Length of a literal in quotes, with those.
fn quoted_length(text: &str, quote: char) -> usize {
    let mut escaped = false;
    for (at, letter) in text.char_indices().skip(1) {
        if letter == quote && !escaped {
            return at + 1;
        }
        escaped = letter == '\\' && !escaped;
    }
    text.len()
}

/// Length of a raw string behind its `r`.
fn raw_length(text: &str) -> Option<usize> {
    let hashes = text.len() - text.trim_start_matches('#').len();
    text[hashes..].strip_prefix('"')?;
    let end = format!("\"{}", &text[..hashes]);
    let body = &text[hashes + 1..];
    Some(hashes + 1 + body.find(&end).map_or(body.len(), |at| at + end.len()))
}

/// A quote begins a character, or a lifetime, which is code.
fn character_length(text: &str) -> usize {
    let mut letters = text.char_indices().skip(1);
    match (letters.next(), letters.next()) {
        (Some((_, '\\')), _) => quoted_length(text, '\''),
        (Some(_), Some((at, '\''))) => at + 1,
        _ => 0,
    }
}

#[test]
fn comments_and_literals_are_blanked_out() {
    let source = "a // sleep(\nb /* sleep( /* */ sleep( */ c \"sleep(\\\" sleep(\" d";
    let code = code_of(source);
    assert_eq!(code.lines().count(), source.lines().count());
    assert_eq!(
        code.split_whitespace().collect::<Vec<_>>(),
        ["a", "b", "c", "d"]
    );
    let source =
        "r\"sleep(\" r#\"sleep( \" sleep(\"# br##\"sleep(\"# \"## 'x' '\\'' '\\u{1}' b'\"' sleep";
    assert_eq!(
        code_of(source).split_whitespace().collect::<Vec<_>>(),
        ["b", "sleep"]
    );
    let source = "fn f<'a>(for_: &'a str, r: char) -> &'static str { bar\"x\" }";
    assert_eq!(code_of(source), source.replace("\"x\"", "   "));
    assert_eq!(code_of("\"ü\" x").trim(), "x");
}

#[test]
fn test_modules_are_left_out() {
    let source = "code\n#[cfg(test)]\nmod tests {\n bad }";
    assert_eq!(code_without_tests(source), "code\n");
    let shared = source.replace("mod", "pub(super) mod");
    assert_eq!(code_without_tests(&shared), "code\n");
    assert_eq!(code_without_tests("code"), "code");
}
