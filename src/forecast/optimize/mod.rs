//! Minimisers that more than one model uses: [`bfgs()`] for smooth functions in a box, `minimise` for one variable.
//!
//! Both are deterministic, never evaluate outside their bounds, and take a value that is not a number for worse than anything.

pub mod bfgs;
pub mod scalar;

pub use bfgs::{Minimum, Stop, bfgs};
pub(crate) use scalar::minimise;
