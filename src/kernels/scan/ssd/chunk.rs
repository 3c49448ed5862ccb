//! What the forward and the backward pass do with a chunk alike.

use super::decay::Weigh;
use super::lines::{Scale, Spread, Strided, lead, turn};
use super::{Inputs, ROWS, Ssd};
use crate::kernels::gemm::{MatMut, MatRef, Start, tile};
use crate::kernels::pieces::split;
use crate::kernels::scan::edges::edges;
use crate::kernels::simd::{Real, dispatch};
use std::ops::Range;

/// The chunk that is open, and the head of it.
pub(super) struct Chunk<'a, T> {
    pub ssd: &'a Ssd<'a, T>,
    pub x: &'a Inputs<'a, T>,
    pub group: usize,
    pub rows: Range<usize>,
    /// Row strides of matrices with a chunk's steps and with a head's channels in a row.
    pub steps_lead: usize,
    pub width_lead: usize,
    /// Bᵀ and Cᵀ, (states, steps).
    pub bt: &'a mut [T],
    pub ct: &'a mut [T],
    /// B_j·C_i and that times the decay from j to i, (j, i) for i >= j.
    pub scores: &'a mut [T],
    pub mixed: &'a mut [T],
    /// Δ and Δ·A.
    pub dt: &'a mut [T],
    steps: &'a mut [T],
    /// Decays from the start of the chunk through a step, and from behind a step to the end.
    pub start: &'a mut [T],
    pub end: &'a mut [T],
    room: &'a mut [T],
    /// X̄ = Δ∘X and r∘X̄, (steps, width).
    pub xd: &'a mut [T],
    pub xr: &'a mut [T],
}

/// Strips of a matrix of `rows` rows: those from `strip.start` on are not 0 in columns from there on.
pub(super) fn strips(rows: usize) -> impl Iterator<Item = Range<usize>> {
    (0..rows).step_by(ROWS).map(move |start| start..rows.min(start + ROWS))
}

/// Numbers of a state in a task's memory: transposed, (states, width), rows apart by a lead and zeros in between.
pub(super) fn state_room<T: Real>(ssd: &Ssd<'_, T>) -> usize {
    ssd.states * lead::<T>(ssd.width)
}

/// The most steps that a chunk has.
pub(super) fn longest<T: Real>(ssd: &Ssd<'_, T>, sequences: &Range<usize>) -> usize {
    sequences.clone().map(|i| ssd.sequences.range(i).len()).max().unwrap_or(0).min(ssd.chunk)
}

impl<'a, T: Real> Chunk<'a, T> {
    fn sizes(ssd: &Ssd<'_, T>, longest: usize) -> [usize; 11] {
        let (q, w) = (lead::<T>(longest), lead::<T>(ssd.width));
        let (columns, square, rows) = (ssd.states * q, longest * q, longest * w);
        [columns, columns, square, square, q, q, q, q, 2 * q, rows, rows]
    }

    /// Numbers of memory for chunks of at most `longest` steps.
    pub(super) fn room(ssd: &Ssd<'_, T>, longest: usize) -> usize {
        Self::sizes(ssd, longest).iter().sum()
    }

    pub(super) fn new(ssd: &'a Ssd<'a, T>, x: &'a Inputs<'a, T>, group: usize, longest: usize, memory: &'a mut [T]) -> Self {
        let [bt, ct, scores, mixed, dt, steps, start, end, room, xd, xr] = split(memory, Self::sizes(ssd, longest));
        let (steps_lead, width_lead) = (lead::<T>(longest), lead::<T>(ssd.width));
        Self { ssd, x, group, rows: 0..0, steps_lead, width_lead, bt, ct, scores, mixed, dt, steps, start, end, room, xd, xr }
    }

    /// Steps of the open chunk.
    pub(super) fn len(&self) -> usize {
        self.rows.len()
    }

    fn shared(&self, data: &'a [T]) -> Strided<'a, T> {
        let (n, stride) = (self.ssd.states, self.ssd.groups * self.ssd.states);
        Strided { data: &data[self.rows.start * stride + self.group * n..], stride, rows: self.len(), width: n }
    }

    /// B of the open chunk as it lies, (steps, states).
    pub(super) fn b(&self) -> MatRef<'a, T> {
        view(self.shared(self.x.b))
    }

    /// C, (steps, states).
    pub(super) fn c(&self) -> MatRef<'a, T> {
        view(self.shared(self.x.c))
    }

    /// A head of the rows of x, or of what lies like x.
    pub(super) fn of_head(&self, data: &'a [T], head: usize) -> Strided<'a, T> {
        let (p, stride) = (self.ssd.width, self.ssd.heads * self.ssd.width);
        Strided { data: &data[self.rows.start * stride + head * p..], stride, rows: self.len(), width: p }
    }

    /// Opens a chunk as far as states need it: Bᵀ.
    pub(super) fn open(&mut self, rows: Range<usize>) {
        self.rows = rows;
        turn(self.shared(self.x.b), self.bt, self.steps_lead);
    }

    /// And Cᵀ and the scores.
    pub(super) fn score(&mut self) {
        turn(self.shared(self.x.c), self.ct, self.steps_lead);
        let (q, lead, b) = (self.len(), self.steps_lead, self.b());
        let ct = MatRef::with_strides(self.ct, self.ssd.states, q, lead, 1);
        for strip in strips(q) {
            let columns = strip.start..q;
            let to = MatMut::with_strides(&mut self.scores[strip.start * lead..], strip.len(), q, lead, 1);
            tile(Start::Zero, b.row_range(strip), ct.col_range(columns.clone()), to.col_range(columns));
        }
    }

    /// Takes up a head: Δ, the decays at the edges, X̄ and r∘X̄.
    pub(super) fn take(&mut self, head: usize) {
        let (q, h) = (self.len(), self.ssd.heads);
        let column = self.x.dt[self.rows.start * h..].iter().skip(head).step_by(h);
        let a = self.ssd.a[head];
        for ((dt, step), &x) in self.dt.iter_mut().zip(&mut self.steps[..q]).zip(column) {
            *dt = x;
            *step = x * a;
        }
        self.steps[q..].fill(T::ZERO);
        edges(&self.steps[..q], &mut self.start[..q], &mut self.end[..q]);
        let from = self.of_head(self.x.x, head);
        let (first, second) = (Some(&self.dt[..q]), &self.end[..q]);
        dispatch(Spread { from, first, second, lead: self.width_lead, once: self.xd, twice: self.xr });
    }

    /// Decays between the steps of the head (kept if there is room for them), and the scores times them.
    pub(super) fn weigh(&mut self, decay: Option<&mut [T]>) {
        let (rows, lead) = (self.len(), self.steps_lead);
        Weigh { steps: self.steps, rows, lead, scores: self.scores, room: self.room, decay, mixed: self.mixed }.run();
    }

    /// The decay over the whole chunk.
    pub(super) fn whole(&self) -> T {
        self.start[self.len() - 1]
    }

    /// The state behind the chunk, S' = e_last·S + Bᵀ·(r∘X̄), from `before` or in place.
    pub(super) fn advance(&self, before: Option<&[T]>, state: &mut [T]) {
        dispatch(Scale { factor: self.whole(), from: before, to: state });
        let xr = self.wide(self.xr);
        tile(Start::Current, self.columns(self.bt), xr, self.state_mut(state));
    }

    /// A matrix (steps, width) of this memory.
    pub(super) fn wide<'b>(&self, data: &'b [T]) -> MatRef<'b, T> {
        MatRef::with_strides(data, self.len(), self.ssd.width, self.width_lead, 1)
    }

    pub(super) fn wide_mut<'b>(&self, data: &'b mut [T]) -> MatMut<'b, T> {
        MatMut::with_strides(data, self.len(), self.ssd.width, self.width_lead, 1)
    }

    /// A matrix (steps, steps).
    pub(super) fn square<'b>(&self, data: &'b [T]) -> MatRef<'b, T> {
        MatRef::with_strides(data, self.len(), self.len(), self.steps_lead, 1)
    }

    pub(super) fn square_mut<'b>(&self, data: &'b mut [T]) -> MatMut<'b, T> {
        MatMut::with_strides(data, self.len(), self.len(), self.steps_lead, 1)
    }

    /// A matrix (states, steps).
    pub(super) fn columns<'b>(&self, data: &'b [T]) -> MatRef<'b, T> {
        MatRef::with_strides(data, self.ssd.states, self.len(), self.steps_lead, 1)
    }

    pub(super) fn columns_mut<'b>(&self, data: &'b mut [T]) -> MatMut<'b, T> {
        MatMut::with_strides(data, self.ssd.states, self.len(), self.steps_lead, 1)
    }

    /// A state, (states, width).
    pub(super) fn state<'b>(&self, data: &'b [T]) -> MatRef<'b, T> {
        MatRef::with_strides(data, self.ssd.states, self.ssd.width, self.width_lead, 1)
    }

    pub(super) fn state_mut<'b>(&self, data: &'b mut [T]) -> MatMut<'b, T> {
        MatMut::with_strides(data, self.ssd.states, self.ssd.width, self.width_lead, 1)
    }
}

fn view<T: Real>(m: Strided<'_, T>) -> MatRef<'_, T> {
    MatRef::with_strides(m.data, m.rows, m.width, m.stride, 1)
}

/// A state (width, states) into a task's memory, or zeros.
pub(super) fn load_state<T: Real>(ssd: &Ssd<'_, T>, from: Option<&[T]>, to: &mut [T]) {
    to.fill(T::ZERO);
    if let Some(data) = from {
        let from = Strided { data, stride: ssd.states, rows: ssd.width, width: ssd.states };
        turn(from, to, lead::<T>(ssd.width));
    }
}

/// And back.
pub(super) fn store_state<T: Real>(ssd: &Ssd<'_, T>, from: &[T], to: &mut [T]) {
    let from = Strided { data: from, stride: lead::<T>(ssd.width), rows: ssd.states, width: ssd.width };
    turn(from, to, ssd.states);
}

/// The part of a head in states (sequences, heads, width, states).
pub(super) fn head_of<'a, T: Real>(ssd: &Ssd<'_, T>, states: Option<&'a [T]>, sequence: usize, head: usize) -> Option<&'a [T]> {
    let len = ssd.width * ssd.states;
    states.map(|s| &s[(sequence * ssd.heads + head) * len..][..len])
}
