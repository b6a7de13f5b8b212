//! A JSON document with the order of its keys, and how two of them differ.

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};

/// A document.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Shape {
    Object(Vec<(String, Self)>),
    List(Vec<Self>),
    Text(String),
    Number(f64),
    Truth(bool),
    Null,
}

impl<'de> Deserialize<'de> for Shape {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Any;
        impl<'de> Visitor<'de> for Any {
            type Value = Shape;

            fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                formatter.write_str("JSON")
            }

            fn visit_unit<E>(self) -> Result<Shape, E> {
                Ok(Shape::Null)
            }

            fn visit_bool<E>(self, value: bool) -> Result<Shape, E> {
                Ok(Shape::Truth(value))
            }

            fn visit_u64<E>(self, value: u64) -> Result<Shape, E> {
                Ok(Shape::Number(value as f64))
            }

            fn visit_i64<E>(self, value: i64) -> Result<Shape, E> {
                Ok(Shape::Number(value as f64))
            }

            fn visit_f64<E>(self, value: f64) -> Result<Shape, E> {
                Ok(Shape::Number(value))
            }

            fn visit_str<E>(self, value: &str) -> Result<Shape, E> {
                Ok(Shape::Text(value.to_owned()))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Shape, A::Error> {
                let mut items = Vec::new();
                while let Some(item) = list.next_element()? {
                    items.push(item);
                }
                Ok(Shape::List(items))
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Shape, A::Error> {
                let mut entries = Vec::new();
                while let Some(entry) = map.next_entry()? {
                    entries.push(entry);
                }
                Ok(Shape::Object(entries))
            }
        }
        deserializer.deserialize_any(Any)
    }
}

/// What may differ.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Tolerance {
    /// Keys, with their path, that only the reference has.
    pub(crate) missing: &'static [&'static str],
    /// Keys, or paths of keys, whose values differ by nature: only their types are compared.
    pub(crate) values: &'static [&'static str],
}

impl Tolerance {
    fn covers(&self, path: &str) -> bool {
        let key = path.rsplit('/').next().unwrap_or(path);
        self.values.contains(&key) || self.values.contains(&path)
    }
}

/// How `tested` differs from `reference`, one line each.
pub(crate) fn differences(reference: &Shape, tested: &Shape, tolerance: &Tolerance) -> Vec<String> {
    let mut found = Vec::new();
    compare("", reference, tested, tolerance, &mut found);
    found
}

fn compare(path: &str, one: &Shape, other: &Shape, tolerance: &Tolerance, found: &mut Vec<String>) {
    match (one, other) {
        (Shape::Object(one), Shape::Object(other)) => {
            let keys = |entries: &[(String, Shape)]| -> Vec<String> {
                let keys = entries.iter().map(|(key, _)| key.clone());
                keys.filter(|key| !tolerance.missing.contains(&&*format!("{path}/{key}")))
                    .collect()
            };
            if keys(one) != keys(other) {
                found.push(format!(
                    "{path}: keys {:?} but {:?}",
                    keys(one),
                    keys(other)
                ));
                return;
            }
            for (key, value) in one {
                if let Some((_, opposite)) = other.iter().find(|(known, _)| known == key) {
                    compare(&format!("{path}/{key}"), value, opposite, tolerance, found);
                }
            }
        }
        (Shape::List(one), Shape::List(other)) => {
            if one.len() != other.len() {
                found.push(format!("{path}: {} items but {}", one.len(), other.len()));
            }
            for (item, opposite) in one.iter().zip(other) {
                compare(&format!("{path}[]"), item, opposite, tolerance, found);
            }
        }
        _ if kind(one) != kind(other) => found.push(format!("{path}: {one:?} but {other:?}")),
        _ if one == other => {}
        _ if tolerance.covers(path) => {
            if let (Shape::Text(one), Shape::Text(other)) = (one, other)
                && form(one) != form(other)
            {
                found.push(format!("{path}: {one:?} has another form than {other:?}"));
            }
        }
        _ => found.push(format!("{path}: {one:?} but {other:?}")),
    }
}

/// What a text is: a time, a length of time, a key, or just a text.
fn form(text: &str) -> &'static str {
    let digits = |text: &str| text.starts_with(|first: char| first.is_ascii_digit());
    match text {
        _ if digits(text) && text.ends_with('Z') && text.contains('T') => "a time",
        _ if digits(text) && text.ends_with('s') => "a length of time",
        _ if text.len() == 56 && text.starts_with('N') => "a key",
        _ => "a text",
    }
}

fn kind(shape: &Shape) -> &'static str {
    match shape {
        Shape::Object(_) => "object",
        Shape::List(_) => "list",
        Shape::Text(_) => "text",
        Shape::Number(_) => "number",
        Shape::Truth(_) => "truth",
        Shape::Null => "null",
    }
}

#[test]
fn shapes_differ_in_keys_types_values_and_forms() {
    let tolerance = Tolerance {
        missing: &["/gone"],
        values: &["rtt"],
    };
    let shape = |text| serde_json::from_str::<Shape>(text).unwrap();
    let reference = shape(r#"{"gone":1,"a":1,"rtt":"1ms","list":[1,{"x":true}]}"#);
    let same = shape(r#"{"a":1,"rtt":"9s","list":[1,{"x":true}]}"#);
    assert_eq!(differences(&reference, &same, &tolerance), [""; 0]);
    for other in [
        r#"{"rtt":"9s","a":1,"list":[1,{"x":true}]}"#,
        r#"{"a":2,"rtt":"9s","list":[1,{"x":true}]}"#,
        r#"{"a":1,"rtt":"x","list":[1,{"x":true}]}"#,
        r#"{"a":1,"rtt":9,"list":[1,{"x":true}]}"#,
        r#"{"a":1,"rtt":"9s","list":[1]}"#,
        r#"{"a":1,"rtt":"9s","list":[1,{"x":"true"}]}"#,
    ] {
        let found = differences(&reference, &shape(other), &tolerance);
        assert_eq!(found.len(), 1, "{other}: {found:?}");
    }
}
