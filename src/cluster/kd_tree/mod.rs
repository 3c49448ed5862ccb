//! Neighbours of points: the nearest k and all within a radius, exactly.
//!
//! Up to [`TREE_DIMENSIONS`] coordinates the points are the leaves of a kd-tree; with more, where boxes no longer exclude anything,
//! they are one flat run of blocks that queries pass in tiles. Both give the same neighbours, bit for bit: a squared distance is the
//! sum of squared differences in the order of the columns, rounded after every step, and equal distances are ordered by row.
//!
//! | file | what |
//! |---|---|
//! | `mod.rs` | the points in blocks, boxes and their distances |
//! | `build.rs` | splitting |
//! | `nearest.rs` | the nearest k |
//! | `within.rs` | all within a radius, and whether there are enough |
//! | `flat.rs` | passes over all points by tiles of queries |
//!
//! Source: Bentley 1975 (kd-tree), Friedman, Bentley & Finkel 1977 (leaf buckets, bounds); what is ours: leaves in vectors of 8 points,
//! buckets whose sizes are whole vectors, and a first bound for a query from the one before it.

mod build;
mod flat;
mod nearest;
#[cfg(test)]
pub(crate) mod tests;
mod within;

pub(crate) use flat::Take;
pub use nearest::Nearest;

use super::{ClusterError, Points};
use crate::kernels::simd::Lanes;

/// Coordinates up to which a tree is built; with more, neighbours are found by passing all points.
pub const TREE_DIMENSIONS: usize = 15;
/// Points of a block: the lanes of a vector.
pub(crate) const BLOCK: usize = 8;
/// Points of a leaf at most.
const LEAF: usize = 32;
/// Consecutive queries that one task works on. It decides what a query learns from the one before it, so it must not depend on threads.
pub(crate) const PIECE: usize = 256;

/// A part of the tree: places `begin..end`. Its left child is the next node, its right child node `right`; a leaf has `right == 0`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Node {
    pub begin: u32,
    pub end: u32,
    pub right: u32,
}

/// `n` points with `d` coordinates, ready for queries. A *place* is a position in the order of the tree, a *row* one in the input.
#[derive(Debug, Clone, PartialEq)]
pub struct KdTree {
    n: usize,
    d: usize,
    flat: bool,
    /// Coordinate j of the points of block b is at `(b · d + j) · 8`; places behind the last hold infinity.
    blocks: Vec<f64>,
    /// Row of each place; `u32::MAX` behind the last.
    rows: Vec<u32>,
    /// Place of each row.
    places: Vec<u32>,
    /// In preorder.
    nodes: Vec<Node>,
    /// Of each node the least coordinates (d) and the largest (d).
    boxes: Vec<f64>,
}

impl KdTree {
    /// A tree of `points`, or their blocks alone when they have more than [`TREE_DIMENSIONS`] coordinates.
    /// Errors: more than 2³¹ points; coordinates so far apart that a squared distance overflows.
    /// Cost: O(n d log n) time, a copy of the points and about n · d / 8 numbers of boxes.
    pub fn new(points: Points) -> Result<Self, ClusterError> {
        Self::build(points, points.d() > TREE_DIMENSIONS, LEAF)
    }

    /// The points alone, in the order of their rows.
    pub fn flat(points: Points) -> Result<Self, ClusterError> {
        Self::build(points, true, LEAF)
    }

    pub fn n(&self) -> usize {
        self.n
    }

    pub fn d(&self) -> usize {
        self.d
    }

    /// Whether there is no tree.
    pub fn is_flat(&self) -> bool {
        self.flat
    }

    /// The points as they came: (n, d).
    pub fn points(&self) -> Vec<f64> {
        let mut values = vec![0.0; self.n * self.d];
        for place in 0..self.n {
            let row = self.rows[place] as usize;
            self.copy(place, &mut values[row * self.d..(row + 1) * self.d]);
        }
        values
    }

    pub(crate) fn rows(&self) -> &[u32] {
        &self.rows[..self.n]
    }

    pub(crate) fn places(&self) -> &[u32] {
        &self.places
    }

    pub(crate) fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    pub(crate) fn blocks(&self) -> &[f64] {
        &self.blocks
    }

    /// The block `b`: coordinate after coordinate of 8 points.
    #[inline(always)]
    pub(crate) fn block(&self, b: usize) -> &[f64] {
        &self.blocks[b * self.d * BLOCK..(b + 1) * self.d * BLOCK]
    }

    /// Writes the coordinates of the point at `place`.
    #[inline(always)]
    pub(crate) fn copy(&self, place: usize, to: &mut [f64]) {
        let block = self.block(place / BLOCK);
        for (to, from) in to.iter_mut().zip(block.chunks_exact(BLOCK)) {
            *to = from[place % BLOCK];
        }
    }

    /// The points at `places`, row after row.
    pub(crate) fn gather(&self, places: std::ops::Range<usize>) -> Vec<f64> {
        let mut values = vec![0.0; places.len() * self.d];
        for (place, to) in places.zip(values.chunks_exact_mut(self.d)) {
            self.copy(place, to);
        }
        values
    }

    /// No point of the node is nearer to `query` than this (squared). Exact in floating point too: every step of the sum is monotone in
    /// the coordinate, and a corner of the box is summed in the same order as a point.
    #[inline(always)]
    pub(crate) fn nearest_corner(&self, node: usize, query: &[f64]) -> f64 {
        let (low, high) = self.boxes[2 * node * self.d..2 * (node + 1) * self.d].split_at(self.d);
        let mut sum = 0.0;
        for ((&low, &high), &q) in low.iter().zip(high).zip(query) {
            let (below, above) = (low - q, q - high);
            let gap = if below > above { below } else { above };
            let gap = if gap > 0.0 { gap } else { 0.0 };
            sum += gap * gap;
        }
        sum
    }

    /// No point of the node is farther from `query` than this (squared).
    #[inline(always)]
    pub(crate) fn farthest_corner(&self, node: usize, query: &[f64]) -> f64 {
        let (low, high) = self.boxes[2 * node * self.d..2 * (node + 1) * self.d].split_at(self.d);
        let mut sum = 0.0;
        for ((&low, &high), &q) in low.iter().zip(high).zip(query) {
            let (below, above) = (q - low, high - q);
            let gap = if below > above { below } else { above };
            sum += gap * gap;
        }
        sum
    }

    /// Checks points that are asked about: their columns, and that no squared distance to a point of the tree overflows.
    pub(crate) fn check(&self, queries: Points) -> Result<(), ClusterError> {
        if queries.d() != self.d {
            return Err(ClusterError::Data(format!("points with {} columns; the model has {}", queries.d(), self.d)));
        }
        let (mut low, mut high) = (self.boxes[..self.d].to_vec(), self.boxes[self.d..2 * self.d].to_vec());
        build::widen(&mut low, &mut high, queries.rows());
        build::check_spread(&low, &high)
    }
}

/// Squared distances of the 8 points of a block to `query`.
#[inline(always)]
pub(crate) fn squared<V: Lanes<f64>>(block: &[f64], query: &[f64]) -> V {
    let mut sum = V::splat(0.0);
    for (x, &q) in block.chunks_exact(BLOCK).zip(query) {
        let difference = V::load(x).sub(V::splat(q));
        sum = sum.add(difference.mul(difference));
    }
    sum
}

/// The squared distance of two points, as the tree computes it.
pub(crate) fn squared_distance(a: &[f64], b: &[f64]) -> f64 {
    let mut sum = 0.0;
    for (x, y) in a.iter().zip(b) {
        let difference = x - y;
        sum += difference * difference;
    }
    sum
}

/// A distance (its square) and a row, in one number of the same order: by distance, then by row.
#[inline(always)]
pub(crate) fn key(squared: f64, row: u32) -> u128 {
    u128::from(squared.to_bits()) << 32 | u128::from(row)
}

/// The squared distance and the row of a key.
#[inline(always)]
pub(crate) fn unpack(key: u128) -> (f64, u32) {
    (f64::from_bits((key >> 32) as u64), key as u32)
}
