//! A service that adds numbers, a request to it, and one that nobody answers.
//!
//! ```sh
//! cargo run --example request_reply
//! ```
#![expect(clippy::print_stdout, reason = "an example shows what happens")]

mod shared;

use std::error::Error;
use std::io;
use std::thread;

use shared::Client;

fn main() -> Result<(), Box<dyn Error>> {
    let (runtime, server) = shared::start(&[])?;

    let mut service = Client::connect(server.client_address())?;
    service.subscribe("add", "")?;
    let serving = thread::spawn(move || serve_one(&mut service));

    let mut requester = Client::connect(server.client_address())?;
    let answer = requester.request("add", "1 2 3 4")?;
    println!("1 + 2 + 3 + 4 = {}", answer.payload);
    serving.join().map_err(|_| "the service panicked")??;

    // The server knows that nobody listens; the requester need not wait to find out.
    let answer = requester.request("multiply", "2 3")?;
    println!("does anybody multiply? {}", !answer.no_responders);

    runtime.block_on(server.shutdown());
    Ok(())
}

/// Answers one request with the sum of the numbers in it.
fn serve_one(service: &mut Client) -> io::Result<()> {
    let request = service.next()?;
    let numbers = request.payload.split(' ').map(str::parse::<i64>);
    let sum: i64 = numbers.sum::<Result<_, _>>().map_err(io::Error::other)?;
    let inbox = request.reply.ok_or(io::ErrorKind::InvalidData)?;
    service.publish(&inbox, &sum.to_string())?;
    service.flush()
}
