//! Squared Euclidean distances: which centroid is nearest, blocks of distances, sums of clusters.
//!
//! | file | what |
//! |---|---|
//! | `exact` | [`squared_distance`]: the one definition of a distance that labels are decided by |
//! | `centroids`, `panels` | [`Centroids`] and points rearranged for the search |
//! | `search` | [`Search`]: nearest centroid of many points, with a lower bound for all others; [`nearest`]: the same on all threads |
//! | `sums` | [`ClusterSums`]: sums and sizes of clusters, fused with whatever assigns the points |
//! | `blocks` | [`squared_distances`]: all distances between two sets of points |
//! | `trials` | [`Trials`]: what a further centroid would bring (k-means++) |
//! | [`reference`](mod@reference) | the definitions in f64 loops |
//!
//! # Which centroid is nearest
//! [`nearest`] is a function of the numbers alone: the centroid with the smallest [`squared_distance`] as computed, the lowest index among
//! equals. That function is cheap to define and slow to evaluate for every pair, so the search computes ‖c‖²/2 − x·c in registers (one
//! multiply-add per coordinate and pair) and keeps the best and the second best. Its rounding error is bounded; where the second best is
//! within the bound of the best, and only there, all distances are computed by the definition. So every method that asks for the nearest
//! centroid, and every method that proves by the triangle inequality that it need not ask, gets the same label.
//!
//! # Sizes of numbers
//! The bounds hold while no square of a coordinate overflows or leaves the normal range: scale points to about 1 first (k-means does).
//! Beyond that range labels are still decided by the definition, whose distances may then be infinite or equal; nothing panics.
//!
//! # Cost
//! `nearest`: 2·n·k·d operations and n·d numbers read; the n × k matrix exists only as a tile in registers.

pub mod blocks;
pub mod centroids;
pub mod exact;
pub mod panels;
pub mod reference;
pub mod search;
pub mod sums;
#[cfg(test)]
mod tests;
pub mod trials;

pub use blocks::squared_distances;
pub use centroids::Centroids;
pub use exact::{own_distances, own_distances_of, squared_distance, squared_distances_from};
pub use search::{Found, Search, nearest};
pub use sums::{ClusterSums, Order, Pieces};
pub use trials::Trials;

/// Points of a block: what the search rearranges at a time, small enough for the first caches at common widths.
pub const BLOCK: usize = 128;
