//! The pid file.

use std::fs::OpenOptions;
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use super::os_error_text;

/// Permissions of a new pid file, before the process's mask.
const PID_FILE_MODE: u32 = 0o600;

/// Writes this process's id to a file: decimal digits and nothing else. An existing file is overwritten in place,
/// because supervisors hand over files in directories that the server may not write to. As with nats-server, the
/// file stays when the server exits.
///
/// # Errors
/// The text of nats-server's fatal line if the file cannot be written.
pub fn write_pid_file(path: &Path) -> Result<(), String> {
    let attempt = |operation: &str, error: &io::Error| {
        let (path, cause) = (path.display(), os_error_text(error));
        format!("Could not write pidfile: {operation} {path}: {cause}")
    };
    let mut file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(PID_FILE_MODE)
        .open(path)
        .map_err(|error| attempt("open", &error))?;
    let digits = std::process::id().to_string();
    file.write_all(digits.as_bytes())
        .map_err(|error| attempt("write", &error))
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn it_holds_the_decimal_pid_and_no_more() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("server.pid");
        fs::write(&path, "a longer text that must go").unwrap();
        write_pid_file(&path).unwrap();
        assert_eq!(
            fs::read_to_string(&path).unwrap(),
            std::process::id().to_string()
        );
        fs::remove_file(&path).unwrap();
        write_pid_file(&path).unwrap();
        assert_eq!(
            fs::metadata(&path).unwrap().permissions().mode() & 0o777,
            PID_FILE_MODE
        );
    }

    #[test]
    fn a_missing_directory_is_named() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("absent/server.pid");
        let text = write_pid_file(&path).unwrap_err();
        let shown = path.display();
        assert_eq!(
            text,
            format!("Could not write pidfile: open {shown}: no such file or directory")
        );
    }
}
