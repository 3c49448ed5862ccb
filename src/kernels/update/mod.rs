//! Optimiser steps: one pass over parameter, gradient and state, all changed in place.
//!
//! Scalars are computed in `f64` and rounded once to the parameters' type; elements are then computed with the operations and in
//! the order of PyTorch's single-tensor optimisers, so that two runs from equal gradients stay together.

mod adam;
mod norm;
pub mod reference;
mod sgd;

pub use adam::{Adam, adam};
pub use norm::{clip_factor, global_norm};
pub use sgd::{Sgd, sgd};

#[cfg(test)]
mod tests;
