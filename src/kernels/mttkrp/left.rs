//! Contraction over the leading modes: multiples of contiguous runs of X are added up.

use std::ops::Range;

use super::khatri_rao::{KhatriRao, Rows};
use super::right::dot;
use super::tasks::{Cut, even};
use crate::kernels::gemm::{MatMut, MatRef, Start, tile, with_scratch};
use crate::kernels::simd::{Kernel, Lanes, Real, dispatch, prefetch};
use crate::kernels::transpose::transpose;

/// Terms of a block: the rows of X that a register tile walks, which come from memory once. The block that is worked on, the next one and
/// the sums stay in the second-level cache.
const DEPTH: usize = 32;
/// Bytes of a run of X, and of the sums of a block.
const RUN_BYTES: usize = 4096;
const BLOCK_BYTES: usize = 256 << 10;
/// Outputs and terms of a task at least.
const LEAST: [usize; 2] = [64, 512];

/// Without `right`: `out[r, (i, t)] = Σ_l left[l, r] · x[l, i, t]`, `out` (width, I·T).
/// With it: `out[r, i] = Σ_t right[t, r] · Σ_l left[l, r] · x[l, i, t]`, `out` (width, I).
///
/// x is (L, I, T) and read once. 2·width·L·I·T operations, width·(I·T + L) more for each task of the fixed cut. Each sum: a chain over l
/// in order (cut into the parts of the cut), then t.
pub(in crate::kernels) fn left<T: Real, K: Rows<T>>(
    x: &[T],
    [l, i, t]: [usize; 3],
    left: &K,
    right: Option<&KhatriRao<'_, T>>,
    out: &mut [T],
) {
    let width = left.width();
    let outputs = if right.is_some() { i } else { i * t };
    assert!(x.len() == l * i * t && left.rows() == l && out.len() == width * outputs);
    // Columns of X that belong to an output.
    let each = if right.is_some() { t } else { 1 };
    let unit = if right.is_some() { 1 } else { 2 * T::LANES };
    let least = [LEAST[0].div_ceil(each), LEAST[1]];
    let cut = Cut::new(outputs, l, least, width * x.len(), out.len(), x.len());
    cut.run(out, |o, p, sums| {
        let os = even(outputs, unit, cut.outputs, o);
        let part = Part { x, cols: i * t, ls: even(l, 1, cut.terms, p), left };
        let rows = os.len();
        if rows == 0 {
            return;
        }
        let write = |r: usize, start: usize, from: &[T]| {
            // SAFETY: outputs `os` of column r belong to this task, in the sums of part p.
            unsafe { sums.part(r * outputs + start, from.len()) }.copy_from_slice(from);
        };
        match right {
            None => part.blocks(os, |cols, z| {
                z.chunks_exact(cols.len()).enumerate().for_each(|(r, z)| write(r, cols.start, z));
            }),
            Some(right) => with_scratch(width * rows, |acc: &mut [T]| {
                acc.fill(T::ZERO);
                let longest = t.min(run_length::<T>());
                with_scratch(width * longest, |columns: &mut [T]| {
                    let whole = t <= longest;
                    if whole {
                        right.fill_columns(0..t, columns, t);
                    }
                    part.blocks(os.start * t..os.end * t, |cols, z| {
                        let mut at = cols.start;
                        while at < cols.end {
                            let (i, first) = (at / t, at % t);
                            let run = (t - first).min(cols.end - at);
                            let lead = if whole { t } else { run };
                            if !whole {
                                right.fill_columns(first..first + run, columns, run);
                            }
                            let from = &columns[if whole { first } else { 0 }..];
                            let z = &z[at - cols.start..];
                            dispatch(Fold {
                                z: (z, cols.len()),
                                by: (from, lead),
                                run,
                                to: (&mut acc[i - os.start..], rows),
                                width,
                            });
                            at += run;
                        }
                    });
                });
                acc.chunks_exact(rows).enumerate().for_each(|(r, acc)| write(r, os.start, acc));
            }),
        }
    });
}

/// to[r · step] += z[r, ..run] · by[r, ..run]
struct Fold<'a, T> {
    z: (&'a [T], usize),
    by: (&'a [T], usize),
    run: usize,
    to: (&'a mut [T], usize),
    width: usize,
}

impl<T: Real> Kernel<T> for Fold<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run<V: Lanes<T>>(self) {
        let Self { z, by, run, to, width } = self;
        for r in 0..width {
            to.0[r * to.1] += dot::<T, V>(&z.0[r * z.1..][..run], &by.0[r * by.1..][..run]);
        }
    }
}

/// What one task contracts: terms `ls` of all columns asked for.
struct Part<'a, T, K> {
    x: &'a [T],
    cols: usize,
    ls: Range<usize>,
    left: &'a K,
}

impl<T: Real, K: Rows<T>> Part<'_, T, K> {
    /// Sums of columns `cols`, block by block: (columns, their sums (width, columns)).
    fn blocks(&self, cols: Range<usize>, mut take: impl FnMut(Range<usize>, &[T])) {
        let width = self.left.width();
        let most = (BLOCK_BYTES / size_of::<T>() / width.max(1)).clamp(64, run_length::<T>()) / (2 * T::LANES) * (2 * T::LANES);
        let unit = 2 * T::LANES;
        let parts = cols.len().div_ceil(most);
        let longest = cols.len().div_ceil(unit).div_ceil(parts.max(1)) * unit;
        with_scratch(DEPTH * width, |rows: &mut [T]| {
            with_scratch(longest * width, |z: &mut [T]| {
                for p in 0..parts {
                    let own = even(cols.len(), unit, parts, p);
                    let own = cols.start + own.start..cols.start + own.end;
                    let z = &mut z[..own.len() * width];
                    self.sum(own.clone(), rows, z);
                    take(own, z);
                }
            });
        });
    }

    /// One block: z (width, columns).
    fn sum(&self, cols: Range<usize>, rows: &mut [T], z: &mut [T]) {
        let (width, n) = (self.left.width(), cols.len());
        // Few columns would leave lanes idle: there, lanes run along the rank.
        let narrow = n * width.next_multiple_of(T::LANES) < width * n.next_multiple_of(T::LANES);
        if narrow {
            with_scratch(z.len(), |flipped: &mut [T]| {
                for (b, ls) in self.depths().enumerate() {
                    let k = self.fill(ls.clone(), rows);
                    let x = MatRef::with_strides(&self.x[ls.start * self.cols + cols.start..], n, ls.len(), 1, self.cols);
                    tile(from(b), x, k, MatMut::new(flipped, n, width));
                }
                transpose((flipped, width), (n, width), (z, n));
            });
        } else {
            for (b, ls) in self.depths().enumerate() {
                self.left.fill(ls.clone(), rows);
                let x = (self.x, ls.start * self.cols + cols.start, self.cols);
                let rows_ahead = DEPTH.min(self.ls.end - ls.end);
                let ask = Ask { at: x.1 + ls.len() * self.cols, left: n, rows: rows_ahead, run: n, step: self.cols };
                dispatch(Strips { x, ask, depth: ls.len(), rows, width, first: b == 0, z, cols: n });
            }
        }
    }

    fn depths(&self) -> impl Iterator<Item = Range<usize>> {
        let ls = self.ls.clone();
        ls.clone().step_by(DEPTH).map(move |first| first..(first + DEPTH).min(ls.end))
    }

    /// Rows of the left factors, (terms, width).
    fn fill<'b>(&self, ls: Range<usize>, rows: &'b mut [T]) -> MatRef<'b, T> {
        let width = self.left.width();
        self.left.fill(ls.clone(), rows);
        MatRef::new(rows, ls.len(), width)
    }
}

fn run_length<T>() -> usize {
    RUN_BYTES / size_of::<T>()
}

/// The next block, which is asked for while this one is worked on: row by row, as memory likes it, and not strip by strip.
#[derive(Clone, Copy)]
struct Ask {
    at: usize,
    /// Numbers left of the row.
    left: usize,
    /// Rows left, with this one.
    rows: usize,
    run: usize,
    step: usize,
}

impl Ask {
    #[inline(always)]
    fn next<T>(&mut self, x: &[T], line: usize) {
        prefetch(x, self.at);
        if self.left > line {
            self.at += line;
            self.left -= line;
        } else {
            self.at += self.step + self.left - self.run;
            self.left = self.run;
            self.rows = self.rows.saturating_sub(1);
        }
    }
}

/// z (width, cols) (+)= rowsᵀ (width × depth) · x (depth × cols), x read in place.
struct Strips<'a, T> {
    /// Numbers, the place of the first, and the distance of rows.
    x: (&'a [T], usize, usize),
    ask: Ask,
    depth: usize,
    rows: &'a [T],
    width: usize,
    first: bool,
    z: &'a mut [T],
    cols: usize,
}

impl<T: Real> Kernel<T> for Strips<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run<V: Lanes<T>>(mut self) {
        let (x, start, step) = self.x;
        assert!(start + (self.depth - 1) * step + self.cols <= x.len());
        assert!(self.rows.len() >= self.depth * self.width && self.z.len() == self.width * self.cols);
        // Sums, the vectors of X and one broadcast must fit the register file.
        if const { 27 * V::REGISTERS <= V::REGISTER_FILE } {
            self.strips::<V, 12, 2>();
        } else {
            self.strips::<V, 6, 1>();
        }
    }
}

impl<T: Real> Strips<'_, T> {
    #[inline(always)]
    fn strips<V: Lanes<T>, const ROWS: usize, const VECTORS: usize>(&mut self) {
        let mut at = 0;
        while at < self.cols {
            let left = self.cols - at;
            if left >= VECTORS * V::N {
                self.groups::<V, ROWS, VECTORS, true>(at, V::N);
                at += VECTORS * V::N;
            } else if left >= V::N {
                self.groups::<V, ROWS, 1, true>(at, V::N);
                at += V::N;
            } else {
                self.groups::<V, ROWS, 1, false>(at, left);
                at = self.cols;
            }
        }
    }

    #[inline(always)]
    fn groups<V: Lanes<T>, const ROWS: usize, const VECTORS: usize, const WHOLE: bool>(&mut self, at: usize, tail: usize) {
        let parts = self.width.div_ceil(ROWS);
        for p in 0..parts {
            let (row, end) = (self.width * p / parts, self.width * (p + 1) / parts);
            // SAFETY: rows and columns lie inside, as asserted on entry. The arms above ROWS vanish.
            unsafe {
                match end - row {
                    1 => self.tile::<V, ROWS, 1, VECTORS, WHOLE>(at, row, tail),
                    2 => self.tile::<V, ROWS, 2, VECTORS, WHOLE>(at, row, tail),
                    3 => self.tile::<V, ROWS, 3, VECTORS, WHOLE>(at, row, tail),
                    4 => self.tile::<V, ROWS, 4, VECTORS, WHOLE>(at, row, tail),
                    5 => self.tile::<V, ROWS, 5, VECTORS, WHOLE>(at, row, tail),
                    6 => self.tile::<V, ROWS, 6, VECTORS, WHOLE>(at, row, tail),
                    7 if ROWS >= 7 => self.tile::<V, ROWS, 7, VECTORS, WHOLE>(at, row, tail),
                    8 if ROWS >= 8 => self.tile::<V, ROWS, 8, VECTORS, WHOLE>(at, row, tail),
                    9 if ROWS >= 9 => self.tile::<V, ROWS, 9, VECTORS, WHOLE>(at, row, tail),
                    10 if ROWS >= 10 => self.tile::<V, ROWS, 10, VECTORS, WHOLE>(at, row, tail),
                    11 if ROWS >= 11 => self.tile::<V, ROWS, 11, VECTORS, WHOLE>(at, row, tail),
                    12 if ROWS >= 12 => self.tile::<V, ROWS, 12, VECTORS, WHOLE>(at, row, tail),
                    n => unreachable!("{n} rows"),
                }
            }
        }
    }

    /// # Safety
    /// Rows from `row` and columns from `at` on must lie inside.
    #[inline(always)]
    unsafe fn tile<V: Lanes<T>, const MOST: usize, const ROWS: usize, const VECTORS: usize, const WHOLE: bool>(
        &mut self,
        at: usize,
        row: usize,
        tail: usize,
    ) {
        let (x, start, step) = self.x;
        let load = |from: *const T| {
            // SAFETY: the caller's promise; a short vector stops at `tail`.
            unsafe { if WHOLE { V::load_ptr(from) } else { V::load_ptr_partial(from, tail) } }
        };
        let mut acc = [[V::splat(T::ZERO); VECTORS]; ROWS];
        // SAFETY: the caller's promise.
        unsafe {
            let z = self.z.as_mut_ptr().add(row * self.cols + at);
            if !self.first {
                for i in 0..ROWS {
                    for v in 0..VECTORS {
                        acc[i][v] = load(z.add(i * self.cols + v * V::N));
                    }
                }
            }
            let mut k = self.rows.as_ptr().add(row);
            let mut place = start + at;
            // The groups of rows take turns in asking, two lines at a time, so that memory is busy all the time and never waited for.
            let turns = self.width.div_ceil(MOST);
            let mut turn = row * turns / self.width;
            let mut ask = self.ask;
            for _ in 0..self.depth {
                let xs: [V; VECTORS] = std::array::from_fn(|v| load(x.as_ptr().add(place + v * V::N)));
                if turn == 0 && ask.rows > 0 {
                    for _ in 0..VECTORS {
                        ask.next(x, V::N);
                    }
                }
                turn = if turn == 0 { turns - 1 } else { turn - 1 };
                for i in 0..ROWS {
                    let by = V::splat(*k.add(i));
                    for v in 0..VECTORS {
                        acc[i][v] = by.fma(xs[v], acc[i][v]);
                    }
                }
                // The last step may leave the block, without a read.
                k = k.wrapping_add(self.width);
                place += step;
            }
            self.ask = ask;
            for i in 0..ROWS {
                for v in 0..VECTORS {
                    let to = z.add(i * self.cols + v * V::N);
                    if WHOLE { acc[i][v].store_ptr(to) } else { acc[i][v].store_ptr_partial(to, tail) }
                }
            }
        }
    }
}

/// The first block starts the sums.
fn from<T>(block: usize) -> Start<'static, T> {
    if block == 0 { Start::Zero } else { Start::Current }
}
