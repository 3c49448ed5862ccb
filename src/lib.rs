//! shoal: research and operations on structure in groups, as a library behind the binary of the same name.
//!
//! | room | what lives there |
//! |---|---|
//! | [`cli`] | what the user types: arguments, messages, exit codes |
//! | [`cluster`] | clusters of points and graphs, and how good they are |
//! | [`forecast`] | forecasting methods and their evaluation |
//! | [`kernels`] | the fast core: vector arithmetic chosen at run time, matrix products, fused operations with gradients |
//! | [`nn`] | neural models: recorded operations, parameters, optimisers, the training loop |
//! | [`plot`] | pictures: data in, SVG or PNG bytes out |
//! | [`run`] | seeds, progress, manifests, asserted metrics |
//! | [`table`] | tables, series and tensors in and out: CSV, Parquet, JSON lines, arrays, coordinates |
//! | [`tensor`] | tensor decompositions |
//!
//! Arrows: `cli` uses all others, `forecast` uses `nn`, `nn` and `tensor` use `kernels`; these use `run` for seeds and progress; nothing points back
//! (docs/architecture.md).

pub mod cli;
pub mod cluster;
pub mod forecast;
pub mod kernels;
pub mod nn;
pub mod plot;
pub mod run;
pub mod table;
pub mod tensor;
#[cfg(test)]
mod testing;
