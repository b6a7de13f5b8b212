//! Renews the table in `docs/performance.md` and the chart beside it.

use std::fmt::Write as _;
use std::fs;

use crate::Outcome;
use crate::chart;
use crate::options::project;
use crate::report::{judge, lines, measured};
use crate::rows::Results;
use crate::scenarios::SCENARIOS;

const PAGE: &str = "docs/performance.md";
const CHART: &str = "docs/performance.svg";
const BEGIN: &str = "<!-- table: written by cargo bench --bench versus -- --write-docs -->\n";
const END: &str = "<!-- end of table -->";

/// Makes both without writing them.
pub(crate) fn check(results: &Results) -> Outcome<()> {
    table(results)?;
    chart::draw(results)?;
    Ok(())
}

/// Writes both.
///
/// # Errors
/// When a scenario has no rows: a partial run must not replace a whole one.
pub(crate) fn write(results: &Results) -> Outcome<()> {
    for scenario in SCENARIOS {
        if !results.rows.iter().any(|row| row.scenario == scenario.name) {
            return Err(format!(
                "no rows for {}: run all, or collect with --json",
                scenario.name
            )
            .into());
        }
    }
    let path = project(PAGE);
    let page = fs::read_to_string(&path)?;
    let (before, rest) = page
        .split_once(BEGIN)
        .ok_or("no place for the table in the page")?;
    let (_, after) = rest
        .split_once(END)
        .ok_or("no end of the table in the page")?;
    fs::write(
        &path,
        format!("{before}{BEGIN}{}{END}{after}", table(results)?),
    )?;
    Ok(fs::write(project(CHART), chart::draw(results)?)?)
}

fn table(results: &Results) -> Result<String, std::fmt::Error> {
    let mut text = String::new();
    let conditions = &results.conditions;
    writeln!(
        text,
        "\nMeasured {} on {}, Linux {}.",
        conditions.date, conditions.processor, conditions.kernel
    )?;
    writeln!(
        text,
        "{} against {}; medians of {} alternating rounds.\n",
        conditions.midge, conditions.nats_server, conditions.rounds
    )?;
    writeln!(
        text,
        "| scenario | | Midge | nats-server | ratio | target | met |"
    )?;
    writeln!(text, "|---|---|---:|---:|---:|---|---|")?;
    for scenario in measured(results) {
        let mut title = scenario.title;
        for line in lines(results, scenario) {
            writeln!(
                text,
                "| {title} | {} | {} | {} | {} | {} | {} |",
                line.measure, line.midge, line.nats_server, line.ratio, line.target, line.met
            )?;
            title = "";
        }
    }
    writeln!(text)?;
    let (met, missed) = judge(results, SCENARIOS.iter());
    writeln!(text, "{met} targets are met, {} missed.\n", missed.len())?;
    for miss in missed {
        writeln!(text, "- missed: {miss}")?;
    }
    Ok(text)
}
