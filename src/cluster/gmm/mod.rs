//! Gaussian mixtures by expectation maximisation.
//!
//! * [`options`]: what is asked for.
//! * [`model`]: a fitted mixture: densities, responsibilities and labels of any points, information criteria, keeping it.
//! * [`fit`]: starts, the EM iteration, the result.
//! * [`factor`]: covariances into what the E step multiplies by.
//! * [`block`]: the E and M sums over a block of rows, the part that takes the time.

pub mod block;
pub mod factor;
pub mod fit;
pub mod model;
pub mod options;
#[cfg(test)]
mod tests;

pub use fit::{Gmm, gmm, gmm_from_labels};
pub use model::GmmModel;
pub use options::{Covariance, GmmOptions, Start};
