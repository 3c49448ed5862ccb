//! The small recurrence g_t = g_{t−1}·M + p_t over rows of `rank` numbers, in either direction of time.

use crate::kernels::gemm::{MatMut, MatRef, Packed, Start, matmul, tile, with_scratch};
use crate::kernels::rows::for_each;
use crate::kernels::scan::Sequences;
use crate::kernels::scan::columns::Block;
use crate::kernels::simd::Real;
use std::ops::Range;

/// Lines of a task at most.
const LINES: usize = 64;
/// Lines from which on a step fills the vectors by itself, and time is not cut.
const ENOUGH: usize = 16;
/// Steps of a chunk.
const CHUNK: usize = 32;

pub(super) struct Recurrence<'a, T> {
    pub(super) sequences: Sequences<'a>,
    pub(super) lines: usize,
    pub(super) rank: usize,
    /// M, (rank, rank).
    pub(super) by: MatRef<'a, T>,
    /// From the last step to the first.
    pub(super) reverse: bool,
}

impl<T: Real> Recurrence<'_, T> {
    /// For each row what the recurrence had before its step, and for each sequence what it had at the end. `p` is (rows, lines, rank); `first`
    /// and the second result are (sequences, lines, rank), zeros without.
    pub(super) fn run(&self, p: &[T], first: Option<&[T]>) -> (Vec<T>, Vec<T>) {
        let (m, r) = (self.lines, self.rank);
        let (mut before, mut last) = (vec![T::ZERO; p.len()], vec![T::ZERO; self.sequences.count() * m * r]);
        let chunked = m < ENOUGH && self.sequences.iter().any(|rows| rows.len() > CHUNK);
        let powers = self.powers(if chunked { CHUNK } else { 1 });
        let lines: Vec<Range<usize>> = (0..m).step_by(LINES).map(|at| at..m.min(at + LINES)).collect();
        let columns: Vec<Range<usize>> = lines.iter().map(|l| l.start * r..l.end * r).collect();
        let rows: Vec<Range<usize>> = self.sequences.iter().collect();
        let each: Vec<Range<usize>> = (0..rows.len()).map(|i| i..i + 1).collect();
        let blocks =
            Block::cut(&mut before, m * r, &rows, &columns).into_iter().zip(Block::cut(&mut last, m * r, &each, &columns));
        let places = rows.iter().enumerate().flat_map(|(i, rows)| columns.iter().map(move |c| (i, rows.clone(), c.clone())));
        let tasks = (places.zip(blocks))
            .map(|((sequence, rows, columns), (before, last))| Task {
                of: self,
                p,
                first,
                powers: &powers,
                sequence,
                rows,
                columns,
                before,
                last,
            })
            .collect();
        for_each(tasks, Task::run);
        (before, last)
    }

    /// M, M², … M^count.
    fn powers(&self, count: usize) -> Vec<Packed<T>> {
        let r = self.rank;
        let mut power = vec![T::ZERO; r * r];
        for i in 0..r {
            for j in 0..r {
                power[i * r + j] = self.by.get(i, j);
            }
        }
        let mut powers = vec![Packed::new(self.by)];
        let mut next = power.clone();
        while powers.len() < count {
            matmul(MatRef::new(&power, r, r), self.by, MatMut::new(&mut next, r, r), false);
            std::mem::swap(&mut power, &mut next);
            powers.push(Packed::new(MatRef::new(&power, r, r)));
        }
        powers
    }
}

/// Some lines of one sequence.
struct Task<'a, T> {
    of: &'a Recurrence<'a, T>,
    p: &'a [T],
    first: Option<&'a [T]>,
    /// M to the power i + 1.
    powers: &'a [Packed<T>],
    sequence: usize,
    rows: Range<usize>,
    /// Of a row.
    columns: Range<usize>,
    before: Block<'a, T>,
    last: Block<'a, T>,
}

impl<T: Real> Task<'_, T> {
    /// The row of a step.
    fn row(&self, step: usize) -> usize {
        if self.of.reverse { self.rows.end - 1 - step } else { self.rows.start + step }
    }

    fn run(mut self) {
        let steps = self.rows.len();
        // Also where no chunk was asked for: powers say how long one may be.
        let length = if self.powers.len() > 1 { CHUNK.min(steps) } else { steps }.max(1);
        let size = steps.div_ceil(length) * self.columns.len();
        with_scratch(length * size + 2 * size, |buffer| {
            let (x, starts) = buffer.split_at_mut(length * size);
            self.fill(x, length, size);
            self.scan(x, starts, length, size);
            self.give(x, length, size);
        });
    }

    /// Step s of the sequence lies in line s % length, behind the other chunks; the steps missing from the last one are zeros.
    fn place(&self, step: usize, length: usize, size: usize) -> usize {
        step % length * size + step / length * self.columns.len()
    }

    fn fill(&self, x: &mut [T], length: usize, size: usize) {
        let (width, all) = (self.columns.len(), self.of.lines * self.of.rank);
        for step in 0..size / width.max(1) * length {
            let to = &mut x[self.place(step, length, size)..][..width];
            if step < self.rows.len() {
                to.copy_from_slice(&self.p[self.row(step) * all..][self.columns.clone()]);
            } else {
                to.fill(T::ZERO);
            }
        }
    }

    /// From p in place to g. `starts`: two lines of `size` numbers.
    fn scan(&self, x: &mut [T], starts: &mut [T], length: usize, size: usize) {
        let (r, width) = (self.of.rank, self.columns.len());
        if x.is_empty() {
            return;
        }
        let lines = width / r;
        if let Some(first) = self.first {
            let first = &first[self.sequence * self.of.lines * r..][self.columns.clone()];
            tile(Start::Current, MatRef::new(first, lines, r), &self.powers[0], MatMut::new(x, lines, r));
        }
        let all = size / r;
        for t in 1..length {
            let (before, now) = x[(t - 1) * size..(t + 1) * size].split_at_mut(size);
            tile(Start::Current, MatRef::new(before, all, r), &self.powers[0], MatMut::new(now, all, r));
        }
        if size == width {
            return;
        }
        // What each chunk should have started from: the end of the one before it.
        let (starts, ends) = starts.split_at_mut(size);
        ends.copy_from_slice(&x[(length - 1) * size..]);
        starts[..width].fill(T::ZERO);
        for chunk in (width..size).step_by(width) {
            let (before, now) = ends[chunk - width..].split_at_mut(width);
            starts[chunk..][..width].copy_from_slice(before);
            let power = &self.powers[length - 1];
            tile(Start::Current, MatRef::new(before, lines, r), power, MatMut::new(now, lines, r));
        }
        for (x, power) in x.chunks_exact_mut(size).zip(self.powers) {
            tile(Start::Current, MatRef::new(starts, all, r), power, MatMut::new(x, all, r));
        }
    }

    fn give(&mut self, x: &[T], length: usize, size: usize) {
        let (width, all) = (self.columns.len(), self.of.lines * self.of.rank);
        let steps = self.rows.len();
        for step in 0..=steps {
            let row = if step < steps { self.row(step) } else { 0 };
            let to = match step < steps {
                true => self.before.line(row, self.columns.clone()),
                false => self.last.line(self.sequence, self.columns.clone()),
            };
            match (step.checked_sub(1), self.first) {
                (Some(s), _) => {
                    let place = s % length * size + s / length * width;
                    to.copy_from_slice(&x[place..][..width]);
                }
                (None, Some(first)) => to.copy_from_slice(&first[self.sequence * all..][self.columns.clone()]),
                (None, None) => to.fill(T::ZERO),
            }
        }
    }
}
