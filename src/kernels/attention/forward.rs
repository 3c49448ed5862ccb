//! The forward pass of attention.

use super::Attention;
use super::tiles::{Head, KEY_BLOCK, Logits, MaskT, Output, QUERY_BLOCK, heads_per_task, minus_infinity, padded, weight};
use crate::kernels::gemm::{MatMut, MatRef, Start, tile};
use crate::kernels::rows::for_each;
use crate::kernels::simd::{Kernel, Lanes, Real, dispatch, math};

pub(super) fn run<T: Real>(shape: &Attention<T>, q: &[T], k: &[T], v: &[T], out: &mut [T]) -> Vec<T> {
    let mut log_sums = vec![T::ZERO; shape.batch * shape.heads * shape.queries];
    if log_sums.is_empty() {
        return log_sums;
    }
    let mask = MaskT::new(shape);
    let per_task = heads_per_task(shape);
    let out = Output::new(out);
    let tasks = log_sums
        .chunks_mut(per_task * shape.queries)
        .enumerate()
        .map(|(t, log_sums)| Task { shape, mask: mask.as_ref(), q, k, v, first: t * per_task, out, log_sums })
        .collect();
    for_each(tasks, |task: Task<T>| dispatch(task));
    log_sums
}

/// A few heads.
struct Task<'a, T> {
    shape: &'a Attention<'a, T>,
    mask: Option<&'a MaskT<T>>,
    q: &'a [T],
    k: &'a [T],
    v: &'a [T],
    first: usize,
    out: Output<T>,
    log_sums: &'a mut [T],
}

impl<T: Real> Kernel<T> for Task<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run<V: Lanes<T>>(self) {
        let Self { shape, mask, q, k, v, first, out, log_sums } = self;
        let lead = padded::<T>(shape.queries.min(QUERY_BLOCK));
        let wide = padded::<T>(shape.width);
        let mut turned = vec![T::ZERO; shape.width * lead];
        let mut weights = vec![T::ZERO; shape.keys.min(KEY_BLOCK) * lead];
        let mut sums = vec![T::ZERO; lead * wide];
        let (mut top, mut total, mut factors) = ([T::ZERO; QUERY_BLOCK], [T::ZERO; QUERY_BLOCK], [T::ZERO; QUERY_BLOCK]);
        for (h, log_sums) in log_sums.chunks_mut(shape.queries).enumerate() {
            let index = [(first + h) / shape.heads, (first + h) % shape.heads];
            let q = Head::new(shape, q, shape.queries, index);
            let k = Head::new(shape, k, shape.keys, index);
            let v = Head::new(shape, v, shape.keys, index);
            let mut i = 0;
            while i < shape.queries {
                let rows = (shape.queries - i).min(QUERY_BLOCK);
                let lead = padded::<T>(rows);
                q.transpose(i, rows, lead, &mut turned);
                top[..lead].fill(minus_infinity());
                total[..lead].fill(T::ZERO);
                let seen = if shape.causal { shape.keys.min(i + rows) } else { shape.keys };
                let mut j = 0;
                while j < seen {
                    let keys = (seen - j).min(KEY_BLOCK);
                    let turned = MatRef::new(&turned, shape.width, lead);
                    tile(Start::Zero, k.rows(j, keys), turned, MatMut::new(&mut weights, keys, lead));
                    for at in (0..lead / V::N).map(|n| n * V::N) {
                        let logits = Logits::<T, V>::new(shape, mask, i + at);
                        let stats = [&mut top[at..], &mut total[at..], &mut factors[at..]];
                        weigh::<T, V>(&logits, &mut weights[at..], lead, j, keys, stats);
                    }
                    if j > 0 {
                        for (row, &factor) in sums.chunks_exact_mut(wide).zip(&factors[..rows]) {
                            row.iter_mut().for_each(|x| *x = *x * factor);
                        }
                    }
                    let start = if j == 0 { Start::Zero } else { Start::Current };
                    let left = MatRef::with_strides(&weights, rows, keys, 1, lead);
                    let right = v.right(j, keys);
                    tile(start, left, right, MatMut::with_strides(&mut sums, rows, v.cols(j, keys), wide, 1));
                    j += keys;
                }
                for at in (0..lead / V::N).map(|n| n * V::N) {
                    let total = V::load(&total[at..]);
                    let none = total.le(V::splat(T::ZERO));
                    V::select(none, V::splat(T::ZERO), V::splat(T::ONE).div(total)).store(&mut factors[at..]);
                    let log_sum = V::load(&top[at..]).add(math::log::<T, V>(total));
                    V::select(none, V::splat(-minus_infinity::<T>()), log_sum).store(&mut top[at..]);
                }
                log_sums[i..i + rows].copy_from_slice(&top[..rows]);
                if seen == 0 {
                    sums.fill(T::ZERO);
                }
                // SAFETY: `run` holds the slice; these rows of this head belong to this task alone.
                unsafe { out.store_rows(q.place(i), shape.heads * shape.width, &sums, wide, shape.width, &factors[..rows]) };
                i += rows;
            }
        }
    }
}

/// Turns a column of dot products into weights relative to the largest logit so far, and brings the statistics of its queries up
/// to date: `[largest logit, Σ weights, factor for what was summed before]`.
#[inline(always)]
fn weigh<T: Real, V: Lanes<T>>(
    logits: &Logits<T, V>,
    dots: &mut [T],
    lead: usize,
    first: usize,
    keys: usize,
    stats: [&mut [T]; 3],
) {
    let [top, total, factors] = stats;
    let before = V::load(top);
    let mut largest = [before; 2];
    for j in 0..keys {
        largest[j % 2] = largest[j % 2].max(logits.of(V::load(&dots[j * lead..]), first + j));
    }
    let largest = largest[0].max(largest[1]);
    largest.store(top);
    // Where all is masked so far the differences would be −∞ + ∞; against zero they are −∞, and the weights zero.
    let against = V::select(largest.le(V::splat(minus_infinity())), V::splat(T::ZERO), largest);
    let factor = weight::<T, V>(before.sub(against));
    factor.store(factors);
    let mut sum = V::load(total).mul(factor);
    for j in 0..keys {
        let weight = weight::<T, V>(logits.of(V::load(&dots[j * lead..]), first + j).sub(against));
        weight.store(&mut dots[j * lead..]);
        sum = sum.add(weight);
    }
    sum.store(total);
}
