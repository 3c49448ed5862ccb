//! CP by variational Bayes, with automatic relevance determination: components that the data do not need vanish.

use rand::RngExt as _;
use rand_distr::StandardNormal;
use rayon::prelude::*;

use super::data::{Equations, SweepData};
use super::evaluate::{Evaluation, evaluate};
use super::known::Known;
use super::options::{Missing, Run, StopReason, TraceRow};
use super::solve::Factored;
use super::state::{State, canonical};
use super::sweeps::relative;
use super::weighted::{MaskedCells, ObservedData, row_sums};
use super::{CpError, Input, check_room};
use crate::kernels::gemm::{MatMut, MatRef, matmul};
use crate::kernels::simd::Real;
use crate::run::seed::Streams;
use crate::tensor::model::{Kruskal, Matrix};

/// What `bayes` is told.
#[derive(Debug, Clone, PartialEq)]
pub struct Bayes {
    /// Components at the start; `None`: the size of the largest mode.
    pub max_rank: Option<usize>,
    /// Converged when the fit changed by less than this in five sweeps one after the other, with no component removed.
    pub tol: f64,
    pub max_iter: usize,
    /// Shape and rate of the Gamma priors of the precisions of components (c, d) and of the noise (a, b), for data at a root mean square of 1.
    pub hyper: f64,
    /// A component goes when its `Σ_n ‖u_r‖²` is below this share of the largest.
    pub prune: f64,
    /// Random starts, 1 or more: removed components never come back, so a start may end with too few, or with one component in two
    /// parts. The start with the lowest `|Ω| ln(RSS / |Ω|) + p ln |Ω|` (as in a rank scan) is kept; number k draws with the seed `seed + k`.
    pub restarts: usize,
    pub seed: u64,
}

impl Default for Bayes {
    fn default() -> Self {
        Self { max_rank: None, tol: 1e-6, max_iter: 500, hyper: 1e-6, prune: 1e-6, restarts: 8, seed: 0 }
    }
}

/// What `bayes` gives.
#[derive(Debug, Clone, PartialEq)]
pub struct BayesFit {
    /// Posterior means, in canonical form.
    pub model: Kruskal,
    /// Posterior standard deviations of the factors' entries, (I_n, R), in the units of the model's columns (of norm 1).
    pub deviations: Vec<Matrix>,
    /// E γ_r of the components, data at a root mean square of 1.
    pub component_precision: Vec<f64>,
    /// Standard deviation of the noise, (E τ)^(-1/2), in the data's units.
    pub noise: f64,
    pub evaluation: Evaluation,
    pub start_rank: usize,
    pub trace: Vec<TraceRow>,
    /// Components left after every sweep.
    pub ranks: Vec<usize>,
    pub stop: StopReason,
    pub restarts: Vec<BayesRestart>,
    /// Which of `restarts` is `model`.
    pub best: usize,
    pub warnings: Vec<String>,
}

/// One start.
#[derive(Debug, Clone, PartialEq)]
pub struct BayesRestart {
    pub seed: u64,
    /// Components left.
    pub rank: usize,
    pub fit: f64,
    /// What starts are chosen by.
    pub bic: f64,
    pub iterations: usize,
    pub stop: StopReason,
}

const QUIET: usize = 5;

enum Source<'a> {
    /// Every cell counts: the rows of a factor share their covariance.
    Full(Box<dyn SweepData + 'a>),
    Seen(Box<dyn ObservedData + 'a>),
}

impl<'a> Source<'a> {
    fn new<T: Real>(input: Input<'a, T>, rank: usize) -> Result<Self, CpError> {
        Ok(match input {
            Input::Masked { x, observed } if input.has_missing() => Self::Seen(Box::new(MaskedCells::new(x, observed)?)),
            Input::Known(x) => Self::Seen(Box::new(Known::new(x)?)),
            _ => Self::Full(input.sweep_data(rank, Missing::Auto)?),
        })
    }
}

/// The posterior of one factor.
struct Posterior {
    /// (I_n, R)
    mean: Matrix,
    /// Covariances, (R, R): one for every row, or one for all.
    covariance: Vec<f64>,
}

impl Posterior {
    fn covariance(&self, row: usize) -> &[f64] {
        let r2 = self.mean.cols * self.mean.cols;
        if self.covariance.len() == r2 { &self.covariance } else { &self.covariance[row * r2..][..r2] }
    }

    /// E[u uᵀ] of one row, into `out`.
    fn second(&self, row: usize, out: &mut [f64]) {
        let (u, r) = (self.mean.row(row), self.mean.cols);
        out.copy_from_slice(self.covariance(row));
        for a in 0..r {
            for b in 0..r {
                out[a * r + b] += u[a] * u[b];
            }
        }
    }

    /// Σ over rows of E[u uᵀ].
    fn seconds(&self) -> Vec<f64> {
        let r = self.mean.cols;
        let mut sum = vec![0.0; r * r];
        let view = MatRef::new(&self.mean.values, self.mean.rows, r);
        matmul(view.t(), view, MatMut::new(&mut sum, r, r), false);
        for row in 0..self.mean.rows {
            sum.iter_mut().zip(self.covariance(row)).for_each(|(s, v)| *s += v);
        }
        sum
    }

    /// Leaves the components `left`.
    fn keep(&mut self, left: &[usize]) {
        let r = self.mean.cols;
        let pairs = || left.iter().flat_map(|&a| left.iter().map(move |&b| a * r + b));
        self.covariance = self.covariance.chunks_exact(r * r).flat_map(|v| pairs().map(move |k| v[k])).collect();
        let values = self.mean.values.chunks_exact(r).flat_map(|u| left.iter().map(move |&a| u[a])).collect();
        self.mean = Matrix::new(self.mean.rows, left.len(), values);
    }
}

/// (τ M + diag γ)⁻¹, symmetric.
fn covariance(m: &[f64], tau: f64, gamma: &[f64]) -> Vec<f64> {
    let r = gamma.len();
    let precision: Vec<f64> = (0..r * r).map(|k| tau * m[k] + if k / r == k % r { gamma[k / r] } else { 0.0 }).collect();
    let mut inverse = vec![0.0; r * r];
    (0..r).for_each(|c| inverse[c * r + c] = 1.0);
    let factored = Factored::new(&precision, r);
    inverse.chunks_exact_mut(r).for_each(|row| factored.row(r, row));
    for a in 0..r {
        for b in 0..a {
            let mean = 0.5 * (inverse[a * r + b] + inverse[b * r + a]);
            (inverse[a * r + b], inverse[b * r + a]) = (mean, mean);
        }
    }
    inverse
}

/// Fits `x ~ N(Σ_r Π_n u_r^(n), 1/τ)` over the observed cells, with `u_i ~ N(0, diag(γ)⁻¹)` in every mode, and Gamma priors on γ and τ. Factors,
/// γ and τ are updated in turn; components without power are removed, so the number of those left is an estimate of the rank.
///
/// Works for every [`Input`]; zeros that a sparse tensor does not list are data for [`Input::Sparse`] and missing for [`Input::Known`].
/// The data are taken at a root mean square of 1, so that the priors mean the same for any units.
///
/// Errors: [`CpError`].
///
/// Cost of a sweep: as [`als`](fn@super::als) with the current number of components when nothing is missing; else N² R² |Ω| + R³ ΣI operations, and
/// R² ΣI numbers of memory for the covariances and as many for second moments.
///
/// Source: Zhao, Zhang & Cichocki 2015 (FBCP), equations of the updates; the removal of components, the stop and the starts are ours: a
/// share of the largest power, the change of the fit instead of that of the lower bound, and several random starts instead of one of singular
/// vectors (which are few when modes are small).
pub fn bayes<T: Real>(input: Input<'_, T>, options: &Bayes, run: &Run<'_>) -> Result<BayesFit, CpError> {
    if options.max_rank == Some(0) {
        return Err(CpError::RankZero);
    }
    for (what, value) in [("max_iter", options.max_iter), ("restarts", options.restarts)] {
        if value == 0 {
            return Err(CpError::Options(format!("{what} is 0; give 1 or more")));
        }
    }
    for (what, value) in [("tol", options.tol), ("hyper", options.hyper), ("prune", options.prune)] {
        if !(value >= 0.0 && value.is_finite()) || (what == "hyper" && value == 0.0) {
            return Err(CpError::Options(format!("{what} is {value}; give a small positive number")));
        }
    }
    input.check()?;
    let shape = input.shape();
    let start_rank = options.max_rank.unwrap_or(*shape.iter().max().expect("two modes or more"));
    check_room(shape, start_rank, 0)?;
    run.observer.start("sweeps", options.restarts * options.max_iter);
    let mut best: Option<(usize, f64, Outcome)> = None;
    let mut restarts = Vec::new();
    for k in 0..options.restarts {
        let seed = options.seed.wrapping_add(k as u64);
        let one = descend(input, options, start_rank, seed, run)?;
        let rank = one.gamma.len();
        let rel_error = one.trace.last().map_or(1.0, |t| t.rel_error);
        // Errors below what the prior of the noise allows are all the same.
        let mean = (rel_error * rel_error).max(2.0 * options.hyper / one.cells);
        let parameters = (rank * (shape.iter().sum::<usize>() + 1 - shape.len())) as f64;
        let bic = one.cells * mean.ln() + parameters * one.cells.ln();
        let (iterations, stop) = (one.trace.len(), one.stop);
        restarts.push(BayesRestart { seed, rank, fit: 1.0 - rel_error, bic, iterations, stop });
        run.observer.advance(options.max_iter - iterations);
        if best.as_ref().is_none_or(|b| bic < b.1) {
            best = Some((k, bic, one));
        }
        if stop == StopReason::Cancelled {
            break;
        }
    }
    run.observer.finish();
    let (best, _, one) = best.expect("there is a start");
    let (model, deviations, component_precision) = result(&one.factors, &one.gamma, one.unit);
    let evaluation = evaluate(input, &model)?;
    let mut warnings = Vec::new();
    if one.stop == StopReason::MaxIter {
        warnings.push(format!("The fit still changed by {} or more after {} sweeps.", options.tol, options.max_iter));
    }
    if model.weights.len() == start_rank && start_rank > 1 {
        warnings.push(format!("All {start_rank} components were kept: the rank may be higher. Start with more."));
    }
    Ok(BayesFit {
        model,
        deviations,
        component_precision,
        noise: one.unit / one.tau.sqrt(),
        evaluation,
        start_rank,
        trace: one.trace,
        ranks: one.ranks,
        stop: one.stop,
        restarts,
        best,
        warnings,
    })
}

/// Where one start ended.
struct Outcome {
    factors: Vec<Posterior>,
    gamma: Vec<f64>,
    tau: f64,
    /// What the root mean square of 1 stands for.
    unit: f64,
    cells: f64,
    trace: Vec<TraceRow>,
    ranks: Vec<usize>,
    stop: StopReason,
}

fn descend<T: Real>(
    input: Input<'_, T>,
    options: &Bayes,
    start_rank: usize,
    seed: u64,
    run: &Run<'_>,
) -> Result<Outcome, CpError> {
    let shape = input.shape();
    let mut source = Source::new(input, start_rank)?;
    let (cells, norm_sq, scale) = match &source {
        Source::Full(x) => (x.cells() as f64, x.norm_sq(), x.scale()),
        Source::Seen(x) => (x.cells() as f64, x.norm_sq(), x.scale()),
    };
    // Data in units of their root mean square.
    let rms = if norm_sq > 0.0 { (norm_sq / cells).sqrt() } else { 1.0 };
    let total_sq = norm_sq / (rms * rms);
    let streams = Streams::new(seed);
    let mut factors: Vec<Posterior> = shape
        .iter()
        .enumerate()
        .map(|(m, &n)| {
            let mut rng = streams.stream("cp-bayes", m as u64);
            let values = (0..n * start_rank).map(|_| rng.sample::<f64, _>(StandardNormal)).collect();
            let shared = matches!(source, Source::Full(_));
            // The means count as known until they have been updated once.
            let covariance = vec![0.0; start_rank * start_rank * if shared { 1 } else { n }];
            Posterior { mean: Matrix::new(n, start_rank, values), covariance }
        })
        .collect();
    let (mut gamma, mut tau) = (vec![1.0; start_rank], 1.0);
    let began = run.clock.map(|clock| clock());
    let (mut trace, mut ranks, mut stop, mut quiet): (Vec<TraceRow>, Vec<usize>, _, _) =
        (Vec::new(), Vec::new(), StopReason::MaxIter, 0);
    for k in 1..=options.max_iter {
        if run.observer.cancelled() {
            stop = StopReason::Cancelled;
            break;
        }
        let mut error = 0.0;
        for mode in 0..shape.len() {
            error = match &mut source {
                Source::Full(x) => update_full(&mut **x, &mut factors, mode, (&gamma, tau), rms, total_sq),
                Source::Seen(x) => update_seen(&**x, &mut factors, mode, (&gamma, tau), rms, total_sq),
            };
            if !error.is_finite() || factors[mode].mean.values.iter().any(|x| !x.is_finite()) {
                return Err(CpError::Overflow { sweep: k, mode });
            }
        }
        let rows: usize = shape.iter().sum();
        let r = gamma.len();
        for (c, gamma) in gamma.iter_mut().enumerate() {
            let power: f64 = factors
                .iter()
                .map(|f| (0..f.mean.rows).map(|i| f.mean.at(i, c).powi(2) + f.covariance(i)[c * r + c]).sum::<f64>())
                .sum();
            *gamma = (options.hyper + 0.5 * rows as f64) / (options.hyper + 0.5 * power);
        }
        // Sums that cancel leave about eps of the norm; the prior rate of 1e-6 is far above it.
        tau = (options.hyper + 0.5 * cells) / (options.hyper + 0.5 * error.max(0.0));
        let power: Vec<f64> = (0..r)
            .map(|c| factors.iter().map(|f| (0..f.mean.rows).map(|i| f.mean.at(i, c).powi(2)).sum::<f64>()).sum())
            .collect();
        let largest = power.iter().fold(0.0f64, |m, &p| m.max(p));
        let mut left: Vec<usize> = (0..r).filter(|&c| power[c] > 0.0 && power[c] >= options.prune * largest).collect();
        if left.is_empty() {
            left.push(0);
        }
        let removed = left.len() < r;
        if removed {
            factors.iter_mut().for_each(|f| f.keep(&left));
            gamma = left.iter().map(|&c| gamma[c]).collect();
            if matches!(source, Source::Full(_)) {
                // Its buffers are made for a rank.
                source = Source::new(input, left.len())?;
            }
        }
        let state = means(&factors, rms);
        let residual_sq = match &mut source {
            Source::Full(x) => x.residual_sq(&state),
            Source::Seen(x) => x.residual_sq(&state),
        };
        let rel_error = relative(residual_sq, norm_sq);
        let last = trace.last().map_or(f64::NAN, |t| t.rel_error);
        let seconds = run.clock.zip(began).map(|(clock, began)| clock() - began);
        trace.push(TraceRow { iter: k, fit: 1.0 - rel_error, rel_error, seconds });
        ranks.push(left.len());
        run.observer.advance(1);
        quiet = if (rel_error - last).abs() < options.tol && !removed { quiet + 1 } else { 0 };
        if quiet >= QUIET {
            stop = StopReason::Converged;
            break;
        }
    }
    Ok(Outcome { factors, gamma, tau, unit: rms * scale, cells, trace, ranks, stop })
}

/// The means as a model in the units of the source.
fn means(factors: &[Posterior], rms: f64) -> State {
    let r = factors[0].mean.cols;
    State::with_weights(vec![rms; r], factors.iter().map(|f| f.mean.clone()).collect())
}

/// One factor when every cell counts; E‖X − X̂‖², data at a root mean square of 1.
fn update_full(
    x: &mut dyn SweepData,
    factors: &mut [Posterior],
    mode: usize,
    (gamma, tau): (&[f64], f64),
    rms: f64,
    total_sq: f64,
) -> f64 {
    let r = gamma.len();
    let mut m = vec![1.0; r * r];
    for (_, f) in factors.iter().enumerate().filter(|&(k, _)| k != mode) {
        m.iter_mut().zip(f.seconds()).for_each(|(m, s)| *m *= s);
    }
    let rows = factors[mode].mean.rows;
    let mut w = vec![0.0; rows * r];
    let state = means(factors, 1.0);
    if let Equations::Shared(sums) = x.equations() {
        sums.mttkrp(&state, mode, &mut w);
    }
    w.iter_mut().for_each(|w| *w /= rms);
    let v = covariance(&m, tau, gamma);
    let u = &mut factors[mode].mean.values;
    matmul(MatRef::new(&w, rows, r), MatRef::new(&v, r, r), MatMut::new(u, rows, r), false);
    u.iter_mut().for_each(|u| *u *= tau);
    factors[mode].covariance = v;
    let seconds = factors[mode].seconds();
    let inner: f64 = w.iter().zip(&factors[mode].mean.values).map(|(w, u)| w * u).sum();
    total_sq - 2.0 * inner + m.iter().zip(&seconds).map(|(m, s)| m * s).sum::<f64>()
}

/// One factor from the observed cells; E‖X − X̂‖² over them.
fn update_seen(
    x: &dyn ObservedData,
    factors: &mut [Posterior],
    mode: usize,
    (gamma, tau): (&[f64], f64),
    rms: f64,
    total_sq: f64,
) -> f64 {
    let (r, order) = (gamma.len(), factors.len());
    let seconds: Vec<Vec<f64>> = factors
        .iter()
        .enumerate()
        .map(|(k, f)| {
            let mut all = if k == mode { Vec::new() } else { vec![0.0; f.mean.rows * r * r] };
            all.par_chunks_mut(r * r).enumerate().for_each(|(i, out)| f.second(i, out));
            all
        })
        .collect();
    let others: &[Posterior] = factors;
    let add = |own: &mut Vec<f64>, values: &[f64], at: &[u32], sums: &mut [f64]| {
        let (m, w) = sums.split_at_mut(r * r);
        for (&x, at) in values.iter().zip(at.chunks_exact(order)) {
            own.clear();
            own.resize(r * r + r, 1.0);
            let (product, row) = own.split_at_mut(r * r);
            for k in (0..order).filter(|&k| k != mode) {
                let i = at[k] as usize;
                product.iter_mut().zip(&seconds[k][i * r * r..]).for_each(|(p, s)| *p *= s);
                row.iter_mut().zip(others[k].mean.row(i)).for_each(|(p, u)| *p *= u);
            }
            m.iter_mut().zip(&*product).for_each(|(m, p)| *m += p);
            w.iter_mut().zip(&*row).for_each(|(w, k)| *w += x / rms * k);
        }
    };
    let solved: Vec<(Vec<f64>, Vec<f64>, f64)> = (0..factors[mode].mean.rows)
        .into_par_iter()
        .map(|row| {
            let mut sums = vec![0.0; r * r + r];
            row_sums(x, mode, row, &mut sums, Vec::new, &add);
            let (m, w) = sums.split_at(r * r);
            let v = covariance(m, tau, gamma);
            let u: Vec<f64> = (0..r).map(|a| tau * (0..r).map(|b| v[a * r + b] * w[b]).sum::<f64>()).collect();
            let inner: f64 = u.iter().zip(w).map(|(u, w)| u * w).sum();
            let square: f64 = (0..r * r).map(|k| m[k] * (v[k] + u[k / r] * u[k % r])).sum();
            (u, v, square - 2.0 * inner)
        })
        .collect();
    let factor = &mut factors[mode];
    factor.mean.values = solved.iter().flat_map(|s| s.0.iter().copied()).collect();
    factor.covariance = solved.iter().flat_map(|s| s.1.iter().copied()).collect();
    total_sq + solved.iter().map(|s| s.2).sum::<f64>()
}

/// The canonical model, with deviations and precisions in its order.
fn result(factors: &[Posterior], gamma: &[f64], scale: f64) -> (Kruskal, Vec<Matrix>, Vec<f64>) {
    let r = gamma.len();
    let norms: Vec<Vec<f64>> = factors
        .iter()
        .map(|f| (0..r).map(|c| (0..f.mean.rows).map(|i| f.mean.at(i, c).powi(2)).sum::<f64>().sqrt()).collect())
        .collect();
    let weights: Vec<f64> = (0..r).map(|c| scale * norms.iter().map(|n| n[c]).product::<f64>()).collect();
    let mut order: Vec<usize> = (0..r).collect();
    order.sort_by(|&a, &b| weights[b].total_cmp(&weights[a]));
    // In this order the canonical form has nothing to move.
    let column = |f: &Matrix, by: &dyn Fn(f64, usize, usize) -> f64| {
        let values = (0..f.rows).flat_map(|i| order.iter().map(move |&c| (i, c))).map(|(i, c)| by(f.at(i, c), i, c)).collect();
        Matrix::new(f.rows, r, values)
    };
    let unit = |n: f64, x: f64| if n > 0.0 { x / n } else { 0.0 };
    let model = Kruskal {
        weights: order.iter().map(|&c| weights[c]).collect(),
        factors: factors.iter().zip(&norms).map(|(f, n)| column(&f.mean, &|x, _, c| unit(n[c], x))).collect(),
    };
    let deviations = factors
        .iter()
        .zip(&norms)
        .map(|(f, n)| column(&f.mean, &|_, i, c| unit(n[c], f.covariance(i)[c * r + c].max(0.0).sqrt())))
        .collect();
    (canonical(model), deviations, order.iter().map(|&c| gamma[c]).collect())
}
