//! Products of a tensor with the factors of a CP model, dense and sparse.
//!
//! MTTKRP of mode n is `W (I_n, R) = X_(n) · KR`: the unfolding of X times the Khatri-Rao product of all other factors, `W[i, r] = Σ over
//! all entries x of slice i of x · Π_{m≠n} U_m[i_m, r]`. Modes count from 0, X lies in C order, factors are (I_m, R) in rows.
//!
//! | file | what |
//! |---|---|
//! | `direct` | [`mttkrp`] of one mode: X read once, as it lies |
//! | `sweep`, `node` | [`Sweep`]: all modes of one ALS sweep with a dimension tree, X read twice |
//! | `right`, `left`, `khatri_rao` | the two contractions of X that both are built from, and the blocks of Khatri-Rao products they use |
//! | [`sparse`] | MTTKRP of coordinates, by prefix trees |
//! | `reconstruct` | [`kruskal_to_dense`], and values at coordinates |
//! | `gradient` | [`mttkrp_backward`] |
//! | `cp_layer` | [`CpLayer`], a bilinear map in CP form, and its backward pass |
//! | `complex` | [`mttkrp_complex`], planar |
//! | `gram` | [`gram`], [`hadamard`] and their relatives, in f64 |
//! | [`reference`](mod@reference) | the definitions, in f64 |
//!
//! # Memory
//! No function here forms a Khatri-Rao product of a side that is longer than a block, or a permuted X. Beside X and the factors, dense
//! functions take a few blocks per thread (about 1 MiB), a transposed copy of the last factors of a side (up to 4096 rows multiplied out)
//! and a copy of the result; [`Sweep`] at most a quarter of X, and for a node the product of its sibling's factors.
//!
//! # Source
//! Phan, Tichavský, Cichocki, Fast alternating LS algorithms for high order CANDECOMP/PARAFAC, 2013 (order of the two contractions); Kaya
//! and Uçar, Parallel CP decomposition using dimension trees and hybrid sparse formats, 2018 (the tree); Smith, Ravindran, Sidiropoulos,
//! Karypis, SPLATT, 2015 (prefix trees of sparse tensors). Ours: blocks instead of a large intermediate, the fixed order of all sums, and
//! the rule by which a tree is not used.

mod complex;
mod cp_layer;
mod direct;
mod gradient;
mod gram;
pub(in crate::kernels) mod khatri_rao;
pub(in crate::kernels) mod left;
mod node;
mod reconstruct;
pub mod reference;
pub(in crate::kernels) mod right;
pub mod sparse;
mod sweep;
pub(in crate::kernels) mod tasks;
#[cfg(test)]
pub(in crate::kernels) mod tests;

pub use complex::{gram_complex, hadamard_complex, mttkrp_complex};
pub use cp_layer::{CpLayer, CpLayerGradients};
pub use direct::mttkrp;
pub use gradient::{mttkrp_backward, mttkrp_values_backward};
pub use gram::{gram, gram_into, hadamard, hadamard_except};
pub use reconstruct::{kruskal_to_dense, kruskal_values};
pub use sweep::Sweep;

/// The sizes before, at and after a mode: X in C order is a (left, mode, right) block.
pub(in crate::kernels) fn around(shape: &[usize], mode: usize) -> [usize; 3] {
    assert!(mode < shape.len(), "mode {mode} of a tensor of {} modes", shape.len());
    [shape[..mode].iter().product(), shape[mode], shape[mode + 1..].iter().product()]
}

/// Panics when X or a factor has not the size that the shape asks for. The factor of `except` is not looked at.
pub(in crate::kernels) fn check<T>(x: &[T], shape: &[usize], factors: &[&[T]], rank: usize, except: Option<usize>) {
    assert_eq!(x.len(), shape.iter().product::<usize>(), "mttkrp: a tensor of shape {shape:?}");
    assert_eq!(factors.len(), shape.len(), "mttkrp: one factor per mode");
    for (mode, (factor, &size)) in factors.iter().zip(shape).enumerate() {
        assert!(
            Some(mode) == except || factor.len() == size * rank,
            "mttkrp: factor {mode} is {size} x {rank}, not {} numbers",
            factor.len()
        );
    }
}
