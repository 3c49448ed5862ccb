//! CP models of several ranks side by side, to choose one.

use std::ops::RangeInclusive;

use super::align::align_modes;
use super::corcondia::corcondia;
use super::cp::{CpError, CpFit, Input, NonnegSolver, Options, Run, als, hals};
use crate::kernels::simd::Real;
use crate::tensor::data::{Dense, Sparse};

/// How a scan runs.
#[derive(Debug, Clone, PartialEq)]
pub struct RankScan {
    pub ranks: RangeInclusive<usize>,
    /// Everything but the rank.
    pub options: Options,
    /// Non-negative modes, one flag a mode, or none at all.
    pub nonneg: Option<Vec<bool>>,
    /// How non-negative modes are solved for.
    pub solver: NonnegSolver,
    /// The mode that is cut in halves; `None`: the one with most places (the first of them).
    pub split_mode: Option<usize>,
    /// Whether halves are fitted too (twice the cost).
    pub halves: bool,
}

impl RankScan {
    pub fn new(ranks: RangeInclusive<usize>) -> Self {
        Self { ranks, options: Options::new(1), nonneg: None, solver: NonnegSolver::Hals, split_mode: None, halves: true }
    }
}

/// One rank.
#[derive(Debug, Clone, PartialEq)]
pub struct RankRow {
    pub rank: usize,
    /// The model, its trace and its restarts.
    pub cp: CpFit,
    /// See [`corcondia`]; `None` when R^N is too large.
    pub corcondia: Option<f64>,
    /// `|Ω| ln(RSS / |Ω|) + p ln |Ω|` with p = R (ΣI_n − N + 1) free parameters: the lowest is best. Minus infinity is given as `None`: the model is exact.
    pub bic: Option<f64>,
    /// Factor match score, without weights and without the split mode, of models of the two halves (even and odd places of the split mode):
    /// near 1, both halves have the same components. `None` when halves are left out or cannot be had.
    pub split_half: Option<f64>,
}

/// Fits every rank of the range, with diagnostics.
///
/// Errors: as [`als`](fn@als) and [`hals`](fn@hals); an empty range or one that starts at 0. Cost: that of all the fits, twice when halves are fitted. Memory: a
/// copy of one half at a time, when halves are fitted.
///
/// Source: Bro & Kiers 2003 (core consistency); Harshman & De Sarbo 1984 (split halves).
pub fn rank_scan<T: Real>(input: Input<'_, T>, scan: &RankScan, run: &Run<'_>) -> Result<Vec<RankRow>, CpError> {
    if scan.ranks.is_empty() {
        return Err(CpError::Options(format!("the range of ranks {:?} is empty; give the lower one first", scan.ranks)));
    }
    if *scan.ranks.start() == 0 {
        return Err(CpError::RankZero);
    }
    input.check()?;
    let shape = input.shape();
    let order = shape.len();
    let split = scan.split_mode.unwrap_or((0..order).rev().max_by_key(|&m| shape[m]).expect("two modes or more"));
    if split >= order {
        return Err(CpError::Options(format!("mode {split} is to be cut in halves and the tensor has {order}; count from 0")));
    }
    let halves = (scan.halves && shape[split] >= 2).then(|| [Half::new(input, split, 0), Half::new(input, split, 1)]);
    // A half without an observed cell says nothing.
    let halves = halves.filter(|h| h.iter().all(|h| h.input().check().is_ok()));
    let others: Vec<usize> = (0..order).filter(|&m| m != split).collect();
    let fit = |input: Input<'_, T>, rank: usize| {
        let options = Options { rank, ..scan.options.clone() };
        match &scan.nonneg {
            Some(modes) => hals(input, &options, modes, scan.solver, run),
            None => als(input, &options, run),
        }
    };
    let mut rows = Vec::new();
    for rank in scan.ranks.clone() {
        let cp = fit(input, rank)?;
        let split_half = match &halves {
            Some([a, b]) => {
                let (a, b) = (fit(a.input(), rank)?, fit(b.input(), rank)?);
                align_modes(&a.model, &b.model, false, &others).ok().map(|a| a.fms)
            }
            None => None,
        };
        let consistency = match corcondia(input, &cp.model) {
            Ok(value) => Some(value),
            Err(CpError::Memory { .. }) => None,
            Err(other) => return Err(other),
        };
        rows.push(RankRow { rank, bic: bic(&cp, shape, rank), corcondia: consistency, split_half, cp });
        if run.observer.cancelled() {
            break;
        }
    }
    Ok(rows)
}

fn bic(cp: &CpFit, shape: &[usize], rank: usize) -> Option<f64> {
    let cells = cp.observed as f64;
    // ln(RSS / |Ω|) by parts: squares of the norm may leave the range of numbers.
    let log_mean = 2.0 * (cp.rel_error.ln() + cp.norm.ln()) - cells.ln();
    let parameters = (rank * (shape.iter().sum::<usize>() + 1 - shape.len())) as f64;
    Some(cells * log_mean + parameters * cells.ln()).filter(|b| b.is_finite())
}

/// Every other place of one mode.
enum Half<T> {
    Dense(Dense<T>),
    Masked(Dense<T>, Vec<bool>),
    Sparse(Sparse<T>),
    Known(Sparse<T>),
}

impl<T: Real> Half<T> {
    fn new(input: Input<'_, T>, mode: usize, first: usize) -> Self {
        match input {
            Input::Dense(x) => {
                let (shape, cells) = dense_half(x.shape(), mode, first);
                Self::Dense(Dense::new(shape, cells.map(|c| x.values()[c]).collect()))
            }
            Input::Masked { x, observed } => {
                let (shape, cells) = dense_half(x.shape(), mode, first);
                let cells: Vec<usize> = cells.collect();
                let values = cells.iter().map(|&c| x.values()[c]).collect();
                Self::Masked(Dense::new(shape, values), cells.iter().map(|&c| observed[c]).collect())
            }
            Input::Sparse(x) => Self::Sparse(sparse_half(x, mode, first)),
            Input::Known(x) => Self::Known(sparse_half(x, mode, first)),
        }
    }

    fn input(&self) -> Input<'_, T> {
        match self {
            Self::Dense(x) => Input::Dense(x),
            Self::Masked(x, observed) => Input::Masked { x, observed },
            Self::Sparse(x) => Input::Sparse(x),
            Self::Known(x) => Input::Known(x),
        }
    }
}

/// The shape of a half and its cells.
fn dense_half(shape: &[usize], mode: usize, first: usize) -> (Vec<usize>, impl Iterator<Item = usize> + use<>) {
    let (left, n) = (shape[..mode].iter().product::<usize>(), shape[mode]);
    let right: usize = shape[mode + 1..].iter().product();
    let mut half = shape.to_vec();
    half[mode] = (n - first).div_ceil(2);
    let cells = (0..left)
        .flat_map(move |l| (first..n).step_by(2).map(move |i| (l * n + i) * right))
        .flat_map(move |cell| cell..cell + right);
    (half, cells)
}

fn sparse_half<T: Real>(x: &Sparse<T>, mode: usize, first: usize) -> Sparse<T> {
    let kept: Vec<usize> = (0..x.len()).filter(|&k| x.indices(mode)[k] as usize % 2 == first).collect();
    let mut shape = x.shape().to_vec();
    shape[mode] = (shape[mode] - first).div_ceil(2);
    let indices = (0..x.order())
        .map(|m| kept.iter().map(|&k| if m == mode { x.indices(m)[k] / 2 } else { x.indices(m)[k] }).collect())
        .collect();
    Sparse::new(shape, indices, kept.iter().map(|&k| x.values()[k]).collect())
}
