//! CP with non-negative factors.

use super::options::{CpFit, Options, Run};
use super::sweeps::{Signs, fit};
use super::{CpError, Input, check_room};
use crate::kernels::simd::Real;

/// How a non-negative factor is solved for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum NonnegSolver {
    /// Hierarchical ALS: component by component, up to 100 inner sweeps.
    #[default]
    Hals,
    /// The exact solution, row by row. Slower for large R; a sweep then does all that its mode can do.
    ActiveSet,
}

/// [`als`](fn@super::als) with the modes of `nonneg` (one flag a mode) held non-negative; the others are solved without signs.
///
/// A component r of such a mode becomes `max(0, u_r + (W_r − U G_r) / G_rr)`, all components in turn, until the inner sweeps change less than
/// 1 % (squared) of what the first one did. Works for every [`Input`], missing cells included, and with line search (extrapolations are cut
/// at zero), `l2` and `prox`. The last mode takes no signs from the others, as non-negative columns are never flipped.
///
/// Errors: as [`als`](fn@super::als), and [`CpError::Options`] when `nonneg` names no mode, or not every mode.
///
/// Source: Cichocki & Phan 2009; Gillis & Glineur 2012 for the inner sweeps.
pub fn hals<T: Real>(
    input: Input<'_, T>,
    options: &Options,
    nonneg: &[bool],
    solver: NonnegSolver,
    run: &Run<'_>,
) -> Result<CpFit, CpError> {
    options.check()?;
    check_room(input.shape(), options.rank, 0)?;
    let order = input.shape().len();
    if nonneg.len() != order {
        return Err(CpError::Options(format!("signs are given for {} modes and the tensor has {order}", nonneg.len())));
    }
    if !nonneg.contains(&true) {
        return Err(CpError::Options("no mode is to be non-negative; use als, or name modes".into()));
    }
    let mut data = input.sweep_data(options.rank, options.missing)?;
    fit(&mut *data, options, &Signs { nonneg, solver }, run)
}
