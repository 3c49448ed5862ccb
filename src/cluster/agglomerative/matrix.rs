//! Complete, average and weighted linkage: a nearest-neighbour chain on the matrix of distances.
//!
//! The chain goes from a cluster to its nearest neighbour until two are nearest to each other; they are merged, which with these linkages
//! disturbs nothing before them in the chain. About 3 n searches in all.

use rayon::prelude::*;

use super::{Linkage, sorted};
use crate::cluster::dendrogram::Dendrogram;
use crate::cluster::kd_tree::{BLOCK, KdTree, PIECE, Take};
use crate::cluster::{ClusterError, Points};
use crate::run::observer::Observer;

/// Distances of pairs below the diagonal, row after row: that of i > j at i (i - 1) / 2 + j.
struct Matrix {
    n: usize,
    distances: Vec<f64>,
}

/// Place of the pair.
#[inline(always)]
fn at(i: usize, j: usize) -> usize {
    let (low, high) = if i < j { (i, j) } else { (j, i) };
    high * (high - 1) / 2 + low
}

/// Writes the rows from `first` on of the matrix.
struct Rows<'a> {
    first: usize,
    distances: &'a mut [f64],
}

impl Take for Rows<'_> {
    #[inline(always)]
    fn take(&mut self, query: usize, block: usize, distances: &[f64; BLOCK]) {
        let i = self.first + query;
        let j = block * BLOCK;
        if j < i {
            let row = &mut self.distances[i * (i - 1) / 2 - self.first * self.first.saturating_sub(1) / 2..];
            let count = BLOCK.min(i - j);
            for (to, squared) in row[j..j + count].iter_mut().zip(distances) {
                *to = squared.sqrt();
            }
        }
    }
}

impl Matrix {
    fn new(points: Points, observer: &dyn Observer) -> Result<Self, ClusterError> {
        let n = points.n();
        let index = KdTree::flat(points)?;
        let mut distances = vec![0.0; n * (n - 1) / 2];
        let mut pieces = Vec::new();
        let mut rest = &mut distances[..];
        for first in (0..n).step_by(PIECE) {
            let end = n.min(first + PIECE);
            let (piece, tail) = rest.split_at_mut(end * (end - 1) / 2 - first * first.saturating_sub(1) / 2);
            rest = tail;
            pieces.push((first, end, piece));
        }
        let stopped: Vec<bool> = pieces
            .into_par_iter()
            .map(|(first, end, distances)| {
                if observer.cancelled() {
                    return true;
                }
                index.pass(
                    &points.values()[first * points.d()..end * points.d()],
                    end.div_ceil(BLOCK),
                    &mut Rows { first, distances },
                );
                false
            })
            .collect();
        if stopped.contains(&true) { Err(ClusterError::Cancelled) } else { Ok(Self { n, distances }) }
    }

    /// The nearest of the clusters `open` to `i`: `start` when none is strictly nearer, else the first of the nearest.
    fn nearest(&self, i: usize, start: Option<usize>, open: &[u32]) -> (usize, f64) {
        let mut best = start.map_or((usize::MAX, f64::INFINITY), |j| (j, self.distances[at(i, j)]));
        let below = open.partition_point(|&j| (j as usize) < i);
        if let Some(first) = i.checked_sub(1) {
            let row = &self.distances[i * first / 2..];
            for &j in &open[..below] {
                if row[j as usize] < best.1 {
                    best = (j as usize, row[j as usize]);
                }
            }
        }
        for &j in &open[below..] {
            if j as usize != i {
                let distance = self.distances[at(i, j as usize)];
                if distance < best.1 {
                    best = (j as usize, distance);
                }
            }
        }
        best
    }
}

/// The dendrogram of `linkage`, which is not Ward's or single.
pub(super) fn merges(points: Points, linkage: Linkage, memory: u64, observer: &dyn Observer) -> Result<Dendrogram, ClusterError> {
    let n = points.n();
    let bytes = n as u128 * (n as u128 - 1) / 2 * 8;
    if bytes > u128::from(memory) {
        return Err(ClusterError::Data(format!(
            "{} linkage of {n} points takes {:.1} GiB for their distances; the limit is {:.1} GiB: \
             use ward or single linkage, which need no such matrix, a graph of neighbours, or a sample",
            linkage.name(),
            bytes as f64 / (1u64 << 30) as f64,
            memory as f64 / (1u64 << 30) as f64,
        )));
    }
    let mut matrix = Matrix::new(points, observer)?;
    let mut size = vec![1.0f64; n];
    let mut open: Vec<u32> = (0..n as u32).collect();
    let mut pairs = Vec::with_capacity(n.saturating_sub(1));
    let mut chain: Vec<usize> = Vec::with_capacity(n);
    observer.start("merges", n - 1);
    while open.len() > 1 {
        if observer.cancelled() {
            return Err(ClusterError::Cancelled);
        }
        let i = match chain.last() {
            Some(&i) => i,
            None => {
                chain.push(open[0] as usize);
                open[0] as usize
            }
        };
        // The one before it in the chain is preferred among equals: so distances along the chain fall, and it ends.
        let before = chain.len().checked_sub(2).map(|b| chain[b]);
        let (j, height) = matrix.nearest(i, before, &open);
        if Some(j) != before {
            chain.push(j);
            continue;
        }
        chain.truncate(chain.len() - 2);
        pairs.push((i as u32, j as u32, height));
        // The higher one becomes the union.
        let (gone, kept) = (i.min(j), i.max(j));
        if let Ok(place) = open.binary_search(&(gone as u32)) {
            open.remove(place);
        }
        let (a, b) = (size[gone], size[kept]);
        for other in open.iter().map(|&o| o as usize).filter(|&o| o != kept) {
            let from_gone = matrix.distances[at(gone, other)];
            let distance = &mut matrix.distances[at(kept, other)];
            *distance = update(linkage, (from_gone, a), (*distance, b));
        }
        size[kept] = a + b;
        observer.advance(1);
    }
    observer.finish();
    Ok(sorted(matrix.n, pairs))
}

/// The distance of the union of two clusters, given as distances to a third and sizes (Lance & Williams).
pub(super) fn update(linkage: Linkage, (x, a): (f64, f64), (y, b): (f64, f64)) -> f64 {
    match linkage {
        Linkage::Complete => x.max(y),
        Linkage::Single => x.min(y),
        Linkage::Average => (a * x + b * y) / (a + b),
        Linkage::Weighted => 0.5 * (x + y),
        Linkage::Ward => unreachable!("Ward's linkage goes by centroids"),
    }
}
