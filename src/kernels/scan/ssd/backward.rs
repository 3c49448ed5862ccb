//! The gradients of some sequences and some heads of a group: states forward again, chunks last to first.

use super::chunk::{Chunk, head_of, load_state, longest, state_room, store_state, strips};
use super::decay::{Pairs, Steps};
use super::forward::fill_skips;
use super::lines::{DotScale, FromEnd, IntoC, IntoX, Spread, Strided, lead, turn};
use super::{Block, Inputs, SEGMENT, Skip, Ssd};
use crate::kernels::gemm::{MatMut, MatRef, Start, tile, with_scratch};
use crate::kernels::pieces::split;
use crate::kernels::simd::{Real, dispatch};
use std::ops::Range;

/// Which gradients are wanted; that of the states always is.
#[derive(Clone, Copy)]
pub(super) struct Wanted {
    pub x: bool,
    /// Of Δ or A.
    pub steps: bool,
    pub b: bool,
    pub c: bool,
    pub skip: bool,
}

/// Where a task writes.
pub(super) struct Out<'a, T> {
    /// The row of the partial sums below: the part of the sequences.
    pub part: usize,
    pub x: Option<Block<'a, T>>,
    pub dt: Option<Block<'a, T>>,
    pub b: Option<Block<'a, T>>,
    pub c: Option<Block<'a, T>>,
    /// (parts, heads) and (parts, numbers of D).
    pub a: Option<Block<'a, T>>,
    pub skip: Option<Block<'a, T>>,
    pub initial: Option<Block<'a, T>>,
}

pub(super) struct Task<'a, T> {
    pub ssd: &'a Ssd<'a, T>,
    pub x: &'a Inputs<'a, T>,
    pub initial: Option<&'a [T]>,
    pub dy: &'a [T],
    pub dlast: Option<&'a [T]>,
    pub wanted: Wanted,
    pub sequences: Range<usize>,
    pub heads: Range<usize>,
    pub out: Out<'a, T>,
}

/// A task at work.
struct Walk<'a, 'o, T> {
    ssd: &'a Ssd<'a, T>,
    inputs: &'a Inputs<'a, T>,
    dy_all: &'a [T],
    wanted: Wanted,
    heads: Range<usize>,
    out: &'a mut Out<'o, T>,
    chunk: Chunk<'a, T>,
    /// Decays between steps, and gradients of decay · score and of the scores, (j, i).
    decay: &'a mut [T],
    dmixed: &'a mut [T],
    dscores: &'a mut [T],
    /// Gradients of Bᵀ and Cᵀ, and S·dYᵀ, (states, steps).
    dbt: &'a mut [T],
    dct: &'a mut [T],
    products: &'a mut [T],
    /// dY and e∘dY (steps, width).
    dy: &'a mut [T],
    de: &'a mut [T],
    /// dYᵀ and (r∘X̄)ᵀ, (width, steps).
    dyt: &'a mut [T],
    xrt: &'a mut [T],
    /// dX̄, (steps, width).
    sums: &'a mut [T],
    /// A gradient of B or C, (steps, states).
    rows: &'a mut [T],
    /// Numbers of each step.
    dsteps: &'a mut [T],
    from_start: &'a mut [T],
    to_end: &'a mut [T],
    dots: &'a mut [T],
    room: &'a mut [T],
    /// D and its gradient, (heads, width).
    skips: &'a mut [T],
    dskips: &'a mut [T],
    /// Gradient of A, (heads).
    da: &'a mut [T],
    /// Gradients of the states behind the chunk, of each head.
    dstates: &'a mut [T],
}

impl<T: Real> Task<'_, T> {
    pub(super) fn run(self) {
        let Self { ssd, x, initial, dy, dlast, wanted, sequences, heads, mut out } = self;
        let longest = longest(ssd, &sequences);
        let chunks_of = |i: usize| ssd.sequences.range(i).len().div_ceil(ssd.chunk);
        let chunks = sequences.clone().map(chunks_of).max().unwrap_or(0);
        let (p, n, h, state) = (ssd.width, ssd.states, heads.len(), state_room(ssd));
        let (q, w) = (lead::<T>(longest), lead::<T>(p));
        let all = h * state;
        let (square, columns, wide, across) = (longest * q, n * q, longest * w, p * q);
        let sizes = [Chunk::room(ssd, longest), chunks.div_ceil(SEGMENT).max(1) * all, chunks.clamp(1, SEGMENT) * all];
        let own = [
            [square; 3].as_slice(),
            &[columns; 3],
            &[wide; 2],
            &[across; 2],
            &[wide, longest * lead::<T>(n)],
            &[q; 5],
            &[h * p, h * p, h, all],
        ]
        .concat();
        let own: [usize; 21] = std::array::from_fn(|i| own[i]);
        with_scratch(sizes.iter().chain(&own).sum(), |memory| {
            let (memory, own_memory) = memory.split_at_mut(sizes.iter().sum());
            let [memory, starts, slots] = split(memory, sizes);
            let [decay, dmixed, dscores, dbt, dct, products, dy_own, de, dyt, xrt, sums, rows, rest @ ..] =
                split(own_memory, own);
            let [dsteps, from_start, to_end, dots, room, skips, dskips, da, dstates] = rest;
            let chunk = Chunk::new(ssd, x, ssd.group_of(heads.start), longest, memory);
            fill_skips(ssd, &heads, skips);
            da.fill(T::ZERO);
            dskips.fill(T::ZERO);
            let out = &mut out;
            let (inputs, dy_all, dy) = (x, dy, dy_own);
            #[rustfmt::skip]
            let mut walk = Walk {
                ssd, inputs, dy_all, wanted, heads: heads.clone(), out, chunk, decay, dmixed, dscores, dbt, dct, products, dy, de,
                dyt, xrt, sums, rows, dsteps, from_start, to_end, dots, room, skips, dskips, da, dstates,
            };
            for sequence in sequences {
                for ((head, start), end) in
                    heads.clone().zip(starts.chunks_exact_mut(state)).zip(walk.dstates.chunks_exact_mut(state))
                {
                    load_state(ssd, head_of(ssd, initial, sequence, head), start);
                    load_state(ssd, head_of(ssd, dlast, sequence, head), end);
                }
                walk.sequence(sequence, starts, slots);
            }
            walk.finish();
        });
    }
}

impl<T: Real> Walk<'_, '_, T> {
    /// Walks a sequence back. `starts`: room for the states before each segment, the first of which is there; `slots`: for the
    /// states before each chunk of a segment.
    fn sequence(&mut self, sequence: usize, starts: &mut [T], slots: &mut [T]) {
        let all = self.dstates.len();
        let rows = self.ssd.sequences.range(sequence);
        let q = self.ssd.chunk;
        let chunks = rows.len().div_ceil(q);
        let chunk = |k: usize| rows.start + k * q..rows.end.min(rows.start + (k + 1) * q);
        let segments = chunks.div_ceil(SEGMENT);
        for s in 1..segments {
            let (before, after) = starts.split_at_mut(s * all);
            let after = &mut after[..all];
            after.copy_from_slice(&before[(s - 1) * all..]);
            for k in (s - 1) * SEGMENT..s * SEGMENT {
                self.advance(chunk(k), None, after);
            }
        }
        for s in (0..segments).rev() {
            let segment = s * SEGMENT..chunks.min((s + 1) * SEGMENT);
            slots[..all].copy_from_slice(&starts[s * all..(s + 1) * all]);
            for (slot, k) in segment.clone().skip(1).enumerate() {
                let (before, after) = slots.split_at_mut((slot + 1) * all);
                self.advance(chunk(k - 1), Some(&before[slot * all..]), &mut after[..all]);
            }
            for (slot, k) in segment.enumerate().rev() {
                self.chunk(chunk(k), &slots[slot * all..(slot + 1) * all]);
            }
        }
        if let Some(to) = &mut self.out.initial {
            let len = self.ssd.width * self.ssd.states;
            for (head, state) in self.heads.clone().zip(self.dstates.chunks_exact(state_room(self.ssd))) {
                store_state(self.ssd, state, to.line(sequence, head * len..(head + 1) * len));
            }
        }
    }

    /// The states of all heads behind a chunk, from those before it or in place.
    fn advance(&mut self, rows: Range<usize>, before: Option<&[T]>, states: &mut [T]) {
        let state = state_room(self.ssd);
        self.chunk.open(rows);
        for (i, head) in self.heads.clone().enumerate() {
            let part = i * state..(i + 1) * state;
            self.chunk.take(head);
            self.chunk.advance(before.map(|b| &b[part.clone()]), &mut states[part]);
        }
    }

    /// A chunk, given the states before it.
    fn chunk(&mut self, rows: Range<usize>, states: &[T]) {
        self.chunk.open(rows);
        self.chunk.score();
        self.dscores.fill(T::ZERO);
        self.dbt.fill(T::ZERO);
        self.dct.fill(T::ZERO);
        for (i, before) in states.chunks_exact(state_room(self.ssd)).enumerate() {
            self.head(i, before);
        }
        self.store_b();
        self.store_c();
    }

    /// Head `i` of the task in the open chunk, given its state before.
    fn head(&mut self, i: usize, before: &[T]) {
        let (ssd, wanted, head) = (self.ssd, self.wanted, self.heads.start + i);
        let (p, n, q) = (ssd.width, ssd.states, self.chunk.len());
        let first = self.chunk.rows.start;
        let chunk = &mut self.chunk;
        chunk.take(head);
        chunk.weigh(Some(self.decay));
        let chunk = &self.chunk;
        let (lq, lp) = (chunk.steps_lead, chunk.width_lead);
        let (start, end) = (&chunk.start[..q], &chunk.end[..q]);
        let from = chunk.of_head(self.dy_all, head);
        dispatch(Spread { from, first: None, second: start, lead: lp, once: self.dy, twice: self.de });
        turn(from, self.dyt, lq);
        let dyt = MatRef::with_strides(self.dyt, p, q, lq, 1);
        let state = state_room(ssd);
        let dstate = &mut self.dstates[i * state..(i + 1) * state];

        if wanted.b || wanted.c || wanted.steps {
            let xd = chunk.wide(chunk.xd);
            for strip in strips(q) {
                let to = chunk.square_mut(self.dmixed).row_range(strip.clone()).col_range(strip.start..q);
                tile(Start::Zero, xd.row_range(strip.clone()), dyt.col_range(strip.start..q), to);
            }
            dispatch(Pairs {
                rows: q,
                lead: lq,
                decay: self.decay,
                scores: chunk.scores,
                gradient: self.dmixed,
                dscores: self.dscores,
                room: self.room,
                dsteps: self.dsteps,
            });
        }
        if wanted.c || wanted.steps {
            tile(Start::Zero, chunk.state(before), dyt, chunk.columns_mut(self.products));
            let (products, sum, dots) = (&*self.products, &mut *self.dct, &mut self.from_start[..q]);
            dispatch(IntoC { products, lead: lq, states: n, e: start, c: chunk.ct, sum, dots });
        }
        if wanted.b {
            turn(Strided { data: chunk.xr, stride: lp, rows: q, width: p }, self.xrt, lq);
            let xrt = MatRef::with_strides(self.xrt, p, q, lq, 1);
            tile(Start::Current, chunk.state(dstate), xrt, chunk.columns_mut(self.dbt));
        }
        if wanted.x || wanted.steps || wanted.skip {
            tile(Start::Zero, chunk.b(), chunk.state(dstate), chunk.wide_mut(self.sums));
            let (rows, dots) = (&mut *self.sums, &mut self.to_end[..q]);
            dispatch(FromEnd { rows, weights: chunk.xr, lead: lp, width: p, factors: end, dots });
            let (mixed, dy) = (chunk.square(chunk.mixed), chunk.wide(self.dy));
            for strip in strips(q) {
                let behind = strip.start..q;
                let factors = mixed.row_range(strip.clone()).col_range(behind.clone());
                tile(Start::Current, factors, dy.row_range(behind), chunk.wide_mut(self.sums).row_range(strip));
            }
            let channels = i * p..(i + 1) * p;
            dispatch(IntoX {
                rows: self.sums,
                dy: self.dy,
                lead: lp,
                x: chunk.of_head(self.inputs.x, head),
                dt: &chunk.dt[..q],
                skip: ssd.skip.is_some().then_some(&self.skips[channels.clone()]),
                dots: &mut self.dots[..q],
                dskip: wanted.skip.then_some(&mut self.dskips[channels]),
                to: self.out.x.as_mut(),
                first,
                columns: head * p..(head + 1) * p,
            });
        }
        let along = dispatch(DotScale { x: dstate, y: before, factor: chunk.whole() });
        tile(Start::Current, chunk.columns(chunk.ct), chunk.wide(self.de), chunk.state_mut(dstate));
        if wanted.steps {
            self.da[i] += Steps {
                dt: &chunk.dt[..q],
                dsteps: &mut self.dsteps[..q],
                from_start: &self.from_start[..q],
                to_end: &self.to_end[..q],
                whole: chunk.whole() * along,
            }
            .run();
            if let Some(to) = &mut self.out.dt {
                let a = ssd.a[head];
                for (r, (&dot, &d)) in self.dots[..q].iter().zip(&*self.dsteps).enumerate() {
                    to.line(first + r, head..head + 1)[0] = a.fma(d, dot);
                }
            }
        }
    }

    /// dB = the sum of r∘(X̄·dS) over the heads, which is there, and that of the scores: dM·C.
    fn store_b(&mut self) {
        let Some(to) = &mut self.out.b else { return };
        let (chunk, n) = (&self.chunk, self.ssd.states);
        let (q, wide) = (chunk.len(), lead::<T>(n));
        turn(Strided { data: self.dbt, stride: chunk.steps_lead, rows: n, width: q }, self.rows, wide);
        let (dscores, c) = (chunk.square(self.dscores), chunk.c());
        for strip in strips(q) {
            let behind = strip.start..q;
            let factors = dscores.row_range(strip.clone()).col_range(behind.clone());
            let sum = MatMut::with_strides(self.rows, q, n, wide, 1).row_range(strip);
            tile(Start::Current, factors, c.row_range(behind), sum);
        }
        store_rows(chunk, self.rows, wide, to);
    }

    /// dC = the sum of e∘(dY·S) over the heads, which is there, and that of the scores: dMᵀ·B.
    fn store_c(&mut self) {
        let Some(to) = &mut self.out.c else { return };
        let (chunk, n) = (&self.chunk, self.ssd.states);
        let (q, wide) = (chunk.len(), lead::<T>(n));
        let (dscores, bt) = (chunk.square(self.dscores), chunk.columns(chunk.bt));
        for strip in strips(q) {
            let before = 0..strip.end;
            let sum = chunk.columns_mut(self.dct).col_range(strip.clone());
            tile(Start::Current, bt.col_range(before.clone()), dscores.row_range(before).col_range(strip), sum);
        }
        turn(Strided { data: self.dct, stride: chunk.steps_lead, rows: n, width: q }, self.rows, wide);
        store_rows(chunk, self.rows, wide, to);
    }

    /// Writes what was summed over all sequences.
    fn finish(&mut self) {
        let (part, p) = (self.out.part, self.ssd.width);
        if let Some(to) = &mut self.out.a {
            to.line(part, self.heads.clone()).copy_from_slice(self.da);
        }
        if let Some(to) = &mut self.out.skip {
            match self.ssd.skip {
                Some(Skip::Head(_)) => {
                    for (to, from) in to.line(part, self.heads.clone()).iter_mut().zip(self.dskips.chunks_exact(p)) {
                        *to = from.iter().copied().sum();
                    }
                }
                _ => to.line(part, self.heads.start * p..self.heads.end * p).copy_from_slice(self.dskips),
            }
        }
    }
}

/// Writes (steps, states) to the rows of the open chunk.
fn store_rows<T: Real>(chunk: &Chunk<'_, T>, from: &[T], lead: usize, to: &mut Block<'_, T>) {
    let n = chunk.ssd.states;
    let columns = chunk.group * n..(chunk.group + 1) * n;
    for (row, from) in chunk.rows.clone().zip(from.chunks_exact(lead)) {
        to.line(row, columns.clone()).copy_from_slice(&from[..n]);
    }
}
