//! The scan of some sequences by some channels: tile by tile, pair by pair, block by block.

use super::coefficients::{BlockOf, CORRECTION, FIELDS, SINGLE, block_len, len};
use super::{BLOCK, S4d, TILE};
use crate::kernels::bf16::Stored;
use crate::kernels::gemm::with_scratch;
use crate::kernels::scan::columns::Block;
use crate::kernels::scan::lti::complex::{ComplexRef, Pair};
use crate::kernels::simd::{Kernel, Lanes, Real, dispatch};
use std::ops::Range;

pub(super) struct Task<'a, T, S> {
    pub(super) s4d: &'a S4d<'a, T>,
    /// Of all vectors of channels.
    pub(super) coefficients: &'a [T],
    pub(super) u: &'a [S],
    pub(super) initial: Option<ComplexRef<'a, T>>,
    pub(super) sequences: Range<usize>,
    /// Start at a whole vector.
    pub(super) channels: Range<usize>,
    pub(super) y: Block<'a, S>,
    pub(super) last: Option<[Block<'a, T>; 2]>,
}

/// Rows that are worked through together: whole blocks, or up to `BLOCK − 1` single steps at the end of a sequence.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Part {
    pub(super) first: usize,
    pub(super) steps: usize,
}

impl Part {
    /// The part that starts at row `first` of a sequence that ends at row `end`.
    #[inline(always)]
    pub(super) fn at(first: usize, end: usize) -> Self {
        let left = end - first;
        Self { first, steps: if left >= BLOCK { (left / BLOCK * BLOCK).min(TILE) } else { left } }
    }

    #[inline(always)]
    pub(super) fn single(&self) -> bool {
        self.steps < BLOCK
    }

    /// How many parts a sequence has.
    pub(super) fn count(steps: usize) -> usize {
        (steps / BLOCK * BLOCK).div_ceil(TILE) + usize::from(!steps.is_multiple_of(BLOCK))
    }

    /// The first row of part `index` of a sequence that starts at row `start` and has `count` steps.
    pub(super) fn start_of(index: usize, start: usize, steps: usize) -> usize {
        start + (index * TILE).min(steps / BLOCK * BLOCK)
    }
}

/// Lines of `rows` that start at a column, `count` lanes, one vector each.
#[inline(always)]
pub(super) fn load_lines<T: Real, S: Stored<T>, V: Lanes<T>>(
    from: &[S],
    stride: usize,
    part: Part,
    at: usize,
    count: usize,
    to: &mut [T],
) {
    for (t, to) in to.chunks_exact_mut(V::N).take(part.steps).enumerate() {
        S::get::<V>(from, (part.first + t) * stride + at, count).store(to);
    }
}

/// The states of some channels of a sequence as vectors over the channels: real, then imaginary parts of every pair.
#[inline(always)]
pub(super) fn gather<T: Real, V: Lanes<T>>(
    from: Option<ComplexRef<'_, T>>,
    first: usize,
    count: usize,
    pairs: usize,
    to: &mut [T],
) {
    to.fill(T::ZERO);
    let Some(from) = from else { return };
    for lane in 0..count {
        for k in 0..pairs {
            to[2 * k * V::N + lane] = from.re[first + lane * pairs + k];
            to[(2 * k + 1) * V::N + lane] = from.im[first + lane * pairs + k];
        }
    }
}

/// And back: part 0 or 1 of the states, (channels, pairs).
#[inline(always)]
pub(super) fn scatter<T: Real, V: Lanes<T>>(from: &[T], part: usize, pairs: usize, to: &mut [T]) {
    for (lane, line) in to.chunks_exact_mut(pairs).enumerate() {
        for (k, x) in line.iter_mut().enumerate() {
            *x = from[(2 * k + part) * V::N + lane];
        }
    }
}

/// One pair through `steps` steps in blocks of R; adds to y if `OUT`.
#[inline(always)]
pub(super) fn advance<T: Real, V: Lanes<T>, const R: usize, const OUT: bool>(
    of: &BlockOf<V, R>,
    steps: usize,
    u: &[T],
    y: &mut [T],
    mut x: Pair<V>,
) -> Pair<V> {
    for t in (0..steps).step_by(R) {
        let u = &u[t * V::N..(t + R) * V::N];
        let mut rise = of.input[0].scale(V::load(u));
        for k in 1..R {
            rise = of.input[k].real_fma(V::load(&u[k * V::N..]), rise);
        }
        if OUT {
            let y = &mut y[t * V::N..(t + R) * V::N];
            for k in 0..R {
                let sum = of.output[k].re.fma(x.re, V::load(&y[k * V::N..]));
                of.output[k].im.neg_fma(x.im, sum).store(&mut y[k * V::N..]);
            }
        }
        x = of.power.fma(x, rise);
    }
    x
}

/// The steps inside blocks of R: y_i = Σ_{j<=i} K_{i−j}·u_j.
#[inline(always)]
fn inside<T: Real, V: Lanes<T>, const R: usize>(local: &[T], steps: usize, u: &[T], y: &mut [T]) {
    let mut k = [V::splat(T::ZERO); R];
    for (i, k) in k.iter_mut().enumerate() {
        *k = V::load(&local[i * V::N..]);
    }
    for t in (0..steps).step_by(R) {
        let (u, y) = (&u[t * V::N..(t + R) * V::N], &mut y[t * V::N..(t + R) * V::N]);
        for i in 0..R {
            let mut sum = k[i].mul(V::load(u));
            for j in 1..=i {
                sum = k[i - j].fma(V::load(&u[j * V::N..]), sum);
            }
            sum.store(&mut y[i * V::N..]);
        }
    }
}

/// One pair through a part; states in `state`, one pair of vectors.
#[inline(always)]
pub(super) fn through<T: Real, V: Lanes<T>, const OUT: bool>(of_pair: &[T], part: Part, u: &[T], y: &mut [T], state: &mut [T]) {
    let x = Pair::<V>::load_pair(state);
    let end = if part.single() {
        advance::<T, V, 1, OUT>(&BlockOf::load(&of_pair[2 * SINGLE * V::N..]), part.steps, u, y, x)
    } else {
        let end = advance::<T, V, BLOCK, OUT>(&BlockOf::load(of_pair), part.steps, u, y, x);
        if part.steps == TILE { Pair::load_pair(&of_pair[2 * CORRECTION * V::N..]).fma(x, end) } else { end }
    };
    end.store_pair(state);
}

impl<T: Real, S: Stored<T>> Task<'_, T, S> {
    #[inline(always)]
    fn vector<V: Lanes<T>>(&mut self, channels: Range<usize>, buffer: &mut [T]) {
        let (h, n) = (self.s4d.channels, self.s4d.pairs);
        let (at, count) = (channels.start, channels.len());
        let len = len::<T>(n);
        let (of_pairs, local) = self.coefficients[at / V::N * len..][..len].split_at(n * FIELDS * 2 * V::N);
        let (state, rest) = buffer.split_at_mut(2 * n * V::N);
        let (u, y) = rest.split_at_mut(TILE * V::N);
        for sequence in self.sequences.clone() {
            gather::<T, V>(self.initial, (sequence * h + at) * n, count, n, state);
            let rows = self.s4d.sequences.range(sequence);
            let mut first = rows.start;
            while first < rows.end {
                let part = Part::at(first, rows.end);
                load_lines::<T, S, V>(self.u, h, part, at, count, u);
                if part.single() {
                    inside::<T, V, 1>(local, part.steps, u, y);
                } else {
                    inside::<T, V, BLOCK>(local, part.steps, u, y);
                }
                for (of_pair, state) in of_pairs.chunks_exact(FIELDS * 2 * V::N).zip(state.chunks_exact_mut(2 * V::N)) {
                    through::<T, V, true>(of_pair, part, u, y, state);
                }
                for (t, y) in y.chunks_exact(V::N).take(part.steps).enumerate() {
                    S::put(V::load(y), self.y.line(first + t, channels.clone()), 0, count);
                }
                first += part.steps;
            }
            if let Some(last) = &mut self.last {
                for (part, last) in last.iter_mut().enumerate() {
                    scatter::<T, V>(state, part, n, last.line(sequence, at * n..channels.end * n));
                }
            }
        }
    }

    /// Runs on the calling thread.
    pub(super) fn run(self) {
        let n = self.s4d.pairs;
        with_scratch((2 * n + 2 * TILE) * T::LANES, |buffer| dispatch(Run { task: self, buffer }));
    }
}

/// A task with its buffer, which is taken before the instruction set is chosen: what runs inside a closure would not be compiled for it.
struct Run<'a, 'b, T, S> {
    task: Task<'a, T, S>,
    buffer: &'b mut [T],
}

impl<T: Real, S: Stored<T>> Kernel<T> for Run<'_, '_, T, S> {
    type Output = ();
    #[inline(always)]
    fn run<V: Lanes<T>>(self) {
        let Self { mut task, buffer } = self;
        for at in task.channels.clone().step_by(V::N) {
            task.vector::<V>(at..task.channels.end.min(at + V::N), buffer);
        }
    }
}

const _: () = assert!(TILE.is_multiple_of(BLOCK) && (TILE / BLOCK).is_power_of_two() && block_len(1) == 3);
