//! Least-squares estimation of a Theta model, exact up to a search in one variable.
//!
//! Given α, the one-step error is affine in the initial level and in w = 1 - 1/θ,
//!
//! e_t = (y_t - s_t) - q^t (ℓ0 - y_0) - w D_t,   q = 1 - α,   D_t = A_{t-1} q^t + B_{t-1} (1 - q^{t+1})/α,
//!
//! with s_t the exponential smoothing of the series started at y_0 and (A, B) the line, which does not depend on the parameters
//! (t counts from 0). So both are eliminated by linear least squares (ℓ0 is free, w is clamped to its interval: exact, as the
//! problem is convex), and what remains is a smooth function of α alone, searched by a grid and Brent's method. Nothing depends
//! on a starting point.

use crate::forecast::optimize::minimise;

/// Interval of α, as in statsforecast and the R package forecTheta.
pub(super) const ALPHA: (f64, f64) = (0.1, 0.99);
/// Interval of w = 1 - 1/θ: θ from 1 to 1e10, as there.
pub(super) const WEIGHT: (f64, f64) = (0.0, 1.0 - 1e-10);
/// One-step errors left out of the criterion, as there: the start of the recursion.
pub(super) const BURN_IN: usize = 3;
/// Grid cells of the search in α.
const CELLS: usize = 30;

/// The line through the observations: of all of them, or (dynamic) of those seen so far.
pub(super) enum Line {
    /// Intercept A and slope B of the least-squares line over 1..=n.
    Fixed(f64, f64),
    /// Re-estimated with every observation.
    Dynamic,
}

/// The least-squares line over all observations, numbered from 1. y: (n), n >= 2 -> (A, B)
pub(super) fn line_of(y: &[f64]) -> (f64, f64) {
    let n = y.len() as f64;
    let centre = (n - 1.0) / 2.0;
    let mean = y.iter().sum::<f64>() / n;
    let sxy: f64 = y.iter().enumerate().map(|(t, v)| (t as f64 - centre) * (v - mean)).sum();
    let b = sxy / (n * (n * n - 1.0) / 12.0);
    (mean - b * (n + 1.0) / 2.0, b)
}

/// The running mean and slope of the dynamic models after `count` observations.
#[derive(Debug, Clone, Copy)]
pub(super) struct Running {
    pub count: f64,
    pub mean: f64,
    pub slope: f64,
}

impl Running {
    pub fn start(y0: f64) -> Self {
        Self { count: 1.0, mean: y0, slope: 0.0 }
    }

    /// Intercept and slope of the least-squares line so far.
    pub fn line(&self) -> (f64, f64) {
        (self.mean - self.slope * (self.count + 1.0) / 2.0, self.slope)
    }

    /// Takes one more observation in (recursive least squares).
    pub fn push(&mut self, y: f64) {
        let i = self.count;
        self.slope = ((i - 1.0) * self.slope + 6.0 * (y - self.mean) / (i + 1.0)) / (i + 2.0);
        self.mean = (i * self.mean + y) / (i + 1.0);
        self.count += 1.0;
    }
}

/// Parameters and the criterion they reach.
#[derive(Debug, Clone, Copy)]
pub(super) struct Estimate {
    pub alpha: f64,
    /// w = 1 - 1/θ.
    pub weight: f64,
    pub level0: f64,
    /// Σ e_t² over t >= 3.
    pub sse: f64,
    /// How many parameters were estimated rather than fixed.
    pub free: usize,
}

/// The series with room to work in. `fit` costs about 60 passes over the series.
pub(super) struct Problem<'a> {
    y: &'a [f64],
    /// Line before observation t, (n).
    line: Vec<(f64, f64)>,
    /// Work: y_t - s_t, D_t, q^(t-3) for t >= 3, each (n - 3).
    base: Vec<f64>,
    tilt: Vec<f64>,
    decay: Vec<f64>,
}

impl<'a> Problem<'a> {
    /// y: (n), n >= 4.
    pub fn new(y: &'a [f64], line: &Line) -> Self {
        let left = y.len().saturating_sub(BURN_IN);
        let line = match *line {
            Line::Fixed(a, b) => vec![(a, b); y.len()],
            Line::Dynamic => {
                let mut running = Running::start(y[0]);
                let mut line = vec![running.line()];
                for &v in &y[1..] {
                    line.push(running.line());
                    running.push(v);
                }
                line
            }
        };
        Self { y, line, base: vec![0.0; left], tilt: vec![0.0; left], decay: vec![0.0; left] }
    }

    /// Estimates α, ℓ0 and, if `optimise_theta`, θ (else θ = 2). Every estimated parameter needs two errors to show for itself:
    /// shorter series fix first θ = 2, then also α = 0.5 and ℓ0 = y_0/2 (the level at which θ = 2 reproduces a constant).
    pub fn fit(&mut self, optimise_theta: bool) -> Estimate {
        let errors = self.y.len().saturating_sub(BURN_IN);
        if errors < 4 {
            let (alpha, weight, level0) = (0.5, 0.5, 0.5 * self.y[0]);
            let sse = self.at(alpha, Some(weight), Some(level0)).sse;
            return Estimate { alpha, weight, level0, sse, free: 0 };
        }
        let weight = if optimise_theta && errors >= 6 { None } else { Some(0.5) };
        let (alpha, _) = minimise(|alpha| self.at(alpha, weight, None).sse, ALPHA.0, ALPHA.1, CELLS);
        Estimate { free: if weight.is_none() { 3 } else { 2 }, ..self.at(alpha, weight, None) }
    }

    /// The best ℓ0 and w for this α, or the given ones.
    fn at(&mut self, alpha: f64, weight: Option<f64>, level0: Option<f64>) -> Estimate {
        let y = self.y;
        let (q, inverse) = (1.0 - alpha, 1.0 / alpha);
        let (mut smooth, mut power) = (y[0], q);
        let (mut uu, mut ub, mut ud, mut dd) = (0.0, 0.0, 0.0, 0.0);
        let cubed = q * q * q;
        let scale = 1.0 / cubed;
        for (t, (&value, &(a, b))) in y.iter().zip(&self.line).enumerate().skip(1) {
            let next = power * q;
            if t >= BURN_IN {
                let base = value - smooth;
                let tilt = a * power + b * (1.0 - next) * inverse;
                let decay = power * scale;
                uu += decay * decay;
                ub += decay * base;
                ud += decay * tilt;
                dd += tilt * tilt;
                self.base[t - BURN_IN] = base;
                self.tilt[t - BURN_IN] = tilt;
                self.decay[t - BURN_IN] = decay;
            }
            smooth = alpha * value + q * smooth;
            // Far below any rounding error; subnormal numbers would only be slow.
            power = if next < 1e-200 { 0.0 } else { next };
        }
        let (shift, tied) = match level0 {
            Some(level) => (Some((level - y[0]) * cubed), 0.0),
            None => (None, ud / uu),
        };
        let free = if shift.is_some() { 0.0 } else { ub / uu };
        let weight = weight.unwrap_or_else(|| {
            // What remains of D and of the errors when the ℓ0 column is projected out.
            let (mut num, mut den) = (0.0, 0.0);
            for ((&b, &d), &u) in self.base.iter().zip(&self.tilt).zip(&self.decay) {
                let rest = d - tied * u;
                num += rest * (b - free * u);
                den += rest * rest;
            }
            // A line without slope only acts through ℓ0: θ is not determined and stays at 2.
            if den > 1e-20 * dd { (num / den).clamp(WEIGHT.0, WEIGHT.1) } else { 0.5 }
        });
        let shift = shift.unwrap_or(free - weight * tied);
        let sse = self.base.iter().zip(&self.tilt).zip(&self.decay).map(|((b, d), u)| b - weight * d - shift * u);
        let sse = sse.map(|e| e * e).sum();
        Estimate { alpha, weight, level0: y[0] + shift / cubed, sse, free: 0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The criterion written as the papers do, one step after the other.
    fn plain(y: &[f64], line: &Line, alpha: f64, weight: f64, level0: f64) -> f64 {
        let mut level = alpha * y[0] + (1.0 - alpha) * level0;
        let mut running = Running::start(y[0]);
        let mut sse = 0.0;
        for (t, &value) in y.iter().enumerate().skip(1) {
            let (a, b) = match *line {
                Line::Fixed(a, b) => (a, b),
                Line::Dynamic => running.line(),
            };
            let q = (1.0 - alpha).powi(t as i32);
            let e = value - level - weight * (a * q + b * (1.0 - q * (1.0 - alpha)) / alpha);
            if t >= 3 {
                sse += e * e;
            }
            level = alpha * value + (1.0 - alpha) * level;
            running.push(value);
        }
        sse
    }

    fn series(seed: u64, n: usize) -> Vec<f64> {
        let mut s = seed;
        let mut level = 10.0;
        (0..n)
            .map(|t| {
                s = s.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
                let u = (s >> 11) as f64 / (1u64 << 53) as f64 - 0.5;
                level += 0.4 * u;
                level + 0.05 * t as f64 + 1.5 * u
            })
            .collect()
    }

    #[test]
    fn the_running_line_is_the_least_squares_line_of_the_prefix() {
        let y = series(3, 30);
        let mut running = Running::start(y[0]);
        for n in 2..=30 {
            running.push(y[n - 1]);
            let ((a, b), (c, d)) = (running.line(), line_of(&y[..n]));
            assert!((a - c).abs() < 1e-11 && (b - d).abs() < 1e-12, "{n}");
        }
    }

    #[test]
    fn the_profile_is_the_criterion_and_its_linear_part_is_optimal() {
        for seed in 1..6 {
            let y = series(seed, 40);
            let (a, b) = line_of(&y);
            for line in [Line::Fixed(a, b), Line::Dynamic] {
                let mut problem = Problem::new(&y, &line);
                for alpha in [0.1, 0.35, 0.8, 0.99] {
                    for fixed in [None, Some(0.5)] {
                        let e = problem.at(alpha, fixed, None);
                        let sse = plain(&y, &line, alpha, e.weight, e.level0);
                        // At α = 0.99 the start enters as 1e-6 ℓ0: ten digits of 16 remain.
                        assert!((sse - e.sse).abs() <= 1e-9 * sse, "{seed} {alpha} {sse} {}", e.sse);
                        for (dw, dl) in [(1e-3, 0.0), (-1e-3, 0.0), (0.0, 1.0), (0.0, -1.0), (1e-3, 1.0), (-1e-3, 1.0)] {
                            let w = if fixed.is_some() { e.weight } else { (e.weight + dw).clamp(WEIGHT.0, WEIGHT.1) };
                            assert!(plain(&y, &line, alpha, w, e.level0 + dl) >= sse * (1.0 - 1e-9), "{seed} {alpha}");
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn no_point_of_a_fine_grid_is_lower() {
        for seed in 1..30 {
            let y = series(seed, 10 + 3 * seed as usize);
            let (a, b) = line_of(&y);
            for line in [Line::Fixed(a, b), Line::Dynamic] {
                let mut problem = Problem::new(&y, &line);
                for theta in [true, false] {
                    let best = problem.fit(theta).sse;
                    for i in 0..=2000 {
                        let alpha = ALPHA.0 + (ALPHA.1 - ALPHA.0) * i as f64 / 2000.0;
                        let here = problem.at(alpha, if theta { None } else { Some(0.5) }, None).sse;
                        assert!(best <= here * (1.0 + 1e-12), "{seed} {theta}: {best} above {here} at {alpha}");
                    }
                }
            }
        }
    }
}
