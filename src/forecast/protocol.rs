//! The fixed train/validation/test protocol of long-horizon forecasting papers ("LTSF"): splits, scaling, windows, scoring.
//!
//! # Protocol
//! Channels are standardised by the mean and the population standard deviation of the training rows. A window is L inputs and
//! the H rows after them; all windows of stride 1 whose targets lie in the test part are scored, and a metric is the flat mean
//! over windows × H × channels on the standardised data. The test part starts L rows early, so every test row past the first
//! H − 1 is a target for any L.
//!
//! # Source
//! Zhou et al. 2021 (ETT splits), Wu et al. 2021 (70/10/20 splits) as in the data loaders of TimeMixer and the Time-Series-Library.
//! Changed: nothing by default; the loaders' dropping of the last partial batch is [`EvalConfig::drop_last`].

use super::engine::mean_or_naive;
use super::linear::LinearModel;
use super::metrics::{Scores, TrainScale, Window};
use super::model::FitError;
use super::spec::ModelSpec;
use crate::run::observer::Observer;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use std::ops::Range;

/// How the rows are divided.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Split {
    /// Fixed numbers of train, validation and test rows; what follows is unused (ETT).
    Rows { train: usize, val: usize, test: usize },
    /// train = ⌊a n⌋, test = ⌊b n⌋, validation the rest (custom data: 0.7, 0.2).
    Shares { train: f64, test: f64 },
    /// As shares, but parts do not overlap by L (PEMS).
    SharesApart { train: f64, test: f64 },
}

/// A data set's conventions.
#[derive(Debug, Clone, PartialEq)]
pub struct Preset {
    /// Name on the command line.
    pub name: &'static str,
    /// File the benchmark distributes.
    pub file: &'static str,
    /// Rows and channels of that file; 0 = not fixed.
    pub shape: (usize, usize),
    /// First 16 hex digits of the file's sha256, where known.
    pub sha256: Option<&'static str>,
    /// Row division.
    pub split: Split,
    /// Season length for the seasonal models.
    pub season: usize,
    /// Lookback and horizons of the published tables.
    pub lookback: usize,
    /// Horizons of the published tables.
    pub horizons: &'static [usize],
    /// Scale, stride and metric space.
    pub style: Style,
    /// Whether the column `OT` is moved last.
    pub target_last: bool,
}

/// How windows are scaled and scored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Style {
    /// Train statistics, stride 1, scores on standardised data.
    Ltsf,
    /// The PEMS loader: each part standardised by its own statistics (a leak, kept because published numbers have it), test
    /// windows at stride 12 numbering ⌊(T − L − H + 1) / 12⌋, scores on the original scale, MAPE terms above 5 counted as 0.
    Pems,
}

const LONG: &[usize] = &[96, 192, 336, 720];
const PEMS: &[usize] = &[12];

const fn preset(name: &'static str, file: &'static str, shape: (usize, usize), split: Split, season: usize) -> Preset {
    Preset { name, file, shape, sha256: None, split, season, lookback: 96, horizons: LONG, style: Style::Ltsf, target_last: true }
}

const fn pems(name: &'static str, file: &'static str, channels: usize) -> Preset {
    Preset {
        name,
        file,
        shape: (0, channels),
        sha256: None,
        split: Split::SharesApart { train: 0.6, test: 0.2 },
        season: 288,
        lookback: 96,
        horizons: PEMS,
        style: Style::Pems,
        target_last: false,
    }
}

const CUSTOM: Split = Split::Shares { train: 0.7, test: 0.2 };
const ETT_H: Split = Split::Rows { train: 8640, val: 2880, test: 2880 };
const ETT_M: Split = Split::Rows { train: 34560, val: 11520, test: 11520 };

/// Every data set of the protocol. `custom` takes any wide table.
pub const PRESETS: &[Preset] = &[
    Preset { sha256: Some("f18de3ad269cef59"), ..preset("etth1", "ETTh1.csv", (17420, 7), ETT_H, 24) },
    Preset { sha256: Some("a3dc2c597b9218c7"), ..preset("etth2", "ETTh2.csv", (17420, 7), ETT_H, 24) },
    preset("ettm1", "ETTm1.csv", (69680, 7), ETT_M, 96),
    preset("ettm2", "ETTm2.csv", (69680, 7), ETT_M, 96),
    preset("weather", "weather.csv", (52696, 21), CUSTOM, 144),
    preset("electricity", "electricity.csv", (26304, 321), CUSTOM, 24),
    preset("traffic", "traffic.csv", (17544, 862), CUSTOM, 24),
    Preset { sha256: Some("d55e7aa264100981"), ..preset("exchange", "exchange_rate.csv", (7588, 8), CUSTOM, 7) },
    Preset {
        sha256: Some("8594cecb98c6f2f9"),
        lookback: 104,
        horizons: &[24, 36, 48, 60],
        ..preset("illness", "national_illness.csv", (966, 7), CUSTOM, 52)
    },
    Preset { target_last: false, ..preset("solar", "solar_AL.txt", (52560, 137), CUSTOM, 144) },
    pems("pems03", "PEMS03.npz", 358),
    pems("pems04", "PEMS04.npz", 307),
    pems("pems07", "PEMS07.npz", 883),
    pems("pems08", "PEMS08.npz", 170),
    preset("custom", "any wide table", (0, 0), CUSTOM, 0),
];

/// A division of n rows: where models learn and which rows hold test windows (inputs included).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parts {
    /// Rows of the training part.
    pub train: Range<usize>,
    /// Rows of the validation part, its first L being inputs only.
    pub val: Range<usize>,
    /// Rows of the test part, its first L being inputs only.
    pub test: Range<usize>,
}

impl Split {
    /// Divides `n` rows for lookback `l`.
    ///
    /// # Errors
    /// A text when the rows do not suffice.
    pub fn parts(self, n: usize, l: usize) -> Result<Parts, String> {
        let (train, val_end, end, overlap) = match self {
            Self::Rows { train, val, test } => (train, train + val, train + val + test, l),
            Self::Shares { train, test } | Self::SharesApart { train, test } => {
                // The published loaders truncate the double product: int(n * 0.7).
                let (n_train, n_test) = ((n as f64 * train) as usize, (n as f64 * test) as usize);
                if n_train + n_test > n {
                    return Err(format!("train share {train} and test share {test} exceed the whole"));
                }
                (n_train, n - n_test, n, if matches!(self, Self::Shares { .. }) { l } else { 0 })
            }
        };
        if end > n {
            return Err(format!("the split needs {end} rows, found {n}"));
        }
        if train < overlap {
            return Err(format!("lookback {l} is longer than the {train} training rows"));
        }
        Ok(Parts { train: 0..train, val: train - overlap..val_end, test: val_end - overlap..end })
    }
}

/// What to evaluate.
#[derive(Debug, Clone)]
pub struct EvalConfig {
    /// Row division.
    pub split: Split,
    /// Scaling and scoring.
    pub style: Style,
    /// Window length L.
    pub lookback: usize,
    /// Steps ahead H.
    pub horizon: usize,
    /// Season length for the seasonal models and MASE; 1 = none.
    pub season: usize,
    /// Drop the last partial batch of this size from the test windows, as the published loaders do. Networks also validate and are scored
    /// in batches of this size, and validation windows come in a new order every epoch.
    pub drop_last: Option<usize>,
    /// Networks: the epoch that is best on the test windows is kept, not that on the validation windows. What some published programs did;
    /// such a score says nothing about new data.
    pub select_on_test: bool,
}

/// What an evaluation found.
#[derive(Debug, Clone)]
pub struct EvalResult {
    /// Test windows per channel.
    pub windows: usize,
    /// Scores over windows × horizon × channels.
    pub scores: Scores,
    /// Scores by horizon step, shape (h).
    pub by_step: Vec<Scores>,
    /// Windows × channels where the naive forecast stood in for the model.
    pub fallbacks: usize,
}

/// Windows scored per task; fixed, so that sums do not depend on the number of threads.
const TASK: usize = 128;
/// Ratio above which the PEMS loader ignores a relative error.
const PEMS_MAPE_CAP: f64 = 5.0;

/// Number of windows of `rows` rows at stride 1.
pub fn window_count(rows: usize, l: usize, h: usize) -> usize {
    (rows + 1).saturating_sub(l + h)
}

/// Scores one model on the test part. `channels`: one slice of n rows each.
///
/// Linear models learn from all training windows of all channels; every other model is fitted to each window's L inputs alone.
///
/// # Errors
/// [`FitError::Spec`] when the split leaves no test window; what the linear fit reports; interruption is `Spec("interrupted")`.
pub fn evaluate(
    spec: &ModelSpec,
    channels: &[&[f64]],
    cfg: &EvalConfig,
    observer: &dyn Observer,
) -> Result<EvalResult, FitError> {
    let n = channels.first().map_or(0, |c| c.len());
    let (l, h) = (cfg.lookback, cfg.horizon);
    let parts = cfg.split.parts(n, l).map_err(FitError::Spec)?;
    let all = window_count(parts.test.len(), l, h);
    let stride = if cfg.style == Style::Pems { 12 } else { 1 };
    let mut windows = all / stride;
    if let Some(batch) = cfg.drop_last.filter(|b| *b > 0) {
        windows -= windows % batch;
    }
    if windows == 0 {
        let rows = parts.test.len();
        return Err(FitError::Spec(format!("no test window: {rows} rows with lookback {l} and horizon {h} (lower -L or -H)")));
    }
    // (mean, sd) of the training part, and of the test part for the PEMS loader.
    let scale_of = super::engine::standard_scale;
    let train: Vec<Vec<f64>> = channels
        .iter()
        .map(|c| {
            let (m, s) = scale_of(&c[parts.train.clone()]);
            c[parts.train.clone()].iter().map(|v| (v - m) / s).collect()
        })
        .collect();
    let test: Vec<(Vec<f64>, (f64, f64))> = channels
        .iter()
        .map(|c| {
            let own = if cfg.style == Style::Pems { parts.test.clone() } else { parts.train.clone() };
            let (m, s) = scale_of(&c[own]);
            (c[parts.test.clone()].iter().map(|v| (v - m) / s).collect(), (m, s))
        })
        .collect();
    // In the units that are scored: standardised, or original for PEMS.
    let scales: Vec<TrainScale> = match cfg.style {
        Style::Ltsf => train.iter().map(|y| TrainScale::new(y, cfg.season)).collect(),
        Style::Pems => channels.iter().map(|c| TrainScale::new(&c[parts.train.clone()], cfg.season)).collect(),
    };
    let linear = match spec {
        ModelSpec::Linear(kind) => {
            let views: Vec<&[f64]> = train.iter().map(Vec::as_slice).collect();
            Some(LinearModel::fit(*kind, &views, l, h)?)
        }
        _ => None,
    };
    let tasks: Vec<(usize, usize)> = (0..channels.len()).flat_map(|c| (0..windows).step_by(TASK).map(move |w| (c, w))).collect();
    observer.start(&spec.to_string(), tasks.len());
    let parts: Vec<(Scores, Vec<Scores>, usize)> = tasks
        .par_iter()
        .map(|&(c, first)| {
            if observer.cancelled() {
                return Err(FitError::Spec("interrupted".into()));
            }
            let (y, undo) = &test[c];
            let count = TASK.min(windows - first);
            let train_scale = scales[c];
            let mut out = (Scores::default(), vec![Scores::default(); h], 0);
            let batch = linear.as_ref().filter(|_| stride == 1).map(|m| m.predict_windows(&y[first..], count));
            for w in 0..count {
                let at = (first + w) * stride;
                let (input, truth) = (&y[at..at + l], &y[at + l..at + l + h]);
                let mean = match (&batch, &linear) {
                    (Some(b), _) => b.col_as_slice(w).to_vec(),
                    (None, Some(m)) => m.predict(input)?,
                    (None, None) => {
                        let (mean, why) = mean_or_naive(spec, input, cfg.season.max(1), h)?;
                        out.2 += usize::from(why.is_some());
                        mean
                    }
                };
                if cfg.style == Style::Pems {
                    let back = |v: &[f64]| v.iter().map(|x| x * undo.1 + undo.0).collect::<Vec<f64>>();
                    score(&mut out, &back(truth), &back(&mean), train_scale, Some(PEMS_MAPE_CAP));
                } else {
                    score(&mut out, truth, &mean, train_scale, None);
                }
            }
            observer.advance(1);
            Ok(out)
        })
        .collect::<Result<_, _>>()?;
    observer.finish();
    let mut result = EvalResult { windows, scores: Scores::default(), by_step: vec![Scores::default(); h], fallbacks: 0 };
    for (scores, steps, fallbacks) in &parts {
        result.scores.merge(scores);
        result.by_step.iter_mut().zip(steps).for_each(|(a, b)| a.merge(b));
        result.fallbacks += fallbacks;
    }
    Ok(result)
}

pub(crate) fn score(out: &mut (Scores, Vec<Scores>, usize), y: &[f64], mean: &[f64], scale: TrainScale, mape_cap: Option<f64>) {
    out.0.add(&Window { y, mean, scale, mape_cap, ..Window::default() });
    for (k, step) in out.1.iter_mut().enumerate() {
        step.add(&Window { y: &y[k..=k], mean: &mean[k..=k], scale, mape_cap, ..Window::default() });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::run::observer::Silent;

    #[test]
    fn window_counts_of_the_papers() {
        // ETTh: test 2785, 2689, 2545, 2161 for any L; train 8449, 8353, 8209, 7825 at L = 96; validation as test.
        for l in [96, 336] {
            let p = ETT_H.parts(17420, l).unwrap();
            let counts = LONG.iter().map(|h| window_count(p.test.len(), l, *h)).collect::<Vec<_>>();
            assert_eq!(counts, [2785, 2689, 2545, 2161]);
            assert_eq!(window_count(p.val.len(), l, 96), 2785);
        }
        let p = ETT_H.parts(17420, 96).unwrap();
        assert_eq!((p.train.clone(), p.val.clone(), p.test.clone()), (0..8640, 8544..11520, 11424..14400));
        assert_eq!(LONG.iter().map(|h| window_count(p.train.len(), 96, *h)).collect::<Vec<_>>(), [8449, 8353, 8209, 7825]);
        let p = CUSTOM.parts(7588, 96).unwrap();
        assert_eq!(LONG.iter().map(|h| window_count(p.test.len(), 96, *h)).collect::<Vec<_>>(), [1422, 1326, 1182, 798]);
        let p = CUSTOM.parts(966, 104).unwrap();
        assert_eq!([24, 36, 48, 60].map(|h| window_count(p.test.len(), 104, h)), [170, 158, 146, 134]);
    }

    #[test]
    fn splits_that_do_not_fit_are_refused() {
        assert!(ETT_H.parts(14399, 96).unwrap_err().contains("14400"));
        assert!(CUSTOM.parts(100, 96).unwrap_err().contains("longer than"));
        assert!(Split::Shares { train: 0.9, test: 0.2 }.parts(100, 5).is_err());
    }

    #[test]
    fn drop_last_counts_whole_batches() {
        let y: Vec<f64> = (0..400).map(|t| (f64::from(t) * 0.3).sin() + f64::from(t % 7)).collect();
        let mut cfg = EvalConfig {
            split: CUSTOM,
            style: Style::Ltsf,
            lookback: 12,
            horizon: 4,
            season: 7,
            drop_last: None,
            select_on_test: false,
        };
        let full = evaluate(&ModelSpec::SeasonalNaive, &[&y], &cfg, &Silent);
        // Season 7 fits into 12 inputs; 80 + 12 rows give 77 windows.
        assert_eq!(full.unwrap().windows, 77);
        cfg.drop_last = Some(32);
        assert_eq!(evaluate(&ModelSpec::Naive, &[&y], &cfg, &Silent).unwrap().windows, 64);
        cfg.drop_last = Some(100);
        assert!(evaluate(&ModelSpec::Naive, &[&y], &cfg, &Silent).is_err());
    }

    #[test]
    fn pems_style_scales_by_part_and_strides() {
        let y: Vec<f64> = (0..1000).map(|t| 50.0 + 20.0 * (f64::from(t) * 0.1).sin()).collect();
        let cfg = EvalConfig {
            split: Split::SharesApart { train: 0.6, test: 0.2 },
            style: Style::Pems,
            lookback: 24,
            horizon: 12,
            season: 1,
            drop_last: None,
            select_on_test: false,
        };
        let r = evaluate(&ModelSpec::Naive, &[&y], &cfg, &Silent).unwrap();
        assert_eq!(r.windows, (200 - 24 - 12 + 1) / 12);
        // Scores come back on the original scale: recompute directly.
        let test = &y[800..];
        let mut abs = 0.0;
        for w in 0..r.windows {
            let at = w * 12 + 24;
            abs += (0..12).map(|k| (test[at + k] - test[at - 1]).abs()).sum::<f64>();
        }
        let mae = r.scores.columns(super::super::metrics::Metric::Mae)[0].1.unwrap();
        // Standardising and back costs a few ulp of 70 per element.
        assert!((mae - abs / (12.0 * r.windows as f64)).abs() < 1e-11);
    }
}
