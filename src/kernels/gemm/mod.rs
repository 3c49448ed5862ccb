//! Matrix products, C = start + A·B, at two levels.
//!
//! * [`tile`]: one thread, for use inside fused kernels: A is read in place with any strides, B is either [`Packed`] once (weights) or
//!   a row-major matrix read in place, and the sum may start from a bias, from zero or from what C holds.
//! * [`matmul`], [`matmul_from`], [`matmul_batched`]: whole matrices of any orientation, blocked for the caches, on all threads of the pool.
//!
//! Each element of C is one chain of fused multiply-adds, `c ← fma(a_ik, b_kj, c)` for k = 0, 1, 2, … from the start value.
//! Neither tiling, threads nor the instruction set change that order, so the bits are the same everywhere. The one exception is
//! a short and narrow C with a long k at matrix level (a weight gradient): see [`matmul`].

mod batched;
mod matmul;
mod micro;
mod pack;
pub mod reference;
#[cfg(test)]
mod tests;
mod tile;
mod view;

pub use batched::{BatchMut, BatchRef, matmul_batched};
pub use matmul::{matmul, matmul_from};
pub use pack::Packed;
pub(crate) use pack::{Plain, with_scratch};
pub use tile::{Right, Start, tile};
pub use view::{MatMut, MatRef};
