//! The command line: from the arguments and the environment to what the program is to do.

mod flags;
mod help;
mod manual;

use std::ffi::OsString;
use std::path::PathBuf;

use crate::config::changes::{Change, Effect, changes};
use crate::config::{self, Environment, Gravity, Layers, Loaded};
use crate::http::probe;
use crate::server::ServerOptions;

use flags::{Action, Given};

/// The version of nats-server that Midge behaves like.
pub const COMPATIBLE_VERSION: &str = "2.15.1";

/// The word that asks for a health check.
const HEALTH_CHECK: &str = "healthcheck";

/// What `--check-reload` exits with if a reload would be refused because it takes a restart. A file with mistakes is 1.
pub const NEEDS_RESTART: u8 = 2;

/// What the program is to do.
#[derive(Debug)]
pub enum Command {
    /// Run the server. The warnings are for its log.
    Serve(Box<Loaded>),
    /// Write this text to standard output and exit with 0.
    Print(String),
    /// Write this text to standard error and exit with 0.
    Report(String),
    /// Write this text to standard output and exit with this code.
    Checked {
        /// What would change.
        text: String,
        /// 0 if it could be put in force, otherwise [`NEEDS_RESTART`].
        exit_code: u8,
    },
    /// Ask this URL whether the server is healthy; exit with 0 if it is, and with 1 otherwise.
    HealthCheck(String),
    /// Send a signal to a running server.
    Signal {
        /// What it is to do.
        command: SignalCommand,
        /// Process id, path of a pid file, or a pattern of ids; none is the only running server.
        target: Option<String>,
    },
}

/// What a running server can be told by `--signal`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SignalCommand {
    /// End at once, without closing anything.
    Stop,
    /// Shut down.
    Quit,
    /// Shut down, as process managers ask for it.
    Terminate,
    /// Open the log file again.
    Reopen,
    /// Read the configuration again.
    Reload,
    /// Enter lame duck mode.
    LameDuck,
}

impl SignalCommand {
    /// All of them with the words for them.
    pub const WORDS: [(&'static str, Self); 6] = [
        ("ldm", Self::LameDuck),
        ("stop", Self::Stop),
        ("quit", Self::Quit),
        ("term", Self::Terminate),
        ("reopen", Self::Reopen),
        ("reload", Self::Reload),
    ];

    /// The word for it on the command line.
    pub fn word(self) -> &'static str {
        let found = Self::WORDS.iter().find(|(_, command)| *command == self);
        found.map_or("", |(word, _)| word)
    }
}

/// Why the program cannot do anything.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// What to write to standard error.
    pub text: String,
    /// What to exit with.
    pub exit_code: u8,
}

/// The name that the program was started under.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Program {
    Midge,
    NatsServer,
}

impl Program {
    fn from_argument(argument: Option<&OsString>) -> Self {
        let path = argument.map(PathBuf::from);
        let name = path.as_deref().and_then(|path| path.file_name());
        if name.is_some_and(|name| name == "nats-server") {
            Self::NatsServer
        } else {
            Self::Midge
        }
    }

    /// The name, as messages start with it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Midge => "midge",
            Self::NatsServer => "nats-server",
        }
    }

    fn version(self) -> String {
        match self {
            Self::NatsServer => format!("nats-server: v{COMPATIBLE_VERSION}\n"),
            Self::Midge => {
                let version = env!("CARGO_PKG_VERSION");
                format!("midge {version} (nats-server {COMPATIBLE_VERSION} compatible)\n")
            }
        }
    }

    fn failure(self, text: impl std::fmt::Display) -> Failure {
        Failure {
            text: format!("{}: {text}\n", self.name()),
            exit_code: 1,
        }
    }

    /// A flag that cannot be understood. nats-server shows its help and exits with 0 then, and scripts
    /// that start it by that name may count on it; under its own name Midge fails.
    fn misuse(self, text: &str) -> Failure {
        let exit_code = match self {
            Self::NatsServer => 0,
            Self::Midge => 1,
        };
        Failure {
            text: format!("{text}\nSee '{} --help'.\n", self.name()),
            exit_code,
        }
    }
}

/// Understands the arguments, of which the first is the name of the program. `environment` looks up
/// environment variables.
///
/// # Errors
/// What is wrong with the arguments or the configuration: all of its mistakes.
pub fn parse(
    arguments: impl Iterator<Item = OsString>,
    environment: &Environment<'_>,
) -> Result<Command, Failure> {
    let mut arguments = arguments.peekable();
    let program = Program::from_argument(arguments.peek());
    let arguments = arguments
        .skip(1)
        .map(OsString::into_string)
        .collect::<Result<Vec<String>, OsString>>()
        .map_err(|argument| program.failure(format!("{argument:?} is not valid UTF-8")))?;
    let understand =
        |arguments: &[String]| flags::understand(arguments).map_err(|m| program.misuse(&m));
    let mut given = understand(&arguments)?;
    if given.words.first().is_some_and(|word| word == HEALTH_CHECK) {
        let behind = given.words.split_off(1);
        given.extend(understand(&behind)?);
    }
    if let Some(command) = without_configuration(program, &given)? {
        return Ok(command);
    }
    configure(program, &given, environment)
}

/// What can be done before a configuration is read.
fn without_configuration(program: Program, given: &Given) -> Result<Option<Command>, Failure> {
    if given.action(Action::Version) {
        return Ok(Some(Command::Print(program.version())));
    }
    if given.action(Action::Help) {
        return Ok(Some(Command::Print(help::text(program))));
    }
    if given.action(Action::TlsHelp) {
        return Ok(Some(Command::Print(help::tls())));
    }
    if let Some(word) = given.words.first() {
        return match word.to_lowercase().as_str() {
            "version" => Ok(Some(Command::Print(program.version()))),
            "help" => Ok(Some(Command::Print(help::text(program)))),
            HEALTH_CHECK => health_check(program, given),
            _ => Err(program.failure(format!("unrecognized command: {word:?}"))),
        };
    }
    if let Some(shell) = given.text(Action::Completions) {
        let script = manual::completions(program, shell);
        return script
            .map(|script| Some(Command::Print(script)))
            .map_err(|m| program.failure(m));
    }
    if given.action(Action::Manual) {
        return Ok(Some(Command::Print(manual::page(program))));
    }
    given
        .text(Action::Signal)
        .map(|text| signal(program, text))
        .transpose()
}

/// `healthcheck [url]`, where the URL needs no configuration. A path alone, or nothing, is asked of the
/// configured monitoring port.
fn health_check(program: Program, given: &Given) -> Result<Option<Command>, Failure> {
    match given.words.get(1..).unwrap_or_default() {
        [] => Ok(None),
        [url] if url.starts_with('/') => Ok(None),
        [url] => Ok(Some(Command::HealthCheck(url.clone()))),
        [_, surplus, ..] => {
            Err(program.failure(format!("{HEALTH_CHECK}: one URL, not {surplus:?}")))
        }
    }
}

/// `command` or `command=target`.
fn signal(program: Program, text: &str) -> Result<Command, Failure> {
    let mut parts = text.split('=');
    let (word, target) = (parts.next().unwrap_or_default(), parts.next());
    let surplus: Vec<&str> = parts.collect();
    if !surplus.is_empty() {
        let message = format!("invalid signal parameters: [{}]", surplus.join(" "));
        return Err(program.failure(message));
    }
    let known = SignalCommand::WORDS
        .iter()
        .find(|(known, _)| *known == word);
    let Some((_, command)) = known else {
        let words = SignalCommand::WORDS.map(|(word, _)| word).join(", ");
        return Err(program.failure(format!("unknown signal {word:?}; known are {words}")));
    };
    let target = target
        .filter(|target| !target.is_empty())
        .map(str::to_owned);
    Ok(Command::Signal {
        command: *command,
        target,
    })
}

/// Makes the configuration, and starts the server or tells whether it could.
fn configure(
    program: Program,
    given: &Given,
    environment: &Environment<'_>,
) -> Result<Command, Failure> {
    let test = given.action(Action::Test);
    let config_file = match given.text(Action::Config) {
        Some(path) => Some(path.to_owned()),
        None => environment("MIDGE_CONFIG"),
    };
    let config_file = config_file
        .filter(|path| !path.is_empty())
        .map(PathBuf::from);
    let check = match given.text(Action::CheckReload) {
        Some(_) => Some("to tell what a reload would change in it"),
        None => test.then_some("to check configuration file syntax"),
    };
    if let (Some(check), None) = (check, &config_file) {
        let message = format!("must specify [-c, --config] option {check}");
        return Err(program.failure(message));
    }
    let assignments = assignments(program, given)?;
    let flags = flags::values(given).map_err(|mistake| program.failure(mistake))?;
    let layers = Layers {
        config_file,
        assignments,
        flags,
    };
    let load = |layers: &Layers| {
        config::load(layers, environment).map_err(|mistakes| {
            let lines: Vec<String> = mistakes.iter().map(ToString::to_string).collect();
            program.failure(lines.join("\n"))
        })
    };
    let loaded = load(&layers)?;
    if let Some(other) = given.text(Action::CheckReload) {
        let config_file = Some(PathBuf::from(other));
        let other = load(&Layers {
            config_file,
            ..layers
        })?;
        return check_reload(program, &loaded, &other);
    }
    if given.words.first().is_some_and(|word| word == HEALTH_CHECK) {
        let path = given.words.get(1).map_or("", String::as_str);
        let url = probe::own_url(&loaded.options, path);
        url.map(Command::HealthCheck)
            .map_err(|mistake| program.failure(format!("{HEALTH_CHECK}: {mistake}")))
    } else if test {
        report(program, &loaded)
    } else {
        Ok(Command::Serve(Box::new(loaded)))
    }
}

fn assignments(program: Program, given: &Given) -> Result<Vec<(String, String)>, Failure> {
    let split = |text: &str| match text.split_once('=') {
        Some((key, value)) if !key.trim().is_empty() => {
            Ok((key.trim().to_owned(), value.trim().to_owned()))
        }
        _ => Err(program.failure(format!("-C takes key=value, not {text:?}"))),
    };
    given.texts(Action::Assign).map(split).collect()
}

/// What a server that runs with one configuration would do if it was to reload another one.
fn check_reload(program: Program, running: &Loaded, other: &Loaded) -> Result<Command, Failure> {
    ServerOptions::from_config(&other.options)
        .map_err(|reasons| program.failure(reasons.join("\n")))?;
    let changes = changes(&running.options, &other.options);
    let fixed = |change: &&Change| matches!(change.effect, Effect::Restart(_));
    let refused = changes.iter().filter(fixed).count();
    let mut lines: Vec<String> = changes.iter().map(ToString::to_string).collect();
    lines.push(match (changes.len(), refused) {
        (0, _) => "Nothing changes.".to_owned(),
        (_, 0) => "A reload puts this in force.".to_owned(),
        (_, refused) => {
            format!("A reload is refused and changes nothing: {refused} of this needs a restart.")
        }
    });
    Ok(Command::Checked {
        text: lines.join("\n") + "\n",
        exit_code: if refused > 0 { NEEDS_RESTART } else { 0 },
    })
}

/// The outcome of `-t`, which nats-server lets fail for what it wants changed as well.
fn report(program: Program, loaded: &Loaded) -> Result<Command, Failure> {
    let grave = loaded
        .warnings
        .iter()
        .filter(|warning| warning.gravity == Gravity::Deprecated);
    let lines: Vec<String> = grave.map(ToString::to_string).collect();
    if !lines.is_empty() {
        return Err(program.failure(lines.join("\n")));
    }
    // What only shows when the parts are put together: rules of accounts, certificate files.
    ServerOptions::from_config(&loaded.options)
        .map_err(|reasons| program.failure(reasons.join("\n")))?;
    let path = loaded.options.config_file.clone().unwrap_or_default();
    let digest = loaded.options.config_digest.as_deref().unwrap_or_default();
    let (name, path) = (program.name(), path.display());
    Ok(Command::Report(format!(
        "{name}: configuration file {path} is valid ({digest})\n"
    )))
}
