//! The outer loop: LA-SDP and covariance estimates in turn.

use super::gaussian::{Gaussian, Rule, one_hot};
use super::lifted::Lifted;
use super::reduce::{self, Map};
use super::{Covariance, IlaSdpOptions, OuterIteration, Start, Stop};
use crate::cluster::kmeans::{KmeansOptions, kmeans};
use crate::cluster::sdp::admm::Limits;
use crate::cluster::sdp::frame::Frame;
use crate::cluster::sdp::{SdpOptions, sdp};
use crate::cluster::{ClusterError, Points, labels};
use crate::run::observer::Observer;

/// Change of covariances, over the mean variance of the columns, below which they count as settled.
const SETTLED: f64 = 1e-4;
/// The default ridge over the mean variance of the columns.
const RIDGE: f64 = 1e-6;

/// n · log of the squared scale to the p: what −2 log-likelihoods differ by between the frame and the units of the points.
pub(super) fn unit_shift(n: usize, p: usize, scale: f64) -> f64 {
    2.0 * (n * p) as f64 * scale.ln()
}

/// Gaussians around zero of covariances (k, d, d) in the units of the points.
pub(super) fn given(covariances: &[f64], d: usize, scale: f64) -> Result<Vec<Gaussian>, ClusterError> {
    let one = |c: &[f64]| {
        let scaled: Vec<f64> = c.iter().map(|v| v / scale / scale).collect();
        if (0..d * d).any(|e| !c[e].is_finite() || c[e] != c[e % d * d + e / d]) {
            return Err(ClusterError::Data("a starting covariance is not a symmetric matrix of finite numbers".into()));
        }
        Gaussian::new(vec![0.0; d], scaled)
    };
    covariances.chunks_exact(d * d).map(one).collect()
}

/// Rows of the loop in their frame and after principal components.
pub(super) struct Inner<'a> {
    /// (m, p).
    rows: Vec<f64>,
    m: usize,
    p: usize,
    rule: Rule,
    /// Mean variance of the columns, and of those the estimates are made in (one with discriminant directions).
    spread: f64,
    shift: f64,
    options: &'a IlaSdpOptions,
}

/// Where the loop stands at first.
pub(super) struct Begin {
    labels: Option<Vec<i32>>,
    groups: Option<Vec<Gaussian>>,
}

/// The best iterate and the way there.
pub(super) struct Found {
    pub labels: Vec<i32>,
    pub groups: Vec<Gaussian>,
    /// Discriminant directions of the labels, with `lda`.
    pub map: Option<Map>,
    pub weights: Vec<f64>,
    pub objective: f64,
    pub best: usize,
    pub outer: Vec<OuterIteration>,
    pub stop: Stop,
}

impl<'a> Inner<'a> {
    pub fn new(rows: Vec<f64>, p: usize, options: &'a IlaSdpOptions, frame: &Frame) -> Result<Self, ClusterError> {
        let m = rows.len() / p;
        let (covariance, _) = reduce::total(&rows, p);
        let spread = (0..p).map(|i| covariance[i * p + i]).sum::<f64>() / p as f64;
        if !(spread > 0.0 && spread.is_finite()) {
            return Err(ClusterError::Numbers(
                "the points have no variance, or one beyond the range of numbers; rescale the columns".into(),
            ));
        }
        let (own, shift) = if options.lda { (1.0, 0.0) } else { (spread, unit_shift(m, p, frame.scale)) };
        // A ridge in units of the points, unless discriminant directions have none.
        let ridge = options.ridge.map_or(RIDGE * own, |r| if options.lda { r } else { r / frame.scale / frame.scale });
        if !(ridge > 0.0 && ridge.is_finite()) {
            let expected = "a number that neither vanishes nor overflows beside the variance of the points".into();
            return Err(ClusterError::Setting { what: "ridge", value: format!("{:?}", options.ridge), expected });
        }
        let rule = Rule { covariance: options.covariance, ridge };
        Ok(Self { rows, m, p, rule, spread: own, shift, options })
    }

    pub fn start(
        &self,
        start: Start,
        kept: Option<&[usize]>,
        frame: &Frame,
        observer: &dyn Observer,
    ) -> Result<Begin, ClusterError> {
        let (k, options) = (self.options.k, self.options);
        let points = Points::new(&self.rows, self.m, self.p)?;
        let found = match start {
            Start::Covariances(covariances) => {
                return Ok(Begin { labels: None, groups: Some(given(covariances, self.p, frame.scale)?) });
            }
            Start::Labels(given) => {
                let mut own = kept.map_or_else(|| given.to_vec(), |kept| kept.iter().map(|&i| given[i]).collect());
                if let Some(label) = own.iter().find(|&&l| l < 0) {
                    return Err(ClusterError::Data(format!("a starting label is {label}; every point needs a group (from 0)")));
                }
                labels::canonical(&mut own);
                let groups = labels::count(&own);
                if groups != k {
                    return Err(ClusterError::Data(format!(
                        "the starting labels of the {} rows have {groups} groups; k is {k}",
                        self.m
                    )));
                }
                own
            }
            Start::Kmeans => {
                let settings = KmeansOptions { k, restarts: options.restarts, seed: options.seed, ..KmeansOptions::default() };
                kmeans(points, &settings, observer)?.labels
            }
            Start::Sdp => {
                let settings = SdpOptions { k, restarts: options.restarts, seed: options.seed, ..SdpOptions::default() };
                sdp(points, &settings, observer)?.labels
            }
        };
        Ok(Begin { labels: Some(found), groups: None })
    }

    /// The space that labels are judged in, and the map to it.
    fn space(&self, labels: &[i32]) -> Result<(Option<Map>, Vec<f64>), ClusterError> {
        if !self.options.lda || self.options.k == 1 {
            return Ok((None, self.rows.clone()));
        }
        let map = reduce::discriminant(&self.rows, self.p, labels, self.options.k, self.rule.ridge * self.total_spread())?;
        let rows = map.apply(&self.rows);
        Ok((Some(map), rows))
    }

    /// Mean variance of the columns of `rows`, for the ridge of the covariance that directions are found from.
    fn total_spread(&self) -> f64 {
        let (covariance, _) = reduce::total(&self.rows, self.p);
        (0..self.p).map(|i| covariance[i * self.p + i]).sum::<f64>() / self.p as f64
    }

    pub fn run(&self, begin: Begin, observer: &dyn Observer) -> Result<Found, ClusterError> {
        let (k, m) = (self.options.k, self.m);
        let tied = self.options.covariance == Covariance::Tied;
        let mut best: Option<Found> = None;
        if let Some(labels) = &begin.labels {
            self.judge(&mut best, labels, &one_hot(labels, k), 0)?;
        }
        let mut outer: Vec<OuterIteration> = Vec::new();
        let mut stop = Stop::Limit;
        let mut weights = begin.labels.as_ref().map(|l| one_hot(l, k));
        let mut labels = begin.labels;
        let mut seen: Vec<Vec<i32>> = labels.iter().map(|l| canonical(l)).collect();
        let mut lifted = Lifted::new(m, if tied { 1 } else { k });
        let limits = Limits { iterations: self.options.max_iterations, tolerance: self.options.tolerance };
        observer.start("iLA-SDP", self.options.outer);
        let count = if k == 1 { 0 } else { self.options.outer };
        if k == 1 {
            stop = Stop::Converged;
            labels = Some(vec![0; m]);
            self.judge(&mut best, &vec![0; m], &vec![1.0; m], 0)?;
        }
        for number in 1..=count {
            let (_, rows) = match &labels {
                Some(labels) => self.space(labels)?,
                None => (None, self.rows.clone()),
            };
            let (groups, pooled) = match (&weights, &begin.groups) {
                (Some(weights), _) => self.rule.fit(&rows, weights, k)?,
                (None, Some(groups)) => (groups.clone(), 0),
                (None, None) => unreachable!("a start has labels or covariances"),
            };
            let solution = lifted.solve(&rows, &groups, tied, limits, &Quiet(observer))?;
            let mut new_weights = solution.weights;
            let mut new = if tied { Vec::new() } else { heaviest(&new_weights, k) };
            let least = self.rule.least(rows.len() / m).max(1.0);
            let rounded = tied || (0..k as i32).any(|g| (new.iter().filter(|l| **l == g).count() as f64) < least);
            if rounded {
                new = self.round(&lifted, labels.as_deref(), observer)?;
                new_weights = one_hot(&new, k);
            }
            let moved = labels.as_ref().map_or(m, |old| old.iter().zip(&new).filter(|(a, b)| a != b).count());
            let hard = self.judge(&mut best, &new, &new_weights, number)?;
            let (next, _) = self.rule.fit(&rows, &new_weights, k)?;
            let change =
                groups.iter().zip(&next).flat_map(|(a, b)| a.covariance.iter().zip(&b.covariance)).map(|(a, b)| (a - b).abs());
            let change = change.fold(0.0, f64::max) / self.spread;
            let row = OuterIteration {
                objective: solution.objective + self.shift,
                bound: solution.bound + self.shift,
                hard,
                moved,
                change,
                iterations: solution.outcome.iterations,
                converged: solution.outcome.converged,
                pooled,
                rounded,
            };
            observer.note(&format!(
                "outer {number}: SDP objective {:.6}, hard -2 log-likelihood {}, {moved} labels moved",
                row.objective,
                hard.map_or("none (a group is too small)".into(), |h| format!("{h:.6}"))
            ));
            observer.advance(1);
            outer.push(row);
            let partition = canonical(&new);
            let again = seen.iter().rev().skip(1).any(|old| *old == partition) && moved > 0;
            seen.push(partition);
            (labels, weights) = (Some(new), Some(new_weights));
            if moved == 0 && change < SETTLED {
                stop = Stop::Converged;
                break;
            }
            if again {
                stop = Stop::Cycle;
                break;
            }
        }
        observer.finish();
        let Some(best) = best else {
            let least = self.rule.least(self.p);
            return Err(ClusterError::Data(format!(
                "every partition had a group of fewer than {least} points, too few for a covariance of {} columns; lower k, keep fewer columns \
                 by pca, or take diag or tied covariances",
                self.p
            )));
        };
        Ok(Found { outer, stop, ..best })
    }

    /// Hard value of labels at their own estimates, in the units of the points; keeps them if they are the best so far.
    fn judge(
        &self,
        best: &mut Option<Found>,
        labels: &[i32],
        weights: &[f64],
        number: usize,
    ) -> Result<Option<f64>, ClusterError> {
        let (map, rows) = self.space(labels)?;
        let Some((value, groups)) = self.rule.hard(&rows, labels, self.options.k)? else { return Ok(None) };
        let objective = value + self.shift;
        if best.as_ref().is_none_or(|b| objective < b.objective) {
            let (labels, weights) = (labels.to_vec(), weights.to_vec());
            *best = Some(Found { labels, groups, map, weights, objective, best: number, outer: Vec::new(), stop: Stop::Limit });
        }
        Ok(Some(objective))
    }

    /// Labels from Σ_k Z_k, named after the old ones they share most points with.
    fn round(&self, lifted: &Lifted, old: Option<&[i32]>, observer: &dyn Observer) -> Result<Vec<i32>, ClusterError> {
        let k = self.options.k;
        let embedding = lifted.leading(self.m, k)?;
        let mut new =
            crate::cluster::sdp::rounding::labels(&embedding, self.m, k, self.options.restarts, self.options.seed, observer)?;
        // Coinciding rows of the embedding leave groups empty: give them the rows that are farthest from their own mean.
        crate::cluster::sdp::polish::means(&self.rows, &mut new, k, self.p);
        labels::canonical(&mut new);
        let Some(old) = old else { return Ok(new) };
        let mut shared = vec![0usize; k * k];
        new.iter().zip(old).for_each(|(&a, &b)| shared[a as usize * k + b as usize] += 1);
        let mut names = vec![None; k];
        let mut taken = vec![false; k];
        for _ in 0..k {
            let free = (0..k * k).filter(|e| names[e / k].is_none() && !taken[e % k]);
            if let Some(e) = free.max_by_key(|&e| (shared[e], usize::MAX - e)) {
                names[e / k] = Some((e % k) as i32);
                taken[e % k] = true;
            }
        }
        Ok(new.iter().map(|&l| names[l as usize].unwrap_or(l)).collect())
    }
}

fn canonical(of: &[i32]) -> Vec<i32> {
    let mut of = of.to_vec();
    labels::canonical(&mut of);
    of
}

/// The group of largest weight, the first of equals.
fn heaviest(weights: &[f64], k: usize) -> Vec<i32> {
    let of = |row: &[f64]| (1..k).fold(0, |best, g| if row[g] > row[best] { g } else { best }) as i32;
    weights.chunks_exact(k).map(of).collect()
}

/// The inner iterations report to no one, but can be cancelled.
struct Quiet<'a>(&'a dyn Observer);

impl Observer for Quiet<'_> {
    fn cancelled(&self) -> bool {
        self.0.cancelled()
    }
}
