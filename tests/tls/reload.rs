//! Certificates and rules that change while the server runs.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;

use rustix::process::Signal;
use rustls::ClientConfig;

use super::client::eventually;
use super::clients::{block, upgrade};
use super::midge::Process;
use super::support::{Client, Site};
use midge::tls::pin_of;

/// The certificate that a new client is shown.
fn shown(server: &Process, site: &Site) -> Vec<u8> {
    let (_, client) = upgrade(server, site.client().config());
    client.session.peer_certificates().unwrap()[0].to_vec()
}

fn talks(client: &mut Client) {
    client.write(b"PING\r\n").unwrap();
    client.expect("PONG\r\n");
}

fn count(server: &Process, text: &str) -> usize {
    server
        .log()
        .iter()
        .filter(|line| line.contains(text))
        .count()
}

#[test]
fn changed_files_are_used_without_a_signal() {
    let site = Site::new();
    let server = Process::start(&block(&site, "", ""));
    let first = shown(&server, &site);
    let (_, mut old) = upgrade(&server, site.client().config());
    old.write(b"CONNECT {\"verbose\":false}\r\n").unwrap();
    talks(&mut old);

    std::fs::write(site.path().join("server.pem"), "nonsense").unwrap();
    let refused = "The files of tls have changed and cannot be used, the old ones stay in use";
    eventually(refused, || count(&server, refused) > 0);
    assert_eq!(shown(&server, &site), first);

    let renewed = site.authority.sign(&["localhost"]);
    renewed.save(site.path(), "server");
    let used = "The files of tls have changed and are in use";
    eventually(used, || count(&server, used) > 0);
    assert_eq!(shown(&server, &site), renewed.certificate.der().to_vec());
    talks(&mut old);
}

#[test]
fn a_reload_reads_the_files_again_and_takes_only_good_ones() {
    let site = Site::new();
    let server = Process::start(&block(&site, "", ""));
    let first = shown(&server, &site);
    std::fs::write(site.path().join("server-key.pem"), "nonsense").unwrap();
    server.signal(Signal::HUP);
    let failed = "Failed to reload server configuration: error parsing X509 certificate/key pair";
    eventually(failed, || count(&server, failed) > 0);
    assert_eq!(shown(&server, &site), first);
    let renewed = site.authority.sign(&["localhost"]);
    renewed.save(site.path(), "server");
    server.signal(Signal::HUP);
    eventually("a reload", || {
        count(&server, "Reloaded server configuration") > 0
    });
    assert_eq!(shown(&server, &site), renewed.certificate.der().to_vec());
}

#[test]
fn a_reload_changes_the_rules() {
    let site = Site::new();
    let server = Process::start("max_payload: 1MB");
    let mut plain = server.connect();
    plain.send("CONNECT {\"verbose\":false}\r\n");
    plain.ping();
    let known = site.authority.sign(&["known"]);
    let other = site.authority.sign(&["other"]);
    let mut reloads = 0;
    let mut reload = |options: &str| {
        server.configure(&block(&site, options, ""));
        server.signal(Signal::HUP);
        reloads += 1;
        eventually("a reload", || {
            count(&server, "Reloaded server configuration") == reloads
        });
    };

    reload("verify: true");
    assert_eq!(
        super::client::info(&server.connect().greeting)["tls_verify"],
        true
    );
    // Whoever is there stays.
    plain.ping();
    let mut clients = [&known, &other].map(|identity| {
        let (_, mut client) = upgrade(&server, site.client().identity(identity).config());
        client.write(b"CONNECT {\"verbose\":false}\r\n").unwrap();
        talks(&mut client);
        client
    });
    let pin = pin_of(known.certificate.der()).unwrap();
    reload(&format!("verify: true, pinned_certs: [ {pin:?} ]"));
    talks(&mut clients[0]);
    assert_eq!(clients[1].rest(), "");
    plain.ping();
}

/// The status line of a page of monitoring, if it is served in this way.
fn page(address: SocketAddr, secured: Option<Arc<ClientConfig>>) -> Option<String> {
    const REQUEST: &[u8] = b"GET /varz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    let mut answer = Vec::new();
    match secured {
        Some(config) => {
            let mut client = Client::new(address, config);
            client.handshake().ok()?;
            client.write(REQUEST).ok()?;
            answer = client.read(12).ok()?;
        }
        None => {
            let mut stream = TcpStream::connect(address).ok()?;
            stream.write_all(REQUEST).ok()?;
            stream.take(12).read_to_end(&mut answer).ok()?;
        }
    }
    String::from_utf8(answer).ok()
}

#[test]
fn tls_goes_and_comes_and_whoever_is_there_stays() {
    let site = Site::new();
    let listen = "listen: \"127.0.0.1:-1\"\n";
    let server = Process::start_where_it_says(&block(&site, "", listen));
    let (_, mut secured) = upgrade(&server, site.client().config());
    secured
        .write(b"CONNECT {\"verbose\":false}\r\nSUB x 1\r\n")
        .unwrap();
    talks(&mut secured);

    server.reloaded(listen);
    let mut plain = super::client::Client::quiet(server.address);
    let told = super::client::info(&plain.greeting);
    assert!(told["tls_required"].is_null() && told["tls_available"].is_null());
    plain.publish("x", b"plain");
    secured.expect("MSG x 1 5\r\nplain\r\n");

    server.reloaded(&block(&site, "", listen));
    let (told, mut again) = upgrade(&server, site.client().config());
    assert_eq!(told["tls_required"], true);
    again.write(b"CONNECT {\"verbose\":false}\r\n").unwrap();
    talks(&mut again);
    plain.publish("x", b"still");
    secured.expect("MSG x 1 5\r\nstill\r\n");
}

#[test]
fn monitoring_moves_to_https_and_back_and_uses_other_files() {
    let site = Site::new();
    let at = |scheme: &str, port: i32| {
        let listen = "listen: \"127.0.0.1:-1\"\n";
        block(
            &site,
            "",
            &format!("{listen}{scheme}: \"127.0.0.1:{port}\""),
        )
    };
    let server = Process::start_where_it_says(&at("http", -1));
    let address = server.serves("monitoring").unwrap();
    let port = i32::from(address.port());
    let ok = Some("HTTP/1.1 200".to_owned());
    assert_eq!(page(address, None), ok);

    server.reloaded(&at("https", port));
    let config = || Some(site.client().config());
    eventually("a page over https", || page(address, config()) == ok);
    eventually("no page without TLS", || page(address, None) != ok);
    // Another certificate counts at once.
    let same = at("https", port);
    let renewed = site.authority.sign(&["localhost"]);
    renewed.save(site.path(), "server");
    server.reloaded(&same);
    let mut client = Client::new(address, site.client().config());
    client.handshake().unwrap();
    let certificate = client.session.peer_certificates().unwrap()[0].to_vec();
    assert_eq!(certificate, renewed.certificate.der().to_vec());

    server.reloaded(&at("http", port));
    eventually("a page without TLS", || page(address, None) == ok);
}
