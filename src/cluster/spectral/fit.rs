//! Embedding, number of clusters, k-means.

use super::eigen::{Spectrum, adjacency, smallest};
use super::operator::Matrix;
use super::{Affinity, Clusters, Embedding, SpectralOptions, affinity};
use crate::cluster::graph_tools::{View, check_weights, combine};
use crate::cluster::kmeans::{KmeansOptions, kmeans};
use crate::cluster::{ClusterError, Points};
use crate::run::observer::Observer;

/// What spectral clustering found.
#[derive(Debug, Clone, PartialEq)]
pub struct Spectral {
    /// (n), canonical.
    pub labels: Vec<i32>,
    /// Clusters that were looked for.
    pub k: usize,
    /// Smallest eigenvalues of the normalised Laplacian, ascending: k of them, or one more than the largest k of the range.
    pub eigenvalues: Vec<f64>,
    /// (n, k): the rows that k-means clustered.
    pub embedding: Vec<f64>,
    /// Of k-means on those rows.
    pub inertia: f64,
    /// Connected components of the graph.
    pub components: usize,
    /// Products with the matrix; 0 when all components were dense.
    pub products: usize,
    /// Whether Lanczos met its tolerance.
    pub converged: bool,
    /// What to be careful about, in words.
    pub warnings: Vec<String>,
}

/// Spectral clustering of points: a graph of nearest neighbours or a Gaussian kernel, then as [`spectral_graph`].
///
/// Errors: settings out of range, more neighbours than points, a dense affinity of more than 2 GiB, numbers beyond their range.
/// Cost: n²·d for the graph, and the eigenvectors ([`Solver`](super::Solver)).
pub fn spectral(points: Points, options: &SpectralOptions, observer: &dyn Observer) -> Result<Spectral, ClusterError> {
    options.check(points.n(), "points")?;
    let matrix = match options.affinity {
        Affinity::Knn => adjacency(&affinity::neighbour_graph(points, options.neighbours)?),
        Affinity::Rbf => Matrix::Dense { values: affinity::gaussian(points, options.gamma)?, n: points.n() },
    };
    of_matrix(&matrix, options, observer)
}

/// Spectral clustering of a graph, or of several on the same nodes whose weights are added ([`combine`]; directed edges count in both
/// directions).
///
/// What: the k smallest eigenvectors of the normalised Laplacian L = I − D^(−1/2) A D^(−1/2), scaled by D^(−1/2) or to rows of unit
/// length, and k-means on the rows. Loops are left out, of degrees too (as scipy and scikit-learn do). A node without edges is a component
/// with the eigenvalue 0 of its own.
///
/// Errors: settings out of range; a graph that is empty or has negative weights; fewer distinct rows than clusters.
/// Source: von Luxburg, A tutorial on spectral clustering, 2007.
pub fn spectral_graph(views: &[View], options: &SpectralOptions, observer: &dyn Observer) -> Result<Spectral, ClusterError> {
    let graph = combine(views)?;
    options.check(graph.n(), "nodes")?;
    check_weights(&graph, "spectral clustering")?;
    of_matrix(&adjacency(&graph), options, observer)
}

fn of_matrix(matrix: &Matrix, options: &SpectralOptions, observer: &dyn Observer) -> Result<Spectral, ClusterError> {
    let n = matrix.n();
    let count = match options.clusters {
        Clusters::Fixed(k) => k,
        Clusters::Auto { to, .. } => to + 1,
    };
    let spectrum = smallest(matrix, count, options, observer)?;
    let k = match options.clusters {
        Clusters::Fixed(k) => k,
        Clusters::Auto { from, to } => largest_gap(&spectrum.values, from, to),
    };
    let mut warnings = Vec::new();
    if spectrum.components > k {
        warnings.push(format!(
            "the graph has {} connected components, more than the {k} clusters: those of the most nodes are told apart, the others fall together; ask for more clusters, more neighbours, or leave small components out",
            spectrum.components
        ));
    }
    if !spectrum.converged {
        warnings.push(format!(
            "Lanczos did not reach a residual of {:e} in {} products; raise the most products or the tolerance",
            options.tolerance, spectrum.products
        ));
    }
    let embedding = embed(&spectrum, n, k, options.embedding);
    let settings = KmeansOptions { k, restarts: options.kmeans_restarts, seed: options.seed, ..KmeansOptions::default() };
    let clusters = kmeans(Points::new(&embedding, n, k)?, &settings, observer)?;
    Ok(Spectral {
        labels: clusters.labels,
        k,
        eigenvalues: spectrum.values,
        embedding,
        inertia: clusters.inertia,
        components: spectrum.components,
        products: spectrum.products,
        converged: spectrum.converged,
        warnings,
    })
}

/// The k of `from..=to` with the largest λ_{k+1} − λ_k (λ_1 being `values[0]`), the smaller one of equals.
fn largest_gap(values: &[f64], from: usize, to: usize) -> usize {
    let gap = |k: usize| values[k] - values[k - 1];
    (from..=to).fold(from, |best, k| if gap(k) > gap(best) { k } else { best })
}

/// (n, k) rows.
fn embed(spectrum: &Spectrum, n: usize, k: usize, embedding: Embedding) -> Vec<f64> {
    let mut rows = vec![0.0; n * k];
    for (i, row) in rows.chunks_exact_mut(k).enumerate() {
        row.iter_mut().enumerate().for_each(|(v, to)| *to = spectrum.vectors[v * n + i]);
        let size = match embedding {
            Embedding::Sm => spectrum.degrees[i].sqrt(),
            Embedding::Njw => row.iter().map(|x| x * x).sum::<f64>().sqrt(),
        };
        // A node without edges, or one in none of the components at hand.
        if size > 0.0 {
            row.iter_mut().for_each(|x| *x /= size);
        }
    }
    rows
}
