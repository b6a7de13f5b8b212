//! Results: one row for each figure of each scenario, kept as JSON.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::Outcome;
use crate::measure::{Measure, median};
use crate::scenarios::{SCENARIOS, Scenario, limited_by};

/// The values of one side, one for each round.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct Series {
    /// The middle one.
    pub(crate) median: f64,
    /// All of them, in the order of the rounds.
    pub(crate) values: Vec<f64>,
}

/// One figure of one scenario.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct Row {
    /// [`Scenario::name`].
    pub(crate) scenario: String,
    /// [`Measure::key`].
    pub(crate) measure: String,
    /// The unit of the values.
    pub(crate) unit: String,
    /// Midge's values.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) midge: Option<Series>,
    /// nats-server's values.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) nats_server: Option<Series>,
    /// Values of the bare socket pair.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) loopback: Option<Series>,
    /// Midge's median divided by nats-server's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) ratio: Option<f64>,
}

/// Where and with what a run was made.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub(crate) struct Conditions {
    /// The day of the latest run.
    pub(crate) date: String,
    /// Processor model and number of processors.
    pub(crate) processor: String,
    /// Kernel release.
    pub(crate) kernel: String,
    /// What `--version` says.
    pub(crate) midge: String,
    /// What `--version` says.
    pub(crate) nats_server: String,
    /// Alternating rounds.
    pub(crate) rounds: usize,
}

/// Everything that is kept of a run.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub(crate) struct Results {
    /// Where and with what.
    pub(crate) conditions: Conditions,
    /// The figures.
    pub(crate) rows: Vec<Row>,
    /// For each scenario, the largest share of the processors that others took in a round.
    #[serde(default)]
    pub(crate) interference: BTreeMap<String, f64>,
}

/// Who was measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Side {
    /// Midge.
    Midge,
    /// nats-server.
    NatsServer,
    /// No server at all.
    Loopback,
}

impl Series {
    fn new(values: &[f64]) -> Self {
        Self {
            median: median(values),
            values: values.to_vec(),
        }
    }
}

impl Row {
    /// A row of the values of each side.
    pub(crate) fn new(
        scenario: &Scenario,
        measure: Measure,
        sides: &BTreeMap<Side, Vec<f64>>,
    ) -> Self {
        let series = |side| sides.get(&side).map(|values| Series::new(values));
        let (midge, nats_server) = (series(Side::Midge), series(Side::NatsServer));
        let ratio = match (&midge, &nats_server) {
            (Some(own), Some(other)) if other.median != 0.0 => Some(own.median / other.median),
            _ => None,
        };
        Self {
            scenario: scenario.name.to_owned(),
            measure: measure.key().to_owned(),
            unit: measure.unit().key().to_owned(),
            midge,
            nats_server,
            loopback: series(Side::Loopback),
            ratio,
        }
    }

    /// Midge's median divided by nats-server's.
    pub(crate) const fn ratio(&self) -> Option<f64> {
        self.ratio
    }
}

impl Results {
    /// Reads a file that [`Results::write`] wrote; nothing when there is none.
    pub(crate) fn read(path: &Path) -> Outcome<Self> {
        if !path.exists() {
            return Ok(Self::default());
        }
        let text = fs::read_to_string(path)?;
        Ok(serde_json::from_str(&text).map_err(|error| format!("{}: {error}", path.display()))?)
    }

    /// Writes everything as JSON.
    pub(crate) fn write(&self, path: &Path) -> Outcome<()> {
        Ok(fs::write(path, serde_json::to_string_pretty(self)? + "\n")?)
    }

    /// Puts the rows of a scenario in the place of those from an earlier run.
    pub(crate) fn replace(&mut self, scenario: &Scenario, rows: Vec<Row>, interference: f64) {
        self.interference
            .insert(scenario.name.to_owned(), interference);
        self.rows.retain(|row| row.scenario != scenario.name);
        self.rows.extend(rows);
        let position = |name: &str| SCENARIOS.iter().position(|known| known.name == name);
        self.rows.retain(|row| position(&row.scenario).is_some());
        self.rows.sort_by_key(|row| position(&row.scenario));
    }

    /// The row of one figure.
    pub(crate) fn row(&self, scenario: &str, measure: Measure) -> Option<&Row> {
        self.rows
            .iter()
            .find(|row| row.scenario == scenario && row.measure == measure.key())
    }

    /// How much of the bare loopback's rate Midge reaches one to one.
    pub(crate) fn share_of_loopback(&self, row: &Row) -> Option<f64> {
        let limit = row.loopback.as_ref()?.median;
        let own = self
            .row(limited_by(&row.scenario)?, Measure::Throughput)?
            .midge
            .as_ref()?
            .median;
        Some(own / limit)
    }
}
