//! Configurations: from a text to the structs of the core.

use std::sync::Arc;

use midge::broker::imports::NoWire;
use midge::broker::peer::{Facts, Peer};
use midge::broker::registry::Broker;
use midge::broker::sharing::OwnServer;
use midge::config::options::users::Identity;
use midge::config::{self, Diagnostic, Loaded, Options, Place};
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
                    check_place(&text, &warning.diagnostic);
                }
                check_secrets(&text, &loaded);
                put_in_force(loaded.options);
            }
            Err(mistakes) => {
                assert!(!mistakes.is_empty());
                for mistake in &mistakes {
                    check_place(&text, mistake);
                }
            }
        }
    }
}

/// The place is one of the text.
fn check_place(text: &str, mistake: &Diagnostic) {
    let (file, line, column) = match &mistake.place {
        Some(Place::File { file, line, column }) => (&**file, *line as usize, *column as usize),
        Some(other) => panic!("{other} is no place in a file: {mistake}"),
        None => return,
    };
    let line = text.split('\n').nth(line.wrapping_sub(1));
    let within = line.is_some_and(|line| (1..=line.len() + 1).contains(&column));
    assert!(file == FILE && within, "{mistake}");
}

/// Where a text stands for secrets only, nothing shows it.
fn check_secrets(text: &str, loaded: &Loaded) {
    let options = &loaded.options;
    let block = &options.authorization;
    let in_accounts = options.accounts.iter().flat_map(|account| &account.users);
    let of_users = block
        .users
        .iter()
        .chain(in_accounts)
        .filter_map(|user| match &user.identity {
            Identity::Password { password, .. } => Some(password),
            Identity::Nkey(_) => None,
        });
    let secrets = of_users.chain(&block.password).chain(&block.token);
    let known = secrets.filter(|secret| secret.expose() == SECRET).count();
    // A variable is written once and may stand in several places.
    if text.contains('$') || text.matches(SECRET).count() > known {
        return;
    }
    let shown = format!("{options:?} {:?}", loaded.warnings);
    assert!(!shown.contains(SECRET), "{shown}");
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
        in_process: false,
        began,
        nonce: String::new(),
        label: String::new(),
    };
    let own = OwnServer {
        name: String::new(),
        cluster: server
            .cluster
            .as_ref()
            .and_then(|cluster| cluster.name.clone())
            .unwrap_or_default(),
        peer: Arc::new(Peer::new(facts, Box::new(NoWire), 0)),
    };
    // A broker that refuses them says why; the server does not start then.
    let _ = Broker::new(&server.system_account).configure(&server.accounts, &Arc::new(own));
}

#[expect(clippy::disallowed_methods, reason = "a connection begins now")]
fn now() -> std::time::Instant {
    std::time::Instant::now()
}
