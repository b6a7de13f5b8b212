//! The texts of `--help` and `--help_tls`.

use std::fmt::Write as _;

use super::Program;
use super::flags::{FLAGS, Flag};
use crate::config::options::row::Section;
use crate::config::options::table;
use crate::config::options::tls::{CIPHER_SUITES, CURVES};

/// Column at which the explanations start.
const COLUMN: usize = 37;
/// Longest line.
const WIDTH: usize = 110;

/// The text of `--help`.
pub(super) fn text(program: Program) -> String {
    let name = program.name();
    let mut text =
        format!("\nUsage: {name} [options]\n       {name} healthcheck [options] [url]\n");
    let mut section: Option<Section> = None;
    for flag in FLAGS.iter().filter(|flag| !flag.hidden) {
        if section != Some(flag.section) {
            section = Some(flag.section);
            let title = if flag.section == Section::Other {
                "Common"
            } else {
                flag.section.title()
            };
            // Writing to a String cannot fail.
            let _ = write!(text, "\n{title} Options:\n");
        }
        append(&mut text, flag);
    }
    let _ = write!(
        text,
        "\nFlags take one dash or two, and their value behind a blank or '='.\n\
         Every option can be set in the configuration file, by an environment variable such as\n\
         MIDGE_MAX_PAYLOAD, by -C max_payload=2MB and many by a flag; the later one wins.\n\
         MIDGE_CONFIG names the file where no flag does.\n\
         \n\
         healthcheck asks a URL, or a path (/readyz by default) of the configured monitoring port, and exits\n\
         with 0 if the answer is good.\n"
    );
    text
}

/// `-p, --port <port>`: one letter takes one dash, a word takes two.
pub(super) fn spelling(flag: &Flag) -> String {
    let dashed = |name: &&str| {
        if name.len() < 3 || name.to_uppercase() == **name {
            format!("-{name}")
        } else {
            format!("--{name}")
        }
    };
    let names: Vec<String> = flag.names.iter().map(dashed).collect();
    let mut spelling = names.join(", ");
    if !flag.value_name.is_empty() {
        spelling.push(' ');
        spelling.push_str(flag.value_name);
    }
    spelling
}

/// The explanation with the default.
pub(super) fn explanation(flag: &Flag) -> String {
    let sentence = flag.document.trim_end_matches('.');
    match flag.default {
        "" | "0" | "false" => sentence.to_owned(),
        default => format!("{sentence} (default: {})", default.trim_matches('"')),
    }
}

fn append(text: &mut String, flag: &Flag) {
    let spelling = spelling(flag);
    let indent = if spelling.starts_with("--") { 8 } else { 4 };
    let mut line = format!("{:indent$}{spelling}", "");
    if line.len() >= COLUMN {
        text.push_str(&line);
        text.push('\n');
        line.clear();
    }
    let _ = write!(line, "{:width$}", "", width = COLUMN - line.len());
    let mut used = false;
    for word in explanation(flag).split(' ') {
        if used && line.len() + 1 + word.len() > WIDTH {
            text.push_str(&line);
            text.push('\n');
            line = " ".repeat(COLUMN);
            used = false;
        }
        if used {
            line.push(' ');
        }
        line.push_str(word);
        used = true;
    }
    text.push_str(&line);
    text.push('\n');
}

/// The text of `--help_tls`.
pub(super) fn tls() -> String {
    let mut text = String::from(TLS_HELP);
    let missing = table::list()
        .into_iter()
        .find(|option| option.path == ["tls"]);
    if let Some(reason) = missing.and_then(|option| option.missing) {
        let _ = writeln!(
            text,
            "\nIt is not supported by this version of Midge: {reason}."
        );
    }
    let _ = writeln!(text, "\nCipher suites, by the names of the IANA:");
    for (name, weak) in CIPHER_SUITES {
        let remark = if weak { "  (known to be weak)" } else { "" };
        let _ = writeln!(text, "    {name}{remark}");
    }
    let _ = writeln!(text, "\nKey exchange groups, for curve_preferences:");
    for name in CURVES {
        let _ = writeln!(text, "    {name}");
    }
    text
}

const TLS_HELP: &str = r#"
TLS for clients is set up in the tls block of the configuration file:

    tls {
        cert_file: "/etc/midge/server-cert.pem"
        key_file:  "/etc/midge/server-key.pem"
        # Ask clients for a certificate from one of these authorities:
        ca_file:   "/etc/midge/ca.pem"
        verify:    true
    }
"#;
