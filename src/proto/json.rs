//! JSON objects of plain fields, written without a description of them: each client that connects is sent two.

/// Bytes that an INFO usually takes at most.
const USUAL_BYTES: usize = 512;

/// An object that is being written.
#[derive(Debug)]
pub(super) struct Object {
    text: String,
}

impl Default for Object {
    fn default() -> Self {
        let mut text = String::with_capacity(USUAL_BYTES);
        text.push('{');
        Self { text }
    }
}

impl Object {
    /// The name of a field: only letters that need no escaping.
    fn name(&mut self, name: &str) {
        self.text
            .push_str(if self.text.len() > 1 { ",\"" } else { "\"" });
        self.text.push_str(name);
        self.text.push_str("\":");
    }

    pub(super) fn text(&mut self, name: &str, value: &str) {
        self.name(name);
        push_text(&mut self.text, value);
    }

    pub(super) fn text_if_any(&mut self, name: &str, value: &str) {
        if !value.is_empty() {
            self.text(name, value);
        }
    }

    pub(super) fn texts_if_any(&mut self, name: &str, values: &[String]) {
        if values.is_empty() {
            return;
        }
        self.name(name);
        for (index, value) in values.iter().enumerate() {
            self.text.push(if index == 0 { '[' } else { ',' });
            push_text(&mut self.text, value);
        }
        self.text.push(']');
    }

    pub(super) fn number(&mut self, name: &str, value: impl itoa::Integer) {
        self.name(name);
        self.text.push_str(itoa::Buffer::new().format(value));
    }

    pub(super) fn flag(&mut self, name: &str, value: bool) {
        self.name(name);
        self.text.push_str(if value { "true" } else { "false" });
    }

    pub(super) fn flag_if_set(&mut self, name: &str, value: bool) {
        if value {
            self.flag(name, value);
        }
    }

    pub(super) fn finish(mut self) -> String {
        self.text.push('}');
        self.text
    }
}

fn push_text(to: &mut String, value: &str) {
    let escapes = |byte: u8| (byte < b' ') | (byte == b'"') | (byte == b'\\');
    // Without a way out in the middle: many bytes at a time.
    if value
        .bytes()
        .fold(false, |found, byte| found | escapes(byte))
    {
        // A text alone cannot fail to serialise.
        to.push_str(&serde_json::to_string(value).unwrap_or_default());
    } else {
        to.push('"');
        to.push_str(value);
        to.push('"');
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reader_finds_what_was_written_in_its_order() {
        let odd = "a\"b\\c\n\u{1}\u{7f}é\u{2028}";
        let mut object = Object::default();
        object.text("plain", "x y");
        object.text("odd", odd);
        object.text("none", "");
        object.text_if_any("left_out", "");
        object.number("number", -7_i64);
        object.flag("no", false);
        object.flag_if_set("unset", false);
        object.flag_if_set("set", true);
        object.texts_if_any("empty", &[]);
        object.texts_if_any("list", &["one".to_owned(), odd.to_owned()]);
        let text = object.finish();
        let quoted = serde_json::to_string(odd).unwrap();
        let expected = format!(
            r#"{{"plain":"x y","odd":{quoted},"none":"","number":-7,"no":false,"set":true,"list":["one",{quoted}]}}"#
        );
        assert_eq!(text, expected);
        assert!(serde_json::from_str::<serde_json::Value>(&text).is_ok());
        assert_eq!(Object::default().finish(), "{}");
    }
}
