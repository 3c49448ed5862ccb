//! CP (canonical polyadic, PARAFAC) decompositions: `x[i, j, …] ≈ Σ_r λ_r u_r[i] v_r[j] …`.
//!
//! | file | what |
//! |---|---|
//! | [`als`](mod@als) | alternating least squares |
//! | [`hals`](mod@hals) | the same with non-negative factors: hierarchical ALS, or an exact active set |
//! | [`cprand`](mod@cprand) | alternating least squares on sampled fibres (CPRAND), with mixing or leverage scores |
//! | [`bayes`](mod@bayes) | variational Bayes with automatic relevance determination: finds the rank |
//! | [`options`] | what `als` and `hals` are told, and what they give |
//! | [`input`] | the data: dense, dense with missing cells, sparse with absent = 0 or absent = missing |
//! | [`evaluate`](mod@evaluate), [`reconstruct`] | the fit of a given model; its cells |
//! | [`diagnose`] | degeneracy, Kruskal's uniqueness condition |
//!
//! How `als` and `hals` are built: [`data`] has the traits that a sweep needs of its data; `dense`, `sparse`, `filled` (missing cells of a
//! dense tensor filled by the model: EM), `known` (coordinates of the observed cells) and `weighted` implement them; `sweeps` is the
//! one loop, `state` the model in work, `solve` and `nonneg` the small systems, `start` the first factors, `cells` runs of model cells.

pub mod als;
pub mod bayes;
mod cells;
pub mod cprand;
pub mod data;
mod dense;
pub mod diagnose;
pub mod evaluate;
mod filled;
pub mod hals;
pub mod input;
mod known;
mod mix;
mod nonneg;
pub mod options;
pub mod reconstruct;
mod solve;
mod sparse;
mod start;
mod state;
mod sweeps;
#[cfg(test)]
mod tests;
mod weighted;

pub use als::als;
pub use bayes::{Bayes, BayesFit, BayesRestart, bayes};
pub use cprand::{Rand, RandFit, Sampling, cprand};
pub use evaluate::{Evaluation, evaluate};
pub use hals::{NonnegSolver, hals};
pub use input::Input;
pub use options::{CpFit, Init, Missing, Options, Restart, Run, StopReason, TraceRow};
pub use solve::pseudo_inverse;
pub use state::{canonical, fix_signs, permute};

/// Numbers that factors and small systems may take: 16 GiB.
const MOST_NUMBERS: f64 = (1u64 << 31) as f64;

/// Refuses a rank, or samples, for which there could be no memory.
fn check_room(shape: &[usize], rank: usize, samples: usize) -> Result<(), CpError> {
    let (r, longest) = (rank as f64, shape.iter().copied().max().unwrap_or(0) as f64);
    let rows: f64 = shape.iter().map(|&n| n as f64).sum();
    // Factors twice, some systems of (R, R), and the sample.
    let needed = r * (2.0 * rows + 4.0 * r) + samples as f64 * (r + longest);
    if needed > MOST_NUMBERS {
        let (what, remedy) = ("a model of this rank", "ask for a lower rank or fewer samples");
        return Err(CpError::Memory { what, needed, limit: MOST_NUMBERS, remedy });
    }
    Ok(())
}

/// What can be wrong with a request or its data.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum CpError {
    #[error("a CP decomposition needs 2 modes or more, the tensor has {0}")]
    Order(usize),
    #[error("mode {mode} has size 0 (shape {shape:?}); drop the mode or give the tensor cells")]
    Empty { mode: usize, shape: Vec<usize> },
    #[error(
        "the number at cell {cell} (counted in the order it is held) is {value}; mark missing cells as missing, and remove the others"
    )]
    NonFinite { cell: usize, value: f64 },
    #[error("no cell is observed; nothing can be fitted")]
    NothingObserved,
    #[error("the mask has {mask} cells and the tensor {cells}; give one flag for every cell, in C order")]
    MaskLength { mask: usize, cells: usize },
    #[error("cell {0:?} is listed more than once; combine duplicates first")]
    Duplicate(Vec<usize>),
    #[error("the rank is 0; ask for 1 or more")]
    RankZero,
    #[error("{0}")]
    Options(String),
    #[error("the start has shape {found:?} and rank {found_rank}; a model of shape {shape:?} and rank {rank} is needed")]
    Start { found: Vec<usize>, found_rank: usize, shape: Vec<usize>, rank: usize },
    #[error("the model has shape {model:?} and the tensor {tensor:?}; they must agree")]
    Shape { model: Vec<usize>, tensor: Vec<usize> },
    #[error("index {index} of mode {mode} is outside of the model (size {size})")]
    Index { mode: usize, index: usize, size: usize },
    #[error("in sweep {sweep}, mode {mode}, sums left the range of numbers; scale the values, or use f64")]
    Overflow { sweep: usize, mode: usize },
    #[error("the squared error of the model left the range of numbers; scale the values and the model")]
    ErrorRange,
    #[error("the tensor lists {0} cells; at most 4294967295 can be handled")]
    TooMany(usize),
    #[error("{what} needs {needed} numbers of memory, more than the {limit} allowed; {remedy}")]
    Memory { what: &'static str, needed: f64, limit: f64, remedy: &'static str },
}
