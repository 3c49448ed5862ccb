//! Settings of a mixture.

use crate::cluster::ClusterError;

/// What the covariances of the components share.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Covariance {
    /// Each component has a matrix of its own.
    #[default]
    Full,
    /// One matrix for all components.
    Tied,
    /// Each component has a variance for each column.
    Diag,
    /// Each component has one variance.
    Spherical,
}

impl Covariance {
    pub const ALL: &[Self] = &[Self::Full, Self::Tied, Self::Diag, Self::Spherical];

    pub fn name(self) -> &'static str {
        match self {
            Self::Full => "full",
            Self::Tied => "tied",
            Self::Diag => "diag",
            Self::Spherical => "spherical",
        }
    }

    /// Shape of the covariances of `k` components of `d` columns: (k, d, d), (d, d), (k, d) or (k).
    pub fn shape(self, k: usize, d: usize) -> Vec<usize> {
        match self {
            Self::Full => vec![k, d, d],
            Self::Tied => vec![d, d],
            Self::Diag => vec![k, d],
            Self::Spherical => vec![k],
        }
    }

    /// Free numbers of a mixture: k − 1 weights, k·d means, and the covariances.
    pub fn parameters(self, k: usize, d: usize) -> usize {
        let triangle = d * (d + 1) / 2;
        let of_covariances = match self {
            Self::Full => k * triangle,
            Self::Tied => triangle,
            Self::Diag => k * d,
            Self::Spherical => k,
        };
        k - 1 + k * d + of_covariances
    }
}

/// Where EM starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Start {
    /// The clusters of the best of [`GmmOptions::kmeans_restarts`] k-means runs.
    #[default]
    Kmeans,
    /// k rows drawn at random; every row belongs to the nearest of them.
    Random,
}

impl Start {
    pub const ALL: &[Self] = &[Self::Kmeans, Self::Random];

    pub fn name(self) -> &'static str {
        match self {
            Self::Kmeans => "kmeans",
            Self::Random => "random",
        }
    }
}

/// Settings of [`gmm`](super::gmm).
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct GmmOptions {
    /// Components, 1 to the number of points.
    pub k: usize,
    pub covariance: Covariance,
    pub start: Start,
    /// Runs of EM, each from a start of its own; the highest log-likelihood wins. 1 by default: a higher likelihood is often that of a
    /// component on a handful of points ([`Gmm::warnings`](super::Gmm::warnings) tells), and the clusters of k-means start away from those.
    pub restarts: usize,
    /// Runs of k-means for one start; the least inertia wins.
    pub kmeans_restarts: usize,
    pub max_iterations: usize,
    /// EM stops when the mean log-likelihood of a point (nats) changes by less.
    pub tolerance: f64,
    /// Added to the variances, in squared units of the data.
    pub reg_covar: f64,
    pub seed: u64,
}

impl Default for GmmOptions {
    fn default() -> Self {
        Self {
            k: 2,
            covariance: Covariance::Full,
            start: Start::Kmeans,
            restarts: 1,
            kmeans_restarts: 10,
            max_iterations: 500,
            tolerance: 1e-6,
            reg_covar: 1e-6,
            seed: 0,
        }
    }
}

impl GmmOptions {
    /// Whether the settings make sense for `n` points.
    pub fn check(&self, n: usize) -> Result<(), ClusterError> {
        if self.k == 0 || self.k > n {
            return Err(ClusterError::Clusters { k: self.k, n, things: "points" });
        }
        for (what, value) in [
            ("restarts", self.restarts),
            ("k-means restarts", self.kmeans_restarts),
            ("the most iterations", self.max_iterations),
        ] {
            if value == 0 {
                return Err(ClusterError::Setting { what, value: "0".into(), expected: "at least 1".into() });
            }
        }
        for (what, value) in [("the tolerance", self.tolerance), ("reg_covar", self.reg_covar)] {
            if !(value.is_finite() && value >= 0.0) {
                return Err(ClusterError::Setting { what, value: value.to_string(), expected: "a number from 0 on".into() });
            }
        }
        Ok(())
    }
}
