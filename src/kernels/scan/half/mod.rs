//! Scans of bf16: arrays over the rows are held in bf16, states and parameters in f32, and everything is computed in f32.
//!
//! Every operation that can be run by name has forms of bf16 beside its plain ones. Arrays over the rows (steps, cells, tokens: inputs,
//! results and the gradients of both) are bits of bf16, see [`bf16`](crate::kernels::bf16). All else is f32: parameters, states before the
//! first and after the last rows, and their gradients. A number is rounded once, when it is written; sums over channels, heads, rows and
//! directions are complete before that.
//!
//! | operation | in bf16 | forms | how |
//! |---|---|---|---|
//! | causal convolution | x, y | `forward`, `backward`, `step` | its own loop |
//! | selective scan | u, δ, B, C, z, y | `forward`, `backward`, `step` | blocks |
//! | ssd | x, Δ, B, C, y | `forward`, `backward`, `step` | blocks |
//! | mamba3 | all but biases, mixes and norm | `forward`, `backward`, `step` | blocks |
//! | s4d | u, y, K | `forward`, `backward`, `kernel`, `kernel_backward`, `step` | its own loop |
//! | s4 (dplr) | u, y, K | `kernel`, `backward`, `step` | its own loop, in f64 |
//! | long convolution | u, y | `forward`, `backward` | its own loop |
//! | cross-scan, cross-merge | x, xs; ys, y | `scan`, `merge` | bits; f32 in bands |
//! | SS2D | u, δ, B, C, y | `forward`, `backward` | its own loop |
//! | state fusion | h, out | `forward`, `backward` | its own loop |
//! | SoftSort | scores, P | `forward`, `backward` | row by row of P |
//!
//! The names end in `_bf16`. Low-rank transitions and products with P ([`SoftSort::apply`](super::softsort::SoftSort::apply)) are f32 or f64:
//! they are products of matrices, and cannot be run by name.
//!
//! # How
//! Where a kernel's own loop fetches rows into vectors, lines or planes, it fetches bf16 instead, and stores it. A cross-scan moves bits and
//! knows no numbers; a cross-merge and SS2D, whose results are sums over directions in orders of their own, add up in f32, a band of a map
//! that stays in the first-level cache or 32 channels of a map that stay in the second. For the others time is cut into blocks. The rows of
//! a block are made f32 in memory that stays in the caches, the plain kernel runs on them with the states carried from block to block, and
//! its results are rounded on the way out. So memory moves half the bytes, and there is one kernel. Backward, the states before the blocks
//! are computed first (the selective scan keeps some anyway); then blocks are walked from the last to the first with the gradients of the
//! states carried, and the gradients of parameters are added in that order. Blocks of the selective scan are some channels wide and stay in
//! the second-level cache; those of ssd and mamba3, which are bound by arithmetic, have all heads. Short sequences share a block.
//!
//! # Exactness
//! A result is that of the plain kernel on the same numbers, rounded to nearest: the same bits for all but mamba3, whose blocks carry the
//! state in another form, and angles in f32: f32 noise, seen in a rounded number only where that was near the middle of two. So are
//! gradients, rounded or not, of the kernels with their own loops; of those in blocks they are within the noise of f32 before they are
//! rounded. With 8 bits of significand, rounding is off by 2^-8 of a number at most. K of s4 is rounded to f32 first. A cross-scan keeps
//! every bit, of NaN too.
//!
//! # Cost
//! That of the plain form with half the memory traffic. Blocks add 10 bytes through the caches for each number that is
//! converted. A task holds the f32 form of a block: 128 rows of 128 channels, or of all heads 256 rows forward and 1024 backward.
//! Backward, ssd and mamba3 compute the states of sequences of several blocks once more, and a task of SS2D holds the gradient of u of
//! up to 128 channels of a map in f32.

mod blocks;
mod convert;
mod mamba3;
mod selective;
mod ssd;
mod step;
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
