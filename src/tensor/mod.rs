//! Tensor decompositions: tensors and a configuration in, factors and diagnostics out. No files, no clap, no printing.
//!
//! | file | what |
//! |---|---|
//! | [`data`] | dense tensors, and sparse ones as coordinates |
//! | [`model`] | what decompositions give: Kruskal tensors, Tucker tensors, tensor trains |
//! | [`cp`] | sums of products of vectors: least squares, non-negative, sampled, with missing cells, Bayesian |
//! | [`rank_scan`], [`corcondia`] | how many components: fits side by side, core consistency |
//! | [`align`] | which components of two models belong together |
//! | [`tucker`] | a core and a factor a mode |
//! | [`train`] | tensor trains |
//! | [`cg`] | Clebsch-Gordan tensors of SO(3) and their low-rank forms |

pub mod align;
pub mod cg;
pub mod corcondia;
pub mod cp;
pub mod data;
pub mod model;
pub mod rank_scan;
pub mod train;
pub mod tucker;
