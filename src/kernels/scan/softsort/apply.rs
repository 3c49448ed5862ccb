//! Products with P, in blocks of its rows.

use super::rows::{self, Sums};
use super::{BLOCKS, SoftSort};
use crate::kernels::gemm::{MatMut, MatRef, Packed, Start, tile, with_scratch};
use crate::kernels::rows::{CHUNK, for_each};
use crate::kernels::simd::Real;

/// Rows of a block of P: it stays in a second-level cache.
fn block(len: usize) -> usize {
    (2 * CHUNK / len).clamp(12, 192) / 12 * 12
}

pub(super) fn forward<T: Real>(of: &SoftSort, scores: &[T], sorted: &[T], (x, width): (&[T], usize), y: &mut [T]) {
    let l = of.len;
    let block = block(l);
    let mut tasks = Vec::new();
    for (b, y) in y.chunks_mut(l * width).enumerate() {
        let (scores, x) = (&scores[b * l..][..l], &x[b * l * width..][..l * width]);
        for (sorted, y) in sorted[b * l..][..l].chunks(block).zip(y.chunks_mut(block * width)) {
            tasks.push((scores, sorted, x, y));
        }
    }
    for_each(tasks, |(scores, sorted, x, y)| {
        let rows = sorted.len();
        with_scratch(rows * l, |p| {
            rows::forward(scores, sorted, of.rate(), p);
            tile(Start::Zero, MatRef::new(p, rows, l), MatRef::new(x, l, width), MatMut::new(y, rows, width));
        });
    });
}

/// dx = Pᵀ·dy, in blocks of the columns of P.
pub(super) fn backward_tokens<T: Real>(of: &SoftSort, scores: &[T], sorted: &[T], (dy, width): (&[T], usize), dx: &mut [T]) {
    let l = of.len;
    let block = block(l);
    let mut shares = vec![T::ZERO; scores.len()];
    let mut tasks = Vec::new();
    for ((scores, sorted), shares) in scores.chunks(l).zip(sorted.chunks(l)).zip(shares.chunks_mut(l)) {
        tasks.extend(sorted.chunks(block).zip(shares.chunks_mut(block)).map(|(sorted, shares)| (scores, sorted, shares)));
    }
    for_each(tasks, |(scores, sorted, to)| rows::shares(scores, sorted, of.rate(), to));
    let mut tasks = Vec::new();
    for (b, dx) in dx.chunks_mut(l * width).enumerate() {
        let (sorted, shares, dy) = (&sorted[b * l..][..l], &shares[b * l..][..l], &dy[b * l * width..][..l * width]);
        for (some, dx) in scores[b * l..][..l].chunks(block).zip(dx.chunks_mut(block * width)) {
            tasks.push((sorted, shares, some, dy, dx));
        }
    }
    for_each(tasks, |(sorted, shares, some, dy, dx)| {
        let tokens = some.len();
        with_scratch(tokens * l, |turned| {
            rows::columns(sorted, shares, some, of.rate(), turned);
            tile(Start::Zero, MatRef::new(turned, tokens, l), MatRef::new(dy, l, width), MatMut::new(dx, tokens, width));
        });
    });
}

/// Some blocks of rows of one element of the batch.
struct Task<'a, T> {
    scores: &'a [T],
    sorted: &'a [T],
    /// xᵀ.
    turned: &'a Packed<T>,
    /// Of these rows.
    dy: &'a [T],
    width: usize,
    rate: T,
    sums: Sums<'a, T>,
}

impl<T: Real> Task<'_, T> {
    fn run(self) {
        let Self { scores, sorted, turned, dy, width, rate, sums: Sums { by_column, by_row } } = self;
        let l = scores.len();
        let block = block(l);
        with_scratch(2 * block * l, |buffer| {
            let (p, dp) = buffer.split_at_mut(block * l);
            for ((sorted, dy), by_row) in sorted.chunks(block).zip(dy.chunks(block * width)).zip(by_row.chunks_mut(block)) {
                let rows = sorted.len();
                let (p, dp) = (&mut p[..rows * l], &mut dp[..rows * l]);
                rows::forward(scores, sorted, rate, p);
                tile(Start::Zero, MatRef::new(dy, rows, width), turned, MatMut::new(dp, rows, l));
                rows::backward_of(scores, sorted, p, dp, Sums { by_column, by_row });
            }
        });
    }
}

/// The gradient of the scores, by way of dP = dy·xᵀ.
pub(super) fn backward_scores<T: Real>(
    of: &SoftSort,
    scores: &[T],
    order: &[usize],
    sorted: &[T],
    (x, width): (&[T], usize),
    dy: &[T],
    dscores: &mut [T],
) {
    let (l, batch) = (of.len, of.batch);
    let blocks = l.div_ceil(block(l));
    let per_task = blocks.div_ceil(BLOCKS) * block(l);
    let parts = l.div_ceil(per_task);
    let mut turned: Vec<Packed<T>> = (0..batch).map(|_| Packed::empty()).collect();
    let each = turned.iter_mut().zip(x.chunks(l * width)).collect();
    for_each(each, |(turned, x): (&mut Packed<T>, &[T])| turned.assign(MatRef::new(x, l, width).t()));
    let (mut by_column, mut by_row) = (vec![T::ZERO; batch * parts * l], vec![T::ZERO; batch * l]);
    let mut columns = by_column.chunks_mut(l);
    let mut tasks = Vec::new();
    for (b, by_row) in by_row.chunks_mut(l).enumerate() {
        for (i, by_row) in by_row.chunks_mut(per_task).enumerate() {
            let (first, count) = (b * l + i * per_task, by_row.len());
            tasks.push(Task {
                scores: &scores[b * l..][..l],
                sorted: &sorted[first..][..count],
                turned: &turned[b],
                dy: &dy[first * width..][..count * width],
                width,
                rate: of.rate(),
                sums: Sums { by_column: columns.next().unwrap_or_default(), by_row },
            });
        }
    }
    for_each(tasks, Task::run);
    of.finish(order, &mut by_column, parts * l, &by_row, dscores);
}
