//! What can be asked of k-means.

use crate::cluster::ClusterError;
use serde::{Deserialize, Serialize};

/// How nearest centroids are found. All give the same labels, centroids and iterations from the same start; they differ in time and memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Algorithm {
    /// [`Algorithm::chosen`] for the size of the problem.
    #[default]
    Auto,
    /// All distances in every iteration, as fused matrix products: 2·n·k·d operations.
    Lloyd,
    /// One upper and one lower bound per point (16 bytes a point): skips the points that cannot change cluster.
    Hamerly,
    /// A lower bound per point and centroid (4·k bytes a point): skips single distances.
    Elkan,
}

impl Algorithm {
    pub const ALL: &[Self] = &[Self::Auto, Self::Lloyd, Self::Hamerly, Self::Elkan];

    pub fn name(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Lloyd => "lloyd",
            Self::Hamerly => "hamerly",
            Self::Elkan => "elkan",
        }
    }

    /// What [`Auto`](Self::Auto) is for d coordinates and k clusters: Hamerly from k·d = 512 on, else Lloyd.
    ///
    /// Measured in CPU time (AVX-512, f64, k-means++ starts, up to 215 iterations; clouds and noise; Lloyd : Hamerly : Elkan). Hamerly's bounds
    /// cost a fixed time per point, which all distances together do not exceed when k·d is small: k·d = 8, 60 : 80 : 120; 100, 120 : 140 : 400;
    /// 160, 60 : 90 : 180. From there on it gains, as the points whose bounds fail are searched as fast as Lloyd does: 1600, 280 : 230 : 900;
    /// 1920, 310 : 230 : 280 (noise) and 90 : 80 : 80 (clouds); at 3200 it ties in ten iterations on noise and takes a sixth of the time in 215
    /// iterations on clouds. Elkan was first nowhere: single distances are several times slower than fused ones.
    pub fn chosen(self, d: usize, k: usize) -> Self {
        match self {
            Self::Auto if k * d >= 512 => Self::Hamerly,
            Self::Auto => Self::Lloyd,
            other => other,
        }
    }
}

/// Where centroids start.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Start {
    /// Greedy k-means++: each centroid is the best of 2 + ⌊ln k⌋ points drawn with a chance in proportion to their squared distance to
    /// the centroids so far (Arthur and Vassilvitskii 2007, with the candidates of its section 5.1).
    #[default]
    PlusPlus,
    /// k different rows.
    Random,
    /// These centroids (k, d), row after row, in the units of the points. There is one restart, whatever the options say.
    Given(Vec<f64>),
}

impl Start {
    /// The starts that need no numbers.
    pub const ALL: &[Self] = &[Self::PlusPlus, Self::Random];

    pub fn name(&self) -> &'static str {
        match self {
            Self::PlusPlus => "plus-plus",
            Self::Random => "random",
            Self::Given(_) => "given",
        }
    }
}

/// Settings of [`kmeans`](super::kmeans()).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct KmeansOptions {
    pub k: usize,
    pub algorithm: Algorithm,
    pub start: Start,
    /// Starts of which the one with the smallest inertia is kept (the first among equals).
    pub restarts: usize,
    pub max_iterations: usize,
    /// Stop when Σ‖Δc‖² is at most this share of the mean variance of the columns; 0 goes on until no label changes.
    pub tolerance: f64,
    /// Move single points of the best restart where that lowers the inertia (Hartigan), and iterate again, until neither changes anything.
    pub polish: bool,
    pub seed: u64,
}

impl Default for KmeansOptions {
    /// 8 clusters, the best of 10 greedy k-means++ starts, 300 iterations, tolerance 1e-4, no polish, seed 0.
    fn default() -> Self {
        Self {
            k: 8,
            algorithm: Algorithm::Auto,
            start: Start::PlusPlus,
            restarts: 10,
            max_iterations: 300,
            tolerance: 1e-4,
            polish: false,
            seed: 0,
        }
    }
}

impl KmeansOptions {
    pub(crate) fn check(&self, n: usize, d: usize) -> Result<(), ClusterError> {
        let setting = |what, value: String, expected: &str| Err(ClusterError::Setting { what, value, expected: expected.into() });
        if self.k == 0 || self.k > n {
            return Err(ClusterError::Clusters { k: self.k, n, things: "points" });
        }
        if self.restarts == 0 {
            return setting("restarts", "0".into(), "at least 1");
        }
        if self.max_iterations == 0 {
            return setting("max_iterations", "0".into(), "at least 1");
        }
        if !(self.tolerance >= 0.0 && self.tolerance.is_finite()) {
            return setting("tolerance", self.tolerance.to_string(), "a finite number that is not negative");
        }
        if self.k >= 1 << 24 || n > u32::MAX as usize {
            return setting("k", self.k.to_string(), "fewer than 2^24 clusters of at most 2^32 - 1 points");
        }
        if let Start::Given(centroids) = &self.start {
            if centroids.len() != self.k * d {
                let expected = format!("{} numbers ({} centroids of {d} coordinates)", self.k * d, self.k);
                return setting("the number of starting coordinates", centroids.len().to_string(), &expected);
            }
            if let Some(at) = centroids.iter().position(|c| !c.is_finite()) {
                let value = format!("{} (centroid {}, coordinate {}, both from 0)", centroids[at], at / d, at % d);
                return setting("a starting coordinate", value, "finite numbers");
            }
        }
        Ok(())
    }
}
