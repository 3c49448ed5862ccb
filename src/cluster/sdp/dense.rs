//! Dense symmetric eigenproblems. faer runs them on one thread, so their bits do not depend on the pool.

use faer::{MatRef, Side};

use crate::cluster::ClusterError;

/// Eigenvalues in increasing order, and eigenvectors as the columns of an (n, n) matrix kept column after column.
pub(in crate::cluster) struct Eigen {
    pub values: Vec<f64>,
    pub vectors: Vec<f64>,
}

fn no_convergence(n: usize) -> ClusterError {
    ClusterError::Numbers(format!("no eigenvalues of a {n} x {n} matrix; look for extreme values among the points"))
}

fn finite(values: &[f64], n: usize) -> Result<(), ClusterError> {
    if values.iter().all(|v| v.is_finite()) { Ok(()) } else { Err(no_convergence(n)) }
}

/// All eigenpairs of a symmetric (n, n) matrix. Cost: about 9 n³.
pub(in crate::cluster) fn eigen(matrix: &[f64], n: usize) -> Result<Eigen, ClusterError> {
    let view = MatRef::from_column_major_slice(matrix, n, n);
    let found = view.self_adjoint_eigen(Side::Lower).map_err(|_| no_convergence(n))?;
    let values: Vec<f64> = found.S().column_vector().iter().copied().collect();
    finite(&values, n)?;
    let mut vectors = Vec::with_capacity(n * n);
    for column in 0..n {
        vectors.extend(found.U().col(column).iter());
    }
    Ok(Eigen { values, vectors })
}

/// All eigenvalues of a symmetric (n, n) matrix in increasing order. Cost: about 4/3 n³.
pub(in crate::cluster) fn eigenvalues(matrix: &[f64], n: usize) -> Result<Vec<f64>, ClusterError> {
    let view = MatRef::from_column_major_slice(matrix, n, n);
    let values = view.self_adjoint_eigenvalues(Side::Lower).map_err(|_| no_convergence(n))?;
    finite(&values, n)?;
    Ok(values)
}

/// What rounding may have done to eigenvalues of a symmetric (n, n) matrix with this Frobenius norm: n · eps · ‖A‖_F, the bound of
/// Householder tridiagonalisation with its constant (a small multiple of ‖A‖₂, which is below ‖A‖_F) taken as one.
pub(in crate::cluster) fn eigenvalue_error(n: usize, norm: f64) -> f64 {
    n as f64 * f64::EPSILON * norm
}

/// L of A = L Lᵀ in the lower triangle of `a`, (n, n); false when a pivot is below `least`.
pub(in crate::cluster) fn cholesky(a: &mut [f64], n: usize, least: f64) -> bool {
    for j in 0..n {
        for i in j..n {
            let dot: f64 = (0..j).map(|k| a[i * n + k] * a[j * n + k]).sum();
            a[i * n + j] -= dot;
        }
        let pivot = a[j * n + j];
        if pivot.is_nan() || pivot < least {
            return false;
        }
        let root = pivot.sqrt();
        (j..n).for_each(|i| a[i * n + j] /= root);
    }
    true
}

/// B <- L⁻¹ B for L (n, n) and B (n, any).
pub(in crate::cluster) fn lower_solve(l: &[f64], b: &mut [f64], n: usize) {
    let columns = b.len() / n;
    for i in 0..n {
        let (done, rest) = b.split_at_mut(i * columns);
        let row = &mut rest[..columns];
        for (k, other) in done.chunks_exact(columns).enumerate() {
            let factor = l[i * n + k];
            row.iter_mut().zip(other).for_each(|(v, o)| *v -= factor * o);
        }
        row.iter_mut().for_each(|v| *v /= l[i * n + i]);
    }
}

/// B <- L⁻ᵀ B for L (n, n) and B (n, any).
pub(in crate::cluster) fn upper_solve(l: &[f64], b: &mut [f64], n: usize) {
    let columns = b.len() / n;
    for i in (0..n).rev() {
        let (head, done) = b.split_at_mut((i + 1) * columns);
        let row = &mut head[i * columns..];
        for (k, other) in done.chunks_exact(columns).enumerate() {
            let factor = l[(i + 1 + k) * n + i];
            row.iter_mut().zip(other).for_each(|(v, o)| *v -= factor * o);
        }
        row.iter_mut().for_each(|v| *v /= l[i * n + i]);
    }
}

/// A square matrix, (n, n), turned in place.
pub(in crate::cluster) fn transpose(a: &mut [f64], n: usize) {
    for i in 0..n {
        for j in 0..i {
            a.swap(i * n + j, j * n + i);
        }
    }
}
