//! Channels first: every channel is a map of its own, turned in bands of rows.

use super::CrossScan;
use crate::kernels::bf16::Stored;
use crate::kernels::gemm::{Plain, with_scratch};
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

/// Moves what is there, whatever it means.
pub(super) fn scan<S: Plain + Send + Sync>(of: &CrossScan<'_>, x: &[S], xs: &mut [S]) {
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

impl<S: Copy> Kernel<f32> for RunScan<'_, '_, S> {
    type Output = ();
    #[inline(always)]
    fn run<V: Lanes<f32>>(self) {
        let Self { task: Scan { x, mut to, grid, directions }, turned } = self;
        let (l, Grid { height, width }) = (grid.cells(), grid);
        for (map, x) in x.chunks_exact(l).enumerate() {
            for (to, direction) in to.iter_mut().zip(directions) {
                let to = &mut to[map * l..][..l];
                if !direction.by_columns() {
                    copy(x, to, direction.backwards());
                    continue;
                }
                let mut first = 0;
                while first < height {
                    let rows = (height - first).min(BAND);
                    let band = &x[first * width..][..rows * width];
                    if direction.backwards() {
                        let turned = &mut turned[..rows * width];
                        copy(band, turned, true);
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

/// Copies a line from either end.
#[inline(always)]
fn copy<S: Copy>(from: &[S], to: &mut [S], backwards: bool) {
    if backwards {
        for (to, &x) in to.iter_mut().zip(from.iter().rev()) {
            *to = x;
        }
    } else {
        to.copy_from_slice(from);
    }
}

/// Takes a line to the sums of the lines before it. The last one leaves them where the result goes.
#[inline(always)]
fn add<'a, T: Real, S: Stored<T> + 'a>(from: impl Iterator<Item = &'a S>, sums: &mut [T], to: &mut [S], first: bool, last: bool) {
    if first {
        for (sum, x) in sums.iter_mut().zip(from) {
            *sum = x.number();
        }
    } else if last {
        for ((to, &sum), x) in to.iter_mut().zip(&*sums).zip(from) {
            *to = S::nearest(sum + x.number());
        }
    } else {
        for (sum, x) in sums.iter_mut().zip(from) {
            *sum += x.number();
        }
    }
}

pub(super) fn merge<T: Real, S: Stored<T> + Plain>(of: &CrossScan<'_>, ys: &[S], y: &mut [S]) {
    let (l, c, k) = (of.grid.cells(), of.channels, of.directions.len());
    let group = group(of);
    let mut tasks = Vec::new();
    for (ys, y) in ys.chunks(k * c * l).zip(y.chunks_mut(c * l)) {
        for (p, to) in y.chunks_mut(group * l).enumerate() {
            tasks.push(Merge { ys: &ys[p * group * l..], apart: c * l, to, grid: of.grid, directions: of.directions });
        }
    }
    let room = BAND * of.grid.width;
    for_each(tasks, |task| {
        with_scratch(room, |turned| with_scratch(room, |sums: &mut [T]| dispatch(RunMerge { task, turned, sums })))
    });
}

/// Some maps and what they are sums of.
struct Merge<'a, S> {
    /// The sequences of these maps in the first direction; those in the next ones lie `apart`.
    ys: &'a [S],
    apart: usize,
    to: &'a mut [S],
    grid: Grid,
    directions: &'a [Direction],
}

struct RunMerge<'a, 'b, T, S> {
    task: Merge<'a, S>,
    /// A band of a sequence by columns, as rows.
    turned: &'b mut [S],
    /// Of a band, over the directions so far.
    sums: &'b mut [T],
}

impl<T: Real, S: Stored<T>> Kernel<T> for RunMerge<'_, '_, T, S> {
    type Output = ();
    #[inline(always)]
    fn run<V: Lanes<T>>(self) {
        let Self { task: Merge { ys, apart, to, grid, directions }, turned, sums } = self;
        let (l, Grid { height, width }, count) = (grid.cells(), grid, directions.len());
        for (map, to) in to.chunks_exact_mut(l).enumerate() {
            let mut first = 0;
            while first < height {
                let rows = (height - first).min(BAND);
                let (to, sums) = (&mut to[first * width..][..rows * width], &mut sums[..rows * width]);
                for (k, direction) in directions.iter().enumerate() {
                    let ys = &ys[k * apart + map * l..][..l];
                    let back = direction.backwards();
                    let band = if direction.by_columns() {
                        let turned = &mut turned[..rows * width];
                        let start = if back { height - first - rows } else { first };
                        transpose_inside((&ys[start..], height), (width, rows), (&mut *turned, width));
                        &*turned
                    } else {
                        let start = if back { (height - first - rows) * width } else { first * width };
                        &ys[start..][..rows * width]
                    };
                    match back {
                        _ if count == 1 => copy(band, to, back),
                        false => add(band.iter(), sums, to, k == 0, k + 1 == count),
                        true => add(band.iter().rev(), sums, to, k == 0, k + 1 == count),
                    }
                }
                first += rows;
            }
        }
    }
}
