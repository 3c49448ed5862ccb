//! Prim's steps: the point nearest to the tree joins it, and the distances of the others to the tree are lowered.

use rayon::prelude::*;

use super::Found;
use crate::cluster::ClusterError;
use crate::cluster::kd_tree::{BLOCK, KdTree, squared};
use crate::kernels::simd::{Kernel, Lanes, dispatch};
use crate::run::observer::Observer;

/// Numbers that one task passes in a step (256 KiB); fewer than two tasks stay on one thread.
const TASK: usize = 1 << 15;

/// The lightest edge of some points to the tree. Compared in this order.
#[derive(Clone, Copy, PartialEq, PartialOrd)]
struct Lightest {
    weight: f64,
    length: f64,
    /// Position of the point.
    at: usize,
}

impl Lightest {
    const NONE: Self = Self { weight: f64::INFINITY, length: f64::INFINITY, at: 0 };
}

/// A run of blocks of points that are not in the tree yet.
struct Run<'a> {
    d: usize,
    blocks: &'a [f64],
    /// Squared core distances.
    core: &'a [f64],
    /// Squared weight of the lightest edge to the tree; negative: the point is in the tree.
    weight: &'a mut [f64],
    /// Its squared length; infinite: the point is in the tree.
    length: &'a mut [f64],
    /// The place in the tree that edge comes from (an integer).
    from: &'a mut [f64],
    /// The point that joined last, its place and core distance.
    point: &'a [f64],
    place: f64,
    point_core: f64,
}

impl Kernel<f64> for Run<'_> {
    /// The lightest weight of the run, its length and its position.
    type Output = Lightest;
    #[inline(always)]
    fn run<V: Lanes<f64>>(self) -> Lightest {
        let Self { d, blocks, core, weight, length, from, point, place, point_core } = self;
        let (place, point_core, none) = (V::splat(place), V::splat(point_core), V::splat(f64::INFINITY));
        // For `(x, u) < (y, v)` with lengths from 0 on: u where x = y, below all lengths where x < y, above where x > y.
        let second = |x: V, y: V, u: V| V::select(x.lt(y), V::splat(-1.0), V::select(x.le(y), u, none));
        let (mut least, mut shortest, mut at) = (none, none, V::splat(0.0));
        for (b, block) in blocks.chunks_exact(d * BLOCK).enumerate() {
            let i = b * BLOCK;
            let new_length = squared::<V>(block, point);
            let new = new_length.max(V::load(&core[i..])).max(point_core);
            let (old, old_length) = (V::load(&weight[i..]), V::load(&length[i..]));
            let lower = second(new, old, new_length).lt(old_length);
            let (new, new_length) = (V::select(lower, new, old), V::select(lower, new_length, old_length));
            new.store(&mut weight[i..]);
            new_length.store(&mut length[i..]);
            V::select(lower, place, V::load(&from[i..])).store(&mut from[i..]);
            let open = V::select(new.lt(V::splat(0.0)), none, new);
            let better = second(open, least, new_length).lt(shortest);
            least = V::select(better, open, least);
            shortest = V::select(better, new_length, shortest);
            at = V::select(better, V::splat(i as f64), at);
        }
        let mut lanes = [[0.0; BLOCK]; 3];
        least.store(&mut lanes[0]);
        shortest.store(&mut lanes[1]);
        at.store(&mut lanes[2]);
        let mut best = Lightest::NONE;
        for (lane, ((&weight, &length), &at)) in lanes[0].iter().zip(&lanes[1]).zip(&lanes[2]).enumerate() {
            let found = Lightest { weight, length, at: at as usize + lane };
            if found < best {
                best = found;
            }
        }
        best
    }
}

/// Edges of a minimum spanning tree.
pub(super) fn edges(tree: &KdTree, core: &[f64], observer: &dyn Observer) -> Result<Vec<Found>, ClusterError> {
    let (n, d) = (tree.n(), tree.d());
    // Padding counts as being in the tree.
    let mut open = Open {
        d,
        places: (0..n as u32).collect(),
        blocks: tree.blocks().to_vec(),
        core: core.to_vec(),
        weight: vec![f64::MAX; n],
        length: vec![f64::INFINITY; n.div_ceil(BLOCK) * BLOCK],
        from: vec![0.0; n],
        left: n,
    };
    open.core.resize(n.div_ceil(BLOCK) * BLOCK, 0.0);
    open.weight.resize(n.div_ceil(BLOCK) * BLOCK, -1.0);
    open.from.resize(n.div_ceil(BLOCK) * BLOCK, 0.0);
    let mut edges = Vec::with_capacity(n.saturating_sub(1));
    let mut point = vec![0.0; d];
    let mut joined = 0;
    while open.left > 1 {
        if observer.cancelled() {
            return Err(ClusterError::Cancelled);
        }
        let place = open.take(joined, &mut point);
        let core = open.core[joined];
        if 2 * open.left < open.places.len() && open.places.len() > BLOCK {
            open.compact();
        }
        let Lightest { weight, length, at } = open.step(&point, f64::from(place), core);
        edges.push(Found { ends: (open.from[at] as u32, open.places[at]), squared: weight, length });
        observer.advance(1);
        joined = at;
    }
    Ok(edges)
}

/// The points that are not in the tree, and some that are.
struct Open {
    d: usize,
    places: Vec<u32>,
    blocks: Vec<f64>,
    core: Vec<f64>,
    weight: Vec<f64>,
    length: Vec<f64>,
    from: Vec<f64>,
    /// Points that are not in the tree.
    left: usize,
}

impl Open {
    /// Moves the point at position `at` into the tree; its place.
    fn take(&mut self, at: usize, point: &mut [f64]) -> u32 {
        let block = &self.blocks[at / BLOCK * self.d * BLOCK..];
        for (x, from) in point.iter_mut().zip(block.chunks_exact(BLOCK)) {
            *x = from[at % BLOCK];
        }
        self.weight[at] = -1.0;
        self.length[at] = f64::INFINITY;
        self.left -= 1;
        self.places[at]
    }

    /// Drops the points that are in the tree, and keeps the order of the others.
    fn compact(&mut self) {
        let keep: Vec<usize> = (0..self.places.len()).filter(|&i| self.weight[i] >= 0.0).collect();
        let padded = keep.len().div_ceil(BLOCK) * BLOCK;
        for (to, &from) in keep.iter().enumerate() {
            self.places[to] = self.places[from];
            self.core[to] = self.core[from];
            self.weight[to] = self.weight[from];
            self.length[to] = self.length[from];
            self.from[to] = self.from[from];
            for j in 0..self.d {
                self.blocks[(to / BLOCK * self.d + j) * BLOCK + to % BLOCK] =
                    self.blocks[(from / BLOCK * self.d + j) * BLOCK + from % BLOCK];
            }
        }
        self.places.truncate(keep.len());
        self.blocks.truncate(padded * self.d);
        self.core.truncate(padded);
        self.weight.truncate(padded);
        self.weight[keep.len()..].fill(-1.0);
        self.length.truncate(padded);
        self.length[keep.len()..].fill(f64::INFINITY);
        self.from.truncate(padded);
    }

    /// Lowers the weights by the edges to a new point of the tree; the lightest one.
    fn step(&mut self, point: &[f64], place: f64, point_core: f64) -> Lightest {
        let d = self.d;
        let blocks = (TASK / (d * BLOCK)).max(1);
        let points = blocks * BLOCK;
        if self.blocks.len() < 2 * TASK {
            let (weight, length, from) = (&mut self.weight[..], &mut self.length[..], &mut self.from[..]);
            return dispatch(Run { d, blocks: &self.blocks, core: &self.core, weight, length, from, point, place, point_core });
        }
        let given = self.blocks.par_chunks(points * d).zip(self.core.par_chunks(points));
        let kept =
            self.weight.par_chunks_mut(points).zip(self.length.par_chunks_mut(points)).zip(self.from.par_chunks_mut(points));
        let found: Vec<Lightest> = given
            .zip(kept)
            .map(|((blocks, core), ((weight, length), from))| {
                dispatch(Run { d, blocks, core, weight, length, from, point, place, point_core })
            })
            .collect();
        let mut best = Lightest::NONE;
        for (i, found) in found.into_iter().enumerate() {
            if (found.weight, found.length) < (best.weight, best.length) {
                best = Lightest { at: i * points + found.at, ..found };
            }
        }
        best
    }
}
