//! Clusters named after classes: the best one-to-one map, and what it gets right.

use super::{Contingency, matching};
use crate::cluster::ClusterError;

/// The one-to-one map of classes (rows) to clusters (columns) that gets most things right, and its scores.
#[derive(Debug, Clone, PartialEq)]
pub struct Matched {
    /// For every row of the table its column, or none.
    pub cluster_of: Vec<Option<usize>>,
    /// Things in the cluster of their class, over all things. In [0, 1]; members of clusters without a class count as wrong.
    pub acc: f64,
    /// Mean over the classes of F1 = 2 · both / (size of the class + size of its cluster); a class without a cluster has 0.
    pub macro_f1: f64,
}

impl Matched {
    /// The best map of a table. Where several are equally good, ACC is the same for all, macro-F1 may differ: the map is the one that
    /// [`matching::heaviest`] meets first. Nothing to map scores 1.
    ///
    /// Cost: [`matching::heaviest`] on the cells of the table.
    pub fn of(table: &Contingency) -> Self {
        let cells: Vec<_> = table.cells().iter().map(|c| (c.row, c.column, c.count as f64)).collect();
        let cluster_of = matching::heaviest(table.rows().len(), table.columns().len(), &cells);
        if table.n() == 0 {
            return Self { cluster_of, acc: 1.0, macro_f1: 1.0 };
        }
        let (mut right, mut f1) = (0, 0.0);
        for cell in table.cells().iter().filter(|c| cluster_of[c.row] == Some(c.column)) {
            right += cell.count;
            f1 += 2.0 * cell.count as f64 / (table.row_sums()[cell.row] + table.column_sums()[cell.column]) as f64;
        }
        Self { acc: right as f64 / table.n() as f64, macro_f1: f1 / table.rows().len() as f64, cluster_of }
    }
}

/// Share of things whose class (row) is the most frequent of their cluster (column). In [0, 1], 1 for singletons.
pub fn purity(table: &Contingency) -> f64 {
    if table.n() == 0 {
        return 1.0;
    }
    let mut most = vec![0; table.columns().len()];
    table.cells().iter().for_each(|c| most[c.column] = most[c.column].max(c.count));
    most.iter().sum::<u64>() as f64 / table.n() as f64
}

/// The contingency table for the eye: all cells, clusters in the order of the classes that they are mapped to.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Confusion {
    /// Labels of the rows, increasing.
    pub classes: Vec<i32>,
    /// Labels of the columns: first the clusters of the classes, in the order of the classes, then the others, increasing.
    pub clusters: Vec<i32>,
    /// For every class the label of its cluster.
    pub cluster_of: Vec<Option<i32>>,
    /// (classes, clusters), row by row.
    pub counts: Vec<u64>,
}

/// Most cells of a [`Confusion`].
const MOST_CELLS: usize = 1 << 24;

impl Confusion {
    /// Errors: more than 16.8 million cells, of which most would be empty.
    pub fn of(table: &Contingency, matched: &Matched) -> Result<Self, ClusterError> {
        let (rows, width) = (table.rows().len(), table.columns().len());
        if rows.checked_mul(width).is_none_or(|cells| cells > MOST_CELLS) {
            return Err(ClusterError::Setting {
                what: "the confusion table",
                value: format!("{rows} by {width} cells"),
                expected: format!(
                    "at most {MOST_CELLS} cells; compare labellings with fewer groups, or ask for the scores alone"
                ),
            });
        }
        let mut order: Vec<usize> = matched.cluster_of.iter().flatten().copied().collect();
        let mut place = vec![usize::MAX; width];
        order.iter().enumerate().for_each(|(at, &j)| place[j] = at);
        for (j, place) in place.iter_mut().enumerate().filter(|(_, p)| **p == usize::MAX) {
            *place = order.len();
            order.push(j);
        }
        let mut counts = vec![0; rows * width];
        table.cells().iter().for_each(|c| counts[c.row * width + place[c.column]] = c.count);
        Ok(Self {
            classes: table.rows().to_vec(),
            clusters: order.iter().map(|&j| table.columns()[j]).collect(),
            cluster_of: matched.cluster_of.iter().map(|j| j.map(|j| table.columns()[j])).collect(),
            counts,
        })
    }
}
