//! The coordinates that k-means computes in: about 1 in size, zero in the mean.

use crate::cluster::{ClusterError, Points};
use crate::kernels::distance::Pieces;
use crate::kernels::simd::Real;
use rayon::prelude::*;

/// x ↦ x·2^−exponent − centre, rounded to the type that is computed in.
///
/// The power of two is exact and brings the largest coordinate to [1/2, 1), so that squares of distances neither overflow nor vanish; the
/// centre is the mean, so that distances lose few bits to the place of the cloud.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Frame {
    pub exponent: i32,
    pub centre: Vec<f64>,
}

/// x·2^e, in two steps as 2^e alone may leave the range.
pub(crate) fn scale(x: f64, e: i32) -> f64 {
    let half = e / 2;
    x * 2f64.powi(half) * 2f64.powi(e - half)
}

impl Frame {
    /// The frame of `points`.
    pub fn of<T: Real>(points: Points<T>) -> Self {
        let (n, d) = (points.n(), points.d());
        let pieces = Pieces::new(n);
        let values = |i: usize| {
            let range = pieces.range(i);
            &points.values()[range.start * d..range.end * d]
        };
        let largest = |i: usize| values(i).iter().fold(0.0f64, |m, x| m.max(x.to_f64().abs()));
        let largest = (0..pieces.count()).into_par_iter().map(largest).collect::<Vec<f64>>().into_iter().fold(0.0, f64::max);
        let exponent = exponent(largest);
        let (up, down) = factors(exponent);
        let sums = |i: usize| {
            let mut sums = vec![0.0; d];
            for row in values(i).chunks_exact(d) {
                sums.iter_mut().zip(row).for_each(|(s, x)| *s += x.to_f64() * up * down);
            }
            sums
        };
        let mut centre = vec![0.0; d];
        for sums in (0..pieces.count()).into_par_iter().map(sums).collect::<Vec<_>>() {
            centre.iter_mut().zip(sums).for_each(|(c, s)| *c += s);
        }
        centre.iter_mut().for_each(|c| *c /= n as f64);
        Self { exponent, centre }
    }

    /// Points into the frame, in the type `W`.
    pub fn enter<T: Real, W: Real>(&self, values: &[T]) -> Vec<W> {
        let d = self.centre.len();
        let (up, down) = factors(self.exponent);
        let mut to = vec![W::ZERO; values.len()];
        let rows = Pieces::new(values.len() / d).rows() * d;
        to.par_chunks_mut(rows).zip(values.par_chunks(rows)).for_each(|(to, values)| {
            for (to, row) in to.chunks_exact_mut(d).zip(values.chunks_exact(d)) {
                for j in 0..d {
                    to[j] = W::from_f64(row[j].to_f64() * up * down - self.centre[j]);
                }
            }
        });
        to
    }

    /// Rows of the frame back to the units of the points.
    pub fn leave<W: Real>(&self, rows: &[W]) -> Vec<f64> {
        let d = self.centre.len();
        rows.iter().enumerate().map(|(i, x)| scale(x.to_f64() + self.centre[i % d], self.exponent)).collect()
    }

    /// A sum of squares back to the units of the points. Error: it is beyond f64.
    pub fn squares(&self, x: f64) -> Result<f64, ClusterError> {
        let value = scale(scale(x, self.exponent), self.exponent);
        if value.is_finite() {
            return Ok(value);
        }
        let size = self.exponent as f64 * std::f64::consts::LOG10_2;
        let text = format!(
            "coordinates near 1e{size:.0} have squared distances beyond the range of f64; divide the columns by a constant"
        );
        Err(ClusterError::Numbers(text))
    }
}

/// e with |x| in [2^(e−1), 2^e); 0 for 0.
fn exponent(x: f64) -> i32 {
    if x == 0.0 {
        return 0;
    }
    // Subnormal numbers are brought into the normal range first.
    let (x, offset) = if x < f64::MIN_POSITIVE { (x * 2f64.powi(64), -64) } else { (x, 0) };
    ((x.to_bits() >> 52) & 0x7ff) as i32 - 1022 + offset
}

/// Two factors whose product is 2^−e.
fn factors(e: i32) -> (f64, f64) {
    let half = -e / 2;
    (2f64.powi(half), 2f64.powi(-e - half))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_largest_coordinate_comes_to_a_half_at_least_and_the_mean_to_zero() {
        for (values, n) in [(vec![3.0, -5.0, 1.5, 0.25], 4), (vec![1e300, -1e308], 2), (vec![5e-324, 0.0], 2), (vec![0.0; 3], 3)]
        {
            let points = Points::new(&values, n, 1).unwrap();
            let frame = Frame::of(points);
            let inside: Vec<f64> = frame.enter(&values);
            let mean: f64 = inside.iter().sum::<f64>() / n as f64;
            assert!(mean.abs() <= 1e-16 && inside.iter().all(|x| x.abs() < 2.0), "{values:?} {inside:?}");
            let spread = inside.iter().fold(0.0f64, |m, x| m.max(x.abs()));
            assert!(spread >= 0.25 || values.iter().all(|&v| v == 0.0), "{values:?} {inside:?}");
            // The centre is rounded, and the difference to it.
            let size = values.iter().fold(1e-320f64, |m, x| m.max(f64::abs(*x)));
            for (back, value) in frame.leave(&inside).iter().zip(&values) {
                assert!((back - value).abs() <= 2.0 * f64::EPSILON * size, "{back} {value}");
            }
        }
    }

    #[test]
    fn squares_beyond_the_range_are_an_error() {
        let values = [1e200, -1e200];
        let frame = Frame::of(Points::new(&values, 2, 1).unwrap());
        let text = frame.squares(1.0).unwrap_err().to_string();
        assert!(text.contains("1e200") && text.contains("divide the columns"), "{text}");
        assert_eq!(Frame { exponent: 3, centre: vec![0.0] }.squares(1.5).unwrap(), 96.0);
    }
}
