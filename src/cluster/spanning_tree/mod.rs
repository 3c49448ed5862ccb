//! The minimum spanning tree of all pairs of points, exactly, under the distance or the mutual reachability
//! `max(core(a), core(b), distance(a, b))`.
//!
//! | file | what |
//! |---|---|
//! | `boruvka.rs` | Borůvka's rounds on a kd-tree |
//! | `prim.rs` | Prim's steps where there is no tree (many coordinates) |
//!
//! Mutual reachabilities are often equal: that of a point with everything in its core distance is this core distance. Of equal ones the
//! shorter edge is lighter, so that the tree, and what is made of it, does not depend on the order of the rows. Where lengths are equal
//! too there are several trees; which one comes out is the same at any number of threads, and the partitions at every weight are those
//! of all of them.

mod boruvka;
mod prim;
#[cfg(test)]
mod tests;

pub(crate) use boruvka::node_minima;

use super::ClusterError;
use super::kd_tree::KdTree;
use crate::run::observer::Observer;

/// An edge of a spanning tree: two rows, the lower first, and their distances (not squared).
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Edge {
    pub a: u32,
    pub b: u32,
    /// Mutual reachability.
    pub distance: f64,
    /// Distance of the two points themselves.
    pub length: f64,
}

/// An edge between two places, with squares.
#[derive(Clone, Copy)]
struct Found {
    ends: (u32, u32),
    squared: f64,
    length: f64,
}

/// What is known about the points before a spanning tree is sought.
#[derive(Debug, Clone, Copy, Default)]
pub struct Cores<'a> {
    /// (n) squared core distance of each *place*; empty: all are zero, the weight is the distance.
    pub squared: &'a [f64],
    /// (n, width) the nearest places of each place within its core distance, nearest first; it may be among them. They save searches.
    pub near: &'a [u32],
    pub width: usize,
}

/// The `n - 1` edges of a minimum spanning tree, by increasing distance, then length, then rows.
/// Errors: cancelled. Cost: with a tree, some rounds of n short searches (about n log n); without, n² d / 2 and O(n d) memory.
/// Source: Borůvka 1926; March, Ram & Gray 2010 (bounds of components and nodes); McInnes & Healy 2017 (with core distances); Prim 1957.
pub fn spanning_tree(tree: &KdTree, cores: Cores, observer: &dyn Observer) -> Result<Vec<Edge>, ClusterError> {
    assert!(cores.squared.is_empty() || cores.squared.len() == tree.n());
    assert_eq!(cores.near.len(), cores.width * tree.n());
    observer.start("spanning tree", tree.n() - 1);
    let mut found =
        if tree.is_flat() { prim::edges(tree, cores.squared, observer)? } else { boruvka::edges(tree, cores, observer)? };
    observer.finish();
    let rows = tree.rows();
    for edge in &mut found {
        let (a, b) = (rows[edge.ends.0 as usize], rows[edge.ends.1 as usize]);
        edge.ends = (a.min(b), a.max(b));
    }
    // By squares: roots of different numbers can be equal.
    found.sort_unstable_by(|x, y| x.squared.total_cmp(&y.squared).then(x.length.total_cmp(&y.length)).then(x.ends.cmp(&y.ends)));
    let edge = |f: Found| Edge { a: f.ends.0, b: f.ends.1, distance: f.squared.sqrt(), length: f.length.sqrt() };
    Ok(found.into_iter().map(edge).collect())
}
