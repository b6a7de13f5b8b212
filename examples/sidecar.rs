//! A server beside one program: clients come over a Unix socket, probes ask for its health, and it leaves
//! gently when the platform wants to replace it.
//!
//! The same configuration serves `midge -c nats.conf`; here the server runs within the example, so that all of it
//! can be seen in one place.
//!
//! ```sh
//! cargo run --example sidecar
//! ```
#![expect(clippy::print_stdout, reason = "an example shows what happens")]

use std::error::Error;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use midge::http::probe::probe;
use midge::server::Server;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let directory = tempfile::tempdir()?;
    let socket = directory.path().join("nats.sock");
    // Nothing outside of the pod can reach this server: it has no port for clients, and the one for probes is on
    // the loopback interface.
    let configuration = format!(
        r#"
        listen: "unix:{}"
        http: "127.0.0.1:-1"
        max_connections: 100
        max_pending: 4MB
        memory_budget: 32MB            # for everything that waits to be sent, together
        lame_duck_on_term: true
        lame_duck_duration: 30s
        lame_duck_grace_period: 100ms
        "#,
        socket.display()
    );
    let server = Server::builder()
        .configuration(&configuration)?
        .start()
        .await?;
    let monitoring = server.monitoring_address().ok_or("no monitoring")?;
    let health = move |page: &'static str| {
        let url = format!("http://{monitoring}/{page}");
        tokio::task::spawn_blocking(move || probe(&url))
    };
    println!("ready: {:?}", health("readyz").await?);

    let path = socket.clone();
    let mut client = tokio::task::spawn_blocking(move || connect(&path)).await??;
    println!("the program is connected over a Unix socket");

    // What SIGTERM does with `lame_duck_on_term`.
    let leaving = tokio::spawn({
        let server = server.clone();
        async move { server.lame_duck().await }
    });
    while server.is_ready() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    println!("still alive: {:?}", health("livez").await?);
    println!("but not ready: {}", health("readyz").await?.is_err());
    let mut line = String::new();
    while !line.contains("\"ldm\":true") {
        line.clear();
        if client.read_line(&mut line)? == 0 {
            return Err("the server left without a word".into());
        }
    }
    println!("the program is told to move");
    leaving.await?;
    println!("ended");
    Ok(())
}

/// Connects as client libraries do, up to the answer to the first ping.
fn connect(socket: &Path) -> std::io::Result<BufReader<UnixStream>> {
    let mut stream = UnixStream::connect(socket)?;
    stream.write_all(b"CONNECT {\"verbose\":false,\"protocol\":1}\r\nPING\r\n")?;
    let mut lines = BufReader::new(stream);
    let mut line = String::new();
    while line != "PONG\r\n" {
        line.clear();
        lines.read_line(&mut line)?;
    }
    Ok(lines)
}
