//! A rolling-origin evaluation in one picture: the forecasts from every cutoff, and below them the error by horizon.

use super::PlotError;
use super::axes::Area;
use super::errors::{Curve, NOTE_ROW, Plan, key, rule};
use super::forecast::{ForecastOptions, ForecastPanel, Sheet, footnotes, header};
use super::scene::Picture;
use super::style::{MARGIN, model_line};

/// How a backtest chart looks.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct BacktestOptions {
    /// The upper part.
    pub forecast: ForecastOptions,
    /// Name of the error below, for example `MAE`.
    pub metric: String,
}

/// Draws the series with their forecasts from each cutoff (a model's name repeats once per cutoff in
/// [`ForecastPanel::models`]) above the models' error by horizon; both parts share the legend.
///
/// Errors: as [`forecast_chart`](super::forecast_chart) and [`error_by_horizon`](super::error_by_horizon). Cost: linear.
pub fn backtest_chart(panels: &[ForecastPanel], curves: &[Curve], options: &BacktestOptions) -> Result<Picture, PlotError> {
    let sheet = Sheet::new(panels, &options.forecast)?;
    let plan = Plan::new(curves, &options.metric)?;
    let single = panels.len() == 1;
    let width = sheet.width();
    // A model that only has an error (its series is not among the panels) comes after those with a line.
    let mut extra: Vec<&str> = Vec::new();
    for curve in curves {
        let name = curve.name.as_str();
        if !sheet.names.contains(&name) && !extra.contains(&name) {
            extra.push(name);
        }
    }
    let style = |name: &str| match extra.iter().position(|n| *n == name) {
        Some(i) => model_line(sheet.names.len() + i),
        None => sheet.color(name),
    };
    let entries = sheet.legend(extra.iter().map(|name| (key(style(name)), (*name).to_string())).collect());
    let mut picture = Picture::new(width, 0.0, &options.forecast.title);
    let top = header(&mut picture, &options.forecast.title, if single { "" } else { &options.forecast.value_name }, &entries);
    let upper = sheet.grid_height();
    let mut notes = sheet.notes();
    notes.extend(plan.notes.iter().cloned());
    let footer = if notes.is_empty() { MARGIN / 2.0 } else { NOTE_ROW + MARGIN / 2.0 };
    let height = top + upper + 30.0 + 270.0 + footer;
    picture.height = height.ceil() as u32;
    let (x, w) = (MARGIN, width - 2.0 * MARGIN);
    sheet.draw(&mut picture, Area { x, y: top, w, h: upper });
    rule(&mut picture, top + upper + 12.0);
    plan.draw(&mut picture, Area { x, y: top + upper + 26.0, w, h: 270.0 }, "Error by horizon", false, |i| {
        style(&curves[i].name)
    });
    footnotes(&mut picture, &notes);
    Ok(picture)
}
