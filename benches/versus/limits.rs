//! What the project has set itself: the target of a figure, and whether a run meets it.

use crate::measure::{Measure, three_digits};
use crate::rows::Row;

/// The target of one figure of one scenario.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Target {
    /// The figure.
    pub(crate) measure: Measure,
    /// Its bound.
    pub(crate) bound: Bound,
}

/// What must hold. Ratios are Midge's value divided by nats-server's.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Bound {
    /// The ratio is at least this.
    RatioAtLeast(f64),
    /// The ratio is at most this.
    RatioAtMost(f64),
    /// Midge's own value is at least this, in the base unit of the measure.
    AtLeast(f64),
    /// Midge's own value is at most this, in the base unit of the measure.
    AtMost(f64),
}

impl Target {
    /// Written for people, such as `≥ 4.00×`.
    pub(crate) fn text(self) -> String {
        let unit = self.measure.unit();
        match self.bound {
            Bound::RatioAtLeast(limit) => format!("≥ {}×", three_digits(limit)),
            Bound::RatioAtMost(limit) => format!("≤ {}×", three_digits(limit)),
            Bound::AtLeast(limit) => format!("≥ {}", unit.format(limit)),
            Bound::AtMost(limit) => format!("≤ {}", unit.format(limit)),
        }
    }

    /// Whether a row meets it; nothing when a side was not measured.
    pub(crate) fn met(self, row: &Row) -> Option<bool> {
        let own = row.midge.as_ref().map(|series| series.median);
        Some(match self.bound {
            Bound::RatioAtLeast(limit) => row.ratio()? >= limit,
            Bound::RatioAtMost(limit) => row.ratio()? <= limit,
            Bound::AtLeast(limit) => own? >= limit,
            Bound::AtMost(limit) => own? <= limit,
        })
    }
}
