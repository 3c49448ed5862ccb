//! Products of a tensor along all modes but one, for every mode of a sweep, with what modes have in common computed once.
//!
//! The modes are halved again and again. A half is served by the tensor multiplied along the modes of the other half: for three modes two
//! products with the whole tensor a sweep instead of three, and for N modes 2 instead of N (the rest is smaller by r / I). Factors that
//! are updated on the way are used from then on, as the plain order 0, 1, 2, … does: only rounding differs.

use super::TuckerError;
use super::operand::Operand;
use super::vectors::transposed;
use crate::tensor::data::Dense;
use crate::tensor::model::Matrix;

/// What is done with X ×_{m≠n} U_mᵀ, the mode n and the factors, which it may change.
pub type Leaf<'a> = dyn FnMut(usize, Dense<f64>, &mut [Matrix]) -> Result<(), TuckerError> + 'a;

/// Calls `leaf` for the modes 0, 1, …, N − 1.
///
/// Cost: 4 r ΠI operations and two passes over X, and terms smaller by r / I. Memory: X times r / I, twice for a moment.
pub fn sweep<X: Operand>(x: &X, factors: &mut [Matrix], leaf: &mut Leaf<'_>) -> Result<(), TuckerError> {
    let modes: Vec<usize> = (0..factors.len()).collect();
    if modes.len() == 1 {
        return leaf(0, x.to_next().into_dense(), factors);
    }
    let (first, second) = modes.split_at(modes.len().div_ceil(2));
    visit(multiply(x, second, factors), first, factors, leaf)?;
    visit(multiply(x, first, factors), second, factors, leaf)
}

fn visit<X: Operand<Next = X>>(node: X, modes: &[usize], factors: &mut [Matrix], leaf: &mut Leaf<'_>) -> Result<(), TuckerError> {
    if let &[mode] = modes {
        return leaf(mode, node.into_dense(), factors);
    }
    let (first, second) = modes.split_at(modes.len().div_ceil(2));
    visit(multiply(&node, second, factors), first, factors, leaf)?;
    visit(multiply(&node, first, factors), second, factors, leaf)
}

/// X ×_m U_mᵀ for the given modes, at least one; those first that shrink it most.
pub fn multiply<X: Operand>(x: &X, modes: &[usize], factors: &[Matrix]) -> X::Next {
    let mut modes = modes.to_vec();
    let share = |m: usize| factors[m].cols as f64 / factors[m].rows as f64;
    modes.sort_by(|&a, &b| share(a).total_cmp(&share(b)));
    let first = x.ttm(transposed(&factors[modes[0]]), modes[0]);
    modes[1..].iter().fold(first, |y, &m| y.ttm(transposed(&factors[m]), m))
}
