//! Tensor trains: TT-SVD, and cells, blocks, norms, products and rounding of trains.
//!
//! A train of N cores G_n (r_{n−1}, I_n, r_n), r_0 = r_N = 1, stands for x[i, j, …] = G_0[0, i, :] · G_1[:, j, :] · …

use rayon::prelude::*;

use crate::kernels::gemm::{MatMut, MatRef, matmul};
use crate::tensor::data::Dense;
use crate::tensor::model::{Matrix, Train};
use crate::tensor::tucker::operand::{Operand, View, Widen, squared_distance};
use crate::tensor::tucker::reconstruct::{Runs, check_cells};
use crate::tensor::tucker::vectors::{Keep, left_vectors, orthonormal, transposed};
use crate::tensor::tucker::{ErrorFrom, Precision, TuckerError, check_input, squares};

#[cfg(test)]
mod tests;

/// Cells of a task.
const TASK: usize = 256;
/// Below this share of squares the difference of norms has lost half of its digits.
const CANCELLATION: f64 = 1e-8;

/// Why there is no train.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum TrainError {
    #[error(transparent)]
    Input(#[from] TuckerError),
    #[error("{given} ranks for a train over {order} modes; give one for every pair of neighbours, {} in all", order - 1)]
    RankCount { given: usize, order: usize },
    #[error("rank {rank} between modes {mode} and {}; with the ranks before it, it lies between 1 and {most}", mode + 1)]
    RankRange { mode: usize, rank: usize, most: usize },
    #[error("trains of shapes {first:?} and {second:?}; an inner product needs the same shape")]
    Shapes { first: Vec<usize>, second: Vec<usize> },
}

/// How large the train gets.
#[derive(Debug, Clone, PartialEq)]
pub enum TrainSize {
    /// r_1, …, r_{N−1}.
    Ranks(Vec<usize>),
    /// The smallest ranks that keep the relative error at or below this: every step drops Σ σ² <= eps² ‖X‖² / (N − 1).
    Eps(f64),
}

/// A train and how good it is.
#[derive(Debug, Clone, PartialEq)]
pub struct TrainFit {
    pub model: Train,
    /// r_1, …, r_{N−1}.
    pub ranks: Vec<usize>,
    /// For every step the singular values of what was left of X, as (r_{n−1} I_n, I_{n+1} ⋯ I_N).
    pub singular_values: Vec<Vec<f64>>,
    /// ‖X‖.
    pub norm: f64,
    /// ‖X − X̂‖ / ‖X‖, 0 for a zero tensor.
    pub rel_error: f64,
    pub error_from: ErrorFrom,
    /// Cells of X over numbers of the train.
    pub compression: f64,
}

impl TrainFit {
    /// 1 − rel_error.
    pub fn fit(&self) -> f64 {
        1.0 - self.rel_error
    }
}

/// TT-SVD: mode by mode, what is left of X as (r_{n−1} I_n, rest) is cut to its leading singular vectors, which become the core.
///
/// * `x`: (I_0, …, I_{N−1}), dense, `f32` or `f64`, `N >= 1` (one mode gives one core, X itself).
/// * ‖X − X̂‖ <= eps ‖X‖ for a tolerance. Cores but the last have orthonormal columns as (r_{n−1} I_n, r_n), the entry of largest magnitude
///   of each positive.
/// * Errors: ranks above what the shape and the ranks before allow, and as [`hosvd`](crate::tensor::tucker::hosvd::hosvd).
/// * Cost: r_{n−1} I_n times what is left for every Gram matrix (or the smaller side), r_n times it for the product. Memory beside X:
///   two of what is left, at first r_1 / I_0 of X.
///
/// Source: Oseledets, Tensor-train decomposition, SIAM J. Sci. Comput. 33 (2011), algorithm 1.
pub fn tt_svd<T: Widen>(x: &Dense<T>, size: &TrainSize, precision: Precision) -> Result<TrainFit, TrainError> {
    let scan = check_input(x)?;
    let shape = x.shape();
    let order = shape.len();
    check_size(size, shape)?;
    let (mut cores, mut ranks, mut singular_values) = (Vec::new(), Vec::new(), Vec::new());
    let mut left: Option<Dense<f64>> = None;
    for mode in 0..order - 1 {
        let before = ranks.last().copied().unwrap_or(1);
        let behind: usize = shape[mode + 1..].iter().product();
        let keep = match size {
            TrainSize::Ranks(ranks) => Keep::Rank(ranks[mode]),
            TrainSize::Eps(eps) => Keep::Tail { allowed: eps * eps * scan.squares / (order - 1) as f64, squares: scan.squares },
        };
        let matrix = vec![before * shape[mode], behind];
        let (u, values, rest) = match &left {
            None => step(&View::new(matrix, x.values()), keep, precision)?,
            Some(rest) => step(&View::new(matrix, rest.values()), keep, precision)?,
        };
        left = Some(rest);
        cores.push(Dense::new(vec![before, shape[mode], u.cols], u.values));
        ranks.push(u.cols);
        singular_values.push(values);
    }
    let last = left.unwrap_or_else(|| x.to_next()).into_values();
    let explained = squares(&last);
    cores.push(Dense::new(vec![ranks.last().copied().unwrap_or(1), shape[order - 1], 1], last));
    let model = Train { cores };
    let (rel_error, error_from) = error(x, &model, scan.squares, explained);
    let numbers: usize = model.cores.iter().map(|c| c.values().len()).sum();
    let compression = x.values().len() as f64 / numbers as f64;
    Ok(TrainFit { model, ranks, singular_values, norm: scan.squares.sqrt(), rel_error, error_from, compression })
}

/// Leading left vectors of a matrix, its singular values, and Uᵀ times it.
fn step<T: Widen>(x: &View<'_, T>, keep: Keep, precision: Precision) -> Result<(Matrix, Vec<f64>, Dense<f64>), TuckerError> {
    let v = left_vectors(x, 0, keep, precision)?;
    let rest = x.ttm(transposed(&v.u), 0);
    Ok((v.u, v.singular_values, rest))
}

/// Ranks that the shape allows, a tolerance within [0, 1).
fn check_size(size: &TrainSize, shape: &[usize]) -> Result<(), TrainError> {
    match size {
        TrainSize::Ranks(ranks) => {
            if ranks.len() + 1 != shape.len() {
                return Err(TrainError::RankCount { given: ranks.len(), order: shape.len() });
            }
            let mut before = 1usize;
            for (mode, &rank) in ranks.iter().enumerate() {
                let most = before.saturating_mul(shape[mode]).min(shape[mode + 1..].iter().product());
                if rank == 0 || rank > most {
                    return Err(TrainError::RankRange { mode, rank, most });
                }
                before = rank;
            }
            Ok(())
        }
        &TrainSize::Eps(eps) if !(0.0..1.0).contains(&eps) => Err(TuckerError::Eps { eps }.into()),
        TrainSize::Eps(_) => Ok(()),
    }
}

/// The relative error from the norms, or from the cells where that loses its digits.
fn error<T: Widen>(x: &Dense<T>, model: &Train, whole: f64, explained: f64) -> (f64, ErrorFrom) {
    if whole == 0.0 {
        return (0.0, ErrorFrom::Norms);
    }
    let left = (whole - explained).max(0.0);
    if left > CANCELLATION * whole {
        return ((left / whole).sqrt(), ErrorFrom::Norms);
    }
    let mut sum = 0.0;
    blocks(model, 1 << 21, |at, cells| sum += squared_distance(&x.values()[at..at + cells.len()], cells));
    ((sum / whole).sqrt(), ErrorFrom::Cells)
}

/// The shape of the tensor that the train stands for.
pub fn shape(train: &Train) -> Vec<usize> {
    train.cores.iter().map(|c| c.shape()[1]).collect()
}

/// (r_{n−1}, I_n, r_n) of a core.
fn sizes(core: &Dense<f64>) -> (usize, usize, usize) {
    (core.shape()[0], core.shape()[1], core.shape()[2])
}

/// Values of the cells `(indices[0][k], indices[1][k], …)`: Σ r_{n−1} r_n multiply-adds a cell.
///
/// Errors: indices outside of the shape, or not for every mode and of one length.
pub fn cells(train: &Train, indices: &[Vec<u32>]) -> Result<Vec<f64>, TrainError> {
    let count = check_cells(&shape(train), indices)?;
    let mut out = vec![0.0; count];
    out.par_chunks_mut(TASK).enumerate().for_each(|(task, out)| {
        for (c, out) in out.iter_mut().enumerate() {
            let cell = task * TASK + c;
            *out =
                train.cores.iter().zip(indices).fold(vec![1.0], |row, (core, index)| row_times(&row, core, index[cell] as usize))
                    [0];
        }
    });
    Ok(out)
}

/// A row (r_{n−1}) times a slice of a core: (r_n).
fn row_times(row: &[f64], core: &Dense<f64>, index: usize) -> Vec<f64> {
    let (_, size, behind) = sizes(core);
    let mut out = vec![0.0; behind];
    for (k, &x) in row.iter().enumerate() {
        let from = &core.values()[(k * size + index) * behind..][..behind];
        out.iter_mut().zip(from).for_each(|(o, g)| *o += x * g);
    }
    out
}

/// (rows, r_{n−1}) times `count` slices of a core: (rows · count, r_n).
fn expand(left: &[f64], core: &Dense<f64>, first: usize, count: usize) -> Vec<f64> {
    let (before, size, behind) = sizes(core);
    let rows = left.len() / before;
    let mut out = vec![0.0; rows * count * behind];
    let left = MatRef::new(left, rows, before);
    let right = MatRef::with_strides(&core.values()[first * behind..], before, count * behind, size * behind, 1);
    matmul(left, right, MatMut::new(&mut out, rows, count * behind), false);
    out
}

/// Calls `work` with (place of the first cell, cells) for runs of cells that follow one another in C order and together are the tensor.
/// A run has at most `most` cells (at least 1). Memory: a run times a rank over the size of the last modes.
pub fn blocks(train: &Train, most: usize, mut work: impl FnMut(usize, &[f64])) {
    let runs = Runs::new(&shape(train), most);
    for run in runs.iter() {
        let row = run.index.iter().zip(&train.cores).fold(vec![1.0], |row, (&i, core)| row_times(&row, core, i));
        let mut cells = expand(&row, &train.cores[runs.axis], run.start, run.count);
        for core in &train.cores[runs.axis + 1..] {
            cells = expand(&cells, core, 0, core.shape()[1]);
        }
        work(run.at, &cells);
    }
}

/// All cells.
pub fn whole(train: &Train) -> Dense<f64> {
    let cells = train.cores.iter().fold(vec![1.0], |left, core| expand(&left, core, 0, core.shape()[1]));
    Dense::new(shape(train), cells)
}

/// ⟨X, Y⟩ of two trains of the same shape: Σ I_n r r' (r + r') operations, nothing expanded.
pub fn inner(x: &Train, y: &Train) -> Result<f64, TrainError> {
    if shape(x) != shape(y) {
        return Err(TrainError::Shapes { first: shape(x), second: shape(y) });
    }
    // so_far: (r, r') = Σ over the modes so far
    let mut so_far = vec![1.0];
    for (g, h) in x.cores.iter().zip(&y.cores) {
        let (rows, size, behind) = sizes(g);
        let (cols, _, other) = sizes(h);
        // half: (r, I · r'_n) = so_far · H
        let mut half = vec![0.0; rows * size * other];
        let right = MatRef::new(h.values(), cols, size * other);
        matmul(MatRef::new(&so_far, rows, cols), right, MatMut::new(&mut half, rows, size * other), false);
        let mut next = vec![0.0; behind * other];
        let left = MatRef::new(g.values(), rows * size, behind).t();
        matmul(left, MatRef::new(&half, rows * size, other), MatMut::new(&mut next, behind, other), false);
        so_far = next;
    }
    Ok(so_far[0])
}

/// ‖X‖ of a train, by orthogonal transformations from the last core on: no square that could cancel.
pub fn norm(train: &Train) -> f64 {
    let cores = from_the_right(train);
    squares(cores[0].values()).sqrt()
}

/// The same tensor with cores 1, …, N − 1 of orthonormal rows as (r_{n−1}, I_n r_n): the first core holds the norm.
fn from_the_right(train: &Train) -> Vec<Dense<f64>> {
    let mut cores = train.cores.clone();
    for n in (1..cores.len()).rev() {
        let (before, size, behind) = sizes(&cores[n]);
        let rank = before.min(size * behind);
        // Gᵀ: (I r_n, r_{n−1}) = Q R, so G = Rᵀ Qᵀ. Columns beyond the rows do not enter Q.
        let tall = Matrix::new(size * behind, rank, columns(cores[n].values(), before, rank));
        let q = orthonormal(&tall);
        // Rᵀ = G Q: (r_{n−1}, rank)
        let mut mix = vec![0.0; before * rank];
        let g = MatRef::new(cores[n].values(), before, size * behind);
        matmul(g, MatRef::new(&q.values, size * behind, rank), MatMut::new(&mut mix, before, rank), false);
        let (first, length, _) = sizes(&cores[n - 1]);
        let mut joined = vec![0.0; first * length * rank];
        let left = MatRef::new(cores[n - 1].values(), first * length, before);
        matmul(left, MatRef::new(&mix, before, rank), MatMut::new(&mut joined, first * length, rank), false);
        cores[n - 1] = Dense::new(vec![first, length, rank], joined);
        let rows = (0..rank * size * behind).map(|e| q.values[(e % (size * behind)) * rank + e / (size * behind)]).collect();
        cores[n] = Dense::new(vec![rank, size, behind], rows);
    }
    cores
}

/// The first `rank` rows of a matrix of `rows` rows, as columns.
fn columns(values: &[f64], rows: usize, rank: usize) -> Vec<f64> {
    let length = values.len() / rows;
    (0..length * rank).map(|e| values[(e % rank) * length + e / rank]).collect()
}

/// The train with smaller ranks: TT-SVD of what it stands for, without forming it. Same meaning of `size`, same bound on the error.
///
/// Cost: Σ I_n r³ operations. Errors: as [`tt_svd`]. Source: Oseledets (2011), algorithm 2.
pub fn round(train: &Train, size: &TrainSize) -> Result<Train, TrainError> {
    let shape = shape(train);
    check_size(size, &shape)?;
    for core in &train.cores {
        check_input(core)?;
    }
    let mut cores = from_the_right(train);
    let whole = squares(cores[0].values());
    for n in 0..cores.len() - 1 {
        let (before, size_n, behind) = sizes(&cores[n]);
        let keep = match size {
            // A train of smaller rank has no more vectors to give.
            TrainSize::Ranks(ranks) => Keep::Rank(ranks[n].min(behind).min(before * size_n)),
            TrainSize::Eps(eps) => Keep::Tail { allowed: eps * eps * whole / (shape.len() - 1) as f64, squares: whole },
        };
        let (u, _, rest) = step(&View::new(vec![before * size_n, behind], cores[n].values()), keep, Precision::Lq)?;
        let (_, next, last) = sizes(&cores[n + 1]);
        let mut joined = vec![0.0; u.cols * next * last];
        let right = MatRef::new(cores[n + 1].values(), behind, next * last);
        matmul(MatRef::new(rest.values(), u.cols, behind), right, MatMut::new(&mut joined, u.cols, next * last), false);
        cores[n + 1] = Dense::new(vec![u.cols, next, last], joined);
        cores[n] = Dense::new(vec![before, size_n, u.cols], u.values);
    }
    Ok(Train { cores })
}
