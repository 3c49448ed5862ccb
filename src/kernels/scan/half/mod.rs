//! Scans of bf16: arrays over the rows are held in bf16, states and parameters in f32, and everything is computed in f32.
//!
//! Causal convolution, selective scan, ssd and mamba3 have `forward_bf16` and `backward_bf16` beside their plain forms. Arrays
//! over the rows (inputs, results and the gradients of both) are bits of bf16, see [`bf16`](crate::kernels::bf16). All else is
//! f32: parameters, states before the first and after the last rows, and their gradients. A number is rounded once, when it is
//! written; sums over channels, heads and rows are complete before that.
//!
//! # How
//! The convolution loads and stores bf16 in its own loop. For the others time is cut into blocks. The rows of a block are made
//! f32 in memory that stays in the caches, the plain kernel runs on them with the states carried from block to block, and its
//! results are rounded on the way out. So memory moves half the bytes, and there is one kernel. Backward, the states before the
//! blocks are computed first (the selective scan keeps some anyway); then blocks are walked from the last to the first with the
//! gradients of the states carried, and the gradients of parameters are added in that order. Blocks of the selective scan are
//! some channels wide and stay in the second-level cache; those of ssd and mamba3, which are bound by arithmetic, have all
//! heads. Short sequences share a block.
//!
//! # Exactness
//! A result is that of the plain kernel on the same numbers, rounded to nearest: the same bits for convolution, selective scan
//! and ssd, whose blocks end where tiles and chunks end. Those of mamba3 carry the state in another form, and angles in f32:
//! f32 noise, seen in a rounded number only where that was near the middle of two. Gradients are within the noise of f32 before
//! they are rounded. With 8 bits of significand, rounding is off by 2^-8 of a number at most.
//!
//! # Cost
//! That of the plain form with half the memory traffic. Blocks add 10 bytes through the caches for each number that is
//! converted. A task holds the f32 form of a block: 128 rows of 128 channels, or of all heads 256 rows forward and 1024 backward.
//! Backward, ssd and mamba3 compute the states of sequences of several blocks once more.

mod blocks;
mod convert;
mod mamba3;
mod selective;
mod ssd;
#[cfg(test)]
mod tests;
mod walk;

use crate::kernels::scan::columns::Block;
use rayon::prelude::*;
use std::ops::Range;
use walk::{Place, Stream};

/// Rows of a block of heads, about.
const ROWS: usize = 256;
/// And on the way back, where the states before each block but the first are computed once more.
const ROWS_BACK: usize = 1024;

/// Whole chunks, so that blocks do not move the ends of chunks.
fn rows_there(chunk: usize) -> usize {
    ROWS.next_multiple_of(chunk)
}

fn rows_back(chunk: usize) -> usize {
    ROWS_BACK.next_multiple_of(chunk)
}

/// All columns as one range.
#[allow(clippy::single_range_in_vec_init)]
fn alone(width: usize) -> [Range<usize>; 1] {
    [0..width]
}

/// Arrays of which every column is taken.
fn whole<'a, const S: usize>(data: [&'a [u16]; S], widths: [usize; S]) -> [Stream<'a>; S] {
    std::array::from_fn(|i| Stream::new(data[i], widths[i], 0..widths[i]))
}

/// Where each group of rows writes the gradients that are wanted.
fn places<'a, const S: usize>(
    data: [Option<&'a mut [u16]>; S],
    widths: [usize; S],
    rows: &[Range<usize>],
) -> [std::vec::IntoIter<Place<'a>>; S] {
    let mut widths = widths.into_iter();
    data.map(|data| {
        let width = widths.next().unwrap_or(0);
        let blocks = Block::cut_some(data.filter(|_| width > 0), width, rows, &alone(width));
        blocks.into_iter().map(|block| Place::half(block, 0..width)).collect::<Vec<_>>().into_iter()
    })
}

/// Runs every task by itself: there are few, and each takes long.
fn run_all<I: Send>(tasks: Vec<I>, work: impl Fn(I) + Sync + Send) {
    if tasks.len() <= 1 {
        tasks.into_iter().for_each(work);
    } else {
        tasks.into_par_iter().with_max_len(1).for_each(work);
    }
}
