//! What `als` and `hals` are told, and what they give.

use super::diagnose::Degeneracy;
use super::{CpError, StopReason as Stop};
use crate::run::observer::{Observer, Silent};
use crate::tensor::model::Kruskal;

/// The first factors.
#[derive(Debug, Clone, PartialEq)]
pub enum Init {
    /// Independent numbers, uniform in [0, 1).
    Random,
    /// The leading left singular vectors of every unfolding (missing cells as the mean); uniform columns where R > I_n. Absolute values in
    /// non-negative modes. Unfoldings with more than 256 rows: by subspace iteration, good enough for a start.
    Svd,
    /// A model to go on from, of the same shape and rank.
    Model(Kruskal),
}

/// What is done about missing cells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Missing {
    /// [`Weighted`](Self::Weighted) when less than half of the cells is observed, else [`Em`](Self::Em).
    Auto,
    /// Expectation-maximisation: missing cells become what the model says, before every sweep. A sweep costs what one without missing cells
    /// costs; many sweeps are needed when much is missing.
    Em,
    /// Exact least squares over the observed cells, row by row: |Ω| R² operations a mode.
    Weighted,
}

/// How `als` and `hals` run.
#[derive(Debug, Clone, PartialEq)]
pub struct Options {
    /// R, 1 or more.
    pub rank: usize,
    pub init: Init,
    /// Starts, 1 or more; the best fit is kept and all are reported. The first is `init`, the others are random; number k draws with the
    /// seed `seed + k`, so one of them can be had again by itself.
    pub restarts: usize,
    /// Converged when the fit changed by less than this …
    pub tol: f64,
    /// … in this many sweeps one after the other.
    pub stop_window: usize,
    /// Most sweeps, 1 or more.
    pub max_iter: usize,
    /// Extrapolate every other sweep after the fifth (Bro 1998).
    pub line_search: bool,
    /// Ridge: `l2 · ‖U‖²` beside the squared error when a factor U is solved for; U then holds the weights, and the columns of the other
    /// factors have largest entries of 1 at most.
    pub l2: f64,
    /// Proximal term: `prox · ‖U − U_before‖²`, U as for `l2`.
    pub prox: f64,
    pub missing: Missing,
    pub seed: u64,
}

impl Options {
    /// The defaults: one random start, tol 1e-8 in one sweep, 500 sweeps at most, seed 0.
    pub fn new(rank: usize) -> Self {
        Self {
            rank,
            init: Init::Random,
            restarts: 1,
            tol: 1e-8,
            stop_window: 1,
            max_iter: 500,
            line_search: false,
            l2: 0.0,
            prox: 0.0,
            missing: Missing::Auto,
            seed: 0,
        }
    }

    /// # Errors
    /// [`CpError::RankZero`] and [`CpError::Options`].
    pub fn check(&self) -> Result<(), CpError> {
        if self.rank == 0 {
            return Err(CpError::RankZero);
        }
        for (what, value) in [("restarts", self.restarts), ("stop_window", self.stop_window), ("max_iter", self.max_iter)] {
            if value == 0 {
                return Err(CpError::Options(format!("{what} is 0; give 1 or more")));
            }
        }
        for (what, value) in [("tol", self.tol), ("l2", self.l2), ("prox", self.prox)] {
            if !(value >= 0.0 && value.is_finite()) {
                return Err(CpError::Options(format!("{what} is {value}; give a number that is not negative")));
            }
        }
        Ok(())
    }
}

/// Who watches, and what time it is.
#[derive(Clone, Copy)]
pub struct Run<'a> {
    pub observer: &'a dyn Observer,
    /// Seconds since some moment; only written to traces. Without it traces have no seconds.
    pub clock: Option<&'a dyn Fn() -> f64>,
}

impl Default for Run<'_> {
    fn default() -> Self {
        Self { observer: &Silent, clock: None }
    }
}

/// Why a fit ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StopReason {
    /// The fit changed by less than `tol`.
    Converged,
    /// `max_iter` sweeps were done.
    MaxIter,
    /// The observer asked to stop; the model is the one reached so far.
    Cancelled,
}

/// One sweep.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct TraceRow {
    /// From 1.
    pub iter: usize,
    /// 1 - `rel_error`.
    pub fit: f64,
    /// ‖X − X̂‖ / ‖X‖ over the cells that count.
    pub rel_error: f64,
    /// Since the fit of this start began.
    pub seconds: Option<f64>,
}

/// One start.
#[derive(Debug, Clone, PartialEq)]
pub struct Restart {
    /// With this seed and one restart the same model comes out (for starts that are random).
    pub seed: u64,
    pub fit: f64,
    pub iterations: usize,
    pub stop: Stop,
}

/// What `als` and `hals` give.
#[derive(Debug, Clone, PartialEq)]
pub struct CpFit {
    /// In canonical form: see [`canonical`](super::canonical). A component that died has weight 0 and columns of zeros.
    pub model: Kruskal,
    /// 1 − ‖X − X̂‖ / ‖X‖ over the cells that count; 1 for a tensor of zeros.
    pub fit: f64,
    pub rel_error: f64,
    /// ‖X‖ over the cells that count.
    pub norm: f64,
    /// Cells that count.
    pub observed: usize,
    /// Sweeps of the best start.
    pub iterations: usize,
    pub stop: StopReason,
    /// The sweeps of the best start.
    pub trace: Vec<TraceRow>,
    pub restarts: Vec<Restart>,
    /// Which of `restarts` is `model`.
    pub best: usize,
    pub degeneracy: Degeneracy,
    /// What a user should read, in whole sentences.
    pub warnings: Vec<String>,
}

impl CpFit {
    pub fn converged(&self) -> bool {
        self.stop == StopReason::Converged
    }
}
