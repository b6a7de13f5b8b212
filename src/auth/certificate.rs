//! The names in a client's certificate by which `verify_and_map` finds its user.
//!
//! The chain has been verified by the TLS library before; this only reads names. The order in which names are
//! tried, and their text forms, are nats-server's.

use std::fmt::Write as _;

use der::asn1::{AnyRef, ObjectIdentifier};
use der::{Decode as _, Encode as _, Reader as _, SliceReader, Tag, TagNumber, Tagged as _};

use super::distinguished_name::{Attribute, DistinguishedName};

const SUBJECT_ALTERNATIVE_NAMES: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.17");

/// Object identifiers of attributes and their short names (RFC 4519).
const ATTRIBUTES: [(ObjectIdentifier, &str); 10] = [
    (ObjectIdentifier::new_unwrap("2.5.4.6"), "C"),
    (ObjectIdentifier::new_unwrap("2.5.4.10"), "O"),
    (ObjectIdentifier::new_unwrap("2.5.4.11"), "OU"),
    (ObjectIdentifier::new_unwrap("2.5.4.7"), "L"),
    (ObjectIdentifier::new_unwrap("2.5.4.8"), "ST"),
    (ObjectIdentifier::new_unwrap("2.5.4.9"), "STREET"),
    (ObjectIdentifier::new_unwrap("2.5.4.17"), "POSTALCODE"),
    (ObjectIdentifier::new_unwrap("2.5.4.3"), "CN"),
    (ObjectIdentifier::new_unwrap("2.5.4.5"), "SERIALNUMBER"),
    (
        ObjectIdentifier::new_unwrap("0.9.2342.19200300.100.1.25"),
        DOMAIN_COMPONENT,
    ),
];

const DOMAIN_COMPONENT: &str = "DC";

/// Attributes of the text form in its order. Those with `true` are all shown, of the others the last one is.
const TEXT_ORDER: [(&str, bool); 9] = [
    ("SERIALNUMBER", false),
    ("CN", false),
    ("POSTALCODE", true),
    ("STREET", true),
    ("ST", true),
    ("L", true),
    ("OU", true),
    ("O", true),
    ("C", true),
];

/// Types of values that are text byte by byte.
const TEXT_TAGS: [Tag; 5] = [
    Tag::Utf8String,
    Tag::PrintableString,
    Tag::Ia5String,
    Tag::NumericString,
    Tag::TeletexString,
];

/// The names of a certificate's owner.
#[derive(Clone, Debug, Default)]
pub struct CertificateNames {
    emails: Vec<String>,
    dns_names: Vec<String>,
    uris: Vec<String>,
    /// `None` if it holds an attribute without a known name or text.
    subject: Option<DistinguishedName>,
    /// The known attributes of the subject in a fixed order.
    text: String,
    /// The same with the domain components behind it.
    text_with_domain: Option<String>,
}

/// A name by which a user may be known.
#[derive(Clone, Copy, Debug)]
pub(super) enum Candidate<'a> {
    /// The user's name is this text.
    Text(&'a str),
    /// The user's name is a distinguished name equal to this one.
    Name(&'a DistinguishedName),
}

impl CertificateNames {
    /// Reads a certificate in DER; `None` if it is none.
    #[must_use]
    pub fn read(certificate: &[u8]) -> Option<Self> {
        let parts = Parts::read(certificate)?;
        let mut names = Self::default();
        let subject = Subject::read(parts.subject)?;
        names.text = subject.text();
        names.text_with_domain = subject
            .domain()
            .map(|domain| format!("{},{domain}", names.text));
        names.subject = subject.name();
        for (number, value) in parts.alternative_names {
            let Ok(value) = String::from_utf8(value.to_vec()) else {
                continue;
            };
            match number {
                TagNumber::N1 => names.emails.push(value),
                TagNumber::N2 => names.dns_names.push(value),
                TagNumber::N6 => names.uris.push(value),
                _ => {}
            }
        }
        Some(names)
    }

    /// The names to try, in order: e-mail addresses, DNS names, URIs, the subject as it is, its text form with
    /// domain components, its text form without.
    pub(super) fn candidates(&self) -> impl Iterator<Item = Candidate<'_>> {
        let alternative = self.emails.iter().chain(&self.dns_names).chain(&self.uris);
        let subject = self
            .subject
            .iter()
            .filter(|name| !name.is_empty())
            .map(Candidate::Name);
        let text = self.text_with_domain.iter().chain([&self.text]);
        let nonempty = |text: &&String| !text.is_empty();
        alternative
            .filter(nonempty)
            .map(|name| Candidate::Text(name))
            .chain(subject)
            .chain(text.filter(nonempty).map(|name| Candidate::Text(name)))
    }

    /// The subject's text form, for the log.
    #[must_use]
    pub fn subject_text(&self) -> &str {
        &self.text
    }

    /// The DNS names, which `verify_cert_and_check_known_urls` compares with the hosts of known servers.
    #[must_use]
    pub fn dns_names(&self) -> &[String] {
        &self.dns_names
    }
}

/// The public key of a certificate in DER, with its algorithm (`SubjectPublicKeyInfo`); `None` if it is no
/// certificate. `pinned_certs` lists SHA-256 digests of these.
#[must_use]
pub fn certificate_public_key(certificate: &[u8]) -> Option<Vec<u8>> {
    Parts::read(certificate)?.public_key.to_der().ok()
}

/// The parts of a certificate (RFC 5280, section 4.1) that carry names and the key.
struct Parts<'a> {
    subject: AnyRef<'a>,
    public_key: AnyRef<'a>,
    alternative_names: Vec<(TagNumber, &'a [u8])>,
}

impl<'a> Parts<'a> {
    fn read(certificate: &'a [u8]) -> Option<Self> {
        let certificate = AnyRef::from_der(certificate).ok()?;
        let signed = *elements(certificate)?.first()?;
        let mut fields = elements(signed)?;
        if context_number(*fields.first()?) == Some(TagNumber::N0) {
            fields.remove(0);
        }
        let [
            _serial,
            _algorithm,
            _issuer,
            _validity,
            subject,
            public_key,
            optional @ ..,
        ] = fields.as_slice()
        else {
            return None;
        };
        let extensions = optional
            .iter()
            .find(|field| context_number(**field) == Some(TagNumber::N3));
        let alternative_names = match extensions {
            Some(extensions) => alternative_names(*extensions)?,
            None => Vec::new(),
        };
        Some(Self {
            subject: *subject,
            public_key: *public_key,
            alternative_names,
        })
    }
}

/// Tag number and content of the subject's alternative names.
fn alternative_names(extensions: AnyRef<'_>) -> Option<Vec<(TagNumber, &[u8])>> {
    let list = *elements(extensions)?.first()?;
    for extension in elements(list)? {
        let fields = elements(extension)?;
        let (first, last) = (fields.first()?, fields.last()?);
        if first.decode_as::<ObjectIdentifier>().ok()? == SUBJECT_ALTERNATIVE_NAMES {
            let names = AnyRef::from_der(last.value()).ok()?;
            let names = elements(names)?;
            let numbered = names
                .iter()
                .filter_map(|name| Some((context_number(*name)?, name.value())));
            return Some(numbered.collect());
        }
    }
    Some(Vec::new())
}

/// The elements within a constructed one.
fn elements(outer: AnyRef<'_>) -> Option<Vec<AnyRef<'_>>> {
    if !outer.tag().is_constructed() {
        return None;
    }
    let mut reader = SliceReader::new(outer.value()).ok()?;
    let mut elements = Vec::new();
    while !reader.is_finished() {
        elements.push(AnyRef::decode(&mut reader).ok()?);
    }
    Some(elements)
}

fn context_number(element: AnyRef<'_>) -> Option<TagNumber> {
    if let Tag::ContextSpecific { number, .. } = element.tag() {
        Some(number)
    } else {
        None
    }
}

/// The attributes of a subject, relative names in the certificate's order. Unknown types and values that are no
/// text are `None`.
struct Subject {
    parts: Vec<Vec<(Option<&'static str>, Option<String>)>>,
}

impl Subject {
    fn read(name: AnyRef<'_>) -> Option<Self> {
        let mut parts = Vec::new();
        for part in elements(name)? {
            let mut attributes = Vec::new();
            for attribute in elements(part)? {
                let fields = elements(attribute)?;
                let [kind, value] = fields.as_slice() else {
                    return None;
                };
                let kind = kind.decode_as::<ObjectIdentifier>().ok()?;
                let known = ATTRIBUTES
                    .iter()
                    .find(|(identifier, _)| *identifier == kind);
                attributes.push((known.map(|(_, name)| *name), text_of(*value)));
            }
            parts.push(attributes);
        }
        Some(Self { parts })
    }

    /// Kind and value of each attribute that has both.
    fn known(&self) -> impl Iterator<Item = (&'static str, &str)> {
        let known = self.parts.iter().flatten();
        known.filter_map(|(kind, value)| Some(((*kind)?, value.as_deref()?)))
    }

    /// The whole name with the most specific part first; `None` if an attribute is not known, because a name
    /// without it would be another name.
    fn name(&self) -> Option<DistinguishedName> {
        let attribute = |(kind, value): &(Option<&'static str>, Option<String>)| {
            Some(Attribute {
                kind: (*kind)?.to_owned(),
                value: value.clone()?,
            })
        };
        let part = |part: &Vec<_>| part.iter().rev().map(attribute).collect::<Option<Vec<_>>>();
        let nonempty = self.parts.iter().rev().filter(|part| !part.is_empty());
        nonempty
            .map(part)
            .collect::<Option<Vec<_>>>()
            .map(DistinguishedName::new)
    }

    /// The known attributes in a fixed order, whatever the certificate's was; `+` between several of a kind.
    fn text(&self) -> String {
        let mut text = String::new();
        for (kind, all) in TEXT_ORDER {
            let values: Vec<&str> = self
                .known()
                .filter(|(other, _)| *other == kind)
                .map(|(_, value)| value)
                .collect();
            let skipped = if all {
                0
            } else {
                values.len().saturating_sub(1)
            };
            for (number, value) in values.iter().skip(skipped).enumerate() {
                let separator = match (text.is_empty(), number) {
                    (true, _) => "",
                    (false, 0) => ",",
                    (false, _) => "+",
                };
                let _infallible = write!(text, "{separator}{kind}={}", escape(value));
            }
        }
        text
    }

    /// `DC=example,DC=com` in the certificate's order. `None` without domain components, and if one of them holds
    /// a character that would make its text ambiguous.
    fn domain(&self) -> Option<String> {
        let components = self.known().filter(|(kind, _)| *kind == DOMAIN_COMPONENT);
        let texts: Vec<String> = components
            .map(|(kind, value)| (escape(value) == value).then(|| format!("{kind}={value}")))
            .collect::<Option<_>>()?;
        (!texts.is_empty()).then(|| texts.join(","))
    }
}

/// The text of an attribute's value, if its type is one of texts.
fn text_of(value: AnyRef<'_>) -> Option<String> {
    let tag = value.tag();
    if tag == Tag::BmpString {
        let units = value.value().chunks_exact(2).map(|pair| match pair {
            [high, low] => u16::from_be_bytes([*high, *low]),
            _ => 0,
        });
        return String::from_utf16(&units.collect::<Vec<u16>>()).ok();
    }
    TEXT_TAGS
        .contains(&tag)
        .then(|| String::from_utf8(value.value().to_vec()).ok())
        .flatten()
}

/// A value with a backslash before the characters that are special in the text form (RFC 2253, section 2.4).
fn escape(value: &str) -> String {
    let mut text = String::with_capacity(value.len());
    for (place, character) in value.char_indices() {
        let special = match character {
            ',' | '+' | '"' | '\\' | '<' | '>' | ';' => true,
            ' ' => place == 0 || place + 1 == value.len(),
            '#' => place == 0,
            _ => false,
        };
        if special {
            text.push('\\');
        }
        text.push(character);
    }
    text
}

#[cfg(test)]
mod tests {
    use rcgen::{
        CertificateParams, CustomExtension, DistinguishedName as Subject, DnType, KeyPair, SanType,
    };

    use super::*;

    fn certificate(change: impl FnOnce(&mut CertificateParams)) -> Vec<u8> {
        let mut parameters = CertificateParams::new(Vec::new()).unwrap();
        parameters.distinguished_name = Subject::new();
        change(&mut parameters);
        let key = KeyPair::generate().unwrap();
        parameters.self_signed(&key).unwrap().der().to_vec()
    }

    fn subject(attributes: &[(DnType, &str)]) -> Subject {
        let mut subject = Subject::new();
        for (kind, value) in attributes {
            subject.push(kind.clone(), *value);
        }
        subject
    }

    fn shown(names: &CertificateNames) -> Vec<String> {
        let shown = |candidate: Candidate<'_>| match candidate {
            Candidate::Text(text) => text.to_owned(),
            Candidate::Name(_) => "the subject".to_owned(),
        };
        names.candidates().map(shown).collect()
    }

    #[test]
    fn names_come_in_order() {
        let bytes = certificate(|parameters| {
            parameters.distinguished_name = subject(&[
                (DnType::CountryName, "DE"),
                (DnType::OrganizationName, "A, B"),
                (DnType::CommonName, "client"),
                (
                    DnType::CustomDnType(vec![0, 9, 2342, 19_200_300, 100, 1, 25]),
                    "example",
                ),
            ]);
            parameters.subject_alt_names = vec![
                SanType::URI("spiffe://here/x".try_into().unwrap()),
                SanType::DnsName("client.example".try_into().unwrap()),
                SanType::Rfc822Name("a@example".try_into().unwrap()),
                SanType::IpAddress("127.0.0.1".parse().unwrap()),
            ];
        });
        let names = CertificateNames::read(&bytes).unwrap();
        let expected = [
            "a@example",
            "client.example",
            "spiffe://here/x",
            "the subject",
            "CN=client,O=A\\, B,C=DE,DC=example",
            "CN=client,O=A\\, B,C=DE",
        ];
        assert_eq!(shown(&names), expected);
        let text = "DC=example,CN=client,O=A\\, B,C=DE";
        assert!(
            names
                .subject
                .unwrap()
                .equals(&DistinguishedName::parse(text).unwrap())
        );
    }

    #[test]
    fn an_unknown_attribute_makes_the_name_another() {
        let unknown = DnType::CustomDnType(vec![1, 2, 840, 113_549, 1, 9, 1]);
        let bytes = certificate(|parameters| {
            parameters.distinguished_name =
                subject(&[(DnType::CommonName, "client"), (unknown, "a@example")]);
        });
        let names = CertificateNames::read(&bytes).unwrap();
        assert_eq!(shown(&names), ["CN=client"]);
        assert!(names.subject.is_none());
    }

    #[test]
    fn ambiguous_domain_components_are_not_shown() {
        let component = DnType::CustomDnType(vec![0, 9, 2342, 19_200_300, 100, 1, 25]);
        let bytes = certificate(|parameters| {
            parameters.distinguished_name =
                subject(&[(DnType::CommonName, "client"), (component, "a,DC=b")]);
        });
        let names = CertificateNames::read(&bytes).unwrap();
        assert_eq!(shown(&names), ["the subject", "CN=client"]);
    }

    #[test]
    fn without_any_name_there_is_no_candidate() {
        let names = CertificateNames::read(&certificate(|_| {})).unwrap();
        assert!(shown(&names).is_empty());
    }

    #[test]
    fn the_public_key_is_cut_out_whole() {
        let key = KeyPair::generate().unwrap();
        let bytes = CertificateParams::new(Vec::new())
            .unwrap()
            .self_signed(&key)
            .unwrap();
        let expected = rcgen::PublicKeyData::subject_public_key_info(&key);
        assert_eq!(certificate_public_key(bytes.der()).unwrap(), expected);
    }

    #[test]
    fn nothing_that_is_cut_or_flipped_panics() {
        let bytes = certificate(|parameters| {
            parameters.subject_alt_names =
                vec![SanType::Rfc822Name("a@example".try_into().unwrap())];
            let odd = CustomExtension::from_oid_content(&[1, 2, 3], vec![4, 5]);
            parameters.custom_extensions = vec![odd];
        });
        for end in 0..bytes.len() {
            assert!(CertificateNames::read(&bytes[..end]).is_none(), "{end}");
        }
        for place in 0..bytes.len() {
            for bit in 0..8 {
                let mut flipped = bytes.clone();
                flipped[place] ^= 1 << bit;
                if let Some(names) = CertificateNames::read(&flipped) {
                    assert!(shown(&names).len() <= 4);
                }
            }
        }
    }
}
