//! The log file: appended to, renamed to a backup above its size limit, old backups deleted.
//!
//! Names, order and texts are nats-server's: a backup is called `FILE.2026.11.22.17.18.23.123456789` (local time,
//! nanoseconds), the line that exceeds the limit is the backup's last, and the new file begins with a note that
//! names the backup.

use std::ffi::{OsStr, OsString};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use super::clock::{backup_stamp, is_backup_stamp};
use super::render::{Renderer, Severity};
use super::sink::Sink;
use crate::process::os_error_text;

/// Permissions of a new log file, before the process's mask.
const LOG_FILE_MODE: u32 = 0o640;

/// An open log file.
pub(super) struct LogFile {
    path: PathBuf,
    file: File,
    /// Bytes in the file.
    size: u64,
    /// Bytes above which the file rotates; 0 means never. Doubled while rotation fails.
    limit: u64,
    configured_limit: u64,
    /// Files to keep, the current one included; 0 means all.
    max_files: usize,
    renderer: Renderer,
}

impl LogFile {
    pub(super) fn open(
        path: &Path,
        limit: u64,
        max_files: usize,
        renderer: Renderer,
    ) -> io::Result<Self> {
        let file = open_for_append(path)?;
        let size = file.metadata()?.len();
        let path = path.to_owned();
        Ok(Self {
            path,
            file,
            size,
            limit,
            configured_limit: limit,
            max_files,
            renderer,
        })
    }

    /// Writes bytes; false if not all of them could be written.
    fn append(&mut self, text: &[u8]) -> bool {
        let written = self.file.write_all(text).is_ok();
        self.size += text.len() as u64;
        written
    }

    fn note(&mut self, severity: Severity, message: &str) {
        let mut line = Vec::new();
        self.renderer.file_note(&mut line, severity, message);
        self.append(&line);
    }

    /// Renames the file to a backup and begins a new one. The old file stays in use where that fails, so that no
    /// line is lost; the next attempt then comes at twice the size.
    fn rotate(&mut self) {
        let mut backup = self.path.clone().into_os_string();
        backup.push(format!(".{}", backup_stamp()));
        let renamed = fs::rename(&self.path, &backup);
        match renamed.and_then(|()| open_for_append(&self.path)) {
            Ok(file) => {
                self.file = file;
                self.size = 0;
                self.limit = self.configured_limit;
                let backup = backup.to_string_lossy();
                self.note(
                    Severity::Info,
                    &format!("Rotated log, backup saved as {backup:?}"),
                );
                if self.max_files > 0 {
                    self.purge();
                }
            }
            Err(error) => {
                self.limit = self.limit.saturating_mul(2);
                let (cause, limit) = (os_error_text(&error), self.limit);
                let note = format!(
                    "Unable to rotate logfile ({cause}), will attempt next rotation at size {limit}"
                );
                self.note(Severity::Error, &note);
            }
        }
    }

    /// Deletes the oldest backups until `max_files` files remain.
    fn purge(&mut self) {
        let directory = match self.path.parent() {
            Some(parent) if parent != Path::new("") => parent.to_owned(),
            _ => PathBuf::from("."),
        };
        let backups = match self.backups(&directory) {
            Ok(backups) => backups,
            Err(error) => {
                let (directory, cause) = (directory.display(), os_error_text(&error));
                let note = format!(
                    "Unable to read directory \"{directory}\" for log purge ({cause}), will attempt next rotation"
                );
                return self.note(Severity::Error, &note);
            }
        };
        let surplus = backups.len().saturating_sub(self.max_files - 1);
        for name in backups.into_iter().take(surplus) {
            let shown = name.to_string_lossy();
            match fs::remove_file(directory.join(&name)) {
                Ok(()) => self.note(Severity::Info, &format!("Purged log file {shown:?}")),
                Err(error) => {
                    let cause = os_error_text(&error);
                    let note = format!(
                        "Unable to remove backup log file {shown:?} ({cause}), will attempt next rotation"
                    );
                    return self.note(Severity::Error, &note);
                }
            }
        }
    }

    /// Names of this file's backups, oldest first: their stamps sort as their times do.
    fn backups(&self, directory: &Path) -> io::Result<Vec<OsString>> {
        let base = self
            .path
            .file_name()
            .and_then(OsStr::to_str)
            .unwrap_or_default();
        let mut names = Vec::new();
        for entry in fs::read_dir(directory)? {
            let name = entry?.file_name();
            let stamp = name
                .to_str()
                .and_then(|name| name.strip_prefix(base))
                .and_then(|rest| rest.strip_prefix('.'));
            if stamp.is_some_and(is_backup_stamp) {
                names.push(name);
            }
        }
        names.sort_unstable();
        Ok(names)
    }
}

impl Sink for LogFile {
    fn write(&mut self, text: &[u8], ends: &[usize]) -> u64 {
        let mut lost = 0;
        let mut rest = text;
        let mut start = 0;
        let mut lines = 0;
        for &end in ends {
            lines += 1;
            let over = self.limit > 0 && self.size + (end - start) as u64 > self.limit;
            if over || end == text.len() {
                let (group, later) = rest.split_at_checked(end - start).unwrap_or((rest, &[]));
                if !self.append(group) {
                    lost += lines;
                }
                (rest, start, lines) = (later, end, 0);
            }
            if over {
                self.rotate();
            }
        }
        lost
    }
}

fn open_for_append(path: &Path) -> io::Result<File> {
    OpenOptions::new()
        .append(true)
        .create(true)
        .mode(LOG_FILE_MODE)
        .open(path)
}
