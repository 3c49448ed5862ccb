//! A CP model back to numbers.

use rayon::prelude::*;

use super::check;
use super::khatri_rao::{KhatriRao, Rows};
use super::tasks::{Shared, each, even};
use crate::kernels::gemm::{MatMut, MatRef, Start, tile, with_scratch};
use crate::kernels::rows::get;
use crate::kernels::simd::{Kernel, Lanes, Real, dispatch, prefetch};

/// Rows of a block, which share a block of the right-hand product; and its columns.
const ROWS: usize = 192;
const COLS: usize = 512;
/// Coordinates of a task.
const CHUNK: usize = 4096;
/// Coordinates that rows are asked for ahead.
const AHEAD: usize = 12;

/// `out[i, j, …] = Σ_r weights[r] · factors[0][i, r] · factors[1][j, r] · …`, in C order. Weights are ones when `None`.
///
/// A product (ΠI_A × R) · (R × ΠI_B) of two Khatri-Rao products, made in blocks. 2·R·ΠI operations; `out` is written once.
/// Panics when a slice has not the size that `shape` and `rank` ask for.
pub fn kruskal_to_dense<T: Real>(shape: &[usize], weights: Option<&[T]>, factors: &[&[T]], rank: usize, out: &mut [T]) {
    check(out, shape, factors, rank, None);
    assert!(weights.is_none_or(|w| w.len() == rank), "kruskal: {rank} weights");
    if out.is_empty() || rank == 0 {
        out.fill(T::ZERO);
        return;
    }
    let sizes = |s: usize| [shape[..s].iter().product::<usize>(), shape[s..].iter().product::<usize>()];
    let split = (0..shape.len()).min_by_key(|&s| sizes(s).iter().sum::<usize>()).unwrap_or(0);
    let [rows, cols] = sizes(split);
    let left = KhatriRao::new(&factors[..split], &shape[..split], rank);
    let right = KhatriRao::new(&factors[split..], &shape[split..], rank);
    let blocks = [rows.div_ceil(ROWS), cols.div_ceil(COLS * 8)];
    let to = Shared::new(out);
    each(blocks[0] * blocks[1], |task| {
        let is = even(rows, 1, blocks[0], task / blocks[1]);
        let js = even(cols, 16, blocks[1], task % blocks[1]);
        with_scratch(is.len() * rank, |a: &mut [T]| {
            left.fill(is.clone(), a);
            if let Some(weights) = weights {
                a.chunks_exact_mut(rank).for_each(|row| row.iter_mut().zip(weights).for_each(|(x, &w)| *x = *x * w));
            }
            let a = MatRef::new(a, is.len(), rank);
            with_scratch(rank * COLS.min(js.len()), |b: &mut [T]| {
                for first in js.clone().step_by(COLS) {
                    let count = COLS.min(js.end - first);
                    right.fill_columns(first..first + count, b, count);
                    // SAFETY: this block of rows and columns belongs to this task, and lies inside.
                    let c = unsafe { MatMut::from_raw(to.at(is.start * cols + first), is.len(), count, cols, 1) };
                    tile(Start::Zero, a, MatRef::new(b, rank, count), c);
                }
            });
        });
    });
}

/// The same at coordinates: `out[k] = Σ_r weights[r] · Π_m factors[m][indices[m][k], r]`..
///
/// (N + 1)·R operations a coordinate and as many numbers read. Panics on slices of wrong length, and on an index outside of the shape.
pub fn kruskal_values<T: Real>(
    shape: &[usize],
    indices: &[&[u32]],
    weights: Option<&[T]>,
    factors: &[&[T]],
    rank: usize,
    out: &mut [T],
) {
    assert!(
        shape.len() == factors.len() && shape.len() == indices.len() && !shape.is_empty(),
        "kruskal: one factor and one index per mode"
    );
    for (mode, (factor, &size)) in factors.iter().zip(shape).enumerate() {
        assert_eq!(factor.len(), size * rank, "kruskal: factor {mode} is {size} x {rank}");
        assert_eq!(indices[mode].len(), out.len(), "kruskal: indices of mode {mode}");
    }
    assert!(weights.is_none_or(|w| w.len() == rank), "kruskal: {rank} weights");
    let ones = vec![T::ONE; if weights.is_none() { rank } else { 0 }];
    let weights = weights.unwrap_or(&ones);
    out.par_chunks_mut(CHUNK).enumerate().for_each(|(c, out)| {
        dispatch(Values { first: c * CHUNK, indices, weights, factors, out });
    });
}

struct Values<'a, T> {
    first: usize,
    indices: &'a [&'a [u32]],
    weights: &'a [T],
    factors: &'a [&'a [T]],
    out: &'a mut [T],
}

impl<T: Real> Kernel<T> for Values<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run<V: Lanes<T>>(self) {
        let Self { first, indices, weights, factors, out } = self;
        let rank = weights.len();
        for (k, to) in out.iter_mut().enumerate() {
            for (index, factor) in indices.iter().zip(factors) {
                if let Some(&i) = index.get(first + k + AHEAD) {
                    for at in (0..rank).step_by(V::N) {
                        prefetch(factor, i as usize * rank + at);
                    }
                }
            }
            let mut sum = V::splat(T::ZERO);
            for at in (0..rank).step_by(V::N) {
                let count = V::N.min(rank - at);
                let mut product = get::<T, V>(weights, at, count);
                for (index, factor) in indices.iter().zip(factors) {
                    product = product.mul(get(factor, index[first + k] as usize * rank + at, count));
                }
                sum = sum.add(product);
            }
            *to = sum.sum();
        }
    }
}
