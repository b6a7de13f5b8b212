//! Names in certificates and the users they belong to.
//!
//! An even first byte: the next one is the length of a user's name, then comes the name, then a
//! certificate in DER. An odd one: what follows is the attributes of a certificate and its user, which
//! are written down here, with a zero byte between them. Each begins with a letter: a digit for a
//! relative name of its own with that type, `a` to `j` for one that goes with the attribute before,
//! `@` for an e-mail address.

use std::sync::Arc;
use std::time::Instant;

use midge::auth::{
    AuthRules, Authenticator, CertificateNames, ConnectionFacts, ConnectionType, Credentials,
    Decision, Rejection, Secret, UserIdentity, UserRules, certificate_public_key,
};

/// Types of attributes: the text, and the object identifier in DER without its head.
const TYPES: [(&str, &[u8]); 10] = [
    ("C", &[0x55, 4, 6]),
    ("O", &[0x55, 4, 10]),
    ("OU", &[0x55, 4, 11]),
    ("L", &[0x55, 4, 7]),
    ("ST", &[0x55, 4, 8]),
    ("STREET", &[0x55, 4, 9]),
    ("POSTALCODE", &[0x55, 4, 17]),
    ("CN", &[0x55, 4, 3]),
    ("SERIALNUMBER", &[0x55, 4, 5]),
    ("DC", &[9, 0x92, 0x26, 0x89, 0x93, 0xf2, 0x2c, 0x64, 1, 25]),
];

const SEQUENCE: u8 = 0x30;
const SET: u8 = 0x31;
const OCTETS: u8 = 4;
const IDENTIFIER: u8 = 6;
const UTF8_TEXT: u8 = 12;
const EMAIL: u8 = 0x81;
const EXTENSIONS: u8 = 0xa3;

/// The object identifier of alternative names.
const ALTERNATIVE_NAMES: [u8; 3] = [0x55, 0x1d, 17];

/// More attributes find nothing new.
const MAX_ATTRIBUTES: usize = 30;

pub(crate) fn check(bytes: &[u8]) {
    let (instructions, bytes) = super::split_first(bytes);
    if instructions % 2 == 1 {
        return written(bytes);
    }
    let (length, bytes) = super::split_first(bytes);
    let (name, certificate) = bytes.split_at(usize::from(length).min(bytes.len()));
    found(&String::from_utf8_lossy(name), certificate);
}

/// Any bytes for a certificate.
fn found(name: &str, certificate: &[u8]) {
    let names = CertificateNames::read(certificate);
    if names.is_some() {
        assert!(certificate_public_key(certificate).is_some());
    }
    let first = log_in(&[name], certificate);
    assert_eq!(first, log_in(&[name], certificate), "twice the same");
    let Some(names) = names else {
        assert!(!matches!(first, Some(Ok(_))));
        return;
    };
    // Each of these names leads to its user.
    let texts = names.dns_names().iter().map(String::as_str);
    for text in texts.chain([names.subject_text()]) {
        if !text.is_empty()
            && let Some(outcome) = log_in(&[text], certificate)
        {
            assert_eq!(outcome, Ok(text.to_owned()));
        }
    }
}

/// Who is let in with this certificate, where there are these users; nothing where there cannot be such.
fn log_in(users: &[&str], certificate: &[u8]) -> Option<Result<String, Rejection>> {
    let user = |name: &&str| UserRules {
        identity: UserIdentity::Password {
            name: (*name).to_owned(),
            password: Secret::default(),
        },
        account: None,
        permissions: None,
        allowed_connection_types: Vec::new(),
    };
    let rules = AuthRules {
        authorization_block: true,
        users_list: true,
        users: users.iter().map(user).collect(),
        certificate_listeners: vec![ConnectionType::Standard],
        ..AuthRules::default()
    };
    let authenticator: Arc<Authenticator> = Authenticator::new(&rules, &[0; 32]).ok()?;
    let facts = ConnectionFacts {
        nonce: b"",
        certificate: Some(certificate),
        connection_type: ConnectionType::Standard,
        map_certificate: true,
        unix_user: None,
    };
    match authenticator.authenticate(&Credentials::default(), &facts, now()) {
        Decision::Accept(login) => Some(Ok(login.user.expect("a user").to_string())),
        Decision::Reject(rejection) => Some(Err(rejection)),
        Decision::NeedsBlocking(_) => panic!("there is no password"),
    }
}

#[expect(clippy::disallowed_methods, reason = "an authenticator wants to know")]
fn now() -> Instant {
    Instant::now()
}

/// Type and value.
type Attribute = (usize, String);

/// A certificate whose names are known.
fn written(bytes: &[u8]) {
    let (mut parts, mut emails): (Vec<Vec<Attribute>>, Vec<String>) = Default::default();
    for item in bytes.split(|&byte| byte == 0).take(MAX_ATTRIBUTES) {
        let (letter, value) = super::split_first(item);
        let value = String::from_utf8_lossy(value).into_owned();
        if value.is_empty() {
            continue;
        }
        match (letter, parts.last_mut()) {
            (b'@', _) => emails.push(value),
            (b'a'..=b'j', Some(part)) => part.push((usize::from(letter - b'a'), value)),
            (b'0'..=b'9', _) => parts.push(vec![(usize::from(letter - b'0'), value)]),
            _ => {}
        }
    }
    let certificate = certificate(&parts, &emails);
    let names = CertificateNames::read(&certificate).expect("a certificate");
    check_distinguished_name(&parts, &certificate);
    if let Some(email) = emails.first()
        && let Some(outcome) = log_in(&[email, names.subject_text()], &certificate)
    {
        assert_eq!(outcome, Ok(email.clone()), "e-mail addresses come first");
    }
}

/// However the name is written, it is found, and no other is.
fn check_distinguished_name(parts: &[Vec<Attribute>], certificate: &[u8]) {
    let Some((_, value)) = parts.iter().flatten().next() else {
        return;
    };
    for write in [escaped, hexadecimal] {
        let mut texts: Vec<String> = parts
            .iter()
            .map(|part| relative_name(part, write))
            .collect();
        for _ in 0..2 {
            texts.reverse();
            let name = texts.join(",");
            if let Some(outcome) = log_in(&[&name], certificate) {
                assert_eq!(outcome, Ok(name));
            }
        }
    }
    let other = format!("{value}.");
    let mut changed = parts.to_vec();
    changed[0][0].1.clone_from(&other);
    if parts.iter().flatten().any(|(_, value)| *value == other) {
        return;
    }
    let texts: Vec<String> = changed
        .iter()
        .map(|part| relative_name(part, hexadecimal))
        .collect();
    if let Some(outcome) = log_in(&[&texts.join(",")], certificate) {
        assert_eq!(outcome, Err(Rejection::UnknownCertificate));
    }
}

fn relative_name(part: &[Attribute], write: fn(&str) -> String) -> String {
    let attribute = |(kind, value): &Attribute| format!("{}={}", TYPES[*kind].0, write(value));
    part.iter().map(attribute).collect::<Vec<_>>().join("+")
}

/// Every byte as two digits.
fn hexadecimal(value: &str) -> String {
    value.bytes().map(|byte| format!("\\{byte:02x}")).collect()
}

/// A backslash where one is allowed.
fn escaped(value: &str) -> String {
    let mut text = String::new();
    for character in value.chars() {
        if " \"#+,;<=>\\".contains(character) {
            text.push('\\');
        }
        text.push(character);
    }
    text
}

fn certificate(parts: &[Vec<Attribute>], emails: &[String]) -> Vec<u8> {
    let attribute = |(kind, value): &Attribute| {
        let fields = [
            element(IDENTIFIER, TYPES[*kind].1),
            element(UTF8_TEXT, value.as_bytes()),
        ];
        element(SEQUENCE, &fields.concat())
    };
    let part = |part: &Vec<Attribute>| {
        let attributes: Vec<u8> = part.iter().flat_map(attribute).collect();
        element(SET, &attributes)
    };
    let subject: Vec<u8> = parts.iter().flat_map(part).collect();
    let names: Vec<u8> = emails
        .iter()
        .flat_map(|email| element(EMAIL, email.as_bytes()))
        .collect();
    let extension = [
        element(IDENTIFIER, &ALTERNATIVE_NAMES),
        element(OCTETS, &element(SEQUENCE, &names)),
    ];
    let list = element(SEQUENCE, &element(SEQUENCE, &extension.concat()));
    let empty = element(SEQUENCE, b"");
    let fields = [
        element(2, &[1]),
        empty.clone(),
        empty.clone(),
        empty.clone(),
        element(SEQUENCE, &subject),
        empty,
        element(EXTENSIONS, &list),
    ];
    element(SEQUENCE, &element(SEQUENCE, &fields.concat()))
}

/// An element in DER.
fn element(tag: u8, content: &[u8]) -> Vec<u8> {
    let length = u32::try_from(content.len())
        .expect("a small input")
        .to_be_bytes();
    let mut bytes = vec![tag];
    match content.len() {
        0..=127 => bytes.push(length[3]),
        128..=255 => bytes.extend([0x81, length[3]]),
        256..=65535 => bytes.extend([&[0x82], &length[2..]].concat()),
        _ => bytes.extend([&[0x83], &length[1..]].concat()),
    }
    bytes.extend_from_slice(content);
    bytes
}
