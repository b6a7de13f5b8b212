//! The official tool and OpenSSL against servers with TLS: each way to log in, each version.

use std::fs;
use std::process::Command;
use std::time::Duration;

use crate::peer::{PASSWORD, USER, installed};
use crate::process::capture;
use crate::server::Server;
use crate::site::{CERTIFICATE_USER, Site};

/// Time for one command.
const COMMAND_DEADLINE: Duration = Duration::from_secs(60);

/// The tool's arguments that name files of the site.
fn files(site: &Site, with_certificate: bool) -> Vec<String> {
    let mut arguments = vec![
        "--tlsca".to_owned(),
        site.file("ca.pem").display().to_string(),
    ];
    if with_certificate {
        for (flag, name) in [("--tlscert", "client.pem"), ("--tlskey", "client-key.pem")] {
            arguments.extend([flag.to_owned(), site.file(name).display().to_string()]);
        }
    }
    arguments
}

/// Whether the tool could publish with these arguments, and what it said.
fn publish(server: &Server, arguments: &[String]) -> (bool, String) {
    let Some(program) = installed("cli-tls", ".cache/go/bin/nats") else {
        return (false, String::new());
    };
    let home = tempfile::tempdir().expect("a home for the tool");
    let mut command = Command::new(program);
    command
        .env_clear()
        .env("HOME", home.path())
        .args(["--server", &server.url().replace("127.0.0.1", "localhost")])
        .args(arguments)
        .args(["pub", "greeting", "hello"]);
    let (status, text) = capture(&mut command, COMMAND_DEADLINE);
    (status.success(), text)
}

#[track_caller]
fn expect_published(server: &Server, arguments: &[String]) {
    let (published, text) = publish(server, arguments);
    assert!(published, "{arguments:?}: {text}\n{}", server.log());
}

#[track_caller]
fn expect_refused(server: &Server, arguments: &[String], reason: &str) {
    let (published, text) = publish(server, arguments);
    assert!(!published && text.contains(reason), "{arguments:?}: {text}");
}

fn words(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}

#[test]
fn the_tool_logs_in_with_a_certificate() {
    if installed("cli-tls", ".cache/go/bin/nats").is_none() {
        return;
    }
    let site = Site::new();
    let users = format!("authorization {{ users = [ {{ user: \"{CERTIFICATE_USER}\" }} ] }}");
    for first in ["", "handshake_first: true"] {
        let options = format!("verify_and_map: true, {first}");
        let server = Server::start(&[], &site.configuration(&options, &users));
        let handshake: &[&str] = if first.is_empty() {
            &[]
        } else {
            &["--tlsfirst"]
        };
        let with = |certificate| [files(&site, certificate), words(handshake)].concat();
        expect_published(&server, &with(true));
        expect_refused(&server, &with(false), "certificate required");
    }
    let server = Server::start(&[], &site.configuration("verify: true", ""));
    expect_published(&server, &files(&site, true));
    // An authority that the tool does not know.
    expect_refused(&server, &files(&Site::new(), true), "certificate");
}

#[test]
fn the_tool_logs_in_by_password_and_nkey() {
    if installed("cli-tls", ".cache/go/bin/nats").is_none() {
        return;
    }
    let site = Site::new();
    let key = nkeys::KeyPair::new_user();
    let seed = site.file("user.seed");
    fs::write(&seed, key.seed().expect("a seed")).expect("a file");
    let users = format!(
        "authorization {{ users = [ {{ user: {USER}, password: {PASSWORD} }}, {{ nkey: {} }} ] }}",
        key.public_key()
    );
    let server = Server::start(&[], &site.configuration("", &users));
    let with = |login: &[&str]| [files(&site, false), words(login)].concat();
    expect_published(&server, &with(&["--user", USER, "--password", PASSWORD]));
    expect_published(&server, &with(&["--nkey", &seed.display().to_string()]));
    let denied = "Authorization Violation";
    expect_refused(
        &server,
        &with(&["--user", USER, "--password", "wrong"]),
        denied,
    );
    expect_refused(&server, &with(&[]), denied);
}

/// Whether `openssl s_client` is content with a handshake, and what it says of it.
fn handshake(server: &Server, site: &Site, arguments: &[&str]) -> (bool, String) {
    let address = server.url().replace("nats://", "");
    let mut command = Command::new("openssl");
    command
        .args([
            "s_client",
            "-brief",
            "-verify_return_error",
            "-connect",
            &address,
        ])
        .arg("-CAfile")
        .arg(site.file("ca.pem"))
        .args(arguments);
    let (status, text) = capture(&mut command, COMMAND_DEADLINE);
    (status.success(), text)
}

#[test]
fn openssl_agrees_on_versions_and_suites() {
    let version = Command::new("openssl").arg("version").output();
    if version.is_err() {
        println!("skipped: openssl is not installed");
        return;
    }
    let site = Site::new();
    let options =
        "handshake_first: true, cipher_suites: [ TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384 ]";
    let server = Server::start(&[], &site.configuration(options, ""));
    let newest = "handshake_first: true, min_version: \"1.3\"";
    let strict = Server::start(&[], &site.configuration(newest, ""));
    for (server, arguments, agreed) in [
        (&server, &["-tls1_3"][..], Some("Protocol version: TLSv1.3")),
        (
            &server,
            &["-tls1_2"],
            Some("Ciphersuite: ECDHE-ECDSA-AES256-GCM-SHA384"),
        ),
        (
            &server,
            &["-tls1_2", "-cipher", "ECDHE-ECDSA-AES128-GCM-SHA256"],
            None,
        ),
        (&server, &["-tls1_1", "-cipher", "ALL:@SECLEVEL=0"], None),
        (
            &server,
            &["-tls1_3", "-ciphersuites", "TLS_CHACHA20_POLY1305_SHA256"],
            Some("Ciphersuite: TLS_CHACHA20_POLY1305_SHA256"),
        ),
        (&strict, &["-tls1_2"], None),
        (&strict, &["-tls1_3"], Some("Protocol version: TLSv1.3")),
    ] {
        let (content, text) = handshake(server, &site, arguments);
        assert_eq!(content, agreed.is_some(), "{arguments:?}: {text}");
        let wanted = agreed.unwrap_or("alert");
        assert!(text.contains(wanted), "{arguments:?}: {text}");
    }
}
