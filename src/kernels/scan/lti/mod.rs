//! Linear time-invariant state-space models: x' = A·x + B·u, y = C·x + D·u, the same at every step.
//!
//! * [`hippo`]: the matrices A and B whose states remember the past of u as coefficients of orthogonal functions, their normal forms, and
//!   discretisation of any dense system;
//! * [`s4d`]: A diagonal: a scan over steps or one long convolution, whichever is cheaper, with a step form;
//! * [`dplr`]: A diagonal plus low rank: the kernel from Cauchy sums at the roots of unity, and the step form;
//! * [`long_conv`]: causal convolution with a kernel as long as the sequence.
//!
//! States are pairs of complex conjugates of which one is kept: N real dimensions are N/2 complex numbers, and y is twice a real part.
//! Arrays of complex numbers are two arrays, real and imaginary parts. Coefficients that hold for all steps (exponentials,
//! powers, seeds of recurrences) are computed in f64 whatever the data.

pub mod complex;
pub(crate) mod dense;
pub mod dplr;
mod fft;
pub mod hippo;
pub mod long_conv;
mod modes;
pub mod s4d;
#[cfg(test)]
mod tests;

pub use complex::{Complex, ComplexMut, ComplexRef};
pub use modes::Rule;
