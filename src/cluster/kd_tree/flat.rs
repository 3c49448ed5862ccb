//! Passes over all points: tiles of four queries meet blocks of eight points, and a run of blocks that fits the second-level cache
//! meets all queries of the piece before the next run.

use super::nearest::shrink;
use super::{BLOCK, KdTree, key};
use crate::kernels::simd::{Kernel, Lanes, dispatch};

/// Queries of a tile: with the block's coordinate and one difference, six vectors, which every instruction set holds.
const TILE: usize = 4;
/// Numbers of a run of blocks: 256 KiB.
const RUN: usize = 1 << 15;

/// What becomes of the squared distances of one query to the 8 points of a block. Padding is infinitely far away.
pub(crate) trait Take {
    fn take(&mut self, query: usize, block: usize, distances: &[f64; BLOCK]);
}

impl KdTree {
    /// Gives `to` every query with each of the first `blocks` blocks.
    pub(crate) fn pass<T: Take>(&self, queries: &[f64], blocks: usize, to: &mut T) {
        dispatch(Pass { tree: self, queries, blocks, to });
    }

    pub(super) fn block_count(&self) -> usize {
        self.n.div_ceil(BLOCK)
    }

    /// As [`nearest_of`](Self::nearest_of).
    pub(super) fn pass_nearest(&self, queries: &[f64], k: usize, mut done: impl FnMut(usize, &mut [u128])) {
        let count = queries.len() / self.d;
        let most = 2 * k + 64;
        let stride = most + BLOCK;
        let mut found = Found {
            tree: self,
            k,
            most,
            stride,
            keys: vec![0; count * stride],
            counts: vec![0; count],
            worst: vec![f64::MAX; count],
        };
        self.pass(queries, self.block_count(), &mut found);
        for i in 0..count {
            let keys = &mut found.keys[i * stride..][..found.counts[i]];
            shrink(keys, k);
            done(i, &mut keys[..k]);
        }
    }
}

struct Found<'a> {
    tree: &'a KdTree,
    k: usize,
    most: usize,
    stride: usize,
    keys: Vec<u128>,
    counts: Vec<usize>,
    worst: Vec<f64>,
}

impl Take for Found<'_> {
    #[inline(always)]
    fn take(&mut self, query: usize, block: usize, distances: &[f64; BLOCK]) {
        let (mut count, worst) = (self.counts[query], self.worst[query]);
        let keys = &mut self.keys[query * self.stride..(query + 1) * self.stride];
        for (&distance, &row) in distances.iter().zip(&self.tree.rows[block * BLOCK..]) {
            keys[count] = key(distance, row);
            count += usize::from(distance <= worst);
        }
        if count >= self.most || (worst == f64::MAX && count >= self.k) {
            self.worst[query] = shrink(&mut keys[..count], self.k);
            count = self.k;
        }
        self.counts[query] = count;
    }
}

struct Pass<'a, T> {
    tree: &'a KdTree,
    queries: &'a [f64],
    blocks: usize,
    to: &'a mut T,
}

impl<T: Take> Kernel<f64> for Pass<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run<V: Lanes<f64>>(self) {
        let Self { tree, queries, blocks, to } = self;
        let d = tree.d;
        let count = queries.len() / d;
        // Of each tile, coordinate after coordinate of its queries; the last tile repeats its last query.
        let tiles = count.div_ceil(TILE);
        let mut turned = vec![0.0; tiles * d * TILE];
        for (t, turned) in turned.chunks_exact_mut(d * TILE).enumerate() {
            for i in 0..TILE {
                let query = &queries[(t * TILE + i).min(count - 1) * d..][..d];
                for (to, &q) in turned[i..].iter_mut().step_by(TILE).zip(query) {
                    *to = q;
                }
            }
        }
        let run = (RUN / (d * BLOCK)).max(1);
        let mut distances = [[0.0; BLOCK]; TILE];
        for first in (0..blocks).step_by(run) {
            for (t, turned) in turned.chunks_exact(d * TILE).enumerate() {
                for b in first..blocks.min(first + run) {
                    let mut sums = [V::splat(0.0); TILE];
                    for (x, q) in tree.block(b).chunks_exact(BLOCK).zip(turned.chunks_exact(TILE)) {
                        let x = V::load(x);
                        for i in 0..TILE {
                            let difference = x.sub(V::splat(q[i]));
                            sums[i] = sums[i].add(difference.mul(difference));
                        }
                    }
                    for i in 0..TILE {
                        sums[i].store(&mut distances[i]);
                    }
                    for (i, distances) in distances.iter().enumerate().take(count - t * TILE) {
                        to.take(t * TILE + i, b, distances);
                    }
                }
            }
        }
    }
}
