//! The gap statistic: how much tighter clusters are than clusters of points without any.
//!
//! Source: Tibshirani, Walther & Hastie 2001, section 3, with references drawn from the box of the columns (their choice (a)).

use rand::RngExt;

use crate::cluster::Points;
use crate::run::seed::Streams;

/// Reference points, uniform in the box of `points`.
#[derive(Debug, Clone, PartialEq)]
pub struct ReferenceBox {
    n: usize,
    low: Vec<f64>,
    high: Vec<f64>,
}

impl ReferenceBox {
    pub fn new(points: Points) -> Self {
        let (mut low, mut high) = (points.row(0).to_vec(), points.row(0).to_vec());
        for row in points.rows() {
            for (j, &v) in row.iter().enumerate() {
                low[j] = low[j].min(v);
                high[j] = high[j].max(v);
            }
        }
        Self { n: points.n(), low, high }
    }

    /// The `index`-th reference of a seed, (n, d). Its draws depend on nothing else.
    pub fn draw(&self, seed: u64, index: usize) -> Vec<f64> {
        let mut rng = Streams::new(seed).stream("gap reference", index as u64);
        let mut out = Vec::with_capacity(self.n * self.low.len());
        for _ in 0..self.n {
            for (&low, &high) in self.low.iter().zip(&self.high) {
                // Not low + u (high − low), which overflows for the widest boxes.
                let u: f64 = rng.random();
                out.push((low * (1.0 - u) + high * u).clamp(low, high));
            }
        }
        out
    }
}

/// The gap of one k.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Gap {
    /// Mean of ln inertia over the references, less ln inertia of the points.
    pub gap: f64,
    /// Standard deviation of ln inertia over the B references, times √(1 + 1/B).
    pub se: f64,
}

impl Gap {
    /// From inertias. `None` when one of them is 0 (as many clusters as distinct points), or without references.
    pub fn of(inertia: f64, references: &[f64]) -> Option<Self> {
        let b = references.len() as f64;
        let mean = references.iter().map(|w| w.ln()).sum::<f64>() / b;
        let variance = references.iter().map(|w| (w.ln() - mean) * (w.ln() - mean)).sum::<f64>() / b;
        let out = Self { gap: mean - inertia.ln(), se: variance.sqrt() * (1.0 + 1.0 / b).sqrt() };
        (out.gap.is_finite() && out.se.is_finite()).then_some(out)
    }
}

/// The smallest k with gap(k) ≥ gap(k + 1) − se(k + 1), for rows (k, gap) with k one after the other; the last k when none is;
/// `None` without rows.
pub fn one_standard_error(rows: &[(usize, Gap)]) -> Option<usize> {
    let found = rows.windows(2).find(|w| w[0].1.gap >= w[1].1.gap - w[1].1.se);
    found.map(|w| w[0].0).or(rows.last().map(|r| r.0))
}
