//! Settings of spectral clustering.

use crate::cluster::ClusterError;

/// Points into a graph.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Affinity {
    /// ½(A + Aᵀ) of the graph of nearest neighbours: 1 where each of two points is among the other's neighbours, ½ where one is.
    #[default]
    Knn,
    /// exp(−γ ‖x − y‖²) of all pairs; n² numbers.
    Rbf,
}

impl Affinity {
    pub const ALL: &[Self] = &[Self::Knn, Self::Rbf];

    pub fn name(self) -> &'static str {
        match self {
            Self::Knn => "knn",
            Self::Rbf => "rbf",
        }
    }
}

/// Eigenvectors into rows for k-means.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Embedding {
    /// Rows over the square root of the degree (Shi & Malik 2000; scikit-learn).
    #[default]
    Sm,
    /// Rows of unit length (Ng, Jordan, Weiss 2001).
    Njw,
}

impl Embedding {
    pub const ALL: &[Self] = &[Self::Sm, Self::Njw];

    pub fn name(self) -> &'static str {
        match self {
            Self::Sm => "sm",
            Self::Njw => "njw",
        }
    }
}

/// How eigenvectors are found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Solver {
    /// Dense for connected components of at most [`SpectralOptions::dense_nodes`] nodes, Lanczos for larger ones.
    #[default]
    Auto,
    /// All eigenvectors of a dense matrix: m² numbers and about 10 m³ operations for a component of m nodes.
    Dense,
    /// Lanczos with full reorthogonalisation and thick restarts: products with the sparse matrix.
    Lanczos,
}

impl Solver {
    pub const ALL: &[Self] = &[Self::Auto, Self::Dense, Self::Lanczos];

    pub fn name(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Dense => "dense",
            Self::Lanczos => "lanczos",
        }
    }
}

/// How many clusters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Clusters {
    Fixed(usize),
    /// The k in `from..=to` with the largest eigengap λ_{k+1} − λ_k, the smaller one of equals.
    Auto {
        from: usize,
        to: usize,
    },
}

/// Settings of [`spectral`](super::spectral) and [`spectral_graph`](super::spectral_graph).
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct SpectralOptions {
    pub clusters: Clusters,
    pub affinity: Affinity,
    /// Neighbours of a point in the graph, itself among them.
    pub neighbours: usize,
    /// γ of the Gaussian kernel, in 1 / squared units of the data.
    pub gamma: f64,
    pub embedding: Embedding,
    pub solver: Solver,
    /// Largest component that [`Solver::Auto`] treats as a dense matrix. 1000 by default (0.15 s): from there on Lanczos is the faster one.
    pub dense_nodes: usize,
    /// Lanczos stops when the residuals ‖Ax − θx‖ of its unit eigenvectors are at most this (‖A‖ = 1).
    pub tolerance: f64,
    /// Products with the matrix at most, for each component.
    pub max_products: usize,
    /// Runs of k-means on the rows; the least inertia wins.
    pub kmeans_restarts: usize,
    pub seed: u64,
}

impl Default for SpectralOptions {
    fn default() -> Self {
        Self {
            clusters: Clusters::Fixed(8),
            affinity: Affinity::Knn,
            neighbours: 10,
            gamma: 1.0,
            embedding: Embedding::Sm,
            solver: Solver::Auto,
            dense_nodes: 1000,
            tolerance: 1e-10,
            max_products: 20_000,
            kmeans_restarts: 10,
            seed: 0,
        }
    }
}

impl SpectralOptions {
    /// Whether the settings make sense for `n` things.
    pub fn check(&self, n: usize, things: &'static str) -> Result<(), ClusterError> {
        match self.clusters {
            Clusters::Fixed(k) if k == 0 || k > n => return Err(ClusterError::Clusters { k, n, things }),
            Clusters::Auto { from, to } if from == 0 || from > to || to >= n => {
                return Err(ClusterError::Setting {
                    what: "the range of k",
                    value: format!("{from} to {to}"),
                    expected: format!("an increasing range from 1 on and below {n}, the number of {things}"),
                });
            }
            _ => {}
        }
        for (what, value) in [
            ("neighbours", self.neighbours),
            ("the most products", self.max_products),
            ("k-means restarts", self.kmeans_restarts),
        ] {
            if value == 0 {
                return Err(ClusterError::Setting { what, value: "0".into(), expected: "at least 1".into() });
            }
        }
        for (what, value) in [("gamma", self.gamma), ("the tolerance", self.tolerance)] {
            if !(value.is_finite() && value > 0.0) {
                return Err(ClusterError::Setting { what, value: value.to_string(), expected: "a number above 0".into() });
            }
        }
        Ok(())
    }
}
