//! Channels in the lanes of a vector: how diagonal scans load and store them.

use crate::kernels::simd::{Lanes, Real, math};
use crate::kernels::transpose::transpose_inside;
use std::ops::Range;

/// Δ of a step, and dΔ/d(δ + bias).
#[inline(always)]
pub(super) fn step_size<T: Real, V: Lanes<T>>(softplus: bool, raw: V) -> (V, V) {
    if softplus { math::softplus_and_derivative::<T, V>(raw) } else { (raw, V::splat(T::ONE)) }
}

/// `count` numbers of a row of some channels, or zeros when the matrix is not there.
#[inline(always)]
pub(super) fn line<T: Real, V: Lanes<T>>(of: Option<&[T]>, at: usize, count: usize) -> V {
    match of {
        Some(of) if count == V::N => V::load(&of[at..]),
        Some(of) => V::load_partial(&of[at..at + count]),
        None => V::splat(T::ZERO),
    }
}

/// Writes `count` lanes.
#[inline(always)]
pub(super) fn put<T: Real, V: Lanes<T>>(v: V, to: &mut [T]) {
    if to.len() == V::N { v.store(to) } else { v.store_partial(to) }
}

/// (channels, n) numbers of some channels, as n vectors over the channels.
#[inline(always)]
pub(super) fn lanes_of<T: Real, V: Lanes<T>>(from: &[T], channels: Range<usize>, n: usize, to: &mut [T]) {
    if channels.len() < V::N {
        to[..n * V::N].fill(T::ZERO);
    }
    transpose_inside((&from[channels.start * n..channels.end * n], n), (channels.len(), n), (to, V::N));
}

/// The way back: `to` is (channels, n).
#[inline(always)]
pub(super) fn put_lanes<T: Real, V: Lanes<T>>(from: &[T], n: usize, to: &mut [T]) {
    transpose_inside((from, V::N), (n, to.len() / n), (to, n));
}
