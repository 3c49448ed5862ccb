//! Forecast accuracy: every metric of the tool, as one accumulator that can be merged in a fixed order.
//!
//! A [`Scores`] takes windows one at a time ([`Scores::add`]) and keeps sums, so that a metric over many windows is the flat
//! mean over all their elements, never a mean of means. Undefined values (no element with y ≠ 0 for `mape`, a constant
//! training part for `mase`) are `None`: they print as an empty cell, never as NaN.

use std::fmt;
use std::str::FromStr;

/// An accuracy measure. Formulas use e = y − f, with f the mean forecast.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Metric {
    /// mean e²
    Mse,
    /// mean |e|
    Mae,
    /// sqrt(mse)
    Rmse,
    /// 100 · mean |e / y|; elements with y = 0 are skipped
    Mape,
    /// mean (e / y)²; elements with y = 0 are skipped
    Mspe,
    /// mean of 200 |e| / (|y| + |f|), a zero denominator counting as 1 (M4)
    Smape,
    /// mean |e| / scale, scale = mean |y_t − y_{t−m}| of the training part
    Mase,
    /// sqrt(mean e² / scale), scale = mean (y_t − y_{t−m})² of the training part
    Rmsse,
    /// ‖e‖ / ‖y − mean(y)‖
    Rse,
    /// ½ (smape / smape of naive2 + mase / mase of naive2) (M4)
    Owa,
    /// mean over quantiles of max(q (y − f_q), (q − 1)(y − f_q))
    Pinball,
    /// 2 Σ pinball / (number of quantiles · Σ|y|)
    Wql,
    /// 2 · mean pinball over the quantile grid: the continuous ranked probability score as the grid grows
    Crps,
    /// share of lo ≤ y ≤ hi, one value per level
    Coverage,
    /// mean of hi − lo, one value per level
    Width,
}

/// All metrics with their command-line names.
pub const METRICS: [(Metric, &str); 15] = [
    (Metric::Mse, "mse"),
    (Metric::Mae, "mae"),
    (Metric::Rmse, "rmse"),
    (Metric::Mape, "mape"),
    (Metric::Mspe, "mspe"),
    (Metric::Smape, "smape"),
    (Metric::Mase, "mase"),
    (Metric::Rmsse, "rmsse"),
    (Metric::Rse, "rse"),
    (Metric::Owa, "owa"),
    (Metric::Pinball, "pinball"),
    (Metric::Wql, "wql"),
    (Metric::Crps, "crps"),
    (Metric::Coverage, "coverage"),
    (Metric::Width, "width"),
];

impl fmt::Display for Metric {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = METRICS.iter().find(|(m, _)| m == self).map_or("?", |(_, name)| name);
        f.write_str(name)
    }
}

impl FromStr for Metric {
    type Err = String;
    fn from_str(s: &str) -> Result<Self, String> {
        METRICS.iter().find(|(_, name)| *name == s).map(|(m, _)| *m).ok_or_else(|| {
            let names = METRICS.map(|(_, name)| name);
            format!("unknown metric \"{s}\", expected one of {}", names.join(", "))
        })
    }
}

impl Metric {
    /// Whether the metric needs quantiles or intervals.
    pub fn is_probabilistic(self) -> bool {
        matches!(self, Self::Pinball | Self::Wql | Self::Crps | Self::Coverage | Self::Width)
    }
}

/// What the scaled metrics divide by, from the training part of a series.
#[derive(Debug, Clone, Copy, Default)]
pub struct TrainScale {
    /// mean |y_t − y_{t−m}|; 0 when undefined
    pub abs: f64,
    /// mean (y_t − y_{t−m})²; 0 when undefined
    pub sq: f64,
}

impl TrainScale {
    /// The scale of a training part with season length `m` (1 = not seasonal). Falls back to m = 1 when the part is not longer than m.
    pub fn new(train: &[f64], m: usize) -> Self {
        let m = if train.len() > m { m.max(1) } else { 1 };
        let n = train.len().saturating_sub(m);
        if n == 0 {
            return Self::default();
        }
        let diff = train.iter().zip(&train[m..]).map(|(a, b)| b - a);
        let (abs, sq) = diff.fold((0.0, 0.0), |(a, s), d| (a + d.abs(), s + d * d));
        Self { abs: abs / n as f64, sq: sq / n as f64 }
    }
}

/// One scored window: truth, forecast, and what else the metrics may need. All slices have the length of `y`.
#[derive(Debug, Clone, Default)]
pub struct Window<'a> {
    /// Truth; NaN elements are skipped.
    pub y: &'a [f64],
    /// Mean forecast.
    pub mean: &'a [f64],
    /// (q, forecast of that quantile).
    pub quantiles: Vec<(f64, &'a [f64])>,
    /// (level in percent, lower, upper).
    pub levels: Vec<(f64, &'a [f64], &'a [f64])>,
    /// Scale of the training part.
    pub scale: TrainScale,
    /// The naive2 forecast (needed by OWA only).
    pub naive2: Option<&'a [f64]>,
    /// Relative errors above this (y = 0 included) enter `mape` and `mspe` as 0 instead of as themselves (PEMS).
    pub mape_cap: Option<f64>,
}

/// Sums over scored windows.
#[derive(Debug, Clone, Default)]
pub struct Scores {
    n: u64,
    abs: f64,
    sq: f64,
    y_abs: f64,
    /// Running mean of y and sum of squares about it (Welford), which do not cancel when the level is large.
    y_mean: f64,
    y_m2: f64,
    ape: f64,
    spe: f64,
    nonzero: u64,
    smape: f64,
    scaled_abs: f64,
    scaled_sq: f64,
    scaled: u64,
    naive2_smape: f64,
    naive2_scaled: f64,
    naive2_n: u64,
    naive2_scaled_n: u64,
    pinball: f64,
    pinball_n: u64,
    quantiles: usize,
    /// In the order first seen.
    levels: Vec<Level>,
}

/// Sums of one interval level, over the elements that have an interval.
#[derive(Debug, Clone, Copy, Default)]
struct Level {
    level: f64,
    n: u64,
    inside: u64,
    width: f64,
}

impl Scores {
    /// Adds the elements of one window.
    pub fn add(&mut self, w: &Window<'_>) {
        for (i, (&y, &f)) in w.y.iter().zip(w.mean).enumerate() {
            if y.is_nan() {
                continue;
            }
            let e = y - f;
            self.n += 1;
            self.abs += e.abs();
            self.sq += e * e;
            self.y_abs += y.abs();
            let off = y - self.y_mean;
            self.y_mean += off / self.n as f64;
            self.y_m2 += off * (y - self.y_mean);
            let relative = (e / y).abs();
            if w.mape_cap.is_some_and(|cap| y == 0.0 || relative > cap) {
                self.nonzero += 1;
            } else if y != 0.0 {
                self.nonzero += 1;
                self.ape += relative;
                self.spe += relative * relative;
            }
            self.smape += smape_term(y, f);
            if w.scale.abs > 0.0 {
                self.scaled += 1;
                self.scaled_abs += e.abs() / w.scale.abs;
                self.scaled_sq += e * e / w.scale.sq;
            }
            if let Some(n2) = w.naive2 {
                self.naive2_n += 1;
                self.naive2_smape += smape_term(y, n2[i]);
                if w.scale.abs > 0.0 {
                    self.naive2_scaled_n += 1;
                    self.naive2_scaled += (y - n2[i]).abs() / w.scale.abs;
                }
            }
            for (q, forecast) in &w.quantiles {
                let d = y - forecast[i];
                self.pinball += (q * d).max((q - 1.0) * d);
                self.pinball_n += 1;
            }
            for (level, lo, hi) in &w.levels {
                let slot = self.level(*level);
                slot.n += 1;
                slot.inside += u64::from(lo[i] <= y && y <= hi[i]);
                slot.width += hi[i] - lo[i];
            }
        }
        self.quantiles = self.quantiles.max(w.quantiles.len());
    }

    /// Adds the sums of another accumulator. Merging in a fixed order keeps results independent of the number of threads.
    pub fn merge(&mut self, o: &Scores) {
        if o.n > 0 {
            // Chan, Golub & LeVeque 1979: two means and their sums of squares in one.
            let (a, b) = (self.n as f64, o.n as f64);
            let off = o.y_mean - self.y_mean;
            self.y_mean += off * b / (a + b);
            self.y_m2 += o.y_m2 + off * off * a * b / (a + b);
        }
        self.n += o.n;
        self.abs += o.abs;
        self.sq += o.sq;
        self.y_abs += o.y_abs;
        self.ape += o.ape;
        self.spe += o.spe;
        self.nonzero += o.nonzero;
        self.smape += o.smape;
        self.scaled_abs += o.scaled_abs;
        self.scaled_sq += o.scaled_sq;
        self.scaled += o.scaled;
        self.naive2_smape += o.naive2_smape;
        self.naive2_scaled += o.naive2_scaled;
        self.naive2_n += o.naive2_n;
        self.naive2_scaled_n += o.naive2_scaled_n;
        self.pinball += o.pinball;
        self.pinball_n += o.pinball_n;
        self.quantiles = self.quantiles.max(o.quantiles);
        for l in &o.levels {
            let slot = self.level(l.level);
            slot.n += l.n;
            slot.inside += l.inside;
            slot.width += l.width;
        }
    }

    fn level(&mut self, level: f64) -> &mut Level {
        let at = self.levels.iter().position(|l| l.level == level).unwrap_or_else(|| {
            self.levels.push(Level { level, ..Level::default() });
            self.levels.len() - 1
        });
        &mut self.levels[at]
    }

    /// Makes sure that these levels have columns, defined or not.
    pub fn expect_levels(&mut self, levels: &[f64]) {
        levels.iter().for_each(|l| {
            self.level(*l);
        });
    }

    /// Elements scored.
    pub fn len(&self) -> u64 {
        self.n
    }

    /// Whether nothing was scored.
    pub fn is_empty(&self) -> bool {
        self.n == 0
    }

    /// Elements that `mape` and `mspe` skipped because y = 0.
    pub fn zeros_skipped(&self) -> u64 {
        self.n - self.nonzero
    }

    /// The metric's columns: one, or one per level for `coverage` and `width` (named `coverage-80`).
    pub fn columns(&self, metric: Metric) -> Vec<(String, Option<f64>)> {
        let ratio = |a: f64, b: f64| (b > 0.0).then_some(a / b).filter(|v| v.is_finite());
        let n = self.n as f64;
        let one = |v: Option<f64>| vec![(metric.to_string(), v)];
        match metric {
            Metric::Mse => one(ratio(self.sq, n)),
            Metric::Mae => one(ratio(self.abs, n)),
            Metric::Rmse => one(ratio(self.sq, n).map(f64::sqrt)),
            Metric::Mape => one(ratio(100.0 * self.ape, self.nonzero as f64)),
            Metric::Mspe => one(ratio(self.spe, self.nonzero as f64)),
            Metric::Smape => one(ratio(self.smape, n)),
            Metric::Mase => one(ratio(self.scaled_abs, self.scaled as f64)),
            Metric::Rmsse => one(ratio(self.scaled_sq, self.scaled as f64).map(f64::sqrt)),
            Metric::Rse => one(ratio(self.sq, self.y_m2).map(f64::sqrt)),
            Metric::Owa => {
                let smape = ratio(self.smape / n, self.naive2_smape / self.naive2_n as f64);
                let mase = ratio(self.scaled_abs / self.scaled as f64, self.naive2_scaled / self.naive2_scaled_n as f64);
                one(smape.zip(mase).map(|(s, m)| 0.5 * (s + m)))
            }
            Metric::Pinball => one(ratio(self.pinball, self.pinball_n as f64)),
            Metric::Wql => one(ratio(2.0 * self.pinball, self.quantiles as f64 * self.y_abs)),
            Metric::Crps => one(ratio(2.0 * self.pinball, self.pinball_n as f64)),
            Metric::Coverage => {
                self.levels.iter().map(|l| (format!("coverage-{}", l.level), ratio(l.inside as f64, l.n as f64))).collect()
            }
            Metric::Width => self.levels.iter().map(|l| (format!("width-{}", l.level), ratio(l.width, l.n as f64))).collect(),
        }
    }
}

/// 200 |y − f| / (|y| + |f|), a zero denominator counting as 1.
fn smape_term(y: f64, f: f64) -> f64 {
    let d = y.abs() + f.abs();
    200.0 * (y - f).abs() / if d == 0.0 { 1.0 } else { d }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(s: &Scores, m: Metric) -> f64 {
        s.columns(m)[0].1.expect("defined")
    }

    #[test]
    fn quantile_metrics_meet_the_worked_example() {
        // Two steps, quantiles .1/.5/.9: pinball [[.3,.5,.2],[.9,1.5,.8]], mean .7, wql .1217391.
        let (q1, q5, q9) = ([10.0, 11.0], [12.0, 13.0], [15.0, 18.0]);
        let mut s = Scores::default();
        s.add(&Window {
            y: &[13.0, 10.0],
            mean: &q5,
            quantiles: vec![(0.1, &q1), (0.5, &q5), (0.9, &q9)],
            levels: vec![(80.0, &q1, &q9)],
            ..Default::default()
        });
        assert!((value(&s, Metric::Pinball) - 0.7).abs() < 1e-12);
        assert!((value(&s, Metric::Wql) - 0.1217391).abs() < 5e-8, "printed to 7 digits");
        assert!((value(&s, Metric::Crps) - 1.4).abs() < 1e-12);
        assert_eq!(s.columns(Metric::Coverage), vec![("coverage-80".to_string(), Some(0.5))]);
        assert_eq!(s.columns(Metric::Width), vec![("width-80".to_string(), Some(6.0))]);
    }

    #[test]
    fn point_metrics_by_hand() {
        let mut s = Scores::default();
        let scale = TrainScale::new(&[1.0, 3.0, 2.0, 6.0], 1);
        s.add(&Window { y: &[2.0, 0.0, -4.0], mean: &[1.0, 1.0, -2.0], scale, ..Default::default() });
        assert_eq!(value(&s, Metric::Mse), 2.0);
        assert!((value(&s, Metric::Mae) - 4.0 / 3.0).abs() < 1e-15);
        assert_eq!(value(&s, Metric::Mape), 50.0);
        assert_eq!(s.zeros_skipped(), 1);
        assert_eq!(value(&s, Metric::Mspe), 0.25);
        assert!((value(&s, Metric::Smape) - (200.0 / 3.0 + 200.0 + 400.0 / 6.0) / 3.0).abs() < 1e-12);
        assert!((scale.abs - 7.0 / 3.0).abs() < 1e-15 && (scale.sq - 7.0).abs() < 1e-15);
        assert!((value(&s, Metric::Mase) - 4.0 / 7.0).abs() < 1e-15);
        assert!((value(&s, Metric::Rmsse) - (2.0f64 / 7.0).sqrt()).abs() < 1e-15);
        // mean y = -2/3, sum of squares about it = 20 - 4/3.
        assert!((value(&s, Metric::Rse) - (6.0f64 / (20.0 - 4.0 / 3.0)).sqrt()).abs() < 1e-15);
    }

    #[test]
    fn a_large_level_does_not_cancel() {
        let y: Vec<f64> = (0..100).map(|t| 1e9 + f64::from(t * 37 % 11)).collect();
        let small: Vec<f64> = (0..100).map(|t| f64::from(t * 37 % 11)).collect();
        let of = |y: &[f64], level: f64| {
            let mut s = Scores::default();
            for part in y.chunks(7) {
                let mut one = Scores::default();
                one.add(&Window { y: part, mean: &vec![level + 4.0; part.len()], ..Default::default() });
                s.merge(&one);
            }
            value(&s, Metric::Rse)
        };
        // The values 1e9 + k are exact, so only the running means round: about 1e9 · 1e-16 each, against a spread of 3.
        assert!((of(&y, 1e9) / of(&small, 0.0) - 1.0).abs() < 1e-6);
    }

    #[test]
    fn elements_without_an_interval_do_not_count_for_coverage() {
        let mut s = Scores::default();
        s.expect_levels(&[80.0, 95.0]);
        s.add(&Window { y: &[1.0], mean: &[1.0], levels: vec![(80.0, &[0.0], &[2.0])], ..Default::default() });
        s.add(&Window { y: &[1.0], mean: &[1.0], ..Default::default() });
        let got = s.columns(Metric::Coverage);
        assert_eq!(got, [("coverage-80".to_string(), Some(1.0)), ("coverage-95".to_string(), None)]);
    }

    #[test]
    fn merging_equals_adding() {
        let y: Vec<f64> = (0..50).map(|i| f64::from(i * i % 17)).collect();
        let f: Vec<f64> = (0..50).map(|i| f64::from(i % 11)).collect();
        let (mut whole, mut parts) = (Scores::default(), Scores::default());
        for (a, b) in y.chunks(10).zip(f.chunks(10)) {
            let w = Window { y: a, mean: b, scale: TrainScale { abs: 2.0, sq: 5.0 }, naive2: Some(a), ..Default::default() };
            whole.add(&w);
            let mut one = Scores::default();
            one.add(&w);
            parts.merge(&one);
        }
        for (m, _) in METRICS {
            for (a, b) in whole.columns(m).iter().zip(&parts.columns(m)) {
                // Sums of 50 terms in two groupings: at most 50 ulp apart.
                assert!(a.1 == b.1 || (a.1.unwrap() / b.1.unwrap() - 1.0).abs() < 50.0 * f64::EPSILON, "{m}");
            }
        }
    }

    #[test]
    fn undefined_is_none_never_nan() {
        let mut s = Scores::default();
        s.add(&Window { y: &[0.0, 0.0], mean: &[0.0, 0.0], ..Default::default() });
        for m in [Metric::Mape, Metric::Mspe, Metric::Mase, Metric::Rmsse, Metric::Rse, Metric::Owa, Metric::Pinball, Metric::Wql]
        {
            assert_eq!(s.columns(m)[0].1, None, "{m}");
        }
        assert_eq!(value(&s, Metric::Smape), 0.0);
        assert!(Scores::default().columns(Metric::Mse)[0].1.is_none());
    }
}
