//! Logarithms of softmax over rows.

use super::softmax::{Edge, finite_top, row_top, row_weight};
use super::tiles::weight;
use crate::kernels::rows::{count_rows, each_vector, for_each, get, put_over, rows_per_chunk};
use crate::kernels::simd::{Kernel, Lanes, Real, dispatch, math};

/// `y = x − max − log Σ exp(x − max)` over each row of `x` (rows × width). −∞ stays −∞, also in a row of nothing else; a row with
/// NaN or +∞ gives NaN. Cost: one read from memory and one write, one exponential for each number.
pub fn log_softmax<T: Real>(x: &[T], width: usize, y: &mut [T]) {
    assert_eq!(x.len(), y.len(), "log softmax: input and output differ in length");
    if count_rows(x.len(), width) == 0 {
        return;
    }
    let per_chunk = rows_per_chunk(width, 1) * width;
    let tasks = x.chunks(per_chunk).zip(y.chunks_mut(per_chunk)).map(|(x, y)| Forward { x, y, width }).collect();
    for_each(tasks, |task| dispatch(task));
}

/// The gradient of the input from the output and its gradient: `dx = dy − exp(y) · Σ dy`. Shapes: all (rows × width). Cost: two
/// reads and one write, one exponential for each number.
pub fn log_softmax_backward<T: Real>(y: &[T], dy: &[T], width: usize, dx: &mut [T]) {
    assert!(y.len() == dy.len() && y.len() == dx.len(), "log softmax: output and gradients differ in length");
    if count_rows(y.len(), width) == 0 {
        return;
    }
    let per_chunk = rows_per_chunk(width, 1) * width;
    let tasks = (y.chunks(per_chunk).zip(dy.chunks(per_chunk)).zip(dx.chunks_mut(per_chunk)))
        .map(|((y, dy), dx)| Backward { y, dy, dx, width })
        .collect();
    for_each(tasks, |task| dispatch(task));
}

struct Forward<'a, T> {
    x: &'a [T],
    y: &'a mut [T],
    width: usize,
}

impl<T: Real> Kernel<T> for Forward<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run<V: Lanes<T>>(self) {
        let Self { x, y, width } = self;
        let edge = Edge::<V>::new(width);
        // As many rows at a time as there are lanes, so that one logarithm serves them all.
        for (block, x) in x.chunks(width * V::N).enumerate() {
            let y = &mut y[block * width * V::N..];
            let (mut tops, mut sums) = ([T::ZERO; 16], [T::ONE; 16]);
            for (r, x) in x.chunks_exact(width).enumerate() {
                tops[r] = finite_top(row_top::<T, V>(x, &edge));
                let top = V::splat(tops[r]);
                let mut sum = V::splat(T::ZERO);
                each_vector!(V, width, |at, count| {
                    sum = sum.add(row_weight::<T, V>(x, at, count, top, &edge));
                });
                // A row of −∞ sums to zero; any logarithm leaves it as it is, so that of 1 is taken.
                let sum = sum.sum();
                sums[r] = if sum == T::ZERO { T::ONE } else { sum };
            }
            let mut logs = [T::ZERO; 16];
            math::log::<T, V>(V::load(&sums)).store(&mut logs);
            for (r, x) in x.chunks_exact(width).enumerate() {
                let (top, log) = (V::splat(tops[r]), V::splat(logs[r]));
                each_vector!(V, width, |at, count| {
                    put_over(get::<T, V>(x, at, count).sub(top).sub(log), y, r * width + at, count);
                });
            }
        }
    }
}

struct Backward<'a, T> {
    y: &'a [T],
    dy: &'a [T],
    dx: &'a mut [T],
    width: usize,
}

impl<T: Real> Kernel<T> for Backward<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run<V: Lanes<T>>(self) {
        let Self { y, dy, dx, width } = self;
        for (r, (y, dy)) in y.chunks_exact(width).zip(dy.chunks_exact(width)).enumerate() {
            let dx = &mut dx[r * width..];
            let mut sum = V::splat(T::ZERO);
            each_vector!(V, width, |at, count| {
                sum = sum.add(get::<T, V>(dy, at, count));
            });
            let sum = V::splat(sum.sum());
            each_vector!(V, width, |at, count| {
                let weight = weight::<T, V>(get::<T, V>(y, at, count));
                put_over(weight.neg_fma(sum, get(dy, at, count)), dx, at, count);
            });
        }
    }
}
