//! Channels last: rows of channels are copied and added as they are.

use super::CrossScan;
use crate::kernels::bf16::Stored;
use crate::kernels::rows::{each_vector, for_each, get, put_over, rows_per_chunk};
use crate::kernels::scan::grid::Walk;
use crate::kernels::scan::{Direction, Grid};
use crate::kernels::simd::{Kernel, Lanes, Real, dispatch};

/// `run`: [`dispatch`].
pub(super) fn scan<S: Send + Sync>(of: &CrossScan<'_>, x: &[S], xs: &mut [S], run: impl Fn(Scan<'_, S>) + Send + Sync) {
    let (l, d, k) = (of.grid.cells(), of.channels, of.directions.len());
    let per_task = rows_per_chunk(d, 1);
    let mut tasks = Vec::new();
    for (i, sequence) in xs.chunks_mut(l * d).enumerate() {
        let x = &x[i / k * l * d..][..l * d];
        for (p, to) in sequence.chunks_mut(per_task * d).enumerate() {
            tasks.push(Scan { x, to, d, walk: of.grid.walk(of.directions[i % k], p * per_task) });
        }
    }
    for_each(tasks, run);
}

/// Some steps of one direction.
pub(super) struct Scan<'a, S> {
    /// One element of the batch.
    x: &'a [S],
    to: &'a mut [S],
    d: usize,
    walk: Walk,
}

impl<T: Real> Kernel<T> for Scan<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run<V: Lanes<T>>(self) {
        let Self { x, to, d, mut walk } = self;
        for at_row in (0..to.len()).step_by(d) {
            let (from, to) = (&x[walk.next() * d..][..d], &mut to[at_row..]);
            each_vector!(V, d, |at, count| {
                put_over(get::<T, V>(from, at, count), to, at, count);
            });
        }
    }
}

/// Bits are moved as they are.
impl Kernel<f32> for Scan<'_, u16> {
    type Output = ();
    #[inline(always)]
    fn run<V: Lanes<f32>>(self) {
        let Self { x, to, d, mut walk } = self;
        for to in to.chunks_exact_mut(d) {
            to.copy_from_slice(&x[walk.next() * d..][..d]);
        }
    }
}

/// Columns that are walked through all rows of a task before the next ones: what is read of a sequence by columns is then a run.
const COLUMNS: usize = 32;
/// Rows of a task at least where several cells share a cache line.
const SHARED: usize = 16;

pub(super) fn merge<T: Real, S: Stored<T>>(of: &CrossScan<'_>, ys: &[S], y: &mut [S]) {
    let (l, d, k) = (of.grid.cells(), of.channels, of.directions.len());
    let wide = of.grid.width * d;
    let per_task = rows_per_chunk(wide, if d < T::LANES { SHARED } else { 1 });
    let mut tasks = Vec::new();
    for (ys, y) in ys.chunks(k * l * d).zip(y.chunks_mut(l * d)) {
        for (p, to) in y.chunks_mut(per_task * wide).enumerate() {
            tasks.push(Merge { ys, to, d, grid: of.grid, directions: of.directions, first: p * per_task });
        }
    }
    for_each(tasks, |task| dispatch::<T, _>(task));
}

/// Some rows of a map.
struct Merge<'a, S> {
    /// All sequences of one element of the batch.
    ys: &'a [S],
    to: &'a mut [S],
    d: usize,
    grid: Grid,
    directions: &'a [Direction],
    /// The first row.
    first: usize,
}

impl<T: Real, S: Stored<T>> Kernel<T> for Merge<'_, S> {
    type Output = ();
    #[inline(always)]
    fn run<V: Lanes<T>>(mut self) {
        let width = self.grid.width;
        let rows = self.to.len() / (width * self.d);
        for column in (0..width).step_by(COLUMNS) {
            for row in 0..rows {
                self.cells::<T, V>(row, column, COLUMNS.min(width - column));
            }
        }
    }
}

impl<S> Merge<'_, S> {
    /// `count` cells of row `row` of the task. A few channels are not worth a vector with its mask.
    #[inline(always)]
    fn cells<T: Real, V: Lanes<T>>(&mut self, row: usize, column: usize, count: usize)
    where
        S: Stored<T>,
    {
        let (d, l, n) = (self.d, self.grid.cells(), self.directions.len());
        let cell = (self.first + row) * self.grid.width + column;
        let mut walks = [self.grid.walk_steps(self.directions[0], cell); 4];
        for (walk, &direction) in walks.iter_mut().zip(self.directions) {
            *walk = self.grid.walk_steps(direction, cell);
        }
        let to = &mut self.to[(row * self.grid.width + column) * d..][..count * d];
        for to in to.chunks_exact_mut(d) {
            let mut from: [&[S]; 4] = [&[]; 4];
            for k in 0..n {
                from[k] = &self.ys[(k * l + walks[k].next()) * d..][..d];
            }
            if 2 * d < V::N {
                for (c, to) in to.iter_mut().enumerate() {
                    let mut sum = from[0][c].number();
                    for line in &from[1..n] {
                        sum += line[c].number();
                    }
                    *to = S::nearest(sum);
                }
                continue;
            }
            each_vector!(V, d, |at, count| {
                let mut sum = S::get::<V>(from[0], at, count);
                for line in &from[1..n] {
                    sum = sum.add(S::get(line, at, count));
                }
                S::put(sum, to, at, count);
            });
        }
    }
}
