//! Distinguished names: read from text (RFC 2253 and its successor RFC 4514) and compared.

/// A distinguished name, the most specific part first, as its text form has it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct DistinguishedName {
    parts: Vec<Vec<Attribute>>,
}

/// One attribute of a relative distinguished name. Types are compared without regard to case, values exactly.
#[derive(Clone, Debug, Eq)]
pub(super) struct Attribute {
    pub(super) kind: String,
    pub(super) value: String,
}

impl PartialEq for Attribute {
    fn eq(&self, other: &Self) -> bool {
        self.kind.eq_ignore_ascii_case(&other.kind) && self.value == other.value
    }
}

impl DistinguishedName {
    /// Makes a name of its relative names, the most specific first.
    pub(super) fn new(parts: Vec<Vec<Attribute>>) -> Self {
        Self { parts }
    }

    /// Reads `CN=a,O=b+OU=c`: commas between relative names, `+` within one, a backslash before special characters
    /// or two hexadecimal digits. Blanks at the ends of types and values do not count. `None` if it is no name, or
    /// an empty one.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let mut parts = Vec::new();
        let mut part = Vec::new();
        let mut reader = Reader {
            rest: text.as_bytes(),
        };
        loop {
            let (kind, end) = reader.word(b"=,+")?;
            if kind.is_empty() || end != Some(b'=') || reader.rest.first() == Some(&b'#') {
                return None;
            }
            let (value, end) = reader.word(b",+")?;
            if value.is_empty() && end.is_none() {
                return None;
            }
            part.push(Attribute { kind, value });
            if end != Some(b'+') {
                parts.push(std::mem::take(&mut part));
            }
            if reader.rest.is_empty() {
                return (part.is_empty() && !parts.is_empty()).then_some(Self { parts });
            }
        }
    }

    /// Whether the relative names are the same, in the same order (RFC 4517, `distinguishedNameMatch`).
    pub(super) fn equals(&self, other: &Self) -> bool {
        self.parts.len() == other.parts.len()
            && self
                .parts
                .iter()
                .zip(&other.parts)
                .all(|(one, other)| part_equals(one, other))
    }

    /// Whether the relative names are the same in any order. Each one counts once: `CN=a,CN=a` is not `CN=a,CN=b`
    /// (CVE-2026-33248).
    pub(super) fn equals_reordered(&self, other: &Self) -> bool {
        let mut left: Vec<&Vec<Attribute>> = other.parts.iter().collect();
        self.parts.len() == other.parts.len()
            && self.parts.iter().all(|part| {
                let place = left.iter().position(|other| part_equals(part, other));
                place.map(|place| left.swap_remove(place)).is_some()
            })
    }

    /// Whether there is no relative name.
    pub(super) fn is_empty(&self) -> bool {
        self.parts.is_empty()
    }
}

/// Whether relative names hold the same attributes, in any order.
fn part_equals(one: &[Attribute], other: &[Attribute]) -> bool {
    one.len() == other.len()
        && one.iter().all(|attribute| other.contains(attribute))
        && other.iter().all(|attribute| one.contains(attribute))
}

struct Reader<'a> {
    rest: &'a [u8],
}

impl Reader<'_> {
    /// Reads up to one of the ends or to the end of the text, and says which; `None` for a broken escape or text
    /// that is no UTF-8.
    fn word(&mut self, ends: &[u8]) -> Option<(String, Option<u8>)> {
        let mut word = Vec::new();
        // Length of the word up to its last character that is not a plain blank.
        let mut kept = 0;
        let mut end = None;
        while let Some((&byte, rest)) = self.rest.split_first() {
            self.rest = rest;
            match byte {
                b'\\' => word.push(self.escaped()?),
                byte if ends.contains(&byte) => {
                    end = Some(byte);
                    break;
                }
                b' ' if word.is_empty() => continue,
                byte => word.push(byte),
            }
            if byte != b' ' {
                kept = word.len();
            }
        }
        word.truncate(kept);
        String::from_utf8(word).ok().map(|word| (word, end))
    }

    fn escaped(&mut self) -> Option<u8> {
        let (&first, rest) = self.rest.split_first()?;
        if b" \"#+,;<=>\\".contains(&first) {
            self.rest = rest;
            return Some(first);
        }
        let (&second, rest) = rest.split_first()?;
        self.rest = rest;
        let digit = |byte: u8| char::from(byte).to_digit(16);
        u8::try_from(digit(first)? * 16 + digit(second)?).ok()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn name(text: &str) -> DistinguishedName {
        DistinguishedName::parse(text).unwrap()
    }

    fn shown(text: &str) -> Vec<Vec<(String, String)>> {
        let pair = |attribute: Attribute| (attribute.kind, attribute.value);
        name(text)
            .parts
            .into_iter()
            .map(|part| part.into_iter().map(pair).collect())
            .collect()
    }

    fn pairs(parts: &[&[(&str, &str)]]) -> Vec<Vec<(String, String)>> {
        let pair = |(kind, value): &(&str, &str)| ((*kind).to_owned(), (*value).to_owned());
        parts
            .iter()
            .map(|part| part.iter().map(pair).collect())
            .collect()
    }

    #[test]
    fn reading() {
        assert_eq!(
            shown("CN=a, O = b c ,OU=d"),
            pairs(&[&[("CN", "a")], &[("O", "b c")], &[("OU", "d")]])
        );
        assert_eq!(
            shown("CN=a+OU=b,O=c"),
            pairs(&[&[("CN", "a"), ("OU", "b")], &[("O", "c")]])
        );
        assert_eq!(
            shown(r"CN=a\,b\+c\ ,O=\C3\A4"),
            pairs(&[&[("CN", "a,b+c ")], &[("O", "ä")]])
        );
        assert_eq!(shown("CN=a=b"), pairs(&[&[("CN", "a=b")]]));
        assert_eq!(shown("CN=,O=b"), pairs(&[&[("CN", "")], &[("O", "b")]]));
        assert_eq!(shown("CN=a,"), pairs(&[&[("CN", "a")]]));
        for broken in [
            "", "alice", "=a", "CN", "CN=", "CN=a,O", "CN=#0401", r"CN=a\", r"CN=\zz", r"CN=\FF",
        ] {
            assert_eq!(DistinguishedName::parse(broken), None, "{broken}");
        }
    }

    #[test]
    fn comparing() {
        assert!(name("CN=a,O=b").equals(&name("cn=a, o=b")));
        assert!(!name("CN=a,O=b").equals(&name("O=b,CN=a")));
        assert!(name("CN=a,O=b").equals_reordered(&name("O=b,CN=a")));
        assert!(name("CN=a+O=b").equals(&name("O=b+CN=a")));
        assert!(!name("CN=a,O=b").equals(&name("CN=A,O=b")));
        assert!(!name("CN=a").equals_reordered(&name("CN=a,O=b")));
    }

    proptest! {
        /// Anything may stand in a value if it is escaped, and is read back as it was.
        #[test]
        fn escaped_values_are_read_back(values in prop::collection::vec(".*", 1..5)) {
            let escape = |value: &String| {
                value.bytes().map(|byte| format!("\\{byte:02x}")).collect::<String>()
            };
            let nonempty: Vec<&String> = values.iter().filter(|value| !value.is_empty()).collect();
            let parts: Vec<String> =
                nonempty.iter().map(|value| format!("CN={}", escape(value))).collect();
            let read = DistinguishedName::parse(&parts.join(","));
            let parts = nonempty.iter().map(|value| {
                vec![Attribute { kind: "cn".to_owned(), value: (**value).clone() }]
            });
            let expected = DistinguishedName::new(parts.collect());
            prop_assert_eq!(read, (!expected.is_empty()).then_some(expected));
        }

        #[test]
        fn no_text_is_too_odd(text in "[a-zA-Z0-9 =,+#\\\\;\"<>\u{0}\u{e4}]{0,40}") {
            if let Some(name) = DistinguishedName::parse(&text) {
                prop_assert!(name.equals(&name) && name.equals_reordered(&name));
            }
        }
    }

    /// CVE-2026-33248: a relative name that occurs once matched two.
    #[test]
    fn a_part_matches_once_only() {
        assert!(!name("CN=a,CN=a,O=b").equals_reordered(&name("CN=a,CN=x,O=b")));
        assert!(!name("CN=a,CN=x,O=b").equals_reordered(&name("CN=a,CN=a,O=b")));
        assert!(name("CN=a,O=b,CN=x").equals_reordered(&name("CN=x,CN=a,O=b")));
        assert!(!name("CN=a+CN=a").equals(&name("CN=a+CN=b")));
    }
}
