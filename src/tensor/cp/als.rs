//! CP by alternating least squares.

use super::hals::NonnegSolver;
use super::options::{CpFit, Options, Run};
use super::sweeps::{Signs, fit};
use super::{CpError, Input, check_room};
use crate::kernels::simd::Real;

/// Minimises `Σ (x − x̂)²` over the cells that count, one factor at a time.
///
/// For each mode n: `W = X_(n) · KR(U_m, m ≠ n)`, `G = ⊙_{m≠n} U_mᵀU_m` (`+ l2 I`), solve `U_n G = W` by Cholesky, or the pseudo-inverse
/// where G is singular. Columns are normalised by their 2-norm in the first sweep and by `max(1, max |u|)` later. The residual comes from
/// the sums of the last mode, `‖X‖² + ‖X̂‖² − 2⟨X, X̂⟩`, in f64, and is computed cell by cell where that cancels (fit above 1 - 1e-6, f32 data,
/// missing cells). Missing cells: see [`Missing`](super::Missing). With `tol` below about 1e-15 rounding decides when it stops.
///
/// f32 data: MTTKRPs in f32, Gram matrices, solves and scalars in f64 (these cost nothing beside the MTTKRP, and the matrix G squares the
/// condition number).
///
/// Errors: [`CpError`] for what is wrong with the data or the options; running out of sweeps is not an error.
///
/// Cost of a sweep: dense 4 R ΠI, sparse 2 N R nnz, weighted N R² |Ω| operations, and N R² ΣI + N R³; a line search or a residual cell by
/// cell adds 2 R ΠI (2 N R nnz).
///
/// Source: Carroll & Chang 1970, Harshman 1970; Kolda & Bader 2009 for the formulas; Bro 1998 for the line search. Changed: an
/// extrapolated model is kept only when it beats the sweep's own model, not merely the sweep before, so fits never fall.
pub fn als<T: Real>(input: Input<'_, T>, options: &Options, run: &Run<'_>) -> Result<CpFit, CpError> {
    options.check()?;
    check_room(input.shape(), options.rank, 0)?;
    let mut data = input.sweep_data(options.rank, options.missing)?;
    let nonneg = vec![false; input.shape().len()];
    fit(&mut *data, options, &Signs { nonneg: &nonneg, solver: NonnegSolver::Hals }, run)
}
