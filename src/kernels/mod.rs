//! The fast core: operations on slices, written once for every instruction set, with their gradients.
//!
//! Every family has a plain reference in f64 (the definition) beside the fast form, and its tests compare the two. Nothing here knows
//! tensors, files or models. Work is cut into pieces whose size depends on the problem alone and partial results are added in the order
//! of the pieces: same bytes at any number of threads.

// One counter often walks several arrays of a fixed size, which reads better than zipped iterators.
#![allow(clippy::needless_range_loop)]

pub mod attention;
pub mod bf16;
pub mod coupled;
pub mod device;
pub mod distance;
pub mod dropout;
pub mod elementwise;
pub mod gemm;
pub mod linear;
pub mod loss;
pub mod machine;
pub mod mttkrp;
pub mod norm;
pub mod pdm;
mod pieces;
mod rows;
pub mod scan;
pub mod simd;
pub mod smooth;
mod sums;
#[cfg(test)]
pub(crate) mod testing;
mod transpose;
pub mod ttm;
pub mod update;
pub mod wavelet;
