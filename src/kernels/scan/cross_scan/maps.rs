//! Channels first: every channel is a map of its own, turned in bands of rows.

use super::CrossScan;
use crate::kernels::gemm::with_scratch;
use crate::kernels::rows::{CHUNK, for_each};
use crate::kernels::scan::{Direction, Grid};
use crate::kernels::simd::{Kernel, Lanes, Real, dispatch};
use crate::kernels::transpose::transpose_inside;

/// Rows of a band: what is read or written of a column is then whole cache lines, and few enough lines are open at a time.
const BAND: usize = 32;

/// Maps of one task.
fn group(of: &CrossScan<'_>) -> usize {
    (CHUNK / of.grid.cells()).max(1)
}

pub(super) fn scan<T: Real>(of: &CrossScan<'_>, x: &[T], xs: &mut [T]) {
    let (l, c, k) = (of.grid.cells(), of.channels, of.directions.len());
    let group = group(of);
    let mut tasks = Vec::new();
    for (x, xs) in x.chunks(c * l).zip(xs.chunks_mut(k * c * l)) {
        let mut parts: Vec<_> = xs.chunks_mut(c * l).map(|s| s.chunks_mut(group * l)).collect();
        for x in x.chunks(group * l) {
            let to = parts.iter_mut().filter_map(Iterator::next).collect();
            tasks.push(Scan { x, to, grid: of.grid, directions: of.directions });
        }
    }
    for_each(tasks, |task| with_scratch(BAND * of.grid.width, |turned| dispatch(RunScan { task, turned })));
}

/// Some maps and where their sequences go, by direction.
struct Scan<'a, T> {
    x: &'a [T],
    to: Vec<&'a mut [T]>,
    grid: Grid,
    directions: &'a [Direction],
}

struct RunScan<'a, 'b, T> {
    task: Scan<'a, T>,
    /// A band turned by half a turn.
    turned: &'b mut [T],
}

impl<T: Real> Kernel<T> for RunScan<'_, '_, T> {
    type Output = ();
    #[inline(always)]
    fn run<V: Lanes<T>>(self) {
        let Self { task: Scan { x, mut to, grid, directions }, turned } = self;
        let (l, Grid { height, width }) = (grid.cells(), grid);
        for (map, x) in x.chunks_exact(l).enumerate() {
            for (to, direction) in to.iter_mut().zip(directions) {
                let to = &mut to[map * l..][..l];
                if !direction.by_columns() {
                    line(x, to, direction.backwards(), true);
                    continue;
                }
                let mut first = 0;
                while first < height {
                    let rows = (height - first).min(BAND);
                    let band = &x[first * width..][..rows * width];
                    if direction.backwards() {
                        let turned = &mut turned[..rows * width];
                        line(band, turned, true, true);
                        transpose_inside((turned, width), (rows, width), (&mut to[height - first - rows..], height));
                    } else {
                        transpose_inside((band, width), (rows, width), (&mut to[first..], height));
                    }
                    first += rows;
                }
            }
        }
    }
}

/// Copies a line, or adds it, from either end.
#[inline(always)]
fn line<T: Real>(from: &[T], to: &mut [T], backwards: bool, copy: bool) {
    match (backwards, copy) {
        (false, true) => to.copy_from_slice(from),
        (true, true) => {
            for (to, &x) in to.iter_mut().zip(from.iter().rev()) {
                *to = x;
            }
        }
        (false, false) => {
            for (to, &x) in to.iter_mut().zip(from) {
                *to += x;
            }
        }
        (true, false) => {
            for (to, &x) in to.iter_mut().zip(from.iter().rev()) {
                *to += x;
            }
        }
    }
}

pub(super) fn merge<T: Real>(of: &CrossScan<'_>, ys: &[T], y: &mut [T]) {
    let (l, c, k) = (of.grid.cells(), of.channels, of.directions.len());
    let group = group(of);
    let mut tasks = Vec::new();
    for (ys, y) in ys.chunks(k * c * l).zip(y.chunks_mut(c * l)) {
        for (p, to) in y.chunks_mut(group * l).enumerate() {
            tasks.push(Merge { ys: &ys[p * group * l..], apart: c * l, to, grid: of.grid, directions: of.directions });
        }
    }
    for_each(tasks, |task| with_scratch(BAND * of.grid.width, |turned| dispatch(RunMerge { task, turned })));
}

/// Some maps and what they are sums of.
struct Merge<'a, T> {
    /// The sequences of these maps in the first direction; those in the next ones lie `apart`.
    ys: &'a [T],
    apart: usize,
    to: &'a mut [T],
    grid: Grid,
    directions: &'a [Direction],
}

struct RunMerge<'a, 'b, T> {
    task: Merge<'a, T>,
    turned: &'b mut [T],
}

impl<T: Real> Kernel<T> for RunMerge<'_, '_, T> {
    type Output = ();
    #[inline(always)]
    fn run<V: Lanes<T>>(self) {
        let Self { task: Merge { ys, apart, to, grid, directions }, turned } = self;
        let (l, Grid { height, width }) = (grid.cells(), grid);
        for (map, to) in to.chunks_exact_mut(l).enumerate() {
            let mut first = 0;
            while first < height {
                let rows = (height - first).min(BAND);
                let to = &mut to[first * width..][..rows * width];
                for (k, direction) in directions.iter().enumerate() {
                    let ys = &ys[k * apart + map * l..][..l];
                    let (back, copy) = (direction.backwards(), k == 0);
                    if direction.by_columns() {
                        let turned = &mut turned[..rows * width];
                        let start = if back { height - first - rows } else { first };
                        transpose_inside((&ys[start..], height), (width, rows), (turned, width));
                        line(turned, to, back, copy);
                    } else {
                        let start = if back { (height - first - rows) * width } else { first * width };
                        line(&ys[start..][..rows * width], to, back, copy);
                    }
                }
                first += rows;
            }
        }
    }
}
