//! The ports file: where harnesses that let the server choose its ports read them.

use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::{executable_name, os_error_text};

/// The URLs under which a server can be reached, by service. A service without a listener is left out of the file.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Ports {
    /// Client connections: `nats://` or `tls://`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub nats: Vec<String>,
    /// Monitoring: `http://` or `https://`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub monitoring: Vec<String>,
    /// Routes of the cluster: `nats://` or `tls://`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub cluster: Vec<String>,
    /// Profiling: `http://`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub profile: Vec<String>,
    /// WebSocket connections: `ws://` or `wss://`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub websocket: Vec<String>,
}

/// The URLs of one listener. One that listens everywhere is reachable at every address of every interface:
/// interfaces in the system's order, and within each the IPv4 addresses first.
#[must_use]
pub fn listener_urls(scheme: &str, listener: SocketAddr) -> Vec<String> {
    let url = |address: std::net::IpAddr| {
        format!("{scheme}://{}", SocketAddr::new(address, listener.port()))
    };
    if !listener.ip().is_unspecified() {
        return vec![url(listener.ip())];
    }
    let mut interfaces = if_addrs::get_if_addrs().unwrap_or_default();
    interfaces.sort_by_key(|interface| (interface.index, interface.ip().is_ipv6()));
    interfaces
        .iter()
        .map(|interface| url(interface.ip()))
        .collect()
}

/// A written ports file.
#[derive(Debug)]
pub struct PortsFile {
    path: PathBuf,
}

impl PortsFile {
    /// Writes `<executable>_<pid>.ports` into a directory, as one JSON object. The file appears whole or not at
    /// all, so that whoever watches the directory never reads half of it.
    ///
    /// # Errors
    /// The text of nats-server's error line if the file cannot be written.
    pub fn write(directory: &Path, ports: &Ports) -> Result<Self, String> {
        let name = format!("{}_{}.ports", executable_name(), std::process::id());
        let path = directory.join(&name);
        // Hidden, and without the ending that watchers look for.
        let unfinished = directory.join(format!(".{name}.tmp"));
        write_whole(&unfinished, &path, ports).map_err(|error| {
            let (path, cause) = (path.display(), os_error_text(&error));
            format!("Error writing ports file ({path}): open {path}: {cause}")
        })?;
        Ok(Self { path })
    }

    /// Where the file is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Deletes the file, as a server that exits does.
    ///
    /// # Errors
    /// The text of nats-server's error line if the file is gone or cannot be deleted.
    pub fn remove(self) -> Result<(), String> {
        fs::remove_file(&self.path).map_err(|error| {
            let (path, cause) = (self.path.display(), os_error_text(&error));
            format!("Error cleaning up ports file {path}: remove {path}: {cause}")
        })
    }
}

fn write_whole(unfinished: &Path, path: &Path, ports: &Ports) -> io::Result<()> {
    let text = serde_json::to_vec(ports)?;
    let mut file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .open(unfinished)?;
    let outcome = file
        .write_all(&text)
        .and_then(|()| fs::rename(unfinished, path));
    if outcome.is_err() {
        let _best_effort = fs::remove_file(unfinished);
    }
    outcome
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_lists_services_and_goes_away() {
        let directory = tempfile::tempdir().unwrap();
        let ports = Ports {
            nats: listener_urls("nats", "127.0.0.1:4000".parse().unwrap()),
            monitoring: listener_urls("http", "[::1]:4001".parse().unwrap()),
            ..Ports::default()
        };
        let file = PortsFile::write(directory.path(), &ports).unwrap();
        let name = format!("{}_{}.ports", executable_name(), std::process::id());
        assert_eq!(file.path(), directory.path().join(name));
        let text = fs::read_to_string(file.path()).unwrap();
        assert_eq!(
            text,
            r#"{"nats":["nats://127.0.0.1:4000"],"monitoring":["http://[::1]:4001"]}"#
        );
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
        file.remove().unwrap();
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 0);
    }

    #[test]
    fn errors_name_the_file_and_the_cause() {
        let directory = tempfile::tempdir().unwrap();
        let absent = directory.path().join("absent");
        let text = PortsFile::write(&absent, &Ports::default()).unwrap_err();
        let path = absent.join(format!(
            "{}_{}.ports",
            executable_name(),
            std::process::id()
        ));
        let path = path.display();
        let cause = "no such file or directory";
        assert_eq!(
            text,
            format!("Error writing ports file ({path}): open {path}: {cause}")
        );
        let file = PortsFile::write(directory.path(), &Ports::default()).unwrap();
        let path = file.path().to_owned();
        fs::remove_file(&path).unwrap();
        let path = path.display();
        let expected = format!("Error cleaning up ports file {path}: remove {path}: {cause}");
        assert_eq!(file.remove().unwrap_err(), expected);
    }

    #[test]
    fn a_listener_everywhere_is_listed_with_ipv4_first() {
        let urls = listener_urls("nats", "0.0.0.0:4222".parse().unwrap());
        assert_eq!(
            urls.first().map(String::as_str),
            Some("nats://127.0.0.1:4222")
        );
        assert_eq!(listener_urls("nats", "[::]:4222".parse().unwrap()), urls);
    }
}
