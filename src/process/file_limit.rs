//! How many files and sockets the process may have open.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Raises the limit of open files as far as the process may by itself. Shells and service managers start
/// processes with a low limit for the sake of old programs; nats-server's runtime raises it, too. The limit
/// that then holds; `None` where there is none.
pub fn raise_file_limit() -> Option<u64> {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        ..limit
    };
    match setrlimit(Resource::Nofile, raised) {
        Ok(()) => limit.maximum,
        // Some systems refuse what they themselves named as the maximum; the old limit stays.
        Err(_) => limit.current,
    }
}
