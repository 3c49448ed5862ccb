//! Two labellings of the same things compared: how far clusters agree with known classes, or with other clusters.
//!
//! | file | what |
//! |---|---|
//! | [`contingency`] | the table that all scores are functions of |
//! | [`pairs`] | pairs of things: adjusted Rand index, Fowlkes-Mallows |
//! | [`information`] | entropies: NMI, AMI, homogeneity, completeness, V-measure |
//! | [`matching`] | one-to-one maps of greatest weight (the assignment problem on a sparse table) |
//! | [`accuracy`] | ACC, mis-clustering error, macro-F1, purity, confusion table |
//!
//! How good a clustering is without a second labelling stands in [`criteria`](super::criteria).

pub mod accuracy;
pub mod contingency;
pub mod information;
pub mod matching;
pub mod pairs;

pub use accuracy::{Confusion, Matched};
pub use contingency::{Contingency, Noise};
pub use information::Average;

/// Adjusted Rand index of two labellings; every label, noise too, is a group. See [`pairs::adjusted_rand`].
///
/// Panics when the lengths differ.
pub fn adjusted_rand(a: &[i32], b: &[i32]) -> f64 {
    pairs::adjusted_rand(&Contingency::new(a, b, Noise::Group))
}

/// All scores of a clustering against known classes.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Scores {
    /// Things that were compared.
    pub n: usize,
    /// Groups of the first and of the second labelling.
    pub classes: usize,
    pub clusters: usize,
    /// Adjusted Rand index, in [-0.5, 1].
    pub ari: f64,
    /// Normalised mutual information by the arithmetic mean of the entropies, in [0, 1].
    pub nmi: f64,
    pub nmi_geometric: f64,
    /// Over the smaller entropy.
    pub nmi_min: f64,
    /// Over the larger entropy.
    pub nmi_max: f64,
    /// Adjusted mutual information (arithmetic mean), at most 1.
    pub ami: f64,
    pub homogeneity: f64,
    pub completeness: f64,
    pub v_measure: f64,
    pub fowlkes_mallows: f64,
    /// Share of things in the cluster that their class is mapped to, under the best one-to-one map.
    pub acc: f64,
    /// 1 − ACC.
    pub mis_clustering_error: f64,
    /// Mean F1 of the classes under the same map.
    pub macro_f1: f64,
    /// Share of things whose class is the most frequent of their cluster.
    pub purity: f64,
}

impl Scores {
    /// Every score of one table (rows: classes, columns: clusters). Cost: that of the dearest, AMI or the matching; see there.
    pub fn of(table: &Contingency) -> Self {
        let matched = Matched::of(table);
        let (homogeneity, completeness, v_measure) = information::homogeneity_completeness_v(table, 1.0);
        Self {
            n: table.n() as usize,
            classes: table.rows().len(),
            clusters: table.columns().len(),
            ari: pairs::adjusted_rand(table),
            nmi: information::normalised(table, Average::Arithmetic),
            nmi_geometric: information::normalised(table, Average::Geometric),
            nmi_min: information::normalised(table, Average::Min),
            nmi_max: information::normalised(table, Average::Max),
            ami: information::adjusted(table, Average::Arithmetic),
            homogeneity,
            completeness,
            v_measure,
            fowlkes_mallows: pairs::fowlkes_mallows(table),
            acc: matched.acc,
            mis_clustering_error: 1.0 - matched.acc,
            macro_f1: matched.macro_f1,
            purity: accuracy::purity(table),
        }
    }
}

#[cfg(test)]
mod tests;
