//! Cells of a model.

use rayon::prelude::*;

use super::CpError;
use super::cells::{Cells, Scratch};
use super::evaluate::state_of;
use crate::tensor::data::Dense;
use crate::tensor::model::Kruskal;

/// Blocks computed side by side before they are handed out.
const AHEAD: usize = 16;

fn cells_of(model: &Kruskal) -> Result<Cells<f64>, CpError> {
    let shape: Vec<usize> = model.factors.iter().map(|f| f.rows).collect();
    super::data::check_shape(&shape)?;
    let state = state_of(model, &shape, 1.0)?;
    Ok(Cells::new(&state.weights, &state.factors))
}

/// All cells in C order, handed to `f` run by run (place of the first cell, cells) from first to last; memory for a million cells or so
/// at a time. `f` may end it with an error of its own.
///
/// Cost: 2 R operations a cell.
pub fn each_run<E: From<CpError>>(model: &Kruskal, mut f: impl FnMut(usize, &[f64]) -> Result<(), E>) -> Result<(), E> {
    let cells = cells_of(model)?;
    let mut scratch: Vec<Scratch<f64>> = (0..AHEAD).map(|_| Scratch::default()).collect();
    for blocks in cells.blocks().chunks(AHEAD) {
        scratch.par_iter_mut().zip(blocks).for_each(|(s, range)| cells.block(range, s));
        for (s, range) in scratch.iter().zip(blocks) {
            f(range.start, &s.values)?;
        }
    }
    Ok(())
}

/// The whole tensor.
pub fn full(model: &Kruskal) -> Result<Dense<f64>, CpError> {
    let shape: Vec<usize> = model.factors.iter().map(|f| f.rows).collect();
    let mut values = Vec::with_capacity(super::data::check_shape(&shape)?);
    each_run::<CpError>(model, |_, run| {
        values.extend_from_slice(run);
        Ok(())
    })?;
    Ok(Dense::new(shape, values))
}

/// The cells asked for, one after the other: every item of `cells` is an index a mode. Nothing is held.
///
/// Errors, per cell: [`CpError::Index`] for an index outside of the model, [`CpError::Options`] for a wrong number of indices.
pub fn at<'a, I>(model: &'a Kruskal, cells: I) -> impl Iterator<Item = Result<f64, CpError>> + use<'a, I>
where
    I: IntoIterator,
    I::Item: AsRef<[usize]>,
{
    let mut product = vec![0.0; model.weights.len()];
    cells.into_iter().map(move |cell| {
        let cell = cell.as_ref();
        if cell.len() != model.factors.len() {
            return Err(CpError::Options(format!(
                "a cell has {} indices and the model {} modes",
                cell.len(),
                model.factors.len()
            )));
        }
        product.copy_from_slice(&model.weights);
        for (mode, (f, &index)) in model.factors.iter().zip(cell).enumerate() {
            if index >= f.rows {
                return Err(CpError::Index { mode, index, size: f.rows });
            }
            product.iter_mut().zip(f.row(index)).for_each(|(p, u)| *p *= u);
        }
        Ok(product.iter().sum())
    })
}
