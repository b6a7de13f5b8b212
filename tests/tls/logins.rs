//! Who a client is over TLS: with its certificate, and with what CONNECT says besides.

use rcgen::{CertificateParams, DistinguishedName, DnType, SanType};
use rustls::version::{TLS12, TLS13};

use super::client::eventually;
use super::clients::{block, upgrade};
use super::midge::Process;
use super::support::{Authority, Client, Identity, Site};
use midge::tls::pin_of;

/// A certificate whose owner has these names.
fn identity(
    authority: &Authority,
    alternative: Vec<SanType>,
    subject: &[(DnType, &str)],
) -> Identity {
    let mut parameters = CertificateParams::new(Vec::new()).unwrap();
    parameters.subject_alt_names = alternative;
    parameters.distinguished_name = DistinguishedName::new();
    for (kind, value) in subject {
        parameters.distinguished_name.push(kind.clone(), *value);
    }
    authority.sign_for(&parameters)
}

const USERS: &str = r#"
authorization { users = [
  { user: "joe@example.com", permissions: { publish: "joe" } }
  { user: "client.example", permissions: { publish: "client" } }
  { user: "CN=Sue,O=Example", permissions: { publish: "sue" } }
  { user: plain, password: secret }
] }
debug: true"#;

/// What the server answers to a publication of each of the users.
fn may_publish(client: &mut Client) -> Vec<&'static str> {
    let connect = b"CONNECT {\"verbose\":true,\"pedantic\":false}\r\n";
    client.write(connect).unwrap();
    assert_eq!(client.line(), "+OK");
    let mut allowed = Vec::new();
    for name in ["joe", "client", "sue", "other"] {
        client
            .write(format!("PUB {name} 0\r\n\r\n").as_bytes())
            .unwrap();
        if client.line() == "+OK" {
            allowed.push(name);
        }
    }
    allowed
}

#[test]
fn the_certificate_names_the_user() {
    let site = Site::new();
    let server = Process::start(&block(&site, "verify_and_map: true", USERS));
    let email = SanType::Rfc822Name("joe@example.com".try_into().unwrap());
    let dns = SanType::DnsName("client.example".try_into().unwrap());
    let sue = [
        (DnType::OrganizationName, "Example"),
        (DnType::CommonName, "Sue"),
    ];
    let sue_reordered = [
        (DnType::CommonName, "Sue"),
        (DnType::OrganizationName, "Example"),
    ];
    for (alternative, subject, user) in [
        (vec![email.clone()], &[][..], "joe"),
        (vec![dns.clone()], &[], "client"),
        (vec![dns, email], &sue, "joe"),
        (vec![], &sue, "sue"),
        (vec![], &sue_reordered, "sue"),
    ] {
        let identity = identity(&site.authority, alternative, subject);
        for version in [&TLS12, &TLS13] {
            let setup = site.client().identity(&identity).version(version);
            let (info, mut client) = upgrade(&server, setup.config());
            assert_eq!(info["tls_verify"], true);
            assert_eq!(may_publish(&mut client), [user]);
        }
    }
}

#[test]
fn a_certificate_of_nobody_lets_nobody_in() {
    let site = Site::new();
    let server = Process::start(&block(&site, "verify_and_map: true", USERS));
    let stranger = identity(&site.authority, vec![], &[(DnType::CommonName, "Stranger")]);
    for connect in [
        "CONNECT {\"verbose\":false}\r\n",
        "CONNECT {\"verbose\":false,\"user\":\"plain\",\"pass\":\"secret\"}\r\n",
        "CONNECT {\"verbose\":false,\"user\":\"joe@example.com\"}\r\n",
    ] {
        let (_, mut client) = upgrade(&server, site.client().identity(&stranger).config());
        client.write(connect.as_bytes()).unwrap();
        assert_eq!(client.rest(), "-ERR 'Authorization Violation'\r\n");
    }
}

/// Users without a password are those of certificates; nobody becomes one by name.
#[test]
fn without_tls_a_certificates_user_stays_out() {
    let site = Site::new();
    let rest = format!("allow_non_tls: true\n{USERS}");
    let server = Process::start(&block(&site, "verify_and_map: true", &rest));
    for user in ["joe@example.com", "client.example", "CN=Sue,O=Example"] {
        let mut client = server.connect();
        client.send(format!(
            "CONNECT {{\"verbose\":false,\"user\":{user:?}}}\r\n"
        ));
        client.expect("-ERR 'Authorization Violation'\r\n");
        client.expect_end();
    }
}

#[test]
fn only_pinned_keys_get_in() {
    let site = Site::new();
    let [known, unknown] = ["known", "unknown"].map(|name| site.authority.sign(&[name]));
    let pin = pin_of(known.certificate.der()).unwrap();
    let options = format!("verify: true, pinned_certs: [ {pin:?} ]");
    let server = Process::start(&block(&site, &options, "debug: true"));
    let (_, mut client) = upgrade(&server, site.client().identity(&known).config());
    client
        .write(b"CONNECT {\"verbose\":false}\r\nPING\r\n")
        .unwrap();
    client.expect("PONG\r\n");
    let (_, mut client) = upgrade(&server, site.client().identity(&unknown).config());
    assert_eq!(client.rest(), "");
    let other = pin_of(unknown.certificate.der()).unwrap();
    for text in ["TLS handshake error: certificate not pinned", &other] {
        eventually(text, || server.log().iter().any(|line| line.contains(text)));
    }
}

#[test]
fn other_logins_work_as_without_tls() {
    let site = Site::new();
    for (rest, good, bad) in [
        (
            "authorization { user: a, password: b }",
            r#""user":"a","pass":"b""#,
            r#""user":"a","pass":"c""#,
        ),
        (
            "authorization { token: abc }",
            r#""auth_token":"abc""#,
            r#""auth_token":"abd""#,
        ),
    ] {
        let server = Process::start(&block(&site, "", rest));
        for (fields, answer) in [
            (good, "PONG\r\n"),
            (bad, "-ERR 'Authorization Violation'\r\n"),
        ] {
            let (_, mut client) = upgrade(&server, site.client().config());
            let bytes = format!("CONNECT {{\"verbose\":false,{fields}}}\r\nPING\r\n");
            client.write(bytes.as_bytes()).unwrap();
            client.expect(answer);
        }
    }
}

#[test]
fn a_nonce_is_signed_over_tls() {
    let site = Site::new();
    let key = nkeys::KeyPair::new_user();
    let rest = format!(
        "authorization {{ users = [ {{ nkey: {} }} ] }}",
        key.public_key()
    );
    let server = Process::start(&block(&site, "", &rest));
    let (info, mut client) = upgrade(&server, site.client().config());
    let nonce = info["nonce"].as_str().unwrap();
    let signature = data_encoding::BASE64URL_NOPAD.encode(&key.sign(nonce.as_bytes()).unwrap());
    let (nkey, sig) = (key.public_key(), signature);
    let connect =
        format!("CONNECT {{\"verbose\":false,\"nkey\":{nkey:?},\"sig\":{sig:?}}}\r\nPING\r\n");
    client.write(connect.as_bytes()).unwrap();
    client.expect("PONG\r\n");
}
