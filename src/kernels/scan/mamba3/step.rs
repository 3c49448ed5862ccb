//! One row of each sequence with the state carried: decoding.

use super::gate;
use super::rotate::{Advance, positive, sines_and_cosines};
use super::{Inputs, Mamba3, Rotation, StatesMut};
use crate::kernels::gemm::with_scratch;
use crate::kernels::pieces::split;
use crate::kernels::rows::{each_vector, for_each, get, put};
use crate::kernels::scan::columns::Block;
use crate::kernels::simd::{Kernel, Lanes, Real, dispatch, math};
use std::f64::consts::PI;

/// Numbers of states of a task, about: some microseconds.
const TASK: usize = 1 << 16;

/// Some heads of one sequence.
struct Heads<'a, T> {
    scan: &'a Mamba3<'a, T>,
    x: &'a Inputs<'a, T>,
    sequence: usize,
    first: usize,
    /// (heads, s), (heads, p, n) and (heads, p).
    angle: &'a mut [T],
    state: &'a mut [T],
    value: &'a mut [T],
    key: Block<'a, T>,
    out: &'a mut [T],
}

impl<T: Real> Heads<'_, T> {
    fn run(mut self) {
        let Mamba3 { width: p, states: n, rank, angles: s, .. } = *self.scan;
        let sizes = [s, s, rank * n, rank * n, rank * n, rank * p, rank * p, rank * p];
        with_scratch(sizes.iter().sum(), |buffer| {
            with_scratch(2 * s, |angles: &mut [f64]| {
                let [sine, cosine, q, k, k_before, v, v_before, o] = split(buffer, sizes);
                let heads = self.value.len() / p;
                for i in 0..heads {
                    let (increments, theta) = angles.split_at_mut(s);
                    self.turn(i, increments, theta, sine, cosine);
                    self.head(i, [sine, cosine], [q, k, k_before], [v, v_before, o]);
                }
            });
        });
    }

    /// Takes the angles of head `first + i` on and gives their sines and cosines.
    fn turn(&mut self, i: usize, increments: &mut [f64], theta: &mut [f64], sine: &mut [T], cosine: &mut [T]) {
        let (scan, head, s) = (self.scan, self.first + i, self.scan.angles);
        if s == 0 {
            return;
        }
        sine.copy_from_slice(&self.x.angles[self.sequence * scan.angle_width() + scan.angles_of(head)..][..s]);
        math::tanh_in_place(sine);
        let dt = PI * self.x.dt[self.sequence * scan.heads + head].to_f64();
        increments.iter_mut().zip(&*sine).for_each(|(to, x)| *to = dt * x.to_f64());
        let angle = &mut self.angle[i * s..(i + 1) * s];
        theta.iter_mut().zip(&*angle).for_each(|(to, x)| *to = x.to_f64());
        dispatch(Advance { steps: increments, last: theta });
        sines_and_cosines(increments, sine, cosine);
        angle.iter_mut().zip(&*theta).for_each(|(to, &x)| *to = positive(x));
    }

    fn head(
        &mut self,
        i: usize,
        [sine, cosine]: [&mut [T]; 2],
        [q, k, k_before]: [&mut [T]; 3],
        [v, v_before, o]: [&mut [T]; 3],
    ) {
        let (scan, x, head) = (self.scan, self.x, self.first + i);
        let Mamba3 { heads, width: p, groups, states: n, rank, .. } = *scan;
        let at = self.sequence * heads + head;
        let mut lambda = [x.trap[at]];
        math::sigmoid_in_place(&mut lambda);
        let mut alpha = [x.log_decay[at]];
        math::exp_in_place(&mut alpha);
        let (dt, [lambda], [alpha]) = (x.dt[at], lambda, alpha);
        let (beta, gamma) = (dt * (T::ONE - lambda) * alpha, lambda * dt);
        for r in 0..rank {
            let from = ((self.sequence * rank + r) * groups + scan.group_of(head)) * n;
            let bias = (head * rank + r) * n;
            for (to, data, biases) in [(&mut *q, x.q, scan.q_bias), (&mut *k, x.k, scan.k_bias)] {
                let to = &mut to[r * n..(r + 1) * n];
                to.iter_mut().zip(&data[from..]).zip(&biases[bias..]).for_each(|((to, &x), &b)| *to = x + b);
                rotate(scan.rotation, to, sine, cosine);
            }
            let line = self.key.line(self.sequence * rank + r, head * n..(head + 1) * n);
            k_before[r * n..(r + 1) * n].copy_from_slice(line);
            line.copy_from_slice(&k[r * n..(r + 1) * n]);
        }
        let value = &mut self.value[i * p..(i + 1) * p];
        let now = &x.x[at * p..(at + 1) * p];
        let mix = scan.of_head(scan.mix_x, head);
        for j in 0..rank * p {
            let m = mix.map_or(T::ONE, |m| m[j]);
            (v[j], v_before[j]) = (m * now[j % p], m * value[j % p]);
        }
        value.copy_from_slice(now);
        let state = &mut self.state[i * p * n..(i + 1) * p * n];
        dispatch(Update { rank, states: n, factors: [alpha, beta, gamma], q, k, k_before, v, v_before, state, o });
        let norm = scan.norm.map(|n| n.weight);
        let gate = gate::Gate {
            rank,
            width: p,
            skip: scan.skip.map_or(T::ZERO, |d| d[head]),
            mix_z: scan.of_head(scan.mix_z, head),
            mix_out: scan.of_head(scan.mix_out, head),
            norm: scan.of_head(norm, head),
            eps: T::from_f64(scan.norm.map_or(0.0, |n| n.eps)),
        };
        let z = x.z.map(|z| &z[at * p..(at + 1) * p]);
        dispatch(gate::Forward { gate, v, o, z, out: &mut self.out[i * p..(i + 1) * p] });
    }
}

/// Turns a row whose pairs are where they are outside.
fn rotate<T: Real>(rotation: Rotation, x: &mut [T], sine: &[T], cosine: &[T]) {
    let turn = |a: &mut T, b: &mut T, s: T, c: T| (*a, *b) = (*a * c - *b * s, *a * s + *b * c);
    let angles = sine.iter().zip(cosine);
    match rotation {
        Rotation::Pairwise => {
            for (pair, (&s, &c)) in x.chunks_exact_mut(2).zip(angles) {
                let (a, b) = pair.split_at_mut(1);
                turn(&mut a[0], &mut b[0], s, c);
            }
        }
        Rotation::Halves => {
            let (first, second) = x.split_at_mut(x.len() / 2);
            for ((a, b), (&s, &c)) in first.iter_mut().zip(second).zip(angles) {
                turn(a, b, s, c);
            }
        }
    }
}

/// S = α·S + Σ_r (β·v_before·k_beforeᵀ + γ·v·kᵀ) and o = S·q in one pass over S.
struct Update<'a, T> {
    rank: usize,
    states: usize,
    /// α, β, γ.
    factors: [T; 3],
    /// (rank, states).
    q: &'a [T],
    k: &'a [T],
    k_before: &'a [T],
    /// (rank, width).
    v: &'a [T],
    v_before: &'a [T],
    /// (width, states).
    state: &'a mut [T],
    o: &'a mut [T],
}

/// Ranks that are done in one pass.
const RANKS: usize = 4;

impl<T: Real> Kernel<T> for Update<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run<V: Lanes<T>>(mut self) {
        match self.rank {
            1 => self.ranks::<V, 1>(0, true),
            2 => self.ranks::<V, 2>(0, true),
            _ => {
                // Terms of all ranks first: o needs the whole state.
                let whole = self.rank / RANKS * RANKS;
                let one_pass = self.rank == RANKS;
                for first in (0..whole).step_by(RANKS) {
                    self.ranks::<V, RANKS>(first, one_pass);
                }
                for first in whole..self.rank {
                    self.ranks::<V, 1>(first, false);
                }
                if !one_pass {
                    self.outputs::<V>();
                }
            }
        }
    }
}

impl<T: Real> Update<'_, T> {
    /// Adds the terms of `R` ranks, and writes o if they are all.
    #[inline(always)]
    fn ranks<V: Lanes<T>, const R: usize>(&mut self, first: usize, all: bool) {
        let (n, p) = (self.states, self.v.len() / self.rank);
        let [alpha, beta, gamma] = self.factors;
        // α belongs to what was there before the first of the ranks.
        let alpha = V::splat(if first == 0 { alpha } else { T::ONE });
        for (c, row) in self.state.chunks_exact_mut(n).enumerate() {
            let mut sums = [V::splat(T::ZERO); R];
            let (mut now, mut before) = ([V::splat(T::ZERO); R], [V::splat(T::ZERO); R]);
            for r in 0..R {
                now[r] = V::splat(gamma * self.v[(first + r) * p + c]);
                before[r] = V::splat(beta * self.v_before[(first + r) * p + c]);
            }
            each_vector!(V, n, |at, count| {
                let mut s = get::<T, V>(row, at, count).mul(alpha);
                for r in 0..R {
                    let place = (first + r) * n + at;
                    s = before[r].fma(get(self.k_before, place, count), s);
                    s = now[r].fma(get(self.k, place, count), s);
                }
                put(s, row, at, count);
                if all {
                    for (r, sum) in sums.iter_mut().enumerate() {
                        *sum = s.fma(get(self.q, (first + r) * n + at, count), *sum);
                    }
                }
            });
            if all {
                for (r, sum) in sums.iter().enumerate() {
                    self.o[r * p + c] = sum.sum();
                }
            }
        }
    }

    #[inline(always)]
    fn outputs<V: Lanes<T>>(&mut self) {
        let (n, p) = (self.states, self.v.len() / self.rank);
        for (c, row) in self.state.chunks_exact(n).enumerate() {
            for r in 0..self.rank {
                let mut sum = V::splat(T::ZERO);
                each_vector!(V, n, |at, count| {
                    sum = get::<T, V>(row, at, count).fma(get(self.q, r * n + at, count), sum);
                });
                self.o[r * p + c] = sum.sum();
            }
        }
    }
}

impl<T: Real> Mamba3<'_, T> {
    /// The next row of each sequence (there are [`Sequences::count`](super::super::Sequences::count) rows; the lengths do not
    /// matter): writes the result, and the states in place. Reads and writes the states once, which sets the time: nothing is
    /// kept but them. Any number of groups. Angles are carried in `T`; each step rounds them once, which does not add up one way.
    /// Panics when sizes do not fit.
    pub fn step(&self, x: &Inputs<'_, T>, states: StatesMut<'_, T>, out: &mut [T]) {
        let count = self.sequences.count();
        self.check(count, x, out.len());
        self.check_states(Some(states.as_ref()));
        if count == 0 {
            return;
        }
        let Self { heads: h, width: p, states: n, rank, angles: s, .. } = *self;
        let block = (TASK / (p * n)).clamp(1, h);
        let ranges =
            |by: usize| -> Vec<_> { (0..h.div_ceil(block)).map(|i| i * block * by..h.min((i + 1) * block) * by).collect() };
        let rows: Vec<_> = (0..count).map(|i| i * rank..(i + 1) * rank).collect();
        let mut keys = Block::cut(states.key, h * n, &rows, &ranges(n)).into_iter();
        let (mut angle, mut state, mut value, mut out) = (states.angle, states.state, states.value, out);
        let mut tasks = Vec::new();
        for sequence in 0..count {
            for heads in ranges(1) {
                let Some(key) = keys.next() else { continue };
                let len = heads.len();
                tasks.push(Heads {
                    scan: self,
                    x,
                    sequence,
                    first: heads.start,
                    angle: take(&mut angle, len * s),
                    state: take(&mut state, len * p * n),
                    value: take(&mut value, len * p),
                    key,
                    out: take(&mut out, len * p),
                });
            }
        }
        for_each(tasks, Heads::run);
    }
}

/// The next `len` numbers.
fn take<'a, T>(data: &mut &'a mut [T], len: usize) -> &'a mut [T] {
    let (head, tail) = std::mem::take(data).split_at_mut(len);
    *data = tail;
    head
}
