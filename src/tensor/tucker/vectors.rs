//! Leading left singular vectors of an unfolding, by the Gram matrix or by an orthogonal triangle.

use faer::{Mat, Side};

use super::TuckerError;
use super::operand::{Operand, fold_triangle};
use crate::kernels::gemm::{MatMut, MatRef, matmul};
use crate::tensor::model::Matrix;

/// Bytes of the Gram matrix of a sparse tensor at most: 16384 indices of a mode. (That of a dense tensor is no larger than the tensor.)
const GRAM_BYTES: u128 = 1 << 31;

/// How singular vectors are found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Precision {
    /// The Gram matrix, unless a tolerance asks for more than it can tell apart.
    #[default]
    Auto,
    /// Eigenvectors of X_(n) X_(n)ᵀ: fast; singular values below about 1e-8 ‖X‖ are lost in rounding.
    Gram,
    /// A triangular factor by Householder reflections, then its SVD: singular values down to about 1e-16 ‖X‖.
    Lq,
}

/// How many vectors to keep.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Keep {
    /// This many.
    Rank(usize),
    /// The fewest whose discarded squared singular values add up to at most `allowed`, at least one. `squares` = ‖X‖² is what rounding
    /// is measured against.
    Tail { allowed: f64, squares: f64 },
}

/// Left singular vectors with the singular values they belong to.
#[derive(Debug, Clone, PartialEq)]
pub struct Vectors {
    /// (I_n, r), orthonormal columns; the entry of largest magnitude of each is positive.
    pub u: Matrix,
    /// All singular values that there are, in descending order.
    pub singular_values: Vec<f64>,
}

impl Keep {
    /// Whether eigenvalues of a Gram matrix of this size tell the tail from rounding: its eigenvalues carry errors up to about
    /// eps · ‖X‖² each, so a tail of `size` of them is known to size · eps · ‖X‖²; a quarter of the allowance is left to that.
    fn gram_will_do(self, size: usize) -> bool {
        match self {
            Keep::Rank(_) => true,
            Keep::Tail { allowed, squares } => allowed > 4.0 * f64::EPSILON * size as f64 * squares,
        }
    }

    fn rank(self, singular_values: &[f64]) -> usize {
        match self {
            Keep::Rank(r) => r,
            Keep::Tail { allowed, .. } => {
                let (mut tail, mut rank) = (0.0, singular_values.len());
                while rank > 1 {
                    tail += singular_values[rank - 1].powi(2);
                    if tail > allowed {
                        break;
                    }
                    rank -= 1;
                }
                rank.max(1)
            }
        }
    }
}

/// The leading left singular vectors of X_(mode).
///
/// Long modes (I_n below the number J of columns): eigenvectors of the Gram matrix (I_n, I_n), or the SVD of R from a QR of X_(n)ᵀ taken
/// in pieces. Short unfoldings (I_n > J, dense): right vectors V and values from the J by J side, U = X_(n) V Σ⁻¹, made orthonormal by
/// Householder reflections (which also completes U where singular values are zero).
/// Cost: I_n² J (Gram) or 2 I_n² J (QR), and about 10 I_n³ for the small problem; memory I_n² and a piece.
pub fn left_vectors<X: Operand>(x: &X, mode: usize, keep: Keep, precision: Precision) -> Result<Vectors, TuckerError> {
    let size = x.shape()[mode];
    let columns = x.shape().iter().enumerate().filter(|&(m, _)| m != mode).try_fold(1usize, |n, (_, &i)| n.checked_mul(i));
    let squared = match precision {
        Precision::Auto => keep.gram_will_do(size.min(columns.unwrap_or(size))),
        Precision::Gram => true,
        Precision::Lq => false,
    };
    match columns {
        Some(columns) if columns < size && x.rows(mode, 0..1).is_some() => short(x, mode, columns, keep, squared),
        _ => {
            let bytes = size as u128 * size as u128 * 8;
            if bytes > GRAM_BYTES && x.rows(mode, 0..1).is_none() {
                return Err(TuckerError::GramSize { mode, size, bytes });
            }
            let (vectors, singular_values) =
                if squared { eigenvectors(&x.gram(mode), mode)? } else { right_vectors(&x.triangle(mode), mode)? };
            let rank = keep.rank(&singular_values);
            let mut u = Matrix::zeros(size, rank);
            (0..size * rank).for_each(|e| u.values[e] = vectors[(e / rank, e % rank)]);
            fix_signs(&mut u);
            Ok(Vectors { u, singular_values })
        }
    }
}

/// [`left_vectors`] of an unfolding with more rows than columns.
fn short<X: Operand>(x: &X, mode: usize, columns: usize, keep: Keep, squared: bool) -> Result<Vectors, TuckerError> {
    let size = x.shape()[mode];
    let rows = |range| x.rows(mode, range).expect("a dense tensor");
    let piece = ((1 << 16) / columns).clamp(1, size);
    let pieces = || (0..size).step_by(piece).map(|i| i..size.min(i + piece));
    let (v, singular_values) = if squared {
        let mut gram = Matrix::zeros(columns, columns);
        for range in pieces() {
            let part = rows(range.clone());
            let part = MatRef::new(&part, range.len(), columns);
            matmul(part.t(), part, MatMut::new(&mut gram.values, columns, columns), true);
        }
        eigenvectors(&gram, mode)?
    } else {
        let triangle = fold_triangle(size, columns, |first, to, at, count| {
            for (i, row) in rows(first..first + count).chunks_exact(columns).enumerate() {
                row.iter().enumerate().for_each(|(j, &x)| to[(at + i, j)] = x);
            }
        });
        right_vectors(&triangle, mode)?
    };
    let rank = keep.rank(&singular_values);
    // Columns of V over their singular value; where that is zero the direction is free and the reflections choose it.
    let scaled: Vec<f64> = (0..columns * rank)
        .map(|e| (e / rank, e % rank))
        .map(|(j, k)| match singular_values.get(k) {
            Some(&s) if s > 0.0 => v[(j, k)] / s,
            _ => 0.0,
        })
        .collect();
    let mut u = Matrix::zeros(size, rank);
    for range in pieces() {
        let part = rows(range.clone());
        let to = &mut u.values[range.start * rank..range.end * rank];
        matmul(
            MatRef::new(&part, range.len(), columns),
            MatRef::new(&scaled, columns, rank),
            MatMut::new(to, range.len(), rank),
            false,
        );
    }
    let mut u = orthonormal(&u);
    fix_signs(&mut u);
    Ok(Vectors { u, singular_values })
}

/// Eigenvectors of a positive semidefinite matrix, and the square roots of its eigenvalues, largest first.
pub(super) fn eigenvectors(gram: &Matrix, mode: usize) -> Result<(Mat<f64>, Vec<f64>), TuckerError> {
    let n = gram.rows;
    let matrix = Mat::from_fn(n, n, |i, j| gram.at(i, j));
    // faer is built without its own threads: the same bits at any number of ours.
    let eigen = matrix.self_adjoint_eigen(Side::Lower).map_err(|_| TuckerError::NoConvergence { mode })?;
    let values = eigen.S().column_vector();
    let vectors = eigen.U();
    // Rounding may leave small negative eigenvalues.
    let roots = (0..n).rev().map(|k| values[k].max(0.0).sqrt()).collect();
    Ok((Mat::from_fn(n, n, |i, k| vectors[(i, n - 1 - k)]), roots))
}

/// Right singular vectors (n, n) and singular values of a triangle (k, n), k <= n.
fn right_vectors(triangle: &Matrix, mode: usize) -> Result<(Mat<f64>, Vec<f64>), TuckerError> {
    let n = triangle.cols;
    let square = Mat::from_fn(n, n, |i, j| if i < triangle.rows { triangle.at(i, j) } else { 0.0 });
    let svd = square.svd().map_err(|_| TuckerError::NoConvergence { mode })?;
    let values = svd.S().column_vector();
    let roots = (0..n).map(|k| values[k].max(0.0)).collect();
    Ok((svd.V().to_owned(), roots))
}

/// An orthonormal basis (rows, cols) whose first k columns span the first k columns of `a`, for every k; needs rows >= cols.
pub fn orthonormal(a: &Matrix) -> Matrix {
    let qr = Mat::from_fn(a.rows, a.cols, |i, j| a.at(i, j)).qr();
    let q = qr.compute_thin_Q();
    let mut out = Matrix::zeros(a.rows, a.cols);
    (0..a.rows * a.cols).for_each(|e| out.values[e] = q[(e / a.cols, e % a.cols)]);
    out
}

/// Makes the entry of largest magnitude of every column positive (the first of equals).
pub fn fix_signs(u: &mut Matrix) {
    for j in 0..u.cols {
        let mut largest = 0.0f64;
        for i in 0..u.rows {
            if u.at(i, j).abs() > largest.abs() {
                largest = u.at(i, j);
            }
        }
        if largest < 0.0 {
            (0..u.rows).for_each(|i| u.values[i * u.cols + j] *= -1.0);
        }
    }
}

/// Uᵀ as a view.
pub fn transposed(u: &Matrix) -> MatRef<'_, f64> {
    MatRef::new(&u.values, u.rows, u.cols).t()
}
