//! Certificates of a site: an authority, a server for the loopback, and one client.

use std::fs;
use std::path::PathBuf;

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, SanType};
use tempfile::TempDir;

/// The name in the client's certificate, which is a user of the server.
pub(crate) const CERTIFICATE_USER: &str = "carol@example.com";

/// A folder with the files.
#[derive(Debug)]
pub(crate) struct Site {
    folder: TempDir,
}

impl Site {
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder for certificates");
        let site = Self { folder };
        let mut authority = parameters(&[]);
        authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        authority
            .distinguished_name
            .push(DnType::CommonName, "Authority");
        let key = KeyPair::generate().expect("a key");
        let certificate = authority.self_signed(&key).expect("a certificate");
        fs::write(site.file("ca.pem"), certificate.pem()).expect("a file");
        let issuer = Issuer::new(authority, key);
        site.sign("server", &parameters(&["localhost", "127.0.0.1"]), &issuer);
        let mut client = parameters(&[]);
        let email = CERTIFICATE_USER.try_into().expect("an address");
        client.subject_alt_names = vec![SanType::Rfc822Name(email)];
        site.sign("client", &client, &issuer);
        site
    }

    /// `ca.pem`, or one of `server`, `client` with `.pem` or `-key.pem`.
    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// A configuration with a `tls` block that holds these options besides, and what stands behind it.
    pub(crate) fn configuration(&self, options: &str, rest: &str) -> String {
        let [certificate, key, authority] =
            ["server.pem", "server-key.pem", "ca.pem"].map(|name| self.file(name));
        format!(
            "tls {{ cert_file: {certificate:?}, key_file: {key:?}, ca_file: {authority:?}, {options} }}\n{rest}"
        )
    }

    fn sign(&self, name: &str, parameters: &CertificateParams, issuer: &Issuer<'_, KeyPair>) {
        let key = KeyPair::generate().expect("a key");
        let certificate = parameters.signed_by(&key, issuer).expect("a certificate");
        fs::write(self.file(&format!("{name}.pem")), certificate.pem()).expect("a file");
        fs::write(self.file(&format!("{name}-key.pem")), key.serialize_pem()).expect("a file");
    }
}

fn parameters(names: &[&str]) -> CertificateParams {
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    CertificateParams::new(names).expect("names for a certificate")
}
