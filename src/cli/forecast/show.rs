//! From results to pictures.

use super::common::Seasons;
use crate::cli::failure::Outcome;
use crate::cli::session::Session;
use crate::forecast::engine::SeriesForecast;
use crate::forecast::intervals::{IntervalConfig, IntervalMethod};
use crate::plot::{
    BacktestOptions, Band, Curve, ForecastOptions, ForecastPanel, ModelForecast, Picture, PictureFormat, TimeKind as AxisKind,
    backtest_chart, forecast_chart, readable_tail, render,
};
use crate::table::{Panel, Series, TimeKind};
use std::io::Write;

/// More series than this do not fit a picture.
pub const MOST_SERIES: usize = 16;

/// What the positions of a panel's time stamps mean.
fn axis(panel: &Panel) -> AxisKind {
    match panel.kind {
        TimeKind::Integer => AxisKind::Integer,
        TimeKind::Date | TimeKind::DateTime => AxisKind::Date,
    }
}

fn points(times: &[i64], values: &[f64]) -> Vec<(f64, f64)> {
    times.iter().zip(values).map(|(t, v)| (*t as f64, *v)).collect()
}

/// One model's forecast with its intervals.
fn model_forecast(name: &str, stamps: &[i64], f: &SeriesForecast, intervals: &IntervalConfig) -> ModelForecast {
    let levels = if intervals.method == IntervalMethod::None { &[][..] } else { &intervals.levels };
    let bands = levels.iter().enumerate().filter(|(i, _)| f.quantiles.len() > 2 * i + 1).map(|(i, &level)| Band {
        level,
        lo: points(stamps, &f.quantiles[2 * i]),
        hi: points(stamps, &f.quantiles[2 * i + 1]),
    });
    ModelForecast { name: name.to_string(), points: points(stamps, &f.mean), bands: bands.collect() }
}

fn options(panel: &Panel, title: String, seasons: &[Seasons], horizon: usize) -> ForecastOptions {
    let season = seasons.iter().map(Seasons::longest).max().unwrap_or(1);
    ForecastOptions {
        title,
        value_name: panel.target_name.clone(),
        kind: axis(panel),
        tail: Some(readable_tail(season, horizon)),
        total: panel.series.len(),
    }
}

/// History and forecasts of the first series, one panel each.
pub fn forecasts(
    panel: &Panel,
    runs: &[(String, &[SeriesForecast])],
    intervals: &IntervalConfig,
    seasons: &[Seasons],
    horizon: usize,
) -> Outcome<Picture> {
    let mut panels = Vec::new();
    for (i, s) in panel.series.iter().take(MOST_SERIES).enumerate() {
        let stamps = super::predict::future(panel, s.times.last().copied().unwrap_or(0), horizon)?;
        panels.push(ForecastPanel {
            title: s.id.clone(),
            history: points(&s.times, &s.y),
            models: runs.iter().map(|(name, f)| model_forecast(name, &stamps, &f[i], intervals)).collect(),
            ..Default::default()
        });
    }
    let title = match runs {
        [(name, _)] => format!("{name}, {horizon} steps ahead"),
        _ => format!("{} models, {horizon} steps ahead", runs.len()),
    };
    Ok(forecast_chart(&panels, &options(panel, title, seasons, horizon))?)
}

/// What a backtest found for one model.
pub struct BacktestRun<'a> {
    /// Model name.
    pub name: String,
    /// (cutoff, forecast) by window, by series.
    pub forecasts: &'a [Vec<(usize, SeriesForecast)>],
    /// Error by horizon step.
    pub by_step: Vec<f64>,
}

/// The forecasts from every cutoff above the error by horizon.
pub fn backtest(
    panel: &Panel,
    runs: &[BacktestRun<'_>],
    intervals: &IntervalConfig,
    seasons: &[Seasons],
    horizon: usize,
    metric: &str,
) -> Outcome<Picture> {
    let panels: Vec<ForecastPanel> =
        panel.series.iter().take(MOST_SERIES).enumerate().map(|(i, s)| backtest_panel(s, i, runs, intervals)).collect();
    let curves: Vec<Curve> = runs.iter().map(|r| Curve { name: r.name.clone(), values: r.by_step.clone() }).collect();
    let title = format!("Rolling origin, {horizon} steps ahead");
    let options = BacktestOptions { forecast: options(panel, title, seasons, horizon), metric: metric.to_string() };
    Ok(backtest_chart(&panels, &curves, &options)?)
}

fn backtest_panel(s: &Series, i: usize, runs: &[BacktestRun<'_>], intervals: &IntervalConfig) -> ForecastPanel {
    let mut out = ForecastPanel { title: s.id.clone(), history: points(&s.times, &s.y), ..Default::default() };
    for run in runs {
        for (cut, f) in &run.forecasts[i] {
            let stamps = &s.times[*cut..(*cut + f.mean.len()).min(s.times.len())];
            out.models.push(model_forecast(&run.name, stamps, f, intervals));
            let at = s.times[cut - 1] as f64;
            if !out.cutoffs.contains(&at) {
                out.cutoffs.push(at);
            }
        }
    }
    out
}

/// Writes a picture into the run directory.
pub fn keep(session: &Session, name: &str, picture: &Picture) -> Outcome {
    if let Some(mut file) = session.run_file(name)? {
        file.write_all(&render(picture, PictureFormat::Svg)?)?;
        file.commit()?;
    }
    Ok(())
}
