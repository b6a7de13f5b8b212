//! Monitoring over HTTPS, and what monitoring shows of connections that are secured.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::sync::Arc;

use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

use crate::servers::{Server, eventually, midge, reference};
use crate::shape::{Shape, Tolerance, differences};

/// A certificate for `localhost`, its files, and a client's configuration that trusts it and presents it.
struct Keys {
    directory: tempfile::TempDir,
    client: Arc<ClientConfig>,
}

impl Keys {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
        let write = |name: &str, text: String| {
            std::fs::write(directory.path().join(name), text).unwrap();
        };
        write("cert.pem", made.cert.pem());
        write("key.pem", made.signing_key.serialize_pem());
        let mut roots = RootCertStore::empty();
        roots.add(made.cert.der().clone()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let key = made.signing_key.serialize_der().try_into().unwrap();
        let client = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_client_auth_cert(vec![made.cert.der().clone()], key)
            .unwrap();
        Self {
            directory,
            client: Arc::new(client),
        }
    }

    fn block(&self, more: &str) -> String {
        let path = |name: &str| self.directory.path().join(name).display().to_string();
        let (certificate, key) = (path("cert.pem"), path("key.pem"));
        format!(
            "tls {{ cert_file: {certificate:?}, key_file: {key:?}, ca_file: {certificate:?}, timeout: 5{more} }}\n"
        )
    }

    fn secure(&self, stream: TcpStream) -> StreamOwned<ClientConnection, TcpStream> {
        let name = ServerName::try_from("localhost").unwrap();
        let session = ClientConnection::new(Arc::clone(&self.client), name).unwrap();
        StreamOwned::new(session, stream)
    }

    fn get(&self, address: SocketAddr, path: &str) -> String {
        let mut stream = self.secure(TcpStream::connect(address).unwrap());
        let request =
            format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = Vec::new();
        // Some servers close without a last word.
        let _ = stream.read_to_end(&mut answer);
        String::from_utf8(answer).unwrap()
    }
}

#[test]
fn pages_are_served_over_https() {
    let keys = Keys::new();
    let configuration = keys.block("") + "https_port: -1\n";
    let server = Server::start_with(&midge(), &configuration, &[]);
    let line = "Starting https monitor on 127.0.0.1:";
    eventually(line, || server.log().contains(line));
    let page = keys.get(server.monitoring, "/varz");
    assert!(page.starts_with("HTTP/1.1 200 OK\r\n"), "{page}");
    assert!(page.contains("\"https_port\": -1") && page.contains("\"tls_required\": true"));
    // A long page, in more than one record.
    let page = keys.get(server.monitoring, "/subsz?subs=1");
    assert!(page.ends_with('}') && page.len() > 8000, "{}", page.len());
    // Who speaks no TLS gets no page, and keeps nobody from it.
    let mut plain = TcpStream::connect(server.monitoring).unwrap();
    plain.write_all(b"GET /varz HTTP/1.1\r\n\r\n").unwrap();
    let mut answer = Vec::new();
    let _ = plain.read_to_end(&mut answer);
    assert!(!String::from_utf8_lossy(&answer).contains("server_id"));
    assert!(keys.get(server.monitoring, "/healthz").contains("\"ok\""));
}

/// `/connz` of a server with one client that has a certificate.
fn secured_connection(keys: &Keys, program: &Path) -> Shape {
    let configuration = keys.block(", verify: true");
    let server = Server::start(program, &configuration);
    let mut stream = TcpStream::connect(server.clients).unwrap();
    let mut byte = [0];
    while byte != *b"\n" {
        stream.read_exact(&mut byte).unwrap();
    }
    let mut stream = keys.secure(stream);
    stream
        .write_all(b"CONNECT {\"verbose\":false,\"lang\":\"test\"}\r\nPING\r\n")
        .unwrap();
    let mut pong = [0; 4];
    stream.read_exact(&mut pong).unwrap();
    assert_eq!(&pong, b"PONG");
    let page = crate::http::get(server.monitoring, "/connz?auth=1").body;
    serde_json::from_str(&page).unwrap()
}

#[test]
fn secured_connections_are_shown_as_by_nats_server() {
    let Some(program) = reference() else { return };
    let keys = Keys::new();
    let expected = secured_connection(&keys, &program);
    let found = secured_connection(&keys, &midge());
    let tolerance = Tolerance {
        missing: &[],
        values: &[
            "server_id",
            "pending_bytes",
            "now",
            "port",
            "start",
            "last_activity",
            "rtt",
            "uptime",
            "idle",
            "cid",
            // Each library prefers another one.
            "tls_cipher_suite",
        ],
    };
    let report = differences(&expected, &found, &tolerance);
    assert!(report.is_empty(), "{report:#?}");
}
