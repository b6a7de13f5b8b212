//! Users who may do different things: a sensor writes, a display reads, a stranger stays outside.
//!
//! ```sh
//! cargo run --example authorization
//! ```
#![expect(clippy::print_stdout, reason = "an example shows what happens")]

mod shared;

use std::error::Error;

use shared::Client;

/// The block `authorization`, as it could stand in a `nats.conf`.
const AUTHORIZATION: &str = r#"{
    users: [
        { user: sensor,  password: s3nsor,  permissions: { publish: "weather.>", subscribe: "_INBOX.>" } }
        { user: display, password: d1splay, permissions: { publish: "_INBOX.>", subscribe: "weather.>" } }
    ]
}"#;

fn main() -> Result<(), Box<dyn Error>> {
    let (runtime, server) = shared::start(&[("authorization", AUTHORIZATION)])?;
    let address = server.client_address();

    let mut display = Client::log_in(address, "display", "d1splay")?;
    display.subscribe("weather.*", "")?;
    let mut sensor = Client::log_in(address, "sensor", "s3nsor")?;
    sensor.publish("weather.oslo", "-4")?;
    let message = display.next()?;
    println!("the display got {}: {}", message.subject, message.payload);

    // What is not allowed is refused, and the connection goes on.
    display.publish("weather.oslo", "30")?;
    println!("the display may not publish: {}", refusal(display.flush())?);
    println!(
        "the sensor may not listen: {}",
        refusal(sensor.subscribe("weather.*", ""))?
    );

    // Nobody else comes in, whether or not the name exists.
    let stranger = Client::log_in(address, "sensor", "guess");
    println!("a wrong password: {}", refusal(stranger)?);
    let stranger = Client::connect(address);
    println!("no password: {}", refusal(stranger)?);

    runtime.block_on(server.shutdown());
    Ok(())
}

/// The text of the error that must have come.
fn refusal<T>(outcome: std::io::Result<T>) -> Result<String, Box<dyn Error>> {
    match outcome {
        Err(error) => Ok(error.to_string()),
        Ok(_) => Err("nobody refused that".into()),
    }
}
