//! Configuration: the nats.conf language, the option table and the layers above the file.
//!
//! [`load`] reads the file, puts the environment, `-C` arguments and flags over it, and either
//! returns [`Options`] or every mistake there is.

pub mod changes;
mod diagnostic;
mod digest;
mod layers;
mod lex;
pub mod options;
pub mod parse;
mod secret;
mod subjects;
pub mod units;
pub mod value;

pub use diagnostic::{Diagnostic, Gravity, Place, Problems, Warning, nearest};
pub use layers::{FlagValue, Layers};
pub use options::Options;
pub use parse::Environment;
pub use secret::Secret;

use options::row::read_table;
use options::table::OPTIONS;
use options::validate::validate;
use value::Table;

/// A configuration that the server can start with.
#[derive(Debug)]
pub struct Loaded {
    /// The options.
    pub options: Options,
    /// What should be mentioned, in order of appearance.
    pub warnings: Vec<Warning>,
}

/// Makes the configuration from its layers. `environment` looks up environment variables, both the
/// `MIDGE_…` ones and those that a file refers to.
///
/// # Errors
/// Every mistake, in order of appearance: first those in the file, then those of the whole.
pub fn load(layers: &Layers, environment: &Environment<'_>) -> Result<Loaded, Vec<Diagnostic>> {
    load_with(layers, environment, Problems::default())
}

/// Like [`load`], and takes options that this version does not support as if it did. It shows what a
/// file means; a server must not be started with it.
///
/// # Errors
/// Every mistake, as [`load`].
pub fn load_unsupported(
    layers: &Layers,
    environment: &Environment<'_>,
) -> Result<Loaded, Vec<Diagnostic>> {
    load_with(
        layers,
        environment,
        Problems {
            everything_supported: true,
            ..Problems::default()
        },
    )
}

/// Makes a configuration of a text alone, as [`load`] makes it of a file: it cannot include files, and
/// variables have no values but its own. `file` is the name shown in mistakes. With
/// `everything_supported` it is [`load_unsupported`].
///
/// # Errors
/// Every mistake, as [`load`].
pub fn load_text(
    text: &str,
    file: &str,
    everything_supported: bool,
) -> Result<Loaded, Vec<Diagnostic>> {
    let parsed = parse::parse_text(text, file, &|_| None);
    if !parsed.structure_intact {
        return Err(parsed.mistakes);
    }
    let problems = Problems {
        errors: parsed.mistakes,
        everything_supported,
        ..Problems::default()
    };
    let options = Options {
        config_digest: Some(digest::digest(&parsed.table)),
        ..Options::default()
    };
    assemble(&parsed.table, options, problems)
}

fn load_with(
    layers: &Layers,
    environment: &Environment<'_>,
    mut problems: Problems,
) -> Result<Loaded, Vec<Diagnostic>> {
    let (mut tree, digest) = read_file(layers, environment, &mut problems)?;
    layers::overlay(&mut tree, layers, environment, &mut problems);
    let options = Options {
        config_file: layers.config_file.clone(),
        config_digest: digest,
        layers: layers.clone(),
        ..Options::default()
    };
    assemble(&tree, options, problems)
}

/// Reads the options of a tree over `options`.
fn assemble(
    tree: &Table,
    mut options: Options,
    mut problems: Problems,
) -> Result<Loaded, Vec<Diagnostic>> {
    read_table(OPTIONS, &mut options, tree, &mut problems);
    validate(&options, tree, &mut problems);
    if problems.errors.is_empty() {
        let warnings = problems.warnings;
        return Ok(Loaded { options, warnings });
    }
    // What nats-server wants changed is told first, as it does.
    let deprecated = problems
        .warnings
        .into_iter()
        .filter(|w| w.gravity == Gravity::Deprecated);
    Err(deprecated
        .map(|warning| warning.diagnostic)
        .chain(problems.errors)
        .collect())
}

/// The tree of the file and its digest. Syntax mistakes are recorded; if nothing behind them can be
/// trusted, they are all there is.
fn read_file(
    layers: &Layers,
    environment: &Environment<'_>,
    problems: &mut Problems,
) -> Result<(Table, Option<String>), Vec<Diagnostic>> {
    let Some(path) = &layers.config_file else {
        return Ok((Table::default(), None));
    };
    let parsed = parse::parse_file(path, environment);
    if !parsed.structure_intact {
        return Err(parsed.mistakes);
    }
    problems.errors.extend(parsed.mistakes);
    if problems.errors.is_empty() && parsed.table.entries.is_empty() {
        let message = format!("{}: config has no values or is empty", path.display());
        problems.deprecated(Diagnostic::general(message));
    }
    let digest = digest::digest(&parsed.table);
    Ok((parsed.table, Some(digest)))
}
