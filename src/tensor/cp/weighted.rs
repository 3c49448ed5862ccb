//! Exact least squares over observed cells: every row of a factor has normal equations of its own.

use std::ops::Range;

use rayon::prelude::*;

use super::CpError;
use super::data::{BATCH, Equations, Observed, SweepData, peak, sum_over, unit};
use super::dense::dense_gram_product;
use super::filled::masked_residual_sq;
use super::state::State;
use crate::kernels::gemm::{MatMut, MatRef, matmul};
use crate::kernels::simd::Real;
use crate::tensor::data::Dense;
use crate::tensor::model::Matrix;

/// Observed cells, and what is known about all of them.
pub trait ObservedData: Observed {
    fn cells(&self) -> usize;
    fn scale(&self) -> f64;
    fn norm_sq(&self) -> f64;
    fn residual_sq(&self, model: &State) -> f64;
    fn unfolding_gram_product(&mut self, mode: usize, v: &[f64], k: usize, out: &mut [f64]);
}

/// Observed data in sweeps.
pub struct Weighted<D>(D);

impl<D: ObservedData> Weighted<D> {
    pub fn new(data: D) -> Self {
        Self(data)
    }
}

impl<D: ObservedData> SweepData for Weighted<D> {
    fn shape(&self) -> &[usize] {
        self.0.shape()
    }
    fn cells(&self) -> usize {
        self.0.cells()
    }
    fn scale(&self) -> f64 {
        self.0.scale()
    }
    fn norm_sq(&self) -> f64 {
        self.0.norm_sq()
    }
    fn equations(&mut self) -> Equations<'_> {
        Equations::Rows(&self.0)
    }
    fn residual_sq(&mut self, model: &State) -> f64 {
        self.0.residual_sq(model)
    }
    fn trust_sums(&self, _: f64) -> bool {
        // Rows have no common sums; a pass over the observed cells costs less than one mode.
        false
    }
    fn unfolding_gram_product(&mut self, mode: usize, v: &[f64], k: usize, out: &mut [f64]) {
        self.0.unfolding_gram_product(mode, v, k, out);
    }
}

/// The observed cells of a dense tensor; nothing is copied.
pub struct MaskedCells<'a, T> {
    x: &'a Dense<T>,
    observed: &'a [bool],
    count: usize,
    scale: f64,
    norm_sq: f64,
    mean: f64,
}

impl<'a, T: Real> MaskedCells<'a, T> {
    pub fn new(x: &'a Dense<T>, observed: &'a [bool]) -> Result<Self, CpError> {
        let scale = unit::<T>(peak(x.values(), Some(observed))?);
        let count = observed.iter().filter(|&&o| o).count();
        let norm_sq = sum_over(x.values(), Some(observed), 1.0 / scale, |x| x * x);
        let mean = sum_over(x.values(), Some(observed), 1.0 / scale, |x| x) / count.max(1) as f64;
        Ok(Self { x, observed, count, scale, norm_sq, mean })
    }
}

impl<T: Real> Observed for MaskedCells<'_, T> {
    fn shape(&self) -> &[usize] {
        self.x.shape()
    }
    fn places(&self, mode: usize, _: usize) -> usize {
        self.x.values().len() / self.x.shape()[mode]
    }
    fn visit(&self, mode: usize, row: usize, places: Range<usize>, f: &mut dyn FnMut(&[f64], &[u32])) {
        let (shape, order, inverse) = (self.x.shape(), self.x.order(), 1.0 / self.scale);
        let (n, right) = (shape[mode], shape[mode + 1..].iter().product::<usize>());
        let (mut values, mut indices, mut held) = ([0.0; BATCH], vec![0u32; BATCH * order], 0);
        // Place p is the cell (l, row, t), l = p / right, t = p % right.
        for place in places {
            let cell = (place / right * n + row) * right + place % right;
            if !self.observed[cell] {
                continue;
            }
            values[held] = self.x.values()[cell].to_f64() * inverse;
            let mut rest = cell;
            for m in (0..order).rev() {
                indices[held * order + m] = (rest % shape[m]) as u32;
                rest /= shape[m];
            }
            held += 1;
            if held == BATCH {
                f(&values, &indices);
                held = 0;
            }
        }
        if held > 0 {
            f(&values[..held], &indices[..held * order]);
        }
    }
}

impl<T: Real> ObservedData for MaskedCells<'_, T> {
    fn cells(&self) -> usize {
        self.count
    }
    fn scale(&self) -> f64 {
        self.scale
    }
    fn norm_sq(&self) -> f64 {
        self.norm_sq
    }
    fn residual_sq(&self, model: &State) -> f64 {
        masked_residual_sq(self.x, self.observed, 1.0 / self.scale, model)
    }
    fn unfolding_gram_product(&mut self, mode: usize, v: &[f64], k: usize, out: &mut [f64]) {
        let mean = T::from_f64(self.mean * self.scale);
        dense_gram_product(self.x, Some((self.observed, mean)), 1.0 / self.scale, mode, v, k, out);
    }
}

/// Places of a row that one task looks at.
const PIECE: usize = 1 << 14;

/// Adds a batch (buffers, values, indices) to sums.
pub type Add<'a, S> = dyn Fn(&mut S, &[f64], &[u32], &mut [f64]) + Sync + 'a;

/// Sums over the observed cells of a row, in pieces that are added in order: `add(values, indices, sums)` for every batch.
pub fn row_sums<S>(
    data: &dyn Observed,
    mode: usize,
    row: usize,
    sums: &mut [f64],
    scratch: impl Fn() -> S + Sync,
    add: &Add<'_, S>,
) {
    let places = data.places(mode, row);
    sums.fill(0.0);
    if places <= 2 * PIECE {
        let mut own = scratch();
        data.visit(mode, row, 0..places, &mut |x, at| add(&mut own, x, at, sums));
        return;
    }
    let parts: Vec<Vec<f64>> = (0..places.div_ceil(PIECE))
        .into_par_iter()
        .map(|p| {
            let (mut own, mut part) = (scratch(), vec![0.0; sums.len()]);
            data.visit(mode, row, p * PIECE..places.min((p + 1) * PIECE), &mut |x, at| add(&mut own, x, at, &mut part));
            part
        })
        .collect();
    parts.iter().for_each(|part| sums.iter_mut().zip(part).for_each(|(s, p)| *s += p));
}

/// The normal equations of one row: (R+1, R+1) sums of (k, x)(k, x)ᵀ over its observed cells, k the product of the other factors' rows.
pub fn row_system(data: &dyn Observed, factors: &[Matrix], mode: usize, row: usize, sums: &mut [f64]) {
    let (rank, order) = (factors[0].cols, factors.len());
    let width = rank + 1;
    let add = |rows: &mut Vec<f64>, x: &[f64], at: &[u32], sums: &mut [f64]| {
        rows.clear();
        for (&x, at) in x.iter().zip(at.chunks_exact(order)) {
            let from = rows.len();
            rows.resize(from + rank, 1.0);
            for (m, f) in factors.iter().enumerate() {
                if m != mode {
                    rows[from..].iter_mut().zip(f.row(at[m] as usize)).for_each(|(k, u)| *k *= u);
                }
            }
            rows.push(x);
        }
        let rows = MatRef::new(rows, x.len(), width);
        matmul(rows.t(), rows, MatMut::new(sums, width, width), true);
    };
    row_sums(data, mode, row, sums, || Vec::with_capacity(BATCH * width), &add);
}
