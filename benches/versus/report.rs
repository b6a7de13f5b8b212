//! The report on the terminal.

use crate::limits::Target;
use crate::measure::{Measure, Unit, three_digits};
use crate::rows::{Results, Row, Series};
use crate::scenarios::{SCENARIOS, Scenario};

/// A share of the processors that others may take without disturbing a run.
pub(crate) const QUIET: f64 = 0.05;

/// One line of a table: what it says in each column.
pub(crate) struct Line {
    /// The figure.
    pub(crate) measure: &'static str,
    /// Midge's median.
    pub(crate) midge: String,
    /// nats-server's median.
    pub(crate) nats_server: String,
    /// Midge's divided by nats-server's.
    pub(crate) ratio: String,
    /// What is wanted.
    pub(crate) target: String,
    /// Whether it is so: `yes`, `no` or empty.
    pub(crate) met: &'static str,
}

/// The lines of one scenario.
pub(crate) fn lines(results: &Results, scenario: &Scenario) -> Vec<Line> {
    let measured = |measure| Some((measure, results.row(scenario.name, measure)?));
    Measure::ALL
        .into_iter()
        .filter_map(measured)
        .map(|(measure, row)| line(results, scenario, measure, row))
        .collect()
}

fn line(results: &Results, scenario: &Scenario, measure: Measure, row: &Row) -> Line {
    let median = |series: &Option<Series>| {
        series.as_ref().map_or_else(
            || "–".to_owned(),
            |series| measure.unit().format(series.median),
        )
    };
    let targets: Vec<&Target> = scenario
        .targets
        .iter()
        .filter(|target| target.measure == measure)
        .collect();
    let met: Vec<bool> = targets
        .iter()
        .filter_map(|target| target.met(row))
        .collect();
    let ratio = row.ratio().map_or_else(
        || "–".to_owned(),
        |ratio| format!("{}×", three_digits(ratio)),
    );
    let mut line = Line {
        measure: measure.label(),
        midge: median(&row.midge),
        nats_server: median(&row.nats_server),
        ratio,
        target: targets
            .iter()
            .map(|target| target.text())
            .collect::<Vec<_>>()
            .join(", "),
        met: match met.as_slice() {
            [] => "",
            all if all.iter().all(|met| *met) => "yes",
            _ => "no",
        },
    };
    if row.loopback.is_some() {
        line.midge = median(&row.loopback);
        line.ratio = results.share_of_loopback(row).map_or_else(
            || "–".to_owned(),
            |share| format!("Midge 1 → 1 reaches {}", Unit::Share.format(share)),
        );
    }
    line
}

/// Names the scenarios.
pub(crate) fn list(scenarios: &[Scenario]) {
    for scenario in scenarios {
        println!("{:<20} {}", scenario.name, scenario.title);
    }
}

/// Prints what a scenario gave.
pub(crate) fn scenario(results: &Results, scenario: &Scenario) {
    let others = results
        .interference
        .get(scenario.name)
        .copied()
        .unwrap_or_default();
    let note = if others > QUIET {
        format!(
            "; other processes took up to {:.0} % of the processors",
            others * 100.0
        )
    } else {
        String::new()
    };
    println!("\n{} ({}{note})", scenario.title, scenario.name);
    println!(
        "  {:<31} {:>11} {:>11} {:>8}  {:<20} met",
        "", "Midge", "nats-server", "ratio", "target"
    );
    for line in lines(results, scenario) {
        println!(
            "  {:<31} {:>11} {:>11} {:>8}  {:<20} {}",
            line.measure, line.midge, line.nats_server, line.ratio, line.target, line.met
        );
    }
}

/// Prints how many targets are met, and which ones are missed.
pub(crate) fn summary(results: &Results, scenarios: &[&Scenario]) {
    let (met, missed) = judge(results, scenarios.iter().copied());
    println!("\n{met} targets met, {} missed", missed.len());
    for text in missed {
        println!("missed: {text}");
    }
}

/// How many targets the rows meet, and the ones they miss in words.
pub(crate) fn judge<'a>(
    results: &Results,
    scenarios: impl Iterator<Item = &'a Scenario>,
) -> (usize, Vec<String>) {
    let (mut met, mut missed) = (0, Vec::new());
    for scenario in scenarios {
        for target in scenario.targets {
            let row = results.row(scenario.name, target.measure);
            match row.and_then(|row| target.met(row)) {
                Some(true) => met += 1,
                Some(false) => {
                    let (label, text) = (target.measure.label(), target.text());
                    missed.push(format!("{}: {label} {text}", scenario.title));
                }
                None => {}
            }
        }
    }
    (met, missed)
}

/// All scenarios that have rows.
pub(crate) fn measured(results: &Results) -> impl Iterator<Item = &'static Scenario> {
    SCENARIOS
        .iter()
        .filter(|known| results.rows.iter().any(|row| row.scenario == known.name))
}
