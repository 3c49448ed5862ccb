//! TDN: an equivariant graph network for energies and forces of atoms, with low-rank tensor products.
//!
//! | file | what |
//! |---|---|
//! | [`config`] | sizes and choices |
//! | [`graph`], [`geometry`] | structures, neighbours, batches; distances and harmonics with derivatives |
//! | [`ops`], [`jet`] | recorded operations; values with tangents, for exact gradients of losses on −∂E/∂r |
//! | [`layers`], [`net`] | the network |
//! | [`train`], [`equivariance`] | training on energies and forces; how far the network is from equivariance |
//! | [`potential`] | a classical potential of two kinds of atoms as a source of data |
//!
//! # The network
//! Features are (atoms, (L + 1)², C). Kinds of atoms start l = 0; harmonics of edges times weights of their distances start the rest. Each
//! block adds attention over neighbours and a feed-forward part, both after a norm. In an edge, the sum of both ends' features is
//! multiplied with the harmonics by a [`TensorProduct`](crate::kernels::coupled::TensorProduct) of mode uvu whose weights come from the
//! distance; one weight serves all paths, and linear maps share one matrix over all l.
//!
//! # Forces
//! Directly, by a head of their own as in the paper (cheap; no energy has them as its gradient), or as −∂E/∂r. Training on the second kind
//! needs ∂²E/∂r∂θ, which is exact here: see [`jet`].
//!
//! # Source
//! "TDN" = arXiv 2507.01131 with its program divelab/AIRS `OpenMol/TDN` (sizes and formulas). Changed: factors are fitted by least squares;
//! weights fade out at the cutoff on request; conservative forces can be trained on; energies are in units of the data's force, with a
//! reference energy for every kind of atom; the schedule is one of shoal's instead of reduction on plateaus.

pub mod config;
pub mod equivariance;
pub mod geometry;
pub mod graph;
pub mod jet;
pub mod layers;
pub mod net;
pub mod ops;
pub mod potential;
#[cfg(test)]
mod tests;
pub mod train;

pub use config::{Forces, ProductKind, TdnConfig};
pub use graph::{Batch, Structure};
pub use net::{Prediction, Tdn};
pub use train::{Fit, FitConfig, Scores, evaluate, fit};

use crate::nn::params::WeightsError;
use crate::nn::train::TrainError;
use crate::tensor::cg::CgError;

/// What can go wrong.
#[derive(Debug, thiserror::Error)]
pub enum TdnError {
    #[error(transparent)]
    Cg(#[from] CgError),
    #[error("{found} kinds of atoms are named, the configuration has {expected}")]
    Kinds { found: usize, expected: usize },
    #[error("the factors have {found} rows, L = {lmax} takes {expected}")]
    Factors { found: usize, expected: usize, lmax: usize },
    #[error("atom {atom} is \"{found}\", the network knows {known}")]
    Symbol { atom: usize, found: String, known: String },
    #[error("coordinate {axis} of atom {atom} is {value}, expected a finite number")]
    Position { atom: usize, axis: &'static str, value: f64 },
    #[error("atoms {first} and {second} are {distance:.2e} apart, expected at least 1e-6: neighbours need a direction")]
    Coincident { first: usize, second: usize, distance: f64 },
    #[error("structure {structure} has no {what}, which training needs")]
    Unlabelled { structure: usize, what: &'static str },
    #[error("structure {structure} has {found} forces for {atoms} atoms")]
    Forces { structure: usize, found: usize, atoms: usize },
    #[error("the {what} of structure {structure} is {value}, expected a finite number")]
    NotFinite { structure: usize, what: &'static str, value: f64 },
    #[error("there are no {what} structures")]
    NoStructures { what: &'static str },
    #[error("all forces of the training structures are zero: there is nothing to learn")]
    NoForces,
    #[error(transparent)]
    Train(#[from] TrainError),
    #[error(transparent)]
    Weights(#[from] WeightsError),
    #[error(transparent)]
    Tensor(#[from] candle_core::Error),
}
