//! ST-HOSVD: the tensor is truncated after each mode.

use super::operand::Operand;
use super::vectors::{Precision, Vectors, left_vectors, transposed};
use super::{ModeOrder, Size, TuckerError, TuckerFit, check_input, finish, no_factors, squares};
use crate::tensor::data::Dense;
use crate::tensor::model::{Matrix, Tucker};

/// As [`hosvd`](super::hosvd::hosvd), but each mode works on what the modes before it have left, which is faster, and mostly no worse.
///
/// * `x`, `size`, errors: as there. ‖X − X̂‖ <= eps ‖X‖ holds for a tolerance in any `mode_order`.
/// * Cost: I_1 ΠI multiply-adds for the first mode's Gram matrix, r_1 ΠI for its product, then the same of a tensor r_1 / I_1 the size.
///   Memory beside X: the truncated tensor, at most two of them at a time. A mode of full rank waits with its product until the others
///   are done: it would only rotate the tensor, at full size.
///
/// Source: Vannieuwenhoven, Vandebril & Meerbergen, A new truncation strategy for the higher-order singular value decomposition, SIAM J.
/// Sci. Comput. 34 (2012), algorithm 1; the postponed rotations are ours.
pub fn sthosvd<X: Operand>(x: &X, size: &Size, mode_order: &ModeOrder, precision: Precision) -> Result<TuckerFit, TuckerError> {
    let scan = check_input(x)?;
    size.check(x.shape())?;
    let modes = mode_order.resolve(x.shape())?;
    let order = modes.len();
    let truncated = truncate(x, &modes, |at, mode| {
        let keep = size.keep(mode, order, scan.squares);
        let v = match at {
            At::Whole(x) => left_vectors(x, mode, keep, precision),
            At::Part(x) => left_vectors(x, mode, keep, precision),
        };
        Ok((v?, None))
    })?;
    let explained = squares(truncated.core.values());
    let model = Tucker { core: truncated.core, factors: truncated.factors };
    Ok(finish(x, model, scan.squares, explained, modes, truncated.singular_values, None))
}

/// What a mode is taken from.
pub enum At<'a, X: Operand> {
    Whole(&'a X),
    Part(&'a X::Next),
}

/// What [`truncate`] gives.
pub struct Truncated {
    pub core: Dense<f64>,
    pub factors: Vec<Matrix>,
    pub singular_values: Vec<Vec<f64>>,
}

/// Truncates mode by mode with the vectors that `vectors` finds; it may give the tensor times these vectors too, when it has it.
pub fn truncate<X: Operand>(
    x: &X,
    modes: &[usize],
    mut vectors: impl FnMut(At<'_, X>, usize) -> Result<(Vectors, Option<X::Next>), TuckerError>,
) -> Result<Truncated, TuckerError> {
    let mut factors = no_factors(modes.len());
    let mut singular_values = vec![Vec::new(); modes.len()];
    let mut part: Option<X::Next> = None;
    let mut waiting = Vec::new();
    for &mode in modes {
        let (v, ready) = vectors(part.as_ref().map_or(At::Whole(x), At::Part), mode)?;
        match ready {
            Some(ready) => part = Some(ready),
            None if v.u.cols == v.u.rows => waiting.push(mode),
            None => part = Some(product(x, part.as_ref(), &v.u, mode)),
        }
        factors[mode] = v.u;
        singular_values[mode] = v.singular_values;
    }
    for mode in waiting {
        part = Some(product(x, part.as_ref(), &factors[mode], mode));
    }
    let core = part.expect("every mode has had its product").into_dense();
    Ok(Truncated { core, factors, singular_values })
}

fn product<X: Operand>(x: &X, part: Option<&X::Next>, u: &Matrix, mode: usize) -> X::Next {
    match part {
        None => x.ttm(transposed(u), mode),
        Some(part) => part.ttm(transposed(u), mode),
    }
}
