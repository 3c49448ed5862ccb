//! Cells of a Tucker model: asked ones, blocks, all.

use rayon::prelude::*;

use super::TuckerError;
use super::operand::{around, with_size};
use crate::kernels::gemm::MatRef;
use crate::kernels::ttm::ttm;
use crate::tensor::data::Dense;
use crate::tensor::model::{Matrix, Tucker};

/// Cells of a task.
const TASK: usize = 256;

/// The shape of the tensor that the model stands for.
pub fn shape(model: &Tucker) -> Vec<usize> {
    model.factors.iter().map(|f| f.rows).collect()
}

/// Values of the cells `(indices[0][k], indices[1][k], …)`. The tensor is not formed: about 2 Π r_n operations a cell.
///
/// Errors: indices outside of the shape, or not for every mode and of one length.
pub fn cells(model: &Tucker, indices: &[Vec<u32>]) -> Result<Vec<f64>, TuckerError> {
    let order = model.factors.len();
    let count = check_cells(&shape(model), indices)?;
    let mut out = vec![0.0; count];
    out.par_chunks_mut(TASK).enumerate().for_each(|(task, out)| {
        let (mut now, mut next) = (Vec::new(), Vec::new());
        for (c, out) in out.iter_mut().enumerate() {
            let cell = task * TASK + c;
            now.clear();
            now.extend_from_slice(model.core.values());
            for mode in (0..order).rev() {
                let row = model.factors[mode].row(indices[mode][cell] as usize);
                next.clear();
                next.extend(now.chunks_exact(row.len()).map(|g| g.iter().zip(row).map(|(g, u)| g * u).sum::<f64>()));
                std::mem::swap(&mut now, &mut next);
            }
            *out = now[0];
        }
    });
    Ok(out)
}

/// Indices for every mode, of one length, within the shape; how many there are.
pub fn check_cells(shape: &[usize], indices: &[Vec<u32>]) -> Result<usize, TuckerError> {
    if indices.len() != shape.len() || indices.iter().any(|i| i.len() != indices[0].len()) {
        return Err(TuckerError::CellModes { given: indices.len(), order: shape.len() });
    }
    for (mode, (index, &size)) in indices.iter().zip(shape).enumerate() {
        if let Some(cell) = index.iter().position(|&i| i as usize >= size) {
            return Err(TuckerError::Cell { cell, mode, index: index[cell] as usize, size });
        }
    }
    Ok(indices[0].len())
}

/// Calls `work` with (place of the first cell, cells) for runs of cells that follow one another in C order and together are the tensor.
/// A run has at most `most` cells (at least 1). Costs about 2 r_N operations a cell when r_N is small beside I_N; memory two runs, or the
/// core times a run's share.
pub fn blocks(model: &Tucker, most: usize, mut work: impl FnMut(usize, &[f64])) {
    let shape = shape(model);
    let runs = Runs::new(&shape, most);
    for run in runs.iter() {
        // Modes before the axis hold one index, those behind it all: the core gets its small modes first.
        let mut cells = model.core.clone();
        for (mode, &i) in run.index.iter().enumerate() {
            cells = along(&cells, &model.factors[mode], mode, i, 1);
        }
        cells = along(&cells, &model.factors[runs.axis], runs.axis, run.start, run.count);
        for (mode, factor) in model.factors.iter().enumerate().skip(runs.axis + 1) {
            cells = along(&cells, factor, mode, 0, factor.rows);
        }
        work(run.at, cells.values());
    }
}

/// All cells. Needs room for two tensors for a moment: the result and the one before the last mode is expanded, r_N / I_N of it.
pub fn whole(model: &Tucker) -> Dense<f64> {
    let mut cells = model.core.clone();
    for (mode, factor) in model.factors.iter().enumerate() {
        cells = along(&cells, factor, mode, 0, factor.rows);
    }
    cells
}

/// The tensor times `count` rows of a factor.
fn along(x: &Dense<f64>, factor: &Matrix, mode: usize, first: usize, count: usize) -> Dense<f64> {
    let mut out = Dense::zeros(&with_size(x.shape(), mode, count));
    let rows = MatRef::new(&factor.values, factor.rows, factor.cols).row_range(first..first + count);
    ttm(x.values(), x.shape(), rows, mode, out.values_mut());
    out
}

/// A tensor cut into runs of cells in C order: one index of the modes before an axis, some of the axis, all of the modes behind.
pub struct Runs {
    shape: Vec<usize>,
    pub axis: usize,
    step: usize,
}

/// One of them.
pub struct Run {
    /// The place of its first cell.
    pub at: usize,
    /// The indices of the modes before the axis.
    pub index: Vec<usize>,
    /// The first index of the axis, and how many.
    pub start: usize,
    pub count: usize,
}

impl Runs {
    pub fn new(shape: &[usize], most: usize) -> Self {
        let axis = (0..shape.len()).find(|&axis| around(shape, axis).2 <= most.max(1)).unwrap_or(shape.len() - 1);
        let step = (most / around(shape, axis).2).clamp(1, shape[axis].max(1));
        Self { shape: shape.to_vec(), axis, step }
    }

    pub fn iter(&self) -> impl Iterator<Item = Run> + '_ {
        let (before, size, behind) = around(&self.shape, self.axis);
        (0..before).flat_map(move |prefix| {
            (0..size).step_by(self.step).map(move |start| Run {
                at: (prefix * size + start) * behind,
                index: super::operand::unravel(&self.shape[..self.axis], prefix),
                start,
                count: self.step.min(size - start),
            })
        })
    }
}
