//! Spectral clustering of points and graphs.
//!
//! * [`options`]: what is asked for.
//! * [`affinity`]: points into a graph: nearest neighbours or a Gaussian kernel.
//! * [`operator`]: the normalised adjacency matrix, sparse or dense.
//! * [`lanczos`]: its largest eigenpairs for large graphs.
//! * [`eigen`]: the smallest eigenpairs of the normalised Laplacian, component by component.
//! * [`fit`]: embedding, number of clusters, k-means on the rows.

pub mod affinity;
pub mod eigen;
pub mod fit;
pub mod lanczos;
pub mod operator;
pub mod options;
#[cfg(test)]
mod tests;

pub use fit::{Spectral, spectral, spectral_graph};
pub use options::{Affinity, Clusters, Embedding, Solver, SpectralOptions};
