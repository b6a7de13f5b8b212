//! The chart of ratios: Midge's figure divided by nats-server's, drawn as SVG.

use plotters::coord::Shift;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use crate::Outcome;
use crate::limits::Bound;
use crate::measure::{Measure, three_digits};
use crate::rows::Results;
use crate::scenarios::{SCENARIOS, Scenario};

const WIDTH: i32 = 960;
const ROW_HEIGHT: i32 = 22;
const TITLE_HEIGHT: i32 = 46;
/// Where bars begin; the names stand left of it.
const BARS_LEFT: i32 = 440;
/// Space for the number behind the longest bar.
const BARS_RIGHT: i32 = WIDTH - 90;

/// A bar of a larger ratio ends here, so that one of them does not flatten the others.
const LONGEST: f64 = 14.0;

const INK: RGBColor = RGBColor(36, 41, 47);
const GOOD: RGBColor = RGBColor(45, 125, 154);
const BAD: RGBColor = RGBColor(192, 80, 60);
const FAINT: RGBColor = RGBColor(150, 156, 163);

struct Bar {
    label: String,
    ratio: f64,
    target: Option<f64>,
}

struct Panel {
    title: &'static str,
    higher_is_better: bool,
    bars: Vec<Bar>,
}

impl Panel {
    fn new(
        title: &'static str,
        higher_is_better: bool,
        results: &Results,
        measures: &[Measure],
    ) -> Self {
        let mut bars = Vec::new();
        for scenario in SCENARIOS {
            for measure in measures {
                let row = results.row(scenario.name, *measure);
                if let Some(ratio) = row.and_then(|row| row.ratio()) {
                    let label = if measures.len() == 1 {
                        scenario.title.to_owned()
                    } else {
                        format!("{}: {}", scenario.title, measure.label())
                    };
                    bars.push(Bar {
                        label,
                        ratio,
                        target: target(scenario, *measure),
                    });
                }
            }
        }
        Self {
            title,
            higher_is_better,
            bars,
        }
    }

    fn height(&self) -> i32 {
        TITLE_HEIGHT + ROW_HEIGHT * i32::try_from(self.bars.len()).unwrap_or(0)
    }
}

fn target(scenario: &Scenario, measure: Measure) -> Option<f64> {
    scenario
        .targets
        .iter()
        .filter(|target| target.measure == measure)
        .find_map(|target| match target.bound {
            Bound::RatioAtLeast(limit) | Bound::RatioAtMost(limit) => Some(limit),
            Bound::AtLeast(_) | Bound::AtMost(_) => None,
        })
}

/// Draws all panels, one below the other.
pub(crate) fn draw(results: &Results) -> Outcome<String> {
    let footprint = [
        Measure::MemoryEach,
        Measure::IdleMemory,
        Measure::BinarySize,
        Measure::StartTime,
        Measure::ConnectProcessor,
        Measure::InsertProcessor,
        Measure::LatencyMedian,
        Measure::Latency99,
    ];
    let panels = [
        Panel::new(
            "Messages a second, nats-server = 1 (longer is better)",
            true,
            results,
            &[Measure::Throughput],
        ),
        Panel::new(
            "Server CPU per message, nats-server = 1 (shorter is better)",
            false,
            results,
            &[Measure::ProcessorPerMessage],
        ),
        Panel::new(
            "Other costs, nats-server = 1 (shorter is better)",
            false,
            results,
            &footprint,
        ),
    ];
    let height = panels.iter().map(Panel::height).sum::<i32>() + 16;
    let mut svg = String::new();
    {
        let size = (u32::try_from(WIDTH)?, u32::try_from(height)?);
        let area = SVGBackend::with_string(&mut svg, size).into_drawing_area();
        area.fill(&WHITE)?;
        let mut top = 0;
        for panel in &panels {
            draw_panel(&area, panel, top)?;
            top += panel.height();
        }
        area.present()?;
    }
    Ok(svg)
}

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;

fn draw_panel(area: &Area<'_>, panel: &Panel, top: i32) -> Outcome<()> {
    let title = ("sans-serif", 17)
        .into_font()
        .style(FontStyle::Bold)
        .color(&INK);
    area.draw(&Text::new(panel.title, (16, top + 16), title))?;
    let largest = panel
        .bars
        .iter()
        .map(|bar| bar.ratio.max(bar.target.unwrap_or(0.0)));
    let largest = largest.fold(1.0, f64::max).min(LONGEST);
    let bottom = top + panel.height();
    for (index, bar) in panel.bars.iter().enumerate() {
        let row = top + TITLE_HEIGHT + ROW_HEIGHT * i32::try_from(index)?;
        draw_bar(area, panel, bar, row, largest)?;
    }
    let one = position(1.0, largest);
    let line = [(one, top + TITLE_HEIGHT - 4), (one, bottom)];
    Ok(area.draw(&PathElement::new(line, FAINT.stroke_width(1)))?)
}

fn draw_bar(area: &Area<'_>, panel: &Panel, bar: &Bar, row: i32, largest: f64) -> Outcome<()> {
    let middle = row + ROW_HEIGHT / 2;
    let text = ("sans-serif", 13).into_font().color(&INK);
    let right_aligned = text.clone().pos(Pos::new(HPos::Right, VPos::Center));
    let left_aligned = text.pos(Pos::new(HPos::Left, VPos::Center));
    area.draw(&Text::new(
        bar.label.clone(),
        (BARS_LEFT - 10, middle),
        right_aligned,
    ))?;
    let ahead = (bar.ratio >= 1.0) == panel.higher_is_better;
    let colour = if ahead { GOOD } else { BAD };
    let end = position(bar.ratio, largest).max(BARS_LEFT + 1);
    area.draw(&Rectangle::new(
        [(BARS_LEFT, row + 4), (end, row + ROW_HEIGHT - 4)],
        colour.filled(),
    ))?;
    if let Some(target) = bar.target {
        let at = position(target, largest);
        let mark = [(at, row + 1), (at, row + ROW_HEIGHT - 1)];
        area.draw(&PathElement::new(mark, INK.stroke_width(2)))?;
    }
    let behind = end.max(bar.target.map_or(0, |target| position(target, largest)));
    Ok(area.draw(&Text::new(
        three_digits(bar.ratio),
        (behind + 8, middle),
        left_aligned,
    ))?)
}

#[expect(
    clippy::cast_possible_truncation,
    reason = "a pixel position inside the chart"
)]
fn position(ratio: f64, largest: f64) -> i32 {
    BARS_LEFT + (f64::from(BARS_RIGHT - BARS_LEFT) * (ratio / largest).min(1.0)) as i32
}
