//! Configurations: from a text to the structs of the core.

use std::sync::Arc;

use midge::broker::imports::NoWire;
use midge::broker::peer::{Facts, Peer};
use midge::broker::registry::Broker;
use midge::broker::sharing::OwnServer;
use midge::config::{self, Diagnostic, Options, Place};
use midge::server::ServerOptions;

const FILE: &str = "fuzz";

/// What the kept inputs have for passwords and tokens.
const SECRET: &str = "MYSECRET";

pub(crate) fn check(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    for everything_supported in [false, true] {
        match config::load_text(&text, FILE, everything_supported) {
            Ok(loaded) => {
                for warning in &loaded.warnings {
                    check_mistake(&text, &warning.diagnostic);
                }
                put_in_force(loaded.options);
            }
            Err(mistakes) => {
                assert!(!mistakes.is_empty());
                for mistake in &mistakes {
                    check_mistake(&text, mistake);
                }
            }
        }
    }
}

/// The place is one of the text, and no secret is told.
fn check_mistake(text: &str, mistake: &Diagnostic) {
    let shown = mistake.to_string();
    assert!(!keeps_secrets(text) || !shown.contains(SECRET), "{shown}");
    let place = match &mistake.place {
        Some(Place::File { file, line, column }) => (&**file, *line as usize, *column as usize),
        Some(other) => panic!("{other} is no place in a file: {shown}"),
        None => return,
    };
    let line = text.split('\n').nth(place.1.wrapping_sub(1));
    let within = line.is_some_and(|line| (1..=line.len() + 1).contains(&place.2));
    assert!(place.0 == FILE && within, "{shown}");
}

/// Whether the secret stands only where secrets belong.
fn keeps_secrets(text: &str) -> bool {
    text.match_indices(SECRET).all(|(place, _)| {
        let before = &text[..place];
        before.ends_with("password: ") || before.ends_with("token: ")
    })
}

/// What a server does with its configuration when it starts, but for files and sockets.
fn put_in_force(mut options: Options) {
    // Its files are not opened.
    options.tls = None;
    let Ok(server) = ServerOptions::from_config(&options) else {
        return;
    };
    let began = (std::time::SystemTime::UNIX_EPOCH, now());
    let facts = Facts {
        id: 0,
        ip: String::new(),
        port: 0,
        unix_user: None,
        began,
        nonce: String::new(),
        label: String::new(),
    };
    let own = OwnServer {
        name: String::new(),
        cluster: server.cluster.clone(),
        peer: Arc::new(Peer::new(facts, Box::new(NoWire), 0)),
    };
    // A broker that refuses them says why; the server does not start then.
    let _ = Broker::new(&server.system_account).configure(&server.accounts, &Arc::new(own));
}

#[expect(clippy::disallowed_methods, reason = "a connection begins now")]
fn now() -> std::time::Instant {
    std::time::Instant::now()
}
