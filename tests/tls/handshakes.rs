//! Versions, suites and certificates on both sides.

use midge::auth::CertificateNames;
use midge::conn::transport::Sender as _;
use midge::tls::{
    HandshakeError, PinnedCertificates, TlsError, TlsListener, TlsOptions, TlsVersion,
};
use rustls::CipherSuite;
use rustls::version::{TLS12, TLS13};

use super::support::{Authority, Client, ClientSetup, Server, Site, blocking, serve_options};

/// Connects, and returns whether this side is content and what the server says.
async fn connect(server: &mut Server, setup: ClientSetup) -> (bool, Result<Facts, HandshakeError>) {
    let (address, config) = (server.address, setup.config());
    let client = blocking(move || {
        let mut client = Client::new(address, config);
        // In TLS 1.3 a client learns that its certificate was refused only when it reads.
        client.handshake().and_then(|()| client.read(1)).map(|_| ())
    });
    let client = tokio::spawn(client);
    let outcome = server.next().await;
    let outcome = match outcome {
        Ok(established) => {
            let facts = established.facts();
            let (_read, write) = established.split();
            write.try_write(&[std::io::IoSlice::new(b"!")]).unwrap();
            let content = client.await.unwrap();
            return (content.is_ok(), Ok(facts));
        }
        Err(error) => Err(error),
    };
    (client.await.unwrap().is_ok(), outcome)
}

type Facts = midge::broker::security::TlsFacts;

#[tokio::test]
async fn both_versions_are_spoken() {
    let site = Site::new();
    let mut server = serve_options(site.options()).await;
    let (content, facts) = connect(&mut server, site.client().version(&TLS13)).await;
    assert!(content);
    assert_eq!(facts.unwrap().version, "1.3");
    let setup = site
        .client()
        .version(&TLS12)
        .suite(CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256);
    let (content, facts) = connect(&mut server, setup).await;
    assert!(content);
    let facts = facts.unwrap();
    let expected = ("1.2", "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256");
    assert_eq!((facts.version, facts.cipher_suite), expected);
    assert_eq!(facts.peer_certificate, None);
}

#[tokio::test]
async fn a_minimum_version_and_a_list_of_suites_hold() {
    let site = Site::new();
    let options = TlsOptions {
        min_version: TlsVersion::Tls13,
        ..site.options()
    };
    let mut server = serve_options(options).await;
    let (content, outcome) = connect(&mut server, site.client().version(&TLS12)).await;
    assert!(
        !content && matches!(outcome, Err(HandshakeError::Refused(_))),
        "{outcome:?}"
    );
    assert!(connect(&mut server, site.client()).await.0);

    let suite = "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384";
    let options = TlsOptions {
        cipher_suites: vec![suite.into()],
        ..site.options()
    };
    let mut server = serve_options(options).await;
    let (content, facts) = connect(&mut server, site.client().version(&TLS12)).await;
    assert!(content);
    assert_eq!(facts.unwrap().cipher_suite, suite);
    let other = CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256;
    let (content, _) = connect(&mut server, site.client().version(&TLS12).suite(other)).await;
    assert!(!content);
}

#[tokio::test]
async fn verified_clients_are_known_by_their_certificate() {
    let site = Site::new();
    let mut server = serve_options(site.verifying()).await;
    let identity = site.authority.sign(&["client.example"]);
    for version in [&TLS12, &TLS13] {
        let setup = site.client().identity(&identity).version(version);
        let (content, facts) = connect(&mut server, setup).await;
        assert!(content);
        let certificate = facts.unwrap().peer_certificate.unwrap();
        assert_eq!(&*certificate, identity.certificate.der().as_ref());
        let names = CertificateNames::read(&certificate).unwrap();
        assert_eq!(names.dns_names(), ["client.example"]);
        let pinned = PinnedCertificates::new(&["ab".repeat(32)]).unwrap();
        assert!(!pinned.admit(Some(&certificate)));
    }
}

#[tokio::test]
async fn strangers_are_refused_and_told() {
    let site = Site::new();
    let mut server = serve_options(site.verifying()).await;
    let stranger = Authority::new("Authority").sign(&["client.example"]);
    for version in [&TLS12, &TLS13] {
        for setup in [site.client(), site.client().identity(&stranger)] {
            let (content, outcome) = connect(&mut server, setup.version(version)).await;
            assert!(!content);
            let text = outcome.unwrap_err().to_string();
            assert!(text.starts_with("TLS handshake error: "), "{text}");
            assert!(!text.ends_with("EOF"), "the gate knows why: {text}");
        }
    }
}

#[tokio::test]
async fn the_client_is_told_why() {
    let site = Site::new();
    let mut server = serve_options(site.verifying()).await;
    let (address, config) = (server.address, site.client().version(&TLS12).config());
    let error = blocking(move || Client::new(address, config).handshake().unwrap_err()).await;
    assert!(
        error.to_string().contains("HandshakeFailure")
            || error.to_string().contains("CertificateRequired"),
        "{error}"
    );
    assert!(server.next().await.is_err());
}

#[tokio::test]
async fn several_certificates_are_chosen_by_name() {
    let site = Site::new();
    let pairs = [&["localhost"][..], &["a.example"], &["*.b.example"]];
    let certificates = (pairs.iter().enumerate())
        .map(|(number, names)| {
            site.authority
                .sign(names)
                .save(site.path(), &number.to_string())
        })
        .collect();
    let server = serve_options(TlsOptions {
        certificates,
        ..TlsOptions::default()
    })
    .await;
    let (address, config) = (server.address, site.client().config());
    blocking(move || {
        for (name, content) in [
            ("localhost", true),
            ("a.example", true),
            ("A.example", true),
            ("x.b.example", true),
            ("x.y.b.example", false),
            ("b.example", false),
            ("c.example", false),
        ] {
            let mut client = Client::named(address, config.clone(), name);
            assert_eq!(client.handshake().is_ok(), content, "{name}");
        }
    })
    .await;
}

#[test]
fn unusable_files_are_named() {
    let site = Site::new();
    let refused = |options: TlsOptions| TlsListener::new(options).unwrap_err().to_string();
    let good = site.options();
    let files = good.certificates[0].clone();
    let path = |name: &str| site.path().join(name);
    let with = |change: &dyn Fn(&mut TlsOptions)| {
        let mut options = good.clone();
        change(&mut options);
        refused(options)
    };
    let prefix = "error parsing X509 certificate/key pair";
    let absent = path("absent.pem");
    let text = with(&|options| options.certificates[0].cert_file.clone_from(&absent));
    assert_eq!(
        text,
        format!(
            "{prefix}: open {}: no such file or directory",
            absent.display()
        )
    );
    let text = with(&|options| {
        options.certificates[0]
            .key_file
            .clone_from(&files.cert_file)
    });
    assert!(
        text.contains("no private key in PEM form found in"),
        "{text}"
    );
    let text = with(&|options| {
        options.certificates[0]
            .cert_file
            .clone_from(&files.key_file)
    });
    assert!(
        text.contains("no certificate in PEM form found in"),
        "{text}"
    );
    let other = site
        .authority
        .sign(&["localhost"])
        .save(site.path(), "other");
    let text = with(&|options| options.certificates[0].key_file.clone_from(&other.key_file));
    assert!(text.starts_with(prefix), "{text}");
    let text = with(&|options| {
        options.certificates.push(other.clone());
        options.certificates[1].key_file.clone_from(&files.key_file);
    });
    assert!(text.starts_with(&format!("{prefix} 2/2: ")), "{text}");
    assert_eq!(
        refused(TlsOptions::default()),
        TlsError::NoCertificate.to_string()
    );
    let text = with(&|options| options.verify = true);
    assert!(text.starts_with("'verify' needs a 'ca_file'"), "{text}");
    let text = with(&|options| {
        (options.verify, options.ca_file) = (true, Some(files.key_file.clone()));
    });
    assert!(
        text.starts_with("failed to parse root ca certificate: no certificate"),
        "{text}"
    );
}

/// A broken key file must not be quoted in an error.
#[test]
fn secrets_stay_out_of_errors() {
    let site = Site::new();
    let options = site.options();
    let file = &options.certificates[0].key_file;
    let key = std::fs::read_to_string(file).unwrap();
    for broken in [
        key.replace("-----END", "-----"),
        key.replace('M', "%"),
        key.replace("PRIVATE KEY", "SECRET"),
    ] {
        std::fs::write(file, &broken).unwrap();
        let error = TlsListener::new(options.clone()).unwrap_err();
        let shown = format!("{error} {error:?}");
        for line in key
            .lines()
            .filter(|line| line.len() > 10 && !line.starts_with('-'))
        {
            assert!(!shown.contains(&line[..10]), "{shown}");
        }
    }
}
