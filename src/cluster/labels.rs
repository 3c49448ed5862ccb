//! Labels: 0, 1, 2, … in the order in which clusters first appear, or [`NOISE`].

/// The label of a point in no cluster.
pub const NOISE: i32 = -1;

/// Renumbers clusters by their first appearance in row order, so that equal partitions are equal labels; noise stays.
/// Returns, for each new label, the old one.
pub fn canonical(labels: &mut [i32]) -> Vec<i32> {
    let mut old: Vec<i32> = Vec::new();
    let mut new = std::collections::HashMap::new();
    for label in labels.iter_mut().filter(|l| **l >= 0) {
        *label = *new.entry(*label).or_insert_with(|| {
            old.push(*label);
            old.len() as i32 - 1
        });
    }
    old
}

/// Number of clusters of canonical labels.
pub fn count(labels: &[i32]) -> usize {
    labels.iter().copied().max().map_or(0, |l| (l + 1).max(0) as usize)
}
