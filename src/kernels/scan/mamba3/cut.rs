//! How the work is cut. Depends on the sizes alone.

use super::Mamba3;
use crate::kernels::simd::Real;
use std::ops::Range;

/// Parts that the sequences are cut into at most.
const PARTS: usize = 64;
/// Tasks that backward work is cut into, about, while each has [`HEADS`] heads.
const TASKS: usize = 16;
/// Heads of a backward task: each task sums gradients of Q and K over its heads.
const HEADS: [usize; 2] = [2, 8];

/// Some sequences by some heads of a group.
pub(super) struct Cut {
    pub sequences: Vec<Range<usize>>,
    /// Rows of those sequences.
    pub rows: Vec<Range<usize>>,
    pub heads: Vec<Range<usize>>,
    /// Blocks of heads of each group.
    pub blocks: usize,
}

impl Cut {
    pub(super) fn new<T: Real>(scan: &Mamba3<'_, T>, backward: bool) -> Self {
        let (per_group, count) = (scan.heads / scan.groups, scan.sequences.count());
        let most = if backward { (count * scan.heads / TASKS).clamp(HEADS[0], HEADS[1]) } else { 1 };
        let blocks = per_group.div_ceil(most);
        let block = |g: usize, k: usize| g * per_group + per_group * k / blocks..g * per_group + per_group * (k + 1) / blocks;
        let heads = (0..scan.groups).flat_map(|g| (0..blocks).map(move |k| block(g, k))).collect();
        let parts = count.min(PARTS);
        let sequences: Vec<Range<usize>> = (0..parts).map(|p| count * p / parts..count * (p + 1) / parts).collect();
        let of = |s: &Range<usize>| scan.sequences.range(s.start).start..scan.sequences.range(s.end - 1).end;
        let rows = sequences.iter().map(of).collect();
        Self { sequences, rows, heads, blocks }
    }
}

/// Ranges times a factor: columns of heads as columns of their numbers.
pub(super) fn times(ranges: &[Range<usize>], by: usize) -> Vec<Range<usize>> {
    ranges.iter().map(|r| r.start * by..r.end * by).collect()
}
