//! Links over TLS, between both kinds of server.

use std::path::{Path, PathBuf};

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
};

use crate::client::eventually;
use crate::mixed::{check_cluster, start};
use crate::node::{Kind, Node, Setup};

use Kind::{Midge, NatsServer};

/// An authority and a certificate of its, in files.
struct Site {
    directory: tempfile::TempDir,
}

impl Site {
    fn new(names: &[&str]) -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let mut authority = CertificateParams::new(Vec::new()).expect("parameters");
        authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        authority
            .distinguished_name
            .push(DnType::CommonName, "authority");
        let key = KeyPair::generate().expect("a key");
        let certificate = authority.self_signed(&key).expect("a certificate");
        let issuer = Issuer::new(authority, key);
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let mut server = CertificateParams::new(names).expect("parameters");
        server.extended_key_usages = vec![
            ExtendedKeyUsagePurpose::ServerAuth,
            ExtendedKeyUsagePurpose::ClientAuth,
        ];
        let key = KeyPair::generate().expect("a key");
        let signed = server.signed_by(&key, &issuer).expect("a certificate");
        let write = |name: &str, text: String| {
            std::fs::write(directory.path().join(name), text).expect("it is written");
        };
        write("ca.pem", certificate.pem());
        write("cert.pem", signed.pem());
        write("key.pem", key.serialize_pem());
        Self { directory }
    }

    fn file(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn setup(&self, more: &str) -> Setup {
        let path = |path: &Path| path.display().to_string();
        Setup {
            cluster: format!(
                "tls {{ cert_file: {:?}, key_file: {:?}, ca_file: {:?} }}\n{more}",
                path(&self.file("cert.pem")),
                path(&self.file("key.pem")),
                path(&self.file("ca.pem")),
            ),
            ..Setup::default()
        }
    }
}

#[test]
fn links_are_secured() {
    let site = Site::new(&["127.0.0.1", "localhost"]);
    for kinds in [
        [Midge, Midge, Midge],
        [Midge, NatsServer, Midge],
        [NatsServer, Midge, NatsServer],
    ] {
        for more in ["", "compression: s2_fast"] {
            if let Some(nodes) = start(&kinds, &site.setup(more)) {
                check_cluster(&nodes);
            }
        }
    }
}

#[test]
fn strangers_and_plain_servers_are_refused() {
    let (site, other) = (Site::new(&["127.0.0.1"]), Site::new(&["127.0.0.1"]));
    let wrong_name = Site::new(&["elsewhere.example"]);
    let seed = Node::start(Midge, "n0", &[], &site.setup(""));
    for (name, setup) in [("stranger", other.setup("")), ("plain", Setup::default())] {
        let node = Node::start(Midge, name, &[seed.route_port], &setup);
        eventually("it has tried", || {
            node.log().contains("[ERR]") || node.log().contains("Router connection closed")
        });
        eventually("it is refused", || {
            seed.log().contains("TLS route handshake error")
        });
        assert!(!node.log().contains("Registering remote route"));
    }
    // A server under another name than it was dialed by is not trusted either.
    let seed = Node::start(Midge, "n0", &[], &wrong_name.setup(""));
    let node = Node::start(Midge, "n1", &[seed.route_port], &wrong_name.setup(""));
    eventually("the name is refused", || node.log().contains("[ERR]"));
    assert!(!node.log().contains("Registering remote route"));
    let mut client = node.client();
    client.subscribe("a", "1");
    client.publish("a", "x");
    assert_eq!(client.next().expect("a message").body, "x");
}
