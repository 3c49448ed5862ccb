//! The fit of a given model on given data.

use super::cells::{Cells, squared_distance};
use super::data::{peak, sum_over, unit};
use super::filled::masked_residual_sq;
use super::sparse::{sparse_residual_sq, sum_with_model};
use super::state::State;
use super::sweeps::relative;
use super::{CpError, Input};
use crate::kernels::simd::Real;
use crate::tensor::model::Kruskal;

/// How well a model describes a tensor.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Evaluation {
    pub fit: f64,
    /// ‖X − X̂‖ / ‖X‖ over the cells that count.
    pub rel_error: f64,
    /// Root of the mean of (x − x̂)².
    pub rmse: f64,
    /// ‖X‖ over the cells that count.
    pub norm: f64,
    /// Cells that count.
    pub observed: usize,
}

/// The model in units, checked against a shape.
pub fn state_of(model: &Kruskal, shape: &[usize], scale: f64) -> Result<State, CpError> {
    let sizes: Vec<usize> = model.factors.iter().map(|f| f.rows).collect();
    if sizes != shape {
        return Err(CpError::Shape { model: sizes, tensor: shape.to_vec() });
    }
    let rank = model.weights.len();
    if rank == 0 {
        return Err(CpError::RankZero);
    }
    if let Some((mode, f)) = model.factors.iter().enumerate().find(|(_, f)| f.cols != rank) {
        return Err(CpError::Options(format!("the model has {rank} weights, and {} columns in mode {mode}", f.cols)));
    }
    let numbers = model.weights.iter().chain(model.factors.iter().flat_map(|f| &f.values));
    if let Some((cell, &value)) = numbers.enumerate().find(|(_, x)| !x.is_finite()) {
        return Err(CpError::Options(format!("number {cell} of the model is {value}; a model needs finite numbers")));
    }
    Ok(State::with_weights(model.weights.iter().map(|w| w / scale).collect(), model.factors.clone()))
}

/// ‖X − X̂‖ over the cells that count, cell by cell: no difference of sums is taken (but for a sparse tensor with absent = 0, where a fit above
/// 1 - 1e-8 cannot be told apart from 1).
///
/// Errors: as [`Input::check`], [`CpError::Shape`] and [`CpError::ErrorRange`].
///
/// Cost: 2 R operations a cell (dense), 2 N R a listed cell (sparse).
pub fn evaluate<T: Real>(input: Input<'_, T>, model: &Kruskal) -> Result<Evaluation, CpError> {
    input.check()?;
    let (values, observed) = match input {
        Input::Dense(x) => (x.values(), None),
        Input::Masked { x, observed } => (x.values(), Some(observed)),
        Input::Sparse(x) | Input::Known(x) => (x.values(), None),
    };
    let scale = unit::<T>(peak(values, observed)?);
    let inverse = 1.0 / scale;
    let norm_sq = sum_over(values, observed, inverse, |x| x * x);
    let state = state_of(model, input.shape(), scale)?;
    let residual_sq = match input {
        Input::Dense(x) => {
            let cells = Cells::<T>::new(&state.weights, &state.factors);
            cells.map(|range, m| squared_distance(&x.values()[range], inverse, m)).iter().sum()
        }
        Input::Masked { x, observed } => masked_residual_sq(x, observed, inverse, &state),
        Input::Sparse(x) => sparse_residual_sq(x, inverse, &state),
        Input::Known(x) => sum_with_model(x, inverse, &state, |x, m| (x - m) * (x - m)),
    };
    if !residual_sq.is_finite() {
        return Err(CpError::ErrorRange);
    }
    let rel_error = relative(residual_sq, norm_sq);
    let cells: f64 = match input {
        Input::Sparse(x) => x.shape().iter().map(|&n| n as f64).product(),
        _ => input.observed() as f64,
    };
    Ok(Evaluation {
        fit: 1.0 - rel_error,
        rel_error,
        rmse: (residual_sq / cells).sqrt() * scale,
        norm: norm_sq.sqrt() * scale,
        observed: cells as usize,
    })
}
