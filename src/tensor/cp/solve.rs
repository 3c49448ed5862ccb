//! Small symmetric systems: many right sides with one matrix, or one right side each.

use faer::{Mat, Side};
use rayon::prelude::*;

/// Rows of right sides that one task solves.
const ROWS: usize = 512;

/// A solver for `u G = w` with a symmetric positive semidefinite G (R, R).
pub enum Factored {
    /// G = D L Lᵀ D with D the roots of the diagonal: `lower` in rows, `scale` = 1/D.
    Cholesky { lower: Vec<f64>, scale: Vec<f64> },
    /// The pseudo-inverse, in rows.
    Inverse(Vec<f64>),
}

/// Cholesky's factor in rows, of a matrix scaled to a diagonal of ones. `None` when a pivot is not above `R · eps`: then rounding alone
/// decides about the solution.
fn cholesky(g: &[f64], r: usize, lower: &mut [f64], scale: &mut [f64]) -> bool {
    for i in 0..r {
        let d = g[i * r + i];
        if !(d > 0.0 && d.is_finite()) {
            return false;
        }
        scale[i] = 1.0 / d.sqrt();
    }
    for i in 0..r {
        for j in 0..=i {
            let dot: f64 = (0..j).map(|k| lower[i * r + k] * lower[j * r + k]).sum();
            let rest = g[i * r + j] * scale[i] * scale[j] - dot;
            if i == j {
                if rest.is_nan() || rest <= r as f64 * f64::EPSILON {
                    return false;
                }
                lower[i * r + i] = rest.sqrt();
            } else {
                lower[i * r + j] = rest / lower[j * r + j];
            }
        }
    }
    true
}

fn substitute(lower: &[f64], scale: &[f64], r: usize, row: &mut [f64]) {
    for i in 0..r {
        let dot: f64 = (0..i).map(|k| lower[i * r + k] * row[k]).sum();
        row[i] = (row[i] * scale[i] - dot) / lower[i * r + i];
    }
    for i in (0..r).rev() {
        let dot: f64 = (i + 1..r).map(|k| lower[k * r + i] * row[k]).sum();
        row[i] = (row[i] - dot) / lower[i * r + i];
    }
    row.iter_mut().zip(scale).for_each(|(x, s)| *x *= s);
}

/// The pseudo-inverse of a symmetric matrix: eigenvalues up to `R · eps` of the largest count as zero. Zeros where the eigenvalues
/// cannot be found (entries that are not finite).
pub fn pseudo_inverse(g: &[f64], r: usize) -> Vec<f64> {
    let peak = g.iter().fold(0.0f64, |m, x| m.max(x.abs()));
    if !(peak > 0.0 && peak.is_finite()) {
        return vec![0.0; r * r];
    }
    // Scaled, so that neither the decomposition nor the inverse leaves the range of numbers.
    let a = Mat::from_fn(r, r, |i, j| g[i * r + j] / peak);
    let Ok(eigen) = a.self_adjoint_eigen(Side::Lower) else { return vec![0.0; r * r] };
    let (values, vectors) = (eigen.S().column_vector(), eigen.U());
    let cutoff = r as f64 * f64::EPSILON * (0..r).map(|k| values[k]).fold(0.0, f64::max);
    let mut out = vec![0.0; r * r];
    for k in (0..r).filter(|&k| values[k] > cutoff) {
        for i in 0..r {
            for j in 0..r {
                out[i * r + j] += vectors[(i, k)] * vectors[(j, k)] / values[k];
            }
        }
    }
    out.iter_mut().for_each(|x| *x /= peak);
    out
}

impl Factored {
    /// Cholesky; the pseudo-inverse where that fails (spec 1.1).
    pub fn new(g: &[f64], r: usize) -> Self {
        let (mut lower, mut scale) = (vec![0.0; r * r], vec![0.0; r]);
        if cholesky(g, r, &mut lower, &mut scale) { Self::Cholesky { lower, scale } } else { Self::Inverse(pseudo_inverse(g, r)) }
    }

    /// Solves one row in place.
    pub fn row(&self, r: usize, row: &mut [f64]) {
        match self {
            Self::Cholesky { lower, scale } => substitute(lower, scale, r, row),
            Self::Inverse(inverse) => {
                let x: Vec<f64> = (0..r).map(|i| (0..r).map(|j| inverse[i * r + j] * row[j]).sum()).collect();
                row.copy_from_slice(&x);
            }
        }
    }

    /// Solves all rows of `w` (I, R) in place. Rows do not depend on each other, so neither do the bits on threads.
    pub fn rows(&self, r: usize, w: &mut [f64]) {
        w.par_chunks_mut(ROWS * r).for_each(|rows| rows.chunks_exact_mut(r).for_each(|row| self.row(r, row)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn regular_and_singular_systems() {
        // G = AᵀA with A = [[1,2],[3,4],[5,7]]: [[35,49],[49,69]], det 14.
        let g = [35.0, 49.0, 49.0, 69.0];
        let mut row = [35.0 + 2.0 * 49.0, 49.0 + 2.0 * 69.0];
        Factored::new(&g, 2).rows(2, &mut row);
        // Condition number about 770: 770 · eps · a few.
        assert!((row[0] - 1.0).abs() < 1e-12 && (row[1] - 2.0).abs() < 1e-12, "{row:?}");
        // Rank 1: the minimum-norm solution of [[1,1],[1,1]] u = (2,2) is (1,1).
        let mut row = [2.0, 2.0];
        let f = Factored::new(&[1.0; 4], 2);
        assert!(matches!(f, Factored::Inverse(_)));
        f.rows(2, &mut row);
        assert!((row[0] - 1.0).abs() < 1e-14 && (row[1] - 1.0).abs() < 1e-14);
        // Nothing at all, and nonsense: zeros.
        for bad in [[0.0; 4], [f64::NAN; 4]] {
            let mut row = [1.0, 1.0];
            Factored::new(&bad, 2).rows(2, &mut row);
            assert_eq!(row, [0.0, 0.0]);
        }
    }

    #[test]
    fn scale_does_not_matter() {
        for s in [1e-200, 1e200] {
            let g = [2.0 * s, 1.0 * s, 1.0 * s, 2.0 * s];
            let mut row = [3.0 * s, 3.0 * s];
            Factored::new(&g, 2).rows(2, &mut row);
            assert!((row[0] - 1.0).abs() < 1e-14 && (row[1] - 1.0).abs() < 1e-14, "{row:?}");
        }
    }
}
