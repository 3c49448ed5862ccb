//! The number of clusters by the spectrum of a graph's Laplacian.

/// Gaps of increasing eigenvalues λ₁ ≤ λ₂ ≤ …: entry i is λ_{i+2} − λ_{i+1} (counted from 1), the gap behind the first i + 1 of them, which
/// speaks for i + 1 clusters.
pub fn gaps(eigenvalues: &[f64]) -> Vec<f64> {
    eigenvalues.windows(2).map(|w| w[1] - w[0]).collect()
}

/// The k of `range` (inclusive) with the largest gap λ_{k+1} − λ_k, the smaller one of equals; `None` when no k of the range has both
/// eigenvalues. Source: von Luxburg 2007, section 8.3.
pub fn eigengap(eigenvalues: &[f64], range: std::ops::RangeInclusive<usize>) -> Option<usize> {
    let gaps = gaps(eigenvalues);
    let known = range.filter(|&k| k >= 1 && k <= gaps.len() && gaps[k - 1].is_finite());
    known.min_by(|&a, &b| gaps[b - 1].total_cmp(&gaps[a - 1]).then(a.cmp(&b)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_largest_gap_in_range() {
        let eigenvalues = [0.0, 0.25, 0.5, 0.75, 1.75, 2.75];
        assert_eq!(gaps(&eigenvalues), [0.25, 0.25, 0.25, 1.0, 1.0]);
        assert_eq!(eigengap(&eigenvalues, 1..=3), Some(1));
        assert_eq!(eigengap(&eigenvalues, 2..=3), Some(2));
        assert_eq!(eigengap(&eigenvalues, 0..=9), Some(4));
        assert_eq!(eigengap(&eigenvalues, 6..=9), None);
        assert_eq!(eigengap(&[], 1..=3), None);
    }
}
