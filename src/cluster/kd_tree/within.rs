//! All points within a radius.

use super::flat::Take;
use super::{BLOCK, KdTree, squared};
use crate::kernels::simd::{Kernel, Lanes, dispatch};

impl KdTree {
    /// Gives `done` the number of each query and the places of the points whose squared distance is at most `limit`, in increasing order.
    /// Cost: about O(log n + found) a query in few dimensions, O(n d) in many.
    pub(crate) fn within(&self, queries: &[f64], limit: f64, mut done: impl FnMut(usize, &[u32])) {
        // Padding is infinitely far away, and must stay outside.
        let limit = limit.min(f64::MAX);
        if !self.flat {
            dispatch(Search { tree: self, queries, limit, done });
            return;
        }
        let mut lists = Lists { limit, found: vec![Vec::new(); queries.len() / self.d] };
        self.pass(queries, self.block_count(), &mut lists);
        lists.found.iter().enumerate().for_each(|(i, found)| done(i, found));
    }

    /// Of each query, whether at least `enough` points have a squared distance of at most `limit`.
    /// Cost: as [`within`](Self::within), but stops at enough points and takes boxes that lie within as a whole.
    pub(crate) fn enough_within(&self, queries: &[f64], limit: f64, enough: usize) -> Vec<bool> {
        let limit = limit.min(f64::MAX);
        if !self.flat {
            return dispatch(Enough { tree: self, queries, limit, enough });
        }
        let mut counts = Counts { limit, counts: vec![0; queries.len() / self.d] };
        self.pass(queries, self.block_count(), &mut counts);
        counts.counts.iter().map(|&c| c >= enough).collect()
    }
}

struct Lists {
    limit: f64,
    found: Vec<Vec<u32>>,
}

impl Take for Lists {
    #[inline(always)]
    fn take(&mut self, query: usize, block: usize, distances: &[f64; BLOCK]) {
        for (i, &distance) in distances.iter().enumerate() {
            if distance <= self.limit {
                self.found[query].push((block * BLOCK + i) as u32);
            }
        }
    }
}

struct Counts {
    limit: f64,
    counts: Vec<usize>,
}

impl Take for Counts {
    #[inline(always)]
    fn take(&mut self, query: usize, _block: usize, distances: &[f64; BLOCK]) {
        self.counts[query] += distances.iter().map(|&distance| usize::from(distance <= self.limit)).sum::<usize>();
    }
}

struct Search<'a, F> {
    tree: &'a KdTree,
    queries: &'a [f64],
    limit: f64,
    done: F,
}

impl<F: FnMut(usize, &[u32])> Kernel<f64> for Search<'_, F> {
    type Output = ();
    #[inline(always)]
    fn run<V: Lanes<f64>>(mut self) {
        let Self { tree, queries, limit, .. } = self;
        let (mut found, mut stack) = (Vec::<u32>::new(), Vec::<u32>::with_capacity(64));
        let mut distances = [0.0; BLOCK];
        for (i, query) in queries.chunks_exact(tree.d).enumerate() {
            found.clear();
            stack.push(0);
            while let Some(at) = stack.pop() {
                if tree.nearest_corner(at as usize, query) > limit {
                    continue;
                }
                let node = tree.nodes[at as usize];
                if tree.farthest_corner(at as usize, query) <= limit {
                    found.extend(node.begin..node.end);
                } else if node.right != 0 {
                    stack.push(node.right);
                    stack.push(at + 1);
                } else {
                    for b in node.begin as usize / BLOCK..(node.end as usize).div_ceil(BLOCK) {
                        squared::<V>(tree.block(b), query).store(&mut distances);
                        for (i, &distance) in distances.iter().enumerate() {
                            if distance <= limit {
                                found.push((b * BLOCK + i) as u32);
                            }
                        }
                    }
                }
            }
            (self.done)(i, &found);
        }
    }
}

struct Enough<'a> {
    tree: &'a KdTree,
    queries: &'a [f64],
    limit: f64,
    enough: usize,
}

impl Kernel<f64> for Enough<'_> {
    type Output = Vec<bool>;
    #[inline(always)]
    fn run<V: Lanes<f64>>(self) -> Vec<bool> {
        let Self { tree, queries, limit, enough } = self;
        let mut stack: Vec<(u32, f64)> = Vec::with_capacity(64);
        let mut distances = [0.0; BLOCK];
        let mut flags = Vec::with_capacity(queries.len() / tree.d);
        for query in queries.chunks_exact(tree.d) {
            let mut count = 0;
            stack.clear();
            stack.push((0, tree.nearest_corner(0, query)));
            while let Some((at, least)) = stack.pop() {
                if least > limit {
                    continue;
                }
                let node = tree.nodes[at as usize];
                if tree.farthest_corner(at as usize, query) <= limit {
                    count += (node.end - node.begin) as usize;
                } else if node.right != 0 {
                    // The nearer child first: it holds more points within.
                    let (left, right) = (at + 1, node.right);
                    let left = (left, tree.nearest_corner(left as usize, query));
                    let right = (right, tree.nearest_corner(right as usize, query));
                    let (near, far) = if left.1 <= right.1 { (left, right) } else { (right, left) };
                    stack.push(far);
                    stack.push(near);
                } else {
                    for b in node.begin as usize / BLOCK..(node.end as usize).div_ceil(BLOCK) {
                        squared::<V>(tree.block(b), query).store(&mut distances);
                        count += distances.iter().map(|&distance| usize::from(distance <= limit)).sum::<usize>();
                    }
                }
                if count >= enough {
                    break;
                }
            }
            flags.push(count >= enough);
        }
        flags
    }
}
