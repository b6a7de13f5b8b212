//! Certificates and rules that change while the server runs.

use rustix::process::Signal;

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
