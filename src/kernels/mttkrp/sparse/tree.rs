//! Nonzeros of a mode as a tree of shared prefixes.

use crate::kernels::simd::Real;
use rayon::prelude::*;
use std::borrow::Cow;

/// Nodes of one level: an index, and where the children begin (one more than there are nodes).
#[derive(Debug)]
pub(super) struct Level {
    pub ids: Vec<u32>,
    pub first: Vec<u32>,
}

/// Levels 0 (the rows of the result) to depth − 1 hold an index for each prefix; below, every nonzero lists the other indices.
#[derive(Debug)]
pub(super) struct Tree<'a, T: Clone> {
    /// Modes, from the root.
    pub path: Vec<usize>,
    pub levels: Vec<Level>,
    /// The indices of modes `path[levels.len()..]`.
    pub leaf: Vec<Cow<'a, [u32]>>,
    pub values: Cow<'a, [T]>,
}

pub(super) fn gather<T: Copy + Send + Sync>(from: &[T], places: &[u32]) -> Vec<T> {
    places.par_iter().map(|&p| from[p as usize]).collect()
}

/// The indices of the levels that are kept, from the root on, and how many nodes each has.
pub(super) struct Prefixes<'a> {
    lists: Vec<Cow<'a, [u32]>>,
    pub nodes: Vec<usize>,
    /// The first list that is no level, if it was looked at.
    next: Option<Cow<'a, [u32]>>,
}

impl<'a> Prefixes<'a> {
    /// `list(depth)`: the indices at a depth of the path, `order` of them, in the order of the tree. Kept are the root, and levels while a
    /// node serves more than two nonzeros (then it takes less than listing its index for each), the leaf excepted. Only what is looked
    /// at is asked for.
    pub fn find(order: usize, mut list: impl FnMut(usize) -> Cow<'a, [u32]>) -> Self {
        let root = list(0);
        let count = root.len();
        let found = |lists: &[Cow<'_, [u32]>]| {
            let differ = |k: usize| lists.iter().any(|ids| ids[k] != ids[k - 1]);
            (1..count).into_par_iter().filter(|&k| differ(k)).count() + usize::from(count > 0)
        };
        let mut lists = vec![root];
        let mut nodes = vec![found(&lists)];
        while lists.len() + 1 < order {
            lists.push(list(lists.len()));
            let more = found(&lists);
            if 2 * more >= count {
                return Self { next: lists.pop(), lists, nodes };
            }
            nodes.push(more);
        }
        Self { lists, nodes, next: None }
    }

    /// The nodes of the levels.
    pub fn levels(&self) -> Vec<Level> {
        levels(&self.lists, &self.nodes)
    }
}

/// Bytes of the tree with so many nodes.
pub(super) fn bytes<T>(nodes: &[usize], nonzeros: usize, order: usize) -> usize {
    let levels: usize = nodes.iter().map(|n| (2 * n + 1) * size_of::<u32>()).sum();
    levels + nonzeros * ((order - nodes.len()) * size_of::<u32>() + size_of::<T>())
}

impl<'a, T: Real> Tree<'a, T> {
    /// The tree along `path`. Levels are made and their lists freed before the other lists are asked for, and the values are the caller's
    /// to fill in, once it has freed what it can.
    pub fn new(path: &[usize], prefixes: Prefixes<'a>, mut list: impl FnMut(usize) -> Cow<'a, [u32]>) -> Self {
        let levels = prefixes.levels();
        let Prefixes { nodes, next, .. } = prefixes;
        let mut leaf: Vec<_> = next.into_iter().collect();
        leaf.extend((nodes.len() + leaf.len()..path.len()).map(&mut list));
        Self { path: path.to_vec(), levels, leaf, values: Cow::Borrowed(&[]) }
    }

    /// Bytes, without what is borrowed.
    pub fn held(&self) -> usize {
        let levels: usize = self.levels.iter().map(|l| l.ids.len() + l.first.len()).sum();
        let leaf: usize = self.leaf.iter().map(|l| if let Cow::Owned(own) = l { own.len() } else { 0 }).sum();
        let values = if let Cow::Owned(own) = &self.values { own.len() } else { 0 };
        (levels + leaf) * size_of::<u32>() + values * size_of::<T>()
    }
}

/// The levels that the prefixes of `sorted` make, with so many nodes each.
fn levels(sorted: &[Cow<'_, [u32]>], nodes: &[usize]) -> Vec<Level> {
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
