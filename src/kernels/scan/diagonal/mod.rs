//! The heart of diagonal scans: one tile of steps for one vector of channels, forward and back.
//!
//! h ← exp(Δ·A)·h + Δ·u·B and y += C·h for every state, channels in lanes. Where the steps lie and how Δ, u and y are fetched and
//! put is the business of each scan: steps of a sequence, or cells of a map.
//!
//! # How
//! The decay is 2^(Δ·A′) with A′ = A·log₂e taken once per channel, which leaves 10 operations to an exponential; it needs no care for
//! the ends of the range as long as all exponents of a tile are small, which is looked up first. Two states are taken through the tile
//! together where there are registers for it, so that lines are read once for both and their chains overlap. What the next tile will
//! read is asked for meanwhile. Back, numbers to be summed over channels are kept for as many steps as a vector has lanes, and summed
//! together. Results depend on none of this.

pub(super) mod backward;
pub(super) mod forward;
#[cfg(test)]
mod tests;

use crate::kernels::simd::{Lanes, Real, math};

/// Steps of a tile.
pub(super) const TILE: usize = 64;

/// B and C of the steps of a tile: those of step t and state k lie at `places[t] + k`.
#[derive(Clone, Copy)]
pub(super) struct Couplings<'a, T> {
    pub(super) b: &'a [T],
    pub(super) c: &'a [T],
    pub(super) places: &'a [usize],
}

/// What the next tile of the same channels will read: step t at `first + t · stride` of each matrix. It is asked for while this tile is
/// computed, one matrix during each walk over the steps.
#[derive(Clone, Copy)]
pub(super) struct Ahead<'a, T> {
    pub(super) of: [&'a [T]; 4],
    pub(super) first: usize,
    pub(super) stride: usize,
}

impl<'a, T> Ahead<'a, T> {
    /// Nothing.
    pub(super) const NONE: Self = Self { of: [&[]; 4], first: 0, stride: 0 };

    /// The matrix for the `i`-th walk; empty when there is none.
    #[inline(always)]
    fn matrix(&self, i: usize) -> &'a [T] {
        if i < 4 { self.of[i] } else { &[] }
    }
}

/// Whether decays may be taken the short way.
#[derive(Clone, Copy)]
enum Exponents {
    /// No exponent of the tile leaves the range of normal numbers.
    Near,
    Any,
}

impl Exponents {
    /// From the vectors of Δ of a tile and of A′.
    #[inline(always)]
    fn of<T: Real, V: Lanes<T>>(delta: &[T], rates: &[T]) -> Self {
        let most = largest::<T, V>(delta).mul(largest::<T, V>(rates)).max_lane();
        if most <= T::EXP2_NEAR { Self::Near } else { Self::Any }
    }
}

/// The largest magnitude of each lane.
#[inline(always)]
fn largest<T: Real, V: Lanes<T>>(of: &[T]) -> V {
    let mut most = V::splat(T::ZERO);
    for v in of.chunks_exact(V::N) {
        most = most.max(V::load(v).abs());
    }
    most
}

/// A′ from A.
#[inline(always)]
fn in_base_2<T: Real, V: Lanes<T>>(rates: &[T], to: &mut [T]) {
    for (a, to) in rates.chunks_exact(V::N).zip(to.chunks_exact_mut(V::N)) {
        math::exp2_factor::<T, V>(V::load(a)).store(to);
    }
}

#[inline(always)]
fn decay<T: Real, V: Lanes<T>, const NEAR: bool>(delta: V, rate: V) -> V {
    if NEAR { math::exp2_product_near::<T, V>(delta, rate) } else { math::exp2_product::<T, V>(delta, rate) }
}
