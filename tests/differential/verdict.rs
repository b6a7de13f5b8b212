//! Whether the tested server says what the reference says.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use crate::frames::{View, show_difference};
use crate::script::Conversation;
use crate::server::{Programs, Server};
use crate::talk::{Heard, Patience, hold};

/// A reference that once answered late, or chose differently, gets this many more chances.
const MORE_CHANCES: usize = 2;

/// Differences so far, and how many make clear that the test will fail.
static DIFFERENCES: AtomicUsize = AtomicUsize::new(0);
const SUFFICIENT: usize = 30;

/// What a comparison found.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Verdict {
    Same,
    /// Both sides, readable.
    Different(String),
    /// The tested server refuses the configuration because of these options, which it knows but
    /// does not support.
    Unsupported(BTreeSet<String>),
    /// The conversation itself is wrong, or a server did not start.
    Broken(String),
}

/// Patience with written conversations: whatever they await must come.
pub(crate) const WRITTEN: Patience = Patience {
    awaited: Duration::from_secs(5),
    quiet: Duration::from_millis(30),
    catch_up: Duration::from_secs(2),
    is_strict: true,
};

/// Patience with conversations that are known to differ: waiting long would only confirm it.
pub(crate) const KNOWN: Patience = Patience {
    awaited: Duration::from_millis(1000),
    catch_up: Duration::from_millis(200),
    ..WRITTEN
};

/// Patience with generated conversations, which often wait for an answer that a broken line ate.
pub(crate) const GENERATED: Patience = Patience {
    awaited: Duration::from_millis(250),
    quiet: Duration::from_millis(10),
    is_strict: false,
    ..WRITTEN
};

/// The reference and the tested server, started with the same configuration.
#[derive(Debug)]
pub(crate) struct Pair {
    reference: Server,
    tested: Server,
}

impl Pair {
    /// Starts both.
    ///
    /// # Errors
    /// Which server did not start and why, as a verdict on any conversation with it.
    pub(crate) fn start(programs: &Programs, configuration: &str) -> Result<Self, Verdict> {
        let reference = Server::start(&programs.reference, configuration);
        let reference = reference.map_err(Verdict::Broken)?;
        let tested = Server::start(&programs.tested, configuration);
        Ok(Self {
            reference,
            tested: tested.map_err(|log| refusal(&log))?,
        })
    }

    /// Holds `conversation` with both servers and compares.
    ///
    /// The tested server speaks once. Where the reference varies from run to run, the tested
    /// server must agree with one of its runs.
    pub(crate) fn compare(&mut self, conversation: &Conversation, patience: Patience) -> Verdict {
        let patience = shortened(patience);
        let view = |heard: &Heard| View::new(heard, &conversation.tolerance);
        let reference = view(&hold(conversation, &self.reference, patience, |_| true));
        if patience.is_strict && !reference.missed.is_empty() {
            return Verdict::Broken(format!(
                "the reference never answered: {}",
                reference.missed.join(", ")
            ));
        }
        let tested = view(&hold(conversation, &self.tested, patience, |heard| {
            view(heard) == reference
        }));
        if let Some(obituary) = self
            .tested
            .obituary()
            .filter(|_| !conversation.tolerance.alone)
        {
            return Verdict::Different(format!("  the tested server ended: {obituary}\n"));
        }
        if tested == reference {
            return Verdict::Same;
        }
        let slow = Patience {
            quiet: patience.quiet * 10,
            ..patience
        };
        let agrees = |_| view(&hold(conversation, &self.reference, slow, |_| true)) == tested;
        if !conversation.tolerance.alone && (0..MORE_CHANCES).any(agrees) {
            return Verdict::Same;
        }
        Verdict::Different(show_difference(&reference, &tested))
    }
}

/// What it means that the tested server left this `log` instead of listening.
fn refusal(log: &str) -> Verdict {
    let mut options = BTreeSet::new();
    for line in log.lines() {
        if let Some((before, _)) = line.split_once("\" is not supported by this version") {
            options.extend(before.rsplit('"').next().map(str::to_owned));
        }
    }
    if options.is_empty() {
        return Verdict::Broken(log.to_owned());
    }
    Verdict::Unsupported(options)
}

/// Once many conversations differ, waiting long for each only delays the report.
fn shortened(patience: Patience) -> Patience {
    if DIFFERENCES.load(Ordering::Relaxed) < SUFFICIENT {
        return patience;
    }
    let short = Duration::from_millis(150);
    Patience {
        awaited: patience.awaited,
        catch_up: short,
        ..patience
    }
}

/// Compares on servers that nobody else uses.
pub(crate) fn compare_alone(
    programs: &Programs,
    conversation: &Conversation,
    patience: Patience,
) -> Verdict {
    match Pair::start(programs, &conversation.configuration) {
        Ok(mut pair) => pair.compare(conversation, patience),
        Err(verdict) => verdict,
    }
}

#[test]
fn unsupported_options_are_read_from_the_refusal() {
    let log = "x did not start:\nmidge: /a.conf:3:1: \"b\" is not supported by this version of Midge: why\n";
    assert_eq!(refusal(log), Verdict::Unsupported(["b".to_owned()].into()));
    assert_eq!(refusal("boom"), Verdict::Broken("boom".into()));
}
