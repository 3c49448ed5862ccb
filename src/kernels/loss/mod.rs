//! Losses: the mean and its gradient in one pass.
//!
//! Every function gives the mean loss as `f64` and, when it is given a slice for it, writes the gradient with respect to the
//! prediction, times `upstream` (the gradient of whatever the loss goes into; 1 for a loss that is minimised itself). Nothing else
//! is stored. Single terms have the precision of `T`; they are added in short runs and the runs in `f64`, in a fixed order, so the
//! sum adds no error worth naming and does not depend on threads.
//!
//! [`Weights`] says how terms of the regression losses become a mean. A weight of 0 leaves a term out altogether: prediction and
//! target may then be anything, NaN too. The mean over nothing is 0, with a gradient of 0.

mod cross_entropy;
mod frequency;
mod huber;
mod mae;
mod mse;
mod pinball;
mod pointwise;
pub mod reference;
mod smape;

pub use cross_entropy::{ClassOutOfRange, CrossEntropy, cross_entropy};
pub use frequency::frequency;
pub use huber::huber;
pub use mae::mae;
pub use mse::mse;
pub use pinball::pinball;
pub use pointwise::Weights;
pub use smape::smape;

#[cfg(test)]
mod tests;
