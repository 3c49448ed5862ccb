//! Columns brought to a common scale.

use super::{ClusterError, Points};
use serde::{Deserialize, Serialize};

/// How columns are scaled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Standardize {
    /// As they are.
    #[default]
    None,
    /// (x − mean) / standard deviation of the population (division by n).
    Zscore,
    /// (x − smallest) / (largest − smallest).
    Minmax,
    /// (x − median) / (upper quartile − lower quartile), quartiles interpolated linearly between order statistics.
    Robust,
}

impl Standardize {
    pub const ALL: &[Self] = &[Self::None, Self::Zscore, Self::Minmax, Self::Robust];

    pub fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Zscore => "zscore",
            Self::Minmax => "minmax",
            Self::Robust => "robust",
        }
    }
}

/// x ↦ (x − centre) / scale, column by column, as fitted to some points.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Scaler {
    pub standardize: Standardize,
    /// (d).
    pub centre: Vec<f64>,
    /// (d); 1 for the columns in `constant`.
    pub scale: Vec<f64>,
    /// Columns (from 0) whose measure of spread is zero: all values equal or, with [`Standardize::Robust`], the middle half of them. They are
    /// centred and not scaled.
    pub constant: Vec<usize>,
}

impl Scaler {
    /// Fits to `points`. O(n·d), with `Robust` O(n·log n·d). Error: a column whose spread is beyond the range of f64.
    pub fn fit(points: Points, standardize: Standardize) -> Result<Self, ClusterError> {
        let d = points.d();
        let mut scaler = Self { standardize, centre: vec![0.0; d], scale: vec![1.0; d], constant: Vec::new() };
        if standardize == Standardize::None {
            return Ok(scaler);
        }
        let mut column = Vec::with_capacity(points.n());
        for j in 0..d {
            column.clear();
            column.extend(points.rows().map(|row| row[j]));
            let (centre, spread) = measure(&mut column, standardize);
            if !spread.is_finite() {
                let (least, most) = column.iter().fold((f64::INFINITY, f64::NEG_INFINITY), |(a, b), &x| (a.min(x), b.max(x)));
                let text = format!(
                    "column {j} (from 0) runs from {least:e} to {most:e}, too wide for f64; divide it by a constant first"
                );
                return Err(ClusterError::Numbers(text));
            }
            scaler.centre[j] = centre;
            if spread > 0.0 && spread.recip().is_finite() {
                scaler.scale[j] = spread;
            } else {
                scaler.constant.push(j);
            }
        }
        Ok(scaler)
    }

    /// Scaled copies of `points` (n × d). Errors: another number of columns; a point so far outside of the fitted range that it leaves f64.
    pub fn apply(&self, points: Points) -> Result<Vec<f64>, ClusterError> {
        let d = self.centre.len();
        if points.d() != d {
            return Err(ClusterError::Data(format!("the points have {} columns, the scaler was fitted to {d}", points.d())));
        }
        if self.standardize == Standardize::None {
            return Ok(points.values().to_vec());
        }
        let mut out = Vec::with_capacity(points.values().len());
        for row in points.rows() {
            out.extend(row.iter().zip(&self.centre).zip(&self.scale).map(|((x, centre), scale)| (x - centre) / scale));
        }
        match out.iter().position(|x| !x.is_finite()) {
            Some(at) => {
                let (row, column, value) = (at / d, at % d, points.values()[at]);
                let text = format!(
                    "row {row}, column {column} (both from 0) is {value:e}, which {} takes out of range",
                    self.standardize.name()
                );
                Err(ClusterError::Numbers(text))
            }
            None => Ok(out),
        }
    }

    /// The inverse: rows of scaled numbers (centroids, say) in the units of the points. Panics when they are not whole rows.
    pub fn invert(&self, rows: &[f64]) -> Vec<f64> {
        let d = self.centre.len();
        assert!(rows.len().is_multiple_of(d), "rows of {d} columns");
        rows.iter().enumerate().map(|(at, x)| x * self.scale[at % d] + self.centre[at % d]).collect()
    }
}

/// Centre and spread of a column.
fn measure(column: &mut [f64], standardize: Standardize) -> (f64, f64) {
    let n = column.len() as f64;
    let (least, most) = column.iter().fold((f64::INFINITY, f64::NEG_INFINITY), |(a, b), &x| (a.min(x), b.max(x)));
    match standardize {
        Standardize::None => (0.0, 1.0),
        Standardize::Minmax => (least, most - least),
        Standardize::Zscore => {
            if least == most {
                // The mean of equal numbers may be rounded, and the deviation then not be zero.
                return (least, 0.0);
            }
            // Sums of numbers below 1, so that neither they nor their squares overflow or vanish.
            let size = least.abs().max(most.abs());
            let mean = column.iter().map(|x| x / size).sum::<f64>() / n;
            let widest = (least / size - mean).abs().max((most / size - mean).abs());
            if widest == 0.0 {
                return (mean * size, 0.0);
            }
            let squares = column.iter().map(|x| ((x / size - mean) / widest).powi(2)).sum::<f64>() / n;
            (mean * size, squares.sqrt() * widest * size)
        }
        Standardize::Robust => {
            column.sort_unstable_by(f64::total_cmp);
            (quantile(column, 0.5), quantile(column, 0.75) - quantile(column, 0.25))
        }
    }
}

/// Quantile `q` of sorted numbers, linear between order statistics: place q·(n − 1) from 0.
fn quantile(sorted: &[f64], q: f64) -> f64 {
    let place = q * (sorted.len() - 1) as f64;
    let (below, share) = (sorted[place as usize], place.fract());
    let above = sorted[(place as usize + 1).min(sorted.len() - 1)];
    // As a mean of the two: their difference may overflow.
    below * (1.0 - share) + above * share
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fit(values: &[f64], d: usize, standardize: Standardize) -> (Scaler, Vec<f64>) {
        let points = Points::new(values, values.len() / d, d).unwrap();
        let scaler = Scaler::fit(points, standardize).unwrap();
        let scaled = scaler.apply(points).unwrap();
        (scaler, scaled)
    }

    #[test]
    fn worked_columns() {
        // Mean 3, population variance (4 + 1 + 0 + 1 + 4)/5 = 2.
        let x = [1.0, 2.0, 3.0, 4.0, 5.0];
        let (scaler, scaled) = fit(&x, 1, Standardize::Zscore);
        // Six roundings of half an ulp.
        assert!((scaler.centre[0] - 3.0).abs() <= 3.0 * f64::EPSILON * 3.0 && (scaler.scale[0] - 2f64.sqrt()).abs() <= 1e-15);
        assert!((scaled[4] - 2f64.sqrt()).abs() <= 2e-15);
        let (scaler, scaled) = fit(&x, 1, Standardize::Minmax);
        assert_eq!((scaler.centre[0], scaler.scale[0]), (1.0, 4.0));
        assert_eq!(scaled, [0.0, 0.25, 0.5, 0.75, 1.0]);
        // Quartiles of 1, 2, 4, 8 at places 0.75, 1.5, 2.25: 1.75, 3, 5.
        let (scaler, _) = fit(&[8.0, 1.0, 4.0, 2.0], 1, Standardize::Robust);
        assert_eq!((scaler.centre[0], scaler.scale[0]), (3.0, 3.25));
        let (scaler, scaled) = fit(&x, 1, Standardize::None);
        assert_eq!((scaled.as_slice(), scaler.scale[0], scaler.centre[0]), (&x[..], 1.0, 0.0));
    }

    #[test]
    fn constant_columns_are_reported_and_not_scaled() {
        let x = [0.1, 1.0, 0.1, 2.0, 0.1, 4.0];
        for &how in &Standardize::ALL[1..] {
            let (scaler, scaled) = fit(&x, 2, how);
            assert_eq!((scaler.constant.as_slice(), scaler.scale[0]), (&[0][..], 1.0), "{how:?}");
            assert!(scaled.iter().step_by(2).all(|&v| v == 0.0), "{how:?} {scaled:?}");
        }
        // The middle half is constant, the column is not.
        let (scaler, scaled) = fit(&[1.0, 1.0, 1.0, 1.0, 9.0], 1, Standardize::Robust);
        assert_eq!((scaler.constant.as_slice(), scaled[4]), (&[0][..], 8.0));
    }

    #[test]
    fn odd_sizes_and_bad_input() {
        for size in [1e-320, 1e-300, 1e300] {
            let x = [size, -size, 0.5 * size];
            for &how in Standardize::ALL {
                let (_, scaled) = fit(&x, 1, how);
                assert!(scaled.iter().all(|v| v.is_finite()), "{size} {how:?} {scaled:?}");
            }
        }
        let wide = [1e308, -1e308];
        let text = Scaler::fit(Points::new(&wide, 2, 1).unwrap(), Standardize::Minmax).unwrap_err().to_string();
        assert!(text.contains("column 0") && text.contains("-1e308"), "{text}");
        let (scaler, _) = fit(&[1e-5, 2e-5], 1, Standardize::Minmax);
        let text = scaler.apply(Points::new(&[1.0, 1e306], 2, 1).unwrap()).unwrap_err().to_string();
        assert!(text.contains("row 1, column 0") && text.contains("minmax"), "{text}");
        let text = scaler.apply(Points::new(&[1.0, 1e306], 1, 2).unwrap()).unwrap_err().to_string();
        assert!(text.contains("2 columns") && text.contains("fitted to 1"), "{text}");
    }

    #[test]
    fn kept_and_inverted() {
        let x = [1.0, 10.0, 2.5, -4.0, 3.0, 7.0];
        for &how in Standardize::ALL {
            let (scaler, scaled) = fit(&x, 2, how);
            let text = serde_json::to_string(&scaler).unwrap();
            assert_eq!(serde_json::from_str::<Scaler>(&text).unwrap(), scaler);
            // A division, a product and two sums, each rounded once.
            for (back, x) in scaler.invert(&scaled).iter().zip(x) {
                assert!((back - x).abs() <= 4.0 * f64::EPSILON * 10.0, "{how:?} {back} {x}");
            }
        }
    }
}
