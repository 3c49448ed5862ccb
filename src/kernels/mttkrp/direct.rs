//! MTTKRP of one mode.

use super::khatri_rao::KhatriRao;
use super::left::left;
use super::right::right;
use super::{around, check};
use crate::kernels::gemm::with_scratch;
use crate::kernels::simd::Real;
use crate::kernels::transpose::transpose;

/// MTTKRP: `out[i, r] = Σ x[…, i, …] · Π_{m≠mode} factors[m][i_m, r]`.
///
/// That is X_(mode) · KR with the factors of the other modes in increasing order and C order. `x` is a tensor of `shape` in C order,
/// `factors[m]` is (I_m, rank) in rows, `factors[mode]` is not read, `out` is (I_mode, rank).
///
/// # How
/// X is seen as (I_L, I_n, I_T), the modes before and after `mode`. When I_L <= I_T, the trailing modes are contracted first,
/// `Y[l, i, r] = Σ_t X[l, i, t] KR_T[t, r]`, else the leading ones: the side with the smaller intermediate. Both the intermediate and the
/// Khatri-Rao products exist in blocks only: the memory beside X grows with the factors, not with X.
///
/// # Cost
/// 2·R·ΠI operations, and 2·R·ΠI / max(I_L, I_T) for the second contraction. X is read once; blocks of about 1 MiB a thread. The cut of
/// the work and the order of all sums depend on the shape and the rank alone: same bytes at any number of threads.
///
/// # Panics
/// When a slice has not the size that `shape` and `rank` ask for.
pub fn mttkrp<T: Real>(x: &[T], shape: &[usize], factors: &[&[T]], rank: usize, mode: usize, out: &mut [T]) {
    check(x, shape, factors, rank, Some(mode));
    let [l, i, t] = around(shape, mode);
    assert_eq!(out.len(), i * rank, "mttkrp: a result of {i} x {rank}");
    if x.is_empty() || rank == 0 {
        out.fill(T::ZERO);
        return;
    }
    let before = KhatriRao::new(&factors[..mode], &shape[..mode], rank);
    let after = KhatriRao::new(&factors[mode + 1..], &shape[mode + 1..], rank);
    with_scratch(out.len(), |columns: &mut [T]| {
        if l <= t {
            right(x, [l, i, t], (mode > 0).then_some(&before), &after, columns);
        } else {
            left(x, [l, i, t], &before, (mode + 1 < shape.len()).then_some(&after), columns);
        }
        transpose((columns, i), (rank, i), (out, rank));
    });
}
