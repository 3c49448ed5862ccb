//! Blocks of a Khatri-Rao product, made where they are used.

use std::borrow::Cow;
use std::ops::Range;
use std::sync::OnceLock;

use crate::kernels::gemm::with_scratch;
use crate::kernels::rows::{get, put};
use crate::kernels::simd::{Kernel, Lanes, Real, dispatch};
use crate::kernels::transpose::transpose;

/// Trailing factors are multiplied out until they have so many rows: blocks are then filled in long runs.
const TAIL: usize = 64;
/// Rows of a multiplied-out tail at most.
const LONGEST_TAIL: usize = 4096;

/// A matrix of `rows × width` whose rows can be made in blocks.
pub(in crate::kernels) trait Rows<T>: Sync {
    fn rows(&self) -> usize;
    fn width(&self) -> usize;
    /// Rows `range`, one after the other.
    fn fill(&self, range: Range<usize>, out: &mut [T]);
    /// The transpose of rows `range`: column r goes to `out[r · lead..]`.
    fn fill_columns(&self, range: Range<usize>, out: &mut [T], lead: usize);
}

/// The Khatri-Rao product of some factors, first factor slowest: row (i, j, …) is `U[i, :] ∘ V[j, :] ∘ …`. Without factors: one row of
/// ones.
pub(in crate::kernels) struct KhatriRao<'a, T: Clone> {
    /// Factors of the slow indices, with their rows.
    head: Vec<(&'a [T], usize)>,
    /// The product of the others, (tail_rows, rank).
    tail: Cow<'a, [T]>,
    /// The tail turned, (rank, tail_rows), once somebody wants columns.
    columns: OnceLock<Vec<T>>,
    tail_rows: usize,
    rank: usize,
    rows: usize,
}

impl<'a, T: Real> KhatriRao<'a, T> {
    /// `factors[m]` is (sizes[m], rank).
    pub fn new(factors: &[&'a [T]], sizes: &[usize], rank: usize) -> Self {
        let rows = sizes.iter().product();
        let mut head: Vec<(&'a [T], usize)> = factors.iter().copied().zip(sizes.iter().copied()).collect();
        let (mut tail, mut tail_rows) = match head.pop() {
            Some((factor, size)) => (Cow::Borrowed(factor), size),
            None => (Cow::Owned(vec![T::ONE; rank]), 1),
        };
        while let Some(&(factor, size)) = head.last()
            && tail_rows < TAIL
            && tail_rows * size <= LONGEST_TAIL
        {
            head.pop();
            let mut longer = vec![T::ZERO; size * tail.len()];
            for (row, to) in factor.chunks_exact(rank.max(1)).zip(longer.chunks_exact_mut(tail.len().max(1))) {
                dispatch(Scale(row, &tail, to));
            }
            (tail, tail_rows) = (Cow::Owned(longer), tail_rows * size);
        }
        Self { head, tail, columns: OnceLock::new(), tail_rows, rank, rows }
    }

    /// The product of the head's rows at combined index `h`.
    fn head_row(&self, mut h: usize, to: &mut [T]) {
        to.fill(T::ONE);
        for &(factor, size) in self.head.iter().rev() {
            let row = &factor[h % size * self.rank..][..self.rank];
            to.iter_mut().zip(row).for_each(|(x, &u)| *x = *x * u);
            h /= size;
        }
    }

    /// Runs of rows with one head: (first row of the tail, rows, offset in the range).
    fn runs(&self, range: Range<usize>) -> impl Iterator<Item = (usize, usize, usize, usize)> {
        let (mut at, tail) = (range.start, self.tail_rows);
        std::iter::from_fn(move || {
            (at < range.end).then(|| {
                let (h, p) = (at / tail, at % tail);
                let run = (h, p, (tail - p).min(range.end - at), at - range.start);
                at += run.2;
                run
            })
        })
    }
}

impl<T: Real> Rows<T> for KhatriRao<'_, T> {
    fn rows(&self) -> usize {
        self.rows
    }

    fn width(&self) -> usize {
        self.rank
    }

    fn fill(&self, range: Range<usize>, out: &mut [T]) {
        let rank = self.rank;
        with_scratch(rank, |row: &mut [T]| {
            for (h, p, run, at) in self.runs(range) {
                let (from, to) = (&self.tail[p * rank..][..run * rank], &mut out[at * rank..][..run * rank]);
                if self.head.is_empty() {
                    to.copy_from_slice(from);
                } else {
                    self.head_row(h, row);
                    dispatch(Scale(row, from, to));
                }
            }
        });
    }

    fn fill_columns(&self, range: Range<usize>, out: &mut [T], lead: usize) {
        let columns = self.columns.get_or_init(|| {
            let mut columns = vec![T::ZERO; self.tail.len()];
            transpose((&self.tail, self.rank), (self.tail_rows, self.rank), (&mut columns, self.tail_rows));
            columns
        });
        with_scratch(self.rank, |row: &mut [T]| {
            for (h, p, run, at) in self.runs(range) {
                self.head_row(h, row);
                dispatch(ScaleColumns { by: row, from: (&columns[p..], self.tail_rows), to: (&mut out[at..], lead), run });
            }
        });
    }
}

/// Every row of the second, times the first, to the third.
struct Scale<'a, T>(&'a [T], &'a [T], &'a mut [T]);

impl<T: Real> Kernel<T> for Scale<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run<V: Lanes<T>>(self) {
        let Self(by, from, to) = self;
        let width = by.len();
        let whole = width / V::N * V::N;
        for (from, to) in from.chunks_exact(width.max(1)).zip(to.chunks_exact_mut(width.max(1))) {
            for at in (0..whole).step_by(V::N) {
                V::load(&by[at..]).mul(V::load(&from[at..])).store(&mut to[at..]);
            }
            if whole < width {
                let rest = width - whole;
                put(get::<T, V>(by, whole, rest).mul(get(from, whole, rest)), to, whole, rest);
            }
        }
    }
}

/// `run` numbers of every column, times the column's number.
struct ScaleColumns<'a, T> {
    by: &'a [T],
    from: (&'a [T], usize),
    to: (&'a mut [T], usize),
    run: usize,
}

impl<T: Real> Kernel<T> for ScaleColumns<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run<V: Lanes<T>>(self) {
        let Self { by, from: (from, step), to: (to, lead), run } = self;
        let whole = run / V::N * V::N;
        for (r, &x) in by.iter().enumerate() {
            let (x, from, to) = (V::splat(x), &from[r * step..][..run], &mut to[r * lead..][..run]);
            for at in (0..whole).step_by(V::N) {
                x.mul(V::load(&from[at..])).store(&mut to[at..]);
            }
            if whole < run {
                put(x.mul(get::<T, V>(from, whole, run - whole)), to, whole, run - whole);
            }
        }
    }
}
