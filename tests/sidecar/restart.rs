//! A server that was killed leaves files behind; the next one starts with them there.

use std::path::Path;
use std::process::{Child, Command, Stdio};

use rustix::process::Signal;

use super::client::{Client, eventually};
use super::midge::program;

/// A server on a port of its own choice at first, and on the same one from then on.
struct Killed {
    child: Child,
}

impl Killed {
    fn start(directory: &Path, port: u16) -> Self {
        let file = directory.join("nats.conf");
        let path = |name: &str| directory.join(name).display().to_string();
        let configuration = format!(
            "listen: \"127.0.0.1:{port}\"\nunix_socket: {:?}\npid_file: {:?}\n\
             ports_file_dir: {:?}\nlog_file: {:?}\nhttp: \"127.0.0.1:-1\"\n",
            path("socket"),
            path("pid"),
            directory.display().to_string(),
            path("log"),
        );
        std::fs::write(&file, configuration).unwrap();
        let mut command = Command::new(program());
        command.arg("-c").arg(file).stdin(Stdio::null());
        command.stdout(Stdio::null()).stderr(Stdio::null());
        Self {
            child: command.spawn().unwrap(),
        }
    }

    fn is_running(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Killed {
    fn drop(&mut self) {
        let _ended_already = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn a_restart_after_kill_serves_again_at_once() {
    let directory = tempfile::tempdir().unwrap();
    let directory = directory.path();
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = free.local_addr().unwrap();
    drop(free);
    for round in 0..3 {
        let mut server = Killed::start(directory, address.port());
        eventually("a server that listens", || {
            assert!(server.is_running(), "round {round}");
            std::net::TcpStream::connect(address).is_ok()
        });
        // Connections that the kill breaks in the middle leave their port in the state that a
        // careless server could not listen on.
        let mut clients: Vec<Client> = (0..20)
            .map(|_| Client::subscriber(address, "a 1"))
            .collect();
        let mut publisher = Client::quiet(address);
        publisher.publish("a", &vec![b'x'; 100_000]);
        publisher.ping();
        let local = std::os::unix::net::UnixStream::connect(directory.join("socket")).unwrap();
        let pid = std::fs::read_to_string(directory.join("pid")).unwrap();
        assert_eq!(pid, server.child.id().to_string());
        server.kill();
        for client in &mut clients {
            client.read_to_whatever_end();
        }
        drop(local);
        for left_behind in ["socket", "pid", "log"] {
            assert!(directory.join(left_behind).exists(), "{left_behind}");
        }
    }
    // The last one ends in order and takes its own files with it.
    let mut server = Killed::start(directory, address.port());
    eventually("a server that listens", || {
        std::os::unix::net::UnixStream::connect(directory.join("socket")).is_ok()
    });
    let pid = rustix::process::Pid::from_raw(server.child.id().cast_signed()).unwrap();
    rustix::process::kill_process(pid, Signal::TERM).unwrap();
    eventually("its end", || !server.is_running());
    assert!(!directory.join("socket").exists());
}
