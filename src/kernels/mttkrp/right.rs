//! Contraction over the trailing modes, which lie contiguously: dot products of rows of X with columns of a Khatri-Rao product.

use std::ops::Range;

use super::khatri_rao::{KhatriRao, Rows};
use super::tasks::{Cut, even};
use crate::kernels::gemm::{MatMut, MatRef, Start, tile, with_scratch};
use crate::kernels::rows::{get, put};
use crate::kernels::simd::{Kernel, Lanes, Real, dispatch, prefetch};

/// Bytes of a row of X in a block. A block of the Khatri-Rao product, transposed, stays in the second-level cache.
const ROW_BYTES: usize = 4096;
const BLOCK_BYTES: usize = 256 << 10;
/// Rows of the left factors made at a time.
const LEFT_ROWS: usize = 64;
/// Outputs and terms of a task at least.
const LEAST: [usize; 2] = [64, 2048];

/// `out[r, i] = Σ_l left[l, r] · Σ_t x[l, i, t] · right[t, r]`, `out` (width, I) with the column r of the result in row r.
///
/// x is (L, I, T) and read once. Without `left`, L is 1. 2·width·L·I·T operations, width·(L·I + T) more for each task of the fixed cut.
/// Each sum: lanes along t, in blocks of t in order, then l in order.
pub(in crate::kernels) fn right<T: Real, K: Rows<T>>(
    x: &[T],
    [l, i, t]: [usize; 3],
    left: Option<&KhatriRao<'_, T>>,
    right: &K,
    out: &mut [T],
) {
    let width = right.width();
    assert!(x.len() == l * i * t && right.rows() == t && out.len() == width * i && (left.is_some() || l == 1));
    let terms = if l > 1 { l } else { t };
    let least = if l > 1 { [LEAST[0], 1] } else { LEAST };
    let cut = Cut::new(i, terms, least, width * x.len(), out.len(), x.len());
    cut.run(out, |o, p, sums| {
        let is = even(i, 4, cut.outputs, o);
        let (ls, ts) = if l > 1 { (even(l, 1, cut.terms, p), 0..t) } else { (0..1, even(t, T::LANES, cut.terms, p)) };
        let rows = is.len();
        with_scratch(width * rows, |acc: &mut [T]| {
            acc.fill(T::ZERO);
            Part { x, dims: [i, t], is: is.clone(), ls, ts, left, right }.add_to(acc);
            for (r, acc) in acc.chunks_exact(rows.max(1)).enumerate() {
                // SAFETY: rows `is` of column r belong to this task, in the sums of part p.
                unsafe { sums.part(r * i + is.start, rows) }.copy_from_slice(acc);
            }
        });
    });
}

/// What one task contracts.
struct Part<'a, 'k, T: Clone, K> {
    x: &'a [T],
    dims: [usize; 2],
    is: Range<usize>,
    ls: Range<usize>,
    ts: Range<usize>,
    left: Option<&'a KhatriRao<'k, T>>,
    right: &'a K,
}

impl<T: Real, K: Rows<T>> Part<'_, '_, T, K> {
    /// acc (width, rows) += the part.
    fn add_to(&self, acc: &mut [T]) {
        let (width, t) = (self.right.width(), self.ts.len());
        if t == 0 || self.is.is_empty() {
            return;
        }
        // Short rows would leave lanes idle: there, lanes run along the rank.
        let thin = t < 2 * T::LANES;
        let most = (ROW_BYTES / size_of::<T>()).min(BLOCK_BYTES / size_of::<T>() / width.max(1)).max(2 * T::LANES);
        let blocks = t.div_ceil(most / T::LANES * T::LANES);
        let longest = t.div_ceil(T::LANES).div_ceil(blocks) * T::LANES;
        with_scratch(longest.min(t) * width, |block: &mut [T]| {
            with_scratch(LEFT_ROWS.min(self.ls.len()) * width, |scales: &mut [T]| {
                for b in 0..blocks {
                    let own = even(t, T::LANES, blocks, b);
                    let ts = self.ts.start + own.start..self.ts.start + own.end;
                    if thin {
                        self.right.fill(ts.clone(), block);
                    } else {
                        self.right.fill_columns(ts.clone(), block, ts.len());
                    }
                    for first in self.ls.clone().step_by(LEFT_ROWS) {
                        let ls = first..(first + LEFT_ROWS).min(self.ls.end);
                        if let Some(left) = self.left {
                            left.fill(ls.clone(), scales);
                        }
                        for (k, l) in ls.enumerate() {
                            let scale = self.left.map(|_| &scales[k * width..][..width]);
                            if thin {
                                self.thin(l, ts.clone(), block, scale, acc);
                            } else {
                                let (start, step) = (l * self.dims[0] * self.dims[1] + ts.start, self.dims[1]);
                                let rows = self.is.clone();
                                dispatch(Dots { x: self.x, start, step, rows, len: ts.len(), block, width, scale, acc });
                            }
                        }
                    }
                }
            });
        });
    }

    /// A block of one l by products with lanes along the rank.
    fn thin(&self, l: usize, ts: Range<usize>, block: &[T], scale: Option<&[T]>, acc: &mut [T]) {
        const ROWS: usize = 96;
        let ([i, t], width, total) = (self.dims, self.right.width(), self.is.len());
        with_scratch(ROWS * width, |c: &mut [T]| {
            for first in (0..total).step_by(ROWS) {
                let rows = ROWS.min(total - first);
                let start = (l * i + self.is.start + first) * t + ts.start;
                let a = MatRef::with_strides(&self.x[start..], rows, ts.len(), t, 1);
                let c = &mut c[..rows * width];
                tile(Start::Zero, a, MatRef::new(block, ts.len(), width), MatMut::new(c, rows, width));
                for (r, acc) in acc.chunks_exact_mut(total).enumerate() {
                    let scale = scale.map_or(T::ONE, |s| s[r]);
                    for (to, from) in acc[first..][..rows].iter_mut().zip(c[r..].iter().step_by(width)) {
                        *to = from.fma(scale, *to);
                    }
                }
            }
        });
    }
}

/// acc[r, i] += scale[r] · Σ_t x[i, t] · block[r, t] for a block of t.
struct Dots<'a, T> {
    x: &'a [T],
    /// Row i starts at `start + i · step`.
    start: usize,
    step: usize,
    rows: Range<usize>,
    len: usize,
    block: &'a [T],
    width: usize,
    scale: Option<&'a [T]>,
    acc: &'a mut [T],
}

impl<T: Real> Kernel<T> for Dots<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run<V: Lanes<T>>(mut self) {
        // Sums, the vectors of a row group's columns and one of X must fit the register file.
        if const { 31 * V::REGISTERS <= V::REGISTER_FILE } {
            self.groups::<V, 4, 6>();
        } else {
            self.groups::<V, 2, 2>();
        }
    }
}

impl<T: Real> Dots<'_, T> {
    #[inline(always)]
    fn groups<V: Lanes<T>, const ROWS: usize, const COLS: usize>(&mut self) {
        let count = self.rows.len();
        let parts = self.width.div_ceil(COLS);
        let mut first = 0;
        while first < count {
            // The last group repeats its last row, and drops what it gives.
            let rows: [usize; ROWS] =
                std::array::from_fn(|m| self.start + (self.rows.start + (first + m).min(count - 1)) * self.step);
            for p in 0..parts {
                let cols = self.width * p / parts..self.width * (p + 1) / parts;
                // The rows of the next group that are asked for meanwhile: a share for each group of columns, so that memory is busy
                // all the time and never waited for.
                let ask = [ROWS * p / parts, ROWS * (p + 1) / parts];
                // The arms above COLS vanish.
                match cols.len() {
                    1 => self.tile::<V, ROWS, 1>(rows, first, cols.start, ask),
                    2 => self.tile::<V, ROWS, 2>(rows, first, cols.start, ask),
                    3 if COLS >= 3 => self.tile::<V, ROWS, 3>(rows, first, cols.start, ask),
                    4 if COLS >= 4 => self.tile::<V, ROWS, 4>(rows, first, cols.start, ask),
                    5 if COLS >= 5 => self.tile::<V, ROWS, 5>(rows, first, cols.start, ask),
                    6 if COLS >= 6 => self.tile::<V, ROWS, 6>(rows, first, cols.start, ask),
                    n => unreachable!("{n} columns"),
                }
            }
            first += ROWS;
        }
    }

    #[inline(always)]
    fn tile<V: Lanes<T>, const ROWS: usize, const COLS: usize>(
        &mut self,
        rows: [usize; ROWS],
        first: usize,
        col: usize,
        ask: [usize; 2],
    ) {
        let (x, block, len) = (self.x, self.block, self.len);
        assert!(block.len() >= (col + COLS) * len && rows.iter().all(|&row| row + len <= x.len()));
        let ahead = ROWS * self.step;
        let columns = block[col * len..].as_ptr();
        let mut acc = [[V::splat(T::ZERO); COLS]; ROWS];
        let mut at = 0;
        // SAFETY: rows and columns hold `len` numbers, as asserted.
        unsafe {
            while at + V::N <= len {
                let ks: [V; COLS] = std::array::from_fn(|r| V::load_ptr(columns.add(r * len + at)));
                for m in 0..ROWS {
                    let v = V::load_ptr(x.as_ptr().add(rows[m] + at));
                    if m >= ask[0] && m < ask[1] {
                        prefetch(x, rows[m] + ahead + at);
                    }
                    for r in 0..COLS {
                        acc[m][r] = v.fma(ks[r], acc[m][r]);
                    }
                }
                at += V::N;
            }
            if at < len {
                for r in 0..COLS {
                    let k = V::load_ptr_partial(columns.add(r * len + at), len - at);
                    for m in 0..ROWS {
                        acc[m][r] = V::load_ptr_partial(x.as_ptr().add(rows[m] + at), len - at).fma(k, acc[m][r]);
                    }
                }
            }
        }
        let mut lanes = [T::ZERO; 32 * 16];
        let mut sums = [T::ZERO; 32];
        for m in 0..ROWS {
            for r in 0..COLS {
                acc[m][r].store(&mut lanes[(r * ROWS + m) * V::N..]);
            }
        }
        let mut group = 0;
        while group < ROWS * COLS {
            V::sums(&lanes[group * V::N..]).store(&mut sums[group..]);
            group += V::N;
        }
        let total = self.rows.len();
        let rows = ROWS.min(total - first);
        for r in 0..COLS {
            let scale = self.scale.map_or(T::ONE, |s| s[col + r]);
            let to = &mut self.acc[(col + r) * total + first..][..rows];
            for (to, from) in to.iter_mut().zip(&sums[r * ROWS..]) {
                *to = from.fma(scale, *to);
            }
        }
    }
}

/// `a · b` over slices of equal length, lanes along them; inside a kernel.
#[inline(always)]
pub(super) fn dot<T: Real, V: Lanes<T>>(a: &[T], b: &[T]) -> T {
    let mut sums = [V::splat(T::ZERO); 4];
    let whole = a.len() / (4 * V::N) * (4 * V::N);
    for at in (0..whole).step_by(4 * V::N) {
        for (k, sum) in sums.iter_mut().enumerate() {
            *sum = V::load(&a[at + k * V::N..]).fma(V::load(&b[at + k * V::N..]), *sum);
        }
    }
    for at in (whole..a.len()).step_by(V::N) {
        let count = V::N.min(a.len() - at);
        sums[0] = get::<T, V>(a, at, count).fma(get(b, at, count), sums[0]);
    }
    sums[0].add(sums[1]).add(sums[2].add(sums[3])).sum()
}

/// `to += scale · from` over slices of equal length; inside a kernel.
#[inline(always)]
pub(super) fn axpy<T: Real, V: Lanes<T>>(scale: T, from: &[T], to: &mut [T]) {
    let scale = V::splat(scale);
    let whole = to.len() / V::N * V::N;
    for at in (0..whole).step_by(V::N) {
        scale.fma(V::load(&from[at..]), V::load(&to[at..])).store(&mut to[at..]);
    }
    let rest = to.len() - whole;
    if rest > 0 {
        put(scale.fma(get(from, whole, rest), get::<T, V>(to, whole, rest)), to, whole, rest);
    }
}
