//! Borůvka's rounds: every component takes its lightest edge to another one, until one component is left.
//!
//! What keeps the rounds short: the best partner of a point stays its best while it lies in another component; a search that finds
//! nothing below the bound of its component leaves that bound as a lower bound of the point; nodes inside the component are passed
//! over; and a point whose lower bound does not beat its component's best is not searched for at all.

use rayon::prelude::*;

use super::{Cores, Found};
use crate::cluster::ClusterError;
use crate::cluster::dendrogram::UnionFind;
use crate::cluster::kd_tree::{BLOCK, KdTree, PIECE, squared, squared_distance};
use crate::kernels::simd::{Kernel, Lanes, dispatch};
use crate::run::observer::Observer;

/// No partner; also the component of a node whose points are in several.
const NONE: u32 = u32::MAX;

/// What an edge weighs: its squared mutual reachability, then its squared length. Compared in this order.
type Weight = (f64, f64);

/// Heavier than all edges.
const HEAVIEST: Weight = (f64::MAX, f64::MAX);

/// What a point knows about its lightest edge to another component.
#[derive(Clone, Copy)]
struct Best {
    /// Of the edge to `partner`, or, without one, no edge is lighter than this.
    weight: Weight,
    /// A place, or [`NONE`].
    partner: u32,
}

/// Edges of a minimum spanning tree.
pub(super) fn edges(tree: &KdTree, cores: Cores, observer: &dyn Observer) -> Result<Vec<Found>, ClusterError> {
    let n = tree.n();
    // Padded, so that whole vectors can be read.
    let mut core = cores.squared.to_vec();
    core.resize(n.div_ceil(BLOCK) * BLOCK, 0.0);
    let least_core = node_minima(tree, &core);
    let mut component: Vec<u32> = (0..n as u32).collect();
    let mut of_node = vec![NONE; tree.nodes().len()];
    let mut best: Vec<Best> = core[..n].iter().map(|&core| Best { weight: (core, 0.0), partner: NONE }).collect();
    let mut sets = UnionFind::new(n);
    let mut edges = Vec::with_capacity(n.saturating_sub(1));
    let mut bounds = vec![HEAVIEST; n];
    let mut lightest = vec![NONE; n];
    let mut first = true;
    while edges.len() + 1 < n {
        mark_nodes(tree, &component, &mut of_node);
        bounds.fill(HEAVIEST);
        for (p, best) in best.iter_mut().enumerate() {
            if best.partner != NONE && component[best.partner as usize] == component[p] {
                best.partner = NONE;
            }
            let bound = &mut bounds[component[p] as usize];
            if best.partner != NONE && best.weight < *bound {
                *bound = best.weight;
            }
        }
        let round =
            Round { tree, core: &core, least_core: &least_core, component: &component, of_node: &of_node, bounds: &bounds };
        let near = if first { cores.near } else { &[] };
        let stopped: Vec<bool> = best
            .par_chunks_mut(PIECE)
            .enumerate()
            .map(|(piece, best)| {
                if observer.cancelled() {
                    return true;
                }
                dispatch(Piece { round: &round, begin: piece * PIECE, best, near, width: cores.width });
                false
            })
            .collect();
        if stopped.contains(&true) {
            return Err(ClusterError::Cancelled);
        }
        first = false;
        lightest.fill(NONE);
        for (p, b) in best.iter().enumerate().filter(|(_, b)| b.partner != NONE) {
            let lightest = &mut lightest[component[p] as usize];
            if *lightest == NONE || b.weight < best[*lightest as usize].weight {
                *lightest = p as u32;
            }
        }
        let before = edges.len();
        // Where several edges of equal weight close a circle, the last one is left out.
        for &p in lightest.iter().filter(|&&p| p != NONE) {
            let Best { weight, partner } = best[p as usize];
            if sets.join(p, partner) {
                edges.push(Found { ends: (p, partner), squared: weight.0, length: weight.1 });
            }
        }
        observer.advance(edges.len() - before);
        for (p, component) in component.iter_mut().enumerate() {
            *component = sets.find(p as u32);
        }
    }
    Ok(edges)
}

/// Of each node the least core distance of its points (squared).
pub(crate) fn node_minima(tree: &KdTree, core: &[f64]) -> Vec<f64> {
    let nodes = tree.nodes();
    let mut least = vec![f64::INFINITY; nodes.len()];
    for (i, node) in nodes.iter().enumerate().rev() {
        least[i] = if node.right == 0 {
            core[node.begin as usize..node.end as usize].iter().copied().fold(f64::INFINITY, f64::min)
        } else {
            least[i + 1].min(least[node.right as usize])
        };
    }
    least
}

/// Of each node the component of all its points, or [`NONE`].
fn mark_nodes(tree: &KdTree, component: &[u32], of_node: &mut [u32]) {
    for (i, node) in tree.nodes().iter().enumerate().rev() {
        of_node[i] = if node.right == 0 {
            let points = &component[node.begin as usize..node.end as usize];
            if points.iter().all(|c| *c == points[0]) { points[0] } else { NONE }
        } else if of_node[i + 1] == of_node[node.right as usize] {
            of_node[i + 1]
        } else {
            NONE
        };
    }
}

/// What stays the same during a round.
struct Round<'a> {
    tree: &'a KdTree,
    /// Padded to whole blocks.
    core: &'a [f64],
    least_core: &'a [f64],
    component: &'a [u32],
    of_node: &'a [u32],
    /// Of each component the weight of the lightest edge known at the start of the round.
    bounds: &'a [Weight],
}

/// Consecutive places, from `begin` on. A bound found in a piece serves the rest of the piece, not other pieces: what is found must not
/// depend on which piece comes first.
struct Piece<'a> {
    round: &'a Round<'a>,
    begin: usize,
    best: &'a mut [Best],
    near: &'a [u32],
    width: usize,
}

/// What a search goes by: the component that it leaves, the core distance it starts from and the lightest edge so far.
struct Limits {
    own: u32,
    own_core: f64,
    weight: Weight,
}

impl Limits {
    /// A node, with a bound of reachability and length of its points. (No closure: it would not be compiled for the instruction set.)
    #[inline(always)]
    fn of(&self, round: &Round, node: u32, query: &[f64]) -> (u32, f64, f64) {
        let least_core = round.least_core[node as usize];
        if round.of_node[node as usize] == self.own || least_core > self.weight.0 {
            return (node, f64::INFINITY, f64::INFINITY);
        }
        let length = round.tree.nearest_corner(node as usize, query);
        (node, length.max(least_core).max(self.own_core), length)
    }
}

impl Kernel<f64> for Piece<'_> {
    type Output = ();
    #[inline(always)]
    fn run<V: Lanes<f64>>(self) {
        let Self { round, begin, best, near, width } = self;
        let Round { tree, core, component, bounds, .. } = round;
        let (mut query, mut other) = (vec![0.0; tree.d()], vec![0.0; tree.d()]);
        let mut stack: Vec<(u32, f64, f64)> = Vec::with_capacity(64);
        let (mut lengths, mut reaches) = ([0.0; BLOCK], [0.0; BLOCK]);
        // The last components seen, and their bounds in this piece.
        const KEPT: usize = 64;
        let mut kept = [(NONE, HEAVIEST); KEPT];
        for (p, best) in (begin..).zip(best.iter_mut()) {
            let own = component[p];
            let slot = own as usize % KEPT;
            let mut weight = bounds[own as usize];
            if kept[slot].0 == own && kept[slot].1 < weight {
                weight = kept[slot].1;
            }
            if best.partner != NONE || best.weight >= weight {
                continue;
            }
            let own_core = core[p];
            let mut partner = NONE;
            tree.copy(p, &mut query);
            stack.clear();
            stack.push((0, 0.0, 0.0));
            if !near.is_empty() {
                // They are within the core distance, so the larger core distance decides, then the order, which is that of lengths.
                let others = near[p * width..(p + 1) * width].iter().filter(|&&q| component[q as usize] != own);
                let reached = others.map(|&q| (own_core.max(core[q as usize]), q));
                if let Some((reach, q)) = reached.min_by(|x, y| x.0.total_cmp(&y.0)) {
                    tree.copy(q as usize, &mut other);
                    let found = (reach, squared_distance(&query, &other));
                    if found < weight {
                        (weight, partner) = (found, q);
                        if reach == own_core {
                            // The shortest edge of the lightest possible reach: those beyond are longer.
                            stack.clear();
                        }
                    }
                }
            }
            while let Some((at, reach, length)) = stack.pop() {
                if (reach, length) >= weight {
                    continue;
                }
                let node = tree.nodes()[at as usize];
                if node.right != 0 {
                    let limits = Limits { own, own_core, weight };
                    let children = [limits.of(round, at + 1, &query), limits.of(round, node.right, &query)];
                    let left_first = (children[0].1, children[0].2) <= (children[1].1, children[1].2);
                    let (near, far) = if left_first { (children[0], children[1]) } else { (children[1], children[0]) };
                    if (far.1, far.2) < weight {
                        stack.push(far);
                    }
                    if (near.1, near.2) < weight {
                        stack.push(near);
                    }
                    continue;
                }
                for b in node.begin as usize / BLOCK..(node.end as usize).div_ceil(BLOCK) {
                    let length = squared::<V>(tree.block(b), &query);
                    length.store(&mut lengths);
                    length.max(V::load(&core[b * BLOCK..])).max(V::splat(own_core)).store(&mut reaches);
                    for (q, (&reach, &length)) in (b * BLOCK..).zip(reaches.iter().zip(&lengths)) {
                        // Padding is infinitely far away.
                        if reach <= weight.0 && component[q] != own && (reach, length) < weight {
                            (weight, partner) = ((reach, length), q as u32);
                        }
                    }
                }
            }
            *best = Best { weight, partner };
            if partner != NONE {
                kept[slot] = (own, weight);
            }
        }
    }
}
