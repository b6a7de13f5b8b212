//! Clients over a Unix socket, and who the system says they are.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::os::unix::fs::{FileTypeExt as _, PermissionsExt as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use rustix::process::{Signal, getuid};

use super::client::{Client, PATIENCE, QUIET, eventually, info};
use super::midge::Process;

/// A place for a socket, and the directory around it.
fn place() -> (tempfile::TempDir, PathBuf) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("midge.sock");
    (directory, path)
}

/// One connection, on which INFO has been read.
struct Local {
    reader: BufReader<UnixStream>,
    greeting: serde_json::Value,
}

impl Local {
    fn connect(path: &Path) -> Self {
        let stream = UnixStream::connect(path).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut reader = BufReader::new(stream);
        let mut line = String::new();
        reader.read_line(&mut line).unwrap();
        let greeting = info(&line);
        Self { reader, greeting }
    }

    fn send(&mut self, text: &str) {
        self.reader.get_mut().write_all(text.as_bytes()).unwrap();
    }

    fn expect(&mut self, expected: &str) {
        let mut got = vec![0; expected.len()];
        self.reader.read_exact(&mut got).unwrap();
        assert_eq!(String::from_utf8_lossy(&got), expected);
    }
}

#[test]
fn clients_of_both_listeners_talk_to_each_other() {
    let (_directory, path) = place();
    let server = Process::start(&format!("unix_socket: {path:?}"));
    let mut local = Local::connect(&path);
    assert_eq!(local.greeting["client_ip"], serde_json::Value::Null);
    local.send(&format!("{QUIET}\r\nSUB a 1\r\nPING\r\n"));
    local.expect("PONG\r\n");
    let mut remote = Client::subscriber(server.address, "b 1");
    let payload = "x".repeat(200_000);
    remote.publish("a", payload.as_bytes());
    local.expect(&format!("MSG a 1 200000\r\n{payload}\r\n"));
    local.send(&format!("PUB b 200000\r\n{payload}\r\n"));
    remote.expect(format!("MSG b 1 200000\r\n{payload}\r\n"));
    let mode = std::fs::metadata(&path).unwrap().permissions().mode();
    assert_eq!(
        mode & 0o777,
        0o600,
        "nobody else unless the configuration says so"
    );
}

#[test]
fn the_file_has_its_permissions_and_goes_with_the_server() {
    let (_directory, path) = place();
    for signal in [Signal::TERM, Signal::USR2] {
        let owner = getuid().as_raw();
        let mut server = Process::start(&format!(
            "unix_socket {{ path: {path:?}, mode: \"0660\", owner: {owner} }}"
        ));
        let file = std::fs::metadata(&path).unwrap();
        assert!(file.file_type().is_socket());
        assert_eq!(file.permissions().mode() & 0o777, 0o660);
        let entries = std::fs::read_dir(path.parent().unwrap()).unwrap().count();
        assert_eq!(entries, 1, "nothing else is left behind");
        server.signal(signal);
        server.exit();
        assert!(!path.exists());
    }
}

#[test]
fn only_what_a_dead_server_left_is_replaced() {
    let (_directory, path) = place();
    let configuration = format!("unix_socket: {path:?}");
    drop(UnixListener::bind(&path).unwrap());
    let server = Process::start(&configuration);
    Local::connect(&path).send("PING\r\n");
    let other = Process::refused(&configuration);
    assert!(other.contains("somebody listens on it already"), "{other}");
    Local::connect(&path).send("PING\r\n");
    drop(server);
    std::fs::remove_file(&path).unwrap();
    std::fs::write(&path, "precious").unwrap();
    let refused = Process::refused(&configuration);
    assert!(
        refused.contains("a file that is no socket is in the way"),
        "{refused}"
    );
    assert_eq!(std::fs::read(&path).unwrap(), b"precious");
}

#[test]
fn the_system_says_who_a_user_is() {
    let (_directory, path) = place();
    let uid = getuid().as_raw();
    let server = Process::start(&format!(
        "unix_socket: {path:?}
         authorization {{ users = [
           {{ user: local, unix_users: [ 4711, {uid} ], permissions: {{ publish: local }} }}
           {{ user: other, password: p, permissions: {{ publish: other }} }}
         ] }}"
    ));
    let mut local = Local::connect(&path);
    assert_eq!(local.greeting["auth_required"], serde_json::Value::Null);
    local.send("CONNECT {\"pedantic\":false}\r\nPUB local 0\r\n\r\nPUB other 0\r\n\r\n");
    local.expect("+OK\r\n+OK\r\n-ERR 'Permissions Violation for Publish to \"other\"'\r\n");
    // Whoever brings credentials is who they say.
    let mut other = Local::connect(&path);
    other.send("CONNECT {\"pedantic\":false,\"user\":\"other\",\"pass\":\"p\"}\r\n");
    other.send("PUB other 0\r\n\r\n");
    other.expect("+OK\r\n+OK\r\n");
    let denied = "-ERR 'Authorization Violation'\r\n";
    for connect in [
        "{\"user\":\"other\",\"pass\":\"x\"}",
        "{\"user\":\"local\"}",
    ] {
        let mut local = Local::connect(&path);
        local.send(&format!("CONNECT {connect}\r\n"));
        local.expect(denied);
    }
    // Over TCP nobody becomes a user without a password.
    for connect in [
        "{}",
        "{\"user\":\"local\"}",
        "{\"user\":\"local\",\"pass\":\"\"}",
    ] {
        let mut remote = server.connect();
        assert_eq!(info(&remote.greeting)["auth_required"], true);
        remote.send(format!("CONNECT {connect}\r\n"));
        remote.expect(denied);
        remote.expect_end();
    }
}

#[test]
fn another_user_of_the_machine_stays_out() {
    let (_directory, path) = place();
    let other = getuid().as_raw() + 1;
    let _server = Process::start(&format!(
        "unix_socket: {path:?}
         authorization {{ users = [ {{ user: local, unix_users: {other} }} ] }}"
    ));
    let mut local = Local::connect(&path);
    assert_eq!(local.greeting["auth_required"], true);
    local.send("CONNECT {}\r\n");
    local.expect("-ERR 'Authorization Violation'\r\n");
}

/// A process that does not outlive the test.
struct Killed(std::process::Child);

impl Drop for Killed {
    fn drop(&mut self) {
        let _ended_already = self.0.kill();
        let _ = self.0.wait();
    }
}

fn ports_file(directory: &Path) -> Option<PathBuf> {
    let mut paths = std::fs::read_dir(directory)
        .unwrap()
        .map(|entry| entry.unwrap().path());
    paths.find(|path| {
        path.extension()
            .is_some_and(|extension| extension == "ports")
    })
}

/// `listen: unix:/path` alone opens no port.
#[test]
fn it_can_be_the_only_listener() {
    let (directory, path) = place();
    let file = directory.path().join("midge.conf");
    std::fs::write(&file, format!("listen: \"unix:{}\"", path.display())).unwrap();
    let child = std::process::Command::new(super::midge::program())
        .arg("-c")
        .arg(&file)
        .arg("--ports_file_dir")
        .arg(directory.path())
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let mut child = Killed(child);
    let lines = BufReader::new(child.0.stderr.take().unwrap()).lines();
    let mut lines = lines.map(Result::unwrap);
    let mut listening = Vec::new();
    for line in lines
        .by_ref()
        .take_while(|line| !line.contains("Server is ready"))
    {
        listening.extend(line.contains("Listening for").then_some(line));
    }
    assert_eq!(listening.len(), 1, "{listening:?}");
    assert!(listening[0].ends_with(&format!("unix:{}", path.display())));
    let mut local = Local::connect(&path);
    local.send(&format!("{QUIET}\r\nPING\r\n"));
    local.expect("PONG\r\n");
    let mut ports = None;
    eventually("the ports file", || {
        ports = ports_file(directory.path());
        ports.is_some()
    });
    let ports = std::fs::read_to_string(ports.unwrap()).unwrap();
    let ports: serde_json::Value = serde_json::from_str(&ports).unwrap();
    assert_eq!(
        ports["nats"],
        serde_json::json!([format!("unix://{}", path.display())])
    );
    let pid = rustix::process::Pid::from_raw(child.0.id().cast_signed()).unwrap();
    rustix::process::kill_process(pid, Signal::TERM).unwrap();
    assert!(lines.any(|line| line.contains("Server Exiting")));
    child.0.wait().unwrap();
    eventually("the file to go", || !path.exists());
}
