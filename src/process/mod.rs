//! What the server shows of its process to the machine around it, the pid file and the ports file, and what it
//! asks of the machine.

mod file_limit;
mod memory_limit;
mod pid_file;
mod ports_file;
mod service_manager;
mod system_users;

use std::io;

pub use file_limit::raise_file_limit;
pub use memory_limit::memory_limit;
pub use pid_file::write_pid_file;
pub use ports_file::{Ports, PortsFile, listener_urls};
pub use service_manager::{Progress, ServiceManager};
pub use system_users::{group_number, user_number};

/// The name under which the program was started, without its directory: the last part of its first argument.
/// It names the ports file, the tag of syslog lines and the processes that `--signal` looks for.
#[must_use]
pub fn executable_name() -> String {
    let first = std::env::args_os().next().unwrap_or_default();
    let name = std::path::Path::new(&first)
        .file_name()
        .unwrap_or(&first)
        .to_string_lossy()
        .into_owned();
    if name.is_empty() {
        env!("CARGO_PKG_NAME").to_owned()
    } else {
        name
    }
}

/// The cause of a failed system call as nats-server's runtime words it: lower case, without an error number
/// (`no such file or directory`).
#[must_use]
pub fn os_error_text(error: &io::Error) -> String {
    let text = error.to_string();
    let text = text.split(" (os error").next().unwrap_or_default();
    let mut letters = text.chars();
    match letters.next() {
        Some(first) => first.to_lowercase().chain(letters).collect(),
        None => String::new(),
    }
}
