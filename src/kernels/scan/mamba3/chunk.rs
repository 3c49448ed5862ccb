//! A chunk of one head: everything that the products need.

use super::decay::{Apply, Scale, Weigh};
use super::gate::Gate;
use super::rotate::{Advance, Rotate, sines_and_cosines};
use super::{Inputs, Mamba3, STRIP};
use crate::kernels::gemm::{MatMut, MatRef, Start, tile, with_scratch};
use crate::kernels::pieces::split;
use crate::kernels::scan::edges::edges;
use crate::kernels::simd::{Real, dispatch, math};
use crate::kernels::transpose::transpose;
use rayon::prelude::*;
use std::f64::consts::PI;
use std::ops::Range;

/// The scan and its inputs with pairs of states laid as halves.
#[derive(Clone, Copy)]
pub(super) struct Source<'a, T> {
    pub scan: &'a Mamba3<'a, T>,
    pub x: &'a Inputs<'a, T>,
    pub q: &'a [T],
    pub k: &'a [T],
    pub q_bias: &'a [T],
    pub k_bias: &'a [T],
    pub sizes: Sizes,
}

/// Numbers of rows that one thread lays out at a time.
const LAID: usize = 1 << 15;

impl<'a, T: Real> Source<'a, T> {
    /// Runs `work` with the source of a scan. Q and K are copied when their pairs are not halves.
    pub(super) fn with<R>(scan: &'a Mamba3<'a, T>, x: &'a Inputs<'a, T>, work: impl FnOnce(Source<'_, T>) -> R) -> R {
        let (pairs, n) = (scan.pairs(), scan.states);
        let sizes = Sizes::new(scan);
        if pairs.straight() {
            return work(Source { scan, x, q: x.q, k: x.k, q_bias: scan.q_bias, k_bias: scan.k_bias, sizes });
        }
        with_scratch(2 * (x.q.len() + scan.q_bias.len()), |laid| {
            let (len, few) = (x.q.len(), scan.q_bias.len());
            let [q, k, q_bias, k_bias] = split(laid, [len, len, few, few]);
            for (from, to) in [(x.q, &mut *q), (x.k, &mut *k)] {
                let rows = (LAID / n).max(1) * n;
                to.par_chunks_mut(rows).zip(from.par_chunks(rows)).for_each(|(to, from)| pairs.enter(from, to));
            }
            pairs.enter(scan.q_bias, q_bias);
            pairs.enter(scan.k_bias, k_bias);
            work(Source { scan, x, q, k, q_bias, k_bias, sizes })
        })
    }

    pub(super) fn gate(&self, head: usize) -> Gate<'a, T> {
        let scan = self.scan;
        Gate {
            rank: scan.rank,
            width: scan.width,
            skip: scan.skip.map_or(T::ZERO, |d| d[head]),
            mix_z: scan.of_head(scan.mix_z, head),
            mix_out: scan.of_head(scan.mix_out, head),
            norm: scan.of_head(scan.norm.map(|n| n.weight), head),
            eps: T::from_f64(scan.norm.map_or(0.0, |n| n.eps)),
        }
    }

    /// Numbers of (rows, heads, width) from the place of a head and row on, and their row stride.
    pub(super) fn of(&self, data: &'a [T], row: usize, head: usize) -> (&'a [T], usize) {
        let stride = self.scan.heads * self.scan.width;
        (&data[row * stride + head * self.scan.width..], stride)
    }

    /// Copies the rows of a head out of (rows, heads, width): far from each other, they are best asked for all at once.
    pub(super) fn gather(&self, data: &'a [T], rows: Range<usize>, head: usize, to: &mut [T]) {
        let (from, stride) = self.of(data, rows.start, head);
        for (i, to) in to[..rows.len() * self.scan.width].chunks_exact_mut(self.scan.width).enumerate() {
            to.copy_from_slice(&from[i * stride..][..self.scan.width]);
        }
    }

    /// The chunks of a sequence.
    pub(super) fn chunks(
        &self,
        rows: Range<usize>,
    ) -> impl DoubleEndedIterator<Item = Range<usize>> + ExactSizeIterator + use<T> {
        let q = self.sizes.steps;
        (0..rows.len().div_ceil(q)).map(move |c| rows.start + c * q..rows.end.min(rows.start + (c + 1) * q))
    }
}

/// Sizes of a whole chunk.
#[derive(Clone, Copy)]
pub(super) struct Sizes {
    /// Steps.
    pub steps: usize,
    /// Rows (step, rank).
    pub rows: usize,
    /// Row stride of matrices between rows, in whole vectors.
    pub lead: usize,
    /// Steps of a strip.
    pub strip: usize,
}

impl Sizes {
    fn new<T: Real>(scan: &Mamba3<'_, T>) -> Self {
        let longest = scan.sequences.iter().map(|r| r.len()).max().unwrap_or(0);
        let steps = scan.chunk.min(longest).max(1);
        let rows = steps * scan.rank;
        Self { steps, rows, lead: rows.next_multiple_of(T::LANES), strip: STRIP.div_ceil(scan.rank) }
    }

    /// The strips of a chunk.
    pub(super) fn strips(self, steps: usize) -> impl DoubleEndedIterator<Item = Range<usize>> {
        (0..steps.div_ceil(self.strip)).map(move |i| i * self.strip..steps.min((i + 1) * self.strip))
    }
}

/// Buffers of a chunk. Numbers for each step first, then matrices; rows are (step, rank) with rank fastest.
pub(super) struct Room<'a, T> {
    pub a: &'a mut [T],
    /// Δ, λ and ν, those of the step after the chunk too.
    pub dt: &'a mut [T],
    pub lambda: &'a mut [T],
    pub nu: &'a mut [T],
    pub gamma: &'a mut [T],
    /// w.
    pub w: &'a mut [T],
    /// exp of the sum of a up to a step, and from the next on.
    pub start: &'a mut [T],
    pub end: &'a mut [T],
    /// w·end.
    pub carried: &'a mut [T],
    /// w for each column.
    pub weight: &'a mut [T],
    pub sums: &'a mut [T],
    /// (steps, angles).
    pub tanh: &'a mut [T],
    pub sine: &'a mut [T],
    pub cosine: &'a mut [T],
    /// (rows, states).
    pub q: &'a mut [T],
    pub k: &'a mut [T],
    /// (states, lead).
    pub k_turned: &'a mut [T],
    /// (rows, width).
    pub v: &'a mut [T],
    /// v·carried.
    pub v_carried: &'a mut [T],
    /// The gate, (steps, width).
    pub z: &'a mut [T],
    pub inner: &'a mut [T],
    pub o: &'a mut [T],
    /// (rows, lead).
    pub scores: &'a mut [T],
    pub mixed: &'a mut [T],
    /// (steps, lead).
    pub weighted: &'a mut [T],
    /// U, (states, width).
    pub state: &'a mut [T],
    /// θ, and increments (steps, angles).
    pub theta: &'a mut [f64],
    pub increments: &'a mut [f64],
}

impl<T: Real> Room<'_, T> {
    /// Runs `work` with buffers of unspecified contents, and `more` numbers beside.
    pub(super) fn with(
        source: &Source<'_, T>,
        more: usize,
        more_angles: usize,
        work: impl FnOnce(Room<'_, T>, &mut [T], &mut [f64]),
    ) {
        let Mamba3 { width: p, states: n, angles: s, .. } = *source.scan;
        let Sizes { steps, rows, lead, .. } = source.sizes;
        let (one, two, angles) = (steps, steps + 1, steps * s);
        let numbers = [one, two, two, two, one, one, one, one, one, lead, lead, angles, angles, angles];
        let matrices = [
            rows * n,
            rows * n,
            n * lead,
            rows * p,
            rows * p,
            steps * p,
            rows * p,
            rows * p,
            rows * lead,
            rows * lead,
            steps * lead,
            n * p,
        ];
        let (first, second) = (numbers.iter().sum::<usize>(), matrices.iter().sum::<usize>());
        with_scratch(first + second + more, |buffer| {
            with_scratch(s + angles + more_angles, |wide: &mut [f64]| {
                let [buffer, others, more] = split(buffer, [first, second, more]);
                let [a, dt, lambda, nu, gamma, w, start, end, carried, weight, sums, tanh, sine, cosine] = split(buffer, numbers);
                let [q, k, k_turned, v, v_carried, z, inner, o, scores, mixed, weighted, state] = split(others, matrices);
                let [theta, increments, more_angles] = split(wide, [s, angles, more_angles]);
                let room = Room {
                    a,
                    dt,
                    lambda,
                    nu,
                    gamma,
                    w,
                    start,
                    end,
                    carried,
                    weight,
                    sums,
                    tanh,
                    sine,
                    cosine,
                    q,
                    k,
                    k_turned,
                    v,
                    v_carried,
                    z,
                    inner,
                    o,
                    scores,
                    mixed,
                    weighted,
                    state,
                    theta,
                    increments,
                };
                work(room, more, more_angles);
            });
        });
    }

    /// Sets θ and U before the first step of a sequence, and gives ν of it.
    pub(super) fn begin(
        &mut self,
        source: &Source<'_, T>,
        head: usize,
        sequence: usize,
        rows: &Range<usize>,
        initial: Option<super::States<'_, T>>,
    ) {
        let Mamba3 { heads, width: p, states: n, rank, angles: s, .. } = *source.scan;
        let Some(initial) = initial else {
            self.theta.fill(0.0);
            self.state.fill(T::ZERO);
            return;
        };
        let at = sequence * heads + head;
        self.theta.iter_mut().zip(&initial.angle[at * s..]).for_each(|(to, &x)| *to = x.to_f64());
        let pairs = source.scan.pairs();
        pairs.enter_state(&initial.state[at * p * n..][..p * n], p, self.state);
        if rows.is_empty() {
            return;
        }
        // The half of the first trapezoid that belongs to the step before.
        self.scalars(source, head, rows.start..rows.start + 1, false);
        let value = &initial.value[at * p..][..p];
        let mix = source.scan.of_head(source.scan.mix_x, head);
        for r in 0..rank {
            let key = &initial.key[((sequence * rank + r) * heads + head) * n..][..n];
            let (k, v) = (&mut self.k[r * n..][..n], &mut self.v[r * p..][..p]);
            pairs.enter(key, k);
            for (c, v) in v.iter_mut().enumerate() {
                *v = self.nu[0] * mix.map_or(value[c], |m| m[r * p + c] * value[c]);
            }
        }
        let k = MatRef::new(self.k, rank, n);
        tile(Start::Current, k.t(), MatRef::new(self.v, rank, p), MatMut::new(self.state, n, p));
    }

    /// What depends on decays and steps. `more`: the sequence goes on behind the rows.
    pub(super) fn scalars(&mut self, source: &Source<'_, T>, head: usize, rows: Range<usize>, more: bool) {
        let (x, heads, rank) = (source.x, source.scan.heads, source.scan.rank);
        let (steps, known) = (rows.len(), rows.len() + usize::from(more));
        for i in 0..known {
            let at = (rows.start + i) * heads + head;
            (self.dt[i], self.lambda[i]) = (x.dt[at], x.trap[at]);
        }
        math::sigmoid_in_place(&mut self.lambda[..known]);
        self.nu[steps] = T::ZERO;
        for i in 0..known {
            self.nu[i] = self.dt[i] * (T::ONE - self.lambda[i]);
        }
        for i in 0..steps {
            self.a[i] = x.log_decay[(rows.start + i) * heads + head];
            self.gamma[i] = self.lambda[i] * self.dt[i];
            self.w[i] = self.gamma[i] + self.nu[i + 1];
            self.weight[i * rank..(i + 1) * rank].fill(self.w[i]);
        }
        self.weight[steps * rank..].fill(T::ZERO);
        edges(&self.a[..steps], &mut self.start[..steps], &mut self.end[..steps]);
        for i in 0..steps {
            self.carried[i] = self.w[i] * self.end[i];
        }
    }

    /// Numbers, angles, keys and values; takes θ on.
    pub(super) fn load(&mut self, source: &Source<'_, T>, head: usize, rows: Range<usize>, more: bool) {
        let scan = source.scan;
        let Mamba3 { width: p, groups, states: n, rank, angles: s, .. } = *scan;
        let steps = rows.len();
        let m = steps * rank;
        self.scalars(source, head, rows.clone(), more);
        if s > 0 {
            let (tanh, increments) = (&mut self.tanh[..steps * s], &mut self.increments[..steps * s]);
            let (from, first) = (scan.angle_width(), scan.angles_of(head));
            for (i, tanh) in tanh.chunks_exact_mut(s).enumerate() {
                tanh.copy_from_slice(&source.x.angles[(rows.start + i) * from + first..][..s]);
            }
            math::tanh_in_place(tanh);
            for ((to, tanh), dt) in increments.chunks_exact_mut(s).zip(tanh.chunks_exact(s)).zip(&*self.dt) {
                let dt = PI * dt.to_f64();
                to.iter_mut().zip(tanh).for_each(|(to, x)| *to = dt * x.to_f64());
            }
            dispatch(Advance { steps: increments, last: self.theta });
            sines_and_cosines(increments, &mut self.sine[..steps * s], &mut self.cosine[..steps * s]);
        }
        let stride = groups * n;
        let from = rows.start * rank * stride + scan.group_of(head) * n;
        let rotate =
            |from, bias, to| Rotate { pairs: scan.pairs(), rank, from, stride, bias, cosine: self.cosine, sine: self.sine, to };
        let bias = head * rank * n..(head + 1) * rank * n;
        dispatch(rotate(&source.k[from..], &source.k_bias[bias.clone()], &mut self.k[..m * n]));
        let (x, stride) = source.of(source.x.x, rows.start, head);
        let mix = scan.of_head(scan.mix_x, head);
        for (i, v) in self.v[..m * p].chunks_exact_mut(p).enumerate() {
            let x = &x[i / rank * stride..][..p];
            match mix {
                Some(mix) => v.iter_mut().zip(x).zip(&mix[i % rank * p..]).for_each(|((v, &x), &m)| *v = x * m),
                None => v.copy_from_slice(x),
            }
        }
        let scale = Scale { rank, width: p, factors: self.carried, from: &self.v[..m * p], to: &mut self.v_carried[..m * p] };
        dispatch(scale);
    }

    /// The gate, queries, keys turned, and the weights between steps, of the chunk loaded.
    pub(super) fn load_queries(&mut self, source: &Source<'_, T>, head: usize, rows: Range<usize>, decay: Option<&mut [T]>) {
        let Mamba3 { groups, states: n, rank, .. } = *source.scan;
        let (steps, m, lead) = (rows.len(), rows.len() * rank, source.sizes.lead);
        if let Some(z) = source.x.z {
            source.gather(z, rows.clone(), head, self.z);
        }
        let stride = groups * n;
        let from = &source.q[rows.start * rank * stride + source.scan.group_of(head) * n..];
        let bias = &source.q_bias[head * rank * n..(head + 1) * rank * n];
        let (cosine, sine) = (&*self.cosine, &*self.sine);
        dispatch(Rotate { pairs: source.scan.pairs(), rank, from, stride, bias, cosine, sine, to: &mut self.q[..m * n] });
        turn(&self.k[..m * n], n, self.k_turned, lead);
        dispatch(Weigh {
            rank,
            lead,
            steps: &self.a[..steps],
            gamma: self.gamma,
            weight: self.weight,
            sums: self.sums,
            weighted: &mut self.weighted[..steps * lead],
            decay,
        });
    }

    /// Columns that a strip of steps reads of a matrix between rows, in whole vectors.
    pub(super) fn columns(strip: &Range<usize>, rank: usize) -> usize {
        (strip.end * rank).next_multiple_of(T::LANES)
    }

    /// Scores and weighted scores of the chunk loaded, and o without the direct path.
    pub(super) fn outputs(&mut self, source: &Source<'_, T>, steps: usize) {
        let Mamba3 { width: p, states: n, rank, .. } = *source.scan;
        let (m, lead) = (steps * rank, source.sizes.lead);
        let q = MatRef::new(&self.q[..m * n], m, n);
        tile(Start::Zero, q, MatRef::new(self.state, n, p), MatMut::new(self.inner, m, p));
        let (factors, from) = (&*self.start, &self.inner[..m * p]);
        dispatch(Scale { rank, width: p, factors, from, to: &mut self.o[..m * p] });
        self.score(source, steps);
        for strip in source.sizes.strips(steps) {
            let (first, last) = (strip.start * rank, strip.end * rank);
            let mixed = MatRef::with_strides(&self.mixed[first * lead..], last - first, last, lead, 1);
            tile(Start::Current, mixed, MatRef::new(self.v, last, p), MatMut::new(&mut self.o[first * p..], last - first, p));
        }
    }

    /// Scores and weighted scores alone.
    pub(super) fn score(&mut self, source: &Source<'_, T>, steps: usize) {
        let Mamba3 { states: n, rank, .. } = *source.scan;
        let lead = source.sizes.lead;
        for strip in source.sizes.strips(steps) {
            let (first, last) = (strip.start * rank, strip.end * rank);
            let columns = Self::columns(&strip, rank);
            let q = MatRef::new(&self.q[first * n..], last - first, n);
            let k = MatRef::with_strides(self.k_turned, n, columns, lead, 1);
            let scores = &mut self.scores[first * lead..];
            tile(Start::Zero, q, k, MatMut::with_strides(scores, last - first, columns, lead, 1));
            let (weighted, from, to) = (&*self.weighted, &*self.scores, &mut *self.mixed);
            dispatch(Apply { rank, lead, steps: strip, columns, weighted, from, to });
        }
    }

    /// U behind the chunk loaded.
    pub(super) fn advance(&mut self, source: &Source<'_, T>, steps: usize) {
        let Mamba3 { width: p, states: n, rank, .. } = *source.scan;
        let m = steps * rank;
        dispatch(super::decay::Shrink(self.start[steps - 1], &mut *self.state));
        let k = MatRef::new(self.k, m, n);
        tile(Start::Current, k.t(), MatRef::new(self.v_carried, m, p), MatMut::new(self.state, n, p));
    }
}

/// (rows, columns) → (columns, lead), zeros behind the rows.
pub(super) fn turn<T: Real>(from: &[T], columns: usize, to: &mut [T], lead: usize) {
    let rows = from.len() / columns;
    transpose((from, columns), (rows, columns), (to, lead));
    to.chunks_exact_mut(lead).take(columns).for_each(|line| line[rows..].fill(T::ZERO));
}
