//! The smallest eigenpairs of the normalised Laplacian.

use super::lanczos::{self, Search};
use super::operator::Matrix;
use super::{Solver, SpectralOptions};
use crate::cluster::{ClusterError, Graph, graph_tools};
use crate::run::observer::Observer;
use crate::run::seed::Streams;

/// Eigenpairs of L = I − D^(−1/2) A D^(−1/2) in ascending order.
#[derive(Debug, Clone, PartialEq)]
pub struct Spectrum {
    /// In [0, 2]; as many zeros as there are components, as far as they were asked for.
    pub values: Vec<f64>,
    /// (count, n): orthonormal, row by row; the entry of largest magnitude of each is positive.
    pub vectors: Vec<f64>,
    /// (n).
    pub degrees: Vec<f64>,
    /// Connected components.
    pub components: usize,
    /// Products with a matrix, all components together; 0 for dense ones.
    pub products: usize,
    pub converged: bool,
}

/// The matrix of an undirected graph without its loops.
pub fn adjacency(graph: &Graph) -> Matrix {
    let (mut offsets, mut targets, mut values) =
        (vec![0], Vec::with_capacity(graph.entries()), Vec::with_capacity(graph.entries()));
    for i in 0..graph.n() {
        let (to, w) = graph.row(i);
        for (&j, &w) in to.iter().zip(w).filter(|(j, w)| **j as usize != i && **w != 0.0) {
            targets.push(j);
            values.push(w);
        }
        offsets.push(targets.len());
    }
    Matrix::Sparse { offsets, targets, values }
}

/// The `count` smallest eigenpairs of the normalised Laplacian of `matrix`, non-negative and without a diagonal.
///
/// Component by component, so that multiple zeros are exact: each connected component has the eigenvalue 0 once, its vector is
/// D^(1/2)·1 there, and the solver looks for the rest in the space orthogonal to that. A node without edges is a component, with L = 0 there.
/// With more components than `count`, those of the most nodes are taken (of equal ones, the one with the lower first node).
///
/// Errors: cancelled; a degree beyond the range of numbers. Cost: see [`Solver`].
pub fn smallest(
    matrix: &Matrix,
    count: usize,
    options: &SpectralOptions,
    observer: &dyn Observer,
) -> Result<Spectrum, ClusterError> {
    let n = matrix.n();
    let degrees = matrix.degrees();
    // Square roots are taken one by one: products of degrees would leave the range of numbers sooner.
    let scale: Vec<f64> = degrees.iter().map(|d| if *d > 0.0 { 1.0 / d.sqrt() } else { 0.0 }).collect();
    if let Some(i) = (0..n).find(|&i| !degrees[i].is_finite() || !scale[i].is_finite()) {
        return Err(ClusterError::Numbers(format!(
            "node {i} (from 0) has the degree {}, beyond the range of numbers; scale the weights",
            degrees[i]
        )));
    }
    let (nodes, place) = components(matrix);
    let mut by_size: Vec<usize> = (0..nodes.len()).collect();
    by_size.sort_by_key(|&c| std::cmp::Reverse(nodes[c].len()));
    let zeros = count.min(nodes.len());
    // (value, component, vector over its nodes).
    let mut pairs: Vec<(f64, usize, Vec<f64>)> =
        by_size[..zeros].iter().map(|&c| (0.0, c, constant(&nodes[c], &degrees))).collect();
    let (mut products, mut converged) = (0, true);
    let wanted = count - zeros;
    for (c, nodes) in nodes.iter().enumerate() {
        if wanted == 0 || nodes.len() == 1 {
            continue;
        }
        let m = nodes.len();
        let scale: Vec<f64> = nodes.iter().map(|&i| scale[i as usize]).collect();
        let part = matrix.part(nodes, &place).scaled(&scale);
        let known = constant(nodes, &degrees);
        let dense = match options.solver {
            Solver::Auto => m <= options.dense_nodes,
            Solver::Dense => true,
            Solver::Lanczos => false,
        };
        let (values, vectors) = if dense {
            dense_largest(&part, &known, wanted.min(m - 1))?
        } else {
            let streams = Streams::new(options.seed);
            let search =
                Search { count: wanted.min(m - 1), tolerance: options.tolerance, max_products: options.max_products, streams };
            let found = lanczos::largest(&part, &known, search, observer)?;
            products += found.products;
            converged &= found.converged;
            (found.values, found.vectors)
        };
        for (value, vector) in values.iter().zip(vectors.chunks_exact(m)) {
            // Rounding may leave the spectrum by a hair.
            pairs.push(((1.0 - value).clamp(0.0, 2.0), c, vector.to_vec()));
        }
    }
    // Stable: zeros of components stay in their order, and so do equal values.
    pairs[zeros..].sort_by(|a, b| a.0.total_cmp(&b.0));
    pairs.truncate(count);
    let mut vectors = vec![0.0; pairs.len() * n];
    for ((_, c, vector), to) in pairs.iter().zip(vectors.chunks_exact_mut(n)) {
        let largest = vector.iter().fold(0.0, |most: f64, x| if x.abs() > most.abs() * (1.0 + 1e-8) { *x } else { most });
        let sign = if largest < 0.0 { -1.0 } else { 1.0 };
        nodes[*c].iter().zip(vector).for_each(|(&i, x)| to[i as usize] = sign * x);
    }
    let values = pairs.iter().map(|p| p.0).collect();
    Ok(Spectrum { values, vectors, degrees, components: nodes.len(), products, converged })
}

/// Nodes of each connected component, and where each node is in its.
fn components(matrix: &Matrix) -> (Vec<Vec<u32>>, Vec<u32>) {
    let n = matrix.n();
    let labels = graph_tools::connected(n, |i| {
        let mut to = Vec::new();
        matrix.row(i, |j, _| {
            if j < i {
                to.push(j as u32);
            }
        });
        to.into_iter()
    });
    let (mut nodes, mut place) = (Vec::<Vec<u32>>::new(), vec![0; n]);
    for (i, &c) in labels.iter().enumerate() {
        if c as usize == nodes.len() {
            nodes.push(Vec::new());
        }
        place[i] = nodes[c as usize].len() as u32;
        nodes[c as usize].push(i as u32);
    }
    (nodes, place)
}

/// The unit vector along D^(1/2)·1.
fn constant(nodes: &[u32], degrees: &[f64]) -> Vec<f64> {
    if nodes.len() == 1 {
        return vec![1.0];
    }
    let total: f64 = nodes.iter().map(|&i| degrees[i as usize]).sum();
    nodes.iter().map(|&i| (degrees[i as usize] / total).sqrt()).collect()
}

/// The `count` largest eigenpairs of `matrix` but for `known`, which has eigenvalue 1: that is moved to −2, below all others.
fn dense_largest(matrix: &Matrix, known: &[f64], count: usize) -> Result<(Vec<f64>, Vec<f64>), ClusterError> {
    let m = matrix.n();
    let mut all = faer::Mat::from_fn(m, m, |i, j| -3.0 * known[i] * known[j]);
    (0..m).for_each(|i| matrix.row(i, |j, v| all[(i, j)] += v));
    let eigen = all
        .self_adjoint_eigen(faer::Side::Lower)
        .map_err(|e| ClusterError::Numbers(format!("no eigenvalues of the Laplacian: {e:?}")))?;
    let values = (0..count).map(|i| eigen.S().column_vector()[m - 1 - i]).collect();
    let vectors = (0..count).flat_map(|v| (0..m).map(move |i| (i, v))).map(|(i, v)| eigen.U()[(i, m - 1 - v)]).collect();
    Ok((values, vectors))
}
