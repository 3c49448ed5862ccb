//! Clustering of points and graphs. Pure: numbers and a configuration in, a partition and what is known of it out.
//!
//! | module | what |
//! |---|---|
//! | [`points`], [`graph`], [`labels`], [`saved`], [`error`] | what all methods take and give |
//! | [`scale`] | columns on one scale |
//! | [`kmeans`], [`minibatch`], [`gmm`] | around centres |
//! | [`spectral`] | eigenvectors of graphs of points, and of graphs |
//! | [`dbscan`], [`hdbscan`] | by density; [`kd_tree`], [`spanning_tree`], [`dendrogram`] serve them |
//! | [`agglomerative`] | from single points up |
//! | [`sdp`], [`ila_sdp`] | by semidefinite programmes, with certificates |
//! | [`graph_methods`], [`graph_tools`], [`modularity`] | communities of graphs |
//! | [`roles`] | structural roles, cascades, survival: features of graphs, power laws, Cox and logit regressions |
//! | [`score`], [`criteria`], [`k_scan`], [`stability`] | how good a clustering is, and how many clusters there are |

pub mod agglomerative;
pub mod criteria;
pub mod dbscan;
pub mod dendrogram;
pub mod error;
#[cfg(test)]
mod fixtures;
pub mod gmm;
pub mod graph;
pub mod graph_methods;
pub mod graph_tools;
pub mod hdbscan;
pub mod ila_sdp;
pub mod k_scan;
pub mod kd_tree;
pub mod kmeans;
pub mod labels;
pub mod minibatch;
pub mod modularity;
pub mod points;
pub mod roles;
pub mod saved;
pub mod scale;
pub mod score;
pub mod sdp;
pub mod spanning_tree;
pub mod spectral;
pub mod stability;

pub use error::ClusterError;
pub use graph::Graph;
pub use labels::NOISE;
pub use points::Points;
