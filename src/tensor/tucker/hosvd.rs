//! HOSVD: every factor from the tensor itself.

use super::operand::Operand;
use super::tree::multiply;
use super::vectors::{Precision, left_vectors};
use super::{Size, TuckerError, TuckerFit, check_input, finish, squares};
use crate::tensor::model::Tucker;

/// The leading left singular vectors of every unfolding, and the core G = X ×_n U_nᵀ.
///
/// * `x`: (I_0, …, I_{N−1}), dense or sparse, `f32` or `f64`.
/// * `size`: ranks, or a relative error that is kept: a mode drops squared singular values up to eps² ‖X‖² / N.
/// * Errors: bad ranks or tolerance, no modes, empty modes, numbers that are not finite or out of range.
/// * Cost: I_n ΠI multiply-adds for every Gram matrix (twice that for [`Precision::Lq`]), then a shrinking chain of products for the core.
///   Memory beside X: the Gram matrix, then r / I of X twice.
///
/// Source: De Lathauwer, De Moor & Vandewalle, A multilinear singular value decomposition, SIAM J. Matrix Anal. Appl. 21 (2000); the
/// tolerance as in the Tensor Toolbox.
pub fn hosvd<X: Operand>(x: &X, size: &Size, precision: Precision) -> Result<TuckerFit, TuckerError> {
    let scan = check_input(x)?;
    size.check(x.shape())?;
    let order = x.shape().len();
    let (mut factors, mut singular_values) = (Vec::new(), Vec::new());
    for mode in 0..order {
        let v = left_vectors(x, mode, size.keep(mode, order, scan.squares), precision)?;
        factors.push(v.u);
        singular_values.push(v.singular_values);
    }
    let modes: Vec<usize> = (0..order).collect();
    let core = multiply(x, &modes, &factors).into_dense();
    let explained = squares(core.values());
    Ok(finish(x, Tucker { core, factors }, scan.squares, explained, modes, singular_values, None))
}
