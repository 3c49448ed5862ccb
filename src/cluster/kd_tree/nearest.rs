//! The nearest k.

use rayon::prelude::*;

use super::{BLOCK, KdTree, PIECE, key, squared, squared_distance, unpack};
use crate::cluster::{ClusterError, Points};
use crate::kernels::simd::{Kernel, Lanes, dispatch};

/// The nearest neighbours of some points, nearest first, equal distances by row.
#[derive(Debug, Clone, PartialEq)]
pub struct Nearest {
    pub k: usize,
    /// (queries, k): rows of the tree's points.
    pub rows: Vec<u32>,
    /// (queries, k): squared distances.
    pub squared: Vec<f64>,
}

impl KdTree {
    /// The `k` nearest points of each query. A query that is one of the points finds itself too.
    /// Errors: `k` is 0 or above n; other columns than the points have; distances that overflow.
    /// Cost: about O(log n + k) a query in few dimensions, O(n d) in many.
    pub fn nearest(&self, queries: Points, k: usize) -> Result<Nearest, ClusterError> {
        if k == 0 || k > self.n {
            let expected = format!("1 to the number of points, {}", self.n);
            return Err(ClusterError::Setting { what: "the number of neighbours", value: k.to_string(), expected });
        }
        self.check(queries)?;
        let pieces: Vec<(Vec<u32>, Vec<f64>)> = queries
            .values()
            .par_chunks(PIECE * self.d)
            .map(|queries| {
                let (mut rows, mut distances) = (Vec::new(), Vec::new());
                self.nearest_of(queries, k, |_, found| {
                    found.sort_unstable();
                    rows.extend(found.iter().map(|&f| unpack(f).1));
                    distances.extend(found.iter().map(|&f| unpack(f).0));
                });
                (rows, distances)
            })
            .collect();
        let (rows, squared): (Vec<_>, Vec<_>) = pieces.into_iter().unzip();
        Ok(Nearest { k, rows: rows.concat(), squared: squared.concat() })
    }

    /// Gives `done` the number of each query and the keys of its `k` nearest points, the last of them at place `k - 1`, the others in
    /// no order.
    pub(crate) fn nearest_of(&self, queries: &[f64], k: usize, done: impl FnMut(usize, &mut [u128])) {
        if self.flat {
            self.pass_nearest(queries, k, done);
        } else {
            dispatch(Search { tree: self, queries, k, done });
        }
    }
}

/// Leaves the `k` least of `found`, the largest of them last; its squared distance.
#[inline(always)]
pub(super) fn shrink(found: &mut [u128], k: usize) -> f64 {
    let (_, &mut last, _) = found.select_nth_unstable(k - 1);
    unpack(last).0
}

struct Search<'a, F> {
    tree: &'a KdTree,
    queries: &'a [f64],
    k: usize,
    done: F,
}

impl<F: FnMut(usize, &mut [u128])> Kernel<f64> for Search<'_, F> {
    type Output = ();
    #[inline(always)]
    fn run<V: Lanes<f64>>(mut self) {
        let Self { tree, queries, k, .. } = self;
        let d = tree.d;
        // Candidates: at most twice as many as asked for before the worst half is dropped, and room for a leaf.
        let most = 2 * k + 64;
        let mut found = vec![0u128; most + super::LEAF + BLOCK];
        let mut stack: Vec<(u32, f64)> = Vec::with_capacity(64);
        let mut distances = [0.0; BLOCK];
        let mut last: Option<(usize, f64)> = None;
        for (i, query) in queries.chunks_exact(d).enumerate() {
            // The ball of the query before it, moved here, holds k points: a bound from the start. (The margin covers rounding.)
            let mut worst = match last {
                Some((before, reach)) => {
                    let moved = squared_distance(query, &queries[before * d..(before + 1) * d]).sqrt();
                    let reach = (reach.sqrt() + moved) * (1.0 + 1e-12);
                    (reach * reach).clamp(f64::MIN_POSITIVE, f64::MAX)
                }
                None => f64::MAX,
            };
            let mut count = 0;
            stack.clear();
            stack.push((0, tree.nearest_corner(0, query)));
            while let Some((at, least)) = stack.pop() {
                if least > worst {
                    continue;
                }
                let node = tree.nodes[at as usize];
                if node.right != 0 {
                    let (left, right) = (at + 1, node.right);
                    let (to_left, to_right) =
                        (tree.nearest_corner(left as usize, query), tree.nearest_corner(right as usize, query));
                    let (near, far) = if to_left <= to_right {
                        ((left, to_left), (right, to_right))
                    } else {
                        ((right, to_right), (left, to_left))
                    };
                    if far.1 <= worst {
                        stack.push(far);
                    }
                    if near.1 <= worst {
                        stack.push(near);
                    }
                    continue;
                }
                for b in node.begin as usize / BLOCK..(node.end as usize).div_ceil(BLOCK) {
                    squared::<V>(tree.block(b), query).store(&mut distances);
                    let rows = &tree.rows[b * BLOCK..(b + 1) * BLOCK];
                    for (&distance, &row) in distances.iter().zip(rows) {
                        found[count] = key(distance, row);
                        count += usize::from(distance <= worst);
                    }
                }
                if count >= most || (worst == f64::MAX && count >= k) {
                    worst = worst.min(shrink(&mut found[..count], k));
                    count = k;
                }
            }
            let reach = shrink(&mut found[..count], k);
            last = Some((i, reach));
            (self.done)(i, &mut found[..k]);
        }
    }
}
