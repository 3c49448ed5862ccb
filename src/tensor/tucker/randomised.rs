//! ST-HOSVD with random range finders.

use super::operand::Operand;
use super::sthosvd::{At, truncate};
use super::vectors::{Keep, Precision, Vectors, fix_signs, left_vectors, orthonormal, transposed};
use super::{ModeOrder, Size, TuckerError, TuckerFit, check_input, finish, squares};
use crate::kernels::gemm::{MatMut, MatRef, matmul};
use crate::run::seed::Streams;
use crate::tensor::model::{Matrix, Tucker};

/// What [`randomised`] is told.
#[derive(Debug, Clone, PartialEq)]
pub struct RandomisedConfig {
    pub size: Size,
    pub mode_order: ModeOrder,
    /// Random vectors beyond the rank.
    pub oversample: usize,
    /// Multiplications by X_(n) X_(n)ᵀ that sharpen the range; 1 or 2 for singular values that fall slowly, 0 for the fastest run.
    pub power: usize,
    pub seed: u64,
}

impl RandomisedConfig {
    pub fn new(size: Size) -> Self {
        Self { size, mode_order: ModeOrder::Auto, oversample: 10, power: 1, seed: 0 }
    }
}

/// The smallest tolerance: what is left is a difference of squares, known to about 1e-15 ‖X‖².
const LEAST_EPS: f64 = 1e-6;
/// Vectors beyond the oversampling that a search for a tolerance starts with.
const FIRST: usize = 8;

/// As [`sthosvd`](super::sthosvd::sthosvd), where the vectors of a mode come from Q with orthonormal columns that span (nearly) the range
/// of X_(n): Q from X_(n) Ω with Gaussian Ω and power iterations, then the singular vectors of the small QᵀX_(n).
///
/// * `x`, errors: as there; and a tolerance below 1e-6. For a tolerance Q grows until what it leaves out, which is measured, is a quarter
///   of what the mode may drop: the bound on the error holds always, not only with high probability.
/// * With ranks, the expected error of a mode is at most √(1 + r / (p − 1)) times the best for oversampling p >= 2 without power
///   iterations, and closer with them. Where rank and oversampling exceed the mode (or the columns) the exact vectors are taken.
/// * Cost a mode: 2 (1 + 2 power + 1) (r + p) ΠI operations where the Gram matrix takes I_n ΠI; memory beside X: (r + p) / I_n of X twice.
///
/// Source: Halko, Martinsson & Tropp, Finding structure with randomness, SIAM Review 53 (2011), algorithms 4.2 (with measured instead of
/// estimated errors) and 4.4, theorem 10.5; Che & Wei (2019) for the use in ST-HOSVD.
pub fn randomised<X: Operand>(x: &X, config: &RandomisedConfig) -> Result<TuckerFit, TuckerError> {
    let scan = check_input(x)?;
    config.size.check(x.shape())?;
    if let Size::Eps(eps) = config.size
        && eps < LEAST_EPS
    {
        let (method, instead) = ("the randomised method", "st-hosvd");
        return Err(TuckerError::Precision { eps, least: LEAST_EPS, method, instead });
    }
    let modes = config.mode_order.resolve(x.shape())?;
    let order = modes.len();
    let truncated = truncate(x, &modes, |at, mode| {
        let keep = config.size.keep(mode, order, scan.squares);
        match at {
            At::Whole(x) => vectors(x, mode, keep, config),
            At::Part(x) => vectors(x, mode, keep, config),
        }
    })?;
    let explained = squares(truncated.core.values());
    let model = Tucker { core: truncated.core, factors: truncated.factors };
    Ok(finish(x, model, scan.squares, explained, modes, truncated.singular_values, None))
}

type Found<X> = Result<(Vectors, Option<<X as Operand>::Next>), TuckerError>;

/// Vectors of one mode and X ×_n Uᵀ.
fn vectors<X: Operand>(x: &X, mode: usize, keep: Keep, config: &RandomisedConfig) -> Found<X> {
    let streams = Streams::new(config.seed);
    // Draws of a mode: one for ranks, a few for a tolerance, which doubles its vectors with each.
    let mut draw = (mode as u64) << 8;
    let size = x.shape()[mode];
    let columns = x.shape().iter().enumerate().filter(|&(m, _)| m != mode).fold(1usize, |n, (_, &i)| n.saturating_mul(i));
    // Short unfoldings of dense tensors have a direct way; of sparse ones the range finder is the way for long modes.
    let most = if x.rows(mode, 0..1).is_some() { size.min(columns) } else { size };
    let exact = || left_vectors(x, mode, keep, Precision::Auto).map(|v| (v, None));
    let (q, rest) = match keep {
        Keep::Rank(rank) => {
            let l = rank.saturating_add(config.oversample);
            if l >= most {
                return exact();
            }
            (extend(x, mode, None, l, config.power, &streams, draw), keep)
        }
        Keep::Tail { allowed, squares } => {
            let own = x.scan().squares;
            let mut more = FIRST.saturating_add(config.oversample);
            let mut q: Option<Matrix> = None;
            let mut held = 0.0;
            loop {
                let before = q.as_ref().map_or(0, |q| q.cols);
                if more.saturating_add(before) >= most {
                    return exact();
                }
                let longer = extend(x, mode, q.as_ref(), more, config.power, &streams, draw);
                held += x.ttm(transposed(&columns_from(&longer, before)), mode).scan().squares;
                q = Some(longer);
                let left = (own - held).max(0.0);
                if left <= allowed / 4.0 {
                    break (q.expect("just set"), Keep::Tail { allowed: allowed - left, squares });
                }
                (more, draw) = (more * 2, draw + 1);
            }
        }
    };
    let small = x.ttm(transposed(&q), mode);
    let mut v = left_vectors(&small, mode, rest, Precision::Auto)?;
    // U = Q W; where a sign of U is turned, that of W is.
    let w = v.u;
    let mut u = product(&q, &w);
    let unsigned = u.clone();
    fix_signs(&mut u);
    let mut signed = w;
    for j in 0..u.cols {
        if (0..u.rows).any(|i| u.at(i, j) != unsigned.at(i, j)) {
            (0..signed.rows).for_each(|i| signed.values[i * signed.cols + j] *= -1.0);
        }
    }
    let ready = small.ttm(transposed(&signed), mode);
    v.u = u;
    Ok((v, Some(ready)))
}

/// Q with `more` orthonormal columns beyond those of `q`, towards the range of X_(n) that `q` leaves out.
fn extend<X: Operand>(x: &X, mode: usize, q: Option<&Matrix>, more: usize, power: usize, streams: &Streams, draw: u64) -> Matrix {
    let mut y = x.cross(&x.random(mode, more, streams, draw), mode);
    for _ in 0..power {
        let z = x.ttm(transposed(&columns_from(&joined(q, y), q.map_or(0, |q| q.cols))), mode);
        y = x.cross(&z, mode);
    }
    joined(q, y)
}

/// An orthonormal basis of the columns of `q`, which are kept up to signs, and of `y`.
fn joined(q: Option<&Matrix>, y: Matrix) -> Matrix {
    let Some(q) = q else { return orthonormal(&y) };
    let mut y = y;
    // Twice is enough: the second pass takes away what rounding of the first has left.
    for _ in 0..2 {
        let mut inside = Matrix::zeros(q.cols, y.cols);
        let (qv, yv) = (MatRef::new(&q.values, q.rows, q.cols), MatRef::new(&y.values, y.rows, y.cols));
        matmul(qv.t(), yv, MatMut::new(&mut inside.values, q.cols, y.cols), false);
        let within = product(q, &inside);
        y.values.iter_mut().zip(&within.values).for_each(|(y, w)| *y -= w);
    }
    let cols = q.cols + y.cols;
    let values = (0..q.rows).flat_map(|i| q.row(i).iter().chain(y.row(i)).copied()).collect();
    orthonormal(&Matrix::new(q.rows, cols, values))
}

fn columns_from(q: &Matrix, first: usize) -> Matrix {
    let values = (0..q.rows).flat_map(|i| q.row(i)[first..].iter().copied()).collect();
    Matrix::new(q.rows, q.cols - first, values)
}

fn product(a: &Matrix, b: &Matrix) -> Matrix {
    let mut out = Matrix::zeros(a.rows, b.cols);
    let (left, right) = (MatRef::new(&a.values, a.rows, a.cols), MatRef::new(&b.values, b.rows, b.cols));
    matmul(left, right, MatMut::new(&mut out.values, a.rows, b.cols), false);
    out
}
