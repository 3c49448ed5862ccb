//! MTTKRP's backward pass. `W = MTTKRP_n(X, U)` is linear in X and in every factor, so its gradients are relatives of itself.

use super::direct::mttkrp;
use super::reconstruct::{kruskal_to_dense, kruskal_values};
use crate::kernels::simd::Real;

/// Gradients of a loss whose derivative with respect to `W = mttkrp(x, shape, factors, rank, mode)` is `dw` (I_mode, rank).
///
/// With `dw` in the place of factor `mode`: `dX = Σ_r dw[i_mode, r] Π_{m≠mode} U_m[i_m, r]`, the CP model, and for every m ≠ mode `dU_m =
/// MTTKRP_m(X, …)`. `dx` and `dfactors[m]` are written where they are wanted; `dfactors[mode]` must be `None`, since W does not depend on
/// that factor. Cost: 2·R·ΠI for dX, and one MTTKRP for each factor.
///
/// # Panics
/// When a slice has not the size that `shape` and `rank` ask for.
#[allow(clippy::too_many_arguments)]
pub fn mttkrp_backward<T: Real>(
    x: &[T],
    shape: &[usize],
    factors: &[&[T]],
    rank: usize,
    mode: usize,
    dw: &[T],
    dx: Option<&mut [T]>,
    dfactors: &mut [Option<&mut [T]>],
) {
    assert_eq!(dfactors.len(), shape.len(), "mttkrp_backward: a place for the gradient of every factor");
    assert!(dfactors[mode].is_none(), "mttkrp_backward: MTTKRP of mode {mode} does not depend on factor {mode}");
    let mut with: Vec<&[T]> = factors.to_vec();
    with[mode] = dw;
    if let Some(dx) = dx {
        kruskal_to_dense(shape, None, &with, rank, dx);
    }
    for (m, to) in dfactors.iter_mut().enumerate() {
        if let Some(to) = to {
            mttkrp(x, shape, &with, rank, m, to);
        }
    }
}

/// The gradient of a sparse MTTKRP with respect to the values: as dX of [`mttkrp_backward`], at the coordinates. The gradients of the
/// factors are [`SparsePlan::mttkrp`](super::sparse::SparsePlan::mttkrp) of the other modes with `dw` in the place of factor `mode`.
pub fn mttkrp_values_backward<T: Real>(
    shape: &[usize],
    indices: &[&[u32]],
    factors: &[&[T]],
    rank: usize,
    mode: usize,
    dw: &[T],
    dvalues: &mut [T],
) {
    let mut with: Vec<&[T]> = factors.to_vec();
    with[mode] = dw;
    kruskal_values(shape, indices, None, &with, rank, dvalues);
}
