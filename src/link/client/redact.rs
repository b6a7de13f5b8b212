//! CONNECT documents for the log: whatever proves an identity is blanked out.

use serde::de::IgnoredAny;

use crate::proto::info::fold_field_name;

/// Fields whose values never reach a log.
const SECRET_FIELDS: [&str; 5] = ["pass", "auth_token", "sig", "jwt", "proxy_sig"];

/// What stands in their place.
const REDACTED: &str = "[REDACTED]";

/// `document` with the values of secret fields replaced; all of it when it is no JSON object.
#[must_use]
pub fn connect(document: &[u8]) -> String {
    let text = String::from_utf8_lossy(document);
    if !matches!(
        serde_json::from_str(&text),
        Ok(serde_json::Value::Object(_))
    ) {
        return REDACTED.to_owned();
    }
    let mut output = String::with_capacity(text.len());
    let mut rest = &*text;
    while let Some((before, string, after)) = next_string(rest) {
        output.push_str(before);
        output.push_str(string);
        rest = after;
        if is_secret(string)
            && let Some(value_start) = after_colon(after)
        {
            output.push_str(after.strip_suffix(value_start).unwrap_or_default());
            output.push('"');
            output.push_str(REDACTED);
            output.push('"');
            rest = after_value(value_start);
        }
    }
    output.push_str(rest);
    output
}

/// What comes before the next JSON string, the string with its quotes, and what comes after it.
fn next_string(text: &str) -> Option<(&str, &str, &str)> {
    let start = text.find('"')?;
    let mut escaped = false;
    let body = text.get(start + 1..)?;
    let length = body.find(|character| {
        let ends = character == '"' && !escaped;
        escaped = character == '\\' && !escaped;
        ends
    })?;
    let end = start + 1 + length + 1;
    Some((text.get(..start)?, text.get(start..end)?, text.get(end..)?))
}

/// A field's name can be spelled in other ways, so it is read as CONNECT itself is read.
fn is_secret(string: &str) -> bool {
    let name: String = serde_json::from_str(string).unwrap_or_default();
    SECRET_FIELDS.contains(&&*fold_field_name(&name))
}

/// What follows the colon after a field's name; `None` where the string was no name.
fn after_colon(text: &str) -> Option<&str> {
    Some(text.trim_start().strip_prefix(':')?.trim_start())
}

/// What follows the JSON value at the front of `text`, whatever kind of value it is.
fn after_value(text: &str) -> &str {
    let mut values = serde_json::Deserializer::from_str(text).into_iter::<IgnoredAny>();
    match values.next() {
        Some(Ok(_)) => text.get(values.byte_offset()..).unwrap_or_default(),
        Some(Err(_)) | None => "",
    }
}

#[cfg(test)]
mod tests {
    use super::connect;

    #[test]
    fn secrets_are_blanked_out() {
        let document = br#"{"user":"pass","pass" : "s\"3cret","Auth_Token":"t","p\u0061ss":"x"}"#;
        let expected = r#"{"user":"pass","pass" : "[REDACTED]","Auth_Token":"[REDACTED]","p\u0061ss":"[REDACTED]"}"#;
        assert_eq!(connect(document), expected);
        assert_eq!(connect(br#"{"pass":"oops"#), "[REDACTED]");
        let wrong = br#"{"pass":{"a":["s3cret"]},"jwt":1234, "sig": null,"x":{"pass":"s3cret"}}"#;
        let expected = r#"{"pass":"[REDACTED]","jwt":"[REDACTED]", "sig": "[REDACTED]","x":{"pass":"[REDACTED]"}}"#;
        assert_eq!(
            connect("{\"pa\u{17f}s\":\"s3cret\"}".as_bytes()),
            "{\"pa\u{17f}s\":\"[REDACTED]\"}"
        );
        assert_eq!(connect(wrong), expected, "whatever kind of value it is");
    }
}
