//! Sparse tensors whose absent cells are missing: rows of observed cells, and EM without a dense fill.
//!
//! Memory beside the caller's coordinate arrays: one order of the numbers a mode (4 N bytes a number), and for EM one f64 a number.

use std::ops::Range;

use rayon::prelude::*;

use super::CpError;
use super::data::{BATCH, Equations, Mttkrp, Observed, SweepData, peak, sum_over, unit};
use super::sparse::{Fibres, sum_with_model};
use super::state::{State, cross_gram};
use super::weighted::ObservedData;
use crate::kernels::simd::Real;
use crate::tensor::data::Sparse;
use crate::tensor::model::Matrix;

/// The observed cells, with an order for every mode.
pub struct Known<'a, T> {
    x: &'a Sparse<T>,
    /// Numbers by row, for every mode; those of a row in the order of the list.
    order: Vec<Vec<u32>>,
    /// First place of every row in `order`, and the end.
    starts: Vec<Vec<u32>>,
    scale: f64,
    norm_sq: f64,
    mean: f64,
    fibres: Option<Fibres>,
}

impl<'a, T: Real> Known<'a, T> {
    pub fn new(x: &'a Sparse<T>) -> Result<Self, CpError> {
        if x.is_empty() {
            return Err(CpError::NothingObserved);
        }
        let scale = unit::<T>(peak(x.values(), None)?);
        let norm_sq = sum_over(x.values(), None, 1.0 / scale, |x| x * x);
        let mean = sum_over(x.values(), None, 1.0 / scale, |x| x) / x.len() as f64;
        let (mut order, mut starts) = (Vec::new(), Vec::new());
        for (mode, &n) in x.shape().iter().enumerate() {
            // Counting sort: stable.
            let mut start = vec![0u32; n + 1];
            x.indices(mode).iter().for_each(|&i| start[i as usize + 1] += 1);
            (0..n).for_each(|i| start[i + 1] += start[i]);
            let (mut next, mut rows) = (start.clone(), vec![0u32; x.len()]);
            for (k, &i) in x.indices(mode).iter().enumerate() {
                rows[next[i as usize] as usize] = k as u32;
                next[i as usize] += 1;
            }
            order.push(rows);
            starts.push(start);
        }
        Ok(Self { x, order, starts, scale, norm_sq, mean, fibres: None })
    }

    fn row(&self, mode: usize, row: usize) -> &[u32] {
        &self.order[mode][self.starts[mode][row] as usize..self.starts[mode][row + 1] as usize]
    }
}

impl<T: Real> Observed for Known<'_, T> {
    fn shape(&self) -> &[usize] {
        self.x.shape()
    }
    fn places(&self, mode: usize, row: usize) -> usize {
        self.row(mode, row).len()
    }
    fn visit(&self, mode: usize, row: usize, places: Range<usize>, f: &mut dyn FnMut(&[f64], &[u32])) {
        let (n, inverse) = (self.x.order(), 1.0 / self.scale);
        let (mut values, mut indices) = ([0.0; BATCH], vec![0u32; BATCH * n]);
        for batch in self.row(mode, row)[places].chunks(BATCH) {
            for (b, &k) in batch.iter().enumerate() {
                values[b] = self.x.values()[k as usize].to_f64() * inverse;
                (0..n).for_each(|m| indices[b * n + m] = self.x.indices(m)[k as usize]);
            }
            f(&values[..batch.len()], &indices[..batch.len() * n]);
        }
    }
}

impl<T: Real> ObservedData for Known<'_, T> {
    fn cells(&self) -> usize {
        self.x.len()
    }
    fn scale(&self) -> f64 {
        self.scale
    }
    fn norm_sq(&self) -> f64 {
        self.norm_sq
    }
    fn residual_sq(&self, model: &State) -> f64 {
        sum_with_model(self.x, 1.0 / self.scale, model, |x, m| (x - m) * (x - m))
    }
    fn unfolding_gram_product(&mut self, mode: usize, v: &[f64], k: usize, out: &mut [f64]) {
        // X = S + m 1 1ᵀ with S = x - m at the observed cells:
        // X Xᵀ V = S SᵀV + m (S1)(1ᵀV) + m 1 ((S1)ᵀV) + m² c 1 (1ᵀV), c the number of columns.
        let (shape, mean) = (self.x.shape(), self.mean);
        Fibres::gram_product(&mut self.fibres, self.x, mode, (1.0 / self.scale, mean), v, k, out);
        let n = shape[mode];
        let columns: f64 = shape.iter().enumerate().filter(|&(m, _)| m != mode).map(|(_, &n)| n as f64).product();
        let mut sums = vec![0.0; n];
        for (&i, x) in self.x.indices(mode).iter().zip(self.x.values()) {
            sums[i as usize] += x.to_f64() / self.scale - mean;
        }
        let (mut ones, mut with_sums) = (vec![0.0; k], vec![0.0; k]);
        for (row, s) in v.chunks_exact(k).zip(&sums) {
            ones.iter_mut().zip(row).for_each(|(o, v)| *o += v);
            with_sums.iter_mut().zip(row).for_each(|(o, v)| *o += s * v);
        }
        for (row, s) in out.chunks_exact_mut(k).zip(&sums) {
            for c in 0..k {
                row[c] += mean * (s * ones[c] + with_sums[c] + mean * columns * ones[c]);
            }
        }
    }
}

/// EM on coordinates. The filled tensor is Z = X̂ + S with S = x - x̂ at the observed cells, so its MTTKRP is that of S (one pass over
/// the numbers) plus that of a Kruskal tensor, `Û_n diag(λ̂) ⊙_{m≠n} Û_mᵀ U_m`; nothing dense is ever formed.
pub struct KnownFilled<'a, T> {
    known: Known<'a, T>,
    /// x - x̂, in units, in the order of the list.
    rest: Vec<f64>,
    /// The model that fills; the mean of the observed cells at the start.
    fill: State,
}

impl<'a, T: Real> KnownFilled<'a, T> {
    pub fn new(known: Known<'a, T>) -> Self {
        let fill = mean_model(known.x.shape(), known.mean);
        let mut data = Self { rest: vec![0.0; known.x.len()], known, fill };
        data.refill();
        data
    }

    fn refill(&mut self) {
        let (x, inverse, fill) = (self.known.x, 1.0 / self.known.scale, &self.fill);
        self.rest.par_chunks_mut(1 << 13).enumerate().for_each(|(p, piece)| {
            let mut product = vec![0.0; fill.rank()];
            for (j, rest) in piece.iter_mut().enumerate() {
                let k = (p << 13) + j;
                product.copy_from_slice(&fill.weights);
                for (mode, factor) in fill.factors.iter().enumerate() {
                    product.iter_mut().zip(factor.row(x.indices(mode)[k] as usize)).for_each(|(p, u)| *p *= u);
                }
                *rest = x.values()[k].to_f64() * inverse - product.iter().sum::<f64>();
            }
        });
    }
}

/// The tensor that is `mean` everywhere.
fn mean_model(shape: &[usize], mean: f64) -> State {
    State::with_weights(vec![mean], shape.iter().map(|&n| Matrix::new(n, 1, vec![1.0; n])).collect())
}

impl<T: Real> SweepData for KnownFilled<'_, T> {
    fn shape(&self) -> &[usize] {
        self.known.x.shape()
    }
    fn cells(&self) -> usize {
        self.known.x.len()
    }
    fn scale(&self) -> f64 {
        self.known.scale
    }
    fn norm_sq(&self) -> f64 {
        self.known.norm_sq
    }
    fn restart(&mut self) {
        self.fill = mean_model(self.known.x.shape(), self.known.mean);
        self.refill();
    }
    fn begin(&mut self, model: &State) {
        self.fill = model.clone();
        self.refill();
    }
    fn equations(&mut self) -> Equations<'_> {
        Equations::Shared(self)
    }
    fn residual_sq(&mut self, model: &State) -> f64 {
        ObservedData::residual_sq(&self.known, model)
    }
    fn trust_sums(&self, _: f64) -> bool {
        // The sums of the last mode are those of the filled tensor.
        false
    }
    fn unfolding_gram_product(&mut self, mode: usize, v: &[f64], k: usize, out: &mut [f64]) {
        self.known.unfolding_gram_product(mode, v, k, out);
    }
}

impl<T: Real> Mttkrp for KnownFilled<'_, T> {
    fn mttkrp(&mut self, model: &State, mode: usize, out: &mut [f64]) {
        let (x, r, known, rest) = (self.known.x, model.rank(), &self.known, &self.rest);
        // A row is one chain of sums, so no bit depends on how rows are dealt out.
        out.par_chunks_mut(r).enumerate().for_each(|(row, to)| {
            to.fill(0.0);
            let mut product = vec![0.0; r];
            for &k in known.row(mode, row) {
                product.fill(rest[k as usize]);
                for (m, factor) in model.factors.iter().enumerate() {
                    if m != mode {
                        product.iter_mut().zip(factor.row(x.indices(m)[k as usize] as usize)).for_each(|(p, u)| *p *= u);
                    }
                }
                to.iter_mut().zip(&product).for_each(|(t, p)| *t += p);
            }
        });
        let old = self.fill.rank();
        let mut inner: Vec<f64> = (0..old * r).map(|k| self.fill.weights[k / r]).collect();
        for m in (0..model.factors.len()).filter(|&m| m != mode) {
            inner.iter_mut().zip(cross_gram(&self.fill.factors[m], &model.factors[m])).for_each(|(i, g)| *i *= g);
        }
        let filled = &self.fill.factors[mode];
        out.par_chunks_mut(r).enumerate().for_each(|(row, to)| {
            for (u, inner) in filled.row(row).iter().zip(inner.chunks_exact(r)) {
                to.iter_mut().zip(inner).for_each(|(t, i)| *t += u * i);
            }
        });
    }
}
