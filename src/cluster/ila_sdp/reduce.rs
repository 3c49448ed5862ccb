//! Fewer columns: principal components before the loop, discriminant directions within it.

use crate::cluster::ClusterError;
use crate::cluster::sdp::dense::{self, cholesky, lower_solve, transpose, upper_solve};
use crate::kernels::gemm::{MatMut, MatRef, matmul};

/// Condition number of the covariance of all rows above which the weakest components are dropped.
const CONDITION: f64 = 1e8;

/// A linear map x' = (x − centre) A, A (d, p).
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Map {
    pub centre: Vec<f64>,
    pub matrix: Vec<f64>,
    pub p: usize,
}

impl Map {
    pub fn identity(d: usize) -> Self {
        let mut matrix = vec![0.0; d * d];
        (0..d).for_each(|i| matrix[i * d + i] = 1.0);
        Self { centre: vec![0.0; d], matrix, p: d }
    }

    /// (n, d) to (n, p).
    pub fn apply(&self, rows: &[f64]) -> Vec<f64> {
        let (d, p) = (self.centre.len(), self.p);
        let n = rows.len() / d;
        let centred: Vec<f64> = rows.chunks_exact(d).flat_map(|row| row.iter().zip(&self.centre).map(|(x, c)| x - c)).collect();
        let mut out = vec![0.0; n * p];
        matmul(MatRef::new(&centred, n, d), MatRef::new(&self.matrix, d, p), MatMut::new(&mut out, n, p), false);
        out
    }

    /// This map and then another.
    pub fn then(&self, next: &Self) -> Self {
        let (d, p) = (self.centre.len(), next.p);
        let mut matrix = vec![0.0; d * p];
        matmul(MatRef::new(&self.matrix, d, self.p), MatRef::new(&next.matrix, self.p, p), MatMut::new(&mut matrix, d, p), false);
        // (x − c) A − c' = (x − c) A − (c' A⁺) A: kept exact by moving the centre along A's columns.
        let mut centre = self.centre.clone();
        if next.centre.iter().any(|c| *c != 0.0) {
            // A has orthonormal columns here (identity or principal components), so A⁺ = Aᵀ.
            for (i, c) in centre.iter_mut().enumerate() {
                *c += (0..self.p).map(|j| self.matrix[i * self.p + j] * next.centre[j]).sum::<f64>();
            }
        }
        Self { centre, matrix, p }
    }
}

/// Covariance of all rows (n, d) around their mean, and that mean.
pub(super) fn total(rows: &[f64], d: usize) -> (Vec<f64>, Vec<f64>) {
    let n = rows.len() / d;
    let mut mean = vec![0.0; d];
    rows.chunks_exact(d).for_each(|row| mean.iter_mut().zip(row).for_each(|(m, x)| *m += x));
    mean.iter_mut().for_each(|m| *m /= n as f64);
    let centred: Vec<f64> = rows.chunks_exact(d).flat_map(|row| row.iter().zip(&mean).map(|(x, m)| x - m)).collect();
    let view = MatRef::new(&centred, n, d);
    let mut covariance = vec![0.0; d * d];
    matmul(view.t(), view, MatMut::new(&mut covariance, d, d), false);
    covariance.iter_mut().for_each(|c| *c /= n as f64);
    (covariance, mean)
}

/// Principal components: `wanted` of them, or as many as n/(5k) and a condition number of 1e8 leave; all of them means no change.
pub(super) fn principal(rows: &[f64], d: usize, k: usize, wanted: Option<usize>) -> Result<Map, ClusterError> {
    let n = rows.len() / d;
    let (covariance, centre) = total(rows, d);
    if wanted == Some(d) {
        return Ok(Map::identity(d));
    }
    let eigen = dense::eigen(&covariance, d)?;
    let largest = eigen.values[d - 1];
    let p = wanted.unwrap_or_else(|| {
        let strong = eigen.values.iter().filter(|&&v| v * CONDITION > largest).count();
        d.min((n / (5 * k)).max(1)).min(strong.max(1))
    });
    if p == d {
        return Ok(Map::identity(d));
    }
    let mut matrix = vec![0.0; d * p];
    for c in 0..p {
        let vector = &eigen.vectors[(d - 1 - c) * d..][..d];
        // The entry of largest magnitude is positive, so that the sign is a fact about the data.
        let peak = vector.iter().copied().fold(0.0, |a: f64, v| if v.abs() > a.abs() { v } else { a });
        let sign = if peak < 0.0 { -1.0 } else { 1.0 };
        vector.iter().enumerate().for_each(|(i, v)| matrix[i * p + c] = sign * v);
    }
    Ok(Map { centre, matrix, p })
}

/// Fisher's discriminant directions of a partition of rows (n, d): the leading min(k − 1, d) of S_w⁻¹ S_b, scaled to unit total variance.
///
/// With that scale the hard likelihoods of different partitions can be compared although each has its own directions: in the model where
/// the rest of the space (uncorrelated with the directions over all rows) has one Gaussian for all groups, the rest adds a constant.
pub(super) fn discriminant(rows: &[f64], d: usize, labels: &[i32], k: usize, ridge: f64) -> Result<Map, ClusterError> {
    let n = labels.len();
    let (mut all, centre) = total(rows, d);
    (0..d).for_each(|i| all[i * d + i] += ridge);
    let (mut means, mut sizes) = (vec![0.0; k * d], vec![0.0; k]);
    for (row, &l) in rows.chunks_exact(d).zip(labels) {
        sizes[l as usize] += 1.0;
        means[l as usize * d..][..d].iter_mut().zip(row).for_each(|(m, x)| *m += x);
    }
    let mut between = vec![0.0; d * d];
    for (mean, &size) in means.chunks_exact(d).zip(&sizes).filter(|g| *g.1 > 0.0) {
        let off: Vec<f64> = mean.iter().zip(&centre).map(|(m, c)| m / size - c).collect();
        for i in 0..d {
            let scaled = size / n as f64 * off[i];
            between[i * d..][..d].iter_mut().zip(&off).for_each(|(b, o)| *b += scaled * o);
        }
    }
    if !cholesky(&mut all, d, f64::MIN_POSITIVE) {
        return Err(ClusterError::Numbers(
            "the covariance of all rows is singular; raise the ridge or take fewer principal components".into(),
        ));
    }
    lower_solve(&all, &mut between, d);
    transpose(&mut between, d);
    lower_solve(&all, &mut between, d);
    for i in 0..d {
        for j in 0..i {
            let mean = 0.5 * (between[i * d + j] + between[j * d + i]);
            (between[i * d + j], between[j * d + i]) = (mean, mean);
        }
    }
    let eigen = dense::eigen(&between, d)?;
    let p = (k - 1).min(d);
    let mut matrix = vec![0.0; d * p];
    for c in 0..p {
        let vector = &eigen.vectors[(d - 1 - c) * d..][..d];
        vector.iter().enumerate().for_each(|(i, v)| matrix[i * p + c] = *v);
    }
    upper_solve(&all, &mut matrix, d);
    for c in 0..p {
        let peak = (0..d).map(|i| matrix[i * p + c]).fold(0.0, |a: f64, v| if v.abs() > a.abs() { v } else { a });
        if peak < 0.0 {
            (0..d).for_each(|i| matrix[i * p + c] = -matrix[i * p + c]);
        }
    }
    Ok(Map { centre, matrix, p })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two groups that differ in the second of three columns only.
    const ROWS: [f64; 18] = [0.0, 0.0, 1.0, 4.0, 0.2, -1.0, 8.0, -0.1, 0.5, 0.5, 3.0, -0.9, 4.5, 3.2, 1.1, 8.5, 2.9, -0.4];

    #[test]
    fn discriminant_directions_have_unit_total_variance_and_separate() {
        let labels = [0, 0, 0, 1, 1, 1];
        let map = discriminant(&ROWS, 3, &labels, 2, 0.0).unwrap();
        let y = map.apply(&ROWS);
        let variance: f64 = y.iter().map(|v| v * v).sum::<f64>() / 6.0;
        // A few roundings of numbers of order one.
        assert!((variance - 1.0).abs() < 1e-12, "{variance}");
        let means: Vec<f64> = [0, 3].iter().map(|&i| y[i..i + 3].iter().sum::<f64>() / 3.0).collect();
        let within: f64 = (0..6).map(|i| (y[i] - means[i / 3]).powi(2)).sum::<f64>() / 6.0;
        // Between-group share of the variance along the direction beats that of every column: the best column has 0.99.
        assert!(1.0 - within > 0.99, "{within}");
    }

    #[test]
    fn principal_components_compose() {
        let map = principal(&ROWS, 3, 1, Some(2)).unwrap();
        let y = map.apply(&ROWS);
        let next = discriminant(&y, 2, &[0, 0, 0, 1, 1, 1], 2, 0.0).unwrap();
        let (once, twice) = (map.then(&next).apply(&ROWS), next.apply(&y));
        assert!(once.iter().zip(&twice).all(|(a, b)| (a - b).abs() < 1e-12), "{once:?} {twice:?}");
        // Six rows and one group allow one component; one column of three without spread is dropped.
        assert_eq!(principal(&ROWS, 3, 1, None).unwrap().p, 1);
        let flat: Vec<f64> = (0..60).map(|e| if e % 2 == 0 { (e as f64).sin() } else { 1.0 }).collect();
        assert_eq!(principal(&flat, 2, 2, None).unwrap().p, 1);
    }
}
