//! Points moved to their mean and scaled by a power of two, so that squares neither overflow nor vanish.

use crate::cluster::{ClusterError, Points};

/// x' = (x − origin) / scale, with |x'| at most about one for the points it was made from. The scale is a power of two, so nothing but
/// the difference is rounded.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::cluster) struct Frame {
    pub origin: Vec<f64>,
    pub scale: f64,
}

impl Frame {
    pub fn of(points: Points) -> Self {
        let mut origin = vec![0.0; points.d()];
        // Divided before they are added: the sum of a column may overflow, its mean cannot.
        let by = points.n() as f64;
        for row in points.rows() {
            origin.iter_mut().zip(row).for_each(|(o, x)| *o += x / by);
        }
        let largest =
            points.rows().flat_map(|row| row.iter().zip(&origin).map(|(x, o)| (0.5 * x - 0.5 * o).abs())).fold(0.0, f64::max);
        // 2^e just above twice `largest`; kept within the normal numbers.
        let exponent = if largest > 0.0 { largest.log2().floor() as i32 + 2 } else { 0 };
        Self { origin, scale: 2f64.powi(exponent.clamp(-1000, 1000)) }
    }

    /// Rows in this frame. Errors when the points have another number of columns.
    pub fn apply(&self, points: Points) -> Result<Vec<f64>, ClusterError> {
        if points.d() != self.origin.len() {
            let (found, expected) = (points.d(), self.origin.len());
            return Err(ClusterError::Data(format!("points of {found} columns; the model was made from {expected}")));
        }
        let halved = 0.5 * self.scale;
        Ok(points.rows().flat_map(|row| row.iter().zip(&self.origin).map(move |(x, o)| (0.5 * x - 0.5 * o) / halved)).collect())
    }

    /// A row back in the units of the points.
    pub fn back(&self, row: &[f64]) -> impl Iterator<Item = f64> {
        row.iter().zip(&self.origin).map(|(x, o)| x * self.scale + o)
    }

    /// A squared length back in the units of the points; an error where it overflows.
    pub fn square(&self, value: f64) -> Result<f64, ClusterError> {
        let value = value * self.scale * self.scale;
        let far = || {
            ClusterError::Numbers(
                "squared distances of the points exceed the range of numbers; divide the columns by their size".into(),
            )
        };
        if value.is_finite() { Ok(value) } else { Err(far()) }
    }
}

/// Number of different rows, at most `enough`: counting stops there.
pub(in crate::cluster) fn distinct(points: Points, enough: usize) -> usize {
    let mut seen = std::collections::HashSet::new();
    for row in points.rows() {
        // Adding zero makes the two zeros one.
        seen.insert(row.iter().map(|x| (x + 0.0).to_bits()).collect::<Vec<u64>>());
        if seen.len() >= enough {
            break;
        }
    }
    seen.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn extreme_points_fit_and_come_back() {
        for size in [1e-300, 1.0, 3e307] {
            let values = [1.0, -2.0, 3.0, 5.0, -4.0, 0.5].map(|v| v * size);
            let points = Points::new(&values, 3, 2).unwrap();
            let frame = Frame::of(points);
            let rows = frame.apply(points).unwrap();
            // At the ends of the range the scale stays a normal number with room for its square root: rows are then up to 2^26.
            assert!(rows.iter().all(|x| x.abs() <= 2f64.powi(26)) && rows.iter().any(|x| x.abs() >= 0.25), "{rows:?}");
            for (row, old) in rows.chunks(2).zip(points.rows()) {
                for (back, x) in frame.back(row).zip(old) {
                    assert!((back - x).abs() <= 4.0 * f64::EPSILON * 5.0 * size, "{back} {x}");
                }
            }
        }
    }

    #[test]
    fn distinct_rows_are_counted() {
        let points = [0.0, 1.0, -0.0, 1.0, 2.0, 1.0];
        assert_eq!(distinct(Points::new(&points, 3, 2).unwrap(), 9), 2);
        assert_eq!(distinct(Points::new(&points, 3, 2).unwrap(), 1), 1);
    }
}
