//! CP from sampled fibres (CPRAND).

use rand::RngExt as _;
use rayon::prelude::*;

use super::data::{peak, sum_over, unit};
use super::diagnose::Degeneracy;
use super::evaluate::{Evaluation, evaluate};
use super::mix::{Mixer, mix};
use super::options::{Restart, Run, StopReason, TraceRow};
use super::solve::{Factored, pseudo_inverse};
use super::start::uniform;
use super::state::{ColumnNorm, State};
use super::sweeps::relative;
use super::{CpError, Input, check_room};
use crate::kernels::gemm::{MatMut, MatRef, matmul};
use crate::kernels::simd::Real;
use crate::run::seed::{Rng, Streams};
use crate::tensor::model::Kruskal;

/// How rows of the Khatri-Rao product are drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sampling {
    /// All rows alike.
    Uniform,
    /// By the product of the leverage scores of the factors' rows, an upper bound of the row's own score; rows are weighted by the inverse
    /// root of their chance.
    Leverage,
}

/// What `cprand` is told.
#[derive(Debug, Clone, PartialEq)]
pub struct Rand {
    pub rank: usize,
    /// Rows of every sampled least-squares problem; `None`: ⌈10 R ln R⌉ and at least 10 R.
    pub samples: Option<usize>,
    pub sampling: Sampling,
    /// Mix every mode first (CPRAND-MIX): costs a copy of the tensor, and makes uniform samples work for tensors whose mass is in few cells.
    pub mix: bool,
    /// Ends when the best estimated fit has not risen by this …
    pub tol: f64,
    /// … in so many epochs.
    pub patience: usize,
    /// Sweeps of an epoch; the fit is estimated after each epoch.
    pub epoch: usize,
    pub max_epochs: usize,
    pub restarts: usize,
    pub seed: u64,
}

impl Rand {
    pub fn new(rank: usize) -> Self {
        Self {
            rank,
            samples: None,
            sampling: Sampling::Uniform,
            mix: false,
            tol: 1e-5,
            patience: 5,
            epoch: 5,
            max_epochs: 200,
            restarts: 1,
            seed: 0,
        }
    }

    /// Rows of every sampled problem.
    pub fn rows(&self) -> usize {
        let r = self.rank as f64;
        self.samples.unwrap_or(((10.0 * r * r.ln()).ceil() as usize).max(10 * self.rank))
    }

    fn check(&self) -> Result<(), CpError> {
        if self.rank == 0 {
            return Err(CpError::RankZero);
        }
        let counts =
            [("patience", self.patience), ("epoch", self.epoch), ("max_epochs", self.max_epochs), ("restarts", self.restarts)];
        if let Some((what, _)) = counts.iter().find(|(_, n)| *n == 0) {
            return Err(CpError::Options(format!("{what} is 0; give 1 or more")));
        }
        if self.rows() < self.rank {
            return Err(CpError::Options(format!(
                "{} samples cannot determine rank {}; give at least as many, or 10 times that",
                self.rows(),
                self.rank
            )));
        }
        if !(self.tol >= 0.0 && self.tol.is_finite()) {
            return Err(CpError::Options(format!("tol is {}; give a number that is not negative", self.tol)));
        }
        Ok(())
    }
}

/// What `cprand` gives.
#[derive(Debug, Clone, PartialEq)]
pub struct RandFit {
    pub model: Kruskal,
    /// The exact fit of the model, from one pass over the tensor.
    pub evaluation: Evaluation,
    /// Rows of every sampled problem.
    pub samples: usize,
    /// An epoch each; `iter` counts sweeps, fits are estimated from at most 2¹⁴ cells.
    pub trace: Vec<TraceRow>,
    pub stop: StopReason,
    /// Fits are estimates here.
    pub restarts: Vec<Restart>,
    pub best: usize,
    pub degeneracy: Degeneracy,
    pub warnings: Vec<String>,
}

/// Cells of the estimate of the fit.
const PROBES: usize = 1 << 14;

/// Alternating least squares where every problem is solved on a sample of its rows: cost of a mode S (I_n + N) R + S R², without a pass over
/// the tensor.
///
/// With [`Rand::mix`] the tensor is transformed once along every mode; the transforms are orthogonal, so the factors of the mixed tensor are
/// the mixed factors, and are transformed back at the end. The model with the best estimated fit is kept.
///
/// Errors: [`CpError`]; sparse tensors and missing cells are refused, as fibres drawn from them are mostly empty.
///
/// Memory: the sample, S · max I_n numbers; with mixing a copy of the tensor in f64 (two while it is transformed).
///
/// Source: Battaglino, Ballard & Kolda 2018 (CPRAND, CPRAND-MIX); Larsen & Kolda 2022 for leverage scores. Changed: a real cosine transform
/// instead of a complex Fourier one, and all modes stay mixed until the end.
pub fn cprand<T: Real>(input: Input<'_, T>, options: &Rand, run: &Run<'_>) -> Result<RandFit, CpError> {
    options.check()?;
    check_room(input.shape(), options.rank, options.rows())?;
    input.check()?;
    let Input::Dense(x) = input else {
        let what = if matches!(input, Input::Sparse(_)) { "a sparse tensor" } else { "a tensor with missing cells" };
        return Err(CpError::Options(format!(
            "fibres cannot be sampled from {what}; use als, whose cost is in proportion to the cells held"
        )));
    };
    let scale = unit::<T>(peak(x.values(), None)?);
    let inverse = 1.0 / scale;
    let norm_sq = sum_over(x.values(), None, inverse, |x| x * x);
    let shape = x.shape();
    let mixers: Option<Vec<Mixer>> =
        options.mix.then(|| shape.iter().enumerate().map(|(m, &n)| Mixer::new(n, Streams::new(options.seed), m)).collect());
    let mixed = mixers.as_ref().map(|m| mix(x, inverse, m));
    let sampler = match &mixed {
        Some(mixed) => Source { shape, values: Values::Mixed(mixed), inverse: 1.0 },
        None => Source { shape, values: Values::Plain(x.values()), inverse },
    };
    run.observer.start("sweeps", options.restarts * options.max_epochs * options.epoch);
    let mut best: Option<(usize, Outcome)> = None;
    let mut restarts = Vec::new();
    for k in 0..options.restarts {
        let seed = options.seed.wrapping_add(k as u64);
        let one = descend(&sampler, norm_sq, options, seed, run)?;
        let iterations = one.trace.last().map_or(0, |t| t.iter);
        restarts.push(Restart { seed, fit: 1.0 - one.rel_error, iterations, stop: one.stop });
        let stop = one.stop;
        if best.as_ref().is_none_or(|(_, b)| one.rel_error < b.rel_error) {
            best = Some((k, one));
        }
        if stop == StopReason::Cancelled {
            break;
        }
    }
    run.observer.finish();
    let (best, mut one) = best.expect("there is a start");
    if let Some(mixers) = &mixers {
        for (factor, mixer) in one.state.factors.iter_mut().zip(mixers) {
            for c in 0..options.rank {
                let mut column: Vec<f64> = factor.values.iter().skip(c).step_by(options.rank).copied().collect();
                mixer.inverse(&mut column);
                factor.values.iter_mut().skip(c).step_by(options.rank).zip(column).for_each(|(to, x)| *to = x);
            }
        }
    }
    let model = one.state.into_kruskal(scale);
    let evaluation = evaluate(input, &model)?;
    let degeneracy = Degeneracy::of(&model, evaluation.norm);
    let mut warnings: Vec<String> = degeneracy.warning().into_iter().collect();
    if one.stop == StopReason::MaxIter {
        warnings.push(format!("The estimated fit still rose after {} epochs.", options.max_epochs));
    }
    Ok(RandFit {
        model,
        evaluation,
        samples: options.rows(),
        trace: one.trace,
        stop: one.stop,
        restarts,
        best,
        degeneracy,
        warnings,
    })
}

enum Values<'a, T> {
    Plain(&'a [T]),
    Mixed(&'a [f64]),
}

struct Source<'a, T> {
    shape: &'a [usize],
    values: Values<'a, T>,
    inverse: f64,
}

impl<T: Real> Source<'_, T> {
    fn at(&self, cell: usize) -> f64 {
        match &self.values {
            Values::Plain(x) => x[cell].to_f64() * self.inverse,
            Values::Mixed(x) => x[cell],
        }
    }
}

struct Outcome {
    state: State,
    rel_error: f64,
    stop: StopReason,
    trace: Vec<TraceRow>,
}

fn descend<T: Real>(x: &Source<'_, T>, norm_sq: f64, options: &Rand, seed: u64, run: &Run<'_>) -> Result<Outcome, CpError> {
    let streams = Streams::new(seed);
    let mut rng = streams.stream("cp-samples", 0);
    let began = run.clock.map(|clock| clock());
    let cells: usize = x.shape.iter().product();
    let probes: Vec<usize> = if cells <= PROBES {
        (0..cells).collect()
    } else {
        let mut rng = streams.stream("cp-probes", 0);
        (0..PROBES).map(|_| rng.random_range(0..cells)).collect()
    };
    let mut state = State::new(x.shape.iter().enumerate().map(|(m, &n)| uniform(n, options.rank, streams, m)).collect());
    let estimate = |state: &State| {
        let mean =
            probes.iter().map(|&cell| (x.at(cell) - model_at(state, x.shape, cell)).powi(2)).sum::<f64>() / probes.len() as f64;
        relative(mean * cells as f64, norm_sq)
    };
    let mut best = (state.clone(), estimate(&state));
    let (mut trace, mut stop, mut stale, mut reached) = (Vec::new(), StopReason::MaxIter, 0, best.1);
    'epochs: for epoch in 0..options.max_epochs {
        for sweep in 0..options.epoch {
            if run.observer.cancelled() {
                stop = StopReason::Cancelled;
                break 'epochs;
            }
            let k = epoch * options.epoch + sweep;
            for mode in 0..x.shape.len() {
                let u = sampled_solve(x, &state, mode, options, &mut rng);
                if u.iter().any(|x| !x.is_finite()) {
                    return Err(CpError::Overflow { sweep: k + 1, mode });
                }
                state.set(mode, u, if k == 0 { ColumnNorm::Two } else { ColumnNorm::Max });
            }
            run.observer.advance(1);
        }
        let rel_error = estimate(&state);
        let seconds = run.clock.zip(began).map(|(clock, began)| clock() - began);
        trace.push(TraceRow { iter: (epoch + 1) * options.epoch, fit: 1.0 - rel_error, rel_error, seconds });
        if rel_error < best.1 {
            best = (state.clone(), rel_error);
        }
        // Small gains add up: the patience counts from the last epoch that had gained `tol` since the one before it.
        if best.1 < reached - options.tol {
            (reached, stale) = (best.1, 0);
        } else {
            stale += 1;
            if stale >= options.patience {
                stop = StopReason::Converged;
                break;
            }
        }
    }
    Ok(Outcome { state: best.0, rel_error: best.1, stop, trace })
}

fn model_at(state: &State, shape: &[usize], cell: usize) -> f64 {
    let (mut rest, mut product) = (cell, state.weights.clone());
    for (m, f) in state.factors.iter().enumerate().rev() {
        product.iter_mut().zip(f.row(rest % shape[m])).for_each(|(p, u)| *p *= u);
        rest /= shape[m];
    }
    product.iter().sum()
}

/// Draws rows of one factor.
struct Draw {
    /// Running sums of the chances, or none when all rows are alike.
    sums: Option<Vec<f64>>,
    rows: usize,
}

impl Draw {
    fn new(state: &State, mode: usize, sampling: Sampling) -> Self {
        let (factor, r) = (&state.factors[mode], state.rank());
        let rows = factor.rows;
        if sampling == Sampling::Uniform {
            return Self { sums: None, rows };
        }
        // ℓ_i = u_i (UᵀU)⁺ u_iᵀ.
        let inverse = pseudo_inverse(&state.grams[mode], r);
        let mut total = 0.0;
        let sums: Vec<f64> = (0..rows)
            .map(|i| {
                let u = factor.row(i);
                let score: f64 = (0..r).map(|a| u[a] * (0..r).map(|b| inverse[a * r + b] * u[b]).sum::<f64>()).sum();
                total += score.max(0.0);
                total
            })
            .collect();
        // A factor of zeros has no scores.
        Self { sums: (total > 0.0 && total.is_finite()).then_some(sums), rows }
    }

    /// A row and its chance.
    fn next(&self, rng: &mut Rng) -> (usize, f64) {
        let Some(sums) = &self.sums else { return (rng.random_range(0..self.rows), 1.0 / self.rows as f64) };
        let total = sums[self.rows - 1];
        let at = rng.random::<f64>() * total;
        let mut row = sums.partition_point(|&s| s <= at).min(self.rows - 1);
        // Rounding may name a row of chance 0 at the end.
        let chance = |row: usize| sums[row] - if row == 0 { 0.0 } else { sums[row - 1] };
        while row > 0 && chance(row) == 0.0 {
            row -= 1;
        }
        (row, chance(row) / total)
    }
}

/// The factor of `mode` from sampled rows of its least-squares problem.
fn sampled_solve<T: Real>(x: &Source<'_, T>, state: &State, mode: usize, options: &Rand, rng: &mut Rng) -> Vec<f64> {
    let (r, samples, n) = (state.rank(), options.rows(), x.shape[mode]);
    let others: Vec<usize> = (0..x.shape.len()).filter(|&m| m != mode).collect();
    let draws: Vec<Draw> = others.iter().map(|&m| Draw::new(state, m, options.sampling)).collect();
    let stride = |m: usize| x.shape[m + 1..].iter().product::<usize>();
    // The sampled rows k of the Khatri-Rao product, and the first cell of every sampled fibre.
    let mut rows = vec![1.0; samples * r];
    let (mut firsts, mut weights) = (Vec::with_capacity(samples), Vec::with_capacity(samples));
    for row in rows.chunks_exact_mut(r) {
        let (mut first, mut chance) = (0, 1.0);
        for (&m, draw) in others.iter().zip(&draws) {
            let (i, p) = draw.next(rng);
            first += i * stride(m);
            chance *= p;
            row.iter_mut().zip(state.factors[m].row(i)).for_each(|(k, u)| *k *= u);
        }
        let weight = match options.sampling {
            Sampling::Uniform => 1.0,
            Sampling::Leverage => (1.0 / (samples as f64 * chance)).sqrt(),
        };
        row.iter_mut().for_each(|k| *k *= weight);
        firsts.push(first);
        weights.push(weight);
    }
    let step = stride(mode);
    let mut fibres = vec![0.0; samples * n];
    fibres.par_chunks_mut(n).enumerate().for_each(|(s, fibre)| {
        fibre.iter_mut().enumerate().for_each(|(i, to)| *to = x.at(firsts[s] + i * step) * weights[s]);
    });
    let (k, f) = (MatRef::new(&rows, samples, r), MatRef::new(&fibres, samples, n));
    let (mut g, mut w) = (vec![0.0; r * r], vec![0.0; n * r]);
    matmul(k.t(), k, MatMut::new(&mut g, r, r), false);
    matmul(f.t(), k, MatMut::new(&mut w, n, r), false);
    Factored::new(&g, r).rows(r, &mut w);
    w
}
