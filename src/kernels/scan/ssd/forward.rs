//! The chunked scan of some sequences and some heads of a group.

use super::chunk::{Chunk, head_of, load_state, longest, state_room, store_state, strips};
use super::lines::{Finish, scale_rows};
use super::{Block, Inputs, Ssd};
use crate::kernels::gemm::{Start, tile, with_scratch};
use crate::kernels::pieces::split;
use crate::kernels::simd::{Real, dispatch};
use std::ops::Range;

pub(super) struct Task<'a, T> {
    pub ssd: &'a Ssd<'a, T>,
    pub x: &'a Inputs<'a, T>,
    pub initial: Option<&'a [T]>,
    pub sequences: Range<usize>,
    pub heads: Range<usize>,
    /// Rows of the sequences, channels of the heads; without it only states are computed.
    pub y: Option<Block<'a, T>>,
    /// The sequences, numbers of the states of the heads.
    pub last: Option<Block<'a, T>>,
}

impl<T: Real> Task<'_, T> {
    pub(super) fn run(self) {
        let Self { ssd, x, initial, sequences, heads, mut y, mut last } = self;
        let longest = longest(ssd, &sequences);
        let (p, state) = (ssd.width, state_room(ssd));
        let wide = longest * super::lines::lead::<T>(p);
        let sizes = [Chunk::room(ssd, longest), heads.len() * state, wide, heads.len() * p];
        with_scratch(sizes.iter().sum(), |memory| {
            let [memory, states, sums, skips] = split(memory, sizes);
            let mut chunk = Chunk::new(ssd, x, ssd.group_of(heads.start), longest, memory);
            fill_skips(ssd, &heads, skips);
            for sequence in sequences {
                let rows = ssd.sequences.range(sequence);
                for (head, state) in heads.clone().zip(states.chunks_exact_mut(state)) {
                    load_state(ssd, head_of(ssd, initial, sequence, head), state);
                }
                for first in rows.clone().step_by(ssd.chunk) {
                    chunk.open(first..rows.end.min(first + ssd.chunk));
                    if y.is_some() {
                        chunk.score();
                    }
                    for ((head, state), skip) in heads.clone().zip(states.chunks_exact_mut(state)).zip(skips.chunks_exact(p)) {
                        chunk.take(head);
                        let Some(y) = &mut y else {
                            chunk.advance(None, state);
                            continue;
                        };
                        chunk.weigh(None);
                        tile(Start::Zero, chunk.c(), chunk.state(state), chunk.wide_mut(sums));
                        scale_rows(sums, chunk.width_lead, p, &chunk.start[..chunk.len()]);
                        let (mixed, xd) = (chunk.square(chunk.mixed).t(), chunk.wide(chunk.xd));
                        for strip in strips(chunk.len()) {
                            let before = 0..strip.end;
                            let factors = mixed.row_range(strip.clone()).col_range(before.clone());
                            tile(Start::Current, factors, xd.row_range(before), chunk.wide_mut(sums).row_range(strip));
                        }
                        dispatch(Finish {
                            rows: sums,
                            lead: chunk.width_lead,
                            x: chunk.of_head(x.x, head),
                            skip: ssd.skip.is_some().then_some(skip),
                            to: y,
                            first,
                            columns: head * p..(head + 1) * p,
                        });
                        chunk.advance(None, state);
                    }
                }
                if let Some(last) = &mut last {
                    let len = p * ssd.states;
                    for (head, state) in heads.clone().zip(states.chunks_exact(state)) {
                        store_state(ssd, state, last.line(sequence, head * len..(head + 1) * len));
                    }
                }
            }
        });
    }
}

/// D of every channel of some heads.
pub(super) fn fill_skips<T: Real>(ssd: &Ssd<'_, T>, heads: &Range<usize>, to: &mut [T]) {
    for (head, to) in heads.clone().zip(to.chunks_exact_mut(ssd.width)) {
        to.iter_mut().enumerate().for_each(|(channel, d)| *d = ssd.skip_at(head, channel));
    }
}
