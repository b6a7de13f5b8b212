//! What hostile or careless peers cannot do.

use super::client::Client;
use super::midge::Process;

/// As many tokens as a line has room for; nothing in the server may go down by recursion.
#[test]
fn filters_of_any_depth_are_served() {
    let server = Process::start("max_control_line: 512KB");
    for tokens in [2000, 200_000] {
        let mut client = Client::quiet(server.address);
        let subject = vec!["a"; tokens + 1].join(".");
        for token in ["*", "a"] {
            let filter = vec![token; tokens].join(".");
            client.send(format!("SUB {filter}.> 1\r\nPUB {subject} 1\r\nx\r\n"));
            client.expect(format!("MSG {subject} 1 1\r\nx\r\n"));
            client.send("UNSUB 1\r\n");
            client.ping();
        }
        let filter = vec!["*"; tokens].join(".");
        client.send(format!("SUB {filter} 1\r\n"));
        client.ping();
    }
    // What those left behind is given up, too.
    Client::quiet(server.address).ping();
}
