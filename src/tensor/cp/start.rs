//! The first factors.

use faer::{Mat, Side};
use rand::RngExt as _;
use rand_distr::StandardNormal;

use super::CpError;
use super::data::SweepData;
use super::options::{Init, Options};
use super::state::State;
use crate::kernels::gemm::{MatMut, MatRef, matmul};
use crate::run::seed::Streams;
use crate::tensor::model::{Kruskal, Matrix};

/// Unfoldings with at most this many rows are decomposed exactly.
const EXACT: usize = 256;
/// Columns beyond R, and passes, of the subspace iteration.
const EXTRA: usize = 8;
const PASSES: usize = 12;

/// Uniform in [0, 1).
pub fn uniform(rows: usize, cols: usize, streams: Streams, mode: usize) -> Matrix {
    let mut rng = streams.stream("cp-init", mode as u64);
    Matrix::new(rows, cols, (0..rows * cols).map(|_| rng.random::<f64>()).collect())
}

/// The state that start number `k` begins with.
pub fn start(data: &mut dyn SweepData, options: &Options, nonneg: &[bool], k: usize) -> Result<State, CpError> {
    let (shape, rank) = (data.shape().to_vec(), options.rank);
    let streams = Streams::new(options.seed.wrapping_add(k as u64));
    let mut state = match (&options.init, k) {
        (Init::Model(model), 0) => from_model(model, &shape, rank, data.scale())?,
        (Init::Svd, 0) => {
            let mut factors = Vec::with_capacity(shape.len());
            for (mode, &n) in shape.iter().enumerate() {
                let leading = leading_vectors(data, mode, rank.min(n), streams)?;
                let mut u = uniform(n, rank, streams, mode);
                for i in 0..n {
                    u.values[i * rank..][..leading.cols].copy_from_slice(leading.row(i));
                }
                factors.push(u);
            }
            State::new(factors)
        }
        _ => State::new(shape.iter().enumerate().map(|(m, &n)| uniform(n, rank, streams, m)).collect()),
    };
    if nonneg.contains(&true) {
        let State { mut weights, mut factors, .. } = state;
        for (factor, _) in factors.iter_mut().zip(nonneg).filter(|&(_, &only)| only) {
            factor.values.iter_mut().for_each(|x| *x = x.abs());
        }
        weights.iter_mut().for_each(|w| *w = w.abs());
        state = State::with_weights(weights, factors);
    }
    Ok(state)
}

fn from_model(model: &Kruskal, shape: &[usize], rank: usize, scale: f64) -> Result<State, CpError> {
    let found: Vec<usize> = model.factors.iter().map(|f| f.rows).collect();
    let found_rank = model.weights.len();
    if found != shape || found_rank != rank || model.factors.iter().any(|f| f.cols != rank) {
        return Err(CpError::Start { found, found_rank, shape: shape.to_vec(), rank });
    }
    let numbers = model.weights.iter().chain(model.factors.iter().flat_map(|f| &f.values));
    if let Some((cell, &value)) = numbers.enumerate().find(|(_, x)| !x.is_finite()) {
        return Err(CpError::Options(format!("number {cell} of the start is {value}; a start needs finite numbers")));
    }
    Ok(State::with_weights(model.weights.iter().map(|w| w / scale).collect(), model.factors.clone()))
}

/// The leading left singular vectors of an unfolding, (I_n, count): eigenvectors of X_(n)X_(n)ᵀ. The entry of largest magnitude of every
/// vector is positive.
fn leading_vectors(data: &mut dyn SweepData, mode: usize, count: usize, streams: Streams) -> Result<Matrix, CpError> {
    let n = data.shape()[mode];
    let fail = || CpError::Options(format!("the singular vectors of mode {mode} cannot be found; start at random instead"));
    let (basis, small, width) = if n <= EXACT {
        let mut one = vec![0.0; n * n];
        (0..n).for_each(|i| one[i * n + i] = 1.0);
        let mut product = vec![0.0; n * n];
        data.unfolding_gram_product(mode, &one, n, &mut product);
        (one, product, n)
    } else {
        let width = (count + EXTRA).min(n);
        let mut rng = streams.stream("cp-subspace", mode as u64);
        let mut v: Vec<f64> = (0..n * width).map(|_| rng.sample::<f64, _>(StandardNormal)).collect();
        orthonormalise(&mut v, n, width);
        let mut product = vec![0.0; n * width];
        for _ in 0..PASSES {
            data.unfolding_gram_product(mode, &v, width, &mut product);
            if product.iter().any(|x| !x.is_finite()) {
                return Err(fail());
            }
            std::mem::swap(&mut v, &mut product);
            orthonormalise(&mut v, n, width);
        }
        data.unfolding_gram_product(mode, &v, width, &mut product);
        let mut small = vec![0.0; width * width];
        let (left, right) = (MatRef::new(&v, n, width), MatRef::new(&product, n, width));
        matmul(left.t(), right, MatMut::new(&mut small, width, width), false);
        (v, small, width)
    };
    let peak = small.iter().fold(0.0f64, |m, x| m.max(x.abs()));
    if !peak.is_finite() {
        return Err(fail());
    }
    let unit = if peak > 0.0 { peak } else { 1.0 };
    let symmetric = Mat::from_fn(width, width, |i, j| 0.5 * (small[i * width + j] + small[j * width + i]) / unit);
    let eigen = symmetric.self_adjoint_eigen(Side::Lower).map_err(|_| fail())?;
    // Eigenvalues ascend.
    let chosen: Vec<f64> = (0..width * count).map(|k| eigen.U()[(k / count, width - 1 - k % count)]).collect();
    let mut out = Matrix::zeros(n, count);
    let (left, right) = (MatRef::new(&basis, n, width), MatRef::new(&chosen, width, count));
    matmul(left, right, MatMut::new(&mut out.values, n, count), false);
    for c in 0..count {
        let peak = out.values.iter().skip(c).step_by(count).fold(0.0f64, |best, &x| if x.abs() > best.abs() { x } else { best });
        if peak < 0.0 {
            out.values.iter_mut().skip(c).step_by(count).for_each(|x| *x = -*x);
        }
    }
    Ok(out)
}

/// Q of a thin QR decomposition, in place: V (n, k) in rows.
fn orthonormalise(v: &mut [f64], n: usize, k: usize) {
    let q = Mat::from_fn(n, k, |i, j| v[i * k + j]).qr().compute_thin_Q();
    for i in 0..n {
        for j in 0..k {
            v[i * k + j] = q[(i, j)];
        }
    }
}
