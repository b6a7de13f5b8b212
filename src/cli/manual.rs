//! Shell completions and the manual page, made from the same tables as the help.

use super::Program;

/// The script that makes `shell` complete the flags.
pub(super) fn completions(_program: Program, _shell: &str) -> Result<String, String> {
    Err("not yet".to_owned())
}

/// The manual page, for man(1).
pub(super) fn page(_program: Program) -> String {
    String::new()
}
