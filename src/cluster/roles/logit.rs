//! Logistic regression by maximum likelihood.

use super::solve::{apply, inverse};
use super::special::two_sided_p;
use crate::cluster::ClusterError;

/// Newton steps at most.
const STEPS: usize = 100;

/// A coefficient with what is known about it.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Coefficient {
    pub name: String,
    pub value: f64,
    /// Standard error.
    pub se: f64,
    pub z: f64,
    /// Two-sided, by the normal distribution.
    pub p: f64,
}

impl Coefficient {
    pub(super) fn new(name: &str, value: f64, variance: f64) -> Self {
        let se = variance.sqrt();
        Self { name: name.into(), value, se, z: value / se, p: two_sided_p(value / se) }
    }
}

/// A fitted regression.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Logit {
    /// The constant first.
    pub coefficients: Vec<Coefficient>,
    pub log_likelihood: f64,
    /// Of the constant alone.
    pub log_likelihood_null: f64,
    /// McFadden's 1 − ℓ / ℓ₀.
    pub pseudo_r2: f64,
    pub n: usize,
    pub iterations: usize,
}

/// P(y = 1 | x) = 1 / (1 + e^−(β₀ + β·x)) for columns of length n and outcomes.
///
/// Newton's method on columns scaled to their largest value, steps halved while the likelihood falls. O(n p²) a step.
/// Errors: outcomes that are all equal or separated by the columns (the likelihood has no maximum then); columns that depend on each other;
/// numbers that are not finite. Panics when lengths differ. Source: McCullagh & Nelder 1989, section 4.4.
pub fn logit(columns: &[(&str, &[f64])], outcome: &[bool]) -> Result<Logit, ClusterError> {
    let (n, p) = (outcome.len(), columns.len() + 1);
    let ones = outcome.iter().filter(|y| **y).count();
    if ones == 0 || ones == n {
        return Err(ClusterError::Data(format!("{ones} of {n} outcomes are true; a logistic regression needs both kinds")));
    }
    let mut scales = vec![1.0];
    for (name, column) in columns {
        assert_eq!(column.len(), n, "a number of {name} for every outcome");
        if let Some(at) = column.iter().position(|v| !v.is_finite()) {
            return Err(ClusterError::Data(format!("row {at} (from 0) of {name} is {}; expected a finite number", column[at])));
        }
        scales.push(column.iter().fold(0.0f64, |m, v| m.max(v.abs())));
    }
    if let Some(j) = scales.iter().position(|s| *s == 0.0) {
        return Err(ClusterError::Data(format!("{} is 0 in all rows; leave it out", columns[j - 1].0)));
    }
    let mut x = vec![1.0; n * p];
    for (j, (_, column)) in columns.iter().enumerate() {
        column.iter().enumerate().for_each(|(i, v)| x[i * p + j + 1] = v / scales[j + 1]);
    }
    // ℓ = Σ y η − ln(1 + e^η).
    let likelihood = |beta: &[f64]| -> f64 {
        apply(&x, beta)
            .iter()
            .zip(outcome)
            .map(|(&eta, &y)| if y { eta } else { 0.0 } - eta.max(0.0) - (-eta.abs()).exp().ln_1p())
            .sum()
    };
    let mut beta = vec![0.0; p];
    beta[0] = (ones as f64 / (n - ones) as f64).ln();
    let mut value = likelihood(&beta);
    let log_likelihood_null = value;
    let (mut iterations, mut polished) = (0, false);
    let covariance = loop {
        let (mut gradient, mut information) = (vec![0.0; p], vec![0.0; p * p]);
        for (i, row) in x.chunks_exact(p).enumerate() {
            let eta: f64 = row.iter().zip(&beta).map(|(x, b)| x * b).sum();
            let chance = 1.0 / (1.0 + (-eta).exp());
            let rest = f64::from(u8::from(outcome[i])) - chance;
            let weight = chance * (1.0 - chance);
            for j in 0..p {
                gradient[j] += rest * row[j];
                for k in 0..p {
                    information[j * p + k] += weight * row[j] * row[k];
                }
            }
        }
        let covariance = inverse(&information, p).map_err(|j| {
            let name = if j == 0 { "the constant" } else { columns[j - 1].0 };
            ClusterError::Numbers(format!(
                "{name} cannot be told from the columns before it, or the columns separate the outcomes; leave a column out"
            ))
        })?;
        let step = apply(&covariance, &gradient);
        // Twice what the step should gain.
        let gain: f64 = step.iter().zip(&gradient).map(|(s, g)| s * g).sum();
        if polished || iterations == STEPS {
            break covariance;
        }
        // The step after one this short is exact to rounding.
        polished = gain <= 1e-16 * n as f64;
        iterations += 1;
        let mut length = 1.0;
        let next = loop {
            let next: Vec<f64> = beta.iter().zip(&step).map(|(b, s)| b + length * s).collect();
            if likelihood(&next) >= value - 1e-12 * value.abs() || length < 1e-9 {
                break next;
            }
            length *= 0.5;
        };
        value = likelihood(&next);
        beta = next;
    };
    let certain = apply(&x, &beta).iter().filter(|eta| eta.abs() > 30.0).count();
    if iterations == STEPS || certain == n || value > -1e-6 {
        return Err(ClusterError::Numbers(
            "the columns separate the outcomes: the likelihood has no maximum; leave a column out".into(),
        ));
    }
    let names = std::iter::once("constant").chain(columns.iter().map(|c| c.0));
    let coefficients = names
        .enumerate()
        .map(|(j, name)| Coefficient::new(name, beta[j] / scales[j], covariance[j * p + j] / (scales[j] * scales[j])))
        .collect();
    let pseudo_r2 = 1.0 - value / log_likelihood_null;
    Ok(Logit { coefficients, log_likelihood: value, log_likelihood_null, pseudo_r2, n, iterations })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_of_two_by_two_has_closed_forms() {
        // x = 0: 30 of 40 true; x = 1: 10 of 50. β₀ = ln 3, β₁ = ln(1/4) − ln 3; variances are sums of 1 / count.
        let (mut x, mut y) = (Vec::new(), Vec::new());
        for (value, outcome, times) in [(0.0, true, 30), (0.0, false, 10), (1.0, true, 10), (1.0, false, 40)] {
            x.extend(vec![value; times]);
            y.extend(vec![outcome; times]);
        }
        let found = logit(&[("x", &x)], &y).unwrap();
        let expected = [(3f64.ln(), 1.0 / 30.0 + 0.1), (-(12f64.ln()), 1.0 / 30.0 + 0.1 + 0.1 + 1.0 / 40.0)];
        for (c, (value, variance)) in found.coefficients.iter().zip(expected) {
            assert!((c.value - value).abs() < 1e-12 && (c.se - f64::sqrt(variance)).abs() < 1e-12, "{c:?}");
        }
        let likelihood = 30.0 * 0.75f64.ln() + 10.0 * 0.25f64.ln() + 10.0 * 0.2f64.ln() + 40.0 * 0.8f64.ln();
        assert!((found.log_likelihood - likelihood).abs() < 1e-12);
        let null = 40.0 * (4.0f64 / 9.0).ln() + 50.0 * (5.0f64 / 9.0).ln();
        assert!((found.log_likelihood_null - null).abs() < 1e-12 && (found.pseudo_r2 - (1.0 - likelihood / null)).abs() < 1e-12);
        // Units do not matter.
        let scaled: Vec<f64> = x.iter().map(|v| v * 1e6).collect();
        let again = logit(&[("x", &scaled)], &y).unwrap();
        assert!((again.coefficients[1].z - found.coefficients[1].z).abs() < 1e-9);
    }

    #[test]
    fn what_has_no_maximum() {
        let y = [false, false, true, true];
        let text = |columns: &[(&str, &[f64])], y: &[bool]| logit(columns, y).unwrap_err().to_string();
        assert!(text(&[("x", &[1.0, 2.0, 3.0, 4.0])], &y).contains("separate"));
        assert!(text(&[], &[true, true]).contains("2 of 2"));
        assert!(text(&[("x", &[0.0; 4])], &y).contains("x is 0"));
        let x = [1.0, 2.0, 1.0, 5.0];
        assert!(text(&[("x", &x), ("twice", &x.map(|v| 2.0 * v))], &y).contains("twice cannot"));
        assert!(text(&[("x", &[0.0, f64::NAN, 1.0, 1.0])], &y).contains("row 1"));
    }
}
