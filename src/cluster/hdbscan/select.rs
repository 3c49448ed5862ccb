//! Which clusters of the condensed tree are taken, and what that means for a point.

use super::condense::CondensedTree;
use super::{HdbscanOptions, Selection};

/// No cluster that was taken.
const NONE: u32 = u32::MAX;

/// The clusters that were taken, ready to label points.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Chosen {
    /// Of each cluster of the tree the one taken that it lies in, or [`NONE`].
    owner: Vec<u32>,
    /// Label of each cluster that was taken; -1 for the others.
    label: Vec<i32>,
    /// The largest density at which something leaves the cluster: a point, or a child by splitting off.
    death: Vec<f64>,
    /// The largest such density of the cluster and all below it.
    deepest: Vec<f64>,
    /// The density from which a point belongs to the root, where the root was taken.
    root_from: f64,
}

impl Chosen {
    pub fn new(tree: &CondensedTree, options: &HdbscanOptions) -> Self {
        let count = tree.clusters.len();
        let mut death = vec![0.0f64; count];
        for i in 0..tree.cluster_of.len() {
            let death = &mut death[tree.cluster_of[i] as usize];
            *death = death.max(tree.lambda_of(i));
        }
        for cluster in &tree.clusters {
            if let Some(parent) = cluster.parent {
                death[parent as usize] = death[parent as usize].max(cluster.birth);
            }
        }
        let mut deepest = death.clone();
        for c in (1..count).rev() {
            if let Some(parent) = tree.clusters[c].parent {
                deepest[parent as usize] = deepest[parent as usize].max(deepest[c]);
            }
        }
        let taken = take(tree, options);
        let (mut owner, mut label, mut next) = (vec![NONE; count], vec![-1; count], 0);
        for c in 0..count {
            let above = tree.clusters[c].parent.map_or(NONE, |p| owner[p as usize]);
            owner[c] = if above == NONE && taken[c] { c as u32 } else { above };
            if owner[c] == c as u32 {
                label[c] = next;
                next += 1;
            }
        }
        let root_from = if options.epsilon > 0.0 { 1.0 / options.epsilon } else { death[0] };
        Self { owner, label, death, deepest, root_from }
    }

    /// Label and strength of a point that falls off `cluster` at density `lambda`.
    pub fn label(&self, cluster: u32, lambda: f64) -> (i32, f64) {
        let owner = self.owner[cluster as usize];
        if owner == NONE || (owner == 0 && lambda < self.root_from) {
            return (-1, 0.0);
        }
        let death = self.death[owner as usize];
        // An infinite density below an infinite one is the strongest; a finite one has no strength beside it.
        let strength = if death == 0.0 || lambda.is_infinite() { 1.0 } else { lambda.min(death) / death };
        (self.label[owner as usize], strength)
    }

    /// GLOSH score of a point that falls off `cluster` at density `lambda`.
    pub fn outlier_score(&self, cluster: u32, lambda: f64) -> f64 {
        let deepest = self.deepest[cluster as usize];
        if deepest == 0.0 || lambda.is_infinite() {
            0.0
        } else if deepest.is_infinite() {
            1.0
        } else {
            (deepest - lambda.min(deepest)) / deepest
        }
    }

    /// Renumbers labels so that `order[new]` was the old one. Labels without points go. The cluster behind each new label.
    pub fn renumber(&mut self, order: &[i32]) -> Vec<u32> {
        let mut clusters = vec![NONE; order.len()];
        for (c, label) in self.label.iter_mut().enumerate().filter(|(_, l)| **l >= 0) {
            match order.iter().position(|o| o == label) {
                Some(new) => {
                    clusters[new] = c as u32;
                    *label = new as i32;
                }
                None => *label = -1,
            }
        }
        clusters
    }
}

/// Flags of the clusters that are taken. Of nested ones the outermost counts.
fn take(tree: &CondensedTree, options: &HdbscanOptions) -> Vec<bool> {
    let clusters = &tree.clusters;
    let children = tree.children();
    let root = options.allow_single_cluster && clusters[0].size >= options.min_cluster_size;
    let mut taken = vec![true; clusters.len()];
    match options.selection {
        Selection::Eom => {
            let most = options.max_cluster_size.unwrap_or(usize::MAX);
            let mut stability: Vec<f64> = clusters.iter().map(|c| c.stability).collect();
            taken[0] = root;
            for c in (usize::from(!root)..clusters.len()).rev() {
                // In an order of their own, so that the sum does not depend on the order of the rows.
                let mut below: Vec<f64> = children[c].iter().map(|&c| stability[c as usize]).collect();
                below.sort_unstable_by(f64::total_cmp);
                let below: f64 = below.into_iter().sum();
                if below > stability[c] || clusters[c].size > most {
                    taken[c] = false;
                    stability[c] = below;
                }
            }
        }
        Selection::Leaf => {
            for (c, taken) in taken.iter_mut().enumerate() {
                *taken = children[c].is_empty();
            }
            taken[0] &= root;
        }
    }
    outermost(tree, &mut taken);
    if options.epsilon > 0.0 && !taken[0] {
        let found: Vec<usize> = (0..clusters.len()).filter(|&c| taken[c]).collect();
        taken.fill(false);
        for c in found {
            taken[merged_up(tree, c, options)] = true;
        }
        outermost(tree, &mut taken);
    }
    taken
}

/// Leaves the outermost of nested flags.
fn outermost(tree: &CondensedTree, taken: &mut [bool]) {
    let mut within = vec![false; taken.len()];
    for c in 1..taken.len() {
        if let Some(parent) = tree.clusters[c].parent.map(|p| p as usize) {
            within[c] = within[parent] || taken[parent];
            taken[c] &= !within[c];
        }
    }
}

/// The cluster itself when it is born at `epsilon` or above; else the first one around it that is born above `epsilon`, or the last one
/// below the root (the root, where it may be a cluster).
fn merged_up(tree: &CondensedTree, mut c: usize, options: &HdbscanOptions) -> usize {
    let born_at = |c: usize| 1.0 / tree.clusters[c].birth;
    if born_at(c) >= options.epsilon {
        return c;
    }
    while let Some(parent) = tree.clusters[c].parent.map(|p| p as usize) {
        if parent == 0 {
            return if options.allow_single_cluster { 0 } else { c };
        }
        c = parent;
        if born_at(c) > options.epsilon {
            break;
        }
    }
    c
}
