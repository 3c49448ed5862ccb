//! Discrete power laws p(x) = x^−α / ζ(α, xmin) for x ≥ xmin: fit, goodness of fit, and whether another law fits better.
//!
//! | file | what |
//! |---|---|
//! | here | α by maximum likelihood, xmin by the least Kolmogorov-Smirnov distance |
//! | [`alternatives`] | log-normal, exponential and truncated power law on the same tail, likelihood ratio tests |
//! | [`bootstrap`] | the p-value of the fit |
//!
//! Source: Clauset, Shalizi & Newman 2009.

pub mod alternatives;
pub mod bootstrap;

use super::special::hurwitz_zeta;
use crate::cluster::ClusterError;

/// Exponents that are looked at: ζ(α, xmin) has no digits left outside.
const EXPONENTS: (f64, f64) = (1.0001, 40.0);

/// How α is found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Estimator {
    /// The maximum of the discrete likelihood.
    #[default]
    Exact,
    /// 1 + n / Σ ln(x / (xmin − ½)), equation 3.7 of the source: close from xmin of about 6 on. The powerlaw package takes it from an xmin
    /// of 10 on.
    Approximate,
}

impl Estimator {
    pub const ALL: &[Self] = &[Self::Exact, Self::Approximate];

    pub fn name(self) -> &'static str {
        match self {
            Self::Exact => "exact",
            Self::Approximate => "approximate",
        }
    }
}

/// A fitted power law.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct PowerLaw {
    pub alpha: f64,
    pub xmin: u64,
    /// Standard error of α, (α − 1) / √tail.
    pub sigma: f64,
    /// Kolmogorov-Smirnov distance of the tail and the fit: the largest |P(X < x)| difference over the values x of the tail.
    pub ks: f64,
    /// Values from xmin on, and all of them.
    pub tail: u64,
    pub n: u64,
    /// Log-likelihood of the tail.
    pub log_likelihood: f64,
}

/// Values by size, each with its count.
#[derive(Debug, Clone, PartialEq)]
pub struct Counts {
    values: Vec<u64>,
    counts: Vec<u64>,
    /// Values from the i-th on, and the sum of their logarithms.
    from: Vec<u64>,
    logs: Vec<f64>,
}

impl Counts {
    /// Errors: no values, or a 0 among them (a power law starts at 1).
    pub fn new(data: &[u64]) -> Result<Self, ClusterError> {
        if data.is_empty() {
            return Err(ClusterError::Data("a power law of no values; give at least two different sizes".into()));
        }
        if let Some(at) = data.iter().position(|&x| x == 0) {
            return Err(ClusterError::Data(format!(
                "value {at} (from 0) is 0; a power law has sizes of 1 or more, leave the others out"
            )));
        }
        let mut sorted = data.to_vec();
        sorted.sort_unstable();
        let (values, counts): (Vec<u64>, Vec<u64>) = sorted.chunk_by(|a, b| a == b).map(|s| (s[0], s.len() as u64)).unzip();
        let (mut from, mut logs) = (vec![0; values.len()], vec![0.0; values.len()]);
        let (mut n, mut log) = (0, 0.0);
        for i in (0..values.len()).rev() {
            n += counts[i];
            log += counts[i] as f64 * (values[i] as f64).ln();
            (from[i], logs[i]) = (n, log);
        }
        Ok(Self { values, counts, from, logs })
    }

    /// All values.
    pub fn n(&self) -> u64 {
        self.from[0]
    }

    /// Different values, increasing, and how often each occurs.
    pub fn values(&self) -> (&[u64], &[u64]) {
        (&self.values, &self.counts)
    }

    /// The place of the first value that is at least `xmin`.
    fn place(&self, xmin: u64) -> usize {
        self.values.partition_point(|&v| v < xmin)
    }

    /// Values and counts from `xmin` on.
    pub fn tail(&self, xmin: u64) -> (&[u64], &[u64]) {
        let at = self.place(xmin);
        (&self.values[at..], &self.counts[at..])
    }
}

/// The exponent for the values from `xmin` on. Errors: fewer than two different values there; all of them so close that α would exceed 40.
pub fn exponent(counts: &Counts, xmin: u64, estimator: Estimator) -> Result<f64, ClusterError> {
    match estimator {
        Estimator::Exact => most_likely(counts, xmin),
        Estimator::Approximate => {
            let at = counts.place(xmin);
            if at >= counts.values.len() {
                return Err(ClusterError::Data(format!("no value is {xmin} or more")));
            }
            let mean = counts.logs[at] / counts.from[at] as f64;
            Ok(1.0 + 1.0 / (mean - (xmin as f64 - 0.5).ln()))
        }
    }
}

/// The exponent that maximises −n ln ζ(α, xmin) − α Σ ln x over the values from `xmin` on, by Newton's method on the derivative within a
/// bracket.
fn most_likely(counts: &Counts, xmin: u64) -> Result<f64, ClusterError> {
    let at = counts.place(xmin);
    if at + 1 >= counts.values.len() {
        return Err(ClusterError::Data(format!("the values from {xmin} on are not two different ones; a power law needs them")));
    }
    let mean = counts.logs[at] / counts.from[at] as f64;
    // −ζ'/ζ falls from ∞ to ln xmin: one root.
    let excess = |alpha: f64| {
        let (z, slope) = hurwitz_zeta(alpha, xmin as f64);
        -slope / z - mean
    };
    let (mut low, mut high) = EXPONENTS;
    if excess(high) > 0.0 {
        return Err(ClusterError::Numbers(format!(
            "the values from {xmin} on fall off faster than a power law of exponent {high}"
        )));
    }
    if excess(low) < 0.0 {
        return Err(ClusterError::Numbers(format!("the values from {xmin} on hardly fall off: an exponent below {low}")));
    }
    // The continuous approximation, equation 3.7 of the source.
    let guess = 1.0 + 1.0 / (mean - (xmin as f64 - 0.5).ln());
    let mut alpha = if guess > low && guess < high { guess } else { 0.5 * (low + high) };
    for _ in 0..200 {
        let value = excess(alpha);
        if value > 0.0 {
            low = alpha;
        } else {
            high = alpha;
        }
        let h = 1e-5 * (alpha - 1.0);
        let slope = (excess(alpha + h) - excess(alpha - h)) / (2.0 * h);
        let newton = alpha - value / slope;
        let next = if newton > low && newton < high { newton } else { 0.5 * (low + high) };
        let moved = (next - alpha).abs();
        alpha = next;
        if moved <= 4.0 * f64::EPSILON * alpha || value == 0.0 {
            break;
        }
    }
    Ok(alpha)
}

/// The Kolmogorov-Smirnov distance of the values from `xmin` on and the law: the largest |share of values below x − P(X < x)| over the
/// values x themselves (as the powerlaw package and the authors' programs take it).
fn distance(counts: &Counts, xmin: u64, alpha: f64) -> f64 {
    let at = counts.place(xmin);
    let (n, whole) = (counts.from[at] as f64, hurwitz_zeta(alpha, xmin as f64).0);
    let apart = |i: usize| {
        let below = 1.0 - counts.from[i] as f64 / n;
        (below - (1.0 - hurwitz_zeta(alpha, counts.values[i] as f64).0 / whole)).abs()
    };
    (at..counts.values.len()).map(apart).fold(0.0, f64::max)
}

/// The law with a given `xmin`. Errors: those of [`exponent`].
pub fn fit_from(counts: &Counts, xmin: u64, estimator: Estimator) -> Result<PowerLaw, ClusterError> {
    let alpha = exponent(counts, xmin, estimator)?;
    let at = counts.place(xmin);
    let tail = counts.from[at];
    let log_likelihood = -(tail as f64) * hurwitz_zeta(alpha, xmin as f64).0.ln() - alpha * counts.logs[at];
    let sigma = (alpha - 1.0) / (tail as f64).sqrt();
    Ok(PowerLaw { alpha, xmin, sigma, ks: distance(counts, xmin, alpha), tail, n: counts.n(), log_likelihood })
}

/// The law whose xmin, among the values but the largest, has the least Kolmogorov-Smirnov distance (the smallest xmin of equals).
///
/// Cost: O(u²) zeta functions for u different values. Errors: fewer than two different values; no xmin with a fit.
pub fn fit(counts: &Counts, estimator: Estimator) -> Result<PowerLaw, ClusterError> {
    let mut best: Option<PowerLaw> = None;
    let mut why = None;
    for &xmin in &counts.values[..counts.values.len() - 1] {
        match fit_from(counts, xmin, estimator) {
            Ok(found) if best.is_none_or(|b| found.ks < b.ks) => best = Some(found),
            Ok(_) => {}
            Err(error) => why = Some(error),
        }
    }
    best.ok_or_else(|| {
        why.unwrap_or_else(|| {
            ClusterError::Data(format!("all {} values are {}; a power law needs different ones", counts.n(), counts.values[0]))
        })
    })
}

#[cfg(test)]
mod tests;
