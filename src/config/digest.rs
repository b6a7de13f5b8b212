//! The digest of a configuration, the same as nats-server's: the SHA-256 of the values written as
//! JSON with sorted keys. Two files with the same digest mean the same, whatever their comments,
//! order and layout, so operators compare it between servers of both kinds.

use std::fmt::Write as _;

use sha2::{Digest, Sha256};

use super::value::{Node, Table, Value};

/// `sha256:` and 64 hexadecimal digits.
pub(super) fn digest(table: &Table) -> String {
    let mut json = String::new();
    write_table(&mut json, table);
    json.push('\n');
    let mut text = String::from("sha256:");
    for byte in Sha256::digest(json.as_bytes()) {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
    }
    text
}

fn write_value(json: &mut String, value: &Value) {
    match value {
        Value::Text(text) | Value::Moment(text) => write_text(json, text),
        Value::Integer(number) => {
            let _ = write!(json, "{number}");
        }
        Value::Float(number) => write_float(json, *number),
        Value::Boolean(true) => json.push_str("true"),
        Value::Boolean(false) => json.push_str("false"),
        Value::List(elements) => write_list(json, elements),
        Value::Table(table) => write_table(json, table),
    }
}

fn write_list(json: &mut String, elements: &[Node]) {
    json.push('[');
    for (index, element) in elements.iter().enumerate() {
        if index > 0 {
            json.push(',');
        }
        write_value(json, &element.value);
    }
    json.push(']');
}

fn write_table(json: &mut String, table: &Table) {
    let mut entries: Vec<_> = table.entries.iter().collect();
    entries.sort_by(|left, right| left.key.cmp(&right.key));
    json.push('{');
    for (index, entry) in entries.into_iter().enumerate() {
        if index > 0 {
            json.push(',');
        }
        write_text(json, &entry.key);
        json.push(':');
        write_value(json, &entry.node.value);
    }
    json.push('}');
}

/// Numbers from 10^21 on are written with an exponent. The language knows no way to write one
/// below 10^-6 except by its many zeros, so both ends occur.
fn write_float(json: &mut String, number: f64) {
    let magnitude = number.abs();
    if magnitude == 0.0 || (1e-6..1e21).contains(&magnitude) {
        let _ = write!(json, "{number}");
        return;
    }
    let text = format!("{number:e}");
    match text.split_once('e') {
        Some((digits, exponent)) if !exponent.starts_with('-') => {
            let _ = write!(json, "{digits}e+{exponent:0>2}");
        }
        _ => json.push_str(&text),
    }
}

/// Letters that could be taken for HTML are escaped too.
fn write_text(json: &mut String, text: &str) {
    json.push('"');
    for letter in text.chars() {
        match letter {
            '"' => json.push_str("\\\""),
            '\\' => json.push_str("\\\\"),
            '\n' => json.push_str("\\n"),
            '\r' => json.push_str("\\r"),
            '\t' => json.push_str("\\t"),
            '\u{8}' => json.push_str("\\b"),
            '\u{c}' => json.push_str("\\f"),
            '<' | '>' | '&' | '\u{2028}' | '\u{2029}' | '\0'..='\u{1f}' => {
                let _ = write!(json, "\\u{:04x}", u32::from(letter));
            }
            _ => json.push(letter),
        }
    }
    json.push('"');
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::parse::parse_text;

    /// Each digest was printed by nats-server 2.15.1 with `-t` for the same text.
    #[test]
    fn is_the_one_of_nats_server() {
        for (text, expected) in [
            (
                "port: 4222",
                "797533ebd0dfba7d34a0f9337ecf147e442871f48ddfd07ed751575a5737267e",
            ),
            (
                "debug: yes",
                "eca738dbc8155b8e2da07ff1a72a27aea10ba0fe3256289ad8b18ef5846bec7e",
            ),
            (
                "x: [ 10 ]\nport: $x\nport: 4222\n",
                "c379e76f36a00e227ec01a2c09ae3d342303cfc8894872f90d926919cd860c8c",
            ),
            (
                "server_name: (\n)\n",
                "06c8a2ff0c02561c993d56169b6a422f39d6a8e8306fcd6b10a053cf7b3f2f62",
            ),
        ] {
            let parsed = parse_text(text, "test", &|_| None);
            assert_eq!(
                digest(&parsed.table),
                format!("sha256:{expected}"),
                "{text}"
            );
        }
    }
}
