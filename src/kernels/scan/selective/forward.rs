//! Some sequences by some channels, tile by tile.

use super::{Inputs, SelectiveScan, TILE};
use crate::kernels::gemm::with_scratch;
use crate::kernels::scan::columns::Block;
use crate::kernels::scan::diagonal::forward::{Part, room};
use crate::kernels::scan::diagonal::{Ahead, Couplings};
use crate::kernels::scan::lanes::{lanes_of, line, put, put_lanes};
use crate::kernels::simd::{Kernel, Lanes, Real, dispatch, math};
use std::ops::Range;

pub(super) struct Task<'a, T> {
    pub(super) scan: &'a SelectiveScan<'a, T>,
    pub(super) x: &'a Inputs<'a, T>,
    pub(super) initial: Option<&'a [T]>,
    pub(super) sequences: Range<usize>,
    /// All of one group.
    pub(super) channels: Range<usize>,
    pub(super) out: Block<'a, T>,
    pub(super) last: Option<Block<'a, T>>,
    pub(super) starts: Option<Block<'a, T>>,
}

/// A task with its buffer, [`room`] for each vector of channels. It is taken before the instruction set is chosen: what runs inside a
/// closure would not be compiled for it.
struct Run<'a, 'b, T> {
    task: Task<'a, T>,
    buffer: &'b mut [T],
}

impl<T: Real> Kernel<T> for Run<'_, '_, T> {
    type Output = ();
    #[inline(always)]
    fn run<V: Lanes<T>>(self) {
        let Self { task: Task { scan, x, initial, sequences, channels, mut out, mut last, mut starts }, buffer } = self;
        let (d, n, stop) = (scan.channels, scan.states, channels.end);
        let (group, room) = (channels.start / (d / scan.groups), room::<T>(n));
        for (at, part) in channels.clone().step_by(V::N).zip(buffer.chunks_exact_mut(room)) {
            Part::new::<V>(part, n).begin::<V>(scan.constants(), at..stop.min(at + V::N));
        }
        let mut index = scan.first_tile(sequences.start);
        for sequence in sequences {
            for (at, part) in channels.clone().step_by(V::N).zip(buffer.chunks_exact_mut(room)) {
                let state = Part::new::<V>(part, n).state;
                match initial {
                    Some(h) => lanes_of::<T, V>(&h[sequence * d * n..(sequence + 1) * d * n], at..stop.min(at + V::N), n, state),
                    None => state.fill(T::ZERO),
                }
            }
            let rows = scan.sequences.range(sequence);
            for first in rows.clone().step_by(TILE) {
                let steps = (rows.end - first).min(TILE);
                let places = scan.places(first, group);
                let couplings = Couplings { b: x.b, c: x.c, places: &places[..steps] };
                for (at, part) in channels.clone().step_by(V::N).zip(buffer.chunks_exact_mut(room)) {
                    let (mut part, end) = (Part::new::<V>(part, n), stop.min(at + V::N));
                    for t in 0..steps {
                        let place = (first + t) * d + at;
                        line::<T, V>(Some(x.delta), place, end - at).store(&mut part.delta[t * V::N..]);
                        line::<T, V>(Some(x.u), place, end - at).store(&mut part.u[t * V::N..]);
                    }
                    if let Some(starts) = &mut starts {
                        put_lanes::<T, V>(part.state, n, starts.line(index, at * n..stop.min(at + V::N) * n));
                    }
                    let next = first + TILE;
                    let of = [x.delta, x.u, x.z.unwrap_or_default(), &[]];
                    let soon = if next < rows.end { Ahead { of, first: next * d + at, stride: d } } else { Ahead::NONE };
                    part.tile::<V>(scan.softplus, couplings, soon);
                    for t in 0..steps {
                        let mut y = V::load(&part.y[t * V::N..]);
                        if x.z.is_some() {
                            y = y.mul(math::silu::<T, V>(line(x.z, (first + t) * d + at, end - at)));
                        }
                        put(y, out.line(first + t, at..end));
                    }
                }
                index += 1;
            }
            if let Some(last) = &mut last {
                for (at, part) in channels.clone().step_by(V::N).zip(buffer.chunks_exact_mut(room)) {
                    let to = last.line(sequence, at * n..stop.min(at + V::N) * n);
                    put_lanes::<T, V>(Part::new::<V>(part, n).state, n, to);
                }
            }
        }
    }
}

impl<T: Real> Task<'_, T> {
    /// Runs on the calling thread.
    pub(super) fn run(self) {
        let vectors = self.channels.len().div_ceil(T::LANES);
        with_scratch(vectors * room::<T>(self.scan.states), |buffer| dispatch(Run { task: self, buffer }));
    }
}
