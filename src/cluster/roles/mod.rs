//! Who plays which part in a network, and how things spread in it.
//!
//! | file | what |
//! |---|---|
//! | [`mod@features`] | what is measured at a node: degrees, betweenness, clustering, PageRank |
//! | [`betweenness`] | Brandes' method, all sources or a sample of them |
//! | [`partition`] | features standardised, filtered and reduced; k-means over a range of k; sizes, profiles, agreement, rules |
//! | [`cascades`] | who adopted what when: sizes, exposure, rows for the regressions |
//! | [`power_law`] | discrete power laws: fit, goodness, alternatives |
//! | [`logit`] | logistic regression |
//! | [`cox`] | proportional hazards, also with covariates that change |
//!
//! The statistics are functions of slices and know nothing of roles.

pub mod betweenness;
pub mod cascades;
pub mod cox;
pub mod features;
pub mod logit;
pub mod partition;
pub mod power_law;
mod solve;
pub mod special;

pub use features::{FeatureOptions, Features, features};
