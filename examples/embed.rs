//! A server inside your program: start it on a free port, use it, end it.
//!
//! ```sh
//! cargo run --example embed
//! ```
#![expect(clippy::print_stdout, reason = "an example shows what happens")]

mod shared;

use std::error::Error;

use midge::config::Options;
use midge::server::{Server, ServerOptions};
use shared::Client;

fn main() -> Result<(), Box<dyn Error>> {
    let options = Options {
        host: "127.0.0.1".to_owned(),
        port: 0, // any that is free
        ..Options::default()
    };
    let options = ServerOptions::from_config(&options).map_err(|mistakes| mistakes.join("\n"))?;

    // The server runs on whichever Tokio runtime starts it.
    let runtime = tokio::runtime::Runtime::new()?;
    let server = runtime.block_on(Server::start(options))?;
    println!("serving on nats://{}", server.client_address());

    let mut subscriber = Client::connect(server.client_address())?;
    subscriber.subscribe("greet.*", "")?;
    let mut publisher = Client::connect(server.client_address())?;
    publisher.publish("greet.world", "hello")?;

    let message = subscriber.next()?;
    println!("{}: {}", message.subject, message.payload);
    println!("{} connections", server.clients().broker.connection_count());

    // Connected clients get what is pending for them, then the server is gone.
    runtime.block_on(server.shutdown());
    println!("ended");
    Ok(())
}
