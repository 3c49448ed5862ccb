//! The backward pass of attention.

use super::Attention;
use super::tiles::{Head, KEY_BLOCK, Logits, MaskT, Output, QUERY_BLOCK, heads_per_task, padded, weight};
use crate::kernels::gemm::{MatMut, MatRef, Start, tile};
use crate::kernels::rows::{each_vector, for_each, get};
use crate::kernels::simd::{Kernel, Lanes, Real, dispatch};

pub(super) fn run<T: Real>(
    shape: &Attention<T>,
    [q, k, v]: [&[T]; 3],
    out: &[T],
    log_sums: &[T],
    dout: &[T],
    [dq, dk, dv]: [&mut [T]; 3],
) {
    let mask = MaskT::new(shape);
    let per_task = heads_per_task(shape);
    let gradients = [Output::new(dq), Output::new(dk), Output::new(dv)];
    let heads = shape.batch * shape.heads;
    let tasks = (0..heads)
        .step_by(per_task)
        .map(|first| {
            let count = per_task.min(heads - first);
            Task { shape, mask: mask.as_ref(), inputs: [q, k, v, out, dout], log_sums, first, count, gradients }
        })
        .collect();
    for_each(tasks, |task: Task<T>| dispatch(task));
}

/// A few heads.
struct Task<'a, T> {
    shape: &'a Attention<'a, T>,
    mask: Option<&'a MaskT<T>>,
    inputs: [&'a [T]; 5],
    log_sums: &'a [T],
    first: usize,
    count: usize,
    gradients: [Output<T>; 3],
}

impl<T: Real> Kernel<T> for Task<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run<V: Lanes<T>>(self) {
        let shape = self.shape;
        let Attention { queries, keys, width, .. } = *shape;
        let stride = shape.heads * width;
        let wide = padded::<T>(width);
        let lead = padded::<T>(queries.min(QUERY_BLOCK));
        let ones = vec![T::ONE; keys.max(QUERY_BLOCK)];
        let mut turned_q = vec![T::ZERO; width * lead];
        let mut turned_dout = vec![T::ZERO; width * lead];
        let mut weights = vec![T::ZERO; keys.min(KEY_BLOCK) * lead];
        let mut slopes = vec![T::ZERO; keys.min(KEY_BLOCK) * lead];
        let mut sum_q = vec![T::ZERO; lead * wide];
        let mut sum_k = vec![T::ZERO; keys * wide];
        let mut sum_v = vec![T::ZERO; keys * wide];
        let (mut log_sums, mut levels) = ([T::ZERO; QUERY_BLOCK], [T::ZERO; QUERY_BLOCK]);
        let one_block = keys <= KEY_BLOCK;
        for index in self.first..self.first + self.count {
            let head = [index / shape.heads, index % shape.heads];
            let [q, out, dout] = [0, 3, 4].map(|n| Head::new(shape, self.inputs[n], queries, head));
            let [k, v] = [1, 2].map(|n| Head::new(shape, self.inputs[n], keys, head));
            // Without a causal order the first block of queries meets all keys, so the sums can start with it.
            let fill = shape.causal || queries == 0;
            if fill {
                sum_k.fill(T::ZERO);
                sum_v.fill(T::ZERO);
            }
            let mut i = 0;
            while i < queries {
                let rows = (queries - i).min(QUERY_BLOCK);
                let lead = padded::<T>(rows);
                q.transpose(i, rows, lead, &mut turned_q);
                dout.transpose(i, rows, lead, &mut turned_dout);
                // Queries beyond the last one have zeros for `dout`, so any finite number will do.
                log_sums[rows..lead].fill(T::ZERO);
                log_sums[..rows].copy_from_slice(&self.log_sums[index * queries + i..][..rows]);
                if !one_block {
                    for (r, level) in levels[..rows].iter_mut().enumerate() {
                        *level = dot::<T, V>(out.row(i + r), dout.row(i + r));
                    }
                }
                let seen = if shape.causal { keys.min(i + rows) } else { keys };
                if seen == 0 {
                    sum_q.fill(T::ZERO);
                }
                let mut j = 0;
                while j < seen {
                    let block = (seen - j).min(KEY_BLOCK);
                    let turned_q = MatRef::new(&turned_q, width, lead);
                    let turned_dout = MatRef::new(&turned_dout, width, lead);
                    tile(Start::Zero, k.rows(j, block), turned_q, MatMut::new(&mut weights, block, lead));
                    tile(Start::Zero, v.rows(j, block), turned_dout, MatMut::new(&mut slopes, block, lead));
                    for at in (0..lead / V::N).map(|n| n * V::N) {
                        let column = Column {
                            logits: Logits::<T, V>::new(shape, self.mask, i + at),
                            log_sums: V::load(&log_sums[at..]),
                            levels: (!one_block).then(|| V::load(&levels[at..])),
                            scale: V::splat(T::from_f64(shape.scale)),
                        };
                        column.differentiate(&mut weights[at..], &mut slopes[at..], lead, j, block);
                    }
                    let start = if i == 0 && !fill { Start::Zero } else { Start::Current };
                    let sums = MatMut::with_strides(&mut sum_v[j * wide..], block, dout.cols(i, rows), wide, 1);
                    tile(start, MatRef::with_strides(&weights, block, rows, lead, 1), dout.right(i, rows), sums);
                    let sums = MatMut::with_strides(&mut sum_k[j * wide..], block, q.cols(i, rows), wide, 1);
                    tile(start, MatRef::with_strides(&slopes, block, rows, lead, 1), q.right(i, rows), sums);
                    let sums = MatMut::with_strides(&mut sum_q, rows, k.cols(j, block), wide, 1);
                    let start = if j == 0 { Start::Zero } else { Start::Current };
                    tile(start, MatRef::with_strides(&slopes, rows, block, 1, lead), k.right(j, block), sums);
                    j += block;
                }
                // SAFETY: the caller of the task holds the slices; these rows of this head belong to this task alone.
                unsafe { self.gradients[0].store_rows(q.place(i), stride, &sum_q, wide, width, &ones[..rows]) };
                i += rows;
            }
            // SAFETY: as above.
            unsafe {
                self.gradients[1].store_rows(k.place(0), stride, &sum_k, wide, width, &ones[..keys]);
                self.gradients[2].store_rows(k.place(0), stride, &sum_v, wide, width, &ones[..keys]);
            }
        }
    }
}

/// A vector of queries against a block of keys.
struct Column<'a, T, V> {
    logits: Logits<'a, T, V>,
    log_sums: V,
    /// Σ P ∘ G of each query; found here when the block holds all keys.
    levels: Option<V>,
    scale: V,
}

impl<T: Real, V: Lanes<T>> Column<'_, T, V> {
    /// Dot products in `weights` become weights P, and G in `slopes` becomes scale · dS.
    #[inline(always)]
    fn differentiate(&self, weights: &mut [T], slopes: &mut [T], lead: usize, first: usize, keys: usize) {
        let mut level = V::splat(T::ZERO);
        for j in 0..keys {
            let logits = self.logits.of(V::load(&weights[j * lead..]), first + j);
            let weight = weight::<T, V>(logits.sub(self.log_sums));
            weight.store(&mut weights[j * lead..]);
            level = weight.fma(V::load(&slopes[j * lead..]), level);
        }
        let level = self.levels.unwrap_or(level);
        for j in 0..keys {
            let weight = V::load(&weights[j * lead..]).mul(self.scale);
            weight.mul(V::load(&slopes[j * lead..]).sub(level)).store(&mut slopes[j * lead..]);
        }
    }
}

#[inline(always)]
fn dot<T: Real, V: Lanes<T>>(a: &[T], b: &[T]) -> T {
    let mut sum = V::splat(T::ZERO);
    each_vector!(V, a.len(), |at, count| {
        sum = get::<T, V>(a, at, count).fma(get(b, at, count), sum);
    });
    sum.sum()
}
