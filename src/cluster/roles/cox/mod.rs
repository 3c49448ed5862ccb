//! Cox's proportional hazards: what makes things happen sooner.

use super::solve::{apply, inverse};
use super::special::two_sided_p;
use crate::cluster::ClusterError;

/// Newton steps at most.
const STEPS: usize = 100;

/// One row: somebody is watched from `start` to `stop`, and at `stop` it happens or not. Covariates may change from row to row.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Interval {
    /// Watched after this time; 0 for whoever is watched from the beginning.
    pub start: f64,
    pub stop: f64,
    /// Whether it happens at `stop`.
    pub event: bool,
}

/// A coefficient and its hazard ratio.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Hazard {
    pub name: String,
    pub coefficient: f64,
    pub se: f64,
    pub z: f64,
    pub p: f64,
    /// e^coefficient, and e^(coefficient ± 1.96 se).
    pub ratio: f64,
    pub ratio_low: f64,
    pub ratio_high: f64,
}

/// A fitted model.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Cox {
    pub hazards: Vec<Hazard>,
    /// Partial log-likelihood, and that of no covariates.
    pub log_likelihood: f64,
    pub log_likelihood_null: f64,
    /// Harrell's C: of the pairs where one is known to go first, the share where that one has the higher hazard; equal hazards count half.
    /// `None` without such a pair.
    pub concordance: Option<f64>,
    pub n: usize,
    pub events: usize,
    pub iterations: usize,
}

/// Rows in the order of time, from the last to the first, so that those at risk only have to be added, or taken off at their start.
struct Times<'a> {
    rows: &'a [Interval],
    by_stop: Vec<usize>,
    by_start: Vec<usize>,
}

impl<'a> Times<'a> {
    fn new(rows: &'a [Interval]) -> Self {
        let sorted = |key: &dyn Fn(&Interval) -> f64| {
            let mut order: Vec<usize> = (0..rows.len()).collect();
            order.sort_by(|&a, &b| key(&rows[b]).total_cmp(&key(&rows[a])).then(a.cmp(&b)));
            order
        };
        Self { rows, by_stop: sorted(&|r| r.stop), by_start: sorted(&|r| r.start) }
    }

    /// For each distinct time of events, from the last: those who come under observation (stop at or after it), those who leave (start at
    /// or after it), and those it happens to.
    fn each(&self, mut visit: impl FnMut(&[usize], &[usize], &[usize])) {
        let (mut entered, mut left) = (0, 0);
        let mut events = Vec::new();
        while entered < self.by_stop.len() {
            let time = self.rows[self.by_stop[entered]].stop;
            let first = entered;
            while entered < self.by_stop.len() && self.rows[self.by_stop[entered]].stop == time {
                entered += 1;
            }
            let gone = left;
            while left < self.by_start.len() && self.rows[self.by_start[left]].start >= time {
                left += 1;
            }
            events.clear();
            events.extend(self.by_stop[first..entered].iter().copied().filter(|&i| self.rows[i].event));
            visit(&self.by_stop[first..entered], &self.by_start[gone..left], &events);
        }
    }
}

/// Weighted sums over rows: Σw, Σwx, Σwxxᵀ.
#[derive(Clone)]
struct Sums {
    weight: f64,
    first: Vec<f64>,
    second: Vec<f64>,
}

impl Sums {
    fn zero(p: usize) -> Self {
        Self { weight: 0.0, first: vec![0.0; p], second: vec![0.0; p * p] }
    }

    fn add(&mut self, weight: f64, x: &[f64]) {
        let p = x.len();
        self.weight += weight;
        for j in 0..p {
            self.first[j] += weight * x[j];
            for k in 0..p {
                self.second[j * p + k] += weight * x[j] * x[k];
            }
        }
    }
}

/// Partial log-likelihood with Efron's ties, its gradient and information.
fn likelihood(times: &Times, x: &[f64], p: usize, beta: &[f64]) -> (f64, Vec<f64>, Vec<f64>) {
    let eta = if p > 0 { apply(x, beta) } else { vec![0.0; times.rows.len()] };
    // Relative to the largest hazard, which cancels.
    let peak = eta.iter().fold(f64::NEG_INFINITY, |m, e| m.max(*e));
    let row = |i: usize| &x[i * p..(i + 1) * p];
    let (mut value, mut gradient, mut information) = (0.0, vec![0.0; p], vec![0.0; p * p]);
    let mut risk = Sums::zero(p);
    times.each(|enter, leave, events| {
        enter.iter().for_each(|&i| risk.add((eta[i] - peak).exp(), row(i)));
        leave.iter().for_each(|&i| risk.add(-(eta[i] - peak).exp(), row(i)));
        if events.is_empty() {
            return;
        }
        let mut tied = Sums::zero(p);
        for &i in events {
            tied.add((eta[i] - peak).exp(), row(i));
            value += eta[i] - peak;
            gradient.iter_mut().zip(row(i)).for_each(|(g, x)| *g += x);
        }
        for l in 0..events.len() {
            let share = l as f64 / events.len() as f64;
            let weight = risk.weight - share * tied.weight;
            value -= weight.ln();
            let mean: Vec<f64> = (0..p).map(|j| (risk.first[j] - share * tied.first[j]) / weight).collect();
            for j in 0..p {
                gradient[j] -= mean[j];
                for k in 0..p {
                    let second = (risk.second[j * p + k] - share * tied.second[j * p + k]) / weight;
                    information[j * p + k] += second - mean[j] * mean[k];
                }
            }
        }
    });
    (value, gradient, information)
}

/// Fits the hazard h(t | x) = h₀(t) e^(β·x) to rows with covariates (columns of the rows' length).
///
/// Newton's method on standardised columns, steps halved while the likelihood falls; ties by Efron's method; a row is at risk at t when
/// start < t ≤ stop, so one person may have several rows with covariates that change (time-varying form), each but the last without an
/// event. O(n log n + n p²) a step; rows that start late are taken off sums, which costs digits only where few stay.
///
/// Errors: no rows, no events; a row that ends before it starts; numbers that are not finite; a column that is constant or depends on
/// others; a likelihood that grows without end (a column that tells who comes first in every case). Panics when lengths differ.
/// Source: Cox 1972; Efron 1977; Harrell et al. 1982; Therneau & Grambsch 2000, chapter 3.
pub fn cox(columns: &[(&str, &[f64])], rows: &[Interval]) -> Result<Cox, ClusterError> {
    let (n, p) = (rows.len(), columns.len());
    let events = rows.iter().filter(|r| r.event).count();
    if events == 0 {
        return Err(ClusterError::Data(format!("none of {n} rows has an event; a hazard needs some")));
    }
    for (i, r) in rows.iter().enumerate() {
        if !(r.start.is_finite() && r.stop.is_finite() && r.start < r.stop) {
            let found = format!("row {i} (from 0) is watched from {} to {}", r.start, r.stop);
            return Err(ClusterError::Data(format!("{found}; expected finite times, the first before the second")));
        }
    }
    let (mut means, mut scales) = (Vec::new(), Vec::new());
    for (name, column) in columns {
        assert_eq!(column.len(), n, "a number of {name} for every row");
        if let Some(at) = column.iter().position(|v| !v.is_finite()) {
            return Err(ClusterError::Data(format!("row {at} (from 0) of {name} is {}; expected a finite number", column[at])));
        }
        let mean = column.iter().map(|v| v / n as f64).sum::<f64>();
        let scale = column.iter().fold(0.0f64, |m, v| m.max((v - mean).abs()));
        if scale <= 1e-13 * mean.abs() {
            return Err(ClusterError::Data(format!("{name} is {mean} in all rows; leave it out")));
        }
        means.push(mean);
        scales.push(scale);
    }
    let x: Vec<f64> =
        (0..n).flat_map(|i| (0..p).map(move |j| (i, j))).map(|(i, j)| (columns[j].1[i] - means[j]) / scales[j]).collect();
    let times = Times::new(rows);
    let mut beta = vec![0.0; p];
    let (mut value, mut gradient, mut information) = likelihood(&times, &x, p, &beta);
    let log_likelihood_null = value;
    let (mut iterations, mut polished) = (0, false);
    let covariance = loop {
        let covariance = inverse(&information, p).map_err(|j| {
            let name = columns[j].0;
            ClusterError::Numbers(format!(
                "{name} cannot be told from the columns before it, or says who comes first in every case; leave it out"
            ))
        })?;
        let step = apply_or_empty(&covariance, &gradient);
        let gain: f64 = step.iter().zip(&gradient).map(|(s, g)| s * g).sum();
        if polished {
            break covariance;
        }
        // The step after one this short is exact to rounding.
        polished = gain <= 1e-15 * (1.0 + value.abs());
        if iterations == STEPS || beta.iter().any(|b| b.abs() > 300.0) {
            return Err(ClusterError::Numbers(
                "the likelihood of the hazards grows without end: a column says who comes first in every case".into(),
            ));
        }
        iterations += 1;
        let mut length = 1.0;
        let (next, found) = loop {
            let next: Vec<f64> = beta.iter().zip(&step).map(|(b, s)| b + length * s).collect();
            let found = likelihood(&times, &x, p, &next);
            if found.0 >= value - 1e-12 * value.abs() || length < 1e-9 {
                break (next, found);
            }
            length *= 0.5;
        };
        beta = next;
        (value, gradient, information) = found;
    };
    let hazards: Vec<Hazard> = (0..p)
        .map(|j| {
            let (b, se) = (beta[j] / scales[j], covariance[j * p + j].sqrt() / scales[j]);
            let ratio = |b: f64| b.clamp(-700.0, 700.0).exp();
            Hazard {
                name: columns[j].0.into(),
                coefficient: b,
                se,
                z: b / se,
                p: two_sided_p(b / se),
                ratio: ratio(b),
                ratio_low: ratio(b - 1.96 * se),
                ratio_high: ratio(b + 1.96 * se),
            }
        })
        .collect();
    if hazards.iter().any(|h| !(h.z + h.p).is_finite()) || !value.is_finite() {
        return Err(ClusterError::Numbers("the likelihood of the hazards has no curvature; leave columns out".into()));
    }
    let concordance = concordance(&times, &if p > 0 { apply(&x, &beta) } else { vec![0.0; n] });
    Ok(Cox { hazards, log_likelihood: value, log_likelihood_null, concordance, n, events, iterations })
}

fn apply_or_empty(a: &[f64], x: &[f64]) -> Vec<f64> {
    if x.is_empty() { Vec::new() } else { apply(a, x) }
}

/// Counts by rank that can be added up to any rank in O(log n).
struct Ranks(Vec<i64>);

impl Ranks {
    fn add(&mut self, rank: usize, by: i64) {
        let mut at = rank + 1;
        while at < self.0.len() {
            self.0[at] += by;
            at += at & at.wrapping_neg();
        }
    }

    /// Below `rank`.
    fn below(&self, rank: usize) -> i64 {
        let (mut at, mut sum) = (rank, 0);
        while at > 0 {
            sum += self.0[at];
            at -= at & at.wrapping_neg();
        }
        sum
    }
}

/// Harrell's C of scores (higher: sooner). Pairs: an event at t and a row at risk then that lasts longer, or as long without an event.
fn concordance(times: &Times, scores: &[f64]) -> Option<f64> {
    let mut distinct = scores.to_vec();
    distinct.sort_by(f64::total_cmp);
    distinct.dedup();
    let rank = |i: usize| distinct.partition_point(|s| *s < scores[i]);
    let mut present = Ranks(vec![0; distinct.len() + 1]);
    let (mut inside, mut pairs, mut right) = (0i64, 0i64, 0.0);
    times.each(|enter, leave, events| {
        for &i in enter.iter().filter(|&&i| !times.rows[i].event) {
            present.add(rank(i), 1);
            inside += 1;
        }
        for &i in leave {
            present.add(rank(i), -1);
            inside -= 1;
        }
        for &i in events {
            let (below, upto) = (present.below(rank(i)), present.below(rank(i) + 1));
            pairs += inside;
            right += below as f64 + 0.5 * (upto - below) as f64;
        }
        for &i in events {
            present.add(rank(i), 1);
            inside += 1;
        }
    });
    (pairs > 0).then(|| right / pairs as f64)
}

#[cfg(test)]
mod tests;
