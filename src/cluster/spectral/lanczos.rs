//! Largest eigenpairs of a symmetric matrix by Lanczos with full reorthogonalisation and thick restarts.

use rand::RngExt;
use rayon::prelude::*;

use super::operator::{Axpy, Dot, Matrix};
use crate::cluster::ClusterError;
use crate::kernels::gemm::{MatMut, MatRef, matmul};
use crate::kernels::simd::dispatch;
use crate::run::observer::Observer;
use crate::run::seed::Streams;

/// Eigenpairs of largest eigenvalue, in descending order.
#[derive(Debug, Clone, PartialEq)]
pub struct Pairs {
    pub values: Vec<f64>,
    /// (count, n): unit vectors, row by row.
    pub vectors: Vec<f64>,
    /// Products with the matrix.
    pub products: usize,
    /// Whether all residuals are within the tolerance.
    pub converged: bool,
}

/// What [`largest`] needs to know.
#[derive(Debug, Clone, Copy)]
pub struct Search {
    pub count: usize,
    /// Residual norm of a found pair.
    pub tolerance: f64,
    pub max_products: usize,
    pub streams: Streams,
}

/// The `count` largest eigenpairs of `matrix` in the space orthogonal to the rows of `known` (orthonormal eigenvectors), copies of multiple
/// eigenvalues included.
///
/// One Krylov space holds one vector of each eigenspace, so after a search the space orthogonal to all that was found is searched for
/// its largest eigenvalue, and what is larger than the smallest of the found ones takes its place, until there is none.
/// Error: cancelled. Cost: a product with the matrix and 8·n·m operations a step, m being about 2·count + 20 vectors of memory.
/// Source: Wu & Simon 2000 (thick restarts); the start vectors are seeded and uniform.
pub fn largest(matrix: &Matrix, known: &[f64], search: Search, observer: &dyn Observer) -> Result<Pairs, ClusterError> {
    let n = matrix.n();
    let room = n - known.len() / n;
    let count = search.count.min(room);
    let mut locked = known.to_vec();
    let mut found = Pairs { values: Vec::new(), vectors: Vec::new(), products: 0, converged: true };
    if count == 0 {
        return Ok(found);
    }
    let first = run(matrix, &locked, Search { count, ..search }, 0, observer)?;
    take(&mut found, first, &mut locked);
    let mut tries = 1;
    while found.converged && locked.len() / n < n {
        // First roughly, to see whether there is something.
        let rough = Search { count: 1, tolerance: search.tolerance.max(1e-6), max_products: search.max_products, ..search };
        let another = run(matrix, &locked, rough, tries, observer)?;
        found.products += another.products;
        let kth = kth_largest(&found.values, count);
        // Residuals of 1e-6 leave 1e-12 / gap in the value, and what ties with the last one need not be taken.
        if another.values.first().is_none_or(|&value| value <= kth + 1e-8) {
            break;
        }
        let another = run(matrix, &locked, Search { count: 1, ..search }, tries, observer)?;
        take(&mut found, another, &mut locked);
        tries += 1;
    }
    // In descending order, the first `count`.
    let mut order: Vec<usize> = (0..found.values.len()).collect();
    order.sort_by(|&a, &b| found.values[b].total_cmp(&found.values[a]));
    order.truncate(count);
    found.vectors = order.iter().flat_map(|&v| found.vectors[v * n..(v + 1) * n].to_vec()).collect();
    found.values = order.iter().map(|&v| found.values[v]).collect();
    Ok(found)
}

fn take(found: &mut Pairs, more: Pairs, locked: &mut Vec<f64>) {
    found.values.extend(&more.values);
    found.vectors.extend_from_slice(&more.vectors);
    found.products += more.products;
    found.converged &= more.converged;
    locked.extend(more.vectors);
}

fn kth_largest(values: &[f64], k: usize) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(|a, b| b.total_cmp(a));
    sorted.get(k - 1).copied().unwrap_or(f64::NEG_INFINITY)
}

/// One search from a start vector of its own.
fn run(matrix: &Matrix, locked: &[f64], search: Search, number: u64, observer: &dyn Observer) -> Result<Pairs, ClusterError> {
    let n = matrix.n();
    let room = n - locked.len() / n;
    let count = search.count.min(room);
    let size = (2 * count + 20).min(room);
    let mut rng = search.streams.stream("lanczos", number);
    // (size + 1, n): the basis and the direction to go on with.
    let mut basis = vec![0.0; (size + 1) * n];
    // (size, size): the matrix in that basis.
    let mut small = faer::Mat::<f64>::zeros(size, size);
    let mut kept = 0;
    let mut products = 0;
    let fresh = |basis: &mut [f64], at: usize, rng: &mut crate::run::seed::Rng| -> bool {
        let (before, next) = basis.split_at_mut(at * n);
        let next = &mut next[..n];
        // A random vector lies in the span of the others with probability 0, and by rounding hardly ever twice.
        for _ in 0..4 {
            next.iter_mut().for_each(|x| *x = rng.random::<f64>() - 0.5);
            let long = norm(next);
            for _ in 0..3 {
                project(locked, next, n);
                project(before, next, n);
            }
            let left = norm(next);
            if left > 1e-10 * long {
                next.iter_mut().for_each(|x| *x /= left);
                return true;
            }
        }
        false
    };
    if !fresh(&mut basis, 0, &mut rng) {
        return Ok(Pairs { values: Vec::new(), vectors: Vec::new(), products, converged: true });
    }
    loop {
        let mut filled = size;
        let mut beta = 0.0;
        for j in kept..size {
            if observer.cancelled() {
                return Err(ClusterError::Cancelled);
            }
            let (before, next) = basis.split_at_mut((j + 1) * n);
            let next = &mut next[..n];
            matrix.apply(&before[j * n..], next);
            products += 1;
            project(locked, next, n);
            let long = norm(next);
            // Twice is enough (Kahan, Parlett).
            let mut h = project(before, next, n);
            project(locked, next, n);
            h.iter_mut().zip(project(before, next, n)).for_each(|(h, more)| *h += more);
            for (i, &h) in h.iter().enumerate() {
                small[(i, j)] = h;
                small[(j, i)] = h;
            }
            beta = norm(next);
            // The matrix has norm 1: what is left of such a size is rounding, and the basis spans an invariant space.
            if beta <= 1e-13 * long.max(1.0) {
                beta = 0.0;
                if j + 1 < size && !fresh(&mut basis, j + 1, &mut rng) {
                    filled = j + 1;
                    break;
                }
            } else {
                next.iter_mut().for_each(|x| *x /= beta);
            }
        }
        let eigen = small
            .submatrix(0, 0, filled, filled)
            .self_adjoint_eigen(faer::Side::Lower)
            .map_err(|e| ClusterError::Numbers(format!("no eigenvalues of the projected Laplacian: {e:?}")))?;
        let (theta, s) = (eigen.S().column_vector(), eigen.U());
        // faer's are in ascending order.
        let ritz = |i: usize| filled - 1 - i;
        let count = count.min(filled);
        let residual = |i: usize| (beta * s[(filled - 1, ritz(i))]).abs();
        let converged = (0..count).all(|i| residual(i) <= search.tolerance);
        let done = converged || products >= search.max_products || filled < size || size == room;
        let keep = if done { count } else { count + (size - count) / 3 };
        let coefficients: Vec<f64> = (0..keep * filled).map(|e| s[(e % filled, ritz(e / filled))]).collect();
        let mut vectors = vec![0.0; keep * n];
        matmul(
            MatRef::new(&coefficients, keep, filled),
            MatRef::new(&basis[..filled * n], filled, n),
            MatMut::new(&mut vectors, keep, n),
            false,
        );
        let values: Vec<f64> = (0..keep).map(|i| theta[ritz(i)]).collect();
        if done {
            // A whole space has no residual.
            let converged = converged || filled < size || size == room;
            return Ok(Pairs { values, vectors, products, converged });
        }
        basis.copy_within(size * n.., keep * n);
        basis[..keep * n].copy_from_slice(&vectors);
        small.fill(0.0);
        values.iter().enumerate().for_each(|(i, &v)| small[(i, i)] = v);
        kept = keep;
        if beta == 0.0 && !fresh(&mut basis, kept, &mut rng) {
            return Ok(Pairs {
                values: values[..count].to_vec(),
                vectors: vectors[..count * n].to_vec(),
                products,
                converged: true,
            });
        }
    }
}

fn norm(x: &[f64]) -> f64 {
    dispatch(Dot(x, x)).sqrt()
}

/// Takes the parts along the orthonormal rows of `vectors` out of `x`; returns their sizes.
fn project(vectors: &[f64], x: &mut [f64], n: usize) -> Vec<f64> {
    // Rows in threads when they are long; the sums are the same either way.
    let long = vectors.len() > 1 << 16;
    let dot = |v: &[f64]| dispatch(Dot(v, x));
    let sizes: Vec<f64> =
        if long { vectors.par_chunks_exact(n).map(dot).collect() } else { vectors.chunks_exact(n).map(dot).collect() };
    let subtract = |(chunk, x): (usize, &mut [f64])| {
        for (v, size) in vectors.chunks_exact(n).zip(&sizes) {
            let from = chunk * 2048;
            dispatch(Axpy { factor: -size, x: &v[from..from + x.len()], y: x });
        }
    };
    if long {
        x.par_chunks_mut(2048).enumerate().for_each(subtract);
    } else {
        x.chunks_mut(2048).enumerate().for_each(subtract);
    }
    sizes
}
