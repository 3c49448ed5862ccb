//! Tucker decompositions: a small core multiplied by a factor along every mode.
//!
//! | file | what |
//! |---|---|
//! | [`hosvd`] | every factor from the tensor itself |
//! | [`sthosvd`] | the tensor truncated after each mode: the default |
//! | [`hooi`] | orthogonal iteration from there: the best of the three |
//! | [`randomised`] | ST-HOSVD with random range finders |
//! | [`nonnegative`] | factors by HALS, core by FISTA |
//! | [`reconstruct`] | cells, blocks or all of a Tucker model |
//! | [`vectors`] | leading left singular vectors of an unfolding |
//! | [`operand`], [`semi_sparse`] | what the methods ask of dense and of sparse tensors |
//! | [`tree`] | products along all modes but one, shared between modes |
//!
//! Conventions: modes are counted from 0; X_(n) has a row for every index of mode n. Factors have orthonormal columns (but for the
//! non-negative method), ordered by singular value, the entry of largest magnitude of a column positive. Sums are in `f64` for tensors of
//! `f32` too. A tensor that is zero everywhere is a valid input with relative error 0.

pub mod hooi;
pub mod hosvd;
pub mod nonnegative;
pub mod operand;
pub mod randomised;
pub mod reconstruct;
pub mod semi_sparse;
pub mod sthosvd;
#[cfg(test)]
pub mod tests;
pub mod tree;
pub mod vectors;

use operand::{Operand, Scan};
pub use vectors::Precision;

use crate::tensor::data::Dense;
use crate::tensor::model::{Matrix, Tucker};

/// Why there is no decomposition.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum TuckerError {
    #[error("the tensor has no modes; a Tucker decomposition needs at least one")]
    NoModes,
    #[error("mode {mode} of the tensor has no indices; every mode needs at least one")]
    EmptyMode { mode: usize },
    #[error(
        "the tensor holds {value} at {place:?} (counted from 0); only finite numbers can be decomposed: fill or drop such cells first"
    )]
    NotFinite { place: Vec<usize>, value: f64 },
    #[error(
        "the largest number of the tensor is {largest:e}; its square is out of range: scale the tensor to between 1e-140 and 1e140"
    )]
    Scale { largest: f64 },
    #[error("{given} ranks for a tensor of {order} modes; give one rank for every mode")]
    RankCount { given: usize, order: usize },
    #[error("rank {rank} for mode {mode}, which has {size} indices; a rank lies between 1 and the number of indices")]
    RankRange { mode: usize, rank: usize, size: usize },
    #[error("a tolerance of {eps}; the relative error lies between 0 and 1 (1 excluded)")]
    Eps { eps: f64 },
    #[error("a tolerance of {eps:e} is below what {method} can tell apart, {least:e}; use {instead}")]
    Precision { eps: f64, least: f64, method: &'static str, instead: &'static str },
    #[error("the mode order {given:?} does not name each of the modes 0 to {last} once")]
    ModeOrder { given: Vec<usize>, last: usize },
    #[error("{name} is {value}; {expected}")]
    Option { name: &'static str, value: f64, expected: &'static str },
    #[error(
        "mode {mode} has {size} indices: its Gram matrix would take {bytes} bytes; give ranks and use the randomised method for such a tensor"
    )]
    GramSize { mode: usize, size: usize, bytes: u128 },
    #[error("the singular vectors of mode {mode} did not converge; scale the tensor or use another method")]
    NoConvergence { mode: usize },
    #[error("cell {cell} asks for index {index} of mode {mode}, which has {size}")]
    Cell { cell: usize, mode: usize, index: usize, size: usize },
    #[error("indices for {given} modes, and the model has {order}; give the indices of every mode, of the same length")]
    CellModes { given: usize, order: usize },
}

/// How large the core gets.
#[derive(Debug, Clone, PartialEq)]
pub enum Size {
    /// One rank for every mode.
    Ranks(Vec<usize>),
    /// The smallest ranks that keep the relative error at or below this, mode by mode: Σ of discarded σ² <= eps² ‖X‖² / N.
    Eps(f64),
}

/// The order in which modes are truncated.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum ModeOrder {
    /// From the shortest mode to the longest.
    #[default]
    Auto,
    Given(Vec<usize>),
}

/// What a relative error was computed from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorFrom {
    /// ‖X‖² − ‖G‖²: errors of rounding up to about 1e-16 / rel_error.
    Norms,
    /// ‖X − X̂‖, cell by cell.
    Cells,
}

/// Why an iteration ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StopReason {
    /// The relative error changed by less than the tolerance.
    Tolerance,
    /// The explained squares changed by less than rounding can tell.
    Rounding,
    /// The most sweeps that were allowed.
    MaxIter,
    /// The observer asked to stop.
    Cancelled,
}

/// How an iteration went.
#[derive(Debug, Clone, PartialEq)]
pub struct Iterations {
    /// The relative error before the first sweep and after every sweep, from norms.
    pub trace: Vec<f64>,
    pub stop_reason: StopReason,
}

impl Iterations {
    /// Sweeps done.
    pub fn count(&self) -> usize {
        self.trace.len() - 1
    }
    /// Whether it ended by itself.
    pub fn converged(&self) -> bool {
        matches!(self.stop_reason, StopReason::Tolerance | StopReason::Rounding)
    }
}

/// A Tucker model and how good it is.
#[derive(Debug, Clone, PartialEq)]
pub struct TuckerFit {
    pub model: Tucker,
    /// The order in which the modes were truncated.
    pub mode_order: Vec<usize>,
    /// For every mode the singular values of the unfolding its factor was taken from: of X (hosvd), of X truncated along the modes before
    /// (sthosvd, randomised: of its projection on the random basis), of X multiplied by all other factors (hooi). Empty for non-negative models.
    pub singular_values: Vec<Vec<f64>>,
    /// ‖X‖.
    pub norm: f64,
    /// ‖X − X̂‖ / ‖X‖, 0 for a zero tensor.
    pub rel_error: f64,
    pub error_from: ErrorFrom,
    /// For every mode and every slice of the core along it ‖slice‖² / ‖X‖². With orthonormal factors those of a mode add up to
    /// 1 − rel_error².
    pub core_shares: Vec<Vec<f64>>,
    /// Cells of X over numbers of the model.
    pub compression: f64,
    /// Of iterative methods.
    pub iterations: Option<Iterations>,
}

impl TuckerFit {
    /// 1 − rel_error.
    pub fn fit(&self) -> f64 {
        1.0 - self.rel_error
    }
    pub fn ranks(&self) -> &[usize] {
        self.model.core.shape()
    }
}

/// Below this share of squares the difference of norms has lost half of its digits: 1e-16 / 1e-8.
const CANCELLATION: f64 = 1e-8;

/// Shape and numbers are fit to be decomposed.
pub fn check_input<X: Operand>(x: &X) -> Result<Scan, TuckerError> {
    if x.shape().is_empty() {
        return Err(TuckerError::NoModes);
    }
    if let Some(mode) = x.shape().iter().position(|&i| i == 0) {
        return Err(TuckerError::EmptyMode { mode });
    }
    let scan = x.scan();
    if let Some((at, value)) = scan.bad {
        return Err(TuckerError::NotFinite { place: x.place(at), value });
    }
    // Squares, and products of squares with the number of cells, must neither overflow nor vanish.
    if scan.largest > 1e140 || (scan.largest > 0.0 && scan.largest < 1e-140) {
        return Err(TuckerError::Scale { largest: scan.largest });
    }
    Ok(scan)
}

impl Size {
    /// Ranks within the shape, a tolerance within [0, 1).
    pub fn check(&self, shape: &[usize]) -> Result<(), TuckerError> {
        match self {
            Size::Ranks(ranks) => {
                if ranks.len() != shape.len() {
                    return Err(TuckerError::RankCount { given: ranks.len(), order: shape.len() });
                }
                match ranks.iter().zip(shape).position(|(&rank, &size)| rank == 0 || rank > size) {
                    Some(mode) => Err(TuckerError::RankRange { mode, rank: ranks[mode], size: shape[mode] }),
                    None => Ok(()),
                }
            }
            &Size::Eps(eps) if !(0.0..1.0).contains(&eps) => Err(TuckerError::Eps { eps }),
            Size::Eps(_) => Ok(()),
        }
    }

    /// What one mode of `order` keeps of a tensor with these squares.
    fn keep(&self, mode: usize, order: usize, squares: f64) -> vectors::Keep {
        match self {
            Size::Ranks(ranks) => vectors::Keep::Rank(ranks[mode]),
            Size::Eps(eps) => vectors::Keep::Tail { allowed: eps * eps * squares / order as f64, squares },
        }
    }
}

impl ModeOrder {
    /// The modes in order.
    pub fn resolve(&self, shape: &[usize]) -> Result<Vec<usize>, TuckerError> {
        let mut all: Vec<usize> = (0..shape.len()).collect();
        match self {
            ModeOrder::Auto => {
                all.sort_by_key(|&mode| shape[mode]);
                Ok(all)
            }
            ModeOrder::Given(given) => {
                let mut sorted = given.clone();
                sorted.sort_unstable();
                if sorted == all {
                    Ok(given.clone())
                } else {
                    Err(TuckerError::ModeOrder { given: given.clone(), last: shape.len() - 1 })
                }
            }
        }
    }
}

/// Σ x² of a dense tensor.
pub fn squares(x: &[f64]) -> f64 {
    Scan::of(x).squares
}

/// √(max(0, whole − part) / whole), 0 for nothing.
fn error_of_norms(whole: f64, part: f64) -> f64 {
    if whole == 0.0 { 0.0 } else { ((whole - part).max(0.0) / whole).sqrt() }
}

/// ‖slice‖² of the core along every mode, over `whole`.
fn core_shares(core: &Dense<f64>, whole: f64) -> Vec<Vec<f64>> {
    (0..core.order())
        .map(|mode| {
            let (_, size, behind) = operand::around(core.shape(), mode);
            let mut shares = vec![0.0; size];
            for (line, of) in core.values().chunks_exact(behind).enumerate() {
                shares[line % size] += of.iter().map(|x| x * x).sum::<f64>();
            }
            shares.iter_mut().for_each(|s| *s = if whole == 0.0 { 0.0 } else { *s / whole });
            shares
        })
        .collect()
}

/// Puts a fit together; with orthonormal factors `explained` is ‖G‖². Errors near rounding are computed from the cells.
fn finish<X: Operand>(
    x: &X,
    model: Tucker,
    squares: f64,
    explained: f64,
    mode_order: Vec<usize>,
    singular_values: Vec<Vec<f64>>,
    iterations: Option<Iterations>,
) -> TuckerFit {
    let by_cells = if squares > 0.0 && squares - explained <= CANCELLATION * squares { x.residual(&model) } else { None };
    let (rel_error, error_from) = match by_cells {
        Some(residual) => ((residual / squares).sqrt(), ErrorFrom::Cells),
        None => (error_of_norms(squares, explained), ErrorFrom::Norms),
    };
    let numbers = model.core.values().len() + model.factors.iter().map(|f| f.values.len()).sum::<usize>();
    TuckerFit {
        mode_order,
        singular_values,
        norm: squares.sqrt(),
        rel_error,
        error_from,
        core_shares: core_shares(&model.core, squares),
        compression: x.shape().iter().map(|&i| i as f64).product::<f64>() / numbers as f64,
        iterations,
        model,
    }
}

/// `factors` before they are known.
fn no_factors(order: usize) -> Vec<Matrix> {
    vec![Matrix::zeros(0, 0); order]
}
