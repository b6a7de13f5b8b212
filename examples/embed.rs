//! A server inside your program: start it on a free port, use it by function calls and by clients, end it.
//!
//! ```sh
//! cargo run --example embed
//! ```
#![expect(clippy::print_stdout, reason = "an example shows what happens")]

mod shared;

use std::error::Error;
use std::net::SocketAddr;
use std::time::Duration;

use midge::server::Server;
use shared::Client;

/// What could stand in a `nats.conf` as well.
const CONFIGURATION: &str = r#"
    listen: "127.0.0.1:-1"   # any port that is free
    max_payload: 2MB
"#;

/// How long a request waits for its answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// The server runs on whichever Tokio runtime starts it.
#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let server = Server::builder()
        .configuration(CONFIGURATION)?
        .start()
        .await?;
    let address = server.client_address();
    println!("serving on nats://{address}");

    // The program itself needs no socket: this client calls the server's functions.
    let local = server.local_client("$G");
    let mut greetings = local.subscribe("greet.*", None)?;
    local.publish("greet.world", "hello").await?;
    if let Some(message) = greetings.next().await {
        println!(
            "{}: {}",
            message.subject,
            String::from_utf8(message.payload)?
        );
    }

    // Everybody else connects as to any server.
    let serving = tokio::task::spawn_blocking(move || answer_one(address));
    while server.clients().broker.global_account().interest().len() < 2 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let answer = local.request("shout", "quietly", PATIENCE).await?;
    println!("shout: {}", String::from_utf8(answer.payload)?);
    serving.await??;

    // Clients get what is pending for them, then the server is gone.
    server.shutdown().await;
    println!(
        "ended: {:?} more messages",
        greetings.next().await.iter().len()
    );
    Ok(())
}

/// A client elsewhere, which here is a thread.
fn answer_one(address: SocketAddr) -> std::io::Result<()> {
    let mut client = Client::connect(address)?;
    client.subscribe("shout", "")?;
    let request = client.next()?;
    let inbox = request.reply.unwrap_or_default();
    client.publish(&inbox, &request.payload.to_uppercase())?;
    client.flush()
}
