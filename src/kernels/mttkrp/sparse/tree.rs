//! Nonzeros of a mode as a tree of shared prefixes.

use crate::kernels::simd::Real;
use rayon::prelude::*;

/// Nodes of one level: an index, and where the children begin (one more than there are nodes).
#[derive(Debug)]
pub(super) struct Level {
    pub ids: Vec<u32>,
    pub first: Vec<u32>,
}

/// Levels 0 (the rows of the result) to depth − 1 hold an index for each prefix; below, every nonzero lists the other indices.
#[derive(Debug)]
pub(super) struct Tree<T> {
    /// Modes, from the root.
    pub path: Vec<usize>,
    pub levels: Vec<Level>,
    /// The indices of modes `path[levels.len()..]`.
    pub leaf: Vec<Vec<u32>>,
    pub values: Vec<T>,
}

/// The indices along `path`, in the order of `places`.
pub(super) fn arranged(indices: &[&[u32]], path: &[usize], places: &[u32]) -> Vec<Vec<u32>> {
    path.iter().map(|&m| gather(indices[m], places)).collect()
}

pub(super) fn gather<T: Copy + Send + Sync>(from: &[T], places: &[u32]) -> Vec<T> {
    places.par_iter().map(|&p| from[p as usize]).collect()
}

/// Nodes of every level that is kept: the root, and levels while a node serves more than two nonzeros (then it takes less than listing its
/// index for each), the leaf excepted. `sorted`: the indices from the root on.
pub(super) fn nodes(sorted: &[Vec<u32>]) -> Vec<usize> {
    let count = sorted[0].len();
    let mut nodes = Vec::new();
    for length in 1..sorted.len().max(2) {
        let differ = |k: usize| sorted[..length].iter().any(|ids| ids[k] != ids[k - 1]);
        let found = (1..count).into_par_iter().filter(|&k| differ(k)).count() + usize::from(count > 0);
        if length > 1 && 2 * found >= count {
            break;
        }
        nodes.push(found);
    }
    nodes
}

/// Bytes of the tree with so many nodes.
pub(super) fn bytes<T>(nodes: &[usize], nonzeros: usize, order: usize) -> usize {
    let levels: usize = nodes.iter().map(|n| (2 * n + 1) * size_of::<u32>()).sum();
    levels + nonzeros * ((order - nodes.len()) * size_of::<u32>() + size_of::<T>())
}

impl<T: Real> Tree<T> {
    /// `sorted`: the indices along `path` in the order of the tree, of which the first `nodes.len()` become levels and are given back. The
    /// values are the caller's to fill in, once it has freed what it can.
    pub fn new(path: &[usize], mut sorted: Vec<Vec<u32>>, nodes: &[usize]) -> (Self, Vec<Vec<u32>>) {
        let leaf = sorted.split_off(nodes.len());
        let levels = levels(&sorted, nodes);
        (Self { path: path.to_vec(), levels, leaf, values: Vec::new() }, sorted)
    }

    pub fn held(&self) -> usize {
        let levels: usize = self.levels.iter().map(|l| l.ids.len() + l.first.len()).sum();
        let leaf: usize = self.leaf.iter().map(Vec::len).sum();
        (levels + leaf) * size_of::<u32>() + self.values.len() * size_of::<T>()
    }
}

/// The levels that the prefixes of `sorted` make, with so many nodes each.
fn levels(sorted: &[Vec<u32>], nodes: &[usize]) -> Vec<Level> {
    let (depth, count) = (nodes.len(), sorted[0].len());
    let mut levels: Vec<Level> =
        nodes.iter().map(|&n| Level { ids: Vec::with_capacity(n), first: Vec::with_capacity(n + 1) }).collect();
    for k in 0..count {
        // The first level at which this nonzero opens a new node.
        let opens = if k == 0 { 0 } else { sorted.iter().position(|ids| ids[k] != ids[k - 1]).unwrap_or(depth) };
        for level in opens..depth {
            let child = if level + 1 < depth { levels[level + 1].ids.len() } else { k } as u32;
            levels[level].ids.push(sorted[level][k]);
            levels[level].first.push(child);
        }
    }
    for level in 0..depth {
        let end = if level + 1 < depth { levels[level + 1].ids.len() } else { count } as u32;
        levels[level].first.push(end);
    }
    levels
}
