//! The Unix socket for clients: the block `unix_socket`.

use std::path::PathBuf;

use super::read::{optional_path, set};
use super::row::{About, Kind, Row, abouts, read_block};
use crate::config::diagnostic::{Diagnostic, Problems};
use crate::config::value::{Entry, Node, Value};
use crate::process::{group_number, user_number};

/// Permissions of the socket if the configuration names none: only the server's own user gets in.
const DEFAULT_MODE: u32 = 0o600;

/// A Unix socket to listen on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnixSocket {
    /// Where it is.
    pub path: PathBuf,
    /// Its permissions, of which those to write let connect.
    pub mode: u32,
    /// The number of its user; none is the server's own.
    pub owner: Option<u32>,
    /// The number of its group; none is the server's own.
    pub group: Option<u32>,
}

impl UnixSocket {
    /// A socket for the server's own user.
    pub(crate) fn at(path: PathBuf) -> Self {
        Self {
            path,
            mode: DEFAULT_MODE,
            owner: None,
            group: None,
        }
    }
}

/// The options of a block `unix_socket`.
static UNIX_SOCKET: &[Row<UnixSocket>] = &[
    of_socket("path", Kind::Path, "")
        .document("Where the socket is made.")
        .example("/run/midge/nats.sock")
        .store(|d, e, p| {
            if let Some(Some(path)) = optional_path(e, p) {
                d.path = path;
            }
        }),
    of_socket("mode", Kind::Text, "\"0600\"")
        .document("Permissions of the socket in octal; whoever may write to it may connect.")
        .store(|d, e, p| set(&mut d.mode, mode(e, p))),
    of_socket("owner", Kind::Text, "")
        .document("User that the socket belongs to, by name or number.")
        .example("root")
        .store(|d, e, p| d.owner = system_number(&e.node, "user", user_number, p)),
    of_socket("group", Kind::Text, "")
        .document("Group that the socket belongs to, by name or number.")
        .example("root")
        .store(|d, e, p| d.group = system_number(&e.node, "group", group_number, p)),
];

const fn of_socket(key: &'static str, kind: Kind, default: &'static str) -> Row<UnixSocket> {
    Row::new(key, kind, default).live()
}

/// A path, or a block with a path.
pub(crate) fn unix_socket(entry: &Entry, problems: &mut Problems) -> Option<UnixSocket> {
    let mut socket = UnixSocket::at(PathBuf::new());
    if let Value::Text(path) = &entry.node.value {
        socket.path = path.into();
    } else {
        read_block(UNIX_SOCKET, &mut socket, entry, problems);
    }
    if !socket.path.as_os_str().is_empty() {
        return Some(socket);
    }
    let message = format!("{:?} requires a path", entry.key);
    problems.error(Diagnostic::new(entry.place(), message));
    None
}

/// The path in `unix:/path` or `unix:///path`, if it is one.
pub(crate) fn path_in_url(text: &str) -> Option<PathBuf> {
    let path = text.strip_prefix("unix:")?;
    let path = path.strip_prefix("//").unwrap_or(path);
    (!path.is_empty()).then(|| path.into())
}

/// Octal digits, quoted or not.
fn mode(entry: &Entry, problems: &mut Problems) -> Option<u32> {
    let digits = word(&entry.node);
    let mode = u32::from_str_radix(&digits, 8);
    if let Some(mode) = mode.ok().filter(|mode| *mode <= 0o777) {
        return Some(mode);
    }
    let message = format!(
        "{:?} must be permissions in octal, not {digits:?}",
        entry.key
    );
    problems.error(Diagnostic::new(entry.place(), message).fix("write it as in \"0660\""));
    None
}

/// The number of a user or group of the machine.
pub(crate) fn system_number(
    node: &Node,
    what: &str,
    number_of: impl Fn(&str) -> Option<u32>,
    problems: &mut Problems,
) -> Option<u32> {
    let name = word(node);
    let number = number_of(&name);
    if number.is_none() {
        let message = format!("there is no {what} {name:?} on this machine");
        problems.error(Diagnostic::new(&node.place, message).fix("its number works as well"));
    }
    number
}

/// A text or a number as it was written; empty for anything else.
fn word(node: &Node) -> String {
    if let Value::Integer(number) = node.value {
        number.to_string()
    } else if let Value::Text(text) = &node.value {
        text.clone()
    } else {
        String::new()
    }
}

/// What there is to say about the options of a block `unix_socket`.
pub(crate) fn about() -> Vec<&'static About> {
    abouts(UNIX_SOCKET)
}
