//! Scores over pairs of things: together or apart in one labelling and in the other.

use super::Contingency;

/// Pairs of `n` things.
fn pairs(n: u64) -> f64 {
    // n (n − 1) is exact in u128, and the quotient is rounded once.
    (u128::from(n) * u128::from(n.saturating_sub(1)) / 2) as f64
}

/// Pairs that are together: in a cell, in a row, in a column; and all pairs.
fn sums(table: &Contingency) -> [f64; 4] {
    let sum = |counts: &mut dyn Iterator<Item = u64>| counts.map(pairs).sum::<f64>();
    [
        sum(&mut table.cells().iter().map(|c| c.count)),
        sum(&mut table.row_sums().iter().copied()),
        sum(&mut table.column_sums().iter().copied()),
        pairs(table.n()),
    ]
}

/// Adjusted Rand index: (index − expected) / ((rows + columns) / 2 − expected), where index, rows and columns count the pairs that
/// are together in both, in the first and in the second labelling, and expected = rows · columns / all pairs. In [-0.5, 1]; 1 for equal
/// partitions (also of one thing or none), 0 on average for random ones.
///
/// Source: Hubert & Arabie 1985, equation 5. Cost: O(cells).
pub fn adjusted_rand(table: &Contingency) -> f64 {
    if table.same_partition() {
        return 1.0;
    }
    let [index, rows, columns, all] = sums(table);
    // Partitions that differ have a pair that is together in one and apart in the other, so the denominator is positive.
    let expected = rows * columns / all;
    (index - expected) / (0.5 * (rows + columns) - expected)
}

/// Fowlkes-Mallows index: pairs together in both over the geometric mean of those together in each. In [0, 1]; 0 when no pair is together
/// in both (as scikit-learn), so also for singletons.
///
/// Source: Fowlkes & Mallows 1983. Cost: O(cells).
pub fn fowlkes_mallows(table: &Contingency) -> f64 {
    let [index, rows, columns, _] = sums(table);
    if index > 0.0 { (index / rows).sqrt() * (index / columns).sqrt() } else { 0.0 }
}
