//! Asks the real nats-server what it makes of a configuration.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use midge::config::{Layers, Loaded, load, load_unsupported};

/// The real server, if the environment names one.
pub(crate) fn nats_server() -> Option<PathBuf> {
    std::env::var_os("MIDGE_NATS_SERVER").map(PathBuf::from)
}

/// What `-t` said: the digest if the file is valid.
pub(crate) fn test_with_nats_server(server: &Path, file: &Path) -> Result<String, String> {
    let output = Command::new(server)
        .arg("-t")
        .arg("-c")
        .arg(file)
        .env_clear()
        .envs(ENVIRONMENT.iter().copied())
        .stdin(Stdio::null())
        .output()
        .expect("nats-server runs");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    if output.status.success() {
        let digest = said
            .rsplit_once('(')
            .and_then(|(_, rest)| rest.split_once(')'));
        Ok(digest
            .map(|(digest, _)| digest.to_owned())
            .unwrap_or_default())
    } else {
        Err(said)
    }
}

/// The environment variables that tables refer to.
pub(crate) const ENVIRONMENT: [(&str, &str); 8] = [
    ("TEXT", "hello"),
    ("NUMBER", "4333"),
    ("QUOTED", "\"two words\""),
    ("LIST", "[a, b]"),
    ("BLOCK", "{a: 1k}"),
    ("CYCLE", "$OTHER"),
    ("OTHER", "$CYCLE"),
    ("EMPTY", ""),
];

/// Looks up [`ENVIRONMENT`].
pub(crate) fn environment(name: &str) -> Option<String> {
    ENVIRONMENT
        .iter()
        .find(|(known, _)| *known == name)
        .map(|(_, value)| (*value).to_owned())
}

/// Writes `text` to a file of its own in `folder`.
pub(crate) fn write(folder: &Path, name: &str, text: &str) -> PathBuf {
    let path = folder.join(name);
    std::fs::write(&path, text).expect("the test's folder can be written");
    path
}

/// Loads a file as the server would.
pub(crate) fn load_file(path: &Path) -> Result<Loaded, String> {
    load(&layers(path), &environment).map_err(|mistakes| lines(&mistakes))
}

/// Loads a file as if every option were supported.
pub(crate) fn load_file_unsupported(path: &Path) -> Result<Loaded, String> {
    load_unsupported(&layers(path), &environment).map_err(|mistakes| lines(&mistakes))
}

fn layers(path: &Path) -> Layers {
    Layers {
        config_file: Some(path.to_owned()),
        ..Layers::default()
    }
}

fn lines<T: ToString>(mistakes: &[T]) -> String {
    mistakes
        .iter()
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join("\n")
}
