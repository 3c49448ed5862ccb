//! Merges of clusters: union-find, trees in scipy's layout, and cuts.

use super::labels;
use super::spanning_tree::Edge;

/// Disjoint sets of `0..n`.
#[derive(Debug, Clone)]
pub struct UnionFind {
    parent: Vec<u32>,
    size: Vec<u32>,
}

impl UnionFind {
    pub fn new(n: usize) -> Self {
        Self { parent: (0..n as u32).collect(), size: vec![1; n] }
    }

    /// The representative of the set of `i`.
    pub fn find(&mut self, mut i: u32) -> u32 {
        while self.parent[i as usize] != i {
            let above = self.parent[self.parent[i as usize] as usize];
            self.parent[i as usize] = above;
            i = above;
        }
        i
    }

    /// Joins the sets of `a` and `b`; whether they were two. The larger set gives the representative, of equal ones the lower one.
    pub fn join(&mut self, a: u32, b: u32) -> bool {
        let (a, b) = (self.find(a), self.find(b));
        if a == b {
            return false;
        }
        let a_first = (self.size[b as usize], a) < (self.size[a as usize], b);
        let (to, from) = if a_first { (a, b) } else { (b, a) };
        self.parent[from as usize] = to;
        self.size[to as usize] += self.size[from as usize];
        true
    }

    /// Points in the set of `i`.
    pub fn size(&mut self, i: u32) -> usize {
        let root = self.find(i);
        self.size[root as usize] as usize
    }
}

/// A merge of two clusters. Points are clusters `0..n`; merge `i` makes cluster `n + i`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Merge {
    /// The two clusters, the lower number first.
    pub left: u32,
    pub right: u32,
    pub height: f64,
    /// Points of the new cluster.
    pub size: u32,
}

/// All merges of `n` points into one cluster, in their order.
#[derive(Debug, Clone, PartialEq)]
pub struct Dendrogram {
    n: usize,
    merges: Vec<Merge>,
}

impl Dendrogram {
    /// From pairs of points of the clusters to be merged, with heights, in the order of the merges: `n - 1` pairs, which connect all
    /// points.
    pub(crate) fn from_pairs(n: usize, pairs: impl IntoIterator<Item = (u32, u32, f64)>) -> Self {
        let mut sets = UnionFind::new(n);
        let mut cluster: Vec<u32> = (0..n as u32).collect();
        let mut merges = Vec::with_capacity(n.saturating_sub(1));
        for (a, b, height) in pairs {
            let (left, right) = (cluster[sets.find(a) as usize], cluster[sets.find(b) as usize]);
            let joined = sets.join(a, b);
            assert!(joined, "the points of a merge are in two clusters");
            cluster[sets.find(a) as usize] = (n + merges.len()) as u32;
            merges.push(Merge { left: left.min(right), right: left.max(right), height, size: sets.size(a) as u32 });
        }
        assert_eq!(merges.len() + 1, n, "merges connect all points");
        Self { n, merges }
    }

    /// The merges of single linkage from the sorted edges of a minimum spanning tree of `n` points.
    pub fn from_edges(n: usize, edges: &[Edge]) -> Self {
        Self::from_pairs(n, edges.iter().map(|e| (e.a, e.b, e.distance)))
    }

    /// Number of points.
    pub fn n(&self) -> usize {
        self.n
    }

    pub fn merges(&self) -> &[Merge] {
        &self.merges
    }

    /// The layout of `scipy.cluster.hierarchy`: (n - 1, 4), each row the two clusters, the height and the number of points.
    pub fn to_scipy(&self) -> Vec<f64> {
        self.merges.iter().flat_map(|m| [f64::from(m.left), f64::from(m.right), m.height, f64::from(m.size)]).collect()
    }

    /// Canonical labels (n) after all but the last `k - 1` merges. Panics unless `1 <= k <= n`.
    pub fn cut(&self, k: usize) -> Vec<i32> {
        assert!((1..=self.n).contains(&k), "a cut of {} points into {k} clusters", self.n);
        let merges = &self.merges[..self.n - k];
        // From the top down, every cluster that was made takes the label of the one it went into.
        let mut owner: Vec<u32> = (0..(self.n + merges.len()) as u32).collect();
        for (i, merge) in merges.iter().enumerate().rev() {
            let to = owner[self.n + i];
            owner[merge.left as usize] = to;
            owner[merge.right as usize] = to;
        }
        let mut found: Vec<i32> = owner[..self.n].iter().map(|&o| o as i32).collect();
        labels::canonical(&mut found);
        found
    }

    /// How many clusters are left when merges at or above `height` are not made: one more than there are such merges.
    pub fn clusters_below(&self, height: f64) -> usize {
        1 + self.merges.iter().filter(|m| m.height >= height).count()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chain() -> Dendrogram {
        // Points 0 1 . 3 . . 6 on a line.
        Dendrogram::from_pairs(4, [(0, 1, 1.0), (1, 2, 2.0), (3, 0, 3.0)])
    }

    #[test]
    fn merges_are_numbered_as_scipy_does() {
        assert_eq!(chain().to_scipy(), [0.0, 1.0, 1.0, 2.0, 2.0, 4.0, 2.0, 3.0, 3.0, 5.0, 3.0, 4.0]);
    }

    #[test]
    fn cuts_undo_the_last_merges() {
        let tree = chain();
        assert_eq!(tree.cut(1), [0; 4]);
        assert_eq!(tree.cut(2), [0, 0, 0, 1]);
        assert_eq!(tree.cut(3), [0, 0, 1, 2]);
        assert_eq!(tree.cut(4), [0, 1, 2, 3]);
        assert_eq!([0.5, 1.0, 1.5, 3.0, 3.5].map(|h| tree.clusters_below(h)), [4, 4, 3, 2, 1]);
    }

    #[test]
    fn one_point_has_no_merges() {
        let tree = Dendrogram::from_pairs(1, []);
        assert_eq!((tree.merges().len(), tree.cut(1)), (0, vec![0]));
    }

    #[test]
    fn sets_know_their_sizes() {
        let mut sets = UnionFind::new(5);
        assert!(sets.join(0, 3) && sets.join(3, 4) && !sets.join(4, 0));
        assert_eq!((sets.size(4), sets.size(1)), (3, 1));
        assert_eq!(sets.find(0), sets.find(4));
    }
}
