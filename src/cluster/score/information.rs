//! Scores by entropies. All logarithms are natural.

use super::Contingency;

/// The mean of the two entropies that mutual information is divided by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Average {
    #[default]
    Arithmetic,
    Geometric,
    Min,
    Max,
}

impl Average {
    pub const ALL: &[Self] = &[Self::Arithmetic, Self::Geometric, Self::Min, Self::Max];

    pub fn name(self) -> &'static str {
        match self {
            Self::Arithmetic => "arithmetic",
            Self::Geometric => "geometric",
            Self::Min => "min",
            Self::Max => "max",
        }
    }

    fn of(self, a: f64, b: f64) -> f64 {
        match self {
            Self::Arithmetic => 0.5 * (a + b),
            Self::Geometric => (a * b).sqrt(),
            Self::Min => a.min(b),
            Self::Max => a.max(b),
        }
    }
}

/// A sum to a few roundings of its largest partial sum, however many terms: what each addition loses is added at the end (Neumaier 1974).
fn sum(terms: impl Iterator<Item = f64>) -> f64 {
    let (mut sum, mut lost) = (0.0f64, 0.0);
    for x in terms {
        let next = sum + x;
        lost += if sum.abs() >= x.abs() { (sum - next) + x } else { (x - next) + sum };
        sum = next;
    }
    sum + lost
}

/// Entropy of groups of these sizes, in nats.
fn entropy(sums: &[u64], n: u64) -> f64 {
    if sums.len() <= 1 {
        return 0.0;
    }
    let n = n as f64;
    -sum(sums.iter().map(|&s| s as f64 / n * (s as f64 / n).ln()))
}

/// Mutual information of the two labellings, in nats, not negative.
pub fn mutual_information(table: &Contingency) -> f64 {
    let n = table.n() as f64;
    let term = |count: u64, row: u64, column: u64| {
        let count = count as f64;
        count / n * ((count * n) / (row as f64 * column as f64)).ln()
    };
    sum(table.cells().iter().map(|c| term(c.count, table.row_sums()[c.row], table.column_sums()[c.column]))).max(0.0)
}

/// Entropies of rows and columns.
pub fn entropies(table: &Contingency) -> (f64, f64) {
    (entropy(table.row_sums(), table.n()), entropy(table.column_sums(), table.n()))
}

/// Normalised mutual information: mutual information over a mean of the entropies. In [0, 1]; 1 for equal partitions, 0 when one of two
/// different partitions has a single group (where the least of the entropies would divide by 0).
///
/// Source: Strehl & Ghosh 2002; Vinh, Epps & Bailey 2010. Cost: O(cells).
pub fn normalised(table: &Contingency, average: Average) -> f64 {
    if table.same_partition() {
        return 1.0;
    }
    if table.rows().len() <= 1 || table.columns().len() <= 1 {
        return 0.0;
    }
    let (rows, columns) = entropies(table);
    (mutual_information(table) / average.of(rows, columns)).clamp(0.0, 1.0)
}

/// Homogeneity (every cluster holds members of one class), completeness (all members of a class are in one cluster) and their weighted
/// harmonic mean, the V-measure: (1 + β) h c / (β h + c). All in [0, 1]. Rows are the classes, columns the clusters.
///
/// A single class makes homogeneity 1, a single cluster completeness 1. Source: Rosenberg & Hirschberg 2007. Cost: O(cells).
pub fn homogeneity_completeness_v(table: &Contingency, beta: f64) -> (f64, f64, f64) {
    if table.same_partition() {
        return (1.0, 1.0, 1.0);
    }
    let information = mutual_information(table);
    let (rows, columns) = entropies(table);
    let share = |entropy: f64| if entropy > 0.0 { (information / entropy).clamp(0.0, 1.0) } else { 1.0 };
    let (h, c) = (share(rows), share(columns));
    let v = if h + c > 0.0 { (1.0 + beta) * h * c / (beta * h + c) } else { 0.0 };
    (h, c, v)
}

/// Adjusted mutual information: (MI − E) / (mean of entropies − E), E the expectation of MI over all pairs of labellings with these group
/// sizes ([`expected`]). At most 1, reached by equal partitions; 0 on average for random ones; 0 where one of two different partitions has
/// a single group, and where mean and expectation are equal to rounding.
///
/// Source: Vinh, Epps & Bailey 2010, equation 15. Cost: that of [`expected`].
pub fn adjusted(table: &Contingency, average: Average) -> f64 {
    if table.same_partition() {
        return 1.0;
    }
    if table.rows().len() <= 1 || table.columns().len() <= 1 {
        return 0.0;
    }
    let (rows, columns) = entropies(table);
    let (information, expected) = (mutual_information(table), expected(table));
    let (above, room) = (information - expected, average.of(rows, columns) - expected);
    // The logarithms and their sums are good to an eps or two of the entropies each: differences below this are rounding.
    let noise = 16.0 * f64::EPSILON * rows.max(columns);
    if above.abs() <= noise || room.abs() <= noise {
        // One labelling is all singletons: whatever the other is, MI is its largest and its expected value at once.
        return 0.0;
    }
    above / room
}

/// The exact expectation of mutual information when both labellings are drawn at random with their group sizes fixed.
///
/// E = Σ_ij Σ_m (m/n) ln(n m / (a_i b_j)) P(m), P hypergeometric (Vinh, Epps & Bailey 2010, equation 24a). Changed: equal sizes are taken
/// together, so that there are at most √(2n) different rows and columns, and P is built outward from its mode by ratios of neighbours
/// and then normalised instead of by factorials. That needs no tables, keeps all digits for any n (logarithms of factorials lose as many
/// as n has), and each pair of sizes takes as many steps as the distribution is wide, O(√min(a, b)).
pub fn expected(table: &Contingency) -> f64 {
    let counted = |sums: &[u64]| {
        let mut sums = sums.to_vec();
        sums.sort_unstable();
        sums.chunk_by(|x, y| x == y).map(|same| (same[0], same.len() as f64)).collect::<Vec<_>>()
    };
    let (rows, columns) = (counted(table.row_sums()), counted(table.column_sums()));
    let n = table.n();
    sum(rows.iter().map(|&(a, times)| times * sum(columns.iter().map(|&(b, also)| also * mean_term(a, b, n)))))
}

/// Σ_m (m/n) ln(n m / (a b)) P(m) for groups of `a` and `b` out of `n` things.
fn mean_term(a: u64, b: u64, n: u64) -> f64 {
    let (low, high) = ((a + b).saturating_sub(n), a.min(b));
    let mode = (((u128::from(a) + 1) * (u128::from(b) + 1) / (u128::from(n) + 2)) as u64).clamp(low, high);
    let (fa, fb, fn_) = (a as f64, b as f64, n as f64);
    // n − a − b may be negative; where it is used, its sum with m is not.
    let beyond = n as f64 - a as f64 - b as f64;
    let value = |m: f64| if m > 0.0 { m / fn_ * (m * fn_ / (fa * fb)).ln() } else { 0.0 };
    // Terms fall faster than geometrically on both sides of the mode; what is below this share of the largest cannot be seen in the sum.
    const LEAST: f64 = 1e-22;
    let (mut weight, mut value_sum) = (1.0, value(mode as f64));
    let mut p = 1.0;
    for m in mode..high {
        let m = m as f64;
        p *= (fa - m) * (fb - m) / ((m + 1.0) * (beyond + m + 1.0));
        weight += p;
        value_sum += p * value(m + 1.0);
        if p < LEAST {
            break;
        }
    }
    p = 1.0;
    for m in (low + 1..=mode).rev() {
        let m = m as f64;
        p *= m * (beyond + m) / ((fa - m + 1.0) * (fb - m + 1.0));
        weight += p;
        value_sum += p * value(m - 1.0);
        if p < LEAST {
            break;
        }
    }
    value_sum / weight
}
