//! Ward's linkage: a nearest-neighbour chain on centroids, in O(n d) memory.
//!
//! The distance of two clusters follows from sizes and centroids alone, so no matrix is kept; a search is one pass over the centroids
//! in vectors of eight. Centroids are those of the points as they are: with coordinates whose mean is 10^p times their spread, heights
//! lose p of their 16 digits.

use rayon::prelude::*;

use super::sorted;
use crate::cluster::dendrogram::Dendrogram;
use crate::cluster::kd_tree::{BLOCK, KdTree, squared, squared_distance};
use crate::cluster::{ClusterError, Points};
use crate::kernels::simd::{Kernel, Lanes, dispatch};
use crate::run::observer::Observer;

/// Numbers that one task passes in a search (256 KiB); fewer than two tasks stay on one thread.
const TASK: usize = 1 << 15;

/// The clusters that are left, in blocks of eight. Those that went into others hold infinity until they are dropped.
struct Open {
    d: usize,
    /// Coordinate j of the clusters of block b at (b · d + j) · 8.
    blocks: Vec<f64>,
    sizes: Vec<f64>,
    /// A point of the cluster at each position, its name.
    names: Vec<u32>,
    /// Position of each name.
    places: Vec<u32>,
    left: usize,
}

/// The nearest clusters among some blocks.
struct Search<'a> {
    d: usize,
    blocks: &'a [f64],
    sizes: &'a [f64],
    centroid: &'a [f64],
    size: f64,
}

impl Kernel<f64> for Search<'_> {
    /// The least squared height and its first position.
    type Output = (f64, usize);
    #[inline(always)]
    fn run<V: Lanes<f64>>(self) -> (f64, usize) {
        let Self { d, blocks, sizes, centroid, size } = self;
        let (own, two) = (V::splat(size), V::splat(2.0));
        let (mut least, mut at) = (V::splat(f64::INFINITY), V::splat(0.0));
        for (b, (block, sizes)) in blocks.chunks_exact(d * BLOCK).zip(sizes.chunks_exact(BLOCK)).enumerate() {
            let other = V::load(sizes);
            let height = squared::<V>(block, centroid).mul(two.mul(other.mul(own)).div(other.add(own)));
            let better = height.lt(least);
            least = V::select(better, height, least);
            at = V::select(better, V::splat((b * BLOCK) as f64), at);
        }
        let (mut lanes, mut ats) = ([0.0; BLOCK], [0.0; BLOCK]);
        least.store(&mut lanes);
        at.store(&mut ats);
        let found = (0..BLOCK).map(|l| (lanes[l], ats[l] as usize + l));
        found.min_by(|x, y| x.0.total_cmp(&y.0).then(x.1.cmp(&y.1))).unwrap_or((f64::INFINITY, 0))
    }
}

/// The squared height of a merge, as [`Search`] computes it.
pub(super) fn squared_height(a: &[f64], size_a: f64, b: &[f64], size_b: f64) -> f64 {
    squared_distance(a, b) * (2.0 * (size_a * size_b) / (size_a + size_b))
}

/// The centroid of a union.
pub(super) fn union(a: &[f64], size_a: f64, b: &[f64], size_b: f64) -> Vec<f64> {
    a.iter().zip(b).map(|(x, y)| (size_a * x + size_b * y) / (size_a + size_b)).collect()
}

impl Open {
    fn centroid(&self, place: usize) -> Vec<f64> {
        let block = &self.blocks[place / BLOCK * self.d * BLOCK..(place / BLOCK + 1) * self.d * BLOCK];
        block.iter().skip(place % BLOCK).step_by(BLOCK).copied().collect()
    }

    fn set(&mut self, place: usize, centroid: impl Iterator<Item = f64>) {
        let block = &mut self.blocks[place / BLOCK * self.d * BLOCK..(place / BLOCK + 1) * self.d * BLOCK];
        for (to, x) in block[place % BLOCK..].iter_mut().step_by(BLOCK).zip(centroid) {
            *to = x;
        }
    }

    /// The least squared height of a merge with the cluster at `place`, and the position of the other one.
    fn nearest(&mut self, place: usize, centroid: &[f64]) -> (f64, usize) {
        let (d, size) = (self.d, self.sizes[place]);
        // Out of its own way.
        self.set(place, std::iter::repeat_n(f64::INFINITY, d));
        let points = (TASK / (d * BLOCK)).max(1) * BLOCK;
        let mut best = (f64::INFINITY, 0);
        if self.blocks.len() < 2 * TASK {
            best = dispatch(Search { d, blocks: &self.blocks, sizes: &self.sizes, centroid, size });
        } else {
            let tasks = self.blocks.par_chunks(points * d).zip(self.sizes.par_chunks(points));
            let found: Vec<(f64, usize)> =
                tasks.map(|(blocks, sizes)| dispatch(Search { d, blocks, sizes, centroid, size })).collect();
            for (i, (height, at)) in found.into_iter().enumerate() {
                if height < best.0 {
                    best = (height, i * points + at);
                }
            }
        }
        self.set(place, centroid.iter().copied());
        best
    }

    /// Drops the clusters that went into others; the order of the rest stays.
    fn compact(&mut self) {
        let kept: Vec<usize> =
            (0..self.names.len()).filter(|&p| self.blocks[p / BLOCK * self.d * BLOCK + p % BLOCK].is_finite()).collect();
        for (to, &from) in kept.iter().enumerate() {
            let centroid = self.centroid(from);
            self.set(to, centroid.into_iter());
            self.sizes[to] = self.sizes[from];
            self.names[to] = self.names[from];
            self.places[self.names[to] as usize] = to as u32;
        }
        self.names.truncate(kept.len());
        let padded = kept.len().div_ceil(BLOCK) * BLOCK;
        self.sizes.truncate(padded);
        self.blocks.truncate(padded * self.d);
        for place in kept.len()..padded {
            self.set(place, std::iter::repeat_n(f64::INFINITY, self.d));
        }
    }
}

/// The dendrogram of Ward's linkage.
pub(super) fn merges(points: Points, observer: &dyn Observer) -> Result<Dendrogram, ClusterError> {
    let n = points.n();
    let index = KdTree::flat(points)?;
    let mut open = Open {
        d: points.d(),
        blocks: index.blocks().to_vec(),
        sizes: vec![1.0; n.div_ceil(BLOCK) * BLOCK],
        names: (0..n as u32).collect(),
        places: (0..n as u32).collect(),
        left: n,
    };
    drop(index);
    let mut pairs = Vec::with_capacity(n.saturating_sub(1));
    let mut chain: Vec<u32> = Vec::with_capacity(n);
    let mut first = 0;
    observer.start("merges", n - 1);
    while open.left > 1 {
        if observer.cancelled() {
            return Err(ClusterError::Cancelled);
        }
        if chain.is_empty() {
            // Clusters at the front that are gone stay gone until the next compaction.
            while !open.blocks[first / BLOCK * open.d * BLOCK + first % BLOCK].is_finite() {
                first += 1;
            }
            chain.push(open.names[first]);
        }
        let name = chain[chain.len() - 1];
        let place = open.places[name as usize] as usize;
        let centroid = open.centroid(place);
        let (mut height, mut at) = open.nearest(place, &centroid);
        let before = chain.len().checked_sub(2).map(|b| open.places[chain[b] as usize] as usize);
        if let Some(before) = before {
            // Preferred among equals: so heights along the chain fall, and it ends.
            let back = squared_height(&open.centroid(before), open.sizes[before], &centroid, open.sizes[place]);
            if back <= height {
                (height, at) = (back, before);
            }
        }
        if Some(at) != before {
            chain.push(open.names[at]);
            continue;
        }
        chain.truncate(chain.len() - 2);
        pairs.push((name, open.names[at], height.sqrt()));
        let (a, b) = (open.sizes[place], open.sizes[at]);
        let centre = union(&centroid, a, &open.centroid(at), b);
        // The one at the higher position becomes the union, as in the matrix.
        let (gone, kept) = (place.min(at), place.max(at));
        open.set(kept, centre.into_iter());
        open.sizes[kept] = a + b;
        open.set(gone, std::iter::repeat_n(f64::INFINITY, open.d));
        open.left -= 1;
        observer.advance(1);
        if 2 * open.left < open.names.len() && open.names.len() > BLOCK {
            open.compact();
            first = 0;
        }
    }
    observer.finish();
    Ok(sorted(n, pairs))
}
