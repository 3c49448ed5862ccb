//! Expectation maximisation.

use rand::seq::index;
use rayon::prelude::*;

use super::block::{self, Scratch, Sums, rows_of_block};
use super::model::GmmModel;
use super::{Covariance, GmmOptions, Start};
use crate::cluster::kmeans::{KmeansOptions, kmeans};
use crate::cluster::{ClusterError, Points, labels};
use crate::run::observer::Observer;
use crate::run::seed::Streams;

/// A mixture fitted to n points.
#[derive(Debug, Clone, PartialEq)]
pub struct Gmm {
    /// Components in the order in which their labels first appear; those that are no point's most probable one come last.
    pub model: GmmModel,
    /// (n), canonical: the component of the largest responsibility. `model.predict` of the same points gives the same.
    pub labels: Vec<i32>,
    /// (n, k).
    pub responsibilities: Vec<f64>,
    /// Σ of the log-densities of the points, nats.
    pub log_likelihood: f64,
    /// −2 ln L + p·ln n; less is better.
    pub bic: f64,
    /// −2 ln L + 2p; less is better.
    pub aic: f64,
    /// EM steps of the run that won.
    pub iterations: usize,
    /// Whether the log-likelihood had settled to the tolerance.
    pub converged: bool,
    /// Mean log-likelihood of a point before each EM step.
    pub history: Vec<f64>,
    /// Points in the smallest component: the least Σ of responsibilities.
    pub smallest: f64,
    /// What to be careful about, in words.
    pub warnings: Vec<String>,
}

/// A Gaussian mixture of `points` by EM, from k-means clusters or random rows, the best of `restarts` runs.
///
/// What: the E step by log-sum-exp; the M step adds `reg_covar` to the variances; a run stops when the mean log-likelihood changes by
/// less than `tolerance`, as in scikit-learn, and with its numbers. Errors: settings out of range, fewer points than components, covariances that
/// are not positive definite (only with a small `reg_covar`), numbers beyond the range of f64.
///
/// Cost of a step: 2·n·k·d² multiply-adds for full covariances, n·d·(d + k) for tied, 2·n·k·d else, in one read of the points: each block
/// of rows gives its responsibilities and at once its sums for the M step, taken about the means before the step.
/// Source: Dempster, Laird, Rubin 1977; Bishop, Pattern Recognition and Machine Learning, section 9.2.
pub fn gmm(points: Points, options: &GmmOptions, observer: &dyn Observer) -> Result<Gmm, ClusterError> {
    options.check(points.n())?;
    let streams = Streams::new(options.seed);
    let mut best: Option<Run> = None;
    for restart in 0..options.restarts {
        let start = match options.start {
            Start::Kmeans => kmeans_start(points, options, streams, restart, observer)?,
            Start::Random => random_start(points, options.k, streams, restart),
        };
        let run = em(points, &start, options, observer)?;
        if best.as_ref().is_none_or(|b| run.log_likelihood > b.log_likelihood) {
            best = Some(run);
        }
    }
    finish(points, best.expect("at least one restart"), options)
}

/// [`gmm`] from given clusters: `start` (n) holds labels 0 to k − 1, and every one of them. No randomness.
pub fn gmm_from_labels(
    points: Points,
    start: &[i32],
    options: &GmmOptions,
    observer: &dyn Observer,
) -> Result<Gmm, ClusterError> {
    options.check(points.n())?;
    let k = options.k;
    if start.len() != points.n() {
        return Err(ClusterError::Data(format!("{} labels to start from for {} points", start.len(), points.n())));
    }
    if let Some(row) = start.iter().position(|&l| l < 0 || l as usize >= k) {
        return Err(ClusterError::Data(format!("row {row} (from 0) starts in cluster {}; expected 0 to {}", start[row], k - 1)));
    }
    if let Some(empty) = (0..k).find(|&c| start.iter().all(|&l| l as usize != c)) {
        return Err(ClusterError::Data(format!("no point starts in cluster {empty} of {k}; give every cluster a point")));
    }
    let run = em(points, start, options, observer)?;
    finish(points, run, options)
}

/// Labels of the best of some k-means runs.
fn kmeans_start(
    points: Points,
    options: &GmmOptions,
    streams: Streams,
    restart: usize,
    observer: &dyn Observer,
) -> Result<Vec<i32>, ClusterError> {
    use rand::Rng as _;
    let seed = streams.stream("gmm k-means", restart as u64).next_u64();
    let settings = KmeansOptions { k: options.k, restarts: options.kmeans_restarts, seed, ..KmeansOptions::default() };
    Ok(kmeans(points, &settings, observer)?.labels)
}

/// Each row with the nearest of k rows drawn at random.
fn random_start(points: Points, k: usize, streams: Streams, restart: usize) -> Vec<i32> {
    let mut rng = streams.stream("gmm random rows", restart as u64);
    let chosen: Vec<usize> = index::sample(&mut rng, points.n(), k).into_vec();
    let mut found: Vec<i32> = (0..points.n())
        .into_par_iter()
        .map(|i| {
            let (mut to, mut least) = (0, f64::INFINITY);
            for (c, &row) in chosen.iter().enumerate() {
                let far: f64 = points.row(i).iter().zip(points.row(row)).map(|(a, b)| (a - b) * (a - b)).sum();
                if far < least {
                    (to, least) = (c as i32, far);
                }
            }
            to
        })
        .collect();
    // Equal rows among the chosen: each starts with itself at least.
    chosen.iter().enumerate().for_each(|(c, &row)| found[row] = c as i32);
    found
}

/// One run of EM.
struct Run {
    model: GmmModel,
    log_likelihood: f64,
    counts: Vec<f64>,
    iterations: usize,
    converged: bool,
    history: Vec<f64>,
}

fn em(points: Points, start: &[i32], options: &GmmOptions, observer: &dyn Observer) -> Result<Run, ClusterError> {
    let (n, k) = (points.n(), options.k);
    let scatter = (options.covariance == Covariance::Tied).then(|| Scatter::of(points));
    let means = means_of(points, start, k);
    let sums = sums_of_labels(points, start, &means, options.covariance);
    let mut model = m_step(&sums, &means, scatter.as_ref(), options, points)?;
    let (mut history, mut converged, mut iterations) = (Vec::new(), false, 0);
    observer.start("EM steps", options.max_iterations);
    while iterations < options.max_iterations && !converged {
        if observer.cancelled() {
            return Err(ClusterError::Cancelled);
        }
        let sums = sums_of_model(points, &model, true);
        let mean = finite(sums.log_likelihood)? / n as f64;
        model = m_step(&sums, &model.means, scatter.as_ref(), options, points)?;
        converged = history.last().is_some_and(|last: &f64| (mean - last).abs() < options.tolerance);
        history.push(mean);
        iterations += 1;
        observer.advance(1);
    }
    observer.finish();
    let last = sums_of_model(points, &model, false);
    Ok(Run { model, log_likelihood: finite(last.log_likelihood)?, counts: last.counts, iterations, converged, history })
}

fn finite(log_likelihood: f64) -> Result<f64, ClusterError> {
    if log_likelihood.is_finite() {
        return Ok(log_likelihood);
    }
    Err(ClusterError::Numbers(format!(
        "the log-likelihood is {log_likelihood}: points lie beyond the range of numbers from the components; standardise the columns"
    )))
}

/// Rows that are summed by themselves before all are added up in order: by the problem alone, and few enough that the sums of all
/// pieces take 64 MiB at most (or four pieces).
fn rows_of_piece(covariance: Covariance, n: usize, k: usize, d: usize) -> usize {
    let pieces = ((1 << 23) / (Sums::second_len(covariance, k, d) + k * d)).clamp(4, 64);
    n.div_ceil(pieces).next_multiple_of(rows_of_block(d))
}

/// The sums of all rows; `block` adds those of a block of rows (from row `.0`, its coordinates `.1`).
fn sums(
    points: Points,
    covariance: Covariance,
    k: usize,
    block: impl Fn((usize, &[f64]), &mut Scratch, &mut Sums) + Sync,
) -> Sums {
    let (n, d) = (points.n(), points.d());
    let (piece, rows) = (rows_of_piece(covariance, n, k, d), rows_of_block(d));
    let parts: Vec<Sums> = points
        .values()
        .par_chunks(piece * d)
        .enumerate()
        .map_init(Scratch::default, |scratch, (p, x)| {
            let mut sums = Sums::zero(covariance, k, d);
            for (b, x) in x.chunks(rows * d).enumerate() {
                block((p * piece + b * rows, x), scratch, &mut sums);
            }
            sums
        })
        .collect();
    let mut total = Sums::zero(covariance, k, d);
    parts.iter().for_each(|part| total.add(part));
    total
}

/// E step, and the sums of the M step about the model's means when `moments`, else counts and log-likelihood only.
fn sums_of_model(points: Points, model: &GmmModel, moments: bool) -> Sums {
    let densities = model.densities();
    sums(points, model.covariance, model.k(), |(_, x), scratch, sums| {
        densities.responsibilities(x, scratch);
        sums.log_likelihood += scratch.densities.iter().sum::<f64>();
        if moments {
            block::accumulate(model.covariance, x, &model.means, scratch, sums);
        } else {
            let rows = scratch.densities.len();
            sums.counts
                .iter_mut()
                .zip(scratch.shares.chunks_exact(rows))
                .for_each(|(to, share)| *to += share.iter().sum::<f64>());
        }
    })
}

/// The sums of the M step when each row belongs to one component.
fn sums_of_labels(points: Points, start: &[i32], means: &[f64], covariance: Covariance) -> Sums {
    let (k, d) = (means.len() / points.d(), points.d());
    sums(points, covariance, k, |(from, x), scratch, sums| {
        let rows = x.len() / d;
        scratch.shares.clear();
        scratch.shares.resize(k * rows, 0.0);
        for (i, &label) in start[from..from + rows].iter().enumerate() {
            scratch.shares[label as usize * rows + i] = 1.0;
        }
        block::accumulate(covariance, x, means, scratch, sums);
    })
}

/// (k, d): mean of the rows of each label, summed about the first of them so that a far origin costs no digits.
fn means_of(points: Points, start: &[i32], k: usize) -> Vec<f64> {
    let d = points.d();
    let (mut first, mut counts, mut sums) = (vec![None; k], vec![0.0f64; k], vec![0.0; k * d]);
    for (row, &label) in points.rows().zip(start) {
        let c = label as usize;
        let about: &[f64] = first[c].get_or_insert(row);
        counts[c] += 1.0;
        sums[c * d..(c + 1) * d].iter_mut().zip(row.iter().zip(about)).for_each(|(to, (x, a))| *to += x - a);
    }
    for c in 0..k {
        let Some(about) = first[c] else { continue };
        sums[c * d..(c + 1) * d].iter_mut().zip(about).for_each(|(to, a)| *to = a + *to / counts[c]);
    }
    sums
}

/// Σ (x − x̄)(x − x̄)ᵀ over all points: with tied covariance the M step needs no more of the points' squares, because responsibilities of
/// a point sum to 1: Σ_c Σ_i r (x − μ_c)(x − μ_c)ᵀ = Σ_i (x − x̄)(x − x̄)ᵀ − Σ_c N_c (μ_c − x̄)(μ_c − x̄)ᵀ.
struct Scatter {
    mean: Vec<f64>,
    squares: Vec<f64>,
}

impl Scatter {
    fn of(points: Points) -> Self {
        let all = vec![0; points.n()];
        let mean = means_of(points, &all, 1);
        let squares = sums_of_labels(points, &all, &mean, Covariance::Full).second;
        Self { mean, squares }
    }
}

/// The mixture that the sums about `centres` give.
fn m_step(
    sums: &Sums,
    centres: &[f64],
    scatter: Option<&Scatter>,
    options: &GmmOptions,
    points: Points,
) -> Result<GmmModel, ClusterError> {
    let (k, d, n) = (options.k, points.d(), points.n() as f64);
    // As in scikit-learn: no division by zero for a component that lost all points.
    let counts: Vec<f64> = sums.counts.iter().map(|n| n + 10.0 * f64::EPSILON).collect();
    let total: f64 = counts.iter().sum();
    let weights = counts.iter().map(|n| n / total).collect();
    let steps: Vec<f64> = sums.first.iter().enumerate().map(|(e, s)| s / counts[e / d]).collect();
    let means: Vec<f64> = centres.iter().zip(&steps).map(|(c, s)| c + s).collect();
    let reg = options.reg_covar;
    // Of S (about the old mean) = N·Σ + N·δδᵀ, δ the step of the mean.
    let covariances = match options.covariance {
        Covariance::Full => {
            let mut all = vec![0.0; k * d * d];
            for c in 0..k {
                let (s, delta) = (&sums.second[c * d * d..(c + 1) * d * d], &steps[c * d..(c + 1) * d]);
                symmetric(&mut all[c * d * d..(c + 1) * d * d], d, reg, |i, j| s[i * d + j] / counts[c] - delta[i] * delta[j]);
            }
            all
        }
        Covariance::Tied => {
            let scatter = scatter.expect("scatter for tied covariances");
            let mut all = vec![0.0; d * d];
            symmetric(&mut all, d, reg, |i, j| {
                let between: f64 = (0..k)
                    .map(|c| sums.counts[c] * (means[c * d + i] - scatter.mean[i]) * (means[c * d + j] - scatter.mean[j]))
                    .sum();
                (scatter.squares[i * d + j] - between) / n
            });
            all
        }
        Covariance::Diag | Covariance::Spherical => {
            // Rounding may leave a hair below 0 where all points of a component are equal.
            let variance = |e: usize| (sums.second[e] / counts[e / d] - steps[e] * steps[e]).max(0.0) + reg;
            let diag = (0..k * d).map(variance);
            if options.covariance == Covariance::Diag {
                diag.collect()
            } else {
                diag.collect::<Vec<f64>>().chunks_exact(d).map(|v| v.iter().sum::<f64>() / d as f64).collect()
            }
        }
    };
    GmmModel::new(options.covariance, d, weights, means, covariances)
}

/// Fills a symmetric matrix from its upper triangle, `reg` more on the diagonal.
fn symmetric(matrix: &mut [f64], d: usize, reg: f64, of: impl Fn(usize, usize) -> f64) {
    for i in 0..d {
        for j in i..d {
            let value = of(i, j);
            matrix[i * d + j] = if i == j { value.max(0.0) + reg } else { value };
            matrix[j * d + i] = matrix[i * d + j];
        }
    }
}

/// Canonical order, labels, criteria and warnings.
fn finish(points: Points, run: Run, options: &GmmOptions) -> Result<Gmm, ClusterError> {
    let (n, k, d) = (points.n(), options.k, points.d());
    let mut model = run.model;
    let mut found = model.assign(points)?;
    // One turn, unless responsibilities tie to the last bit: then the order of components chooses among them, and labels are looked at again.
    for _ in 0..4 {
        let order = labels::canonical(&mut found.labels.clone());
        let mut order: Vec<usize> = order.into_iter().map(|c| c as usize).collect();
        order.extend((0..k).filter(|c| !order.contains(c)).collect::<Vec<_>>());
        if order.iter().enumerate().all(|(new, &old)| new == old) {
            break;
        }
        model = model.reordered(&order);
        found = model.assign(points)?;
    }
    let p = model.parameters() as f64;
    let log_likelihood = run.log_likelihood;
    let smallest = run.counts.iter().copied().fold(f64::INFINITY, f64::min);
    let mut warnings = Vec::new();
    if smallest < (d + 1) as f64 {
        warnings.push(format!(
            "the smallest component holds {smallest:.1} points, fewer than the {} that {d} columns need: a likelihood raised by a few points that lie close, not a cluster; try another covariance type, fewer components, a larger reg_covar or a start from k-means",
            d + 1
        ));
    }
    if !run.converged {
        warnings.push(format!("not converged in {} EM steps; raise the most iterations or the tolerance", run.iterations));
    }
    Ok(Gmm {
        labels: found.labels,
        responsibilities: found.responsibilities,
        log_likelihood,
        bic: -2.0 * log_likelihood + p * (n as f64).ln(),
        aic: -2.0 * log_likelihood + 2.0 * p,
        iterations: run.iterations,
        converged: run.converged,
        history: run.history,
        smallest,
        warnings,
        model,
    })
}
