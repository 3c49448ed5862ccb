//! Seasonal-trend decomposition by LOESS, without robustness weights: what the strength of a season is measured on.
//!
//! Source: Cleveland, Cleveland, McRae & Terpenning (1990), STL: A Seasonal-Trend Decomposition Procedure Based on Loess. Five
//! inner iterations, no jumps. Weights depend on positions only, so each smoother is a fixed banded matrix, built once.

/// The parts of y = seasonal + trend + remainder that the strength of a season needs, each of shape (n).
#[derive(Debug, Clone)]
pub(super) struct Decomposition {
    pub(super) seasonal: Vec<f64>,
    pub(super) remainder: Vec<f64>,
}

/// Decomposes `y` (n) with period `m` (2 <= m, 2m < n): locally constant seasonal smoothing over `seasonal` years (odd, at least 3),
/// locally linear trend and low-pass smoothing with the default spans of the paper.
///
/// Cost O(n m) per iteration.
pub(super) fn decompose(y: &[f64], m: usize, seasonal: usize) -> Decomposition {
    let n = y.len();
    let odd = |v: usize| v + usize::from(v.is_multiple_of(2));
    let trend_span = odd((1.5 * m as f64 / (1.0 - 1.5 / seasonal as f64)).ceil() as usize);
    let trend_smoother = Smoother::new(n, trend_span, true, 0);
    let low_pass = Smoother::new(n, odd(m + 1), true, 0);
    // Cycle-subseries come in two lengths; their smoothers reach one step past both ends.
    let (short, long) = (n / m, n.div_ceil(m));
    let subseries = [Smoother::new(short, seasonal, false, 1), Smoother::new(long, seasonal, false, 1)];
    let (mut season, mut trend) = (vec![0.0; n], vec![0.0; n]);
    let mut cycle = vec![0.0; n + 2 * m];
    let (mut line, mut smooth) = (Vec::new(), Vec::new());
    for _ in 0..5 {
        for j in 0..m {
            line.clear();
            line.extend((j..n).step_by(m).map(|t| y[t] - trend[t]));
            let smoother = if line.len() == short { &subseries[0] } else { &subseries[1] };
            smoother.apply(&line, &mut smooth);
            for (i, &v) in smooth.iter().enumerate() {
                cycle[i * m + j] = v;
            }
        }
        let averaged = moving_average(&moving_average(&moving_average(&cycle, m), m), 3);
        low_pass.apply(&averaged, &mut smooth);
        for t in 0..n {
            season[t] = cycle[m + t] - smooth[t];
        }
        line.clear();
        line.extend((0..n).map(|t| y[t] - season[t]));
        trend_smoother.apply(&line, &mut trend);
    }
    let remainder = (0..n).map(|t| y[t] - season[t] - trend[t]).collect();
    Decomposition { seasonal: season, remainder }
}

fn moving_average(x: &[f64], span: usize) -> Vec<f64> {
    let mut sum: f64 = x[..span].iter().sum();
    let mut out = vec![sum / span as f64];
    for t in span..x.len() {
        sum += x[t] - x[t - span];
        out.push(sum / span as f64);
    }
    out
}

/// LOESS on equally spaced points as a banded matrix.
struct Smoother {
    /// (first column, weights) by output row; interior rows share one set of weights.
    rows: Vec<(usize, usize)>,
    weights: Vec<Vec<f64>>,
}

impl Smoother {
    /// For `n` points, `span` neighbours, locally linear or constant, evaluated from `1 - beyond` to `n + beyond`.
    fn new(n: usize, span: usize, linear: bool, beyond: usize) -> Self {
        let mut rows = Vec::with_capacity(n + 2 * beyond);
        let mut weights: Vec<Vec<f64>> = Vec::new();
        let width = span.min(n);
        let mut interior = None;
        for position in 0..n + 2 * beyond {
            // The target in the coordinate of the points, 1..=n.
            let x = position as f64 + 1.0 - beyond as f64;
            let left = (x as isize - 1 - (span as isize) / 2).clamp(0, (n - width) as isize) as usize;
            let centred = span <= n && x as isize - 1 - (span as isize) / 2 == left as isize;
            if centred && let Some(index) = interior {
                rows.push((left, index));
                continue;
            }
            if centred {
                interior = Some(weights.len());
            }
            rows.push((left, weights.len()));
            weights.push(local_weights(n, span, linear, x, left, width));
        }
        Self { rows, weights }
    }

    fn apply(&self, x: &[f64], out: &mut Vec<f64>) {
        out.clear();
        out.extend(
            self.rows.iter().map(|&(left, index)| self.weights[index].iter().zip(&x[left..]).map(|(w, v)| w * v).sum::<f64>()),
        );
    }
}

/// Tricube weights of the points left+1..=left+width for the target `x`, turned into those of the local line's value there.
fn local_weights(n: usize, span: usize, linear: bool, x: f64, left: usize, width: usize) -> Vec<f64> {
    let point = |i: usize| (left + i + 1) as f64;
    let mut reach = (x - point(0)).max(point(width - 1) - x);
    if span > n {
        reach += ((span - n) / 2) as f64;
    }
    let mut w: Vec<f64> = (0..width)
        .map(|i| {
            let r = (point(i) - x).abs();
            if r > 0.999 * reach {
                0.0
            } else if r <= 0.001 * reach {
                1.0
            } else {
                (1.0 - (r / reach).powi(3)).powi(3)
            }
        })
        .collect();
    let total: f64 = w.iter().sum();
    if total <= 0.0 {
        // One point or none within reach: the nearest stands for itself.
        let nearest = (0..width).min_by(|&a, &b| (point(a) - x).abs().total_cmp(&(point(b) - x).abs())).unwrap_or(0);
        return (0..width).map(|i| f64::from(u8::from(i == nearest))).collect();
    }
    w.iter_mut().for_each(|w| *w /= total);
    if linear && reach > 0.0 {
        let centre: f64 = w.iter().enumerate().map(|(i, w)| w * point(i)).sum();
        let spread: f64 = w.iter().enumerate().map(|(i, w)| w * (point(i) - centre).powi(2)).sum();
        if spread.sqrt() > 0.001 * (n as f64 - 1.0) {
            let slope = (x - centre) / spread;
            for (i, w) in w.iter_mut().enumerate() {
                *w *= slope * (point(i) - centre) + 1.0;
            }
        }
    }
    w
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_kept_as_trend() {
        let y: Vec<f64> = (0..60).map(|t| 3.0 + 0.5 * t as f64).collect();
        let d = decompose(&y, 4, 11);
        for (t, &value) in y.iter().enumerate() {
            // A straight line is its own local line; the seasonal smoother is locally constant, so its ends bend a little.
            assert!((d.seasonal[t] + d.remainder[t]).abs() < 1.0, "{t}: {value}");
        }
        // Away from the ends the remainder vanishes, as fast as five inner iterations keep the bend outside.
        let middle = (25..35).fold(0.0f64, |m, t| m.max(d.remainder[t].abs()));
        assert!(middle < 1e-4, "{middle}");
    }

    #[test]
    fn a_pure_season_is_found() {
        let season = [3.0, -1.0, 0.5, -2.5];
        let y: Vec<f64> = (0..48).map(|t| 10.0 + season[t % 4]).collect();
        let d = decompose(&y, 4, 11);
        for t in 0..48 {
            assert!((d.seasonal[t] - season[t % 4]).abs() < 1e-9 && d.remainder[t].abs() < 1e-9);
        }
    }

    #[test]
    fn smoother_rows_sum_to_one_and_reproduce_lines() {
        for (n, span) in [(30, 7), (5, 11), (11, 11), (2, 11)] {
            for linear in [false, true] {
                let s = Smoother::new(n, span, linear, 1);
                let (mut out, line): (Vec<f64>, Vec<f64>) = (Vec::new(), (1..=n).map(|i| i as f64).collect());
                s.apply(&vec![1.0; n], &mut out);
                assert!(out.iter().all(|v| (v - 1.0).abs() < 1e-12), "{n} {span}");
                s.apply(&line, &mut out);
                if linear && n > 2 {
                    assert!(out.iter().zip(0..).all(|(v, x)| (v - f64::from(x)).abs() < 1e-9), "{n} {span} {out:?}");
                }
            }
        }
    }
}
