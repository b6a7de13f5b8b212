//! Certificates that change while the server runs, and sessions that must not outlive their rules.

use std::sync::Arc;

use midge::conn::transport::Sender as _;
use midge::tls::{Refresh, TlsListener, TlsOptions};
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, HandshakeKind};

use super::support::{Authority, Client, LIMITS, PATIENCE, Server, Site, blocking, serve};

async fn start(listener: &Arc<TlsListener>) -> Server {
    serve(Arc::clone(listener), PATIENCE, LIMITS).await
}

/// Connects, takes a ticket in with the first byte, and says which kind of handshake it was and whose certificate
/// was shown.
async fn connect(server: &mut Server, config: &Arc<ClientConfig>) -> (HandshakeKind, Vec<u8>) {
    let (address, config) = (server.address, Arc::clone(config));
    let client = tokio::spawn(blocking(move || {
        let mut client = Client::new(address, config);
        client.handshake().unwrap();
        client.read(1).unwrap();
        let kind = client.session.handshake_kind().unwrap();
        let shown = client.session.peer_certificates().unwrap_or_default();
        (
            kind,
            shown
                .first()
                .map(|certificate| certificate.to_vec())
                .unwrap_or_default(),
        )
    }));
    let (_read, write) = server.next().await.unwrap().split();
    write.try_write(&[std::io::IoSlice::new(b"!")]).unwrap();
    client.await.unwrap()
}

#[tokio::test]
async fn new_files_are_used_and_bad_ones_are_not() {
    let site = Site::new();
    let options = site.options();
    let listener = Arc::new(TlsListener::new(options.clone()).unwrap());
    assert!(matches!(listener.refresh(), Refresh::Unchanged));
    let mut server = start(&listener).await;
    let config = site.client().config();
    let first = connect(&mut server, &config).await.1;

    let files = &options.certificates[0];
    std::fs::write(&files.cert_file, "nonsense").unwrap();
    assert!(matches!(listener.refresh(), Refresh::Failed(_)));
    assert!(
        matches!(listener.refresh(), Refresh::Unchanged),
        "a failure is told once"
    );
    assert!(listener.reload().is_err());
    assert_eq!(connect(&mut server, &site.client().config()).await.1, first);

    let renewed = site.authority.sign(&["localhost"]);
    std::fs::write(&files.cert_file, renewed.certificate.pem()).unwrap();
    assert!(
        matches!(listener.refresh(), Refresh::Failed(_)),
        "the key is still the old one"
    );
    std::fs::write(&files.key_file, renewed.key.serialize_pem()).unwrap();
    assert!(matches!(listener.refresh(), Refresh::Renewed));
    let second = connect(&mut server, &site.client().config()).await.1;
    assert_eq!(second, renewed.certificate.der().to_vec());
    assert_ne!(second, first);
}

/// Kubernetes replaces the files of a secret by turning a link to their directory.
#[tokio::test]
async fn a_turned_link_is_noticed() {
    let site = Site::new();
    let data = site.path().join("data");
    let turn = |name: &str| {
        let target = site.path().join(name);
        std::fs::create_dir(&target).unwrap();
        site.authority.sign(&["localhost"]).save(&target, "tls");
        let link = site.path().join("link");
        std::os::unix::fs::symlink(&target, &link).unwrap();
        std::fs::rename(&link, &data).unwrap();
    };
    turn("one");
    let files = midge::tls::CertificateFiles {
        cert_file: data.join("tls.pem"),
        key_file: data.join("tls-key.pem"),
    };
    let options = TlsOptions {
        certificates: vec![files],
        ..TlsOptions::default()
    };
    let listener = TlsListener::new(options).unwrap();
    assert!(matches!(listener.refresh(), Refresh::Unchanged));
    turn("two");
    assert!(matches!(listener.refresh(), Refresh::Renewed));
    assert!(matches!(listener.refresh(), Refresh::Unchanged));
}

#[tokio::test]
async fn sessions_are_resumed() {
    let site = Site::new();
    for options in [site.options(), site.verifying()] {
        let listener = Arc::new(TlsListener::new(options).unwrap());
        let mut server = start(&listener).await;
        for version in [&TLS12, &TLS13] {
            let identity = site.authority.sign(&["client.example"]);
            let config = site.client().identity(&identity).version(version).config();
            assert_eq!(connect(&mut server, &config).await.0, HandshakeKind::Full);
            assert_eq!(
                connect(&mut server, &config).await.0,
                HandshakeKind::Resumed
            );
        }
    }
}

/// CVE-2025-68121: a session made under one set of authorities was resumed under another.
#[tokio::test]
async fn a_session_is_not_resumed_under_other_rules() {
    let site = Site::new();
    let open = Arc::new(TlsListener::new(site.options()).unwrap());
    let closed = Arc::new(TlsListener::new(site.verifying()).unwrap());
    let (mut open_server, closed_server) = (start(&open).await, start(&closed).await);
    for version in [&TLS12, &TLS13] {
        let config = site.client().version(version).config();
        assert_eq!(
            connect(&mut open_server, &config).await.0,
            HandshakeKind::Full
        );
        // The same client has a ticket of the open listener and no certificate for the closed one.
        let (address, config) = (closed_server.address, Arc::clone(&config));
        let refused = blocking(move || {
            let mut client = Client::new(address, config);
            client.handshake().and_then(|()| client.read(1)).is_err()
        });
        assert!(refused.await);
    }
}

#[tokio::test]
async fn a_session_does_not_outlive_its_authority() {
    let site = Site::new();
    let options = site.verifying();
    let listener = Arc::new(TlsListener::new(options.clone()).unwrap());
    let mut server = start(&listener).await;
    let identity = site.authority.sign(&["client.example"]);
    let configs =
        [&TLS12, &TLS13].map(|version| site.client().identity(&identity).version(version).config());
    for config in &configs {
        assert_eq!(connect(&mut server, config).await.0, HandshakeKind::Full);
    }
    let other = Authority::new("Other").certificate.pem();
    std::fs::write(options.ca_file.unwrap(), other).unwrap();
    assert!(matches!(listener.refresh(), Refresh::Renewed));
    for config in configs {
        let address = server.address;
        let refused = blocking(move || {
            let mut client = Client::new(address, config);
            client.handshake().and_then(|()| client.read(1)).is_err()
        });
        assert!(refused.await, "neither by ticket nor by certificate");
    }
}
