//! Shell completions and the manual page, made from the same tables as the help.

use clap::builder::ArgAction;
use clap::{Arg, Command, ValueHint};
use clap_complete::Shell;
use clap_mangen::Man;

use super::Program;
use super::flags::{FLAGS, Flag, Takes};
use super::help::explanation;
use crate::config::options::table::{self, Listed};

/// The script that makes `shell` complete the flags.
///
/// # Errors
/// The shells there are scripts for.
pub(super) fn completions(program: Program, shell: &str) -> Result<String, String> {
    let shell = match shell {
        "bash" => Shell::Bash,
        "zsh" => Shell::Zsh,
        "fish" => Shell::Fish,
        _ => {
            return Err(format!(
                "there are completions for bash, zsh and fish, not for {shell:?}"
            ));
        }
    };
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut command(program), program.name(), &mut script);
    String::from_utf8(script).map_err(|error| error.to_string())
}

/// The manual page, for man(1).
pub(super) fn page(program: Program) -> String {
    let man = Man::new(command(program));
    let mut page = Vec::new();
    // Writing to memory cannot fail.
    let _ = man.render(&mut page);
    let mut page = String::from_utf8_lossy(&page).into_owned();
    page.push_str(&configuration());
    page
}

/// The flags as the generators want them. They know no words behind one dash, but two dashes mean
/// the same to this program.
fn command(program: Program) -> Command {
    let about = "NATS server: publishes messages to everybody who subscribes to their subject";
    let mut command = Command::new(program.name())
        .version(env!("CARGO_PKG_VERSION"))
        .about(about)
        .disable_help_flag(true)
        .disable_version_flag(true)
        .disable_help_subcommand(true)
        .subcommand(health_check());
    for flag in FLAGS.iter().filter(|flag| !flag.hidden) {
        command = command.arg(argument(flag));
    }
    command
}

fn health_check() -> Command {
    let url = "URL to ask, or a path of the configured monitoring port (default: /readyz)";
    Command::new("healthcheck")
        .about("Ask a server whether it is healthy, and exit with 0 if it is")
        .disable_help_flag(true)
        .arg(Arg::new("url").help(url).value_hint(ValueHint::Url))
}

fn argument(flag: &'static Flag) -> Arg {
    let word = flag.names.iter().rev().copied().find(|name| name.len() > 1);
    let letter = flag
        .names
        .iter()
        .find(|name| name.len() == 1)
        .and_then(|name| name.chars().next());
    let aliases = flag
        .names
        .iter()
        .copied()
        .filter(|name| name.len() > 1 && Some(*name) != word);
    let id = flag.names.last().copied().unwrap_or_default();
    let mut argument = Arg::new(id)
        .help(explanation(flag))
        .long_help(explanation(flag));
    argument = argument.visible_aliases(aliases);
    if let Some(word) = word {
        argument = argument.long(word);
    }
    if let Some(letter) = letter {
        argument = argument.short(letter);
    }
    if flag.takes == Takes::Boolean {
        return argument.action(ArgAction::SetTrue);
    }
    let value_name = flag.value_name.replace(['<', '>'], "");
    let hint = match value_name.as_str() {
        "file" => ValueHint::FilePath,
        "folder" => ValueHint::DirPath,
        _ => ValueHint::Other,
    };
    let argument = argument
        .action(ArgAction::Append)
        .value_name(value_name)
        .value_hint(hint);
    match id {
        "completions" => argument.value_parser(["bash", "zsh", "fish"]),
        _ => argument,
    }
}

/// The sections of the manual page about the configuration file.
fn configuration() -> String {
    let mut page = String::from(
        ".SH CONFIGURATION\n\
         The configuration file holds a key and its value in each line, as in \\fBport: 4222\\fR. \
         Blocks stand in braces, lists in brackets, comments behind # or //. \
         An option is also set by its environment variable, by \\fB\\-C\\fR and many by a flag; \
         flags come before \\fB\\-C\\fR, that before the environment, and that before the file.\n",
    );
    for option in table::list()
        .iter()
        .filter(|option| option.missing.is_none())
    {
        append(&mut page, option);
    }
    page
}

fn append(page: &mut String, option: &Listed) {
    let about = option.about;
    page.push_str(".TP\n\\fB");
    page.push_str(&escape(&option.dotted()));
    page.push_str("\\fR\n");
    page.push_str(&escape(about.document));
    let default = match about.default {
        "" => String::new(),
        default => format!(" Default: {default}."),
    };
    let effect = option
        .without_effect()
        .map_or_else(String::new, |r| format!(" No effect: {r}."));
    let variable = option
        .environment_variable()
        .map_or_else(String::new, |v| format!(" {v}."));
    page.push_str(&escape(&format!(
        " ({}.){default}{effect}{variable}",
        about.kind.describe()
    )));
    page.push('\n');
}

/// Text as roff takes it.
fn escape(text: &str) -> String {
    text.replace('\\', "\\\\")
        .replace('-', "\\-")
        .replace('\'', "\\(aq")
}
