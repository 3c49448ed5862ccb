//! Normalisation and sums over rows and columns, forward and backward.
//!
//! | operator | statistics over | file |
//! |---|---|---|
//! | [`LayerNorm`] | each row | `layer.rs` |
//! | [`RmsNorm`] | each row, about zero | `rms.rs` |
//! | [`RmsNormGated`] | groups of each row, about zero, with a gate | `gated/` |
//! | [`BatchNorm`] | each column, over all rows | `batch.rs` |
//! | [`InstanceNorm`] | time, for each series of a batch (RevIN) | `instance.rs` |
//! | [`column_sums`] | each column: the gradient of a bias | `columns.rs` |
//!
//! `reference.rs` states each of them in plain `f64` loops. All functions take row-major slices, write every place of their
//! outputs without reading it first, and run on all threads. Rows are cut into chunks by the problem size alone and partial sums
//! meet in a fixed tree, so the bytes of a result do not depend on the number of threads or on the instruction set.
//!
//! Slices whose lengths do not fit each other are programming errors and panic. Empty input is fine everywhere.

mod batch;
mod columns;
mod gated;
mod instance;
mod instance_channels_last;
mod instance_time_last;
mod layer;
#[cfg(test)]
pub(crate) mod reference;
mod rms;
#[cfg(test)]
pub(crate) mod tests;

pub use batch::{BatchMoments, BatchNorm};
pub use columns::column_sums;
pub use gated::{Gradients as GatedGradients, RmsNormGated};
pub use instance::{Affine, Centre, InstanceMoments, InstanceNorm, Layout};
pub use layer::{LayerNorm, RowMoments};
pub use rms::RmsNorm;
