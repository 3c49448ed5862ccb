//! Softmax over rows.

use super::tiles::{minus_infinity, weight};
use crate::kernels::rows::{count_rows, each_vector, for_each, get, ones, put_over, rows_per_chunk};
use crate::kernels::simd::{Kernel, Lanes, Real, dispatch};

/// Each row of `x` (rows × width) to weights: `y = exp(x − max) / Σ exp(x − max)`. −∞ gives zero, a row of −∞ gives zeros, a row
/// with NaN or +∞ gives NaN. Cost: one read from memory and one write, one exponential for each number.
pub fn softmax<T: Real>(x: &[T], width: usize, y: &mut [T]) {
    assert_eq!(x.len(), y.len(), "softmax: input and output differ in length");
    if count_rows(x.len(), width) == 0 {
        return;
    }
    let per_chunk = rows_per_chunk(width, 1) * width;
    let tasks = x.chunks(per_chunk).zip(y.chunks_mut(per_chunk)).map(|(x, y)| Forward { x, y, width }).collect();
    for_each(tasks, |task| dispatch(task));
}

/// The gradient of the input from the output and its gradient: `dx = y · (dy − Σ y · dy)`. Shapes: all (rows × width). Cost: two
/// reads and one write.
pub fn softmax_backward<T: Real>(y: &[T], dy: &[T], width: usize, dx: &mut [T]) {
    assert!(y.len() == dy.len() && y.len() == dx.len(), "softmax: output and gradients differ in length");
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
        match self.width.div_ceil(V::N) {
            1 => self.narrow::<V, 1>(),
            2 => self.narrow::<V, 2>(),
            3 => self.narrow::<V, 3>(),
            4 => self.narrow::<V, 4>(),
            _ => self.wide::<V>(),
        }
    }
}

/// The largest of a row, or 0 when that is −∞: subtracted, it leaves −∞ where ∞ − ∞ would not be a number.
#[inline(always)]
pub(super) fn finite_top<T: Real>(top: T) -> T {
    if top == minus_infinity() { T::ZERO } else { top }
}

/// `1 / sum`, and 0 for a row without weights.
#[inline(always)]
fn share<T: Real>(sum: T) -> T {
    if sum == T::ZERO { T::ZERO } else { T::ONE / sum }
}

/// A row of `K` vectors with `last` numbers in the last one and zeros behind them.
#[inline(always)]
fn load_row<T: Real, V: Lanes<T>, const K: usize>(from: &[T], at: usize, last: usize) -> [V; K] {
    let mut row = [V::splat(T::ZERO); K];
    for (k, v) in row.iter_mut().enumerate() {
        *v = get(from, at + k * V::N, if k + 1 < K { V::N } else { last });
    }
    row
}

/// What marks the numbers of the last vector of a row.
pub(super) struct Edge<V> {
    /// 1 for numbers, 0 beyond.
    valid: V,
    /// 0 for numbers, −∞ beyond.
    beyond: V,
}

impl<V> Edge<V> {
    #[inline(always)]
    pub(super) fn new<T: Real>(width: usize) -> Self
    where
        V: Lanes<T>,
    {
        let last = width - (width.div_ceil(V::N) - 1) * V::N;
        let mut lanes = [minus_infinity::<T>(); 16];
        lanes[..last].fill(T::ZERO);
        Self { valid: ones(last), beyond: V::load(&lanes) }
    }
}

/// The largest number of a row in registers.
#[inline(always)]
fn top_of<T: Real, V: Lanes<T>, const K: usize>(row: &[V; K], edge: &Edge<V>) -> T {
    let mut top = row[K - 1].add(edge.beyond);
    for v in &row[..K - 1] {
        top = top.max(*v);
    }
    top.max_lane()
}

/// The sum of all lanes of all vectors.
#[inline(always)]
fn sum_of<T: Real, V: Lanes<T>, const K: usize>(row: &[V; K]) -> T {
    let mut sum = row[0];
    for v in &row[1..] {
        sum = sum.add(*v);
    }
    sum.sum()
}

/// The largest number of a row that does not fit into registers.
#[inline(always)]
pub(super) fn row_top<T: Real, V: Lanes<T>>(row: &[T], edge: &Edge<V>) -> T {
    let mut top = V::splat(minus_infinity());
    each_vector!(V, row.len(), |at, count| {
        let mut v = get::<T, V>(row, at, count);
        if count != V::N {
            v = v.add(edge.beyond);
        }
        top = top.max(v);
    });
    top.max_lane()
}

/// `exp(x − top)` for `count` numbers of a row, 0 behind them.
#[inline(always)]
pub(super) fn row_weight<T: Real, V: Lanes<T>>(x: &[T], at: usize, count: usize, top: V, edge: &Edge<V>) -> V {
    let d = get::<T, V>(x, at, count).sub(top);
    if count == V::N {
        weight::<T, V>(d)
    } else {
        // Lanes beyond the row hold 0, so that their difference is finite.
        weight::<T, V>(d.mul(edge.valid)).mul(edge.valid)
    }
}

impl<T: Real> Forward<'_, T> {
    #[inline(always)]
    fn narrow<V: Lanes<T>, const K: usize>(self) {
        let Self { x, y, width } = self;
        let last = width - (K - 1) * V::N;
        let edge = Edge::<V>::new(width);
        for at in (0..x.len()).step_by(width) {
            let mut row = load_row::<T, V, K>(x, at, last);
            let top = V::splat(finite_top(top_of(&row, &edge)));
            for (k, v) in row.iter_mut().enumerate() {
                let d = v.sub(top);
                // Lanes beyond the row hold 0, so that their difference is finite.
                *v = if k + 1 < K { weight::<T, V>(d) } else { weight::<T, V>(d.mul(edge.valid)).mul(edge.valid) };
            }
            let share = V::splat(share(sum_of(&row)));
            for (k, v) in row.into_iter().enumerate() {
                put_over(v.mul(share), y, at + k * V::N, if k + 1 < K { V::N } else { last });
            }
        }
    }

    #[inline(always)]
    fn wide<V: Lanes<T>>(self) {
        let width = self.width;
        let edge = Edge::<V>::new(width);
        for (r, x) in self.x.chunks_exact(width).enumerate() {
            let y = &mut self.y[r * width..];
            let top = V::splat(finite_top(row_top::<T, V>(x, &edge)));
            let mut sum = V::splat(T::ZERO);
            each_vector!(V, width, |at, count| {
                let v = row_weight::<T, V>(x, at, count, top, &edge);
                sum = sum.add(v);
                put_over(v, y, at, count);
            });
            let share = V::splat(share(sum.sum()));
            each_vector!(V, width, |at, count| {
                put_over(get::<T, V>(y, at, count).mul(share), y, at, count);
            });
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
            let mut along = V::splat(T::ZERO);
            each_vector!(V, width, |at, count| {
                along = get::<T, V>(y, at, count).fma(get(dy, at, count), along);
            });
            let along = V::splat(along.sum());
            each_vector!(V, width, |at, count| {
                put_over(get::<T, V>(dy, at, count).sub(along).mul(get(y, at, count)), dx, at, count);
            });
        }
    }
}
