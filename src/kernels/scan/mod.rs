//! Scans over sequences: the recurrences of state-space models, forward and backward.
//!
//! Rows are time steps with the sequences end to end (see [`Sequences`]), channels or heads last: (rows, channels), (rows, heads,
//! width). Every scan takes the states before the first step and gives those after the last, differentiates both, and recomputes
//! its states on the way back instead of keeping them. States, decays and their logarithms are held in the type of the data, exponents
//! are sums of steps and never differences of long sums.
//!
//! Each folder has `reference.rs` (the recurrence in f64, the definition) beside the fast form.

pub mod causal_conv;
mod columns;
pub mod cross_scan;
mod diagonal;
mod edges;
mod grid;
pub mod half;
mod lanes;
pub mod lowrank;
pub mod lti;
pub mod mamba3;
pub mod selective;
mod sequences;
pub mod softsort;
pub mod ss2d;
pub mod ssd;
pub mod state_fusion;
pub mod step_size;

pub use grid::{Direction, Grid};
pub use sequences::Sequences;
