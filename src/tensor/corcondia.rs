//! The core consistency diagnostic: whether the components of a CP model stay apart.

use faer::Mat;

use crate::kernels::gemm::MatRef;
use crate::kernels::simd::Real;
use crate::kernels::ttm::ttm;
use crate::tensor::cp::reconstruct;
use crate::tensor::cp::{CpError, Input};
use crate::tensor::model::{Kruskal, Matrix};

/// Largest core, R^N numbers.
const LARGEST: f64 = (1u64 << 26) as f64;

/// `100 (1 − ‖G − T‖² / R)`, where G is the core that fits the tensor best with the factors of the model (weights in the last; where they are does
/// matter a little), and T the core of the CP model itself, ones on the superdiagonal. Near 100: the model is as good as a Tucker model with the same factors. Much
/// below, even negative: components share what they describe, so there are too many. Always 100 for R = 1.
///
/// G = X ×_n U_n⁺ by one product with a pseudo-inverse after the other, the mode that shrinks most first: nothing larger than X is formed, and
/// no Kronecker product. Sparse tensors are contracted cell by cell, R^N operations each. Missing cells count as the model says: G is
/// then that of the observed cells' residual plus that of the model, so again no tensor is filled.
///
/// Errors: [`CpError::Shape`], [`CpError::Memory`] when R^N is above 2²⁶, and those of [`Input::check`].
///
/// Source: Bro & Kiers 2003.
pub fn corcondia<T: Real>(input: Input<'_, T>, model: &Kruskal) -> Result<f64, CpError> {
    input.check()?;
    let (rank, order) = (model.weights.len(), model.factors.len());
    let sizes: Vec<usize> = model.factors.iter().map(|f| f.rows).collect();
    if sizes != input.shape() {
        return Err(CpError::Shape { model: sizes, tensor: input.shape().to_vec() });
    }
    let numbers = (rank as f64).powi(order as i32);
    if numbers > LARGEST {
        return Err(CpError::Memory { what: "the core", needed: numbers, limit: LARGEST, remedy: "ask for a lower rank" });
    }
    let mut factors = model.factors.clone();
    if let Some(last) = factors.last_mut() {
        for row in last.values.chunks_exact_mut(rank) {
            row.iter_mut().zip(&model.weights).for_each(|(x, w)| *x *= w);
        }
    }
    let inverses: Vec<Matrix> = factors.iter().map(pseudo_inverse).collect::<Result<_, _>>()?;
    let core = match input {
        Input::Dense(x) => dense_core(x.values(), x.shape(), &inverses),
        Input::Sparse(x) => {
            let mut core = vec![0.0; numbers as usize];
            let mut at = vec![0usize; order];
            for (k, &v) in x.values().iter().enumerate() {
                at.iter_mut().enumerate().for_each(|(m, a)| *a = x.indices(m)[k] as usize);
                add_cell(&mut core, &inverses, &at, v.to_f64());
            }
            core
        }
        Input::Known(x) => {
            let mut core = model_core(&factors, &inverses);
            let mut at = vec![0usize; order];
            for (k, &v) in x.values().iter().enumerate() {
                at.iter_mut().enumerate().for_each(|(m, a)| *a = x.indices(m)[k] as usize);
                let fitted = reconstruct::at(model, [&at]).next().expect("one cell is asked for")?;
                add_cell(&mut core, &inverses, &at, v.to_f64() - fitted);
            }
            core
        }
        Input::Masked { x, observed } => {
            let mut core = model_core(&factors, &inverses);
            let mut at = vec![0usize; order];
            reconstruct::each_run::<CpError>(model, |first, run| {
                for (cell, &fitted) in (first..).zip(run) {
                    if observed[cell] {
                        let mut rest = cell;
                        for m in (0..order).rev() {
                            (at[m], rest) = (rest % x.shape()[m], rest / x.shape()[m]);
                        }
                        add_cell(&mut core, &inverses, &at, x.values()[cell].to_f64() - fitted);
                    }
                }
                Ok(())
            })?;
            core
        }
    };
    let step: usize = (0..order).map(|m| rank.pow(m as u32)).sum();
    let distance: f64 = core
        .iter()
        .enumerate()
        .map(|(k, g)| {
            let target = if k.is_multiple_of(step) && k / step < rank { 1.0 } else { 0.0 };
            (g - target) * (g - target)
        })
        .sum();
    Ok(100.0 * (1.0 - distance / rank as f64))
}

/// U⁺ (R, I) by a singular value decomposition; values up to `max(I, R) · eps` of the largest count as zero.
fn pseudo_inverse(u: &Matrix) -> Result<Matrix, CpError> {
    let peak = u.values.iter().fold(0.0f64, |m, x| m.max(x.abs()));
    if peak == 0.0 {
        return Ok(Matrix::zeros(u.cols, u.rows));
    }
    let a = Mat::from_fn(u.rows, u.cols, |i, j| u.at(i, j) / peak);
    let svd = a
        .thin_svd()
        .map_err(|_| CpError::Options("a factor has no singular value decomposition; its numbers must be finite".into()))?;
    let (left, values, right) = (svd.U(), svd.S().column_vector(), svd.V());
    let cutoff = u.rows.max(u.cols) as f64 * f64::EPSILON * values[0];
    let mut out = Matrix::zeros(u.cols, u.rows);
    for k in (0..u.rows.min(u.cols)).filter(|&k| values[k] > cutoff) {
        for i in 0..u.cols {
            for j in 0..u.rows {
                out.values[i * u.rows + j] += right[(i, k)] * left[(j, k)] / values[k] / peak;
            }
        }
    }
    Ok(out)
}

/// X ×_n U_n⁺ for all n, in f64 from the second product on.
fn dense_core<T: Real>(x: &[T], shape: &[usize], inverses: &[Matrix]) -> Vec<f64> {
    let rank = inverses[0].rows;
    let mut modes: Vec<usize> = (0..shape.len()).collect();
    // Largest mode first; the sort is stable.
    modes.sort_by_key(|&m| std::cmp::Reverse(shape[m]));
    let mut now = shape.to_vec();
    let mut values: Vec<f64> = Vec::new();
    for (step, &m) in modes.iter().enumerate() {
        let mut next = now.clone();
        next[m] = rank;
        if step == 0 {
            let own: Vec<T> = inverses[m].values.iter().map(|&v| T::from_f64(v)).collect();
            let mut out = vec![T::ZERO; next.iter().product()];
            ttm(x, &now, MatRef::new(&own, rank, now[m]), m, &mut out);
            values = out.iter().map(|v| v.to_f64()).collect();
        } else {
            let mut out = vec![0.0; next.iter().product()];
            ttm(&values, &now, MatRef::new(&inverses[m].values, rank, now[m]), m, &mut out);
            values = out;
        }
        now = next;
    }
    values
}

/// core += value · u_1[:, i_1] ∘ u_2[:, i_2] ∘ …
fn add_cell(core: &mut [f64], inverses: &[Matrix], at: &[usize], value: f64) {
    let (inverse, i) = (&inverses[0], at[0]);
    let size = core.len() / inverse.rows;
    for (r, part) in core.chunks_exact_mut(size).enumerate() {
        let value = value * inverse.at(r, i);
        if inverses.len() == 1 {
            part[0] += value;
        } else {
            add_cell(part, &inverses[1..], &at[1..], value);
        }
    }
}

/// The core of the model itself: Σ_r ∘_n (U_n⁺ U_n)[:, r]; T when the factors have full column rank.
fn model_core(factors: &[Matrix], inverses: &[Matrix]) -> Vec<f64> {
    let rank = factors[0].cols;
    let projections: Vec<Matrix> = factors
        .iter()
        .zip(inverses)
        .map(|(u, p)| {
            let values = (0..rank * rank).map(|k| (0..u.rows).map(|i| p.at(k / rank, i) * u.at(i, k % rank)).sum()).collect();
            Matrix::new(rank, rank, values)
        })
        .collect();
    let mut core = vec![0.0; rank.pow(factors.len() as u32)];
    for r in 0..rank {
        add_cell(&mut core, &projections, &vec![r; factors.len()], 1.0);
    }
    core
}
