//! A service manager that waits to hear from the server.

use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::Command;

use rustix::process::Signal;

use super::client::{Client, PATIENCE};
use super::midge::{Process, program};

/// A socket as systemd has one for its services.
fn manager(directory: &Path) -> UnixDatagram {
    let socket = UnixDatagram::bind(directory.join("notify")).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    socket
}

fn told(socket: &UnixDatagram) -> String {
    let mut buffer = [0; 1024];
    let length = socket.recv(&mut buffer).expect("word from the server");
    String::from_utf8(buffer[..length].to_vec()).unwrap()
}

fn start(directory: &Path, configuration: &str) -> Process {
    let mut command = Command::new(program());
    command.env("NOTIFY_SOCKET", directory.join("notify"));
    Process::start_through(command, configuration)
}

/// The monotonic clock in microseconds.
fn monotonic() -> i64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    now.tv_sec * 1_000_000 + now.tv_nsec / 1_000
}

#[test]
fn it_hears_of_the_start_of_each_reload_and_of_the_end() {
    let directory = tempfile::tempdir().unwrap();
    let socket = manager(directory.path());
    let mut server = start(directory.path(), "max_payload: 1000");
    assert_eq!(told(&socket), "READY=1");
    // Whoever is told that it is ready can connect.
    drop(Client::quiet(server.address));
    for configuration in ["max_payload: 2000", "max_payload: nonsense"] {
        server.configure(configuration);
        let before = monotonic();
        server.signal(Signal::HUP);
        let text = told(&socket);
        let time = text.strip_prefix("RELOADING=1\nMONOTONIC_USEC=");
        let time: i64 = time.expect(&text).parse().unwrap();
        assert!((before..=monotonic()).contains(&time), "{text}");
        assert_eq!(told(&socket), "READY=1", "{configuration}");
    }
    server.signal(Signal::TERM);
    assert_eq!(told(&socket), "STOPPING=1");
    assert_eq!(server.exit().code(), Some(0));
}

#[test]
fn a_lame_duck_is_about_to_stop() {
    let directory = tempfile::tempdir().unwrap();
    let socket = manager(directory.path());
    let mut server = start(directory.path(), "lame_duck_on_term: true");
    assert_eq!(told(&socket), "READY=1");
    // Without clients there is nothing to wait for.
    server.signal(Signal::TERM);
    assert_eq!(told(&socket), "STOPPING=1");
    assert_eq!(server.exit().code(), Some(0));
}

#[test]
fn without_anybody_there_the_server_serves() {
    let directory = tempfile::tempdir().unwrap();
    let server = start(directory.path(), "");
    Client::quiet(server.address).ping();
}
