//! Forward: a task has one head of some sequences.

use super::chunk::{Room, Source};
use super::cut::{Cut, times};
use super::gate;
use super::rotate::positive;
use super::{Inputs, Mamba3, OP, States, StatesMut};
use crate::kernels::rows::for_each;
use crate::kernels::scan::columns::Block;
use crate::kernels::simd::{Real, dispatch};
use std::ops::Range;

/// [`StatesMut`] cut into blocks.
pub(super) struct StateBlocks<'a, T> {
    /// None without angles.
    pub angle: Option<Block<'a, T>>,
    pub state: Block<'a, T>,
    pub key: Block<'a, T>,
    pub value: Block<'a, T>,
}

impl<'a, T> StateBlocks<'a, T> {
    /// One for each task, sequences slowest.
    pub(super) fn cut(states: Option<StatesMut<'a, T>>, scan: &Mamba3<'_, T>, cut: &Cut) -> Vec<Option<Self>> {
        let Mamba3 { heads: h, width: p, states: n, rank, angles: s, .. } = *scan;
        let Some(StatesMut { angle, state, key, value }) = states else {
            return (0..cut.sequences.len() * cut.heads.len()).map(|_| None).collect();
        };
        let block = |data: &'a mut [T], width: usize, rows: &[Range<usize>]| {
            Block::cut(data, h * width, rows, &times(&cut.heads, width)).into_iter()
        };
        let angle = Block::cut_some((s > 0).then_some(angle), h * s, &cut.sequences, &times(&cut.heads, s));
        let (state, value) = (block(state, p * n, &cut.sequences), block(value, p, &cut.sequences));
        let blocks = angle.into_iter().zip(state).zip(block(key, n, &times(&cut.sequences, rank))).zip(value);
        blocks.map(|(((angle, state), key), value)| Some(Self { angle, state, key, value })).collect()
    }
}

struct Task<'a, T> {
    source: Source<'a, T>,
    initial: Option<States<'a, T>>,
    sequences: Range<usize>,
    head: usize,
    /// Without it only states are computed.
    out: Option<Block<'a, T>>,
    last: Option<StateBlocks<'a, T>>,
}

impl<T: Real> Task<'_, T> {
    fn run(mut self) {
        let source = self.source;
        let p = source.scan.width;
        let result = source.sizes.steps * p;
        Room::with(&source, result, 0, |mut room, result, _| {
            for sequence in self.sequences.clone() {
                self.sequence(&mut room, result, sequence);
            }
        });
    }

    fn sequence(&mut self, room: &mut Room<'_, T>, result: &mut [T], sequence: usize) {
        let (source, head) = (self.source, self.head);
        let Mamba3 { width: p, rank, .. } = *source.scan;
        let all = source.scan.sequences.range(sequence);
        room.begin(&source, head, sequence, &all, self.initial);
        let gate = source.gate(head);
        for rows in source.chunks(all.clone()) {
            let (steps, m) = (rows.len(), rows.len() * rank);
            room.load(&source, head, rows.clone(), rows.end < all.end);
            let Some(to) = &mut self.out else {
                room.advance(&source, steps);
                continue;
            };
            room.load_queries(&source, head, rows.clone(), None);
            room.outputs(&source, steps);
            room.advance(&source, steps);
            let z = source.x.z.map(|_| &room.z[..steps * p]);
            let (v, o, out) = (&room.v[..m * p], &mut room.o[..m * p], &mut result[..steps * p]);
            dispatch(gate::Forward { gate, v, o, z, out });
            for (row, result) in rows.zip(result.chunks_exact(p)) {
                to.line(row, head * p..(head + 1) * p).copy_from_slice(result);
            }
        }
        self.finish(room, sequence, all);
    }

    /// Writes what the sequence carries on.
    fn finish(&mut self, room: &Room<'_, T>, sequence: usize, rows: Range<usize>) {
        let (source, head) = (self.source, self.head);
        let Mamba3 { heads, width: p, states: n, rank, angles: s, .. } = *source.scan;
        let Some(last) = &mut self.last else { return };
        let pairs = source.scan.pairs();
        if let Some(angle) = &mut last.angle {
            let to = angle.line(sequence, head * s..(head + 1) * s);
            to.iter_mut().zip(&*room.theta).for_each(|(to, &x)| *to = positive(x));
        }
        pairs.leave_state(room.state, p, last.state.line(sequence, head * p * n..(head + 1) * p * n));
        let value = last.value.line(sequence, head * p..(head + 1) * p);
        if rows.is_empty() {
            match self.initial {
                Some(initial) => value.copy_from_slice(&initial.value[(sequence * heads + head) * p..][..p]),
                None => value.fill(T::ZERO),
            }
        } else {
            value.copy_from_slice(&source.of(source.x.x, rows.end - 1, head).0[..p]);
        }
        let before = (rows.len().max(1) - 1) % source.sizes.steps;
        for r in 0..rank {
            let at = sequence * rank + r;
            let key = last.key.line(at, head * n..(head + 1) * n);
            match self.initial {
                _ if !rows.is_empty() => pairs.leave(&room.k[(before * rank + r) * n..][..n], key),
                Some(initial) => key.copy_from_slice(&initial.key[(at * heads + head) * n..][..n]),
                None => key.fill(T::ZERO),
            }
        }
    }
}

impl<T: Real> Mamba3<'_, T> {
    /// Writes the result (rows, heads, width) and if wanted the states after the last steps. `initial`: what was before the first
    /// steps; without it nothing was. A sequence without rows hands its states on. Panics when sizes do not fit.
    pub fn forward(&self, x: &Inputs<'_, T>, initial: Option<States<'_, T>>, out: &mut [T], last: Option<StatesMut<'_, T>>) {
        assert_eq!(out.len(), x.x.len(), "{OP}: the result is as long as x");
        self.scan(x, initial, Some(out), last);
    }

    /// [`forward`](Self::forward), or the last states alone.
    pub(in crate::kernels::scan) fn scan(
        &self,
        x: &Inputs<'_, T>,
        initial: Option<States<'_, T>>,
        out: Option<&mut [T]>,
        last: Option<StatesMut<'_, T>>,
    ) {
        self.check(self.sequences.rows(), x, x.x.len());
        self.check_states(initial);
        self.check_states(last.as_ref().map(StatesMut::as_ref));
        assert!(last.is_none() || self.sequences.count() > 0 || self.state_sizes() == [0; 4], "{OP}: states of no sequences");
        if self.sequences.count() == 0 {
            return;
        }
        Source::with(self, x, |source| {
            let cut = Cut::new(self, false);
            let out = Block::cut_some(out, self.heads * self.width, &cut.rows, &times(&cut.heads, self.width));
            let last = StateBlocks::cut(last, self, &cut);
            let tasks = cut.sequences.iter().flat_map(|s| (0..self.heads).map(move |head| (s.clone(), head)));
            let tasks = tasks.zip(out).zip(last);
            let tasks = tasks.map(|(((sequences, head), out), last)| Task { source, initial, sequences, head, out, last });
            for_each(tasks.collect(), Task::run);
        });
    }
}
