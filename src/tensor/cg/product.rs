//! Products of features coupled by M or by its factors: [`crate::kernels::coupled`] with the tensors of this room.

use super::CgError;
use super::blocks::CgTensor;
use crate::kernels::coupled::TensorProduct;
use crate::kernels::simd::Real;
use crate::tensor::model::Matrix;

impl CgTensor {
    /// By the entries of M.
    pub fn exact_product<T: Real>(&self) -> TensorProduct<T> {
        TensorProduct::exact(self.dim(), self.entries())
    }

    /// By one matrix for every y.
    pub fn per_edge_product<T: Real>(&self) -> TensorProduct<T> {
        TensorProduct::per_edge(self.dim(), self.entries())
    }
}

/// By factors A, B, C of (d, R) each.
///
/// # Errors
/// Factors of different shapes, or without columns.
pub fn cp_product<T: Real>(factors: &[Matrix; 3]) -> Result<TensorProduct<T>, CgError> {
    let [a, b, c] = factors;
    for f in [b, c] {
        if (f.rows, f.cols) != (a.rows, a.cols) {
            let (found, expected) = (format!("{} x {}", f.rows, f.cols), format!("{} x {} as the first", a.rows, a.cols));
            return Err(CgError::Setting { what: "the shape of a factor", found, expected });
        }
    }
    if a.cols == 0 {
        return Err(CgError::RankZero);
    }
    Ok(TensorProduct::cp(a.rows, a.cols, [&a.values, &b.values, &c.values]))
}
