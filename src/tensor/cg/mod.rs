//! Clebsch–Gordan tensors of SO(3) and their low-rank forms.
//!
//! The product of two equivariant features is a contraction with one fixed tensor M, made of a block for every path l1 ⊗ l2 → l3. A CP form
//! of rank R replaces it by three small matrices, and with path-weight sharing one weight serves all paths.
//!
//! | file | what |
//! |---|---|
//! | [`whole`], [`coupling`] | whole numbers of any size; coefficients of SU(2) by Racah's sum, exact but for the last rounding |
//! | [`blocks`] | real blocks in e3nn's basis, the tensor M |
//! | [`rotation`], [`harmonics`] | rotation matrices, Wigner D, spherical harmonics with gradients, any l |
//! | [`schedule`] | how many terms at which L |
//! | [`als`] | the CP form by proximal alternating least squares |
//! | [`report`](mod@report) | how far it is from M, how much of that breaks equivariance, and the bounds |
//! | [`product`] | M and its factors as [`products of features`](crate::kernels::coupled): exact, by factors, by a matrix per edge |
//! | [`irreps`] | e3nn's full tensor product of lists of irreps |
//! | [`bench`](mod@bench) | the three products against each other |
//!
//! # Source
//! "TDN" = arXiv 2507.01131 (Tensor Decomposition Networks), sections 3 and 4. Changed: factors are fitted to M itself instead of to random
//! samples. With independent inputs of mean square 1 the sampled loss of the paper is ‖M − M̂‖²/‖M‖², so both have the same optimum, and
//! alternating least squares finds it in seconds.

pub mod als;
pub mod bench;
pub mod blocks;
pub mod coupling;
pub mod harmonics;
pub mod irreps;
pub mod product;
#[cfg(test)]
mod products;
pub mod report;
pub mod rotation;
pub mod schedule;
#[cfg(test)]
mod tests;
pub mod whole;

pub use als::{CpConfig, CpFit, decompose};
pub use blocks::{CgTensor, block};
pub use harmonics::{Harmonics, Normalization, spherical_harmonics};
pub use report::{ErrorReport, report};
pub use rotation::{Rotation, WignerD};
pub use schedule::RankSchedule;

use crate::kernels::coupled::ChannelsError;

/// What can be wrong with a request.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum CgError {
    #[error("L is {lmax}, the largest this program builds is {largest}: the tensor grows like L to the sixth")]
    TooLarge { lmax: usize, largest: usize },
    #[error("the rank is 0, expected at least 1")]
    RankZero,
    #[error("the rank is {rank}, but {full} terms hold any tensor of L = {lmax}: expected at most {full}")]
    RankTooLarge { rank: usize, lmax: usize, full: usize },
    #[error("\"{found}\" is no rank, expected a whole number above 0 or one of linear, quadratic, log, full")]
    UnknownSchedule { found: String },
    #[error(transparent)]
    Channels(#[from] ChannelsError),
    #[error("irreps \"{text}\": {problem}; expected terms such as 2x0e+1x1o")]
    Irreps { text: String, problem: String },
    #[error("{what} is {found}, expected {expected}")]
    Setting { what: &'static str, found: String, expected: String },
    #[error("stopped on request")]
    Interrupted,
}
