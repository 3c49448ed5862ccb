//! Non-negative Tucker: factors by hierarchical alternating least squares, the core by accelerated projected gradients.

use rand::RngExt as _;
use rayon::prelude::*;

use super::hosvd::hosvd;
use super::operand::{Operand, around};
use super::tree::{multiply, sweep};
use super::vectors::{Precision, eigenvectors};
use super::{Iterations, Size, StopReason, TuckerError, TuckerFit, check_input, error_of_norms, finish};
use crate::kernels::gemm::{MatMut, MatRef, matmul};
use crate::run::observer::Observer;
use crate::run::seed::Streams;
use crate::tensor::data::Dense;
use crate::tensor::model::{Matrix, Tucker};

/// Where the first run starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Start {
    /// Magnitudes of the HOSVD factors.
    Svd,
    /// Uniform numbers in [0, 1).
    Random,
}

/// What [`nonnegative`] is told.
#[derive(Debug, Clone, PartialEq)]
pub struct NonNegativeConfig {
    pub ranks: Vec<usize>,
    pub start: Start,
    /// Runs in all, those after the first from random numbers; the best is kept.
    pub runs: usize,
    /// A run stops when the relative error changes by less than this in a sweep.
    pub tol: f64,
    /// Sweeps of a run at most.
    pub max_iter: usize,
    pub seed: u64,
}

impl NonNegativeConfig {
    pub fn new(ranks: Vec<usize>) -> Self {
        Self { ranks, start: Start::Svd, runs: 1, tol: 1e-8, max_iter: 500, seed: 0 }
    }
}

/// How a run ended.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Run {
    /// From norms.
    pub rel_error: f64,
    pub sweeps: usize,
    pub stop_reason: StopReason,
}

/// The best run, and how all of them ended.
#[derive(Debug, Clone, PartialEq)]
pub struct NonNegativeFit {
    pub best: TuckerFit,
    pub runs: Vec<Run>,
}

/// Inner sweeps of a factor and steps of the core at most, and the share of the first change at which they end.
const FACTOR_SWEEPS: usize = 100;
const CORE_STEPS: usize = 100;
const FACTOR_SHARE: f64 = 1e-2;
const CORE_SHARE: f64 = 1e-3;
/// Rows of a task.
const ROWS: usize = 64;

/// X ≈ G ×_n U_n with G >= 0 and U_n >= 0, columns of norm 1 (or 0), ordered by the share of their slice of the core.
///
/// * `x`: as [`hosvd`]; negative numbers are allowed, and fitted as well as non-negative parts can.
/// * A sweep updates every factor (column after column, each the exact least squares solution cut at 0, repeated while that pays) and
///   then the core. No step raises the error: a step of the core that would is repeated without momentum.
/// * The error is from ‖X‖² − 2⟨X, X̂⟩ + ‖X̂‖², or cell by cell when that loses its digits. It depends on the start: use several runs.
/// * Errors: as `hosvd`.
/// * Cost a sweep: as [`hooi`](super::hooi::hooi) without eigenvectors, and Σ r_n Πr operations for every step of the core.
///
/// Source: Phan & Cichocki, Extended HALS algorithm for nonnegative Tucker decomposition, Neurocomputing 74 (2011); Beck & Teboulle, A fast
/// iterative shrinkage-thresholding algorithm, SIAM J. Imaging Sci. 2 (2009) for the core, with the restart of O'Donoghue & Candès (2015).
pub fn nonnegative<X: Operand>(
    x: &X,
    config: &NonNegativeConfig,
    observer: &dyn Observer,
) -> Result<NonNegativeFit, TuckerError> {
    let scan = check_input(x)?;
    let size = Size::Ranks(config.ranks.clone());
    size.check(x.shape())?;
    if !(config.tol.is_finite() && config.tol >= 0.0) {
        let expected = "it is a change of the relative error, 0 or more";
        return Err(TuckerError::Option { name: "tol", value: config.tol, expected });
    }
    if config.runs == 0 {
        return Err(TuckerError::Option { name: "runs", value: 0.0, expected: "at least one run is needed" });
    }
    let mut best: Option<Outcome> = None;
    let mut runs = Vec::new();
    observer.start("non-negative sweeps", config.max_iter.saturating_mul(config.runs));
    for run in 0..config.runs {
        let mut state = if run == 0 && config.start == Start::Svd {
            let mut factors = hosvd(x, &size, Precision::Gram)?.model.factors;
            factors.iter_mut().flat_map(|f| &mut f.values).for_each(|u| *u = u.abs());
            let core = multiply(x, &(0..factors.len()).collect::<Vec<_>>(), &factors).into_dense();
            State { core: positive(core), factors }
        } else {
            random(x.shape(), &config.ranks, config.seed, run)
        };
        state.scale(x);
        let outcome = fit(x, state, scan.squares, config, observer)?;
        runs.push(Run {
            rel_error: *outcome.iterations.trace.last().expect("the start is in the trace"),
            sweeps: outcome.iterations.count(),
            stop_reason: outcome.iterations.stop_reason,
        });
        let cancelled = outcome.iterations.stop_reason == StopReason::Cancelled;
        if best.as_ref().is_none_or(|b| outcome.loss < b.loss) {
            best = Some(outcome);
        }
        if cancelled {
            break;
        }
    }
    observer.finish();
    let Outcome { state, iterations, loss } = best.expect("at least one run");
    let model = state.in_order();
    let modes = (0..x.shape().len()).collect();
    let fit = finish(x, model, scan.squares, scan.squares - loss, modes, vec![Vec::new(); x.shape().len()], Some(iterations));
    Ok(NonNegativeFit { best: fit, runs })
}

struct State {
    core: Dense<f64>,
    factors: Vec<Matrix>,
}

struct Outcome {
    state: State,
    iterations: Iterations,
    /// ‖X − X̂‖² from norms.
    loss: f64,
}

fn positive(mut x: Dense<f64>) -> Dense<f64> {
    x.values_mut().iter_mut().for_each(|x| *x = x.max(0.0));
    x
}

fn random(shape: &[usize], ranks: &[usize], seed: u64, run: usize) -> State {
    let streams = Streams::new(seed);
    let draw = |part: usize, count: usize| {
        let mut rng = streams.stream("nonnegative-tucker", (run as u64) << 16 | part as u64);
        (0..count).map(|_| rng.random::<f64>()).collect()
    };
    let factors = (0..shape.len()).map(|m| Matrix::new(shape[m], ranks[m], draw(m + 1, shape[m] * ranks[m]))).collect();
    State { core: Dense::new(ranks.to_vec(), draw(0, ranks.iter().product())), factors }
}

/// UᵀU.
fn gram(u: &Matrix) -> Matrix {
    let mut out = Matrix::zeros(u.cols, u.cols);
    let view = MatRef::new(&u.values, u.rows, u.cols);
    matmul(view.t(), view, MatMut::new(&mut out.values, u.cols, u.cols), false);
    out
}

/// The core times a symmetric matrix along every mode, but for one.
fn times(core: &Dense<f64>, grams: &[Matrix], but: Option<usize>) -> Dense<f64> {
    let mut out = core.clone();
    for (mode, g) in grams.iter().enumerate().filter(|&(m, _)| Some(m) != but) {
        out = out.ttm(MatRef::new(&g.values, g.rows, g.cols), mode);
    }
    out
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

impl State {
    fn grams(&self) -> Vec<Matrix> {
        self.factors.iter().map(gram).collect()
    }

    /// Unit columns, their norms moved to the core; then the core as long as suits X best.
    fn scale<X: Operand>(&mut self, x: &X) {
        self.normalise();
        let target = multiply(x, &(0..self.factors.len()).collect::<Vec<_>>(), &self.factors).into_dense();
        let own = dot(times(&self.core, &self.grams(), None).values(), self.core.values());
        let with = dot(target.values(), self.core.values());
        // A core that points away from X starts from its own length.
        if own > 0.0 && with > 0.0 {
            self.core.values_mut().iter_mut().for_each(|g| *g *= with / own);
        }
    }

    fn normalise(&mut self) {
        for (mode, u) in self.factors.iter_mut().enumerate() {
            let norms: Vec<f64> = (0..u.cols).map(|j| (0..u.rows).map(|i| u.at(i, j).powi(2)).sum::<f64>().sqrt()).collect();
            u.values.iter_mut().enumerate().for_each(|(e, x)| {
                let norm = norms[e % norms.len()];
                if norm > 0.0 {
                    *x /= norm;
                }
            });
            let (_, size, behind) = around(self.core.shape(), mode);
            for (line, of) in self.core.values_mut().chunks_exact_mut(behind).enumerate() {
                // A column of zeros leaves its slice as it is: the next sweep may bring the column back.
                let norm = norms[line % size];
                if norm > 0.0 {
                    of.iter_mut().for_each(|g| *g *= norm);
                }
            }
        }
    }

    /// Columns of every factor by descending squares of their slice of the core; slices of columns of zeros are cleared.
    fn in_order(mut self) -> Tucker {
        // All dead slices first: they are parts of slices of the other modes.
        for mode in 0..self.factors.len() {
            let (before, size, behind) = around(self.core.shape(), mode);
            let dead = |u: &Matrix, j: usize| (0..u.rows).all(|i| u.at(i, j) == 0.0);
            for j in (0..size).filter(|&j| dead(&self.factors[mode], j)) {
                (0..before).for_each(|p| self.core.values_mut()[(p * size + j) * behind..][..behind].fill(0.0));
            }
        }
        for mode in 0..self.factors.len() {
            let (before, size, behind) = around(self.core.shape(), mode);
            let shares = super::core_shares(&self.core, 1.0).swap_remove(mode);
            let mut columns: Vec<usize> = (0..size).collect();
            columns.sort_by(|&a, &b| shares[b].total_cmp(&shares[a]));
            let u = &self.factors[mode];
            let values = (0..u.rows).flat_map(|i| columns.iter().map(move |&j| u.at(i, j))).collect();
            let core = &self.core;
            let lines =
                (0..before).flat_map(|p| columns.iter().map(move |&j| &core.values()[(p * size + j) * behind..][..behind]));
            let core = Dense::new(core.shape().to_vec(), lines.flatten().copied().collect());
            self.factors[mode] = Matrix::new(u.rows, u.cols, values);
            self.core = core;
        }
        Tucker { core: self.core, factors: self.factors }
    }
}

/// One run from a start.
fn fit<X: Operand>(
    x: &X,
    mut state: State,
    whole: f64,
    config: &NonNegativeConfig,
    observer: &dyn Observer,
) -> Result<Outcome, TuckerError> {
    let order = state.factors.len();
    let target = multiply(x, &(0..order).collect::<Vec<_>>(), &state.factors).into_dense();
    let loss_of = |core: &Dense<f64>, target: &Dense<f64>, grams: &[Matrix]| {
        let own = dot(times(core, grams, None).values(), core.values());
        (whole - 2.0 * dot(target.values(), core.values()) + own).max(0.0)
    };
    let mut loss = loss_of(&state.core, &target, &state.grams());
    let mut trace = vec![error_of_norms(whole, whole - loss)];
    let stop_reason = loop {
        if trace.len() > config.max_iter {
            break StopReason::MaxIter;
        }
        if observer.cancelled() {
            break StopReason::Cancelled;
        }
        let State { core, factors } = &mut state;
        let mut grams: Vec<Matrix> = factors.iter().map(gram).collect();
        let before = loss;
        sweep(x, factors, &mut |mode: usize, y: Dense<f64>, factors: &mut [Matrix]| {
            // y: (r_0, …, I_n, …, r_{N−1}) -> numerators (I_n, r_n), normal matrix (r_n, r_n)
            let numerators = y.cross(core, mode);
            let normal = times(core, &grams, Some(mode)).cross(core, mode);
            factor(&mut factors[mode], &numerators, &normal);
            grams[mode] = gram(&factors[mode]);
            if mode + 1 == order {
                let target = y.ttm(super::vectors::transposed(&factors[mode]), mode);
                core_steps(core, &target, &grams)?;
                loss = loss_of(core, &target, &grams);
            }
            Ok(())
        })?;
        state.normalise();
        trace.push(error_of_norms(whole, whole - loss));
        observer.advance(1);
        let change = trace[trace.len() - 2] - trace[trace.len() - 1];
        if (loss - before).abs() <= 16.0 * f64::EPSILON * whole {
            break StopReason::Rounding;
        }
        if change.abs() < config.tol {
            break StopReason::Tolerance;
        }
    };
    Ok(Outcome { state, iterations: Iterations { trace, stop_reason }, loss })
}

/// min ‖X_(n) − U B‖ over U >= 0, column after column, with `numerators` = X_(n) Bᵀ and `normal` = B Bᵀ. Rows do not meet.
fn factor(u: &mut Matrix, numerators: &Matrix, normal: &Matrix) {
    let r = u.cols;
    let mut first = 0.0;
    for round in 0..FACTOR_SWEEPS {
        let parts: Vec<f64> = u
            .values
            .par_chunks_mut(ROWS * r)
            .zip(numerators.values.par_chunks(ROWS * r))
            .map(|(u, a)| {
                let mut change = 0.0;
                for (u, a) in u.chunks_exact_mut(r).zip(a.chunks_exact(r)) {
                    for j in 0..r {
                        // A component without weight stays as it is.
                        if normal.at(j, j) > 0.0 {
                            let new = (u[j] + (a[j] - dot(u, normal.row(j))) / normal.at(j, j)).max(0.0);
                            change += (new - u[j]).powi(2);
                            u[j] = new;
                        }
                    }
                }
                change
            })
            .collect();
        let change: f64 = parts.iter().sum();
        if round == 0 {
            first = change;
        }
        if change <= FACTOR_SHARE * first {
            break;
        }
    }
}

/// min ½⟨G, K G⟩ − ⟨C, G⟩ over G >= 0, K the product of the Gram matrices along all modes, C = `target`.
fn core_steps(core: &mut Dense<f64>, target: &Dense<f64>, grams: &[Matrix]) -> Result<(), TuckerError> {
    // The largest eigenvalue of K, a hair above it for rounding.
    let mut steepest = 1.0 + 1e-10;
    for (mode, g) in grams.iter().enumerate() {
        let (_, roots) = eigenvectors(g, mode)?;
        steepest *= roots[0] * roots[0];
    }
    if steepest <= 0.0 {
        return Ok(());
    }
    let c = target.values();
    let value = |g: &[f64], kg: &[f64]| 0.5 * dot(g, kg) - dot(c, g);
    let (mut now, mut k_now) = (core.clone(), times(core, grams, None));
    let (mut last, mut k_last) = (now.clone(), k_now.clone());
    let (mut momentum, mut first) = (1.0f64, 0.0);
    let mut height = value(now.values(), k_now.values());
    for round in 0..CORE_STEPS {
        let (mut next, mut k_next, mut lower);
        let mut longer = (1.0 + (1.0 + 4.0 * momentum * momentum).sqrt()) / 2.0;
        let mut beta = (momentum - 1.0) / longer;
        loop {
            // From the point ahead, G + β (G − G'), whose K-product is known from theirs.
            next = now.clone();
            for (e, g) in next.values_mut().iter_mut().enumerate() {
                let at = *g + beta * (*g - last.values()[e]);
                let slope = k_now.values()[e] + beta * (k_now.values()[e] - k_last.values()[e]) - c[e];
                *g = (at - slope / steepest).max(0.0);
            }
            k_next = times(&next, grams, None);
            lower = value(next.values(), k_next.values());
            if lower <= height || beta == 0.0 {
                break;
            }
            (beta, longer) = (0.0, 1.0);
        }
        if lower > height {
            // Without momentum only rounding can raise it.
            break;
        }
        let change: f64 = next.values().iter().zip(now.values()).map(|(a, b)| (a - b).powi(2)).sum();
        if round == 0 {
            first = change;
        }
        (last, k_last) = (std::mem::replace(&mut now, next), std::mem::replace(&mut k_now, k_next));
        (momentum, height) = (longer, lower);
        if change <= CORE_SHARE * CORE_SHARE * first {
            break;
        }
    }
    *core = now;
    Ok(())
}

/// Squares of a model's cells, from its core and Gram matrices.
pub fn model_squares(model: &Tucker) -> f64 {
    let grams: Vec<Matrix> = model.factors.iter().map(gram).collect();
    dot(times(&model.core, &grams, None).values(), model.core.values())
}
