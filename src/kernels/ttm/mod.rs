//! Tensor times matrix along a mode, chains of them, and Grams of unfoldings. X lies in C order and is never permuted in memory.
//!
//! | file | what |
//! |---|---|
//! | `product` | [`ttm`] |
//! | `chain` | [`ttmc`], products along all modes but one, and [`ttm_all`] |
//! | `mode_gram` | [`mode_gram`], X_(n) X_(n)ᵀ |
//! | `gradient` | [`ttm_backward`] |
//! | `complex` | planar complex forms |
//! | [`reference`](mod@reference) | the definitions, in f64 |

mod chain;
mod complex;
mod gradient;
mod mode_gram;
mod product;
pub mod reference;
#[cfg(test)]
mod tests;

pub(in crate::kernels) use chain::order;
pub use chain::{ttm_all, ttmc};
pub use complex::{mode_gram_complex, ttm_complex};
pub use gradient::ttm_backward;
pub use mode_gram::mode_gram;
pub use product::ttm;
