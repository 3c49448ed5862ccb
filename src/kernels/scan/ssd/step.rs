//! One row of each sequence, with the states carried: decoding.

use super::{Inputs, OP, Ssd};
use crate::kernels::rows::{each_vector, for_each, get, put};
use crate::kernels::simd::{Kernel, Lanes, Real, dispatch, math};

/// Numbers of the states of a task, about.
const TASK: usize = 1 << 16;

/// Heads one after the other, those of all sequences counted through.
struct Heads<'a, T> {
    ssd: &'a Ssd<'a, T>,
    x: &'a Inputs<'a, T>,
    first: usize,
    states: &'a mut [T],
    y: &'a mut [T],
}

impl<T: Real> Kernel<T> for Heads<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run<V: Lanes<T>>(self) {
        let Self { ssd, x, first, states, y } = self;
        let (p, n) = (ssd.width, ssd.states);
        for (i, (state, y)) in states.chunks_exact_mut(p * n).zip(y.chunks_exact_mut(p)).enumerate() {
            let place = first + i;
            let (sequence, head) = (place / ssd.heads, place % ssd.heads);
            let group = sequence * ssd.groups + ssd.group_of(head);
            let (b, c) = (&x.b[group * n..][..n], &x.c[group * n..][..n]);
            let dt = x.dt[place];
            let decay = math::exp::<T, V>(V::splat(dt * ssd.a[head]));
            for (channel, (state, y)) in state.chunks_exact_mut(n).zip(y).enumerate() {
                let x = x.x[place * p + channel];
                let input = V::splat(dt * x);
                let mut sum = V::splat(T::ZERO);
                each_vector!(V, n, |at, count| {
                    let s = get::<T, V>(state, at, count).mul(decay);
                    let s = input.fma(get(b, at, count), s);
                    put(s, state, at, count);
                    sum = s.fma(get(c, at, count), sum);
                });
                *y = ssd.skip_at(head, channel).fma(x, sum.sum());
            }
        }
    }
}

impl<T: Real> Ssd<'_, T> {
    /// The next row of each sequence (there are [`Sequences::count`](super::Sequences::count) rows; the lengths do not matter):
    /// writes y, and the states (sequences, heads, width, states) in place.
    ///
    /// 5·width·states operations for each head, and one read and one write of the states, which sets the time. Panics when sizes
    /// do not fit.
    pub fn step(&self, x: &Inputs<'_, T>, states: &mut [T], y: &mut [T]) {
        self.check(self.sequences.count(), x);
        assert_eq!(y.len(), x.x.len(), "{OP}: the result is as long as x");
        self.check_states(Some(states));
        let (p, state) = (self.width, self.width * self.states);
        let heads = (TASK / state).max(1);
        let pieces = states.chunks_mut(heads * state).zip(y.chunks_mut(heads * p)).enumerate();
        let tasks = pieces.map(|(i, (states, y))| Heads { ssd: self, x, first: i * heads, states, y }).collect();
        for_each(tasks, dispatch);
    }
}
