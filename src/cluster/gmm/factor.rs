//! Covariances into what the E step multiplies by.

use super::Covariance;
use crate::cluster::ClusterError;

/// Square roots of the inverse covariances, and the logarithms of their determinants.
#[derive(Debug, Clone, PartialEq)]
pub struct Factors {
    /// As [`Covariance::shape`]. A matrix is upper triangular with P·Pᵀ = Σ⁻¹, so that (x − μ)ᵀΣ⁻¹(x − μ) = ‖(x − μ)ᵀP‖²;
    /// of variances it is 1/σ.
    pub roots: Vec<f64>,
    /// (k): ln det P of each component.
    pub log_determinants: Vec<f64>,
}

/// The factors of covariances of the given shape. Error: a matrix that is not positive definite or not finite.
///
/// Cost: d³ for each matrix. Σ = L·Lᵀ by Cholesky, P = L⁻ᵀ by substitution.
pub fn factors(covariance: Covariance, covariances: &[f64], k: usize, d: usize) -> Result<Factors, ClusterError> {
    let singular = |component: Option<usize>| {
        let which = component.map_or("the shared covariance".into(), |c| format!("the covariance of component {c}"));
        ClusterError::Numbers(format!(
            "{which} is not positive definite; scale the columns to similar sizes, raise reg_covar, or take fewer components or another covariance type"
        ))
    };
    match covariance {
        Covariance::Full | Covariance::Tied => {
            let mut roots = vec![0.0; covariances.len()];
            let mut log_determinants = Vec::with_capacity(k);
            for (c, (matrix, root)) in covariances.chunks_exact(d * d).zip(roots.chunks_exact_mut(d * d)).enumerate() {
                let component = (covariance == Covariance::Full).then_some(c);
                log_determinants.push(inverse_root(matrix, d, root).ok_or_else(|| singular(component))?);
            }
            if covariance == Covariance::Tied {
                log_determinants = vec![log_determinants[0]; k];
            }
            Ok(Factors { roots, log_determinants })
        }
        Covariance::Diag | Covariance::Spherical => {
            let per = if covariance == Covariance::Diag { d } else { 1 };
            if let Some(at) = covariances.iter().position(|&v| !(v > 0.0 && v.is_finite() && (1.0 / v).is_finite())) {
                return Err(singular(Some(at / per)));
            }
            let roots: Vec<f64> = covariances.iter().map(|v| 1.0 / v.sqrt()).collect();
            let times = (d / per) as f64;
            let log_determinants = roots.chunks_exact(per).map(|r| times * r.iter().map(|x| x.ln()).sum::<f64>()).collect();
            Ok(Factors { roots, log_determinants })
        }
    }
}

/// Upper triangular P with P·Pᵀ = A⁻¹ into `root`; ln det P. `None` when A is not positive definite. Only the lower triangle of A is read.
fn inverse_root(a: &[f64], d: usize, root: &mut [f64]) -> Option<f64> {
    // Rows of the lower triangular L.
    let mut l = vec![0.0; d * d];
    let mut log_determinant = 0.0;
    for i in 0..d {
        for j in 0..=i {
            let dot: f64 = l[i * d..i * d + j].iter().zip(&l[j * d..j * d + j]).map(|(x, y)| x * y).sum();
            let left = a[i * d + j] - dot;
            if i == j {
                if !(left > 0.0 && left.is_finite()) {
                    return None;
                }
                l[i * d + i] = left.sqrt();
                log_determinant -= l[i * d + i].ln();
            } else {
                l[i * d + j] = left / l[j * d + j];
            }
        }
    }
    // Row i of L⁻¹ from the rows above it; it is column i of P.
    let mut inverse = vec![0.0; d * d];
    for i in 0..d {
        let (above, row) = inverse.split_at_mut(i * d);
        for j in 0..i {
            let factor = l[i * d + j];
            row[..=j].iter_mut().zip(&above[j * d..j * d + j + 1]).for_each(|(to, &x)| *to -= factor * x);
        }
        row[..i].iter_mut().for_each(|x| *x /= l[i * d + i]);
        row[i] = 1.0 / l[i * d + i];
        for (j, &x) in row[..=i].iter().enumerate() {
            if !x.is_finite() {
                return None;
            }
            root[j * d + i] = x;
        }
    }
    Some(log_determinant)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn root_times_its_transpose_is_the_inverse() {
        // A = [[4, 2], [2, 3]]: inverse [[3, -2], [-2, 4]] / 8, determinant 8.
        let f = factors(Covariance::Full, &[4.0, 2.0, 2.0, 3.0], 1, 2).unwrap();
        let p = &f.roots;
        assert_eq!(p[2], 0.0);
        let product = [p[0] * p[0] + p[1] * p[1], p[1] * p[3], p[3] * p[3]];
        for (got, want) in product.iter().zip([3.0 / 8.0, -2.0 / 8.0, 4.0 / 8.0]) {
            // A few roundings of numbers below 1.
            assert!((got - want).abs() < 8.0 * f64::EPSILON, "{got} {want}");
        }
        assert!((f.log_determinants[0] + 0.5 * 8f64.ln()).abs() < 8.0 * f64::EPSILON);
    }

    #[test]
    fn indefinite_and_infinite_matrices_are_refused() {
        for bad in [[1.0, 2.0, 2.0, 1.0], [0.0, 0.0, 0.0, 1.0], [f64::INFINITY, 0.0, 0.0, 1.0], [1.0, f64::NAN, f64::NAN, 1.0]] {
            assert!(matches!(factors(Covariance::Full, &bad, 1, 2), Err(ClusterError::Numbers(_))), "{bad:?}");
        }
        assert!(factors(Covariance::Diag, &[1.0, 0.0], 1, 2).is_err());
    }
}
