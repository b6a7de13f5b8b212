//! `verify_and_map`: certificates with every kind of name, against users named in every form.

use std::fmt::Write as _;
use std::io::{BufRead as _, BufReader, Write as _};
use std::sync::Arc;

use der::asn1::{Any, ObjectIdentifier};
use der::{Decode as _, Encode as _, Reader as _, SliceReader, Tag};
use midge::auth::{
    AuthRules, Authenticator, ConnectionFacts, ConnectionType, Credentials, Decision, Secret,
    UserIdentity, UserRules,
};
use rcgen::{
    BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, SanType, SigningKey as _,
};
use rustls::crypto::ring;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, ClientConnection, RootCertStore};

use super::server::{Server, now};

/// One attribute: the object identifier, the string type and the value.
type Attribute = (&'static str, Tag, &'static str);

const COUNTRY: &str = "2.5.4.6";
const ORGANIZATION: &str = "2.5.4.10";
const UNIT: &str = "2.5.4.11";
const COMMON_NAME: &str = "2.5.4.3";
const SERIAL_NUMBER: &str = "2.5.4.5";
const LOCALITY: &str = "2.5.4.7";
const DOMAIN: &str = "0.9.2342.19200300.100.1.25";
const EMAIL: &str = "1.2.840.113549.1.9.1";

const fn text(kind: &'static str, value: &'static str) -> Attribute {
    (kind, Tag::Utf8String, value)
}

/// Subjects: relative names in the certificate's order, each of one attribute or of several.
fn subjects() -> Vec<Vec<Vec<Attribute>>> {
    let single =
        |attributes: &[Attribute]| attributes.iter().map(|one| vec![*one]).collect::<Vec<_>>();
    let (a, b) = (text(COMMON_NAME, "alice"), text(COMMON_NAME, "bob"));
    let acme = text(ORGANIZATION, "Acme");
    let (x, y) = (text(UNIT, "x"), text(UNIT, "y"));
    let (example, com) = (
        (DOMAIN, Tag::Ia5String, "example"),
        (DOMAIN, Tag::Ia5String, "com"),
    );
    vec![
        Vec::new(),
        single(&[a]),
        single(&[acme, a]),
        single(&[a, acme]),
        single(&[(COUNTRY, Tag::PrintableString, "DE"), acme, x, a]),
        single(&[acme, x, y, a]),
        single(&[acme, y, x, a]),
        single(&[acme, x, x, a]),
        vec![vec![acme], vec![x, a]],
        vec![vec![acme], vec![a, x]],
        vec![vec![x, y], vec![a]],
        single(&[com, example, acme, a]),
        single(&[a, acme, example, com]),
        single(&[acme, text(EMAIL, "alice@example"), a]),
        single(&[com, example, acme, text(EMAIL, "alice@example"), a]),
        single(&[acme, a, b]),
        single(&[acme, text(COMMON_NAME, "a, b+c\\\"<>;")]),
        single(&[acme, text(COMMON_NAME, " alice ")]),
        single(&[acme, text(COMMON_NAME, "#alice")]),
        single(&[acme, text(COMMON_NAME, "älice")]),
        single(&[acme, text(COMMON_NAME, "ALICE")]),
        single(&[acme, text(COMMON_NAME, "alice=x")]),
        single(&[text(SERIAL_NUMBER, "1"), text(LOCALITY, "l"), acme, a]),
    ]
}

/// Lists of users; a server is started for each.
const USERS: [&[&str]; 7] = [
    &["CN=alice", "CN=alice,O=Acme", "CN=alice,OU=x,O=Acme,C=DE"],
    &[
        "O=Acme,CN=alice",
        "cn=alice , ou=y,ou=x, o=Acme",
        "CN=bob,CN=alice,O=Acme",
    ],
    &[
        "CN=alice+OU=x,O=Acme",
        "CN=alice,OU=x+OU=y",
        "CN=alice,OU=x,OU=x,O=Acme",
        "O=Acme",
    ],
    &[
        "CN=alice,OU=x+OU=y,O=Acme",
        "CN=alice,O=Acme,DC=com,DC=example",
        "CN=bob,O=Acme",
    ],
    &[
        "CN=alice,O=Acme,DC=example,DC=com",
        r#"CN=a\, b\+c\\\"\<\>\;,O=Acme"#,
        r"CN=\ alice\ ,O=Acme",
    ],
    &[
        "CN=älice,O=Acme",
        r"CN=\#alice,O=Acme",
        "CN=alice=x,O=Acme",
        "CN=alice,L=l,O=Acme,SERIALNUMBER=1",
    ],
    &[
        "alice@example",
        "alice.example",
        "spiffe://example/alice",
        "SERIALNUMBER=1,CN=alice,L=l,O=Acme",
    ],
];

struct Certificate {
    der: Vec<u8>,
    key: KeyPair,
    shown: String,
}

struct Authority {
    certificate: rcgen::Certificate,
    key: KeyPair,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    fn new() -> Self {
        let mut parameters = CertificateParams::new(Vec::new()).unwrap();
        parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        parameters
            .distinguished_name
            .push(DnType::CommonName, "Authority");
        let key = KeyPair::generate().unwrap();
        let certificate = parameters.self_signed(&key).unwrap();
        let copy = KeyPair::from_pem(&key.serialize_pem()).unwrap();
        Self {
            certificate,
            key,
            issuer: Issuer::new(parameters, copy),
        }
    }

    fn sign(&self, subject: &[Vec<Attribute>], names: Vec<SanType>) -> Certificate {
        let shown = format!("{subject:?} {names:?}");
        let mut parameters = CertificateParams::new(Vec::new()).unwrap();
        parameters.subject_alt_names = names;
        let key = KeyPair::generate().unwrap();
        let template = parameters.signed_by(&key, &self.issuer).unwrap();
        let der = self.with_subject(template.der(), subject);
        Certificate { der, key, shown }
    }

    /// The certificate with another subject, signed anew.
    fn with_subject(&self, certificate: &[u8], subject: &[Vec<Attribute>]) -> Vec<u8> {
        let mut parts = elements(certificate);
        let mut signed = elements(&parts[0]);
        // Version, serial number, algorithm, issuer, validity, subject.
        signed[5] = name(subject);
        parts[0] = wrap(Tag::Sequence, &signed.concat());
        let signature = self.key.sign(&parts[0]).unwrap();
        parts[2] = wrap(Tag::BitString, &[&[0], &signature[..]].concat());
        wrap(Tag::Sequence, &parts.concat())
    }
}

fn wrap(tag: Tag, content: &[u8]) -> Vec<u8> {
    Any::new(tag, content).unwrap().to_der().unwrap()
}

/// The elements within a sequence, each with its header.
fn elements(sequence: &[u8]) -> Vec<Vec<u8>> {
    let outer = Any::from_der(sequence).unwrap();
    let mut reader = SliceReader::new(outer.value()).unwrap();
    let mut elements = Vec::new();
    while !reader.is_finished() {
        elements.push(reader.tlv_bytes().unwrap().to_vec());
    }
    elements
}

fn name(subject: &[Vec<Attribute>]) -> Vec<u8> {
    let part = |part: &Vec<Attribute>| {
        let mut attributes: Vec<Vec<u8>> = part
            .iter()
            .map(|(kind, tag, value)| {
                let kind = ObjectIdentifier::new(kind).unwrap().to_der().unwrap();
                wrap(
                    Tag::Sequence,
                    &[kind, wrap(*tag, value.as_bytes())].concat(),
                )
            })
            .collect();
        // The members of a set are sorted.
        attributes.sort();
        wrap(Tag::Set, &attributes.concat())
    };
    wrap(
        Tag::Sequence,
        &subject.iter().map(part).collect::<Vec<_>>().concat(),
    )
}

fn certificates(authority: &Authority) -> Vec<Certificate> {
    let mut all: Vec<Certificate> = subjects()
        .iter()
        .map(|subject| authority.sign(subject, Vec::new()))
        .collect();
    let alice = vec![
        vec![text(ORGANIZATION, "Acme")],
        vec![text(COMMON_NAME, "alice")],
    ];
    let mail = |name: &str| SanType::Rfc822Name(name.try_into().unwrap());
    let dns = |name: &str| SanType::DnsName(name.try_into().unwrap());
    let uri = |name: &str| SanType::URI(name.try_into().unwrap());
    for names in [
        vec![mail("alice@example")],
        vec![
            mail("other@example"),
            mail("alice@example"),
            dns("alice.example"),
        ],
        vec![dns("other.example"), dns("alice.example")],
        vec![uri("spiffe://example/other"), uri("spiffe://example/alice")],
        vec![dns("ALICE.example"), uri("spiffe://example/alice")],
        vec![mail("nobody@example")],
    ] {
        all.push(authority.sign(&alice, names.clone()));
        all.push(authority.sign(&[], names));
    }
    all
}

fn user(name: &str, password: &str) -> UserRules {
    UserRules {
        identity: UserIdentity::Password {
            name: name.into(),
            password: Secret::new(password),
        },
        account: None,
        permissions: None,
        allowed_connection_types: Vec::new(),
    }
}

/// A server that maps certificates onto these users, each with an account of its own name.
fn start(authority: &Authority, directory: &std::path::Path, users: &[&str]) -> Option<Server> {
    let server = authority.sign(&[], vec![SanType::DnsName("localhost".try_into().unwrap())]);
    let certificate = CertificateDer::from(server.der);
    let file = |name: &str| directory.join(name);
    std::fs::write(file("authority.pem"), authority.certificate.pem()).unwrap();
    std::fs::write(file("key.pem"), server.key.serialize_pem()).unwrap();
    let body = data_encoding::BASE64.encode(&certificate);
    let pem = format!("-----BEGIN CERTIFICATE-----\n{body}\n-----END CERTIFICATE-----\n");
    std::fs::write(file("certificate.pem"), pem).unwrap();
    let mut text = format!(
        "tls {{ cert_file: {:?}, key_file: {:?}, ca_file: {:?}, verify_and_map: true, timeout: 10 }}\n",
        file("certificate.pem"),
        file("key.pem"),
        file("authority.pem")
    );
    let mut accounts = serde_json::Map::new();
    for (number, user) in users.iter().enumerate() {
        let users = serde_json::json!([{ "user": user }]);
        accounts.insert(format!("A{number}"), serde_json::json!({ "users": users }));
    }
    writeln!(text, "accounts: {}", serde_json::Value::from(accounts)).unwrap();
    Server::start(&text)
}

/// The account that a certificate is let into, or `None`.
fn theirs(server: &Server, authority: &Authority, certificate: &Certificate) -> Option<String> {
    let mut roots = RootCertStore::empty();
    roots.add(authority.certificate.der().clone()).unwrap();
    let key = PrivateKeyDer::Pkcs8(certificate.key.serialize_der().into());
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_client_auth_cert(vec![certificate.der.clone().into()], key)
        .unwrap();
    let name = "localhost".try_into().unwrap();
    let session = ClientConnection::new(Arc::new(config), name).unwrap();
    let stream = rustls::StreamOwned::new(session, server.connect().into_stream());
    let mut reader = BufReader::new(stream);
    let connect = b"CONNECT {\"verbose\":false,\"headers\":true,\"protocol\":1}\r\nSUB reply 1\r\n\
                    PUB $SYS.REQ.USER.INFO reply 0\r\n\r\n";
    reader.get_mut().write_all(connect).unwrap();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).unwrap();
        if line.starts_with("-ERR 'Authorization Violation'") {
            return None;
        }
        if let Some(at) = line.find("\"account\":\"") {
            let rest = &line[at + "\"account\":\"".len()..];
            return Some(rest.split('"').next().unwrap().to_owned());
        }
        assert!(!line.is_empty() && !line.starts_with("-ERR"), "{line}");
    }
}

fn ours(authenticator: &Arc<Authenticator>, certificate: &Certificate) -> Option<String> {
    let facts = ConnectionFacts {
        nonce: b"",
        certificate: Some(&certificate.der),
        connection_type: ConnectionType::Standard,
        map_certificate: true,
        unix_user: None,
    };
    match authenticator.authenticate(&Credentials::default(), &facts, now()) {
        Decision::Accept(login) => Some(login.account.to_string()),
        Decision::Reject(_) => None,
        Decision::NeedsBlocking(_) => panic!("there are no hashes"),
    }
}

#[test]
fn decisions_equal_those_of_nats_server() {
    let authority = Authority::new();
    let certificates = certificates(&authority);
    let directory = tempfile::tempdir().unwrap();
    let (mut differences, mut accepted) = (String::new(), 0);
    for users in USERS {
        let Some(server) = start(&authority, directory.path(), users) else {
            return;
        };
        let numbered = users.iter().enumerate();
        let rules = AuthRules {
            users: numbered
                .map(|(number, name)| UserRules {
                    account: Some(format!("A{number}")),
                    ..user(name, "")
                })
                .collect(),
            certificate_listeners: vec![ConnectionType::Standard],
            ..AuthRules::default()
        };
        let authenticator = Authenticator::new(&rules, &[1; 32]).unwrap();
        for certificate in &certificates {
            let theirs = theirs(&server, &authority, certificate);
            let ours = ours(&authenticator, certificate);
            accepted += u32::from(theirs.is_some());
            if theirs != ours {
                let shown = &certificate.shown;
                writeln!(
                    differences,
                    "{theirs:?} here {ours:?}: {shown} for {users:?}"
                )
                .unwrap();
            }
        }
    }
    assert_eq!(differences, "");
    assert!(accepted > 30, "{accepted}");
}
