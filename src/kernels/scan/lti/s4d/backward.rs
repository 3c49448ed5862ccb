//! The way back through some sequences by some channels.
//!
//! No states are kept from the forward pass: they are run forward again, those before the parts of a segment of [`SEGMENT`] parts are
//! kept (earlier segments are run twice), and the parts are walked back. Within a part a pair is replayed, walked back, and then
//! its gradients are summed, each of which fits the registers.

use super::coefficients::{BlockOf, CORRECTION, FIELDS, SINGLE, block_len, len};
use super::forward::{Part, gather, load_lines, scatter, through};
use super::{BLOCK, S4d, SEGMENT, TILE};
use crate::kernels::bf16::Stored;
use crate::kernels::gemm::with_scratch;
use crate::kernels::pieces::split;
use crate::kernels::scan::columns::Block;
use crate::kernels::scan::lti::complex::{ComplexRef, Pair};
use crate::kernels::simd::{Kernel, Lanes, Real, dispatch};
use std::ops::Range;

pub(super) struct Task<'a, T, S> {
    pub(super) s4d: &'a S4d<'a, T>,
    pub(super) coefficients: &'a [T],
    pub(super) u: &'a [S],
    pub(super) initial: Option<ComplexRef<'a, T>>,
    pub(super) dy: &'a [S],
    pub(super) dlast: Option<ComplexRef<'a, T>>,
    /// Which part of the sequences this is.
    pub(super) part: usize,
    pub(super) sequences: Range<usize>,
    pub(super) channels: Range<usize>,
    pub(super) du: Option<Block<'a, S>>,
    pub(super) dinitial: Option<[Block<'a, T>; 2]>,
    /// Gradients of the coefficients, per vector of channels.
    pub(super) sums: Block<'a, T>,
}

/// Lines of a part.
struct Lines<'a, T> {
    u: &'a mut [T],
    dy: &'a mut [T],
    du: &'a mut [T],
    /// States before blocks, and gradients of the states after them.
    before: &'a mut [T],
    after: &'a mut [T],
}

/// Blocks of a part at most, single steps included.
const BLOCKS: usize = TILE / BLOCK;

/// One pair through the blocks of a part: keeps the states before them.
#[inline(always)]
fn replay<T: Real, V: Lanes<T>, const R: usize>(of: &BlockOf<V, R>, blocks: usize, mut x: Pair<V>, lines: &mut Lines<'_, T>) {
    for i in 0..blocks {
        x.store_pair(&mut lines.before[2 * i * V::N..]);
        let u = &lines.u[i * R * V::N..(i + 1) * R * V::N];
        let mut rise = of.input[0].scale(V::load(u));
        for k in 1..R {
            rise = of.input[k].real_fma(V::load(&u[k * V::N..]), rise);
        }
        x = of.power.fma(x, rise);
    }
}

/// And back, from the gradient of the state after them to that before: keeps the gradients of the states after blocks, adds to du.
#[inline(always)]
fn walk_back<T: Real, V: Lanes<T>, const R: usize>(
    of: &BlockOf<V, R>,
    blocks: usize,
    mut g: Pair<V>,
    lines: &mut Lines<'_, T>,
) -> Pair<V> {
    for i in (0..blocks).rev() {
        g.store_pair(&mut lines.after[2 * i * V::N..]);
        let place = i * R * V::N..(i + 1) * R * V::N;
        let (dy, du) = (&lines.dy[place.clone()], &mut lines.du[place]);
        for k in 0..R {
            let sum = g.re.fma(of.input[k].re, V::load(&du[k * V::N..]));
            g.im.fma(of.input[k].im, sum).store(&mut du[k * V::N..]);
        }
        let mut rise = Pair::<V>::zero();
        for k in 0..R {
            let dy = V::load(&dy[k * V::N..]);
            rise = Pair::new(of.output[k].re.fma(dy, rise.re), of.output[k].im.neg_fma(dy, rise.im));
        }
        g = of.power.conj_fma(g, rise);
    }
    g
}

/// Adds the gradients of a pair's coefficients for blocks of R.
#[inline(always)]
fn gradients<T: Real, V: Lanes<T>, const R: usize>(blocks: usize, lines: &Lines<'_, T>, sums: &mut [T]) {
    let mut power = Pair::<V>::zero();
    let (mut input, mut output) = ([Pair::<V>::zero(); R], [Pair::<V>::zero(); R]);
    for i in 0..blocks {
        let x = Pair::<V>::load_pair(&lines.before[2 * i * V::N..]);
        let g = Pair::<V>::load_pair(&lines.after[2 * i * V::N..]);
        let place = i * R * V::N..(i + 1) * R * V::N;
        let (u, dy) = (&lines.u[place.clone()], &lines.dy[place]);
        power = x.conj_fma(g, power);
        for k in 0..R {
            input[k] = g.real_fma(V::load(&u[k * V::N..]), input[k]);
            let dy = V::load(&dy[k * V::N..]);
            output[k] = Pair::new(x.re.fma(dy, output[k].re), x.im.neg_fma(dy, output[k].im));
        }
    }
    add_pair(power, sums, 0);
    for k in 0..R {
        add_pair(input[k], sums, 1 + k);
        add_pair(output[k], sums, 1 + R + k);
    }
}

#[inline(always)]
fn add_pair<T: Real, V: Lanes<T>>(z: Pair<V>, sums: &mut [T], field: usize) {
    let place = &mut sums[2 * field * V::N..][..2 * V::N];
    z.add(Pair::load_pair(place)).store_pair(place);
}

/// The steps inside blocks: starts du, and adds the gradients of K_0.. to `sums`.
#[inline(always)]
fn inside<T: Real, V: Lanes<T>, const R: usize>(local: &[T], steps: usize, lines: &mut Lines<'_, T>, sums: &mut [T]) {
    let mut k = [V::splat(T::ZERO); R];
    for (i, k) in k.iter_mut().enumerate() {
        *k = V::load(&local[i * V::N..]);
    }
    let mut dk = [V::splat(T::ZERO); R];
    for t in (0..steps).step_by(R) {
        let place = t * V::N..(t + R) * V::N;
        let (u, dy, du) = (&lines.u[place.clone()], &lines.dy[place.clone()], &mut lines.du[place]);
        for j in 0..R {
            let u = V::load(&u[j * V::N..]);
            let mut sum = V::splat(T::ZERO);
            for i in j..R {
                let dy = V::load(&dy[i * V::N..]);
                sum = k[i - j].fma(dy, sum);
                dk[i - j] = u.fma(dy, dk[i - j]);
            }
            sum.store(&mut du[j * V::N..]);
        }
    }
    for i in 0..R {
        let place = &mut sums[i * V::N..];
        dk[i].add(V::load(place)).store(place);
    }
}

/// One pair through a part and back. `g`: the gradient of its state after the part, then of that before.
#[inline(always)]
fn there_and_back<T: Real, V: Lanes<T>>(
    of_pair: &[T],
    part: Part,
    start: &[T],
    lines: &mut Lines<'_, T>,
    g: &mut [T],
    sums: &mut [T],
) {
    let (x, end) = (Pair::<V>::load_pair(start), Pair::<V>::load_pair(g));
    let first = if part.single() {
        let of = BlockOf::<V, 1>::load(&of_pair[2 * SINGLE * V::N..]);
        replay(&of, part.steps, x, lines);
        let first = walk_back(&of, part.steps, end, lines);
        gradients::<T, V, 1>(part.steps, lines, &mut sums[2 * SINGLE * V::N..]);
        first
    } else {
        let (of, blocks) = (BlockOf::<V, BLOCK>::load(of_pair), part.steps / BLOCK);
        replay(&of, blocks, x, lines);
        let first = walk_back(&of, blocks, end, lines);
        gradients::<T, V, BLOCK>(blocks, lines, sums);
        if part.steps == TILE { Pair::load_pair(&of_pair[2 * CORRECTION * V::N..]).conj_fma(end, first) } else { first }
    };
    first.store_pair(g);
}

impl<T: Real, S: Stored<T>> Task<'_, T, S> {
    #[inline(always)]
    fn vector<V: Lanes<T>>(&mut self, channels: Range<usize>, buffer: &mut [T]) {
        let (h, n) = (self.s4d.channels, self.s4d.pairs);
        let (at, count) = (channels.start, channels.len());
        let len = len::<T>(n);
        let (of_pairs, local) = self.coefficients[at / V::N * len..][..len].split_at(n * FIELDS * 2 * V::N);
        let sums = self.sums.line(self.part, at / V::N * len..(at / V::N + 1) * len);
        let (sums, local_sums) = sums.split_at_mut(n * FIELDS * 2 * V::N);
        let width = 2 * n * V::N;
        let (g, rest) = buffer.split_at_mut(width);
        let (state, rest) = rest.split_at_mut(width);
        let (starts, rest) = rest.split_at_mut(SEGMENT * width);
        let [u, dy, du, before, after, segments] = split(
            rest,
            [
                TILE * V::N,
                TILE * V::N,
                TILE * V::N,
                2 * BLOCKS * V::N,
                2 * BLOCKS * V::N,
                rest.len() - (3 * TILE + 4 * BLOCKS) * V::N,
            ],
        );
        let mut lines = Lines { u, dy, du, before, after };
        for sequence in self.sequences.clone() {
            let place = (sequence * h + at) * n;
            let rows = self.s4d.sequences.range(sequence);
            let parts = Part::count(rows.len());
            gather::<T, V>(self.initial, place, count, n, state);
            gather::<T, V>(self.dlast, place, count, n, g);
            // States at the starts of all segments but the last, and of its parts.
            let last = parts.saturating_sub(1) / SEGMENT;
            for index in 0..parts {
                let part = Part::at(Part::start_of(index, rows.start, rows.len()), rows.end);
                if index.is_multiple_of(SEGMENT) {
                    segments[index / SEGMENT * width..][..width].copy_from_slice(state);
                }
                if index / SEGMENT == last {
                    starts[index % SEGMENT * width..][..width].copy_from_slice(state);
                }
                if index + 1 < parts {
                    load_lines::<T, S, V>(self.u, h, part, at, count, lines.u);
                    for (of_pair, state) in of_pairs.chunks_exact(FIELDS * 2 * V::N).zip(state.chunks_exact_mut(2 * V::N)) {
                        through::<T, V, false>(of_pair, part, lines.u, &mut [], state);
                    }
                }
            }
            for segment in (0..parts.div_ceil(SEGMENT)).rev() {
                let indices = segment * SEGMENT..parts.min((segment + 1) * SEGMENT);
                if segment != last {
                    state.copy_from_slice(&segments[segment * width..][..width]);
                    for index in indices.clone() {
                        starts[index % SEGMENT * width..][..width].copy_from_slice(state);
                        let part = Part::at(Part::start_of(index, rows.start, rows.len()), rows.end);
                        load_lines::<T, S, V>(self.u, h, part, at, count, lines.u);
                        for (of_pair, state) in of_pairs.chunks_exact(FIELDS * 2 * V::N).zip(state.chunks_exact_mut(2 * V::N)) {
                            through::<T, V, false>(of_pair, part, lines.u, &mut [], state);
                        }
                    }
                }
                for index in indices.rev() {
                    let part = Part::at(Part::start_of(index, rows.start, rows.len()), rows.end);
                    load_lines::<T, S, V>(self.u, h, part, at, count, lines.u);
                    load_lines::<T, S, V>(self.dy, h, part, at, count, lines.dy);
                    if part.single() {
                        inside::<T, V, 1>(local, part.steps, &mut lines, local_sums);
                    } else {
                        inside::<T, V, BLOCK>(local, part.steps, &mut lines, local_sums);
                    }
                    let start = &starts[index % SEGMENT * width..][..width];
                    for k in 0..n {
                        let (fields, pair) =
                            (k * FIELDS * 2 * V::N..(k + 1) * FIELDS * 2 * V::N, 2 * k * V::N..2 * (k + 1) * V::N);
                        let (start, g) = (&start[pair.clone()], &mut g[pair]);
                        there_and_back::<T, V>(&of_pairs[fields.clone()], part, start, &mut lines, g, &mut sums[fields]);
                    }
                    if let Some(du) = &mut self.du {
                        for (t, from) in lines.du.chunks_exact(V::N).take(part.steps).enumerate() {
                            S::put(V::load(from), du.line(part.first + t, channels.clone()), 0, count);
                        }
                    }
                }
            }
            if let Some(dinitial) = &mut self.dinitial {
                for (part, to) in dinitial.iter_mut().enumerate() {
                    scatter::<T, V>(g, part, n, to.line(sequence, at * n..channels.end * n));
                }
            }
        }
    }

    /// Runs on the calling thread.
    pub(super) fn run(self) {
        let n = self.s4d.pairs;
        let longest = self.sequences.clone().map(|i| self.s4d.sequences.range(i).len()).max().unwrap_or(0);
        let segments = Part::count(longest).div_ceil(SEGMENT).max(1);
        let lines = 2 * n * (2 + SEGMENT + segments) + 3 * TILE + 4 * BLOCKS;
        with_scratch(lines * T::LANES, |buffer| dispatch(Run { task: self, buffer }));
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

const _: () = assert!(BLOCKS >= BLOCK && block_len(BLOCK) == SINGLE);
