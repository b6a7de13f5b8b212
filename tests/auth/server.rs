//! A running nats-server and connections to it.

pub(crate) use crate::wait::{PATIENCE, eventually, now};
use std::fmt::Write as _;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// A server that dies with the test.
pub(crate) struct Server {
    child: Child,
    port: u16,
    directory: tempfile::TempDir,
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ended_already = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Server {
    /// Starts a server with this configuration; `None` if there is no program to start.
    pub(crate) fn start(configuration: &str) -> Option<Self> {
        Some(Self::start_program(&program()?, configuration))
    }

    /// Starts Midge with this configuration.
    pub(crate) fn start_midge(configuration: &str) -> Self {
        Self::start_program(Path::new(env!("CARGO_BIN_EXE_midge")), configuration)
    }

    fn start_program(program: &Path, configuration: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("server.conf");
        std::fs::write(&file, format!("listen: \"127.0.0.1:-1\"\n{configuration}")).unwrap();
        let child = Command::new(program)
            .arg("-c")
            .arg(&file)
            .arg("--ports_file_dir")
            .arg(directory.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(std::fs::File::create(directory.path().join("log")).unwrap())
            .spawn()
            .unwrap();
        let mut server = Self {
            child,
            port: 0,
            directory,
        };
        server.port = server.wait_for_port();
        server
    }

    fn wait_for_port(&mut self) -> u16 {
        let id = self.child.id();
        let directory = self.directory.path().to_owned();
        let mut port = None;
        eventually("the ports file", || {
            let log = || std::fs::read_to_string(directory.join("log")).unwrap();
            assert!(
                self.child.try_wait().unwrap().is_none(),
                "refused: {}",
                log()
            );
            port = read_port(&directory, id);
            port.is_some()
        });
        port.unwrap()
    }

    pub(crate) fn connect(&self) -> Connection {
        let stream = TcpStream::connect(("127.0.0.1", self.port)).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_nodelay(true).unwrap();
        let mut connection = Connection {
            reader: BufReader::new(stream),
            info: String::new(),
        };
        connection.info = connection.line().unwrap();
        connection
    }

    /// A connection of this user, logged in.
    pub(crate) fn log_in(&self, user: &str, password: &str) -> Connection {
        let mut connection = self.connect();
        let fields = serde_json::json!({ "verbose": false, "user": user, "pass": password });
        connection.send(&format!("CONNECT {fields}\r\n"));
        assert!(connection.exchange("").is_empty());
        connection
    }
}

fn read_port(directory: &Path, id: u32) -> Option<u16> {
    let name = std::fs::read_dir(directory).unwrap().find_map(|entry| {
        let name = entry.unwrap().file_name().into_string().unwrap();
        name.ends_with(&format!("_{id}.ports")).then_some(name)
    })?;
    let text = std::fs::read_to_string(directory.join(name)).ok()?;
    let ports: serde_json::Value = serde_json::from_str(&text).ok()?;
    ports["nats"][0].as_str()?.rsplit_once(':')?.1.parse().ok()
}

/// The program to start, if there is one.
fn program() -> Option<PathBuf> {
    let prepared =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/peers/.cache/python/bin/nats-server");
    let program = std::env::var_os("MIDGE_NATS_SERVER").map_or(prepared, PathBuf::from);
    if program.exists() {
        return Some(program);
    }
    assert!(
        std::env::var("CI").as_deref() != Ok("true"),
        "CI needs nats-server"
    );
    let thread = std::thread::current();
    let name = thread.name().unwrap_or("test");
    let mut text = String::new();
    writeln!(
        text,
        "skipped: {name}: there is no nats-server to compare with"
    )
    .unwrap();
    std::io::stdout().write_all(text.as_bytes()).unwrap();
    None
}

/// A raw connection.
pub(crate) struct Connection {
    reader: BufReader<TcpStream>,
    pub(crate) info: String,
}

impl Connection {
    pub(crate) fn send(&mut self, text: &str) {
        self.reader.get_mut().write_all(text.as_bytes()).unwrap();
    }

    /// The next line, without its end; `None` if the connection was closed.
    pub(crate) fn line(&mut self) -> Option<String> {
        let mut line = String::new();
        match self.reader.read_line(&mut line) {
            Ok(0) => None,
            Ok(_) => Some(line.trim_end().to_owned()),
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => None,
            Err(error) => panic!("{error}"),
        }
    }

    /// Sends and returns all lines up to the PONG that proves it was read; INFO lines and payloads, which must be
    /// empty, are left out.
    pub(crate) fn exchange(&mut self, text: &str) -> Vec<String> {
        self.send(&format!("{text}PING\r\n"));
        let mut lines = Vec::new();
        loop {
            let line = self.line().expect("the connection was closed");
            if line == "PONG" {
                return lines;
            }
            if !line.is_empty() && line != "PING" && !line.starts_with("INFO ") {
                lines.push(line);
            }
        }
    }

    /// The socket, behind the INFO that was read.
    pub(crate) fn into_stream(self) -> TcpStream {
        assert!(self.reader.buffer().is_empty());
        self.reader.into_inner()
    }

    /// Everything up to the close.
    pub(crate) fn drain(&mut self) -> String {
        let mut bytes = Vec::new();
        let _reset_is_a_close = self.reader.read_to_end(&mut bytes);
        String::from_utf8_lossy(&bytes).into_owned()
    }
}
