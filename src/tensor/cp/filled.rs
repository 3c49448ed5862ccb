//! EM for dense tensors with missing cells: the missing cells are filled by the model, and the sweep runs on the filled copy.
//!
//! Memory: one copy of X (the filled tensor) beside what a dense sweep takes.

use super::CpError;
use super::cells::Cells;
use super::data::{Equations, Mttkrp, SweepData, peak, sum_over, unit};
use super::dense::{dense_gram_product, dense_mttkrp};
use super::state::State;
use crate::kernels::mttkrp::Sweep;
use crate::kernels::simd::Real;
use crate::tensor::data::Dense;

/// A dense tensor with missing cells, filled.
pub struct Filled<'a, T: Real> {
    x: &'a Dense<T>,
    observed: &'a [bool],
    /// Observed cells as they are, missing ones from the model.
    z: Dense<T>,
    sweep: Sweep<T>,
    count: usize,
    scale: f64,
    norm_sq: f64,
    mean: f64,
    out: Vec<T>,
}

impl<'a, T: Real> Filled<'a, T> {
    pub fn new(x: &'a Dense<T>, observed: &'a [bool], rank: usize) -> Result<Self, CpError> {
        let scale = unit::<T>(peak(x.values(), Some(observed))?);
        let count = observed.iter().filter(|&&o| o).count();
        let norm_sq = sum_over(x.values(), Some(observed), 1.0 / scale, |x| x * x);
        let mean = sum_over(x.values(), Some(observed), 1.0 / scale, |x| x) / count as f64;
        let z = Dense::zeros(x.shape());
        let mut data = Self { x, observed, z, sweep: Sweep::new(x.shape(), rank), count, scale, norm_sq, mean, out: Vec::new() };
        data.restart();
        Ok(data)
    }
}

impl<T: Real> SweepData for Filled<'_, T> {
    fn shape(&self) -> &[usize] {
        self.x.shape()
    }
    fn cells(&self) -> usize {
        self.count
    }
    fn scale(&self) -> f64 {
        self.scale
    }
    fn norm_sq(&self) -> f64 {
        self.norm_sq
    }
    fn restart(&mut self) {
        let mean = T::from_f64(self.mean * self.scale);
        for ((z, &x), &o) in self.z.values_mut().iter_mut().zip(self.x.values()).zip(self.observed) {
            *z = if o { x } else { mean };
        }
    }
    fn begin(&mut self, model: &State) {
        let cells = Cells::<T>::new(&model.weights, &model.factors);
        let (observed, scale) = (self.observed, T::from_f64(self.scale));
        cells.map_mut(self.z.values_mut(), |range, m, z| {
            for ((z, &m), &o) in z.iter_mut().zip(m).zip(&observed[range]) {
                if !o {
                    *z = m * scale;
                }
            }
        });
    }
    fn equations(&mut self) -> Equations<'_> {
        Equations::Shared(self)
    }
    fn residual_sq(&mut self, model: &State) -> f64 {
        masked_residual_sq(self.x, self.observed, 1.0 / self.scale, model)
    }
    fn trust_sums(&self, _: f64) -> bool {
        // The sums of the last mode are those of the filled tensor.
        false
    }
    fn unfolding_gram_product(&mut self, mode: usize, v: &[f64], k: usize, out: &mut [f64]) {
        // At a start the fill is the mean.
        dense_gram_product(&self.z, None, 1.0 / self.scale, mode, v, k, out);
    }
}

/// Σ (x − x̂)² over observed cells.
pub fn masked_residual_sq<T: Real>(x: &Dense<T>, observed: &[bool], inverse: f64, model: &State) -> f64 {
    let values = x.values();
    let cells = Cells::<T>::new(&model.weights, &model.factors);
    let sums = cells.map(|range, m| {
        let mut sum = 0.0;
        for ((x, m), &o) in values[range.clone()].iter().zip(m).zip(&observed[range]) {
            if o {
                let d = x.to_f64() * inverse - m.to_f64();
                sum += d * d;
            }
        }
        sum
    });
    sums.iter().sum()
}

impl<T: Real> Mttkrp for Filled<'_, T> {
    fn mttkrp(&mut self, model: &State, mode: usize, out: &mut [f64]) {
        dense_mttkrp(&mut self.sweep, &self.z, model, mode, 1.0 / self.scale, &mut self.out, out);
    }
}
