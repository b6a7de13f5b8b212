//! Many clients that connect again at once, and somebody who just goes on working.

use std::io::Read as _;
use std::net::TcpStream;
use std::sync::Arc;
use std::time::Duration;

use super::client::{Client as Plain, now};
use super::clients::block;
use super::midge::Process;
use super::support::{Client, PATIENCE, Site};

/// Clients in the storm, all of which have begun before the first one goes on.
const CLIENTS: usize = 500;

/// A busy machine may take so long for an answer whatever the server does.
const ALLOWANCE: Duration = Duration::from_millis(50);

/// The time within which 99 of 100 answers came.
fn slowest(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times[times.len() * 99 / 100]
}

fn answer_time(client: &mut Plain) -> Duration {
    let begun = now();
    client.ping();
    begun.elapsed()
}

#[test]
#[expect(clippy::print_stdout, reason = "the figures are what it is for")]
fn a_storm_of_handshakes_delays_itself_and_nobody_else() {
    let site = Site::new();
    let rest = "allow_non_tls: true";
    let configuration = block(&site, "", rest).replace("timeout: 1", "timeout: 30");
    let server = Process::start(&configuration);
    let mut worker = Plain::quiet(server.address);
    let quiet = slowest((0..1000).map(|_| answer_time(&mut worker)).collect());

    let config = site.client().config();
    let mut storm: Vec<Client> = (0..CLIENTS)
        .map(|_| {
            let mut socket = TcpStream::connect(server.address).unwrap();
            socket.set_read_timeout(Some(PATIENCE)).unwrap();
            let mut byte = [0];
            while byte != *b"\n" {
                socket.read_exact(&mut byte).unwrap();
            }
            Client::over(socket, Arc::clone(&config), "localhost")
        })
        .collect();
    let served = std::thread::spawn(move || {
        for client in &mut storm {
            client.session.write_tls(&mut client.socket).unwrap();
        }
        for client in &mut storm {
            client.handshake().unwrap();
        }
    });
    let mut times = Vec::new();
    while !served.is_finished() || times.len() < 100 {
        times.push(answer_time(&mut worker));
    }
    served.join().unwrap();
    let answers = times.len();
    let stormy = slowest(times);
    println!("99 of 100 answers: quiet {quiet:?}, in the storm {stormy:?} ({answers} answers)");
    assert!(
        stormy < quiet * 5 + ALLOWANCE,
        "{stormy:?} instead of {quiet:?}"
    );
}
