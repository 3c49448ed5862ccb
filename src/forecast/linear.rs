//! Linear maps from a lookback window to a horizon, fitted in closed form and shared by all series (channels) of a panel.
//!
//! - `linear`: ŷ = W x + b.
//! - `dlinear`: W_s (x − M x) + W_t (M x) + b with M a moving average. Its function class is that of one linear layer (put
//!   W on both parts), so the exact optimum **is** `linear`; the name is kept because people look for it.
//! - `nlinear`: the last value of the window is subtracted from inputs and targets, then as `linear`.
//! - `rlinear`: window and targets are standardised by the window's mean and standard deviation (reversible instance
//!   normalisation without its affine part), then as `linear`; the squared error is that of the standardised targets.
//!
//! # Cost
//! `linear` and `nlinear` windows overlap in all but one element, so the Gram matrix of L inputs and H outputs over n windows
//! follows from its first row: Γ(i+1, j+1) = Γ(i, j) − x_i x_j + x_{n+i} x_{n+j}. That is O((L + H)(n + L)) per series instead
//! of O(n L (L + H)). `rlinear` weighs every window differently and pays the full product. The solve is O(L³).
//!
//! # Source
//! Zeng et al. 2023, "Are Transformers Effective for Time Series Forecasting?" (DLinear, NLinear); Li et al. 2023 (RLinear).
//! Changed: exact least squares over all training windows instead of stochastic gradient descent.

use super::model::FitError;
use faer::linalg::matmul::matmul;
use faer::linalg::solvers::Solve;
use faer::{Accum, Mat, MatMut, MatRef, Par, Side};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

/// Which window normalisation surrounds the linear map.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LinearKind {
    /// None.
    Linear,
    /// Moving-average decomposition (same optimum as [`LinearKind::Linear`]).
    Dlinear,
    /// Last value subtracted.
    Nlinear,
    /// Mean subtracted, divided by the standard deviation.
    Rlinear,
}

/// A fitted linear map, weights shared by all series.
#[derive(Debug, Clone)]
pub struct LinearModel {
    kind: LinearKind,
    lookback: usize,
    horizon: usize,
    /// (H, F) row-major over features: F = L values, or L − 1 differences for `nlinear`.
    weights: Vec<f64>,
    /// (H)
    bias: Vec<f64>,
    /// Training windows, all series together.
    windows: usize,
    /// Whether the normal equations were singular and the minimum-norm solution was taken.
    singular: bool,
}

/// Variance floor of the instance normalisation, as in RevIN.
const REVIN_EPS: f64 = 1e-5;
/// Windows per block of the `rlinear` product and of batched prediction: 512 windows of 1,000 values are 4 MB.
const BLOCK: usize = 512;

/// Series summed at a time.
const BATCH: usize = 64;

/// Sums over training windows: `gram` (F+1, F+1) with the constant last, `cross` (F+1, H), column-major.
struct Normal {
    gram: Mat<f64>,
    cross: Mat<f64>,
    windows: usize,
}

impl LinearModel {
    /// Fits by least squares over all windows of all series. `series`: n_s values each; those shorter than L + H give no window.
    ///
    /// # Errors
    /// [`FitError::TooShort`] when no series has L + H values; [`FitError::NonFinite`] for missing values;
    /// [`FitError::Spec`] for L or H of 0, or L < 2 with `nlinear`/`rlinear`.
    pub fn fit(kind: LinearKind, series: &[&[f64]], lookback: usize, horizon: usize) -> Result<Self, FitError> {
        let least = if matches!(kind, LinearKind::Nlinear | LinearKind::Rlinear) { 2 } else { 1 };
        if lookback < least || horizon == 0 {
            return Err(FitError::Spec(format!("a lookback of at least {least} and a horizon of at least 1 are needed")));
        }
        let need = lookback + horizon;
        let longest = series.iter().map(|y| y.len()).max().unwrap_or(0);
        if longest < need {
            return Err(FitError::TooShort { need, got: longest });
        }
        for y in series {
            super::model::check_series(y, 0)?;
        }
        let usable: Vec<&[f64]> = series.iter().copied().filter(|y| y.len() >= need).collect();
        let mut total: Option<Normal> = None;
        // A batch at a time, summed in order: memory does not grow with the panel and the sum does not depend on threads.
        for batch in usable.chunks(BATCH) {
            let parts: Vec<Normal> = batch
                .par_iter()
                .map(|y| match kind {
                    LinearKind::Linear | LinearKind::Dlinear => hankel_sums(y, lookback, horizon),
                    LinearKind::Nlinear => difference_sums(y, lookback, horizon),
                    LinearKind::Rlinear => standardised_sums(y, lookback, horizon),
                })
                .collect();
            for p in parts {
                match &mut total {
                    None => total = Some(p),
                    Some(t) => {
                        t.gram += &p.gram;
                        t.cross += &p.cross;
                        t.windows += p.windows;
                    }
                }
            }
        }
        let total = total.ok_or(FitError::TooShort { need, got: longest })?;
        let features = total.gram.nrows() - 1;
        let (solution, singular) = solve_normal(&total.gram, &total.cross)?;
        let weights = (0..horizon).flat_map(|k| (0..features).map(move |i| (i, k))).map(|(i, k)| solution[(i, k)]).collect();
        let bias = (0..horizon).map(|k| solution[(features, k)]).collect();
        Ok(Self { kind, lookback, horizon, weights, bias, windows: total.windows, singular })
    }

    /// Window length L.
    pub fn lookback(&self) -> usize {
        self.lookback
    }

    /// Training windows, all series together.
    pub fn windows(&self) -> usize {
        self.windows
    }

    /// Whether the inputs were collinear, so that the minimum-norm solution was taken.
    pub fn singular(&self) -> bool {
        self.singular
    }

    /// Forecasts the `horizon` values after `window`'s last `lookback` values.
    pub fn predict(&self, window: &[f64]) -> Result<Vec<f64>, FitError> {
        if window.len() < self.lookback {
            return Err(FitError::TooShort { need: self.lookback, got: window.len() });
        }
        let out = self.predict_windows(&window[window.len() - self.lookback..], 1);
        Ok((0..self.horizon).map(|k| out[(k, 0)]).collect())
    }

    /// Forecasts from the `count` windows that start at 0, 1, ... of `y` (length at least count + L − 1). Result: (H, count).
    pub fn predict_windows(&self, y: &[f64], count: usize) -> Mat<f64> {
        let (l, h) = (self.lookback, self.horizon);
        let features = self.weights.len() / h;
        let weights = MatRef::from_row_major_slice(&self.weights, h, features);
        let mut out = Mat::zeros(h, count);
        let mut x = Mat::zeros(features, BLOCK.min(count));
        for start in (0..count).step_by(BLOCK) {
            let block = BLOCK.min(count - start);
            let norms: Vec<(f64, f64)> = (0..block).map(|c| self.normalise(&y[start + c..start + c + l], &mut x, c)).collect();
            let mut target: MatMut<'_, f64> = out.as_mut().subcols_mut(start, block);
            matmul(target.as_mut(), Accum::Replace, weights, x.as_ref().subcols(0, block), 1.0, Par::Seq);
            for (c, (shift, scale)) in norms.iter().enumerate() {
                for k in 0..h {
                    target[(k, c)] = (target[(k, c)] + self.bias[k]) * scale + shift;
                }
            }
        }
        out
    }

    /// Writes the features of one window into column `c` and returns (shift, scale) that undo the normalisation.
    fn normalise(&self, window: &[f64], x: &mut Mat<f64>, c: usize) -> (f64, f64) {
        let column = x.col_as_slice_mut(c);
        match self.kind {
            LinearKind::Linear | LinearKind::Dlinear => {
                column.copy_from_slice(window);
                (0.0, 1.0)
            }
            LinearKind::Nlinear => {
                for (v, w) in column.iter_mut().zip(window.windows(2)) {
                    *v = w[1] - w[0];
                }
                (window[window.len() - 1], 1.0)
            }
            LinearKind::Rlinear => {
                let (mean, sd) = window_stats(window);
                for (v, w) in column.iter_mut().zip(window) {
                    *v = (w - mean) / sd;
                }
                (mean, sd)
            }
        }
    }
}

/// Mean and standard deviation (population, floored) of a window.
fn window_stats(window: &[f64]) -> (f64, f64) {
    let n = window.len() as f64;
    let mean = window.iter().sum::<f64>() / n;
    let var = window.iter().map(|v| (v - mean) * (v - mean)).sum::<f64>() / n;
    (mean, (var + REVIN_EPS).sqrt())
}

/// Γ(i, j) = Σ_t x_{t+i} x_{t+j} for i < rows, j < cols, over the windows t < n, by the overlap recursion; and the sums Σ_t x_{t+j}.
fn hankel_gram(x: &[f64], n: usize, rows: usize, cols: usize) -> (Mat<f64>, Vec<f64>) {
    let dot = |a: usize, b: usize| x[a..a + n].iter().zip(&x[b..b + n]).map(|(p, q)| p * q).sum::<f64>();
    let mut g = Mat::zeros(rows, cols);
    for j in 0..cols {
        g[(0, j)] = dot(0, j);
    }
    for i in 1..rows {
        g[(i, 0)] = if i < cols { g[(0, i)] } else { dot(i, 0) };
        for j in 1..cols {
            g[(i, j)] = g[(i - 1, j - 1)] - x[i - 1] * x[j - 1] + x[n + i - 1] * x[n + j - 1];
        }
    }
    let mut sums = vec![0.0; cols];
    sums[0] = x[..n].iter().sum();
    for j in 1..cols {
        sums[j] = sums[j - 1] - x[j - 1] + x[n + j - 1];
    }
    (g, sums)
}

/// Normal equations of the plain linear map.
fn hankel_sums(y: &[f64], l: usize, h: usize) -> Normal {
    let n = y.len() - l - h + 1;
    let (g, sums) = hankel_gram(y, n, l, l + h);
    let gram = Mat::from_fn(l + 1, l + 1, |i, j| match (i == l, j == l) {
        (true, true) => n as f64,
        (true, false) => sums[j],
        (false, true) => sums[i],
        (false, false) => g[(i, j)],
    });
    let cross = Mat::from_fn(l + 1, h, |i, k| if i == l { sums[l + k] } else { g[(i, l + k)] });
    Normal { gram, cross, windows: n }
}

/// Normal equations of `nlinear` in differences: x_i − x_last is a sum of differences, so the function class is the same, and
/// nothing cancels when the level is large against the steps. The target for step k is the sum of the k + 1 next differences.
fn difference_sums(y: &[f64], l: usize, h: usize) -> Normal {
    let n = y.len() - l - h + 1;
    let d: Vec<f64> = y.windows(2).map(|w| w[1] - w[0]).collect();
    let f = l - 1;
    let (g, sums) = hankel_gram(&d, n, f.max(1), f + h);
    let gram = Mat::from_fn(f + 1, f + 1, |i, j| match (i == f, j == f) {
        (true, true) => n as f64,
        (true, false) => sums[j],
        (false, true) => sums[i],
        (false, false) => g[(i, j)],
    });
    let mut cross = Mat::zeros(f + 1, h);
    for i in 0..=f {
        let mut total = 0.0;
        for k in 0..h {
            total += if i == f { sums[f + k] } else { g[(i, f + k)] };
            cross[(i, k)] = total;
        }
    }
    Normal { gram, cross, windows: n }
}

/// Normal equations of `rlinear`, by blocks of standardised windows.
fn standardised_sums(y: &[f64], l: usize, h: usize) -> Normal {
    let n = y.len() - l - h + 1;
    let mut gram = Mat::zeros(l + 1, l + 1);
    let mut cross = Mat::zeros(l + 1, h);
    let mut x = Mat::zeros(l + 1, BLOCK);
    let mut t = Mat::zeros(h, BLOCK);
    for start in (0..n).step_by(BLOCK) {
        let block = BLOCK.min(n - start);
        for c in 0..block {
            let at = start + c;
            let (mean, sd) = window_stats(&y[at..at + l]);
            let column = x.col_as_slice_mut(c);
            for (v, w) in column.iter_mut().zip(&y[at..at + l]) {
                *v = (w - mean) / sd;
            }
            column[l] = 1.0;
            for (v, w) in t.col_as_slice_mut(c).iter_mut().zip(&y[at + l..at + l + h]) {
                *v = (w - mean) / sd;
            }
        }
        let (xb, tb) = (x.as_ref().subcols(0, block), t.as_ref().subcols(0, block));
        matmul(gram.as_mut(), Accum::Add, xb, xb.transpose(), 1.0, Par::Seq);
        matmul(cross.as_mut(), Accum::Add, xb, tb.transpose(), 1.0, Par::Seq);
    }
    Normal { gram, cross, windows: n }
}

/// Solves gram · β = cross: Cholesky after scaling the diagonal to one; when that is too ill-conditioned, the minimum-norm
/// solution from the eigenvalues (those below 1e-13 of the largest count as zero). Returns whether the fallback was needed.
fn solve_normal(gram: &Mat<f64>, cross: &Mat<f64>) -> Result<(Mat<f64>, bool), FitError> {
    let f = gram.nrows();
    let scale: Vec<f64> = (0..f).map(|i| if gram[(i, i)] > 0.0 { gram[(i, i)].sqrt().recip() } else { 1.0 }).collect();
    let a = Mat::from_fn(f, f, |i, j| gram[(i, j)] * scale[i] * scale[j]);
    let b = Mat::from_fn(f, cross.ncols(), |i, k| cross[(i, k)] * scale[i]);
    let unscale = |z: Mat<f64>| Mat::from_fn(f, cross.ncols(), |i, k| z[(i, k)] * scale[i]);
    if let Ok(llt) = a.llt(Side::Lower) {
        // The smallest pivot bounds the condition number; 1e-7 squared leaves half of the digits.
        let smallest = (0..f).map(|i| llt.L()[(i, i)]).fold(f64::INFINITY, f64::min);
        if smallest > 1e-7 {
            return Ok((unscale(llt.solve(&b)), false));
        }
    }
    let eigen =
        a.self_adjoint_eigen(Side::Lower).map_err(|_| FitError::Numerical("no eigenvalues of the normal equations".into()))?;
    let (values, vectors) = (eigen.S().column_vector(), eigen.U());
    let cutoff = 1e-13 * values.iter().fold(0.0f64, |m, v| m.max(v.abs()));
    let projected = vectors.transpose() * &b;
    let kept = Mat::from_fn(f, b.ncols(), |i, k| if values[i] > cutoff { projected[(i, k)] / values[i] } else { 0.0 });
    let z = vectors * kept;
    Ok((unscale(z), true))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A deterministic series with a cycle, a trend and something irregular.
    fn series(n: usize, phase: f64) -> Vec<f64> {
        (0..n)
            .map(|t| {
                let t = t as f64;
                (t * 0.4 + phase).sin() + 0.01 * t + 0.3 * ((t * t * 0.7319 + phase).sin())
            })
            .collect()
    }

    /// The definition: every window as a row, normal equations by plain loops.
    fn direct(kind: LinearKind, series: &[&[f64]], l: usize, h: usize) -> Normal {
        let (mut gram, mut cross, mut windows) = (Mat::zeros(l + 1, l + 1), Mat::zeros(l + 1, h), 0);
        for y in series {
            for t in 0..=(y.len() - l - h) {
                let (shift, scale) = match kind {
                    LinearKind::Nlinear => (y[t + l - 1], 1.0),
                    LinearKind::Rlinear => window_stats(&y[t..t + l]),
                    _ => (0.0, 1.0),
                };
                let z = |i: usize| if i == l { 1.0 } else { (y[t + i] - shift) / scale };
                for i in 0..=l {
                    for j in 0..=l {
                        gram[(i, j)] += z(i) * z(j);
                    }
                    for k in 0..h {
                        cross[(i, k)] += z(i) * (y[t + l + k] - shift) / scale;
                    }
                }
                windows += 1;
            }
        }
        Normal { gram, cross, windows }
    }

    #[test]
    fn the_overlap_recursion_equals_the_definition() {
        let (a, b) = (series(120, 0.0), series(77, 1.0));
        for kind in [LinearKind::Linear, LinearKind::Nlinear, LinearKind::Rlinear] {
            let model = LinearModel::fit(kind, &[&a, &b], 9, 4).unwrap();
            let reference = direct(kind, &[&a, &b], 9, 4);
            assert_eq!(model.windows(), reference.windows);
            let (beta, _) = solve_normal(&reference.gram, &reference.cross).unwrap();
            let window = &a[30..39];
            let (shift, scale) = match kind {
                LinearKind::Nlinear => (window[8], 1.0),
                LinearKind::Rlinear => window_stats(window),
                _ => (0.0, 1.0),
            };
            let got = model.predict(window).unwrap();
            for k in 0..4 {
                let raw: f64 = (0..9).map(|i| beta[(i, k)] * (window[i] - shift) / scale).sum::<f64>() + beta[(9, k)];
                // Normal equations lose the square of the condition number (about 1e3 here): 1e-16 · 1e6, with room.
                assert!((got[k] - (raw * scale + shift)).abs() < 1e-9, "{kind:?} step {k}");
            }
        }
    }

    #[test]
    fn an_exact_linear_recurrence_is_recovered() {
        let mut y = vec![1.0, 0.3];
        for t in 2..80 {
            let v = 1.6 * y[t - 1] - 0.9 * y[t - 2] + 0.2;
            y.push(v);
        }
        let model = LinearModel::fit(LinearKind::Linear, &[&y[..60]], 2, 3).unwrap();
        let got = model.predict(&y[..60]).unwrap();
        for k in 0..3 {
            assert!((got[k] - y[60 + k]).abs() < 1e-9, "{} against {}", got[k], y[60 + k]);
        }
    }

    #[test]
    fn nlinear_commutes_with_a_shift_and_linear_equals_dlinear() {
        let y = series(150, 0.5);
        let shifted: Vec<f64> = y.iter().map(|v| v + 1e6).collect();
        let a = LinearModel::fit(LinearKind::Nlinear, &[&y], 12, 5).unwrap().predict(&y).unwrap();
        let b = LinearModel::fit(LinearKind::Nlinear, &[&shifted], 12, 5).unwrap().predict(&shifted).unwrap();
        for k in 0..5 {
            // The shift itself rounds every value to 1e6 · 2e-16.
            assert!((a[k] + 1e6 - b[k]).abs() < 1e-7, "step {k}");
        }
        let a = LinearModel::fit(LinearKind::Linear, &[&y], 12, 5).unwrap().predict(&y).unwrap();
        let b = LinearModel::fit(LinearKind::Dlinear, &[&y], 12, 5).unwrap().predict(&y).unwrap();
        assert_eq!(a, b);
    }

    #[test]
    fn degenerate_input_is_an_answer_or_an_error() {
        let flat = vec![3.0; 60];
        for kind in [LinearKind::Linear, LinearKind::Nlinear, LinearKind::Rlinear] {
            let got = LinearModel::fit(kind, &[&flat], 8, 4).unwrap().predict(&flat).unwrap();
            assert!(got.iter().all(|v| (v - 3.0).abs() < 1e-9), "{kind:?}: {got:?}");
        }
        assert_eq!(LinearModel::fit(LinearKind::Linear, &[&flat], 60, 4).err(), Some(FitError::TooShort { need: 64, got: 60 }));
        assert!(LinearModel::fit(LinearKind::Nlinear, &[&flat], 1, 4).is_err());
        assert!(LinearModel::fit(LinearKind::Linear, &[], 8, 4).is_err());
        let mut holed = flat.clone();
        holed[5] = f64::NAN;
        assert!(matches!(LinearModel::fit(LinearKind::Linear, &[&holed], 8, 4), Err(FitError::NonFinite { index: 6, .. })));
    }

    #[test]
    fn batched_prediction_equals_single_windows() {
        let y = series(700, 0.2);
        for kind in [LinearKind::Linear, LinearKind::Nlinear, LinearKind::Rlinear] {
            let model = LinearModel::fit(kind, &[&y], 10, 3).unwrap();
            let batch = model.predict_windows(&y, 600);
            for t in [0, 1, 511, 512, 599] {
                let one = model.predict(&y[t..t + 10]).unwrap();
                for k in 0..3 {
                    assert!((batch[(k, t)] - one[k]).abs() < 1e-12, "{kind:?} window {t}");
                }
            }
        }
    }
}
